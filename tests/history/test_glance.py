"""What a list says of a run is what its last events show, and nothing that a later one has settled."""

from __future__ import annotations

from typing import Any

import pytest

from vbl.history.glance import Glimpse, glance
from vbl.history.state import Status


def said(status: Status, *events: tuple[str, dict[str, Any]]) -> str:
    """The glance over events in the order in which they happened."""
    return glance(status, [Glimpse(*event) for event in reversed(events)])


def started(step: str, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    return "STEP_STARTED", {"step": step, "attempt": attempt}


def ended(step: str) -> tuple[str, dict[str, Any]]:
    return "STEP_COMPLETED", {"step": step, "attempt": 1}


AGAIN = ("RETRY_SCHEDULED", {"step": "draft", "attempt": 2, "max_attempts": 5, "reason": "rate_limited: 429"})


def test_a_running_run_is_at_the_steps_that_have_not_ended() -> None:
    assert said(Status.RUNNING, started("a"), ended("a"), started("b", 2)) == "b, attempt 2"
    assert said(Status.RUNNING, started("a"), started("b"), ended("b")) == "a"
    assert said(Status.RUNNING, started("a"), started("b"), started("c"), started("d")) == "c, d and 2 more"
    assert said(Status.RUNNING, started("a"), ended("a")) == ""


def test_a_backoff_is_told_until_the_next_attempt() -> None:
    assert said(Status.RETRYING, started("draft"), AGAIN) == "draft: rate_limited: 429, attempt 2 of 5"
    assert said(Status.RETRYING, started("draft"), AGAIN, started("draft", 2)) == ""


@pytest.mark.parametrize(
    ("status", "opens", "closes", "words"),
    [
        (
            Status.WAITING_FOR_APPROVAL,
            ("APPROVAL_REQUESTED", {"gate": "g_1", "name": "Send it?"}),
            ("APPROVAL_EXPIRED", {"gate": "g_1"}),
            "Send it?",
        ),
        (
            Status.WAITING,
            ("SIGNAL_AWAITED", {"wait": 1, "name": "answer"}),
            ("SIGNAL_RECEIVED", {"name": "answer"}),
            "signal answer",
        ),
        (
            Status.WAITING,
            ("SIGNAL_AWAITED", {"wait": 1, "name": "answer"}),
            ("WAIT_EXPIRED", {"wait": 1}),
            "signal answer",
        ),
        (
            Status.WAITING,
            ("CHILD_STARTED", {"call": "c", "workflow": "mail"}),
            ("CHILD_FINISHED", {"call": "c"}),
            "child mail",
        ),
    ],
)
def test_a_wait_is_told_while_it_is_open(status: Status, opens: Any, closes: Any, words: str) -> None:
    assert said(status, opens) == words
    assert said(status, opens, closes) == ""


def test_a_message_settles_nothing_else_of_its_name() -> None:
    asked, message = ("APPROVAL_REQUESTED", {"gate": "g_1", "name": "go"}), ("SIGNAL_RECEIVED", {"name": "go"})
    assert said(Status.WAITING_FOR_APPROVAL, asked, message) == "go"


def test_the_end_says_why() -> None:
    declined = {"kind": "bug", "type": "ValueError", "message": "declined\nby the bank"}
    assert said(Status.FAILED, ("RUN_FAILED", {"error": declined})) == "bug: ValueError: declined"
    step = {"kind": "bug", "type": "StepFailed", "message": "step charge failed after 1 attempt (bug): ValueError: no"}
    assert said(Status.FAILED, ("RUN_FAILED", {"error": step})) == step["message"]
    assert said(Status.BLOCKED, ("RUN_BLOCKED", {"message": "the code differs"})) == "the code differs"
    assert said(Status.CANCELLED, ("CANCEL_REQUESTED", {"reason": "too late"}), ("RUN_CANCELLED", {})) == "too late"
    assert said(Status.PAUSED, ("RUN_PAUSED", {}), started("a")) == ""
    assert said(Status.COMPLETED, started("a")) == ""


def test_what_was_before_a_retry_is_over() -> None:
    failed = ("RUN_FAILED", {"error": {"kind": "bug", "type": "E", "message": "m"}})
    assert said(Status.RUNNING, started("a"), failed, ("RUN_RETRIED", {}), started("b")) == "b"
    assert said(Status.RUNNING, started("a"), failed, ("RUN_RETRIED", {})) == ""


def test_a_gate_that_needs_more_approvals_is_still_asked() -> None:
    asked = ("APPROVAL_REQUESTED", {"gate": "g_1", "name": "Send it?"})
    vote, last = (
        ("APPROVAL_GRANTED", {"gate": "g_1", "final": False}),
        ("APPROVAL_GRANTED", {"gate": "g_1", "final": True}),
    )
    assert said(Status.WAITING_FOR_APPROVAL, asked, vote) == "Send it?"
    assert said(Status.WAITING_FOR_APPROVAL, asked, vote, last) == ""
