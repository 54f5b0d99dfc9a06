"""The tone of each event, for terminal and page alike: good news, bad news, or something to look at. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vbl.history.sieve import went_wrong

if TYPE_CHECKING:
    from vbl.history.facts import Event, Fact

_TONES = {
    "RUN_RESUMED": "warn",
    "RUN_COMPLETED": "good",
    "RUN_FAILED": "bad",
    "RUN_BLOCKED": "bad",
    "RUN_PAUSED": "warn",
    "RUN_CANCELLED": "warn",
    "CANCEL_REQUESTED": "warn",
    "STEP_COMPLETED": "good",
    "STEP_FAILED": "bad",
    "STEP_CANCELLED": "dim",
    "STEP_INTERRUPTED": "warn",
    "RETRY_SCHEDULED": "warn",
    "CHECKPOINT_WRITTEN": "dim",
    "APPROVAL_REQUESTED": "warn",
    "APPROVAL_GRANTED": "good",
    "APPROVAL_DENIED": "bad",
    "APPROVAL_ESCALATED": "warn",
    "APPROVAL_EXPIRED": "warn",
    "APPROVAL_CLOSED": "dim",
    "DECISION_REFUSED": "warn",
    "SIGNAL_RECEIVED": "good",
    "WAIT_EXPIRED": "warn",
    "WAIT_CANCELLED": "dim",
    "CHILD_FINISHED": "good",
    "CHILD_CANCELLED": "dim",
}


def tone_of(event: Event | Fact) -> str:
    """How what an event says is coloured: good, bad, warn, dim, or empty."""
    if event.type in ("CHILD_FINISHED", "STEP_RESOLVED") and went_wrong(event):
        return "bad"
    return _TONES.get(event.type, "")
