"""What was done in a saga is undone when it fails or is cancelled: in reverse, each once, and all that can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import vbl
from tests.engine.checks import assert_attempts_ran_once, assert_sound
from tests.engine.corpus import FOUR_TIMES, slow, work
from tests.engine.world import WORLD
from vbl.testing import Trial, replay


@vbl.step
async def refund(what: str) -> None:
    WORLD.did()
    WORLD.note(what)
    if what == "broken":
        raise ValueError("the till is closed")


@vbl.step
def refund_plainly(what: str) -> None:
    WORLD.did()
    WORLD.note(what)


@vbl.step
async def fail() -> None:
    WORLD.did()
    raise ValueError("no")


def saga_of(function: Callable[..., Any]) -> Any:
    return vbl.workflow(name="in_a_saga")(function)


def undone(run: Any) -> list[dict[str, Any]]:
    return run.state().undone


def test_the_undos_run_in_reverse_and_the_failure_goes_on(trial: Trial) -> None:
    async def body() -> None:
        async with vbl.saga() as saga:
            for what in ("a", "b", "c"):
                await work(1)
                saga.undo(refund, what)
            await fail()

    run = trial.start(saga_of(body))
    with pytest.raises(vbl.RunFailed, match="no") as failed:
        run.result()
    assert WORLD.notes == ["c", "b", "a"]
    assert failed.value.error["step"] == "fail"
    assert "undone: refund#3, refund#2, refund" in failed.value.error["traceback"]
    assert undone(run) == [{"step": key, "ok": True} for key in ("refund#3", "refund#2", "refund")]
    replay(run)
    assert_sound(trial)


def test_a_saga_that_is_left_normally_undoes_nothing(trial: Trial) -> None:
    async def body() -> list[Any]:
        async with vbl.saga() as saga:
            saga.undo(refund, "a")
        return saga.undone

    run = trial.start(saga_of(body))
    assert run.result() == []
    assert WORLD.notes == []


def test_an_undo_that_fails_does_not_hide_the_others(trial: Trial) -> None:
    async def body() -> list[Any]:
        saga = vbl.saga()
        try:
            async with saga:
                saga.undo(refund, "a")
                saga.undo(refund, "broken")
                saga.undo(refund, "c")
                await fail()
        except vbl.StepFailed as failure:
            return [saga.undone, failure.__notes__]
        return []

    run = trial.start(saga_of(body))
    told, notes = run.result()
    assert WORLD.notes == ["c", "broken", "a"]
    assert told == [
        {"step": "refund#3", "ok": True},
        {"step": "refund#2", "ok": False, "error": "ValueError: the till is closed"},
        {"step": "refund", "ok": True},
    ]
    assert notes == ["undone: refund#3, refund", "not undone: refund#2 (ValueError: the till is closed)"]
    assert replay(run) == [told, notes]


@pytest.mark.parametrize("restart", [False, True])
def test_a_cancel_undoes_and_a_death_in_the_middle_goes_on_with_the_next(trial: Trial, restart: bool) -> None:
    @vbl.step
    async def slowly(what: str) -> None:
        WORLD.did()
        await WORLD.clock.sleep(10)
        WORLD.note(what)

    async def body() -> None:
        async with vbl.saga() as saga:
            saga.undo(slowly, "a")
            saga.undo(slowly, "b")
            await slow(1, 1_000)

    run = trial.start(saga_of(body))
    trial.advance(1)
    run.cancel()
    trial.advance(15)
    if restart:
        trial.kill()
        trial.up()
    assert run.wait() == "cancelled"
    assert WORLD.notes == ["b", "a"]
    assert undone(run) == [{"step": "slowly#2", "ok": True}, {"step": "slowly", "ok": True}]
    assert_attempts_ran_once(run, WORLD.effects)
    replay(run)


def test_a_cancel_while_it_undoes_waits_for_the_rest(trial: Trial) -> None:
    async def body() -> None:
        async with vbl.saga() as saga:
            saga.undo(refund, "a")
            saga.undo(slow, 1, 50)
            await fail()

    run = trial.start(saga_of(body))
    trial.advance(10)
    run.cancel()
    assert run.wait() == "cancelled"
    assert WORLD.notes == ["a"]
    assert [told["ok"] for told in undone(run)] == [True, True]
    replay(run)


def test_policies_of_the_undos_hold(trial: Trial) -> None:
    @vbl.step(retry=FOUR_TIMES)
    async def hard() -> None:
        if WORLD.did().attempt < 3:
            raise ConnectionError("the line is dead")

    async def body() -> None:
        async with vbl.saga() as saga:
            saga.undo(hard)
            await fail()

    run = trial.start(saga_of(body))
    assert run.wait() == "failed"
    assert WORLD.runs_of(run.id)["hard"] == 3
    assert undone(run) == [{"step": "hard", "ok": True}]


def test_nested_sagas_undo_from_the_inside_out(trial: Trial) -> None:
    async def body() -> None:
        async with vbl.saga() as outer:
            outer.undo(refund, "outer")
            async with vbl.saga() as done:
                done.undo(refund, "of one that went well")
            async with vbl.saga() as inner:
                inner.undo(refund, "inner")
                await fail()

    run = trial.start(saga_of(body))
    assert run.wait() == "failed"
    assert WORLD.notes == ["inner", "outer"]


def test_a_run_that_got_over_a_failed_saga_says_what_it_has_undone(trial: Trial) -> None:
    async def body() -> str:
        try:
            async with vbl.saga() as saga:
                saga.undo(refund, "a")
                saga.undo(refund, "broken")
                await fail()
        except vbl.StepFailed:
            return "nothing booked"

    run = trial.start(saga_of(body))
    assert run.result() == "nothing booked"
    assert [(told["step"], told["ok"]) for told in undone(run)] == [("refund#2", False), ("refund", True)]
    assert run.events()[-1].payload.undone == undone(run)
    replay(run)
    assert_sound(trial)


def test_undos_are_registered_from_tasks_side_by_side(trial: Trial) -> None:
    async def body() -> None:
        async with vbl.saga() as saga:

            async def one(seconds: float) -> None:
                await slow(1, seconds)
                saga.undo(refund, str(seconds))

            await asyncio.gather(one(3), one(1), one(2))
            await fail()

    run = trial.start(saga_of(body))
    assert run.wait() == "failed"
    assert WORLD.notes == ["3", "2", "1"]
    replay(run)


def test_a_group_that_fails_inside_of_a_cancelled_saga_does_not_disturb_the_undoing(trial: Trial) -> None:
    """A task group asks for its parent's cancel again where both come together; on some Pythons."""

    async def body() -> None:
        async with vbl.saga() as saga:
            saga.undo(refund, "a")

            async def stubborn() -> None:
                try:
                    await asyncio.sleep(1_000)
                finally:
                    raise ValueError("no")

            async with asyncio.TaskGroup() as group:
                group.create_task(stubborn())

    run = trial.start(saga_of(body))
    trial.settle()
    run.cancel()
    assert run.wait().finished
    assert WORLD.notes == ["a"]
    replay(run)


