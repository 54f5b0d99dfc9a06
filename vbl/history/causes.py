"""What made what happen: `causes(facts) -> {seq: seq}`, from an event to the one that it goes back to.

An event that ends something goes back to the one that began it: a completion to its start, a decision to what was
asked. What the code asked for goes back to the input that it had digested when it did: that is what made it ask. A
further attempt goes back to what called for it: the backoff, the interruption, the retry, the answer to a doubt. An
event that comes from outside and answers nothing goes back to none.

Pure, and one pass over the facts. Which steps follow from which is drawn in `history.graph`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vbl.history.facts import Fact
from vbl.history.state import RunState, apply


def causes(facts: Iterable[Fact]) -> dict[int, int]:
    """Map the seq of each event that has a cause to the seq of that cause, which is always smaller."""
    return Links().read(list(facts))


class Links:
    """The causes within a history that grows: each event is looked at once."""

    def __init__(self) -> None:
        self._seen = _Seen()
        self._found: dict[int, int] = {}

    def read(self, facts: Sequence[Fact]) -> dict[int, int]:
        """The causes as of these facts, those of before and what has come since; the same dict each time."""
        for fact in facts[self._seen.state.seq :]:
            cause = self._seen.cause(fact)
            if cause:
                self._found[fact.seq] = cause
            self._seen.take(fact)
        return self._found


def effects(links: dict[int, int]) -> dict[int, list[int]]:
    """The other way round: from an event to those that go back to it, in order."""
    found: dict[int, list[int]] = {}
    for effect, cause in links.items():
        found.setdefault(cause, []).append(effect)
    return found


@dataclass(slots=True)
class _Seen:
    """What has been read so far: what it adds up to, and by type, or by type and subject, the seq of the latest."""

    state: RunState = field(default_factory=RunState)
    latest: dict[str | tuple[str, object], int] = field(default_factory=dict[str | tuple[str, object], int])

    def take(self, fact: Fact) -> None:
        apply(self.state, fact)
        self.latest[fact.type] = fact.seq
        subject = _subject(fact)
        if subject is not None:
            self.latest[fact.type, subject] = fact.seq

    def last(self, *types: str, of: object = None) -> int:
        """The seq of the latest event of these types, about the subject where one is given; 0 for none."""
        return max(self.latest.get(type if of is None else (type, of), 0) for type in types)

    def cause(self, fact: Fact) -> int:
        """The seq of what the event goes back to; 0 for nothing."""
        if fact.type in _ASKED_FOR:
            return self.state.applied
        if fact.type in _ANSWERS:
            return self.last(*_ANSWERS[fact.type], of=_subject(fact))
        if fact.type in _ABOUT_THE_RUN:
            return self.last(*_ABOUT_THE_RUN[fact.type])
        match fact.type:
            case "STEP_STARTED":
                return self._of_start(fact.payload["step"])
            case "CHECKPOINT_WRITTEN":
                return fact.payload["applied"]
            case "SIGNAL_RECEIVED":
                return self._of_signal(fact.payload["name"])
            case _:
                return self._of_turn(fact)

    def _of_start(self, step: str) -> int:
        """What called for an attempt. One that a retry of the run undid is asked for anew by the code."""
        again = self.last("STEP_INTERRUPTED", "RETRY_SCHEDULED", "STEP_RESOLVED", "RUN_RETRIED", of=step)
        retried, started = self.last("RUN_RETRIED"), self.last("STEP_STARTED", of=step)
        if retried > max(again, started) and started:
            return max(retried, self.state.applied)
        return again if again > started else self.state.applied

    def _of_signal(self, name: str) -> int:
        """The wait that gets it: the oldest one for that name."""
        waits = self.state.waits
        return min(
            (waits[number].asked_seq for number in self.state.open_waits if waits[number].name == name), default=0
        )

    def _of_turn(self, fact: Fact) -> int:
        """What turned the course of the run."""
        p = fact.payload
        match fact.type:
            case "RUN_CANCELLED":
                return self.last("CANCEL_REQUESTED") or self.state.applied
            case "RUN_BLOCKED":
                step = p.get("step")
                return (self.last("STEP_PROBED", "STEP_INTERRUPTED", of=step) if step else 0) or self.state.applied
            case "RUN_RESUMED":
                return self.last("RUN_BLOCKED") if p.get("unblocked") else self.last("STEP_INTERRUPTED", "RUN_RETRIED")
            case "APPROVAL_REQUESTED":
                before = p.get("reopens")
                ends = ("APPROVAL_GRANTED", "APPROVAL_DENIED", "APPROVAL_EXPIRED")
                return (self.last(*ends, of=before) if before else 0) or self.state.applied
            case _:
                return 0


def _subject(fact: Fact) -> object:
    """What the event is about, by which others find it: a step, a timer, a wait, a gate, or the call of a child."""
    p = fact.payload
    named = (p[name] for name in ("step", "timer", "wait", "gate", "call") if p.get(name) is not None)
    subject = next(named, None)
    return subject if isinstance(subject, (str, int)) else None


_ASKED_FOR = frozenset(
    {
        "TIMER_SET", "TIMER_CANCELLED", "SIGNAL_AWAITED", "WAIT_CANCELLED", "APPROVAL_CLOSED", "CHILD_STARTED",
        "CHILD_CANCELLED", "STEP_CANCELLED", "VERSION_MARKED", "RUN_COMPLETED", "RUN_FAILED",
    }
)  # fmt: skip
"""What the code does or asks for goes back to the input that it had digested."""

_ANSWERS = {
    "STEP_COMPLETED": ("STEP_STARTED",),
    "STEP_FAILED": ("STEP_STARTED",),
    "STEP_INTERRUPTED": ("STEP_STARTED",),
    "STEP_PROBED": ("STEP_INTERRUPTED", "STEP_STARTED"),
    "STEP_RESOLVED": ("STEP_PROBED", "STEP_INTERRUPTED", "STEP_STARTED"),
    "RETRY_SCHEDULED": ("STEP_FAILED",),
    "TIMER_FIRED": ("TIMER_SET",),
    "WAIT_EXPIRED": ("SIGNAL_AWAITED",),
    "APPROVAL_GRANTED": ("APPROVAL_REQUESTED", "APPROVAL_ESCALATED"),
    "APPROVAL_DENIED": ("APPROVAL_REQUESTED", "APPROVAL_ESCALATED"),
    "APPROVAL_ESCALATED": ("APPROVAL_REQUESTED",),
    "APPROVAL_REMINDED": ("APPROVAL_REQUESTED",),
    "APPROVAL_EXPIRED": ("APPROVAL_REQUESTED",),
    "DECISION_REFUSED": ("APPROVAL_REQUESTED",),
    "CHILD_FINISHED": ("CHILD_STARTED",),
}
"""What stands for an earlier event about the same thing, and is ended or answered by it."""

_ABOUT_THE_RUN = {
    "RUN_QUEUED": ("RUN_CREATED",),
    "RUN_STARTED": ("RUN_CREATED", "RUN_QUEUED"),
    "RUN_UNPAUSED": ("RUN_PAUSED",),
    "RUN_RETRIED": ("RUN_FAILED", "RUN_BLOCKED", "RETRY_SCHEDULED"),
}
