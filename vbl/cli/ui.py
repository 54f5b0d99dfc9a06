"""`vbl ui`: the pages of a file, for the browser of this machine. Needs no supervisor."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from vbl.cli.terminal import Terminal, shared
from vbl.errors import VblError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from vbl.web.serving import Server

TOKEN = "VBL_UI_TOKEN"


@click.command("ui", short_help="Show the file in the browser.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others need --token.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Which port; 0 finds a free one.  [default: 8642]")
@click.option("--token", envvar=TOKEN, help=f"A lasting token, in place of one-time links; else ${TOKEN}.")
@click.option("--name", "names", multiple=True, metavar="HOST", help="A name under which it is reached; repeatable.")
@click.option("--read-only", is_flag=True, help="Only show: refuse every change.")
@click.option("--no-open", is_flag=True, help="Print the link, and open no browser.")
@click.option("--link", is_flag=True, help="Print a new one-time link to pages that are served already.")
@shared
def command(
    terminal: Terminal,
    host: str,
    port: int | None,
    token: str | None,
    names: tuple[str, ...],
    read_only: bool,
    no_open: bool,
    link: bool,
) -> None:
    """Serve the pages of the file until Ctrl-C: runs with their timelines, the inbox, queues and schedules, all live.

    Whoever opens the printed link is let in, once; it listens on this machine alone. Nothing moves by it: a supervisor
    does that (vbl up, which serves the pages too with --ui).

    \b
    Examples:
      vbl ui
      vbl ui --db support.db --read-only
      vbl ui --host 0.0.0.0 --token "$(openssl rand -hex 16)"
    """
    if link:
        _new_link(terminal, port)
        return
    with serving()(terminal.path, host=host, port=port, token=token, hosts=names, read_only=read_only) as server:
        greet(terminal, server, token)
        if not no_open:
            show(server, token)
        server.serve_here()
    terminal.note("the pages are closed", "dim")


def serving() -> Callable[..., AbstractContextManager[Server]]:
    """`vbl.web.serving.serving`. Raises VblError (`no_extra`) where what it needs is not installed."""
    try:
        from vbl.web.serving import serving
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise VblError(
            f"the pages need {error.name}, which is not installed", "pip install 'vbl[ui]'", code="no_extra"
        ) from None
    return serving


def greet(terminal: Terminal, server: Server, token: str | None, *, events: bool = False) -> None:
    """Print where the pages are; a lasting token is not printed. Where stdout carries `events` as JSON, on stderr."""
    url = _url(server, token)
    if terminal.as_json and events:
        click.echo(url, err=True)
        return
    if terminal.as_json:
        terminal.emit({"url": url, "address": server.address, "file": str(terminal.path)})
        return
    terminal.line(url)
    if token is not None:
        terminal.note("open it once with ?token=TOKEN behind it; programs send Authorization: Bearer TOKEN", "dim")


def _url(server: Server, token: str | None) -> str:
    return f"{server.address}/" if token is not None else server.app.link(server.address)


def show(server: Server, token: str | None) -> None:
    """Open a browser, where there is a screen to show it on."""
    import sys
    import webbrowser

    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(f"{server.address}/?token={token}" if token is not None else server.app.link(server.address))


def _new_link(terminal: Terminal, port: int | None) -> None:
    """A link signed with the user's key opens a session at any server of his for this file."""
    serving()
    from vbl.web.serving import PORT, new_link

    url = new_link(terminal.path, port or PORT)
    if terminal.as_json:
        terminal.emit({"url": url, "file": str(terminal.path)})
    else:
        terminal.line(url)
