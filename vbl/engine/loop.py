"""The deterministic asyncio loop that a workflow runs on: a ready queue, futures, tasks and timers; nothing else.

It never sleeps and never touches the world. `settle` runs until nothing is ready; time stands still meanwhile, at the
instant of the event that is being applied. Tasks and futures are hashed by a counter of the run, so that the sets of
`asyncio.wait` and `TaskGroup` have the same order in every process.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sys
import threading
from asyncio import events as asyncio_events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NoReturn, Protocol

from vbl.errors import Parked, WorkflowError

log = logging.getLogger("vbl")

SPIN_LIMIT = 100_000
"""So many callbacks in one activation are taken for an endless loop."""


class Holding(Protocol):
    """A block that holds back cancels of the task that is in it: what they said, in the order in which they came."""

    held: list[Any]


SHIELDS: contextvars.ContextVar[tuple[Holding, ...]] = contextvars.ContextVar("vbl shields", default=())
"""The blocks that the code is in, outermost first; whatever is begun in a block (a task, a timer) is in it too."""


class RunFuture(asyncio.Future[Any]):
    """A future whose hash is its number in the run."""

    __slots__ = ("number",)

    def __init__(self, *, loop: WorkflowLoop) -> None:
        super().__init__(loop=loop)
        self.number = loop.count()

    def __hash__(self) -> int:
        return self.number

    __eq__ = object.__eq__


class RunTask(asyncio.Task[Any]):
    """A task whose hash is its number in the run; it knows its context, to be closed in it, and the shields that it
    has entered, outermost first."""

    __slots__ = ("closing_context", "number", "shields")

    def __init__(
        self, coro: Coroutine[Any, Any, Any], loop: WorkflowLoop, name: str | None, context: contextvars.Context
    ) -> None:
        self.number = loop.count()
        self.closing_context = context
        self.shields: tuple[Holding, ...] = ()
        super().__init__(coro, loop=loop, name=name, context=context)

    def cancel(self, msg: Any | None = None) -> bool:
        """As asyncio's; but what comes from outside a shield that the task is in is held back until it leaves that.
        What was begun inside, like a time-out of the clean-up's own, goes through."""
        if self.shields and not self.done():
            inside = SHIELDS.get()
            for shield in self.shields:
                if shield not in inside:
                    shield.held.append(msg)
                    return True
        return super().cancel(msg)

    def cancel_now(self, msg: Any | None = None) -> None:
        """As asyncio's, whatever shields there are."""
        super().cancel(msg)

    def __hash__(self) -> int:
        return self.number

    __eq__ = object.__eq__


class Ready:
    """A callback that is due; what `call_soon` returns."""

    __slots__ = ("args", "callback", "context", "is_cancelled")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        """Never call it."""
        self.is_cancelled = True

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.is_cancelled


