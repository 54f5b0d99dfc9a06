"""The one process that moves the runs of a file: it takes the lease, resumes what is open, and keeps looking.

The engine lives on a thread of its own with a real asyncio loop. Once a tick every run that something happened to is
moved; what they propose is committed in one transaction; then the bodies of the started steps begin. There is no
other path: recovery only records what was lost and lets the same tick find the run due.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from vbl.clock import SYSTEM, Clock
from vbl.engine.activity import ActiveRun
from vbl.engine.attempt import Pool
from vbl.engine.bodies import Bodies
from vbl.engine.context import Attempt
from vbl.engine.definitions import REGISTRY
from vbl.engine.garbage import rare_collections
from vbl.engine.kinship import Kinship
from vbl.engine.lease import Lease
from vbl.engine.listeners import Listeners
from vbl.engine.lookout import POLL_S, Lookout
from vbl.engine.loop import visiting
from vbl.engine.outcomes import Outcome, Stopped
from vbl.engine.quarantine import Quarantine
from vbl.engine.telling import born
from vbl.engine.transact import Transactions
from vbl.engine.watchful import Watchful
from vbl.errors import EpochLost, StorageError, VblError
from vbl.history.facts import Fact
from vbl.history.state import StepState
from vbl.store.checkpointer import Checkpointer
from vbl.store.journal import Conflict, Journal
from vbl.store.protocol import Head, Store
from vbl.store.sqlite import BRIEFLY_MS, Durability, Sqlite

log = logging.getLogger("vbl")

LAST_WORDS_S = 2.0
"""After the time of grace: so long may the store still refuse what was in flight."""
CONTENDED_US = 2_000_000
"""So long, in microseconds, is a run moved under the lock after somebody else's events came first to it."""
_TROUBLES = ("disk_full", "io_error", "locked")


