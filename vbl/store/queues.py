"""What a file says of its queues: who holds places, who waits, which lanes come next. Reads, and decides nothing.

Every question is answered by an index, and for no more rows than the answer needs: a queue in which 100,000 runs wait
is asked as quickly as an empty one. The rows of `lanes` are kept by triggers (migration 0003).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from vbl.history.queues import MOST_IN_A_LANE, Lane, Limits, Rate, Use
from vbl.store.payloads import loads
from vbl.store.protocol import Store

_PAGE = 50


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue as it stands. `begun` counts those of the rate's window; `next_at` is when the rate lets another one
    begin (microseconds since 1970 UTC), None where it does not stand in the way."""

    name: str
    limits: Limits
    workflows: list[str]
    running: int
    waiting: int
    begun: int
    next_at: int | None


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane of a queue as it stands; `lane` is the JSON text of its key, empty for runs without one."""

    lane: str
    running: int
    waiting: int
    next_at: int | None


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


def declared(store: Store) -> dict[str, dict[str, dict[str, str | int]]]:
    """The options of the workflows that the last supervisor had, by queue and workflow."""
    row = store.one("supervisor")
    known: list[str] = loads(row[2]) if row is not None and row[2] else []
    found: dict[str, dict[str, dict[str, str | int]]] = {}
    for workflow, text, _ in store.all("definitions_latest"):
        options = loads(text)
        if workflow in known and "queue" in options:
            found.setdefault(options["queue"], {})[workflow] = options
    return found


__all__ = ["LaneState", "QueueState", "declared", "lane_use", "lanes", "names", "use", "workflows"]
