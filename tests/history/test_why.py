# ruff: noqa: E501  a row of a table is one line
"""Every unfinished run waits for one named thing."""

from __future__ import annotations

import pytest

from tests.history.hand import SECOND, START, History
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


def told(h: History, *, after: float = 0.0, loaded: set[str] | None = frozenset({"triage"}), alive: bool = True):
    answer = why(h.state(), h.now + round(after * SECOND), loaded, alive)
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
        (BACKING_OFF, {"alive": False}, "backoff", "fetch failed (rate_limited: HTTPError: 429), retrying in 30 s, attempt 2 of 5; no supervisor is alive to notice"),
        (BACKING_OFF, {"alive": False, "after": 31}, "supervisor", "ready to go on; no supervisor is alive to move it"),
        (ASLEEP, {}, "timer", "timer 1, in 1 h"),
        (ASLEEP, {"after": 1800, "alive": False}, "timer", "timer 1, in 30 min; no supervisor is alive to notice"),
        (ASLEEP, {"after": 7200}, "timer", "timer 1, now"),
        (ASLEEP, {"after": 7200, "alive": False}, "supervisor", "ready to go on; no supervisor is alive to move it"),
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
        (History().started().add("RUN_FAILED", 1, error={"kind": "bug", "type": "E", "message": "x"}), {}, "retry", "failed after 1 s: bug: E: x"),
        (History(deadline=START + 60 * SECOND).started().add("TIMER_SET", timer=1, at=START + 3600 * SECOND), {}, "timer", "its deadline, in 1 min"),
    ],
)  # fmt: skip
def test_what_a_run_waits_for(h, more, waits_for, words):
    assert told(h, **more) == (waits_for, words)


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


def test_what_is_loaded_is_no_reason_where_it_is_not_known():
    assert told(History(), loaded=None)[0] == "supervisor"
