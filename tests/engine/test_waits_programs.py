"""Random programs of waits, races and decisions: replay from any prefix asks for the same next commands, and a death
at any commit changes nothing of what comes out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine import guesses
from tests.engine.checks import assert_attempts_ran_once, assert_sound
from tests.engine.guesses import Program, Turn, brittle_programs, come_to_an_end, guess, programs, tree, worlds
from tests.engine.outside import assert_kin_agree, reach
from tests.engine.prefixes import check_prefixes
from tests.engine.world import WORLD
from vbl.handle import Run
from vbl.history.state import Status
from vbl.testing import FakeClock, Trial, replay


def play(trial: Trial, program: Program, turns: list[Turn], revive: Any = lambda: None) -> Run:
    """Run a program in that world, to its end."""
    run = trial.start(guess, program)
    instant = run.created_at
    for turn in turns:
        instant += round(turn.after * 1e6)
        reach(trial, instant, revive)
        turn.take(trial, run)
    come_to_an_end(trial, run, revive)
    reach(trial, trial.clock.now(), revive)
    return run


def story(trial: Trial, run: Run) -> list[Any]:
    """What came of the run and of those below it: status and result, and the bodies that ran, in the tree's order."""
    return [[one.status.value, one.state().output, sorted(WORLD.runs_of(one.id).keys())] for one in tree(trial, run)]


def check_all(trial: Trial, run: Run) -> None:
    """Every run of the tree has ended, replays, and would ask for the same from every point of its history."""
    for one in tree(trial, run):
        assert one.status in (Status.COMPLETED, Status.CANCELLED), one.state().blocked or one.state().error
        check_prefixes(one)
        output = replay(one)
        assert one.status is not Status.COMPLETED or output == one.result(timeout=0)
    assert_kin_agree(trial)
    assert_sound(trial)


def holds_from_any_prefix(program: Program, turns: list[Turn], end: Turn | None) -> None:
    WORLD.begin(FakeClock())
    with TemporaryDirectory() as folder, Trial(Path(folder) / "waits.db", clock=WORLD.clock) as trial:
        check_all(trial, play(trial, program, [*turns, *([end] if end is not None else [])]))


@pytest.mark.slow
@given(programs, worlds, guesses.ends)
@settings(max_examples=25)
def test_replay_from_any_prefix_asks_for_the_same_next(program: Program, turns: list[Turn], end: Turn | None) -> None:
    holds_from_any_prefix(program, turns, end)


@pytest.mark.slow
@given(programs, worlds, guesses.ends)
@settings(max_examples=300)
def test_replay_of_many_programs_asks_for_the_same(program: Program, turns: list[Turn], end: Turn | None) -> None:
    holds_from_any_prefix(program, turns, end)


def play_with_absences(trial: Trial, program: Program, turns: list[tuple[Turn, bool]]) -> Run:
    """The same in a world in which nobody may be alive when it is somebody's turn."""
    run = trial.start(guess, program)
    instant = run.created_at
    for turn, alive in turns:
        instant += round(turn.after * 1e6)
        if alive and not trial.alive:
            trial.up()
        elif trial.alive and not alive:
            trial.settle()
            trial.kill()
        reach(trial, instant, lambda: None) if alive else trial.clock.move_to(instant)
        turn.take(trial, run)
    if not trial.alive:
        trial.up()
    come_to_an_end(trial, run, lambda: None)
    trial.settle()
    return run


@pytest.mark.slow
@given(programs, st.lists(st.booleans(), min_size=10, max_size=10), worlds, guesses.ends)
@settings(max_examples=200)
def test_replay_asks_for_the_same_whoever_was_absent(
    program: Program, alive: list[bool], turns: list[Turn], end: Turn | None
) -> None:
    """Decisions, signals and cancels pile up, and timers are slept through, before anybody takes notice."""
    WORLD.begin(FakeClock())
    turns = [*turns, *([end] if end is not None else [])]
    with TemporaryDirectory() as folder, Trial(Path(folder) / "waits.db", clock=WORLD.clock) as trial:
        check_all(trial, play_with_absences(trial, program, list(zip(turns, alive, strict=False))))


def told_twice(folder: Path, program: Program, turns: list[Turn], deaths: list[tuple[str, int]]) -> tuple[Any, int]:
    """The story of a program in a world in which supervisors die, one after the other, at these commits."""
    WORLD.begin(FakeClock())
    left = list(deaths)

    def life() -> None:
        when, at = left.pop(0) if left else ("never", 0)
        trial.up(die_before=at if when == "before" else None, die_after=at if when == "after" else None)

    trial = Trial(folder / f"{len(deaths)}.db", clock=WORLD.clock)
    try:
        life()
        run = play(trial, program, turns, life)
        for one in tree(trial, run):
            assert_attempts_ran_once(one, WORLD.effects)
        assert_kin_agree(trial)
        assert_sound(trial)
        return story(trial, run), len(deaths) - len(left)
    finally:
        trial.close()


points = st.lists(st.tuples(st.sampled_from(["before", "after"]), st.integers(1, 6)), min_size=1, max_size=2)


@pytest.mark.slow
@given(programs, worlds, guesses.ends, points)
@settings(max_examples=150)
def test_a_death_changes_nothing_of_the_story(
    program: Program, turns: list[Turn], end: Turn | None, deaths: list[tuple[str, int]]
) -> None:
    turns = [*turns, *([end] if end is not None else [])]
    with TemporaryDirectory() as folder:
        undisturbed, _ = told_twice(Path(folder), program, turns, [])
        disturbed, _ = told_twice(Path(folder), program, turns, deaths)
        assert disturbed == undisturbed


@pytest.mark.slow
@given(brittle_programs, worlds, st.booleans())
@settings(max_examples=200)
def test_retries_go_on_from_what_failed(program: Program, turns: list[Turn], restart: bool) -> None:
    """However often steps fail, and with them the run and those above it: what had completed stays, what was asked
    for behind the failure is asked for again, and the run comes to its end."""
    WORLD.begin(FakeClock())
    with TemporaryDirectory() as folder, Trial(Path(folder) / "waits.db", clock=WORLD.clock) as trial:
        run = play(trial, program, turns)
        for _ in range(40):
            if run.status != "failed":
                break
            if restart:
                trial.kill()
            run.retry()
            assert_kin_agree(trial)
            if restart:
                trial.up()
            come_to_an_end(trial, run, lambda: None)
            trial.settle()
        check_all(trial, run)
        for one in tree(trial, run):
            assert_attempts_ran_once(one, WORLD.effects)


def test_programs_hold_every_kind_of_waiting() -> None:
    """Else the properties above would say less than they seem to."""
    found: Counter[str] = Counter()

    def count(program: Program) -> None:
        found[program["do"]] += 1
        of = program.get("of", [])
        for inner in [of] if isinstance(of, dict) else of:
            count(inner)

    @given(programs)
    @settings(max_examples=200)
    def look(program: Program) -> None:
        count(program)

    look()
    wanted = {"step", "sleep", "wait", "gate", "gated", "line", "both", "race", "within", "child", "careful"}
    assert wanted <= found.keys()
