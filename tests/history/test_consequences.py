"""What an act would do is what it does: the same transition, tried before it is taken."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

import vbl
from tests.history.hand import SECOND, START, History
from tests.history.legal import histories
from vbl.errors import Conflict, InvalidInput, UsageError, VblError
from vbl.handle import Run
from vbl.history import transitions
from vbl.history.consequences import ACTS, Act, consequence, of_denial, of_grant, of_signal
from vbl.history.gates import call_digest, deny, grant
from vbl.history.state import fold
from vbl.testing import Trial

NOW = START + 86_400 * SECOND
TRANSITIONS: dict[Act, Any] = {
    "cancel": lambda state: transitions.cancel(state, "ada", "r", NOW),
    "pause": lambda state: transitions.pause(state, "ada", "r"),
    "unpause": lambda state: transitions.unpause(state, "ada", "r"),
    "retry": lambda state: transitions.retry(state, "ada", "r"),
    "happened": lambda state: transitions.resolve(state, "happened", 7, "ada", "r"),
    "did_not": lambda state: transitions.resolve(state, "did_not_happen", None, "ada", "r"),
    "fail": lambda state: transitions.resolve(state, "failed", None, "ada", "r"),
}


def outcome(what: Any) -> Any:
    """The types of the events, or the refusal."""
    try:
        return [payload.TYPE.value for payload in what()]
    except VblError as error:
        return type(error), error.code, error.message


def foreseen(what: Any) -> Any:
    try:
        told = what()
    except VblError as error:
        return type(error), error.code, error.message
    assert told.then
    return list(told.events)


@given(histories())
def test_what_is_foreseen_is_what_the_transition_does_and_nothing_is_touched(facts: Any) -> None:
    state = fold(facts)
    before = copy.deepcopy(state)
    for act in ACTS:
        told = foreseen(lambda act=act: consequence(state, act, NOW))
        assert told == outcome(lambda act=act: TRANSITIONS[act](state))
    for name in ("x", "y"):
        told = foreseen(lambda name=name: of_signal(state, name, NOW))
        assert told == outcome(lambda name=name: transitions.signal(state, name, 1, None, "ada"))
    for id in state.gates:
        granted = foreseen(lambda id=id: of_grant(state, id, state.at))
        denied = foreseen(lambda id=id: of_denial(state, id, state.at))
        assert state == before
        asked = copy.deepcopy(state)
        asked.gates[id].to = []
        assert granted == outcome(lambda id=id, asked=asked: grant(asked, id, "zoe", now=asked.at))
        assert denied == outcome(lambda id=id, asked=asked: deny(asked, id, "zoe", now=asked.at))
    assert state == before


# Words ----------------------------------------------------------------------------------------------------------------


def then(history: History, act: Act) -> str:
    return consequence(history.state(), act, history.now).then


def test_a_retry_names_the_step_its_attempt_and_what_is_kept() -> None:
    history = History().started().step("fetch").done("fetch").step("charge").failed("charge")
    history.digested().add("RUN_FAILED", error={"step": "charge", "kind": "transient", "type": "E", "message": "m"})
    assert then(history, "retry") == "step charge is run again as attempt 2; 1 completed step is not run again"


def test_a_retry_of_a_mistake_in_the_code_says_what_is_void() -> None:
    history = History().started().step("fetch").done("fetch")
    history.add("RUN_FAILED", error={"kind": "bug", "type": "TypeError", "message": "m"})
    assert then(history, "retry").startswith("what the code did behind event 4 is void, and it goes on from there")


def test_a_retry_of_an_unknown_outcome_warns() -> None:
    history = History().started().step("send", effect="write")
    history.add("STEP_INTERRUPTED", step="send", attempt=1, epoch=2)
    history.add("RUN_BLOCKED", reason="unknown_outcome", version="v1", message="?", unblock="!", step="send")
    assert "nobody knows whether it happened before" in then(history, "retry")
    assert then(history, "did_not") == "step send is run again as attempt 2"
    assert "send is not run again" in then(history, "happened")
    assert "StepFailed at send" in then(history, "fail")


def test_a_retry_may_wait_for_a_place() -> None:
    history = History(queue="mail").started().step("send").failed("send").digested()
    history.add("RUN_FAILED", error={"step": "send", "kind": "transient", "type": "E", "message": "m"})
    assert "once it has a place in queue mail" in then(history, "retry")


def test_a_cancel_says_who_can_clean_up_and_what_is_given_up() -> None:
    running = History().started().step("fetch")
    assert consequence(running.state(), "cancel", running.now).events == ("CANCEL_REQUESTED",)
    assert then(running, "cancel") == (
        "the code sees a cancel where it waits, and may clean up for 5 min; step fetch given up"
    )
    unborn = History()
    assert consequence(unborn.state(), "cancel", unborn.now).events == ("CANCEL_REQUESTED", "RUN_CANCELLED")
    assert "at once: it has not begun" in then(unborn, "cancel")
    family = History().started().add("CHILD_STARTED", call="c", child="r_1", workflow="w")
    assert then(family, "cancel").endswith("1 child with it")


def test_a_pause_says_what_still_ends() -> None:
    assert then(History().started().step("fetch"), "pause").startswith("step fetch ends and is recorded")
    assert then(History().started(), "pause").startswith("no step starts")
    assert (
        then(History().started().step("a").add("RUN_PAUSED"), "unpause")
        == "the code goes on from where its history ends"
    )


def gate(**request: Any) -> History:
    asked = History(actor="starter").started()
    return asked.add("APPROVAL_REQUESTED", gate="g", key="send", name="send", **request)


CALL = {
    "step": "send",
    "input": {"to": "eve", "amount": 5},
    "version": "v1",
    "digest": call_digest("send", {"to": "eve", "amount": 5}, "v1"),
    "parameters": {"to": {"type": "string"}, "amount": {"type": "integer"}},
}


def test_an_approval_says_which_call_may_run_edited_or_not() -> None:
    asked = gate(call=CALL, edit=True, to=["carl"], not_starter=True)
    plain = of_grant(gate(call=CALL).state(), "g", asked.now)
    assert plain.then == 'the code goes on, and send(to="eve", amount=5) may run with just these arguments, once'
    open_to_edits = of_grant(asked.state(), "g", asked.now)
    assert open_to_edits.then.endswith("may run with just these arguments (or as you edit them), once")
    edited = of_grant(asked.state(), "g", asked.now, {"amount": 7})
    assert edited.then.endswith('send(to="eve", amount=7) may run with the edited arguments, once')
    with pytest.raises(InvalidInput):
        of_grant(asked.state(), "g", asked.now, {"amount": "many"})


def test_an_approval_short_of_the_quorum_runs_nothing() -> None:
    asked = gate(call=CALL, edit=True, need=2)
    assert of_grant(asked.state(), "g", asked.now).then == (
        "nothing runs yet: 1 of 2 have approved then, and 1 more must"
    )
    asked.add("APPROVAL_GRANTED", gate="g", actor="ada", final=False)
    assert "may run" in of_grant(asked.state(), "g", asked.now).then
    assert "asked again" in of_grant(asked.state(), "g", asked.now, {"amount": 6}).then


def test_a_question_that_asks_for_data_is_foreseen_before_there_is_any() -> None:
    asked = gate(json_schema={"type": "integer"})
    assert of_grant(asked.state(), "g", asked.now).then == "the code goes on and gets the data"
    assert "sees a denial" in of_denial(asked.state(), "g", asked.now).then
    two = gate(json_schema={"type": "integer"}, need=2)
    two.add("APPROVAL_GRANTED", gate="g", actor="ada", final=False, data=7)
    assert of_grant(two.state(), "g", two.now).then == "the code goes on and gets the data"


def test_what_holds_the_run_is_said() -> None:
    asked = gate().add("RUN_PAUSED")
    assert of_grant(asked.state(), "g", asked.now).then.endswith(", once it is unpaused")


def test_a_gate_that_is_decided_cannot_be_foreseen() -> None:
    asked = gate().add("APPROVAL_DENIED", gate="g", actor="ada")
    for told in (of_grant, of_denial):
        with pytest.raises(Conflict, match="denied by ada"):
            told(asked.state(), "g", asked.now)


def test_a_message_is_taken_or_kept() -> None:
    waiting = History().started().add("SIGNAL_AWAITED", wait=1, name="go")
    assert of_signal(waiting.state(), "go", waiting.now).then == "the code gets it where it waits for go"
    assert "kept until" in of_signal(waiting.state(), "stop", waiting.now).then


# For real -------------------------------------------------------------------------------------------------------------

BROKEN = [True]


@vbl.step
def fetch() -> int:
    return 1


@vbl.step
def charge(amount: int) -> int:
    if BROKEN[0]:
        raise UsageError("the till is closed")
    return amount


@vbl.workflow
def buy() -> int:
    return charge(fetch())


def types(run: Run) -> list[str]:
    return [fact.type for fact in run.facts()]


def test_what_is_said_of_a_retry_is_what_a_supervisor_does(tmp_path: Path) -> None:
    BROKEN[0] = True
    with Trial(tmp_path / "trial.db") as trial:
        run = trial.start(buy)
        trial.settle()
        assert run.status == "failed"
        told = consequence(run.state(), "retry", trial.clock.now())
        assert told.then == "step charge is run again as attempt 2; 1 completed step is not run again"
        BROKEN[0] = False
        seq = run.refresh().seq
        run.retry()
        assert run.result() == 1
        after = run.facts()[seq:]
        assert tuple(fact.type for fact in after[: len(told.events)]) == told.events
        started = [fact.payload for fact in after if fact.type == "STEP_STARTED"]
        assert [(one["step"], one["attempt"]) for one in started] == [("charge", 2)]
