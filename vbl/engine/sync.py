"""A sync workflow: it runs in a thread of its own and hands over at each durable call.

On the run's loop it is one coroutine, `drive`, so a sync workflow has the same events as an async one. While the
thread computes, the loop holds; `notify` is called from the thread when it has reached its next call.
"""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from vbl.engine.calls import Waiting
from vbl.errors import NotInWorkflow, Parked

if TYPE_CHECKING:
    from vbl.engine.definitions import Workflow
    from vbl.engine.loop import RunFuture, WorkflowLoop


class Thread:
    """The thread of one execution."""

    def __init__(
        self,
        workflow: Workflow[..., Any],
        context: contextvars.Context,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        notify: Callable[[], None],
    ) -> None:
        self._notify = notify
        self._context = context.copy()
        self._body = lambda: workflow.function(*args, **kwargs)
        self._name = f"vbl-{workflow.name}"
        self._request: tuple[str, Any] | None = None
        self._reply: tuple[bool, Any] = (True, None)
        self._replied = threading.Semaphore(0)
        self._abandoned = False
        self._waiter: RunFuture | None = None
        self._thread: threading.Thread | None = None

    async def drive(self, loop: WorkflowLoop) -> Any:
        """The thread as the loop sees it: await each call that it makes, then its end."""
        self._waiter = loop.create_future()
        loop.hold = True
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        # in a context of its own: workflow code may not start threads, and this is not workflow code
        contextvars.Context().run(self._thread.start)
        while True:
            kind, subject = await self._waiter
            if kind == "returned":
                return subject
            if kind == "raised":
                raise subject
            try:
                reply = (True, await subject)
            except GeneratorExit:
                raise
            except BaseException as error:
                reply = (False, error)
            self._waiter = loop.create_future()
            loop.hold = True
            self._reply = reply
            self._replied.release()

    def resume(self, loop: WorkflowLoop) -> bool:
        """On the engine's thread, after `notify`: hand the thread's next call to the loop, where there is one."""
        if self._request is None or self._waiter is None or self._waiter.done():
            return False
        request, self._request = self._request, None
        loop.hold = False
        self._waiter.set_result(request)
        return True

    def hand_over(self, call: Awaitable[Any]) -> Any:
        """In the thread: make a durable call and wait for its result."""
        if threading.current_thread() is not self._thread:
            _drop(call)
            raise NotInWorkflow(
                "a durable call came from another thread than the workflow's", "Call it in the workflow function itself"
            )
        if not self._abandoned:
            self._post(("call", call))
            self._replied.acquire()
        if self._abandoned:
            _drop(call)
            raise Parked
        fine, value = self._reply
        if fine:
            return value
        raise value

    def _run(self) -> None:
        try:
            request = ("returned", self._context.run(self._body))
        except Parked:
            return
        except BaseException as error:
            request = ("raised", error)
        if not self._abandoned:
            self._post(request)

    def _post(self, request: tuple[str, Any]) -> None:
        self._request = request
        self._notify()

    def abandon(self) -> None:
        """The run is dropped from memory: let the thread unwind."""
        self._abandoned = True
        self._replied.release()


def _drop(call: Awaitable[Any]) -> None:
    """Close a call that was not begun and never will be: Python warns of a coroutine that nobody awaits."""
    if isinstance(call, Waiting):
        call = call.coro
    if inspect.iscoroutine(call) and inspect.getcoroutinestate(call) == inspect.CORO_CREATED:
        call.close()
