"""A run as one file: all of it inside, nothing asked for, and only its own scripts let run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC
from html.parser import HTMLParser
from pathlib import Path

import pytest

import vbl
from vbl.cli.main import main
from vbl.drawing.markup import VOID
from vbl.drawing.static import MODULES, document
from vbl.testing import FakeClock, Trial

EVIL = """</script></style><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>"'&\x00\u202e"""


@vbl.step(retry=vbl.Retry(max_attempts=2, delay=3600, jitter=0, retry_on=["bug"]))
async def risky(text: str) -> str:
    await WORLD.clock.sleep(5)
    if not WORLD.calls:
        WORLD.calls += 1
        raise ValueError(text)
    return text


@vbl.step
async def large(size: int) -> str:
    return "x" * size


@vbl.workflow
async def evil(text: str) -> str:
    await risky(text)
    gate = await vbl.approve(text)
    return f"{text}{gate.approved}"


@vbl.workflow
async def brief(size: int) -> int:
    return len(await large(size))


@dataclass
class World:
    """What the steps share: the clock of the trial, and how often one was called."""

    clock: FakeClock
    calls: int = 0


WORLD: World


class Page(HTMLParser):
    """The elements of a document, the text inside scripts and styles, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.found: dict[str, list[dict[str, str | None]]] = defaultdict(list)
        self.raw: dict[str, list[str]] = defaultdict(list)
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag].append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside in ("script", "style"):
            self.raw[inside].append(data)
        else:
            self.text += data

    @property
    def policy(self) -> str:
        (meta,) = [one for one in self.found["meta"] if one.get("http-equiv") == "Content-Security-Policy"]
        return meta["content"] or ""


@pytest.fixture
def trial(tmp_path):
    global WORLD
    with Trial(tmp_path / "runs.db") as trial:
        WORLD = World(trial.clock)
        yield trial


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_lets_exactly_the_scripts_and_styles_of_the_file_run(trial):
    run = trial.start(brief, 3)
    run.result()
    page = Page(document(run.sheet(), zone=UTC))
    directives = {name: set(sources) for name, *sources in (part.split() for part in page.policy.split(";"))}
    assert directives["default-src"] == {"'none'"}
    assert directives["script-src"] == {digest(text) for text in page.raw["script"]}
    assert directives["style-src"] == {digest(text) for text in page.raw["style"]}
    assert len(page.raw["script"]) == len(MODULES) + 1
    assert len(page.raw["style"]) == 1
    assert directives["img-src"] == {"data:"}
    assert directives["form-action"] == directives["base-uri"] == {"'none'"}


def test_nothing_in_it_leads_out_of_it(trial):
    run = trial.start(evil, EVIL)
    run.wait("waiting_for_approval")
    page = Page(document(run.sheet(), zone=UTC))
    attributes = [(name, value or "") for found in page.found.values() for one in found for name, value in one.items()]
    led = [value for name, value in attributes if name in ("href", "src", "action", "xlink:href", "srcset", "data")]
    assert led
    assert {value for value in led if not value.startswith("#")} == {"data:,"}
    assert not [name for name, _ in attributes if name.startswith(("on", "hx-")) or name == "style"]
    assert not {"form", "iframe", "object", "embed", "base", "img"} & set(page.found)


def test_every_link_inside_it_has_its_target(trial):
    run = trial.start(evil, "text")
    run.wait("waiting_for_approval")
    page = Page(document(run.sheet(), zone=UTC))
    ids = {one["id"] for found in page.found.values() for one in found if "id" in one}
    assert {(one.get("href") or "")[1:] for one in page.found["a"]} <= ids


def test_what_was_recorded_stays_text(trial):
    run = trial.start(evil, EVIL)
    run.wait("waiting_for_approval")
    page = Page(document(run.sheet(), zone=UTC))
    assert "<img src=http://evil.example/x onerror=alert(1)>" in page.text
    assert "alert(1)" not in "".join(page.raw["script"])
    assert "\x00" not in page.text


def test_days_of_waiting_have_both_axes_and_a_short_run_has_one(trial):
    long, short = trial.start(evil, "text"), trial.start(brief, 3)
    short.result()
    long.wait("waiting_for_approval")
    charts = {
        run.workflow: [
            one["id"]
            for one in Page(document(run.sheet(), zone=UTC)).found["div"]
            if (one.get("class") or "").startswith("timeline ")
        ]
        for run in (long, short)
    }
    assert charts == {"evil": ["timeline", "timeline-real"], "brief": ["timeline"]}


def test_a_large_payload_is_cut_and_its_size_named(trial):
    run = trial.start(brief, 300_000)
    run.result()
    text = document(run.sheet(), zone=UTC)
    assert "x" * 100_000 not in text
    assert "300 KB" in Page(text).text


def test_show_writes_the_page_of_a_run(trial, tmp_path, monkeypatch, capsys):
    run = trial.start(brief, 3)
    run.result()
    monkeypatch.setenv("VBL_DB", str(trial.path))
    target = tmp_path / "run.html"
    with pytest.raises(SystemExit) as left:
        main(["show", run.id, "--html", str(target), "--json"])
    assert left.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"file": str(target), "bytes": target.stat().st_size}
    assert f"brief {run.id}" in Page(target.read_text("utf-8")).text


def test_a_file_that_cannot_be_written_is_named(trial, tmp_path, monkeypatch, capsys):
    run = trial.start(brief, 3)
    run.result()
    monkeypatch.setenv("VBL_DB", str(trial.path))
    target = Path(tmp_path / "no" / "folder.html")
    with pytest.raises(SystemExit) as left:
        main(["show", run.id, "--html", str(target)])
    assert left.value.code == 2
    assert f"cannot write {target}: No such file or directory" in capsys.readouterr().err
