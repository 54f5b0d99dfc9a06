"""Steps and workflows that ask a model and pay for it. Those with a process of their own have to stand at the top level
of a module."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import threading

import vbl
from tests.engine.world import WORLD
from vbl.agents import models, record_usage
from vbl.agents.models import Message


async def asked(question: str) -> str:
    """One call of the model that the environment names."""
    model = models.from_environment()
    assert model is not None
    return (await model.reply([Message(role="user", content=question)])).text


@vbl.step
async def one(question: str) -> str:
    return await asked(question)


@vbl.step
async def several(questions: list[str]) -> list[str]:
    """Calls side by side, each in a task of its own, and one by other means."""
    replies = await asyncio.gather(*(asked(question) for question in questions))
    record_usage(provider="by hand", model="own-1", input_tokens=7, output_tokens=0, cached_tokens=3, usd=0.5)
    return replies


@vbl.step
def in_threads(question: str) -> str:
    """A call in the thread of the body, and one in a thread that was started in its context."""
    context = contextvars.copy_context()
    other = threading.Thread(target=context.run, args=(asyncio.run, asked("other")))
    other.start()
    reply = asyncio.run(asked(question))
    other.join()
    return reply


@vbl.step(isolation="process")
async def apart(question: str) -> str:
    return await asked(question)


@vbl.step(isolation="process", retry=vbl.Retry(max_attempts=2, delay=0.01, jitter=0))
async def dies_once(question: str) -> str:
    """The process of its first attempt ends behind the call."""
    reply = await asked(question)
    if question not in reply:
        os._exit(3)
    return reply


@vbl.step(retry=vbl.Retry(max_attempts=3, delay=1, jitter=0, retry_on=("correctable", "bug", "permanent")))
async def as_json(question: str) -> int:
    """Wants JSON, and pays for what is none."""
    return json.loads(await asked(question))["answer"]


@vbl.step
def by_hand(usd: float) -> None:
    record_usage(provider="by hand", model="own-1", usd=usd)


@vbl.workflow(name="paying.asking")
async def asking(question: str) -> str:
    return await one(question)


@vbl.workflow(name="paying.asking_twice")
async def asking_twice(question: str) -> list[str]:
    return [await one(question), await one(f"{question}?")]


@vbl.workflow(name="paying.asking_all_ways")
async def asking_all_ways(question: str) -> str:
    await several([question, f"{question}?"])
    return await in_threads.aio(question)


@vbl.workflow(name="paying.asking_apart")
async def asking_apart(question: str) -> str:
    return await apart(question)


@vbl.workflow(name="paying.dying")
async def dying(question: str) -> str:
    return await dies_once(question)


@vbl.workflow(name="paying.correcting")
async def correcting(question: str) -> int:
    return await as_json(question)


@vbl.workflow(name="paying.parent")
async def parent(question: str) -> str:
    await by_hand.aio(0.25)
    return await asking(question)


@vbl.step(timeout=0.2)
async def late() -> None:
    """Pays, and does not come back in time."""
    record_usage(provider="by hand", model="own-1", usd=0.5)
    await asyncio.Event().wait()


@vbl.step
async def never(paid: float) -> None:
    """Pays, and takes an hour more."""
    record_usage(provider="by hand", model="own-1", usd=paid)
    await WORLD.clock.sleep(3_600)


@vbl.workflow(name="paying.too_late")
async def too_late() -> str:
    try:
        await late()
    except vbl.StepFailed as error:
        return error.kind
    return "in time"


@vbl.workflow(name="paying.impatient")
async def impatient(writing: bool) -> str:
    try:
        async with asyncio.timeout(5):
            await (never_writes(0.5) if writing else never(0.5))
    except TimeoutError:
        return "given up"
    return "in time"


@vbl.step(effect="write")
async def never_writes(paid: float) -> None:
    """A write that ends at once where it is given up."""
    record_usage(provider="by hand", model="own-1", usd=paid)
    await WORLD.clock.sleep(3_600)


def pays_on() -> str:
    """A write in a thread that pays, waits, and pays more: nothing stops it."""
    record_usage(provider="by hand", model="own-1", usd=0.5)
    WORLD.note("paid")
    WORLD.gate("paying on").wait(20)
    record_usage(provider="by hand", model="own-1", usd=0.25)
    return "done"


in_time = vbl.step(name="in_time", effect="write")(pays_on)
out_of_time = vbl.step(name="out_of_time", effect="write", timeout=0.2)(pays_on)


@vbl.workflow(name="paying.giving_up")
async def giving_up() -> str:
    try:
        async with asyncio.timeout(5):
            return await in_time.aio()
    except TimeoutError:
        return "given up"


@vbl.workflow(name="paying.broken_off")
async def broken_off() -> str:
    try:
        return await out_of_time.aio()
    except vbl.StepFailed as error:
        return error.kind


@vbl.workflow(name="paying.cleaning_up")
async def cleaning_up() -> None:
    try:
        await asyncio.sleep(10_000)
    finally:
        async with vbl.shield():
            await never(0.5)


@vbl.workflow(name="paying.waiting")
async def waiting() -> None:
    await never(0.5)
