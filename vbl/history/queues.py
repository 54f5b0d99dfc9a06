"""Queues: what limits one, and who begins next. Pure: from counts and candidates to a choice.

A queue holds started and unfinished runs of one or more workflows. Who waits begins by priority; within one priority
lanes take turns (the lane that holds fewest places, then the one that waited longest); within a lane who came first.
A lane that may hold no more is passed over, so that it never holds up another. How a file is asked for the counts is
in `store.queues`, when in `engine.admission`.
"""

from __future__ import annotations

import heapq
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from vbl.errors import UsageError
from vbl.history.narration import printable
from vbl.history.reasons import Reason, when
from vbl.history.state import RunState

WINDOWS_US = {"s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "day": 86_400_000_000}
"""The windows of a rate, in microseconds."""
MOST_IN_A_QUEUE = 100_000
"""The highest `concurrency`, and the highest count of a rate."""
MOST_IN_A_LANE = 1_000
"""The highest `key_concurrency`: so far the places that a lane holds are counted."""
_LONG_LANE = 200
"""A longer lane is named by its beginning and its digest."""


class Rate(NamedTuple):
    """`most` may begin within any `window_us` microseconds."""

    most: int
    window_us: int

    @classmethod
    def read(cls, text: object, what: str) -> Self:
        """Read "60/min". Raises UsageError."""
        match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(s|min|h|day)\s*", text) if isinstance(text, str) else None
        if match is None or not 1 <= int(match[1]) <= MOST_IN_A_QUEUE:
            raise UsageError(
                f"{what}={text!r} is no rate of 1 to {MOST_IN_A_QUEUE:,} per s, min, h or day",
                f'For example {what}="60/min"',
            )
        return cls(int(match[1]), WINDOWS_US[match[2]])

    def __str__(self) -> str:
        unit = next(unit for unit, window in WINDOWS_US.items() if window == self.window_us)
        return f"{self.most}/{unit}"

    def next_at(self, begun: Sequence[int], now: int) -> int | None:
        """When one more may begin, where those in `begun` (instants, ascending) did; None for now. What began at s
        counts until s + window, and no longer then."""
        if len(begun) < self.most:
            return None
        free_at = begun[-self.most] + self.window_us
        return free_at if free_at > now else None


class Limits(NamedTuple):
    """What a queue allows; None where there is no limit. Those of keys hold for each lane by itself."""

    concurrency: int | None = None
    key_concurrency: int | None = None
    rate: Rate | None = None
    key_rate: Rate | None = None

    def __str__(self) -> str:
        parts = [
            f"{self.concurrency} at once" if self.concurrency else "",
            str(self.rate or ""),
            f"{self.key_concurrency} at once a key" if self.key_concurrency else "",
            f"{self.key_rate} a key" if self.key_rate else "",
        ]
        return ", ".join(filter(None, parts)) or "no limit"


def options(
    what: str,
    *,
    queue: str | None,
    concurrency: int | None,
    key: str | None,
    key_concurrency: int | None,
    rate: str | None,
    key_rate: str | None,
) -> dict[str, Any]:
    """The queue options of a workflow, checked, as they are recorded: what is not given is left out.

    `what` names the workflow. Raises UsageError for a limit that makes no sense.
    """
    for name, value, most in (
        ("concurrency", concurrency, MOST_IN_A_QUEUE),
        ("key_concurrency", key_concurrency, MOST_IN_A_LANE),
    ):
        if value is not None and (type(value) is not int or not 1 <= value <= most):
            raise UsageError(
                f"{what}: {name}={value!r} must be a whole number, 1 to {most:,}",
                f"For example {name}=2; leave it out for no limit",
            )
    try:
        rates = {
            name: str(Rate.read(value, name))
            for name, value in (("rate", rate), ("key_rate", key_rate))
            if value is not None
        }
    except UsageError as error:
        raise UsageError(f"{what}: {error.message}", error.hint) from None
    for name, value in (("key_concurrency", key_concurrency), ("key_rate", key_rate)):
        if value is not None and key is None:
            raise UsageError(f"{what}: {name} needs a key", f'Name a parameter: key="customer", {name}={value!r}')
    given = {"queue": queue, "concurrency": concurrency, "key": key, "key_concurrency": key_concurrency, **rates}
    return {name: value for name, value in given.items() if value is not None}


def limits_of(options: Iterable[Mapping[str, Any]]) -> Limits:
    """The limits of a queue, from the options of all workflows that share it. Each limit counts that one of them
    gives; a key that nobody limits means one run at a time for each of its values."""
    merged: dict[str, Any] = {}
    for one in options:
        merged.update(one)
    rates = {name: Rate.read(merged[name], name) for name in ("rate", "key_rate") if name in merged}
    key_concurrency = merged.get("key_concurrency")
    if "key" in merged and key_concurrency is None and "key_rate" not in merged:
        key_concurrency = 1
    return Limits(merged.get("concurrency"), key_concurrency, rates.get("rate"), rates.get("key_rate"))


def contradiction(mine: Mapping[str, Any], others: Mapping[str, Any]) -> str | None:
    """The first limit that two workflows of one queue state differently; None where they agree."""
    stated = ("concurrency", "key_concurrency", "rate", "key_rate")
    return next((name for name in stated if name in mine and name in others and mine[name] != others[name]), None)


def lane_of(value: Any) -> str:
    """The lane of a key's recorded value: its JSON text, the same for equal values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if len(text) <= _LONG_LANE:
        return text
    from hashlib import blake2b

    return f"{text[:40]}…{blake2b(text.encode(), digest_size=16).hexdigest()}"


# Who begins -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Use:
    """What a lane has of the queue: the places that it holds, and when its last runs began (ascending)."""

    held: int = 0
    begun: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Lane:
    """Runs of one lane that wait, as (priority, key), those that begin first first. `turn_at` is the instant since
    which the lane waits for its turn."""

    name: str | None
    turn_at: int
    use: Use
    waiting: list[tuple[int, int]]

    def order(self) -> tuple[int, int, int, int]:
        """The lane with the smallest one is next."""
        priority, key = self.waiting[0]
        return -priority, self.use.held, self.turn_at, key


class Choice(NamedTuple):
    """The runs (keys) that begin, in order; and when time alone lets another one begin, where it does."""

    keys: list[int]
    wake_at: int | None


def choose(limits: Limits, now: int, use: Use, lanes: Iterable[Lane], room: int) -> Choice:
    """Who begins now: at most `room`, within the limits. `use` is that of the whole queue, `lanes` come in order.

    Takes no more of `lanes` than it needs. What it is given is changed: a run that begins holds a place from then on.
    """
    free = _free(limits, now, use, room)
    chosen: list[int] = []
    moments: list[int] = []
    heap: list[tuple[tuple[int, int, int, int], Lane]] = []
    source = iter(lanes)
    while len(chosen) < free:
        while len(heap) < free - len(chosen) and (lane := next(source, None)) is not None:
            if _open(limits, now, lane, moments):
                heapq.heappush(heap, (lane.order(), lane))
        if not heap:
            break
        order, lane = heapq.heappop(heap)
        if not _open(limits, now, lane, moments):  # the same lane of another workflow was first
            continue
        if order != lane.order():
            heapq.heappush(heap, (lane.order(), lane))
            continue
        chosen.append(lane.waiting.pop(0)[1])
        lane.turn_at = now
        for one in (lane.use, use):
            one.held += 1
            one.begun.append(now)
        if lane.waiting and _open(limits, now, lane, moments):
            heapq.heappush(heap, (lane.order(), lane))
    if limits.concurrency is not None and use.held >= limits.concurrency:
        return Choice(chosen, None)  # only a place that becomes free lets another one begin
    full_until = limits.rate.next_at(use.begun, now) if limits.rate is not None else None
    if full_until is not None and (heap or moments or next(source, None) is not None):
        moments = [full_until]
    return Choice(chosen, min(moments, default=None))


def _free(limits: Limits, now: int, use: Use, room: int) -> int:
    """How many may begin in the whole queue."""
    free = room if limits.concurrency is None else min(room, limits.concurrency - use.held)
    if limits.rate is None:
        return free
    return min(free, limits.rate.most - sum(1 for at in use.begun if at + limits.rate.window_us > now))


def _open(limits: Limits, now: int, lane: Lane, blocked: list[int]) -> bool:
    """Whether one more of the lane may begin; where only time lets it, the instant joins `blocked`."""
    if lane.name is None:
        return True
    if limits.key_concurrency is not None and lane.use.held >= limits.key_concurrency:
        return False
    at = limits.key_rate.next_at(lane.use.begun, now) if limits.key_rate is not None else None
    if at is not None:
        blocked.append(at)
    return at is None


_STANDS = {"blocked": "blocked", "paused": "paused", "waiting_for_approval": "waits for approval"}
"""Holders of places that give them back when somebody sees to them, and what is said of them."""


# What is said of one that waits -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InTheWay:
    """What keeps a run from its place: runs that hold those which it could have (their statuses by id), `taken` of
    `most`, or a rate that lets it begin at `next_at`; and how many wait before it in its lane."""

    taken: int
    most: int | None
    holders: Mapping[str, str]
    lane: str | None
    rate: Rate | None
    next_at: int | None
    before: int


def place_in(state: RunState, way: InTheWay, now: int) -> Reason:
    """What a run waits for that waits for a place in its queue."""
    told = f"waits for a place in queue {printable(state.queue or '')}"
    if way.lane is not None:
        told += f", lane {printable(way.lane)}"
    if way.most is not None:
        more = f" and {way.taken - len(way.holders)} more" if way.taken > len(way.holders) else ""
        named = [f"{id} ({_STANDS[status]})" if status in _STANDS else id for id, status in way.holders.items()]
        told += f": {way.taken} of {way.most} taken by {', '.join(named)}{more}"
    elif way.rate is not None and way.next_at is not None:
        told += f": rate {way.rate}; next place {when(way.next_at, now)}"
    told += f"; {way.before} before it" if way.before else ""
    hints = [f"vbl why {id}" for id, status in way.holders.items() if status in _STANDS]
    hints.append(f"vbl queues {shlex.quote(state.queue or '')}")
    return Reason("queue", told, way.next_at, "\n".join(hints))


__all__ = [
    "Choice",
    "InTheWay",
    "Lane",
    "Limits",
    "Rate",
    "Use",
    "choose",
    "contradiction",
    "lane_of",
    "limits_of",
    "options",
    "place_in",
]
