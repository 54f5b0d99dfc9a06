"""What befalls one run stays with it: the supervisor lives, the others move, and the run itself says what happened."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import vbl
from vbl.history.facts import Fact
from vbl.testing import Trial

PAID: list[str] = []
FAILING: list[str] = []
"""What is to fail the next time, one entry a failure."""


@pytest.fixture(autouse=True)
def anew() -> None:
    PAID.clear()
    FAILING.clear()


def failing(what: str) -> None:
    if what in FAILING:
        FAILING.remove(what)
        raise ValueError(what)


@vbl.step
async def fetch() -> str:
    failing("fetch")
    return "real"


@vbl.step
async def process(text: str) -> str:
    PAID.append(f"processed {text[:10]}")
    return f"processed {text[:10]}"


@vbl.step
async def one() -> int:
    return 1


@vbl.step
async def two() -> int:
    return 2


def errand(function: Callable[..., Any]) -> Any:
    """Another version of one workflow."""
    return vbl.workflow(name="errand")(function)


@vbl.workflow
async def leaves() -> None:
    sys.exit(3)


@vbl.workflow
async def fine() -> int:
    return await one()


def test_an_exit_in_workflow_code_fails_that_run_only(trial: Trial) -> None:
    left, other = trial.start(leaves), trial.start(fine)
    assert other.result() == 1
    assert left.wait() is vbl.Status.FAILED
    assert trial.alive


class Busy(Exception):
    kind = "rate_limited"
    retry_after = 1e17


@vbl.step(retry=True)
async def told_to_wait_for_ever() -> None:
    raise Busy


@vbl.workflow
async def waits_long() -> None:
    await told_to_wait_for_ever()


def test_a_senseless_retry_after_is_bounded(trial: Trial) -> None:
    run = trial.start(waits_long)
    trial.settle()
    assert run.status is vbl.Status.RETRYING
    assert (run.state().wake_at or 0) <= trial.clock.now() + 367 * 86_400 * 1_000_000
    assert trial.start(fine).result() == 1


class Unspeakable(Exception):
    kind: ClassVar[Any] = []

    def __str__(self) -> str:
        raise RuntimeError("no words")


@vbl.step
async def fails_without_words() -> None:
    raise Unspeakable


@vbl.workflow
async def speechless() -> None:
    await fails_without_words()


def test_a_failure_that_cannot_be_described_has_failed_all_the_same(trial: Trial) -> None:
    run = trial.start(speechless)
    assert run.wait() is vbl.Status.FAILED
    assert "Unspeakable" in (run.state().error or {})["message"]


@vbl.step
async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@vbl.workflow
async def cancelling() -> None:
    await cancels_itself()


def test_a_body_that_cancels_its_own_task_has_failed(trial: Trial) -> None:
    run = trial.start(cancelling)
    assert run.wait() is vbl.Status.FAILED
    assert [e.type for e in run.events()].count(vbl.EventType.STEP_STARTED) == 1


def test_a_listener_that_fails_does_not_stop_the_runs(trial: Trial) -> None:
    def listener(run_id: str, fact: Fact) -> None:
        raise BrokenPipeError("nobody reads any more")

    trial.down()
    trial.up(on_fact=listener)
    assert trial.start(fine).result() == 1
    assert trial.start(fine).result() == 1


def test_a_blocked_run_can_be_cancelled(trial: Trial) -> None:
    run = blocked_by_other_code(trial)
    run.cancel()
    trial.settle()
    assert run.status is vbl.Status.CANCELLED
    assert [e.type for e in run.events()][-1] is vbl.EventType.RUN_CANCELLED
    assert not run.state().pending


def test_a_cancel_of_a_paused_run_is_seen_by_its_code(trial: Trial) -> None:
    @vbl.workflow(name="sleeper")
    async def sleeper() -> str:
        try:
            await vbl.sleep(1000)
        except asyncio.CancelledError:
            await one()
            raise
        return "woke"

    run = trial.start(sleeper)
    trial.settle()
    run.pause()
    run.cancel()
    assert run.wait() is vbl.Status.CANCELLED
    assert run.state().outputs == {"one": 1}


def blocked_by_other_code(trial: Trial) -> vbl.Run:
    @errand
    async def asks_one() -> int:
        await one()
        await vbl.sleep(1000)
        return await one()

    run = trial.start("errand")
    trial.settle()
    trial.down()

    @errand
    async def asks_two() -> int:
        await two()
        await vbl.sleep(1000)
        return await two()

    trial.up()
    trial.advance(1001)
    assert run.status is vbl.Status.BLOCKED
    return run


def test_a_rollback_blocks_again(trial: Trial) -> None:
    run = blocked_by_other_code(trial)
    trial.down()

    @errand
    async def asks_one_and_sleeps_on() -> int:
        await one()
        await vbl.sleep(1000)
        await vbl.sleep(1000)
        return await one()

    trial.up()
    trial.advance(10)
    assert run.status is vbl.Status.WAITING
    trial.down()

    @errand
    async def asks_two() -> int:
        await two()
        await vbl.sleep(1000)
        return await two()

    trial.up()
    trial.advance(1001)
    assert run.status is vbl.Status.BLOCKED


def test_a_retried_run_that_only_waits_is_waiting(trial: Trial) -> None:
    run = blocked_by_other_code(trial)
    trial.down()

    @errand
    async def asks_one_and_sleeps_long() -> int:
        await one()
        await vbl.sleep(1000)
        await vbl.sleep(9000)
        return await one()

    run.retry()
    trial.up()
    trial.settle()
    assert run.status is vbl.Status.WAITING


@vbl.step(effect="write")
async def pay() -> None:
    PAID.append("paid")
    await asyncio.sleep(1000)


def begun(count: int) -> None:
    """Wait until so many bodies have begun."""
    deadline = time.monotonic() + 60
    while len(PAID) < count:
        assert time.monotonic() < deadline, "the body never began"
        time.sleep(0.001)


def test_a_write_of_unknown_outcome_is_not_repeated_by_the_retry_of_another_block(trial: Trial) -> None:
    @errand
    async def pays() -> None:
        await pay()

    run = trial.start("errand")
    begun(1)
    trial.kill()

    @errand
    async def other() -> None:
        await one()
        await pay()

    trial.up()
    run.wait("blocked")
    assert (run.state().blocked or {})["reason"] == "diverged"
    trial.kill()

    @errand
    async def pays_again() -> None:
        await pay()

    run.retry()
    trial.up()
    run.wait("blocked")
    assert (run.state().blocked or {})["reason"] == "unknown_outcome"
    assert (run.state().blocked or {})["step"] == "pay"
    assert PAID == ["paid"]
    run.retry()
    begun(2)
    trial.kill()


@vbl.workflow
async def falls_back() -> str:
    failed: vbl.StepFailed | None = None
    try:
        text = await fetch()
    except vbl.StepFailed as error:
        text, failed = "default", error
    out = await process(text)
    if failed is not None:
        raise failed
    return out


def test_an_output_is_used_again_only_for_the_same_input(trial: Trial) -> None:
    FAILING.append("fetch")
    run = trial.start(falls_back)
    assert run.wait() is vbl.Status.FAILED
    run.retry()
    assert run.result() == "processed real"
    assert PAID == ["processed default", "processed real"]
    starts = [e.payload for e in run.events() if e.type == "STEP_STARTED"]
    keys = [start["idempotency_key"] for start in starts if start["step"] == "process"]
    assert len(set(keys)) == 2, "other parameters under the same key would be refused by a provider"


@vbl.workflow
async def notes_its_failure() -> str:
    try:
        return await fetch()
    except vbl.StepFailed:
        await process("long " * 2000)
        await vbl.sleep(5)
        raise


def test_a_long_input_of_a_step_that_is_asked_again_is_recorded_again(trial: Trial) -> None:
    FAILING.extend(["fetch", "fetch"])
    run = trial.start(notes_its_failure)
    trial.advance(6)
    assert run.status is vbl.Status.FAILED
    run.retry()
    trial.settle()
    trial.kill()
    trial.up()
    trial.advance(6)
    assert run.status is vbl.Status.FAILED, run.state().blocked
    assert PAID == ["processed long long "], "the first time's output was used again"


def test_a_mended_mistake_goes_on_where_it_was_made(trial: Trial) -> None:
    def divided_by(number: int) -> Any:
        @errand
        async def divides() -> list[Any]:
            async def quotient() -> float:
                return await one() / number

            return await asyncio.gather(quotient(), slow())

        return divides

    divided_by(0)
    run = trial.start("errand")
    assert run.wait() is vbl.Status.FAILED
    divided_by(1)
    run.retry()
    trial.advance(10)
    assert run.result() == [1.0, 2]
    assert [e.payload["step"] for e in run.events() if e.type == "STEP_COMPLETED"].count("one") == 1


@vbl.step
async def slow() -> int:
    await asyncio.sleep(0.05)
    return 2


@vbl.step(retry=vbl.Retry(max_attempts=3, delay=10, jitter=0, max_elapsed=100, retry_on=lambda error: True))
async def fails_for_a_while() -> str:
    failing("while")
    return "at last"


@vbl.workflow
async def patient() -> str:
    return await fails_for_a_while()


def test_a_retried_step_has_its_whole_policy_before_it(trial: Trial) -> None:
    FAILING.extend(["while"] * 5)
    run = trial.start(patient)
    trial.advance(100)
    assert run.status is vbl.Status.FAILED
    trial.advance(3600)
    run.retry()
    trial.advance(100)
    assert run.result() == "at last"


def test_priority_comes_first_among_what_is_due(trial: Trial) -> None:
    trial.down()
    runs = {priority: trial.start(fine, priority=priority) for priority in (0, 5, -3, 9)}
    assert trial._journal.due("fine", trial.clock.now(), 3)[0] == [  # pyright: ignore[reportPrivateUsage]
        trial._journal.key_of(runs[p].id)  # pyright: ignore[reportPrivateUsage]
        for p in (9, 5, 0)
    ]
    trial.up()
    assert [run.result() for run in runs.values()] == [1, 1, 1, 1]
