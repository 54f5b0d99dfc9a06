"""The one source of time: whole microseconds since 1970, UTC. Tests pass a clock of their own."""

from __future__ import annotations

import time
from typing import Protocol

MICROSECOND = 1
MILLISECOND = 1_000
SECOND = 1_000_000


class Clock(Protocol):
    """What the engine asks for the time."""

    def now(self) -> int:
        """The present instant in microseconds since 1970 UTC."""
        ...


class SystemClock:
    """The wall clock; it goes on while the machine sleeps, and so do timers."""

    def now(self) -> int:
        """The present instant in microseconds since 1970 UTC."""
        return time.time_ns() // 1_000


SYSTEM = SystemClock()
