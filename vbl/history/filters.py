"""The words by which runs are looked for: `status:failed workflow:triage cost:>0.1 since:1d "529 overloaded"`.

`parse(text) -> Filter` and `str(filter)` are each other's inverse: the page keeps a filter in its URL, the terminal
takes it as arguments, and both mean the same. Pure: knows neither the clock nor the file; what finds the runs is
`vbl.finding`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from vbl.clock import EPOCH, SECOND
from vbl.errors import UsageError
from vbl.history.state import Status

PRESETS: dict[str, tuple[Status, ...]] = {
    "all": (),
    "running": (Status.RUNNING,),
    "held-up": (Status.QUEUED, Status.RETRYING, Status.WAITING, Status.PAUSED),
    "needs-you": (Status.WAITING_FOR_APPROVAL, Status.BLOCKED),
    "failed": (Status.FAILED,),
}
"""What `is:` takes, and the statuses that each stands for; `all` is every one."""

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_FIRST, _LAST = (edge.replace(tzinfo=UTC) - EPOCH for edge in (datetime.min, datetime.max))
_TERM = re.compile(r'\s*(?:([A-Za-z]+):)?("(?:[^"\\]|\\.)*"|[^\s"]\S*)')
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|min|h|d|w)")
_RUN_ID = re.compile(r"r_[0-9a-z]{1,16}")
_MOST_TERMS = 32
_LONGEST = 1 << 52
"""The longest span in microseconds, some 142 years: what a float counts one by one."""
HINT = 'For example: status:failed workflow:triage tag:env=dev cost:>0.1 since:1d "529 overloaded"'


class Words(NamedTuple):
    """Text that a run's input, output, errors, key or tags hold, its words next to each other in this order; with
    `begins` the last one may go on."""

    text: str
    begins: bool = False


class Bound(NamedTuple):
    """A limit of a number: `sign` is >, >=, < or <=."""

    sign: str
    value: float


class Age(NamedTuple):
    """A moment that lies so many microseconds before the one at which is looked."""

    us: int


Moment = Age | int
"""An age, or an instant in microseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which runs are meant: those for which every field that is set holds.

    Of `statuses` and of `workflows` one is enough, `tags` and `words` must all be there. `since` and `until` are about
    when the run was created; `cost` is in US dollars; `took` in microseconds, up to now where it goes on. Runs of vbl's
    own workflows (`vbl.…`) are meant only with `own`, or where such a workflow is named. `run` is the beginning of ids,
    `parent` is one id.
    """

    statuses: tuple[Status, ...] = ()
    workflows: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    parent: str | None = None
    run: str | None = None
    cost: tuple[Bound, ...] = ()
    took: tuple[Bound, ...] = ()
    since: Moment | None = None
    until: Moment | None = None
    words: tuple[Words, ...] = ()
    own: bool = field(default=False)

    def __str__(self) -> str:
        """The filter as it is typed."""
        parts = [*_said_statuses(self.statuses)]
        parts += [f"workflow:{_quoted(name)}" for name in self.workflows]
        parts += [f"tag:{_quoted(tag)}" for tag in self.tags]
        parts += [f"parent:{self.parent}"] if self.parent else []
        parts += [f"cost:{bound.sign}{bound.value!r}" for bound in self.cost]
        parts += [f"took:{bound.sign}{age(round(bound.value))}" for bound in self.took]
        parts += [f"since:{_said(self.since)}"] if self.since is not None else []
        parts += [f"until:{_said(self.until)}"] if self.until is not None else []
        parts += ["own:yes"] if self.own else []
        parts += [self.run] if self.run else []
        parts += [_begun(words.text) if words.begins else phrase(words.text) for words in self.words]
        return " ".join(parts)

    def only(self, *statuses: Status) -> Filter:
        """The same with these statuses in the place of its own."""
        return replace(self, statuses=_ordered(statuses))

    @property
    def with_own(self) -> bool:
        """Whether the runs of vbl's own workflows are meant too."""
        return self.own or self.run is not None or any(name.startswith("vbl.") for name in self.workflows)


