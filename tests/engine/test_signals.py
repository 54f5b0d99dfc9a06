"""Signals: kept until somebody waits, handed to one wait each in the order in which they came, and raced by asyncio."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import slow, work
from tests.engine.world import WORLD
from vbl.errors import Conflict, InvalidInput, KeyTaken
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.testing import Trial, replay

SECOND = 1_000_000


def of(run: Run, type: str) -> list[Fact]:
    return [fact for fact in run.facts() if fact.type == type]


def restarted(trial: Trial, seconds: float = 0.0) -> None:
    """Nobody is alive for so long."""
    trial.kill()
    trial.clock.advance(seconds)
    trial.up()
    trial.settle()


def begun(trial: Trial, code: Callable[..., Awaitable[Any]], *args: Any) -> Run:
    """Start it, and see it wait."""
    run = trial.start(vbl.workflow(name=code.__name__)(code), *args)
    trial.settle()
    assert not run.status.finished, run.state().error
    return run


async def one(timeout: float | None = None) -> Any:
    return await vbl.wait("news", timeout=timeout)


async def three() -> list[Any]:
    return [await vbl.wait("news") for _ in range(3)]


# Sending ----------------------------------------------------------------------------------------------------------


def test_a_signal_before_the_run_began_is_kept(trial: Trial) -> None:
    trial.kill()
    run = trial.start(vbl.workflow(name="one")(one))
    trial.signal(run.id, "news", {"first": True})
    assert run.status == "queued"
    trial.up()
    assert run.result() == {"first": True}
    assert replay(run) == {"first": True}


def test_signals_of_other_names_are_kept_for_others(trial: Trial) -> None:
    async def both() -> list[Any]:
        return [await vbl.wait("b"), await vbl.wait("a")]

    run = begun(trial, both)
    trial.signal(run.id, "c", 0)
    trial.signal(run.id, "a", 1)
    trial.signal(run.id, "b", 2)
    assert run.result() == [2, 1]
    assert replay(run) == [2, 1]


def test_data_may_be_anything_that_json_holds(trial: Trial) -> None:
    run = begun(trial, three)
    for data in (None, [1, {"$ref": "of one's own"}], "x" * 100_000):
        trial.signal(run.id, "news", data)
    assert run.result() == [None, [1, {"$ref": "of one's own"}], "x" * 100_000]
    assert replay(run) == run.result()
    assert_sound(trial)


def test_a_repeated_key_changes_nothing_and_with_other_data_is_refused(trial: Trial) -> None:
    run = begun(trial, three)
    trial.signal(run.id, "news", 1, key="a")
    trial.settle()
    before = run.facts()
    trial.signal(run.id, "news", 1, key="a")
    with pytest.raises(KeyTaken):
        trial.signal(run.id, "news", 2, key="a")
    assert run.facts() == before
    trial.signal(run.id, "olds", 2, key="a")
    trial.signal(run.id, "news", 2, key="b")
    trial.signal(run.id, "news", 2)
    assert run.result() == [1, 2, 2]
    ended = run.facts()
    trial.signal(run.id, "news", 1, key="a")
    assert run.facts() == ended, "a repeated one is harmless also when the run has ended"


@pytest.mark.parametrize(
    ("name", "key"), [("", None), (5, None), (None, None), ("a\0b", None), ("\ud800", None), ("go", ""), ("go", 5)]
)
def test_a_signal_whose_name_or_key_is_none_is_refused(trial: Trial, name: Any, key: Any) -> None:
    run = begun(trial, one)
    before = run.facts()
    with pytest.raises(vbl.UsageError, match="cannot be used"):
        trial.signal(run.id, name, 1, key=key)
    assert run.facts() == before


def test_a_finished_run_takes_no_signal(trial: Trial) -> None:
    run = begun(trial, one)
    trial.signal(run.id, "news", 1)
    assert run.result() == 1
    before = run.facts()
    with pytest.raises(Conflict) as refused:
        trial.signal(run.id, "news", 2)
    assert refused.value.code == "run_finished"
    assert run.facts() == before


def test_a_paused_run_hears_it_afterwards(trial: Trial) -> None:
    run = begun(trial, one)
    run.pause()
    trial.signal(run.id, "news", 1)
    trial.settle()
    assert run.status == "paused"
    run.unpause()
    assert run.result() == 1


def test_signals_while_a_step_runs_are_digested_without_disturbing_it(trial: Trial) -> None:
    async def busy() -> list[Any]:
        return [await slow(1, 60), await vbl.wait("news"), await vbl.wait("news")]

    run = begun(trial, busy)
    trial.advance(10)
    trial.signal(run.id, "news", "a")
    trial.advance(10)
    trial.signal(run.id, "news", "b")
    assert run.result() == [1, "a", "b"]
    assert WORLD.runs_of(run.id) == {"slow": 1}
    assert not of(run, "STEP_INTERRUPTED")
    assert not of(run, "RUN_RESUMED")
    assert_sound(trial)


# Waiting ----------------------------------------------------------------------------------------------------------


def test_many_signals_are_heard_in_order(trial: Trial) -> None:
    async def many(number: int) -> list[int]:
        return [await vbl.wait("news", int) for _ in range(number)]

    run = begun(trial, many, 200)
    for n in range(100):
        trial.signal(run.id, "news", n)
    restarted(trial)
    for n in range(100, 200):
        trial.signal(run.id, "news", n)
    assert run.result() == list(range(200))
    assert replay(run) == list(range(200))
    assert_sound(trial)


@pytest.mark.parametrize("restart", [False, True])
def test_the_wait_that_was_asked_for_first_is_served_first(trial: Trial, restart: bool) -> None:
    """Also where the calls were made in another order than they were awaited."""

    async def crossed() -> list[Any]:
        found: list[Any] = []

        async def listen(name: str, call: Any) -> None:
            found.append([name, await call])

        first, second = vbl.wait("news", timeout=100), vbl.wait("news", timeout=200)
        await asyncio.gather(listen("second", second), listen("first", first))
        return found

    run = begun(trial, crossed)
    trial.signal(run.id, "news", 1)
    trial.settle()
    if restart:
        restarted(trial)
    trial.signal(run.id, "news", 2)
    assert run.result() == [["second", 1], ["first", 2]]
    assert replay(run) == run.result()
    assert_sound(trial)


def test_crossed_waits_end_each_at_its_own_time(trial: Trial) -> None:
    async def crossed() -> list[Any]:
        async def listen(call: Any) -> Any:
            try:
                return await call
            except TimeoutError:
                return "too late"

        first, second = vbl.wait("news", timeout=100), vbl.wait("news", timeout=200)
        return list(await asyncio.gather(listen(second), listen(first)))

    run = begun(trial, crossed)
    trial.signal(run.id, "news", 1)
    trial.advance(150)
    assert run.result(timeout=0) == [1, "too late"]
    assert_sound(trial)


def test_a_wait_ends_at_its_time_and_says_how_late(trial: Trial) -> None:
    async def twice() -> list[Any]:
        found: list[Any] = []
        for _ in range(2):
            try:
                found.append(await vbl.wait("news", timeout=datetime.timedelta(minutes=1)))
            except TimeoutError:
                found.append(vbl.now().timestamp())
        return found

    run = begun(trial, twice)
    trial.advance(59.999)
    assert not of(run, "WAIT_EXPIRED")
    trial.advance(0.001)
    assert [fact.payload.get("late_us", 0) for fact in of(run, "WAIT_EXPIRED")] == [0]
    restarted(trial, 100)
    started = of(run, "RUN_STARTED")[0].at / SECOND
    assert run.result() == [started + 60, started + 160]
    assert [fact.payload.get("late_us", 0) for fact in of(run, "WAIT_EXPIRED")] == [0, 40 * SECOND]
    assert replay(run) == run.result()


def test_a_signal_that_came_before_anybody_noticed_the_end_counts(trial: Trial) -> None:
    run = begun(trial, one, 60)
    trial.kill()
    trial.clock.advance(100)
    trial.signal(run.id, "news", "late, but first")
    trial.up()
    assert run.result() == "late, but first"
    assert not of(run, "WAIT_EXPIRED")
    assert replay(run) == "late, but first"


def test_a_wait_without_time_is_over_at_once_where_nothing_is_kept(trial: Trial) -> None:
    async def poll() -> list[Any]:
        found: list[Any] = []
        for _ in range(3):
            try:
                found.append(await vbl.wait("news", timeout=0))
            except TimeoutError:
                found.append(None)
            await slow(1, 10)
        return found

    run = begun(trial, poll)
    trial.advance(5)
    trial.signal(run.id, "news", "kept")
    assert run.result() == [None, "kept", None]
    assert replay(run) == [None, "kept", None]


# Types ------------------------------------------------------------------------------------------------------------


class Payment(BaseModel):
    amount: int
    at: datetime.datetime | None = None

    @field_validator("amount")
    @classmethod
    def _positive(cls, amount: int) -> int:
        if amount < 0:
            raise ValueError("nobody pays less than nothing")
        return amount


async def paid() -> list[Any]:
    payment = await vbl.wait("payment", Payment)
    return [type(payment).__name__, payment.amount, payment.at is not None]


def test_data_that_does_not_fit_an_open_wait_is_refused(trial: Trial) -> None:
    run = begun(trial, paid)
    before = run.facts()
    for wrong in ("much", {"amount": "much"}, {}, None):
        with pytest.raises(InvalidInput):
            trial.signal(run.id, "payment", wrong)
    assert run.facts() == before
    trial.signal(run.id, "payment", {"amount": 3, "at": "2026-01-01T00:00:00Z"})
    assert run.result() == ["Payment", 3, True]
    assert replay(run) == ["Payment", 3, True]


def test_data_that_came_early_and_does_not_fit_is_told_to_the_code(trial: Trial) -> None:
    async def careful() -> list[Any]:
        await slow(1, 10)
        found: list[Any] = []
        for _ in range(2):
            try:
                found.append((await vbl.wait("payment", Payment)).amount)
            except vbl.InvalidInput as refused:
                found.append("payment" in str(refused))
        return found

    run = begun(trial, careful)
    trial.signal(run.id, "payment", {"amount": "much"})
    trial.signal(run.id, "payment", {"amount": 3})
    assert run.result() == [True, 3]
    assert replay(run) == [True, 3]


def test_what_only_the_type_refuses_is_told_to_the_code(trial: Trial) -> None:
    async def careful() -> str:
        try:
            await vbl.wait("payment", Payment)
        except vbl.InvalidInput as refused:
            return str(refused)
        return ""

    run = begun(trial, careful)
    trial.signal(run.id, "payment", {"amount": -3})
    assert "less than nothing" in run.result()


# Races ------------------------------------------------------------------------------------------------------------


async def race() -> str:
    """A signal, a gate, a timer and a step."""
    racers = {
        "signal": asyncio.ensure_future(vbl.wait("news")),
        "gate": asyncio.ensure_future(vbl.approve("ask")),
        "timer": asyncio.ensure_future(asyncio.sleep(100)),
        "step": asyncio.ensure_future(slow(1, 200)),
    }
    done, left = await asyncio.wait(racers.values(), return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    (winner,) = (name for name, task in racers.items() if task in done)
    await work(1)
    return winner


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("winner", ["signal", "gate", "timer", "step"])
def test_whoever_comes_first_wins_and_the_others_are_given_up(trial: Trial, winner: str, restart: bool) -> None:
    run = begun(trial, race)
    gate = next(iter(run.state().gates))
    trial.advance(10)
    if restart and winner != "step":
        trial.kill()
    match winner:
        case "signal":
            trial.signal(run.id, "news")
        case "gate":
            trial.approve(gate, by="ada")
        case "timer":
            trial.clock.advance(90)
        case _:
            run.pause()
            trial.advance(300)
            run.unpause()
    if not trial.alive:
        trial.up()
    # the timer was due while the run was paused too: it is found out after what the history says already
    assert run.result() == winner
    assert replay(run) == winner
    left = {"signal": "WAIT_CANCELLED", "gate": "APPROVAL_CLOSED", "timer": "TIMER_CANCELLED", "step": "STEP_CANCELLED"}
    for name, event in left.items():
        assert len(of(run, event)) == (name != winner), event
    with pytest.raises(Conflict):
        trial.approve(gate, by="bob")
    assert_sound(trial)


def test_a_signal_that_crossed_with_the_end_of_its_wait_is_kept(trial: Trial) -> None:
    """The signal stands in the history before anybody noticed that the step, which lost the race, had ended before."""

    async def crossing() -> list[Any]:
        call = asyncio.ensure_future(vbl.wait("news"))
        await slow(1, 10)
        call.cancel()
        first = "heard" if call.done() and not call.cancelled() else "left"
        return [first, await vbl.wait("news")]

    run = begun(trial, crossing)
    run.pause()
    trial.advance(20)
    trial.signal(run.id, "news", 1)
    trial.settle()
    types = [fact.type for fact in run.facts()]
    assert types.index("STEP_COMPLETED") < types.index("SIGNAL_RECEIVED")
    run.unpause()
    trial.settle()
    assert run.result() == ["left", 1]
    assert replay(run) == ["left", 1]
    assert_sound(trial)


def test_a_wait_that_is_cancelled_leaves_the_signal_to_the_next(trial: Trial) -> None:
    async def two() -> list[Any]:
        first = asyncio.ensure_future(vbl.wait("news", timeout=500))
        second = asyncio.ensure_future(vbl.wait("news", timeout=500))
        await asyncio.sleep(10)
        first.cancel()
        return [await second, first.cancelled()]

    run = begun(trial, two)
    trial.advance(10)
    trial.signal(run.id, "news", 1)
    assert run.result() == [1, True]
    assert run.state().open_waits == set()


def test_asyncio_itself_may_end_a_wait(trial: Trial) -> None:
    async def impatient() -> list[Any]:
        found: list[Any] = []
        try:
            await asyncio.wait_for(vbl.wait("news"), 30)
        except TimeoutError:
            found.append("first")
        try:
            async with asyncio.timeout(30):
                found.append(await vbl.wait("news"))
        except TimeoutError:
            found.append("second")
        return found

    run = begun(trial, impatient)
    trial.advance(40)
    trial.signal(run.id, "news", 1)
    assert run.result() == ["first", 1]
    assert replay(run) == ["first", 1]


# Sync workflows ---------------------------------------------------------------------------------------------------


def test_a_sync_workflow_blocks_until_it_comes(trial: Trial) -> None:
    @vbl.workflow(name="plain")
    def plain() -> list[Any]:
        found: list[Any] = [vbl.wait("news", int)]
        try:
            vbl.wait("news", timeout=30)
        except TimeoutError:
            found.append("too late")
        return [*found, vbl.wait("news", Payment).amount]

    run = trial.start(plain)
    trial.settle()
    trial.signal(run.id, "news", 1)
    trial.advance(30)
    trial.signal(run.id, "news", {"amount": 3})
    assert run.result() == [1, "too late", 3]
    assert replay(run) == [1, "too late", 3]


# A retry ----------------------------------------------------------------------------------------------------------


def test_what_a_failed_part_of_the_run_had_taken_is_there_again_for_the_retry(trial: Trial) -> None:
    @vbl.step
    async def once_broken() -> int:
        if WORLD.notes:
            return 1
        raise ValueError("no")

    async def fragile() -> list[Any]:
        first = await vbl.wait("news")
        try:
            found = await once_broken()
        except vbl.StepFailed:
            await vbl.wait("news")
            raise
        return [first, found, await vbl.wait("news")]

    run = begun(trial, fragile)
    trial.signal(run.id, "news", "a")
    trial.signal(run.id, "news", "b")
    assert run.wait() == "failed"
    WORLD.note("mended")
    run.retry()
    assert run.result() == ["a", 1, "b"]
    assert replay(run) == ["a", 1, "b"]
    assert_sound(trial)


# Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (("",), {}),
        ((7,), {}),
        (("news",), {"timeout": -1}),
        (("news",), {"timeout": "soon"}),
        (("news",), {"timeout": True}),
    ],
    ids=str,
)
def test_waits_that_make_no_sense_are_refused(trial: Trial, args: Any, options: Any) -> None:
    async def wrong() -> None:
        await vbl.wait(*args, **options)

    run = trial.start(vbl.workflow(name="wrong")(wrong))
    assert run.wait() == "failed"
    assert (run.state().error or {})["type"] == "UsageError"


def test_nobody_waits_outside_of_a_workflow(trial: Trial) -> None:
    with pytest.raises(vbl.NotInWorkflow):
        vbl.wait("news")

    @vbl.step
    async def listens() -> None:
        await vbl.wait("news")

    async def through_a_step() -> None:
        await listens()

    run = trial.start(vbl.workflow(name="through_a_step")(through_a_step))
    assert run.wait() == "failed"
    assert "NotInWorkflow" in (run.state().error or {})["message"]
