"""Steps that kill their supervisor, beside healthy neighbours."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import vbl
from tests.crash.lives import write_deed


@vbl.step
def poison(how: str) -> str:
    """End the whole process, in one of the ways in which native code does."""
    write_deed("begin")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    if how == "abort":
        os.abort()
    return how


@vbl.step
async def slow(number: int) -> int:
    write_deed("begin")
    await asyncio.sleep(0.02)
    return number + 1


@vbl.step
def fork() -> int:
    """Leave a forked child behind that does nothing; the first time wait to be killed."""
    from vbl.engine.context import CURRENT

    write_deed("begin")
    if CURRENT.get().number > 1:
        return 0
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    write_deed("forked", child)
    time.sleep(60)
    return child


@vbl.workflow
async def forking() -> int:
    return await fork.aio()


@vbl.workflow
async def poisoned(how: str) -> str:
    return await poison.aio(how)


@vbl.workflow
async def healthy(length: int) -> int:
    number = 0
    for _ in range(length):
        number = await slow(number)
    return number


@vbl.workflow
async def wide(width: int) -> int:
    """All its steps are in flight when a neighbour kills the process."""
    return sum(await asyncio.gather(*(slow(n) for n in range(width))))
