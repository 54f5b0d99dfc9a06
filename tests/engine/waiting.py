"""Workflows that wait for the world, each with what the world does to it and with its known outcome.

As the corpus, but with people, programs and clients outside: a shape's moves say who does what when. What comes of it
depends on nothing but its code, its run, the clock and these moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

import vbl
from tests.engine.corpus import Shape, calls, labour, slow, snapped, work
from tests.engine.outside import Move, cancel, deny, grant, send
from vbl.engine.definitions import Workflow
from vbl.history.state import Status
from vbl.testing import NEW_YEAR


@dataclass(frozen=True)
class Waiting(Shape):
    """A shape and the moves of the world. `effects` are counted over the run and all below it: the key of a call in
    the run itself, `workflow/key` elsewhere; `kin` says how the runs below end, by workflow."""

    moves: tuple[Move, ...] = ()
    kin: dict[str, Status] = field(default_factory=dict[str, Status])


WAITING: dict[str, Waiting] = {}


def waits(
    outcome: Any, effects: dict[str, int], *moves: Move, **more: Any
) -> Callable[[Workflow[..., Any]], Workflow[..., Any]]:
    def register(workflow: Workflow[..., Any]) -> Workflow[..., Any]:
        WAITING[workflow.name] = Waiting(workflow, outcome, effects, moves=moves, **more)
        return workflow

    return register


async def first_of(**racers: Any) -> tuple[str, Any]:
    """The name and the result of the racer that ends first; the others are given up."""
    tasks = {asyncio.ensure_future(racer): name for name, racer in racers.items()}
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    (winner,) = done
    return tasks[winner], winner.result()


# Gates ------------------------------------------------------------------------------------------------------------


@waits([True, "ada", "looks right", 1], {"work": 1}, grant(10, reason="looks right"))
@vbl.workflow
async def gate_granted() -> list[Any]:
    gate = await vbl.approve("ask", show={"amount": 12}, to="ada")
    return [gate.approved, gate.by, gate.reason, await work(1) if gate.approved else None]


@waits([False, "ada", "too much", None], {}, deny(10, reason="too much"))
@vbl.workflow
async def gate_denied() -> list[Any]:
    gate = await vbl.approve("ask", show="all of it")
    return [gate.approved, gate.by, gate.reason, await work(1) if gate.approved else None]


@waits([False, None, 3_600.0], {"work": 1})
@vbl.workflow
async def gate_expired() -> list[Any]:
    """Nobody decides; a denial stands in for it."""
    gate = await vbl.approve("ask", timeout=datetime.timedelta(hours=1), on_timeout="deny")
    hours = (vbl.now() - datetime.datetime.fromtimestamp(NEW_YEAR / 1e6, datetime.UTC)).total_seconds()
    await work(1)
    return [gate.approved, gate.by, hours]


@waits([True, None, 1], {"work": 1})
@vbl.workflow
async def gate_approved_by_time() -> list[Any]:
    gate = await vbl.approve("ask", timeout=60, on_timeout="approve")
    return [gate.approved, gate.by, await work(1)]


@waits("expired", {"work": 1})
@vbl.workflow
async def gate_failed_by_time() -> str:
    try:
        await vbl.approve("ask", timeout=60, on_timeout="fail")
    except vbl.ApprovalExpired:
        await work(1)
        return "expired"
    return "decided"


@waits([True, "bob"], {"work": 1}, grant(90, by="bob"))
@vbl.workflow
async def gate_escalated() -> list[Any]:
    """Ada does not answer; after a minute Bob may."""
    gate = await vbl.approve("ask", to="ada", timeout=600, escalate=[(60, "bob"), (300, "eve")])
    await work(1)
    return [gate.approved, gate.by]


@waits([True, "eve"], {}, grant(100, by="eve"))
@vbl.workflow
async def gate_escalated_by_time() -> list[Any]:
    """The time-out itself passes the question on."""
    gate = await vbl.approve("ask", to="ada", timeout=60, on_timeout="escalate", escalate=[(60, "eve")])
    return [gate.approved, gate.by]


@waits([True, "ada"], {}, grant(100))
@vbl.workflow
async def gate_reminded() -> list[Any]:
    gate = await vbl.approve("ask", to="ada", timeout=600, remind=[30, 60, 200])
    return [gate.approved, gate.by]


@waits(3, {"work": 1}, grant(10, "work"))
@vbl.workflow
async def gated_call() -> int | None:
    gate = await vbl.approve(work.call(3), to="ada")
    return await gate.run() if gate.approved else None


@waits([9, 9], {"work": 1}, grant(10, "work", edit={"value": 9}))
@vbl.workflow
async def gate_edited() -> list[Any]:
    """What ran is what the approver made of it."""
    gate = await vbl.approve(work.call(3), edit=True)
    found = await gate.run()
    return [found, await asyncio.sleep(5, found)]


class Verdict(BaseModel):
    grade: int
    words: str = ""


@waits(["Verdict", 2, "fair"], {"work": 1}, grant(10, data={"grade": 2, "words": "fair"}))
@vbl.workflow
async def gate_with_data() -> list[Any]:
    gate = await vbl.approve("ask", schema=Verdict)
    await work(gate.data.grade)
    return [type(gate.data).__name__, gate.data.grade, gate.data.words]


@waits([True, "bob"], {}, grant(10), grant(20, by="bob"))
@vbl.workflow
async def gate_of_two() -> list[Any]:
    gate = await vbl.approve("ask", to=["ada", "bob", "eve"], need=2)
    return [gate.approved, gate.by]


@waits(3, {"work": 1, "work#2": 1}, grant(10, "work"), grant(200, "work", by="bob"))
@vbl.workflow
async def gate_reopened() -> int:
    """The decision is too old when its call would run: it is asked for again."""
    gate = await vbl.approve(work.call(3), valid_for=60)
    await asyncio.sleep(100)
    found = await gate.run()
    return await work(found)


@waits([["b", "bob"], ["a", "ada"]], {}, grant(10, "b", by="bob"), grant(20, "a"))
@vbl.workflow
async def gates_side_by_side() -> list[Any]:
    """Two at once, decided in the other order."""
    found: list[Any] = []

    async def ask(name: str) -> None:
        gate = await vbl.approve(name)
        found.append([name, gate.by])

    await asyncio.gather(ask("a"), ask("b"))
    return found


@waits([True, False], {"work": 1}, grant(10), deny(20))
@vbl.workflow
async def gates_of_one_name() -> list[bool]:
    first = await vbl.approve("ask")
    await work(1)
    return [first.approved, (await vbl.approve("ask")).approved]


# Races ------------------------------------------------------------------------------------------------------------


@waits(["timer", 1], {"work": 1})
@vbl.workflow
async def race_of_gate_and_timer() -> list[Any]:
    """Nobody decides in time: the gate is closed."""
    name, _ = await first_of(gate=vbl.approve("ask"), timer=asyncio.sleep(30))
    return [name, await work(1)]


@waits(["gate", True, 1], {"work": 1}, grant(10))
@vbl.workflow
async def race_won_by_the_gate() -> list[Any]:
    name, gate = await first_of(gate=vbl.approve("ask"), timer=asyncio.sleep(30))
    return [name, gate.approved, await work(1)]


@waits(["signal", "now", 1], {"slow": 1, "work": 1}, send(10, "hurry", "now"))
@vbl.workflow
async def race_of_everything() -> list[Any]:
    """A gate, a timer, a step and a signal: the signal comes first."""
    name, value = await first_of(
        gate=vbl.approve("ask"), timer=asyncio.sleep(600), step=slow(1, 300), signal=vbl.wait("hurry")
    )
    return [name, value, await work(1)]


@waits(["timed out", None], {"work": 1}, send(60, "late", 1))
@vbl.workflow
async def signal_after_its_wait_was_left() -> list[Any]:
    """What comes when nobody waits any more is kept for who waits next."""
    found: list[Any] = []
    try:
        async with asyncio.timeout(30):
            await vbl.wait("late")
    except TimeoutError:
        found.append("timed out")
    await asyncio.sleep(60)
    await work(await vbl.wait("late"))
    return [*found, None]


# Signals ----------------------------------------------------------------------------------------------------------


@waits({"amount": 5}, {"work": 1}, send(10, "payment", {"amount": 5}))
@vbl.workflow
async def signal_after_the_wait() -> Any:
    paid = await vbl.wait("payment", timeout=3_600)
    await work(1)
    return paid


@waits([1, "early"], {"slow": 1}, send(10, "payment", "early"))
@vbl.workflow
async def signal_before_the_wait() -> list[Any]:
    return [await slow(1, 30), await vbl.wait("payment")]


@waits(["timed out", 1], {"work": 1})
@vbl.workflow
async def signal_that_never_comes() -> list[Any]:
    try:
        return [await vbl.wait("payment", timeout=60)]
    except TimeoutError:
        return ["timed out", await work(1)]


@waits([1, 2, 3], calls("work", 3), send(10, "n", 1), send(10, "n", 2), send(20, "n", 3))
@vbl.workflow
async def signals_in_order() -> list[int]:
    found: list[int] = []
    for _ in range(3):
        found.append(await vbl.wait("n", type=int))
        await work(found[-1])
    return found


@waits([["a", 1], ["b", 2]], {}, send(10, "n", 1), send(20, "n", 2))
@vbl.workflow
async def two_waits_for_one_name() -> list[Any]:
    """The wait that began first gets the signal that came first."""
    found: list[Any] = []

    async def listen(name: str) -> None:
        found.append([name, await vbl.wait("n")])

    await asyncio.gather(listen("a"), listen("b"))
    return found


@waits([1, "timed out"], {}, send(10, "n", 1, key="k"), send(20, "n", 1, key="k"))
@vbl.workflow
async def signal_sent_twice() -> list[Any]:
    """A repeated signal of one key is one signal."""
    found: list[Any] = [await vbl.wait("n")]
    try:
        return [*found, await vbl.wait("n", timeout=60)]
    except TimeoutError:
        return [*found, "timed out"]


@waits(["Verdict", 3], {}, send(10, "verdict", {"grade": 3}))
@vbl.workflow
async def typed_signal() -> list[Any]:
    verdict = await vbl.wait("verdict", type=Verdict)
    return [type(verdict).__name__, verdict.grade]


# Children ---------------------------------------------------------------------------------------------------------


@vbl.workflow
async def doubles(value: int) -> int:
    return 2 * await work(value)


@vbl.workflow
async def gives_up(message: str) -> int:
    snapped_at = await work(1)
    raise ValueError(f"{message} {snapped_at}")


@vbl.workflow
async def asks(value: int) -> int:
    """A child that waits for a person."""
    gate = await vbl.approve("ask")
    return value if gate.approved else -value


@vbl.workflow
async def lingers(value: int) -> int:
    """A child that takes its time, and cleans up behind itself."""
    try:
        return await slow(value, 300)
    finally:
        await work(value)


@vbl.workflow
async def middle(value: int) -> int:
    return 1 + await lingers(value)


@vbl.workflow
async def adds(value: int) -> int:
    return await doubles(value) + await asks(value)


@waits([2, 7], {"doubles/work": 1, "work": 1}, kin={"doubles": Status.COMPLETED})
@vbl.workflow
async def parent() -> list[int]:
    return [await doubles(1), await work(7)]


@waits(["ValueError", 7], {"gives_up/work": 1, "work": 1}, kin={"gives_up": Status.FAILED})
@vbl.workflow
async def parent_of_a_failure() -> list[Any]:
    try:
        return [await gives_up("never")]
    except vbl.RunFailed as failure:
        return [failure.error["type"], await work(7)]


@waits([2, 4, 6], {"doubles/work": 3}, kin={"doubles": Status.COMPLETED})
@vbl.workflow
async def parent_of_several() -> list[int]:
    return list(await asyncio.gather(doubles(1), doubles(2), doubles(3)))


@waits(
    [12, 4],
    {"doubles/work": 2},
    grant(10, of="asks"),
    kin={"adds": Status.COMPLETED, "doubles": Status.COMPLETED, "asks": Status.COMPLETED},
)
@vbl.workflow
async def three_levels() -> list[int]:
    return [await adds(4), await doubles(2)]


@waits([1, 4, True], {"work": 1, "doubles/work": 1}, kin={"doubles": Status.COMPLETED})
@vbl.workflow
async def handle_of_a_child() -> list[Any]:
    """Started, then left to itself, then awaited."""
    child = vbl.start(doubles, 2)
    first = await work(1)
    return [first, await child, child.id.startswith("r_")]


@waits(["too long", 1], {"lingers/slow": 1, "lingers/work": 1, "work": 1}, kin={"lingers": Status.CANCELLED})
@vbl.workflow
async def child_given_up() -> list[Any]:
    try:
        async with asyncio.timeout(30):
            return [await lingers(5)]
    except TimeoutError:
        return ["too long", await work(1)]


@waits(1, {"work": 1, "lingers/slow": 1, "lingers/work": 1}, kin={"lingers": Status.COMPLETED})
@vbl.workflow
async def child_left() -> int:
    """It goes on when its parent has ended."""
    vbl.start(lingers, 5, on_close="leave")
    return await work(1)


@waits(1, {"slow": 1, "lingers/slow": 1, "lingers/work": 1}, kin={"lingers": Status.CANCELLED})
@vbl.workflow
async def child_closed() -> int:
    """It ends with its parent, which does not wait for it."""
    vbl.start(lingers, 5)
    return await slow(1, 10)


@waits(
    ["cancelled", 1],
    {"lingers/slow": 1, "lingers/work": 1, "work": 1},
    cancel(10, of="lingers"),
    kin={"lingers": Status.CANCELLED},
)
@vbl.workflow
async def child_cancelled_by_a_client() -> list[Any]:
    try:
        return [await lingers(5)]
    except vbl.RunCancelled:
        return ["cancelled", await work(1)]


# Cancels ----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def cleaned_up() -> Any:
    try:
        yield
    finally:
        await work(99)


CANCELLED: dict[str, Any] = {"status": Status.CANCELLED}


@waits(None, {"slow": 1, "work": 1}, cancel(10), **CANCELLED)
@vbl.workflow
async def cancel_during_a_step() -> None:
    async with cleaned_up():
        await slow(1, 60)


@waits(None, {"work": 1}, cancel(10), **CANCELLED)
@vbl.workflow
async def cancel_during_a_timer() -> None:
    async with cleaned_up():
        await vbl.sleep(60)


@waits(None, {"work": 1}, cancel(10), **CANCELLED)
@vbl.workflow
async def cancel_during_a_gate() -> None:
    async with cleaned_up():
        await vbl.approve("ask", timeout=60)


@waits(None, {"work": 1}, cancel(10), **CANCELLED)
@vbl.workflow
async def cancel_during_a_wait() -> None:
    async with cleaned_up():
        await vbl.wait("payment", timeout=60)


@waits(
    None,
    {"work": 1, "lingers/slow": 1, "lingers/work": 1},
    cancel(10),
    kin={"middle": Status.CANCELLED, "lingers": Status.CANCELLED},
    **CANCELLED,
)
@vbl.workflow
async def cancel_during_a_child() -> None:
    """It reaches the grandchild."""
    async with cleaned_up():
        await middle(5)


@waits(["refused", 1], {"work": 1}, cancel(10))
@vbl.workflow
async def cancel_that_is_refused() -> list[Any]:
    try:
        await vbl.approve("ask")
    except asyncio.CancelledError:
        return ["refused", await work(1)]
    return []


# Sync workflows ---------------------------------------------------------------------------------------------------


@vbl.workflow
def plainly_doubles(value: int) -> int:
    return 2 * labour(value)


@waits(
    [True, "ada", 9, {"a": 1}],
    {"labour": 1},
    grant(10),
    grant(20, "labour", edit={"value": 9}),
    send(30, "n", {"a": 1}),
)
@vbl.workflow
def plain_waits() -> list[Any]:
    first = vbl.approve("ask", to="ada")
    second = vbl.approve(labour.call(3), edit=True)
    return [first.approved, first.by, second.run(), vbl.wait("n", timeout=3_600)]


@waits(["timed out", False, 4], {"plainly_doubles/labour": 1}, kin={"plainly_doubles": Status.COMPLETED})
@vbl.workflow
def plain_ends_of_patience() -> list[Any]:
    try:
        vbl.wait("n", timeout=30)
        found = "came"
    except TimeoutError:
        found = "timed out"
    return [found, vbl.approve("ask", timeout=60).approved, plainly_doubles(2)]


@waits(None, {"snapped": 1}, cancel(10), **CANCELLED)
@vbl.workflow
def plain_cancel_during_a_gate() -> None:
    try:
        vbl.approve("ask")
    finally:
        with contextlib.suppress(vbl.StepFailed):
            snapped("in vain")