def parse(text: str) -> Filter:
    """The filter that was typed. Raises UsageError(code="filter") that names the term which is none."""
    found = Filter()
    at = 0
    text = text.strip()
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise refuse(text[at:].strip(), "its quotation mark is not closed", 'Close it: "529 overloaded"')
        at = match.end()
        name, value = match[1], match[2]
        if value.startswith('"') and at < len(text) and not text[at].isspace():
            raise refuse(match[0].strip() + text[at:].split()[0], "something follows its quotation mark", HINT)
        if name is None:
            found = _bare(found, value)
        elif name.lower() in _TERMS:
            found = _TERMS[name.lower()](found, match[0].strip(), _unquoted(value))
        else:
            hint = f"To look for it as text, put it in quotation marks. Terms: {', '.join(TERMS)}"
            raise refuse(match[0].strip(), f"there is no term {name}:", hint)
    if len(found.workflows) + len(found.tags) + len(found.cost) + len(found.took) + len(found.words) > _MOST_TERMS:
        raise refuse(f"{text[:40]}…", f"there are more than {_MOST_TERMS} terms", "Look for less at once")
    return found


def refuse(term: str, why: str, hint: str) -> UsageError:
    """The error for a term that cannot be read."""
    return UsageError(f"{term!r} cannot be looked for: {why}", hint, code="filter")


def moment(text: str) -> Moment:
    """An age (90s, 15m, 1h, 2d, 1w) or an instant (2026-11-20, RFC 3339; in UTC where it says no zone).

    Raises ValueError for what is neither, and for what lies too far away to be counted.
    """
    if _SPAN.fullmatch(text):
        return span(text)
    instant = datetime.fromisoformat(text)
    after = (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)) - EPOCH
    if not _FIRST <= after <= _LAST:  # in another zone there is a bit more
        raise ValueError(text)
    return after // timedelta(microseconds=1)


def span(text: str) -> Age:
    """An age alone. Raises ValueError for what is none, and for one that is too long to be counted."""
    match = _SPAN.fullmatch(text)
    us = float(match[1]) * _UNITS[match[2]] * SECOND if match is not None else math.inf
    if us > _LONGEST:
        raise ValueError(text)
    return Age(round(us))


def instant(moment: Moment, now: int) -> int:
    """The moment in microseconds since 1970 UTC, seen from `now`."""
    return max(now - moment.us, 0) if isinstance(moment, Age) else moment


def age(us: int) -> str:
    """A span as it is typed: the largest unit that says it exactly."""
    for unit in ("w", "d", "h", "m"):
        if us and us % (_UNITS[unit] * SECOND) == 0:
            return f"{us // (_UNITS[unit] * SECOND)}{unit}"
    return f"{us // SECOND}" + f".{us % SECOND:06}".rstrip("0").rstrip(".") + "s"


def _said(moment: Moment) -> str:
    if isinstance(moment, Age):
        return age(moment.us)
    return (EPOCH + timedelta(microseconds=moment)).isoformat().replace("+00:00", "Z")


def _said_statuses(statuses: tuple[Status, ...]) -> list[str]:
    for name, preset in PRESETS.items():
        if len(preset) > 1 and statuses == _ordered(preset):
            return [f"is:{name}"]
    return [f"status:{','.join(statuses)}"] if statuses else []


def _ordered(statuses: tuple[Status, ...]) -> tuple[Status, ...]:
    return tuple(status for status in Status if status in statuses)


def _quoted(value: str) -> str:
    plain = value and not any(c.isspace() for c in value) and '"' not in value
    return value if plain else _in_quotes(value)


def phrase(text: str) -> str:
    """Text as a term that is nothing else: a bare word where it can only be one."""
    return text if text.isalnum() and not _RUN_ID.fullmatch(text) else _in_quotes(text)


def _begun(text: str) -> str:
    return f"{text}*" if text.isalnum() else f"text:{text}*"


