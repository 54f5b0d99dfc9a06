"""A cancel reaches what a run waits for, may be held back by a shield, and ends the run in a bounded time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import labour, slow, work
from tests.engine.world import WORLD
from vbl.handle import Run
from vbl.testing import Trial, replay

SECOND = 1_000_000


def types(run: Run) -> list[str]:
    return [fact.type for fact in run.facts()]


def last(run: Run) -> dict[str, Any]:
    return run.facts()[-1].payload


# Being told ---------------------------------------------------------------------------------------------------------


@vbl.step
def patient() -> str:
    """A body in a thread, which can only be told."""
    WORLD.did()
    WORLD.gate("begun").set()
    while not vbl.cancelled():
        WORLD.gate("never").wait(0.002)
    WORLD.gate("told").set()
    return "gave up"


@pytest.mark.parametrize("how", ["cancel", "race", "timeout", "stop"])
def test_a_body_in_a_thread_is_told(trial: Trial, how: str) -> None:
    async def waiting() -> Any:
        if how == "race":
            async with asyncio.timeout(10):
                return await patient.aio()
        step = patient.options(timeout=0.5) if how == "timeout" else patient
        return await step.aio()

    run = trial.start(vbl.workflow(name="waiting")(waiting))
    trial.until(WORLD.gate("begun").is_set)
    if how == "cancel":
        run.cancel()
    elif how == "race":
        trial.until(lambda: run.status == "waiting" or run.state().open_timers)
        trial.clock.advance(20)
        trial.nudge()
    elif how == "stop":
        trial.down(grace_s=0.01)
    trial.until(WORLD.gate("told").is_set)


def test_a_body_that_is_wanted_is_told_nothing_and_elsewhere_nobody_is_cancelled(trial: Trial) -> None:
    @vbl.step
    def body() -> bool:
        return vbl.cancelled()

    @vbl.workflow
    async def plain() -> list[bool]:
        return [vbl.cancelled(), await body.aio()]

    assert trial.start(plain).result() == [False, False]
    assert not vbl.cancelled()
    assert not body()


def test_workflow_code_sees_that_a_cancel_was_asked_for_also_in_a_replay(trial: Trial) -> None:
    @vbl.workflow
    async def asking() -> list[bool]:
        seen = [vbl.cancelled()]
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            seen.append(vbl.cancelled())
        return [*seen, await work(1) == 1]

    run = trial.start(asking)
    trial.settle()
    run.cancel()
    assert run.result() == [False, True, True]
    assert replay(run) == [False, True, True]


# Shields ------------------------------------------------------------------------------------------------------------


def shielded(function: Any) -> Any:
    return vbl.workflow(name="shielded")(function)


@pytest.mark.parametrize("restart", [False, True])
def test_a_cancel_of_the_run_is_heard_when_the_shield_is_left(trial: Trial, restart: bool) -> None:
    async def body() -> None:
        try:
            async with vbl.shield():
                await slow(1, 10)
                WORLD.note("inside")
                await work(2)
            WORLD.note("never")
        except asyncio.CancelledError as cancelled:
            WORLD.note(str(cancelled))
            raise

    run = trial.start(shielded(body))
    trial.advance(1)
    run.cancel(reason="enough")
    if restart:
        trial.advance(1)
        trial.kill()
        trial.up()
    assert run.wait() == "cancelled"
    assert WORLD.notes[-2:] == ["inside", "enough"]
    assert WORLD.runs_of(run.id)["work"] == 1
    replay(run)
    assert_sound(trial)


def test_a_second_cancel_does_not_break_off_the_clean_up(trial: Trial) -> None:
    async def body() -> list[str]:
        log: list[str] = []

        async def job() -> None:
            try:
                await slow(1, 60)
            finally:
                async with vbl.shield():
                    await slow(2, 20)
                    log.append("cleaned up")
                log.append("never")

        task = asyncio.create_task(job())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return [*log, str(task.cancelled()), str(task.cancelling())]

    run = trial.start(shielded(body))
    assert run.result() == ["cleaned up", "True", "2"]
    replay(run)


def test_a_time_out_around_the_shield_is_raised_behind_it(trial: Trial) -> None:
    async def body() -> list[Any]:
        begun = vbl.now()
        inside: Any = None
        try:
            async with asyncio.timeout(5):
                async with vbl.shield():
                    inside = await slow(1, 20)
                await work(1)
        except TimeoutError:
            return [inside, (vbl.now() - begun).total_seconds(), cancelling()]
        return []

    run = trial.start(shielded(body))
    assert run.result() == [1, 20.0, 0]
    assert "work" not in WORLD.runs_of(run.id)
    replay(run)


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


def test_a_task_group_around_the_shield_fails_behind_it(trial: Trial) -> None:
    @vbl.step
    async def failing() -> None:
        await WORLD.clock.sleep(5)
        raise ValueError("no")

    async def body() -> list[Any]:
        inside: Any = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(failing())
                async with vbl.shield():
                    inside = await slow(1, 20)
                await asyncio.sleep(1_000)
        except* vbl.StepFailed as failed:
            inside = [inside, len(failed.exceptions)]
        return [inside, cancelling()]

    run = trial.start(shielded(body))
    assert run.result() == [[1, 1], 0]
    replay(run)


def test_what_is_begun_inside_a_shield_works_as_anywhere(trial: Trial) -> None:
    @vbl.step
    async def failing() -> None:
        await WORLD.clock.sleep(1)
        raise ValueError("no")

    async def body() -> list[Any]:
        log: list[Any] = []
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            async with vbl.shield():
                log.append(cancelling())
                try:
                    async with asyncio.timeout(5):
                        await slow(1, 60)
                except TimeoutError:
                    log.append("time-out")
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(failing())
                        await slow(2, 60)
                except* vbl.StepFailed:
                    log.append("group")
                try:
                    await asyncio.wait_for(slow(3, 60), 5)
                except TimeoutError:
                    log.append("wait_for")
                log.append(sum(await asyncio.gather(work(1), work(2))))
            log.append(cancelling())
        return log

    run = trial.start(shielded(body))
    trial.settle()
    run.cancel(within=1_000)
    assert run.result() == [0, "time-out", "group", "wait_for", 3, 1]
    replay(run)


def test_a_shield_holds_what_comes_from_around_it_and_lets_the_outer_ones_time_out_wait(trial: Trial) -> None:
    async def body() -> list[Any]:
        log: list[Any] = []
        try:
            async with vbl.shield(timeout=5):
                async with vbl.shield():
                    log.append(await slow(1, 20))
                log.append("never")
        except TimeoutError as error:
            log += [str(error), cancelling()]
        return log

    run = trial.start(shielded(body))
    assert run.result() == [1, "the shielded block took longer than 5 s", 0]
    replay(run)


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_the_time_of_a_shield_is_a_durable_timer_that_cancels_the_block(trial: Trial, kind: str) -> None:
    async def body() -> str:
        try:
            async with vbl.shield(timeout=30):
                await asyncio.sleep(1_000)
        except TimeoutError as error:
            return str(error)
        return ""

    def plain() -> str:
        try:
            with vbl.shield(timeout=30):
                vbl.sleep(1_000)
        except TimeoutError as error:
            return str(error)
        return ""

    run = trial.start(shielded(body if kind == "async" else plain))
    trial.advance(10)
    trial.kill()
    trial.up()
    assert run.result() == "the shielded block took longer than 30 s"
    assert WORLD.clock.now() == run.created_at + 30 * SECOND
    replay(run)


def test_a_shield_in_a_sync_workflow_holds_the_cancel_of_the_run(trial: Trial) -> None:
    def plain() -> None:
        with vbl.shield():
            vbl.sleep(10)
            labour(1)
        labour(2)

    run = trial.start(shielded(plain))
    trial.advance(1)
    run.cancel()
    assert run.wait() == "cancelled"
    assert WORLD.runs_of(run.id) == {"labour": 1}
    replay(run)


def test_a_cancel_that_was_swallowed_before_the_shield_is_not_raised_again_behind_it(trial: Trial) -> None:
    async def body() -> str:
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            async with vbl.shield():
                await work(1)
        return str(await work(2))

    run = trial.start(shielded(body))
    trial.settle()
    run.cancel()
    assert run.result() == "2"


def test_a_cancel_that_is_pending_at_the_entrance_waits_too(trial: Trial) -> None:
    async def body() -> list[Any]:
        task = asyncio.current_task()
        assert task is not None
        log: list[Any] = []
        task.cancel("before")
        try:
            async with vbl.shield():
                log.append(await work(1))
        except asyncio.CancelledError as cancelled:
            log += [str(cancelled), task.cancelling()]
        return log

    run = trial.start(shielded(body))
    assert run.result() == [1, "before", 1]
    replay(run)


def test_what_a_task_left_behind_does_in_a_shield_is_carried_out_before_the_run_ends(trial: Trial) -> None:
    async def body() -> str:
        async def background() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                async with vbl.shield():
                    await slow(1, 10)
                    await work(2)

        asyncio.create_task(background())  # noqa: RUF006
        await asyncio.sleep(1)
        return "done"

    run = trial.start(shielded(body))
    assert run.result() == "done"
    assert WORLD.runs_of(run.id) == {"slow": 1, "work": 1}
    replay(run)


def test_a_shield_is_refused_where_it_makes_no_sense(trial: Trial) -> None:
    with pytest.raises(vbl.NotInWorkflow):
        vbl.shield()

    async def body(what: str) -> str:
        try:
            if what == "with":
                with vbl.shield():
                    pass
            elif what == "twice":
                one = vbl.shield()
                async with one, one:
                    pass
            else:
                vbl.shield(float(what))
        except vbl.UsageError as refused:
            return refused.message
        return ""

    workflow = shielded(body)
    assert "async workflow" in trial.start(workflow, "with").result()
    assert "twice" in trial.start(workflow, "twice").result()
    for time in ("0", "-1", "nan", "inf"):
        assert "seconds above zero" in trial.start(workflow, time).result()


# A bounded time -----------------------------------------------------------------------------------------------------


@vbl.workflow
async def endless() -> None:
    try:
        await asyncio.sleep(10_000)
    finally:
        async with vbl.shield():
            await slow(1, 5_000)
            await work(2)


def test_a_clean_up_that_takes_too_long_is_broken_off(trial: Trial) -> None:
    run = trial.start(endless)
    trial.settle()
    run.cancel(within=60)
    trial.advance(59)
    assert run.status == "running"
    trial.advance(1)
    assert run.status == "cancelled"
    assert last(run) == {"v": 1, "reason": "its clean-up took longer than 1 min", "forced": True}
    assert WORLD.clock.sleeping == 0, "the body in flight was stopped"
    state = run.state()
    assert (state.pending, state.open_timers, state.in_flight) == ([], set(), 0)
    replay(run)
    assert_sound(trial)


@pytest.mark.parametrize("by", ["client", "deadline", "parent"])
def test_every_cancel_gives_five_minutes_where_nothing_is_said(trial: Trial, by: str) -> None:
    @vbl.workflow
    async def parent() -> None:
        vbl.start(endless)
        await asyncio.sleep(20)

    if by == "parent":
        above = trial.start(parent)
        trial.advance(20)
        assert above.result() is None
        (run,) = [one for one in trial.runs() if one.parent_id == above.id]
    else:
        run = trial.start(endless, deadline=20 if by == "deadline" else None)
        trial.advance(20)
    if by == "client":
        run.cancel()
    trial.advance(299)
    assert run.status == "running"
    trial.advance(1)
    assert last(run)["reason"] == "its clean-up took longer than 5 min"


def test_a_sync_workflow_that_computes_for_ever_is_ended_too(trial: Trial) -> None:
    @vbl.workflow
    def stubborn() -> None:
        try:
            vbl.sleep(1_000)
        finally:
            WORLD.gate("busy").set()
            WORLD.gate("leave").wait(20)

    run = trial.start(stubborn)
    trial.settle()
    run.cancel(within=60)
    trial.until(WORLD.gate("busy").is_set)
    trial.clock.advance(61)
    trial.until(lambda: run.status == "cancelled")
    assert last(run)["forced"]
    WORLD.gate("leave").set()
    trial.settle()
    assert types(run).count("RUN_CANCELLED") == 1


def test_no_time_at_all_ends_the_run_without_a_clean_up(trial: Trial) -> None:
    run = trial.start(endless)
    trial.settle()
    run.cancel(within=0)
    assert run.wait() == "cancelled"
    assert last(run)["forced"]
    assert "work" not in WORLD.runs_of(run.id)


def test_the_time_counts_while_a_supervisor_is_alive(trial: Trial) -> None:
    run = trial.start(endless)
    trial.settle()
    trial.kill()
    run.cancel(within=60)
    trial.clock.advance(10_000)
    trial.up()
    trial.settle()
    assert run.status == "running", "it has just begun to clean up"
    trial.advance(50)
    trial.kill()
    trial.clock.advance(10_000)
    trial.up()
    trial.advance(59)
    assert run.status == "running"
    trial.advance(2)
    assert run.status == "cancelled"
    assert_sound(trial)


def test_the_time_does_not_count_while_the_run_is_paused(trial: Trial) -> None:
    run = trial.start(endless)
    trial.settle()
    run.cancel(within=60)
    trial.advance(50)
    run.pause()
    trial.advance(1_000)
    run.unpause()
    trial.advance(59)
    assert run.status == "running"
    trial.advance(2)
    assert run.status == "cancelled"
    assert_sound(trial)


def test_a_run_that_is_blocked_while_it_cleans_up_waits_and_a_second_cancel_ends_it(trial: Trial) -> None:
    @vbl.workflow
    async def odd() -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            await asyncio.get_running_loop().create_future()

    run = trial.start(odd)
    trial.settle()
    run.cancel(within=60)
    trial.advance(1_000)
    assert run.status == "blocked"
    assert run.cancel() == "cancelled"
    assert types(run).count("CANCEL_REQUESTED") == 1


@pytest.mark.parametrize("within", [-1, float("nan"), "60", True])
def test_what_is_no_time_is_refused_and_nothing_is_changed(trial: Trial, within: Any) -> None:
    run = trial.start(endless)
    trial.settle()
    before = types(run)
    with pytest.raises(vbl.UsageError, match="seconds"):
        run.cancel(within=within)
    assert types(run) == before


def test_threads_of_the_run_are_gone_after_its_end(trial: Trial) -> None:
    @vbl.workflow
    def plain() -> None:
        with vbl.shield():
            vbl.sleep(1_000)

    run = trial.start(plain)
    trial.settle()
    run.cancel(within=5)
    trial.advance(5)
    assert run.status == "cancelled"
    trial.until(lambda: not [t for t in threading.enumerate() if t.name == "vbl-plain"])
