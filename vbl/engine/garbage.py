"""Makes Python look for cyclic garbage less often while a supervisor lives in this process.

A tick makes many objects that live to its end, and the default thresholds walk over them again and again, for about a
sixth of the time of a step. A program that has set thresholds of its own keeps them.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Generator

OBJECTS = 200_000
"""So many new objects make Python look."""
_DEFAULTS_UP_TO = 2_000

_lock = threading.Lock()
_supervisors = 0
_before: tuple[int, int, int] | None = None


@contextlib.contextmanager
def rare_collections() -> Generator[None, None, None]:
    """For the life of a supervisor. The thresholds of before come back when the last one of the process has ended."""
    global _supervisors, _before
    with _lock:
        _supervisors += 1
        if _supervisors == 1 and 0 < gc.get_threshold()[0] <= _DEFAULTS_UP_TO:
            _before = gc.get_threshold()
            gc.set_threshold(OBJECTS, *_before[1:])
    try:
        yield
    finally:
        with _lock:
            _supervisors -= 1
            if _supervisors == 0 and _before is not None:
                if gc.get_threshold()[0] == OBJECTS:
                    gc.set_threshold(*_before)
                _before = None
