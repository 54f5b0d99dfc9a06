"""Runs that wait are rows, not memory: thousands of them park, survive the supervisor's death, and wake in time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.crash import parkable
from tests.crash.lives import check_deeds, check_file, connect, deeds, environment, finish, life, until
from vbl.client import Client

TARGET = Path(parkable.__file__)
MANY = 2_000


def statuses(client: Client) -> dict[str, int]:
    return dict(client.sql("select status, count(*) from vbl_runs group by status")[1])


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.slow
def test_two_thousand_parked_runs_survive_a_kill_and_wake(tmp_path: Path) -> None:
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    env = environment(log)
    with connect(db) as client:
        runs = client.start_many("nap", [{"number": n, "seconds": 12.0 + n % 100 / 100} for n in range(MANY)])
        with life(db, TARGET, env=env) as worker:
            until(lambda: statuses(client) == {"waiting": MANY}, "all runs to wait")
            worker.kill()
        with life(db, TARGET, env=env) as worker:
            finish(client, worker)
            assert worker.stop() == 0, worker.words
        assert statuses(client) == {"completed": MANY}
        for run in runs[:: MANY // 50]:
            facts = run.facts()
            asked = next(fact for fact in facts if fact.type == "TIMER_SET")
            fired = next(fact for fact in facts if fact.type == "TIMER_FIRED")
            assert fired.at >= asked.payload["at"], "a timer fired before its time"
        assert Counter(deed.run for deed in deeds(log)) == Counter(run.id for run in runs), "each woke once"
        assert check_deeds(client, log) == 0
        check_file(client)


@pytest.mark.slow
def test_backing_off_survives_a_kill(tmp_path: Path) -> None:
    """The attempt counter and the time of the next attempt are in the history: no attempt is lost, none is early."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client:
        runs = client.start_many("back_off", [{"number": n} for n in range(200)])
        with life(db, TARGET, env=environment(log)) as worker:
            until(lambda: statuses(client) == {"retrying": 200}, "all runs to back off")
            worker.kill()
        with life(db, TARGET, env=environment(log)) as worker:
            finish(client, worker)
            assert worker.stop() == 0, worker.words
        for run in runs:
            facts = run.facts()
            scheduled = next(fact for fact in facts if fact.type == "RETRY_SCHEDULED")
            starts = [fact for fact in facts if fact.type == "STEP_STARTED"]
            assert [fact.payload["attempt"] for fact in starts] == [1, 2]
            assert starts[1].at >= scheduled.payload["at"]
            assert not any(fact.type == "STEP_INTERRUPTED" for fact in facts)
        check_deeds(client, log)
        check_file(client)


@pytest.mark.slow
def test_parked_runs_need_no_memory(tmp_path: Path) -> None:
    """Five times as many runs that wait for an hour: once parked, the supervisor is no larger."""
    sizes: list[float] = []
    for number in (MANY // 2, MANY * 5 // 2):
        db = tmp_path / f"{number}.db"
        with connect(db) as client:
            client.start_many("nap", [{"number": n, "seconds": 3600.0} for n in range(number)])
            with life(db, TARGET, env=environment(tmp_path / "deeds")) as worker:
                until(lambda: statuses(client) == {"waiting": number}, "all runs to wait")  # noqa: B023
                worker.kill()
            with life(db, TARGET, env=environment(tmp_path / "deeds")) as worker:
                worker.holding()
                run = client.start("nap", number=1, seconds=0.01)
                assert run.wait(timeout=20) == "completed"
                sizes.append(resident_mib(worker.pid))
                worker.kill()
    print(f"resident with {MANY // 2} and {MANY * 5 // 2} parked runs: {sizes[0]:.1f} and {sizes[1]:.1f} MiB")
    assert sizes[1] < sizes[0] + 2.0
