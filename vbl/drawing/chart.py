"""A run's timeline as a chart: `chart(picture) -> Markup`, for the page, the notebook and the static file.

A row a step, a bar for each attempt, a hatched one for each wait; above them a ruler in elapsed and in clock time, and
the smallest picture of the whole. Where there are very many steps, those of one name share a row that opens. All
places are in percent: a style sheet makes the picture wider, `timeline.js` moves it, and neither is needed to read it.

It draws `history.timeline.Timeline` as `history.rows` and `history.axis` lay it out, and decides nothing about it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal
from urllib.parse import urlencode

from vbl.drawing.density import columns, strip
from vbl.drawing.hatches import Kind, hatches, legend
from vbl.drawing.lanes import CHUNK, Pen, chunks, crowd, label, marks, row
from vbl.drawing.markup import Attribute, Child, Markup, tag
from vbl.drawing.ruler import grid, ruler
from vbl.history.axis import axis as lay_out
from vbl.history.narration import duration
from vbl.history.rows import Row, lane_row, rows
from vbl.history.timeline import Lane, Stand, Timeline

FOLDED = 150
"""Beyond so many steps those of one name share a row."""
PAGE = 10 * CHUNK
"""So many lanes of a group are drawn at once."""
MINIMAP = 22
"""The height of the smallest picture in pixels."""

CHANGED = "vbl:changed from:body"
"""The event upon which a part of the page redraws itself."""

AxisName = Literal["compressed", "real"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart is drawn. `source` is the address that redraws it, with `axis`, or with `group` and `from` for the
    lanes of a group; empty where no server is. `whole` draws the lanes of every group at once; `tools` are what a
    script works on; `links` lead to the events of the same page; `name` is the id of the chart in its page."""

    axis: AxisName = "compressed"
    source: str = ""
    name: str = "timeline"
    both: bool = False
    tools: bool = True
    links: bool = True
    whole: bool = False
    last: int | None = None
    zone: tzinfo | None = None


def chart(
    picture: Timeline,
    *,
    axis: AxisName = "compressed",
    source: str = "",
    name: str = "timeline",
    both: bool = False,
    tools: bool = True,
    links: bool = True,
    whole: bool = False,
    most: int = FOLDED,
    last: int | None = None,
    zone: tzinfo | None = None,
) -> Markup:
    """Draw the timeline.

    `axis="real"` gives days of waiting the room that they took. With `source`, the address of this very chart on a
    server, it redraws itself when the run changes, and fetches the lanes of a group when that is opened (`lanes`).
    Without, `both` says that the chart of the other axis stands beside it, and `whole` draws all lanes at once.
    `links=False` makes nothing lead anywhere, `last` nothing behind that event; `tools=False` leaves out what only a
    script can use. Beyond `most` steps those of one name share a row. `zone` is by default that of the machine.
    """
    look = Look(axis, source, name, both, tools, links, whole, last, zone)
    pen = _pen(picture, look)
    drawn = rows(picture, most)
    body = tag(
        "div",
        tag("div", _corner(), ruler(pen.line, zone, tools), class_="chart-head"),
        tag("div", grid(picture, pen.line, zone, tools), _list(pen, picture, drawn, look), class_="rows"),
        class_="sheet",
    )
    scroller = tag(
        "div", body, class_="scroller", tabindex=0, role="group", aria_label=f"Timeline, {_summary(picture)}"
    )
    content = [hatches(name), _tools(pen, picture, look) if tools else None, scroller, legend(_kinds(drawn), name)]
    return tag("div", content, **_frame(look))


def lanes(
    picture: Timeline,
    group: str,
    *,
    axis: AxisName = "compressed",
    source: str = "",
    name: str = "timeline",
    start: int = 0,
    zone: tzinfo | None = None,
) -> Markup:
    """The lanes of the steps of one name, from the `start`-th on, at most `PAGE` at once; the last row leads on."""
    look = Look(axis=axis, source=source, name=name, zone=zone)
    return _members(_pen(picture, look), [lane for lane in picture.lanes if lane.name == group], look, start)


def _pen(picture: Timeline, look: Look) -> Pen:
    line = lay_out(picture, compressed=look.axis == "compressed")
    return Pen(line, picture.start_at, picture.end_at, look.links, look.zone, look.tools, look.name, look.last)


def _frame(look: Look) -> dict[str, str]:
    """The attributes of the element around a chart; with a source it redraws itself."""
    live = {
        "hx_get": f"{look.source}?{urlencode({'axis': look.axis})}",
        "hx_trigger": CHANGED,
        "hx_swap": "outerMorph",
    }
    frame = {"id": look.name, "class_": f"timeline {look.axis}", "data_axis": look.axis}
    return frame | (live if look.source else {})


def _summary(picture: Timeline) -> str:
    """How much there is, in a few words."""
    attempts = sum(len(lane.bars) for lane in picture.lanes)
    steps = f"{len(picture.lanes)} step{'' if len(picture.lanes) == 1 else 's'}"
    tried = f"{attempts} attempt{'' if attempts == 1 else 's'}"
    return f"{steps}, {tried}, {duration(picture.end_at - picture.start_at)}"


def _corner() -> Markup:
    return tag(
        "div", tag("span", "step", class_="lane-name"), tag("span", "took", class_="lane-took"), class_="lane-label"
    )


