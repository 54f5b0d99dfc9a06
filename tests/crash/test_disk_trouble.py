"""A full disk and a failing one: the supervisor says so, starts no body, keeps the results that it holds, and goes on
when the disk does. Nothing that was done is done again."""

from __future__ import annotations

import asyncio
import logging
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import apsw
import pytest

import vbl
from tests.crash import corpus
from tests.crash.faulty_vfs import Disk, Fault, Once, disk_full, every_connection, io_error
from tests.crash.lives import check_deeds, check_file, connect, deeds, environment, life, size_of, until
from vbl.engine.context import CURRENT
from vbl.errors import StorageError

T = TypeVar("T")

BODIES: list[tuple[str, str, int]] = []
"""Every body that began: its run, its step, its attempt."""
GATE = threading.Event()
FAULTS = [
    pytest.param(disk_full, id="full"),
    pytest.param(io_error("write"), id="write", marks=pytest.mark.slow),
    pytest.param(io_error("sync"), id="sync", marks=pytest.mark.slow),
]


def began() -> None:
    scope = CURRENT.get()
    BODIES.append((scope.run_id, scope.key, scope.number))


@vbl.step
async def gated(number: int) -> int:
    began()
    while not GATE.is_set():
        await asyncio.sleep(0.001)
    return number + 1


@vbl.step
def gated_in_thread(number: int) -> int:
    began()
    assert GATE.wait(60)
    return number + 1


@vbl.step
async def onward(number: int) -> int:
    began()
    return number * 10


@vbl.step(retry=vbl.Retry(max_attempts=2, delay=0.01))
async def second_time(number: int) -> int:
    began()
    if CURRENT.get().number == 1:
        raise ConnectionError("again")
    return number


@vbl.workflow(name="crash.two_gates")
async def two_gates(number: int) -> int:
    first, second = await asyncio.gather(gated(number), gated_in_thread.aio(number))
    return await onward(first + second)


@vbl.workflow(name="crash.quick")
async def quick(length: int) -> int:
    number = 0
    for _ in range(length):
        number = await onward(number + 1)
        await vbl.sleep(0.001)
    return await second_time(number)


@vbl.workflow(name="crash.plain")
def plain(number: int) -> int:
    return gated_in_thread(number)


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    BODIES.clear()
    GATE.clear()
    with every_connection(f"trouble {request.node.name}") as disk:
        yield disk
        GATE.set()


