"""The picture of a run on one line of time: what it is made of.

A lane for each step, a bar for each attempt, and a wait for each stretch in which the run stood still for a reason:
queued, backing off, asleep, paused, blocked, ended until somebody retried it, without a supervisor, or waiting for a
person, a signal or a child. The terminal, a page, a notebook and a static file all draw this very model; so there are
no characters, colours or widths in it. `history.plotting` makes it of a history, `history.axis` maps its instants to
places on a line.

Pure. Instants are microseconds since 1970 UTC; `end_at` is None for what is still going on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from vbl.history.narration import LATE
from vbl.history.state import Status


class Outcome(StrEnum):
    """How an attempt ended. One is lost when its process has gone and nobody has recorded that yet."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    LOST = "lost"
    CANCELLED = "cancelled"


class Stand(StrEnum):
    """Why the run, or one of its steps, stood still."""

    QUEUED = "queued"
    BACKOFF = "backoff"
    TIMER = "timer"
    PAUSED = "paused"
    BLOCKED = "blocked"
    ENDED = "ended"
    DOWN = "down"
    GATE = "gate"
    SIGNAL = "signal"
    CHILD = "child"


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt. `seq` is that of its start; `void` says that a retry of the run undid it; `text` is the recorded
    error, if any."""

    attempt: int
    start_at: int
    end_at: int | None
    outcome: Outcome
    text: str = ""
    alone: bool = False
    void: bool = False
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """A stretch without motion. `until_at` is the planned end of a timer or a backoff; `text` a sentence.

    A gate, a signal and a child have a `name`; `subject` is the id of the gate or the child; `outcome` tells how it
    ended: granted by ada, expired, received, completed. `seq` is that of the event it begins with, 0 where the loss of
    a supervisor left none."""

    stand: Stand
    start_at: int
    end_at: int | None
    text: str
    until_at: int | None = None
    step: str | None = None
    name: str = ""
    subject: str = ""
    outcome: str = ""
    seq: int = 0

    @property
    def late(self) -> int:
        """Microseconds between the planned and the real end, where that is worth a word; else 0."""
        if self.until_at is None or self.end_at is None or self.end_at - self.until_at < LATE:
            return 0
        return self.end_at - self.until_at


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at an instant: a cancel, a resume, a retry. `seq` is the event's."""

    at: int
    seq: int
    text: str


@dataclass(slots=True)
class Lane:
    """One step: its attempts and backoffs in order of time. `status` is that of the step's state."""

    step: str
    name: str
    status: str = ""
    bars: list[Bar] = field(default_factory=list[Bar])
    waits: list[Wait] = field(default_factory=list[Wait])


@dataclass(slots=True)
class Timeline:
    """The picture of a run from `start_at` to `end_at`; an unfinished run ends at the present."""

    run_id: str
    workflow: str
    status: Status
    start_at: int
    end_at: int
    lanes: list[Lane]
    waits: list[Wait]
    marks: list[Mark]
    checkpoints: int = 0

    @property
    def finished(self) -> bool:
        """Whether nothing more will be added by itself."""
        return self.status.finished
