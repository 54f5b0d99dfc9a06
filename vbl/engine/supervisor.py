"""The one process that moves the runs of a file: it takes the lease, resumes what is open, and keeps looking.

The engine lives on a thread of its own with a real asyncio loop. Once a tick every run that something happened to is
moved; what they propose is committed in one transaction; then the bodies of the started steps begin. There is no
other path: recovery only records what was lost and lets the same tick find the run due.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vbl.clock import SYSTEM, Clock
from vbl.engine.activity import ActiveRun, Flight, Landed, Start
from vbl.engine.attempt import Outcome, Pool, Stopped, run_async, run_sync
from vbl.engine.context import StepScope
from vbl.engine.definitions import REGISTRY
from vbl.engine.isolate import run_isolated
from vbl.engine.lease import Lease
from vbl.errors import EpochLost, StorageError, VblError
from vbl.history.events import Fact
from vbl.store.journal import Conflict, Journal
from vbl.store.protocol import Head, Store
from vbl.store.sqlite import WAL_FORCED_PAGES, Checkpointer, Durability, Sqlite

log = logging.getLogger("vbl")

POLL_S = 0.05
"""How often the file is looked at for other people's events."""
HOUSEKEEPING_S = 1.0
MAX_ACTIVE = 1_000
"""So many runs are in memory at once; the others wait in the file."""
PARK_AFTER = 1_000_000
"""A run that only waits is dropped from memory after so many microseconds."""

