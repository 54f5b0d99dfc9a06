"""Random legal histories: whatever a supervisor and clients may write, in any order in which they may write it."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from vbl.errors import Conflict
from vbl.history import transitions
from vbl.history.events import Payload
from vbl.history.facts import Fact
from vbl.history.state import RunState, Status, apply

SECOND = 1_000_000
START = 1_760_000_000 * SECOND
RUN = "r_0123456789abcdef"
ERROR = {"kind": "transient", "type": "OSError", "message": "the line is dead"}


class Writer:
    """Appends one legal thing after the other, as chance has it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.state = RunState()
        self.facts: list[Fact] = []
        self.now = START
        self.names = 0

    def add(self, type: str, **payload: Any) -> None:
        fact = Fact(self.state.seq + 1, type, self.now, {"v": 1, **payload})
        apply(self.state, fact)
        self.facts.append(fact)

    def add_all(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            self.add(payload.TYPE.value, **payload.model_dump(mode="json", exclude={"v"}))

    def write(self, moves: int) -> list[Fact]:
        deadline = START + 3_600 * SECOND if self.chance.random() < 0.3 else None
        self.add("RUN_CREATED", run_id=RUN, workflow="w", version="v1", input={"n": 1}, deadline=deadline)
        for _ in range(moves):
            self.now += self.chance.choice([0, 1, SECOND, 60 * SECOND])
            self.chance.choice([self.person, *self.supervisor()])()
        return self.facts

    # A person, at any time -----------------------------------------------------------------------------------------

    def person(self) -> None:
        what = self.chance.choice([transitions.cancel, transitions.pause, transitions.unpause, transitions.retry])
        try:
            self.add_all(what(self.state, "ada", None))
        except Conflict:
            if self.state.paused:
                self.add_all(transitions.unpause(self.state, "ada", None))

    # The supervisor, where it may ----------------------------------------------------------------------------------

    def supervisor(self) -> list[Any]:
        state = self.state
        if state.finished:
            return []
        flying = [step for step in state.steps.values() if step.status == "running"]
        moves: list[Any] = [lambda: self.completed(self.chance.choice(flying).key)] * 2 if flying else []
        if flying:
            moves += [lambda: self.failed(self.chance.choice(flying).key), self.died]
        if state.paused or state.blocked is not None:
            return moves
        if state.started_at is None:
            return [self.started]
        moves += [lambda key=key: self.again(key) for key in state.backing_off]
        moves += [lambda key=step.key: self.again(key) for step in state.steps.values() if step.status == "due"]
        moves += [lambda number=number: self.fired(number) for number in state.open_timers]
        if state.last_input > state.applied:
            moves.append(self.digested)
        else:
            moves.append(self.blocked)
        return moves

    def started(self) -> None:
        commands = self.chance.randint(0, 3)
        self.add("RUN_STARTED", epoch=1, commands=commands)
        self.commands(commands)

    def commands(self, count: int) -> None:
        for _ in range(count):
            self.names += 1
            live = [step for step in self.state.steps.values() if step.status in ("running", "retrying", "due")]
            kind = self.chance.randint(0, 5)
            if kind <= 2:
                self.add("STEP_STARTED", step=f"s#{self.names}", attempt=1, input={}, idempotency_key="k")
            elif kind == 3:
                self.add("TIMER_SET", timer=self.names, at=self.now + self.chance.randint(0, 100) * SECOND)
            elif kind == 4 and live:
                self.add("STEP_CANCELLED", step=self.chance.choice(live).key)
            elif kind == 5 and self.state.open_timers:
                self.add("TIMER_CANCELLED", timer=min(self.state.open_timers))
            else:
                self.add("VERSION_MARKED", patch=f"p{self.names}")

    def digested(self) -> None:
        """The code digests what came, and asks for more, or ends."""
        state = self.state
        count = self.chance.randint(0, 2)
        delta = {"field": self.names} if self.chance.random() < 0.5 else None
        ends = self.chance.random() < 0.15
        number = state.checkpoint + 1
        self.add(
            "CHECKPOINT_WRITTEN",
            checkpoint=number,
            applied=state.last_input,
            commands=count + ends,
            delta=delta,
            digest="d",
        )
        self.commands(count)
        if not ends:
            return
        kind = self.chance.randint(0, 2)
        failed = [step for step in state.steps.values() if step.status == "failed"]
        if kind == 0:
            self.add("RUN_COMPLETED", output=self.names)
        elif kind == 1 and state.cancel is not None:
            self.add("RUN_CANCELLED", reason=None)
        else:
            step = self.chance.choice(failed).key if failed else None
            self.add("RUN_FAILED", error={**ERROR, "step": step})

    def completed(self, key: str) -> None:
        self.add("STEP_COMPLETED", step=key, attempt=self.state.steps[key].attempt, output=self.names)

    def failed(self, key: str) -> None:
        step = self.state.steps[key]
        final = self.chance.random() < 0.5
        self.add("STEP_FAILED", step=key, attempt=step.attempt, error=ERROR, final=final)
        if not final:
            at = self.now + self.chance.randint(0, 60) * SECOND
            self.add("RETRY_SCHEDULED", step=key, attempt=step.attempt + 1, at=at, reason="transient", max_attempts=5)

    def died(self) -> None:
        self.add_all(transitions.interrupt(self.state, self.state.epoch + 1, counted=True, reason="it died"))

    def again(self, key: str) -> None:
        self.add("STEP_STARTED", step=key, attempt=self.state.steps[key].attempt + 1, input={}, idempotency_key="k")

    def fired(self, number: int) -> None:
        self.now = max(self.now, self.state.timers[number].at)
        self.add("TIMER_FIRED", timer=number)

    def blocked(self) -> None:
        if "v1" not in self.state.blocked_by:
            self.add("RUN_BLOCKED", reason="diverged", version="v1", message="m", unblock="u", step=None)


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    """A legal history of some length."""
    chance = draw(st.randoms(use_true_random=False))
    return Writer(chance).write(draw(st.integers(0, 40)))


def states(facts: list[Fact]) -> list[RunState]:
    """The state after each event; each its own copy."""
    from vbl.history.state import fold

    return [fold(facts[:n]) for n in range(1, len(facts) + 1)]


__all__ = ["ERROR", "RUN", "SECOND", "START", "Status", "Writer", "histories", "states"]
