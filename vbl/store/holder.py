"""Who supervises a file: the lock file beside it, and what its holder wrote there. Read by clients, too."""

from __future__ import annotations

import datetime
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SILENT_S = 5.0
"""A holder of the file beats each second; one that has not for so long is told of."""


@dataclass(frozen=True, slots=True)
class SupervisorInfo:
    """The process that moves a file's runs. `since_at` is in microseconds since 1970 UTC."""

    pid: int
    host: str
    program: str
    since_at: int
    epoch: int
    workflows: list[str]


def lock_path(database: Path) -> Path:
    """The lock file of a database."""
    return database.with_name(database.name + "-lock")


def try_lock(database: Path, *, shared: bool = False) -> int | None:
    """Lock the file and return its descriptor, or None where another process holds it."""
    fd = os.open(lock_path(database), os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        _flock(fd, shared)
    except OSError:
        os.close(fd)
        return None
    return fd


def _flock(fd: int, shared: bool) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def write(database: Path, about: dict[str, Any]) -> None:
    """Say who holds the file; one write of a fixed length, so that a reader never sees half of it."""
    fd = os.open(lock_path(database), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, json.dumps(about).ljust(400).encode(), 0)
    finally:
        os.close(fd)


def read(database: Path) -> dict[str, Any]:
    """What the last holder wrote; empty where there was none."""
    try:
        return json.loads(lock_path(database).read_text(encoding="utf-8") or "{}")
    except (OSError, ValueError):
        return {}


def alive(database: Path) -> bool:
    """Whether a process holds the lock."""
    if not lock_path(database).exists():
        return False
    fd = try_lock(database, shared=True)
    if fd is None:
        return True
    os.close(fd)
    return False


def silent_s(database: Path) -> float:
    """For how many seconds the holder has written no beat into its lock file; 0 where there is none."""
    try:
        return max(time.time() - lock_path(database).stat().st_mtime, 0.0)
    except OSError:
        return 0.0


def describe(database: Path) -> str:
    """Who holds it and since when, in words."""
    about = read(database)
    if not about:
        return "another process"
    since = datetime.datetime.fromtimestamp(about.get("since", 0) / 1e6, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    who = f"process {about.get('pid')} ({about.get('program')}) on {about.get('host')}"
    return f"{who} since {since}, epoch {about.get('epoch')}"