def test_sagas_in_sync_workflows(trial: Trial) -> None:
    def plain() -> None:
        with vbl.saga() as saga:
            saga.undo(refund_plainly, "a")
            saga.undo(refund_plainly, "b")
            vbl.sleep(1_000)

    run = trial.start(saga_of(plain))
    trial.settle()
    run.cancel()
    assert run.wait() == "cancelled"
    assert WORLD.notes == ["b", "a"]
    assert [told["step"] for told in undone(run)] == ["refund_plainly#2", "refund_plainly"]
    replay(run)


def test_a_run_that_is_dropped_from_memory_undoes_nothing(trial: Trial) -> None:
    async def body() -> str:
        async with vbl.saga() as saga:
            saga.undo(refund, "a")
            await asyncio.sleep(100)
        return "slept"

    run = trial.start(saga_of(body))
    for _ in range(3):
        trial.advance(5)
        trial.down()
        trial.up()
    assert run.result() == "slept"
    assert WORLD.notes == []


def test_what_a_task_left_behind_has_to_undo_is_undone(trial: Trial) -> None:
    async def body() -> str:
        async def background() -> None:
            async with vbl.saga() as saga:
                saga.undo(refund, "a")
                await asyncio.sleep(1_000)

        asyncio.create_task(background())  # noqa: RUF006
        await work(1)
        return "done"

    run = trial.start(saga_of(body))
    assert run.result() == "done"
    assert WORLD.notes == ["a"]


