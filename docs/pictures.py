"""Make the pictures of docs/inspecting.md: let a day of a support desk pass, serve its file, and photograph the pages.

    python docs/pictures.py               those that the docs show, into docs/pictures
    python docs/pictures.py FOLDER        every page, light and dark

It needs the extras `test` and `docs`, and a Chromium. The day passes on a clock of its own, within seconds; what a
supervisor and a server do is done by real ones.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser  # noqa: E402

import vbl  # noqa: E402
from tests.browser.chromium import launched  # noqa: E402
from tests.browser.site import Site  # noqa: E402
from vbl.testing import FakeClock, Trial  # noqa: E402

SUPPORT = ROOT / "docs/support.py"
PEOPLE = ("Ada", "Bo", "Chidi", "Dana", "Emil", "Farah", "Goran", "Hana", "Ines", "Jonas")
SUBJECTS = ("Broken lamp", "Wrong colour", "Where is my parcel?", "Invoice for last year")
DAY_S = 26 * 3600


class Day:
    """A day at the desk. Times are seconds before the end of the day, which is the present."""

    def __init__(self, trial: Trial, support: ModuleType) -> None:
        self.trial = trial
        self.support = support
        self.end = trial.clock.now() + DAY_S * 1_000_000
        self.left_open: set[str] = set()

    def to(self, before_end_s: float) -> None:
        """Let time pass until then; Nora answers what was asked more than a minute before."""
        target = self.end - round(before_end_s * 1e6)
        while (now := self.trial.clock.now()) < target:
            self.trial.advance(min(120.0, (target - now) / 1e6))
            for gate in self.trial.gates(status="open"):
                if gate.run_id not in self.left_open and self.trial.clock.now() - gate.requested_at > 60_000_000:
                    self.decide(gate)

    def decide(self, gate: Any) -> None:
        """She approves, and now and then does not."""
        if (self.trial.run(gate.run_id).key or "").endswith("5"):
            self.trial.deny(gate.id, by="nora", reason="we have answered that by telephone")
        else:
            self.trial.approve(gate.id, by="nora", reason="reads well")

    def ask(self, number: int, subject: str = "", *, hard: bool = False) -> vbl.Run:
        """A ticket comes in."""
        customer, subject = PEOPLE[number % len(PEOPLE)], subject or SUBJECTS[number * 7 % len(SUBJECTS)]
        return self.trial.start(
            self.support.triage, number, customer, subject, hard, key=f"ticket {number}", tags={"shop": "north"}
        )

    def crash(self, down_s: float) -> None:
        """The supervisor is killed, and somebody starts it again some time later."""
        self.trial.kill()
        self.trial.clock.advance(down_s)
        self.trial.up()


def live_through(day: Day) -> None:
    """What happened."""
    support, trial, number = day.support, day.trial, 4000
    for hours in (25, 22, 19, 14, 9, 6, 4, 3, 2):
        trial.start(support.digest, f"2026-{hours:02}", tags={"shop": "north"})
        for minute in range(3 + hours % 4):
            day.to(hours * 3600 - minute * 420)
            number += 1
            day.ask(number)
    day.to(5400)
    trial.start(support.onboard, "Kofi", key="customer Kofi")
    trial.start(support.sync_crm, "Lena")
    trial.start(support.import_invoices, "2026-10")
    day.to(5000)
    paused = trial.start(support.onboard, "Mira", key="customer Mira")
    day.to(4900)
    paused.pause()
    for minute in range(58, 14, -4):
        day.to(minute * 60)
        number += 1
        day.ask(number)
    chosen = day.ask(4711, "Broken lamp", hard=True)
    day.left_open.add(chosen.id)
    while "draft_reply" not in chosen.state().steps:
        trial.skip()
    trial.advance(4)
    day.crash(140)
    day.to(14 * 60)
    cancelled = day.ask(4712)
    trial.advance(9)
    cancelled.cancel(reason="the customer has written again")
    day.to(13 * 60)
    trial.start(support.renew_licence, "Goran", 49.0, key="licence Goran 2026")
    trial.advance(2)
    day.crash(40)
    day.to(9 * 60)
    trial.start(support.import_invoices, "2026-11")
    day.left_open.add((late := day.ask(4713)).id)
    day.to(5 * 60)
    for minute in (4, 3, 2):
        day.to(minute * 60)
        number += 1
        day.ask(number)
    assert late.status == chosen.status == "waiting_for_approval", (late.status, chosen.status)
    trial.start(support.listen, "call-2026-11-23.wav", tags={"shop": "south"})
    day.to(0)


def loaded() -> ModuleType:
    """The module of the desk, by the name that `vbl up docs/support.py` gives it."""
    spec = importlib.util.spec_from_file_location("support", SUPPORT)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["support"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(path: Path) -> None:
    """Write the file of that day."""
    support = loaded()
    clock = FakeClock(time.time_ns() // 1000 - DAY_S * 1_000_000)
    support.rest = clock.sleep
    with Trial(path, clock=clock) as trial:
        live_through(Day(trial, support))


@dataclass(frozen=True)
class Picture:
    """One page as it is photographed. `path` may hold the id of the run that the pictures follow, `{run}`, and of one
    with children, `{parent}`; `at` is what stands at the top of the window, the head of the page where it is empty."""

    name: str
    path: str
    width: int = 1280
    height: int = 800
    theme: Literal["light", "dark"] = "light"
    at: str = ""


PICTURES = (
    Picture("runs", "/runs", height=760),
    Picture("run", "/runs/{run}", height=1000),
    Picture("dark", "/runs/{run}", height=1000, theme="dark"),
    Picture("events", "/runs/{run}?tab=events", height=760, at="#tabs"),
    Picture("state", "/runs/{run}?tab=state&checkpoint=5&against=4", width=1000, height=760, at="#tabs"),
    Picture("graph", "/runs/{run}?tab=graph", width=1000, height=640, at="#tabs"),
    Picture("inbox", "/inbox", height=1000),
    Picture("phone", "/runs/{run}", width=390, height=844),
)


PAGES = {
    "runs": "/runs",
    "run": "/runs/{run}",
    **{f"run-{tab}": f"/runs/{{run}}?tab={tab}" for tab in ("events", "state", "graph", "code", "costs")},
    "children": "/runs/{parent}?tab=children",
    "inbox": "/inbox",
    "queues": "/queues",
    "schedules": "/schedules",
}
EVERY = tuple(
    Picture(f"{name}-{theme}", path, height=1000, theme=theme, at="#tabs" if "?tab=" in path else "")
    for name, path in PAGES.items()
    for theme in ("light", "dark")
)


UNDER_THE_HEAD = """part => {
    const head = document.querySelector('header').getBoundingClientRect().height
    scrollTo(0, part.getBoundingClientRect().top + scrollY - head)
}"""


def photograph(browser: Browser, site: Site, picture: Picture, runs: dict[str, str], folder: Path) -> Path:
    """Open the page as a person would, wait until it is whole, and keep what is to be seen of it."""
    from PIL import Image

    context = browser.new_context(
        viewport={"width": picture.width, "height": picture.height},
        color_scheme=picture.theme,
        reduced_motion="reduce",
        locale="en-GB",
    )
    context.add_cookies(site.cookies)
    page = context.new_page()
    answer = page.goto(site.url + picture.path.format(run=runs["ticket 4711"], parent=runs["customer Kofi"]))
    assert answer is not None, picture.path
    assert answer.ok, f"{picture.path} answered {answer.status}"
    page.locator("#live[data-state=live]").wait_for()
    if picture.at:
        page.locator(picture.at).evaluate(UNDER_THE_HEAD)
    target = folder / f"{picture.name}.png"
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256).save(target, optimize=True)
    context.close()
    return target


def main(folder: Path, pictures: tuple[Picture, ...]) -> None:
    """Make them."""
    os.environ["VBL_ACTOR"] = "nora"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, launched() as browser:
        site = Site(Path(place), db=Path(place) / "support.db", flows=SUPPORT, actor="nora")
        made(site.db)
        try:
            named = {run.key or run.status.value: run.id for run in site.up().ui().client.runs(limit=None)}
            context = browser.new_context()
            context.new_page().goto(site.link)
            site.cookies = context.cookies()
            for picture in pictures:
                target = photograph(browser, site, picture, named, folder)
                print(f"{target}: {target.stat().st_size // 1024} KiB")
        finally:
            site.close()


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]), EVERY)
    else:
        main(ROOT / "docs/pictures", PICTURES)
