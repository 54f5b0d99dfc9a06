"""A state is what its events add up to, however they are cut, and what is derived from it keeps its promises."""

from __future__ import annotations

import copy
import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.history.hand import History
from tests.history.legal import RUN, START, Writer, histories, states
from vbl.errors import Conflict, StorageError
from vbl.history import transitions
from vbl.history.events import PAYLOADS, StepInterrupted, payload_model, upcast
from vbl.history.facts import INPUTS, EventType, Fact, is_input
from vbl.history.state import APPLY, RunState, Status, fold, summarise


@given(histories(), st.data())
def test_fold_of_a_prefix_then_the_rest_is_the_fold_of_all(facts: list[Fact], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(facts)))
    head = fold(facts[:cut])
    before = copy.deepcopy(head)
    assert fold(facts[cut:], onto=head) == fold(facts)
    assert head == before, "the fold changed the state that it went on from"


@given(histories())
def test_the_counts_of_what_is_open_are_those_of_the_steps_and_timers(facts: list[Fact]) -> None:
    for state in states(facts):
        open_steps = {step.key: step.status for step in state.steps.values() if not step.void}
        assert state.in_flight == sum(status == "running" for status in open_steps.values())
        assert state.due == sum(status == "due" for status in open_steps.values())
        assert state.backing_off == {key for key, status in open_steps.items() if status == "retrying"}
        assert state.open_timers == {n for n, t in state.timers.items() if t.fired is None and t.cancelled is None}
        assert state.open_gates == {gate.id for gate in state.gates.values() if gate.status == "open"}
        assert state.open_waits == {n for n, w in state.waits.items() if w.taken is None and w.ended is None}
        kept = {child.call: child.status for child in state.children.values() if not child.void}
        assert state.open_children == {call for call, status in kept.items() if status == "open"}
        assert state.due_children == {call for call, status in kept.items() if status == "due"}


@given(histories())
def test_no_signal_is_lost_or_taken_twice(facts: list[Fact]) -> None:
    """Each one is kept, or has gone to one wait for its name; none is kept while somebody waits for it."""
    for state in states(facts):
        came = {fact.seq: fact.payload["name"] for fact in facts[: state.seq] if fact.type == "SIGNAL_RECEIVED"}
        kept = [(seq, name) for name, seqs in state.signals.items() for seq in seqs]
        taken = [(wait.taken, wait.name) for wait in state.waits.values() if wait.taken is not None]
        assert sorted(kept + taken) == sorted(came.items())
        assert not {state.waits[n].name for n in state.open_waits} & {name for _, name in kept}


@given(histories())
def test_what_was_used_is_every_recorded_call_and_costs_their_sum(facts: list[Fact]) -> None:
    told = [(fact.payload["step"], fact.payload["usage"]) for fact in facts if fact.payload.get("usage")]
    calls = [{"step": step, **call} for step, usage in told for call in usage.get("calls", [usage])]
    state = fold(facts)
    assert state.usage == calls
    assert state.usd == (sum(call["usd"] for call in calls) if calls else None)


@given(histories())
def test_a_gate_is_decided_once_and_says_by_whom(facts: list[Fact]) -> None:
    for state in states(facts):
        for gate in state.gates.values():
            ended = gate.status in ("granted", "denied", "expired")
            assert (gate.decided_by is not None) == (gate.status in ("granted", "denied"))
            assert (gate.decided_at is not None) == (gate.ended_seq is not None)
            assert gate.ended_seq is not None or not ended
            assert gate.next_at is None or gate.status == "open"
            assert len(gate.votes) <= gate.request["need"]


@given(histories())
def test_an_open_run_waits_for_something_that_will_wake_it(facts: list[Fact]) -> None:
    """A body in flight, a time, a supervisor that finds it due, or something from outside; else a person holds it."""
    for state in states(facts):
        outside = state.open_gates or state.open_waits or state.open_children
        in_line = state.waits_for_place or (state.started_at is None and state.queue is not None)
        if not state.finished and not state.paused and state.blocked is None:
            assert state.in_flight or outside or in_line or state.due_at is not None
            assert not in_line or state.due_at == state.deadline, "the queue says when it begins"
        else:
            assert state.due_at is None
            assert state.wake_at is None


