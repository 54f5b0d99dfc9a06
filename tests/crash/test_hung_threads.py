"""A body in a thread can't be stopped. One that hangs keeps its thread, but not the place of the next body."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vbl
from tests.crash.lives import check_file, until
from vbl.engine.attempt import Pool

LET_GO = threading.Event()
BEGUN: list[int] = []
PLACES = Pool()._size


@vbl.step(timeout=0.3)
def hang(number: int) -> int:
    BEGUN.append(number)
    LET_GO.wait(60)
    return number


@vbl.step
def wait(number: int) -> int:
    BEGUN.append(number)
    LET_GO.wait(60)
    return number


@vbl.step(timeout=2.5)
def steady(number: int) -> int:
    time.sleep(0.6)  # what takes its time, as a call of some service does
    return number


@vbl.workflow(name="crash.steadily")
async def steadily(width: int) -> list[int]:
    return await vbl.map(steady, range(width))


@vbl.step
def quick(number: int) -> int:
    return number + 1


@vbl.workflow(name="crash.hanging")
async def hanging(number: int) -> str:
    try:
        await hang.aio(number)
    except vbl.StepFailed as error:
        return str(error.kind)
    return "impossible"


@vbl.workflow(name="crash.patient")
async def patient(number: int) -> int:
    return await wait.aio(number)


@vbl.workflow(name="crash.passing")
async def passing(number: int) -> int:
    return await quick.aio(number)


@vbl.workflow(name="crash.bodiless")
async def bodiless() -> str:
    return "later"


@pytest.fixture(autouse=True)
def let_go() -> Iterator[None]:
    LET_GO.clear()
    BEGUN.clear()
    yield
    LET_GO.set()


@pytest.mark.slow
def test_hung_bodies_hold_nobody_up(tmp_path: Path) -> None:
    """More bodies hang beyond their time than there are places for threads; others run all the same."""
    with vbl.open(tmp_path / "vbl.db", grace_s=0.1) as runtime:
        hung = [runtime.start(hanging, n) for n in range(PLACES + 10)]
        assert runtime.start(passing, 1).result(timeout=20) == 2
        assert {run.result(timeout=20) for run in hung} == {"timeout"}
        assert [runtime.start(passing, n).result(timeout=20) for n in range(10)] == list(range(1, 11))
        check_file(runtime)


@pytest.mark.slow
def test_the_time_of_a_body_begins_when_it_has_a_thread(tmp_path: Path) -> None:
    """More calls at once than there are threads, each within its time: none times out in the queue."""
    with vbl.open(tmp_path / "vbl.db", grace_s=0.1) as runtime:
        width = 5 * PLACES + 5  # the last ones wait for a thread for longer than they may take
        assert runtime.start(steadily, width).result(timeout=30) == list(range(width))


def test_a_body_that_was_given_up_before_it_had_a_thread_never_begins(tmp_path: Path) -> None:
    with vbl.open(tmp_path / "vbl.db", grace_s=0.1) as runtime:
        runs = runtime.start_many(patient, range(PLACES + 10))
        until(lambda: len(BEGUN) == PLACES, "every place to be taken")
        begun = set(BEGUN)
        queued = [run for number, run in enumerate(runs) if number not in begun]
        until(lambda: all(run.state().in_flight for run in queued), "the others to wait for a thread")
        for run in queued:
            run.cancel()
        for run in queued:
            assert run.wait("cancelled", timeout=20)
        assert runtime.start(bodiless).result(timeout=20) == "later", "the cancels have reached the bodies"
        LET_GO.set()
        assert [run.result(timeout=20) for n, run in enumerate(runs) if n in begun] == sorted(begun)
        assert runtime.start(passing, 1).result(timeout=20) == 2
        assert set(BEGUN) == begun
