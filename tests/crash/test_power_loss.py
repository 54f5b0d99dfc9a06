"""Loss of power at every moment: at the default durability no acknowledged fact is lost, and the file is whole.

The disk under the supervisor remembers what was synced. For each moment of a tape the file is put together as a power
loss would leave it: with nothing that was not synced, or with a torn part of it. What somebody outside had been told by
then (a start that returned, a body that ran and what it saw, a result, a cancel) must be in there. At
durability="process" the same looks find losses, as documented: so they can.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from pydantic import BaseModel

import vbl
from tests.crash.faulty_vfs import Disk, Fault, Once, Op, Platter, every_connection, io_error
from tests.crash.lives import check_file, new_random
from vbl.client import Client
from vbl.engine.context import CURRENT
from vbl.errors import StorageError
from vbl.store import checkpointer, sqlite

T = TypeVar("T")

EARS: list[Any] = []
"""Whoever is told at the moment: the disk under the work, or a plain list of facts afterwards."""


class Told(NamedTuple):
    """A fact that somebody outside of the run's own code knows."""

    what: str
    run: str
    step: str = ""
    attempt: int = 0
    value: Any = None


def tell(what: str, seen: Any = None) -> None:
    """In a step's body: it runs, and it has seen this."""
    scope = CURRENT.get()
    EARS[-1](Told(what, scope.run_id, scope.key, scope.number, seen))


class Notes(BaseModel):
    """The state of a run of `noting`."""

    words: list[str] = []


@vbl.step
async def word(seen: str) -> str:
    tell("began", seen)
    await asyncio.sleep(0)
    return secrets.token_hex(4)


@vbl.step
def word_in_thread(seen: str) -> str:
    tell("began", seen)
    return secrets.token_hex(4)


@vbl.step(retry=vbl.Retry(max_attempts=3, delay=0.001, jitter=0))
async def third_time(seen: str) -> str:
    tell("began", seen)
    if CURRENT.get().number < 3:
        raise ConnectionError("again")
    return secrets.token_hex(4)


@vbl.step
async def page(seen: str) -> str:
    """Long enough for a blob, and never the same."""
    tell("began", seen)
    return secrets.token_hex(20_000)


@vbl.step
async def measure(text: str) -> str:
    tell("began", text)
    return text[:8]


@vbl.workflow(name="crash.in_line")
async def in_line(length: int) -> str:
    seen = ""
    for _ in range(length):
        seen = await word(seen)
    return seen


@vbl.workflow(name="crash.side_by_side")
async def side_by_side(width: int) -> list[str]:
    first = await asyncio.gather(*(word("") for _ in range(width)))
    return await asyncio.gather(*(word_in_thread.aio(seen) for seen in first))


@vbl.workflow(name="crash.noting")
async def noting(turns: int) -> str:
    notes = vbl.state(Notes)
    for _ in range(turns):
        notes.words.append(await word(notes.words[-1] if notes.words else ""))
        await vbl.sleep(0.001)
    return notes.words[-1]


@vbl.workflow(name="crash.again_and_long")
async def again_and_long(rounds: int) -> str:
    seen = ""
    for _ in range(rounds):
        seen = await measure(await page(await third_time(seen)))
    return seen


@vbl.workflow(name="crash.by_line")
def by_line(length: int) -> str:
    seen = ""
    for _ in range(length):
        seen = word_in_thread(seen)
    return seen


@contextlib.contextmanager
def recording(name: str) -> Iterator[Disk]:
    with every_connection(name) as disk:
        disk.recording = True
        EARS.append(disk.acknowledge)
        try:
            yield disk
        finally:
            EARS.pop()


PORTIONS = ((in_line, 8), (side_by_side, 3), (noting, 5), (again_and_long, 2), (by_line, 4))


def insist(call: Callable[[], T]) -> T:
    """Call again where the disk failed once. The first call was not acknowledged: it may be lost, or have happened."""
    try:
        return call()
    except StorageError:
        return call()


