"""The bodies of steps in flight: they are begun, their ends are taken to their runs, and those that nobody waits for
any more are given up; what a write does after that is recorded all the same.
"""

from __future__ import annotations

import asyncio
import copy
import sys
from typing import TYPE_CHECKING, Any

from vbl.engine.attempt import Pool, run
from vbl.engine.context import Attempt
from vbl.engine.outcomes import Failed, Outcome, Stopped

if TYPE_CHECKING:
    from vbl.engine.activity import ActiveRun
    from vbl.engine.supervisor import Supervisor

_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Bodies:
    """Of one supervisor, on its thread."""

    def __init__(self, supervisor: Supervisor, loop: asyncio.AbstractEventLoop, pool: Pool) -> None:
        self._supervisor = supervisor
        self._loop = loop
        self._pool = pool
        self._going_on: dict[tuple[int, str], Attempt] = {}

    def launch(self, active: ActiveRun, attempt: Attempt) -> None:
        """Begin the body of an attempt whose start is durable."""
        supervisor = self._supervisor
        active.in_flight[attempt.key] = attempt
        attempt.file = supervisor.path
        if attempt.call is not None and attempt.call.step.transactional:
            supervisor.user_transactions.ask(active, attempt)
            return
        body = run(attempt, self._pool, self.land, active)
        attempt.launched = True
        task = asyncio.Task(body, loop=self._loop, **_EAGER)
        if attempt.outcome is None:
            attempt.task = task

    def land(self, active: ActiveRun, attempt: Attempt) -> None:
        """An attempt has ended; its run digests that in the next tick."""
        attempt.task = None  # its context refers back to the attempt, and would wait for the garbage collection
        if active.in_flight.get(attempt.key) is attempt:
            del active.in_flight[attempt.key]
            if attempt.alone:
                self._supervisor.quarantine.leave(active.key, attempt.key)
            if self._supervisor.runs.get(active.key) is active:
                outcome = attempt.outcome
                if isinstance(outcome, Failed) and outcome.later is not None:
                    attempt = self._broken_off(active.key, attempt, outcome.later)
                active.inbox.append(attempt)
                self._supervisor.wake(active)
                return
        self._land_late(active.key, attempt)

    def _broken_off(self, key: int, attempt: Attempt, later: asyncio.Future[Outcome]) -> Attempt:
        """The time of a write is up, and its thread goes on: what lands now is not its end."""
        landed = copy.copy(attempt)
        attempt.told = len(landed.usage)
        self._going_on[key, attempt.key] = attempt
        later.add_done_callback(lambda done: self._ended_late(key, attempt, done.result()))
        return landed

    def _land_late(self, key: int, attempt: Attempt) -> None:
        """A body that was given up has ended, or will: what a write did is recorded all the same, by the run of this
        key, which may have ended long ago."""
        outcome = attempt.outcome
        if isinstance(outcome, (Stopped, Failed)) and outcome.later is not None:
            outcome.later.add_done_callback(lambda done: self._ended_late(key, attempt, done.result()))
        else:
            self._ended_late(key, attempt, outcome)

    def _ended_late(self, key: int, attempt: Attempt, outcome: Outcome) -> None:
        waited_for = self._going_on.get((key, attempt.key)) is attempt
        if waited_for:
            del self._going_on[key, attempt.key]
        if attempt.call is None or attempt.call.step.effect != "write" or self._supervisor.stopped.is_set():
            return
        if isinstance(outcome, Stopped):
            if waited_for and key in self._supervisor.runs:
                self._supervisor.activate(key)
            return
        attempt.outcome, attempt.usage = outcome, attempt.usage[attempt.told :]
        active = self._supervisor.member(key)
        active.inbox.append(attempt)
        self._supervisor.wake(active)

    def at_work(self, key: int, step: str) -> Attempt | None:
        """The attempt of a write that was given up, or whose time is up, and whose body goes on."""
        return self._going_on.get((key, step))

    def give_up(self, active: ActiveRun, key: str) -> None:
        """The code no longer waits for a step: stop its body, or never start it."""
        attempt = active.in_flight.pop(key, None)
        if attempt is None:
            attempt = next((a for a in active.to_start if a.key == key), None)
            if attempt is None:
                return
            active.to_start.remove(attempt)
        if attempt.launched and attempt.call is not None and attempt.call.step.effect == "write":
            self._going_on[active.key, key] = attempt
        attempt.cancel()
        if attempt.alone:
            self._supervisor.quarantine.leave(active.key, key)
