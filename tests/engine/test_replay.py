"""A history leads to the same end from every point of it, in every process, on every Python."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vbl
from tests.engine import corpus
from tests.engine.checks import assert_as_known, assert_sound, body_runs, completed
from tests.engine.corpus import SHAPES, Shape
from tests.engine.world import WORLD, failures_of
from vbl.client import Client, connect
from vbl.errors import NotFound
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.history.script import script_of
from vbl.history.state import RunState, fold
from vbl.store.journal import Draft, Journal
from vbl.store.sqlite import Sqlite
from vbl.testing import FakeClock, Trial, replay

ROOT = Path(__file__).parents[2]
QUICK = ["first_completed", "timeout_that_fires", "retries_side_by_side", "conversation", "plain_map_and_sleep"]
PYTHONS = [python for python in os.environ.get("VBL_TEST_PYTHONS", sys.executable).split(os.pathsep) if python]


def copy_prefix(source: Path, run_id: str, length: int, target: Path) -> None:
    """Make a file that holds the first events of one run, byte for byte, and what they refer to."""
    here, there = Sqlite(source, create=False), Sqlite(target, durability="process")
    try:
        journal = Journal(here)
        rows = journal.rows(journal.key_of(run_id))[:length]
        facts = journal.load(journal.key_of(run_id), length)[1]
        drafts = [Draft(row.type, row.at, fact.payload, row.payload) for row, fact in zip(rows, facts, strict=True)]
        there.many("insert_blob", here.select("select digest, bytes, data from blobs")[1])
        copy = Journal(there)
        copy.create(drafts[:1])

        def rest(state: RunState) -> list[Draft]:
            return drafts[1:]

        copy.commit(run_id, rest)
        assert copy.rows(copy.key_of(run_id))[-1].chain == rows[-1].chain
    finally:
        here.close()
        there.close()


def go_on_from(shape: Shape, source: Path, run: Run, length: int, target: Path) -> None:
    """Resume the run from its first events alone, and compare the end."""
    copy_prefix(source, run.id, length, target)
    facts = run.facts()[:length]
    WORLD.begin(FakeClock(facts[-1].at), failures_of(run.id, facts))
    done = completed(facts)
    with Trial(target, clock=WORLD.clock) as trial:
        again = trial.run(run.id)
        assert trial.finish(again)
        assert_as_known(shape, again)
        assert again.facts()[:length] == facts
        assert not body_runs(run.id, done), "a completed step ran again"
        assert_sound(trial)


def moves_at_once(facts: list[Fact]) -> bool:
    """Whether a supervisor would take the run up now. Not so within the transaction that sets a timer and starts a
    step: no history ends there, and by the time that the timer wakes it the story is another."""
    due = fold(facts).due_at
    return script_of(facts).whole or (due is not None and due <= facts[-1].at)


def within_a_forced_end(facts: list[Fact], length: int) -> bool:
    """Whether the cut is within the transaction in which a supervisor ends a run over the head of its code: behind the
    last batch of the code, and before the end. No history ends there."""
    if not facts[-1].payload.get("forced"):
        return False
    batches = [f for f in facts if f.type in ("RUN_STARTED", "CHECKPOINT_WRITTEN")]
    return batches[-1].seq + batches[-1].payload.get("commands", 0) < length < len(facts)


@contextlib.contextmanager
def undisturbed(shape: Shape, path: Path) -> Iterator[Run]:
    with Trial(path, clock=WORLD.clock) as trial:
        run = trial.start(shape.workflow, *shape.args, **shape.options)
        assert trial.finish(run)
    with connect(path) as client:
        yield client.run(run.id)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_end_is_the_same_from_the_middle(name: str, tmp_path: Path) -> None:
    with undisturbed(SHAPES[name], tmp_path / "whole.db") as run:
        facts = run.facts()
        lengths = [n for n in range(len(facts) // 2, len(facts)) if moves_at_once(facts[:n])][:3]
        assert lengths
        for length in lengths:
            go_on_from(SHAPES[name], tmp_path / "whole.db", run, length, tmp_path / f"{length}.db")


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_end_is_the_same_from_every_prefix(shape: Shape, tmp_path: Path) -> None:
    with undisturbed(shape, tmp_path / "whole.db") as run:
        facts = run.facts()
        for length in range(1, len(facts) + 1):
            if moves_at_once(facts[:length]) and not within_a_forced_end(facts, length):
                go_on_from(shape, tmp_path / "whole.db", run, length, tmp_path / f"{length}.db")


def replayed_elsewhere(python: str, seed: str, path: Path) -> dict[str, object]:
    """Replay every run of a file in another process. Returns the outputs by run, or what went wrong."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, "-X", "dev", "-W", "error", "-m", "tests.engine.replays", str(path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # on a slow machine asyncio's debug mode says how long a callback took: that is no warning about us
    said = [line for line in done.stderr.splitlines() if not re.match(r"Executing <.* took [0-9.]+ seconds", line)]
    assert not said, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def every_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a finished run of each shape, in the order of the corpus."""
    path = tmp_path_factory.mktemp("replay") / "shapes.db"
    return path


def fill(path: Path) -> None:
    if path.exists():
        return
    with Trial(path, clock=WORLD.clock) as trial:
        for shape in SHAPES.values():
            assert trial.finish(trial.start(shape.workflow, *shape.args, **shape.options))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("seed", ["0", "4242"])
@pytest.mark.slow
def test_replay_elsewhere_asks_for_the_same(python: str, seed: str, every_shape: Path) -> None:
    """Another process, another hash seed, another Python: nothing else is asked for, the output is the same."""
    fill(every_shape)
    outputs = replayed_elsewhere(python, seed, every_shape)
    with connect(every_shape) as client:
        runs = client.runs(limit=None)
        assert len(runs) == len(SHAPES)
        assert outputs == {run.id: run.state().output for run in runs}


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_runs_go_on_in_another_process(python: str, tmp_path: Path) -> None:
    """The second half of every run is moved by another process, on another Python, with another hash seed."""
    halves = tmp_path / "halves"
    halves.mkdir()
    expected: dict[str, object] = {}
    for shape in SHAPES.values():
        WORLD.begin(FakeClock())
        whole = tmp_path / f"{shape.name}.db"
        with undisturbed(shape, whole) as run:
            facts = run.facts()
            half = next(n for n in range(len(facts) // 2 + 1, len(facts) + 1) if moves_at_once(facts[:n]))
            copy_prefix(whole, run.id, half, halves / whole.name)
            expected[run.id] = [run.status.value, run.state().output]
    assert replayed_elsewhere(python, "77", halves) == expected


def test_a_run_whose_workflow_is_unknown_cannot_be_replayed(trial: Trial) -> None:
    from vbl.engine.definitions import REGISTRY

    run = trial.start(corpus.sequence)
    trial.finish(run)
    del REGISTRY["sequence"]
    with pytest.raises(NotFound, match="sequence"):
        replay(run)


def test_a_run_whose_result_could_not_be_recorded_is_replayed_as_it_was(trial: Trial) -> None:
    @vbl.workflow
    async def unheard_of() -> object:
        await corpus.work(1)
        return object()

    run = trial.start(unheard_of)
    assert run.wait() == "failed"
    assert replay(run) is None


def test_a_run_that_was_cancelled_before_it_began_has_nothing_to_replay(trial: Trial) -> None:
    trial.kill()
    run = trial.start(corpus.sequence)
    run.cancel()
    assert run.status == "cancelled"
    assert replay(run) is None


def test_a_replay_writes_nothing(trial: Trial, tmp_path: Path) -> None:
    """Also where the supervisor dies and starts again over a run that waits: nothing is added but the wait's end."""
    run = trial.start(corpus.sleeps)
    trial.settle()
    before = _rows(trial)
    for _ in range(3):
        trial.kill()
        trial.up()
        trial.settle()
        assert run.status == "waiting"
        assert _rows(trial) == before
    trial.advance(1_000)
    assert _rows(trial) == before
    assert trial.finish(run)
    assert run.result() == SHAPES["sleeps"].outcome


def _rows(client: Client) -> list[object]:
    return list(client.events())
