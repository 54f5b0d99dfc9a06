"""What the head of every page says again when something has moved: who moves the file, and how many questions wait."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.drawing import frame
from vbl.drawing.markup import join
from vbl.web.desk import desk


def standing(request: Request) -> Response:
    """`GET /standing`: the parts of the head that change."""
    d = desk(request)
    now = d.standing()
    return d.fragment(join([frame.supervision(d.root, now), frame.inbox_number(now, again=True)]))


routes = [Route("/standing", standing)]
