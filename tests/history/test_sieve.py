"""Which events are wanted, of plain facts and of validated ones alike."""

from __future__ import annotations

import pytest

from vbl.history.events import payload_model
from vbl.history.facts import Event, EventType, Fact
from vbl.history.sieve import Sieve, went_wrong

ERROR = {"kind": "bug", "type": "ValueError", "message": "no", "traceback": ""}
FACTS = [
    Fact(1, "STEP_STARTED", 1, {"step": "draft#2", "attempt": 1, "idempotency_key": "k"}),
    Fact(2, "STEP_FAILED", 2, {"step": "draft#2", "attempt": 1, "error": ERROR}),
    Fact(3, "STEP_COMPLETED", 3, {"step": "send[1]", "attempt": 1, "output": "failed"}),
    Fact(4, "CHILD_FINISHED", 4, {"call": "a", "child": "r_1", "status": "failed", "error": ERROR}),
    Fact(5, "CHILD_FINISHED", 5, {"call": "b", "child": "r_2", "status": "completed"}),
    Fact(6, "RUN_PAUSED", 6, {}),
]
EVENTS = [Event(f.seq, "r_1", f.seq, EventType(f.type), f.at, payload_model(f.type, f.payload)) for f in FACTS]


@pytest.mark.parametrize(
    ("sieve", "seqs"),
    [
        (Sieve(), [1, 2, 3, 4, 5, 6]),
        (Sieve(types=frozenset({"STEP_STARTED", "RUN_PAUSED"})), [1, 6]),
        (Sieve(steps=frozenset({"draft"})), [1, 2]),
        (Sieve(steps=frozenset({"draft#2"})), [1, 2]),
        (Sieve(steps=frozenset({"draft#3"})), []),
        (Sieve(steps=frozenset({"send", "draft"}), failed=True), [2]),
        (Sieve(failed=True), [2, 4]),
        (Sieve(types=frozenset({"STEP_COMPLETED"}), failed=True), []),
    ],
)
def test_what_is_wanted_comes_through(sieve, seqs):
    assert [fact.seq for fact in FACTS if sieve.lets(fact)] == seqs
    assert [event.seq for event in EVENTS if sieve.lets(event)] == seqs


def test_what_only_speaks_of_failure_did_not_go_wrong():
    assert not went_wrong(FACTS[2])
