"""Steps in processes of their own."""

from __future__ import annotations

import os
import time

import vbl
from tests.crash.lives import write_deed
from tests.crash.stoppable import DEADLINE_S, gate


@vbl.step(isolation="process")
def lonely(name: str) -> int:
    """Wait in a child process until the gate opens; which process it was stands in the deed."""
    write_deed("begin", os.getpid())
    path, deadline = gate(name), time.monotonic() + DEADLINE_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    write_deed("end", os.getpid())
    return 7


@vbl.step(isolation="process", timeout=1)
def deaf(name: str) -> int:
    """Never end by itself, and hear no signal that can be refused."""
    import signal

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    write_deed("begin", os.getpid())
    while True:
        time.sleep(0.01)


@vbl.workflow
async def isolated(name: str) -> int:
    return await lonely.aio(name)


@vbl.workflow
async def deafened(name: str) -> str:
    try:
        await deaf.aio(name)
    except vbl.StepFailed as error:
        return str(error.kind)
    return "impossible"
