"""Workflows of many shapes, each with its known outcome and with the bodies that it runs when nothing disturbs it.

They are what the crash matrix, the replays and the kills are enumerated over. A shape's outcome depends on nothing but
its code, its run and the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import random
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict

import vbl
from tests.engine.world import WORLD
from vbl.engine.definitions import Workflow
from vbl.history.state import Status


@dataclass(frozen=True)
class Shape:
    """A workflow and what is known of it. `outcome` is the output, or a function of the run's id that gives it;
    `effects` says how often the body of each call runs."""

    workflow: Workflow[..., Any]
    outcome: Any
    effects: dict[str, int]
    args: tuple[Any, ...] = ()
    status: Status = Status.COMPLETED
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.workflow.name

    def output(self, run_id: str) -> Any:
        return self.outcome(run_id) if callable(self.outcome) else self.outcome


SHAPES: dict[str, Shape] = {}


def shape(outcome: Any, effects: dict[str, int], **more: Any) -> Callable[[Workflow[..., Any]], Workflow[..., Any]]:
    def register(workflow: Workflow[..., Any]) -> Workflow[..., Any]:
        SHAPES[workflow.name] = Shape(workflow, outcome, effects, **more)
        return workflow

    return register


def calls(name: str, count: int) -> dict[str, int]:
    """That many calls of a step, each running its body once."""
    return {name if n == 0 else f"{name}#{n + 1}": 1 for n in range(count)}


# Steps ------------------------------------------------------------------------------------------------------------


@vbl.step
async def work(value: int) -> int:
    WORLD.did()
    return value


@vbl.step
def labour(value: int) -> int:
    WORLD.did()
    return value


@vbl.step
async def slow(value: int, seconds: float) -> int:
    WORLD.did()
    await WORLD.clock.sleep(seconds)
    return value


FOUR_TIMES = vbl.Retry(max_attempts=4, delay=10, factor=2, jitter=0.5)


@vbl.step(retry=FOUR_TIMES)
async def flaky(value: int, failures: int) -> int:
    effect = WORLD.did()
    if WORLD.failures[effect.run, effect.key] < failures:
        WORLD.failures[effect.run, effect.key] += 1
        raise ConnectionError("the line is dead")
    return value


@vbl.step
async def broken(message: str) -> int:
    WORLD.did()
    raise ValueError(message)


@vbl.step
def snapped(message: str) -> int:
    WORLD.did()
    raise ValueError(message)


@vbl.step
async def picky(value: int) -> int:
    WORLD.did()
    if value % 3 == 0:
        raise ValueError(f"{value} is divisible by three")
    return value


# One after the other ----------------------------------------------------------------------------------------------


@shape(6, calls("work", 3))
@vbl.workflow
async def sequence() -> int:
    total = 0
    for value in (1, 2, 3):
        total += await work(value)
    return total


@shape(None, {})
@vbl.workflow
async def nothing() -> None:
    pass


@shape(["work", "slow", 8], {"work": 1, "slow": 1, "work#2": 1})
@vbl.workflow
async def branching() -> list[Any]:
    """Which step comes next depends on what the last one returned."""
    path = ["work"] if await work(1) == 1 else [await slow(0, 1)]
    while len(path) < 2:
        await slow(1, 5)
        path.append("slow")
    return [*path, await work(8)]


# Side by side -----------------------------------------------------------------------------------------------------


@shape([1, 2, 3, 4], calls("slow", 4))
@vbl.workflow
async def gathered() -> list[int]:
    return list(await asyncio.gather(slow(1, 30), slow(2, 10), slow(3, 20), slow(4, 40)))


@shape([1, "ValueError", 3], {"work": 1, "broken": 1, "work#2": 1})
@vbl.workflow
async def gathered_with_exceptions() -> list[Any]:
    found = await asyncio.gather(work(1), broken("no"), work(3), return_exceptions=True)
    return [f.type if isinstance(f, vbl.StepFailed) else f for f in found]


@shape(10, calls("labour", 4))
@vbl.workflow
async def gathered_threads() -> int:
    return sum(await asyncio.gather(*(labour.aio(n) for n in (1, 2, 3, 4))))


@shape(6, calls("work", 3))
@vbl.workflow
async def task_group() -> int:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(n)) for n in (1, 2, 3)]
    return sum(task.result() for task in tasks)


@shape({"failed": ["no"], "gave up": True}, {"broken": 1, "slow": 1})
@vbl.workflow
async def task_group_that_fails() -> dict[str, Any]:
    gave_up = False

    async def patient() -> None:
        nonlocal gave_up
        try:
            await slow(1, 60)
        except asyncio.CancelledError:
            gave_up = True
            raise

    failed: list[str] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(patient())
            group.create_task(broken("no"))
    except* vbl.StepFailed as failures:
        failed = [str(error.message) for error in failures.exceptions if isinstance(error, vbl.StepFailed)]
    return {"failed": failed, "gave up": gave_up}


@shape([2, 1, 3], calls("slow", 3))
@vbl.workflow
async def as_they_complete() -> list[int]:
    return [await first for first in asyncio.as_completed([slow(1, 20), slow(2, 10), slow(3, 30)])]


@shape(15, calls("work", 8))
@vbl.workflow
async def nested_tasks() -> int:
    """A tree of tasks, each of which makes two more and calls a step."""

    async def node(depth: int) -> int:
        if depth == 0:
            return await work(1)
        left = asyncio.create_task(node(depth - 1))
        right = asyncio.create_task(node(depth - 1))
        return 1 + await left + await right

    return await node(3)


@shape([[1, 1], [2, 2], [3, 3]], {"work": 1, "work#2": 1, "work#3": 1, "slow": 1, "slow#2": 1, "slow#3": 1})
@vbl.workflow
async def queue() -> list[list[int]]:
    """A producer and two consumers over a bounded queue."""
    lines: asyncio.Queue[int | None] = asyncio.Queue(maxsize=1)
    found: list[list[int]] = []

    async def produce() -> None:
        for n in (1, 2, 3):
            await lines.put(await work(n))
        for _ in range(2):
            await lines.put(None)

    async def consume() -> None:
        while (n := await lines.get()) is not None:
            found.append([n, await slow(n, 10)])

    await asyncio.gather(produce(), consume(), consume())
    return sorted(found)


@shape(
    ["enter 1", "leave 1", "enter 2", "leave 2", "enter 3", "leave 3"], {"slow": 1, "slow#2": 1, "slow#3": 1, "work": 1}
)
@vbl.workflow
async def event_and_lock() -> list[str]:
    """Three tasks wait for an event, then pass a lock one by one."""
    go, lock = asyncio.Event(), asyncio.Lock()
    log: list[str] = []

    async def worker(n: int) -> None:
        await go.wait()
        async with lock:
            log.append(f"enter {n}")
            await slow(n, 10)
            log.append(f"leave {n}")

    async with asyncio.TaskGroup() as group:
        for n in (1, 2, 3):
            group.create_task(worker(n))
        await work(0)
        go.set()
    return log


@shape(2, calls("slow", 5))
@vbl.workflow
async def semaphore_and_condition() -> int:
    """At most two at a time; somebody waits until three are done."""
    seats, done = asyncio.Semaphore(2), asyncio.Condition()
    inside, most, finished = 0, 0, 0

    async def guest(n: int) -> None:
        nonlocal inside, most, finished
        async with seats:
            inside += 1
            most = max(most, inside)
            await slow(n, 10 + n)
            inside -= 1
        async with done:
            finished += 1
            done.notify_all()

    async with asyncio.TaskGroup() as group:
        for n in range(5):
            group.create_task(guest(n))
        async with done:
            await done.wait_for(lambda: finished >= 3)
    return most


# Races and time ---------------------------------------------------------------------------------------------------


@shape(2, calls("slow", 3))
@vbl.workflow
async def first_completed() -> int:
    tasks = {asyncio.create_task(slow(n, seconds)) for n, seconds in ((1, 30), (2, 10), (3, 20))}
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    return done.pop().result()


@shape("timer", {"slow": 1})
@vbl.workflow
async def race_won_by_timer() -> str:
    return await _race(slow(1, 60), 5)


@shape("step", {"slow": 1})
@vbl.workflow
async def race_won_by_step() -> str:
    return await _race(slow(1, 5), 60)


async def _race(call: Any, seconds: float) -> str:
    step, timer = asyncio.ensure_future(call), asyncio.ensure_future(asyncio.sleep(seconds))
    done, left = await asyncio.wait({step, timer}, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    return "step" if step in done else "timer"


@shape(["timed out", 7], {"slow": 1, "work": 1})
@vbl.workflow
async def timeout_that_fires() -> list[Any]:
    try:
        async with asyncio.timeout(30):
            return [await slow(1, 60)]
    except TimeoutError:
        return ["timed out", await work(7)]


@shape([1, 7], {"slow": 1, "work": 1})
@vbl.workflow
async def timeout_that_does_not() -> list[Any]:
    async with asyncio.timeout(30):
        first = await slow(1, 10)
    return [first, await work(7)]


@shape(["timed out", 2], calls("slow", 2))
@vbl.workflow
async def wait_for() -> list[Any]:
    try:
        found: list[Any] = [await asyncio.wait_for(slow(1, 60), 30)]
    except TimeoutError:
        found = ["timed out"]
    return [*found, await asyncio.wait_for(slow(2, 5), 30)]


@shape(["still at it", 1], {"slow": 1})
@vbl.workflow
async def shielded() -> list[Any]:
    """A step outlives the patience of one who waits for it."""
    going = asyncio.ensure_future(slow(1, 60))
    try:
        async with asyncio.timeout(30):
            return [await asyncio.shield(going)]
    except TimeoutError:
        return ["still at it", await going]


@shape([86_400.0, 3_600.0, 90_000.0], calls("work", 2))
@vbl.workflow
async def sleeps() -> list[float]:
    """Long sleeps in a row and side by side, measured by the run's own clock."""
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(86_400)
    await work(1)
    day = asyncio.get_running_loop().time() - begun
    before = vbl.now()
    await asyncio.gather(asyncio.sleep(60), vbl.sleep(3_600), asyncio.sleep(1_800))
    await work(2)
    hour = vbl.now() - before
    return [day, hour.total_seconds(), asyncio.get_running_loop().time() - begun]


