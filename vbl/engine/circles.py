"""Runs that stand in their own way: they hold every place of a queue, or of a lane, and wait for nothing but children
that need such a place.

Nothing inside the file ever ends that, so one of them is blocked and says so; the others go on as soon as a place is
free. Looked at are queues in which a child of somebody waits, and what is found is held against the histories.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from vbl.errors import WorkflowError
from vbl.history.queues import Limits
from vbl.history.state import Status
from vbl.store.journal import Journal

MOST = 200
"""More holders of places, or children of one run, are not looked at."""
_DEEPEST = 20
"""Nor is a child so many levels below a holder."""


class _Run(NamedTuple):
    key: int
    id: str
    workflow: str
    status: str
    wake_at: int | None
    queue: str | None
    lane: str | None


class _Place(NamedTuple):
    """What is full: a queue, or the one lane of it; and how many places it has."""

    queue: str
    lane: str | None
    most: int


def deadlock(journal: Journal, queue: str, limits: Limits) -> tuple[int, WorkflowError] | None:
    """The run (its key) that is to be blocked, since it and the other holders of the places wait for each other, and
    what it is told. None where one of them can go on."""
    if limits.key_concurrency is None:
        first = journal.store.one("holders", (queue, 1))
        if limits.concurrency is None or first is None or _Run(*first).status != Status.WAITING:
            return None  # so it is in almost every queue, and this is asked whenever nobody may begin
    holders = [_Run(*row) for row in journal.store.all("holders", (queue, MOST))]
    for place, inside in _full(queue, limits, holders):
        search = _Search(journal, place)
        if all(search.stands(run, 0) for run in inside) and search.holds():
            key, child = max(search.asking.items())
            return key, _told(place, journal.load(key)[0].state.run_id, child)
    return None


def _full(queue: str, limits: Limits, holders: list[_Run]) -> list[tuple[_Place, list[_Run]]]:
    """The whole queue, and each of its lanes, with the runs in it, where they have no place left."""
    found: list[tuple[_Place, list[_Run]]] = []
    if limits.concurrency is not None and limits.concurrency <= len(holders) < MOST:
        found.append((_Place(queue, None, limits.concurrency), holders))
    lanes: defaultdict[str, list[_Run]] = defaultdict(list)
    for run in holders:
        if run.lane is not None:
            lanes[run.lane].append(run)
    most = limits.key_concurrency or MOST
    return found + [(_Place(queue, lane, most), inside) for lane, inside in lanes.items() if most <= len(inside)]


class _Search:
    """Down from the holders of a place. `asking` are the runs (keys) with a child that waits for one."""

    def __init__(self, journal: Journal, place: _Place) -> None:
        self.asking: dict[int, _Run] = {}
        self._journal = journal
        self._place = place
        self._known: dict[int, set[str]] = {}

    def stands(self, run: _Run, depth: int) -> bool:
        """Whether the run waits for children of which none can begin or go on, as far as their rows tell."""
        if run.key in self._known:
            return True
        if run.status != Status.WAITING or run.wake_at is not None or depth > _DEEPEST:
            return False
        rows = self._journal.store.all("newest_children", (run.id, MOST))
        children = [child for child in (_Run(*row) for row in rows) if not Status(child.status).finished]
        self._known[run.key] = {child.id for child in children}
        for child in children:
            if self._waits_here(child):
                self.asking[run.key] = child
            elif not self.stands(child, depth + 1):
                return False
        return bool(children)

    def _waits_here(self, child: _Run) -> bool:
        same = child.queue == self._place.queue and self._place.lane in (None, child.lane)
        return same and child.status == Status.QUEUED and child.wake_at is None

    def holds(self) -> bool:
        """Whether the histories say so too: a signal that may come, say, is not told by a row."""
        return bool(self.asking) and all(self._rests(key, children) for key, children in self._known.items())

    def _rests(self, key: int, children: set[str]) -> bool:
        state = self._journal.load(key)[0].state
        return not state.open_waits and {state.children[call].id for call in state.open_children} <= children


def _told(place: _Place, run_id: str, child: _Run) -> WorkflowError:
    what = f"queue {place.queue}" + (f", lane {place.lane}" if place.lane is not None else "")
    others = "" if place.most == 1 else f", and all {place.most} are held by runs that wait like this"
    return WorkflowError(
        f"deadlock: it holds {'the' if place.most == 1 else 'a'} place in {what}, and waits for its child "
        f"{child.workflow} ({child.id}), which waits for {'it' if place.most == 1 else 'one'}{others}",
        f"Give {child.workflow} a queue of its own, or the queue more places, start the supervisor with that, and: "
        f"vbl retry {run_id}. Or give the place back: vbl cancel {run_id}",
        code="queue_deadlock",
    )
