"""A timeline in characters: a row for each step, a bar for each attempt, and what stood still between them.

Draws `history.timeline.Timeline`, and decides nothing about it. Shape tells what colour tells: every outcome and
every kind of wait has a character of its own, in Unicode and in ASCII. Rows are folded by name where they would be
too many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from vbl.cli.terminal import columns, fit
from vbl.history.axis import Axis, axis, merged
from vbl.history.narration import duration
from vbl.history.timeline import Lane, Outcome, Stand, Timeline, Wait

NAME_WIDTH = 24
NOTE_WIDTH = 26
LEAST_CHART = 20
MOST_ROWS = 40
SHORTEST_QUEUE = 0.02
"""A time in the queue below this share of the picture is not worth a row."""

Paint = Callable[[str, str], str]

FILL: dict[str, tuple[str, str, str]] = {
    Outcome.COMPLETED: ("█", "=", "good"),
    Outcome.RUNNING: ("█", ">", "live"),
    Outcome.FAILED: ("▒", "x", "bad"),
    Outcome.INTERRUPTED: ("▚", "!", "warn"),
    Outcome.LOST: ("▚", "!", "bad"),
    Outcome.CANCELLED: ("░", "-", "dim"),
    Stand.BACKOFF: ("╱", "/", "warn"),
    Stand.TIMER: ("┄", ".", "live"),
    Stand.QUEUED: ("·", ",", "dim"),
    Stand.PAUSED: ("‖", "|", "warn"),
    Stand.BLOCKED: ("╳", "#", "bad"),
    Stand.ENDED: ("╳", "#", "bad"),
    Stand.DOWN: ("╌", "~", "bad"),
    Stand.GATE: ("╲", "\\", "warn"),
    Stand.SIGNAL: ("┈", "^", "live"),
    Stand.CHILD: ("▓", "%", "live"),
}
"""What fills an attempt or a wait: the character, its ASCII form, its style."""

END: dict[str, tuple[str, str]] = {
    Outcome.FAILED: ("✗", "x"),
    Outcome.INTERRUPTED: ("↯", "!"),
    Outcome.LOST: ("↯", "!"),
    Outcome.RUNNING: ("▸", ">"),
    Outcome.CANCELLED: ("⊘", "-"),
}
"""The last cell of an attempt that did not simply complete."""

TITLES: dict[Stand, str] = {
    Stand.TIMER: "asleep",
    Stand.QUEUED: "queued",
    Stand.PAUSED: "paused",
    Stand.BLOCKED: "blocked",
    Stand.ENDED: "failed",
    Stand.DOWN: "no supervisor",
    Stand.GATE: "waits for a person",
    Stand.SIGNAL: "waits for a signal",
    Stand.CHILD: "child",
}


@dataclass(slots=True)
class Row:
    """A line of the picture: its name, its cells (character and style), and what is said at its end."""

    name: str
    start_at: int
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
    used: set[str] = field(default_factory=set[str])

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

    def fill(self, cells: list[tuple[str, str]], what: str, start_at: int, end_at: int | None) -> tuple[int, int]:
        """Fill a span with the character of an outcome or a wait."""
        sign, plain, style = FILL[what]
        left, right = self.span(start_at, end_at)
        cells[left:right] = [(sign if self.unicode else plain, style)] * (right - left)
        self.used.add(what)
        return left, right


def draw(picture: Timeline, width: int, unicode: bool, paint: Paint, whole: bool = False) -> list[str]:
    """The lines of the picture for a terminal of `width` columns. `whole` folds no rows."""
    families = _families(picture.lanes, whole)
    names = [_family_name(family, unicode) for family in families] + [_stand_name(wait) for wait in picture.waits]
    name_width = min(max((columns(name) for name in names), default=0), NAME_WIDTH)
    name_width = max(name_width, 12) if len(names) > MOST_ROWS else name_width
    chart = max(width - name_width - NOTE_WIDTH - 6, LEAST_CHART)
    pen = Pen(axis(picture), chart, picture.end_at, unicode)
    rows = [_step_row(pen, family[0]) if len(family) == 1 else _family_row(pen, family) for family in families]
    rows = sorted(rows + _stand_rows(pen, picture), key=lambda row: row.start_at)
    lines = [_painted(row, name_width, unicode, paint) for row in _shortened(rows, None if whole else MOST_ROWS)]
    return [*lines, *_scale(pen, name_width, paint), *_legend(pen, name_width, width, paint)]


def _families(lanes: list[Lane], whole: bool) -> list[list[Lane]]:
    """The steps that share a row: each its own, or, where they are too many, those of one name."""
    if whole or len(lanes) <= MOST_ROWS:
        return [[lane] for lane in lanes]
    families: dict[str, list[Lane]] = {}
    for lane in lanes:
        families.setdefault(lane.name, []).append(lane)
    return list(families.values())


def _family_name(family: list[Lane], unicode: bool) -> str:
    if len(family) == 1:
        return family[0].step
    return f"{family[0].name} {'×' if unicode else 'x'}{len(family)}"


def _step_row(pen: Pen, lane: Lane) -> Row:
    cells = pen.blank()
    for wait in lane.waits:
        pen.fill(cells, wait.stand, wait.start_at, wait.end_at)
    for bar in lane.bars:
        left, right = pen.fill(cells, Outcome.CANCELLED if bar.void else bar.outcome, bar.start_at, bar.end_at)
        style = cells[left][1]
        if bar.outcome in END and not bar.void:
            cells[right - 1] = (END[bar.outcome][0 if pen.unicode else 1], style)
        if len(lane.bars) > 1 and right - left > 2:
            cells[left] = (str(bar.attempt)[-1], style)
    start_at = lane.bars[0].start_at if lane.bars else 0
    note, style = _step_note(lane, pen.present)
    return Row(lane.step, start_at, cells, note, style)


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
    style = {Outcome.FAILED: "bad", Outcome.INTERRUPTED: "warn", Outcome.RUNNING: "live"}.get(last.outcome, "dim")
    return f"{last.outcome} {took}{attempts}", style


_WORST = (Outcome.FAILED, Outcome.LOST, Outcome.RUNNING, Outcome.INTERRUPTED, Outcome.COMPLETED, Outcome.CANCELLED)


def _family_row(pen: Pen, family: list[Lane]) -> Row:
    """Many steps of one name in one row: where several overlap, what is most worth seeing lies on top."""
    cells = pen.blank()
    for lane in family:
        for wait in lane.waits:
            pen.fill(cells, wait.stand, wait.start_at, wait.end_at)
    bars = sorted((bar for lane in family for bar in lane.bars), key=lambda bar: -_WORST.index(bar.outcome))
    for bar in bars:
        pen.fill(cells, Outcome.CANCELLED if bar.void else bar.outcome, bar.start_at, bar.end_at)
    count = Counter(lane.status for lane in family)
    parts = [f"{number} {status}" for status, number in count.most_common() if status != "completed"]
    note = (
        ", ".join(parts) or f"{duration(_middle([b.end_at - b.start_at for b in bars if b.end_at is not None]))} each"
    )
    style = "bad" if count["failed"] else "warn" if count["retrying"] else "live" if count["running"] else ""
    return Row(_family_name(family, pen.unicode), min(bar.start_at for bar in bars), cells, note, style)


def _middle(numbers: list[int]) -> int:
    """The median of what there is."""
    return sorted(numbers)[len(numbers) // 2] if numbers else 0


def _stand_rows(pen: Pen, picture: Timeline) -> list[Row]:
    """A row for each way in which the whole run stood still."""
    families: dict[tuple[Stand, str], list[Wait]] = {}
    for wait in picture.waits:
        families.setdefault((wait.stand, wait.name), []).append(wait)
    whole = picture.end_at - picture.start_at
    rows: list[Row] = []
    for (stand, _), waits in families.items():
        spans = merged((w.start_at, picture.end_at if w.end_at is None else w.end_at) for w in waits)
        total = sum(end_at - start_at for start_at, end_at in spans)
        if stand is Stand.QUEUED and waits[0].end_at is not None and total <= whole * SHORTEST_QUEUE:
            continue
        cells = pen.blank()
        for wait in waits:
            pen.fill(cells, stand, wait.start_at, wait.end_at)
        rows.append(
            Row(
                _stand_name(waits[0]),
                waits[0].start_at,
                cells,
                _stand_note(waits, total, len(spans), picture.end_at),
                FILL[stand][2],
            )
        )
    return rows


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


def _shortened(rows: list[Row], most: int | None) -> list[Row]:
    """The first and the last rows, with a word on those between."""
    if most is None or len(rows) <= most:
        return rows
    head = most // 2
    tail = most - head - 1
    left_out = len(rows) - head - tail
    return [*rows[:head], Row(f"… {left_out} more", 0, [], "--all shows them", "dim"), *rows[-tail:]]


def _painted(row: Row, name_width: int, unicode: bool, paint: Paint) -> str:
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
        f"{FILL[what][0 if pen.unicode else 1]} {TITLES.get(what, what) if isinstance(what, Stand) else what}"
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
