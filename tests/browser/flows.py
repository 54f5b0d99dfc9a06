"""The workflows that the tests of the page let run. They wait for files in the folder that they run in, so that a test
says how far they get."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from pydantic import BaseModel

import vbl


class Talk(BaseModel):
    messages: list[dict[str, str]] = []


class Reply(BaseModel):
    to: str
    text: str
    copies: int = 1
    urgent: bool = False


@vbl.step
def gather(topic: str) -> list[str]:
    """Some lines on a topic."""
    return [f"{topic}: line {number}" for number in range(1, 4)]


@vbl.step
def until(name: str) -> str:
    """Ends when a file of that name is there."""
    Path(f"{name}.begun").touch()
    while not Path(name).exists():
        time.sleep(0.01)
    return name


@vbl.step(effect="write", idempotent=True)
def send(reply: Reply) -> str:
    """Goes out as it was approved: the file says so."""
    with Path("sent.txt").open("a") as file:
        file.write(f"{reply.to}: {reply.text} x{reply.copies}\n")
    return f"sent to {reply.to}"


@vbl.step(retry=vbl.Retry(max_attempts=3, delay=0.05, jitter=0, retry_on=["bug"]))
def pay(amount: float) -> str:
    """Refused until a file named `funds` is there."""
    if not Path("funds").exists():
        raise ValueError(f"the account does not hold {amount:.2f}")
    return f"paid {amount:.2f}"


@vbl.step
def count(number: int) -> int:
    return number + 1


@vbl.workflow
async def story(name: str) -> str:
    """Two steps, one that waits for the test, one more."""
    talk = vbl.state(Talk)
    lines = await gather.aio(name)
    talk.messages.append({"role": "user", "content": lines[0]})
    await until.aio(name)
    talk.messages.append({"role": "assistant", "content": f"**{name}** is there"})
    await gather.aio(f"{name} again")
    return name


@vbl.workflow
async def letter(to: str) -> str:
    """Asks a person before it sends."""
    lines = await gather.aio(to)
    asked = send.call(Reply(to=to, text=lines[0]))
    gate = await vbl.approve(asked, show={"lines": lines}, to="ada", edit=True, timeout=86_400)
    return await gate.run() if gate.approved else f"not sent: {gate.reason}"


@vbl.workflow
async def invoice(amount: float) -> str:
    """Fails for good at its third attempt, where there are no funds."""
    return await pay.aio(amount)


@vbl.workflow
async def march(steps: int) -> int:
    """As many steps as are asked for, one after the other."""
    number = 0
    for _ in range(steps):
        number = await count.aio(number)
    return number


@vbl.workflow
async def crowd(steps: int, name: str) -> int:
    """As many at a time, then one that waits for the test."""
    numbers = await asyncio.gather(*(count.aio(number) for number in range(steps)))
    await until.aio(name)
    return sum(numbers)


@vbl.workflow
async def hostile(text: str) -> str:
    """Shows what it is given everywhere that a payload is shown."""
    await vbl.sleep(0)
    gathered = await gather.aio(text)
    gate = await vbl.approve(f"May this be shown? {text}", show={text: gathered})
    return f"{gate.approved} {text}"
