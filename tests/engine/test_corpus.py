"""Every shape of the corpus does what is known of it, when nothing disturbs it."""

from __future__ import annotations

import pytest

from tests.engine import corpus
from tests.engine.checks import assert_as_known, assert_sound
from tests.engine.corpus import SHAPES, Shape
from tests.engine.world import WORLD
from vbl.testing import Trial, replay


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_shape_ends_as_known(shape: Shape, trial: Trial) -> None:
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    assert trial.finish(run)
    assert_as_known(shape, run)
    assert dict(WORLD.runs_of(run.id)) == shape.effects
    assert_sound(trial)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_replay_of_an_unchanged_run_asks_for_nothing_new(shape: Shape, trial: Trial) -> None:
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    assert trial.finish(run)
    before = list(trial.events())
    effects = list(WORLD.effects)
    output = replay(run)
    assert output == run.state().output or run.status != "completed"
    assert trial.events() == before
    assert effects == WORLD.effects


def test_the_corpus_is_wide_enough() -> None:
    assert len(SHAPES) >= 15
    assert {workflow.name for workflow in vars(corpus).values() if workflow in [s.workflow for s in SHAPES.values()]}
