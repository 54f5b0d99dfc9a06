"""A server for the pages: uvicorn, quiet, on this machine, beside a supervisor or alone.

It binds before it says where, so that the address that is printed is the one that answers; it ends its streams before
it stops, so that no open page holds it up.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import threading
import weakref
from collections.abc import Generator
from pathlib import Path
from types import FrameType

import uvicorn

from vbl import links
from vbl.client import Client
from vbl.errors import UsageError, VblError
from vbl.web.app import Application, build
from vbl.web.security import LOOPBACK
from vbl.web.sessions import Sessions

PORT = 8642
"""Where the pages are, unless something else has that port."""
GRACE_S = 2
_BACKLOG = 512


_bound: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _forget_all() -> None:
    """In a forked child: it takes no connections, and must not keep the port when its parent has died."""
    for bound in list(_bound):
        bound.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


class Server(uvicorn.Server):
    """A server of one application on a socket that is bound already."""

    def __init__(self, app: Application, bound: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                lifespan="off",
                proxy_headers=False,
                ws="none",
                backlog=_BACKLOG,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self.app = app
        self.bound = bound
        _bound.add(bound)

    @property
    def address(self) -> str:
        """Where it answers, for example `http://127.0.0.1:8642`."""
        return address_of(self.bound)

    def serve_here(self) -> None:
        """Serve on this thread until it is asked to stop; on the main thread SIGINT and SIGTERM ask."""
        self.run([self.bound])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal ends the serving, and no more: the command says itself how it ended. A second one does not wait."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams first; they would go on for ever."""
        self.app.close_streams()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def beside(self) -> Generator[None, None, None]:
        """Serve on a thread of its own while the block runs."""
        thread = threading.Thread(target=self.serve_here, name="vbl-pages", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.should_exit = True
            thread.join(GRACE_S + 3)


@contextlib.contextmanager
def serving(
    path: Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    token: str | None = None,
    read_only: bool = False,
    hosts: tuple[str, ...] = (),
    create: bool = False,
) -> Generator[Server, None, None]:
    """A server that is bound and not started yet; `create` makes the file. Raises UsageError where the page would be
    open to others without a token, VblError (`port_taken`, `no_address`) where it cannot be bound, and NotFound where
    the file is missing."""
    if not is_loopback(host) and token is None:
        raise UsageError(
            f"{host} can be reached from other machines, and nobody would be asked who he is",
            f'Give a token: vbl ui --host {host} --token "$(openssl rand -hex 16)"',
            code="open_to_others",
        )
    bound = bind(host, port)
    try:
        wide = host in ("0.0.0.0", "::", "")
        names = {*hosts, *((socket.gethostname(),) if wide else (host,))}
        with Client(path, create=create) as client:
            app = build(client, token=token, hosts=names, any_address=wide, read_only=read_only)
            try:
                yield Server(app, bound)
            finally:
                app.close()
    finally:
        bound.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may lead anywhere, whatever it begins with


def bind(host: str, port: int | None) -> socket.socket:
    """A socket that is bound and listens. Without a port the usual one, or any where that is taken. Raises VblError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for wanted in (PORT, 0) if port is None else (port,):
        # asyncio turns off the delay of small answers only where the socket says that it speaks TCP
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, wanted))
            bound.listen(_BACKLOG)  # else another one could bind it too; connections wait until it is served
            bound.set_inheritable(False)
            return bound
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE and wanted == PORT and port is None:
                continue
            raise _unbound(host, wanted, error) from error
    raise AssertionError("the loop returns or raises")


def _unbound(host: str, port: int, error: OSError) -> VblError:
    if error.errno == errno.EADDRINUSE:
        return VblError(
            f"port {port} of {host} is taken",
            "Take another: --port 0 finds a free one. For a new link to pages that are served: vbl ui --link",
            code="port_taken",
        )
    return VblError(f"{host}, port {port}: {error.strerror}", "Name another address: --host, --port", code="no_address")


def address_of(bound: socket.socket) -> str:
    """The address of a bound socket, as a browser on this machine opens it."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def new_link(path: Path, port: int) -> str:
    """A one-time link to pages of this file that are served on this machine already."""
    sessions = Sessions(links.key(), str(path))
    return f"http://127.0.0.1:{port}/?token={sessions.link()}"
