"""The accumulated state of a run at a point of its history, and the difference between two points. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any
from urllib.parse import urlencode

from vbl.drawing.head import value_command
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.payload import payload
from vbl.drawing.prose import struck
from vbl.drawing.sheet import RunSheet
from vbl.drawing.tree import INLINE
from vbl.errors import NotFound
from vbl.history.differences import Change, abridged, accumulated, between, words
from vbl.history.state import RunState, fold

MOST_CHANGES = 300
"""Changes between two points that are drawn; the terminal has them all."""
_TITLES = {"waits_for": "waits for"}
_ORDER = ("variables", "outputs", "pending", "waits_for", "output", "error")


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a history: a checkpoint, an event, or neither for the latest."""

    checkpoint: int | None = None
    event: int | None = None

    @property
    def words(self) -> str:
        """How a person names it."""
        if self.checkpoint is not None:
            return f"checkpoint {self.checkpoint}"
        return f"event {self.event}" if self.event is not None else "now"

    @property
    def option(self) -> str:
        """What `vbl state` wants to hear; empty for the latest."""
        if self.checkpoint is not None:
            return f" --checkpoint {self.checkpoint}"
        return f" --at {self.event}" if self.event is not None else ""

    @property
    def query(self) -> dict[str, int]:
        """The same in an address."""
        if self.checkpoint is not None:
            return {"checkpoint": self.checkpoint}
        return {"at": self.event} if self.event is not None else {}


def state_at(sheet: RunSheet, point: Point) -> RunState:
    """The state at a point. Raises NotFound where the history has none such. Checkpoint 0 is before the first one."""
    if point.checkpoint is not None:
        return _at_checkpoint(sheet, point.checkpoint)
    if point.event is None:
        return sheet.state
    if not 0 <= point.event <= len(sheet.facts):
        raise NotFound(f"run {sheet.id} has no event {point.event}", f"Its events are 1 to {len(sheet.facts)}")
    return fold(sheet.facts[: point.event])


def _at_checkpoint(sheet: RunSheet, number: int) -> RunState:
    for fact in sheet.facts:
        if fact.type == "CHECKPOINT_WRITTEN" and fact.payload["checkpoint"] == max(number, 1):
            return fold(sheet.facts[: fact.seq if number else fact.seq - 1])
    last = sheet.state.checkpoint
    told = f"Its checkpoints are 1 to {last}" if last else "It has none yet"
    raise NotFound(f"run {sheet.id} has no checkpoint {number}", told)


def state_view(sheet: RunSheet, point: Point, against: Point | None = None, *, address: str = "") -> Markup:
    """The state at a point, and what is different from `against`, where that is given."""
    state = state_at(sheet, point)
    before = state_at(sheet, against) if against is not None else None
    told = f"after event {state.seq}" + (f", checkpoint {state.checkpoint}" if state.checkpoint else "")
    return tag(
        "div",
        _chooser(sheet, point, against, address) if address else None,
        tag("p", tag("b", f"State {point.words}" if point.words == "now" else f"State at {point.words}"), f": {told}"),
        _changes(sheet, state, before, against, point) if before is not None and against is not None else None,
        _sections(sheet, accumulated(state), point, address),
        class_="state",
    )


def _sections(sheet: RunSheet, parts: dict[str, Any], point: Point, address: str) -> list[Markup]:
    """A section for each part of the state that there is."""
    drawn: list[Markup] = []
    for name in _ORDER:
        value = parts.get(name)
        if value is None or value in ({}, []):
            continue
        query = urlencode({**point.query, "of": name})
        body = payload(
            value,
            whole=f"{address}/state/value?{query}" if address else None,
            command=value_command(sheet.id, name, point.option) if address else None,
        )
        drawn.append(tag("section", tag("h3", _TITLES.get(name, name)), body, class_="value"))
    return drawn or [tag("p", "Nothing has accumulated yet.", class_="empty")]


