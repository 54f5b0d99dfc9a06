"""A module whose import a child process does not survive."""

from __future__ import annotations

import multiprocessing
import os

import vbl

if multiprocessing.parent_process() is not None:
    os._exit(9)


@vbl.step(isolation="process", effect="write", retry=vbl.Retry(max_attempts=2, delay=0, jitter=0))
def pays() -> str:
    return "paid"
