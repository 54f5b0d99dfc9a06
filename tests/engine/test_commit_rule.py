"""Nothing leaves before what caused it is safe: a body finds in the file all that led to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.engine import corpus
from tests.engine.corpus import SHAPES
from tests.engine.world import WORLD
from vbl.client import connect
from vbl.engine.context import CURRENT
from vbl.errors import StorageError
from vbl.testing import Crash, DyingJournal, FakeClock, Trial


class Look:
    """How the bodies of these tests look into the file."""

    path: Path


def recorded() -> list[tuple[str, str | None]]:
    """The events of this body's run, as another connection reads them at this moment."""
    with connect(Look.path, create=False) as client:
        events = client.events(run=CURRENT.get().run_id)
    return [(event.type, event.payload.model_dump().get("step")) for event in events]


@vbl.step
async def looks(value: int) -> int:
    key = CURRENT.get().key
    seen = recorded()
    assert ("STEP_STARTED", key) in seen, "its own start is not durable"
    WORLD.note(f"{key} after {sum(type == 'STEP_COMPLETED' for type, _ in seen)}")
    return value


@vbl.step
def looks_in_a_thread(value: int) -> int:
    return asyncio.run(looks.function(value))


@vbl.workflow
async def looking() -> list[int]:
    first = await looks(1)
    second = await asyncio.gather(looks(2), looks_in_a_thread.aio(3))
    return [first, *second, await looks(4)]


def test_a_body_finds_its_start_and_everything_before_it_in_the_file(trial: Trial) -> None:
    Look.path = trial.path
    assert trial.start(looking).result() == [1, 2, 3, 4]
    assert WORLD.notes[0] == "looks after 0"
    assert {note.split(" after ")[0] for note in WORLD.notes[1:3]} == {"looks#2", "looks_in_a_thread"}
    assert all(note.split(" after ")[1] in "12" for note in WORLD.notes[1:3])
    assert WORLD.notes[3] == "looks#3 after 3"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sequence", "gathered_threads", "retries", "plain_sequence", "mapped"])
def test_what_a_body_did_is_always_known_to_the_history(name: str, tmp_path: Path) -> None:
    """At a death just before any commit: no attempt has run whose start is not in the file."""
    shape = SHAPES[name]
    for at in count(1):
        WORLD.begin(FakeClock())
        with Trial(tmp_path / f"{at}.db", clock=WORLD.clock).up(die_before=at) as trial:
            run = trial.start(shape.workflow, *shape.args)
            ended = trial.finish(run)
            started = {(f.payload["step"], f.payload["attempt"]) for f in run.facts() if f.type == "STEP_STARTED"}
            assert {(effect.key, effect.attempt) for effect in WORLD.effects} <= started
        if ended:
            break
    assert at > 2


def test_a_handle_tells_of_an_end_only_when_it_is_in_the_file(trial: Trial) -> None:
    run = trial.start(corpus.sequence)
    assert run.wait() == "completed"
    with connect(trial.path) as other:
        assert other.run(run.id).status == "completed"
        assert other.run(run.id).result() == 6


def test_a_start_is_in_the_file_when_it_returns(trial: Trial) -> None:
    trial.down()
    run = trial.start(corpus.sequence, key="k")
    with connect(trial.path) as other:
        assert other.run(run.id).status == "queued"
        assert other.run(run.id).state().key == "k"


def test_a_store_that_refuses_a_commit_holds_everything_back(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the disk is full: no body starts, nothing is lost, and it goes on by itself."""
    full = {"yet": True}
    commit = DyingJournal.commit_all

    def refuses(self: DyingJournal, *args: Any) -> Any:
        if full["yet"]:
            raise StorageError("the disk is full", code="disk_full")
        return commit(self, *args)

    monkeypatch.setattr(DyingJournal, "commit_all", refuses)
    run = trial.start(corpus.sequence)
    trial.until(lambda: any("disk is full" in record.message for record in caplog.records))
    assert run.status == "queued"
    assert WORLD.effects == []
    full["yet"] = False
    trial.until(lambda: run.status == "completed")
    assert run.result() == 6
    assert WORLD.runs_of(run.id) == SHAPES["sequence"].effects


def test_facts_are_narrated_after_their_commit(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    path = tmp_path / "told.db"

    def tell(run: str, fact: Any) -> None:
        with connect(path) as client:
            assert len(client.run(run).facts()) >= fact.seq, "told before it was safe"
        told.append((run, fact.type))

    trial = Trial(path, clock=WORLD.clock).up(on_fact=tell)
    run = trial.start(corpus.sequence)
    run.result()
    trial.close()
    with connect(path) as client:
        types = [fact.type for fact in client.run(run.id).facts()]
    assert [type for _, type in told] == types[1:], "all but the creation, which a client wrote"


def test_a_crash_of_ours_is_told_from_any_other(trial: Trial) -> None:
    checks: dict[str, Callable[[], object]] = {"failure": lambda: trial.failure, "died": lambda: trial.died}
    assert not any(check() for check in checks.values())
    trial.kill()
    assert isinstance(trial.failure, Crash)
    assert trial.died
    with pytest.raises(Crash):
        trial.start(corpus.sequence).result()
