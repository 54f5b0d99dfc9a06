"""Many processes signal one run: each signal is seen once, those of one sender in the order in which they were sent."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.crash import asking
from tests.crash.crowd import Person, crowd
from tests.crash.lives import check_deeds, check_file, connect, environment, life, new_random, until

TARGET = Path(asking.__file__)


def check_seen(seen: list[Any], senders: int, each: int) -> None:
    """Every signal once, each sender's in order."""
    assert len(seen) == senders * each
    for name in {name for name, _ in seen}:
        assert [n for who, n in seen if who == name] == list(range(each)), name
    assert len({name for name, _ in seen}) == senders


def signal_one(folder: Path, senders: int, each: int, workflow: str = "listener") -> float:
    """How long it took from the first signal to the end of the run, in seconds."""
    db, log = folder / "vbl.db", folder / "deeds"
    env = environment(log)
    with connect(db) as client, life(db, TARGET, env=env) as worker:
        worker.holding()
        run = client.start(workflow, total=senders * each)
        until(lambda: run.status == "waiting", "the run to listen")
        with crowd([("send", db, run.id, f"sender-{n}", each, "plain") for n in range(senders)]) as people:
            begun = time.monotonic()
            assert [person.told(240) for person in people] == [each] * senders
            seen = run.result(timeout=240)
            took = time.monotonic() - begun
        assert worker.stop() == 0, worker.words
        check_seen(seen, senders, each)
        check_deeds(client, log)
        check_file(client)
    print(f"{senders} x {each} signals in {took:.1f} s")
    return took


@pytest.mark.slow
def test_each_signal_is_seen_once(tmp_path: Path) -> None:
    signal_one(tmp_path, senders=20, each=50)


@pytest.mark.slow
def test_each_of_many_signals_is_seen_once(tmp_path: Path) -> None:
    signal_one(tmp_path, senders=20, each=int(os.environ.get("VBL_TEST_SIGNALS", "250")))


@pytest.mark.slow
def test_each_signal_is_seen_once_between_steps(tmp_path: Path) -> None:
    signal_one(tmp_path, senders=5, each=100, workflow="careful_listener")


@pytest.mark.slow
def test_senders_that_are_killed_send_again_by_key(tmp_path: Path) -> None:
    """Nobody knows how far they came: they begin anew, with the same keys, and nothing is seen twice. The supervisor
    is killed too."""
    rng = new_random()
    senders, each = 4, 100
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    env = environment(log)
    with connect(db) as client:
        run = client.start("careful_listener", total=senders * each)
        words = [("send", db, run.id, f"sender-{n}", each, "keyed") for n in range(senders)]
        for _ in range(3):
            with life(db, TARGET, env=env) as worker:
                worker.holding()
                with crowd(words) as people:
                    wanted = client.cursor() + rng.randrange(20, 200)
                    until(lambda: client.cursor() > wanted or all_ended(people), "some signals")  # noqa: B023
                    for person in people:
                        person.kill()
                worker.kill()
        with life(db, TARGET, env=env) as worker:
            worker.holding()
            with crowd(words) as people:
                assert [person.told() for person in people] == [each] * senders
            seen = run.result(timeout=60)
            assert worker.stop() == 0, worker.words
        check_seen(seen, senders, each)
        check_deeds(client, log)
        check_file(client)


def all_ended(people: list[Person]) -> bool:
    return all(person.process.poll() is not None for person in people)
