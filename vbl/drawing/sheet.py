"""`RunSheet`: all that is said of one run, read at one instant. Page, notebook, static file and JSON are made from it.

It holds no state of its own: `facts` are the history, and everything else but the neighbours is what they add up to.
The client fills it in (`run.sheet()`); nothing here reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vbl.history.facts import Fact
    from vbl.history.state import RunState
    from vbl.history.timeline import Timeline
    from vbl.history.why import Why


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another run beside this one: its parent or a child. Instants are microseconds since 1970 UTC, `usd` is US dollars
    where it is known what the run cost."""

    id: str
    workflow: str
    status: str
    created_at: int
    finished_at: int | None
    usd: float | None = None


MOST_NEIGHBOURS = 1_000
"""So many children of a run are on its sheet."""


@dataclass(frozen=True, slots=True)
class RunSheet:
    """A run at `now` (microseconds since 1970 UTC). `source` is the definition that the run began with, `newest` the
    last one seen of that workflow: {"source", "file", "line", "python", "version"}, None where it was not kept."""

    id: str
    version: str
    parent: Neighbour | None
    children: list[Neighbour]
    facts: list[Fact]
    state: RunState
    picture: Timeline
    answer: Why
    supervised: bool
    now: int
    source: dict[str, Any] | None = None
    newest: dict[str, Any] | None = None

    @property
    def number_of_children(self) -> str:
        """How many runs it started, as far as the sheet goes."""
        return f"{len(self.children)}{'+' if len(self.children) == MOST_NEIGHBOURS else ''}"
