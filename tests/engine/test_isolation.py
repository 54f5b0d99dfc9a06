"""What one body does cannot reach another: its context, its process, its death."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.engine import apart, doomed, late
from tests.engine.world import WORLD
from vbl.engine import isolate
from vbl.testing import Trial

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


@vbl.step
async def marks(name: str) -> str:
    """What was set before, which must be nothing; then sets it."""
    before = MARK.get()
    MARK.set(name)
    return before


@vbl.step
def marks_in_a_thread(name: str) -> str:
    before = MARK.get()
    MARK.set(name)
    return before


@vbl.workflow
async def marking(name: str) -> list[str]:
    mine = MARK.get()
    return [
        mine,
        await marks(name),
        await marks(name),
        await marks_in_a_thread.aio(name),
        await marks(name),
        MARK.get(),
    ]


@vbl.workflow
def plain_marking(name: str) -> list[str]:
    MARK.set("workflow")
    found = [marks_in_a_thread(name) for _ in range(3)]
    return [*found, MARK.get()]


def test_context_variables_do_not_leak_between_bodies_and_runs(trial: Trial) -> None:
    for name in ("a", "b"):
        assert trial.start(marking, name).result() == ["none"] * 6
        assert trial.start(plain_marking, name).result() == ["none"] * 3 + ["workflow"]
    assert WORLD.notes == []


def test_a_sync_workflow_can_be_the_first_to_need_a_thread(trial: Trial) -> None:
    """Its call wakes the supervisor out of workflow code; what that starts then is no workflow's doing."""
    assert trial.start(plain_marking, "a").result(timeout=10) == ["none"] * 3 + ["workflow"]


# Processes ----------------------------------------------------------------------------------------------------------


@vbl.workflow
async def meets_others(at: datetime.datetime) -> list[Any]:
    """Two processes side by side, one of them with an async body."""
    who, later = await asyncio.gather(apart.whoami.aio(at, {"b", "a"}), apart.later(at))
    return [who, later.isoformat()]


def test_an_isolated_body_runs_in_a_process_of_its_own_with_typed_values(trial: Trial) -> None:
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    run = trial.start(meets_others, at)
    who, later = run.result()
    assert who.pop("pid") != os.getpid()
    assert who == {"key": f"{run.id}:whoami", "calls": 1, "type": "datetime", "tags": ["a", "b"]}
    assert later == "2026-01-02T00:00:00+00:00"
    assert apart.COUNT["calls"] == 0
    assert multiprocessing.active_children() == []


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_an_isolated_body_is_killed_at_its_time_out(trial: Trial, tmp_path: Path) -> None:
    @vbl.workflow
    async def waits(mark: str) -> list[str]:
        try:
            await apart.hangs.aio(mark)
        except vbl.StepFailed as error:
            return [error.kind, error.message]
        return []

    assert trial.start(waits, str(tmp_path / "mark")).result() == ["timeout", "the attempt took longer than 1 s"]
    assert gone(int((tmp_path / "mark").read_text()))
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_the_time_of_a_body_begins_when_its_process_has_come_to_it(trial: Trial) -> None:
    @vbl.workflow
    async def calls() -> str:
        return await late.promptly.aio()

    assert trial.start(calls).result() == "in time"


@pytest.mark.parametrize("how", ["kill", pytest.param("exit", marks=pytest.mark.slow)])
def test_a_death_of_the_child_is_a_failed_attempt_and_nothing_more(trial: Trial, tmp_path: Path, how: str) -> None:
    @vbl.workflow
    async def survives(mark: str, how: str) -> int:
        return await apart.dies.aio(mark, how)

    run = trial.start(survives, str(tmp_path / "mark"), how)
    assert run.result() != os.getpid()
    (error,) = [fact.payload["error"] for fact in run.facts() if fact.type == "STEP_FAILED"]
    assert (error["kind"], error["type"]) == ("transient", "ProcessDied")
    assert ("-9" if how == "kill" else "7") in error["message"]


@pytest.mark.slow
def test_a_write_whose_process_never_came_to_it_is_in_no_doubt(trial: Trial) -> None:
    @vbl.workflow
    async def workflow() -> str:
        return await doomed.pays.aio()

    run = trial.start(workflow)
    assert run.wait("failed", "blocked") == "failed"
    failed = [fact.payload for fact in run.facts() if fact.type == "STEP_FAILED"]
    assert [one["error"]["type"] for one in failed] == ["ProcessDied"] * 2
    assert not any("unknown" in one for one in failed)


