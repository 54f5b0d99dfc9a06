"""What a run is at, in a few words, from the last events of its history alone: for lists, which read no more of it.

Nothing is said that those events do not show; where the reason lies further back, nothing is. Who wants to know asks
`history.why`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from vbl.history.narration import cause, tries
from vbl.history.state import Status

LAST = 16
"""So many events are looked at."""
FIELDS = (
    "step", "attempt", "max_attempts", "gate", "wait", "call", "name", "workflow", "reason", "message", "error", "final"
)  # fmt: skip
"""The fields of payloads that are read."""
_OPENS = {
    "STEP_STARTED": ("step",),
    "RETRY_SCHEDULED": ("step",),
    "APPROVAL_REQUESTED": ("gate",),
    "SIGNAL_AWAITED": ("wait", "name"),
    "CHILD_STARTED": ("call",),
}
"""What is settled by a later event of _CLOSES that has the same in one of these fields."""
_CLOSES = {
    "STEP_STARTED": "step",
    "STEP_COMPLETED": "step",
    "STEP_FAILED": "step",
    "STEP_CANCELLED": "step",
    "STEP_INTERRUPTED": "step",
    "STEP_RESOLVED": "step",
    "APPROVAL_GRANTED": "gate",
    "APPROVAL_DENIED": "gate",
    "APPROVAL_EXPIRED": "gate",
    "APPROVAL_CLOSED": "gate",
    "SIGNAL_RECEIVED": "name",
    "WAIT_EXPIRED": "wait",
    "WAIT_CANCELLED": "wait",
    "CHILD_FINISHED": "call",
    "CHILD_CANCELLED": "call",
}
_SAYS = {
    Status.RUNNING: ("STEP_STARTED",),
    Status.RETRYING: ("RETRY_SCHEDULED",),
    Status.WAITING_FOR_APPROVAL: ("APPROVAL_REQUESTED",),
    Status.WAITING: ("SIGNAL_AWAITED", "CHILD_STARTED"),
    Status.FAILED: ("RUN_FAILED",),
    Status.BLOCKED: ("RUN_BLOCKED",),
    Status.PAUSED: ("RUN_PAUSED",),
    Status.CANCELLED: ("RUN_CANCELLED", "CANCEL_REQUESTED"),
}
"""By status, the events that can say what the run is at."""


class Glimpse(NamedTuple):
    """An event, with those of FIELDS that it has."""

    type: str
    payload: dict[str, Any]


def glance(status: Status, last: Iterable[Glimpse]) -> str:
    """The words for a run in this status, from its last events, the newest first; empty where they do not tell."""
    types = _SAYS.get(status, ())
    found = list(dict.fromkeys(words for event in _open(last) if event.type in types and (words := _words(event))))
    if status.finished or status in (Status.BLOCKED, Status.PAUSED):
        found = found[:1]
    return ", ".join(found[1::-1]) + (f" and {len(found) - 2} more" if len(found) > 2 else "")


def _open(last: Iterable[Glimpse]) -> Iterator[Glimpse]:
    """The events, the newest first, without those that a later one has settled."""
    closed: set[tuple[str, Any]] = set()
    for event in last:
        if not any((field, event.payload.get(field)) in closed for field in _OPENS.get(event.type, ())):
            yield event
        closes = _CLOSES.get(event.type)
        asks_on = event.type == "APPROVAL_GRANTED" and not event.payload.get("final", True)  # a vote of several
        if closes is not None and not asks_on:
            closed.add((closes, event.payload.get(closes)))
        if event.type == "RUN_RETRIED":
            return


def _words(event: Glimpse) -> str:
    p = event.payload
    match event.type:
        case "STEP_STARTED":
            return f"{p['step']}" + (f", attempt {p['attempt']}" if p.get("attempt", 1) > 1 else "")
        case "RETRY_SCHEDULED":
            return f"{p['step']}: {p['reason']}, {tries(p['attempt'], p.get('max_attempts'))}"
        case "APPROVAL_REQUESTED":
            return str(p["name"])
        case "SIGNAL_AWAITED":
            return f"signal {p['name']}"
        case "CHILD_STARTED":
            return f"child {p['workflow']}"
        case "RUN_FAILED":
            # its message says which step failed with what
            return p["error"]["message"] if p["error"]["type"] == "StepFailed" else cause(p["error"])
        case _:
            return str(p.get("message") or p.get("reason") or "")
