"""A timeline in characters: a row for each step, a bar for each attempt, and what stood still between them.

Draws `history.timeline.Timeline`, and decides nothing about it. Shape tells what colour tells: every outcome and
every kind of wait has a character of its own, in Unicode and in ASCII. Rows are folded by name where they would be
too many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vbl.cli.terminal import columns, fit
from vbl.history.axis import Axis, axis
from vbl.history.narration import duration
from vbl.history.rows import ENDS, TITLES, TONES, Row, rows
from vbl.history.timeline import Lane, Outcome, Stand, Timeline

NAME_WIDTH = 24
NOTE_WIDTH = 26
LEAST_CHART = 20
MOST_ROWS = 40

Paint = Callable[[str, str], str]

FILL: dict[Outcome | Stand, tuple[str, str]] = {
    Outcome.COMPLETED: ("█", "="),
    Outcome.RUNNING: ("█", ">"),
    Outcome.FAILED: ("▒", "x"),
    Outcome.INTERRUPTED: ("▚", "!"),
    Outcome.LOST: ("▚", "!"),
    Outcome.CANCELLED: ("░", "-"),
    Stand.BACKOFF: ("╱", "/"),
    Stand.TIMER: ("┄", "."),
    Stand.QUEUED: ("·", ","),
    Stand.PAUSED: ("‖", "|"),
    Stand.BLOCKED: ("╳", "#"),
    Stand.ENDED: ("╳", "#"),
    Stand.DOWN: ("╌", "~"),
    Stand.GATE: ("╲", "\\"),
    Stand.SIGNAL: ("┈", "^"),
    Stand.CHILD: ("▓", "%"),
}
"""What fills an attempt or a wait: the character and its ASCII form."""


@dataclass(slots=True)
class Line:
    """A line of the picture: its name, its cells (character and style), and what is said at its end."""

    name: str
    cells: list[tuple[str, str]]
    note: str = ""
    style: str = ""


@dataclass(slots=True)
class Pen:
    """Puts spans of time into cells."""

    line: Axis
    width: int
    present: int
    unicode: bool
    used: set[Outcome | Stand] = field(default_factory=set["Outcome | Stand"])

    def blank(self) -> list[tuple[str, str]]:
        """A row without anything but the places at which the axis is cut."""
        cells = [(" ", "")] * self.width
        for piece in self.line.pieces:
            if piece.cut:
                cells[min(int((piece.left + piece.right) / 2 * self.width), self.width - 1)] = (
                    "┆" if self.unicode else ":",
                    "dim",
                )
        return cells

    def span(self, start_at: int, end_at: int | None) -> tuple[int, int]:
        """The first cell of a span and the one behind its last; at least one."""
        left = min(int(self.line.place(start_at) * self.width), self.width - 1)
        right = -int(-self.line.place(self.present if end_at is None else end_at) * self.width // 1)
        return left, min(max(right, left + 1), self.width)

    def fill(
        self, cells: list[tuple[str, str]], what: Outcome | Stand, start_at: int, end_at: int | None
    ) -> tuple[int, int]:
        """Fill a span with the character of an outcome or a wait."""
        sign, plain = FILL[what]
        left, right = self.span(start_at, end_at)
        cells[left:right] = [(sign if self.unicode else plain, TONES[what])] * (right - left)
        self.used.add(what)
        return left, right


def draw(picture: Timeline, width: int, unicode: bool, paint: Paint, whole: bool = False) -> list[str]:
    """The lines of the picture for a terminal of `width` columns. `whole` folds no rows."""
    drawn = rows(picture, None if whole else MOST_ROWS)
    names = [_name(row, unicode) for row in drawn]
    name_width = min(max((columns(name) for name in names), default=0), NAME_WIDTH)
    name_width = max(name_width, 12) if len(names) > MOST_ROWS else name_width
    chart = max(width - name_width - NOTE_WIDTH - 6, LEAST_CHART)
    pen = Pen(axis(picture), chart, picture.end_at, unicode)
    ready = [Line(name, _cells(pen, row), row.note, row.tone) for name, row in zip(names, drawn, strict=True)]
    lines = [_painted(row, name_width, unicode, paint) for row in _shortened(ready, None if whole else MOST_ROWS)]
    return [*lines, *_scale(pen, name_width, paint), *_legend(pen, name_width, width, paint)]


def _name(row: Row, unicode: bool) -> str:
    return f"{row.name} {'×' if unicode else 'x'}{len(row.lanes)}" if len(row.lanes) > 1 else row.name


def _cells(pen: Pen, row: Row) -> list[tuple[str, str]]:
    """The waits of a row, and its attempts on top; those of a step alone are numbered, and their ends marked."""
    cells = pen.blank()
    for wait in [*row.waits, *(wait for lane in row.lanes for wait in lane.waits)]:
        pen.fill(cells, wait.stand, wait.start_at, wait.end_at)
    if len(row.lanes) == 1:
        _attempts(pen, cells, row.lanes[0])
        return cells
    for bar in row.bars:
        pen.fill(cells, Outcome.CANCELLED if bar.void else bar.outcome, bar.start_at, bar.end_at)
    return cells


def _attempts(pen: Pen, cells: list[tuple[str, str]], lane: Lane) -> None:
    for bar in lane.bars:
        left, right = pen.fill(cells, Outcome.CANCELLED if bar.void else bar.outcome, bar.start_at, bar.end_at)
        style = cells[left][1]
        if bar.outcome in ENDS and not bar.void:
            cells[right - 1] = (ENDS[bar.outcome][0 if pen.unicode else 1], style)
        if len(lane.bars) > 1 and right - left > 2:
            cells[left] = (str(bar.attempt)[-1], style)


def _shortened(rows: list[Line], most: int | None) -> list[Line]:
    """The first and the last rows, with a word on those between."""
    if most is None or len(rows) <= most:
        return rows
    head = most // 2
    tail = most - head - 1
    left_out = len(rows) - head - tail
    return [*rows[:head], Line(f"… {left_out} more", [], "--all shows them", "dim"), *rows[-tail:]]


def _painted(row: Line, name_width: int, unicode: bool, paint: Paint) -> str:
    name = fit(row.name, name_width, "…" if unicode else "~")
    parts = [paint(name, "dim" if row.style == "dim" else ""), " " * (name_width - columns(name)), "  "]
    run, style = "", ""
    for sign, its_style in [*row.cells, ("", "end")]:
        if its_style != style:
            parts.append(paint(run, style) if run else "")
            run, style = "", its_style
        run += sign
    parts.append(f"  {paint(row.note, row.style)}" if row.note else "")
    return ("  " + "".join(parts)).rstrip()


def _scale(pen: Pen, name_width: int, paint: Paint) -> list[str]:
    """The axis: the time since the start at its left end, at each cut, and at its right end."""
    cells = [" "] * pen.width
    pieces = pen.line.pieces
    origin = pieces[0].start_at
    right = duration(pieces[-1].end_at - origin)
    for piece in pieces:
        if piece.cut:
            text = duration(piece.end_at - piece.start_at)
            text = f"‹{text}›" if pen.unicode else f"<{text}>"
            _put(cells, int((piece.left + piece.right) / 2 * pen.width) - len(text) // 2, text)
    _put(cells, 0, "0")
    _put(cells, pen.width - len(right), right)
    for piece in pieces:
        if piece.left > 0 and not piece.cut:
            _put(cells, int(piece.left * pen.width), "+" + duration(piece.start_at - origin))
    return ["", " " * (name_width + 4) + paint("".join(cells).rstrip(), "dim")]


def _put(cells: list[str], place: int, text: str) -> None:
    """Write a label where it covers no other and keeps a space to each."""
    place = max(0, min(place, len(cells) - len(text)))
    around = cells[max(place - 1, 0) : place + len(text) + 1]
    if len(text) <= len(cells) and all(cell == " " for cell in around):
        cells[place : place + len(text)] = list(text)


def _legend(pen: Pen, name_width: int, width: int, paint: Paint) -> list[str]:
    """What the characters mean that are on the picture, and are not plain."""
    parts = [
        f"{FILL[what][0 if pen.unicode else 1]} {TITLES[what] if isinstance(what, Stand) else what}"
        for what in FILL
        if what in pen.used and what is not Outcome.COMPLETED
    ]
    if not parts:
        return []
    lines: list[str] = []
    line = ""
    for part in parts:
        if line and columns(line) + columns(part) + 3 > width - name_width - 4:
            lines.append(line)
            line = ""
        line += ("   " if line else "") + part
    return [" " * (name_width + 4) + paint(text, "dim") for text in [*lines, line]]