def check_once() -> None:
    """No process died: so no body had a reason to run again."""
    assert len(BODIES) == len(set(BODIES)), "an attempt ran twice"
    assert not [body for body in BODIES if body[2] > (2 if body[1] == "second_time" else 1)], "a step ran again"


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_results_are_kept_until_the_disk_takes_them(
    tmp_path: Path, disk: Disk, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    db = tmp_path / "vbl.db"
    with caplog.at_level(logging.WARNING, "vbl"), vbl.open(db) as runtime:
        runs = [runtime.start(two_gates, number) for number in range(4)] + [runtime.start(plain, 7)]
        until(lambda: len(BODIES) == 9, "the gated bodies to run")
        disk.fault = fault
        GATE.set()
        until(lambda: disk.refused >= 4, "the supervisor to have tried several times")
        assert len(BODIES) == 9, "no body starts while its start cannot be recorded"
        assert all(run.status == "running" for run in runs)
        assert any("Nothing new is started" in line for line in caplog.messages), caplog.messages
        with pytest.raises(StorageError) as refused:
            runtime.start(quick, 1)
        assert refused.value.code == ("disk_full" if fault is disk_full else "io_error")
        assert refused.value.hint
        disk.fault = None
        assert [run.result(timeout=20) for run in runs] == [20, 40, 60, 80, 8]
        assert any("going on" in line for line in caplog.messages), caplog.messages
        assert len(runtime.runs(limit=None)) == len(runs), "what was refused left nothing behind"
        check_file(runtime)
    check_once()


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_stop_ends_also_while_the_disk_is_full(tmp_path: Path, disk: Disk, fault: Fault) -> None:
    """What could not be written runs again later: nothing is lost, and the process does not hang."""
    db = tmp_path / "vbl.db"
    runtime = vbl.open(db, grace_s=0.05)
    run = runtime.start(two_gates, 1)
    until(lambda: len(BODIES) == 2, "the gated bodies to run")
    disk.fault = fault
    GATE.set()
    until(lambda: disk.refused >= 2, "the supervisor to have tried")
    closing = threading.Thread(target=runtime.close, daemon=True)
    closing.start()
    until(lambda: not closing.is_alive(), "the supervisor to end", 20)
    disk.fault = None
    with vbl.open(db) as runtime:
        assert runtime.run(run.id).result(timeout=20) == 40
        check_file(runtime)


def insist(call: Callable[[], T]) -> T:
    """Call again where the disk refused it; at most once it does."""
    try:
        return call()
    except StorageError as error:
        if error.code != "io_error":
            raise
        return call()


def survive(folder: Path, disk: Disk, fault: Callable[[int], Once], nth: int) -> bool:
    """Work with one operation failing; whether it was met."""
    BODIES.clear()
    db = folder / f"{nth}.db"
    with vbl.open(db) as runtime:
        disk.fault = once = fault(nth)
        runs = [insist(lambda: runtime.start(quick, 3)) for _ in range(4)]
        assert [insist(lambda: run.result(timeout=20)) for run in runs] == [1110] * 4  # noqa: B023
        disk.fault = None
        check_file(runtime)
        extra = len(runtime.runs(limit=None)) - len(runs)
        assert extra <= once.met, "a start that failed may have left a run behind only where its outcome is unknown"
    check_once()
    return once.met


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["write", "sync", "read"])
def test_any_single_failure_of_the_disk_is_survived(tmp_path: Path, disk: Disk, verb: Any) -> None:
    """The first, the second, the third … operation fails once, until the work is done without meeting it."""
    GATE.set()
    step = {"write": 13, "sync": 1, "read": 5}[verb]
    met = 0
    for nth in range(1, 2_000, step):
        if not survive(tmp_path, disk, lambda n: Once(io_error(verb), n), nth):
            break
        met += 1
    print(f"{met} failures of a {verb}")
    assert met >= 5


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["write", "sync"])
@pytest.mark.parametrize("kind", ["full", "io"])
def test_a_file_that_cannot_be_begun_is_begun_later(tmp_path: Path, disk: Disk, verb: Any, kind: str) -> None:
    """Whichever operation fails while a file is made: it is said in words, and the next try makes it."""
    if kind == "full":
        fault: Fault = lambda op: apsw.FullError("no space left") if op.verb == verb else None  # noqa: E731
    else:
        fault = io_error(verb)
    met = 0
    for nth in range(1, 200):
        db = tmp_path / f"{nth}.db"
        disk.fault = once = Once(fault, nth)
        try:
            vbl.connect(db).close()
        except StorageError as error:
            if error.code not in ("disk_full", "io_error"):
                raise
        disk.fault = None
        with vbl.connect(db) as client:
            client.start("crash.nowhere")
            check_file(client)
        if not once.met:
            break
        met += 1
    print(f"{met} failures of a {verb}")
    assert met >= 2


def test_a_supervisor_does_not_begin_on_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    """It says so and ends; nothing is held, so that the next one may try."""
    db = tmp_path / "vbl.db"
    with vbl.connect(db) as client:
        disk.fault = disk_full
        with pytest.raises(StorageError) as refused:
            vbl.open(db)
        assert refused.value.code == "disk_full"
        assert client.supervisor() is None
        disk.fault = None
        GATE.set()
        with vbl.open(db) as runtime:
            assert runtime.start(quick, 1).result(timeout=20) == 10


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit(2)")
def test_a_process_that_may_write_no_more_goes_on_when_it_may(tmp_path: Path) -> None:
    """No VFS between: the operating system refuses a real supervisor's writes for a while."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client, life(db, Path(corpus.__file__), env=environment(log)) as worker:
        runs = [client.start("chain", length=60) for _ in range(5)]
        until(lambda: len(deeds(log)) > 20, "work to be done")
        soft, hard = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size_of(db.with_name("vbl.db-wal")) + 20_000, hard))
        until(lambda: "Nothing new is started" in worker.words, "it to say that it cannot write")
        assert not any(run.status.finished for run in runs)
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (soft, hard))
        until(lambda: "going on" in worker.words, "it to say that it can write again")
        assert [run.result(timeout=30) for run in runs] == [60] * 5
        assert worker.stop() == 0, worker.words
        assert check_deeds(client, log) == 0, "nothing ran twice"
        check_file(client)
