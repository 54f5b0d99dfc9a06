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


def wait_for_the_others() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    print(json.dumps({"decide": decide, "send": send}[sys.argv[1]](*sys.argv[2:])))