@shape(["b", "d", "a", "c"], {})
@vbl.workflow
async def equal_times() -> list[str]:
    """Timers of the same instant fire in the order in which they were set."""
    log: list[str] = []

    async def alarm(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        log.append(name)

    await asyncio.gather(alarm("a", 20), alarm("b", 10), alarm("c", 20), alarm("d", 10))
    return log


# Maps -------------------------------------------------------------------------------------------------------------


@shape([1, 2, 4, 5, 7, 8], {f"work[{n}]": 1 for n in range(6)})
@vbl.workflow
async def mapped() -> list[int]:
    return await vbl.map(work, [1, 2, 4, 5, 7, 8], limit=2)


@shape([1, 2, "ValueError", 4, 5, "ValueError", 7], {f"picky[{n}]": 1 for n in range(7)})
@vbl.workflow
async def mapped_with_failures() -> list[Any]:
    found: list[Any] = list(await vbl.map(picky, range(1, 8), limit=3, tolerate=2))
    return [f.type if isinstance(f, vbl.StepFailed) else f for f in found]


@shape(["ValueError", 1], {"picky[0]": 1, "picky[1]": 1, "picky[2]": 1, "work": 1})
@vbl.workflow
async def mapped_past_its_tolerance() -> list[Any]:
    try:
        return list(await vbl.map(picky, [1, 2, 3, 4, 6], limit=1))
    except vbl.StepFailed as failure:
        return [failure.type, await work(1)]


@shape([1, 2, 10, 20], {"work[0]": 1, "work[1]": 1, "work#2[0]": 1, "work#2[1]": 1})
@vbl.workflow
async def two_maps_at_once() -> list[int]:
    first, second = await asyncio.gather(vbl.map(work, [1, 2]), vbl.map(work, [10, 20], limit=1))
    return [*first, *second]


# Failure ----------------------------------------------------------------------------------------------------------


@shape([1, 2], {"flaky": 3, "flaky#2": 2})
@vbl.workflow
async def retries() -> list[int]:
    return [await flaky(1, 2), await flaky(2, 1)]


@shape([1, 2, 3], {"flaky": 3, "flaky#2": 2, "slow": 1})
@vbl.workflow
async def retries_side_by_side() -> list[int]:
    return list(await asyncio.gather(flaky(1, 2), flaky(2, 1), slow(3, 15)))


@shape(["transient", True, "ConnectionError", 5], {"flaky": 4, "work": 1})
@vbl.workflow
async def failure_caught() -> list[Any]:
    try:
        return [await flaky(1, 99)]
    except vbl.StepFailed as failure:
        return [failure.kind, failure.attempts >= 4, failure.type, await work(5)]


@shape(None, {"work": 1, "broken": 1}, status=Status.FAILED)
@vbl.workflow
async def failing() -> int:
    return await work(1) + await broken("no good")


@shape(None, {"work": 1}, status=Status.FAILED)
@vbl.workflow
async def failing_by_itself() -> int:
    raise KeyError(await work(1))


# Cancellation -----------------------------------------------------------------------------------------------------


@shape(["undone", 3], {"slow": 1, "work": 1, "work#2": 1})
@vbl.workflow
async def cleanup_after_cancel() -> list[Any]:
    """A task that is cancelled calls a step while it unwinds."""
    log: list[Any] = []

    async def job() -> None:
        try:
            await slow(1, 60)
        finally:
            await work(2)
            log.append("undone")

    task = asyncio.create_task(job())
    await asyncio.sleep(5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return [*log, await work(3)]


@shape(1, {"work": 1, "slow": 1})
@vbl.workflow
async def left_behind() -> int:
    """What still runs when the function returns is cancelled with it."""

    async def background() -> None:
        async with asyncio.timeout(500):
            await slow(1, 60)

    task = asyncio.create_task(background())
    await asyncio.sleep(1)
    first = await work(1)
    return first if not task.done() else -1


@shape(None, {"slow": 1, "work": 1}, status=Status.CANCELLED, options={"deadline": 20})
@vbl.workflow
async def past_its_deadline() -> int:
    try:
        return await slow(1, 60)
    finally:
        await work(2)


@shape([0, 1, "closed"], {"work": 1, "work#2": 1, "work#3": 1})
@vbl.workflow
async def generator() -> list[Any]:
    """An async generator that calls steps, and is left early."""
    log: list[Any] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for n in range(9):
                yield await work(n)
        finally:
            await work(99)
            log.append("closed")

    async with contextlib.aclosing(numbers()) as source:
        async for n in source:
            log.append(n)
            if n == 1:
                break
    return log


# What a run remembers ---------------------------------------------------------------------------------------------


class Talk(BaseModel):
    messages: list[dict[str, str]] = []
    turns: int = 0


@vbl.step
async def answer(messages: list[dict[str, str]]) -> dict[str, str]:
    WORLD.did()
    return {"role": "assistant", "content": f"I have heard {len(messages)} messages. " + "So it goes. " * 40}


@shape([8, 4, "I have heard 7 messages. "], calls("answer", 4))
@vbl.workflow
async def conversation() -> list[Any]:
    talk = vbl.state(Talk)
    for n in range(4):
        talk.messages.append({"role": "user", "content": f"question {n} " + "and what follows from it " * 20})
        talk.messages.append(await answer(talk.messages))
        talk.turns += 1
    return [len(talk.messages), talk.turns, talk.messages[-1]["content"][:25]]


@vbl.step
async def echo(value: Any) -> Any:
    WORLD.did()
    return value


def _chance_of(run_id: str) -> list[Any]:
    source = random.Random(run_id)
    first = source.random()
    token = str(uuid.UUID(int=source.getrandbits(128), version=4))
    return [first, token, source.random(), 60.0]


@shape(_chance_of, calls("echo", 3))
@vbl.workflow
async def chance() -> list[Any]:
    """Random numbers, a token and the time pass through steps and are compared again at the end."""
    first = await echo(vbl.random())
    token = await echo(str(vbl.uuid4()))
    begun = datetime.datetime.fromisoformat(await echo(vbl.now().isoformat()))
    await vbl.sleep(60)
    return [first, token, vbl.random(), (vbl.now() - begun).total_seconds()]


class Colour(Enum):
    RED = "red"


@dataclass
class Parcel:
    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    at: datetime.datetime
    colour: Colour
    tags: set[str]
    place: tuple[int, str]
    data: bytes


@vbl.step
async def forward(parcel: Parcel) -> Parcel:
    WORLD.did()
    assert isinstance(parcel.colour, Colour), "a body sees typed values"
    return parcel


@shape(["Parcel", True, True], calls("forward", 2))
@vbl.workflow
async def typed() -> list[Any]:
    """Values keep their types through steps, live as on replay."""
    sent = Parcel(vbl.now(), Colour.RED, {"a", "b"}, (1, "x"), b"\x00\xff")
    first = await forward(sent)
    second = await forward(first)
    return [type(second).__name__, second == sent, second is not first]


LONG = "In the beginning was the word. " * 4_000


@vbl.step
async def copy_out(text: str) -> str:
    WORLD.did()
    return text + "!"


@shape(len(LONG) + 3, calls("copy_out", 3))
@vbl.workflow
async def long_texts() -> int:
    """Payloads that are too long for a row, each mostly the one before."""
    text = LONG
    for _ in range(3):
        text = await copy_out(text)
    return len(text)


@shape([4, 2, 1], {"first": 1, "second": 1, "work": 1})
@vbl.workflow
async def named_by_hand() -> list[int]:
    return list(
        await asyncio.gather(work.options(key="first")(4), work.options(key="second", timeout=60)(2), work(1)),
    )


@shape(["new", "new", 1], {"work": 1})
@vbl.workflow
async def patched() -> list[Any]:
    found = ["new" if vbl.patched("twice") else "old"]
    value = await work(1)
    return [*found, "new" if vbl.patched("twice") else "old", value]


@vbl.step
async def outer(value: int) -> int:
    WORLD.did()
    return await work(value) + labour(value)


@shape(10, {"outer": 3})
@vbl.workflow
async def step_in_a_step() -> int:
    """A step called by a step's body is part of it: two effects, but no history, of its own."""
    return await outer(5)


# Cancels of the run, shields and sagas ----------------------------------------------------------------------------


@vbl.step
async def unbook(what: str) -> None:
    WORLD.did()
    if what == "broken":
        raise ValueError("it cannot be undone")


@vbl.step
def unbook_plainly(what: str) -> None:
    WORLD.did()


@shape(None, {"slow": 1, "work": 1, "work#2": 1}, status=Status.CANCELLED, options={"deadline": 20})
@vbl.workflow
async def cancelled_in_a_shield() -> None:
    """The run's cancel arrives while its clean-up is under way already, and waits."""
    try:
        async with vbl.shield():
            await slow(1, 60)
            await work(1)
        await labour.aio(2)
    finally:
        async with vbl.shield():
            await work(3)


@shape(None, {"work": 1}, status=Status.CANCELLED, options={"deadline": 20})
@vbl.workflow
async def cancelled_in_a_sleep() -> None:
    try:
        await asyncio.sleep(1_000)
    finally:
        await work(1)


@shape(["cleaned up", True], {"slow": 1, "slow#2": 1, "work": 1})
@vbl.workflow
async def second_cancel_in_a_shield() -> list[Any]:
    log: list[Any] = []

    async def job() -> None:
        try:
            await slow(1, 60)
        finally:
            async with vbl.shield():
                await slow(2, 20)
                await work(1)
                log.append("cleaned up")

    task = asyncio.create_task(job())
    await asyncio.sleep(5)
    task.cancel()
    await asyncio.sleep(5)
    task.cancel()
    await asyncio.wait([task])
    return [*log, task.cancelled()]


@shape(["time-out", 1], {"slow": 1, "work": 1})
@vbl.workflow
async def shield_with_a_time_out() -> list[Any]:
    try:
        async with vbl.shield(timeout=30):
            return [await slow(1, 60)]
    except TimeoutError:
        return ["time-out", await work(1)]


@shape(None, {"slow": 1}, status=Status.CANCELLED, options={"deadline": 20})
@vbl.workflow
async def clean_up_that_is_too_long() -> None:
    try:
        await asyncio.sleep(1_000)
    finally:
        async with vbl.shield():
            await slow(1, 100_000)
            await work(1)


def _saga_failing_at(point: int) -> tuple[list[Any], dict[str, int]]:
    done = {**calls("work", point), "broken": 1}
    keys = ["unbook" if n == 0 else f"unbook#{n + 1}" for n in range(point)]
    return [[{"step": key, "ok": True} for key in reversed(keys)], "ValueError"], {**done, **dict.fromkeys(keys, 1)}


def _saga(point: int) -> None:
    """A saga of three steps; the one behind `point` of them fails."""
    outcome, effects = _saga_failing_at(point)

    @shape(outcome, effects, args=(point,))
    @vbl.workflow(name=f"saga_failing_at_{point}")
    async def failing_saga(point: int) -> list[Any]:
        saga = vbl.saga()
        try:
            async with saga:
                for n in range(4):
                    await (work(n) if n < point else broken("no"))
                    saga.undo(unbook, str(n))
        except vbl.StepFailed as failure:
            return [saga.undone, failure.type]
        return []

    globals()[f"saga_failing_at_{point}"] = failing_saga


for _point in range(4):
    _saga(_point)


@shape(
    [["unbook#3", "unbook#2", "unbook"], [True, False, True]], {"unbook": 1, "unbook#2": 1, "unbook#3": 1, "broken": 1}
)
@vbl.workflow
async def saga_with_a_failing_undo() -> list[Any]:
    saga = vbl.saga()
    try:
        async with saga:
            saga.undo(unbook, "a")
            saga.undo(unbook, "broken")
            saga.undo(unbook, "c")
            await broken("no")
    except vbl.StepFailed:
        return [[told["step"] for told in saga.undone], [told["ok"] for told in saga.undone]]
    return []


@shape(None, {"work": 1, "unbook": 1, "unbook#2": 1, "slow": 1}, status=Status.CANCELLED, options={"deadline": 20})
@vbl.workflow
async def saga_cancelled() -> None:
    async with vbl.saga() as outer:
        outer.undo(unbook, "outer")
        async with vbl.saga() as inner:
            await work(1)
            inner.undo(unbook, "inner")
            await slow(1, 60)


@shape(None, {"labour": 1, "unbook_plainly": 1}, status=Status.CANCELLED, options={"deadline": 20})
@vbl.workflow
def plain_saga_cancelled() -> None:
    with vbl.saga() as saga:
        saga.undo(unbook_plainly, "a")
        with vbl.shield():
            labour(1)
            vbl.sleep(60)
        saga.undo(unbook_plainly, "b")
        vbl.sleep(1)


# Sync workflows ---------------------------------------------------------------------------------------------------


@shape(6, calls("labour", 3))
@vbl.workflow
def plain_sequence() -> int:
    return sum(labour(n) for n in (1, 2, 3))


@shape([[1, 2, 3], 3_600.0, 9], {"labour[0]": 1, "labour[1]": 1, "labour[2]": 1, "labour#2": 1})
@vbl.workflow
def plain_map_and_sleep() -> list[Any]:
    found = list(vbl.map(labour, [1, 2, 3], limit=2))
    before = vbl.now()
    vbl.sleep(3_600)
    return [found, (vbl.now() - before).total_seconds(), labour(9)]


@shape(["ValueError", 1], {"snapped": 1, "labour": 1})
@vbl.workflow
def plain_failure_caught() -> list[Any]:
    try:
        return [snapped("no")]
    except vbl.StepFailed as failure:
        return [failure.type, labour(1)]


class Tally(BaseModel):
    seen: list[int] = []


@shape([1, 2, 3], calls("labour", 3))
@vbl.workflow
def plain_state() -> list[int]:
    tally = vbl.state(Tally)
    for n in (1, 2, 3):
        tally.seen.append(labour(n))
        if n == 2:
            vbl.sleep(30)
    return tally.seen
