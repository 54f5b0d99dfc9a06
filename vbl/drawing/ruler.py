"""The ruler of a chart: ticks with elapsed and with clock time, where the axis is cut, lines behind the rows.

Every place is a share of the whole in percent, so that a wider picture is a zoom. Ticks come in levels: those of level
0 have room at any width; the finer ones are shown by the style sheet as the picture gets wider.

Pure but for the time zone of the machine that draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import tzinfo

from vbl.clock import SECOND
from vbl.drawing.markup import Markup, tag
from vbl.drawing.times import there
from vbl.history.axis import Axis, Piece
from vbl.history.narration import duration
from vbl.history.timeline import Mark, Stand, Timeline

MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND
STEPS = (
    *(size * 10**power for power in range(6) for size in (1, 2, 5)),
    *(SECOND * n for n in (1, 2, 5, 10, 15, 30)),
    *(MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(HOUR * n for n in (1, 2, 3, 6, 12)),
    *(DAY * n for n in (1, 2, 7, 14, 30, 90, 365, 3650)),
)
"""Distances between ticks that people can count in, in microseconds."""
LEVELS = (24.0, 9.0, 2.2, 0.5)
"""The least distance between two ticks of each level, in percent of the unzoomed picture."""
COARSE = 2
"""So many levels have room without zoom."""
ROOM_FOR_CUT = 0.05
"""A cut stretch from this share of the picture on is named."""
BEFORE_NAME, BEHIND_NAME = 11.0, 4.5
"""So near to the middle of a cut, in percent of the unzoomed picture, a tick would run into its name."""
MOST_TICKS = 400


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on the ruler in percent, what is written there, and from which level of zoom on."""

    place: float
    text: str
    level: int


def percent(share: float) -> str:
    """A share of the whole as an attribute of SVG: `12.345%`, always within the whole."""
    return f"{min(max(share, 0.0), 1.0) * 100:.3f}".rstrip("0").rstrip(".") + "%"


def elapsed_ticks(line: Axis, fine: bool = True) -> list[Tick]:
    """Ticks at round times since the beginning; without the finer levels where nobody can zoom."""
    origin = line.pieces[0].start_at
    return _thinned(line, lambda at, step: _since(at - origin, step), origin, fine)


def clock_ticks(line: Axis, zone: tzinfo | None = None, fine: bool = True) -> list[Tick]:
    """Ticks at round times of the day, in `zone` or that of the machine."""
    start = there(line.pieces[0].start_at, zone)
    ahead = start.utcoffset() if start is not None else None
    midnight = -round(ahead.total_seconds()) * SECOND if ahead is not None else 0
    return _thinned(line, lambda at, step: _of_day(at, step, zone), midnight, fine)


def ruler(line: Axis, zone: tzinfo | None = None, fine: bool = True) -> Markup:
    """The row of times above the lanes: elapsed and clock, of which the style sheet shows one."""
    cuts = [
        tag("text", f"‹{duration(piece.end_at - piece.start_at)}›", x=percent((piece.left + piece.right) / 2), y=14)
        for piece in _named_cuts(line)
    ]
    return tag(
        "svg",
        tag("g", [_label(tick) for tick in elapsed_ticks(line, fine)], class_="elapsed"),
        tag("g", [_label(tick) for tick in clock_ticks(line, zone, fine)], class_="clock"),
        tag("g", cuts, class_="cuts t1"),
        class_="ruler",
        aria_hidden="true",
    )


def grid(picture: Timeline, line: Axis, zone: tzinfo | None = None, fine: bool = True) -> Markup:
    """What lies behind all rows: lines at the ticks, cut stretches, stretches without a supervisor, marks."""
    cuts = [_band(piece.left, piece.right, "cut") for piece in line.pieces if piece.cut]
    down = [
        _band(line.place(w.start_at), line.place(picture.end_at if w.end_at is None else w.end_at), "down")
        for w in picture.waits
        if w.stand is Stand.DOWN
    ]
    return tag(
        "svg",
        down,
        cuts,
        tag("g", [_line(tick.place, f"t{tick.level}") for tick in elapsed_ticks(line, fine)], class_="elapsed"),
        tag("g", [_line(tick.place, f"t{tick.level}") for tick in clock_ticks(line, zone, fine)], class_="clock"),
        [_line(line.place(mark.at), "mark") for mark in shown_marks(picture)],
        class_="grid",
        aria_hidden="true",
    )


