"""For tests, yours and ours: a supervisor in this process over a real SQLite file, with a clock that the test moves.

    with Trial(tmp_path / "trial.db") as trial:
        run = trial.start(remind, "T-1")       # sleeps for a week in between
        assert run.result() == "sent"          # at once: waiting moves the clock to the next instant that matters

What it promises: nothing here sleeps for the sake of time, a death (`die_before`, `die_after`, `kill`) loses exactly
what a death of the process loses in the file, and the file is an ordinary one. It fakes the clock and nothing else:
steps run, threads are threads, SQLite is SQLite. `replay` holds recorded runs against the code of today.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import heapq
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from vbl.access import Access
from vbl.client import Client
from vbl.clock import Clock
from vbl.engine import schedules
from vbl.engine.advance import Execution
from vbl.engine.context import CURRENT
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.engine.supervisor import Supervisor
from vbl.engine.telling import notifying
from vbl.errors import NotFound, RunWaiting, WorkflowError
from vbl.given import Startable
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.history.script import script_of
from vbl.history.state import RunState, Status
from vbl.store.journal import Draft, History, Journal
from vbl.store.payloads import Resolver
from vbl.store.protocol import Head, Store
from vbl.store.sqlite import Durability

T = TypeVar("T")
_RECENT_FACTS = 40
"""Long values that repeat one of these are compared with it, and not encoded anew."""
NEW_YEAR = 1_767_225_600_000_000
"""2026-01-01 00:00:00 UTC, where a FakeClock begins."""


class FakeClock:
    """A clock that stands until it is moved. Instants are microseconds since 1970 UTC."""

    def __init__(self, start: int = NEW_YEAR) -> None:
        self._now = start
        self._lock = threading.Lock()
        self._sleepers: list[tuple[int, int, asyncio.AbstractEventLoop, asyncio.Future[None], object]] = []
        self._count = 0

    def now(self) -> int:
        """The present instant."""
        return self._now

    def move_to(self, instant: int) -> None:
        """Go to an instant, and wake the bodies that sleep until then."""
        with self._lock:
            self._now = max(self._now, instant)
            while self._sleepers and self._sleepers[0][0] <= self._now:
                _, _, loop, woken, _ = heapq.heappop(self._sleepers)
                with contextlib.suppress(RuntimeError):  # its supervisor has died: the loop is closed
                    loop.call_soon_threadsafe(_wake, woken)

    def advance(self, seconds: float) -> None:
        """Move on by some seconds. While a Trial is up, use its own `advance`: that one also waits for what follows."""
        self.move_to(self._now + round(seconds * 1e6))

    async def sleep(self, seconds: float) -> None:
        """In the body of an async step: take that long on this clock. One at a time in a body."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        with self._lock:
            self._count += 1
            entry = (self._now + round(seconds * 1e6), self._count, loop, woken, CURRENT.get())
            heapq.heappush(self._sleepers, entry)
        try:
            await woken
        finally:
            with self._lock:
                if entry in self._sleepers:
                    self._sleepers.remove(entry)
                    heapq.heapify(self._sleepers)

    @property
    def sleeping(self) -> int:
        """How many bodies sleep on this clock."""
        return len(self.sleepers())

    def sleepers(self) -> set[object]:
        """The attempts whose bodies sleep on this clock."""
        with self._lock:
            return {entry[4] for entry in self._sleepers}

    @property
    def next_instant(self) -> int | None:
        """When the first of them wakes."""
        with self._lock:
            return self._sleepers[0][0] if self._sleepers else None


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


class Crash(BaseException):
    """The process is taken to have died here."""


class DyingJournal(Journal):
    """Dies before or after its n-th commit, counted from 1; `commits` tells how many there were. Those of a journal
    `beside` another count as that one's."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        before: int | None = None,
        after: int | None = None,
        beside: DyingJournal | None = None,
    ) -> None:
        super().__init__(store, clock)
        self._commits = 0
        self._before = before
        self._after = after
        self._counted: DyingJournal = beside or self

    @property
    def commits(self) -> int:
        """How many there were."""
        return self._counted._commits

    def _dying(self, commit: Callable[[], T]) -> T:
        counted = self._counted
        if counted._commits + 1 == counted._before:
            raise Crash(f"before commit {counted._before}")
        done = commit()
        counted._commits += 1
        if counted._commits == counted._after:
            raise Crash(f"after commit {counted._commits}")
        return done

    def commit(self, run_id: str, decide: Callable[[RunState], Iterable[Draft]]) -> RunState:
        """As Journal.commit, until its moment has come."""
        commit = super().commit
        return self._dying(lambda: commit(run_id, decide))

    def commit_all(
        self, histories: Sequence[History], seen: Head, births: Sequence[History] = ()
    ) -> tuple[Head, set[int]]:
        """As Journal.commit_all, until its moment has come."""
        commit_all = super().commit_all
        return self._dying(lambda: commit_all(histories, seen, births))


class _Watched(Supervisor):
    """A supervisor that can be asked whether it rests, and told to die."""

    def ask(self, question: Callable[[], T]) -> T | None:
        """The answer as given on the supervisor's own thread; None where that has ended."""
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()

        def reply() -> None:
            try:
                answer.set_result(question())
            except BaseException as error:
                answer.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(reply)
        except RuntimeError:
            return None
        while self._thread.is_alive():
            with contextlib.suppress(concurrent.futures.TimeoutError):
                return answer.result(0.05)
        return answer.result(0) if answer.done() else None

    def moving(self, clock: FakeClock) -> str:
        """What moves at this instant; empty where nothing does."""
        if self.stopped.is_set():
            return ""
        if self.trouble is not None:
            return f"the store is in trouble: {self.trouble}"
        if self._dirty or self._ticking:
            return "runs to be moved"
        for run in self.runs.values():
            if run.inbox or run.queued or not (run.execution is None or run.execution.resting):
                return f"run {run.key}"
        flying = {attempt for run in self.runs.values() for attempt in run.in_flight.values()}
        if awake := flying - clock.sleepers():
            return f"the bodies of {', '.join(attempt.key for attempt in awake)}"
        if self.store.head().last_id != self.seen.last_id:
            return "other people's events"
        if self._lookout.admission.pending:
            return "queues to be looked at"
        due = {key for name in list(REGISTRY) for key in self.journal.due(name, clock.now(), 100)}
        left = due - self.quarantine.waiting - self.broken
        return f"{len(left)} due runs" if left else ""

    @property
    def next_place(self) -> int | None:
        """When time alone may let a run of a queue begin."""
        return self.ask(lambda: self._lookout.admission.wake_at)

    def die(self) -> None:
        self.fail(Crash("killed"))


