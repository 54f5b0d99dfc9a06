"""Random workflow programs whose results are known before they run.

`grow(rng)` makes a program: nested lines, gathers, task groups, races with timers, maps, retries, try and except, and
a counter in `vbl.state`. `expect(program)` says what comes of it, without running anything; the workflows `program` and
`plain_program` run it. A program is plain JSON data, so it travels as the input of a run.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import vbl
from tests.crash.lives import DEEDS, write_deed

Program = dict[str, Any]
MODULUS = 1_000_003
QUICKLY = vbl.Retry(max_attempts=4, delay=0.003, max_delay=0.02)


class Count(BaseModel):
    """The state of a run: what its `add` statements have added up to."""

    total: int = 0


class Broken(Exception):
    """What a failed part of a program is, for the pure interpreter."""


# Growing ----------------------------------------------------------------------------------------------------------


def grow(rng: random.Random, depth: int = 3, *, plain: bool = False) -> Program:
    """Make a random program; a `plain` one has only what a sync workflow can do."""
    leaves = ["step", "step", "thread", "stubborn", "add", "sleep"]
    branches = ["line", "line", "attempt", "map"]
    if not plain:
        leaves += ["short_timer", "long_timer", "duel"]
        branches += ["gather", "group", "both"]
    kind = rng.choice(leaves if depth == 0 or rng.random() < 0.25 else branches)
    return _MAKERS[kind](rng, depth, plain)


def whole(rng: random.Random, *, plain: bool = False) -> Program:
    """Make a whole program: some are small, and some fail at their end."""
    depth = rng.randint(1, 3)
    return _failing(rng, depth, plain) if rng.random() < 0.1 else grow(rng, depth, plain=plain)


def _parts(rng: random.Random, depth: int, plain: bool, most: int = 3) -> list[Program]:
    return [grow(rng, depth - 1, plain=plain) for _ in range(rng.randint(1, most))]


def _number(kind: str) -> Any:
    return lambda rng, depth, plain: {"kind": kind, "number": rng.randrange(1, 1000)}


def _failing(rng: random.Random, depth: int, plain: bool) -> Program:
    """A line that fails at its end; only its catcher may follow."""
    return {
        "kind": "line",
        "parts": [*_parts(rng, max(depth - 1, 1), plain, 2), {"kind": "fail", "number": rng.randrange(1000)}],
    }


def _attempt(rng: random.Random, depth: int, plain: bool) -> Program:
    body = _failing(rng, depth, plain) if rng.random() < 0.6 else grow(rng, depth - 1, plain=plain)
    return {"kind": "attempt", "body": body, "handler": grow(rng, depth - 1, plain=plain)}


def _map(rng: random.Random, depth: int, plain: bool) -> Program:
    items = [rng.randrange(1, 1000) for _ in range(rng.randint(1, 6))]
    return {"kind": "map", "items": items, "limit": rng.randint(1, 4), "tolerate": sum(item % 5 == 0 for item in items)}


def _group(rng: random.Random, depth: int, plain: bool) -> Program:
    """A task group; where a member fails the others are cancelled, so they may not add to the state."""
    if rng.random() < 0.3:
        calm: list[Program] = [{"kind": "step", "number": n} for n in range(rng.randint(1, 3))]
        return {
            "kind": "attempt",
            "body": {"kind": "group", "parts": [*calm, {"kind": "fail", "number": 1}]},
            "handler": calm[0],
        }
    return {"kind": "group", "parts": _parts(rng, depth, plain)}


_MAKERS: dict[str, Any] = {
    "step": _number("step"),
    "thread": _number("thread"),
    "add": _number("add"),
    "short_timer": _number("short_timer"),
    "long_timer": _number("long_timer"),
    "duel": _number("duel"),
    "sleep": lambda rng, depth, plain: {"kind": "sleep", "seconds": rng.choice((0, 0.001, 0.01))},
    "stubborn": lambda rng, depth, plain: {
        "kind": "stubborn", "number": rng.randrange(1, 1000), "failures": rng.randrange(3)
    },
    "line": lambda rng, depth, plain: {"kind": "line", "parts": _parts(rng, depth, plain, 4)},
    "gather": lambda rng, depth, plain: {"kind": "gather", "parts": _parts(rng, depth, plain)},
    "both": lambda rng, depth, plain: {
        "kind": "both", "parts": [grow(rng, depth - 1), _failing(rng, depth - 1, plain), grow(rng, depth - 1)]
    },
    "group": _group,
    "attempt": _attempt,
    "map": _map,
}  # fmt: skip


# Knowing ----------------------------------------------------------------------------------------------------------


def mix(x: int, number: int) -> int:
    """What one step makes of what it is given."""
    return (x * 31 + number) % MODULUS


def fold_up(x: int, results: list[int]) -> int:
    """One number from the results of parts that ran side by side, in their order."""
    for result in results:
        x = mix(x, result)
    return x


def expect(program: Program) -> list[int | str]:
    """The result of a program, and the total of its state: known without running it."""
    count = Count()
    try:
        return [_know(program, 1, count), count.total]
    except Broken:
        return ["failed", count.total]


def _know(program: Program, x: int, count: Count) -> int:
    match program:
        case {"kind": "step" | "thread" | "stubborn" | "long_timer" | "duel", "number": number}:
            return mix(x, number)
        case {"kind": "short_timer", "number": number}:
            return mix(x, number + 1)
        case {"kind": "fail"}:
            raise Broken
        case {"kind": "sleep"}:
            return x
        case {"kind": "add", "number": number}:
            count.total += number
            return x
        case {"kind": "line", "parts": parts}:
            for part in parts:
                x = _know(part, x, count)
            return x
        case {"kind": "gather" | "group" | "both", "parts": parts}:
            return _know_all(parts, x, count, program["kind"])
        case {"kind": "attempt", "body": body, "handler": handler}:
            try:
                return _know(body, x, count)
            except Broken:
                return _know(handler, x + 1, count)
        case {"kind": "map", "items": items}:
            return fold_up(x, [-1 if item % 5 == 0 else mix(item, 7) for item in items])
        case _:
            raise AssertionError(program)


def _know_all(parts: list[Program], x: int, count: Count, kind: str) -> int:
    results: list[int] = []
    for part in parts:
        try:
            results.append(_know(part, x, count))
        except Broken:
            if kind != "both":
                raise
            results.append(-1)
    return fold_up(x, results)


# Running ----------------------------------------------------------------------------------------------------------


@vbl.step
async def step(x: int, number: int) -> int:
    write_deed("begin")
    await asyncio.sleep(0.001)
    return mix(x, number)


@vbl.step
def thread(x: int, number: int) -> int:
    write_deed("begin")
    return mix(x, number)


@vbl.step(retry=QUICKLY)
def stubborn(x: int, number: int, failures: int) -> int:
    """Fail that often, whatever happens to the process: the tries are counted on disk."""
    write_deed("begin")
    tries = Path(os.environ[DEEDS]).parent / "tries"
    tries.mkdir(exist_ok=True)
    mine = tries / vbl.key().replace(":", "_")
    with mine.open("ab") as file:
        file.write(b".")
    if mine.stat().st_size <= failures:
        raise ConnectionError("again")
    return mix(x, number)


@vbl.step(retry=vbl.Retry(max_attempts=2, delay=0.002))
async def fail(number: int) -> int:
    write_deed("begin")
    raise ConnectionError(f"always {number}")


@vbl.step
async def endless() -> int:
    write_deed("begin")
    await asyncio.Event().wait()
    return 0


@vbl.step
async def not_by_five(item: int) -> int:
    write_deed("begin")
    if item % 5 == 0:
        raise ValueError("by five")
    return mix(item, 7)


@vbl.workflow
async def program(tree: dict[str, Any]) -> list[int | str]:
    """Run a program."""
    count = vbl.state(Count)
    try:
        return [await _run(tree, 1), count.total]
    except vbl.StepFailed:
        return ["failed", count.total]


async def _run(tree: Program, x: int) -> int:
    match tree:
        case {"kind": "step", "number": number}:
            return await step(x, number)
        case {"kind": "thread", "number": number}:
            return await thread.aio(x, number)
        case {"kind": "stubborn", "number": number, "failures": failures}:
            return await stubborn.aio(x, number, failures)
        case {"kind": "short_timer", "number": number}:
            try:
                return await asyncio.wait_for(endless(), 0.005)
            except TimeoutError:
                return mix(x, number + 1)
        case {"kind": "long_timer", "number": number}:
            return await _race(step(x, number), asyncio.sleep(3600, -1))
        case {"kind": "duel", "number": number}:
            return await _race(step(x, number), thread.aio(x, number))
        case {"kind": "fail", "number": number}:
            return await fail(number)
        case {"kind": "sleep", "seconds": seconds}:
            await vbl.sleep(seconds)
            return x
        case {"kind": "add", "number": number}:
            vbl.state(Count).total += number
            return x
        case {"kind": "line", "parts": parts}:
            for part in parts:
                x = await _run(part, x)
            return x
        case _:
            return await _run_branch(tree, x)


async def _race(*runners: Awaitable[int]) -> int:
    """The result of the first; the others are given up."""
    racers = [asyncio.ensure_future(runner) for runner in runners]
    done, pending = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
    for racer in pending:
        racer.cancel()
    return min(racer.result() for racer in done)


async def _run_branch(tree: Program, x: int) -> int:
    match tree:
        case {"kind": "gather", "parts": parts}:
            results = await asyncio.gather(*(_run(part, x) for part in parts), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            return fold_up(x, [int(result) for result in results if isinstance(result, int)])
        case {"kind": "both", "parts": parts}:
            results = await asyncio.gather(*(_run(part, x) for part in parts), return_exceptions=True)
            return fold_up(x, [result if isinstance(result, int) else -1 for result in results])
        case {"kind": "group", "parts": parts}:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_run(part, x)) for part in parts]
            return fold_up(x, [task.result() for task in tasks])
        case {"kind": "attempt", "body": body, "handler": handler}:
            try:
                return await _run(body, x)
            except (vbl.StepFailed, ExceptionGroup):
                pass
            return await _run(handler, x + 1)
        case {"kind": "map", "items": items, "limit": limit, "tolerate": tolerate}:
            results = await vbl.map(not_by_five, items, limit=limit, tolerate=tolerate)
            return fold_up(x, [result if isinstance(result, int) else -1 for result in results])
        case _:
            raise AssertionError(tree)


@vbl.step
def fail_plainly(number: int) -> int:
    write_deed("begin")
    raise ValueError(f"always {number}")


@vbl.step
def not_by_five_plainly(item: int) -> int:
    write_deed("begin")
    if item % 5 == 0:
        raise ValueError("by five")
    return mix(item, 7)


@vbl.workflow
def plain_program(tree: dict[str, Any]) -> list[int | str]:
    """Run a plain program, in a sync workflow."""
    count = vbl.state(Count)
    try:
        return [_run_plainly(tree, 1), count.total]
    except vbl.StepFailed:
        return ["failed", count.total]


def _run_plainly(tree: Program, x: int) -> int:
    match tree:
        case {"kind": "step" | "thread", "number": number}:
            return thread(x, number)
        case {"kind": "stubborn", "number": number, "failures": failures}:
            return stubborn(x, number, failures)
        case {"kind": "fail", "number": number}:
            return fail_plainly(number)
        case {"kind": "sleep", "seconds": seconds}:
            vbl.sleep(seconds)
            return x
        case {"kind": "add", "number": number}:
            vbl.state(Count).total += number
            return x
        case {"kind": "line", "parts": parts}:
            for part in parts:
                x = _run_plainly(part, x)
            return x
        case {"kind": "attempt", "body": body, "handler": handler}:
            try:
                return _run_plainly(body, x)
            except vbl.StepFailed:
                pass
            return _run_plainly(handler, x + 1)
        case {"kind": "map", "items": items, "limit": limit, "tolerate": tolerate}:
            results = vbl.map(not_by_five_plainly, items, limit=limit, tolerate=tolerate)
            return fold_up(x, [result if isinstance(result, int) else -1 for result in results])
        case _:
            raise AssertionError(tree)
