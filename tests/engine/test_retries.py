"""A failed attempt is tried again as its policy says, and the wait for it outlives the process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

import vbl
from tests.engine.checks import assert_attempts_ran_once, assert_sound
from tests.engine.corpus import slow
from tests.engine.world import WORLD
from vbl.handle import Run
from vbl.testing import Trial

SECOND = 1_000_000
STEADY = vbl.Retry(max_attempts=5, delay=10, factor=2, max_delay=1_000, jitter=0)


class RateLimited(Exception):
    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__("too many requests")
        self.status_code = 429
        self.retry_after = retry_after


def failing(errors: list[BaseException | None], **options: Any) -> Callable[..., Any]:
    """A workflow around one step that raises these, one an attempt, and then returns the number of the attempt."""
    left = list(errors)

    @vbl.step(name="fetch", **options)
    async def fetch() -> int:
        effect = WORLD.did()
        if left and (error := left.pop(0)) is not None:
            raise error
        return effect.attempt

    async def fetching() -> Any:
        try:
            return await fetch()
        except vbl.StepFailed as error:
            return [error.step, error.kind, error.attempts, error.type, error.message]

    return vbl.workflow(name="fetching")(fetching)


def of(run: Run, type: str) -> list[dict[str, Any]]:
    return [fact.payload for fact in run.facts() if fact.type == type]


def seconds(run: Run, type: str) -> list[float]:
    """When these events happened, since the run was made."""
    return [(fact.at - run.created_at) / SECOND for fact in run.facts() if fact.type == type]


# Backoff ----------------------------------------------------------------------------------------------------------


def test_attempts_come_after_growing_delays(trial: Trial) -> None:
    run = trial.start(failing([ConnectionError()] * 4, retry=STEADY))
    assert run.result() == 5
    assert seconds(run, "STEP_STARTED") == [0, 10, 30, 70, 150]
    assert [p["final"] for p in of(run, "STEP_FAILED")] == [False] * 4
    assert [p["attempt"] for p in of(run, "RETRY_SCHEDULED")] == [2, 3, 4, 5]
    assert {p["max_attempts"] for p in of(run, "RETRY_SCHEDULED")} == {5}
    assert_sound(trial)


def test_a_run_that_backs_off_says_so_and_when(trial: Trial) -> None:
    run = trial.start(failing([ConnectionError("the line is dead")], retry=STEADY))
    trial.settle()
    assert run.status == "retrying"
    assert run.wake_at == trial.clock.now() + 10 * SECOND
    why = run.why()
    assert why.waits_for == "backoff"
    assert "fetch failed (transient: ConnectionError: the line is dead), retrying in 10 s, attempt 2 of 5" in why.detail
    trial.advance(9.999)
    assert run.status == "retrying"
    trial.advance(0.001)
    assert run.status == "completed"


@pytest.mark.parametrize("how", ["kill", "down"])
def test_the_position_in_the_backoff_and_the_counter_survive_a_restart(trial: Trial, how: str) -> None:
    run = trial.start(failing([ConnectionError()] * 3, retry=STEADY))
    trial.advance(15)
    assert len(WORLD.effects) == 2
    for _ in range(3):
        getattr(trial, how)()
        trial.up()
        trial.settle()
        assert run.status == "retrying"
        assert run.wake_at == run.created_at + 30 * SECOND, "the wait goes on where it was"
    assert len(of(run, "RETRY_SCHEDULED")) == 2
    trial.kill()
    trial.clock.advance(60)
    trial.up()
    assert run.result() == 4
    assert seconds(run, "STEP_STARTED") == [0, 10, 75, 115], "it was due while nobody was there, and starts at once"
    assert [p["attempt"] for p in of(run, "STEP_STARTED")] == [1, 2, 3, 4]
    assert_attempts_ran_once(run, WORLD.effects)


def test_a_restart_does_not_give_more_attempts(trial: Trial) -> None:
    run = trial.start(failing([ConnectionError()] * 99, retry=vbl.Retry(max_attempts=3, delay=10, jitter=0)))
    for _ in range(4):
        trial.advance(10)
        trial.kill()
        trial.up()
    assert run.result()[2] == 3
    assert len(WORLD.effects) == 3


def test_an_interruption_takes_a_number_and_not_one_of_the_attempts(trial: Trial) -> None:
    """Two deaths and two failures, with two attempts allowed."""

    @vbl.step(retry=vbl.Retry(max_attempts=2, delay=10, jitter=0))
    async def fetch() -> int:
        effect = WORLD.did()
        await WORLD.clock.sleep(5)
        if effect.attempt < 4:
            raise ConnectionError
        return effect.attempt

    @vbl.workflow
    async def fetching() -> int:
        return await fetch()

    run = trial.start(fetching)
    for _ in range(2):
        trial.advance(1)
        trial.kill()
        trial.up()
    assert run.result() == 4
    assert [p["attempt"] for p in of(run, "STEP_INTERRUPTED")] == [1, 2]
    assert not [p for p in of(run, "STEP_INTERRUPTED") if p.get("counted") is False]
    assert [p["attempt"] for p in of(run, "STEP_FAILED")] == [3]
    assert run.state().steps["fetch"].failures == 1


def test_a_graceful_stop_is_an_interruption_that_does_not_count(trial: Trial) -> None:
    run = trial.start(slow_workflow)
    trial.advance(1)
    for _ in range(5):
        trial.down(grace_s=0)
        trial.up()
        trial.settle()
    assert run.result() == 1
    assert [p["counted"] for p in of(run, "STEP_INTERRUPTED")] == [False] * 5
    assert run.state().steps["slow"].interruptions == 0


@vbl.workflow
async def slow_workflow() -> int:
    return await slow(1, 60)


def test_jitter_is_the_same_on_every_replay_and_differs_between_runs(trial: Trial) -> None:
    policy = vbl.Retry(max_attempts=3, delay=100, jitter=1)
    waits = []
    for _ in range(3):
        run = trial.start(failing([ConnectionError()], retry=policy))
        trial.settle()
        before = run.refresh().wake_at
        trial.kill()
        trial.up()
        trial.settle()
        assert run.refresh().wake_at == before
        waits.append((before or 0) - run.created_at)
        run.result()
    assert len(set(waits)) == 3
    assert all(0 <= wait <= 100 * SECOND for wait in waits)


# Bounds -----------------------------------------------------------------------------------------------------------


def test_without_a_policy_a_step_is_tried_once(trial: Trial) -> None:
    run = trial.start(failing([ConnectionError("dead")] * 9))
    assert run.result() == ["fetch", "transient", 1, "ConnectionError", "dead"]
    assert len(WORLD.effects) == 1


def test_the_default_policy(trial: Trial) -> None:
    run = trial.start(failing([TimeoutError(), RateLimited(), ConnectionError()], retry=True))
    assert run.result() == 4
    starts = seconds(run, "STEP_STARTED")
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(0.5 * 2**n <= gap <= 2**n for n, gap in enumerate(gaps)), gaps


@pytest.mark.parametrize(
    ("error", "kind"),
    [(TypeError("no"), "bug"), (FileNotFoundError("no"), "permanent"), (KeyError("no"), "bug")],
    ids=["TypeError", "FileNotFoundError", "KeyError"],
)
def test_the_default_policy_does_not_repeat_what_cannot_get_better(trial: Trial, error: Exception, kind: str) -> None:
    run = trial.start(failing([error] * 9, retry=True))
    assert run.result()[:3] == ["fetch", kind, 1]


def test_kinds_and_predicates_choose_what_is_tried_again(trial: Trial) -> None:
    by_kind = vbl.Retry(max_attempts=3, delay=1, jitter=0, retry_on=(vbl.Kind.BUG,))
    assert trial.start(failing([TypeError(), TypeError()], retry=by_kind)).result() == 3
    assert trial.start(failing([ConnectionError()], retry=by_kind)).result()[2] == 1
    chosen = vbl.Retry(max_attempts=3, delay=1, jitter=0, retry_on=lambda error: "busy" in str(error))
    assert trial.start(failing([ValueError("busy"), ValueError("busy")], retry=chosen)).result() == 3
    assert trial.start(failing([ValueError("broken")], retry=chosen)).result()[2] == 1


def test_a_predicate_that_fails_ends_the_attempts_and_nothing_else(trial: Trial) -> None:
    def broken(error: BaseException) -> bool:
        raise RuntimeError("the predicate is broken")

    run = trial.start(failing([ConnectionError("dead")] * 3, retry=vbl.Retry(retry_on=broken)))
    assert run.result() == ["fetch", "transient", 1, "ConnectionError", "dead"]
    assert trial.start(failing([])).result() == 1


def test_the_other_side_says_when_to_come_back(trial: Trial) -> None:
    run = trial.start(failing([RateLimited(45.5), RateLimited()], retry=STEADY))
    assert run.result() == 3
    assert seconds(run, "STEP_STARTED") == [0, 45.5, 65.5]
    assert {p["error"]["kind"] for p in of(run, "STEP_FAILED")} == {"rate_limited"}


def test_the_total_time_bounds_the_attempts_across_restarts(trial: Trial) -> None:
    policy = vbl.Retry(max_attempts=99, delay=10, factor=1, jitter=0, max_elapsed=35)
    run = trial.start(failing([ConnectionError()] * 99, retry=policy))
    for _ in range(3):
        trial.advance(10)
        trial.kill()
        trial.up()
    assert run.result()[2] == 4
    assert seconds(run, "STEP_STARTED") == [0, 10, 20, 30]


# Time-outs --------------------------------------------------------------------------------------------------------


def test_each_attempt_has_the_whole_time(trial: Trial) -> None:
    @vbl.step(timeout=0.02, retry=vbl.Retry(max_attempts=3, delay=1, jitter=0))
    async def hangs() -> int:
        if WORLD.did().attempt < 3:
            await asyncio.Event().wait()
        return 3

    @vbl.workflow
    async def waits() -> int:
        return await hangs()

    run = trial.start(waits)
    assert run.result() == 3
    assert [p["error"]["kind"] for p in of(run, "STEP_FAILED")] == ["timeout", "timeout"]
    assert "took longer than 0.02 s" in of(run, "STEP_FAILED")[0]["error"]["message"]


def test_a_time_out_of_the_bodys_own_is_told_from_the_steps(trial: Trial) -> None:
    @vbl.step(timeout=60)
    async def impatient() -> int:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
        return 1

    @vbl.workflow
    async def waits() -> list[str]:
        try:
            return [str(await impatient())]
        except vbl.StepFailed as error:
            return [error.kind, error.message]

    assert trial.start(waits).result() == ["timeout", ""]


def test_a_thread_that_passes_its_time_out_is_given_up(trial: Trial) -> None:
    gate = WORLD.gate("thread")

    @vbl.step(timeout=0.02, retry=vbl.Retry(max_attempts=2, delay=1, jitter=0))
    def hangs() -> str:
        if WORLD.did().attempt == 1:
            gate.wait(20)
            return "too late"
        return "in time"

    @vbl.workflow
    async def waits() -> str:
        return await hangs.aio()

    run = trial.start(waits)
    assert run.result() == "in time"
    gate.set()
    trial.settle()
    assert [p["output"] for p in of(run, "STEP_COMPLETED")] == ["in time"]


# What a body is handed --------------------------------------------------------------------------------------------


def test_every_attempt_sees_the_input_as_it_was_given(trial: Trial) -> None:
    @vbl.step(retry=vbl.Retry(max_attempts=3, delay=1, jitter=0))
    async def spoils(items: list[int], more: dict[str, list[int]]) -> list[Any]:
        seen = [list(items), {key: list(value) for key, value in more.items()}]
        items.append(99)
        more["a"].append(99)
        if WORLD.did().attempt < 3:
            raise ConnectionError
        return seen

    @vbl.workflow
    async def gives() -> list[Any]:
        items, more = [1], {"a": [2]}
        found = await spoils(items, more)
        return [found, items, more]

    assert trial.start(gives).result() == [[[1], {"a": [2]}], [1], {"a": [2]}]


def test_the_idempotency_key_is_the_same_in_every_attempt(trial: Trial) -> None:
    @vbl.step(retry=vbl.Retry(max_attempts=3, delay=1, jitter=0))
    async def sends(n: int) -> str:
        WORLD.note(vbl.key())
        if WORLD.did().attempt < 3:
            raise ConnectionError
        return vbl.key()

    @vbl.workflow
    async def twice() -> list[str]:
        return [await sends(1), await sends(2)]

    run = trial.start(twice)
    first, second = run.result()
    assert first != second
    assert WORLD.notes == [first] * 3 + [second] * 3
    assert {p["idempotency_key"] for p in of(run, "STEP_STARTED")} == {first, second}


def test_a_person_may_cut_a_backoff_short(trial: Trial) -> None:
    run = trial.start(failing([ConnectionError(), ConnectionError()], retry=STEADY))
    trial.settle()
    run.retry(by="ada")
    trial.settle()
    assert run.status == "retrying"
    assert seconds(run, "STEP_STARTED") == [0, 0]
    assert run.wake_at == run.created_at + 10 * SECOND, "the counter begins anew"
    assert run.result() == 3


def test_a_policy_that_has_changed_counts_from_now(trial: Trial) -> None:
    """An attempt was scheduled under the old policy; its failure is judged by the new one."""
    run = trial.start(failing([ConnectionError()] * 9, retry=vbl.Retry(max_attempts=2, delay=10, jitter=0)))
    trial.advance(5)
    trial.kill()
    failing([ConnectionError()] * 2, retry=vbl.Retry(max_attempts=9, delay=1, jitter=0))
    trial.up()
    assert run.result() == 4
    assert_sound(trial)


def test_a_retry_by_a_person_begins_the_total_time_anew(trial: Trial) -> None:
    policy = vbl.Retry(max_attempts=3, delay=10, factor=1, jitter=0, max_elapsed=60)

    @vbl.step(retry=policy)
    async def fetch() -> int:
        effect = WORLD.did()
        if effect.attempt < 5:
            raise ConnectionError
        return effect.attempt

    @vbl.workflow
    async def fetching() -> int:
        return await fetch()

    run = trial.start(fetching)
    assert trial.finish(run)
    assert run.status == "failed"
    trial.advance(86_400)
    run.retry(by="ada")
    assert run.result() == 5


def test_what_a_retry_does_anew_it_does_at_its_own_time(trial: Trial) -> None:
    """A mistake in the code, mended a day later: the time-out that follows is not over before it has begun."""

    @vbl.workflow(name="mended")
    async def wrong() -> int:
        raise KeyError("mistake")

    run = trial.start(wrong)
    assert trial.finish(run)
    trial.advance(86_400)

    @vbl.workflow(name="mended")
    async def right() -> int:
        async with asyncio.timeout(30):
            return await slow(4, 20)

    run.retry(by="ada")
    trial.settle()
    trial.kill()
    trial.up()
    assert run.result() == 4
    (timer,) = of(run, "TIMER_SET")
    assert timer["at"] == run.created_at + (86_400 + 30) * SECOND
    assert right.name == run.workflow
    assert_sound(trial)


def test_a_run_that_nobody_decided_in_time_asks_again(trial: Trial) -> None:
    @vbl.workflow
    async def asking() -> list[Any]:
        first = await slow(1, 1)
        decision = await vbl.approve("may I", timeout=60, on_timeout="fail")
        return [first, decision.by]

    run = trial.start(asking)
    assert trial.finish(run)
    error = run.state().error or {}
    assert (error["type"], error["kind"]) == ("ApprovalExpired", "timeout")
    trial.advance(3_600)
    run.retry(by="ada")
    trial.settle()
    (gate,) = (gate for gate in run.state().gates.values() if gate.status == "open")
    assert gate.expires_at == run.created_at + (1 + 60 + 3_600 + 60) * SECOND
    assert run.status == "waiting_for_approval"
    assert WORLD.runs_of(run.id) == {"slow": 1}
    assert_sound(trial)
