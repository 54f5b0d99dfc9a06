"""When a schedule fires, and what becomes of an instant that is due: pure, from a cron line, a time zone and instants.

The line is read by `cronsim`, the zones come from the system's time zone database. An instant of a wall clock that the
clock jumps over comes when it has jumped; one that comes twice in autumn is taken the first time, unless the line
counts through all hours or minutes (a star there): then both. What happened before is told by the history of the
schedule's run, never computed anew; the rules of a zone may have changed since.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict

from vbl.errors import UsageError
from vbl.history.reasons import SCHEDULE

Overlap = Literal["skip", "queue", "replace"]
Missed = Literal["skip", "once", "all"]

CATCH_UP = 1_000
"""So many missed instants are made up for by `missed="all"`: the latest."""
COUNTED = 200_000
"""So many missed instants are counted; beyond that the number that is recorded is a lower bound."""
_LATELY_US = 3_600_000_000
"""What is due within the last hour is looked at one by one, however many there were before."""
_LONGEST_LINE = 200
_US = 1_000_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EXAMPLES = (
    'Five fields: minute, hour, day, month, weekday; "0 9 * * 1-5" is nine on working days. Six begin with the second'
)


class Spec(BaseModel):
    """What a schedule is: which workflow it starts, when, and what it does where two runs would meet or one was missed.

    `input` is the recorded form of the arguments, by parameter name; `grace_us` is in microseconds: so late may a run
    be and still count as on time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    workflow: str
    cron: str
    tz: str = "UTC"
    overlap: Overlap = "skip"
    missed: Missed = "skip"
    grace_us: int = 60 * _US
    input: dict[str, Any] = {}
    priority: int = 0
    tags: list[str] = []


class Due(BaseModel):
    """What a look at the plan found: the instants up to now, the earliest first, of which the `more` before them are
    only counted; the first of all; and the next one, None where there is none. Microseconds since 1970 UTC."""

    instants: list[int] = []
    more: int = 0
    first: int | None = None
    next_at: int | None = None


class Word(BaseModel):
    """What a person or a program says to a schedule: be as `spec` says from now on, or start a run now."""

    model_config = ConfigDict(extra="forbid")

    do: Literal["change", "run"]
    spec: Spec | None = None
    by: str | None = None


class Entry(BaseModel):
    """The last fire, or the last skip: the instant that was planned, when it was dealt with, and why so. `run` is the
    run that was started; `count` instants from `due_at` on were skipped."""

    due_at: int
    at: int
    reason: str
    run: str | None = None
    late_us: int = 0
    count: int = 1


class Book(BaseModel):
    """What the run of a schedule remembers; its variables. All up to `planned_at` has been dealt with; `waiting` are
    the instants whose runs wait for their turn, with the reason, and `going` the runs that are going on."""

    spec: Spec | None = None
    planned_at: int = 0
    next_at: int | None = None
    waiting: list[tuple[int, str]] = []
    going: list[str] = []
    entries: int = 0
    fired: Entry | None = None
    skipped: Entry | None = None


SIGNAL = "schedule"
"""The name of the signal that carries a Word."""
WORKFLOW = SCHEDULE
"""The name of the workflow whose runs are the schedules."""


