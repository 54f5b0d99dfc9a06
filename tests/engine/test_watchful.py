"""The selector of a supervisor's loop: it looks at something else while the loop waits, and while it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from vbl.engine.watchful import Watchful

DEADLINE_S = 20.0


@pytest.fixture
def watchful() -> Watchful:
    return Watchful(0.001)


@pytest.fixture
def loop(watchful: Watchful) -> Generator[asyncio.AbstractEventLoop, None, None]:
    loop = asyncio.SelectorEventLoop(watchful)
    yield loop
    loop.close()


async def _until(event: asyncio.Event) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await event.wait()


def test_what_a_look_gives_the_loop_to_do_is_done_though_nothing_wakes_it(
    watchful: Watchful, loop: asyncio.AbstractEventLoop
) -> None:
    done = asyncio.Event()
    looks = 0

    def look() -> bool:
        nonlocal looks
        looks += 1
        if looks == 3:
            loop.call_soon(done.set)
        return looks == 3

    watchful.look = look
    loop.run_until_complete(_until(done))


def test_a_loop_that_never_rests_is_looked_from_all_the_same(
    watchful: Watchful, loop: asyncio.AbstractEventLoop
) -> None:
    looked = False

    def look() -> bool:
        nonlocal looked
        looked = True
        return False

    async def spin() -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not looked:
                await asyncio.sleep(0)

    watchful.look = look
    loop.run_until_complete(spin())


def test_what_the_loop_waits_for_itself_is_not_missed(loop: asyncio.AbstractEventLoop) -> None:
    async def both() -> None:
        woken = asyncio.Event()
        await asyncio.sleep(0.005)
        await asyncio.to_thread(lambda: loop.call_soon_threadsafe(woken.set))
        await _until(woken)

    loop.run_until_complete(both())
