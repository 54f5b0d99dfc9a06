"""`/healthz`: whether the file can be read. It says nothing about what is in it, and asks nobody who he is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vbl.web.desk import Desk


def healthz(request: Request) -> Response:
    """200 where the file can be read; a StorageError becomes 503."""
    Desk(request, request.app.state.house).client.cursor()
    return JSONResponse({"status": "ok"})


routes = [Route("/healthz", healthz)]
