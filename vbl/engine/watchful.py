"""How a supervisor's loop waits: for what asyncio waits for, with a look at something else several times a second.

A timer for that look would cost several times as much as the look itself: the loop goes once around for it, by code
that has left the processor's caches meanwhile, and that is most of what an idle supervisor does.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable


class Watchful(selectors.DefaultSelector):
    """The selector of a loop. It calls `look` at least every `every_s` seconds, also while the loop has much to do;
    `look` says whether the loop has something to do because of it, and must not raise."""

    def __init__(self, every_s: float) -> None:
        super().__init__()
        self.look: Callable[[], bool] = lambda: False
        self._every_s = every_s
        self._next = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As its base does, with looks in between."""
        now = time.monotonic()
        until = None if timeout is None else now + timeout
        while True:
            if now >= self._next:
                self._next = now + self._every_s
                if self.look():
                    return super().select(0)
            pause = self._next - now
            ready = super().select(pause if until is None else min(pause, until - now))
            now = time.monotonic()
            if ready or (until is not None and now >= until):
                return ready
