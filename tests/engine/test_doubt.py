"""Writes in doubt by enumeration: every policy dies before and after each of its commits, and what was given up and
ends late is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import work
from tests.engine.doubts import cut_off
from tests.engine.world import WORLD
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.history.state import Status
from vbl.history.steps import DEATHS_ALONE
from vbl.testing import FakeClock, Trial, replay


def of(run: Run, type: str) -> list[Fact]:
    return [fact for fact in run.facts() if fact.type == type]


# Every policy at every commit ---------------------------------------------------------------------------------------


def truthful(amount: int) -> Any:
    """Knows what the world knows: whether the body ran."""
    return vbl.Happened(amount) if "did it" in WORLD.notes else vbl.DidNotHappen()


async def slowly_truthful(amount: int) -> Any:
    await asyncio.sleep(0)
    return truthful(amount)


def wrong(amount: int) -> Any:
    return vbl.DidNotHappen()


def helpless(amount: int) -> Any:
    return vbl.Unknown("the bank keeps no list")


POLICIES: dict[str, dict[str, Any]] = {
    "undeclared": {},
    "read": {"effect": "read"},
    "idempotent": {"effect": "write", "idempotent": True},
    "probe that knows": {"effect": "write", "verify": truthful},
    "async probe": {"effect": "write", "verify": slowly_truthful},
    "probe before idempotent": {"effect": "write", "verify": truthful, "idempotent": True},
    "probe that is wrong": {"effect": "write", "verify": wrong},
    "probe that cannot say": {"effect": "write", "verify": helpless},
    "nothing but write": {"effect": "write"},
}
ONCE = {"probe that knows", "async probe", "probe before idempotent"}
ASKS = {"probe that cannot say", "nothing but write"}


def paying(options: dict[str, Any]) -> Any:
    @vbl.step(name="pay", **options)
    async def pay(amount: int) -> int:
        WORLD.did()
        WORLD.note("did it")
        return amount

    @vbl.workflow(name="paying")
    async def paying(amount: int) -> int:
        return await pay(amount) + await work(1)

    return paying


def settled(run: Run, answer: dict[str, Any]) -> None:
    assert run.status == "blocked"
    assert "nobody knows" in (run.state().blocked or {})["message"]
    run.resolve(by="ada", **answer)


def die_at(path: Path, policy: str, at: int, when: str, answer: dict[str, Any], asked: list[int]) -> bool:
    """Die at that commit, and settle what is in doubt then; the commits that left a doubt are added to `asked`. False:
    it never died."""
    WORLD.begin(FakeClock())
    trial = Trial(path, clock=WORLD.clock)
    try:
        trial.up(die_before=at if when == "before" else None, die_after=at if when == "after" else None)
        run = trial.start(paying(POLICIES[policy]), 7)
        if trial.finish(run):
            return False
        done = {fact.payload["step"] for fact in of(run, "STEP_COMPLETED")}
        trial.up()
        trial.settle()
        if policy in ASKS and run.status == "blocked":
            assert WORLD.runs_of(run.id)["pay"] <= 1, "it was blindly repeated"
            asked.append(at)
            settled(run, answer)
            trial.settle()
        assert trial.finish(run)
        bodies = WORLD.runs_of(run.id)["pay"]
        if "fail" in answer and of(run, "STEP_RESOLVED"):
            assert (run.status, (run.state().error or {})["kind"]) == ("failed", "interrupted")
        else:
            assert run.result() == 8
            assert replay(run) == 8
        assert bodies == 1 or policy not in ONCE, "it happened twice"
        assert "pay" not in done or bodies == 1
        assert_sound(trial)
        return True
    finally:
        trial.close()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_survives_every_death(tmp_path: Path, policy: str, when: str) -> None:
    """A death before the commit of the completion is the one that leaves the doubt."""
    answers: list[dict[str, Any]] = [{"happened": 7}]
    if policy in ASKS:
        answers += [{"did_not": True}, {"fail": True}]
    for number, answer in enumerate(answers):
        asked: list[int] = []
        for at in count(1):
            if not die_at(tmp_path / f"{number}-{at}.db", policy, at, when, answer, asked):
                break
        assert at > 3, "it hardly died: this would prove nothing"
        assert bool(asked) is (policy in ASKS), (
            "a death between start and end of the body leaves the doubt, and no other"
        )


# The probe --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lost(trial: Trial) -> Callable[..., Run]:
    """A run whose write was in its body when the process died; nobody has come since."""

    def begin(verify: Any, **options: Any) -> Run:
        return cut_off(trial, effect="write", verify=verify, **options)

    return begin


def test_a_probe_runs_in_a_body_of_its_own_with_the_key_of_the_call(trial: Trial, lost: Callable[..., Run]) -> None:
    keys: list[str] = []

    def probe(amount: int) -> Any:
        keys.append(vbl.key())
        return vbl.Happened(amount)

    run = lost(probe)
    trial.up()
    assert run.result() == 7
    assert keys == [f"{run.id}:pay"]
    assert [f.type for f in run.facts() if f.type.startswith("STEP_")] == [
        "STEP_STARTED", "STEP_INTERRUPTED", "STEP_PROBED", "STEP_RESOLVED",
    ]  # fmt: skip
    (resolved,) = of(run, "STEP_RESOLVED")
    assert (resolved.payload["outcome"], resolved.payload["output"], resolved.payload["actor"]) == (
        "happened", 7, "probe",
    )  # fmt: skip
    assert_sound(trial)


def test_a_result_of_a_probe_that_does_not_fit_is_no_answer(trial: Trial, lost: Callable[..., Run]) -> None:
    run = lost(lambda amount: vbl.Happened("a lot"))
    trial.up()
    trial.settle()
    assert "with a result that cannot be recorded" in (run.state().blocked or {})["message"]
    assert (run.state().blocked or {})["json_schema"] == {"type": "integer"}


def test_a_probe_that_is_given_up_is_stopped(trial: Trial, lost: Callable[..., Run]) -> None:
    async def endless(amount: int) -> Any:
        await WORLD.clock.sleep(10_000)

    run = lost(endless)
    trial.up()
    trial.settle()
    assert WORLD.clock.sleeping == 1
    assert run.why().waits_for == "step"
    run.cancel()
    trial.settle()
    trial.until(lambda: WORLD.clock.sleeping == 0)
    assert run.status == "cancelled"
    assert_sound(trial)


def test_a_probe_that_kills_its_process_cannot_do_so_for_ever(
    trial: Trial, lost: Callable[..., Run], quick_housekeeping: None
) -> None:
    asked: list[int] = []

    async def deadly(amount: int) -> Any:
        asked.append(amount)
        await WORLD.clock.sleep(10_000)

    run = lost(deadly)
    for _ in range(10):
        trial.up()
        trial.until(lambda: run.status == "blocked" or WORLD.clock.sleeping)
        if run.status == "blocked":
            break
        trial.kill()
    assert (run.state().blocked or {})["reason"] == "poisoned"
    assert len(of(run, "STEP_PROBED")) == len(asked) >= DEATHS_ALONE
    with pytest.raises(vbl.Conflict):
        run.resolve(did_not=True)
    assert_sound(trial)


def test_a_pause_records_the_answer_and_hands_it_on_later(trial: Trial, lost: Callable[..., Run]) -> None:
    async def slow_probe(amount: int) -> Any:
        await WORLD.clock.sleep(100)
        return vbl.Happened(70)

    run = lost(slow_probe)
    trial.up()
    trial.settle()
    run.pause()
    trial.advance(200)
    assert (run.status, len(of(run, "STEP_RESOLVED"))) == ("paused", 1)
    run.unpause()
    assert run.result() == 70
    assert_sound(trial)


def test_two_writes_in_doubt_are_two_questions(trial: Trial) -> None:
    @vbl.step(name="pay", effect="write")
    async def pay(amount: int) -> int:
        WORLD.did()
        await WORLD.clock.sleep(10)
        return amount

    @vbl.workflow(name="both")
    async def both() -> list[int]:
        return list(await asyncio.gather(pay(1), pay(2)))

    run = trial.start(both)
    trial.settle()
    trial.kill()
    trial.up()
    trial.settle()
    for answer in (10, 20):
        assert run.status == "blocked"
        run.resolve(happened=answer)
        trial.settle()
    assert sorted(run.result()) == [10, 20]
    assert replay(run) == run.result()
    assert_sound(trial)


# Late ends --------------------------------------------------------------------------------------------------------


@vbl.step(effect="write")
def posts(word: str) -> str:
    WORLD.did()
    WORLD.gate("posting").set()
    WORLD.gate("post").wait(20)
    if word == "badly":
        raise ConnectionError("the line is dead")
    return word


@vbl.step(effect="write")
async def posts_stubbornly(word: str) -> str:
    WORLD.did()
    try:
        await WORLD.clock.sleep(10_000)
    except asyncio.CancelledError:
        WORLD.note("heard it")
    return word


async def for_a_while(call: Any) -> str:
    try:
        async with asyncio.timeout(5):
            return str(await call)
    except TimeoutError:
        return "gave up"


@vbl.workflow
async def impatient(word: str) -> str:
    return await for_a_while(posts.aio(word))


@vbl.workflow
async def impatient_and_long(word: str) -> str:
    said = await for_a_while(posts.aio(word))
    await vbl.sleep(60)
    return said


@vbl.workflow
async def impatient_with_a_task() -> str:
    return await for_a_while(posts_stubbornly("late"))


def given_up(trial: Trial, workflow: Any, *args: Any) -> Run:
    run = trial.start(workflow, *args)
    trial.until(lambda: WORLD.runs_of(run.id).total() == 1)
    WORLD.clock.advance(10)
    trial.until(lambda: of(run, "STEP_CANCELLED"))
    return run


@pytest.mark.parametrize("workflow", [impatient, impatient_and_long], ids=lambda w: w.name)
def test_a_write_that_ends_late_is_recorded_and_not_delivered(trial: Trial, workflow: Any) -> None:
    run = given_up(trial, workflow, "late")
    WORLD.gate("post").set()
    trial.until(lambda: of(run, "STEP_COMPLETED"))
    (late,) = of(run, "STEP_COMPLETED")
    assert late.payload["output"] == "late"
    assert late.seq > of(run, "STEP_CANCELLED")[0].seq
    assert run.result() == "gave up"
    assert replay(run) == "gave up"
    assert_sound(trial)


def test_a_write_that_fails_late_is_recorded_too(trial: Trial) -> None:
    run = given_up(trial, impatient, "badly")
    trial.until(lambda: run.status.finished)
    WORLD.gate("post").set()
    trial.until(lambda: of(run, "STEP_FAILED"))
    assert (run.status, run.result()) == ("completed", "gave up")
    assert_sound(trial)


def test_an_async_write_that_does_not_let_itself_be_stopped_is_recorded(trial: Trial) -> None:
    run = trial.start(impatient_with_a_task)
    assert run.result() == "gave up"
    trial.until(lambda: of(run, "STEP_COMPLETED"))
    assert WORLD.notes == ["heard it"]
    assert_sound(trial)


@vbl.workflow
async def breaks(word: str) -> str:
    await asyncio.gather(posts.aio(word), snaps())
    return "fine"


@vbl.step
def sees() -> None:
    WORLD.gate("posting").wait(20)


async def snaps() -> None:
    await sees.aio()
    if "mended" not in WORLD.notes:
        raise KeyError("a mistake in the code")
    WORLD.note("went on")


def broken(trial: Trial) -> Run:
    run = trial.start(breaks, "once")
    trial.until(lambda: run.status.finished and WORLD.runs_of(run.id)["posts"] == 1)
    assert run.status is Status.FAILED
    WORLD.note("mended")
    return run


def test_a_late_end_is_not_lost_to_a_retry(trial: Trial) -> None:
    """The run failed and gave the write up; it ended; the retry must not do it again."""
    run = broken(trial)
    WORLD.gate("post").set()
    trial.until(lambda: any(fact.payload["step"] == "posts" for fact in of(run, "STEP_COMPLETED")))
    run.retry()
    assert run.result() == "fine"
    assert WORLD.runs_of(run.id)["posts"] == 1, "it was done twice"
    assert_sound(trial)


def test_a_retry_waits_for_a_write_that_goes_on(trial: Trial) -> None:
    """Its body cannot be stopped: to start it again beside itself, or to ask anybody now, would be wrong."""
    run = broken(trial)
    run.retry()
    trial.until(lambda: "went on" in WORLD.notes)
    assert run.status is not Status.BLOCKED
    WORLD.gate("post").set()
    assert run.result() == "fine"
    assert WORLD.runs_of(run.id)["posts"] == 1, "it was done twice"
    assert_sound(trial)


def test_a_retry_in_another_process_asks(trial: Trial) -> None:
    run = broken(trial)
    trial.kill()
    run.retry()
    trial.up()
    trial.settle()
    assert run.status == "blocked"
    run.resolve(happened="once")
    assert run.result() == "fine"
    assert WORLD.runs_of(run.id)["posts"] == 1
    assert_sound(trial)
