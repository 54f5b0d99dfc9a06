"""Somebody else's event comes just before a commit of the supervisor, and makes what it proposes void: nothing is lost,
nothing is done twice, and the runs come to their ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vbl.testing.trial
from tests.engine import guesses
from tests.engine.checks import assert_attempts_ran_once, assert_sound
from tests.engine.guesses import (
    Program,
    Turn,
    come_to_an_end,
    guess,
    plain_guess,
    plain_programs,
    programs,
    tree,
    worlds,
)
from tests.engine.outside import assert_kin_agree, reach
from tests.engine.prefixes import check_prefixes
from tests.engine.world import WORLD
from vbl.client import Client
from vbl.handle import Run
from vbl.history.state import Status
from vbl.testing import DyingJournal, FakeClock, Trial, replay

overtakers = st.dictionaries(
    st.integers(1, 12),
    st.builds(
        lambda what, which: Turn(0, what, which),
        st.sampled_from(["grant", "deny", "send", "cancel one"]),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=5,
)


class Overtaken(DyingJournal):
    """Before its n-th try to commit somebody takes a turn; not where it holds the lock, for then nobody can."""

    plan: dict[int, Turn]
    run_id: str
    tries: int
    taken: int

    def commit_all(self, histories: Any, *args: Any) -> Any:
        cls = type(self)
        cls.tries += 1
        turn = cls.plan.get(cls.tries)
        if turn is not None and cls.run_id and not self.store._depth:
            cls.taken += 1
            with Client(Path(self.store.path), clock=WORLD.clock, durability="process") as client:
                turn.take(client, client.run(cls.run_id))
        return super().commit_all(histories, *args)


@contextmanager
def overtaken(plan: dict[int, Turn]) -> Iterator[type[Overtaken]]:
    """Supervisors of trials have such a door while this lasts."""
    Overtaken.plan, Overtaken.run_id, Overtaken.tries, Overtaken.taken = plan, "", 0, 0
    vbl.testing.trial.DyingJournal = Overtaken
    try:
        yield Overtaken
    finally:
        vbl.testing.trial.DyingJournal = DyingJournal


def check(trial: Trial, run: Run) -> None:
    for one in tree(trial, run):
        assert one.status in (Status.COMPLETED, Status.CANCELLED), one.state().blocked or one.state().error
        check_prefixes(one)
        output = replay(one)
        assert one.status is not Status.COMPLETED or output == one.result(timeout=0)
        assert_attempts_ran_once(one, WORLD.effects)
    assert_kin_agree(trial)
    assert_sound(trial)


def overtake(
    program: Program, turns: list[Turn], plan: dict[int, Turn], die_after: int | None = None, workflow: Any = guess
) -> int:
    """Run the program in that world; how often somebody came first."""
    WORLD.begin(FakeClock())
    with TemporaryDirectory() as folder, overtaken(plan) as door:
        trial = Trial(Path(folder) / "waits.db", clock=WORLD.clock)

        def revive() -> None:
            assert_kin_agree(trial)
            trial.up()

        try:
            run = trial.start(workflow, program)
            door.run_id = run.id
            trial.up(die_after=die_after)
            instant = run.created_at
            for turn in turns:
                instant += round(turn.after * 1e6)
                reach(trial, instant, revive)
                turn.take(trial, run)
            come_to_an_end(trial, run, revive)
            reach(trial, trial.clock.now(), revive)
            check(trial, run)
        finally:
            trial.close()
        return door.taken


@pytest.mark.slow
@given(programs, worlds, overtakers)
@settings(max_examples=25)
def test_whoever_comes_first_nothing_is_lost(program: Program, turns: list[Turn], plan: dict[int, Turn]) -> None:
    overtake(program, turns, plan)


@pytest.mark.slow
@given(programs, worlds, overtakers, guesses.ends, st.none() | st.integers(1, 6))
@settings(max_examples=200)
def test_whoever_comes_first_and_whoever_dies_nothing_is_lost(
    program: Program, turns: list[Turn], plan: dict[int, Turn], end: Turn | None, die_after: int | None
) -> None:
    overtake(program, [*turns, *([end] if end is not None else [])], plan, die_after)


@pytest.mark.slow
@given(plain_programs, worlds, overtakers)
@settings(max_examples=25)
def test_nothing_is_lost_of_a_sync_workflow(program: Program, turns: list[Turn], plan: dict[int, Turn]) -> None:
    overtake(program, turns, plan, workflow=plain_guess)


@pytest.mark.slow
@given(plain_programs, worlds, overtakers, guesses.ends, st.none() | st.integers(1, 6))
@settings(max_examples=200)
def test_nothing_is_lost_of_a_sync_workflow_whoever_dies(
    program: Program, turns: list[Turn], plan: dict[int, Turn], end: Turn | None, die_after: int | None
) -> None:
    overtake(program, [*turns, *([end] if end is not None else [])], plan, die_after, plain_guess)


def test_somebody_does_come_first() -> None:
    """Else the properties above would say nothing."""
    gate = {"do": "gate", "name": "red", "s": None, "late": "deny"}
    program = {"do": "line", "of": [gate, {"do": "step", "n": 1}, {"do": "step", "n": 2}]}
    assert overtake(program, [Turn(1, "grant", 0)], {3: Turn(0, "send", 1)}) == 1