def _list(pen: Pen, picture: Timeline, drawn: list[Row], look: Look) -> Markup:
    body = [_group(pen, found, look) if len(found.lanes) > 1 else row(pen, found) for found in drawn]
    nothing = tag("div", "nothing has begun yet", class_="lane nothing", role="listitem") if not drawn else None
    return tag("div", marks(pen, picture), chunks(body), nothing, role="list", aria_label="Steps and waits")


def _group(pen: Pen, found: Row, look: Look) -> Markup:
    """Many steps of one name: a strip that opens."""
    key = hashlib.blake2b(found.name.encode("utf-8", "replace"), digest_size=6).hexdigest()
    inside: Markup | None = None
    more: dict[str, str] = {}
    if look.whole:
        inside = _members(pen, found.lanes, look, 0)
    elif look.source:
        more = {
            "hx_get": _address(look, found.name, 0),
            "hx_trigger": "toggle once",
            "hx_target": "find .members",
            "hx_swap": "innerHTML",
        }
    name = f"{look.name}-{key}"  # a redraw finds by it what is open
    place = tag("div", inside, id=f"{name}-lanes", class_="members", hx_preserve=bool(look.source))
    summary = tag("summary", label(found), crowd(pen, found), class_="lane")
    return tag("div", tag("details", summary, place, id=name, class_="group", **more), role="listitem")


def _members(pen: Pen, found: list[Lane], look: Look, start: int) -> Markup:
    """A page of the lanes of a group. As long as something in it may change it redraws itself; the next one comes to
    stand behind it."""
    page = found[start : start + PAGE]
    shown = [row(pen, lane_row(lane, pen.present)) for lane in page]
    rest, more = len(found) - start - PAGE, None
    if rest > 0:
        more = tag("div", _rest(rest, look, found[0].name, start + PAGE), class_="lane more", role="listitem")
    settled = len(page) == PAGE and all(lane.status in _ENDED for lane in page)
    live: dict[str, str] = {}
    if look.source and page and not settled:
        live = {"hx_get": _address(look, page[0].name, start), "hx_swap": "outerMorph", "hx_trigger": CHANGED}
    return tag("div", chunks(shown), more, class_="page", role="list", **live)


_ENDED = frozenset({"completed", "failed", "cancelled"})


def _rest(rest: int, look: Look, group: str, start: int) -> Markup:
    """What is said of lanes that are not drawn, and the way to them."""
    if not look.source:
        return tag("span", f"{rest} more are left out; all of them: vbl show RUN --all", class_="lane-took")
    asked = {"hx_get": _address(look, group, start), "hx_target": "closest .page", "hx_swap": "afterend"}
    return tag("button", f"{min(rest, PAGE)} more of {rest}", type="button", class_="button quiet", **asked)


def _address(look: Look, group: str, start: int) -> str:
    return f"{look.source}?{urlencode({'axis': look.axis, 'group': group, 'from': start})}"


def _kinds(drawn: list[Row]) -> list[Kind]:
    """What is on the picture."""
    lanes_drawn = [lane for found in drawn for lane in found.lanes]
    kinds: list[Kind] = [bar.outcome for lane in lanes_drawn for bar in lane.bars]
    kinds += [wait.stand for lane in lanes_drawn for wait in lane.waits]
    return kinds + [wait.stand for found in drawn for wait in found.waits]


def _tools(pen: Pen, picture: Timeline, look: Look) -> Markup:
    """What a script works on: zoom, the smallest picture, which time is shown, which axis."""
    zoom = [
        _button("zoom-out", "−", "Zoom out (-)", aria_label="Zoom out"),
        _button("zoom-in", "+", "Zoom in (+)", aria_label="Zoom in"),
        _button("fit", "fit", "Show all (0)", aria_label="Show all"),
    ]
    shown = [tag("span", "elapsed", class_="elapsed"), tag("span", "clock", class_="clock")]
    times = _button("clock", shown, "Time since the start, or time of day (t)")
    bars = [bar for lane in picture.lanes for bar in lane.bars]
    gates = [wait for wait in picture.waits if wait.stand is Stand.GATE]
    small = tag("svg", strip(columns(pen.line, pen.present, bars, gates), MINIMAP), aria_hidden="true")
    minimap = tag("div", small, tag("div", class_="window"), class_="minimap", data_chart="minimap")
    return tag("div", tag("div", zoom, times, _axis_button(pen, look), class_="buttons"), minimap, class_="tools")


def _button(action: str, text: Child, title: str, **more: Attribute) -> Markup:
    return tag("button", text, type="button", class_="button quiet", data_chart=action, title=title, **more)


def _axis_button(pen: Pen, look: Look) -> Markup | None:
    """Between the two axes, where they differ: by asking for the other, or by showing the chart beside."""
    if look.axis == "compressed" and not any(piece.cut for piece in pen.line.pieces):
        return None
    if not (look.source or look.both):
        return None
    other = "real" if look.axis == "compressed" else "compressed"
    title = "Waiting cut short, or all as long as it was"
    text = "waits cut" if look.axis == "compressed" else "real lengths"
    if not look.source:
        return _button("axis", text, title)
    address = f"{look.source}?{urlencode({'axis': other})}"
    return _button("refetch", text, title, hx_get=address, hx_target="closest .timeline", hx_swap="outerMorph")
