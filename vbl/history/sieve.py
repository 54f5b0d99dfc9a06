"""Which events are wanted: by type, by step, or because something went wrong. The same for a terminal and a page.

Pure; which run or workflow an event belongs to is asked where it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vbl.history.steps import name_of

if TYPE_CHECKING:
    from vbl.history.facts import Event, Fact

FAILURES = frozenset({"STEP_FAILED", "STEP_INTERRUPTED", "RUN_FAILED", "RUN_BLOCKED", "WAIT_EXPIRED"})
"""Events that say that something went wrong, whatever is in them."""


@dataclass(frozen=True, slots=True)
class Sieve:
    """Lets through the events for which all that is set holds: one of `types`, about one of `steps` (a key, or a name
    for all its calls), and, with `failed`, about something that went wrong."""

    types: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    failed: bool = False

    def lets(self, event: Event | Fact) -> bool:
        """Whether the event is wanted."""
        if self.types and event.type not in self.types:
            return False
        if self.steps and not self._about(event):
            return False
        return not self.failed or went_wrong(event)

    def _about(self, event: Event | Fact) -> bool:
        key = _field(event, "step")
        return key is not None and (key in self.steps or name_of(key) in self.steps)


def went_wrong(event: Event | Fact) -> bool:
    """Whether the event says that something went wrong."""
    if event.type == "CHILD_FINISHED":
        return _field(event, "status") == "failed"
    if event.type == "STEP_RESOLVED":
        return _field(event, "outcome") == "failed"
    return event.type in FAILURES


def _field(event: Event | Fact, name: str) -> Any:
    """A field of a payload, plain or validated; None where it is not set."""
    payload = event.payload
    return payload.get(name) if isinstance(payload, dict) else getattr(payload, name, None)