def test_the_end_of_a_clean_up_names_what_was_not_undone(trial: Trial) -> None:
    async def body() -> None:
        async with vbl.saga() as saga:
            saga.undo(refund, "a")
            saga.undo(slow, 1, 5_000)
            saga.undo(refund, "c")
            await asyncio.sleep(10_000)

    run = trial.start(saga_of(body))
    trial.settle()
    run.cancel(within=60)
    trial.advance(60)
    assert run.status == "cancelled"
    assert undone(run) == [
        {"step": "refund#2", "ok": True},
        {"step": "slow", "ok": False, "error": "not undone"},
        {"step": "refund", "ok": False, "error": "not undone"},
    ]


def test_a_run_that_has_undone_its_steps_is_not_retried(trial: Trial) -> None:
    async def body() -> None:
        async with vbl.saga() as saga:
            saga.undo(refund, "a")
            await fail()

    run = trial.start(saga_of(body))
    assert run.wait() == "failed"
    seq = run.seq
    with pytest.raises(vbl.Conflict, match="has undone") as refused:
        run.retry()
    assert refused.value.code == "undone"
    assert run.refresh().seq == seq


@pytest.mark.parametrize("why", ["a mistake in the code", "nobody decided"])
def test_nor_is_one_that_has_undone_them_for_another_reason_than_a_step(trial: Trial, why: str) -> None:
    async def body() -> None:
        async with vbl.saga() as saga:
            await work(1)
            saga.undo(refund, "a")
            if why == "nobody decided":
                await vbl.approve("go on", timeout=10, on_timeout="fail")
            raise KeyError("a mistake")

    run = trial.start(saga_of(body))
    assert run.wait() == "failed"
    assert undone(run) == [{"step": "refund", "ok": True}]
    before = run.facts()
    with pytest.raises(vbl.Conflict, match="undone") as refused:
        run.retry()
    assert refused.value.code == "undone"
    assert run.facts() == before


def test_what_was_undone_and_got_over_is_no_reason_to_refuse_a_retry(trial: Trial) -> None:
    async def body() -> int:
        try:
            async with vbl.saga() as saga:
                saga.undo(refund, "a")
                await fail()
        except vbl.StepFailed:
            pass
        await work(1)
        if not mended:
            raise KeyError("a mistake")
        return 3

    mended: list[bool] = []
    run = trial.start(saga_of(body))
    assert run.wait() == "failed"
    mended.append(True)
    run.retry()
    assert run.result() == 3


def test_an_undo_must_be_a_step_that_can_be_called_so(trial: Trial) -> None:
    class Desk:
        async def method(self) -> None: ...

    other = vbl.workflow(name="other")(fail.function)

    async def body(what: str) -> str:
        wrong: dict[str, Any] = {"method": Desk().method, "function": print, "workflow": other, "nothing": None}
        saga = vbl.saga()
        try:
            if what == "outside":
                saga.undo(refund, "a")
            async with saga:
                if what == "arguments":
                    saga.undo(refund)  # type: ignore[call-arg]
                elif what == "value":
                    saga.undo(refund, object())  # type: ignore[arg-type]
                saga.undo(wrong[what], "a")
        except Exception as refused:
            return f"{type(refused).__name__}: {refused}"
        return ""

    workflow = saga_of(body)
    for what in ("method", "function", "workflow", "nothing"):
        assert "an undo must be a step" in trial.start(workflow, what).result()
    assert "outside of its block" in trial.start(workflow, "outside").result()
    assert "TypeError" in trial.start(workflow, "arguments").result()
    assert trial.start(workflow, "value").result() != ""
    with pytest.raises(vbl.NotInWorkflow):
        vbl.saga()
