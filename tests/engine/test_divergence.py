"""Where code and history disagree a run is blocked, says how, loses nothing, and goes on with code that agrees."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import labour, slow, work
from tests.engine.world import WORLD
from vbl.engine.definitions import REGISTRY
from vbl.handle import Run
from vbl.testing import Trial, replay


def version(function: Callable[..., Any]) -> Any:
    """Another version of the one workflow of these tests."""
    return vbl.workflow(name="offer")(function)


def first() -> Any:
    async def offer(item: str) -> Any:
        price = await work(40)
        await asyncio.sleep(60)
        return [item, price, await work(2)]

    return version(offer)


def restarted(trial: Trial, *, later: float = 0.0) -> None:
    """Another process, with the code as it is registered now, after some time."""
    trial.kill()
    WORLD.clock.advance(later)
    trial.up()
    trial.settle()


def begun(trial: Trial) -> Run:
    """A run of the first version that sleeps between its two steps."""
    run = trial.start(first(), "lamp")
    trial.settle()
    assert run.status == "waiting"
    return run


def blocks(run: Run) -> list[dict[str, Any]]:
    return [fact.payload for fact in run.facts() if fact.type == "RUN_BLOCKED"]


# What is said -----------------------------------------------------------------------------------------------------


def test_a_step_in_front_blocks_the_run_with_a_comparison_that_can_be_read(trial: Trial) -> None:
    run = begun(trial)

    async def offer(item: str) -> Any:
        discount = await slow(5, 0)
        price = await work(40)
        await asyncio.sleep(60)
        return [item, price, discount]

    changed = version(offer)
    before = run.facts()
    restarted(trial, later=60)
    assert run.status == "blocked"
    (block,) = blocks(run)
    assert block["reason"] == "diverged"
    assert block["version"] == changed.version != run.version
    message = block["message"]
    assert "history, event 3: STEP_STARTED work" in message
    assert re.search(r"code now: +STEP_STARTED slow +at File \".*test_divergence.py\", line \d+, in offer", message)
    line = int(re.search(r"line (\d+)", message).group(1))  # pyright: ignore[reportOptionalMemberAccess]
    assert line == offer.__code__.co_firstlineno + 1
    assert "+        discount = await slow(5, 0)" in message, "the difference to the source that the run began with"
    assert "-        return [item, price, await work(2)]" in message
    assert "old code" in block["unblock"]
    assert run.facts()[: len(before)] == before
    assert "slow" not in WORLD.runs_of(run.id), "a diverging run starts nothing"
    with pytest.raises(vbl.RunBlocked, match="history, event 3") as raised:
        run.result()
    assert raised.value.exit_code == 4
    assert_sound(trial)


async def _two_sleeps(item: str) -> Any:
    price = await work(40)
    await asyncio.gather(asyncio.sleep(60), asyncio.sleep(61))
    return price


async def _no_sleep(item: str) -> Any:
    return [await work(40), await work(2)]


async def _nothing_more(item: str) -> Any:
    return await work(40)


async def _nothing_at_all(item: str) -> Any:
    return None


async def _other_input(item: str) -> Any:
    await work(41)
    await asyncio.sleep(60)


async def _raises(item: str) -> Any:
    await work(40)
    raise ValueError("no")


async def _other_parameters(thing: str) -> Any:
    await work(40)
    await asyncio.sleep(60)


async def _stops(item: str) -> Any:
    await work(40)
    await asyncio.get_running_loop().create_future()


async def _marks(item: str) -> Any:
    vbl.patched("new")
    price = await work(40)
    await asyncio.sleep(60)
    return [item, price, await work(2)]


def _becomes_sync(item: str) -> Any:
    labour(40)


DIFFERENT = {
    "other input": (_other_input, 'STEP_STARTED work with {"value":40}', 'STEP_STARTED work with {"value":41}'),
    "one more timer": (_two_sleeps, "nothing more", "TIMER_SET 2"),
    "no timer": (_no_sleep, "TIMER_SET 1", "STEP_STARTED work#2"),
    "an early return": (_nothing_more, "TIMER_SET 1", "RUN_COMPLETED"),
    "an early return before everything": (_nothing_at_all, "STEP_STARTED work", "RUN_COMPLETED"),
    "an exception": (_raises, "TIMER_SET 1", "RUN_FAILED"),
    "another parameter": (_other_parameters, "started with item", "no longer takes"),
    "a wait for nothing": (_stops, "", "waits for something that no step"),
    "another step": (_becomes_sync, "STEP_STARTED work", "STEP_STARTED labour"),
}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_whatever_the_difference_it_is_named_and_nothing_is_lost(trial: Trial, difference: str) -> None:
    run = begun(trial)
    before = run.facts()
    function, was, now = DIFFERENT[difference]
    version(function)
    restarted(trial, later=60)
    assert run.status == "blocked"
    (block,) = blocks(run)
    assert was in block["message"]
    assert now in block["message"]
    assert block["unblock"]
    assert [fact.type for fact in run.facts()[len(before) :]] == ["RUN_BLOCKED"]
    first()
    restarted(trial)
    assert run.result() == ["lamp", 40, 2]
    assert WORLD.runs_of(run.id) == {"work": 1, "work#2": 1}
    assert_sound(trial)


def test_a_result_that_no_longer_fits_its_type_blocks_the_run(trial: Trial) -> None:
    run = begun(trial)

    @vbl.step(name="work")
    async def other(value: int) -> dict[str, int]:
        raise AssertionError("it has completed already")

    async def offer(item: str) -> Any:
        price = await other(40)
        await asyncio.sleep(60)
        return [item, price]

    version(offer)
    restarted(trial, later=60)
    assert run.status == "blocked", run.state().error
    assert "work" in blocks(run)[0]["message"]


# One event a version ----------------------------------------------------------------------------------------------


def test_each_version_of_the_code_adds_one_event_however_often_it_is_tried(trial: Trial) -> None:
    run = begun(trial)
    for function in (_other_input, _two_sleeps):
        changed = version(function)
        for _ in range(3):
            restarted(trial, later=60)
        assert blocks(run)[-1]["version"] == changed.version
    assert len(blocks(run)) == 2
    version(_other_input)
    restarted(trial)
    assert len(blocks(run)) == 2, "a version that was tried before is not tried again by itself"
    first()
    restarted(trial)
    assert run.result() == ["lamp", 40, 2]
    resumed = [fact.payload["reason"] for fact in run.facts() if fact.type == "RUN_RESUMED"]
    assert resumed == ["another version of the code follows its history"]


def test_a_living_supervisor_tries_a_new_version_by_itself(quick_housekeeping: None, trial: Trial) -> None:
    """As in a notebook, where a cell is run again."""
    run = begun(trial)
    version(_no_sleep)
    restarted(trial, later=60)
    assert run.status == "blocked"
    first()
    trial.until(lambda: run.status == "completed")
    assert run.result() == ["lamp", 40, 2]


def test_retry_tries_the_same_version_again(trial: Trial) -> None:
    run = begun(trial)
    version(_no_sleep)
    restarted(trial, later=60)
    run.retry(by="ada")
    trial.settle()
    assert [fact.type for fact in run.facts()[-3:]] == ["RUN_BLOCKED", "RUN_RETRIED", "RUN_BLOCKED"]
    first()
    restarted(trial)
    assert run.result() == ["lamp", 40, 2]


def test_a_blocked_run_can_be_cancelled(trial: Trial) -> None:
    run = begun(trial)
    version(_no_sleep)
    restarted(trial, later=60)
    run.cancel(by="ada")
    trial.settle()
    assert run.status == "cancelled"
    assert (run.state().cancel or {})["actor"] == "ada"
    first()
    restarted(trial)
    assert run.wait() == "cancelled"


def test_a_run_whose_workflow_is_gone_waits_and_says_for_what(trial: Trial) -> None:
    run = begun(trial)
    del REGISTRY["offer"]
    before = run.facts()
    restarted(trial, later=60)
    assert run.facts() == before
    assert run.why().waits_for in ("workflow", "timer", "supervisor")
    first()
    restarted(trial)
    assert run.result() == ["lamp", 40, 2]


def test_a_blocked_run_does_not_delay_its_neighbours(trial: Trial) -> None:
    runs = [trial.start(first(), f"lamp {n}") for n in range(5)]

    @vbl.workflow
    async def neighbour(n: int) -> int:
        await asyncio.sleep(60)
        return await work(n)

    others = [trial.start(neighbour, n) for n in range(5)]
    trial.settle()
    version(_no_sleep)
    restarted(trial, later=60)
    assert [run.result() for run in others] == [0, 1, 2, 3, 4]
    assert {run.status for run in runs} == {"blocked"}


def test_a_step_in_flight_when_its_run_is_found_to_diverge_is_recorded_and_not_run_again(trial: Trial) -> None:
    """Somebody pauses the run for a moment: it is loaded again, with other code, while a body runs."""

    async def offer(item: str) -> Any:
        return [item, await slow(1, 30), await work(2)]

    run = trial.start(version(offer), "lamp")
    trial.settle()

    async def changed(item: str) -> Any:
        return [item, await work(7)]

    version(changed)
    run.pause()
    trial.settle()
    run.unpause()
    trial.settle()
    assert run.status == "blocked"
    trial.advance(40)
    assert "STEP_COMPLETED" in [fact.type for fact in run.facts()]
    version(offer)
    restarted(trial)
    assert run.result() == ["lamp", 1, 2]
    assert WORLD.runs_of(run.id) == {"slow": 1, "work": 1}


# Patches ----------------------------------------------------------------------------------------------------------


async def _patched(item: str) -> Any:
    discount = await slow(5, 0) if vbl.patched("discount") else 0
    price = await work(40)
    await asyncio.sleep(60)
    return [item, price, await work(2), discount]


def test_a_patch_lets_old_runs_go_on_and_new_ones_take_the_new_way(trial: Trial) -> None:
    old = begun(trial)
    patched = version(_patched)
    restarted(trial, later=30)
    new = trial.start(patched, "chair")
    assert old.result() == ["lamp", 40, 2, 0]
    assert new.result() == ["chair", 40, 2, 5]
    assert [f.payload for f in new.facts() if f.type == "VERSION_MARKED"] == [{"v": 1, "patch": "discount"}]
    assert not [f for f in old.facts() if f.type == "VERSION_MARKED"]
    assert new.state().patches == ["discount"]
    for run in (old, new):
        assert replay(run) == run.result()


def test_a_patch_behind_the_place_where_a_run_is_is_taken(trial: Trial) -> None:
    run = begun(trial)

    async def offer(item: str) -> Any:
        price = await work(40)
        await asyncio.sleep(60)
        if vbl.patched("late"):
            await slow(1, 0)
        return [item, price, await work(2)]

    version(offer)
    restarted(trial, later=60)
    assert run.result() == ["lamp", 40, 2]
    assert "slow" in WORLD.runs_of(run.id)
    restarted(trial)
    assert replay(run) == ["lamp", 40, 2]


def test_a_patch_answers_alike_before_and_after_a_restart_in_the_middle(trial: Trial) -> None:
    """In a loop that is half done the patch begins with the next round, and stays."""

    async def plain(item: str) -> Any:
        found = []
        for n in range(4):
            found.append(await work(n))
            await asyncio.sleep(60)
        return found

    async def changed(item: str) -> Any:
        found = []
        for n in range(4):
            found.append(await work(n))
            if vbl.patched("loop"):
                found.append("new")
            await asyncio.sleep(60)
        return found

    run = trial.start(version(plain), "lamp")
    trial.advance(90)
    assert WORLD.runs_of(run.id) == {"work": 1, "work#2": 1}
    version(changed)
    restarted(trial)
    trial.advance(60)
    restarted(trial)
    assert run.result() == [0, 1, 2, "new", 3, "new"]
    assert replay(run) == [0, 1, 2, "new", 3, "new"]


# What is no difference --------------------------------------------------------------------------------------------


def test_what_does_not_change_the_commands_changes_nothing(trial: Trial) -> None:
    run = begun(trial)

    @vbl.step(name="work", retry=vbl.Retry(max_attempts=9), timeout=5, effect="read")
    async def renamed(value: int) -> int:
        WORLD.did()
        return value * 100

    async def offer(item: str, more: int = 7) -> Any:
        """With a comment, a default, another order of lines."""
        log = []
        price = await renamed(value=40)
        log.append(price)
        await vbl.sleep(60)
        return [item.upper(), *log, await renamed(2), more]

    version(offer)
    restarted(trial, later=60)
    assert run.result() == ["LAMP", 40, 200, 7], "what has completed keeps its result; what comes runs the new body"


def test_the_source_that_a_run_began_with_is_kept(trial: Trial) -> None:
    run = begun(trial)
    version(_no_sleep)
    restarted(trial)
    kept = run.source()
    assert kept is not None
    assert "price = await work(40)" in kept["source"]
    assert kept["file"] == __file__
    assert kept["line"] == first().function.__code__.co_firstlineno


def test_a_version_is_that_of_the_code_and_of_nothing_else() -> None:
    one, two = first(), first()
    assert one.version == two.version
    assert len(one.version) == 16
    assert version(_no_sleep).version != one.version