class Act(StrEnum):
    """What becomes of an instant."""

    FIRE = "fire"
    REPLACE = "replace"
    WAIT = "wait"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the instant `due_at`, and why; of `count` instants from it on where they are skipped together."""

    act: Act
    due_at: int
    reason: str
    count: int = 1


# When --------------------------------------------------------------------------------------------------------------


def check_line(line: str) -> str:
    """The cron line, its blanks in order. Raises UsageError for one that cannot be read, or that never comes."""
    if not isinstance(line, str) or not line.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"{line!r} is no cron line", _EXAMPLES, code="bad_cron")
    line = " ".join(line.split())
    try:
        if len(line) > _LONGEST_LINE:
            raise CronSimError("Too long")
        comes = next(_ticks(_fields(line), _EPOCH), None)
    except CronSimError as error:
        raise UsageError(
            f"{line[:_LONGEST_LINE]!r} is no cron line: {str(error).lower()}", _EXAMPLES, code="bad_cron"
        ) from None
    if comes is None:
        raise UsageError(f"{line!r} never comes", _EXAMPLES, code="bad_cron")
    return line


def check_zone(name: str | zoneinfo.ZoneInfo) -> str:
    """The name of a time zone. Raises UsageError where the system does not know it, naming one that is near."""
    key = name.key if isinstance(name, zoneinfo.ZoneInfo) else name
    try:
        return _zone(key).key
    except UsageError as error:
        from difflib import get_close_matches

        near = get_close_matches(str(key), zoneinfo.available_timezones(), 1)
        raise UsageError(error.message, f'Did you mean "{near[0]}"?' if near else error.hint, code="bad_zone") from None


def _zone(key: object) -> zoneinfo.ZoneInfo:
    try:
        if isinstance(key, str):
            return zoneinfo.ZoneInfo(key)
    except (KeyError, ValueError, OSError):
        pass  # said below: what is wrong with a name differs between versions of Python
    raise UsageError(
        f"there is no time zone {key!r}",
        'Use a name like "Europe/Berlin" or "UTC"; a system without time zones needs: pip install tzdata',
        code="bad_zone",
    )


def instants(line: str, tz: str, after: int) -> Iterator[int]:
    """The instants of a line behind `after`, each once, in order. Raises UsageError for an unknown zone."""
    zone = _zone(tz)
    start = (_EPOCH + datetime.timedelta(microseconds=after)).astimezone(zone)
    last = after
    for at in _ticks(_fields(line), start):
        if at > last:  # what the clock jumped over comes at one instant; what comes twice, the first time
            last = at
            yield at


def wall(at: int, tz: str) -> datetime.datetime:
    """An instant on the clock of a time zone."""
    return (_EPOCH + datetime.timedelta(microseconds=at)).astimezone(_zone(tz))


def upcoming(line: str, tz: str, after: int, count: int) -> list[int]:
    """The next instants, at most `count` of them."""
    return [at for at, _ in zip(instants(line, tz, after), range(count), strict=False)]


def _fields(line: str) -> list[str]:
    return _ALIASES.get(line.lower(), line).split()


def _ticks(fields: list[str], start: datetime.datetime) -> Iterator[int]:
    """What the line says from `start` on; a few before it, and repeated ones, are among them.

    cronsim minds daylight saving in lines of five fields only, so the seconds of a fixed time are put on here.
    """
    seconds = [0]
    if len(fields) == 6 and not fields[1].startswith("*") and not fields[2].startswith("*"):
        seconds = sorted(CronSim(" ".join(fields), _EPOCH).seconds)
        fields = fields[1:]
        start = (start.astimezone(datetime.UTC) - datetime.timedelta(minutes=1)).astimezone(start.tzinfo)
    ticks = CronSim(" ".join(fields), start)
    while True:
        try:
            tick = next(ticks)
        except (StopIteration, OverflowError):
            return  # not within fifty years, or beyond the year 9999
        at = round((tick - _EPOCH) / datetime.timedelta(microseconds=1))
        yield from (at + second * _US for second in seconds)


def look(line: str, tz: str, after: int, now: int) -> Due:
    """What is due behind `after` and up to `now`, and what comes next."""
    latest = deque[int](maxlen=CATCH_UP)
    count, first = 0, None
    coming = instants(line, tz, after)
    while (at := next(coming, None)) is not None and at <= now:
        count, first = count + 1, at if first is None else first
        latest.append(at)
        if count == COUNTED:
            coming = instants(line, tz, max(at, now - _LATELY_US))
    return Due(instants=list(latest), more=count - len(latest), first=first, next_at=at)


# What --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Stand:
    """How a schedule stands: whether a run of it is going on, and how many wait for their turn."""

    busy: bool = False
    waiting: int = 0


def verdicts(spec: Spec, due: Due, now: int, stand: Stand) -> Iterator[Verdict]:
    """What becomes of the instants that are due. `stand` is asked before each, and is to be kept by who acts on them.

    An instant is missed if more than the time of grace has passed since. `once`: one run stands for all that were
    missed, and the one that is on time is that run where there is one. `all`: one after the other.
    """
    missed = [at for at in due.instants if now - at > spec.grace_us]
    timely = due.instants[len(missed) :]
    first, count = due.first, len(missed) + due.more
    if spec.missed == "all":
        if due.more and first is not None:
            yield Verdict(Act.SKIP, first, "too many missed", due.more)
        for at in missed:
            yield Verdict(Act.WAIT if stand.busy or stand.waiting else Act.FIRE, at, "missed")
    elif count and first is not None:
        made_up = spec.missed == "once" and not timely
        if count > made_up:
            yield Verdict(Act.SKIP, first, "missed", count - made_up)
        if made_up:
            yield meet(spec, missed[-1], stand, "missed")
    if spec.overlap == "replace" and len(timely) > 1:
        yield Verdict(Act.SKIP, timely[0], "the next one is due too", len(timely) - 1)
        timely = timely[-1:]
    for at in timely:
        yield meet(spec, at, stand, "on time")


def meet(spec: Spec, at: int, stand: Stand, reason: str) -> Verdict:
    """What becomes of one instant where a run may be going on."""
    if not stand.busy and not stand.waiting:
        return Verdict(Act.FIRE, at, reason)
    match spec.overlap:
        case "replace":
            return Verdict(Act.REPLACE, at, reason)
        case "queue" if not stand.waiting:
            return Verdict(Act.WAIT, at, reason)
        case "queue":
            return Verdict(Act.SKIP, at, "one waits already")
        case _:
            return Verdict(Act.SKIP, at, "the one before still runs")
