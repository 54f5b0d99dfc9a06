"""Several processes start, pause, unpause and cancel runs while a supervisor moves them: no fact is lost, none is
refused without a reason, and the engine makes progress all the while."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.crash import corpus, foreigner
from tests.crash.lives import check_deeds, check_file, connect, environment, finish, life, new_random, until
from vbl.client import Client

TARGET = Path(corpus.__file__)
EVENTS = {"started": "RUN_CREATED", "paused": "RUN_PAUSED", "unpaused": "RUN_UNPAUSED", "cancelled": "CANCEL_REQUESTED"}


def steer(db: Path, acknowledged: Path, seed: int, decisions: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, foreigner.__file__, str(db), str(acknowledged), str(seed), str(decisions)]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)


def note(acknowledged: Path, line: str) -> None:
    with acknowledged.open("a") as file:
        file.write(line + "\n")


def check_acknowledged(client: Client, acknowledged: Path, killed: int) -> Counter[str]:
    """Every decision whose call returned is in the history of its run, as often as it was acknowledged; and no other,
    but for one of each process that was killed. (A cancel of a paused run lets it go on, which it says.)"""
    lines = acknowledged.read_text().splitlines()
    said = Counter(tuple(line.split()) for line in lines)
    rows = client.sql(
        "select type, run_id, count(*) from vbl_events "
        "where json_extract(payload, '$.reason') is not 'a cancel was asked for' group by type, run_id"
    )[1]
    held = {(type, run): number for type, run, number in rows}
    for (verb, run), number in said.items():
        assert held.get((EVENTS[verb], run), 0) >= number, (
            f"{number} × {verb} of {run}, in the history {held.get((EVENTS[verb], run), 0)}"
        )
    unsaid = {
        verb: sum(number for (type, _), number in held.items() if type == EVENTS[verb])
        - sum(number for (v, _), number in said.items() if v == verb)
        for verb in EVENTS
    }
    assert sum(unsaid.values()) <= killed, f"more in the file than was acknowledged: {unsaid}"
    return Counter(verb for verb, _ in (line.split() for line in lines))


def steer_many(folder: Path, processes: int, decisions: int, kills: int) -> None:
    rng = new_random()
    db, log, acknowledged = folder / "vbl.db", folder / "deeds", folder / "acknowledged"
    env = environment(log)
    people: list[subprocess.Popen[bytes]] = []
    with connect(db) as client:
        for name in foreigner.NAMES:
            note(acknowledged, f"started {client.start(name, **{corpus.PARAMETERS[name]: foreigner.SIZES[name]}).id}")
        for _ in range(kills):
            with life(db, TARGET, env=env) as worker:
                worker.holding()
                people += [steer(db, acknowledged, rng.randrange(10**6), decisions) for _ in range(processes)]
                until_events(client, rng.randrange(100, 1_000), people)
                people[-1].kill()
                worker.kill()
        with life(db, TARGET, env=env) as worker:
            worker.holding()
            people += [steer(db, acknowledged, rng.randrange(10**6), decisions) for _ in range(processes)]
            killed = sum(_ended(person) for person in people)
            for run in client.runs(status="paused", limit=None):
                run.unpause()
                note(acknowledged, f"unpaused {run.id}")
            finish(client, worker)
            assert worker.stop() == 0, worker.words
        landed = landed_in_flight(client)
        print(dict(check_acknowledged(client, acknowledged, killed)), f"{landed} decisions met steps in flight")
        assert landed > 0, "no decision met a live run: this test showed nothing"
        check_ends(client)
        check_deeds(client, log)
        check_file(client)


def _ended(person: subprocess.Popen[bytes]) -> bool:
    """Wait for its end; whether it was killed."""
    _, words = person.communicate(timeout=60)
    assert person.returncode in (0, -signal.SIGKILL), words.decode()
    return person.returncode != 0


def until_events(client: Client, number: int, people: list[subprocess.Popen[bytes]]) -> None:
    """Wait for some more events, or until nobody makes any."""
    wanted = client.cursor() + number
    until(lambda: client.cursor() > wanted or all(p.poll() is not None for p in people), f"{number} events")


def landed_in_flight(client: Client) -> int:
    """How many pauses and cancels came while a body of the run was running."""
    found = 0
    for run in client.runs(limit=None):
        in_flight: set[str] = set()
        for fact in run.facts():
            if fact.type == "STEP_STARTED":
                in_flight.add(fact.payload["step"])
            elif fact.type.startswith("STEP_"):
                in_flight.discard(fact.payload["step"])
            elif fact.type in ("RUN_PAUSED", "CANCEL_REQUESTED"):
                found += bool(in_flight)
    return found


def check_ends(client: Client) -> None:
    """A run that nobody cancelled completed; one that somebody did is cancelled, or was faster."""
    for run in client.runs(limit=None):
        cancelled = any(fact.type == "CANCEL_REQUESTED" for fact in run.facts())
        assert run.status in (("completed", "cancelled") if cancelled else ("completed",)), (
            run,
            run.state().error,
            run.state().blocked,
        )


@pytest.mark.slow
def test_the_engine_makes_progress_under_a_stream_of_foreign_events(tmp_path: Path) -> None:
    """Two processes do nothing but pause one run and let it go on: it ends all the same, and so do its neighbours."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client, life(db, TARGET, env=environment(log)) as worker:
        hammered = client.start("chain", length=60)
        command = [sys.executable, foreigner.__file__, "hammer", str(db), hammered.id]
        people = [subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) for _ in range(2)]
        try:
            until(lambda: any(fact.type == "RUN_PAUSED" for fact in hammered.facts()), "the first blow")
            neighbours = [client.start("chain", length=30) for _ in range(3)]
            assert [run.result(timeout=60) for run in neighbours] == [30] * 3
            assert hammered.result(timeout=60) == 60
            for person in people:
                assert not _ended(person)
        finally:
            for person in people:
                person.kill()
        blows = sum(fact.type == "RUN_PAUSED" for fact in hammered.facts())
        print(f"{blows} blows")
        assert blows > 20
        assert worker.stop() == 0, worker.words
        check_deeds(client, log)
        check_file(client)


@pytest.mark.slow
def test_foreign_events_land_on_live_runs(tmp_path: Path) -> None:
    steer_many(tmp_path, processes=2, decisions=40, kills=0)


@pytest.mark.slow
def test_foreign_events_land_while_the_supervisor_is_killed(tmp_path: Path) -> None:
    steer_many(tmp_path, processes=4, decisions=40, kills=5)
