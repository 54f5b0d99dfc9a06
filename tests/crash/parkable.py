"""Workflows that wait for hours of their own time, and some that carry much."""

from __future__ import annotations

import asyncio
import hashlib
import random

import vbl
from tests.crash.lives import write_deed


@vbl.step
async def woken(number: int) -> int:
    write_deed("begin")
    return number + 1


@vbl.workflow
async def nap(number: int, seconds: float) -> int:
    """Wait, then do one thing."""
    await vbl.sleep(seconds)
    return await woken(number)


@vbl.step(retry=vbl.Retry(max_attempts=2, delay=2.0, jitter=0))
async def second_time(number: int) -> int:
    from vbl.engine.context import CURRENT

    write_deed("begin")
    if CURRENT.get().number == 1:
        raise ConnectionError("not yet")
    return number + 1


@vbl.workflow
async def back_off(number: int) -> int:
    """Wait because a step failed."""
    return await second_time(number)


def text(mib: float, seed: int) -> str:
    """That much text, known from two numbers; it compresses to about half."""
    return random.Random(seed).randbytes(round(mib * 2**19)).hex()


@vbl.step
async def produce(mib: float, seed: int) -> str:
    write_deed("begin")
    await asyncio.sleep(0)
    return text(mib, seed)


@vbl.step
def digest(body: str) -> str:
    write_deed("begin")
    return hashlib.sha256(body.encode()).hexdigest()


@vbl.workflow
async def carry(mib: float, seed: int) -> str:
    """A large output that is the next step's input."""
    return await digest.aio(await produce(mib, seed))


@vbl.workflow
async def too_much(mib: float) -> str:
    try:
        return await produce(mib, 0)
    except vbl.StepFailed as error:
        return error.message
