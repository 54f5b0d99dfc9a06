"""Which events of a run are shown: `EventFilter`, read from the query of an address and written back to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self
from urllib.parse import urlencode

from vbl.history.facts import Fact
from vbl.history.sieve import went_wrong

Order = Literal["oldest", "newest"]

KINDS = ("run", "step", "gate", "waiting", "checkpoint", "child")
"""What events are about, in words."""

_KIND_OF_PREFIX = {
    "STEP": "step",
    "RETRY": "step",
    "APPROVAL": "gate",
    "DECISION": "gate",
    "TIMER": "waiting",
    "SIGNAL": "waiting",
    "WAIT": "waiting",
    "CHECKPOINT": "checkpoint",
    "VERSION": "checkpoint",
    "CHILD": "child",
}


def kind_of(type: str) -> str:
    """What an event of this type is about: one of KINDS."""
    return _KIND_OF_PREFIX.get(type.partition("_")[0], "run")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Events of these `kinds` (empty: of all), with `failed` only where something went wrong, and of steps, gates,
    signals and children whose name contains `step`; in this order."""

    kinds: frozenset[str] = frozenset()
    failed: bool = False
    step: str = ""
    order: Order = "oldest"

    @classmethod
    def of(cls, query: Iterable[tuple[str, str]]) -> Self:
        """Read it from the names and values of a query; what is not known is passed over."""
        pairs = list(query)
        kinds = frozenset(value for name, value in pairs if name == "kind" and value in KINDS)
        given = dict(pairs)
        order: Order = "newest" if given.get("order") == "newest" else "oldest"
        return cls(kinds, given.get("failed", "") not in ("", "0"), given.get("step", "").strip(), order)

    def query(self, **more: str | int) -> str:
        """The same as a query, without what is not asked for; `more` is put behind it."""
        pairs: list[tuple[str, str | int]] = [("kind", kind) for kind in KINDS if kind in self.kinds]
        pairs += [("failed", 1)] if self.failed else []
        pairs += [("step", self.step)] if self.step else []
        pairs += [("order", "newest")] if self.order == "newest" else []
        return urlencode([*pairs, *more.items()])

    @property
    def narrow(self) -> bool:
        """Whether some events are left out."""
        return bool(self.kinds or self.failed or self.step)

    def wide(self) -> Self:
        """The same order, and every event."""
        return replace(self, kinds=frozenset(), failed=False, step="")

    def matches(self, fact: Fact) -> bool:
        """Whether the event is shown."""
        if self.kinds and kind_of(fact.type) not in self.kinds:
            return False
        if self.failed and not went_wrong(fact):
            return False
        return not self.step or self.step.casefold() in subject_of(fact).casefold()


def subject_of(fact: Fact) -> str:
    """What the event is about, by name: a step's key, a gate, a signal, a child's workflow; empty for the run."""
    p = fact.payload
    if fact.type.startswith("RUN_"):
        return ""
    for field in ("step", "name", "workflow", "gate", "call"):
        if isinstance(p.get(field), str):
            return p[field]
    for field in ("timer", "wait", "checkpoint"):
        if p.get(field) is not None:
            return f"{field} {p[field]}"
    return ""
