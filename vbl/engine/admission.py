"""Who may begin: a supervisor's door to its queues.

All counts come from the file, so that they hold after a crash and when the limits in the code change; in memory is
only who was let in and has not begun on record. A run that waits is passed over by everything else: it is no due run.
What the limits allow is decided by `history.queues.choose`, what they are is said by the workflows in the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from vbl.engine import circles
from vbl.engine.definitions import REGISTRY
from vbl.history import transitions
from vbl.history.events import RunQueued, RunResumed
from vbl.history.queues import Lane, Limits, Use, choose, limits_of
from vbl.history.state import Status
from vbl.store import queues

if TYPE_CHECKING:
    from vbl.engine.record import Record
    from vbl.engine.supervisor import Supervisor
    from vbl.history.state import RunState

_FEW = 100
"""Of so many changed runs each one's queue is looked up; for more, all queues are looked at."""


class _Place(NamedTuple):
    queue: str
    lane: str | None


class Admission:
    """Of one supervisor, on its thread. `wake_at` is when time alone may let another run begin."""

    def __init__(self, supervisor: Supervisor, soon: Callable[[], object]) -> None:
        self._supervisor = supervisor
        self._soon = soon
        self._let_in: dict[int, _Place] = {}
        self._touched: set[str] = set()
        self._all = True
        self._wakes: dict[str, int] = {}
        self._families = {*queues.names(supervisor.store)}

    @property
    def pending(self) -> bool:
        """Whether there are queues to be looked at."""
        return self._all or bool(self._touched)

    @property
    def wake_at(self) -> int | None:
        """When time alone may let another run begin."""
        return min(self._wakes.values(), default=None)

    def touch(self, queue: str | None = None) -> None:
        """Something has changed in this queue, or may have in all of them."""
        if queue is None:
            self._all = True
        else:
            self._touched.add(queue)
        self._soon()

    def concerned(self, state: RunState) -> bool:
        """Whether what was stored of a run may change who begins in its queue, or that somebody ever will."""
        if state.outcome is not None or state.waits_for_place:
            return True
        return state.queue in self._families and state.status is Status.WAITING

    def newcomers(self, keys: Iterable[int]) -> None:
        """Others appended to these runs: look at their queues."""
        few = list(keys)
        if len(few) > _FEW:
            self._all = True
            return
        for key in few:
            row = self._supervisor.store.one("queue_of", (key,))
            if row is not None and row[0] is not None:
                self._touched.add(row[0])

    def admit(self, now: int, room: int) -> list[int]:
        """The runs (keys) that begin now, at most `room` of them."""
        looking = self._touched | {queue for queue, at in self._wakes.items() if at <= now}
        if self._all:
            looking |= {*queues.names(self._supervisor.store)}
            self._wakes.clear()
        self._all, self._touched = False, set()
        if not looking:
            return []
        self._review()
        admitted: list[int] = []
        for queue in sorted(looking):
            self._wakes.pop(queue, None)
            admitted += self._admit(queue, now, room - len(admitted))
        return admitted

    def _admit(self, queue: str, now: int, room: int) -> list[int]:
        waiting = [name for name in queues.workflows(self._supervisor.store, queue) if name in REGISTRY]
        if not waiting:
            self._families.discard(queue)
            return []
        if room <= 0:
            self._touched.add(queue)
            return []
        members = {name: one.options for name, one in list(REGISTRY.items()) if one.options.get("queue") == queue}
        # those that the code has taken out of this queue are let through: they move on to where they belong
        strays = [name for name in waiting if name not in members]
        chosen = self._choose(queue, strays, Limits(), now, room) if strays else []
        own = [name for name in waiting if name in members]
        if own:
            limits = limits_of(members.values())
            begin = self._choose(queue, own, limits, now, room - len(chosen))
            chosen += begin
            if not begin and queue in self._families:
                self._untie(queue, limits)
        if len(chosen) >= room:
            self._touched.add(queue)
        return chosen

    def _choose(self, queue: str, waiting: list[str], limits: Limits, now: int, room: int) -> list[int]:
        store = self._supervisor.store
        besides = {key: place.lane or "" if place.queue == queue else None for key, place in self._let_in.items()}
        besides |= dict.fromkeys(self._supervisor.broken)
        inside = sum(1 for place in self._let_in.values() if place.queue == queue)
        lanes_of: dict[int, str | None] = {}
        with store.read():
            use: Use = queues.use(store, queue, limits, now)
            use.held += inside
            use.begun += [now] * inside
            uses: dict[str | None, Use] = {}
            free = room if limits.concurrency is None else limits.concurrency - use.held
            most = max(1, min(room, free, limits.rate.most if limits.rate is not None else room))
            found = queues.lanes(store, queue, waiting, limits, now, most=most, besides=besides, uses=uses)

            def noted() -> Iterable[Lane]:
                for lane in found:
                    lanes_of.update((key, lane.name) for _, key in lane.waiting)
                    yield lane

            choice = choose(limits, now, use, noted(), room)
        if choice.wake_at is not None:
            self._wakes[queue] = choice.wake_at
        self._let_in.update((key, _Place(queue, lanes_of[key])) for key in choice.keys)
        return choice.keys

    def _untie(self, queue: str, limits: Limits) -> None:
        """Block a run that stands in its own way, where there is one: then somebody hears of it."""
        found = circles.deadlock(self._supervisor.journal, queue, limits)
        if found is None:
            return
        run = self._supervisor.member(found[0])
        if run.idle and not run.queued:  # else it moves just now, and the queue is looked at again
            run.stand_still(found[1])
            self._supervisor.wake(run)

    def _review(self) -> None:
        """Forget those that have begun on record, and those that cannot."""
        for key in list(self._let_in):
            run = self._supervisor.runs.get(key)
            if run is None or key in self._supervisor.broken:
                del self._let_in[key]
            elif run.history is not None and not run.history.rows and not run.queued:
                state = run.history.state
                if not state.waits_for_place or state.finished or state.paused or state.blocked is not None:
                    del self._let_in[key]

    def may_begin(self, key: int, record: Record, now: int) -> bool:
        """Whether a run need not wait for a place. Where the queue of its workflow was not known at its creation, or
        is another one now, that is recorded; so is the end of a run whose deadline passes while it waits."""
        state = record.state
        workflow = REGISTRY.get(state.workflow)
        if workflow is None or (state.started_at is not None and not state.waits_for_place):
            return True
        late = state.deadline is not None and state.deadline <= now
        if state.started_at is None:
            queue, lane = workflow.place(state.input)
            if queue is None:
                return True
            if late and state.cancel is None:
                for payload in transitions.cancel(state, transitions.DEADLINE, "the run's deadline has passed"):
                    record.payload(now, payload)
                return False
            if (queue, lane) != (state.queue, state.lane):
                record.payload(now, RunQueued(queue=queue, lane=lane))
                self._let_in.pop(key, None)
                self._ask_for(record.state)
                return False
        if late or key in self._let_in:
            return True
        if state.blocked is not None:
            reason = "another version of the code is there; it waits for a place"
            record.payload(now, RunResumed(epoch=self._supervisor.epoch, reason=reason, unblocked=True))
        self._ask_for(state)
        return False

    def _ask_for(self, state: RunState) -> None:
        """The run waits for a place. Where it is a child, those who hold them may wait for it."""
        if state.parent is not None and state.queue is not None:
            self._families.add(state.queue)
        self.touch(state.queue)
