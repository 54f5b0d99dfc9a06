"""A step whose outcome nobody knows: how it comes to be so, who settles it, and what a late end is worth."""

from __future__ import annotations

from typing import Any

import pytest

from tests.history.hand import History
from vbl.errors import Conflict, InvalidInput
from vbl.history import transitions
from vbl.history.facts import Fact
from vbl.history.script import script_of
from vbl.history.state import Status, fold, summarise

SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


def lost(**more: Any) -> History:
    """A write that was in flight when its process died."""
    history = History().started().step("send", effect="write", **more)
    return history.add("STEP_INTERRUPTED", step="send", attempt=1, epoch=2)


def blocked(reason: str = "unknown_outcome", **more: Any) -> History:
    return lost().add("RUN_BLOCKED", reason=reason, version="v1", message="?", unblock="!", step="send", **more)


def settle(history: History, outcome: Any, output: Any = None) -> History:
    (event,) = transitions.resolve(history.state(), outcome, output, "ada", "she looked")
    return history.add(event.TYPE.value, **event.model_dump(mode="json"))


def test_what_happened_is_the_output_of_the_step() -> None:
    state = settle(blocked(), "happened", {"id": 7}).state()
    assert (state.blocked, state.outputs, state.due) == (None, {"send": {"id": 7}}, 0)
    assert (state.status, state.due_at) == (Status.RUNNING, state.at), "somebody must digest it"


def test_what_did_not_happen_is_due_again() -> None:
    state = settle(blocked(), "did_not_happen").state()
    assert (state.steps["send"].status, state.due, state.steps["send"].interrupted) == ("due", 1, False)


def test_a_failure_that_was_declared_leaves_the_outcome_unknown() -> None:
    """The workflow sees a failure; a retry of the run must not take it for one that is safe to repeat."""
    history = settle(blocked(), "failed")
    step = history.state().steps["send"]
    assert step.error is not None
    assert (step.status, step.error["kind"], step.interrupted) == ("failed", "interrupted", True)
    ended = history.state().seq
    history.digested().add("RUN_FAILED", error={**step.error, "step": "send"})
    again = history.add("RUN_RETRIED", step="send", from_seq=ended).state()
    assert (again.steps["send"].status, again.steps["send"].interrupted) == ("due", True)


@pytest.mark.parametrize("outcome", ["happened", "did_not_happen", "failed"])
def test_only_a_run_that_asks_can_be_answered(outcome: Any) -> None:
    for history in (lost(), blocked("diverged"), blocked("poisoned")):
        with pytest.raises(Conflict) as refused:
            transitions.resolve(history.state(), outcome, None, None, None)
        assert refused.value.code == "nothing_to_resolve"
    with pytest.raises(Conflict, match="is finished"):
        transitions.resolve(blocked().add("RUN_CANCELLED").state(), outcome, None, None, None)


def test_an_answer_that_the_step_could_not_have_given_is_refused() -> None:
    history = blocked(json_schema=SCHEMA)
    with pytest.raises(InvalidInput, match="the result of step send"):
        transitions.resolve(history.state(), "happened", {"id": "no number"}, None, None)
    (event,) = transitions.resolve(history.state(), "happened", {"id": "7"}, None, None)
    assert event["output"] == {"id": 7}


def test_a_retry_means_run_it_again_only_where_that_was_the_question() -> None:
    for reason, interrupted in (("unknown_outcome", False), ("poisoned", True)):
        state = blocked(reason).add("RUN_RETRIED", step="send").state()
        assert state.steps["send"].interrupted is interrupted, reason


# The probe --------------------------------------------------------------------------------------------------------


def test_a_probe_in_flight_is_in_flight() -> None:
    state = lost().add("STEP_PROBED", step="send", attempt=1).state()
    assert (state.in_flight, state.due, state.steps["send"].probing, state.due_at) == (1, 0, True, None)


def test_a_death_with_the_probe_counts_as_one_of_the_step() -> None:
    history = lost().add("STEP_PROBED", step="send", attempt=1, alone=True)
    step = history.add("STEP_INTERRUPTED", step="send", attempt=1, epoch=3).state().steps["send"]
    assert (step.status, step.interruptions, step.deaths_alone, step.probing) == ("due", 2, 1, False)


def test_a_probe_that_cannot_say_ends_with_the_block() -> None:
    history = lost().add("STEP_PROBED", step="send", attempt=1)
    state = history.add(
        "RUN_BLOCKED", reason="unknown_outcome", version="v1", message="?", unblock="!", step="send"
    ).state()
    assert (state.in_flight, state.due, state.steps["send"].interrupted) == (0, 1, True)


# Late ends --------------------------------------------------------------------------------------------------------


def given_up() -> History:
    """A write that the code gave up in flight; then the run failed for another reason."""
    history = History().started().step("send", effect="write").step("ask")
    history.done("ask").add("STEP_CANCELLED", step="send")
    return history.add("RUN_FAILED", error={"kind": "bug", "type": "KeyError", "message": "x"})


def late(history: History) -> History:
    return history.add("STEP_COMPLETED", step="send", attempt=1, output=7)


def inputs(history: History) -> list[Fact]:
    return [fact for fact in script_of(history.facts).inputs if fact.type == "STEP_COMPLETED"]


def test_a_late_end_is_kept_and_changes_nothing() -> None:
    before, after = given_up().state(), late(given_up()).state()
    assert (after.status, after.finished_at, after.outputs) == (before.status, before.finished_at, before.outputs)
    assert after.last_input == before.last_input
    assert after.steps["send"].late_seq == after.seq
    assert (summarise(after).status, summarise(after).due_at) == ("failed", None)


def test_a_late_end_is_not_handed_to_the_code() -> None:
    assert [fact.payload["step"] for fact in inputs(late(given_up()))] == ["ask"]


def test_where_the_giving_up_is_void_a_late_end_is_the_end() -> None:
    """A retry goes back behind the point where the code gave the step up: it has completed, and never runs again."""
    history = late(given_up()).add("RUN_RETRIED", from_seq=5)
    step = history.state().steps["send"]
    assert (step.status, step.output, history.state().due) == ("completed", 7, 0)
    assert [fact.payload["step"] for fact in inputs(history)] == ["ask", "send"]
    assert history.state().last_input == 9, "the code has yet to digest it"


def test_where_the_giving_up_is_void_a_step_without_an_end_is_in_doubt() -> None:
    step = given_up().add("RUN_RETRIED", from_seq=5).state().steps["send"]
    assert (step.status, step.interrupted) == ("due", True)


def test_a_late_failure_is_no_doubt() -> None:
    history = given_up()
    history.add("STEP_FAILED", step="send", attempt=1, error={"kind": "bug", "type": "E", "message": "m"}, final=True)
    assert history.state().steps["send"].status == "cancelled"
    step = history.add("RUN_RETRIED", from_seq=5).state().steps["send"]
    assert (step.status, step.interrupted) == ("due", False)


def test_a_late_end_of_what_is_void_is_there_for_the_next_call() -> None:
    """The retry goes back behind the call itself; where the code asks for it again, its result is at hand."""
    history = History().started().step("ask").done("ask").step("send", effect="write")
    history.add("RUN_FAILED", error={"kind": "bug", "type": "KeyError", "message": "x"})
    history.add("RUN_RETRIED", from_seq=4)
    assert history.state().steps["send"].interrupted
    step = late(history).state().steps["send"]
    assert (step.void, step.status, step.output, step.interrupted) == (True, "completed", 7, False)
    assert fold(history.facts).in_flight == 0
