# ruff: noqa: E501  a row of a table is one line
"""Every unfinished run waits for one named thing at least."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.history.hand import RUN, SECOND, START, History
from tests.history.legal import histories, states
from vbl.history.reasons import Reason
from vbl.history.state import Status
from vbl.history.why import why

BACKING_OFF = (
    History()
    .started()
    .step("fetch")
    .failed("fetch", 2, final=False, kind="rate_limited", type="HTTPError", message="429")
)
BACKING_OFF.backoff("fetch", 30, 2)
BLOCK = {"reason": "diverged", "version": "v2", "message": "line 12 asks for b", "unblock": "vbl up the old file"}
ASLEEP = History().started().add("TIMER_SET", timer=1, at=START + 3600 * SECOND)
TIMER = "timer 1: until 2025-10-09 09:53:20 UTC"
GATE, OTHER, CHILD = "g_abcdefghjkmn", "g_zyxwvtsrqpnm", "r_fedcba9876543210"
ASKED = f"gate send ({GATE}) asks"


def gated(**asked) -> History:
    return History().started().add("APPROVAL_REQUESTED", **{"gate": GATE, "key": "send", "name": "send", **asked})


def awaited(**asked) -> History:
    return History().started().add("SIGNAL_AWAITED", **{"wait": 1, "name": "payment", **asked})


def with_child() -> History:
    return History().started().add("CHILD_STARTED", call="trip", child=CHILD, workflow="trip")


def asked(h: History, *, after: float = 0.0, loaded=frozenset({"triage"}), alive: bool = True, **more):
    return why(h.state(), h.now + round(after * SECOND), loaded, alive, **more)


def told(h: History, **more):
    answer = asked(h, **more)
    return answer.waits_for, answer.detail


@pytest.mark.parametrize(
    ("h", "more", "waits_for", "words"),
    [
        (History(), {"alive": False}, "supervisor", "queued; no supervisor is alive to start it"),
        (History(), {}, "supervisor", "due; the supervisor takes it up next"),
        (History(), {"loaded": {"other", "another"}}, "workflow", "the supervisor has not loaded the workflow triage; it has: another, other"),
        (History(), {"loaded": set()}, "workflow", "the supervisor has not loaded the workflow triage; it has: none"),
        (History().started().step("a"), {"after": 4}, "step", "step a in flight for 4 s"),
        (History().started().step("a").step("b").step("c").step("d"), {"after": 1}, "step", "4 steps (a, b, c, …) in flight for 1 s"),
        (History().started().step("a"), {"alive": False}, "supervisor", "step a in flight when the supervisor went; the next one starts it again"),
        (BACKING_OFF, {}, "backoff", "fetch failed (rate_limited: HTTPError: 429), retrying in 30 s, attempt 2 of 5"),
        (BACKING_OFF, {"alive": False}, "backoff", "fetch failed (rate_limited: HTTPError: 429), retrying in 30 s, attempt 2 of 5\nno supervisor is alive to notice"),
        (BACKING_OFF, {"alive": False, "after": 31}, "supervisor", "ready to go on; no supervisor is alive to move it\nfetch failed (rate_limited: HTTPError: 429), retrying now, attempt 2 of 5"),
        (ASLEEP, {}, "timer", f"{TIMER}, in 1 h"),
        (ASLEEP, {"after": 1800, "alive": False}, "timer", f"{TIMER}, in 30 min\nno supervisor is alive to notice"),
        (ASLEEP, {"after": 7200}, "timer", f"{TIMER}, now"),
        (ASLEEP, {"after": 7200, "alive": False}, "supervisor", f"ready to go on; no supervisor is alive to move it\n{TIMER}, now"),
        (History().started().add("RUN_PAUSED"), {}, "unpause", "paused; no step starts until it is unpaused"),
        (History().started().add("RUN_PAUSED"), {"alive": False}, "unpause", "paused; no step starts until it is unpaused"),
        (History().started().step("a").add("RUN_PAUSED"), {}, "unpause", "paused; step a still in flight, to be recorded when done"),
        (History().started().add("RUN_BLOCKED", **BLOCK), {}, "code", "line 12 asks for b"),
        (History().started().add("RUN_BLOCKED", **BLOCK), {"alive": False}, "code", "line 12 asks for b"),
        (History().started().add("RUN_BLOCKED", **(BLOCK | {"reason": "poisoned"})), {}, "person", "line 12 asks for b"),
        (History().started().add("RUN_BLOCKED", **(BLOCK | {"reason": "unknown_outcome"})), {}, "person", "line 12 asks for b"),
        (History().started().add("RUN_BLOCKED", **(BLOCK | {"reason": "deadlock"})), {}, "code", "line 12 asks for b"),
        (History().started().step("a").done("a").add("RUN_COMPLETED", 2), {"alive": False}, "nothing", "completed after 2 s"),
        (History().started().add("RUN_CANCELLED", 1), {}, "nothing", "cancelled after 1 s"),
        (History().started().add("CANCEL_REQUESTED", actor="ada", reason="not needed").add("RUN_CANCELLED", 1), {}, "nothing", "cancelled after 1 s by ada (not needed)"),
        (History().started().add("CANCEL_REQUESTED", actor="ada").add("RUN_COMPLETED", 2), {}, "nothing", "completed after 2 s"),
        (History().started().add("RUN_FAILED", 1, error={"kind": "bug", "type": "E", "message": "x"}), {}, "retry", "failed after 1 s: bug: E: x"),
        (History(deadline=START + 60 * SECOND).started().add("TIMER_SET", timer=1, at=START + 3600 * SECOND), {}, "timer", f"its deadline, in 1 min\n{TIMER}, in 1 h"),
    ],
)  # fmt: skip
def test_what_a_run_waits_for(h, more, waits_for, words):
    assert told(h, **more) == (waits_for, words)


@pytest.mark.parametrize(
    ("h", "more", "waits_for", "words"),
    [
        (gated(), {"after": 180}, "gate", f"{ASKED} anybody, for 3 min now"),
        (gated(to=["ada", "group:ops"]), {}, "gate", f"{ASKED} ada or group ops, for 0 ms now"),
        (gated(expires_at=START + 60 * SECOND, on_timeout="deny"), {}, "gate", f"{ASKED} anybody, for 0 ms now; expires in 1 min, which denies it"),
        (gated(expires_at=START + 60 * SECOND, on_timeout="escalate"), {}, "gate", f"{ASKED} anybody, for 0 ms now; expires in 1 min"),
        (gated(to=["ada"], escalate=[{"at": START + 30 * SECOND, "to": ["eve"]}]), {}, "gate", f"{ASKED} ada, for 0 ms now; escalates to eve in 30 s"),
        (gated(to=["ada"], escalate=[{"at": START + 30 * SECOND, "to": ["eve"]}]).add("APPROVAL_ESCALATED", 30, gate=GATE, to=["eve"]), {}, "gate", f"{ASKED} ada or eve, for 30 s now"),
        (gated(need=2).add("APPROVAL_GRANTED", gate=GATE, actor="ada", final=False), {}, "gate", f"{ASKED} anybody, for 0 ms now; 1 of 2 have approved: ada"),
        (gated(problem="the code changed"), {}, "gate", f"{ASKED} anybody, for 0 ms now; asked again: the code changed"),
        (gated(), {"alive": False}, "gate", f"{ASKED} anybody, for 0 ms now\nno supervisor is alive to notice"),
        (gated(), {"loaded": {"other"}}, "gate", f"{ASKED} anybody, for 0 ms now\nthe supervisor has not loaded the workflow triage; it has: other"),
        (gated().add("APPROVAL_GRANTED", gate=GATE, actor="ada"), {}, "supervisor", "due; the supervisor takes it up next"),
        (gated().add("APPROVAL_DENIED", gate=GATE, actor="ada"), {"alive": False}, "supervisor", "ready to go on; no supervisor is alive to move it"),
        (awaited(), {"after": 60}, "signal", "signal payment, for 1 min now"),
        (awaited(expires_at=START + 60 * SECOND), {}, "signal", "signal payment, for 0 ms now; gives up in 1 min"),
        (awaited().add("SIGNAL_RECEIVED", name="other"), {}, "supervisor", "due; the supervisor takes it up next"),
        (awaited().add("SIGNAL_RECEIVED", name="other").digested(), {}, "signal", "signal payment, for 0 ms now"),
        (awaited().add("SIGNAL_RECEIVED", name="payment"), {"alive": False}, "supervisor", "ready to go on; no supervisor is alive to move it"),
        (with_child(), {}, "child", f"child trip ({CHILD})"),
        (with_child(), {"children": {CHILD: "waiting_for_approval"}}, "child", f"child trip ({CHILD}), waiting for approval"),
        (with_child().add("CHILD_FINISHED", call="trip", child=CHILD, status="completed"), {}, "supervisor", "due; the supervisor takes it up next"),
        (History(queue="mail"), {}, "queue", "waits for a place in queue mail"),
        (History(queue="mail", lane='"acme"'), {}, "queue", 'waits for a place in queue mail, lane "acme"'),
        (History(queue="mail"), {"place": Reason("queue", "rate 60/min", START, "vbl queues")}, "queue", "rate 60/min"),
        (History(queue="mail"), {"alive": False}, "supervisor", "queued; no supervisor is alive to start it"),
        (History(queue="mail"), {"loaded": set()}, "workflow", "the supervisor has not loaded the workflow triage; it has: none"),
        (History(), {"silent": "process 7 is silent"}, "lock", "process 7 is silent"),
        (gated(), {"silent": "process 7 is silent"}, "gate", f"{ASKED} anybody, for 0 ms now\nprocess 7 is silent"),
        (ASLEEP, {"after": 7200, "silent": "process 7 is silent"}, "lock", f"process 7 is silent\n{TIMER}, now"),
        (History().started().step("a").add("CANCEL_REQUESTED", actor="ada"), {}, "supervisor", "a cancel was asked for; the supervisor takes it up next"),
        (History().started().step("a").add("CANCEL_REQUESTED", actor="ada", reason="late", until=START + 60 * SECOND).digested(), {}, "step", "step a in flight for 0 ms\ncancelled by ada (late); it may clean up until 2025-10-09 08:54:20 UTC, in 1 min"),
        (History().started().add("CANCEL_REQUESTED").digested(), {}, "supervisor", "a cancel was asked for; the supervisor takes it up next\ncancelled; it cleans up"),
        (gated().add("RUN_PAUSED"), {}, "unpause", "paused; no step starts until it is unpaused"),
    ],
)  # fmt: skip
def test_what_a_run_waits_for_from_outside(h, more, waits_for, words):
    assert told(h, **more) == (waits_for, words)


def test_a_race_names_everything_that_can_end_it_the_most_human_first():
    race = gated(expires_at=START + 90 * SECOND).add("TIMER_SET", timer=1, at=START + 60 * SECOND)
    race.add("SIGNAL_AWAITED", wait=1, name="the payment", json_schema={"type": "object"})
    race.add("CHILD_STARTED", call="trip", child=CHILD, workflow="trip")
    answer = asked(race)
    assert (answer.status, answer.waits_for) == ("waiting_for_approval", "gate")
    assert [reason.waits_for for reason in answer.also] == ["signal", "child", "timer"]
    assert answer.detail.splitlines()[1:] == [reason.detail for reason in answer.also]
    assert answer.until == START + 60 * SECOND, "the first instant at which time moves it"
    assert answer.hint.splitlines() == [
        f"vbl approve {GATE}   (or: vbl deny {GATE})",
        f"vbl signal {RUN} 'the payment' JSON",
        f"vbl why {CHILD}",
    ]


def test_bodies_in_flight_come_before_the_gate_beside_them():
    answer = asked(gated().step("a"))
    assert (answer.status, answer.waits_for, answer.also[0].waits_for) == ("running", "step", "gate")
    answer = asked(gated().step("a"), alive=False)
    assert (answer.waits_for, [reason.waits_for for reason in answer.also]) == ("supervisor", ["gate"])


def test_a_child_that_stands_still_is_named_before_those_that_move_and_the_rest_is_counted():
    h = History().started()
    for n in range(6):
        h.add("CHILD_STARTED", call=f"trip#{n}", child=f"r_{n}", workflow="trip")
    answer = asked(h, children={"r_0": "running", "r_4": "blocked", "r_5": "queued"})
    assert answer.detail.splitlines() == [
        "child trip (r_4), blocked",
        "child trip (r_0), running",
        "child trip (r_1)",
        "3 more children",
    ]


def test_many_gates_are_counted_and_the_inbox_has_them():
    h = History().started()
    for n in range(5):
        h.add("APPROVAL_REQUESTED", gate=f"g_{n}", key=f"send#{n}", name="send")
    answer = asked(h)
    assert [line.split(" asks")[0] for line in answer.detail.splitlines()] == [
        "gate send (g_0)", "gate send (g_1)", "gate send (g_2)", "2 more gates",
    ]  # fmt: skip
    assert answer.hint.splitlines()[-1] == "vbl inbox"


def test_a_step_whose_outcome_nobody_knows_has_three_answers():
    h = History().started().add("RUN_BLOCKED", **(BLOCK | {"reason": "unknown_outcome", "step": "send"}))
    assert [line.split("   ")[0] for line in asked(h).hint.splitlines()] == [
        f"vbl resolve {RUN} --happened JSON",
        f"vbl resolve {RUN} --did-not",
        f"vbl resolve {RUN} --fail",
    ]


@given(histories(), st.booleans(), st.sampled_from([None, frozenset(), frozenset({"w"})]), st.booleans())
def test_every_unfinished_run_waits_for_something_that_has_a_name(facts, alive, loaded, silent):
    for state in states(facts):
        answer = why(state, state.at + SECOND, loaded, alive, silent="process 7 is silent" if silent else None)
        assert (answer.waits_for in ("nothing", "retry")) == state.finished
        assert answer.detail
        assert answer.status is state.status
        if not state.finished and state.blocked is None and not state.paused and not alive:
            assert "no supervisor" in answer.detail or "when the supervisor went" in answer.detail
        for gate in state.open_gates if answer.waits_for == "gate" else ():
            assert gate in answer.detail or "more gate" in answer.detail


@given(histories())
def test_a_run_in_the_hands_of_a_person_says_so(facts):
    for state in states(facts):
        answer = why(state, state.at, None, True)
        if state.status is Status.WAITING_FOR_APPROVAL:
            assert answer.waits_for == "gate"
            assert "vbl approve g_" in answer.hint
        elif answer.waits_for == "gate":
            assert state.open_gates
            assert state.status is Status.RETRYING, "only a backoff beside it takes the word"


def test_a_wait_that_time_ends_says_when():
    assert why(BACKING_OFF.state(), BACKING_OFF.now, None, True).until == BACKING_OFF.now + 30 * SECOND
    assert why(ASLEEP.state(), ASLEEP.now, None, True).until == START + 3600 * SECOND
    assert why(History().state(), START, None, False).until is None


def test_every_wait_that_a_person_can_end_says_what_to_type():
    for h, alive, command in [
        (History(), False, "vbl up"),
        (History().started().add("RUN_PAUSED"), True, "vbl unpause r_"),
        (History().started().add("RUN_BLOCKED", **BLOCK), True, "vbl up the old file"),
        (BACKING_OFF, True, "vbl retry r_"),
        (
            History().started().add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "x"}),
            True,
            "vbl retry r_",
        ),
    ]:
        assert command in why(h.state(), h.now, {"triage"}, alive).hint


def test_the_hint_names_the_file_where_it_is_known():
    h = History()
    assert why(h.state(), h.now, None, False, "flows/triage.py").hint == "vbl up flows/triage.py"
    assert why(h.state(), h.now, {"other"}, True, "triage.py").hint.endswith("vbl up triage.py")
    assert why(ASLEEP.state(), h.now, None, False, "triage.py").hint == "vbl up triage.py"
    assert why(h.state(), h.now, None, True, "triage.py", silent="x").hint.startswith("vbl up triage.py --force")


def test_what_is_loaded_is_no_reason_where_it_is_not_known():
    assert told(History(), loaded=None)[0] == "supervisor"