def shown_marks(picture: Timeline) -> list[Mark]:
    """The marks that a picture has room for: the latest."""
    return picture.marks[-MOST_TICKS:]


def _label(tick: Tick) -> Markup:
    return tag("text", tick.text, x=percent(tick.place), y=14, dx=3, class_=f"t{tick.level}")


def _line(place: float, kind: str) -> Markup:
    return tag("line", x1=percent(place), x2=percent(place), y1=0, y2="100%", class_=kind)


def _band(left: float, right: float, kind: str) -> Markup:
    return tag("rect", x=percent(left), width=percent(right - left), y=0, height="100%", class_=kind)


def _named_cuts(line: Axis) -> list[Piece]:
    """The cuts with room for how long they were."""
    return [piece for piece in line.pieces if piece.cut and piece.right - piece.left >= ROOM_FOR_CUT]


def _thinned(line: Axis, write: Callable[[int, int], str], origin: int, fine: bool) -> list[Tick]:
    """Ticks of all levels, none too near to another of a level that is shown with it, nor to the name of a cut."""
    names = [(piece.left + piece.right) * 50 for piece in _named_cuts(line)]
    taken: list[float] = []
    ticks: list[Tick] = []
    for level, (apart, step) in list(enumerate(zip(LEVELS, _steps(line), strict=True)))[: None if fine else COARSE]:
        zoomed = min(apart / LEVELS[1], 1.0)
        for at in _candidates(line, step, origin):
            place = line.place(at) * 100
            if len(ticks) >= MOST_TICKS:
                break
            if (
                all(abs(place - other) >= apart * 0.8 for other in taken)
                and not any(-BEFORE_NAME < (place - name) / zoomed < BEHIND_NAME for name in names)
                and place < 100 - apart * 0.6
            ):
                taken.append(place)
                ticks.append(Tick(place / 100, write(at, step), level))
    return ticks


def _steps(line: Axis) -> list[int]:
    """For each level the smallest round distance that has room where the axis is not cut; each goes into the one before
    it, so that ticks of two levels stand side by side evenly."""
    scale = max(((p.right - p.left) / max(p.end_at - p.start_at, 1) for p in line.pieces if not p.cut), default=0.0)
    steps = [1]
    for apart in reversed(LEVELS):
        wide = (step for step in STEPS if step * scale * 100 >= apart and step % steps[-1] == 0)
        steps.append(next(wide, steps[-1]))
    return steps[:0:-1]


def _candidates(line: Axis, step: int, origin: int) -> Iterator[int]:
    """The beginning of each stretch that is not cut, and the round times in it."""
    for piece in line.pieces:
        if piece.cut:
            continue
        if piece.left > 0 or piece.start_at == origin:
            yield piece.start_at
        at = origin + -(-(piece.start_at - origin) // step) * step
        for _ in range(MOST_TICKS):
            if at >= piece.end_at:
                break
            yield at
            at += step


def _since(us: int, step: int) -> str:
    """A time since the beginning, as fine as its ticks: `0`, `250 ms`, `2.5 s`, `2 min 5 s`, `3:58:12`, `3 h`."""
    grain = next((10**power for power in range(6, 0, -1) if step % 10**power == 0), 1)
    us = round(us / grain) * grain
    if us < MINUTE:
        return "0" if us == 0 else f"{us / 1_000:g} ms" if us < SECOND else f"{_seconds(us)} s"
    if step >= MINUTE or (us < HOUR and step >= SECOND):
        return duration(us)
    if us < HOUR:
        return f"{us // MINUTE} min {_seconds(us % MINUTE)} s"
    days = f"{us // DAY} d " if us >= DAY else ""
    whole, dot, part = _seconds(us % MINUTE).partition(".")
    return f"{days}{us % DAY // HOUR}:{us % HOUR // MINUTE:02d}:{whole:0>2}{dot}{part}"


def _seconds(us: int) -> str:
    text = f"{us / SECOND:.6f}"
    return text.rstrip("0").rstrip(".")


def _of_day(at: int, step: int, zone: tzinfo | None) -> str:
    then = there(at, zone)
    if then is None:
        return "?"
    if step >= DAY or (then.hour, then.minute, then.second, then.microsecond) == (0, 0, 0, 0):
        return f"{then.day} {then:%b}" if step < 90 * DAY else f"{then:%b %Y}"
    if step >= MINUTE and not then.second:
        return then.strftime("%H:%M")
    fine = "" if step >= SECOND else f".{then.microsecond // 1_000:03d}"
    return then.strftime("%H:%M:%S") + fine
