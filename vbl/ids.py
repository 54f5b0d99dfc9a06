"""Ids of runs: `r_` and 16 lower-case base-32 characters (Crockford's alphabet) that sort by time."""

from __future__ import annotations

import secrets
import threading

from vbl.clock import SYSTEM, Clock

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 28
_lock = threading.Lock()
_last = 0


def run_id(clock: Clock = SYSTEM) -> str:
    """Make a new run id: 52 bits of microseconds, 28 random bits; rising within a process."""
    global _last
    with _lock:
        instant = max(clock.now(), (_last >> _RANDOM_BITS) + 1)
        _last = instant << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        number = _last
    return _text(number)


def _text(number: int) -> str:
    return "r_" + "".join(ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))


def lowest(instant: int) -> str:
    """The lowest id that a run made at `instant` (microseconds since 1970) can have."""
    return _text(instant << _RANDOM_BITS)
