"""Measurements of runs that move: many at once, one, a late step, a conversation, a resume.

Each is called in a process of its own (`child`) and answers with plain data.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import vbl
from vbl.bench import floor, workloads
from vbl.bench.costs import Cost, Stopwatch, mean, median
from vbl.bench.floor import SUPERVISOR, Durability, Syncs, Tape, Transaction
from vbl.bench.workloads import MARK_EVERY, Mark
from vbl.client import Client
from vbl.engine.runtime import Runtime
from vbl.engine.supervisor import Supervisor
from vbl.handle import Run

TIMEOUT_S = 600.0

Work = Callable[[Client], list[Run]]
"""Starts runs; they are waited for."""


class Counts(NamedTuple):
    """What vbl wrote, and how often: seen in a pass of its own, which is not timed."""

    transactions: list[Transaction]
    syncs: int


def counted(folder: Path, work: Work, durability: Durability) -> Counts:
    """Do the work once with the instruments attached."""
    path = folder / "counted.db"
    tape, syncs = Tape(), Syncs()
    with tape.running(), Client(path, durability=durability) as client:
        supervisor = Supervisor(path, durability=durability, vfs=syncs.name)
        supervisor.start()
        try:
            before = syncs.counts[SUPERVISOR]
            for run in work(client):
                supervisor.nudge()
                run.wait(timeout=TIMEOUT_S)
            made = syncs.counts[SUPERVISOR] - before
        finally:
            supervisor.stop()
    syncs.unregister()
    return Counts(tape.transactions, made)


def timed(path: Path, work: Work, durability: Durability) -> Cost:
    """Do the work with nothing attached: from the start of the first run to the end of the last."""
    with Runtime(path, durability=durability) as runtime, Stopwatch() as watch:
        for run in work(runtime):
            run.wait(timeout=TIMEOUT_S)
    return watch.cost


def timed_floor(path: Path, transactions: list[Transaction], durability: Durability) -> Cost:
    """Write the same rows by bare apsw."""
    db = floor.prepare(path, durability)
    with Stopwatch() as watch:
        floor.replay(db, transactions)
    db.close()
    return watch.cost


def beside_apsw(work: Work, count: int, rounds: int, durability: Durability) -> dict[str, Any]:
    """Measure vbl and bare apsw by turns: A B A B. `count` is the number of steps."""
    with tempfile.TemporaryDirectory(prefix="vbl-bench-") as name:
        folder = Path(name)
        counts = counted(folder, work, durability)
        ours: list[Cost] = []
        bare: list[Cost] = []
        for number in range(rounds):
            ours.append(timed(folder / f"vbl{number}.db", work, durability))
            bare.append(timed_floor(folder / f"floor{number}.db", counts.transactions, durability))
    engine = [transaction for transaction in counts.transactions if transaction.thread == SUPERVISOR]
    return {
        "steps": count,
        "vbl": median(ours)._asdict(),
        "floor": median(bare)._asdict(),
        "transactions": len(engine),
        "syncs": counts.syncs,
        "events": sum(transaction.events for transaction in counts.transactions),
    }


def many(runs: int, steps: int, rounds: int, durability: Durability = "power") -> dict[str, Any]:
    """Many runs at once."""
    return beside_apsw(
        lambda client: client.start_many(workloads.steps, [steps] * runs), runs * steps, rounds, durability
    )


def one(steps: int, rounds: int, durability: Durability = "power") -> dict[str, Any]:
    """One run, whose steps follow each other."""
    return beside_apsw(lambda client: [client.start(workloads.steps, steps)], steps, rounds, durability)


def late(steps: int, rounds: int) -> dict[str, Any]:
    """A step in the last fifth of a long run, against one early in the same run: from the second twentieth on."""
    early: list[Cost] = []
    late: list[Cost] = []
    for _ in range(rounds):
        workloads.MARKS.clear()
        with tempfile.TemporaryDirectory(prefix="vbl-bench-") as name:
            timed(Path(name) / "late.db", lambda client: [client.start(workloads.marked_steps, steps)], "power")
        marks = sorted(workloads.MARKS)
        early += _spans([mark for mark in marks if steps // 20 <= mark.step <= steps // 4])
        late += _spans([mark for mark in marks if mark.step >= steps - steps // 5])
    return {
        "steps": steps,
        "early": median(early)._asdict(),
        "late": median(late)._asdict(),
        "early_mean": mean(early)._asdict(),
        "late_mean": mean(late)._asdict(),
    }


def _spans(marks: list[Mark]) -> list[Cost]:
    """The cost of one step between each two neighbours; their median does not see a neighbour's burst."""
    return [Cost(b.wall_s - a.wall_s, b.cpu_s - a.cpu_s).each(b.step - a.step) for a, b in pairwise(marks)]


def conversation(turns: int, size: int, shape: str, rounds: int) -> dict[str, Any]:
    """A conversation that grows by a message a turn."""
    workflow: Any = {"texts": workloads.converse_in_texts, "messages": workloads.converse_in_messages}[shape]

    def work(client: Client) -> list[Run]:
        return [client.start(workflow, turns, size)]

    near_end = turns - max(turns // 10, 2 * MARK_EVERY)
    last: list[Cost] = []
    bare: list[Cost] = []
    stored = bare_stored = 0
    with tempfile.TemporaryDirectory(prefix="vbl-bench-") as name:
        folder = Path(name)
        counts = counted(folder, work, "power")
        for number in range(rounds):
            workloads.MARKS.clear()
            path = folder / f"vbl{number}.db"
            timed(path, work, "power")
            last.append(mean(_spans([mark for mark in sorted(workloads.MARKS) if mark.step >= near_end])))
            stored = stored_bytes(path)
            path = folder / f"floor{number}.db"
            bare.append(timed_floor(path, counts.transactions, "power"))
            bare_stored = stored_bytes(path)
    return {
        "turns": turns,
        "message_bytes": turns * size,
        "stored_bytes": stored,
        "floor_stored_bytes": bare_stored,
        "late_turn": median(last)._asdict(),
        "floor_turn": median(bare).each(turns)._asdict(),
        "transactions": sum(t.thread == SUPERVISOR for t in counts.transactions),
        "syncs": counts.syncs,
    }


def stored_bytes(path: Path) -> int:
    """The bytes of a file and of its write-ahead log."""
    wal = path.with_name(path.name + "-wal")
    return path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)


def prepare_resume(path: str, steps: int) -> dict[str, Any]:
    """Make a file with a run that has `steps` completed steps and one more in flight."""
    with Runtime(Path(path), durability="process", grace_s=0.0) as runtime:
        run = runtime.start(workloads.long_run, steps)
        deadline = time.monotonic() + TIMEOUT_S
        while not workloads.LAST_BEGAN and time.monotonic() < deadline:
            time.sleep(0.01)
    return {"run": run.id}


def resume(path: str) -> dict[str, Any]:
    """Open a copy of that file; the time until the body of its next step begins. One process, one resume."""
    with tempfile.TemporaryDirectory(prefix="vbl-bench-") as name:
        copy = Path(name) / "resumed.db"
        shutil.copyfile(path, copy)
        with Stopwatch() as bare:
            floor.read(copy)
        workloads.RESUMED.append(True)
        before = Cost(time.perf_counter(), time.process_time())
        with vbl.open(copy) as runtime:
            runtime.run("@last").wait(timeout=60)
        mark = workloads.LAST_BEGAN[0]
    return {
        "vbl": Cost(mark.wall_s - before.wall_s, mark.cpu_s - before.cpu_s)._asdict(),
        "floor": bare.cost._asdict(),
    }
