"""What every command shares: its common options, its two streams, its colours, and its JSON.

Data goes to stdout, everything else to stderr. Text that came from a file or a user is made printable before it
reaches a terminal. Commands get a `Terminal` by `@command(...)`; no command reads the environment or a stream itself.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from vbl.cli.options import NAMES, common
from vbl.errors import VblError
from vbl.history.narration import printable
from vbl.history.signs import SIGNS, UNKNOWN

if TYPE_CHECKING:
    from vbl.client import Client

STYLES: dict[str, dict[str, Any]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red"},
    "warn": {"fg": "yellow"},
    "live": {"fg": "cyan"},
    "dim": {"dim": True},
    "strong": {"bold": True},
}


class Terminal:
    """The two streams of a command, and what the common options say about them.

    `stdout` is the one that the command was started with, also while a user's code has its prints sent elsewhere.
    """

    def __init__(
        self, db: str | None = None, as_json: bool | None = False, color: str | None = "auto", yes: bool | None = False
    ) -> None:
        self.db = db
        self.as_json = bool(as_json)
        self.color = color or "auto"
        self.yes = bool(yes)
        self.stdout = sys.stdout

    def connect(self, *, create: bool = False) -> Client:
        """A client of the file that the options name. Raises NotFound where there is no file, unless it may be made."""
        from vbl.client import connect

        return connect(self.path, create=create)

    @property
    def path(self) -> Path:
        """The file that the options name, absolute."""
        from vbl.config import database_path

        return database_path(self.db)

    def colored(self, stream: TextIO) -> bool:
        """Whether to write colours: --color, else NO_COLOR (https://no-color.org), else whether a person looks."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        return stream.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def unicode(self) -> bool:
        """Whether stdout can carry more than ASCII."""
        return _carries_unicode(self.stdout)

    @property
    def width(self) -> int:
        """Columns to fill; a pipe gets as many as a wide terminal."""
        return shutil.get_terminal_size((100, 24)).columns

    def room(self, used: int, least: int = 40) -> int:
        """Columns left on a line of which `used` are taken, and `least` where they are fewer; a pipe has no end."""
        return max(self.width - used, least) if self.stdout.isatty() else 1 << 20

    @property
    def cuts(self) -> bool:
        """Whether a line that is too long is cut instead of wrapped."""
        return False

    @property
    def asks(self) -> bool:
        """Whether a question can be asked: stdin is a terminal, and --yes has not answered it."""
        return not self.yes and not self.as_json and sys.stdin.isatty()

    def paint(self, text: str, style: str) -> str:
        """The text in a style, for stdout."""
        return click.style(text, **STYLES[style]) if style and self.colored(self.stdout) else text

    def status(self, status: str) -> str:
        """Sign and word of a status, painted."""
        sign, plain, style = SIGNS.get(status, UNKNOWN)
        return self.paint(f"{sign if self.unicode else plain} {status.replace('_', ' ')}", style)

    def mark(self, status: str) -> str:
        """The sign of a status alone, painted; where words say the same."""
        sign, plain, style = SIGNS.get(status, UNKNOWN)
        return self.paint(sign if self.unicode else plain, style)

    def line(self, text: str = "") -> None:
        """A line of data."""
        _write(self.stdout, text, self.colored(self.stdout))

    def note(self, text: str, style: str = "") -> None:
        """A line beside the data; programs that asked for JSON are spared it."""
        if not self.as_json:
            colored = self.colored(sys.stderr)
            _write(sys.stderr, click.style(text, **STYLES[style]) if style and colored else text, colored)

    def emit(self, document: Any) -> None:
        """One object of a list of JSON objects, on a line of its own."""
        _write(self.stdout, dumps(document), False)

    def document(self, document: Any) -> None:
        """The one JSON document of a command."""
        _write(self.stdout, dumps(document, indent=2), False)

    def confirm(self, question: str) -> None:
        """Ask before something that cannot be taken back. Without a terminal, asking for it was the answer."""
        if self.asks and not click.confirm(question, err=True):
            raise VblError("nothing was done", code="declined")

    def table(
        self,
        heads: Sequence[str],
        rows: Iterable[Sequence[str]],
        right: Sequence[int] = (),
        spared: Sequence[int] = (),
        cut: int | None = None,
    ) -> None:
        """Aligned columns under dim heads, those numbered in `right` to the right. Cells may be painted.

        Those numbered in `spared` are left out where they are empty, and one after the other where the terminal is too
        narrow for all of them; the one numbered `cut`, which must not be painted, is first cut to LEAST_CUT.
        """
        cells = [list(heads), *(list(row) for row in rows)]
        shown = _fitting(cells, spared, cut, self.room(0))
        widths = [max(columns(row[n]) for row in cells) for n in shown]
        sides = [n in right for n in shown]
        head, *lines = (_aligned([row[n] for n in shown], widths, sides) for row in cells)
        self.line(self.paint(head, "dim"))
        for line in lines:
            self.line(line)


LEAST_CUT = 14
"""A column that may be cut has at least so many columns."""


def _fitting(rows: list[list[str]], spared: Sequence[int], cut: int | None, width: int) -> list[int]:
    """The columns that fit into a width; cells of the one that may be cut are cut in their place."""
    shown = [n for n in range(len(rows[0])) if n not in spared or any(row[n] for row in rows[1:])]
    widths = {n: max(columns(row[n]) for row in rows) for n in shown}
    for one in spared:
        if sum(min(widths[n], LEAST_CUT) + 2 if n == cut else widths[n] + 2 for n in shown) - 2 <= width:
            break
        shown = [n for n in shown if n != one]
    if cut is not None and cut in shown:
        left = width - sum(widths[n] + 2 for n in shown if n != cut)
        for row in rows:
            row[cut] = fit(row[cut], max(left, LEAST_CUT))
    return shown


def _aligned(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        " " * (width - columns(cell)) + cell if to_right else cell + " " * (width - columns(cell))
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(padded).rstrip()


def columns(text: str) -> int:
    """The columns that a text fills on a terminal; styles fill none, wide characters two."""
    if text.isascii():
        return len(text) if "\x1b" not in text else len(click.unstyle(text))
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in click.unstyle(text)
    )


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """The text, printable and cut to `width` columns."""
    text = printable(text)
    if columns(text) <= width:
        return text
    while text and columns(text) > width - len(ellipsis):
        text = text[:-1]
    return text + ellipsis


_UNSAFE = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def dumps(document: Any, indent: int | None = None) -> str:
    """JSON as it is written to a stream: readable, and without a character that steers a terminal."""
    text = json.dumps(document, ensure_ascii=not _carries_unicode(sys.stdout), indent=indent, default=str)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _carries_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


_PLAIN = str.maketrans({"…": "...", "×": "x", "⏎": "\\n", "·": ".", "→": "->", "‹": "<", "›": ">", "µ": "u"})


def _write(stream: TextIO, text: str, colored: bool) -> None:
    """click.echo keeps colours only for what it takes for a terminal; --color always wants them anyway."""
    click.echo(text if _carries_unicode(stream) else text.translate(_PLAIN), file=stream, color=colored)


def say_error(error: dict[str, Any], as_json: bool, args: Sequence[str]) -> None:
    """An error on stderr: `{"error": …}`, or the message and what to type next."""
    if as_json:
        click.echo(json.dumps({"error": error}, ensure_ascii=not _carries_unicode(sys.stderr)), err=True)
        return
    terminal = Terminal(color=_color_asked(args))
    lines = [_safe(line) for line in str(error["message"]).splitlines()] or [""]
    terminal.note(f"error: {lines[0]}", "bad")
    for line in lines[1:]:
        terminal.note(line)
    for line in str(error["hint"]).splitlines():
        terminal.note(f"  {_safe(line)}")


def _safe(line: str) -> str:
    return "".join(c if c == "\t" else printable(c) for c in line)


def _color_asked(args: Sequence[str]) -> str:
    """The value of --color, read from the raw line: the error may be that it could not be parsed."""
    for n, arg in enumerate(args):
        value = (
            arg.partition("=")[2]
            if arg.startswith("--color=")
            else args[n + 1]
            if arg == "--color" and n + 1 < len(args)
            else ""
        )
        if value in ("always", "never"):
            return value
    return "auto"


def shared(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the common options, and hand it the Terminal that they make."""

    @common
    @functools.wraps(function)
    def with_terminal(**given: Any) -> None:
        own = {name: given.pop(name) for name in NAMES}
        above = cast("dict[str, Any]", click.get_current_context().find_object(dict) or {})
        function(Terminal(**{name: value or above.get(name) for name, value in own.items()}), **given)

    return with_terminal


def _runs_beginning(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Complete the id of a run; a file that can't be read completes to nothing."""
    from click.shell_completion import CompletionItem

    named = [CompletionItem(name) for name in ("@last", "@failed") if name.startswith(incomplete)]
    try:
        with Terminal(ctx.params.get("db")).connect() as client:
            runs = client.runs(limit=50)
    except VblError:
        return named
    return named + [
        CompletionItem(run.id, help=f"{run.workflow} {run.last_status}")
        for run in runs
        if run.id.startswith(incomplete)
    ]


def run_argument(
    required: bool = True, name: str = "ref", called: str = "RUN"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The argument RUN: an id, a unique prefix, @last or @failed."""
    metavar = called if required else f"[{called}]"
    return click.argument(name, metavar=metavar, required=required, shell_complete=_runs_beginning)


def target_argument(many: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The argument TARGET, or several; a shell completes it with files."""
    metavar, nargs = ("TARGET...", -1) if many else ("TARGET", 1)
    name = "targets" if many else "target"
    return click.argument(name, metavar=metavar, nargs=nargs, required=True, shell_complete=_files)


def _files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]
