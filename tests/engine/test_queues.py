"""Runs of a queue begin in their turn, within its limits, whatever dies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import broken, slow, work
from tests.engine.world import WORLD
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.handle import Run
from vbl.testing import Trial

SECOND = 1_000_000


@vbl.workflow(queue="mail", concurrency=2)
async def send(n: int) -> int:
    return await slow(n, 10)


@vbl.workflow(key="customer")
async def serve(customer: str, n: int = 0) -> int:
    return await slow(n, 10)


@vbl.workflow(queue="desk", concurrency=1, key="customer", key_concurrency=1)
async def desk(customer: str, n: int = 0) -> int:
    return await slow(n, 10)


@vbl.workflow(rate="2/min")
async def paced(n: int) -> int:
    return await work(n)


@vbl.workflow(key="customer", key_rate="1/min")
async def paced_each(customer: str) -> str:
    await work(1)
    return customer


def begun(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.state().started_at is not None]


def running(runs: list[Run]) -> int:
    return sum(run.status == "running" for run in runs)


def start_order(runs: list[Run]) -> list[int]:
    """The runs by number, in the order in which they began."""
    first = {n: run.state().started_at or 0 for n, run in enumerate(runs)}
    return sorted(first, key=lambda n: (first[n], n))


def test_no_more_runs_than_the_queue_allows_are_under_way(trial: Trial) -> None:
    runs = trial.start_many(send, range(5))
    trial.settle()
    for expected in (2, 2, 1):
        assert running(runs) == expected
        trial.advance(10)
    assert [run.result() for run in runs] == [0, 1, 2, 3, 4]
    assert start_order(runs) == [0, 1, 2, 3, 4]
    assert_sound(trial)


def test_one_run_at_a_time_for_each_value_of_a_key(trial: Trial) -> None:
    ada = [trial.start(serve, "ada", n) for n in range(3)]
    bob = [trial.start(serve, "bob", n) for n in range(2)]
    trial.settle()
    assert (running(ada), running(bob)) == (1, 1)
    assert ada[0].state().lane == '"ada"'
    trial.advance(10)
    assert (running(ada), running(bob)) == (1, 1)
    trial.advance(10)
    assert (running(ada), running(bob)) == (1, 0)
    assert_sound(trial)


def test_lanes_take_turns_although_one_came_first_with_all_of_its_runs(trial: Trial) -> None:
    trial.down()
    runs = [trial.start(desk, "ada", n) for n in range(4)]
    WORLD.clock.advance(1)
    runs += [trial.start(desk, "bob", n) for n in range(2)]
    WORLD.clock.advance(1)
    trial.up()
    trial.advance(100)
    assert start_order(runs) == [0, 4, 1, 5, 2, 3]


def test_a_busy_lane_holds_up_no_other(trial: Trial) -> None:
    trial.start_many(serve, [{"customer": "ada", "n": n} for n in range(500)])
    bob = trial.start(serve, "bob")
    trial.settle()
    assert bob.status == "running"


def test_the_highest_priority_begins_first(trial: Trial) -> None:
    trial.down()
    runs = [trial.start(desk, "ada", priority=n) for n in (0, 5, -1, 9)]
    trial.up()
    trial.advance(100)
    assert start_order(runs) == [3, 1, 0, 2]


def test_a_rate_holds_in_every_window_and_opens_at_the_exact_instant(trial: Trial) -> None:
    begin = WORLD.clock.now()
    runs = trial.start_many(paced, range(5))
    trial.settle()
    trial.advance(59.999)
    assert len(begun(runs)) == 2
    trial.advance(0.001)
    assert len(begun(runs)) == 4
    assert runs[4].result() == 4
    assert [run.state().started_at - begin for run in runs] == [0, 0, 60 * SECOND, 60 * SECOND, 120 * SECOND]  # type: ignore[operator]
    assert_sound(trial)


def test_a_rate_of_a_key_holds_for_each_of_its_values(trial: Trial) -> None:
    runs = [trial.start(paced_each, who) for who in ("ada", "ada", "bob")]
    trial.settle()
    assert [run.status for run in runs] == ["completed", "queued", "completed"]
    assert runs[1].result() == "ada"
    assert WORLD.clock.now() - (runs[0].state().started_at or 0) == 60 * SECOND


def test_a_rate_counts_what_began_before_a_crash(trial: Trial) -> None:
    runs = trial.start_many(paced, range(3))
    trial.settle()
    trial.kill()
    trial.up()
    trial.settle()
    assert len(begun(runs)) == 2
    assert runs[2].result() == 2


@pytest.mark.parametrize("moment", ["die_before", "die_after"])
def test_the_limit_holds_at_whichever_commit_the_supervisor_dies(trial: Trial, moment: str) -> None:
    trial.down()
    runs = trial.start_many(send, range(4))
    number = 1
    while any(not run.status.finished for run in runs):
        trial.up(**{moment: number})
        for _ in range(20):
            trial.settle()
            assert running(runs) <= 2
            if trial.died or all(run.status.finished for run in runs):
                break
            trial.advance(10)
        trial.kill()
        number += 1
    assert number > 2
    assert [run.result() for run in runs] == [0, 1, 2, 3]
    assert_sound(trial)


def test_a_run_that_a_client_cancels_gives_its_place_back_at_once(trial: Trial) -> None:
    runs = trial.start_many(send, range(3))
    trial.settle()
    now = WORLD.clock.now()
    runs[0].cancel()
    trial.settle()
    assert [run.status for run in runs] == ["cancelled", "running", "running"]
    assert WORLD.clock.now() == now


def test_a_run_that_waits_can_be_cancelled_and_paused(trial: Trial) -> None:
    runs = trial.start_many(send, range(5))
    trial.settle()
    runs[2].cancel()
    runs[3].pause()
    assert runs[2].status == "cancelled"
    trial.advance(10)
    assert runs[3].status == "paused"
    assert runs[4].status == "running"
    runs[3].unpause()
    assert runs[3].result() == 3


def test_a_run_created_by_name_finds_its_queue_at_the_first_look(trial: Trial) -> None:
    runs = [trial.start("serve", customer="ada", n=n) for n in range(2)]
    trial.settle()
    assert [fact.type for fact in runs[1].facts()] == ["RUN_CREATED", "RUN_QUEUED"]
    assert (runs[1].state().queue, runs[1].state().lane) == ("serve", '"ada"')
    assert running(runs) == 1
    assert [run.result() for run in runs] == [0, 1]
    assert_sound(trial)


def test_a_deadline_passes_while_a_run_waits(trial: Trial) -> None:
    first = trial.start(serve, "ada")
    late = trial.start(serve, "ada", deadline=5)
    trial.advance(5)
    assert (first.status, late.status) == ("running", "cancelled")
    assert late.state().started_at is None
    assert_sound(trial)


@vbl.workflow(queue="fragile", concurrency=1)
async def fragile(n: int) -> int:
    await slow(n, 10)
    return await broken(n) if n == 0 else n


def test_a_retried_run_waits_for_a_place_again(trial: Trial) -> None:
    runs = trial.start_many(fragile, range(2))
    trial.advance(10)
    assert [run.status for run in runs] == ["failed", "running"]
    runs[0].retry()
    trial.settle()
    assert runs[0].status == "queued"
    assert runs[0].why().waits_for == "queue"
    trial.advance(10)
    assert [run.status for run in runs] == ["failed", "completed"]
    assert_sound(trial)


def redefined(name: str, **options: object) -> Workflow[..., int]:
    """The same workflow as the code has it after a change."""

    async def body(n: int) -> int:
        return await slow(n, 10)

    REGISTRY.pop(name, None)
    return vbl.workflow(name=name, **options)(body)  # type: ignore[call-overload,no-any-return]


def test_the_limits_are_those_of_the_code_that_is_there_now(trial: Trial) -> None:
    runs = trial.start_many(redefined("sized", concurrency=1), range(6))
    trial.settle()
    assert running(runs) == 1
    redefined("sized", concurrency=3)
    trial.advance(1)
    trial.nudge()
    trial.until(lambda: running(runs) == 3)
    redefined("sized")
    trial.nudge()
    trial.until(lambda: running(runs) == 6)
    assert [run.result() for run in runs] == list(range(6))
    assert_sound(trial)


def test_a_run_moves_to_the_queue_that_its_workflow_has_now(trial: Trial) -> None:
    trial.down()
    runs = trial.start_many(redefined("moved", queue="old", concurrency=1), range(3))
    redefined("moved", queue="new", concurrency=2)
    trial.up()
    trial.settle()
    assert {run.state().queue for run in runs} == {"new"}
    assert running(runs) == 2
    assert [run.result() for run in runs] == [0, 1, 2]
    assert_sound(trial)


def test_a_workflow_that_is_not_loaded_holds_up_no_other_of_its_queue(trial: Trial) -> None:
    trial.down()
    redefined("absent", queue="shared", concurrency=1)
    trial.start_many(REGISTRY["absent"], range(3))
    run = trial.start(redefined("present", queue="shared", concurrency=1), 7)
    del REGISTRY["absent"]
    trial.up()
    assert run.result() == 7


def test_the_table_of_lanes_is_derived_and_can_be_made_anew(trial: Trial) -> None:
    for n in range(6):
        trial.start(desk, f"c{n % 3}", n, priority=n % 2)
        trial.start(serve, "ada", n)
    trial.settle()
    lanes = trial._store.select("select * from lanes")[1]
    assert len(lanes) == 4
    assert trial.doctor() == [one for one in trial.doctor() if one.severity != "error"]
    trial._store.execute("update lanes set head = 99, held = 7 where queue = 'desk'")
    assert [one.code for one in trial.doctor() if one.severity == "error"] == ["lanes"]
    trial.doctor(rebuild=True)
    assert trial._store.select("select * from lanes")[1] == lanes


@vbl.workflow
async def parent(n: int) -> list[int]:
    children = [vbl.start(send, i) for i in range(n)]
    return [await child for child in children]


def test_children_go_through_queues_like_any_run(trial: Trial) -> None:
    run = trial.start(parent, 3)
    trial.settle()
    assert running(run.children()) == 2
    assert run.result() == [0, 1, 2]
    assert_sound(trial)


def instructions_of_admissions(path: Path, waiting: int, lanes: int) -> int:
    """What SQLite does, in instructions of its machine, while 30 runs begin and end beside those that wait."""
    done = 0

    def count() -> bool:
        nonlocal done
        done += 1
        return False

    with Trial(path, clock=WORLD.clock) as trial:
        trial.down()
        trial.start_many(desk, [{"customer": f"c{n % lanes}", "n": n} for n in range(waiting)])
        trial.start_many(send, range(waiting))
        trial.up()
        trial.settle()
        supervisor = trial._supervisor
        assert supervisor is not None
        supervisor.ask(lambda: supervisor.store._db.set_progress_handler(count, 1))  # type: ignore[attr-defined]
        trial.advance(100)
        assert sum(run.status == "completed" for run in trial.runs(limit=None)) == 30
    return done


@pytest.mark.slow
def test_admission_is_as_cheap_where_20_000_runs_wait(tmp_path: Path) -> None:
    short = instructions_of_admissions(tmp_path / "short.db", 200, 100)
    assert short > 1_000, "nothing was counted"
    assert instructions_of_admissions(tmp_path / "lanes.db", 20_000, 20_000) < 1.2 * short
    assert instructions_of_admissions(tmp_path / "lane.db", 20_000, 3) < 1.2 * short


# Parents and children in one queue ---------------------------------------------------------------------------------


@vbl.workflow(queue="family", concurrency=2)
async def inner(n: int) -> int:
    return await work(n)


@vbl.workflow(queue="family", concurrency=2)
async def outer(n: int, stop: bool = False) -> int:
    child = asyncio.ensure_future(inner(n))
    if stop:
        ears = asyncio.ensure_future(vbl.wait("stop"))
        await asyncio.wait([child, ears], return_when=asyncio.FIRST_COMPLETED)
        if ears.done():
            child.cancel()
            return -1
    return await child


@vbl.workflow(queue="line", key="n", concurrency=9)
async def inner_line(n: int) -> int:
    return await work(n)


@vbl.workflow(queue="line", key="n", concurrency=9)
async def outer_line(n: int) -> int:
    return await inner_line(n)


@pytest.mark.parametrize("restart", [False, True])
def test_a_run_is_blocked_whose_child_waits_for_a_place_that_only_such_runs_hold(trial: Trial, restart: bool) -> None:
    first, second = trial.start_many(outer, [1, 2])
    trial.settle()
    if restart:
        second.retry()
        trial.kill()
        trial.up()
        trial.settle()
    assert (first.status, second.status) == ("waiting", "blocked")
    child = second.children()[0]
    why = second.why()
    assert why.waits_for == "queue"
    assert "deadlock" in why.detail
    assert child.id in why.detail
    assert f"vbl cancel {second.id}" in why.hint
    assert f"{second.id} (blocked)" in child.why().detail
    assert f"vbl why {second.id}" in child.why().hint
    with pytest.raises(vbl.RunBlocked, match="family"):
        second.result()
    second.cancel()
    assert first.result() == 1
    assert_sound(trial)


def test_a_run_that_was_blocked_by_its_queue_goes_on_with_more_places(trial: Trial) -> None:
    run = trial.start(outer_line, 1)
    trial.settle()
    assert run.status == "blocked"
    assert "lane 1" in run.why().detail
    trial.down()
    before = REGISTRY["inner_line"]
    try:
        redefined("inner_line", queue="apart")
        trial.up()
        trial.settle()
        run.retry()
        assert run.result() == 1
    finally:
        REGISTRY["inner_line"] = before


def test_runs_that_something_else_can_move_are_not_blocked_by_their_queue(trial: Trial) -> None:
    hears, waits = trial.start_many(outer, [(1, True), 2])
    trial.settle()
    assert (hears.status, waits.status) == ("waiting", "waiting")
    trial.signal(hears.id, "stop")
    assert hears.result() == -1
    assert waits.result() == 2
    trial.down()
    late, waits = trial.start(outer, 1, deadline=60), trial.start(outer, 2)
    trial.up()
    assert waits.result() == 2
    assert late.status == "cancelled"
    assert_sound(trial)


def test_a_tree_that_is_deeper_than_its_queue_blocks_where_it_ends(trial: Trial) -> None:
    @vbl.workflow(queue="deep", concurrency=2)
    async def deep(n: int) -> int:
        return 0 if n == 0 else await deep(n - 1)

    top = trial.start(deep, 3)
    trial.settle()
    (below,) = top.children()
    assert (top.status, below.status, below.children()[0].status) == ("waiting", "blocked", "queued")
    below.cancel()
    assert top.wait() == "failed"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": "fast"}, "rate='fast'"),
        ({"rate": "0/min"}, "rate='0/min'"),
        ({"rate": 60}, "rate=60"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"concurrency": True}, "concurrency=True"),
        ({"concurrency": "2"}, "concurrency='2'"),
        ({"key": "colour"}, "none of its parameters"),
        ({"key_concurrency": 2}, "needs a key"),
        ({"key": "n", "key_concurrency": 1_001}, "1 to 1,000"),
        ({"queue": ""}, "cannot be used"),
        ({"queue": 5}, "cannot be used"),
        ({"queue": "\ud800"}, "cannot be used"),
        ({"queue": "mail", "concurrency": 3}, "workflow send says concurrency=2"),
    ],
)
def test_limits_that_make_no_sense_are_refused_at_the_definition(options: dict[str, object], said: str) -> None:
    with pytest.raises(vbl.UsageError) as refused:
        redefined("bad", **options)
    assert said in str(refused.value)
    assert refused.value.hint
    assert "bad" not in REGISTRY
