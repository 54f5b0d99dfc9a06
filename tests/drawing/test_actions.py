"""The bar of what may be done to a run: a button is enabled exactly where the history would not refuse the act."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given

from tests.drawing.test_forms import Browser
from tests.drawing.test_markup import Reader
from tests.history.hand import History
from tests.history.legal import histories
from vbl.drawing.actions import action_bar, waits
from vbl.drawing.decision import tried
from vbl.drawing.markup import Markup
from vbl.drawing.sheet import RunSheet
from vbl.errors import Conflict
from vbl.history.consequences import Act, consequence
from vbl.history.facts import Fact
from vbl.history.plotting import timeline
from vbl.history.state import fold
from vbl.history.why import why


def sheet(facts: list[Fact], *, supervised: bool = True) -> RunSheet:
    state = fold(facts)
    now = facts[-1].at
    return RunSheet(
        id=state.run_id,
        version=state.version,
        parent=None,
        children=[],
        facts=facts,
        state=state,
        picture=timeline(facts, now, supervised=supervised),
        answer=why(state, now, None, supervised),
        supervised=supervised,
        now=now,
    )


def bar(history: History, **more: Any) -> Markup:
    drawn = action_bar(sheet(history.facts), "token", False, root="/root", actor="me", **more)
    assert drawn is not None
    return drawn


def buttons(markup: str) -> dict[str, bool]:
    found = re.findall(r'<button type="button"([^>]*) data-dialog="do-(\w+)"', markup)
    return {name: " disabled" not in before for before, name in found}


@given(histories())
def test_a_button_is_enabled_exactly_where_the_act_would_not_be_refused(facts: list[Fact]) -> None:
    seen = sheet(facts)
    drawn = action_bar(seen, "token", False)
    assert drawn is not None
    shown = buttons(drawn)
    acts: tuple[Act, ...] = ("retry", "pause", "unpause", "cancel")
    for act in acts:
        refused = isinstance(tried(lambda act=act: consequence(seen.state, act, seen.now)), str)
        assert shown.get(act, False) is not refused, act
    assert set(re.findall(r'<dialog id="do-(\w+)"', drawn)) == {act for act, enabled in shown.items() if enabled}


@given(histories())
def test_ids_are_unique_and_every_field_is_labelled(facts: list[Fact]) -> None:
    read = Browser(action_bar(sheet(facts), "token", False) or "")
    assert len(set(read.ids)) == len(read.ids)
    assert read.labels <= set(read.ids)


def test_where_nothing_may_be_changed_there_is_no_bar() -> None:
    assert action_bar(sheet(History().started().facts), "token", True) is None


def test_a_dialog_says_what_is_appended_and_what_runs_then() -> None:
    text = Reader(bar(History().started().step("fetch"))).text
    assert "appends CANCEL_REQUESTED, then the code sees a cancel where it waits" in text
    assert "appends RUN_PAUSED, then step fetch ends and is recorded" in text


def test_a_run_that_was_not_begun_has_no_time_to_clean_up() -> None:
    assert 'name="within"' not in bar(History())
    assert 'name="within"' in bar(History().started())


def test_each_message_that_is_waited_for_has_a_form_by_its_type() -> None:
    history = History().started()
    history.add("SIGNAL_AWAITED", wait=1, name="paid", json_schema={"type": "integer"})
    history.add("SIGNAL_AWAITED", wait=2, name="paid", json_schema={"type": "string"})
    history.add("SIGNAL_AWAITED", wait=3, name="go")
    found = waits(history.state())
    assert [(name, form.entries[0].kind) for name, form in found.items()] == [("paid", "number"), ("go", "json")]
    text = Reader(bar(history)).text
    for word in ("Send paid…", "Send go…", "Send a signal…", "the code gets it where it waits for go"):
        assert word in text


def test_a_run_that_has_ended_can_only_be_opened_again() -> None:
    done = History().started().add("RUN_COMPLETED", output=1)
    assert buttons(bar(done)) == {"retry": False}
    assert "Send" not in Reader(bar(done)).text
    failed = History().started().step("a").failed("a")
    failed.digested().add("RUN_FAILED", error={"step": "a", "kind": "bug", "type": "E", "message": "m"})
    assert buttons(bar(failed)) == {"retry": True}


def test_without_a_supervisor_that_is_said() -> None:
    alone = action_bar(sheet(History().started().facts, supervised=False), "token", False)
    assert alone is not None
    assert "no supervisor is alive" in Reader(alone).text


def test_nothing_that_was_recorded_becomes_markup() -> None:
    nasty = "\"'><script>alert(1)</script>"
    history = History(workflow=nasty).started().step(nasty)
    history.add("SIGNAL_AWAITED", wait=1, name=nasty, json_schema={"enum": [nasty], "description": nasty})
    read = Reader(bar(history, problem=Conflict(nasty, nasty)))
    assert "script" not in {tag for tag, _ in read.elements}
    assert nasty in read.text
