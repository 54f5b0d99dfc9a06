"""What code inside a run may ask for without being handed anything: the time, chance, a key, its state, a sleep, a map.

The functions are public ones of `vbl`; each says where it may be called. Those that wait for somebody or something
outside (gates, signals, children) have files of their own.
"""

from __future__ import annotations

import datetime
import random as random_module
import time
import uuid
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from vbl.engine.context import CURRENT, Attempt, execution, workflow_here
from vbl.engine.definitions import Step
from vbl.errors import NotInWorkflow, UsageError

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


def now() -> datetime.datetime:
    """The present time in UTC; in workflow code the time of the event being applied, the same on every replay."""
    workflow = workflow_here()
    micros = workflow.loop.now if workflow is not None else time.time_ns() // 1000
    return datetime.datetime.fromtimestamp(micros // 1_000_000, datetime.UTC) + datetime.timedelta(
        microseconds=micros % 1_000_000
    )


def random() -> float:
    """A number in [0, 1); in workflow code from a generator seeded by the run, the same on every replay."""
    workflow = workflow_here()
    return workflow.random.random() if workflow is not None else random_module.random()


def uuid4() -> uuid.UUID:
    """A random UUID; in workflow code from a generator seeded by the run, the same on every replay."""
    workflow = workflow_here()
    if workflow is None:
        return uuid.uuid4()
    return uuid.UUID(int=workflow.random.getrandbits(128), version=4)


def key() -> str:
    """The idempotency key of the step call whose body is running: the same in every attempt of it."""
    scope = CURRENT.get()
    if isinstance(scope, Attempt):
        return scope.idempotency_key
    raise NotInWorkflow(
        "vbl.key() was called outside the body of a step",
        "Call it in a function marked @vbl.step, in its own thread and context",
    )


def file() -> Path:
    """The file that the run of the step is recorded in, for a body that looks into it as a client."""
    scope = CURRENT.get()
    if isinstance(scope, Attempt) and scope.file is not None:
        return scope.file
    raise NotInWorkflow(
        "the file was asked for outside the body of a step, or in one with a process of its own",
        "Call it in a function marked @vbl.step, in its own thread and context",
    )


def state(model: type[M]) -> M:
    """The run's own instance of a pydantic model; what it holds is part of every checkpoint.

    Mutate it freely in workflow code. Every field needs a default. Raises NotInWorkflow elsewhere.
    """
    return execution("vbl.state").variables(model)


def sleep(seconds: float | datetime.timedelta) -> Awaitable[None]:
    """Sleep durably: the process may end meanwhile. `await` it in an async workflow; it blocks in a sync one.

    Raises UsageError for a time that is negative or not a number.
    """
    scope = execution("vbl.sleep")
    return scope.sleep(seconds.total_seconds() if isinstance(seconds, datetime.timedelta) else seconds)


def map(step: Step[..., T], items: Iterable[Any], *, limit: int | None = None, tolerate: int = 0) -> Results[T]:
    """Call a step once for each item, at most `limit` at a time; the outputs in the order of the items.

    `await` it in an async workflow; in a sync one it returns the list. When more than `tolerate` calls fail for
    good, the others are cancelled and the first StepFailed is raised; a tolerated failure stands in the list as its
    StepFailed.
    """
    scope = execution("vbl.map")
    if not isinstance(cast("object", step), Step):
        raise UsageError(
            f"vbl.map({step!r}, …): it calls a step",
            "Put @vbl.step above the function. Workflows are gathered: asyncio.gather(*(child(i) for i in items))",
        )
    return scope.map(step, items, limit, tolerate)


class Results(list[T]):
    """The outputs of `vbl.map`: a list in a sync workflow, awaited in an async one."""

    def __await__(self) -> Any:
        raise NotImplementedError


def parked() -> bool:
    """Whether the workflow's `finally:` runs only because the run is dropped from memory."""
    workflow = workflow_here()
    return workflow is not None and workflow.loop.closed


def patched(patch: str) -> bool:
    """Whether this run takes the branch named `patch`: true for runs that come here for the first time with it.

    A run whose history passed this point before the patch existed gets False, on every replay.
    """
    return execution("vbl.patched").patched(patch)
