"""The world outside of the runs: what bodies did to it, the clock that they live by, and the gates they wait at."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from vbl.engine.context import CURRENT
from vbl.history.facts import Fact
from vbl.testing import FakeClock


class Effect(NamedTuple):
    """A body ran: of which run, which call, which attempt."""

    run: str
    key: str
    attempt: int


class World:
    """Begins anew with each test."""

    def __init__(self) -> None:
        self.begin(FakeClock())

    def begin(self, clock: FakeClock, failures: Counter[tuple[str, str]] | None = None) -> None:
        self.clock = clock
        self.effects: list[Effect] = []
        self.notes: list[str] = []
        self.failures: Counter[tuple[str, str]] = failures or Counter()
        self.gates: dict[str, threading.Event] = {}

    def did(self) -> Effect:
        """Called by a body, first of all."""
        scope = CURRENT.get()
        effect = Effect(scope.run_id, scope.key, scope.number)
        self.effects.append(effect)
        return effect

    def note(self, text: str) -> None:
        self.notes.append(text)

    def runs_of(self, run: str) -> Counter[str]:
        """How often the body of each call ran."""
        return Counter(effect.key for effect in self.effects if effect.run == run)

    def gate(self, name: str) -> threading.Event:
        return self.gates.setdefault(name, threading.Event())

    def release(self) -> None:
        for gate in self.gates.values():
            gate.set()


WORLD = World()


def failures_of(run: str, facts: Iterable[Fact]) -> Counter[tuple[str, str]]:
    """How often each call has failed already, as the world would know that a history comes from."""
    return Counter((run, fact.payload["step"]) for fact in facts if fact.type == "STEP_FAILED")
