"""Every shape that waits for the world dies before and after each of its commits, and ends as if nothing had happened,
the world doing its part at the same instants."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Literal

import pytest

from tests.engine import corpus, waiting  # noqa: F401  their workflows are the ones that are known here
from tests.engine.checks import assert_as_known, assert_attempts_ran_once, assert_sound, body_runs, completed
from tests.engine.outside import assert_kin_agree, bodies, play, reach
from tests.engine.prefixes import check_prefixes
from tests.engine.test_replay import PYTHONS, replayed_elsewhere
from tests.engine.waiting import WAITING, Waiting
from tests.engine.world import WORLD
from vbl.engine import lookout
from vbl.handle import Run
from vbl.history.state import Status
from vbl.testing import FakeClock, Trial, replay

QUICK = ["gate_edited"]


@pytest.fixture
def parks_at_once(quick_housekeeping: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is dropped from memory in the next round, not after a second."""
    monkeypatch.setattr(lookout, "PARK_AFTER", -1)


def assert_ended(shape: Waiting, trial: Trial, run: Run) -> None:
    """As is known of the shape; and so did the runs below."""
    assert_as_known(shape, run)
    others = [one for one in trial.runs(limit=None) if one.id != run.id]
    assert {one.workflow: one.status for one in others} == shape.kin
    assert_kin_agree(trial)
    assert_sound(trial)


@pytest.mark.slow
@pytest.mark.parametrize("shape", WAITING.values(), ids=WAITING)
def test_shape_ends_as_known(shape: Waiting, trial: Trial) -> None:
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    play(trial, run, shape.moves)
    assert_ended(shape, trial, run)
    assert bodies(trial, run) == shape.effects


@pytest.mark.slow
@pytest.mark.parametrize("shape", WAITING.values(), ids=WAITING)
def test_replay_asks_for_nothing_new(shape: Waiting, trial: Trial) -> None:
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    play(trial, run, shape.moves)
    before, effects = list(trial.events()), list(WORLD.effects)
    for one in trial.runs(limit=None):
        output = replay(one)
        assert one.status is not Status.COMPLETED or output == one.result(timeout=0)
    assert list(trial.events()) == before
    assert effects == WORLD.effects


@pytest.mark.slow
@pytest.mark.parametrize("shape", WAITING.values(), ids=WAITING)
def test_replay_from_any_prefix_asks_for_the_same_next(shape: Waiting, trial: Trial) -> None:
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    play(trial, run, shape.moves)
    for one in trial.runs(limit=None):
        assert check_prefixes(one) > 3


@pytest.mark.slow
@pytest.mark.parametrize("shape", [s for s in WAITING.values() if s.moves], ids=lambda shape: shape.name)
def test_what_is_done_while_nobody_is_alive_counts(shape: Waiting, trial: Trial) -> None:
    """The supervisor dies before each move, and the next one finds what was decided, sent and cancelled meanwhile."""
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    for move in shape.moves:
        reach(trial, run.created_at + round(move.at * 1e6), lambda: None)
        trial.kill()
        before = [fact.type for fact in run.facts()]
        move.make(trial, run)
        assert_kin_agree(trial)
        assert [fact.type for fact in run.facts()][: len(before)] == before
        trial.up()
        trial.settle()
    play(trial, run, ())
    assert_ended(shape, trial, run)
    assert bodies(trial, run).keys() == shape.effects.keys()
    for one in trial.runs(limit=None):
        assert_attempts_ran_once(one, WORLD.effects)


@pytest.mark.slow
@pytest.mark.parametrize("shape", WAITING.values(), ids=WAITING)
def test_shape_survives_being_parked_at_each_wait(parks_at_once: None, shape: Waiting, trial: Trial) -> None:
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    for move in shape.moves:
        reach(trial, run.created_at + round(move.at * 1e6), lambda: None)
        if not any(one.state().in_flight for one in trial.runs(limit=None)):
            trial.until(lambda: trial.in_memory == 0)
        move.make(trial, run)
    play(trial, run, ())
    assert_ended(shape, trial, run)
    assert bodies(trial, run) == shape.effects


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_replay_elsewhere_asks_for_the_same(python: str, tmp_path: Path) -> None:
    """Another process, another hash seed, another Python."""
    with Trial(tmp_path / "shapes.db", clock=WORLD.clock) as trial:
        for shape in WAITING.values():
            play(trial, trial.start(shape.workflow, *shape.args, **shape.options), shape.moves)
        runs = trial.runs(limit=None)
        assert len(runs) > len(WAITING)
        expected = {run.id: run.state().output for run in runs}
    assert replayed_elsewhere(python, "4242", tmp_path / "shapes.db") == expected


