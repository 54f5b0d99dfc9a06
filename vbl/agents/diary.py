"""The demo's side-effect file: each step body appends a line when it begins and one when it ends.

It is kept beside the history and independently of it, so that the two can be compared. A line is one `write` to a file
opened for appending; a killed process leaves whole lines only. Where `VBL_DEMO_DIARY` names no file, nothing is kept.
`VBL_DEMO_PACE` (seconds) slows the bodies that would be done too fast to be watched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from vbl.clock import SYSTEM

FILE, PACE = "VBL_DEMO_DIARY", "VBL_DEMO_PACE"

Phase = Literal["began", "ended", "failed"]


class Entry(BaseModel):
    """One line: which process did what for which logical call (`vbl.key()`), in µs since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: int
    pid: int
    key: str
    phase: Phase


@contextmanager
def noted(key: Callable[[], str]) -> Generator[None]:
    """Note that the body of a step began, and how it ended. `key` is `vbl.key`, asked only if there is a diary."""
    path = os.environ.get(FILE)
    if not path:
        yield
        return
    call = key()
    _append(path, call, "began")
    try:
        yield
    except BaseException:
        _append(path, call, "failed")
        raise
    _append(path, call, "ended")


def pace() -> float:
    """Seconds that a body should take to be watched."""
    return float(os.environ.get(PACE) or 0)


def read(path: Path) -> list[Entry]:
    """Every whole line of a diary, in the order in which they were written; none if nothing was."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [Entry.model_validate_json(line) for line in lines[:-1]]


def _append(path: str, key: str, phase: Phase) -> None:
    entry = Entry(at=SYSTEM.now(), pid=os.getpid(), key=key, phase=phase)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, entry.model_dump_json().encode() + b"\n")
    finally:
        os.close(file)
