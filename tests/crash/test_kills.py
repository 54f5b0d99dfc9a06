"""A real supervisor is killed by SIGKILL at random moments, over and over, while many runs are open.

Whatever dies when: every run ends with its known outcome, no step whose completion was recorded runs again, what a
later body has seen stays in the history, and the doctor finds the file whole.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.crash import corpus
from tests.crash.lives import (
    check_deeds,
    check_file,
    connect,
    environment,
    finish,
    life,
    new_random,
    over,
    size_of,
    until,
)
from vbl.client import Client
from vbl.handle import Run

TARGET = Path(corpus.__file__)
KILLS_IN_STARTUP = 0.25
"""So often the process is killed while it starts, before or just after it has taken the file."""


def start_some(client: Client, rng: random.Random, number: int) -> list[Run]:
    names = rng.choices(list(corpus.EXPECTED), k=number)
    return [client.start(name, **{corpus.PARAMETERS[name]: corpus.SIZES[name]}) for name in names]


def live_and_die(client: Client, db: Path, log: Path, rng: random.Random, startup: float) -> None:
    """One life: it ends after some more deeds (where there are some left to do), or so often early in its start."""
    size = size_of(log)
    with life(db, TARGET, env=environment(log)) as worker:
        if rng.random() < startup:
            moment = time.monotonic() + rng.uniform(0.05, 0.5)
            until(lambda: time.monotonic() > moment, "a moment in the start")
        else:
            wanted = size + rng.randrange(1, 4_000)
            until(lambda: worker.holds and (size_of(log) > wanted or over(client)), f"deeds beyond {wanted} bytes")
            moment = time.monotonic() + rng.uniform(0, 0.01)
            until(lambda: time.monotonic() > moment, "a moment between two deeds")
        worker.kill()


def check_outcomes(runs: list[Run]) -> None:
    for run in runs:
        expected = corpus.EXPECTED[run.workflow](corpus.SIZES[run.workflow])
        assert run.status == "completed", (run, run.state().error, run.state().blocked)
        assert run.result() == expected, run


def kill_many(folder: Path, kills: int, runs_a_life: int) -> None:
    rng = new_random()
    db, log = folder / "vbl.db", folder / "deeds"
    with connect(db) as client:
        runs = start_some(client, rng, 8)
        for number in range(kills):
            runs += start_some(client, rng, runs_a_life)
            live_and_die(client, db, log, rng, KILLS_IN_STARTUP if number else 0.0)  # the first one meets some work
        with life(db, TARGET, env=environment(log)) as worker:
            finish(client, worker)
            assert worker.stop() == 0, worker.words
        assert {run.id for run in client.runs(limit=None)} == {run.id for run in runs}
        check_outcomes(runs)
        again = check_deeds(client, log)
        check_file(client)
        interrupted = client.sql("select count(*) from vbl_events where type = 'STEP_INTERRUPTED'")[1][0][0]
        print(f"{kills} kills, {len(runs)} runs, {interrupted} attempts interrupted, {again} attempts beyond the first")
        assert interrupted > 0, "no kill met a step in flight: this test showed nothing"


@pytest.mark.slow
def test_a_run_in_the_foreground_goes_on_when_it_is_typed_again(tmp_path: Path) -> None:
    """`vbl run --key` is killed over and over and typed again: one run, nothing done twice, the output in the end."""
    rng = new_random()
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    command = [sys.executable, "-m", "vbl", "run", f"{TARGET}:chain", "--input", "150", "--key", "K", "--db", str(db)]
    for _ in range(6):
        wanted = size_of(log) + rng.randrange(1, 2_000)
        running = subprocess.Popen(command, env=environment(log), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        until(lambda: size_of(log) > wanted or running.poll() is not None, "deeds")  # noqa: B023
        running.kill()
        running.communicate()
        assert running.returncode == -signal.SIGKILL, "it ended before it was killed: make the chain longer"
    done = subprocess.run(command, env=environment(log), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "150\n"), done.stderr
    with connect(db) as client:
        assert len(client.runs()) == 1
        print(f"{check_deeds(client, log)} attempts beyond the first")
        check_file(client)


def test_runs_survive_a_few_kills(tmp_path: Path) -> None:
    kill_many(tmp_path, kills=3, runs_a_life=6)


@pytest.mark.slow
def test_runs_survive_thirty_kills(tmp_path: Path) -> None:
    kill_many(tmp_path, kills=32, runs_a_life=12)
