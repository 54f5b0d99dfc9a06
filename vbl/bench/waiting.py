"""Measurements of runs that wait: many parked ones, and one that another process lets go on.

Each is called in a process of its own (`child`) and answers with plain data.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vbl
from vbl.bench import child, floor, workloads
from vbl.bench.costs import Cost, Stopwatch, median, memory_bytes
from vbl.bench.floor import Tape
from vbl.client import Client
from vbl.engine.runtime import Runtime
from vbl.handle import Run

A_MONTH_S = 30 * 86_400.0
DEADLINE_S = 600.0
SETTLED_S = 1.5
"""After so long a supervisor has parked what it can."""


def until(condition: Callable[[], bool], what: str, pause_s: float = 0.002) -> None:
    """Wait for a condition. Raises TimeoutError, saying for what."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {DEADLINE_S:g} s for {what}")
        time.sleep(pause_s)


def prepare_parked(path: str, runs: int) -> dict[str, Any]:
    """Make a file with runs that sleep for a month, by the engine, as any other run is made."""
    with Runtime(Path(path), durability="process") as runtime:
        for first in range(0, runs, 5_000):
            runtime.start_many(workloads.sleeper, [A_MONTH_S] * min(5_000, runs - first))
        counting = "select count(*) from vbl_runs where status = 'waiting'"
        until(lambda: runtime.sql(counting)[1][0][0] == runs, f"{runs} runs to be parked", 0.1)
    return {"runs": runs, "bytes": Path(path).stat().st_size}


def parked(path: str, idle_s: float) -> dict[str, Any]:
    """Open the file: how soon a new run is done, what memory the process takes, and what it does when idle."""
    before = memory_bytes()
    ready = Stopwatch().__enter__()
    with vbl.open(path) as runtime:
        runtime.start(workloads.steps, 1).result()
        ready.lap()
        time.sleep(SETTLED_S)
        with Stopwatch() as idle:
            time.sleep(idle_s)
        taken = memory_bytes() - before
    return {"ready": ready.cost._asdict(), "memory_bytes": taken, "idle_share": idle.cost.cpu_s / idle.cost.wall_s}


# A decision from another process ----------------------------------------------------------------------------------


def supervise(path: str) -> dict[str, Any]:
    """Supervise the file until stdin ends; what `foreign` runs beside itself."""
    with Runtime(Path(path)) as runtime:
        sys.stdin.read()
        supervisor = runtime.supervisor()
    return {"epoch": supervisor.epoch if supervisor is not None else 0}


def foreign(samples: int) -> dict[str, Any]:
    """From `run.unpause()` in this process to the body of the run's next step in the supervisor's."""
    with tempfile.TemporaryDirectory(prefix="vbl-bench-") as name:
        path = Path(name) / "foreign.db"
        Client(path).close()
        supervisor = subprocess.Popen(
            child.command("waiting.supervise", path=str(path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=child.environment(),
        )
        tape = Tape()
        try:
            with tape.running(), vbl.connect(path) as client:
                until(lambda: client.supervisor() is not None, "the supervisor")
                run = client.start(workloads.ticking, 1_000_000, 0.02)
                until(lambda: len(run.state().outputs) > 0, "the first step")
                seeded = random.Random(1)
                delays = [_noticed_after_s(run, seeded) for _ in range(samples)]
                run.cancel()
                run.wait(timeout=DEADLINE_S)
        finally:
            supervisor.communicate(timeout=60)
        written = tape.transactions[-1]
        bare = _bare_commits(Path(name) / "floor.db", tape, samples)
    return {
        "samples": samples,
        "median_s": statistics.median(delays),
        "worst_s": max(delays),
        "floor": bare._asdict(),
        "events": written.events,
    }


def _noticed_after_s(run: Run, seeded: random.Random) -> float:
    """Pause the run, wait at random until it is at rest, let it go on; seconds to its next step's body."""
    run.pause()
    until(lambda: run.state().in_flight == 0, "the run to be at rest")
    time.sleep(seeded.uniform(0.0, 0.1))
    before = time.time_ns()
    run.unpause()
    began: list[int] = []

    def began_again() -> bool:
        began[:] = [output for output in run.state().outputs.values() if output > before]
        return bool(began)

    until(began_again, "the next step")
    return (min(began) - before) / 1e9


def _bare_commits(path: Path, tape: Tape, samples: int) -> Cost:
    """What the commit of one such event costs by bare apsw, the same rows in a file of their own."""
    db = floor.prepare(path, "power")
    costs: list[Cost] = []
    for transaction in tape.transactions[-2 * samples :]:
        with Stopwatch() as watch:
            floor.replay(db, [transaction])
        costs.append(watch.cost)
    db.close()
    return median(costs)
