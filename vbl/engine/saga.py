"""Sagas: what has been done in a block is undone again, step by step, when the block fails or is cancelled.

An undo is an ordinary step call that is made later: its key and arguments are taken when it is registered, it is
recorded and retried like any other, and a crash in the middle goes on with the one that was next. Nothing here knows
what undoing means, and nothing is undone by itself.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, cast

from vbl.engine.context import execution
from vbl.engine.definitions import Step
from vbl.engine.shield import Shield
from vbl.errors import Parked, StepFailed, UsageError

if TYPE_CHECKING:
    from vbl.engine.advance import Execution
    from vbl.engine.calls import StepCall

P = ParamSpec("P")
_Raised = type[BaseException] | None


def saga() -> Saga:
    """A block whose steps can be undone: `async with vbl.saga() as saga: …`, or `with` in a sync workflow.

    Raises NotInWorkflow outside of workflow code.
    """
    return Saga(execution("vbl.saga"))


class Saga:
    """See `vbl.saga`. `undone` lists what was undone, in the order in which that was done: {"step": key, "ok": bool},
    and "error" where it failed."""

    def __init__(self, scope: Execution) -> None:
        self.undone: list[dict[str, Any]] = []
        self._scope = scope
        self._calls: list[StepCall] = []
        self._open = False

    def undo(self, step: Step[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Register a step to be called with these arguments if the block fails or is cancelled; the last one
        registered is called first.

        Raises UsageError for what is no step and outside of the block, TypeError and ValueNotStorable for arguments
        that the step could not be called with.
        """
        if not isinstance(cast("object", step), Step):
            raise UsageError(
                f"saga.undo({step!r}, …): an undo must be a step, so that it is recorded and tried again",
                "Put @vbl.step above the function and pass the step and its arguments",
            )
        if not self._open:
            raise UsageError(
                f"saga.undo({step.name}, …) outside of its block",
                "Register it in the block: async with vbl.saga() as saga",
            )
        self._calls.append(self._scope.later(step, args, kwargs))

    def left(self) -> list[dict[str, Any]]:
        """What is registered and has not been undone, as in `undone`; the next one first."""
        return [{"step": call.key, "ok": False, "error": "not undone"} for call in reversed(self._calls)]

    # The block -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        return self._enter()

    async def __aexit__(self, kind: _Raised, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or self._scope.loop.closed:
            self._end()
            return
        try:
            await self._unwind()
        except asyncio.CancelledError as cancel:
            # one that was held back meanwhile; it goes before a failure, and is one with a cancel
            self._tell(cancel)
            if not isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._tell(error)
            self._end()

    def __enter__(self) -> Self:
        if self._scope.workflow.is_async:
            raise UsageError("a saga in an async workflow", "Write: async with vbl.saga() as saga:")
        return self._enter()

    def __exit__(self, kind: _Raised, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or isinstance(error, Parked):
            self._end()
            return
        self._scope.waiting(self.__aexit__(kind, error, trace))

    def _enter(self) -> Self:
        if self._open or self.undone:
            raise UsageError("a saga was entered twice", "Write vbl.saga() where it is entered")
        self._open = True
        self._scope.sagas.append(self)
        return self

    def _end(self) -> None:
        self._open = False
        self._scope.sagas.remove(self)
        for call in self._calls:
            call.close()
        self._calls.clear()

    # Undoing -------------------------------------------------------------------------------------------------------

    async def _unwind(self) -> None:
        """Call what was registered, the last first; whatever cancels meanwhile is heard when it is over."""
        async with Shield(self._scope, None):
            while self._calls:
                told = await _undone(self._calls[-1])
                self._calls.pop()
                self.undone.append(told)
                self._scope.undone.append(told)

    def _tell(self, error: BaseException) -> None:
        """Note on the exception what was undone and what was not."""
        done = [told["step"] for told in self.undone if told["ok"]]
        failed = [f"{told['step']} ({told['error']})" for told in self.undone if not told["ok"]]
        if done:
            error.add_note(f"undone: {', '.join(done)}")
        if failed:
            error.add_note(f"not undone: {', '.join(failed)}")


async def _undone(call: StepCall) -> dict[str, Any]:
    try:
        await call
    except StepFailed as error:
        return {"step": call.key, "ok": False, "error": f"{error.type}: {error.message}"}
    return {"step": call.key, "ok": True}
