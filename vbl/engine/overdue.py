"""The end of a clean-up that takes too long: a cancelled run is ended over the head of its code.

The time counts while a supervisor is alive: the history begins it anew where one takes the run over. What the run still
had to undo is named in its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vbl.history import transitions
from vbl.history.events import RunCancelled, StepCancelled
from vbl.history.narration import duration
from vbl.history.state import RunState, Status

if TYPE_CHECKING:
    from vbl.engine.advance import Execution
    from vbl.engine.context import Attempt
    from vbl.engine.record import Record

_AT_REST = (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.BLOCKED, Status.PAUSED)


def over_since(state: RunState, now: int) -> int | None:
    """The instant at which the time to clean up was over; None while it is not, or where there is nothing to end."""
    until: int | None = (state.cancel or {}).get("until")
    return until if until is not None and until <= now and counts(state) else None


def counts(state: RunState) -> bool:
    """Whether the run cleans up in a bounded time, and its time counts now."""
    bounded = state.cancel is not None and state.cancel["until"] is not None
    return bounded and state.started_at is not None and state.status not in _AT_REST


def end(record: Record, execution: Execution, in_flight: Mapping[str, Attempt], now: int) -> list[str]:
    """Close all that is open and end the run; the keys of the steps that are given up with it."""
    state = record.state
    given_up = state.pending
    undone = [*execution.undone, *(told for saga in reversed(execution.sagas) for told in saga.left())]
    reason = f"its clean-up took longer than {duration((state.cancel or {})['span'])}"
    for payload in transitions.close_all(state):
        if isinstance(payload, StepCancelled):
            record.given_up(now, payload.step, in_flight.get(payload.step))
        else:
            record.payload(now, payload)
    record.payload(now, RunCancelled(reason=reason, undone=undone, forced=True))
    return given_up
