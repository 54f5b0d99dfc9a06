"""A clock that stands until a test moves it; bodies of steps may sleep on it."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import threading

from vbl.engine.context import CURRENT

NEW_YEAR = 1_767_225_600_000_000
"""2026-01-01 00:00:00 UTC, where a FakeClock begins."""


class FakeClock:
    """A clock that stands until it is moved. Instants are microseconds since 1970 UTC."""

    def __init__(self, start: int = NEW_YEAR) -> None:
        self._now = start
        self._lock = threading.Lock()
        self._sleepers: list[tuple[int, int, asyncio.AbstractEventLoop, asyncio.Future[None], object]] = []
        self._count = 0

    def now(self) -> int:
        """The present instant."""
        return self._now

    def move_to(self, instant: int) -> None:
        """Go to an instant, and wake the bodies that sleep until then."""
        with self._lock:
            self._now = max(self._now, instant)
            while self._sleepers and self._sleepers[0][0] <= self._now:
                _, _, loop, woken, _ = heapq.heappop(self._sleepers)
                with contextlib.suppress(RuntimeError):  # its supervisor has died: the loop is closed
                    loop.call_soon_threadsafe(_wake, woken)

    def advance(self, seconds: float) -> None:
        """Move on by some seconds. While a Trial is up, use its own `advance`: that one also waits for what follows."""
        self.move_to(self._now + round(seconds * 1e6))

    async def sleep(self, seconds: float) -> None:
        """In the body of an async step: take that long on this clock. One at a time in a body."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        with self._lock:
            self._count += 1
            entry = (self._now + round(seconds * 1e6), self._count, loop, woken, CURRENT.get())
            heapq.heappush(self._sleepers, entry)
        try:
            await woken
        finally:
            with self._lock:
                if entry in self._sleepers:
                    self._sleepers.remove(entry)
                    heapq.heapify(self._sleepers)

    @property
    def sleeping(self) -> int:
        """How many bodies sleep on this clock."""
        return len(self.sleepers())

    def sleepers(self) -> set[object]:
        """The attempts whose bodies sleep on this clock."""
        with self._lock:
            return {entry[4] for entry in self._sleepers}

    @property
    def next_instant(self) -> int | None:
        """When the first of them wakes."""
        with self._lock:
            return self._sleepers[0][0] if self._sleepers else None


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