@given(histories())
def test_a_summary_says_what_the_state_says(facts: list[Fact]) -> None:
    for state in states(facts):
        summary = summarise(state)
        assert (summary.id, summary.seq, summary.status) == (RUN, state.seq, state.status.value)
        assert state.status.finished == (state.outcome is not None) == (summary.finished_at is not None)
        assert summary.updated_at == state.at
        assert summary.created_at == START


@given(histories())
def test_every_legal_payload_fits_its_model(facts: list[Fact]) -> None:
    for fact in facts:
        model = payload_model(fact.type, fact.payload)
        assert fact.type == model.TYPE
        assert model["v"] == 1


@given(histories(), st.sampled_from([transitions.cancel, transitions.pause, transitions.unpause, transitions.retry]))
def test_what_a_person_may_do_follows_from_the_state(facts: list[Fact], what: object) -> None:
    state = fold(facts)
    allowed = {
        transitions.cancel: not state.finished and state.cancel is None,
        transitions.pause: not state.finished and not state.paused,
        transitions.unpause: state.paused,
        transitions.retry: state.status in (Status.FAILED, Status.BLOCKED, Status.RETRYING),
    }[what]
    if not allowed:
        with pytest.raises(Conflict):
            what(state, "ada", "because")
        return
    done = what(state, "ada", "because")
    after = fold(_as_facts(state, done), onto=state)
    if what is transitions.cancel:
        assert after.cancel is not None
        assert (after.cancel["at"], after.cancel["actor"], after.cancel["reason"]) == (state.at, "ada", "because")
        at_once = state.started_at is None or state.blocked is not None
        assert after.status is Status.CANCELLED if at_once else not after.finished
        assert not after.paused, "it has to go on to be cancelled"
    elif what is transitions.retry:
        assert not after.finished
        assert after.blocked is None
        assert after.due_at is not None or after.paused or after.waits_for_place, "a retried run is due"
    else:
        assert after.paused is (what is transitions.pause)


def _as_facts(state: RunState, payloads: list) -> list[Fact]:
    return [
        Fact(state.seq + n, payload.TYPE.value, state.at, payload.model_dump(mode="json"))
        for n, payload in enumerate(payloads, 1)
    ]


@given(histories())
def test_an_interruption_takes_every_step_in_flight_but_those_that_are_excepted(facts: list[Fact]) -> None:
    state = fold(facts)
    flying = {key for key, step in state.steps.items() if step.status == "running"}
    spared = set(sorted(flying)[:1])
    after = fold(_as_facts(state, transitions.interrupt(state, 7, "r", but=spared)), onto=state)
    assert after.epoch == 7
    for key in flying:
        step = after.steps[key]
        assert step.status == ("running" if key in spared else "due")
        assert step.interruptions == state.steps[key].interruptions + (key not in spared)
        assert step.attempt == state.steps[key].attempt


def test_an_interruption_that_does_not_count_is_not_counted() -> None:
    state = History().started().step("a").state()
    lost = StepInterrupted(step="a", attempt=1, epoch=2, counted=False)
    after = fold(_as_facts(state, [lost]), onto=state)
    assert after.steps["a"].interruptions == 0
    assert after.steps["a"].status == "due"
    assert after.epoch == 1, "the run is not taken over"


def test_every_type_of_event_has_a_payload_and_an_effect() -> None:
    assert set(PAYLOADS) == set(APPLY) == {type.value for type in EventType}
    assert set(PAYLOADS) >= INPUTS


def test_a_step_failure_is_an_input_when_it_is_final() -> None:
    assert is_input("STEP_FAILED", {"final": True})
    assert is_input("STEP_FAILED", {})
    assert not is_input("STEP_FAILED", {"final": False})
    assert not is_input("STEP_STARTED", {})


