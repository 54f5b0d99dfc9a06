"""SIGTERM and Ctrl-C: no new step begins, running ones get their time of grace, what does not end in it is recorded as
interrupted but not counted; nothing is lost, and the next supervisor goes on from there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import stoppable
from tests.crash.lives import Life, check_deeds, check_file, connect, deeds, environment, finish, life, until
from vbl.client import Client, Run

TARGET = Path(stoppable.__file__)
WORKFLOWS = {"waiting": "held", "waiting_in_thread": "held_in_thread", "plain_waiting": "held_in_thread"}
OUTCOMES = {"waiting": "after a", "waiting_in_thread": "after a", "plain_waiting": "a"}


def start_all(client: Client) -> list[Run]:
    return [client.start(name, name="a") for name in WORKFLOWS]


def until_held(log: Path, number: int) -> None:
    until(lambda: sum(deed.what == "begin" for deed in deeds(log)) >= number, f"{number} bodies to be in flight")


def types(run: Run) -> list[str]:
    return [fact.type for fact in run.facts()]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_steps_that_end_in_the_time_of_grace_are_completed(tmp_path: Path, number: signal.Signals) -> None:
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client:
        runs = start_all(client)
        with life(db, TARGET, "--grace", "30", env=environment(log)) as worker:
            until_held(log, len(runs))
            worker.process.send_signal(number)
            until(lambda: "stopping" in worker.words, "it to say that it stops")
            queued = client.start("waiting", name="b")
            (tmp_path / "go-a").touch()
            assert worker.ended() == 0, worker.words
        for run in runs:
            assert "STEP_COMPLETED" in types(run), run
            assert "STEP_INTERRUPTED" not in types(run), run
        assert queued.status == "queued", "no new run begins while it stops"
        assert not [deed for deed in deeds(log) if deed.step == "after"], "no new step begins while it stops"
        (tmp_path / "go-b").touch()
        go_on(db, log, client)
        assert [run.result() for run in runs] == list(OUTCOMES.values())
        assert check_deeds(client, log) == 0, "nothing ran twice"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_results_that_come_in_meanwhile_are_digested_later_in_their_order(tmp_path: Path, how: str) -> None:
    """Several end while the code is not at hand. The first of them may make the code give up the others."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    outcomes = {"one_of_two": "after race", "failing_group": "after group", "failing_run": None}
    with connect(db) as client:
        runs = [client.start(name, name="a") for name in outcomes]
        with life(db, TARGET, "--grace", "30", env=environment(log)) as worker:
            until_held(log, 7)
            if how == "stopped":
                worker.process.send_signal(signal.SIGTERM)
                until(lambda: "stopping" in worker.words, "it to say that it stops")
                (tmp_path / "go-a").touch()
                assert worker.ended() == 0, worker.words
            else:
                for run in runs:
                    run.pause()
                until_nothing_starts(client, runs)
                (tmp_path / "go-a").touch()
                until(lambda: all(not run.state().in_flight for run in runs), "all bodies to end")
                for run in runs:
                    run.unpause()
                finish(client, worker)
        assert sum(kind in ("STEP_COMPLETED", "STEP_FAILED") for run in runs for kind in types(run)) >= 7
        go_on(db, log, client)
        for run, outcome in zip(runs, outcomes.values(), strict=True):
            assert run.status == ("failed" if outcome is None else "completed"), (run, run.state().blocked)
            assert outcome is None or run.result() == outcome
        failed = runs[-1]
        failed.retry()
        go_on(db, log, client)
        assert failed.status == "failed"
        assert types(failed).count("STEP_COMPLETED") == 1, "what was completed is not run again by a retry"


def until_nothing_starts(client: Client, runs: list[Run]) -> None:
    """Wait until the supervisor has seen the pauses: it answers for a later run."""
    probe = client.start("asleep", seconds=0)
    assert probe.wait(timeout=20) == "completed"


@pytest.mark.slow
def test_steps_that_do_not_end_are_interrupted_and_not_counted(tmp_path: Path) -> None:
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client:
        runs = start_all(client)
        for round in range(1, 6):
            with life(db, TARGET, "--grace", "0.2", env=environment(log)) as worker:
                until_held(log, round * len(runs))
                assert worker.stop() == 0, worker.words
            for run in runs:
                (step,) = [step for step in run.state().steps.values() if step.name in WORKFLOWS.values()]
                assert (step.status, step.attempt, step.interruptions) == ("due", round, 0), run
        (tmp_path / "go-a").touch()
        go_on(db, log, client)
        assert [run.result() for run in runs] == list(OUTCOMES.values())
        started = [fact.payload for run in runs for fact in run.facts() if fact.type == "STEP_STARTED"]
        assert not any(start.get("alone") for start in started), "five graceful stops are no reason for quarantine"


@pytest.mark.slow
def test_a_second_signal_does_not_lose_anything(tmp_path: Path) -> None:
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client:
        runs = start_all(client)
        with life(db, TARGET, "--grace", "0.5", env=environment(log)) as worker:
            until_held(log, len(runs))
            worker.process.send_signal(signal.SIGINT)
            worker.process.send_signal(signal.SIGTERM)
            worker.process.send_signal(signal.SIGINT)
            assert worker.ended() == 0, worker.words
        (tmp_path / "go-a").touch()
        go_on(db, log, client)
        assert [run.result() for run in runs] == list(OUTCOMES.values())


@pytest.mark.slow
def test_a_signal_at_any_moment_of_the_start_ends_it_and_loses_nothing(tmp_path: Path) -> None:
    """Also one that comes before the handlers are set: then the process just ends."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client:
        run = client.start("asleep", seconds=0.05)
        for size in (0, 1, 200, 300, 400):
            with life(db, TARGET, env=environment(log)) as worker:
                until(lambda: memory_mib(worker) * 10 >= size or worker.holds, "it to grow")  # noqa: B023
                assert worker.stop() in (0, -signal.SIGTERM, 130), worker.words
        go_on(db, log, client)
        assert run.result() == "after sleep"


def memory_mib(worker: Life) -> float:
    """Resident memory: it only grows while a process starts, so it marks the moments of a start."""
    return int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.slow
def test_an_embedded_supervisor_stops_gracefully_on_ctrl_c(tmp_path: Path) -> None:
    """`vbl run` in the foreground: 130, and the run goes on later from where it was."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    command = [sys.executable, "-m", "vbl", "run", f"{TARGET}:waiting", "--input", '"a"', "--db", str(db)]
    running = subprocess.Popen(command, env=environment(log), stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    try:
        until_held(log, 1)
        running.send_signal(signal.SIGINT)
        while "stopping" not in (line := running.stderr.readline()):
            assert line, "it ended without a word"
        (tmp_path / "go-a").touch()
        _, words = running.communicate(timeout=30)
    finally:
        running.kill()
    assert running.returncode == 130, words
    with connect(db) as client:
        (run,) = client.runs()
        assert types(run)[-1] == "STEP_COMPLETED"
        go_on(db, log, client)
        assert run.result() == "after a"
        assert check_deeds(client, log) == 0


def go_on(db: Path, log: Path, client: Client) -> None:
    """The next supervisor finishes everything and finds nothing lost."""
    with life(db, TARGET, env=environment(log)) as worker:
        finish(client, worker)
        assert worker.stop() == 0, worker.words
    check_deeds(client, log)
    check_file(client)