def work(
    db: Path, durability: sqlite.Durability, name: str, *, rounds: int = 1, fault: Fault | None = None
) -> list[Op]:
    """Runs of every kind, one after the other and then all at once, from a new file to a graceful stop; its tape."""
    with recording(name) as disk, vbl.open(db, durability=durability) as runtime:
        disk.fault = fault

        def start(workflow: Any, size: int) -> vbl.Run:
            run = insist(lambda: runtime.start(workflow, size))
            disk.acknowledge(Told("started", run.id))
            return run

        def finish(run: vbl.Run) -> None:
            disk.acknowledge(Told("result", run.id, value=run.result(timeout=60)))

        for workflow, size in PORTIONS * (rounds - 1):
            finish(start(workflow, size))
        runs = [start(workflow, size) for workflow, size in PORTIONS * 2]
        many = insist(lambda: runtime.start_many(in_line, [1] * CROWD, tags=["crowd"]))
        disk.acknowledge(Told("crowd", many[0].id))
        condemned = start(noting, 100)
        insist(condemned.cancel)
        disk.acknowledge(Told("cancelled", condemned.id))
        for run in [*runs, *many]:
            finish(run)
        condemned.wait(timeout=60)
        insist(lambda: runtime.doctor(rebuild=True))
        return disk.tape


CROWD = 20


class Held(NamedTuple):
    """What a file says of its runs."""

    runs: set[str]
    crowd: int
    started: set[tuple[str, str, int]]
    outputs: set[tuple[str, Any]]
    results: dict[str, Any]
    cancelled: set[str]


def read(client: Client) -> Held:
    held = Held(set(), len(client.runs(tag="crowd", limit=None)), set(), set(), {}, set())
    assert held.crowd % CROWD == 0, "many runs that were started together are there together"
    for run in client.runs(limit=None):
        held.runs.add(run.id)
        for fact in run.facts():
            match fact.type, fact.payload:
                case "STEP_STARTED", payload:
                    held.started.add((run.id, payload["step"], payload["attempt"]))
                case "STEP_COMPLETED", payload:
                    held.outputs.add((run.id, payload["output"]))
                case "RUN_COMPLETED", payload:
                    held.results[run.id] = payload["output"]
                case "CANCEL_REQUESTED", _:
                    held.cancelled.add(run.id)
                case _:
                    pass
    return held


def lost(told: list[Told], held: Held) -> list[Told]:
    """What somebody outside knows and the file does not."""
    return [fact for fact in told if not _is_held(fact, held)]


def _is_held(fact: Told, held: Held) -> bool:
    match fact.what:
        case "began":
            started = (fact.run, fact.step, fact.attempt) in held.started
            return started and (not fact.value or (fact.run, fact.value) in held.outputs)
        case "result":
            return held.results.get(fact.run) == fact.value
        case "crowd":
            return held.crowd >= CROWD
        case "cancelled":
            return fact.run in held.cancelled
        case _:
            return fact.run in held.runs


def moments(tape: list[Op]) -> Iterator[Platter]:
    """Every moment of the tape at which a power loss leaves another file, or at which more had been told."""
    platter = Platter()
    fresh = False
    for op in tape:
        if op.verb in ("sync", "delete") and fresh:
            yield platter
            fresh = False
        fresh = fresh or op.verb in ("sync", "delete", "acknowledged")
        platter.play(op)
    yield platter


def look(
    folder: Path, platter: Platter, rng: random.Random | None, *, name: str = "vbl.db", thoroughly: bool = False
) -> list[Told]:
    """Start after a loss of power now; what was lost of what was told."""
    platter.after_loss(folder, rng)
    with vbl.connect(folder / name) as client:
        if thoroughly:
            check_file(client)
        return lost(platter.acknowledged, read(client))


