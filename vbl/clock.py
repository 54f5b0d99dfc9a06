"""The one source of time: whole microseconds since 1970, UTC. Tests pass their own clock.

Also how an instant is written, and what is taken for a length of time wherever somebody gives one.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from vbl.errors import UsageError

SECOND = 1_000_000
LONGEST_S = 1e11
"""Some three thousand years: what is longer is a mistake, and microseconds of it would not fit everywhere."""
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


def seconds(given: object, what: str, *, above_zero: bool = False, below: float = LONGEST_S) -> float:
    """A length of time that somebody gave, as a number of seconds or a timedelta, in seconds.

    Raises UsageError, which names `what` was given, for what is no time, is below zero, or lasts too long.
    """
    number = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        fits = 0 < number < below if above_zero else 0 <= number < below
        if fits:
            return float(number)
    least = "above zero" if above_zero else "zero or more"
    raise UsageError(f"{what}: {given!r} is no number of seconds {least}", "For example 60, or timedelta(hours=1)")


def microseconds(given: object, what: str, *, above_zero: bool = False, below: float = LONGEST_S) -> int:
    """The same in whole microseconds."""
    return round(seconds(given, what, above_zero=above_zero, below=below) * 1e6)
