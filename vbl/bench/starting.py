"""Rows about what everybody pays: importing vbl, the first words of the command line, the list of runs."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import vbl
from vbl.bench import child
from vbl.bench.costs import Cost, median
from vbl.clock import SYSTEM
from vbl.errors import VblError
from vbl.history.state import Summary
from vbl.ids import lowest
from vbl.store.journal import summary_row
from vbl.store.sqlite import Sqlite

VBL = ("-c", "from vbl.cli.main import main; main()")
"""The command line, started as the installed script `vbl` starts it."""
IMPORT_CLICK = ("-c", "import click")
IMPORT_FOR_LS = ("-c", "import click, apsw, pydantic, rich.table")
IMPORT_VBL = ("-c", "import vbl")
IMPORT_ENGINE = ("-c", "import vbl; vbl.step, vbl.workflow, vbl.open")
IMPORT_FOR_VBL = ("-c", "import pydantic, apsw, asyncio")


def by_turns(first: Sequence[str], second: Sequence[str], rounds: int) -> tuple[Cost, Cost]:
    """Start two Python programs by turns, each once before it counts; the medians of both."""
    programs = (first, second)
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for number in range(rounds + 1):
        for program, found in zip(programs, costs, strict=True):
            cost = started(program)
            if number:
                found.append(cost)
    return median(costs[0]), median(costs[1])


def started(arguments: Sequence[str]) -> Cost:
    """The cost of a Python process from its start to its end. Raises VblError where it fails."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=words, env=child.environment()
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - began
        if process.returncode:
            words.seek(0)
            said = f"python {' '.join(arguments)} ended with {process.returncode}: {words.read()[-2_000:].strip()}"
            raise VblError(said, code="bench_failed")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime)


# Listing runs -----------------------------------------------------------------------------------------------------

FILTERS = (
    "",
    "status:failed",
    "status:running,waiting",
    "is:held-up",
    "status:blocked",
    "status:blocked,paused",
    "workflow:workflow3",
    "workflow:workflow3 status:failed",
    "workflow:workflow0 status:blocked",
    "tag:tag7",
    "tag:tag0 status:blocked",
    "since:1h",
    "since:1h status:failed",
    "cost:>1.9",
    "cost:>1.9 tag:tag3 status:failed",
    "took:>1h status:completed",
)
"""As they are typed. The blocked runs are few, and the oldest of all; the last one fits none."""
_STATUSES = {"completed": 90, "failed": 4, "cancelled": 2, "waiting": 3, "running": 1}
_OLDEST = 5
"""So many of the first runs are blocked, of workflow0 with tag0: farthest from the newest."""


def prepare_ls(path: str, runs: int) -> dict[str, Any]:
    """Make a file with the summaries of so many runs: one a second up to now, of ten workflows, one in ten tagged.

    Only summaries: the list reads nothing else, and events would take minutes to make.
    """
    store = Sqlite(Path(path), durability="process")
    first_at = SYSTEM.now() - runs * 1_000_000
    try:
        for begin in range(0, runs, 20_000):
            numbers = range(begin, min(begin + 20_000, runs))
            with store.write():
                store.many("insert_run", list(_summaries(numbers, first_at)))
                store.many("insert_tag", [(tag, n + 1) for n in numbers if (tag := _tag(n)) is not None])
        store.checkpoint("truncate")
    finally:
        store.close()
    return {"runs": runs, "bytes": Path(path).stat().st_size}


def _summaries(numbers: Iterable[int], first_at: int) -> Iterator[tuple[Any, ...]]:
    for n in numbers:
        dice = random.Random(n)
        at = first_at + n * 1_000_000
        status = dice.choices(list(_STATUSES), list(_STATUSES.values()))[0] if n >= _OLDEST else "blocked"
        workflow = dice.randrange(10) if n >= _OLDEST else 0
        finished_at = at + 900_000 if status in ("completed", "failed", "cancelled") else None
        wake_at = at + 10**15 if status == "waiting" else None
        summary = Summary(
            id=lowest(at),
            workflow=f"workflow{workflow}",
            version="0" * 16,
            status=status,
            start_key=None,
            parent_id=None,
            tags=_tag(n) or "",
            priority=0,
            created_at=at,
            updated_at=finished_at or at,
            finished_at=finished_at,
            wake_at=wake_at,
            due_at=wake_at,
            in_flight=int(status == "running"),
            seq=7,
            started_at=None if status == "queued" else at,
            queue=None,
            lane=None,
            usd=n % 977 / 500 if n % 3 == 0 else None,
        )
        yield (*summary_row(summary), n + 1)


def _tag(n: int) -> str | None:
    return f"tag{n // 10 % 10}" if n < _OLDEST or n % 10 == 0 else None


def listing(small: str, large: str, rounds: int) -> dict[str, Any]:
    """The query behind each filter of `vbl ls` on two files, by turns: seconds on each, for the same number of runs."""
    found: dict[str, tuple[list[float], list[float]]] = {typed: ([], []) for typed in FILTERS}
    with vbl.connect(small) as first, vbl.connect(large) as second:
        for _ in range(rounds):
            for typed in FILTERS:
                limit = max(min(len(first.find(typed).runs), len(second.find(typed).runs)), 1)
                for client, times in zip((first, second), found[typed], strict=True):
                    began = time.perf_counter()
                    client.find(typed, limit=limit)
                    times.append(time.perf_counter() - began)
    return {
        typed: {"small_s": statistics.median(times[0]), "large_s": statistics.median(times[1])}
        for typed, times in found.items()
    }
