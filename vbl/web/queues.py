"""`/queues` and `/queues/NAME`: who holds places and who waits."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.clock import SYSTEM
from vbl.drawing import queues as drawn
from vbl.web.desk import desk

_LANES = 200


def queues(request: Request) -> Response:
    """All queues."""
    d = desk(request)
    return d.page("Queues", drawn.queues_page(d.client.queues(), d.root, SYSTEM.now()), here="queues")


def queue(request: Request) -> Response:
    """The lanes of one."""
    d = desk(request)
    name: str = request.path_params["name"]
    found = d.client.lanes(name, _LANES + 1)
    main = drawn.lanes_page(name, found[:_LANES], len(found) > _LANES, d.root, SYSTEM.now())
    return d.page(f"Queue {name}", main, here="queues")


routes = [Route("/queues", queues), Route("/queues/{name:path}", queue)]