class Timer(Ready):
    """A callback for later; durable, because the execution records it."""

    __slots__ = ("at", "number", "owner")

    def __init__(
        self,
        owner: WorkflowLoop,
        at: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        super().__init__(callback, args, context)
        self.owner = owner
        self.at = at
        self.number = 0

    def when(self) -> float:
        """Its time on the loop's clock, in seconds."""
        return self.at / 1e6

    def cancel(self) -> None:
        """Never call it, and say so in the history if it is recorded there."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self.owner.timer_cancelled(self)


class WorkflowLoop(asyncio.AbstractEventLoop):
    """See the module. `on_timer` and `off_timer` are called when the code sets and cancels a timer."""

    def __init__(
        self, on_timer: Callable[[Timer], None], off_timer: Callable[[Timer], None], context: contextvars.Context
    ) -> None:
        self._ready: deque[Ready] = deque()
        self._on_timer = on_timer
        self._off_timer = off_timer
        self._count = 0
        self._tasks: list[RunTask] = []
        self._prune_at = 64
        self._agens: list[Any] = []
        self._prune_agens_at = 64
        self.context = context
        self.now = 0
        self.muted = False
        self.closed = False
        self.hold = False

    # What asyncio asks of a loop -----------------------------------------------------------------------------------

    def count(self) -> int:
        """The next number of this run: for tasks, futures and step calls."""
        self._count += 1
        return self._count

    def time(self) -> float:
        """The instant of the event being applied, in seconds since 1970."""
        return self.now / 1e6

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Ready:
        """Queue a callback."""
        if context is None and SHIELDS.get():
            context = contextvars.copy_context()
        handle = Ready(callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        """A durable timer, `delay` seconds from the instant being applied."""
        if delay <= 0:
            return self.call_soon(callback, *args, context=context)
        return self._timer(self.now + _micros(delay), callback, args, context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        """A durable timer at a time of this loop's clock."""
        at = _micros(when)
        if at <= self.now:
            return self.call_soon(callback, *args, context=context)
        return self._timer(at, callback, args, context)

    def _timer(
        self, at: int, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> Timer:
        if not at < 2**62:
            raise WorkflowError(
                "a sleep or time-out longer than 100,000 years", "Give a shorter one, or wait for a step"
            )
        timer = Timer(self, at, callback, args, context or contextvars.copy_context())
        self._on_timer(timer)
        return timer

    def timer_cancelled(self, timer: Timer) -> None:
        """A timer that its owner gave up."""
        if not self.closed:
            self._off_timer(timer)

    def create_future(self) -> RunFuture:
        """A future of this run."""
        return RunFuture(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None, **_options: Any
    ) -> RunTask:  # type: ignore[override]
        """A task of this run."""
        task = RunTask(coro, self, name, context if context is not None else contextvars.copy_context())
        self._tasks.append(task)
        if len(self._tasks) > self._prune_at:
            self._tasks = [t for t in self._tasks if not t.done()]
            self._prune_at = max(64, 2 * len(self._tasks))
        return task

    def get_debug(self) -> bool:
        """Never: debug mode would read the real clock."""
        return False

    def is_running(self) -> bool:
        """Always, as seen from workflow code."""
        return True

    def is_closed(self) -> bool:
        """Whether the run was dropped from memory."""
        return self.closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report what nobody awaited; mute while a history is replayed or the run is dropped."""
        if not self.muted and not self.closed:
            log.error("in workflow code: %s", context.get("message"), exc_info=context.get("exception"))

    default_exception_handler = call_exception_handler

    # Running -------------------------------------------------------------------------------------------------------

    def open_tasks(self) -> list[RunTask]:
        """The tasks that have not ended, in the order in which they were made."""
        return [task for task in self._tasks if not task.done()]

    def settle(self) -> None:
        """Run until nothing is ready. Raises WorkflowError(code="spin") for code that never rests."""
        ready = self._ready
        if not ready:
            return
        entered = self._enter()
        try:
            for _ in range(SPIN_LIMIT):
                if not ready or self.hold:
                    return
                handle = ready.popleft()
                if handle.is_cancelled:
                    continue
                try:
                    (handle.context or self.context).run(handle.callback, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    # the task that raised it has it as its exception: it ends this run, not the supervisor
                    continue
                except BaseException as error:
                    message = f"a callback raised {type(error).__name__}"
                    self.call_exception_handler({"message": message, "exception": error})
            raise WorkflowError(
                f"the workflow made {SPIN_LIMIT:,} callbacks without waiting for anything",
                "Look for a loop that only yields (asyncio.sleep(0)); wait for a step or a timer in it",
                code="spin",
            )
        finally:
            self._leave(entered)

    def _enter(self) -> asyncio.AbstractEventLoop | None:
        outer = None
        if _here.visit is None:
            outer = asyncio_events._get_running_loop()
            _adopt_generators()
        asyncio_events._set_running_loop(self)
        return outer

    def _leave(self, outer: asyncio.AbstractEventLoop | None) -> None:
        if _here.visit is None:
            asyncio_events._set_running_loop(outer)

    def adopt(self, agen: Any) -> None:
        """An async generator of this run has begun. It is kept, so that the moment of a garbage collection decides
        nothing, and closed with the run; those that have ended are let go."""
        self._agens.append(agen)
        if len(self._agens) > self._prune_agens_at:
            ended = [one for one in self._agens if one.ag_frame is None]
            for one in ended:
                _owners.pop(id(one), None)
            self._agens = [one for one in self._agens if one.ag_frame is not None]
            self._prune_agens_at = max(64, 2 * len(self._agens))

    def finalize(self, agen: Any) -> None:
        """An async generator of this run was dropped half-way: close it in the run."""
        if not self.closed:
            self.create_task(agen.aclose(), context=self.context)

    def close(self) -> None:
        """Drop the run from memory: close each coroutine in its own context, so that its `finally:` runs."""
        self.muted = self.closed = True
        entered = self._enter()
        try:
            for task in reversed(self.open_tasks()):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coro = task.get_coro()
                if coro is not None:
                    _quietly(task.closing_context, coro.close)
            for agen in self._agens:
                _owners.pop(id(agen), None)
                closing = agen.aclose()
                _quietly(self.context, lambda closing=closing: closing.send(None))
        finally:
            self._leave(entered)
            self._ready.clear()
            self._tasks.clear()
            self._agens.clear()
            self._on_timer = self._off_timer = _no_timer


class _Here(threading.local):
    """Of a thread: the loop that visits workflow loops one after the other, and the generator hooks of before."""

    visit: asyncio.AbstractEventLoop | None = None
    hooks: Any = None


_here = _Here()
_owners: dict[int, WorkflowLoop] = {}


@contextlib.contextmanager
def visiting(outer: asyncio.AbstractEventLoop) -> Generator[None, None, None]:
    """Settle many workflow loops from `outer`, which is made the running one again at the end: that costs a system
    call each time on some Pythons. Nothing that asks for the running loop may be done in between."""
    _here.visit = outer
    _adopt_generators()
    try:
        yield
    finally:
        _here.visit = None
        asyncio_events._set_running_loop(outer)


def _adopt_generators() -> None:
    """Take in the async generators of this thread: those of workflows belong to their runs, the others to whoever had
    the hooks before. Set once a thread, because each setting is an audit event."""
    if sys.get_asyncgen_hooks().firstiter is not _first_iteration:
        _here.hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=_first_iteration, finalizer=_finalization)


def _first_iteration(agen: Any) -> None:
    loop = asyncio_events._get_running_loop()
    if isinstance(loop, WorkflowLoop):
        _owners[id(agen)] = loop
        loop.adopt(agen)
    elif (before := _here.hooks.firstiter) is not None:
        before(agen)


def _finalization(agen: Any) -> None:
    loop = _owners.pop(id(agen), None)
    if loop is not None:
        loop.finalize(agen)
    elif (before := _here.hooks.finalizer) is not None:
        before(agen)


def _no_timer(timer: Timer) -> None:
    """In the place of the owner's functions once the run is dropped, so that nothing refers in a circle."""
    raise Parked


def _micros(seconds: float) -> int:
    """Whole microseconds. Raises WorkflowError for what is no time."""
    if not seconds < 1e12:
        raise WorkflowError(
            f"a sleep or time-out of {seconds!r} s",
            "Give a number of seconds, at most some thousand years",
            code="no_time",
        )
    return round(seconds * 1e6)


def _quietly(context: contextvars.Context, close: Callable[[], object]) -> None:
    """Close a coroutine of a run that is being parked. What its `finally:` raises has no reader: the run itself
    goes on elsewhere, from its history."""
    try:
        context.run(close)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        log.debug("while a run was parked: %r", error)


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refused(self: WorkflowLoop, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise WorkflowError(
            f"workflow code called loop.{name}: input, output and threads would not be repeated by a replay",
            "Put it in a step (@vbl.step) and await that",
            code="io_in_workflow",
        )

    refused.__name__ = name
    return refused


_REFUSED = """
    run_forever run_until_complete stop shutdown_asyncgens shutdown_default_executor call_soon_threadsafe
    run_in_executor set_default_executor getaddrinfo getnameinfo create_connection create_server start_tls
    sendfile create_unix_connection create_unix_server connect_accepted_socket create_datagram_endpoint
    connect_read_pipe connect_write_pipe subprocess_shell subprocess_exec add_reader remove_reader add_writer
    remove_writer sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto
    sock_connect sock_accept sock_sendfile add_signal_handler remove_signal_handler set_exception_handler
    get_exception_handler set_debug set_task_factory get_task_factory
"""
"""What a loop can do with the world."""

for _name in _REFUSED.split():
    setattr(WorkflowLoop, _name, _refusal(_name))
WorkflowLoop.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
