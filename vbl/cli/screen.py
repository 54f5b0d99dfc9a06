"""The whole terminal as a screen that is redrawn in place, and given back as it was found: also on Ctrl-C and SIGTERM.
Where a system has no termios it is redrawn all the same, and Ctrl-C is its one key.

`Canvas` collects what a command would print, so that a screen shows the very lines that the command writes without one.
What is on the screen is decided by who draws; nothing here knows a run.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from vbl.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.live import Live

LOOK_S = 0.1
"""How often the file is asked whether it has changed."""
LEAST_S = 0.2
"""A screen is not redrawn more often."""
SHARE = 5
"""A screen that took some CPU time to draw is not redrawn for so many times as long, but for REST_S."""
REST_S = 5.0
EACH_S = 1.0
"""How often it is redrawn while only the time passes; or after IDLE_SHARE times the CPU time that it takes."""
IDLE_SHARE = 50

STOPPABLE = hasattr(signal, "SIGTSTP")
"""Whether there is a Ctrl-Z; Windows has none."""

_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)
_ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down"}
_KEYS = _ARROWS | {"\r": "enter", "\n": "enter", "\x1b": "escape"}


class Canvas(Terminal):
    """A terminal of `width` columns that keeps the lines written to it, as the terminal `like` would show them."""

    def __init__(self, like: Terminal, width: int) -> None:
        super().__init__(like.db, like.as_json, "always" if like.colored(like.stdout) else "never", like.yes)
        self._bytes = io.BytesIO()
        self._columns = width
        self.stdout = io.TextIOWrapper(self._bytes, encoding=like.stdout.encoding, errors="backslashreplace")

    @property
    def width(self) -> int:
        """Columns to fill."""
        return self._columns

    def room(self, used: int, least: int = 10) -> int:
        """Columns left on a line of which `used` are taken."""
        return max(self.width - used, min(least, 10))

    @property
    def cuts(self) -> bool:
        """A screen has lines of one height."""
        return True

    def lines(self) -> list[str]:
        """What was written."""
        self.stdout.flush()
        return self._bytes.getvalue().decode(self.stdout.encoding, "replace").splitlines()


class Screen:
    """The terminal's other screen, and its keys one by one. A context manager."""

    def __init__(self, terminal: Terminal) -> None:
        from rich.console import Console
        from rich.live import Live

        colored = terminal.colored(terminal.stdout)
        self._console = Console(
            file=terminal.stdout, highlight=False, no_color=not colored, force_terminal=True, emoji=False, markup=False
        )
        self._live: Live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._keys_back: Callable[[], None] | None = None
        self._before: Any = signal.SIG_DFL
        self._typed: list[str] = []

    def __enter__(self) -> Screen:
        if STOPPABLE:
            self._before = signal.signal(signal.SIGTSTP, self._stopped)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._give_back()
        finally:
            if STOPPABLE:
                signal.signal(signal.SIGTSTP, self._before)

    def _take(self) -> None:
        self._keys_back = _one_key_at_a_time()
        self._live.start()

    def _give_back(self) -> None:
        try:
            self._live.stop()
        finally:
            if self._keys_back is not None:
                self._keys_back()

    def _stopped(self, number: int, frame: object) -> None:
        """Ctrl-Z: the shell gets its terminal, and `fg` the screen."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    @property
    def hears(self) -> bool:
        """Whether keys arrive: somebody sits at the keyboard of a system that hands them on one by one."""
        return self._keys_back is not None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, now."""
        size = shutil.get_terminal_size((80, 24))
        return size.columns, size.lines

    def draw(self, lines: list[str]) -> None:
        """Show the lines; those for which there is no room are cut, and it is said that there are more."""
        from rich.text import Text

        width, height = self.size
        if len(lines) > height:
            left = len(lines) - height + 1
            lines = [*lines[: height - 1], f"  … {left} more lines; they are printed at the end"[:width]]
        text = Text("\n").join(Text.from_ansi(line) for line in lines)
        text.no_wrap, text.overflow = True, "crop"
        self._live.update(text, refresh=True)

    def key(self, seconds: float) -> str:
        """The next key within so many seconds: a character, up, down, enter, escape, or an empty text for none."""
        if self._typed:
            return self._typed.pop(0)
        if not self.hears:
            time.sleep(seconds)
            return ""
        ready, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
        if not ready:
            return ""
        text = os.read(sys.stdin.fileno(), 1_024).decode("utf-8", "replace")
        keys: list[str] = _KEY.findall(text)
        self._typed = [_KEYS.get(key, key) for key in keys]
        return self._typed.pop(0) if self._typed else "q"  # whoever typed has gone


def _one_key_at_a_time() -> Callable[[], None] | None:
    """Let keys arrive at once and unseen. Returns what puts the terminal back, and None where they don't: Windows has
    no termios."""
    if not sys.stdin.isatty():
        return None
    try:
        import termios
        import tty
    except ImportError:
        return None

    before = termios.tcgetattr(sys.stdin.fileno())
    tty.setcbreak(sys.stdin.fileno())
    return lambda: termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Generator[None]:
    """SIGTERM ends a command as gracefully as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def moving(terminal: Terminal) -> bool:
    """Whether a person looks at a terminal that can be redrawn."""
    return not terminal.as_json and terminal.stdout.isatty() and os.environ.get("TERM") != "dumb"


class Pace:
    """When to draw again: soon after a change, each second while only the time passes, and the less often the longer a
    picture takes. `changed` gives a number that is another one after a change. Times are in seconds."""

    def __init__(self, changed: Callable[[], Any]) -> None:
        self._changed = changed
        self._seen: Any = None
        self._rested = self._stale = float("-inf")

    def due(self, now: float) -> bool:
        """Whether to draw now. Costs microseconds."""
        if now < self._rested:
            return False
        return self._changed() != self._seen or now >= self._stale

    def begin(self, now: float) -> None:
        """A picture is being drawn: what changes from here on calls for another one."""
        self._seen, self._stale = self._changed(), now + EACH_S

    def hurry(self) -> None:
        """Somebody pressed a key, and does not want to wait."""
        self._rested = float("-inf")

    def end(self, now: float, cost_s: float) -> None:
        """It is drawn, and took so much CPU time."""
        self._rested = now + min(max(cost_s * SHARE, LEAST_S), REST_S)
        self._stale = max(self._stale, now + cost_s * IDLE_SHARE)
