"""At one time one process moves the runs of a file: who comes second is told who holds it, waits, or takes it over
from one that does not answer; and the one that lost it may append nothing more."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import vbl
from tests.crash import corpus, poisons
from tests.crash.lives import (
    Life,
    check_deeds,
    check_file,
    connect,
    deeds,
    environment,
    life,
    until,
)
from vbl.handle import Run
from vbl.store import holder

TARGET = Path(corpus.__file__)
HELD = 9


def race(db: Path, number: int) -> tuple[Life, list[Life]]:
    """Start that many supervisors at once; the one that holds the file, and the others, which have ended."""
    env = environment(db.with_name("deeds"))
    racers = [Life(db, TARGET, env=env) for _ in range(number)]
    try:
        until(
            lambda: sum(r.process.poll() is not None for r in racers) == number - 1,
            f"all but one of {number} to give up",
        )
        (winner,) = [r for r in racers if r.process.poll() is None]
        winner.holding()
        return winner, [r for r in racers if r is not winner]
    except BaseException:
        for racer in racers:
            racer.process.kill()
        raise


@pytest.mark.parametrize("number", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_of_several_supervisors_exactly_one_holds_the_file(tmp_path: Path, number: int) -> None:
    db = tmp_path / "vbl.db"
    winner, others = race(db, number)
    try:
        for other in others:
            assert other.process.returncode == HELD, other.words
            assert f"process {winner.pid} " in other.words
            assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", other.words), other.words
        with connect(db) as client:
            info = client.supervisor()
            assert info is not None
            assert info.pid == winner.pid
            run = client.start("chain", length=2)
            assert run.wait(timeout=20) == "completed"
        assert winner.stop() == 0, winner.words
    finally:
        winner.process.kill()


@pytest.mark.slow
def test_races_in_a_row_have_one_winner_each(tmp_path: Path) -> None:
    """Also where the holder was killed, and where the winner of the race is killed at once."""
    db = tmp_path / "vbl.db"
    epochs = []
    for _ in range(5):
        winner, _ = race(db, 3)
        epochs.append(holder.read(db)["epoch"])
        winner.kill()
        assert not holder.alive(db)
    assert epochs == sorted(set(epochs)), "each holder has an epoch of its own, later ones a higher one"


@pytest.mark.slow
def test_one_that_waits_takes_over_when_the_holder_leaves_or_dies(tmp_path: Path) -> None:
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    env = environment(log)
    with life(db, TARGET, env=env) as first, connect(db) as client:
        first.holding()
        with life(db, TARGET, "--wait", env=env) as second:
            run = client.start("chain", length=60)
            until(lambda: len(deeds(log)) > 5, "the first one's deeds")
            assert second.process.poll() is None
            first.kill()
            second.holding()
            assert run.wait(timeout=20) == "completed"
            with life(db, TARGET, "--wait", env=env) as third:
                assert second.stop() == 0, second.words
                third.holding()
                assert client.start("chain", length=1).wait(timeout=20) == "completed"
        check_deeds(client, log)


@pytest.mark.slow
def test_one_that_waits_can_be_told_to_stop(tmp_path: Path) -> None:
    db = tmp_path / "vbl.db"
    with life(db, TARGET) as first:
        first.holding()
        with life(db, TARGET, "--wait") as second:
            until(lambda: catches_sigterm(second), "it to wait")
            assert second.stop() == 0, second.words
        assert first.holds


def catches_sigterm(worker: Life) -> bool:
    """Whether the process has its signal handlers set: until then a SIGTERM just ends it."""
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{worker.pid}/status").read_text())
    assert caught is not None
    return bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
def test_force_leaves_a_holder_alone_that_answers(tmp_path: Path) -> None:
    db = tmp_path / "vbl.db"
    with life(db, TARGET, env=environment(tmp_path / "deeds")) as first, connect(db) as client:
        first.holding()
        with life(db, TARGET, "--force") as second:
            assert second.ended() == HELD, second.words
            assert f"process {first.pid} " in second.words
            assert "answers" in second.words
        assert first.holds
        assert client.start("chain", length=2).wait(timeout=20) == "completed"


@pytest.mark.slow
def test_a_stopped_holder_is_replaced_by_force_and_may_not_append(tmp_path: Path) -> None:
    """The holder stands still with bodies in flight; its successor finishes the runs; then it goes on."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    env = environment(log)
    with life(db, TARGET, env=env) as first, connect(db) as client:
        first.holding()
        runs = [client.start("chain", length=150) for _ in range(4)]
        until(lambda: len(deeds(log)) > 40, "work to be in flight")
        stop_between_commits(first)
        before = [run.facts()[-1].seq for run in runs]
        with life(db, TARGET, "--force", env=env) as second:
            until(lambda: holder.read(db)["pid"] == second.pid, "the second to take the file")
            until(
                lambda: all(run.refresh().seq > seq for run, seq in zip(runs, before, strict=True)),
                "the second to move the runs",
            )
            cursor = client.cursor()
            first.process.send_signal(signal.SIGCONT)
            assert first.ended() == HELD, first.words
            assert "epoch" in first.words
            for run in runs:
                assert run.wait(timeout=30) == "completed"
            check_epochs(runs)
            assert client.cursor() > cursor
            until(lambda: second.holds, "the second to take the lock that the first had")
            assert second.stop() == 0, second.words
        check_deeds(client, log)
        check_file(client)


