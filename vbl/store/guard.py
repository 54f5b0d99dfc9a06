"""Keeps a second SQLite library, or a plain `open`, away from a file that this process holds.

POSIX drops all of a process's locks on a file when *any* descriptor of it is closed (fcntl(2)); a careless
`sqlite3.connect` or `open().close()` would so let another process write at the same time. An audit hook refuses both.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from vbl.errors import StorageError

_held: Counter[str] = Counter()
_guarded: tuple[frozenset[str], frozenset[tuple[int, int]]] = (frozenset(), frozenset())
"""The names and the files of what is held: always replaced as a whole, for the hook reads it in any thread unlocked."""
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


def held() -> list[Path]:
    """The files to which this process has connections."""
    with _lock:
        return [Path(path) for path in _held]


def release(path: Path) -> None:
    """Count one connection less."""
    with _lock:
        _held[str(path)] -= 1
        if _held[str(path)] <= 0:
            del _held[str(path)]
        _refresh()


def _refresh() -> None:
    global _guarded
    files: set[tuple[int, int]] = set()
    for path in _held:
        with contextlib.suppress(OSError):
            files.add(_file(path))
    _guarded = frozenset(map(os.path.basename, _held)), frozenset(files)


def _file(path: str) -> tuple[int, int]:
    """The file itself, whatever it is called."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event != "open" and event != "sqlite3.connect":
        return
    names, files = _guarded
    if not names:
        return
    target = args[0]
    if not isinstance(target, str):
        if not isinstance(target, (bytes, os.PathLike)):
            return
        target = os.fsdecode(cast("bytes | os.PathLike[str]", target))
    if event == "sqlite3.connect" and target.startswith("file:"):
        target = unquote(urlsplit(target).path)
    name = os.path.basename(target)
    if name in names or name.removesuffix("-wal") in names or name.removesuffix("-shm") in names:
        _refuse_companions(event, target)
    with contextlib.suppress(OSError, ValueError):
        if _file(target) in files:
            _refuse(event, target)


def _refuse_companions(event: str, target: str) -> None:
    real = os.path.realpath(target)
    if real in _held or real.removesuffix("-wal") in _held or real.removesuffix("-shm") in _held:
        _refuse(event, real)


def _refuse(event: str, target: str) -> None:
    how = "sqlite3.connect()" if event == "sqlite3.connect" else "open()"
    raise StorageError(
        f"{os.path.realpath(target)} is held by vbl in this process, and {how} would drop its locks",
        "Read it by client.sql('select …'), or from another process",
        code="held_here",
    )
