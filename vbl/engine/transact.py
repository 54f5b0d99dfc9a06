"""`@vbl.transaction`: a step that writes to the user's own tables in the file, inside the very transaction that records
its completion. There is no moment at which one is there and the other is not, so it happens exactly once.

The body runs in a thread, on a connection of its own that holds the write lock meanwhile; the supervisor, which could
store nothing, stands still until it has ended. What it commits is somebody else's event to the supervisor, which takes
it in as it takes in a decision, and only then lets the next transaction begin.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, overload

from vbl.clock import Clock
from vbl.engine.attempt import Job, Pool
from vbl.engine.context import CURRENT, Attempt
from vbl.engine.definitions import Step, step
from vbl.engine.outcomes import Broken, Committed, Outcome, Stopped, failure, timed_out
from vbl.errors import EpochLost, NotInWorkflow, StorageError, UsageError, VblError
from vbl.history.retry import Retry
from vbl.history.state import RunState
from vbl.store.journal import Draft, Journal
from vbl.store.payloads import Recorder, dumps
from vbl.store.protocol import Store
from vbl.store.sqlite import Durability
from vbl.store.workbench import Workbench

if TYPE_CHECKING:
    from vbl.engine.activity import ActiveRun
    from vbl.store.sqlite import Connection

log = logging.getLogger("vbl")

P = ParamSpec("P")
R = TypeVar("R")
TIMEOUT_S = 10.0
"""So long may a transaction take where its author says nothing: it holds up the whole file."""
TROUBLES = ("disk_full", "io_error", "locked")
"""What passes: the transaction is done again when the file can be written."""
_KEPT = 64


def connection() -> Connection:
    """In the body of a `@vbl.transaction`: the connection to the file, of apsw, inside the open transaction.

    Tables of your own may be made, read and written, and vbl's views be read. Refused are vbl's own tables, attaching
    other files, settings, and ending the transaction. Raises NotInWorkflow anywhere else.
    """
    scope = CURRENT.get()
    if not isinstance(scope, Attempt) or scope.connection is None:
        raise NotInWorkflow(
            "vbl.connection() was called outside the body of a transaction that a workflow has called",
            "Put @vbl.transaction above the function, and call it in a workflow",
        )
    return scope.connection


@overload
def transaction(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def transaction(
    *, name: str | None = None, retry: Retry | bool | None = None, timeout: float = TIMEOUT_S
) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def transaction(function: Any = None, /, **options: Any) -> Any:
    """Mark a plain function as a step that writes to tables of your own in the same file, in the same transaction as
    its completion: exactly once. In its body `vbl.connection()` is the connection. Options: `name`, `retry`,
    `timeout` (seconds, 10 where left out), as for a step. Keep it short: it holds the write lock of the file.

    Raises UsageError for an async function, for generators and for limits that make no sense.
    """
    return _make(function, **options) if function is not None else functools.partial(_make, **options)


def _make(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    retry: Retry | bool | None = None,
    timeout: float = TIMEOUT_S,
) -> Step[..., Any]:
    declare = cast("Any", step)
    made: Step[..., Any] = declare(name=name, retry=retry, timeout=timeout, effect="write", idempotent=True)(function)
    if made.is_async:
        raise UsageError(
            f"transaction {made.name} is async: it holds a lock of the file, and must not wait for anything",
            "Write a plain def; in an async workflow call it as: await name.aio(…)",
        )
    made.transactional = True
    return made


class Host(Protocol):
    """What the transactions of a supervisor need of it."""

    path: Path
    clock: Clock
    epoch: int

    def bench_journal(self, store: Store) -> Journal:
        """The door for what transactions write."""
        ...

    def land_transaction(self, active: ActiveRun, attempt: Attempt, outcome: Outcome) -> None:
        """A transaction has ended, or was stopped; the file is free."""
        ...

    def fail(self, error: BaseException) -> None:
        """Something happened that must not."""
        ...


class Transactions:
    """Of one supervisor, on its thread: one at a time, in the order in which they were asked for."""

    def __init__(self, host: Host, pool: Pool, durability: Durability, vfs: str | None) -> None:
        self._host = host
        self._pool = pool
        self._durability: Durability = durability
        self._vfs = vfs
        self._waiting: deque[tuple[ActiveRun, Attempt]] = deque()
        self._lock = threading.Lock()
        self._bench: Workbench | None = None
        self._journal: Journal | None = None
        self.running = False

    def ask(self, active: ActiveRun, attempt: Attempt) -> None:
        """Begin it when its turn comes; its start is durable."""
        self._waiting.append((active, attempt))

    def next(self) -> None:
        """Begin the one whose turn it is; called when the supervisor has stored everything that it had to store."""
        while self._waiting and not self.running:
            active, attempt = self._waiting.popleft()
            if not attempt.stopped:
                self.running = attempt.launched = True
                attempt.task = asyncio.get_running_loop().create_task(self._run(active, attempt))

    async def _run(self, active: ActiveRun, attempt: Attempt) -> None:
        assert attempt.call is not None
        declared = attempt.call.step
        job = Job(attempt, lambda: self._carry_out(attempt))
        outcome: Outcome = Stopped()
        try:
            self._pool.submit(job)
            if job.begun is not None:
                await job.begun
            async with asyncio.timeout(declared.timeout):
                outcome = await asyncio.shield(job.done)
        except TimeoutError:
            outcome = timed_out(declared)
        except asyncio.CancelledError:
            pass  # it was given up, or the supervisor stops: what becomes of it is decided below
        except BaseException as error:
            outcome = failure(error)
        if job.done.done():
            outcome = job.done.result()
        else:
            attempt.stopped = True
            self._pool.abandon(job)
            await self._take_away()
        self.running = False
        if isinstance(outcome, Broken):
            self._host.fail(outcome.error)
        else:
            self._host.land_transaction(active, attempt, outcome)

    async def _take_away(self) -> None:
        """The body does not end by itself: it loses the connection, and the file its lock."""
        with self._lock:
            bench, self._bench, self._journal = self._bench, None, None
        told = asyncio.get_running_loop().time() + 5.0
        while bench is not None and not bench.revoke():
            await asyncio.sleep(0.002)
            if asyncio.get_running_loop().time() > told:
                told += 60.0
                log.warning("%s is held by a transaction that was stopped, and does not let go of it", self._host.path)

    def close(self) -> None:
        """Give the connection back."""
        if self._bench is not None and not self.running:
            self._bench.close()
            self._bench = self._journal = None

    # In the thread -------------------------------------------------------------------------------------------------

    def _carry_out(self, attempt: Attempt) -> Outcome:
        """Do it, waiting while the file cannot be written. Never raises."""
        CURRENT.set(attempt)
        while True:
            try:
                self._try(attempt)
                return Committed()
            except _Raised as raised:
                return failure(raised.error)
            except (_Over, EpochLost):
                return Stopped()
            except StorageError as error:
                if error.code not in TROUBLES or attempt.stopped:
                    return failure(error)
                time.sleep(0.005 if error.code == "locked" else 0.25)
            except VblError as error:
                return failure(error)
            except BaseException as error:
                return Broken(error)
            finally:
                self._discard_spent(attempt)

    def _try(self, attempt: Attempt) -> None:
        with self._lock:
            if attempt.stopped:
                raise _Over
            if self._bench is None or self._journal is None:
                self._bench = Workbench(self._host.path, durability=self._durability, vfs=self._vfs)
                self._journal = self._host.bench_journal(self._bench)
                self._journal.keep = _KEPT
            bench, journal = self._bench, self._journal
        journal.commit(attempt.run_id, lambda state: self._completed(bench, state, attempt))

    def _discard_spent(self, attempt: Attempt) -> None:
        """The next body is not to meet what this one left in the connection, nor this one's threads the next. One that
        was taken away is not ours."""
        with self._lock:
            bench = self._bench
            if bench is not None and not attempt.stopped and bench.spent:
                self._bench = self._journal = None
                while not bench.revoke():
                    time.sleep(0.002)  # a thread that the body left is in a statement, which has been told to end

    def _completed(self, bench: Workbench, state: RunState, attempt: Attempt) -> Iterable[Draft]:
        """Inside the transaction: the body, then the event of its completion. What it raises undoes both."""
        epoch, call = bench.head().epoch, attempt.call
        if epoch != self._host.epoch:
            raise EpochLost.between(self._host.epoch, epoch)
        found = state.steps.get(attempt.key)
        if call is None or found is None or found.attempt != attempt.number or attempt.stopped:
            raise _Over
        if found.status == "completed":
            return []  # a commit that was taken for lost was not
        if found.status != "running" or state.finished:
            raise _Over
        value = _body(bench, attempt)
        if attempt.stopped:
            raise _Over
        recorded = call.step.signature.result.record(value, Recorder())
        if recorded.blob is not None:
            bench.many("insert_blob", [recorded.blob])
        payload = {"v": 1, "step": attempt.key, "attempt": attempt.number, "output": recorded.plain}
        text = f'{{"v":1,"step":{call.key_text},"attempt":{attempt.number},"output":{recorded.text}'
        if attempt.usage:
            payload["usage"] = used = attempt.spent
            text += f',"usage":{dumps(used)}'
        at = max(self._host.clock.now(), state.at)
        return [Draft("STEP_COMPLETED", at, payload, text + "}")]


def _body(bench: Workbench, attempt: Attempt) -> Any:
    """Run it with the connection; whatever it raises is its own failure, but for a database that is in trouble."""
    assert attempt.call is not None
    declared, given = attempt.call.step, attempt.call.input_plain
    codecs = declared.signature.codecs
    try:
        args, kwargs = declared.signature.spread({name: codecs[name].load(plain) for name, plain in given.items()})
        with bench.lend() as attempt.connection:
            return declared.function(*args, **kwargs)
    except StorageError as error:
        if error.code in TROUBLES:
            raise
        raise _Raised(error) from error
    except BaseException as error:
        raise _Raised(error) from error
    finally:
        attempt.connection = None


class _Over(Exception):
    """The attempt no longer counts: it was stopped, or given up."""


class _Raised(Exception):
    """The body raised `error`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
