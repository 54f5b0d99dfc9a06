"""What a user's code prints while a command moves its runs: on stderr, a whole line at a time.

`print` writes a text and its end one after the other. Several bodies print at once, and vbl speaks between them; so
each thread's line is held until it is whole, and no two share one. stdout is left to the command's own output, also by
the processes that the code starts.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from vbl.cli.terminal import Terminal

_STDOUT, _STDERR = 1, 2
"""What a process that is started inherits, whatever sys.stdout is here."""


class Lines(io.TextIOBase):
    """A stream that hands whole lines on to another one. What `flush` is called for is handed on as it is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun: dict[int, str] = {}

    def write(self, text: str) -> int:
        """Hand on what this thread has brought to the end of a line, and keep the rest."""
        me = threading.get_ident()
        whole, end, rest = (self._begun.pop(me, "") + text).rpartition("\n")
        if rest:
            self._begun[me] = rest
        if end:
            self._stream.write(whole + end)
        return len(text)

    def flush(self) -> None:
        """Hand on what this thread has begun."""
        if begun := self._begun.pop(threading.get_ident(), ""):
            self._stream.write(begun)
        self._stream.flush()

    def end(self) -> None:
        """Hand on what every thread has begun."""
        while self._begun:
            self._stream.write(self._begun.popitem()[1])
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """The buffer of the other stream, and what else it can do."""
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the other stream's."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether a person looks."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The other stream's."""
        return self._stream.fileno()


@contextlib.contextmanager
def prints_beside(terminal: Terminal) -> Generator[None]:
    """Let what is printed go beside the output of the command."""
    lines = Lines(sys.stderr)
    with _processes_beside(terminal):
        try:
            with contextlib.redirect_stdout(lines):  # type: ignore[type-var]
                yield
        finally:
            lines.end()


@contextlib.contextmanager
def _processes_beside(terminal: Terminal) -> Generator[None]:
    """Let processes that are started meanwhile write to stderr; the command keeps its stdout under another number."""
    stdout = terminal.stdout
    if not _is_inherited(stdout):
        yield
        return
    stdout.flush()
    kept = os.dup(_STDOUT)
    terminal.stdout = open(kept, "w", encoding=stdout.encoding, errors=stdout.errors)  # noqa: SIM115
    os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        own, terminal.stdout = terminal.stdout, stdout
        os.dup2(kept, _STDOUT)
        own.close()


def _is_inherited(stream: TextIO) -> bool:
    try:
        return stream.fileno() == _STDOUT
    except (OSError, ValueError):  # it is in memory
        return False
