"""One attempt of a step: runs its body and turns whatever happens into one value. Never raises.

An async body runs as a task of the supervisor's real loop, a sync one in a thread, an isolated one in a child
process that is killed at its time-out.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from vbl.engine.context import CURRENT, Attempt
from vbl.engine.definitions import Step
from vbl.engine.outcomes import Outcome, Stopped, Succeeded, failure, timed_out
from vbl.engine.probe import probe_of

H = TypeVar("H")


async def run(attempt: Attempt, pool: Pool, landed: Callable[[H, Attempt], None], host: H) -> None:
    """Run the body of an attempt, set its `outcome`, and say so. The task of the attempt; never raises."""
    call = attempt.call
    assert call is not None
    step = call.step
    try:
        if attempt.probing:
            step = probe_of(step)
        if attempt.number == 1 and not attempt.probing:
            bound = call.args
        else:
            # an earlier attempt may have changed what it was given
            bound = {name: step.signature.codecs[name].load(plain) for name, plain in call.input_plain.items()}
        if step.isolation is not None:
            from vbl.engine.isolate import run_isolated

            outcome = await run_isolated(step, attempt, call.input_plain)
        elif step.is_async:
            outcome = await run_async(step, attempt, bound)
        else:
            outcome = await run_sync(step, attempt, bound, pool)
    except BaseException as error:
        outcome = Stopped() if attempt.stopped else failure(error)
    if attempt.outcome is None:
        attempt.outcome = outcome
        landed(host, attempt)


async def run_async(step: Step[..., Any], attempt: Attempt, bound: dict[str, Any]) -> Outcome:
    """Run an async body, within its time-out."""
    CURRENT.set(attempt)
    try:
        args, kwargs = step.signature.spread(bound)
        if step.timeout is None:
            return Succeeded(await step.function(*args, **kwargs))
        limit = asyncio.timeout(step.timeout)
        try:
            async with limit:
                return Succeeded(await step.function(*args, **kwargs))
        except TimeoutError:
            if limit.expired():
                return timed_out(step)
            raise
    except BaseException as error:
        # a body may cancel its own task: only where we did it, it was stopped
        return Stopped() if attempt.stopped and isinstance(error, asyncio.CancelledError) else failure(error)


async def run_sync(step: Step[..., Any], attempt: Attempt, bound: dict[str, Any], pool: Pool) -> Outcome:
    """Run a sync body in a thread. At its time-out the thread is left to itself and its result is dropped; the end of
    a write is not."""
    job = Job(attempt, lambda: _body(step, attempt, bound))
    pool.submit(job)
    try:
        if job.begun is not None:  # it waits for a thread: its time has not come
            await job.begun
        async with asyncio.timeout(step.timeout):
            return await (asyncio.shield(job.done) if step.effect == "write" else job.done)
    except TimeoutError:
        attempt.stopped = True  # the thread goes on: let it know
        return _overrun(step, job, pool)
    except asyncio.CancelledError:
        goes_on = pool.abandon(job) and step.effect == "write"
        return Stopped(job.done if goes_on else None)
    finally:
        if not job.done.done() or job.done.cancelled():
            pool.abandon(job)


def _overrun(step: Step[..., Any], job: Job, pool: Pool) -> Outcome:
    """The time of a sync body is up; a write goes on to an end that counts."""
    begun, failed = pool.abandon(job), timed_out(step)
    if not failed.unknown:
        return failed
    if job.done.done():
        return job.done.result()
    failed.unknown, failed.later = begun, job.done if begun else None
    return failed


class Job:
    """A sync body on its way through a thread; `done` is its outcome, on the loop that asked for it. `begun` is there
    where it has to wait for a thread."""

    __slots__ = ("abandoned", "attempt", "begun", "body", "context", "done", "running", "taken")

    def __init__(self, attempt: Attempt, body: Callable[[], Outcome]) -> None:
        self.attempt = attempt
        self.body = body
        self.context = contextvars.copy_context()
        self.done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.begun: asyncio.Future[None] | None = None
        self.taken = False
        self.running = False
        self.abandoned = False

    def run(self) -> None:
        """Run the body and hand its outcome to the loop."""
        if self.begun is not None:
            self._tell(self.begun, None)
        self._tell(self.done, self.context.run(self.body))

    def _tell(self, future: asyncio.Future[Any], value: Any) -> None:
        loop = future.get_loop()
        with contextlib.suppress(RuntimeError):  # the supervisor has ended: nobody waits for it
            loop.call_soon_threadsafe(_resolve, future, value)


class Pool:
    """Daemon threads for sync bodies: made when needed, at most `size`, never waited for at exit.

    A body that was given up keeps its thread until it ends, but not its place among the `size`: a body that hangs
    holds nobody up. One that was given up before it had a thread never begins.
    """

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._work: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0  # below zero: so many jobs wait for a thread

    def submit(self, job: Job) -> None:
        """Run a job as soon as there is a thread for it."""
        with self._lock:
            if self._idle == 0 and self._threads < self._size:
                self._hire()
            else:
                self._idle -= 1
                if self._idle < 0:
                    job.begun = job.done.get_loop().create_future()
        self._work.put(job)

    def abandon(self, job: Job) -> bool:
        """Nobody waits for the job any more. Whether its body has begun."""
        with self._lock:
            if job.running and not job.abandoned:
                self._threads -= 1
                if self._idle < 0:
                    self._idle += 1
                    self._hire()
            job.abandoned = True
            return job.taken

    def _hire(self) -> None:
        self._threads += 1
        threading.Thread(target=self._run, name=f"vbl-step-{self._threads}", daemon=True).start()

    def _run(self) -> None:
        while (job := self._work.get()) is not None:
            with self._lock:
                job.running = job.taken = not (job.abandoned or job.attempt.stopped)
            if job.running:
                job.run()
            with self._lock:
                if job.running and job.abandoned:
                    return  # its place was given to another thread
                job.running = False
                self._idle += 1

    def close(self) -> None:
        """Let idle threads end."""
        for _ in range(self._threads):
            self._work.put(None)


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _body(step: Step[..., Any], attempt: Attempt, bound: dict[str, Any]) -> Outcome:
    CURRENT.set(attempt)
    try:
        args, kwargs = step.signature.spread(bound)
        return Succeeded(step.function(*args, **kwargs))
    except BaseException as error:
        return failure(error)
