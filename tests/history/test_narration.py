# ruff: noqa: E501  a row of a table is one line
"""Each event has a line, and the line is safe to print, whatever the user put into it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.history.hand import RUN, START
from vbl.history.events import PAYLOADS, payload_model
from vbl.history.facts import Event, EventType, Fact
from vbl.history.narration import duration, narrate, preview, printable, utc

ERROR = {
    "kind": "rate_limited",
    "type": "HTTPStatusError",
    "message": "429 Too Many Requests\nslow down",
    "step": "fetch",
}

GATE, CHILD = "g_abcdefghjkmn", "r_fedcba9876543210"

LINES = {
    "RUN_CREATED": (
        {"run_id": RUN, "workflow": "triage", "version": "v1", "input": {"args": ["T-1"]}, "key": "k", "actor": "ada"},
        'triage created by ada with key "k": {"args": ["T-1"]}',
    ),
    "RUN_STARTED": ({"epoch": 3}, "run started by supervisor 3"),
    "RUN_RESUMED": ({"epoch": 4, "reason": "takeover"}, "run resumed by supervisor 4: takeover"),
    "RUN_COMPLETED": ({"output": 42}, "run completed: 42"),
    "RUN_FAILED": ({"error": ERROR}, "run failed in step fetch (rate_limited: HTTPStatusError: 429 Too Many Requests)"),
    "RUN_BLOCKED": (
        {"reason": "diverged", "version": "v2", "message": "the history says a\nthe code b", "unblock": "u"},
        "run blocked (diverged): the history says a",
    ),
    "RUN_PAUSED": ({"actor": "ada", "reason": "lunch"}, "run paused by ada: lunch"),
    "RUN_UNPAUSED": ({"actor": "ada"}, "run unpaused by ada"),
    "RUN_RETRIED": ({"step": "fetch", "actor": "ada"}, "run retried from step fetch by ada"),
    "CANCEL_REQUESTED": ({}, "cancel requested"),
    "RUN_CANCELLED": (
        {"reason": "too late", "undone": [{"step": "a", "ok": True}, {"step": "b", "ok": False, "error": "E: no"}]},
        "run cancelled: too late; undone: a; not undone: b",
    ),
    "STEP_STARTED": ({"step": "fetch", "attempt": 2, "idempotency_key": "x"}, "fetch started, attempt 2"),
    "STEP_COMPLETED": ({"step": "fetch", "attempt": 1, "output": "text"}, 'fetch completed: "text"'),
    "STEP_FAILED": (
        {"step": "fetch", "attempt": 1, "error": ERROR, "final": False},
        "fetch failed on attempt 1 (rate_limited: HTTPStatusError: 429 Too Many Requests)",
    ),
    "STEP_CANCELLED": ({"step": "fetch"}, "fetch given up by the workflow"),
    "STEP_INTERRUPTED": (
        {"step": "fetch", "attempt": 1, "epoch": 1},
        "fetch interrupted on attempt 1: its process died",
    ),
    "RETRY_SCHEDULED": (
        {"step": "fetch", "attempt": 2, "at": START + 30_000_000, "reason": "rate_limited", "max_attempts": 5},
        "fetch failed, retrying in 30 s, attempt 2 of 5 (rate_limited)",
    ),
    "CHECKPOINT_WRITTEN": ({"checkpoint": 7, "applied": 3, "delta": {"notes": 1}}, "checkpoint 7: notes changed"),
    "TIMER_SET": ({"timer": 1, "at": START + 60_000_000}, "timer 1 set for 1 min, until 2025-10-09 08:54:20 UTC"),
    "TIMER_FIRED": ({"timer": 1}, "timer 1 fired"),
    "TIMER_CANCELLED": ({"timer": 1}, "timer 1 no longer needed"),
    "VERSION_MARKED": ({"patch": "new-prompt"}, 'patch "new-prompt" taken'),
    "RUN_QUEUED": ({"queue": "mail", "lane": '"acme"'}, 'run waits in queue mail, lane "acme"'),
    "STEP_PROBED": ({"step": "send", "attempt": 1}, "send in doubt: its probe is asked whether it happened"),
    "STEP_RESOLVED": (
        {"step": "send", "outcome": "happened", "output": {"id": 7}, "actor": "ada", "reason": "it is in the outbox"},
        'send settled by ada: it is in the outbox; it happened, with {"id": 7}',
    ),
    "SIGNAL_AWAITED": (
        {"wait": 1, "name": "payment", "expires_at": START + 60_000_000},
        "waits for signal payment, for 1 min, until 2025-10-09 08:54:20 UTC",
    ),
    "SIGNAL_RECEIVED": (
        {"name": "payment", "data": {"sum": 5}, "actor": "shop"},
        'signal payment received by shop: {"sum": 5}',
    ),
    "WAIT_EXPIRED": ({"wait": 1, "late_us": 5_000_000}, "wait 1 for a signal ended: none came in time, 5 s late"),
    "WAIT_CANCELLED": ({"wait": 1}, "wait 1 for a signal no longer needed"),
    "APPROVAL_REQUESTED": (
        {
            "gate": GATE, "key": "send", "name": "send", "to": ["ada", "group:ops"], "need": 2,
            "expires_at": START + 60_000_000,
        },
        f"send: approval asked of ada or group ops, 2 of them ({GATE}), for 1 min, until 2025-10-09 08:54:20 UTC",
    ),
    "APPROVAL_GRANTED": (
        {"gate": GATE, "actor": "ada", "reason": "fine", "edit": {"text": "Hello"}},
        f"gate {GATE} granted by ada: fine; edited: text",
    ),
    "APPROVAL_DENIED": ({"gate": GATE, "actor": "ada"}, f"gate {GATE} denied by ada"),
    "APPROVAL_ESCALATED": (
        {"gate": GATE, "to": ["eve", "bob", "group:ops"], "late_us": 2_000_000},
        f"gate {GATE} escalated to eve, bob or group ops, 2 s late",
    ),
    "APPROVAL_REMINDED": ({"gate": GATE}, f"gate {GATE} is still open: a reminder"),
    "APPROVAL_EXPIRED": ({"gate": GATE, "outcome": "deny"}, f"gate {GATE} expired, which denies it"),
    "APPROVAL_CLOSED": ({"gate": GATE}, f"gate {GATE} no longer needed"),
    "DECISION_REFUSED": (
        {"gate": GATE, "actor": "bob", "decision": "approve", "why": "bob started the run"},
        f"gate {GATE}: approve by bob was refused, bob started the run",
    ),
    "CHILD_STARTED": (
        {"call": "trip", "child": CHILD, "workflow": "trip", "input": {"to": "Rome"}},
        f'child trip started ({CHILD}): {{"to": "Rome"}}',
    ),
    "CHILD_FINISHED": (
        {"call": "trip", "child": CHILD, "status": "failed", "error": ERROR},
        f"child {CHILD} failed (rate_limited: HTTPStatusError: 429 Too Many Requests)",
    ),
    "CHILD_CANCELLED": ({"call": "trip", "child": CHILD}, f"child {CHILD} given up by the workflow"),
    "SCHEDULE_FIRED": (
        {"due_at": START, "run": CHILD, "reason": "on time", "late_us": 1_500_000},
        f"due at 2025-10-09 08:53:20 UTC: started {CHILD}, on time, 1.5 s late",
    ),
    "SCHEDULE_SKIPPED": (
        {"due_at": START, "reason": "the one before still runs", "count": 3},
        "due at 2025-10-09 08:53:20 UTC and 2 more: skipped, the one before still runs",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("type", "payload", "line"),
    [
        ("APPROVAL_REQUESTED", {"gate": GATE, "key": "a", "name": "a"}, f"a: approval asked of anybody ({GATE})"),
        (
            "APPROVAL_REQUESTED",
            {"gate": GATE, "key": "a", "name": "a", "to": ["ada"], "reopens": "g_0", "problem": "the code changed"},
            f"a: approval asked again of ada ({GATE}): the code changed",
        ),
        ("APPROVAL_GRANTED", {"gate": GATE, "actor": "ada", "final": False}, f"gate {GATE} approved by ada; more are needed"),
        ("APPROVAL_EXPIRED", {"gate": GATE, "outcome": "approve"}, f"gate {GATE} expired, which approves it"),
        ("APPROVAL_EXPIRED", {"gate": GATE, "outcome": "fail"}, f"gate {GATE} expired, which fails it"),
        ("STEP_RESOLVED", {"step": "a", "outcome": "did_not_happen", "actor": "probe"}, "a settled by probe; it did not happen"),
        ("STEP_RESOLVED", {"step": "a", "outcome": "failed", "actor": "ada", "error": ERROR}, "a settled by ada; it failed (rate_limited: HTTPStatusError: 429 Too Many Requests)"),
        ("CHILD_FINISHED", {"call": "a", "child": CHILD, "status": "completed", "output": 3}, f"child {CHILD} completed: 3"),
        ("CHILD_FINISHED", {"call": "a", "child": CHILD, "status": "cancelled"}, f"child {CHILD} cancelled"),
        ("TIMER_FIRED", {"timer": 1, "late_us": 30_000_000}, "timer 1 fired, 30 s late"),
        ("SIGNAL_RECEIVED", {"name": "go"}, "signal go received"),
        ("RUN_QUEUED", {"queue": "mail"}, "run waits in queue mail"),
    ],
)  # fmt: skip
def test_a_line_says_what_is_special_of_an_event(type, payload, line):
    assert narrate(Fact(1, type, START, payload)) == line
    assert narrate(Event(1, RUN, 1, EventType(type), START, payload_model(type, payload))) == line


@pytest.mark.parametrize("type", list(EventType))
def test_every_type_has_its_own_line(type):
    assert type.value in LINES, "a new type of event needs a line here and a sentence in narration.py"


@pytest.mark.parametrize("type", sorted(LINES))
def test_a_line_reads_the_same_from_a_fact_and_from_an_event(type):
    payload, line = LINES[type]
    assert narrate(Fact(1, type, START, payload)) == line
    assert narrate(Event(1, RUN, 1, EventType(type), START, payload_model(type, payload))) == line


def test_the_lines_cover_no_type_that_does_not_exist():
    assert set(LINES) == set(PAYLOADS)


def test_an_attempt_number_past_the_bound_does_not_claim_to_be_within_it():
    fact = Fact(
        1, "RETRY_SCHEDULED", START, {"step": "a", "attempt": 6, "at": START, "reason": "timeout", "max_attempts": 5}
    )
    assert narrate(fact) == "a failed, retrying in 0 ms, attempt 6 (timeout)"


def test_the_users_text_cannot_steer_the_terminal():
    fact = Fact(
        1,
        "STEP_FAILED",
        START,
        {"step": "a\x1b[2J", "attempt": 1, "error": {"kind": "bug", "type": "E", "message": "\u202eevil\x9b"}},
    )
    line = narrate(fact)
    assert line == "a\\x1b[2J failed for good on attempt 1 (bug: E: \\u202eevil\\x9b)"


@given(st.text())
def test_printable_text_is_one_printable_line_that_can_be_encoded(text):
    line = printable(text)
    assert line.isprintable()
    line.encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(json_values, st.integers(8, 100))
def test_a_preview_is_bounded_and_whole_when_it_fits(value, limit):
    shown = preview(value, limit)
    assert len(shown) <= limit
    whole = json.dumps(value, ensure_ascii=False)
    if len(whole) <= limit:
        assert shown == whole


def test_a_preview_does_not_walk_what_it_does_not_show():
    class Endless(list):  # type: ignore[type-arg]
        def __iter__(self):
            for n in range(1000):
                assert n < 100, "walked on after the preview was full"
                yield n

    assert preview(Endless(), 20).endswith("…")
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert preview(deep, 20).endswith("…")


@pytest.mark.parametrize(
    ("us", "words"),
    [
        (-5, "0 ms"), (0, "0 ms"), (1, "1 ms"), (850_000, "850 ms"), (999_499, "999 ms"), (999_600, "1 s"),
        (1_240_000, "1.2 s"), (9_949_999, "9.9 s"), (9_960_000, "10 s"), (59_600_000, "1 min"),
        (125_000_000, "2 min 5 s"), (3_600_000_000, "1 h"), (7_320_000_000, "2 h 2 min"), (273_600_000_000, "3 d 4 h"),
    ],
)  # fmt: skip
def test_durations_in_words(us, words):
    assert duration(us) == words


def test_an_instant_beyond_the_calendar_is_still_told():
    assert utc(10**30) == f"{10**30} µs since 1970"
