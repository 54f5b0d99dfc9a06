"""Steps that run in a process of their own. They stand at the top level of a module, so that the process finds them."""

from __future__ import annotations

import datetime
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import vbl

PATIENT = vbl.Retry(max_attempts=3, delay=1, jitter=0)
COUNT = {"calls": 0}


@vbl.step(isolation="process")
def whoami(at: datetime.datetime, tags: set[str]) -> dict[str, Any]:
    COUNT["calls"] += 1
    print("noise on standard output")
    return {
        "pid": os.getpid(),
        "key": vbl.key(),
        "calls": COUNT["calls"],
        "type": type(at).__name__,
        "tags": sorted(tags),
    }


@vbl.step(isolation="process")
async def later(at: datetime.datetime) -> datetime.datetime:
    return at + datetime.timedelta(days=1)


@vbl.step(isolation="process", timeout=1)
def hangs(mark: str) -> None:
    Path(mark).write_text(str(os.getpid()))
    while True:  # nothing but a kill ends it
        time.sleep(60)


@vbl.step(isolation="process", retry=PATIENT)
def dies(mark: str, how: str) -> int:
    """Takes its process with it, the first time."""
    path = Path(mark)
    if path.exists():
        return os.getpid()
    path.touch()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(7)


@vbl.step(isolation="process", effect="write", retry=PATIENT)
def dies_writing(mark: str) -> None:
    with Path(mark).open("a") as file:
        file.write("written\n")
    os._exit(7)


class Busy(Exception):
    kind = "rate_limited"
    retry_after = 44.5


@vbl.step(isolation="process", retry=PATIENT)
def fails(mark: str, how: str) -> Any:
    path = Path(mark)
    if how == "busy" and not path.exists():
        path.touch()
        raise Busy("come back later")
    if how == "exits":
        sys.exit(3)
    if how == "object":
        return object()
    if how == "value":
        raise ValueError("in the child")
    return "fine"
