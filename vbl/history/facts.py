"""Events as the code handles them: their names, the plain form, and which of them the code is to digest.

Light on purpose: who only reads summaries or moves runs does not load the models of `history.events`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vbl.history.events import Payload


class EventType(StrEnum):
    """The name of a fact."""

    RUN_CREATED = "RUN_CREATED"
    RUN_STARTED = "RUN_STARTED"
    RUN_RESUMED = "RUN_RESUMED"
    RUN_COMPLETED = "RUN_COMPLETED"
    RUN_FAILED = "RUN_FAILED"
    RUN_BLOCKED = "RUN_BLOCKED"
    RUN_PAUSED = "RUN_PAUSED"
    RUN_UNPAUSED = "RUN_UNPAUSED"
    RUN_RETRIED = "RUN_RETRIED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    RUN_CANCELLED = "RUN_CANCELLED"
    RUN_QUEUED = "RUN_QUEUED"
    STEP_STARTED = "STEP_STARTED"
    STEP_COMPLETED = "STEP_COMPLETED"
    STEP_FAILED = "STEP_FAILED"
    STEP_CANCELLED = "STEP_CANCELLED"
    STEP_INTERRUPTED = "STEP_INTERRUPTED"
    STEP_PROBED = "STEP_PROBED"
    RETRY_SCHEDULED = "RETRY_SCHEDULED"
    STEP_RESOLVED = "STEP_RESOLVED"
    CHECKPOINT_WRITTEN = "CHECKPOINT_WRITTEN"
    TIMER_SET = "TIMER_SET"
    TIMER_FIRED = "TIMER_FIRED"
    TIMER_CANCELLED = "TIMER_CANCELLED"
    SIGNAL_AWAITED = "SIGNAL_AWAITED"
    SIGNAL_RECEIVED = "SIGNAL_RECEIVED"
    WAIT_EXPIRED = "WAIT_EXPIRED"
    WAIT_CANCELLED = "WAIT_CANCELLED"
    APPROVAL_REQUESTED = "APPROVAL_REQUESTED"
    APPROVAL_GRANTED = "APPROVAL_GRANTED"
    APPROVAL_DENIED = "APPROVAL_DENIED"
    APPROVAL_ESCALATED = "APPROVAL_ESCALATED"
    APPROVAL_REMINDED = "APPROVAL_REMINDED"
    APPROVAL_EXPIRED = "APPROVAL_EXPIRED"
    APPROVAL_CLOSED = "APPROVAL_CLOSED"
    DECISION_REFUSED = "DECISION_REFUSED"
    CHILD_STARTED = "CHILD_STARTED"
    CHILD_FINISHED = "CHILD_FINISHED"
    CHILD_CANCELLED = "CHILD_CANCELLED"
    SCHEDULE_FIRED = "SCHEDULE_FIRED"
    SCHEDULE_SKIPPED = "SCHEDULE_SKIPPED"
    VERSION_MARKED = "VERSION_MARKED"


INPUTS = frozenset(
    {
        "STEP_COMPLETED", "TIMER_FIRED", "CANCEL_REQUESTED", "SIGNAL_RECEIVED", "WAIT_EXPIRED", "APPROVAL_DENIED",
        "APPROVAL_EXPIRED", "CHILD_FINISHED",
    }
)  # fmt: skip
"""Applied to the code in order; some others are too, by what they hold: see `is_input`."""


def is_input(type: str, payload: dict[str, Any]) -> bool:
    """Whether the code is to digest this event: a failure that is final, a grant that fills the quorum, the outcome of
    a step that somebody settled."""
    if type in INPUTS:
        return True
    match type:
        case "STEP_FAILED" | "APPROVAL_GRANTED":
            return payload.get("final", True)
        case "STEP_RESOLVED":
            return payload["outcome"] != "did_not_happen"
        case _:
            return False


@dataclass(slots=True)
class Fact:
    """An event as the fold and the engine see it: the payload is plain JSON data, resolved. Never changed; not frozen,
    because that would cost as much as all the rest of it, several times a step."""

    seq: int
    type: str
    at: int
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """An event as people and programs see it. `id` is the file-wide cursor; `at` microseconds since 1970 UTC."""

    id: int
    run_id: str
    seq: int
    type: EventType
    at: int
    payload: Payload
