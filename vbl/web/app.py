"""The application: every page of one file, as one ASGI callable that can be served alone or mounted into another.

    app.mount("/vbl", vbl.web.application("support.db", trusted=True))   # Starlette, FastAPI

Each page module exports its `routes`; here they are put together, behind the guard.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl import links
from vbl.errors import NotFound, UsageError, VblError
from vbl.web.assets import Assets
from vbl.web.desk import Desk, House
from vbl.web.live import Feed
from vbl.web.readers import Readers
from vbl.web.security import Guard, Receive, Scope, Send, host_of
from vbl.web.sessions import SHORTEST_TOKEN, Sessions
from vbl.web.sheets import Sheets

if TYPE_CHECKING:
    from vbl.client import Client

MODULES = (
    "assets",
    "runs",
    "live",
    "standing",
    "health",
    "api",
    "metrics",
    "queues",
    "schedules",
    "inbox",
    "actions",
    "run_page",
)
"""The modules of this room that have routes, in the order in which they are asked."""


class Application:
    """An ASGI application over one file. `close` ends its streams, and gives a file back that it opened itself."""

    def __init__(self, house: House, guard: Guard, owned: bool) -> None:
        self.house = house
        self.guard = guard
        self._owned = owned

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self.guard(scope, receive, send)

    def link(self, address: str) -> str:
        """The address with a token that opens one session."""
        return f"{address.rstrip('/')}/?token={self.guard.sessions.link()}"

    def close_streams(self) -> None:
        """End the open streams, and begin no more."""
        self.house.feed.close()

    def close(self) -> None:
        """End what is open."""
        self.close_streams()
        self.house.readers.close()
        self.house.sheets.close()
        if self._owned:
            self.house.client.close()


def application(
    source: str | os.PathLike[str] | Client,
    *,
    token: str | None = None,
    trusted: bool = False,
    hosts: Iterable[str] = (),
    read_only: bool = False,
) -> Application:
    """The pages of a file, or of a client's file, to be mounted into an ASGI application of your own.

    Who may look: with `token` whoever has it (`…/?token=TOKEN` opens a session, programs send it as a bearer); with
    `trusted` whoever your application lets through. `hosts` are the names under which it is reached, besides those of
    this machine. Raises UsageError where neither is said, NotFound where the file is missing.
    """
    if token is None and not trusted:
        raise UsageError(
            "nobody says who may look at these pages",
            'Give token="…", or trusted=True where your application asks who it is before',
        )
    return build(source, token=token, trusted=trusted, hosts=hosts, read_only=read_only)


def build(
    source: str | os.PathLike[str] | Client,
    *,
    token: str | None = None,
    trusted: bool = False,
    hosts: Iterable[str] = (),
    any_address: bool = False,
    read_only: bool = False,
) -> Application:
    """The application, as the server of `vbl ui` has it: with neither token nor trust only one-time links let in."""
    from vbl.client import connect

    if token is not None and len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"a token of {len(token)} characters can be guessed",
            f'Take {SHORTEST_TOKEN} or more: --token "$(openssl rand -hex 16)"',
            code="weak_token",
        )
    named = frozenset(_named(host) for host in hosts)
    owned = isinstance(source, (str, os.PathLike))
    client = connect(Path(source), create=False) if isinstance(source, (str, os.PathLike)) else source
    house = House(client, Readers(client), Feed(client.path), Assets(), Sheets(client.beside()), read_only)
    sessions = Sessions(links.key(), str(client.path), token)
    guard = Guard(_inner(house), sessions, named, any_address, trusted, read_only)
    return Application(house, guard, owned)


def _named(host: str) -> str:
    """A name as requests are compared with it. Raises UsageError for what no request can name."""
    name = host_of(host)
    if not name or "/" in host:
        raise UsageError(f"{host!r} is no name of a host", "Give the name alone: --name box.example", code="host")
    return name


def _inner(house: House) -> Starlette:
    """The routes, and what becomes of errors."""
    routes: list[Route] = []
    for name in MODULES:
        routes += [_lent(house, route) for route in import_module(f"vbl.web.{name}").routes]
    app = Starlette(routes=routes, exception_handlers={VblError: _problem, 404: _nowhere})
    app.state.house = house
    return app


def _lent(house: House, route: Route) -> Route:
    """The route, answered on a connection of its own; one that waits on the loop reads nothing there."""
    if iscoroutinefunction(route.endpoint):
        return route
    return Route(route.path, house.answering(route.endpoint), methods=route.methods, name=route.name)


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, VblError)
    return Desk(request, request.app.state.house).problem(error)


def _nowhere(request: Request, error: Exception) -> Response:
    return _problem(request, NotFound(f"there is no page {request.url.path}", "Begin at the list of runs"))
