"""Timers: each fires once, in order, at its instant while somebody is alive, and as soon as somebody is afterwards."""

from __future__ import annotations

import asyncio
import datetime
import zoneinfo
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import slow, work
from tests.engine.world import WORLD
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.testing import NEW_YEAR, Trial, replay

SECOND = 1_000_000
START = datetime.datetime.fromtimestamp(NEW_YEAR / SECOND, datetime.UTC)


def of(run: Run, type: str) -> list[Fact]:
    return [fact for fact in run.facts() if fact.type == type]


def begun(trial: Trial, code: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Run:
    run = trial.start(vbl.workflow(name=code.__name__)(code), *args, **options)
    trial.settle()
    return run


def restarted(trial: Trial, seconds: float = 0.0) -> None:
    """Nobody is alive for so long."""
    trial.kill()
    trial.clock.advance(seconds)
    trial.up()
    trial.settle()


def fired(run: Run) -> list[tuple[int, float, float]]:
    """Of each timer: its number, when it fired (seconds since the run began), and how late."""
    begun_at = of(run, "RUN_STARTED")[0].at
    return [
        (fact.payload["timer"], (fact.at - begun_at) / SECOND, fact.payload.get("late_us", 0) / SECOND)
        for fact in of(run, "TIMER_FIRED")
    ]


# Sleeping until an instant ----------------------------------------------------------------------------------------


async def until(when: datetime.datetime) -> float:
    await vbl.sleep_until(when)
    return (vbl.now() - START).total_seconds()


@pytest.mark.parametrize("down", [False, True])
def test_it_sleeps_until_that_instant(trial: Trial, down: bool) -> None:
    run = begun(trial, until, START + datetime.timedelta(days=30))
    assert run.refresh().wake_at == NEW_YEAR + 30 * 86_400 * SECOND
    if down:
        restarted(trial, 86_400)
    assert run.result() == 30 * 86_400
    assert replay(run) == 30 * 86_400
    assert len(of(run, "TIMER_SET")) == 1


def test_the_instant_is_the_same_in_every_time_zone(trial: Trial) -> None:
    """Noon in Berlin on the day on which its clocks are put forward."""
    noon = datetime.datetime(2026, 3, 29, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    run = begun(trial, until, noon)
    assert run.refresh().wake_at == round(datetime.datetime(2026, 3, 29, 10, tzinfo=datetime.UTC).timestamp()) * SECOND
    assert run.result() == (noon - START).total_seconds()


@pytest.mark.parametrize("seconds", [0, -1, -86_400])
def test_an_instant_that_is_past_is_no_wait(trial: Trial, seconds: int) -> None:
    run = begun(trial, until, START + datetime.timedelta(seconds=seconds))
    assert run.status == "completed"
    assert not of(run, "TIMER_SET")
    assert replay(run) == 0


def test_an_instant_without_a_time_zone_is_refused(trial: Trial) -> None:
    async def naive() -> None:
        await vbl.sleep_until(datetime.datetime(2026, 5, 1))

    run = begun(trial, naive)
    assert (run.state().error or {})["type"] == "UsageError"


def test_a_sleep_until_can_be_given_up(trial: Trial) -> None:
    async def impatient() -> str:
        try:
            async with asyncio.timeout(30):
                await vbl.sleep_until(START + datetime.timedelta(days=30))
        except TimeoutError:
            return "left"
        return "slept"

    run = begun(trial, impatient)
    assert run.result() == "left"
    assert len(of(run, "TIMER_CANCELLED")) == 1
    assert run.refresh().wake_at is None
    assert replay(run) == "left"


def test_a_sync_workflow_sleeps_until_too(trial: Trial) -> None:
    @vbl.workflow(name="plain")
    def plain(when: datetime.datetime) -> float:
        vbl.sleep_until(when)
        return (vbl.now() - START).total_seconds()

    run = trial.start(plain, START + datetime.timedelta(hours=3))
    assert run.result() == 10_800
    assert replay(run) == 10_800


# Order ------------------------------------------------------------------------------------------------------------


async def alarms(*seconds: float) -> list[str]:
    """Many at once; in which order they went off, and when."""
    log: list[str] = []

    async def alarm(number: int, after: float) -> None:
        await asyncio.sleep(after)
        log.append(f"{number} at {(vbl.now() - START).total_seconds():g}")

    await asyncio.gather(*(alarm(number, after) for number, after in enumerate(seconds)))
    return log


@pytest.mark.parametrize("restart", [False, True])
def test_timers_fire_once_each_in_order_at_their_time(trial: Trial, restart: bool) -> None:
    run = begun(trial, several)
    if restart:
        trial.advance(15)
        restarted(trial)
    assert run.result() == ["1 at 10", "3 at 10", "0 at 20", "2 at 30", "4 at 30"]
    assert fired(run) == [(2, 10, 0), (4, 10, 0), (1, 20, 0), (3, 30, 0), (5, 30, 0)]
    assert replay(run) == run.result()
    assert_sound(trial)


async def several() -> list[str]:
    return await alarms(20, 10, 30, 10, 30)


@pytest.mark.parametrize("down", [5, 12, 25, 100])
def test_after_a_down_time_they_fire_at_once_in_order_and_say_how_late(trial: Trial, down: int) -> None:
    run = begun(trial, several)
    restarted(trial, down)
    run.result()
    due = {1: 20, 2: 10, 3: 30, 4: 10, 5: 30}
    assert [number for number, _, _ in fired(run)] == [2, 4, 1, 3, 5]
    for number, at, late in fired(run):
        assert at == max(due[number], down)
        assert late == at - due[number]
    assert replay(run) == run.result()


def test_each_of_equal_timers_is_an_activation_of_its_own(trial: Trial) -> None:
    """What the first one wakes comes to its next wait before the second one goes off."""

    async def chained() -> list[str]:
        log: list[str] = []

        async def one(name: str) -> None:
            await asyncio.sleep(10)
            for n in range(3):
                log.append(f"{name}{n}")
                await asyncio.sleep(0)

        await asyncio.gather(one("a"), one("b"))
        return log

    run = begun(trial, chained)
    assert run.result() == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert replay(run) == run.result()


def test_many_runs_wake_at_one_instant_each_once(trial: Trial) -> None:
    async def nap(number: int) -> int:
        await vbl.sleep(60)
        return number

    runs = trial.start_many(vbl.workflow(name="nap")(nap), range(100))
    trial.advance(59.999999)
    assert not any(of(run, "TIMER_FIRED") for run in runs)
    trial.advance(0.000001)
    assert [run.result(timeout=0) for run in runs] == list(range(100))
    assert all(len(fired(run)) == 1 for run in runs)


def test_a_timer_that_was_set_and_left_at_once_leaves_no_event(trial: Trial) -> None:
    async def hasty() -> int:
        async with asyncio.timeout(60):
            pass
        async with asyncio.timeout(60):
            return await work(1)

    run = begun(trial, hasty)
    assert run.result() == 1
    assert [fact.payload["timer"] for fact in of(run, "TIMER_SET")] == [2]
    assert len(of(run, "TIMER_CANCELLED")) == 1


# Deadlines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", [False, True])
def test_a_timer_before_the_deadline_comes_before_it(trial: Trial, down: bool) -> None:
    """Also where both were slept through: what was due first happens first."""

    async def dutiful() -> str:
        await vbl.sleep(10)
        WORLD.note("woke")
        try:
            await vbl.sleep(100)
        except asyncio.CancelledError:
            WORLD.note("told")
            raise
        return "done"

    run = begun(trial, dutiful, deadline=20)
    if down:
        restarted(trial, 50)
    assert run.wait() == "cancelled"
    types = [fact.type for fact in run.facts()]
    assert types.index("TIMER_FIRED") < types.index("CANCEL_REQUESTED")
    assert WORLD.notes[:2] == ["woke", "told"]


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("first", ["timer", "gate", "wait"])
def test_after_a_down_time_kinds_of_waiting_end_in_the_order_of_their_instants(
    trial: Trial, down: bool, first: str
) -> None:
    """Who was asleep finds out the same as who was awake."""
    after = {kind: 10 if kind == first else 20 for kind in ("timer", "gate", "wait")}

    async def racing() -> str:
        racers = {
            "timer": asyncio.ensure_future(asyncio.sleep(after["timer"])),
            "gate": asyncio.ensure_future(vbl.approve("ask", timeout=after["gate"])),
            "wait": asyncio.ensure_future(vbl.wait("news", timeout=after["wait"])),
        }
        done, left = await asyncio.wait(racers.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.wait(racers.values())
        return ", ".join(name for name, task in racers.items() if task in done)

    run = begun(trial, racing)
    if down:
        restarted(trial, 100)
    assert run.result() == first
    assert replay(run) == first
    assert_sound(trial)


def test_a_step_that_was_slept_through_meets_its_time_out_first(trial: Trial) -> None:
    async def bounded() -> str:
        try:
            async with asyncio.timeout(30):
                await slow(1, 20)
        except TimeoutError:
            return "too late"
        return "in time"

    run = begun(trial, bounded)
    restarted(trial, 40)
    assert run.result() == "too late"
    assert replay(run) == "too late"
    assert_sound(trial)
