"""One event opened: what it goes back to and what came of it, every field of its payload, and the command for it. Pure.

Values are drawn by `payload`; the input of a step stands beside what became of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote
from typing import Any
from urllib.parse import urlencode

from vbl.clock import instant
from vbl.drawing.code import diff_lines
from vbl.drawing.events import Reading
from vbl.drawing.failure import failure
from vbl.drawing.markup import Child, Markup, tag
from vbl.drawing.payload import payload
from vbl.drawing.places import run_at
from vbl.drawing.times import clock
from vbl.errors import NotFound
from vbl.history.facts import Fact
from vbl.history.narration import duration, narrate

VALUES = ("input", "output", "data", "show", "call", "edit", "delta", "json_schema", "undone", "usage")
"""Fields that hold what the user recorded."""
_ENDS = ("STEP_COMPLETED", "STEP_FAILED", "STEP_INTERRUPTED", "STEP_CANCELLED")
_INSTANTS = frozenset({"at", "until", "deadline", "expires_at", "due_at"})
_SPANS = frozenset({"late_us", "timeout_us", "valid_us"})
_SAID = frozenset({"v", "error", "message", "step", "attempt", "run_id", "actor", "reason"})
"""Fields that stand elsewhere than in the list of the small ones."""
MOST_EFFECTS = 8


def event_detail(reading: Reading, fact: Fact, effects: Sequence[int] = ()) -> Markup:
    """What a row shows when it is opened; `effects` are the events that go back to this one."""
    p = fact.payload
    started = _start(reading, fact) if fact.type in _ENDS else None
    return tag(
        "div",
        _place(reading, fact, effects),
        _small(reading, fact, started),
        tag("p", narrate(fact), class_="told") if fact.type in ("STEP_INTERRUPTED", "RUN_RESUMED") else None,
        _blocked(p) if fact.type == "RUN_BLOCKED" else None,
        failure(p["error"], attempt=p.get("attempt"), open=True) if p.get("error") else None,
        _value(reading, started, "input", f"input, recorded in event {started.seq}") if started is not None else None,
        [_value(reading, fact, name, name) for name in VALUES if _is_value(fact, name)],
        _nothing_returned(fact),
        class_="event-detail",
    )


def find(reading: Reading, seq: int) -> Fact:
    """The event of that number. Raises NotFound."""
    if not 1 <= seq <= reading.last:
        run = reading.sheet.id
        raise NotFound(f"run {run} has no event {seq}", f"Its events are 1 to {reading.last}: vbl events {run}")
    return reading.sheet.facts[seq - 1]


def value_of(fact: Fact, name: str) -> Any:
    """A field of an event that holds a value. Raises NotFound for any other."""
    if not _is_value(fact, name):
        raise NotFound(f"event {fact.seq} has no {name}", f"It has: {', '.join(fact.payload)}")
    return fact.payload[name]


def value_command(run: str, fact: Fact, name: str) -> str:
    """What prints a value of an event in a terminal."""
    return f"vbl events {quote(run)} --after {fact.seq - 1} --json | head -n 1 | jq .payload.{name}"


def _is_value(fact: Fact, name: str) -> bool:
    """Whether the field holds what was recorded for the user; the call of a child is but a name."""
    value = fact.payload.get(name)
    return name in VALUES and value is not None and not (name == "call" and isinstance(value, str))


def _place(reading: Reading, fact: Fact, effects: Sequence[int]) -> Markup:
    """Where it stands in the history: when, because of what, and what came of it."""
    cause = reading.links.get(fact.seq)
    shown, more = list(effects[:MOST_EFFECTS]), len(effects) - MOST_EFFECTS
    command = f"vbl events {quote(reading.sheet.id)} --after {fact.seq - 1} --json | head -n 1"
    return tag(
        "ul",
        tag("li", tag("code", instant(fact.at) or str(fact.at))),
        tag("li", "because of ", _link(reading, cause)) if cause else None,
        tag("li", "led to ", _listed(_link(reading, seq) for seq in shown), f" and {more} more" if more > 0 else None)
        if shown
        else None,
        tag("li", _state_here(reading, fact)) if reading.address else None,
        tag("li", tag("code", command, data_copy=command)) if reading.address else None,
        class_="place",
    )


def _state_here(reading: Reading, fact: Fact) -> Markup:
    """The way to the state behind the event; of a checkpoint to what it changed."""
    number = fact.payload.get("checkpoint")
    if fact.type == "CHECKPOINT_WRITTEN" and number:
        return tag(
            "a", "what it changed", href=f"{reading.address}?tab=state&checkpoint={number}&against={number - 1}#tabs"
        )
    return tag("a", "state behind it", href=f"{reading.address}?tab=state&at={fact.seq}#tabs")


def _link(reading: Reading, seq: int) -> Markup:
    fact = reading.sheet.facts[seq - 1]
    return tag("a", f"{seq} {fact.type}", href=f"#e{seq}", title=narrate(fact))


def _listed(items: Iterable[Markup]) -> list[Child]:
    return [piece for number, item in enumerate(items) for piece in ((", " if number else None), item)]


def _small(reading: Reading, fact: Fact, started: Fact | None) -> Markup:
    """The fields that fit on a line."""
    p = fact.payload
    rows: list[tuple[str, Child]] = []
    if isinstance(p.get("step"), str):
        rows.append(("step", _step(reading, p["step"])))
    if p.get("attempt") is not None:
        rows.append(("attempt", str(p["attempt"])))
    if started is not None:
        rows.append(("took", duration(fact.at - started.at)))
    rows += [(name, str(p[name])) for name in ("actor", "reason") if p.get(name) is not None]
    small = [name for name in p if name not in _SAID and not _is_value(fact, name)]
    rows += [(name, _field(reading, name, p[name])) for name in small]
    drawn = [tag("div", tag("dt", name.replace("_", " ")), tag("dd", value)) for name, value in rows]
    return tag("dl", drawn, class_="facts") if drawn else Markup()


def _step(reading: Reading, key: str) -> Child:
    if not reading.address:
        return tag("code", key)
    query = urlencode({"tab": "events", "step": key})
    return [tag("code", key), " ", tag("a", "all its events", href=f"{reading.address}?{query}", class_="dim")]


def _field(reading: Reading, name: str, value: Any) -> Child:
    """A field in words: instants and spans as such, other runs and gates as links."""
    if name in _INSTANTS and isinstance(value, int):
        return clock(value, reading.sheet.now)
    if name in _SPANS and isinstance(value, int):
        return duration(value)
    if name in ("child", "parent", "run") and isinstance(value, str) and reading.address:
        return tag("a", value, href=run_at(reading.address.rpartition("/runs/")[0], value), class_="mono")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (str, int, float)):
        return tag("code", value)
    return payload(value)


def _blocked(p: dict[str, Any]) -> Markup:
    """Why the run is blocked; a difference of code line by line."""
    return tag("pre", diff_lines(str(p["message"]).strip().splitlines()), class_="diff", tabindex=0)


def _start(reading: Reading, fact: Fact) -> Fact | None:
    """The start of the attempt that this event ends."""
    for seq in range(fact.seq - 1, 0, -1):
        before = reading.sheet.facts[seq - 1]
        if before.type == "STEP_STARTED" and before.payload["step"] == fact.payload["step"]:
            return before
    return None


def _value(reading: Reading, fact: Fact, name: str, title: str) -> Markup | None:
    value = fact.payload.get(name)
    if value is None or (name == "input" and value == {}):
        return None
    path = f"{reading.address}/events/{fact.seq}/value?of={name}"
    command = value_command(reading.sheet.id, fact, name)
    drawn = payload(value, whole=path if reading.address else None, command=command if reading.address else None)
    return tag("section", tag("h3", title.replace("_", " ")), drawn, class_="value")


def _nothing_returned(fact: Fact) -> Markup | None:
    if fact.type == "STEP_COMPLETED" and fact.payload.get("output") is None:
        return tag("p", "It returned nothing.", class_="dim")
    return None
