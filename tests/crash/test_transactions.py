"""Transactions under kills: the user's tables and the history never disagree, whenever the process dies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import vbl
from tests.crash import transfers
from tests.crash.lives import check_file, environment, new_random

KILLS = 200
RUNS, EACH = 24, 60


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_transfer_happens_once_under_two_hundred_kills(tmp_path: Path) -> None:
    db, seed = tmp_path / "vbl.db", new_random().randrange(10**6)
    with vbl.connect(db) as client:
        runs = [client.start(transfers.transfers, f"run {n}", EACH) for n in range(RUNS)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.crash.transfers", str(db), str(seed), str(KILLS)],
            cwd=Path(__file__).parents[2],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=450,
            check=True,
        )
        lives = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(lives) == KILLS
        assert {life["sum"] for life in lives} == {transfers.TOTAL}, "money was made or lost"
        assert not any(life["twice"] for life in lives)
        interrupted = sum(fact.type == "STEP_INTERRUPTED" for run in runs for fact in run.facts())
        assert interrupted > 20, "hardly a kill met a transfer: this would prove nothing"
        assert lives[-1]["ledger"] > lives[0]["ledger"], "no progress under kills"
    with vbl.open(db) as runtime:
        for run in map(runtime.run, [run.id for run in runs]):
            if run.wait("completed", "blocked", timeout=120) == "blocked":
                # it was met alone by two kills in lives that had gone on for long: a person says that it is sound
                assert (run.state().blocked or {})["reason"] == "poisoned"
                run.retry()
            assert run.result(timeout=120) == EACH
        end = transfers.seen(runtime)
    assert end == {"sum": transfers.TOTAL, "ledger": RUNS * EACH, "twice": 0}
    with vbl.connect(db) as client:
        check_file(client)
