"""Many attempts in little room: how many ran at each place of a picture, and whether any of them went wrong.

A strip stands for a group of lanes, and the smallest one for the whole picture. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from vbl.drawing.markup import Markup, tag
from vbl.drawing.ruler import percent
from vbl.history.axis import Axis
from vbl.history.timeline import Bar, Outcome, Wait

COLUMNS = 240
"""So many columns has a strip at most; those alike beside each other are drawn as one."""
LEVELS = 6
"""So many heights are told apart."""

_WRONG = frozenset({Outcome.FAILED, Outcome.LOST, Outcome.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class Column:
    """What a strip shows at one place: the height of what ran and of what went wrong, from 0 to `LEVELS`, whether some
    of it still runs, and whether something only waited."""

    ran: int = 0
    wrong: int = 0
    running: bool = False
    waits: bool = False


def columns(line: Axis, present: int, bars: Iterable[Bar], waits: Iterable[Wait] = ()) -> list[Column]:
    """What ran at each place of the line. However short an attempt was, it counts somewhere."""
    ran, wrong, running, waiting = ([0] * (COLUMNS + 1) for _ in range(4))
    for bar in bars:
        left, right = _reach(line, bar.start_at, present if bar.end_at is None else bar.end_at)
        for counts, counted in ((ran, True), (wrong, bar.outcome in _WRONG), (running, bar.end_at is None)):
            if counted:
                counts[left] += 1
                counts[right + 1] -= 1
    for wait in waits:
        left, right = _reach(line, wait.start_at, present if wait.end_at is None else wait.end_at)
        waiting[left] += 1
        waiting[right + 1] -= 1
    for counts in (ran, wrong, running, waiting):
        for place in range(1, COLUMNS + 1):
            counts[place] += counts[place - 1]
    peak = max(max(ran), 1)
    return [
        Column(_level(ran[n], peak), _level(wrong[n], peak), running[n] > 0, waiting[n] > 0) for n in range(COLUMNS)
    ]


def strip(drawn: list[Column], height: int, top: int = 0) -> list[Markup]:
    """The columns as shapes, `height` pixels high, from `top` on."""
    shapes: list[Markup] = []
    place = 0
    for column, alike in groupby(drawn):
        width = len(list(alike))
        if column.waits and not column.ran:
            shapes.append(_shape(place, width, max(height // 4, 4), top + height, "waits"))
        if column.ran:
            kind = "ran running" if column.running else "ran"
            shapes.append(_shape(place, width, max(column.ran * height // LEVELS, 2), top + height, kind))
        if column.wrong:
            shapes.append(_shape(place, width, max(column.wrong * height // LEVELS, 3), top + height, "wrong"))
        place += width
    return shapes


def _reach(line: Axis, start_at: int, end_at: int) -> tuple[int, int]:
    """The first and the last column of a span: those of which it has the greater part, so that what follows it does not
    stand above it; the nearest one for what is shorter than a column."""
    left = min(round(line.place(start_at) * COLUMNS), COLUMNS - 1)
    return left, min(max(round(line.place(end_at) * COLUMNS) - 1, left), COLUMNS - 1)


def _level(count: int, peak: int) -> int:
    return -(-count * LEVELS // peak)


def _shape(place: int, width: int, height: int, bottom: int, kind: str) -> Markup:
    x, across = percent(place / COLUMNS), percent(width / COLUMNS)
    return tag("rect", x=x, y=bottom - height, width=across, height=height, class_=kind)
