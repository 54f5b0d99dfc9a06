"""A module that a child process is long in importing, as one is that needs a large library."""

from __future__ import annotations

import multiprocessing
import time

import vbl

if multiprocessing.parent_process() is not None:
    time.sleep(1.5)


@vbl.step(isolation="process", timeout=1)
def promptly() -> str:
    return "in time"
