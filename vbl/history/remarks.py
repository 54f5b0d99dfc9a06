"""What is worth a sentence about a timeline. Pure; how it is drawn or printed is no part of it."""

from __future__ import annotations

from dataclasses import dataclass

from vbl.history.narration import duration
from vbl.history.timeline import Outcome, Stand, Timeline, Wait


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a timeline that is worth a sentence. `grave` where it needs somebody's attention."""

    at: int
    text: str
    grave: bool = False


def remarks(picture: Timeline) -> list[Remark]:
    """What is worth a sentence, in order of time: failures, backoffs, losses, late timers, and what people did."""
    told = [Remark(mark.at, mark.text) for mark in picture.marks]
    for lane in picture.lanes:
        causes = {bar.end_at: bar.text for bar in lane.bars if bar.outcome is Outcome.FAILED}
        backoffs = {wait.start_at: wait for wait in lane.waits}
        for at, wait in backoffs.items():
            cause_of_it = f" ({causes[at]})" if causes.get(at) else ""
            told.append(Remark(at, f"{wait.text}{cause_of_it}{_lateness(wait)}"))
        for bar in lane.bars:
            if bar.end_at is None or bar.end_at in backoffs:
                continue
            if bar.outcome is Outcome.FAILED:
                told.append(
                    Remark(bar.end_at, f"{lane.step} failed for good on attempt {bar.attempt} ({bar.text})", True)
                )
            elif bar.outcome is Outcome.INTERRUPTED:
                told.append(Remark(bar.end_at, f"{lane.step} interrupted on attempt {bar.attempt}: {bar.text}"))
    for wait in picture.waits:
        if wait.stand is Stand.CHILD and wait.outcome in ("", "completed"):
            continue  # its bar says as much
        if wait.stand in _OUTSIDE:
            ended = f": {wait.outcome} after {duration(wait.end_at - wait.start_at)}" if wait.end_at is not None else ""
            told.append(Remark(wait.start_at, f"{wait.text}{ended}"))
        elif wait.late or wait.stand not in (Stand.TIMER, Stand.QUEUED):
            told.append(Remark(wait.start_at, f"{wait.text}{_lateness(wait)}", wait.stand is Stand.BLOCKED))
    return sorted(told, key=lambda remark: remark.at)


_OUTSIDE = frozenset({Stand.GATE, Stand.SIGNAL, Stand.CHILD})
"""Stands that somebody or something else ends."""


def _lateness(wait: Wait) -> str:
    return f"; {duration(wait.late)} late" if wait.late else ""
