"""What a user's code prints while a command moves its runs: on stderr, a whole line at a time.

`print` writes a text and its end one after the other. Several bodies print at once, and vbl speaks between them; so
each thread's line is held until it is whole, and no two share one. stdout is left to the command's own output.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Generator
from typing import Any, TextIO


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
def prints_beside() -> Generator[None]:
    """Let what is printed go beside the output of the command."""
    lines = Lines(sys.stderr)
    try:
        with contextlib.redirect_stdout(lines):  # type: ignore[type-var]
            yield
    finally:
        lines.end()