def _chooser(sheet: RunSheet, point: Point, against: Point | None, address: str) -> Markup:
    """Which point, and compared with which."""
    last = sheet.state.checkpoint
    here = point.checkpoint
    steps: list[Child] = []
    if last:
        base = here if here is not None else last
        steps = [
            _to(address, "‹ earlier", {"checkpoint": base - 1}) if base > 1 else None,
            " ",
            _to(address, "later ›", {"checkpoint": base + 1}) if base < last else None,
            " ",
            _to(address, "what it changed", {"checkpoint": base, "against": base - 1}),
        ]
    return tag(
        "form",
        tag("input", type="hidden", name="tab", value="state"),
        _number("checkpoint", "checkpoint", here, last, "latest"),
        _number("against", "compared with", against.checkpoint if against is not None else None, last, "none"),
        tag("button", "show", type="submit", class_="button"),
        tag("span", f"of {last}", class_="dim") if last else tag("span", "no checkpoint yet", class_="dim"),
        tag("span", steps, class_="row"),
        method="get",
        action=address,
        class_="filters",
    )


def _to(address: str, text: str, query: dict[str, int]) -> Markup:
    return tag("a", text, href=f"{address}?{urlencode({'tab': 'state', **query})}")


def _number(name: str, title: str, value: int | None, last: int, empty: str) -> Markup:
    return tag(
        "label", tag("span", title, class_="dim"), " ",
        tag("input", type="number", name=name, value=value, min=0 if name == "against" else 1, max=last or 1,
            placeholder=empty, class_="point"),
    )  # fmt: skip


def value_at(sheet: RunSheet, point: Point, name: str) -> Any:
    """One part of the state at a point. Raises NotFound."""
    parts = accumulated(state_at(sheet, point))
    if name not in parts:
        raise NotFound(f"the state of run {sheet.id} has no {name}", f"It has: {', '.join(parts)}")
    return parts[name]


def _changes(sheet: RunSheet, state: RunState, state_before: RunState, before: Point, after: Point) -> Markup:
    """What happened between two points, under a title."""
    drawn, count = changes_between(state_before, state)
    command = f"vbl state {quote(sheet.id)} --checkpoint {before.checkpoint}..{after.checkpoint}"
    whole = tag("p", "all of them: ", tag("code", command, data_copy=command), class_="dim")
    title = tag("h3", f"From {before.words} to {after.words}")
    return tag("section", title, drawn, whole if count > MOST_CHANGES else None, class_="changes-part")


def changes_between(before: RunState, after: RunState) -> tuple[Markup, int]:
    """What happened to the state between two points, and how many changes that were; the first ones are drawn."""
    changes = between(before, after)
    if not changes:
        return tag("p", "Nothing has changed.", class_="empty"), 0
    cut = len(changes) - MOST_CHANGES
    more = tag("p", f"and {cut} more", class_="dim") if cut > 0 else None
    return join([draw_changes(changes[:MOST_CHANGES]), more]), len(changes)


def draw_changes(changes: Sequence[Change]) -> Markup:
    """Differences, each at its place: a sign, where, what it was and what it is; long texts word by word."""
    return tag("ul", [tag("li", _change(change), class_=change.kind) for change in changes], class_="changes")


_SIGNS = {"added": "+", "removed": "−", "changed": "~"}


def _change(change: Change) -> list[Child]:
    head = tag("span", tag("b", _SIGNS[change.kind], title=change.kind), " ", tag("code", change.where or "the value"))
    if change.worded:
        pieces = [
            tag({"added": "ins", "removed": "del", "same": "span"}[piece.fate], struck(piece.text))
            for piece in abridged(words(change.before, change.after))
        ]
        return [head, tag("div", pieces, class_="worded")]
    if change.kind == "added":
        return [head, payload(change.after)]
    if change.kind == "removed":
        return [head, payload(change.before)]
    if _is_small(change.before) and _is_small(change.after):
        return [head, " ", tag("span", tag("del", _text(change.before)), " → ", tag("ins", _text(change.after)))]
    return [head, tag("div", payload(change.before), tag("span", "→"), payload(change.after), class_="both")]


def _is_small(value: Any) -> bool:
    return not isinstance(value, (dict, list)) and len(str(value)) <= INLINE


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
