"""`vbl sql`: questions that no command answers, put to the documented views."""

from __future__ import annotations

import sys
from typing import Any

import click

from vbl.cli.terminal import Terminal, dumps, fit, shared

CELL = 60
"""Columns that a cell may fill on a terminal; a pipe gets it whole."""


@click.command(short_help="Query the file; read-only.")
@click.argument("query")
@shared
def command(terminal: Terminal, query: str) -> None:
    """Query the file, read-only; `-` reads the query from stdin. Times are microseconds since 1970 UTC.

    The views are vbl_runs, vbl_events, vbl_steps, vbl_gates and vbl_costs.

    \b
    Examples:
      vbl sql "select status, count(*) from vbl_runs group by status"
      vbl sql "select * from vbl_steps where attempt > 1" --json
      vbl sql "select model, sum(input_tokens), sum(usd) from vbl_costs group by 1"
    """
    if query == "-":
        query = sys.stdin.read()
    with terminal.connect() as client:
        columns, rows = client.sql(query)
    if terminal.as_json:
        for row in rows:
            terminal.emit({name: _plain(value) for name, value in zip(columns, row, strict=True)})
        return
    room = CELL if terminal.stdout.isatty() else 1 << 20
    numeric = [n for n in range(len(columns)) if rows and all(isinstance(row[n], (int, float)) for row in rows)]
    if columns:
        terminal.table(
            [fit(name, room) for name in columns], [[fit(_text(value), room) for value in row] for row in rows], numeric
        )
    terminal.note(f"{len(rows)} row" + ("" if len(rows) == 1 else "s"), "dim")


def _plain(value: Any) -> Any:
    """A value of SQLite in JSON; bytes as hexadecimal."""
    return value.hex() if isinstance(value, bytes) else value


def _text(value: Any) -> str:
    plain = _plain(value)
    return "null" if plain is None else plain if isinstance(plain, str) else dumps(plain)
