"""`/queues` and `/queues/NAME`: who holds places, who waits, and when the next one may begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.drawing import frame
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.tables import table
from vbl.drawing.times import countdown
from vbl.web.desk import desk, renewed

if TYPE_CHECKING:
    from vbl.store.queues import LaneState, QueueState

_LANES = 200


def queues(request: Request) -> Response:
    """All queues."""
    d = desk(request)
    main = renewed(f"{d.root}/queues", _queues(d.client.queues(), d.root, d.client.now()))
    return d.page("Queues", main, here="queues")


def queue(request: Request) -> Response:
    """The lanes of one. Raises NotFound."""
    d = desk(request)
    name: str = request.path_params["name"]
    found = d.client.lanes(name, _LANES + 1)
    main = renewed(f"{d.root}/queues/{_quoted(name)}", _lanes(name, found, d.root, d.client.now()))
    return d.page(f"Queue {name}", main, here="queues")


def _queues(found: Sequence[QueueState], root: str, now: int) -> Markup:
    head = frame.heading("Queues")
    if not found:
        hint = tag("code", '@vbl.workflow(queue="mail", concurrency=2)')
        return join([head, tag("p", "No queues yet. Give a workflow one: ", hint, class_="empty")])
    heads = ("queue", "limits", "running", "waiting", "begun", "next", "workflows")
    rows: list[list[Child]] = [
        [
            tag("a", one.name, href=f"{root}/queues/{_quoted(one.name)}", class_="mono"),
            str(one.limits),
            one.running,
            one.waiting,
            one.begun if one.limits.rate is not None else "",
            _next(one, now),
            ", ".join(one.workflows),
        ]
        for one in found
    ]
    return join([head, table(heads, rows, "Queues", numbers=(2, 3, 4))])


def _next(line: QueueState | LaneState, now: int) -> Child:
    if not line.waiting:
        return ""
    if line.full:
        return "when a place is free"
    return countdown(line.next_at, now) if line.next_at is not None else "now"


def _lanes(queue: str, found: Sequence[LaneState], root: str, now: int) -> Markup:
    head = frame.heading(f"Queue {queue}", tag("a", "all queues", href=f"{root}/queues"))
    if not found:
        return join([head, tag("p", "No run waits in it, and none is under way.", class_="empty")])
    rows: list[list[Child]] = [
        [
            tag("span", lane.lane or "(no key)", class_="mono"),
            lane.running,
            lane.waiting,
            _next(lane, now),
        ]
        for lane in found[:_LANES]
    ]
    note = tag("p", f"The first {_LANES} lanes.", class_="dim") if len(found) > _LANES else None
    return join([head, table(("lane", "running", "waiting", "next"), rows, f"Lanes of {queue}", numbers=(1, 2)), note])


def _quoted(name: str) -> str:
    return quote(name, safe="")


routes = [Route("/queues", queues), Route("/queues/{name:path}", queue)]
