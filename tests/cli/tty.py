"""A command at a terminal: a pseudo-terminal with a size, keys to press, and what is on its screen (by pyte)."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from typing import Any

import pyte

from tests.cli.conftest import DEADLINE_S, Shell


class Tty:
    """A process whose three streams are one terminal. `wrote` is every byte that it wrote."""

    def __init__(self, shell: Shell, *args: str, columns: int = 80, lines: int = 24, **environment: str) -> None:
        self._shell = shell
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.wrote = b""
        self._mine, self._theirs = pty.openpty()
        self._set_size(columns, lines)
        self.before = termios.tcgetattr(self._theirs)
        unset = ("COLUMNS", "LINES", "NO_COLOR")
        kept = {name: value for name, value in shell.environment.items() if name not in unset}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vbl", *args], cwd=shell.folder, env=kept | {"TERM": "xterm-256color"} | environment,
            stdin=self._theirs, stdout=self._theirs, stderr=self._theirs,
        )  # fmt: skip
        shell.running.append(self.process)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._mine, 65_536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.wrote += data
                self._stream.feed(data)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._mine, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    @property
    def screen(self) -> str:
        """What is on the screen, its lines without trailing blanks."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def colors(self) -> set[str]:
        """The colours of what is on the screen."""
        with self._lock:
            return {cell.fg for row in self._screen.buffer.values() for cell in row.values()}

    @property
    def elsewhere(self) -> bool:
        """Whether the other screen is shown."""
        with self._lock:
            return self.wrote.rfind(b"\x1b[?1049h") > self.wrote.rfind(b"\x1b[?1049l")

    @property
    def settings(self) -> list[Any]:
        """The terminal's settings: what it echoes, what it hands on."""
        return termios.tcgetattr(self._theirs)

    def press(self, keys: str) -> None:
        """Type on the keyboard."""
        os.write(self._mine, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Pull at the corner of the window."""
        with self._lock:
            self._screen.resize(lines, columns)
        self._set_size(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def shows(self, text: str | Callable[[str], Any]) -> str:
        """Wait until a text is on the screen, or something holds for it; returns the screen."""
        holds = text if callable(text) else lambda screen: text in screen
        try:
            self._shell.until(lambda: holds(self.screen), repr(text))
        except AssertionError as error:
            raise AssertionError(f"{error}; there was:\n{self.screen}") from None
        return self.screen

    def end(self) -> int:
        """Wait for the end of the process; its exit code."""
        code = self.process.wait(DEADLINE_S)
        os.close(self._theirs)
        self._reader.join(DEADLINE_S)
        os.close(self._mine)
        return code
