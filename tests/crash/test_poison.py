"""A step that kills its process every time: its run is blocked in the end, its neighbours complete, and a supervisor
that is restarted again and again survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import poisons
from tests.crash.lives import check_deeds, check_file, connect, environment, finish, life, over, until
from vbl.client import Client, Run
from vbl.history.steps import DEATHS_ALONE, QUARANTINE_AFTER

TARGET = Path(poisons.__file__)


def restart_until_it_lives(db: Path, log: Path, client: Client, most: int) -> int:
    """What an init system does; the number of lives that it took until all runs ended."""
    for number in range(1, most + 1):
        with life(db, TARGET, env=environment(log)) as worker:
            until(lambda: worker.process.poll() is not None or worker.named, "it to start, or to die")
            until(lambda: worker.process.poll() is not None or over(client), "all runs to end, or the supervisor")
            if worker.process.poll() is None:
                finish(client, worker)
                assert worker.stop() == 0, worker.words
                return number
    raise AssertionError(
        f"the supervisor did not survive in {most} lives: {[r for r in client.runs() if not r.status.finished]}"
    )


def check_poisoned(run: Run) -> None:
    assert run.status == "blocked", run
    facts = run.facts()
    starts = [fact.payload for fact in facts if fact.type == "STEP_STARTED"]
    assert [start.get("alone", False) for start in starts] == [False] * QUARANTINE_AFTER + [True] * DEATHS_ALONE
    blocked = facts[-1]
    assert blocked.type == "RUN_BLOCKED"
    assert blocked.payload["reason"] == "poisoned"
    assert "poison" in blocked.payload["message"]
    assert "vbl retry" in blocked.payload["unblock"]


@pytest.mark.slow
def test_a_poison_step_is_blocked_and_its_neighbours_complete(tmp_path: Path) -> None:
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client:
        bad = client.start("poisoned", how="kill")
        good = [client.start("healthy", length=3) for _ in range(5)] + [client.start("wide", width=6)]
        lives = restart_until_it_lives(db, log, client, most=8)
        check_poisoned(bad)
        assert lives == QUARANTINE_AFTER + DEATHS_ALONE + 1
        assert [run.result() for run in good] == [3] * 5 + [21]
        check_deeds(client, log)
        check_file(client)


@pytest.mark.slow
def test_several_poison_steps_take_nobody_with_them(tmp_path: Path) -> None:
    """Three ways to die, at once; every neighbour, started before or later, completes, and none is ever blocked."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client:
        bad = [client.start("poisoned", how=how) for how in ("kill", "exit", "abort", "kill")]
        good = [client.start("healthy", length=8) for _ in range(25)] + [
            client.start("wide", width=12) for _ in range(5)
        ]
        lives = restart_until_it_lives(db, log, client, most=30)
        print(f"{lives} lives")
        for run in bad:
            check_poisoned(run)
        assert [run.result() for run in good] == [8] * 25 + [sum(range(1, 13))] * 5
        check_deeds(client, log)
        check_file(client)


@pytest.mark.slow
def test_a_poisoned_run_is_tried_again_on_request(tmp_path: Path) -> None:
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client:
        bad = client.start("poisoned", how="exit")
        restart_until_it_lives(db, log, client, most=8)
        assert bad.status == "blocked"
        bad.retry()
        lives = restart_until_it_lives(db, log, client, most=8)
        assert lives == QUARANTINE_AFTER + DEATHS_ALONE + 1, "a retry starts to count from the beginning"
        assert bad.status == "blocked"
        check_file(client)