@pytest.mark.parametrize(("type", "payload"), [("RUN_FORKED", {"v": 1}), ("STEP_STARTED", {"v": 2})])
def test_an_event_of_a_newer_vbl_is_refused_by_name(type: str, payload: dict) -> None:
    with pytest.raises(StorageError, match=type) as refused:
        upcast(type, payload)
    assert refused.value.code == "newer"


def test_a_payload_with_a_field_too_many_is_refused() -> None:
    with pytest.raises(ValueError, match="surprise"):
        payload_model("TIMER_FIRED", {"v": 1, "timer": 1, "surprise": True})


def test_payloads_are_frozen_and_read_as_items() -> None:
    payload = payload_model("TIMER_FIRED", {"v": 1, "timer": 3})
    assert payload["timer"] == 3
    with pytest.raises(KeyError):
        payload["nothing"]
    with pytest.raises(ValueError, match="frozen"):
        payload.timer = 4  # pyright: ignore[reportAttributeAccessIssue]


def test_every_payload_says_who_writes_it_what_it_does_and_when_it_is_refused() -> None:
    for model in PAYLOADS.values():
        lines = [line.strip() for line in (model.__doc__ or "").splitlines()]
        assert lines[0].startswith("Written by"), model
        assert any(line.startswith("Effect:") for line in lines), model
        assert any(line.startswith("Rejected when") for line in lines), model


# A failed run that is retried -------------------------------------------------------------------------------------


def retried(history: History) -> RunState:
    state = history.state()
    (payload,) = transitions.retry(state, "ada", None)
    return fold(_as_facts(state, [payload]), onto=state)


def test_retry_of_a_failed_run_opens_the_failed_step_and_keeps_what_completed() -> None:
    history = History().started().step("a").done("a", output=1).step("b").failed("b").digested()
    history.step("undo").done("undo").add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "m", "step": "b"})
    after = retried(history)
    assert after.status is Status.RUNNING
    assert after.outputs == {"a": 1}, "what the code did because of the failure is void"
    assert after.pending == ["b"]
    assert after.steps["b"].failures == 0
    assert after.steps["undo"].void


def test_retry_gives_a_sibling_back_that_the_failure_cancelled() -> None:
    history = History().started().step("a").step("b").failed("a").digested()
    history.add("STEP_CANCELLED", step="b")
    history.add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "m", "step": "a"})
    assert retried(history).pending == ["a", "b"]


def test_retry_gives_a_timer_back_that_the_failure_cancelled() -> None:
    history = History().started().step("a").add("TIMER_SET", timer=1, at=START + 5).failed("a").digested()
    history.add("TIMER_CANCELLED", timer=1).add("TIMER_SET", timer=2, at=START + 9)
    history.add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "m", "step": "a"})
    after = retried(history)
    assert after.open_timers == {1}
    assert 2 not in after.timers


def test_retry_of_a_run_that_failed_by_itself_goes_through_the_code_again() -> None:
    history = (
        History().started().step("a").done("a").add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "m"})
    )
    after = retried(history)
    assert after.due_at is not None
    assert after.outputs == {"a": None}


def test_retry_while_backing_off_makes_the_soonest_step_due() -> None:
    history = History().started().step("a").step("b")
    history.failed("a", final=False).backoff("a", 60, 2).failed("b", final=False).backoff("b", 30, 2)
    after = retried(history)
    assert after.steps["b"].status == "due"
    assert after.backing_off == {"a"}


def test_the_state_of_a_run_holds_nothing_but_what_its_events_said() -> None:
    """A new field of the state must come from an event: else a rebuild would differ."""
    assert fold([]) == RunState()
    assert all(
        field.default is not dataclasses.MISSING or field.default_factory for field in dataclasses.fields(RunState)
    )


def test_the_random_histories_reach_every_event_and_every_status() -> None:
    facts = [Writer(random.Random(seed)).write(40) for seed in range(300)]
    assert {fact.type for history in facts for fact in history} == {type.value for type in EventType}
    seen = {fold(history[:n]).status for history in facts for n in range(1, len(history) + 1)}
    assert seen == set(Status)
