"""The write-ahead log stays short: under load, beside a reader, from clients alone; and is emptied when all is quiet.

The limits are lowered for these tests, so that a little work passes them several times over.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import vbl
from tests.crash.lives import check_file, connect, size_of, until
from vbl.engine.runtime import Runtime
from vbl.store import sqlite

MIB = 2**20
FORCED_PAGES, RELIEF_PAGES = 1_000, 100
BOUND = FORCED_PAGES * 4096 + 2 * MIB
"""The forced limit, and what one transaction of many runs may add."""


@vbl.step
async def chunk(size: int) -> str:
    """Text that does not compress well: its like goes to the file each time."""
    await asyncio.sleep(0)
    return secrets.token_urlsafe(size)


@vbl.workflow(name="crash.writer")
async def writer(chunks: int) -> int:
    return sum([len(await chunk(30_000)) > 0 for _ in range(chunks)])


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_FORCED_PAGES", FORCED_PAGES)
    monkeypatch.setattr(sqlite, "WAL_RELIEF_PAGES", RELIEF_PAGES)


class Watch:
    """The largest size that the WAL was seen to have."""

    def __init__(self, db: Path) -> None:
        self.wal = db.with_name(db.name + "-wal")
        self.largest = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._done.wait(0.002):
            self.largest = max(self.largest, size_of(self.wal))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def load(runtime: Runtime, runs: int = 16, chunks: int = 60) -> None:
    """About 30 MiB of commits."""
    for run in [runtime.start(writer, chunks) for _ in range(runs)]:
        assert run.result(timeout=60) == chunks


@contextlib.contextmanager
def reader(db: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that reads the file; the block begins when it has said that it does."""
    prologue = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n"
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", prologue + code, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        yield process
    finally:
        process.kill()
        process.communicate()


SHORT_READS = """
print("reading", flush=True)
while True:
    db.execute("select count(*), max(id) from vbl_events").fetchone()
"""
LONG_READ = """
db.execute("begin")
db.execute("select count(*) from vbl_events").fetchone()
print("reading", flush=True)
sys.stdin.readline()
db.execute("commit")
print("left", flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_the_wal_stays_short_under_load_and_is_emptied_when_idle(tmp_path: Path) -> None:
    db = tmp_path / "vbl.db"
    with vbl.open(db) as runtime:
        with Watch(db) as watch:
            load(runtime)
        assert size_of(db) > 2 * BOUND, "too little was written to show anything"
        assert 0 < watch.largest <= BOUND
        until(lambda: size_of(watch.wal) == 0, "the WAL to be emptied", 20)
        check_file(runtime)


@pytest.mark.slow
def test_the_wal_stays_short_beside_a_reader(tmp_path: Path) -> None:
    """One that reads all the time, each time for a moment."""
    db = tmp_path / "vbl.db"
    with vbl.open(db) as runtime, reader(db, SHORT_READS) as process:
        with Watch(db) as watch:
            load(runtime)
        assert process.poll() is None
        assert size_of(db) > 2 * BOUND
        assert watch.largest <= 2 * BOUND


@pytest.mark.slow
def test_a_long_read_delays_it_and_no_more(tmp_path: Path) -> None:
    """While somebody holds an old view nothing can be cut off; work goes on, and afterwards the WAL is short again."""
    db = tmp_path / "vbl.db"
    with vbl.open(db) as runtime:
        load(runtime, 1, 2)
        with reader(db, LONG_READ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            with Watch(db) as watch:
                load(runtime)
            assert watch.largest > BOUND, "the reader was in nobody's way: this test showed nothing"
            process.stdin.write("leave\n")
            process.stdin.flush()
            assert process.stdout.readline() == "left\n"
            load(runtime, 2, 10)
            until(lambda: size_of(watch.wal) <= BOUND, "the WAL to be short again", 20)
        check_file(runtime)


@pytest.mark.slow
@pytest.mark.parametrize("supervised", [False, True])
def test_clients_keep_the_wal_short_too(tmp_path: Path, supervised: bool) -> None:
    """Runs that nobody here moves: no supervisor commits anything, and still the WAL does not grow for ever."""
    db = tmp_path / "vbl.db"
    with contextlib.ExitStack() as stack:
        if supervised:
            stack.enter_context(vbl.open(db))
        client = stack.enter_context(connect(db))
        with Watch(db) as watch:
            for _ in range(600):
                client.start("crash.nowhere", text=secrets.token_urlsafe(30_000))
        assert size_of(db) > 2 * BOUND or watch.largest > 2 * BOUND, "too little was written to show anything"
        assert watch.largest <= BOUND
        check_file(client)


def test_stdlib_reads_what_was_checkpointed(tmp_path: Path) -> None:
    """After a graceful stop the file alone holds everything; nobody needs the WAL."""
    db = tmp_path / "vbl.db"
    with vbl.open(db) as runtime:
        run = runtime.start(writer, 3)
        assert run.result(timeout=20) == 3
        events = len(run.events())
    alone = tmp_path / "alone.db"
    alone.write_bytes(db.read_bytes())
    connection = sqlite3.connect(alone)
    assert connection.execute("select count(*) from vbl_events").fetchone() == (events,)
    connection.close()
