"""Parents, children and grandchildren that ask, listen and work, while people decide, signal and cancel at random and
supervisors die: all come to an end, and whoever is related knows the same of each other at every moment."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.crash import asking
from tests.crash.crowd import Person, crowd
from tests.crash.lives import check_deeds, check_file, connect, environment, life, new_random, until
from tests.engine.outside import assert_kin_agree
from vbl.client import Client

TARGET = Path(asking.__file__)
OVER = "select count(*) from vbl_runs where status not in ('completed', 'failed', 'cancelled')"


def over(client: Client) -> bool:
    return client.sql(OVER)[1] == [(0,)]


def live(folder: Path, families: int, people: int, kills: int, cancels: int) -> None:
    rng = new_random()
    db, log = folder / "vbl.db", folder / "deeds"
    env = environment(log)
    with connect(db) as client:
        heads = [client.start("member", name=str(n), depth=2) for n in range(families)]
        with life(db, TARGET, env=env) as worker:
            until(lambda: len(client.gates(limit=None)) == 7 * families, "everybody to ask")
            assert worker.stop() == 0, worker.words
        words = [("meddle", db, f"person-{n}", rng.randrange(10**6), cancels) for n in range(people)]
        with crowd(words) as meddlers:
            for _ in range(kills):
                with life(db, TARGET, "--grace", "0.02", env=env) as worker:
                    worker.holding()
                    some_more(client, rng.randrange(20, 150), meddlers)
                    worker.kill()
                assert_kin_agree(client)
            with life(db, TARGET, env=env) as worker:
                worker.holding()
                until(lambda: over(client), f"every run to end: {client.runs(status=asking.OPEN)}", 90)
                done = sum((Counter(one.told()) for one in meddlers), Counter[str]())
                assert worker.stop() == 0, worker.words
        ends = Counter(run.status.value for run in client.runs(limit=None))
        print(f"{dict(done)}; {dict(ends)}")
        assert ends.keys() <= {"completed", "cancelled"}
        assert all(done[verb] for verb in ("approve", "deny", "signal")), "people had nothing to do"
        for head in heads:
            assert head.status == "cancelled" or head.result(timeout=0)[0] == head.state().input["name"]
        assert_kin_agree(client)
        check_deeds(client, log)
        check_file(client)


def some_more(client: Client, number: int, meddlers: list[Person]) -> None:
    """Wait for some more events, or for the end of it all."""
    wanted = client.cursor() + number
    until(lambda: client.cursor() > wanted or all(one.process.poll() is not None for one in meddlers), "some events")


@pytest.mark.slow
def test_families_among_people_come_to_their_ends(tmp_path: Path) -> None:
    live(tmp_path, families=12, people=4, kills=0, cancels=12)


@pytest.mark.slow
def test_families_among_people_outlive_their_supervisors(tmp_path: Path) -> None:
    live(tmp_path, families=12, people=3, kills=8, cancels=8)
