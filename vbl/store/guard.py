"""Keeps a second SQLite library, or a plain `open`, away from a file that this process holds.

POSIX drops all of a process's locks on a file when *any* descriptor of it is closed (fcntl(2)); a careless
`sqlite3.connect` or `open().close()` would so let another process write at the same time. An audit hook refuses both.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from vbl.errors import StorageError

_held: Counter[str] = Counter()
_names: set[str] = set()
_lock = threading.Lock()
_installed = False


def hold(path: Path) -> None:
    """Count one more connection of ours to `path`; from the first on the file is guarded."""
    global _installed
    with _lock:
        _held[str(path)] += 1
        _refresh()
        if not _installed:
            sys.addaudithook(_audit)
            _installed = True


def release(path: Path) -> None:
    """Count one connection less."""
    with _lock:
        _held[str(path)] -= 1
        if _held[str(path)] <= 0:
            del _held[str(path)]
        _refresh()


def _refresh() -> None:
    _names.clear()
    _names.update(os.path.basename(path) for path in _held)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event != "open" and event != "sqlite3.connect":
        return
    target = args[0]
    if isinstance(target, bytes):
        target = os.fsdecode(target)
    if not isinstance(target, str) or not _names:
        return
    if event == "sqlite3.connect" and target.startswith("file:"):
        target = target[5:].partition("?")[0]
    name = os.path.basename(target)
    if name in _names or name.removesuffix("-wal") in _names or name.removesuffix("-shm") in _names:
        _refuse(event, target)


def _refuse(event: str, target: str) -> None:
    real = os.path.realpath(target)
    if real in _held or real.removesuffix("-wal") in _held or real.removesuffix("-shm") in _held:
        how = "sqlite3.connect()" if event == "sqlite3.connect" else "open()"
        raise StorageError(
            f"{real} is held by vbl in this process, and {how} would drop its locks",
            "Read it by client.sql('select …'), or from another process",
            code="held_here",
        )
