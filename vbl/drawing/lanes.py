"""The lanes of a chart: a shape for each attempt and each wait, and one row a step or kind of wait.

Each shape says in words what it is, and leads to the event that it began with. Places are in percent of the line of
time. Pure but for the time zone of the machine that draws.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo

from vbl.drawing.density import columns, strip
from vbl.drawing.hatches import Kind, fill, named
from vbl.drawing.markup import Markup, join, tag
from vbl.drawing.ruler import percent, shown_marks
from vbl.drawing.times import local
from vbl.history.axis import Axis
from vbl.history.narration import duration, offset, printable
from vbl.history.rows import ENDS, TONES, Row
from vbl.history.timeline import Bar, Lane, Mark, Outcome, Stand, Timeline, Wait

TEXT = 200
"""So many characters of an error are said in a shape's words."""
ROOM_FOR_NUMBER = 0.03
"""An attempt from this share of the picture on has its number in it at any width."""
USUAL = 900
"""So wide in pixels is a picture that nobody has zoomed, more or less."""
FREE = 0.7
"""A word in a wait covers this share of it at most."""
MOST_SHAPES, LAST_SHAPES = 400, 100
"""Of a row with more shapes than that only the last ones are drawn each for itself."""
CHUNK = 100
"""So many rows make a block that a browser skips while it is out of sight."""


@dataclass(frozen=True, slots=True)
class Pen:
    """Where things are on the line of time, and what a shape leads to; `fine` says that somebody can zoom,
    `name` whose patterns fill the shapes, `last` up to which event the page has them."""

    line: Axis
    origin: int
    present: int
    links: bool = True
    zone: tzinfo | None = None
    fine: bool = True
    name: str = "timeline"
    last: int | None = None

    def span(self, start_at: int, end_at: int | None) -> tuple[float, float]:
        """The left edge and the width, as shares of the whole."""
        left = self.line.place(start_at)
        return left, self.line.place(self.present if end_at is None else end_at) - left

    def when(self, at: int) -> str:
        """An instant in both ways of counting."""
        return f"{offset(at - self.origin)} ({local(at, self.present, zone=self.zone)})"

    def shape(self, words: str, seq: int, kind: str, *parts: Markup) -> Markup:
        """The parts as one thing that has a name and leads to its event."""
        title = tag("title", words)
        if not (self.links and seq) or (self.last is not None and seq > self.last):
            return tag("g", title, parts, class_=kind)
        return tag("a", title, parts, href=f"#e{seq}", class_=kind, aria_label=words, tabindex=-1)


def row(pen: Pen, drawn: Row) -> Markup:
    """A row with all its shapes; where they are too many, those of before the last ones as a strip."""
    shapes: list[Markup] = []
    waits = drawn.waits + [wait for lane in drawn.lanes for wait in lane.waits]
    attempts = [(lane, bar) for lane in drawn.lanes for bar in lane.bars]
    if len(waits) + len(attempts) > MOST_SHAPES:
        bars = [bar for _, bar in attempts[:-LAST_SHAPES]]
        shapes += strip(columns(pen.line, pen.present, bars, waits[:-LAST_SHAPES]), 16, 4)
        waits, attempts = waits[-LAST_SHAPES:], attempts[-LAST_SHAPES:]
    shapes += [_wait(pen, wait) for wait in waits]
    shapes += [_attempt(pen, lane, bar) for lane, bar in attempts]
    kind = "" if drawn.lanes else " standing"
    return tag("div", label(drawn), track(shapes), class_=f"lane{kind}", role="listitem")


def label(drawn: Row) -> Markup:
    """The name of a row, and what is said of it."""
    name = printable(drawn.name)
    count = tag("span", f" ×{len(drawn.lanes)}", class_="count") if len(drawn.lanes) > 1 else None
    note = tag("span", printable(drawn.note), class_=f"lane-took {drawn.tone}".rstrip(), title=printable(drawn.note))
    return tag("div", tag("span", name, count, class_="lane-name", title=name), note, class_="lane-label")


def track(shapes: Iterable[Markup], kind: str = "track") -> Markup:
    """The stretch beside a label in which the shapes are."""
    return tag("svg", shapes, class_=kind, role="presentation")


def crowd(pen: Pen, drawn: Row) -> Markup:
    """The strip that stands for all the lanes of a row."""
    waits = [wait for lane in drawn.lanes for wait in lane.waits]
    return track(strip(columns(pen.line, pen.present, drawn.bars, waits), 18, 3), "track strip")


def marks(pen: Pen, picture: Timeline) -> Markup | None:
    """The row of what happened at an instant; None where nothing did."""
    shown = shown_marks(picture)
    if not shown:
        return None
    note = tag("span", len(picture.marks), class_="lane-took dim")
    head = tag("div", tag("span", "what happened", class_="lane-name"), note, class_="lane-label")
    return tag("div", head, track(_mark(pen, mark) for mark in shown), class_="lane marks", role="listitem")