class Supervisor:
    """Moves the runs of one file. `start` returns when the lease is taken; `stop` gives it back.

    `runs` are those in memory, by key; `trouble` is set while the store cannot be written; `failure` is what ended
    the thread; `notify` names the workflow that tells people what they are asked. All but `start`, `stop`, `join`,
    `nudge` and the `listeners` belongs to its own thread.
    """

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
        notify: str | None = None,
    ) -> None:
        self.path = path
        self.notify = notify
        self.clock = clock
        self.epoch = 0
        self.stopping = False
        self.narrating = on_fact is not None
        self.trouble: StorageError | None = None
        self.failure: BaseException | None = None
        self.transactions = 0
        self.runs: dict[int, ActiveRun] = {}
        self.broken: set[int] = set()
        self.pending: list[ActiveRun] = []
        self.seen = Head(0, 0)
        self.quarantine = Quarantine(self.activate)
        self.kinship = Kinship(self)
        self.listeners = Listeners()
        self._durability: Durability = durability
        self._force = force
        self._vfs = vfs
        self._on_fact = on_fact
        self._make_journal = journal
        self._dirty: list[ActiveRun] = []
        self._ticking = False
        self._now = 0
        # ticks run in it, not in the context of what woke them: a body's variables must not reach the next body
        self._context = contextvars.Context()
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
        self.ask_to_stop(grace_s)
        self._thread.join()

    def abandon(self) -> None:
        """Stop at once, and wait for that, also where `start` did not come to its end."""
        if self._thread.ident is not None:
            self._ready.wait()
            self.stop(0)

    def ask_to_stop(self, grace_s: float) -> None:
        """The same, without waiting for the end."""
        self._tell(lambda: self._begin_stop(grace_s))

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
        self._tell(lambda: self._lookout.look())

    def _tell(self, what: Callable[[], object]) -> None:
        """Do something on the supervisor's thread, where that has not ended."""
        if self._loop.is_closed():
            return
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            log.debug("the supervisor stopped by itself meanwhile")

    def _run_thread(self) -> None:
        self._watchful = Watchful(POLL_S)
        self._loop = asyncio.SelectorEventLoop(self._watchful)
        try:
            with rare_collections():
                self._loop.run_until_complete(self._main())
        except BaseException as error:
            self.failure = error
        finally:
            self._loop.close()
            self._ready.set()
            self.listeners.wake_all()

    async def _main(self) -> None:
        store = Sqlite(self.path, durability=self._durability, vfs=self._vfs)
        self.store = store
        self.journal = self._make_journal(store, self.clock)
        try:
            self.lease = Lease.take(self.path, store, self.clock, sorted(REGISTRY), force=self._force)
            store.wait_ms = BRIEFLY_MS
            try:
                await self._supervise(store)
            finally:
                self.lease.leave()
        finally:
            store.close()

    async def _supervise(self, store: Sqlite) -> None:
        self.epoch = self.lease.epoch
        self.seen = store.head()
        self.stopped = asyncio.Event()
        self._pool = Pool()
        self.user_transactions = Transactions(self, self._pool, self._durability, self._vfs)
        self._bodies = Bodies(self, self._loop, self._pool)
        self._lookout = Lookout(self, self._loop)
        checkpointer = Checkpointer(store, vfs=self._vfs)
        checkpointer.start()
        try:
            self._lookout.begin()
            self._watchful.look = self._lookout.poll
            self._ready.set()
            await self.stopped.wait()
        finally:
            self._pool.close()
            for active in self.runs.values():
                active.close()
            await self._last_bodies()
            self.user_transactions.close()
            await asyncio.to_thread(checkpointer.stop)
        if self.failure is not None:
            raise self.failure

    async def _last_bodies(self) -> None:
        """Give bodies that were stopped a moment to clean up; a child process is killed and waited for meanwhile."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=LAST_WORDS_S)

    def _begin_stop(self, grace_s: float) -> None:
        self.stopping = True
        for active in self.runs.values():
            self.wake(active)
        self._loop.call_later(grace_s, self._out_of_grace)
        self._check_stopped()

    def _out_of_grace(self) -> None:
        """The time is up: what still runs is interrupted. A thread cannot be stopped; its attempt can."""
        for active in list(self.runs.values()):
            for attempt in list(active.in_flight.values()):
                attempt.cancel()
                if attempt.outcome is None:
                    attempt.outcome = Stopped()
                    self._bodies.land(active, attempt)
        self._loop.call_later(LAST_WORDS_S, self._leave_unwritten)

    def _leave_unwritten(self) -> None:
        """The store has refused to the end. The next supervisor finds what was in flight, and says so."""
        if not self.stopped.is_set():
            log.warning("stopping although %s cannot be written: what was in flight will run again", self.path)
            self.stopped.set()

    def _check_stopped(self) -> None:
        if not self.stopping or self._ticking or self.trouble is not None:
            return
        if not any(active.in_flight or active.inbox for active in self.runs.values()):
            self.stopped.set()

    def fail(self, error: BaseException) -> None:
        """End at once: the epoch is lost, or something happened that must not."""
        self.failure = error
        self.stopping = True
        for active in self.runs.values():
            for attempt in list(active.in_flight.values()):
                attempt.cancel()
        self.stopped.set()

    # The tick ------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The instant of this tick."""
        return self._now or self.clock.now()

    def wake(self, active: ActiveRun) -> None:
        """Move this run in the next tick."""
        if not active.queued:
            active.queued = True
            self._dirty.append(active)
        self._tick_soon()

    def _tick_soon(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_soon(self._tick, context=self._context)

    def wake_threadsafe(self, active: ActiveRun) -> None:
        """The same, from another thread."""
        self._tell(lambda: self.wake(active))

    def activate(self, key: int) -> None:
        """Move the run of that key in the next tick; it is loaded where it is not in memory."""
        self.wake(self.member(key))

    def member(self, key: int) -> ActiveRun:
        """The run of that key, in memory from now on."""
        active = self.runs.get(key)
        if active is None:
            active = self.runs[key] = ActiveRun(self, key)
        return active

    def asked(self, active: ActiveRun, event: str, gate: str | None) -> None:
        """The run asks a person: the workflow that tells them is started in the same transaction, but for itself."""
        state = active.state
        if self.notify is not None and state.workflow != self.notify:
            active.newborn.append(born(self.journal, self.notify, state.run_id, event, gate, self.now()))

    def _tick(self) -> None:
        try:
            self._tick_once()
        except BaseException as error:
            # our own mistake: stop rather than go on with a doubtful picture of the runs
            self.fail(error)

    def _tick_once(self) -> None:
        self._ticking = False
        if self.trouble is not None or self.stopped.is_set() or self.user_transactions.running:
            return  # nothing could be stored
        moving, self._dirty = self._dirty, []
        now = self.clock.now()
        contended = [active for active in moving if active.contended_until > now]
        if contended:
            moving = [active for active in moving if active not in contended]
        self._move_all(moving)
        self._flush()
        if contended:
            self._move_locked(contended)
        if self.trouble is None and not self.pending:
            self.user_transactions.next()
        self._check_stopped()

    def _move_all(self, moving: list[ActiveRun]) -> None:
        self._now = self.clock.now()
        with visiting(self._loop):
            for active in moving:
                active.queued = False
                if self.runs.get(active.key) is active:
                    self._move(active)
        self._now = 0
        known = set(self.pending)
        self.pending += [active for active in moving if active not in known] if known else moving

    def _move_locked(self, contended: list[ActiveRun]) -> None:
        """Somebody else's events keep coming first to these runs: move them under the lock, where nobody comes in
        between. Without it a stream of signals could make every proposal void."""
        if self.trouble is not None or self.pending:
            for active in contended:
                active.queued = False
                self.wake(active)
            return
        before = self.seen
        try:
            with self.store.write():
                head = self.store.head()
                if head.epoch == self.epoch and head.last_id != self.seen.last_id:
                    changed, self.seen = self.journal.newer(self.seen.last_id), head
                    self._lookout.newcomers(changed)
                self._move_all(contended)
                if not self._commit():
                    raise _NothingStored
        except (_NothingStored, StorageError) as error:
            # nothing of it is in the file: what was moved is forgotten, and done again
            self.seen = before
            for active in {*contended, *self.pending}:
                active.reload()
                active.queued = active in self._dirty  # it was taken from there, and perhaps never came to its turn
                self.wake(active)
            self.pending = []
            if isinstance(error, StorageError):
                self._in_trouble(error)
            return
        self._settle_accounts()

    def _move(self, active: ActiveRun) -> None:
        if active.key in self.broken:
            return
        try:
            active.move()
        except Exception as error:
            if isinstance(error, StorageError) and error.code in _TROUBLES:
                self._in_trouble(error)
                self.wake(active)
                return
            self._break(active, error)

    def _flush(self) -> None:
        """Commit what all runs propose, in one transaction; then let it have effects."""
        while not self._commit():
            if self.trouble is not None or self.stopped.is_set():
                return
        self._settle_accounts()

    def _commit(self) -> bool:
        """Try once; whether there is nothing left to store. Where not, what stood in the way has been dealt with."""
        writing = [active.history for active in self.pending if active.history is not None and active.history.rows]
        if not writing:
            return True
        births = [history for active in self.pending for history in active.newborn]
        try:
            self.seen, changed = self.journal.commit_all(writing, self.seen, births)
        except Conflict as conflict:
            self.seen = conflict.head
            self._reload(conflict.keys)
            self._lookout.newcomers(conflict.changed - conflict.keys)
            return False
        except EpochLost as error:
            self.fail(error)
            return False
        except StorageError as error:
            if error.code != "storage":
                self._in_trouble(error)
            else:
                self._commit_apart()
            return False
        except Exception:
            self._commit_apart()
            return False
        self.transactions += 1
        if changed:
            self._lookout.newcomers(changed)
        return True

    def _settle_accounts(self) -> None:
        """All that is pending is durable."""
        durable, self.pending = self.pending, []
        for active in durable:
            self._after_commit(active)
        self.store.relieve()

    def _commit_apart(self) -> None:
        """The database refused something in the batch for what it is: find the run, and let the others through. Runs
        that are bound to each other stand or fall together."""
        left: list[ActiveRun] = [one for one in self.pending if one.history is not None and one.history.rows]
        while left:
            keys = _bound({left[0].key}, left)
            group: list[ActiveRun] = [active for active in left if active.key in keys]
            left = [active for active in left if active.key not in keys]
            births = [history for active in group for history in active.newborn]
            try:
                histories = [active.history for active in group if active.history is not None]
                self.seen, changed = self.journal.commit_all(histories, self.seen, births)
            except (Conflict, EpochLost):
                continue
            except Exception as error:
                if isinstance(error, StorageError) and error.code != "storage":
                    return
                self.pending = [active for active in self.pending if active not in group]
                for active in group:
                    self._break(active, error)
            else:
                self.transactions += 1
                self._lookout.newcomers(changed)

    def _break(self, active: ActiveRun, error: Exception) -> None:
        """One run that cannot be read or written must not stop the others; doctor finds it, the log names it."""
        log.error("run %s cannot be moved: %s", active.key, error, exc_info=not isinstance(error, VblError))
        self.broken.add(active.key)
        active.reload()

    def _reload(self, keys: set[int]) -> None:
        """Somebody else's events came first: these runs take them in, then what they hold; and those that are bound to
        them with them."""
        keys = _bound(keys, self.pending)
        for active in self.pending:
            if active.key in keys:
                active.reload()
                active.contended_until = self.clock.now() + CONTENDED_US
                self.wake(active)
        self.pending = [active for active in self.pending if active.key not in keys]

    def _after_commit(self, active: ActiveRun) -> None:
        """What the run proposed is durable: now it may have effects."""
        history, record = active.history, active.record
        if history is None or record is None:
            return
        state = history.state
        if record.facts:
            self._narrate(state.run_id, record.facts)
            record.facts.clear()
        if active.consumed:
            active.consumed.clear()
        if active.bound:
            active.bound.clear()
        if active.newborn:
            born, active.newborn = active.newborn, []
            for one in born:
                if one.key is not None and one.state.due_at is not None:
                    self.activate(one.key)
        if active.to_cancel:
            for key in active.to_cancel:
                self._bodies.give_up(active, key)
            active.to_cancel.clear()
        if active.to_start:
            starting, active.to_start = active.to_start, []
            for attempt in starting:
                self._bodies.launch(active, attempt)
        self.listeners.announce(active)
        if history.due_at is not None:
            # what was due in this tick has been moved; what is due later wakes the supervisor
            due_at, history.due_at = history.due_at, None
            if due_at > active.touched_at:
                self._lookout.plan(due_at)
        if state.outcome is not None:
            for key in list(active.in_flight):
                self._bodies.give_up(active, key)  # somebody else ended the run
        if state.queue is not None and self._lookout.admission.concerned(state):
            self._lookout.admission.touch(state.queue)
        if state.outcome is not None or (active.idle and (active.execution is None or self._lookout.crowded)):
            self._lookout.park(active)

    def _narrate(self, run_id: str, facts: list[Fact]) -> None:
        """Tell what was committed. Whoever listens cannot stop the runs: an error ends the telling."""
        try:
            for fact in facts:
                if self._on_fact is not None:
                    self._on_fact(run_id, fact)
        except Exception as error:
            log.warning("what is recorded is not told any more: %s: %s", type(error).__name__, error)
            self._on_fact, self.narrating = None, False

    def _in_trouble(self, error: StorageError) -> None:
        """The store cannot be used: keep what is in memory, start nothing, and come back."""
        busy = error.code == "locked"
        if self.trouble is None and not busy:
            log.warning("%s. Nothing new is started until it can be written again.", error.message)
        if self.trouble is None:
            self._loop.call_later(0.005 if busy else 0.25, self._try_again)
        self.trouble = error

    def _try_again(self) -> None:
        if self.stopped.is_set():
            return
        error, self.trouble = self.trouble, None
        self._flush()
        if self.trouble is None:
            if error is not None and error.code != "locked":
                log.warning("%s can be written again; going on.", self.path)
            self._ticking = True
            self._loop.call_soon(self._tick, context=self._context)

    # What runs and transactions ask of their supervisor ---------------------------------------------------------------

    def land_transaction(self, active: ActiveRun, attempt: Attempt, outcome: Outcome) -> None:
        """A transaction has ended, or was stopped; what it has committed is taken in before anything else."""
        self._lookout.look()
        if attempt.outcome is None:
            attempt.outcome = outcome
            self._bodies.land(active, attempt)
        self._tick_soon()

    def bench_journal(self, store: Store) -> Journal:
        """The door for what transactions write."""
        return self._make_journal(store, self.clock)

    def still_at_work(self, active: ActiveRun, step: str) -> Attempt | None:
        """The attempt of a write that was given up, or whose time is up, and whose body goes on; its run is woken when
        it ends."""
        return self._bodies.at_work(active.key, step)

    def may_begin(self, active: ActiveRun) -> bool:
        """Whether the run need not wait for a place in a queue; if it must, it is woken when it may."""
        assert active.record is not None
        return self._lookout.admission.may_begin(active.key, active.record, self.now())

    def may_start_alone(self, active: ActiveRun, step: StepState) -> bool:
        """Whether a quarantined step may start now; if not, its run is woken when it may."""
        return self.quarantine.enter(active.key, step.key, step.deaths_alone)


class _NothingStored(Exception):
    """What was moved under the lock could not be stored; the reason has been dealt with."""


def _bound(keys: set[int], runs: list[ActiveRun]) -> set[int]:
    """Those keys, and those of the runs that are bound to them, however far."""
    keys = set(keys)
    while more := {key for active in runs if active.key in keys for key in active.bound} - keys:
        keys |= more
    return keys
