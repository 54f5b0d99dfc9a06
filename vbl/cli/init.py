"""`vbl init`: a small workflow to begin with, and how to run it."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from vbl.cli.terminal import Terminal, shared
from vbl.errors import Conflict, VblError

NAME = "hello.py"
TEXT = '''"""A first workflow: kill it at any moment, run it again, and no completed step runs twice."""

import asyncio

import vbl


@vbl.step(retry=True, timeout=30)
async def fetch(name: str) -> str:
    """Stands for a call that takes a while and may fail."""
    await asyncio.sleep(1)
    return f"a note about {name}"


@vbl.step
async def summarise(notes: list[str]) -> str:
    """Stands for a call that costs money."""
    await asyncio.sleep(1)
    return "; ".join(notes)


@vbl.workflow
async def hello(name: str = "you") -> str:
    """Fetch in parallel, rest a little, summarise."""
    notes = await vbl.map(fetch, [name, "the weather", "the news"], limit=2)
    await vbl.sleep(1)
    return await summarise(notes)
'''


@click.command(short_help="Write a small workflow to begin with.")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(file_okay=False, path_type=Path))
@shared
def command(terminal: Terminal, folder: Path) -> None:
    """Write a small workflow to begin with, and say how to run it. Nothing that exists is overwritten.

    \b
    Example:
      vbl init my-flows
    """
    file = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as new:
            new.write(TEXT)
    except FileExistsError as error:
        hint = (
            f"Run it: vbl run {shlex.quote(f'{file}:hello')}" if file.exists() else "Name another folder: vbl init DIR"
        )
        raise Conflict(f"{error.filename or file} exists; nothing was written", hint, code="exists") from None
    except OSError as error:
        raise VblError(
            f"{file} cannot be written: {error.strerror}", "Name a folder that is yours: vbl init DIR"
        ) from error
    target = shlex.quote(f"{file}:hello")
    if terminal.as_json:
        terminal.document({"file": str(file), "target": f"{file}:hello"})
        return
    terminal.line(str(file))
    terminal.note("")
    terminal.note(f"  vbl run {target}")
    terminal.note(f"""  vbl run {target} --input '{{"name": "Ada"}}'""")
    terminal.note("  vbl show @last   (what it did, and when)")
    terminal.note("")
    terminal.note("Press Ctrl-C in the middle of it, then: vbl up " + shlex.quote(str(file)))
