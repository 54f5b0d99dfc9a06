"""Those outside of a run: people who decide, programs that send signals, clients that cancel; each at an instant of the
clock, and once, whatever dies meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.engine.world import WORLD
from vbl.client import Client
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.history.state import GateState, RunState, Status, fold
from vbl.history.waits import ChildState
from vbl.testing import Trial


@dataclass(frozen=True)
class Move:
    """Somebody does something, that many seconds after the run was created. `of` names the workflow of the run that
    it is done to: the run itself, or one below it."""

    at: float
    what: str
    do: Callable[[Trial, Run], object]
    of: str | None = None

    def make(self, trial: Trial, run: Run) -> None:
        self.do(trial, run if self.of is None else below(trial, run, self.of))

    def __str__(self) -> str:
        return f"{self.what} at {self.at:g} s"


def grant(at: float, gate: str = "ask", by: str = "ada", of: str | None = None, **how: Any) -> Move:
    """Somebody approves the open gate of that name."""
    return Move(at, f"{by} grants {gate}", lambda t, run: t.approve(open_gate(run, gate).id, by=by, **how), of)


def deny(at: float, gate: str = "ask", by: str = "ada", of: str | None = None, **how: Any) -> Move:
    """Somebody denies it."""
    return Move(at, f"{by} denies {gate}", lambda t, run: t.deny(open_gate(run, gate).id, by=by, **how), of)


def send(at: float, name: str, data: Any = None, key: str | None = None, of: str | None = None) -> Move:
    """A program sends the run a signal."""
    return Move(at, f"signal {name}", lambda t, run: t.signal(run.id, name, data, key=key), of)


def cancel(at: float, of: str | None = None) -> Move:
    """A client cancels the run."""
    return Move(at, "cancel", lambda t, run: run.cancel(by="bob", reason="enough"), of)


def open_gate(run: Run, name: str) -> GateState:
    """The one gate of that name that is open in the run."""
    state = run.state()
    (found,) = (state.gates[id] for id in state.open_gates if state.gates[id].name == name)
    return found


def child(run: Run, call: str) -> ChildState:
    """What the run knows of the child that it started by that call."""
    return run.state().children[call]


def below(trial: Trial, run: Run, workflow: str) -> Run:
    """The one run of that workflow among the children of a run, and theirs."""
    children = [trial.run(one.id) for one in run.state().children.values()]
    for one in children:
        if one.workflow == workflow:
            return one
    return next(found for one in children if (found := below(trial, one, workflow)))


def reach(trial: Trial, instant: int, revive: Callable[[], object]) -> None:
    """Let the clock come to that instant; whoever dies on the way has a successor, at the instant of the death."""
    while True:
        trial.advance(max(instant - trial.clock.now(), 0) / 1e6)
        if not trial.died:
            return
        revive()


def play(trial: Trial, run: Run, moves: tuple[Move, ...], revive: Callable[[], object] = lambda: None) -> None:
    """Let the world do what it does to the run, each thing at its instant, and see the run and those below it to
    their ends."""
    for move in moves:
        reach(trial, run.created_at + round(move.at * 1e6), revive)
        move.make(trial, run)
    while unfinished := [one for one in (run, *trial.runs(limit=None)) if not one.status.finished]:
        if not trial.finish(unfinished[0]):
            revive()
        elif unfinished[0].last_status is Status.BLOCKED:
            break
    trial.settle()
    while trial.died:
        revive()
        trial.settle()


def bodies(trial: Trial, run: Run) -> Counter[str]:
    """How often each body ran: by its key in the run itself, by workflow and key in every other run of the file."""
    names = {one.id: one.workflow for one in trial.runs(limit=None)}
    return Counter(
        effect.key if effect.run == run.id else f"{names[effect.run]}/{effect.key}" for effect in WORLD.effects
    )


def states(client: Client) -> dict[str, RunState]:
    """The state of every run of the file, all as of one instant: others may be writing."""
    facts: dict[str, list[Fact]] = {}
    for run, seq, type, at, payload in client.sql("select run_id, seq, type, at, payload from vbl_events order by id")[
        1
    ]:
        facts.setdefault(run, []).append(Fact(seq, type, at, json.loads(payload)))
    return {run: fold(its) for run, its in facts.items()}


def assert_kin_agree(client: Client) -> None:
    """A run and those that it started know the same of each other, at every instant: what one of them would have to
    tell the other stands in the same transaction."""
    all = states(client)
    for run, state in all.items():
        for known in state.children.values():
            its = all[known.id]
            assert (its.parent, its.call, its.workflow) == (run, known.call, known.workflow)
            if known.void or known.status == "due":
                continue  # a retry took it back, or starts another in its place
            if known.status == "open":
                assert state.finished or not its.finished, f"{known.id} is {its.status}, and {run} was not told"
                assert not state.finished or known.on_close == "leave" or its.cancel or its.finished
            elif known.status == "cancelled":
                assert its.finished or its.cancel is not None, f"{run} gave {known.id} up, which does not know"
            else:
                assert its.status == known.status, f"{run} was told {known.status} of {known.id}, which is {its.status}"