@pytest.mark.slow
def test_a_process_that_never_comes_to_the_body_is_not_waited_for(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolate, "_START_S", 0.2)

    @vbl.workflow
    async def calls() -> str:
        return await late.promptly.aio()

    with pytest.raises(vbl.RunFailed, match=r"took longer than 0\.2 s to come to its body"):
        trial.start(calls).result()


@pytest.mark.slow
def test_a_write_that_took_its_process_with_it_is_asked_about(trial: Trial, tmp_path: Path) -> None:
    @vbl.workflow
    async def writes(mark: str) -> None:
        await apart.dies_writing.aio(mark)

    run = trial.start(writes, str(tmp_path / "mark"))
    trial.finish(run)
    assert run.status == "blocked"
    assert "exit code 7" in run.why().detail
    assert (tmp_path / "mark").read_text() == "written\n"


@pytest.mark.parametrize(
    ("how", "kind", "type", "attempts"),
    [
        ("value", "bug", "ValueError", 1),
        pytest.param("object", "bug", "ValueNotStorable", 1, marks=pytest.mark.slow),
        pytest.param("exits", "bug", "SystemExit", 1, marks=pytest.mark.slow),
    ],
)
def test_what_an_isolated_body_raises_comes_back(
    trial: Trial, tmp_path: Path, how: str, kind: str, type: str, attempts: int
) -> None:
    @vbl.workflow
    async def catches(mark: str, how: str) -> list[Any]:
        try:
            return [await apart.fails.aio(mark, how)]
        except vbl.StepFailed as error:
            return [error.kind, error.type, error.attempts]

    run = trial.start(catches, str(tmp_path / "mark"), how)
    assert run.result() == [kind, type, attempts]
    failed = next(fact.payload["error"] for fact in run.facts() if fact.type == "STEP_FAILED")
    assert "apart.py" in failed["traceback"] or how == "object"


@pytest.mark.slow
def test_what_the_other_side_says_about_waiting_comes_out_of_the_child(trial: Trial, tmp_path: Path) -> None:
    @vbl.workflow
    async def comes_back(mark: str) -> str:
        return await apart.fails.aio(mark, "busy")

    run = trial.start(comes_back, str(tmp_path / "mark"))
    trial.settle()
    assert run.refresh().wake_at == run.created_at + 44_500_000
    assert run.result() == "fine"


def test_a_step_that_no_child_can_find_is_refused(trial: Trial) -> None:
    @vbl.step(isolation="process")
    def hidden() -> int:
        return 1

    @vbl.workflow
    async def calls() -> int:
        return await hidden.aio()

    run = trial.start(calls)
    assert trial.finish(run)
    error = run.state().error or {}
    assert "top level of a module" in error["message"]
    assert hidden() == 1, "outside a run it is the plain function"


@pytest.mark.slow
@pytest.mark.parametrize("when", ["starting", "running"])
def test_a_child_does_not_outlive_its_step(trial: Trial, tmp_path: Path, when: str) -> None:
    """Given up by the code, or by a stop: at once after the start, and while it runs."""

    @vbl.workflow
    async def waits(mark: str) -> None:
        await apart.hangs.options(timeout=100).aio(mark)

    mark = tmp_path / "mark"
    run = trial.start(waits, str(mark))
    trial.until(lambda: mark.exists() and mark.read_text() if when == "running" else run.state().in_flight)
    trial.down(grace_s=0)
    assert multiprocessing.active_children() == []
    if when == "running":
        assert gone(int(mark.read_text()))
    assert [fact.payload["counted"] for fact in run.facts() if fact.type == "STEP_INTERRUPTED"] == [False]


def test_a_body_that_is_stopped_may_clean_up(trial: Trial) -> None:
    @vbl.step
    async def careful() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            WORLD.note("cleaned up")

    @vbl.workflow
    async def waits() -> None:
        await careful()

    run = trial.start(waits)
    trial.until(lambda: run.state().in_flight)
    trial.down(grace_s=0)
    assert WORLD.notes == ["cleaned up"]
    trial.up()
    trial.until(lambda: run.state().attempts["careful"] == 2)
    trial.kill()
    assert WORLD.notes == ["cleaned up"] * 2
