"""What a person asks for is done where the run is, and what has completed stays completed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

import vbl
from tests.engine import corpus
from tests.engine.checks import assert_attempts_ran_once, assert_sound
from tests.engine.corpus import broken, labour, slow, work
from tests.engine.world import WORLD
from vbl.handle import Run
from vbl.testing import Trial, replay

SECOND = 1_000_000


def types(run: Run) -> list[str]:
    return [fact.type for fact in run.facts()]


def restarted(trial: Trial) -> None:
    trial.kill()
    trial.up()
    trial.settle()


@vbl.workflow
async def errand() -> list[int]:
    return [await slow(1, 10), await slow(2, 10), await slow(3, 10)]


# Pause ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
def test_a_paused_run_starts_nothing_more_and_records_what_was_in_flight(trial: Trial, restart: bool) -> None:
    run = trial.start(errand)
    trial.advance(1)
    assert run.pause(by="ada", reason="the shop is closed") == "paused"
    trial.advance(100)
    assert run.status == "paused"
    assert types(run).count("STEP_COMPLETED") == 1
    assert types(run).count("STEP_STARTED") == 1
    assert [f.payload for f in run.facts() if f.type == "RUN_PAUSED"] == [
        {"v": 1, "actor": "ada", "reason": "the shop is closed"}
    ]
    if restart:
        restarted(trial)
        assert run.status == "paused"
    assert run.wake_at is None
    run.unpause(by="bob")
    assert run.result() == [1, 2, 3]
    assert WORLD.runs_of(run.id) == {"slow": 1, "slow#2": 1, "slow#3": 1}
    assert_sound(trial)


def test_timers_of_a_paused_run_wait_and_fire_late(trial: Trial) -> None:
    @vbl.workflow
    async def naps() -> float:
        begun = vbl.now()
        await vbl.sleep(60)
        return (vbl.now() - begun).total_seconds()

    run = trial.start(naps)
    trial.advance(30)
    run.pause()
    trial.advance(100)
    assert "TIMER_FIRED" not in types(run)
    run.unpause()
    assert run.result() == 130


def test_a_backoff_of_a_paused_run_waits(trial: Trial) -> None:
    run = trial.start(corpus.retries)
    trial.settle()
    run.pause()
    trial.advance(1_000)
    assert types(run).count("STEP_STARTED") == 1
    run.unpause()
    assert run.result() == [1, 2]


def test_a_run_can_be_paused_before_it_begins(trial: Trial) -> None:
    trial.down()
    run = trial.start(errand)
    run.pause()
    trial.up()
    trial.advance(60)
    assert types(run) == ["RUN_CREATED", "RUN_PAUSED"]
    run.unpause()
    assert run.result() == [1, 2, 3]


def test_what_is_refused_says_why(trial: Trial) -> None:
    run = trial.start(errand)
    with pytest.raises(vbl.Conflict, match="not paused"):
        run.unpause()
    with pytest.raises(vbl.Conflict, match="can be retried"):
        run.retry()
    run.pause()
    with pytest.raises(vbl.Conflict, match="paused already"):
        run.pause()
    run.unpause()
    assert run.result() == [1, 2, 3]
    for act in (run.cancel, run.pause, run.unpause, run.retry):
        with pytest.raises(vbl.Conflict) as refused:
            act()
        assert refused.value.exit_code == 4
        assert refused.value.hint


# Cancel -----------------------------------------------------------------------------------------------------------


@vbl.workflow
async def careful() -> str:
    """Cleans up when it is cancelled."""
    try:
        return str(await slow(1, 60))
    except asyncio.CancelledError as cancelled:
        WORLD.note(str(cancelled))
        raise
    finally:
        await work(2)


@pytest.mark.parametrize("restart", [False, True])
def test_a_cancelled_run_cleans_up_durably(trial: Trial, restart: bool) -> None:
    run = trial.start(careful)
    trial.advance(1)
    if restart:
        trial.kill()
    run.cancel(by="ada", reason="changed my mind")
    if restart:
        trial.up()
    assert run.wait() == "cancelled"
    assert WORLD.runs_of(run.id)["work"] == 1
    assert WORLD.notes[0] == "changed my mind"
    assert types(run)[-1] == "RUN_CANCELLED"
    assert "STEP_CANCELLED" in types(run)
    at = run.created_at + SECOND
    asked = {"at": at, "actor": "ada", "reason": "changed my mind", "until": at + 300 * SECOND, "span": 300 * SECOND}
    assert run.state().cancel == asked
    with pytest.raises(vbl.RunCancelled):
        run.result()
    assert WORLD.clock.sleeping == 0, "the body that was in flight was stopped"
    replay(run)
    assert_sound(trial)


def test_a_death_while_it_cleans_up_does_not_undo_the_cancel(trial: Trial) -> None:
    @vbl.workflow
    async def slow_to_clean() -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            await slow(1, 30)
            await work(2)

    run = trial.start(slow_to_clean)
    trial.advance(1)
    run.cancel()
    trial.advance(10)
    trial.kill()
    trial.up()
    assert run.wait() == "cancelled"
    assert WORLD.runs_of(run.id) == {"slow": 2, "work": 1}
    assert_attempts_ran_once(run, WORLD.effects)


def test_a_run_that_has_not_begun_is_cancelled_at_once(trial: Trial) -> None:
    trial.down()
    run = trial.start(errand)
    assert run.cancel() == "cancelled"
    trial.up()
    trial.settle()
    assert types(run) == ["RUN_CREATED", "CANCEL_REQUESTED", "RUN_CANCELLED"]


def test_a_workflow_may_decline_a_cancel(trial: Trial) -> None:
    @vbl.workflow
    async def stubborn() -> str:
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            return f"finished all the same, {await work(1)}"
        return "slept"

    run = trial.start(stubborn)
    trial.settle()
    run.cancel()
    assert run.result() == "finished all the same, 1"
    replay(run)


def test_a_second_cancel_is_told_of_the_first(trial: Trial) -> None:
    trial.kill()
    run = trial.start(careful)
    trial.up()
    trial.settle()
    trial.kill()
    run.cancel(by="ada")
    with pytest.raises(vbl.Conflict, match="by ada"):
        run.cancel(by="bob")


@pytest.mark.parametrize("where", ["timer", "queue", "gather", "group", "backoff", "paused"])
def test_a_cancel_reaches_the_run_wherever_it_waits(trial: Trial, where: str) -> None:
    async def sleeping() -> None:
        await asyncio.sleep(1_000)

    async def queueing() -> None:
        lines: asyncio.Queue[int] = asyncio.Queue()
        await asyncio.gather(lines.get(), asyncio.sleep(1_000))

    async def gathering() -> None:
        await asyncio.gather(slow(1, 100), slow(2, 100), asyncio.sleep(500))

    async def grouping() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(slow(1, 100))
            group.create_task(asyncio.sleep(500))  # pyright: ignore[reportArgumentType]

    async def retrying() -> None:
        await corpus.flaky(1, 9)

    function = {
        "timer": sleeping, "queue": queueing, "gather": gathering, "group": grouping, "backoff": retrying,
        "paused": sleeping,
    }[where]  # fmt: skip
    run = trial.start(vbl.workflow(name="waiting")(function))
    trial.advance(1)
    if where == "paused":
        run.pause()
    run.cancel()
    assert run.wait() == "cancelled"
    assert (run.state().in_flight, run.state().open_timers, run.state().backing_off) == (0, set(), set())
    trial.settle()
    assert WORLD.clock.sleeping == 0
    assert_sound(trial)


def test_a_sync_workflow_is_cancelled_where_it_waits(trial: Trial) -> None:
    @vbl.workflow
    def plain() -> str:
        try:
            vbl.sleep(1_000)
        finally:
            labour(2)
        return "slept"

    run = trial.start(plain)
    trial.settle()
    run.cancel()
    assert run.wait() == "cancelled"
    assert WORLD.runs_of(run.id) == {"labour": 1}
    replay(run)


def test_a_deadline_is_a_cancel_at_its_time_across_restarts(trial: Trial) -> None:
    run = trial.start(careful, deadline=30)
    trial.advance(20)
    trial.kill()
    trial.clock.advance(100)
    trial.up()
    assert run.wait() == "cancelled"
    assert run.state().deadline == run.created_at + 30 * SECOND
    assert (run.state().cancel or {})["actor"] == "deadline"
    assert WORLD.runs_of(run.id) == {"slow": 1, "work": 1}, "the time was over before the step could be tried again"


def test_a_run_that_ends_before_its_deadline_does_not_hear_of_it(trial: Trial) -> None:
    run = trial.start(errand, deadline=1_000)
    assert run.result() == [1, 2, 3]
    trial.advance(2_000)
    assert "CANCEL_REQUESTED" not in types(run)


# Retry of a failed run --------------------------------------------------------------------------------------------


class Repaired:
    """Whether the outer world has been repaired."""

    yet = False


@vbl.step
async def fragile(value: int) -> int:
    WORLD.did()
    if not Repaired.yet:
        raise ConnectionError(f"{value} is out of order")
    return value


@pytest.fixture(autouse=True)
def broken_world() -> None:
    Repaired.yet = False


def repaired(trial: Trial, run: Run, *, restart: bool = False) -> None:
    assert trial.finish(run)
    assert run.status == "failed"
    Repaired.yet = True
    if restart:
        trial.kill()
    run.retry(by="ada", reason="repaired")
    if restart:
        trial.up()


@vbl.workflow
async def chain() -> list[int]:
    return [await work(1), await fragile(2), await work(3)]


@pytest.mark.parametrize("restart", [False, True])
def test_a_failed_run_goes_on_from_the_step_that_failed(trial: Trial, restart: bool) -> None:
    run = trial.start(chain)
    repaired(trial, run, restart=restart)
    assert run.result() == [1, 2, 3]
    assert WORLD.runs_of(run.id) == {"work": 1, "fragile": 2, "work#2": 1}
    assert [f.payload["step"] for f in run.facts() if f.type == "RUN_RETRIED"] == ["fragile"]
    assert [f.payload["attempt"] for f in run.facts() if f.type == "STEP_STARTED"] == [1, 1, 2, 1]
    assert run.state().steps["fragile"].attempt == 2
    assert replay(run) == [1, 2, 3]
    assert_sound(trial)


def test_a_failed_run_can_be_retried_again_and_again(trial: Trial) -> None:
    run = trial.start(chain)
    for _ in range(3):
        assert trial.finish(run)
        assert run.status == "failed"
        with pytest.raises(vbl.RunFailed, match="2 is out of order"):
            run.result()
        run.retry()
    repaired(trial, run)
    assert run.result() == [1, 2, 3]
    assert WORLD.runs_of(run.id) == {"work": 1, "fragile": 5, "work#2": 1}
    assert replay(run) == [1, 2, 3]


@vbl.workflow
async def side_by_side() -> list[int]:
    """When one fails, one has completed and one is in flight."""
    return list(await asyncio.gather(work(1), late_fragile(2), slow(3, 60)))


@vbl.step
async def late_fragile(value: int) -> int:
    await WORLD.clock.sleep(5)
    return await fragile.function(value)


@pytest.mark.parametrize("restart", [False, True])
def test_siblings_that_completed_stay_completed_and_those_in_flight_begin_anew(trial: Trial, restart: bool) -> None:
    run = trial.start(side_by_side)
    repaired(trial, run, restart=restart)
    assert run.result() == [1, 2, 3]
    assert WORLD.runs_of(run.id) == {"work": 1, "late_fragile": 2, "slow": 2}
    assert_attempts_ran_once(run, WORLD.effects)
    assert replay(run) == [1, 2, 3]
    assert_sound(trial)


def test_a_sibling_that_completes_after_the_failure_is_not_run_again(trial: Trial) -> None:
    @vbl.workflow
    async def patient() -> list[Any]:
        """Waits for all before it looks at the failures."""
        found = await asyncio.gather(fragile(1), slow(2, 60), return_exceptions=True)
        for error in found:
            if isinstance(error, BaseException):
                raise error
        return found

    run = trial.start(patient)
    repaired(trial, run)
    assert run.result() == [1, 2]
    assert WORLD.runs_of(run.id) == {"fragile": 2, "slow": 1}
    assert replay(run) == [1, 2]


def test_compensation_after_a_failure_is_void_when_the_run_goes_on(trial: Trial) -> None:
    """The code undid its work because a step failed, and then failed: a retry is a second try at the step."""

    @vbl.workflow
    async def compensates() -> list[int]:
        first = await work(1)
        try:
            second = await fragile(2)
        except vbl.StepFailed:
            await labour.aio(-1)
            raise
        return [first, second, await labour.aio(3)]

    run = trial.start(compensates)
    repaired(trial, run)
    assert run.result() == [1, 2, 3]
    assert WORLD.runs_of(run.id) == {"work": 1, "fragile": 2, "labour": 2}
    assert run.state().outputs == {"work": 1, "fragile": 2, "labour": 3}
    assert replay(run) == [1, 2, 3]
    assert_sound(trial)


def test_compensation_that_is_asked_for_again_is_not_done_twice(trial: Trial) -> None:
    """The step fails again: the same call with the same input has its recorded result."""

    @vbl.workflow
    async def compensates() -> None:
        try:
            await fragile(2)
        except vbl.StepFailed:
            await labour.aio(-1)
            raise

    run = trial.start(compensates)
    assert trial.finish(run)
    run.retry()
    trial.settle()
    assert trial.finish(run)
    assert run.status == "failed"
    assert WORLD.runs_of(run.id) == {"fragile": 2, "labour": 1}


def test_a_run_that_failed_by_its_own_code_goes_through_it_again(trial: Trial) -> None:
    class Mood:
        bad = True

    @vbl.workflow(name="moody")
    async def moody() -> int:
        value = await work(1)
        if Mood.bad:
            raise ValueError("in a bad mood")
        return value

    run = trial.start(moody)
    assert trial.finish(run)
    assert run.status == "failed"
    Mood.bad = False
    run.retry()
    assert run.result() == 1
    assert WORLD.runs_of(run.id) == {"work": 1}
    assert_sound(trial)


def test_a_failure_that_was_caught_is_not_what_is_retried(trial: Trial) -> None:
    @vbl.workflow
    async def catches() -> list[Any]:
        with contextlib.suppress(vbl.StepFailed):
            await broken("the first")
        return [await fragile(2)]

    run = trial.start(catches)
    repaired(trial, run)
    assert run.result() == [2]
    assert WORLD.runs_of(run.id) == {"broken": 1, "fragile": 2}
    assert replay(run) == [2]


def test_a_sync_workflow_goes_on_from_the_step_that_failed(trial: Trial) -> None:
    @vbl.step
    def weak(value: int) -> int:
        WORLD.did()
        if not Repaired.yet:
            raise ConnectionError
        return value

    @vbl.workflow
    def plain() -> list[int]:
        return [labour(1), weak(2), labour(3)]

    run = trial.start(plain)
    repaired(trial, run)
    assert run.result() == [1, 2, 3]
    assert WORLD.runs_of(run.id) == {"labour": 1, "weak": 2, "labour#2": 1}
    assert replay(run) == [1, 2, 3]


def test_a_map_goes_on_from_the_call_that_failed(trial: Trial) -> None:
    @vbl.workflow
    async def maps() -> list[int]:
        return [*await vbl.map(work, [1, 2]), *await vbl.map(fragile, [3, 4], limit=1)]

    run = trial.start(maps)
    repaired(trial, run)
    assert run.result() == [1, 2, 3, 4]
    assert WORLD.runs_of(run.id) == {"work[0]": 1, "work[1]": 1, "fragile[0]": 2, "fragile[1]": 1}
    assert replay(run) == [1, 2, 3, 4]


def test_a_time_out_that_was_running_is_set_back_by_a_retry(trial: Trial) -> None:
    @vbl.workflow
    async def limited() -> list[int]:
        async with asyncio.timeout(100):
            return [await fragile(1), await slow(2, 50)]

    run = trial.start(limited)
    repaired(trial, run)
    assert run.result() == [1, 2]
    assert replay(run) == [1, 2]
    assert_sound(trial)


def test_state_goes_back_to_where_the_failed_step_was_asked_for(trial: Trial) -> None:
    @vbl.workflow
    async def tallies() -> list[int]:
        tally = vbl.state(corpus.Tally)
        tally.seen.append(await work(1))
        try:
            tally.seen.append(await fragile(2))
        except vbl.StepFailed:
            tally.seen.append(-1)
            await work(0)
            raise
        return tally.seen

    run = trial.start(tallies)
    assert trial.finish(run)
    assert run.state().variables == {"seen": [1, -1]}
    repaired(trial, run)
    assert run.result() == [1, 2]
    assert run.state().variables == {"seen": [1, 2]}
    assert_sound(trial)


# Start keys -------------------------------------------------------------------------------------------------------


def test_a_key_gives_the_same_run_and_refuses_another_input(trial: Trial) -> None:
    @vbl.workflow
    async def keyed(n: int, tags: set[str] | None = None) -> int:
        return await work(n)

    first = trial.start(keyed, 1, key="k")
    assert trial.start(keyed, 1, key="k").id == first.id
    assert trial.start(keyed, n=1, key="k").id == first.id
    assert first.result() == 1
    assert trial.start(keyed, 1, key="k").result() == 1
    with pytest.raises(vbl.KeyTaken, match=first.id) as refused:
        trial.start(keyed, 2, key="k")
    assert refused.value.exit_code == 4
    assert trial.start(keyed, 2, key="another").id != first.id
    assert trial.start(errand, key="k").id != first.id, "keys belong to a workflow"
    assert WORLD.runs_of(first.id) == {"work": 1}


def test_many_runs_are_started_at_once_and_all_end(trial: Trial) -> None:
    @vbl.workflow
    async def each(n: int, more: int = 0) -> int:
        return await work(n + more)

    runs = trial.start_many(each, [1, (2,), (3, 10), {"n": 4, "more": 20}])
    assert [run.result() for run in runs] == [1, 2, 13, 24]
    with pytest.raises(vbl.InvalidInput):
        trial.start_many(each, [1, "x"])
    assert len(trial.runs()) == 4, "all or nothing"
    assert trial.start_many(each, []) == []
