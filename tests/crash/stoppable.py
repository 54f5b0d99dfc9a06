"""Steps that a test can hold and let go: a body waits for a file to appear."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import vbl
from tests.crash.lives import DEEDS, write_deed

DEADLINE_S = 60.0


def gate(name: str) -> Path:
    """The file that lets the bodies go which wait for `name`."""
    return Path(os.environ[DEEDS]).parent / f"go-{name}"


@vbl.step
async def held(name: str) -> str:
    """Wait on the loop until the gate opens; a cancel ends the wait."""
    write_deed("begin")
    path, deadline = gate(name), time.monotonic() + DEADLINE_S
    while not path.exists() and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    write_deed("end")
    return name


@vbl.step
def held_in_thread(name: str) -> str:
    """Wait in a thread, which nothing can stop."""
    write_deed("begin")
    path, deadline = gate(name), time.monotonic() + DEADLINE_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    write_deed("end")
    return name


@vbl.step
async def after(name: str) -> str:
    write_deed("begin")
    return f"after {name}"


@vbl.workflow
async def waiting(name: str) -> str:
    """A held body, then another step."""
    return await after(await held(name))


@vbl.workflow
async def waiting_in_thread(name: str) -> str:
    return await after(await held_in_thread.aio(name))


@vbl.workflow
async def asleep(seconds: float) -> str:
    await vbl.sleep(seconds)
    return await after("sleep")


@vbl.workflow
def plain_waiting(name: str) -> str:
    """A sync workflow with a held body."""
    return held_in_thread(name)


@vbl.step
async def held_then_fail(name: str) -> str:
    await held.function(name)
    raise ValueError(f"{name} failed")


@vbl.workflow
async def one_of_two(name: str) -> str:
    """A race: who comes second is given up."""
    racers = [asyncio.ensure_future(held(name)), asyncio.ensure_future(held_in_thread.aio(name))]
    _, pending = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
    for racer in pending:
        racer.cancel()
    return await after("race")


@vbl.workflow
async def failing_group(name: str) -> str:
    """A failure gives up its siblings."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in (held_then_fail, held, held):
                group.create_task(step(name))
    except* vbl.StepFailed:
        pass
    return await after("group")


@vbl.workflow
async def failing_run(name: str) -> str:
    """A failure ends the run, with another step in flight."""
    results = await asyncio.gather(held_then_fail(name), held(name))
    return results[1]
