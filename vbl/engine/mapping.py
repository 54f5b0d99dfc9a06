"""`vbl.map`: one step called for many items, at most so many calls at a time, the results in the order of the items."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from vbl.errors import StepFailed, UsageError

if TYPE_CHECKING:
    from vbl.engine.advance import Execution
    from vbl.engine.calls import StepCall
    from vbl.engine.definitions import Step


def mapped(
    execution: Execution, step: Step[..., Any], items: Iterable[Any], limit: int | None, tolerate: int
) -> Coroutine[Any, Any, list[Any]]:
    """The calls, with keys of their own by item, to be awaited. Raises UsageError for a `limit` or a `tolerate` that is
    no such number."""
    if limit is not None and not _whole(limit, 1):
        raise UsageError(
            f"vbl.map(limit={limit!r}): at least one call at a time is needed", "For example limit=8, or leave it out"
        )
    if not _whole(tolerate, 0):
        raise UsageError(
            f"vbl.map(tolerate={tolerate!r}): a number of failures, zero or more", "For example tolerate=2"
        )
    base = execution.reserve(step.name)
    calls = [execution.later(step, (item,), {}, f"{base}[{index}]") for index, item in enumerate(items)]
    return _run(execution, calls, limit or len(calls) or 1, tolerate)


def _whole(number: Any, least: int) -> bool:
    return type(number) is int and number >= least


async def _run(execution: Execution, calls: list[StepCall], limit: int, tolerate: int) -> list[Any]:
    """Run the calls, at most `limit` at a time, in order."""
    results: list[Any] = [None] * len(calls)
    waiting = iter(enumerate(calls))
    failures: list[StepFailed] = []

    async def worker() -> None:
        for index, call in waiting:
            try:
                results[index] = await call
            except StepFailed as error:
                failures.append(error)
                results[index] = error
                if len(failures) > tolerate:
                    raise

    tasks = [execution.loop.create_task(worker()) for _ in range(min(limit, len(calls)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        for _, call in waiting:
            call.close()
    return results
