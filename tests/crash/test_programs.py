"""Random workflow programs under random kills, stops and pauses: each ends with the result that was known before."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

import vbl
from tests.crash import programs
from tests.crash.lives import check_deeds, check_file, connect, environment, finish, life, new_random, until
from tests.crash.programs import Program, expect, whole
from vbl.client import Client, Run

TARGET = Path(programs.__file__)
GRACEFUL = 0.25
"""So often the supervisor is stopped instead of killed, with hardly any time of grace."""


def kinds(program: Program) -> Counter[str]:
    """How often each kind of statement stands in a program."""
    found = Counter([program["kind"]])
    for part in [*program.get("parts", []), *(program[name] for name in ("body", "handler") if name in program)]:
        found += kinds(part)
    return found


def start_some(client: Client, rng: random.Random, number: int) -> list[tuple[Run, Program]]:
    started: list[tuple[Run, Program]] = []
    for _ in range(number):
        plain = rng.random() < 0.25
        program = whole(rng, plain=plain)
        started.append((client.start("plain_program" if plain else "program", tree=program), program))
    return started


def disturb(runs: list[Run], rng: random.Random) -> None:
    """Pause some, and let others go on that were paused in an earlier life: that changes no result."""
    for run in rng.sample(runs, min(len(runs), 15)):
        with contextlib.suppress(vbl.Conflict):
            if run.status == "paused":
                run.unpause()
            else:
                run.pause()


def check_results(runs: list[tuple[Run, Program]]) -> None:
    for run, program in runs:
        story = [fact.type for fact in run.facts()]
        assert run.status == "completed", (run, run.state().blocked, run.state().error, json.dumps(program), story)
        assert run.result() == expect(program), (run, json.dumps(program), story)


def run_under_kills(folder: Path, kills: int, programs_a_life: int) -> None:
    rng = new_random()
    db, log = folder / "vbl.db", folder / "deeds"
    with connect(db) as client:
        runs = start_some(client, rng, programs_a_life)
        for _ in range(kills):
            with life(db, TARGET, "--grace", "0.02", env=environment(log)) as worker:
                worker.holding()
                runs += start_some(client, rng, programs_a_life)
                moment = time.monotonic() + rng.uniform(0, 0.05)
                until(lambda: time.monotonic() > moment, "a moment of the work")  # noqa: B023
                disturb([run for run, _ in runs], rng)
                moment = time.monotonic() + rng.uniform(0, 0.1)
                until(lambda: time.monotonic() > moment, "a moment of the work")  # noqa: B023
                if rng.random() < GRACEFUL:
                    assert worker.stop() == 0, worker.words
                else:
                    worker.kill()
        with life(db, TARGET, env=environment(log)) as worker:
            for run in client.runs(status="paused", limit=None):
                run.unpause()
            finish(client, worker)
            assert worker.stop() == 0, worker.words
        check_results(runs)
        again = check_deeds(client, log)
        check_file(client)
        total = sum((kinds(program) for _, program in runs), Counter[str]())
        print(f"{len(runs)} programs, {kills} kills, {again} attempts beyond the first; {dict(total)}")


@pytest.mark.slow
def test_random_programs_end_as_known(tmp_path: Path) -> None:
    run_under_kills(tmp_path, kills=2, programs_a_life=15)


@pytest.mark.slow
def test_many_random_programs_end_as_known(tmp_path: Path) -> None:
    run_under_kills(tmp_path, kills=12, programs_a_life=25)


def test_growing_makes_every_kind_of_statement() -> None:
    """Else the tests above would try less than they say."""
    rng = random.Random(1)
    grown = [whole(rng) for _ in range(300)]
    total = sum(map(kinds, grown), Counter[str]())
    wanted = {"step", "thread", "stubborn", "add", "sleep", "short_timer", "long_timer", "duel", "fail"}
    assert wanted | {"line", "attempt", "map", "gather", "group", "both"} <= total.keys()
    failed = sum(expect(program)[0] == "failed" for program in grown)
    assert 10 < failed < 60, "some programs fail, most reach their end"