def stop_between_commits(worker: Life) -> None:
    """Let it stand still, but not within a commit: then it would keep SQLite's own lock, and must be killed."""

    def stopped() -> bool:
        worker.process.send_signal(signal.SIGSTOP)
        until(lambda: "\nState:\tT" in Path(f"/proc/{worker.pid}/status").read_text(), "it to stand still")
        if outside(worker.db, TRY_TO_WRITE) == "free":
            return True
        worker.process.send_signal(signal.SIGCONT)
        return False

    until(stopped, "a moment between two commits")


TRY_TO_WRITE = """
db = sqlite3.connect(path, timeout=0, isolation_level=None)
try:
    db.execute("begin immediate")
    db.execute("rollback")
    print("free")
except sqlite3.OperationalError:
    print("locked")
"""


@pytest.mark.slow
def test_one_that_stands_still_within_a_commit_has_to_be_killed(tmp_path: Path) -> None:
    """It keeps SQLite's own lock, which no force takes: the one that tries is told so."""
    db = tmp_path / "vbl.db"
    with life(db, TARGET) as first:
        first.holding()
        stop_between_commits(first)
        keep = [sys.executable, "-S", "-c", KEEP_THE_LOCK, str(db)]
        with subprocess.Popen(keep, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keeper:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == "locked\n"
            with life(db, TARGET, "--force") as second:
                assert second.ended() == 10, second.words
                assert f"process {first.pid} " in second.words
                assert "kill" in second.words
            keeper.kill()


KEEP_THE_LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("begin immediate")
print("locked", flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_who_took_the_file_by_force_keeps_it_when_the_silent_one_dies(tmp_path: Path) -> None:
    """The lock is free for a moment then; somebody who waits for it must not take it from a holder that beats."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    env = environment(log)
    with life(db, TARGET, env=env) as first, connect(db) as client:
        first.holding()
        stop_between_commits(first)
        with life(db, TARGET, "--force", env=env) as second, life(db, TARGET, "--wait", env=env) as third:
            until(lambda: holder.read(db)["pid"] == second.pid, "the second to take the file")
            until(lambda: catches_sigterm(third), "the third to wait")
            first.process.kill()
            until(lambda: holder.read(db).get("locked"), "the second to have the lock as well")
            assert second.holds
            assert third.process.poll() is None
            run = client.start("chain", length=2)
            assert run.wait(timeout=20) == "completed"
            assert second.stop() == 0, second.words
            third.holding()
            assert third.stop() == 0, third.words
        check_deeds(client, log)


@pytest.mark.slow
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A body has forked (a pool of processes, say), and the supervisor is killed: its orphan holds nobody up."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    target = Path(poisons.__file__)
    with connect(db) as client:
        run = client.start("forking")
        with life(db, target, env=environment(log)) as first:
            (forked,) = until(lambda: [deed for deed in deeds(log) if deed.what == "forked"], "a body to fork")
            first.kill()
        try:
            with life(db, target, env=environment(log)) as second:
                second.holding()
                assert run.wait(timeout=20) == "completed"
        finally:
            os.kill(int(forked.word), signal.SIGKILL)


def check_epochs(runs: list[Run]) -> None:
    """Once the second epoch has begun in a run's history, no event of the first follows."""
    for run in runs:
        epochs = [fact.payload["epoch"] for fact in run.facts() if "epoch" in fact.payload]
        assert epochs == sorted(epochs), (run, epochs)
        assert len(set(epochs)) == 2, (run, epochs)


@pytest.mark.slow
def test_who_opened_before_and_closes_late_takes_nothing_from_who_opened_again(tmp_path: Path) -> None:
    first = vbl.open(tmp_path / "vbl.db")
    assert first.supervising is not None
    first.supervising.stop(0)  # as one that has lost its file, or has failed
    with vbl.open(tmp_path / "vbl.db") as second:
        assert second is not first
        first.close()
        with vbl.open(tmp_path / "vbl.db") as third:
            assert third is second


@pytest.mark.slow
def test_the_lock_survives_what_other_processes_do_to_the_file(tmp_path: Path) -> None:
    """A stdlib sqlite3 in another process reads, and goes; a third supervisor is still refused."""
    db = tmp_path / "vbl.db"
    with life(db, TARGET, env=environment(tmp_path / "deeds")) as first, connect(db) as client:
        first.holding()
        runs = [client.start("chain", length=30) for _ in range(4)]
        for _ in range(3):
            assert (
                outside(db, "print(sqlite3.connect(path).execute('select count(*) from vbl_runs').fetchone()[0])")
                == "4"
            )
            assert outside(db, "open(path, 'rb').read(16); print(open(path, 'rb').read(6).decode())") == "SQLite"
        with life(db, TARGET) as second:
            assert second.ended() == HELD, second.words
        for run in runs:
            assert run.wait(timeout=20) == "completed"
        check_file(client)
        assert first.stop() == 0


def outside(db: Path, code: str) -> str:
    """What a Python with nothing but its standard library prints."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sqlite3, sys\npath = sys.argv[1]\n{code}", str(db)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_lock_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    db = tmp_path / "vbl.db"
    holder.lock_path(db).mkdir()
    with pytest.raises(vbl.StorageError, match=r"vbl\.db-lock") as refused:
        vbl.open(db)
    assert refused.value.hint
    holder.lock_path(db).rmdir()
    with vbl.open(db) as runtime:
        assert runtime.supervisor() is not None
