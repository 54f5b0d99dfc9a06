"""Every shape of the corpus dies before and after each of its commits, and ends as if nothing had happened."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Literal

import pytest

from tests.engine import corpus  # noqa: F401  its workflows are the ones that are known here
from tests.engine.checks import assert_as_known, assert_attempts_ran_once, assert_sound, body_runs, completed
from tests.engine.corpus import SHAPES, Shape
from tests.engine.world import WORLD
from vbl.history.state import Status
from vbl.testing import FakeClock, Trial

QUICK = ["sequence", "retries"]


def die_at(shape: Shape, path: Path, at: int, when: Literal["before", "after"]) -> bool:
    """Run the shape, die at that commit, go on, and compare with the undisturbed run. False: it never died."""
    WORLD.begin(FakeClock())
    trial = Trial(path, clock=WORLD.clock)
    try:
        trial.up(die_before=at if when == "before" else None, die_after=at if when == "after" else None)
        run = trial.start(shape.workflow, *shape.args, **shape.options)
        if trial.finish(run):
            assert trial.commits < at
            return False
        facts, rows = run.facts(), trial.events()
        done = completed(facts)
        before = body_runs(run.id, done)
        trial.up()
        assert trial.finish(run)
        assert_as_known(shape, run)
        assert run.facts()[: len(facts)] == facts, "an event was lost"
        assert trial.events()[: len(rows)] == rows
        assert body_runs(run.id, done) == before, "a completed step ran again"
        assert_attempts_ran_once(run, WORLD.effects)
        assert WORLD.runs_of(run.id).keys() == shape.effects.keys()
        assert_sound(trial)
        return True
    finally:
        trial.close()


def whole_row(shape: Shape, folder: Path, when: Literal["before", "after"]) -> None:
    for at in count(1):
        if not die_at(shape, folder / f"{at}.db", at, when):
            break
    assert at > 1, "it never died: the matrix would prove nothing"


@pytest.mark.parametrize("name", QUICK)
def test_death_after_any_commit_changes_nothing(name: str, tmp_path: Path) -> None:
    whole_row(SHAPES[name], tmp_path, "after")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_whole_matrix(shape: Shape, when: Literal["before", "after"], tmp_path: Path) -> None:
    whole_row(shape, tmp_path, when)


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [(1, 1), (2, 5), (4, 2), (7, 9), (12, 3), (20, 20), (33, 1)], ids=str)
def test_all_shapes_in_one_file_end_over_several_lives(deaths: tuple[int, int], tmp_path: Path) -> None:
    """Their commits go together into one transaction, so a death takes part of many runs at once. Two deaths, for
    from the third on steps in flight are started one at a time, which is another story than the undisturbed one."""
    trial = Trial(tmp_path / "all.db", clock=WORLD.clock).up(die_after=deaths[0])
    runs = {name: trial.start(shape.workflow, *shape.args, **shape.options) for name, shape in SHAPES.items()}
    for life in (deaths[1], None):
        assert not all(trial.finish(run) for run in runs.values())
        done = {name: completed(run.facts()) for name, run in runs.items()}
        before = {name: body_runs(run.id, done[name]) for name, run in runs.items()}
        trial.up(die_after=life)
        trial.settle()
        assert before == {name: body_runs(run.id, done[name]) for name, run in runs.items()}
    for name, run in runs.items():
        assert trial.finish(run)
        assert_as_known(SHAPES[name], run)
        assert_attempts_ran_once(run, WORLD.effects)
    assert_sound(trial)
    trial.close()


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_death_in_every_life_still_comes_to_the_end(shape: Shape, tmp_path: Path) -> None:
    """Each supervisor dies after its third commit, so that runs end over many short lives."""
    trial = Trial(tmp_path / "lives.db", clock=WORLD.clock)
    trial.up(die_after=3)
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    for lives in count(1):
        if trial.finish(run):
            break
        assert lives < 60, f"no progress: {[fact.type for fact in run.facts()][-12:]}"
        trial.up(die_after=3)
    assert run.status is not Status.BLOCKED
    assert_as_known(shape, run)
    assert_attempts_ran_once(run, WORLD.effects)
    trial.close()
