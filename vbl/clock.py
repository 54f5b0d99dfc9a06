"""The one source of time: whole microseconds since 1970, UTC; and how they are written. Tests pass their own clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def instant(at: int | None) -> str | None:
    """Microseconds since 1970 UTC as RFC 3339, to the microsecond; None for None, and for what no calendar holds."""
    if at is None:
        return None
    try:
        return (EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError:
        return None
