"""The workflows that are measured: steps that do nothing, a conversation that grows, runs that wait."""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple

from pydantic import BaseModel

import vbl


class Mark(NamedTuple):
    """When a step's body began: the wall clock and the CPU time of the process, in seconds."""

    step: int
    wall_s: float
    cpu_s: float


MARKS: list[Mark] = []
"""Written by the bodies of `marked` and of the conversations; read by the process that measures, which is this one."""
MARK_EVERY = 10


def _mark(number: int) -> None:
    if number % MARK_EVERY == 0:
        MARKS.append(Mark(number, time.perf_counter(), time.process_time()))


@vbl.step
async def nothing(number: int) -> int:
    """Do nothing."""
    return number


@vbl.step
async def marked(number: int) -> int:
    """Do nothing, and note the time now and then."""
    _mark(number)
    return number


@vbl.workflow
async def steps(count: int) -> int:
    """`count` steps, one after the other."""
    for number in range(count):
        await nothing(number)
    return count


@vbl.workflow
async def marked_steps(count: int) -> int:
    """`count` steps, one after the other, that note the time."""
    for number in range(count):
        await marked(number)
    return count


# A growing conversation -------------------------------------------------------------------------------------------


def message(number: int, size: int) -> str:
    """The text of message `number`, of `size` characters; no two are alike, and none compresses away."""
    return hashlib.shake_256(str(number).encode()).hexdigest(size // 2)


class Texts(BaseModel):
    """A conversation as texts."""

    messages: list[str] = []


class Messages(BaseModel):
    """A conversation as the messages that models take."""

    messages: list[dict[str, str]] = []


@vbl.step
async def add_text(messages: list[str], size: int) -> list[str]:
    """The conversation and one more message."""
    _mark(len(messages))
    return [*messages, message(len(messages), size)]


@vbl.step
async def add_message(messages: list[dict[str, str]], size: int) -> list[dict[str, str]]:
    """The conversation and one more message."""
    number = len(messages)
    _mark(number)
    return [*messages, {"role": "assistant" if number % 2 else "user", "content": message(number, size)}]


@vbl.workflow
async def converse_in_texts(turns: int, size: int) -> int:
    """A conversation in `vbl.state`, passed to each step and returned by each."""
    talk = vbl.state(Texts)
    for _ in range(turns):
        talk.messages = await add_text(talk.messages, size)
    return len(talk.messages)


@vbl.workflow
async def converse_in_messages(turns: int, size: int) -> int:
    """The same with messages that are dicts."""
    talk = vbl.state(Messages)
    for _ in range(turns):
        talk.messages = await add_message(talk.messages, size)
    return len(talk.messages)


# Runs that wait, or are held --------------------------------------------------------------------------------------


@vbl.step
async def clock(wait_s: float) -> int:
    """When the body began, in nanoseconds since 1970; then it takes a while."""
    began = time.time_ns()
    if wait_s:
        await _pause(wait_s)
    return began


async def _pause(wait_s: float) -> None:
    import asyncio

    await asyncio.sleep(wait_s)


@vbl.workflow
async def long_run(count: int) -> int:
    """`count` quick steps, then one that is in flight until the process is stopped, or resumed with `count` reached."""
    for number in range(count):
        await nothing(number)
    return await last(number=count)


LAST_BEGAN: list[Mark] = []


@vbl.step
async def last(number: int) -> int:
    """Note when it began. Its first attempt never ends by itself."""
    LAST_BEGAN.append(Mark(number, time.perf_counter(), time.process_time()))
    if number and not RESUMED:
        await _pause(3_600)
    return number


RESUMED: list[bool] = []
"""Not empty in the process that resumes."""


@vbl.workflow
async def sleeper(seconds: float) -> None:
    """Wait for a long time."""
    await vbl.sleep(seconds)


@vbl.workflow
async def ticking(count: int, wait_s: float) -> int:
    """Steps that say when they began; pausing and unpausing the run shows how quickly it is noticed."""
    for _ in range(count):
        await clock(wait_s)
    return count
