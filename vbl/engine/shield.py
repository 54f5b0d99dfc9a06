"""Cancellation as workflow code and bodies meet it: `vbl.cancelled`, and `vbl.shield`, which holds it back.

A shield belongs to the task that entered it. While the task is inside, whoever cancels it from outside (a cancel of the
run, a time-out or a task group around the block, another task) is heard when the block is left, and not before. How a
cancel reaches steps, timers and gates is asyncio's own way, and not written here.
"""

from __future__ import annotations

import asyncio
import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from vbl.clock import seconds
from vbl.engine.context import CURRENT, Attempt, execution
from vbl.engine.loop import SHIELDS, RunTask
from vbl.errors import UsageError

if TYPE_CHECKING:
    from vbl.engine.advance import Execution

_Raised = type[BaseException] | None


def cancelled() -> bool:
    """In the body of a step: whether the attempt is no longer wanted, because its time was up, the workflow gave it up
    or was cancelled, or the supervisor stops. In workflow code: whether a cancel of the run has been asked for.

    A body in a thread cannot be stopped from outside: let its loop ask, and return when it is true. Elsewhere, also in
    a thread of your own without the body's context, it is false.
    """
    scope = CURRENT.get()
    if isinstance(scope, Attempt):
        return scope.stopped
    return scope is not None and cast("Execution", scope).cancel_asked


def shield(timeout: float | datetime.timedelta | None = None) -> Shield:
    """Hold back the cancellation of this task while it is in the block: `async with vbl.shield(): …`, or `with` in a
    sync workflow. What was held back is raised, as asyncio.CancelledError, when the block is left.

    `timeout` is in seconds: a durable timer cancels the block itself when it has passed, and TimeoutError is raised
    when it is left. Time-outs and task groups inside the block work as anywhere. Raises UsageError for what is no
    time, NotInWorkflow outside of workflow code.
    """
    scope = execution("vbl.shield")
    within = None if timeout is None else seconds(timeout, "vbl.shield, timeout", above_zero=True)
    return Shield(scope, within)


class Shield:
    """A block that holds back cancellation; see `vbl.shield`."""

    def __init__(self, scope: Execution, timeout: float | None) -> None:
        self.held: list[Any] = []
        self._scope = scope
        self._timeout = timeout
        self._limit: asyncio.Timeout | None = None
        self._task: RunTask | None = None
        self._before = 0

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise UsageError("a shield was entered twice", "Write vbl.shield() where it is entered")
        task = self._task = cast("RunTask", asyncio.current_task())
        task.shields = (*task.shields, self)
        SHIELDS.set((*SHIELDS.get(), self))
        # The requests of before are no concern of the block: a task group in it would take them for its own.
        self._before = task.cancelling()
        if cast("Any", task)._must_cancel:
            await self._take_what_comes()
        for _ in range(task.cancelling()):
            task.uncancel()
        if self._timeout is not None:
            self._limit = asyncio.timeout(self._timeout)
            await self._limit.__aenter__()
        return self

    async def _take_what_comes(self) -> None:
        """A cancel was asked for that would be raised at the next await: hold it back too."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            self._before -= 1
            self.held.insert(0, error.args[0] if error.args else None)

    async def __aexit__(self, kind: _Raised, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._scope.loop.closed:
            return  # the run is dropped from memory: nothing can be awaited
        try:
            if self._limit is not None:
                await self._end_limit(self._limit, kind, error, trace)
        finally:
            await self._leave(cast("RunTask", self._task))

    async def _end_limit(
        self, limit: asyncio.Timeout, kind: _Raised, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await limit.__aexit__(kind, error, trace)
        except TimeoutError:
            raise TimeoutError(f"the shielded block took longer than {self._timeout:g} s") from error

    async def _leave(self, task: RunTask) -> None:
        """Count the requests of before again, and let go what was held back: asyncio raises it at the next await."""
        task.shields = tuple(shield for shield in task.shields if shield is not self)
        SHIELDS.set(tuple(shield for shield in SHIELDS.get() if shield is not self))
        for message in [*[None] * self._before, *self.held]:
            task.cancel_now(message)
        counted = task.cancelling()
        if self._before or self.held:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if self.held or task.cancelling() > counted:
                    raise

    def __enter__(self) -> Self:
        self._refuse_async()
        return self._scope.waiting(self.__aenter__())

    def __exit__(self, kind: _Raised, error: BaseException | None, trace: TracebackType | None) -> None:
        self._scope.waiting(self.__aexit__(kind, error, trace))

    def _refuse_async(self) -> None:
        if self._scope.workflow.is_async:
            raise UsageError("a shield in an async workflow", "Write: async with vbl.shield():")
