"""The script of a history: what the code has to ask for again, in order, and what it is handed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.history.hand import START, History
from tests.history.legal import histories
from vbl.history.facts import Fact, is_input
from vbl.history.script import COMMANDS, script_of, subject_of


def commands(history: History) -> list[str]:
    return [str(command) for command in script_of(history.facts).commands]


def inputs(history: History) -> list[int]:
    return [fact.seq for fact in script_of(history.facts).inputs]


@given(histories(), st.data())
def test_a_history_that_goes_on_does_not_change_what_was_asked_for(facts: list[Fact], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(facts)))
    if any(fact.type == "RUN_RETRIED" or fact.payload.get("forced") for fact in facts[cut:]):
        return  # both take back what was asked for
    before, after = script_of(facts[:cut]), script_of(facts)
    assert after.commands[: len(before.commands)] == before.commands
    assert after.inputs[: len(before.inputs)] == before.inputs


@given(histories())
def test_a_script_is_made_of_the_commands_and_inputs_of_its_history(facts: list[Fact]) -> None:
    script = script_of(facts)
    by_seq = {fact.seq: fact for fact in facts}
    for command in script.commands:
        fact = by_seq[command.seq]
        assert (command.type, command.subject) == (fact.type, subject_of(fact.type, fact.payload))
        assert command.type in COMMANDS
    assert [c.seq for c in script.commands] == sorted(c.seq for c in script.commands)
    started = [c.subject for c in script.commands if c.type == "STEP_STARTED"]
    assert len(started) == len(set(started)), "a step is asked for once, however often it is tried"
    for fact in script.inputs:
        assert fact.type == "RUN_STARTED" or is_input(fact.type, fact.payload)
    ended = [fact.payload["step"] for fact in script.inputs if fact.type.startswith("STEP_")]
    assert len(ended) == len(set(ended)), "a step ends once"


@given(histories())
def test_what_is_voided_by_a_retry_is_not_asked_for(facts: list[Fact]) -> None:
    for fact in facts:
        if fact.type == "RUN_RETRIED" and (failed := fact.payload.get("from_seq")) is not None:
            script = script_of(facts[: fact.seq])
            assert all(command.seq <= failed for command in script.commands)
            undone = fact.payload.get("step") is not None
            assert not undone or all(known.seq != failed for known in script.inputs), "a mistake keeps its input"
    assert not [c for c in script_of(facts).commands if c.type == "RUN_FAILED"] or facts[-1].type != "RUN_RETRIED"


def test_only_the_first_attempt_of_a_step_is_a_command() -> None:
    history = (
        History().started().step("a").failed("a", final=False).backoff("a", 5, 2).step("a", 5, attempt=2).done("a")
    )
    assert commands(history) == ["STEP_STARTED a"]
    assert inputs(history) == [2, 7]


def test_a_result_that_comes_after_the_step_was_given_up_is_not_handed_over() -> None:
    history = History().started().step("a").add("STEP_CANCELLED", step="a")
    history.add("STEP_COMPLETED", step="a", attempt=1, output=1)
    assert commands(history) == ["STEP_STARTED a", "STEP_CANCELLED a"]
    assert inputs(history) == [2]


def test_timers_and_patches_are_commands_by_their_number_and_name() -> None:
    history = History().started().add("TIMER_SET", timer=1, at=START).add("VERSION_MARKED", patch="p")
    history.add("TIMER_CANCELLED", timer=1).add("RUN_COMPLETED", output=None)
    assert commands(history) == ["TIMER_SET 1", "VERSION_MARKED p", "TIMER_CANCELLED 1", "RUN_COMPLETED"]


def test_a_history_is_whole_at_the_end_of_a_batch_and_not_within_one() -> None:
    history = History().add("RUN_STARTED", epoch=1, commands=2)
    wholes = [script_of(history.facts).whole]
    for name in ("a", "b"):
        history.step(name)
        wholes.append(script_of(history.facts).whole)
    assert wholes == [False, False, True]
    assert not script_of(history.add("STEP_COMPLETED", step="a", attempt=1, output=1).facts).whole, "not digested yet"


def test_a_failed_run_that_is_retried_goes_on_before_the_failure() -> None:
    history = History().started().step("a").step("b").failed("a").digested()
    history.add("STEP_CANCELLED", step="b").step("undo").done("undo")
    history.add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "m", "step": "a"})
    history.add("RUN_RETRIED", step="a", from_seq=5)
    assert commands(history) == ["STEP_STARTED a", "STEP_STARTED b"]
    assert inputs(history) == [2]
    history.step("a", attempt=2).done("a", attempt=2)
    assert inputs(history) == [2, len(history.facts) - 1]


def test_a_sibling_that_completed_after_the_failure_stays_completed() -> None:
    history = History().started().step("a").step("b").failed("a").done("b", output=2)
    seq = history.facts[-2].seq
    history.add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "m", "step": "a"})
    history.add("RUN_RETRIED", step="a", from_seq=5)
    assert inputs(history) == [2, seq]


def test_a_retry_without_a_step_takes_out_the_end_alone() -> None:
    history = (
        History().started().step("a").done("a").add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "m"})
    )
    history.add("RUN_RETRIED")
    assert commands(history) == ["STEP_STARTED a"]
    assert inputs(history) == [2, 4]
