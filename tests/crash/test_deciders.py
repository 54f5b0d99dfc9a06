"""Many processes decide the same gates at once: each gate has one decision, and every other decider is told whose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.crash import asking
from tests.crash.crowd import crowd
from tests.crash.lives import check_deeds, check_file, connect, environment, life, new_random, until
from vbl.client import Client, Run

TARGET = Path(asking.__file__)
VERBS = {"approve": "APPROVAL_GRANTED", "deny": "APPROVAL_DENIED"}


def asked(client: Client, runs: int, size: int, env: dict[str, str], db: Path) -> list[Run]:
    """Start the runs, and see them ask."""
    started = [client.start("panel", size=size) for _ in range(runs)]
    with life(db, TARGET, env=env) as worker:
        until(lambda: len(client.gates(limit=None)) == runs * size, "all gates to be asked for")
        assert worker.stop() == 0, worker.words
    return started


def check_told(client: Client, told: dict[str, list[list[Any]]], gates: int) -> dict[str, tuple[str, str]]:
    """Each gate was decided once, by the one who was told so; everybody else was told that it was, and by whom.
    Returns who decided what, by gate."""
    winners: dict[str, tuple[str, str]] = {}
    for name, answers in told.items():
        assert len(answers) == gates
        for gate, verb, code, _ in answers:
            if code is None:
                assert gate not in winners, f"{gate} was decided by {winners[gate]} and by {name}"
                winners[gate] = (name, verb)
    assert len(winners) == gates
    for name, answers in told.items():
        for gate, _, code, words in answers:
            if code is not None:
                assert code == "already_decided", (name, words)
                assert winners[gate][0] in words, f"{name} was not told that {winners[gate]} decided: {words}"
    recorded = {
        fact.payload["gate"]: (fact.payload["actor"], fact.type)
        for run in client.runs(limit=None)
        for fact in run.facts()
        if fact.type in VERBS.values()
    }
    decisions = client.sql("select count(*) from vbl_events where type in (?, ?)", list(VERBS.values()))[1]
    assert decisions == [(gates,)]
    assert recorded == {gate: (name, VERBS[verb]) for gate, (name, verb) in winners.items()}
    return winners


def decide_all(folder: Path, people: int, runs: int, size: int, *, supervised: bool) -> None:
    rng = new_random()
    db, log = folder / "vbl.db", folder / "deeds"
    env = environment(log)
    names = [f"person-{n}" for n in range(people)]
    with connect(db) as client:
        panels = asked(client, runs, size, env, db)
        words = [("decide", db, name, rng.randrange(10**6)) for name in names]
        if supervised:
            with life(db, TARGET, env=env) as worker:
                worker.holding()
                with crowd(words) as deciders:
                    told = dict(zip(names, [one.told() for one in deciders], strict=True))
                found = [run.result(timeout=60) for run in panels]
                assert worker.stop() == 0, worker.words
        else:
            with crowd(words) as deciders:
                told = dict(zip(names, [one.told() for one in deciders], strict=True))
            with life(db, TARGET, env=env) as worker:
                found = [run.result(timeout=60) for run in panels]
                assert worker.stop() == 0, worker.words
        winners = check_told(client, told, runs * size)
        quick = {name for name, _ in winners.values()}
        print(f"{len(quick)} of {people} people decided something")
        assert len(quick) > 1, "nobody had a rival: this test showed nothing"
        check_results(panels, found, winners)
        check_deeds(client, log)
        check_file(client)


def check_results(panels: list[Run], found: list[Any], winners: dict[str, tuple[str, str]]) -> None:
    """The code saw what was decided."""
    for run, result in zip(panels, found, strict=True):
        for gate in run.state().gates.values():
            name, verb = winners[gate.id]
            assert result[gate.name] == [verb == "approve", name, f"said by {name}"]
    assert {gate for run in panels for gate in run.state().gates} == winners.keys()


@pytest.mark.slow
@pytest.mark.timeout(900)  # fifty processes on a machine that may have two processors, and other work
def test_each_gate_has_one_decision_while_a_supervisor_acts_on_it(tmp_path: Path) -> None:
    decide_all(tmp_path, people=50, runs=10, size=20, supervised=True)


@pytest.mark.slow
def test_each_gate_has_one_decision_with_no_supervisor_alive(tmp_path: Path) -> None:
    decide_all(tmp_path, people=8, runs=200, size=1, supervised=False)
