"""Workflows that are killed at random: each has an outcome that is known before, whatever dies when.

Every body writes down that it began. `token` returns a word that cannot be guessed, and later steps write down the
word that they see: so a completion that was acted on and then lost would show.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

from pydantic import BaseModel

import vbl
from tests.crash.lives import DEEDS, write_deed

SHORT_S = 0.004
QUICKLY = vbl.Retry(max_attempts=4, delay=0.01, max_delay=0.05)


class Talk(BaseModel):
    """What the running conversation holds."""

    words: list[str] = []
    turns: int = 0


def tries_of(key: str) -> int:
    """Count this try on disk: a test of retries must know how often a body failed, whatever happened to its process."""
    tries = Path(os.environ[DEEDS]).parent / "tries"
    tries.mkdir(exist_ok=True)
    mine = tries / key.replace(":", "_").replace("#", "_")
    fd = os.open(mine, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, b".")
    os.close(fd)
    return mine.stat().st_size


@vbl.step
async def token(seen: str) -> str:
    """Return a word that nobody can guess, and write down the one that it was given."""
    write_deed("begin")
    if seen:
        write_deed("saw", seen)
    await asyncio.sleep(SHORT_S)
    return secrets.token_hex(8)


@vbl.step
def double(number: int) -> int:
    write_deed("begin")
    return 2 * number


@vbl.step
def sync_token(seen: str) -> str:
    write_deed("begin")
    if seen:
        write_deed("saw", seen)
    return secrets.token_hex(8)


@vbl.step
async def triple(number: int) -> int:
    write_deed("begin")
    await asyncio.sleep(SHORT_S)
    return 3 * number


@vbl.step
async def refuse_odd(number: int) -> int:
    write_deed("begin")
    await asyncio.sleep(SHORT_S)
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


@vbl.step(retry=QUICKLY)
async def flaky(number: int) -> int:
    """Fail twice, then succeed; a death in between counts for nothing."""
    write_deed("begin")
    await asyncio.sleep(SHORT_S / 2)
    if tries_of(vbl.key()) <= 2:
        raise ConnectionError("not yet")
    return number + 1


@vbl.step(retry=vbl.Retry(max_attempts=2, delay=0.01))
async def hopeless(number: int) -> int:
    write_deed("begin")
    raise ConnectionError(f"never {number}")


@vbl.step
async def endless() -> str:
    write_deed("begin")
    await asyncio.Event().wait()
    return "never"


@vbl.workflow
async def chain(length: int) -> int:
    """Step after step; each sees the word of the one before."""
    seen = ""
    for _ in range(length):
        seen = await token(seen)
    return length


@vbl.workflow
async def fan(width: int) -> int:
    """Async and sync steps side by side."""
    numbers = await asyncio.gather(*(triple(n) for n in range(width)), *(double.aio(n) for n in range(width)))
    return sum(numbers)


@vbl.workflow
async def mapped(width: int) -> list[int | str]:
    """A map with a limit that tolerates the odd numbers' failures."""
    found = await vbl.map(refuse_odd, range(width), limit=3, tolerate=width)
    return [item if isinstance(item, int) else item.type for item in found]


@vbl.workflow
async def stubborn(number: int) -> str:
    """Retries that succeed, and retries that don't."""
    reached = await flaky(number)
    try:
        await hopeless(number)
    except vbl.StepFailed as error:
        return f"{reached} {error.kind} {error.type}"
    return "unreachable"


@vbl.workflow
async def racing(number: int) -> list[str]:
    """Races with a known winner: a step against a timer of an hour, a short timer against a step without end."""
    first = await asyncio.wait_for(triple(number), 3600)
    try:
        async with asyncio.timeout(0.02):
            await endless()
            second = "impossible"
    except TimeoutError:
        second = "timeout"
    ends, pending = await asyncio.wait(
        [asyncio.ensure_future(triple(number + 1)), asyncio.ensure_future(asyncio.sleep(3600))],
        return_when=asyncio.FIRST_COMPLETED,
    )
    for task in pending:
        task.cancel()
    return [str(first), second, str(ends.pop().result())]


@vbl.workflow
async def sleeper(naps: int) -> int:
    """Timers, one after the other and side by side."""
    for _ in range(naps):
        await vbl.sleep(0.01)
    async with asyncio.TaskGroup() as group:
        for _ in range(naps):
            group.create_task(asyncio.sleep(0.015))
        number = group.create_task(triple(naps))
    return number.result()


@vbl.workflow
async def talker(turns: int) -> list[str]:
    """A conversation in `vbl.state`, handed to every step."""
    talk = vbl.state(Talk)
    for turn in range(turns):
        talk.words.append(await remember(list(talk.words), turn))
        talk.turns += 1
    assert talk.turns == turns
    return talk.words


@vbl.step
async def remember(words: list[str], turn: int) -> str:
    write_deed("begin")
    assert len(words) == turn
    await asyncio.sleep(SHORT_S)
    return f"turn {turn} of a talk that goes on for a while " * 3


@vbl.workflow
def plainly(length: int) -> int:
    """A sync workflow: plain calls, and a sleep."""
    seen = ""
    total = 0
    for number in range(length):
        seen = sync_token(seen)
        total += double(number)
        vbl.sleep(0.005)
    return total


EXPECTED = {
    "chain": lambda n: n,
    "fan": lambda n: sum(5 * k for k in range(n)),
    "mapped": lambda n: [k if k % 2 == 0 else "ValueError" for k in range(n)],
    "stubborn": lambda n: f"{n + 1} transient ConnectionError",
    "racing": lambda n: [str(3 * n), "timeout", str(3 * n + 3)],
    "sleeper": lambda n: 3 * n,
    "talker": lambda n: [f"turn {k} of a talk that goes on for a while " * 3 for k in range(n)],
    "plainly": lambda n: sum(2 * k for k in range(n)),
}
"""The outcome of each workflow by its one number."""
SIZES = {"chain": 12, "fan": 6, "mapped": 8, "stubborn": 5, "racing": 4, "sleeper": 4, "talker": 8, "plainly": 6}
PARAMETERS = {
    "chain": "length",
    "fan": "width",
    "mapped": "width",
    "stubborn": "number",
    "racing": "number",
    "sleeper": "naps",
    "talker": "turns",
    "plainly": "length",
}
