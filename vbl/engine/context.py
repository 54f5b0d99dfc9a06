"""Whose code is running: `CURRENT` is the workflow that is being executed, or the attempt whose body runs, or None.

By `contextvars`, so that code inside a run is handed nothing. What it may ask for then is in `ambient`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from vbl.errors import NotInWorkflow, WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

    from vbl.engine.advance import Execution
    from vbl.engine.calls import StepCall
    from vbl.store.sqlite import Connection


class Attempt:
    """One attempt of a step in flight: what its body may ask for, and what the supervisor knows of it.

    `number` counts from 1; `alone` says that it runs in quarantine, `launched` that its body was begun, `stopped` that
    we took it back, `probing` that the step's probe is asked and not its body; `outcome` is None until it has ended;
    `file` is where the run is recorded, `connection` that of a transaction while its body runs; `usage` has what its
    body has used of models so far, a call each, and `told` is how many of them went on record before its end.
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
        "told",
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
        self.told = 0

    def used(self, call: dict[str, Any]) -> None:
        """Keep what a call of a model used, to be recorded with the end of the attempt; from any thread of its body."""
        with _USING:
            self.usage = (*self.usage, call)

    @property
    def spent(self) -> dict[str, Any] | None:
        """What its body has used so far, as it is recorded."""
        return recorded_usage(self.usage)

    def cancel(self) -> None:
        """Stop the body, as far as it can be stopped."""
        self.stopped = True
        if self.task is not None:
            self.task.cancel()


_USING = threading.Lock()


def recorded_usage(calls: tuple[dict[str, Any], ...]) -> dict[str, Any] | None:
    """The form in which calls of models are recorded: the one call, or the list of the `calls`."""
    if len(calls) > 1:
        return {"calls": list(calls)}
    return calls[0] if calls else None


CURRENT: ContextVar[Any] = ContextVar("vbl", default=None)
"""An Execution in workflow code, an Attempt in a step's body, else None."""


def _refuse_threads(event: str, _args: tuple[Any, ...]) -> None:
    if event in _THREAD_STARTS and workflow_here() is not None:
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
    if workflow_here() is not None:
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


def workflow_here() -> Execution | None:
    """The workflow that calls; None in the body of a step, and outside of a run."""
    scope = CURRENT.get()
    return None if scope is None or isinstance(scope, Attempt) else cast("Execution", scope)
