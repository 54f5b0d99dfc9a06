"""A run that only waits leaves memory, and comes back as if it had never left."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import vbl
from tests.engine import corpus
from tests.engine.checks import assert_as_known, assert_sound
from tests.engine.corpus import SHAPES, Shape, labour, work
from tests.engine.world import WORLD
from vbl.engine import lookout
from vbl.testing import Trial

ROOT = Path(__file__).parents[2]
MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


@pytest.fixture
def parks_at_once(quick_housekeeping: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is dropped from memory in the next round, not after a second."""
    monkeypatch.setattr(lookout, "PARK_AFTER", -1)


def parked(trial: Trial) -> None:
    trial.settle()
    trial.until(lambda: trial.in_memory == 0)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_survives_being_parked_at_each_wait(parks_at_once: None, shape: Shape, trial: Trial) -> None:
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    trial.settle()
    while not run.status.finished:
        assert run.status != "blocked", run.state().blocked
        if not run.state().in_flight:
            parked(trial)
        assert trial.skip() or run.status.finished
    assert_as_known(shape, run)
    assert dict(WORLD.runs_of(run.id)) == shape.effects
    assert_sound(trial)


def test_a_run_that_waits_is_parked_after_a_moment_and_not_before(quick_housekeeping: None, trial: Trial) -> None:
    run = trial.start(corpus.sleeps)
    trial.settle()
    assert trial.in_memory == 1
    trial.advance(1.5)
    parked(trial)
    assert run.status == "waiting"
    assert run.result() == SHAPES["sleeps"].outcome


def test_a_run_with_a_body_in_flight_is_not_parked(parks_at_once: None, trial: Trial) -> None:
    run = trial.start(corpus.gathered)
    trial.settle()
    trial.until(lambda: trial.alive and trial.in_memory == 1)
    trial.advance(25)
    assert trial.in_memory == 1
    assert run.result() == [1, 2, 3, 4]
    parked(trial)


@vbl.workflow
async def naps(n: int) -> int:
    first = await work(n)
    await vbl.sleep(86_400)
    return first + await work(n)