class _Access(Access):
    """The file of a trial: waiting for a run moves the clock instead of sleeping."""

    trial: Trial

    def workflow(self, name: str) -> Startable | None:
        return super().workflow(name) or REGISTRY.get(name)

    @contextlib.contextmanager
    def watching(self, run_id: str) -> Generator[Callable[[float | None], None], None, None]:
        self.trial.settle()

        def pause(left: float | None) -> None:
            if not self.trial.skip():
                self.check_alive()
                raise RunWaiting(f"nothing will ever move run {run_id}", f"Look: vbl why {run_id}")

        yield pause

    def check_alive(self) -> None:
        if self.trial.failure is not None:
            raise self.trial.failure

    def nudge(self) -> None:
        self.trial.nudge()


class Trial(Client):
    """A client with a supervisor on a fake clock. Waiting for a run moves the clock; `advance` moves it by hand.

    `up` is called on entering; `down` stops gracefully, `kill` at once. `patience_s` bounds in real seconds how long
    anything may take to come to rest.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: FakeClock | None = None,
        durability: Durability = "process",
        patience_s: float = 20.0,
    ) -> None:
        self.clock = clock or FakeClock()
        access = _Access(Path(path).resolve(), create=True, clock=self.clock, durability=durability)
        access.trial = self
        self._open(access)
        self._patience_s = patience_s
        self._durability: Durability = durability
        self._supervisor: _Watched | None = None
        self._dying: DyingJournal | None = None
        self._mourned = True

    # Life and death ------------------------------------------------------------------------------------------------

    def up(
        self,
        *,
        die_before: int | None = None,
        die_after: int | None = None,
        on_fact: Callable[[str, Fact], None] | None = None,
        notify: Workflow[..., Any] | str | None = None,
    ) -> Self:
        """Start a supervisor; a process of its own, as far as the file can tell.

        It dies before, or after, the commit of that number, counted from 1. `notify` is as in `vbl.open`.
        """
        if self.alive:
            raise WorkflowError("this trial has a supervisor already", "Stop it first: trial.down() or trial.kill()")

        def make(store: Store, clock: Clock) -> Journal:
            if first:
                return DyingJournal(store, clock, beside=first[0])  # that of transactions
            self._dying = DyingJournal(store, clock, before=die_before, after=die_after)
            first.append(self._dying)
            return self._dying

        first: list[DyingJournal] = []

        self._supervisor = _Watched(
            self.path,
            clock=self.clock,
            durability=self._durability,
            journal=make,
            on_fact=on_fact,
            notify=notifying(notify),
        )
        self._supervisor.start()
        self._mourned = False
        schedules.closed(self.scheduling)
        schedules.opened(self.scheduling)
        return self

    @property
    def alive(self) -> bool:
        """Whether the supervisor is up."""
        return self._supervisor is not None and self._supervisor.alive

    @property
    def died(self) -> bool:
        """Whether the supervisor died; raises what it died of, if that was no crash of ours."""
        if self._supervisor is None or self._supervisor.failure is None:
            return False
        if not isinstance(self._supervisor.failure, Crash):
            raise self._supervisor.failure
        self._join()
        return True

    @property
    def failure(self) -> BaseException | None:
        """What the supervisor died of."""
        return self._supervisor.failure if self._supervisor is not None else None

    def nudge(self) -> None:
        """Let the supervisor look at the file now."""
        if self._supervisor is not None:
            self._supervisor.nudge()

    @property
    def commits(self) -> int:
        """How many commits the present supervisor, or the last one, has made."""
        return self._dying.commits if self._dying is not None else 0

    @property
    def in_memory(self) -> int:
        """How many runs are in memory; each of the others costs a row in the file until something wakes it."""
        return len(self._supervisor.runs) if self._supervisor is not None else 0

    def kill(self) -> None:
        """End the supervisor at once: what it has not committed is lost."""
        if self._supervisor is not None:
            self._supervisor.ask(self._supervisor.die)
            self._join()

    def down(self, grace_s: float = 10.0) -> None:
        """Stop the supervisor gracefully."""
        if self._supervisor is not None:
            self._supervisor.stop(grace_s)
            self._supervisor = None

    def _join(self) -> None:
        assert self._supervisor is not None
        with contextlib.suppress(Crash):
            self._supervisor.join(self._patience_s)
        self._mourned = True

    def close(self) -> None:
        """Stop the supervisor and give the file back."""
        schedules.closed(self.scheduling)
        self.down(grace_s=1.0)
        super().close()

    def __enter__(self) -> Self:
        return self if self.alive else self.up()

    # Time ----------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until nothing moves at this instant: each body has ended, or sleeps on the clock.

        Raises TimeoutError, saying what still moves.
        """
        deadline = time.monotonic() + self._patience_s
        supervisor = self._supervisor
        if supervisor is None:
            return
        supervisor.nudge()
        while not self.died and (moving := supervisor.ask(lambda: supervisor.moving(self.clock))):
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {self._patience_s:g} s there are still: {moving}")
            time.sleep(0.0002)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait in real time, the clock standing, for something that a body in a thread or a process does.

        Raises TimeoutError.
        """
        deadline = time.monotonic() + self._patience_s
        self.nudge()
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {self._patience_s:g} s it has not come true")
            time.sleep(0.001)

    def advance(self, seconds: float) -> None:
        """Move the clock on, stopping at each instant at which something is due, and settle. If the supervisor dies on
        the way, the clock stands where that happened."""
        end = self.clock.now() + round(seconds * 1e6)
        lived = not self._mourned
        self.settle()
        while (following := self._next_instant()) is not None and following <= end and not self.died:
            self.clock.move_to(following)
            self.settle()
        if self.died and lived:
            return
        self.clock.move_to(end)
        self.settle()

    def skip(self) -> bool:
        """Move the clock to the next instant at which something is due, and settle. False where nothing ever is."""
        self.settle()
        following = self._next_instant()
        if following is None or self.died:
            return False
        self.clock.move_to(following)
        self.settle()
        return True

    def finish(self, run: Run) -> bool:
        """Move the clock until the run has ended or waits for a person. False where the supervisor died on the way."""
        self.settle()
        while not self.died:
            if run.status.finished or run.last_status in (Status.BLOCKED, Status.PAUSED):
                return True
            if not self.skip() and not self.died and not run.status.finished:
                raise RunWaiting(
                    f"nothing will ever move run {run.id}, which is {run.status}", f"Look: vbl why {run.id}"
                )
        return False

    def _next_instant(self) -> int | None:
        now = self.clock.now()
        due = [self._journal.next_due(name, now) for name in list(REGISTRY)]
        place = self._supervisor.next_place if self._supervisor is not None else None
        moments = [self.clock.next_instant, place, *due]
        return min((moment for moment in moments if moment is not None), default=None)


def replay(run: Run, workflow: Workflow[..., Any] | None = None, *, patience_s: float = 20.0) -> Any:
    """Hold the code of today against a recorded run; nothing is written and no step runs.

    Returns the workflow's output if the run has completed. Raises Divergence where the code asks for something else
    than the history holds, NotFound where the workflow is not known here.
    """
    code = workflow or REGISTRY.get(run.workflow)
    if code is None:
        raise NotFound(f"workflow {run.workflow} is not known here", "Import the module that defines it")
    history = History(None, Resolver(_no_blob))
    history.state = run.state()
    if history.state.started_at is None:
        return None  # its code was never entered: it is queued, or was cancelled before
    facts = run.facts()
    for fact in facts[-_RECENT_FACTS:]:
        history.recorder.know_payload(fact.seq, fact.payload)
    script = script_of(facts)
    reached = threading.Event()
    execution = Execution(history, code, script, reached.set)
    try:
        extra = [ask for fact in script.inputs for ask in _replayed(execution, fact, reached, patience_s)]
        execution.check_whole(extra)
        if history.state.outcome != Status.COMPLETED or execution.main is None:
            return None
        return execution.main.result()
    finally:
        execution.close()


def _no_blob(digest: str) -> bytes:
    raise NotFound(f"blob {digest} was asked for", "The facts of a run are resolved when they are read")


def _replayed(execution: Execution, fact: Fact, reached: threading.Event, patience_s: float) -> list[Any]:
    """Hand over one input and wait until the code rests; what it asks for beyond the history."""
    execution.activate(fact)
    while not execution.resting:
        if not reached.wait(patience_s):
            raise TimeoutError(f"the sync workflow computes for more than {patience_s:g} s after event {fact.seq}")
        reached.clear()
        execution.resume()
    return execution.take_asks()


__all__ = ["Crash", "DyingJournal", "FakeClock", "Trial", "replay"]
