"""What one run's motion does to its parent and its children, in the supervisor's memory.

The end of a child and the event that tells its parent are proposed together; so are the end of a parent, or its giving
a child up, and the cancel of the child. They are stored in one transaction or not at all: runs that are `bound` to each
other are loaded again together where somebody else's event came first to one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from vbl import ids
from vbl.engine import children
from vbl.history import transitions
from vbl.history.kin import left_behind, told
from vbl.history.state import Status
from vbl.store.journal import Journal, draft

if TYPE_CHECKING:
    from vbl.engine.activity import ActiveRun
    from vbl.engine.advance import Ask, Execution
    from vbl.engine.record import Record
    from vbl.history.events import Payload


class Household(Protocol):
    """What it needs of the supervisor."""

    journal: Journal
    runs: dict[int, ActiveRun]
    pending: list[ActiveRun]

    def now(self) -> int:
        """The instant of the tick."""
        ...

    def member(self, key: int) -> ActiveRun:
        """The run of that key in memory; it is loaded where it is not."""
        ...

    def wake(self, active: ActiveRun) -> None:
        """Move this run in the next tick."""
        ...


class Kinship:
    """Of one supervisor, on its thread."""

    def __init__(self, household: Household) -> None:
        self._house = household

    # Beginning -----------------------------------------------------------------------------------------------------

    def start(self, active: ActiveRun, record: Record, execution: Execution, ask: Ask) -> list[str]:
        """The code starts a child; or a retry finds the one that it had started before, and it is used again: its call
        comes back."""
        payload = ask.payload or {}
        before = record.state.children.get(payload["call"])
        record.asked(self._house.now(), ask)
        if before is not None and before.id == payload["child"]:
            return [before.call]
        self._born(active, execution, payload)
        return []

    def start_again(self, active: ActiveRun, record: Record, execution: Execution, call: str) -> None:
        """A child that was cancelled because its parent had failed: the retry starts another in its place."""
        order = execution.orders.get(call)
        if order is None:
            return
        before = record.state.children[call]
        payload: dict[str, Any] = {
            "v": 1, "call": call, "child": ids.run_id(self._house.journal.clock), "workflow": before.workflow,
            "on_close": before.on_close, "input": before.input,
        }  # fmt: skip
        record.append("CHILD_STARTED", self._house.now(), payload)
        self._born(active, execution, payload)

    def _born(self, active: ActiveRun, execution: Execution, payload: dict[str, Any]) -> None:
        """Propose the beginning of the child's own history."""
        order = execution.orders[payload["call"]]
        item = children.created(execution, payload, self._house.now(), order)
        active.newborn.append(self._house.journal.unborn(item, order.blobs))

    # Ending --------------------------------------------------------------------------------------------------------

    def ended(self, active: ActiveRun) -> None:
        """The run has ended: its parent is told, and the children that it takes with it are cancelled."""
        state = active.state
        if state.parent is not None:
            parent = self._relative(active, state.parent)
            self._hear(active, parent, told(parent.state, state))
        for child in left_behind(state):
            self.cancel(active, child)

    def cancel(self, active: ActiveRun, child_id: str) -> None:
        """The run gives a child up, or ends before it: the child's cancel is asked for."""
        until = self._house.now() + transitions.CLEAN_UP_US
        unborn = next((one for one in active.newborn if one.state.run_id == child_id), None)
        if unborn is not None:
            for payload in transitions.cancel(unborn.state, transitions.PARENT, None, until):
                unborn.propose(*draft(self._house.now(), payload))
            return
        child = self._relative(active, child_id)
        state = child.state
        if state.finished or state.cancel is not None:
            return
        self._hear(active, child, transitions.cancel(state, transitions.PARENT, None, until))
        if child.state.finished:
            self.ended(child)

    def reunite(self, active: ActiveRun, record: Record, execution: Execution, call: str) -> None:
        """A retry uses a child again: where that has ended meanwhile, its parent is told; one that the failure of its
        parent has taken with it is started anew."""
        child = self._relative(active, record.state.children[call].id).state
        taken = child.cancel is not None and child.cancel["actor"] == transitions.PARENT
        if taken and child.status is not Status.COMPLETED:
            self.start_again(active, record, execution, call)
        elif child.finished:
            active.hear(told(active.state, child))

    def _relative(self, active: ActiveRun, run_id: str) -> ActiveRun:
        """Another run in memory. Where something of it is proposed and not stored, what follows from it for `active`,
        be it nothing, is only true together with that: the two are bound."""
        relative = self._house.member(self._house.journal.key_of(run_id))
        if relative.loaded().history.rows:
            self._bind(active, relative)
        return relative

    def _hear(self, active: ActiveRun, relative: ActiveRun, payloads: list[Payload]) -> None:
        if payloads:
            relative.hear(payloads)
            self._bind(active, relative)

    def _bind(self, active: ActiveRun, relative: ActiveRun) -> None:
        relative.bound.add(active.key)
        active.bound.add(relative.key)
        if relative not in self._house.pending:
            self._house.pending.append(relative)
        self._house.wake(relative)