def chunks(drawn: list[Markup]) -> Markup:
    """Rows in blocks of a known height; a picture of few rows is one block."""
    blocks = [drawn[at : at + CHUNK] for at in range(0, len(drawn), CHUNK)]
    if len(blocks) <= 1:
        return join(drawn)
    return join(tag("div", block, class_="chunk" if len(block) == CHUNK else None) for block in blocks)


def _attempt(pen: Pen, lane: Lane, bar: Bar) -> Markup:
    left, width = pen.span(bar.start_at, bar.end_at)
    kind: Outcome = bar.outcome
    box = tag(
        "rect", x=percent(left), y=4, width=percent(width), height=16, rx=2, fill=fill(kind, pen.name), class_="shape"
    )
    parts = [box]
    wide = width >= ROOM_FOR_NUMBER
    if len(lane.bars) > 1 and (wide or pen.fine):
        number = tag("text", bar.attempt, x=4, y=12)
        place = {"x": percent(left), "y": 4, "width": percent(width), "height": 16}
        parts.append(tag("svg", number, class_=None if wide else "t2", **place))
    if bar.void:
        parts.append(tag("line", x1=percent(left), x2=percent(left + width), y1=12, y2=12, class_="struck"))
    if kind in ENDS:
        at = {"x": percent(left + width), "dx": -3, "text_anchor": "end"}
        middle = {"x": percent(left + width / 2), "text_anchor": "middle"}
        parts.append(tag("text", ENDS[kind][0], y=16, class_="sign", **(at if wide else middle)))
    void = " void" if bar.void else ""
    return pen.shape(_told(pen, lane, bar), bar.seq, f"attempt {kind} {TONES[kind]}{void}", *parts)


def _told(pen: Pen, lane: Lane, bar: Bar) -> str:
    """An attempt in words."""
    took = duration((pen.present if bar.end_at is None else bar.end_at) - bar.start_at)
    how = {Outcome.RUNNING: "running for", Outcome.COMPLETED: "completed in"}.get(bar.outcome, f"{bar.outcome} after")
    said = [f"{printable(lane.step)}, attempt {bar.attempt}, {how} {took}", f"from {pen.when(bar.start_at)}"]
    if bar.text:
        said.append(printable(bar.text)[:TEXT])
    if bar.alone:
        said.append("run alone, since it was interrupted too often")
    if bar.void:
        said.append("undone by a retry of the run")
    return "\n".join(said)


def _wait(pen: Pen, wait: Wait) -> Markup:
    left, width = pen.span(wait.start_at, wait.end_at)
    kind: Kind = wait.stand
    box = tag(
        "rect", x=percent(left), y=5, width=percent(width), height=14, rx=1, fill=fill(kind, pen.name), class_="shape"
    )
    parts = [box]
    if word := _word(pen, wait, width):
        paper = tag("rect", x=3, y=5.5, width=_length(word), height=13, class_="paper")
        text = tag("text", word, x=7, y=16)
        parts.append(tag("svg", paper, text, x=percent(left), y=0, width=percent(width), height=24))
    open_now = " open" if wait.end_at is None else ""
    return pen.shape(_waited(pen, wait), wait.seq, f"wait {kind} {TONES[kind]}{open_now}", *parts)


def _word(pen: Pen, wait: Wait, width: float) -> str:
    """What is written in a wait, as far as it leaves most of the pattern free: how it ended, or how long it was."""
    took = duration((pen.present if wait.end_at is None else wait.end_at) - wait.start_at)
    ended = printable(wait.outcome)[:TEXT] if wait.stand is not Stand.CHILD else ""
    words = [ended, f"{took} so far" if wait.end_at is None else took, took]
    return next((word for word in words if word and _length(word) <= width * USUAL * FREE), "")


def _length(word: str) -> int:
    """About as wide is a word in pixels, with its paper."""
    return round(len(word) * 5.9 + 8)


def _waited(pen: Pen, wait: Wait) -> str:
    """A wait in words."""
    took = duration((pen.present if wait.end_at is None else wait.end_at) - wait.start_at)
    late = f", {duration(wait.late)} late" if wait.late else ""
    so_far = "open for" if wait.end_at is None else "took"
    said = [f"{named(wait.stand)}: {printable(wait.text)[:TEXT]}", f"{so_far} {took}{late}"]
    said[1] += f", from {pen.when(wait.start_at)}"
    if wait.outcome:
        said.append(printable(wait.outcome)[:TEXT])
    if wait.end_at is None and wait.until_at is not None:
        said.append(f"until {pen.when(wait.until_at)}")
    return "\n".join(said)


def _mark(pen: Pen, mark: Mark) -> Markup:
    flag = tag("text", "▾", x=percent(pen.line.place(mark.at)), y=17, class_="flag")
    return pen.shape(f"{printable(mark.text)[:TEXT]}\n{pen.when(mark.at)}", mark.seq, "mark", flag)
