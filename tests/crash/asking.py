"""Workflows that wait for many people and many signals; and each person and each sender as a process of its own.

A process says `ready`, waits for a line, does what it is there for, and prints what it was told, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

import vbl
from tests.crash.lives import write_deed
from vbl.errors import Conflict

OPEN = ("queued", "running", "retrying", "waiting", "waiting_for_approval")


@vbl.step
async def heed(name: str, approved: bool) -> bool:
    write_deed("begin")
    return approved


@vbl.workflow
async def panel(size: int) -> dict[str, Any]:
    """Ask that many questions at once; what was decided, and by whom."""

    async def ask(name: str) -> tuple[str, Any]:
        gate = await vbl.approve(name)
        return name, [await heed(name, gate.approved), gate.by, gate.reason]

    return dict(await asyncio.gather(*(ask(f"question {n}") for n in range(size))))


@vbl.workflow
async def listener(total: int) -> list[Any]:
    """Take that many signals, in the order in which they come."""
    return [await vbl.wait("news") for _ in range(total)]


@vbl.workflow
async def careful_listener(total: int) -> list[Any]:
    """The same, with a step after every tenth, so that signals come while bodies run."""
    found: list[Any] = []
    for n in range(total):
        found.append(await vbl.wait("news"))
        if n % 10 == 9:
            await heed(str(n), True)
    return found


@vbl.workflow
async def member(name: str, depth: int) -> list[Any]:
    """Ask a person, listen, work, and have such members of one's own."""
    below = [asyncio.ensure_future(member(f"{name}.{n}", depth - 1)) for n in range(2 if depth else 0)]
    gate = await vbl.approve("may I", timeout=600)
    try:
        heard = await vbl.wait("news", timeout=600)
    finally:
        await heed(name, gate.approved)
    found: list[Any] = [name, gate.approved, heard]
    for one in below:
        try:
            found.append(await one)
        except vbl.RunCancelled:
            found.append("cancelled")
    return found


def decide(db: str, name: str, seed: str) -> list[list[Any]]:
    """Decide every gate of the file, in an order of one's own; for each what was decided, and the error if any."""
    rng = random.Random(seed)
    told: list[list[Any]] = []
    with vbl.connect(Path(db), create=False) as client:
        gates = client.gates(limit=None)
        rng.shuffle(gates)
        wait_for_the_others()
        for gate in gates:
            verb = rng.choice(("approve", "deny"))
            try:
                decided = getattr(client, verb)(gate, by=name, reason=f"said by {name}")
                told.append([gate.id, verb, None, decided.status])
            except Conflict as refused:
                told.append([gate.id, verb, refused.code, refused.message])
    return told


def send(db: str, run_id: str, name: str, count: str, keyed: str) -> int:
    """Send that many signals, numbered."""
    with vbl.connect(Path(db), create=False) as client:
        wait_for_the_others()
        for n in range(int(count)):
            client.signal(run_id, "news", [name, n], key=f"{name}/{n}" if keyed == "keyed" else None)
    return int(count)


def meddle(db: str, name: str, seed: str, cancels: str) -> dict[str, int]:
    """Decide, signal and cancel whatever there is, in a random order, until every run has ended."""
    rng = random.Random(seed)
    done = {"approve": 0, "deny": 0, "signal": 0, "cancel": 0, "refused": 0}
    with vbl.connect(Path(db), create=False) as client:
        wait_for_the_others()
        while runs := client.runs(status=OPEN, limit=None):
            run = rng.choice(runs)
            verb = rng.choices(("approve", "deny", "signal", "cancel"), (400, 200, 400, int(cancels)))[0]
            try:
                if verb == "cancel":
                    run.cancel(by=name)
                elif verb == "signal":
                    client.signal(run.id, "news", name)
                elif gates := client.gates(run=run.id):
                    getattr(client, verb)(rng.choice(gates), by=name)
                else:
                    continue
            except Conflict:
                verb = "refused"
            done[verb] += 1
    return done


def wait_for_the_others() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    print(json.dumps({"decide": decide, "send": send, "meddle": meddle}[sys.argv[1]](*sys.argv[2:])))
