"""The sections of a file that asks nobody: the same drawings as on the page, all there at once, up to bounds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drawing.sheets import EVIL, sheet
from tests.drawing.test_markup import Reader
from tests.drawing.test_state_view import growing
from tests.history.hand import History
from tests.history.legal import histories
from vbl.drawing import sections
from vbl.drawing.sections import run_sections
from vbl.drawing.sheet import Neighbour
from vbl.history.facts import Fact


def drawn(history: History, **more: object) -> dict[str, str]:
    return {section.id: section.markup for section in run_sections(sheet(history, **more))}  # type: ignore[arg-type]


def test_nothing_in_it_asks_a_server_or_leads_to_another_page() -> None:
    history = growing().add("SIGNAL_RECEIVED", name="stop", data={"a": "x" * 70_000})
    child = Neighbour("r_child", "fetch", "completed", 0, 1)
    parts = drawn(history, children=[child], parent=child, source={"source": "x = 1", "file": "/a.py", "line": 1})
    assert list(parts) == ["head", "values", "events", "state", "graph", "code", "children"]
    for name, attributes in Reader("".join(parts.values())).elements:
        assert not [one for one in attributes if one.startswith(("hx-", "on")) or one in ("action", "src", "style")]
        assert name not in ("form", "script", "button", "input")
        assert attributes.get("href", "#").startswith("#")


def test_every_event_is_there_with_what_it_holds() -> None:
    history = growing()
    text = Reader(drawn(history)["events"]).text
    assert text.count("because of") == len(history.facts) - 1
    assert "wrote it down" in text


def test_what_is_beyond_the_bounds_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "MOST_EVENTS", 4)
    monkeypatch.setattr(sections, "MOST_DETAIL", 1)
    monkeypatch.setattr(sections, "MOST_CHECKPOINTS", 1)
    parts = drawn(growing())
    assert "The first 4 of 8 events" in parts["events"]
    assert parts["events"].count('class="event-detail"') == 1
    assert "What the first 1 changed is not in this file" in parts["state"]


def test_what_each_checkpoint_changed_is_there() -> None:
    parts = drawn(growing())
    assert "checkpoint 1" in parts["state"]
    assert "<del>broken</del><ins>broken again</ins>" in parts["state"]


def test_nothing_that_was_recorded_becomes_markup() -> None:
    history = History(workflow=EVIL, input={EVIL: EVIL}, key=EVIL, tags=[EVIL]).started().step(EVIL, input={"a": EVIL})
    history.failed(EVIL, 1, type=EVIL, message=EVIL, traceback=EVIL)
    parts = drawn(history, source={"source": EVIL, "file": EVIL, "line": 1, "version": "v0"})
    assert "<img" not in "".join(parts.values())


@settings(max_examples=60, deadline=None)
@given(histories(), st.booleans())
def test_every_legal_history_can_be_drawn(facts: list[Fact], supervised: bool) -> None:
    history = History()
    history.facts, history.now = facts, facts[-1].at
    seen = sheet(history, 5, supervised=supervised)
    parts = {section.id: section.markup for section in run_sections(seen)}
    assert len(re.findall(r'<li id="e\d+"', parts["events"])) == len(facts)
    assert seen.state.status.value.replace("_", " ") in Reader(parts["head"]).text
    assert parts["state"]
