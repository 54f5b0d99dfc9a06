"""What one run's motion does to its parent and its children, in the supervisor's memory.

The end of a child and the event that tells its parent are proposed together; so are the end of a parent, or its giving
a child up, and the cancel of the child. They are stored in one transaction or not at all: runs that are `bound` to each
other are loaded again together where somebody else's event came first to one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vbl.engine.activity import ActiveRun
from vbl.history import transitions
from vbl.history.kin import left_behind, told
from vbl.history.state import RunState
from vbl.store.journal import Journal

if TYPE_CHECKING:
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
            for payload in transitions.cancel(unborn.state, "parent", None, until):
                active.propose_birth(unborn, payload)
            return
        child = self._relative(active, child_id)
        state = child.state
        if state.finished or state.cancel is not None:
            return
        self._hear(active, child, transitions.cancel(state, "parent", None, until))
        if child.state.finished:
            self.ended(child)

    def reunite(self, active: ActiveRun, child_id: str) -> None:
        """A retry uses a child again that it had made void: where that has ended meanwhile, its parent is told."""
        child: RunState = self._relative(active, child_id).state
        if child.finished:
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
