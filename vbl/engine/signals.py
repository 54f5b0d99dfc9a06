"""Waiting for a message from outside, and for an instant: `vbl.wait` and `vbl.sleep_until`.

A signal that comes before its wait is kept; each is handed to one wait, in the order in which they came.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from pydantic import ValidationError

from vbl.clock import EPOCH, microseconds
from vbl.engine.context import execution
from vbl.errors import InvalidInput, UsageError
from vbl.store.codec import Codec

if TYPE_CHECKING:
    from vbl.engine.advance import Execution
    from vbl.history.facts import Fact

T = TypeVar("T")


@overload
def wait(name: str, *, timeout: float | datetime.timedelta | None = None) -> Awaitable[Any]: ...
@overload
def wait(name: str, type: type[T], *, timeout: float | datetime.timedelta | None = None) -> Awaitable[T]: ...


def wait(name: str, type: Any = Any, *, timeout: float | datetime.timedelta | None = None) -> Any:
    """Wait durably for a signal by name and return its data, read as `type` where that is given.

    One that came earlier, and that no other wait took, is returned at once. `await` it in an async workflow; it blocks
    in a sync one. `timeout` is in seconds, from when the code begins to wait. Raises TimeoutError when it is over,
    InvalidInput for data that does not fit the type (that signal is taken), UsageError for a name that is none.
    """
    scope = execution("vbl.wait")
    if not isinstance(cast("object", name), str) or not name:
        raise UsageError(f"vbl.wait({name!r}): a signal has a name", 'For example await vbl.wait("payment")')
    codec = _codec(type, name)
    within = None if timeout is None else microseconds(timeout, "vbl.wait, timeout")
    return scope.waiting(_signal(scope, name, codec, within))


def _codec(type: Any, name: str) -> Codec:
    try:
        return _kept_codec(type, name)
    except TypeError:  # a type that has no hash
        return Codec(type, f"signal {name}")


@functools.lru_cache(maxsize=256)
def _kept_codec(type: Any, name: str) -> Codec:
    """The same for the same wait: a loop that waits again and again makes it once."""
    return Codec(type, f"signal {name}")


async def _signal(scope: Execution, name: str, codec: Codec, within: int | None) -> Any:
    number = scope.number_wait()  # here, not at the call: the wait that began first has the lowest, and is served first
    payload: dict[str, Any] = {"v": 1, "wait": number, "name": name}
    if within is not None:
        payload["expires_at"] = scope.loop.now + within
    if (schema := codec.json_schema()) is not None:
        payload["json_schema"] = schema
    scope.ask("SIGNAL_AWAITED", number, payload)
    kept = scope.signals.get(name)
    fact: Fact = kept.popleft() if kept else await scope.awaits("wait", number, name)
    try:
        return codec.accept(fact.payload.get("data"))
    except ValidationError as error:
        raise InvalidInput(f"signal {name!r}: {error}", "Send one that fits, under another key") from error


def sleep_until(when: datetime.datetime) -> Awaitable[None]:
    """Sleep durably until an instant, a datetime with a time zone; one that is past is no wait at all.

    `await` it in an async workflow; it blocks in a sync one. Raises UsageError for a datetime without a time zone.
    """
    scope = execution("vbl.sleep_until")
    if not isinstance(cast("object", when), datetime.datetime) or when.tzinfo is None:
        raise UsageError(
            f"vbl.sleep_until({when!r}): a datetime with a time zone is needed",
            'For example datetime(2026, 12, 24, 18, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))',
        )
    at = round((when - EPOCH) / datetime.timedelta(microseconds=1))
    return scope.waiting(_until(scope, at))


async def _until(scope: Execution, at: int) -> None:
    if at <= scope.loop.now:
        await asyncio.sleep(0)
        return
    reached = scope.loop.create_future()
    timer = scope.loop.call_at(at / 1e6, _reach, reached)
    try:
        await reached
    finally:
        timer.cancel()


def _reach(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