def engine_objects() -> list[object]:
    """What a run costs while it is in memory; earlier tests may have left some."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing).__name__ in ("Execution", "ActiveRun", "WorkflowLoop")]


@pytest.mark.slow
def test_many_runs_sleep_without_memory_and_all_wake(parks_at_once: None, trial: Trial) -> None:
    before = {id(thing) for thing in engine_objects()}
    runs = trial.start_many(naps, range(1_500))
    trial.settle()
    parked(trial)
    assert not [thing for thing in engine_objects() if id(thing) not in before]
    assert trial.sql("select status, count(*) from vbl_runs group by status")[1] == [("waiting", 1_500)]
    trial.advance(86_400)
    assert trial.sql("select status, count(*) from vbl_runs group by status")[1] == [("completed", 1_500)]
    assert [run.result() for run in runs[::500]] == [0, 1_000, 2_000]
    assert trial.in_memory == 0


def test_backing_off_paused_and_blocked_runs_leave_memory_too(parks_at_once: None, trial: Trial) -> None:
    @vbl.workflow
    async def stuck() -> None:
        await asyncio.Event().wait()

    retrying, paused, blocked = trial.start(corpus.retries), trial.start(naps, 1), trial.start(stuck)
    trial.settle()
    paused.pause()
    parked(trial)
    assert [run.status for run in (retrying, paused, blocked)] == ["retrying", "paused", "blocked"]
    paused.unpause()
    assert retrying.result() == [1, 2]
    assert paused.result() == 2


# What code sees of it ---------------------------------------------------------------------------------------------


@vbl.workflow
async def tidy() -> str:
    """Its `finally` runs each time that it is parked, and once at the end."""
    try:
        await asyncio.sleep(60)
        return "slept"
    finally:
        WORLD.note("parked" if vbl.parked() else "ended")
        if not vbl.parked():
            await work(1)


def test_a_finally_runs_when_the_run_is_parked_and_can_tell(parks_at_once: None, trial: Trial) -> None:
    run = trial.start(tidy)
    parked(trial)
    assert WORLD.notes == ["parked"]
    trial.advance(60)
    assert run.result() == "slept"
    assert WORLD.notes == ["parked", "ended"]
    assert WORLD.runs_of(run.id) == {"work": 1}


@vbl.workflow
async def careless() -> str:
    """Calls a step in its `finally`, whatever the reason, and catches every Exception."""
    try:
        await asyncio.sleep(60)
        return "slept"
    except Exception:
        WORLD.note("caught an Exception")
        raise
    finally:
        try:
            await work(1)
        except Exception:
            WORLD.note("caught an Exception")
        except BaseException as error:
            WORLD.note(type(error).__name__)
            raise


def test_a_durable_call_while_a_run_is_parked_raises_what_no_except_exception_catches(
    parks_at_once: None, trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    run = trial.start(careless)
    parked(trial)
    assert WORLD.notes == ["Parked"]
    assert not WORLD.runs_of(run.id)
    assert run.result() == "slept"
    assert WORLD.runs_of(run.id) == {"work": 1}
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert_sound(trial)


@vbl.workflow
async def stubborn() -> str:
    """Will not go: swallows whatever ends it, and waits again."""
    for _ in range(3):
        try:
            await asyncio.sleep(60)
        except BaseException:
            WORLD.note("stayed")
            if not vbl.parked():
                raise
    return "slept"


def test_code_that_swallows_everything_is_dropped_all_the_same(parks_at_once: None, trial: Trial) -> None:
    run = trial.start(stubborn)
    parked(trial)
    assert "stayed" in WORLD.notes
    assert run.result() == "slept"


@vbl.workflow
async def marked() -> list[str]:
    """Each task has a context of its own, and resets in it what it has set there."""

    async def child(name: str) -> str:
        token = MARK.set(name)
        try:
            await asyncio.sleep(60)
            return MARK.get()
        finally:
            MARK.reset(token)
            WORLD.note(f"{name} reset to {MARK.get()}")

    MARK.set("parent")
    return [*await asyncio.gather(child("a"), child("b")), MARK.get()]


def test_each_task_is_closed_in_its_own_context(parks_at_once: None, trial: Trial) -> None:
    run = trial.start(marked)
    parked(trial)
    assert sorted(WORLD.notes) == ["a reset to parent", "b reset to parent"]
    assert run.result() == ["a", "b", "parent"]


def test_the_thread_of_a_parked_sync_workflow_ends(parks_at_once: None, trial: Trial) -> None:
    @vbl.workflow
    def plain(n: int) -> list[int]:
        try:
            first = labour(n)
            vbl.sleep(3_600)
            return [first, labour(n + 1)]
        finally:
            WORLD.note("parked" if vbl.parked() else "ended")

    runs = [trial.start(plain, n) for n in range(20)]
    parked(trial)
    trial.until(lambda: not [t for t in threading.enumerate() if t.name == "vbl-plain"])
    assert WORLD.notes == ["parked"] * 20
    assert [run.result() for run in runs] == [[n, n + 1] for n in range(20)]
    trial.until(lambda: WORLD.notes.count("ended") == 20)
    trial.until(lambda: not [t for t in threading.enumerate() if t.name == "vbl-plain"])


def test_parked_is_false_in_steps_and_outside(trial: Trial) -> None:
    @vbl.step
    async def asks() -> bool:
        return vbl.parked()

    @vbl.workflow
    async def asking() -> list[bool]:
        return [vbl.parked(), await asks()]

    assert trial.start(asking).result() == [False, False]
    assert vbl.parked() is False


# Without a word ---------------------------------------------------------------------------------------------------


SOME = ["queue", "generator", "cleanup_after_cancel", "first_completed", "retries", "shielded", "plain_map_and_sleep"]


@pytest.mark.parametrize("names", [SOME, pytest.param(list(SHAPES), marks=pytest.mark.slow)], ids=["some", "all"])
def test_nothing_is_left_unawaited_or_pending(names: list[str], tmp_path: Path) -> None:
    """Shapes parked at each wait, killed and stopped on the way, in Python's development mode."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.engine.quietly", str(tmp_path), *names],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(names)} shapes\n"
