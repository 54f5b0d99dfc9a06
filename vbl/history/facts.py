"""Events as the code handles them: their names, the plain form, and which of them the code is to digest.

Light on purpose: who only reads summaries or moves runs does not load the models of `history.events`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

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
    STEP_STARTED = "STEP_STARTED"
    STEP_COMPLETED = "STEP_COMPLETED"
    STEP_FAILED = "STEP_FAILED"
    STEP_CANCELLED = "STEP_CANCELLED"
    STEP_INTERRUPTED = "STEP_INTERRUPTED"
    RETRY_SCHEDULED = "RETRY_SCHEDULED"
    CHECKPOINT_WRITTEN = "CHECKPOINT_WRITTEN"
    TIMER_SET = "TIMER_SET"
    TIMER_FIRED = "TIMER_FIRED"
    TIMER_CANCELLED = "TIMER_CANCELLED"
    VERSION_MARKED = "VERSION_MARKED"


INPUTS = frozenset({"STEP_COMPLETED", "TIMER_FIRED", "CANCEL_REQUESTED"})
"""Applied to the code in order; a STEP_FAILED is one too when it is final."""


def is_input(type: str, payload: dict[str, Any]) -> bool:
    """Whether the code is to digest this event."""
    return type in INPUTS or (type == "STEP_FAILED" and payload.get("final", True))


class Fact(NamedTuple):
    """An event as the fold and the engine see it: the payload is plain JSON data, resolved."""

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
