"""What code inside a run may ask for without being handed anything: ambient by `contextvars`.

`CURRENT` is the workflow that is being executed, or the step whose body runs, or None. The functions here are the
public ones of `vbl`; each says where it may be called.
"""

from __future__ import annotations

import asyncio
import datetime
import random as random_module
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from vbl.errors import NotInWorkflow, UsageError, WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

    from vbl.engine.advance import Execution
    from vbl.engine.calls import StepCall
    from vbl.engine.definitions import Step
    from vbl.store.sqlite import Connection

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class Attempt:
    """One attempt of a step in flight: what its body may ask for, and what the supervisor knows of it.

    `number` counts from 1; `alone` says that it runs in quarantine, `launched` that its body was begun, `stopped` that
    we took it back, `probing` that the step's probe is asked and not its body; `outcome` is None until it has ended;
    `file` is where the run is recorded, `connection` that of a transaction while its body runs; `usage` has what its
    body has used of models so far, a call each.
    """

    __slots__ = (
        "alone",
        "call",
        "connection",
        "file",
        "idempotency_key",
        "key",
        "launched",
        "number",
        "outcome",
        "probing",
        "run_id",
        "stopped",
        "task",
        "usage",
    )

    def __init__(
        self, run_id: str, key: str, number: int, *, call: StepCall | None = None, alone: bool = False
    ) -> None:
        self.run_id = run_id
        self.key = key
        self.number = number
        self.idempotency_key = f"{run_id}:{key}"
        self.call = call
        self.alone = alone
        self.launched = False
        self.stopped = False
        self.probing = False
        self.connection: Connection | None = None
        self.task: asyncio.Task[None] | None = None
        self.file: Path | None = None
        self.outcome: Any = None
        self.usage: tuple[dict[str, Any], ...] = ()

    def used(self, call: dict[str, Any]) -> None:
        """Keep what a call of a model used, to be recorded with the end of the attempt; from any thread of its body."""
        with _USING:
            self.usage = (*self.usage, call)

    @property
    def spent(self) -> dict[str, Any] | None:
        """What its body has used so far as it is recorded: that of its one call, or the list of its `calls`."""
        calls = self.usage
        if len(calls) > 1:
            return {"calls": list(calls)}
        return calls[0] if calls else None

    def cancel(self) -> None:
        """Stop the body, as far as it can be stopped."""
        self.stopped = True
        if self.task is not None:
            self.task.cancel()


_USING = threading.Lock()

CURRENT: ContextVar[Any] = ContextVar("vbl", default=None)
"""An Execution in workflow code, an Attempt in a step's body, else None."""


def _refuse_threads(event: str, _args: tuple[Any, ...]) -> None:
    if event in _THREAD_STARTS and _workflow() is not None:
        raise WorkflowError(
            "workflow code started a thread: what it does would not be repeated by a replay, and it has no context",
            "Put it in a step: the body of a sync step runs in a thread",
            code="thread_in_workflow",
        )


_THREAD_STARTS = frozenset({"_thread.start_new_thread", "_thread.start_joinable_thread"})
sys.addaudithook(_refuse_threads)
if sys.version_info < (3, 12):
    # these do not tell of a thread's start: ask where `threading` makes it
    _start_new_thread: Any = vars(threading)["_start_new_thread"]

    def _start(*args: Any, **kwargs: Any) -> Any:
        _refuse_threads("_thread.start_new_thread", ())
        return _start_new_thread(*args, **kwargs)

    vars(threading)["_start_new_thread"] = _start


def refuse_in_workflow(what: str) -> None:
    """Raise NotInWorkflow where workflow code calls what would block the engine, or would be repeated by a replay."""
    if _workflow() is not None:
        raise NotInWorkflow(f"{what} was called in workflow code", "Put it in a step, and await that")


def execution(what: str) -> Execution:
    """The workflow that calls. Raises NotInWorkflow, naming `what`, where none does."""
    scope = CURRENT.get()
    if scope is None:
        raise NotInWorkflow(
            f"{what} was called where no workflow is running",
            "Call it in a function marked @vbl.workflow. A thread of your own has no context: pass "
            "contextvars.copy_context().run to it, or put the thread in a step",
        )
    if isinstance(scope, Attempt):
        raise NotInWorkflow(
            f"{what} was called in the body of step {scope.key}",
            "Call it in the workflow and pass the value to the step",
        )
    return cast("Execution", scope)


def _workflow() -> Execution | None:
    scope = CURRENT.get()
    return None if scope is None or isinstance(scope, Attempt) else cast("Execution", scope)


def now() -> datetime.datetime:
    """The present time in UTC; in workflow code the time of the event being applied, the same on every replay."""
    workflow = _workflow()
    micros = workflow.loop.now if workflow is not None else time.time_ns() // 1000
    return datetime.datetime.fromtimestamp(micros // 1_000_000, datetime.UTC) + datetime.timedelta(
        microseconds=micros % 1_000_000
    )


def random() -> float:
    """A number in [0, 1); in workflow code from a generator seeded by the run, the same on every replay."""
    workflow = _workflow()
    return workflow.random.random() if workflow is not None else random_module.random()


def uuid4() -> uuid.UUID:
    """A random UUID; in workflow code from a generator seeded by the run, the same on every replay."""
    workflow = _workflow()
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
    from vbl.engine.definitions import Step

    scope = execution("vbl.map")
    if not isinstance(cast("object", step), Step):
        raise UsageError(f"vbl.map({step!r}, …): it calls a step", "Put @vbl.step above the function")
    return scope.map(step, items, limit, tolerate)


class Results(list[T]):
    """The outputs of `vbl.map`: a list in a sync workflow, awaited in an async one."""

    def __await__(self) -> Any:
        raise NotImplementedError


def parked() -> bool:
    """Whether the workflow's `finally:` runs only because the run is dropped from memory."""
    workflow = _workflow()
    return workflow is not None and workflow.loop.closed


def patched(patch: str) -> bool:
    """Whether this run takes the branch named `patch`: true for runs that come here for the first time with it.

    A run whose history passed this point before the patch existed gets False, on every replay.
    """
    return execution("vbl.patched").patched(patch)
