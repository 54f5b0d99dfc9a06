"""Large results survive kills whole, or are refused by the documented limit; never half."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from tests.crash import parkable
from tests.crash.lives import check_deeds, check_file, connect, environment, finish, life, new_random, until
from vbl.store.payloads import MAX_BYTES

TARGET = Path(parkable.__file__)


def digest(mib: float, seed: int) -> str:
    return hashlib.sha256(parkable.text(mib, seed).encode()).hexdigest()


@pytest.mark.slow
def test_large_results_survive_kills(tmp_path: Path) -> None:
    """Killed while megabytes are on their way to the file."""
    rng = new_random()
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    sizes = [1, 3, 1.5, 8, 1, 20, 2, 5]
    with connect(db) as client:
        runs = [client.start("carry", mib=mib, seed=n) for n, mib in enumerate(sizes)]
        for _ in range(4):
            with life(db, TARGET, env=environment(log)) as worker:
                worker.holding()
                moment = time.monotonic() + rng.uniform(0, 1.2)
                until(lambda: time.monotonic() > moment, "a moment while megabytes are written")  # noqa: B023
                worker.kill()
        with life(db, TARGET, env=environment(log)) as worker:
            finish(client, worker)
            assert worker.stop() == 0, worker.words
        assert [run.result() for run in runs] == [digest(mib, n) for n, mib in enumerate(sizes)]
        print(f"{check_deeds(client, log)} attempts beyond the first")
        check_file(client)


@pytest.mark.slow
def test_up_to_the_limit_a_result_works_and_beyond_it_is_refused(tmp_path: Path) -> None:
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    limit = MAX_BYTES / 2**20
    with connect(db) as client, life(db, TARGET, env=environment(log)) as worker:
        just = client.start("carry", mib=limit - 2**-18, seed=1)
        over = client.start("too_much", mib=limit)
        far_over = client.start("too_much", mib=limit * 1.5)
        small = client.start("carry", mib=0.001, seed=2)
        assert just.result(timeout=120) == digest(limit - 2**-18, 1)
        for run in (over, far_over):
            message = run.result(timeout=120)
            assert f"limit of {limit:g} MiB" in message
            assert "produce" in message
        assert small.result(timeout=120) == digest(0.001, 2)
        assert worker.stop() == 0, worker.words
        check_deeds(client, log)
        check_file(client)