def _in_quotes(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value.startswith('"') else value


def _bare(found: Filter, value: str) -> Filter:
    if _RUN_ID.fullmatch(value):
        if found.run is not None:
            raise refuse(value, "no run has two ids", "Give one")
        return replace(found, run=value)
    if re.fullmatch("[A-Za-z]+:", value):
        raise refuse(value, "nothing stands behind the colon", HINT)
    return _text(found, value, _unquoted(value))


def _text(found: Filter, term: str, value: str) -> Filter:
    begins = not term.endswith('"') and len(value) > 1 and value.endswith("*")
    text = value[:-1] if begins else value
    if not any(c.isalnum() for c in text):
        raise refuse(term, "there is no letter and no digit in it", HINT)
    return replace(found, words=(*found.words, Words(text, begins)))


def _is(found: Filter, term: str, value: str) -> Filter:
    preset = PRESETS.get(value.lower().replace("_", "-"))
    if preset is None:
        raise refuse(term, "nothing is called so", f"Say one of: {', '.join(f'is:{name}' for name in PRESETS)}")
    return found.only(*found.statuses, *preset) if preset else found


def _status(found: Filter, term: str, value: str) -> Filter:
    named: list[Status] = []
    for one in value.split(","):
        try:
            named.append(Status(one.strip().lower().replace("-", "_")))
        except ValueError:
            raise refuse(term, f"{one!r} is no status", f"Statuses are {', '.join(Status)}") from None
    return found.only(*found.statuses, *named)


def _filled(term: str, value: str) -> str:
    if not value:
        raise refuse(term, "nothing stands behind the colon", HINT)
    return value


def _workflow(found: Filter, term: str, value: str) -> Filter:
    named = (name for name in _filled(term, value).split(",") if name)
    return replace(found, workflows=tuple(dict.fromkeys((*found.workflows, *named))))


def _tag(found: Filter, term: str, value: str) -> Filter:
    return replace(found, tags=tuple(dict.fromkeys((*found.tags, _filled(term, value)))))


def _parent(found: Filter, term: str, value: str) -> Filter:
    if found.parent is not None or not _RUN_ID.fullmatch(value):
        raise refuse(term, "a parent is the id of one run, or its beginning", "For example parent:r_8f2e")
    return replace(found, parent=value)


def _bound(term: str, value: str, read: Callable[[str], float], example: str) -> Bound:
    match = re.fullmatch(r"(>=|<=|>|<)\s*\$?(.+)", value)
    try:
        if match is None:
            raise ValueError
        return Bound(match[1], read(match[2]))
    except ValueError:
        raise refuse(term, "it is no limit", f"Say more or less than what: {example}") from None


def _cost(found: Filter, term: str, value: str) -> Filter:
    def dollars(text: str) -> float:
        if not re.fullmatch(r"\d*\.?\d+(e[+-]?\d+)?", text) or not math.isfinite(float(text)):
            raise ValueError
        return float(text)

    return replace(found, cost=(*found.cost, _bound(term, value, dollars, "cost:>0.1 or cost:<=2")))


def _took(found: Filter, term: str, value: str) -> Filter:
    limit = _bound(term, value, lambda text: span(text).us, "took:>30s or took:<2h")
    return replace(found, took=(*found.took, limit))


def _moment(term: str, value: str) -> Moment:
    try:
        return moment(value)
    except ValueError:
        hint = "Say an age (90s, 15m, 1h, 2d, 1w) or a date (2026-11-20)"
        raise refuse(term, f"{value!r} is no age and no date", hint) from None


def _since(found: Filter, term: str, value: str) -> Filter:
    return replace(found, since=_moment(term, value))


def _until(found: Filter, term: str, value: str) -> Filter:
    return replace(found, until=_moment(term, value))


def _own(found: Filter, term: str, value: str) -> Filter:
    if value not in ("yes", "no"):
        raise refuse(term, "it is yes or no", "own:yes lists the runs of vbl's own workflows too")
    return replace(found, own=value == "yes")


_TERMS: dict[str, Callable[[Filter, str, str], Filter]] = {
    "status": _status,
    "is": _is,
    "workflow": _workflow,
    "tag": _tag,
    "cost": _cost,
    "took": _took,
    "since": _since,
    "until": _until,
    "parent": _parent,
    "own": _own,
    "text": _text,
}
TERMS = tuple(_TERMS)
