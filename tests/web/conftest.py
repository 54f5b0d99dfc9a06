"""A real file, the pages over it, and, where sockets matter, a real server on a port."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import vbl
from tests.engine.world import WORLD
from vbl.client import Client
from vbl.testing import FakeClock, Trial
from vbl.web.app import build
from vbl.web.serving import Server, bind, serving

DEADLINE_S = 60.0
_browsers: list[Site] = []
_patience = inspect.signature(httpx.get).parameters["timeout"].default


@pytest.fixture(autouse=True)
def _own_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("VBL_LINK_KEY", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for part in ("connect", "read", "write", "pool"):  # five seconds are nothing on a busy machine
        monkeypatch.setattr(_patience, part, DEADLINE_S)
    yield
    while _browsers:
        _browsers.pop().close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "support.db"


@pytest.fixture
def file(path: Path) -> Iterator[Client]:
    with vbl.connect(path) as client:
        yield client


class Site(httpx.Client):
    """A browser without scripts: keeps cookies, and puts the session's token into what it posts."""

    def __init__(self, server: Server) -> None:
        super().__init__(base_url=server.address, follow_redirects=False)
        self.server = server
        self.get(server.app.link(server.address))

    @property
    def csrf(self) -> str:
        found = re.search(r'<meta name="csrf" content="(\w+)">', self.get("/queues").text)
        assert found is not None
        return found[1]

    def post_form(self, path: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        """Post fields as a form of the page does; a list is several of one name."""
        return self.post(path, data={"csrf": fields.get("csrf") or self.csrf, **fields}, headers=headers)


@pytest.fixture
def site(file: Client) -> Iterator[Site]:
    with running(file.path) as server:
        yield entered(server)


@pytest.fixture
def trial(path: Path) -> Iterator[Trial]:
    """A supervisor over the file, on the clock of the world."""
    WORLD.begin(FakeClock())
    with Trial(path, clock=WORLD.clock) as trial:
        yield trial


@pytest.fixture
def serve(file: Client) -> Iterator[Callable[..., Server]]:
    """`serve()` starts a real server over the file, and returns it; it is stopped at the end."""
    with ExitStack() as stack:

        def start(**options: Any) -> Server:
            return stack.enter_context(running(file.path, **options))

        yield start


@contextmanager
def running(path: Path, **options: Any) -> Generator[Server, None, None]:
    with serving(path, **{"port": 0, **options}) as server, server.beside():
        yield server


@contextmanager
def pages(client: Client, **options: Any) -> Generator[Site, None, None]:
    """A real server over that client, and a browser that has opened its link: for a clock that is not the real one."""
    app = build(client, **options)
    server = Server(app, bind("127.0.0.1", 0))
    with server.beside():
        yield entered(server)
    app.close()


def entered(server: Server) -> Site:
    """A browser that has opened the link; it is closed after the test."""
    _browsers.append(Site(server))
    return _browsers[-1]