def small_wal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the WAL be copied into the file often, in the background and between two commits: that is on the tape too."""
    monkeypatch.setattr(sqlite, "WAL_RELIEF_PAGES", 20)
    monkeypatch.setattr(checkpointer, "WAL_RELIEF_PAGES", 20)
    monkeypatch.setattr(sqlite, "WAL_FORCED_PAGES", 60)
    monkeypatch.setattr(checkpointer.Checkpointer, "_EVERY_S", 0.01)


def test_nothing_acknowledged_is_lost_with_the_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every moment of a short tape, with all that was not synced lost."""
    small_wal(monkeypatch)
    tape = work(tmp_path / "vbl.db", "power", "quick")
    looks = 0
    for number, platter in enumerate(moments(tape)):
        assert look(tmp_path / str(number), platter, None) == []
        looks += 1
    print(f"{looks} looks at a tape of {len(tape)}")
    assert looks > 30


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_from_torn_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer tape; of what was not synced an arbitrary part is there, torn at sector borders."""
    small_wal(monkeypatch)
    rng = new_random()
    tape = work(tmp_path / "vbl.db", "power", "thorough", rounds=4)
    copied = sum(op.verb == "write" and op.file == "vbl.db" for op in tape)
    assert copied > 100, "no WAL was copied into the file: half of the matter was not tried"
    bare = torn = 0
    for number, platter in enumerate(moments(tape)):
        assert look(tmp_path / f"{number}", platter, None, thoroughly=number % 20 == 0) == []
        bare += 1
    for number, platter in enumerate(torn_moments(tape, rng, 250)):
        assert look(tmp_path / f"torn-{number}", platter, rng, thoroughly=number % 20 == 0) == []
        torn += 1
    print(f"tape of {len(tape)}, {copied} pages copied into the file; {bare} looks, and {torn} at torn files")
    assert bare > 100
    assert torn > 200


def torn_moments(tape: list[Op], rng: random.Random, number: int) -> Iterator[Platter]:
    """Moments in the middle of whatever was being written, that many or a few less."""
    chosen = set(rng.sample(range(len(tape)), number))
    platter = Platter()
    for position, op in enumerate(tape):
        platter.play(op)
        if position in chosen and platter.unsafe:
            yield platter


@pytest.mark.slow
def test_a_failed_sync_is_no_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync fails, and what was written before it never becomes safe by a later one: nothing told hangs on it."""
    small_wal(monkeypatch)
    met = 0
    for nth in range(1, 60, 5):
        fault = Once(io_error("sync"), nth)
        tape = work(tmp_path / f"{nth}.db", "power", f"failed sync {nth}", fault=fault)
        met += fault.met
        for number, platter in enumerate(moments(tape)):
            assert (
                look(tmp_path / f"{nth}-{number}", platter, None, name=f"{nth}.db", thoroughly=number % 20 == 0) == []
            )
    print(f"{met} failed syncs")
    assert met > 4


@pytest.mark.slow
def test_the_runs_go_on_after_a_loss_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From torn files: what was open is finished, what was told is still so, and nothing that was told runs again."""
    small_wal(monkeypatch)
    rng = new_random()
    tape = work(tmp_path / "vbl.db", "power", "before")
    resumed = 0
    for number, platter in enumerate(torn_moments(tape, rng, 40)):
        resumed += go_on(tmp_path / str(number), platter, rng)
    print(f"{resumed} open runs were finished")
    assert resumed > 20


def go_on(folder: Path, platter: Platter, rng: random.Random) -> int:
    """Supervise the file as a loss of power left it, to the end; the number of runs that were open."""
    platter.after_loss(folder, rng)
    told_now: list[Told] = []
    EARS.append(told_now.append)
    try:
        with vbl.open(folder / "vbl.db") as runtime:
            runs = runtime.runs(limit=None)
            unfinished = [run for run in runs if not run.last_status.finished]
            for run in unfinished:
                assert run.wait("completed", "cancelled", timeout=60)
            assert lost([*platter.acknowledged, *told_now], read(runtime)) == []
            check_file(runtime)
    finally:
        EARS.pop()
    before = {(fact.run, fact.step, fact.attempt) for fact in platter.acknowledged if fact.what == "began"}
    again = before & {(fact.run, fact.step, fact.attempt) for fact in told_now}
    assert not again, f"attempts that had begun, and began again as if they never had: {again}"
    return len(unfinished)


def test_the_looks_can_find_a_loss(tmp_path: Path) -> None:
    """durability="process" does not sync each commit: with the power the last ones go, and nothing else."""
    tape = work(tmp_path / "vbl.db", "process", "lossy")
    losses = 0
    for number, platter in enumerate(moments(tape)):
        losses += len(look(tmp_path / str(number), platter, None, thoroughly=True)) > 0
    assert losses > 0
    platter = Platter()
    for op in tape:
        platter.play(op)
    assert look(tmp_path / "end", platter, None, thoroughly=True) == [], "a graceful stop leaves everything safe"
