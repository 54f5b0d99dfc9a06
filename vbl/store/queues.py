"""What a file says of its queues: who holds places, who waits, which lanes come next. Reads, and decides nothing.

Every question is answered by an index, and for no more rows than the answer needs: a queue in which 100,000 runs wait
is asked as quickly as an empty one. The rows of `lanes` are kept by triggers (migration 0003).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vbl.history.queues import MOST_IN_A_LANE, InTheWay, Lane, Limits, Rate, Use, choose, limits_of
from vbl.history.state import RunState
from vbl.store.payloads import loads
from vbl.store.protocol import Store

_PAGE = 50
_NAMED = 3
"""So many holders of places are named."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue as it stands. `begun` counts those of the rate's window; `next_at` is when a rate lets another one begin
    (microseconds since 1970 UTC), None where none stands in the way; `full` says that only a place which is given back
    lets one that waits begin."""

    name: str
    limits: Limits
    workflows: list[str]
    running: int
    waiting: int
    begun: int
    next_at: int | None
    full: bool


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane of a queue as it stands; `lane` is the JSON text of its key, empty for runs without one. `full` says that
    it may hold no more, or the queue may not."""

    lane: str
    running: int
    waiting: int
    next_at: int | None
    full: bool


def names(store: Store) -> list[str]:
    """The queues in which runs wait."""
    return [name for (name,) in store.all("queues_waiting")]


def workflows(store: Store, queue: str) -> list[str]:
    """The workflows whose runs wait in a queue."""
    return [name for (name,) in store.all("workflows_waiting", (queue, queue))]


def use(store: Store, queue: str, limits: Limits, now: int) -> Use:
    """What is taken of a queue, as far as its limits ask."""
    held = _count(store, "held", (queue, limits.concurrency)) if limits.concurrency is not None else 0
    return Use(held, _begun(store, "begun", (queue,), limits.rate, now))


def lane_use(store: Store, queue: str, lane: str | None, limits: Limits, now: int) -> Use:
    """What a lane has of a queue."""
    if lane is None:
        return Use()
    held = _count(store, "held_in_lane", (queue, lane, MOST_IN_A_LANE))
    return Use(held, _begun(store, "begun_in_lane", (queue, lane), limits.key_rate, now))


def _count(store: Store, query: str, args: tuple[str | int | None, ...]) -> int:
    row = store.one(query, args)
    return row[0] if row is not None else 0


def _begun(store: Store, query: str, about: tuple[str, ...], rate: Rate | None, now: int) -> list[int]:
    if rate is None:
        return []
    rows = store.all(query, (*about, now - rate.window_us, rate.most))
    return [at for (at,) in reversed(rows)]


def lanes(
    store: Store,
    queue: str,
    waiting: Collection[str],
    limits: Limits,
    now: int,
    *,
    most: int,
    besides: Mapping[int, str | None],
    uses: dict[str | None, Use],
) -> Iterator[Lane]:
    """The lanes of these workflows in the order of their turns, `most` runs of each at most; read when asked for.

    `besides` maps runs (keys) that wait no more, though the file does not know, to the lanes (empty: none) in which
    they take a place; None where they take none. `uses` is filled: what each lane has, with those of `besides`.
    """
    taken = Counter(besides.values())
    lines = [_line(store, queue, workflow, limits) for workflow in waiting]
    for _, _, turn_at, _, workflow, name in heapq.merge(*lines):
        lane = name or None
        mine, cap = taken[name], most
        if lane is not None and (limits.key_concurrency or limits.key_rate):
            cap = min(most, limits.key_concurrency or most, limits.key_rate.most if limits.key_rate else most)
        rows = store.all("waiting_in_lane", (queue, lane, workflow, cap + mine + taken[None]))
        runs = [(priority, key) for priority, key in rows if key not in besides][:cap]
        if not runs:
            continue
        if lane not in uses:
            own = uses[lane] = lane_use(store, queue, lane, limits, now)
            own.held += mine
            own.begun += [now] * mine
        yield Lane(lane, turn_at, uses[lane], runs)


def _line(store: Store, queue: str, workflow: str, limits: Limits) -> Iterator[tuple[int, int, int, int, str, str]]:
    """The lanes of one workflow in order: (-priority, held, turn_at, head, workflow, lane). Those that hold what a key
    may are left out."""
    most = limits.key_concurrency or MOST_IN_A_LANE + 1
    for (priority,) in store.all("priorities_waiting", (queue, workflow, queue, workflow)):
        after = (-1, -1, -1)
        while page := store.all("lanes_after", (queue, workflow, priority, most, *after, _PAGE)):
            for held, turn_at, head, name in page:
                yield (-priority, held, turn_at, head, workflow, name)
            after = page[-1][:3]


