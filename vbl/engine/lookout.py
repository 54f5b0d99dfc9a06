"""What makes a supervisor look at its file: a poll for other people's events, the times at which runs are due, and
a round once a second for what nobody moves. Recovery is a part of that round, not a special of the start.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from vbl.engine.activity import ActiveRun
from vbl.engine.admission import Admission
from vbl.engine.definitions import REGISTRY
from vbl.errors import EpochLost, StorageError
from vbl.store.payloads import dumps

if TYPE_CHECKING:
    from vbl.engine.supervisor import Supervisor

log = logging.getLogger("vbl")

POLL_S = 0.05
"""How often the file is looked at for other people's events."""
ROUND_S = 1.0
"""How often the supervisor beats, parks, and looks for what nobody moves."""
MAX_ACTIVE = 1_000
"""So many runs are in memory at once; the others wait in the file."""
PARK_AFTER = 1_000_000
"""A run that only waits is dropped from memory after so many microseconds."""


class Lookout:
    """Of one supervisor, on its thread."""

    def __init__(self, supervisor: Supervisor, loop: asyncio.AbstractEventLoop) -> None:
        self._supervisor = supervisor
        self._loop = loop
        self._data_version = -1
        self._versions: dict[str, str] = {}
        self._options: dict[str, dict[str, Any]] = {}
        self._admitting = False
        self.admission = Admission(supervisor, self._admit_soon)
        self._wake_at: int | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._more_due = False
        self._rounds = 0
        self._blocked: list[int] = []

    def begin(self) -> None:
        """Start the round; `poll` is left to whoever waits for the loop."""
        self._round()

    @property
    def crowded(self) -> bool:
        """Whether idle runs should leave memory at once."""
        return len(self._supervisor.runs) > MAX_ACTIVE // 2

    # Other people's events -----------------------------------------------------------------------------------------

    def _safely(self, what: Callable[[], object]) -> bool:
        """Do what may meet a file that cannot be read just now; whether it could. It is done again in a moment, and a
        store that cannot be written is handled where it is written. Anything else is our own mistake: stop."""
        if self._supervisor.stopped.is_set():
            return True
        try:
            what()
        except (StorageError, OSError) as error:
            log.debug("looking at the file: %s", error)
            return False
        except BaseException as error:
            self._supervisor.fail(error)
        return True

    def poll(self) -> bool:
        """Take notice of other people's events, where somebody else has committed; whether that gave the loop something
        to do."""
        version = self._data_version
        self._safely(self._look_if_changed)
        return self._data_version != version or self._supervisor.stopped.is_set()

    def _look_if_changed(self) -> None:
        version = self._supervisor.store.changed()
        if version != self._data_version:
            self._data_version = version
            self._look()

    def look(self) -> None:
        """Take notice of other people's events, and of what is due."""
        self._safely(self._look)

    def _look(self) -> None:
        supervisor = self._supervisor
        if supervisor.trouble is not None:
            return
        head = supervisor.store.head()
        if head.epoch != supervisor.epoch:
            supervisor.fail(EpochLost.between(supervisor.epoch, head.epoch))
            return
        if head.last_id != supervisor.seen.last_id:
            changed = supervisor.journal.newer(supervisor.seen.last_id)
            supervisor.seen = head
            self.newcomers(changed)
        self.check_due()

    def newcomers(self, keys: Iterable[int]) -> None:
        """Others appended to these runs: those in memory are loaded again, unless their own events clash anyway."""
        supervisor = self._supervisor
        keys = list(keys)
        self.admission.newcomers(keys)
        for key in keys:
            supervisor.broken.discard(key)
            run = supervisor.runs.get(key)
            if run is not None and not (run.history is not None and run.history.rows):
                run.take_notice()
                supervisor.wake(run)
        self._loop.call_soon(self.look)

    # Time ----------------------------------------------------------------------------------------------------------

    def check_due(self) -> None:
        """Move what is due, as far as there is room in memory."""
        supervisor = self._supervisor
        if supervisor.stopping or supervisor.trouble is not None or supervisor.stopped.is_set():
            return
        self._definitions()
        now = supervisor.clock.now()
        self._more_due = False
        for name in list(REGISTRY):
            due, following = supervisor.journal.due(name, now, MAX_ACTIVE + len(supervisor.broken))
            for key in due:
                if key in supervisor.broken:
                    continue
                if key not in supervisor.runs and len(supervisor.runs) >= MAX_ACTIVE:
                    self._more_due = True
                    break
                supervisor.activate(key)
            self._more_due = self._more_due or len(due) >= MAX_ACTIVE
            if following is not None:
                self.plan(following)
        self._admit()

    def _admit_soon(self) -> None:
        if not self._admitting:
            self._admitting = True
            self._loop.call_soon(self._safely, self._admit)

    def _admit(self) -> None:
        """Let runs of queues begin, as far as there are places, and room in memory."""
        supervisor = self._supervisor
        self._admitting = False
        if supervisor.stopping or supervisor.trouble is not None or supervisor.stopped.is_set():
            return
        for key in self.admission.admit(supervisor.clock.now(), MAX_ACTIVE - len(supervisor.runs)):
            supervisor.activate(key)
        self._more_due = self._more_due or self.admission.pending
        if (wake_at := self.admission.wake_at) is not None:
            self.plan(wake_at)

    def plan(self, at: int) -> None:
        """Look for due runs at that instant, or earlier."""
        if self._wake_at is not None and self._wake_at <= at:
            return
        if self._wake is not None:
            self._wake.cancel()
        self._wake_at = at
        self._wake = self._loop.call_later(max(0.0, (at - self._supervisor.clock.now()) / 1e6), self._woken)

    def _woken(self) -> None:
        self._wake_at = self._wake = None
        if not self._safely(self.check_due):
            self.plan(self._supervisor.clock.now() + 100_000)

    def park(self, run: ActiveRun) -> None:
        """Drop a run from memory; it costs one row until something wakes it."""
        self._supervisor.runs.pop(run.key, None)
        run.close()
        if self._more_due and not self.crowded:
            self._more_due = False
            self._loop.call_soon(self.look)

    # The round -----------------------------------------------------------------------------------------------------

    def _round(self) -> None:
        self._safely(self._round_once)
        self._safely(self._park_idle)
        self._loop.call_later(ROUND_S, self._round)

    def _round_once(self) -> None:
        supervisor = self._supervisor
        self._rounds += 1
        supervisor.lease.beat()
        if not supervisor.stopping:
            for (key,) in supervisor.store.all("in_flight")[:MAX_ACTIVE]:
                if key not in supervisor.runs and key not in supervisor.broken:
                    supervisor.activate(key)
            self._try_blocked()
            self.admission.touch()
        if self._rounds > 1:
            supervisor.quarantine.look(any(map(_flies_alone, supervisor.runs.values())))
        self._look()

    def _park_idle(self) -> None:
        supervisor = self._supervisor
        horizon = supervisor.clock.now() - PARK_AFTER
        for run in list(supervisor.runs.values()):
            if run.idle and not run.queued and run.touched_at < horizon and run not in supervisor.pending:
                self.park(run)

    def _definitions(self) -> None:
        """Keep the source of each version before a run begins with it, and try blocked runs where it has changed."""
        supervisor = self._supervisor
        workflows = dict(list(REGISTRY.items()))
        versions = {name: workflow.version for name, workflow in workflows.items()}
        options = {name: workflow.options for name, workflow in workflows.items()}
        if versions == self._versions and options == self._options:
            return
        fresh = [name for name, version in versions.items() if self._versions.get(name) != version]
        told = fresh + [name for name in options if name not in fresh and self._options[name] != options[name]]
        python = ".".join(map(str, sys.version_info[:3]))
        now = supervisor.clock.now()
        with supervisor.store.write():
            rows = [
                (name, versions[name], *workflows[name].source(), python, dumps(options[name]), now) for name in told
            ]
            supervisor.store.many("insert_definition", rows)
            supervisor.lease.announce(sorted(versions))
        self._versions, self._options = versions, options
        self.admission.touch()
        self._blocked = [key for key, workflow in supervisor.store.all("blocked") if workflow in fresh]
        self._try_blocked()
        self.check_due()

    def _try_blocked(self) -> None:
        """Try blocked runs with other code, some at a time."""
        trying, self._blocked = self._blocked[: MAX_ACTIVE // 4], self._blocked[MAX_ACTIVE // 4 :]
        for key in trying:
            self._supervisor.activate(key)


def _flies_alone(run: ActiveRun) -> bool:
    """Whether a quarantined step of the run is in flight, or about to be."""
    return any(attempt.alone for attempt in (*run.in_flight.values(), *run.to_start))
