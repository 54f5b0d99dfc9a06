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
