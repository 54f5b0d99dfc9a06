"""A client with a supervisor on a clock that stands: it goes to the next instant that matters when nothing moves."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Self, TypeVar

from vbl.access import Access
from vbl.client import Client
from vbl.clock import Clock
from vbl.engine import schedules
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.engine.supervisor import Supervisor
from vbl.engine.telling import notifying
from vbl.errors import RunWaiting, WorkflowError
from vbl.given import Startable
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.history.state import Status
from vbl.store.journal import Journal
from vbl.store.protocol import Store
from vbl.store.sqlite import Durability
from vbl.testing.clock import FakeClock
from vbl.testing.dying import Crash, DyingJournal

T = TypeVar("T")


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
        due = {key for name in list(REGISTRY) for key in self.journal.due(name, clock.now(), 100)[0]}
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
        due = [self._journal.due(name, now, 0)[1] for name in list(REGISTRY)]
        place = self._supervisor.next_place if self._supervisor is not None else None
        moments = [self.clock.next_instant, place, *due]
        return min((moment for moment in moments if moment is not None), default=None)