# For people -------------------------------------------------------------------------------------------------------


def declared(store: Store) -> dict[str, dict[str, dict[str, Any]]]:
    """The options of the workflows that the last supervisor had, by queue and workflow."""
    row = store.one("supervisor")
    known: list[str] = loads(row[2]) if row is not None and row[2] else []
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for workflow, text, _ in store.all("definitions_latest"):
        options = loads(text)
        if workflow in known and "queue" in options:
            found.setdefault(options["queue"], {})[workflow] = options
    return found


def states(store: Store, now: int) -> list[QueueState]:
    """Every queue that the code has, or in which a run is."""
    known = declared(store)
    found: list[QueueState] = []
    held = {name for (name,) in store.all("queues_held")}
    for name in sorted({*known, *names(store), *held}):
        limits = limits_of(known.get(name, {}).values())
        whole, queued = use(store, name, limits, now), workflows(store, name)
        running, waiting, begun = _count(store, "held", (name, -1)), _count(store, "waiting", (name,)), len(whole.begun)
        inside = sorted({*known.get(name, {}), *queued})
        next_at = limits.rate.next_at(whole.begun, now) if limits.rate is not None else None
        full = limits.concurrency is not None and running >= limits.concurrency
        if waiting and not full and next_at is None:
            ready = choose(limits, now, whole, lanes(store, name, queued, limits, now, most=1, besides={}, uses={}), 1)
            next_at, full = ready.wake_at, not ready.keys and ready.wake_at is None
        found.append(QueueState(name, limits, inside, running, waiting, begun, next_at, full))
    return found


def lane_states(store: Store, queue: str, now: int, limit: int) -> list[LaneState]:
    """The lanes of a queue in which a run waits or is under way, by name, `limit` at most."""
    limits = limits_of(declared(store).get(queue, {}).values())
    running = {lane or "": count for lane, count in store.all("lanes_held", (queue,))}
    waiting = {lane or "": count for lane, count in store.all("lanes_waiting", (queue,))}
    full = limits.concurrency is not None and sum(running.values()) >= limits.concurrency
    found: list[LaneState] = []
    for lane in sorted({*running, *waiting})[:limit]:
        own = lane_use(store, queue, lane or None, limits, now)
        next_at = limits.key_rate.next_at(own.begun, now) if limits.key_rate is not None and lane else None
        held = running.get(lane, 0)
        mine = bool(lane) and limits.key_concurrency is not None and held >= limits.key_concurrency
        found.append(LaneState(lane, held, waiting.get(lane, 0), next_at, mine or full))
    return found


def in_the_way(store: Store, state: RunState, now: int) -> InTheWay:
    """What keeps this run, which waits for a place, from it."""
    queue, lane = state.queue or "", state.lane
    limits = limits_of(declared(store).get(queue, {}).values())
    whole, own = use(store, queue, limits, now), lane_use(store, queue, lane, limits, now)
    row = store.one("waiting_before", (queue, lane, state.priority, queue, lane, state.priority, state.created_at))
    before = row[0] if row is not None else 0
    if lane is not None and limits.key_concurrency is not None and own.held >= limits.key_concurrency:
        holders = _named(store.all("holders_in_lane", (queue, lane, _NAMED)))
        return InTheWay(own.held, limits.key_concurrency, holders, lane, None, None, before)
    if limits.concurrency is not None and whole.held >= limits.concurrency:
        holders = _named(store.all("holders", (queue, _NAMED)))
        return InTheWay(_count(store, "held", (queue, -1)), limits.concurrency, holders, None, None, None, before)
    for rate, begun, where in ((limits.rate, whole.begun, None), (limits.key_rate, own.begun, lane)):
        if rate is not None and (next_at := rate.next_at(begun, now)) is not None:
            return InTheWay(0, None, {}, where, rate, next_at, before)
    return InTheWay(0, None, {}, lane, None, None, before)


def _named(rows: list[tuple[Any, ...]]) -> dict[str, str]:
    """Holders of places: their statuses by id."""
    return {row[1]: row[3] for row in rows}


__all__ = [
    "LaneState",
    "QueueState",
    "declared",
    "in_the_way",
    "lane_states",
    "lane_use",
    "lanes",
    "names",
    "states",
    "use",
    "workflows",
]
