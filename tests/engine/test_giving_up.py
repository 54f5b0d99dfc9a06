"""A step that the code gave up does not begin, and nothing that it does later is handed on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import vbl
from tests.engine import corpus
from tests.engine.checks import assert_sound
from tests.engine.corpus import slow, work
from tests.engine.world import WORLD
from vbl.testing import Trial


def types(run: Any) -> list[str]:
    return [fact.type for fact in run.facts()]


@vbl.workflow
async def overtaken() -> int:
    """Both first steps end at once: the one's follower is asked for and given up within one activation each."""

    async def long_way() -> None:
        await work(1)
        await slow(2, 60)

    task = asyncio.create_task(long_way())
    await asyncio.gather(work(3), work(4))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return await work(5)


def test_a_step_that_is_started_and_given_up_in_one_transaction_never_runs(trial: Trial) -> None:
    run = trial.start(overtaken)
    assert run.result() == 5
    assert types(run).count("STEP_CANCELLED") == 1
    assert "slow" not in WORLD.runs_of(run.id)
    assert_sound(trial)


def test_a_timeout_that_passed_while_the_supervisor_was_down_fires_before_the_step_is_tried_again(trial: Trial) -> None:
    run = trial.start(corpus.timeout_that_fires)
    trial.advance(5)
    assert WORLD.runs_of(run.id) == {"slow": 1}
    trial.kill()
    WORLD.clock.advance(100)
    trial.up()
    assert run.result() == ["timed out", 7]
    assert WORLD.runs_of(run.id) == {"slow": 1, "work": 1}
    assert types(run).count("STEP_STARTED") == 2
    assert_sound(trial)


def test_a_step_in_flight_is_stopped_when_the_code_gives_it_up(trial: Trial) -> None:
    run = trial.start(corpus.race_won_by_timer)
    assert run.result() == "timer"
    trial.until(lambda: WORLD.clock.sleeping == 0)
    assert types(run).index("STEP_CANCELLED") < types(run).index("RUN_COMPLETED")


def test_what_a_thread_returns_after_it_was_given_up_is_not_handed_on(trial: Trial) -> None:
    gate = WORLD.gate("late")
    run = trial.start(impatient)
    trial.until(lambda: "blocked_body" in WORLD.runs_of(run.id))
    WORLD.clock.advance(10)
    trial.until(lambda: run.status.finished)
    gate.set()
    trial.settle()
    assert run.result() == "gave up"
    assert "STEP_COMPLETED" not in types(run)
    assert_sound(trial)


@vbl.step
def blocked_body() -> str:
    WORLD.did()
    WORLD.gate("late").wait(20)
    return "too late"


@vbl.workflow
async def impatient() -> str:
    try:
        async with asyncio.timeout(5):
            return await blocked_body.aio()
    except TimeoutError:
        return "gave up"
