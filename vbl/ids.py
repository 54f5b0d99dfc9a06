"""Ids: of runs `r_` and 16, of gates `g_` and 12 lower-case base-32 characters (Crockford's alphabet).

Those of runs sort by time. What a workflow asks for gets an id that follows from the run and the call, so that every
replay gives it the same one.
"""

from __future__ import annotations

import hashlib
import secrets
import threading

from vbl.clock import SYSTEM, Clock

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 28
LAST_INSTANT = (1 << 80 - _RANDOM_BITS) - 1
"""The last instant, in microseconds since 1970, that an id can hold."""
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


def child_id(instant: int, parent: str, call: str) -> str:
    """The id of the run that `call` in run `parent` starts at `instant`, microseconds since 1970."""
    digest = int.from_bytes(hashlib.sha256(f"{parent} {call}".encode()).digest()[:8])
    return _text(instant << _RANDOM_BITS | digest & (1 << _RANDOM_BITS) - 1)


def gate_id(run: str, key: str) -> str:
    """The id of the gate that a run asks for under that key."""
    digest = int.from_bytes(hashlib.sha256(f"{run} {key}".encode()).digest()[:8])
    return "g_" + "".join(ALPHABET[digest >> shift & 31] for shift in range(0, 60, 5))


def lowest(instant: int) -> str:
    """The lowest id that a run made at `instant` (microseconds since 1970) can have."""
    return _text(instant << _RANDOM_BITS)
