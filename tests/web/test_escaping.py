"""Markup in every field that a run can have stays text on every page: all of them are followed, link by link."""

from __future__ import annotations

import contextlib
import html.parser
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

import vbl
from tests.web.conftest import Site, entered, running

EVIL = """"><evil onload=alert(1)>'><evil-too/onx=1></script></textarea></title></style><!--<script>evil()</script>"""
LINK = "javascript:alert(1)//<evil>"
MOST_PAGES = 300
SCHEMES = ("", "http", "https", "data")


class Failing(Exception):
    """Fails with markup in its words."""


@vbl.step(effect="write")
def break_out(text: str, more: dict[str, Any]) -> dict[str, Any]:
    return {EVIL: [text, more, LINK, {"role": "user", "content": EVIL}]}


@vbl.step
def chat() -> list[dict[str, str]]:
    return [{"role": EVIL, "content": EVIL}, {"role": "assistant", "content": f"# {EVIL}\n\n[x]({LINK}) ![y]({LINK})"}]


@vbl.step
def fails() -> None:
    raise Failing(EVIL)


@vbl.workflow(name=f"flow{EVIL}", queue=EVIL, concurrency=5)
async def flow(text: str, more: dict[str, Any]) -> Any:
    await break_out.aio(text, more)
    await chat.aio()
    with contextlib.suppress(vbl.StepFailed):
        await fails.aio()
    gate = await vbl.approve(break_out.call(text, more), show={EVIL: [EVIL, LINK]}, edit=True, timeout=3600)
    heard = await vbl.wait(EVIL, timeout=3600)
    return {EVIL: [gate.reason, heard]}


@vbl.workflow(name=f"ends{EVIL}")
async def ends(text: str) -> None:
    raise Failing(text)


class Reading(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def complaints(text: str) -> Iterator[str]:
    """Everything in the page that came out of a payload as more than text, or that its policy would refuse."""
    reading = Reading()
    reading.feed(text)
    for name, attributes in reading.found:
        if name.startswith("evil") or name in ("iframe", "object", "embed", "base", "style"):
            yield f"<{name}>"
        if name == "script" and not (attributes.get("src") or "").startswith("/assets/"):
            yield f"<script {attributes}>"
        for key, value in attributes.items():
            if key.startswith(("on", "hx-on")) or key in ("style", "srcdoc"):
                yield f"<{name} {key}={value!r}>"
            if key in ("href", "src", "action", "hx-get", "hx-post", "xlink:href"):
                scheme = urlsplit((value or "").strip()).scheme.lower()
                if scheme not in SCHEMES:
                    yield f"<{name} {key}={value!r}>"


def links(base: str, text: str) -> Iterator[str]:
    reading = Reading()
    reading.feed(text)
    for _, attributes in reading.found:
        for key in ("href", "hx-get", "data-src", "data-url"):
            target = attributes.get(key)
            if target and target.startswith(("/", "?")) and not target.startswith("/assets/"):
                yield urljoin(base, target).split("#")[0]


@pytest.fixture
def evil(path: Path) -> Iterator[Site]:
    with vbl.open(path) as runtime, vbl.connect(path) as file:
        options: dict[str, Any] = {"key": EVIL, "tags": [EVIL, f"env={EVIL}"]}
        open_run = runtime.start(flow, EVIL, {EVIL: [EVIL, {"deep": LINK}]}, **options)
        open_run.wait("waiting_for_approval", timeout=30)
        decided = runtime.start(flow, EVIL, {"x": LINK}, tags=[EVIL])
        decided.wait("waiting_for_approval", timeout=30)
        (gate,) = file.gates(run=decided)
        file.approve(gate, by=EVIL, reason=EVIL)
        decided.wait("waiting", timeout=30)
        decided.signal(EVIL, {EVIL: LINK}, by=EVIL)
        decided.wait(timeout=30)
        runtime.start(ends, EVIL).wait("failed", timeout=30)
        held = runtime.start(flow, EVIL, {})
        held.wait("waiting_for_approval", timeout=30)
        held.pause(by=EVIL, reason=EVIL)
        file.schedule(ends, "0 9 * * *", text=EVIL, name=f"plan{EVIL}", tags=[EVIL])
        with running(path) as server:
            yield entered(server)


@pytest.mark.slow
def test_markup_in_every_field_is_text_on_every_page(evil: Site) -> None:
    waiting = ["/runs", "/inbox", "/queues", "/schedules", "/standing", f"/runs?q={'%3Cevil%3E'}", "/nothing<evil>"]
    seen: set[str] = set()
    shown = 0
    while waiting and len(seen) < MOST_PAGES:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        answer = evil.get(path)
        assert answer.status_code < 500, f"{path}: {answer.text[-500:]}"
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        assert list(complaints(answer.text)) == [], path
        shown += "evil" in answer.text
        waiting += [link for link in links(path, answer.text) if link not in seen and not link.startswith("/live")]
    assert shown > 20, "the words were on hardly any page, so nothing was tried"
    assert {"/runs", "/inbox", "/queues", "/schedules"} <= seen
    assert any("tab=state" in path for path in seen)


def test_markup_in_a_form_that_comes_back_is_text(evil: Site) -> None:
    gates = evil.get("/api/v1/gates").json()["items"]
    for place, fields in (
        (f"/gates/{gates[0]['id']}/approve", {"as": EVIL, "reason": EVIL, "edit": EVIL, "data": EVIL, EVIL: EVIL}),
        (f"/gates/{gates[0]['id']}/deny", {"as": EVIL * 50, "reason": EVIL}),
        (f"/runs/{gates[0]['run_id']}/signal", {"name": EVIL, "data": EVIL}),
        (f"/runs/{gates[0]['run_id']}/cancel", {"within": EVIL, "reason": EVIL}),
        ("/runs/bulk", {"run": EVIL, "action": EVIL}),
        (f"/schedules/{EVIL.replace('/', '')}/pause", {}),
    ):
        answer = evil.post_form(place, **fields)
        assert answer.status_code < 500, answer.text[-500:]
        assert list(complaints(answer.text)) == [], place


def test_these_complaints_can_be_heard() -> None:
    for bad in (
        "<evil>", "<p style='x'>", "<a href='javascript:x'>", "<a href=' JavaScript:x'>", "<p onclick=x>",
        "<script>x</script>", "<script src='//x/assets/'></script>", "<iframe>", "<form action='data2:x'>",
    ):  # fmt: skip
        assert list(complaints(bad)), bad
    assert not list(complaints('<a href="/runs">x</a><script src="/assets/1/a.js"></script><p>&lt;evil&gt;</p>'))
