"""The rows of a timeline: which steps and waits share one, what it is called, and what is said at its end.

`rows(picture)` decides it once for the terminal, a page, a notebook and a static file, which only put it into
characters or shapes. `tone` is one of good, bad, warn, live, dim, or empty.

Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vbl.history.axis import merged
from vbl.history.narration import duration
from vbl.history.timeline import Bar, Lane, Outcome, Stand, Timeline, Wait

SHORTEST_QUEUE = 0.02
"""A time in the queue below this share of the picture is not worth a row."""

TITLES: dict[Stand, str] = {
    Stand.BACKOFF: "backoff",
    Stand.TIMER: "asleep",
    Stand.QUEUED: "queued",
    Stand.PAUSED: "paused",
    Stand.BLOCKED: "blocked",
    Stand.ENDED: "run failed",
    Stand.DOWN: "no supervisor",
    Stand.GATE: "waits for a person",
    Stand.SIGNAL: "waits for a signal",
    Stand.CHILD: "child",
}
"""What each kind of wait is called."""

TONES: dict[Outcome | Stand, str] = {
    Outcome.COMPLETED: "good",
    Outcome.RUNNING: "live",
    Outcome.FAILED: "bad",
    Outcome.INTERRUPTED: "warn",
    Outcome.LOST: "bad",
    Outcome.CANCELLED: "dim",
    Stand.BACKOFF: "warn",
    Stand.TIMER: "live",
    Stand.QUEUED: "dim",
    Stand.PAUSED: "warn",
    Stand.BLOCKED: "bad",
    Stand.ENDED: "bad",
    Stand.DOWN: "bad",
    Stand.GATE: "warn",
    Stand.SIGNAL: "live",
    Stand.CHILD: "live",
}
"""How an attempt or a wait is coloured; its shape tells the same."""

ENDS: dict[Outcome, tuple[str, str]] = {
    Outcome.FAILED: ("✗", "x"),
    Outcome.INTERRUPTED: ("↯", "!"),
    Outcome.LOST: ("↯", "!"),
    Outcome.RUNNING: ("▸", ">"),
    Outcome.CANCELLED: ("⊘", "-"),
}
"""What stands at the end of an attempt that did not simply complete, and its ASCII form."""


@dataclass(slots=True)
class Row:
    """One row: the lanes of one step or of several of one name, or the waits of one kind; never both."""

    name: str
    start_at: int
    note: str
    tone: str
    lanes: list[Lane] = field(default_factory=list[Lane])
    waits: list[Wait] = field(default_factory=list[Wait])

    @property
    def bars(self) -> list[Bar]:
        """The attempts of all its lanes; what is most worth seeing comes last, to lie on top."""
        return sorted((bar for lane in self.lanes for bar in lane.bars), key=lambda bar: -_WORST.index(bar.outcome))


_WORST = (Outcome.FAILED, Outcome.LOST, Outcome.RUNNING, Outcome.INTERRUPTED, Outcome.COMPLETED, Outcome.CANCELLED)


def rows(picture: Timeline, most: int | None) -> list[Row]:
    """The rows in order of time. Beyond `most` steps, those of one name share a row; None never folds."""
    families = _families(picture.lanes, most)
    steps = [lane_row(family[0], picture.end_at) if len(family) == 1 else _family_row(family) for family in families]
    return sorted(steps + _stand_rows(picture), key=lambda row: row.start_at)


def _families(lanes: list[Lane], most: int | None) -> list[list[Lane]]:
    """The steps that share a row."""
    if most is None or len(lanes) <= most:
        return [[lane] for lane in lanes]
    families: dict[str, list[Lane]] = {}
    for lane in lanes:
        families.setdefault(lane.name, []).append(lane)
    return list(families.values())


def lane_row(lane: Lane, present: int) -> Row:
    """The row of one step, as of `present` (microseconds since 1970 UTC)."""
    note, tone = _step_note(lane, present)
    return Row(lane.step, _beginning([lane]), note, tone, [lane])


def _beginning(lanes: list[Lane]) -> int:
    starts = [bar.start_at for lane in lanes for bar in lane.bars] or [w.start_at for x in lanes for w in x.waits]
    return min(starts, default=0)


def _step_note(lane: Lane, present: int) -> tuple[str, str]:
    """What is said of a step at the end of its row."""
    if not lane.bars:
        return lane.status, ""
    last = lane.bars[-1]
    took = duration((present if last.end_at is None else last.end_at) - last.start_at)
    attempts = f", attempt {last.attempt}" if last.attempt > 1 else ""
    if lane.status == "retrying" and lane.waits and (until := lane.waits[-1].until_at) is not None:
        return (f"retries in {duration(until - present)}" if until > present else "retries now"), "warn"
    if last.outcome is Outcome.COMPLETED:
        return f"{took}{attempts}", "dim" if last.void else ""
    if last.outcome is Outcome.LOST:
        return f"lost{attempts}", "bad"
    return f"{last.outcome} {took}{attempts}", TONES[last.outcome]


def _family_row(family: list[Lane]) -> Row:
    """Many steps of one name in one row."""
    bars = [bar for lane in family for bar in lane.bars]
    count = Counter(lane.status for lane in family)
    parts = [f"{number} {status}" for status, number in count.most_common() if status != "completed"]
    each = _middle([bar.end_at - bar.start_at for bar in bars if bar.end_at is not None])
    note = ", ".join(parts) or f"{duration(each)} each"
    tone = "bad" if count["failed"] else "warn" if count["retrying"] else "live" if count["running"] else ""
    return Row(family[0].name, _beginning(family), note, tone, family)


def _middle(numbers: list[int]) -> int:
    """The median of what there is."""
    return sorted(numbers)[len(numbers) // 2] if numbers else 0


def _stand_rows(picture: Timeline) -> list[Row]:
    """A row for each way in which the whole run stood still."""
    families: dict[tuple[Stand, str], list[Wait]] = {}
    for wait in picture.waits:
        families.setdefault((wait.stand, wait.name), []).append(wait)
    whole = picture.end_at - picture.start_at
    found: list[Row] = []
    for (stand, _), waits in families.items():
        spans = merged((w.start_at, picture.end_at if w.end_at is None else w.end_at) for w in waits)
        total = sum(end_at - start_at for start_at, end_at in spans)
        if stand is Stand.QUEUED and waits[0].end_at is not None and total <= whole * SHORTEST_QUEUE:
            continue
        note = _stand_note(waits, total, len(spans), picture.end_at)
        found.append(Row(_stand_name(waits[0]), waits[0].start_at, note, TONES[stand], waits=waits))
    return found


def _stand_name(wait: Wait) -> str:
    """The name of a row: of a gate, a signal and a child its own."""
    kind = {Stand.GATE: "ask", Stand.SIGNAL: "signal", Stand.CHILD: "child"}.get(wait.stand)
    return f"{kind} {wait.name}" if kind else TITLES[wait.stand]


def _outside_note(waits: list[Wait], present: int) -> str:
    """How a gate, a signal or a child stands; of several under one name, how many are open."""
    open_now = [wait for wait in waits if wait.end_at is None]
    if len(waits) > 1:
        return f"{len(open_now)} of {len(waits)} open" if open_now else f"{len(waits)} times"
    (wait,) = waits
    if wait.end_at is not None:
        return wait.outcome or duration(wait.end_at - wait.start_at)
    until = wait.until_at
    return f"ends in {duration(until - present)}" if until is not None and until > present else "open"


def _stand_note(waits: list[Wait], total: int, times: int, present: int) -> str:
    last = waits[-1]
    if last.name:
        return _outside_note(waits, present)
    late = max(wait.late for wait in waits)
    if late:
        return f"{duration(total)}, {duration(late)} late"
    if last.end_at is None and last.until_at is not None and last.until_at > present:
        return f"wakes in {duration(last.until_at - present)}"
    return duration(total) + (f", {times} times" if times > 1 else "")