class Lives:
    """The lives of the supervisors of one run: what stands in the file at each death stands there for ever, and what
    was completed by then does not run again."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.deaths = 0
        self._rows: list[object] = []
        self._done: dict[str, dict[str, int]] = {}
        self._before: dict[str, object] = {}

    def revive(self, die_after: int | None = None) -> None:
        """Look at what the dead one left, and give it a successor."""
        self.deaths += 1
        self.check()
        assert_kin_agree(self.trial)
        self._rows = list(self.trial.events(limit=100_000))
        runs = self.trial.runs(limit=None)
        self._done = {run.id: completed(run.facts()) for run in runs}
        self._before = {run.id: body_runs(run.id, self._done[run.id]) for run in runs}
        self.trial.up(die_after=die_after)

    def check(self) -> None:
        assert list(self.trial.events(limit=100_000))[: len(self._rows)] == self._rows, "an event was lost"
        for id, done in self._done.items():
            assert body_runs(id, done) == self._before[id], "a completed step ran again"


def die_at(shape: Waiting, path: Path, at: int, when: Literal["before", "after"]) -> bool:
    """Run the shape, die at that commit, go on, and compare with the undisturbed run. False: it never died."""
    WORLD.begin(FakeClock())
    trial = Trial(path, clock=WORLD.clock)
    lives = Lives(trial)
    try:
        trial.up(die_before=at if when == "before" else None, die_after=at if when == "after" else None)
        run = trial.start(shape.workflow, *shape.args, **shape.options)
        play(trial, run, shape.moves, lives.revive)
        lives.check()
        assert_ended(shape, trial, run)
        assert bodies(trial, run).keys() == shape.effects.keys()
        for one in trial.runs(limit=None):
            assert_attempts_ran_once(one, WORLD.effects)
        return lives.deaths > 0
    finally:
        trial.close()


def whole_row(shape: Waiting, folder: Path, when: Literal["before", "after"]) -> None:
    for at in count(1):
        if not die_at(shape, folder / f"{at}.db", at, when):
            break
    assert at > 1, "it never died: the matrix would prove nothing"


@pytest.mark.parametrize("name", QUICK)
def test_death_after_any_commit_changes_nothing(name: str, tmp_path: Path) -> None:
    whole_row(WAITING[name], tmp_path, "after")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("shape", WAITING.values(), ids=WAITING)
def test_the_whole_matrix(shape: Waiting, when: Literal["before", "after"], tmp_path: Path) -> None:
    whole_row(shape, tmp_path, when)


@pytest.mark.slow
@pytest.mark.parametrize("shape", WAITING.values(), ids=WAITING)
def test_a_death_in_every_life_still_comes_to_the_end(shape: Waiting, tmp_path: Path) -> None:
    """Each supervisor dies after its third commit, so that runs end over many short lives."""
    trial = Trial(tmp_path / "lives.db", clock=WORLD.clock)
    lives = Lives(trial)

    def revive() -> None:
        assert lives.deaths < 60, f"no progress: {[fact.type for fact in run.facts()][-12:]}"
        lives.revive(die_after=3)

    trial.up(die_after=3)
    run = trial.start(shape.workflow, *shape.args, **shape.options)
    play(trial, run, shape.moves, revive)
    lives.check()
    assert_ended(shape, trial, run)
    trial.close()


def test_the_shapes_are_wide_enough() -> None:
    """Each kind of waiting is in it, and what can happen to it."""
    assert len(WAITING) >= 40
    assert WAITING.keys() >= set(QUICK)
    said = {move.what.split()[1] for shape in WAITING.values() for move in shape.moves if " " in move.what}
    assert {"grants", "denies", "payment"} <= said