_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Supervisor:
    """Moves the runs of one file. `start` returns when the lease is taken; `stop` gives it back."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = SYSTEM,
        durability: Durability = "power",
        force: bool = False,
        vfs: str | None = None,
        journal: Callable[[Store, Clock], Journal] = Journal,
        on_fact: Callable[[str, Fact], None] | None = None,
    ) -> None:
        self.path = path
        self.clock = clock
        self.epoch = 0
        self.stopping = False
        self.trouble: StorageError | None = None
        self.failure: BaseException | None = None
        self.transactions = 0
        self._durability: Durability = durability
        self._force = force
        self._vfs = vfs
        self._on_fact = on_fact
        self.narrating = on_fact is not None
        self._make_journal = journal
        self._runs: dict[int, ActiveRun] = {}
        self._dirty: list[ActiveRun] = []
        self._pending: list[ActiveRun] = []
        self._waiters: dict[str, list[threading.Event]] = {}
        self._alone: ActiveRun | None = None
        self._awaiting_quarantine: dict[int, ActiveRun] = {}
        self._broken: dict[int, str] = {}
        self._ticking = False
        self._now = 0
        self._seen = Head(0, 0)
        self._data_version = -1
        self._versions: dict[str, str] = {}
        self._wake_at: int | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._more_due = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run_thread, name="vbl-supervisor", daemon=True)

    # The life of the thread ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the file and begin. Raises SupervisorHeld or StorageError where that can't be done."""
        self._thread.start()
        self._ready.wait()
        if self.failure is not None and not self.epoch:
            self._thread.join()
            raise self.failure

    @property
    def alive(self) -> bool:
        """Whether it is moving runs."""
        return self._thread.is_alive() and not self.stopping

    def stop(self, grace_s: float = 10.0) -> None:
        """Stop gracefully: no new steps; running ones get `grace_s` seconds, then they are recorded as interrupted."""
        if self._thread.is_alive() and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._begin_stop, grace_s)
            except RuntimeError:
                # the loop closed between the two lines: the thread is ending by itself
                log.debug("supervisor stopped by itself")
        self._thread.join()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; whether it has. Raises what made it fail."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        if self.failure is not None:
            raise self.failure
        return True

    def nudge(self) -> None:
        """Look at the file now; from any thread."""
        if not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._look)
            except RuntimeError:
                log.debug("nudged a supervisor that has stopped")

    def _run_thread(self) -> None:
        self._loop = asyncio.new_event_loop()
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            self.failure = error
        finally:
            self._loop.close()
            self._ready.set()
            for events in list(self._waiters.values()):
                for event in events:
                    event.set()

    async def _main(self) -> None:
        store = Sqlite(self.path, durability=self._durability, wait_ms=20, vfs=self._vfs)
        self.store = store
        self.journal = self._make_journal(store, self.clock)
        try:
            self._lease = Lease.take(self.path, store, self.clock, sorted(REGISTRY), force=self._force)
            try:
                await self._supervise(store)
            finally:
                self._lease.leave()
        finally:
            store.close()

    async def _supervise(self, store: Sqlite) -> None:
        self.epoch = self._lease.epoch
        self._seen = store.head()
        self._stopped = asyncio.Event()
        self._pool = Pool()
        checkpointer = Checkpointer(store, vfs=self._vfs)
        checkpointer.start()
        try:
            self._housekeep()
            self._ready.set()
            self._poll()
            await self._stopped.wait()
        finally:
            self._pool.close()
            for run in self._runs.values():
                run.close()
            await asyncio.to_thread(checkpointer.stop)
        if self.failure is not None:
            raise self.failure

    def _begin_stop(self, grace_s: float) -> None:
        self.stopping = True
        for run in self._runs.values():
            self.wake(run)
        self._loop.call_later(grace_s, self._out_of_grace)
        self._check_stopped()

    def _out_of_grace(self) -> None:
        for run in list(self._runs.values()):
            for key, flight in list(run.in_flight.items()):
                flight.cancel()
                if key in run.in_flight:
                    self._interrupted(run, key)

    def _interrupted(self, run: ActiveRun, key: str) -> None:
        """A thread cannot be stopped: record that its attempt was."""
        call = run.execution.calls.get(key) if run.execution is not None else None
        flight = run.in_flight[key]
        self._land(run, key, flight.attempt, Stopped(), call.step if call is not None else None)

    def _check_stopped(self) -> None:
        if not self.stopping or self._ticking or self.trouble is not None:
            return
        if not any(run.in_flight or run.inbox for run in self._runs.values()):
            self._stopped.set()

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self.stopping = True
        for run in self._runs.values():
            for flight in list(run.in_flight.values()):
                flight.cancel()
        self._stopped.set()

    # The tick ------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The instant of this tick."""
        return self._now or self.clock.now()

    def wake(self, run: ActiveRun) -> None:
        """Move this run in the next tick."""
        if not run.queued:
            run.queued = True
            self._dirty.append(run)
        if not self._ticking:
            self._ticking = True
            self._loop.call_soon(self._tick)

    def wake_threadsafe(self, run: ActiveRun) -> None:
        """The same, from another thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.wake, run)

    def _tick(self) -> None:
        collecting = gc.isenabled()
        gc.disable()  # a tick makes many objects at once, of which few are garbage: look for that once, behind it
        try:
            self._tick_once()
        except BaseException as error:
            # our own mistake: stop rather than go on with a doubtful picture of the runs
            self._fail(error)
        finally:
            if collecting:
                gc.enable()

    def _tick_once(self) -> None:
        self._ticking = False
        if self.trouble is not None or self._stopped.is_set():
            return
        runs, self._dirty = self._dirty, []
        self._now = self.clock.now()
        for run in runs:
            run.queued = False
            self._move(run)
        self._now = 0
        self._pending += [run for run in runs if run.history is not None]
        self._flush()
        self._check_stopped()

    def _move(self, run: ActiveRun) -> None:
        if run.key in self._broken:
            return
        try:
            run.move()
        except Exception as error:
            if isinstance(error, StorageError) and error.code in ("disk_full", "io_error", "locked"):
                self._in_trouble(error)
                self.wake(run)
                return
            # one run that cannot be read or moved must not stop the others; doctor finds it, the log names it
            log.error("run %s cannot be moved: %s", run.key, error, exc_info=not isinstance(error, VblError))
            self._broken[run.key] = str(error)
            run.reload()

    def _flush(self) -> None:
        """Commit what all runs propose, in one transaction; then start bodies."""
        while True:
            writing = [run for run in self._pending if run.history is not None and run.history.rows]
            if not writing:
                break
            try:
                head, changed = self.journal.commit_all([run.history for run in writing if run.history is not None], self._seen)
            except Conflict as conflict:
                self._reload(conflict.keys)
                continue
            except EpochLost as error:
                self._fail(error)
                return
            except StorageError as error:
                self._in_trouble(error)
                return
            self._seen = head
            self.transactions += 1
            if changed:
                self._newcomers(changed)
            break
        pending, self._pending = self._pending, []
        for run in pending:
            self._after_commit(run)
        if self.store.wal_pages > WAL_FORCED_PAGES:
            self.store.checkpoint("truncate")

    def _reload(self, keys: set[int]) -> None:
        """Somebody else's events came first: these runs take them in, then what they hold."""
        for run in self._pending:
            if run.key in keys:
                run.reload()
                self.wake(run)
        self._pending = [run for run in self._pending if run.key not in keys]

    def _after_commit(self, run: ActiveRun) -> None:
        history = run.history
        if history is None:
            return
        if self._on_fact is not None:
            for fact in run.recorded:
                self._on_fact(history.state.run_id, fact)
        run.committed()
        if run.to_cancel:
            for key in run.to_cancel:
                if (flight := run.in_flight.pop(key, None)) is not None:
                    flight.cancel()
                    self._leave_quarantine(flight)
            run.to_cancel.clear()
        if run.to_start:
            starting, run.to_start = run.to_start, []
            for start in starting:
                self._launch(run, start)
        state = history.state
        if self._waiters and (events := self._waiters.get(state.run_id)) and run.announced is not (status := state.status):
            run.announced = status
            for event in events:
                event.set()
        if state.finished or (run.idle and (run.execution is None or len(self._runs) > MAX_ACTIVE // 2)):
            self._park(run)
        if history.due_at is not None:
            self._plan(history.due_at)

    def _in_trouble(self, error: StorageError) -> None:
        """The store cannot be written: keep what is in memory, start nothing, and come back."""
        busy = error.code == "locked"
        if self.trouble is None and not busy:
            log.warning("%s. Nothing new is started until it can be written again.", error.message)
        self.trouble = error
        self._loop.call_later(0.005 if busy else 0.25, self._try_again)

    def _try_again(self) -> None:
        if self._stopped.is_set():
            return
        error, self.trouble = self.trouble, None
        self._flush()
        if self.trouble is None:
            if error is not None and error.code != "locked":
                log.warning("%s can be written again; going on.", self.path)
            self._ticking = True
            self._loop.call_soon(self._tick)

    # Attempts ------------------------------------------------------------------------------------------------------

    def _launch(self, run: ActiveRun, start: Start) -> None:
        call = start.call
        assert run.history is not None
        scope = StepScope(run.history.state.run_id, call.key, start.attempt, f"{run.history.state.run_id}:{call.key}")
        flight = Flight(start.attempt, start.alone, lambda: None)
        run.in_flight[call.key] = flight
        if start.alone:
            self._alone = run
        task = asyncio.Task(self._attempt(run, start, scope), loop=self._loop, **_EAGER)
        flight.cancel = task.cancel

    async def _attempt(self, run: ActiveRun, start: Start, scope: StepScope) -> None:
        call, step = start.call, start.call.step
        if start.attempt == 1:
            bound = call.args
        else:
            bound = {name: step.signature.codecs[name].load(plain) for name, plain in call.input_plain.items()}
        outcome: Outcome
        if step.isolation is not None:
            outcome = await self._isolated(step, scope, call)
        elif step.is_async:
            outcome = await run_async(step, scope, bound)
        else:
            outcome = await run_sync(step, scope, bound, self._pool)
        self._land(run, call.key, start.attempt, outcome, step)

    async def _isolated(self, step: Any, scope: StepScope, call: Any) -> Outcome:
        from vbl.engine.attempt import failure

        try:
            return await run_isolated(step, scope, call.input_plain)
        except VblError as error:
            return failure(error)

    def _land(self, run: ActiveRun, key: str, attempt: int, outcome: Outcome, step: Any) -> None:
        """An attempt has ended; its run digests that in the next tick."""
        flight = run.in_flight.get(key)
        if flight is None or flight.attempt != attempt:
            return
        del run.in_flight[key]
        if flight.alone:
            self._leave_quarantine(flight)
        if self._runs.get(run.key) is not run:
            return
        run.inbox.append(Landed(key, attempt, outcome, step))
        self.wake(run)

    def may_start_alone(self, run: ActiveRun, step: str) -> bool:
        """Whether a quarantined step may start now."""
        if self._alone is None:
            self._alone = run
            return True
        self._awaiting_quarantine[run.key] = run
        return False

    def _leave_quarantine(self, flight: Flight) -> None:
        if flight.alone:
            self._alone = None
            waiting, self._awaiting_quarantine = self._awaiting_quarantine, {}
            for run in waiting.values():
                self.wake(run)

    # Looking -------------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        if self._stopped.is_set():
            return
        try:
            version = self.store.changed()
            if version != self._data_version:
                self._data_version = version
                self._look()
        except StorageError as error:
            log.debug("poll: %s", error.message)
        self._loop.call_later(POLL_S, self._poll)

    def _look(self) -> None:
        """Take notice of other people's events, and of what is due."""
        if self._stopped.is_set() or self.trouble is not None:
            return
        try:
            head = self.store.head()
            if head.epoch != self.epoch:
                self._fail(EpochLost(f"epoch {self.epoch} of this supervisor has ended: epoch {head.epoch} has the file now", "Only one supervisor moves the runs of a file; this one stops"))
                return
            if head.last_id != self._seen.last_id:
                changed = self.journal.newer(self._seen.last_id)
                self._seen = head
                self._newcomers(changed)
            self._check_due()
        except StorageError as error:
            # read again at the next poll; a store that cannot be written is handled where it is written
            log.debug("look: %s", error.message)

    def _newcomers(self, keys: set[int]) -> None:
        for key in keys:
            self._broken.pop(key, None)
            run = self._runs.get(key)
            if run is not None and not (run.history is not None and run.history.rows):
                run.reload()
                self.wake(run)
        self._more_due = True
        self._loop.call_soon(self._check_due)

    def _check_due(self) -> None:
        if self.stopping or self.trouble is not None or self._stopped.is_set():
            return
        now = self.clock.now()
        room = MAX_ACTIVE - len(self._runs)
        self._more_due = False
        for name in list(REGISTRY):
            if room <= 0:
                self._more_due = True
                break
            due = self.store.all("due", (name, now, MAX_ACTIVE))
            for (key,) in due:
                if key not in self._broken and (key in self._runs or room > 0):
                    room -= key not in self._runs
                    self._activate(key)
            self._more_due = self._more_due or len(due) == MAX_ACTIVE or room <= 0
            following = self.store.one("next_due", (name, now))
            if following is not None and following[0] is not None:
                self._plan(following[0])

    def _activate(self, key: int) -> None:
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = ActiveRun(self, key)
        self.wake(run)

    def _plan(self, at: int) -> None:
        """Look for due runs at that instant, or earlier."""
        if self._wake_at is not None and self._wake_at <= at and self._wake is not None and not self._wake.cancelled():
            return
        if self._wake is not None:
            self._wake.cancel()
        self._wake_at = at
        self._wake = self._loop.call_later(max(0.0, (at - self.clock.now()) / 1e6), self._woken)

    def _woken(self) -> None:
        self._wake_at = self._wake = None
        try:
            self._check_due()
        except StorageError as error:
            log.debug("due: %s", error.message)
            self._plan(self.clock.now() + 100_000)

    def _park(self, run: ActiveRun) -> None:
        self._runs.pop(run.key, None)
        run.close()
        if self._more_due and len(self._runs) < MAX_ACTIVE // 2 and not self.stopping:
            self._more_due = False
            self._loop.call_soon(self._look)

    def _housekeep(self) -> None:
        """Once a second: beat, park, and look for what nobody moves."""
        if self._stopped.is_set():
            return
        try:
            self._lease.beat()
            self._definitions()
            if not self.stopping:
                for (key,) in self.store.all("in_flight")[:MAX_ACTIVE]:
                    if key not in self._runs and key not in self._broken:
                        self._activate(key)
            self._look()
        except (StorageError, OSError) as error:
            log.debug("housekeeping: %s", error)
        horizon = self.clock.now() - PARK_AFTER
        for run in list(self._runs.values()):
            if run.idle and not run.queued and run.touched_at < horizon and run not in self._pending:
                self._park(run)
        self._loop.call_later(HOUSEKEEPING_S, self._housekeep)

    def _definitions(self) -> None:
        """Keep the source of each version, and try blocked runs where a workflow has changed."""
        versions = {name: workflow.version for name, workflow in REGISTRY.items()}
        if versions == self._versions or self.stopping:
            return
        python = ".".join(map(str, sys.version_info[:3]))
        fresh = [name for name, version in versions.items() if self._versions.get(name) != version]
        with self.store.write():
            self.store.many(
                "insert_definition",
                [(name, versions[name], *REGISTRY[name].source(), python, self.clock.now()) for name in fresh],
            )
        self._versions = versions
        for key, workflow in self.store.all("blocked"):
            if workflow in fresh:
                self._activate(key)
        self._check_due()

    # Waiting from other threads ------------------------------------------------------------------------------------

    def listen(self, run_id: str, event: threading.Event) -> None:
        """Set `event` whenever this run has another status."""
        self._waiters.setdefault(run_id, []).append(event)

    def unlisten(self, run_id: str, event: threading.Event) -> None:
        """End `listen`."""
        events = self._waiters.get(run_id, [])
        if event in events:
            events.remove(event)
        if not events:
            self._waiters.pop(run_id, None)
