"""`vbl queues` and `vbl why` say who holds the places, who waits, and until when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.cli.conftest import Ended
from vbl.engine.definitions import REGISTRY
from vbl.testing import Trial

Vbl = Callable[..., Ended]


@vbl.step
async def wait_long(n: int) -> int:
    await vbl_clock.sleep(1_000)
    return n


vbl_clock: Any = None


@vbl.workflow(queue="post", concurrency=2)
async def post(n: int) -> int:
    return await wait_long(n)


@vbl.workflow(key="who", key_rate="1/h")
async def each(who: str) -> str:
    return who


@vbl.workflow(key="who")
async def desk(who: str) -> None:
    await vbl.wait("go")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    global vbl_clock
    before = dict(REGISTRY)
    REGISTRY.clear()
    REGISTRY.update({"post": post, "each": each, "desk": desk})
    with Trial(tmp_path / "q.db") as made:
        vbl_clock = made.clock
        yield made
        made.down(grace_s=0)  # what sleeps on its clock does not end by itself
    REGISTRY.clear()
    REGISTRY.update(before)


def documents(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.out.splitlines()]


def test_a_queue_is_shown_with_its_limits_and_its_runs(trial: Trial, vbl_here: Vbl) -> None:
    trial.start_many(post, range(5))
    trial.settle()
    found = {one["name"]: one for one in documents(vbl_here("queues", "--json", db=trial.path))}
    mine = found["post"]
    assert (mine["concurrency"], mine["running"], mine["waiting"], mine["workflows"]) == (2, 2, 3, ["post"])
    assert (found["each"]["key_rate"], found["each"]["waiting"]) == ("1/h", 0)
    shown = vbl_here("queues", db=trial.path).out
    assert "2 at once" in shown
    assert "when a place is free" in shown


def test_the_lanes_of_a_queue_are_shown_by_their_keys(trial: Trial, vbl_here: Vbl) -> None:
    for who in ("ada", "ada", "bob"):
        trial.start(each, who)
    trial.settle()
    assert [
        (one["key"], one["running"], one["waiting"])
        for one in documents(vbl_here("queues", "each", "--json", db=trial.path))
    ] == [("ada", 0, 1)]
    assert '"ada"' in vbl_here("queues", "each", db=trial.path).out


def test_nothing_is_next_in_a_lane_that_is_full(trial: Trial, vbl_here: Vbl) -> None:
    trial.start_many(desk, ["ada", "ada", "bob"])
    trial.settle()
    (queue,) = (one for one in trial.queues() if one.name == "desk")
    assert (queue.running, queue.waiting, queue.full) == (2, 1, True)
    ada, bob = trial.lanes("desk")
    assert (ada.full, bob.waiting) == (True, 0)
    for asked in (["queues"], ["queues", "desk"]):
        assert vbl_here(*asked, db=trial.path).out.count("when a place is free") == 1


def test_an_unknown_queue_is_not_found(trial: Trial, vbl_here: Vbl) -> None:
    ended = vbl_here("queues", "nowhere", db=trial.path, code=3)
    assert "there is no queue 'nowhere'" in ended.err
    assert "desk, each, post" in ended.err


def test_why_names_who_holds_the_places_and_how_many_are_before(trial: Trial, vbl_here: Vbl) -> None:
    runs = trial.start_many(post, range(4))
    trial.settle()
    answer = runs[3].why()
    assert answer.waits_for == "queue"
    assert "queue post: 2 of 2 taken by" in answer.detail
    assert runs[0].id in answer.detail
    assert runs[1].id in answer.detail
    assert answer.hint == "vbl queues post"


def test_why_says_when_a_rate_lets_a_run_begin(trial: Trial) -> None:
    runs = [trial.start(each, "ada") for _ in range(2)]
    trial.settle()
    answer = runs[1].why()
    assert 'queue each, lane "ada": rate 1/h; next place in 1 h' in answer.detail
    assert answer.until == (runs[0].state().started_at or 0) + 3_600_000_000


def test_a_file_without_queues_says_how_there_are_some(tmp_path: Path, vbl_here: Vbl) -> None:
    with vbl.connect(tmp_path / "none.db", create=True):
        pass
    ended = vbl_here("queues", "mail", db=tmp_path / "none.db", code=3)
    assert "@vbl.workflow(queue=" in ended.err
