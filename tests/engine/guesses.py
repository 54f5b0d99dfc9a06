"""Random programs of waits: gates, signals, timers, children and races of them, and a random world around them.

A program is plain JSON data, the input of the workflow `guess` or `plain_guess`. Whatever it waits for, its result
says what came of it. No two timers of a program can end at the same instant, nor can a timer and a move of the world:
each lasts a power of two in microseconds longer than its seconds say. So the order of what happens is fixed by the
clock alone, and a death changes nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

import vbl
from tests.engine.corpus import labour, work
from tests.engine.world import WORLD
from vbl.client import Client
from vbl.errors import RunWaiting
from vbl.handle import Run
from vbl.history.state import GateState
from vbl.testing import Trial

Program = dict[str, Any]
NAMES = ("red", "green")
TIMERS = 18
"""More statements with a time than this would end at equal instants."""


# Programs ---------------------------------------------------------------------------------------------------------

seconds = st.integers(1, 60)
patience = st.none() | seconds
names = st.sampled_from(NAMES)
steps = st.builds(lambda n: {"do": "step", "n": n}, st.integers(0, 9))
sleeps = st.builds(lambda s: {"do": "sleep", "s": s}, seconds)
signals = st.builds(lambda name, s: {"do": "wait", "name": name, "s": s}, names, patience)
gates = st.builds(
    lambda name, s, late: {"do": "gate", "name": name, "s": s, "late": late},
    names,
    patience,
    st.sampled_from(["deny", "approve", "fail"]),
)
gated = st.builds(lambda n, edit: {"do": "gated", "n": n, "edit": edit}, st.integers(0, 9), st.booleans())
brittle = st.builds(lambda n: {"do": "brittle", "n": n}, st.integers(1, 2))
leaves = steps | sleeps | signals | gates | gated
slow_leaves = sleeps | signals | gates


def _branches(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    several = st.lists(inner, min_size=1, max_size=3)
    racers = st.tuples(st.lists(slow_leaves, min_size=1, max_size=3), st.lists(steps, max_size=1))
    return st.one_of(
        st.builds(lambda of: {"do": "line", "of": of}, several),
        st.builds(lambda of: {"do": "both", "of": of}, several),
        st.builds(lambda of: {"do": "race", "of": [*of[0], *of[1]]}, racers),
        st.builds(lambda s, of: {"do": "within", "s": s, "of": of}, seconds, inner),
        st.builds(lambda of: {"do": "child", "of": of}, inner),
        st.builds(lambda of: {"do": "careful", "of": of}, inner),
    )


def _plain_branches(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    return st.one_of(
        st.builds(lambda of: {"do": "line", "of": of}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda of: {"do": "child", "of": of}, inner),
        st.builds(lambda of: {"do": "careful", "of": of}, inner),
    )


def _timed(program: Program) -> Iterator[Program]:
    """Every statement that lasts some time."""
    if program.get("s") is not None:
        yield program
    of = program.get("of", [])
    for inner in [of] if isinstance(of, dict) else of:
        yield from _timed(inner)


def _apart(program: Program) -> Program:
    for number, statement in enumerate(_timed(program)):
        statement["s"] = int(statement["s"]) + 2**number / 1e6
    return program


def _whole(
    branches: Callable[[st.SearchStrategy[Program]], st.SearchStrategy[Program]],
    leaves: st.SearchStrategy[Program] = leaves,
) -> st.SearchStrategy[Program]:
    parts = st.lists(st.recursive(leaves, branches, max_leaves=5), min_size=1, max_size=4)
    lines = st.builds(lambda of: {"do": "line", "of": of}, parts)
    return lines.filter(lambda program: len(list(_timed(program))) <= TIMERS).map(_apart)


programs = _whole(_branches)
plain_programs = _whole(_plain_branches)
"""What a sync workflow can do."""
brittle_programs = _whole(_branches, leaves | brittle)
"""Some of their steps fail at first, and with them the run; a retry goes on from there."""


# Running ----------------------------------------------------------------------------------------------------------


@vbl.step
async def mended(failures: int) -> str:
    """Fails that often, in all its lives; then somebody has mended it."""
    effect = WORLD.did()
    if WORLD.failures[effect.run, effect.key] < failures:
        WORLD.failures[effect.run, effect.key] += 1
        raise ValueError("not yet")
    return "mended"


@vbl.workflow
async def guess(program: dict[str, Any]) -> Any:
    return await _run(program)


async def _run(p: Program) -> Any:
    match p["do"]:
        case "step":
            return await work(p["n"])
        case "brittle":
            return await mended(p["n"])
        case "sleep":
            return await asyncio.sleep(p["s"], "slept")
        case "wait":
            try:
                return await vbl.wait(p["name"], timeout=p["s"])
            except TimeoutError:
                return "too late"
        case "gate":
            try:
                gate = await vbl.approve(p["name"], timeout=p["s"], on_timeout=p["late"])
            except vbl.ApprovalExpired:
                return "expired"
            return [gate.approved, gate.by]
        case "gated":
            gate = await vbl.approve(work.call(p["n"]), edit=p["edit"])
            return await gate.run() if gate.approved else "denied"
        case _:
            return await _run_branch(p)


async def _run_branch(p: Program) -> Any:
    match p["do"]:
        case "line":
            return [await _run(inner) for inner in p["of"]]
        case "both":
            return list(await asyncio.gather(*(_run(inner) for inner in p["of"])))
        case "race":
            racers = [asyncio.ensure_future(_run(inner)) for inner in p["of"]]
            done, left = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
            for racer in left:
                racer.cancel()
            first = min(done, key=racers.index)
            return [racers.index(first), first.result()]
        case "within":
            try:
                async with asyncio.timeout(p["s"]):
                    return await _run(p["of"])
            except TimeoutError:
                return "out of time"
        case "child":
            try:
                return ["child", await guess(p["of"])]
            except vbl.RunCancelled:
                return "cancelled by somebody"
        case "careful":
            try:
                return await _run(p["of"])
            finally:
                await work(100)
        case _:
            raise AssertionError(p)


@vbl.workflow
def plain_guess(program: dict[str, Any]) -> Any:
    return _run_plainly(program)


def _run_plainly(p: Program) -> Any:
    match p["do"]:
        case "step":
            return labour(p["n"])
        case "sleep":
            vbl.sleep(p["s"])
            return "slept"
        case "wait":
            try:
                return vbl.wait(p["name"], timeout=p["s"])
            except TimeoutError:
                return "too late"
        case "gate":
            try:
                gate = vbl.approve(p["name"], timeout=p["s"], on_timeout=p["late"])
            except vbl.ApprovalExpired:
                return "expired"
            return [gate.approved, gate.by]
        case "gated":
            gate = vbl.approve(labour.call(p["n"]), edit=p["edit"])
            return gate.run() if gate.approved else "denied"
        case "line":
            return [_run_plainly(inner) for inner in p["of"]]
        case "child":
            try:
                return ["child", plain_guess(p["of"])]
            except vbl.RunCancelled:
                return "cancelled by somebody"
        case "careful":
            try:
                return _run_plainly(p["of"])
            finally:
                labour(100)
        case _:
            raise AssertionError(p)


# The world --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """Somebody's turn, after some time: to send a signal, to decide one of the gates that are open, to cancel the run,
    or one of those below it. `which` chooses among what there is."""

    after: float
    what: str
    which: int

    def take(self, client: Client, run: Run) -> None:
        them = [one for one in tree(client, run) if not one.status.finished]
        if not them:
            return
        one = them[self.which % len(them)]
        if self.what in ("cancel", "cancel one"):
            one = run if self.what == "cancel" else one
            if not one.status.finished and one.state().cancel is None:
                one.cancel(by="bob")
        elif self.what == "send":
            client.signal(one.id, NAMES[self.which % 2], self.which)
        elif gates := open_gates(client, run):
            decide(client, gates[self.which % len(gates)], self.what, self.which)


def _turn(number: int, after: int, what: str, which: int) -> Turn:
    return Turn(after + 0.5 + 2**number / 1e4, what, which)


worlds = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["grant", "grant", "deny", "send", "send"]), st.integers(0, 5)),
    max_size=8,
).map(lambda turns: [_turn(number, *turn) for number, turn in enumerate(turns)])
ends = st.none() | st.builds(lambda after: _turn(9, after, "cancel", 0), st.integers(0, 60))


def decide(client: Client, gate: GateState, what: str, number: int) -> None:
    """Grant or deny a gate; edit its call where one may."""
    if what == "deny":
        client.deny(gate.id, by="eve", reason=f"turn {number}")
    else:
        edit = {"value": 10 + number} if gate.request.get("edit") else None
        client.approve(gate.id, by="ada", edit=edit)


def tree(client: Client, run: Run) -> list[Run]:
    """The run and all below it, in an order that is the same in every life."""
    below = sorted(run.state().children.values(), key=lambda child: child.asked_seq)
    return [run, *(one for child in below for one in tree(client, client.run(child.id)))]


def open_gates(client: Client, run: Run) -> list[GateState]:
    """All gates of the run and of those below it that can be decided now, in such an order."""
    states = [one.state() for one in tree(client, run)]
    asked = [gate for state in states for gate in sorted(state.gates.values(), key=lambda gate: gate.asked_seq)]
    now = WORLD.clock.now()
    return [gate for gate in asked if gate.status == "open" and (gate.expires_at is None or gate.expires_at > now)]


def come_to_an_end(trial: Trial, run: Run, revive: Any) -> None:
    """See the run to its end. Where it waits for the world alone, the world gives it what it waits for, one by one."""
    for _ in range(100):
        try:
            while not trial.finish(run):
                revive()
            return
        except RunWaiting:
            if gates := open_gates(trial, run):
                decide(trial, gates[0], "grant", 0)
                continue
            listening = next(one for one in tree(trial, run) if one.state().open_waits)
            state = listening.state()
            trial.signal(listening.id, state.waits[min(state.open_waits)].name, "at last")
    raise AssertionError(f"no end: {[fact.type for fact in run.facts()][-12:]}")
