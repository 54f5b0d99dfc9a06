"""Random legal histories: whatever a supervisor and clients may write, in any order in which they may write it."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from vbl.errors import Conflict
from vbl.history import transitions
from vbl.history.events import Payload
from vbl.history.facts import Fact, is_input
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
            self.add(payload.TYPE.value, **payload.model_dump(mode="json", exclude={"v"}, exclude_defaults=True))

    def likely(self, share: float) -> bool:
        return self.chance.random() < share

    def write(self, moves: int) -> list[Fact]:
        deadline = START + 3_600 * SECOND if self.likely(0.3) else None
        queue = "mail" if self.likely(0.2) else None
        self.add("RUN_CREATED", run_id=RUN, workflow="w", version="v1", input={"n": 1}, deadline=deadline, queue=queue)
        for _ in range(moves):
            self.now += self.chance.choice([0, 1, SECOND, 60 * SECOND])
            self.chance.choice([self.person, *self.supervisor()])()
        return self.facts

    # Others, at any time -------------------------------------------------------------------------------------------

    def person(self) -> None:
        self.chance.choice([self.steers, self.signals, self.decides, self.decides, self.settles, self.child_ends])()

    def steers(self) -> None:
        what = self.chance.choice([transitions.cancel, transitions.pause, transitions.unpause, transitions.retry])
        try:
            self.add_all(what(self.state, "ada", None))
        except Conflict:
            if self.state.paused:
                self.add_all(transitions.unpause(self.state, "ada", None))

    def signals(self) -> None:
        """One that is waited for, or one that is not; some with a key, which may have come before."""
        waited = [self.state.waits[number].name for number in self.state.open_waits]
        name = self.chance.choice([*sorted(waited), "x", "y"])
        key = self.chance.choice([None, None, "k"])
        try:
            self.add_all(transitions.signal(self.state, name, {"n": 1} if key else self.names, key, "ada"))
        except Conflict:
            assert self.state.finished

    def decides(self) -> None:
        state = self.state
        gates = [gate for gate in state.gates.values() if gate.status == "open"]
        if state.finished or not gates:
            return
        gate = self.chance.choice(gates)
        who = self.chance.choice(["ada", "bob"])
        over = gate.expires_at is not None and gate.expires_at <= self.now
        if over or any(vote["actor"] == who for vote in gate.votes) or self.likely(0.2):
            self.add("DECISION_REFUSED", gate=gate.id, actor=who, decision="approve", why="it may not")
        elif self.likely(0.3):
            self.add("APPROVAL_DENIED", gate=gate.id, actor=who, reason=None)
        else:
            final = len(gate.votes) + 1 >= gate.request["need"]
            self.add("APPROVAL_GRANTED", gate=gate.id, actor=who, final=final, data=self.names)

    def settles(self) -> None:
        """A person says what became of the step whose outcome blocks the run."""
        block = self.state.blocked
        if block is not None and block["reason"] == "unknown_outcome":
            self.resolved(block["step"], "ada")

    def child_ends(self) -> None:
        state = self.state
        if state.finished or not state.open_children:
            return
        child = state.children[self.chance.choice(sorted(state.open_children))]
        status = self.chance.choice(["completed", "failed", "cancelled"])
        error = ERROR if status == "failed" else None
        self.add("CHILD_FINISHED", call=child.call, child=child.id, status=status, output=None, error=error)

    # The supervisor, where it may ----------------------------------------------------------------------------------

    def supervisor(self) -> list[Any]:
        state = self.state
        over = ("cancelled", "failed", "retrying")
        late = [step for step in state.steps.values() if step.status in over and step.interrupted]
        moves: list[Any] = [lambda: self.ended_late(self.chance.choice(late).key)] if late else []
        if state.finished:
            return moves
        flying = [step for step in state.steps.values() if step.status == "running" and not step.probing]
        probing = [step.key for step in state.steps.values() if step.probing]
        moves += [lambda: self.completed(self.chance.choice(flying).key)] * 2 if flying else []
        if flying:
            moves += [lambda: self.failed(self.chance.choice(flying).key)]
        if flying or probing:
            moves += [self.died]
        moves += [lambda key=key: self.resolved(key, "probe") for key in probing]
        if state.blocked is None:
            moves += [lambda key=key: self.unknown(key) for key in probing]
        if state.paused or state.blocked is not None:
            return moves
        if state.started_at is None:
            return [self.started, *([self.queued] if state.queue is None else [])]
        if state.waits_for_place:
            return [*moves, self.placed]
        due = [step for step in state.steps.values() if step.status == "due"]
        moves += [lambda key=key: self.again(key) for key in sorted(state.backing_off)]
        moves += [lambda key=step.key: self.again(key) for step in due]
        moves += [lambda key=step.key: self.probed(key) for step in due if step.interrupted]
        moves += [lambda call=call: self.child(call) for call in sorted(state.due_children)]
        moves += [lambda number=number: self.fired(number) for number in sorted(state.open_timers)]
        moves += [lambda number=number: self.gave_up(number) for number in sorted(state.open_waits)]
        moves += [lambda id=id: self.reaches(id) for id in sorted(state.open_gates)]
        if state.last_input > state.applied:
            moves.append(self.digested)
        else:
            moves.append(self.blocked)
        return moves

    def queued(self) -> None:
        self.add("RUN_QUEUED", queue="mail", lane='"acme"')

    def started(self) -> None:
        commands = self.chance.randint(0, 3)
        self.add("RUN_STARTED", epoch=1, commands=commands, queue=self.state.queue, lane=self.state.lane)
        self.commands(commands)

    def placed(self) -> None:
        """A run that was retried has its turn in the queue again."""
        self.add("RUN_RESUMED", epoch=self.state.epoch, reason="its turn", queue=self.state.queue)

    def commands(self, count: int) -> None:
        for _ in range(count):
            self.names += 1
            asks = [self.asks_step, self.asks_step, self.asks_time, self.asks_person, self.asks_signal, self.asks_child]
            self.chance.choice([*asks, self.gives_up, self.notes])()

    def asks_step(self) -> None:
        self.add("STEP_STARTED", step=f"s#{self.names}", attempt=1, input={}, idempotency_key="k", effect="write")

    def asks_time(self) -> None:
        self.add("TIMER_SET", timer=self.names, at=self.now + self.chance.randint(0, 100) * SECOND)

    def asks_person(self) -> None:
        ends = self.now + self.chance.randint(60, 100) * SECOND if self.likely(0.5) else None
        later = self.now + self.chance.randint(0, 50) * SECOND
        escalate = [{"at": later, "to": ["eve"]}] if self.likely(0.3) else []
        remind = [later] if self.likely(0.3) else []
        self.add(
            "APPROVAL_REQUESTED", gate=f"g_{self.names}", key=f"a#{self.names}", name="a", to=["ada"],
            need=self.chance.choice([1, 2]), expires_at=ends, on_timeout="deny", escalate=escalate, remind=remind,
        )  # fmt: skip

    def asks_signal(self) -> None:
        ends = self.now + self.chance.randint(0, 100) * SECOND if self.likely(0.5) else None
        self.add("SIGNAL_AWAITED", wait=self.names, name=self.chance.choice(["x", "y"]), expires_at=ends)

    def asks_child(self) -> None:
        self.child(f"c#{self.names}")

    def child(self, call: str) -> None:
        self.names += 1
        self.add("CHILD_STARTED", call=call, child=f"r_{self.names:016}", workflow="w", input={}, on_close="cancel")

    def notes(self) -> None:
        """What the code asks for and does not wait for."""
        kind = self.chance.randint(0, 2)
        if kind == 0:
            self.add("VERSION_MARKED", patch=f"p{self.names}")
        elif kind == 1:
            self.add("SCHEDULE_FIRED", due_at=self.now, run=RUN, reason="on time", late_us=0)
        else:
            self.add("SCHEDULE_SKIPPED", due_at=self.now, reason="overlap", count=1)

    def gives_up(self) -> None:
        """The code no longer waits for something that is open, or that ended while the code was not at hand."""
        state = self.state
        live = [step.key for step in state.steps.values() if step.status in ("running", "retrying", "due")]
        waits = [w.number for w in state.waits.values() if w.ended is None and (w.taken or state.seq) > state.applied]
        gates = [g.id for g in state.gates.values() if (g.ended_seq or state.seq) > state.applied]
        gates = [id for id in gates if state.gates[id].status in ("open", "granted", "denied", "expired")]
        calls = [c.call for c in state.children.values() if not c.void and (c.ended_seq or state.seq) > state.applied]
        calls = [call for call in calls if state.children[call].status not in ("due", "cancelled")]
        options: list[tuple[str, dict[str, Any]]] = [
            *(("STEP_CANCELLED", {"step": key}) for key in live),
            *(("TIMER_CANCELLED", {"timer": number}) for number in sorted(state.open_timers)),
            *(("WAIT_CANCELLED", {"wait": number}) for number in waits),
            *(("APPROVAL_CLOSED", {"gate": id}) for id in gates),
            *(("CHILD_CANCELLED", {"call": call, "child": state.children[call].id}) for call in calls),
        ]
        if not options:
            self.notes()
            return
        type, payload = self.chance.choice(options)
        self.add(type, **payload)

    def digested(self) -> None:
        """The code digests the next of the inputs that came, and asks for more, or ends."""
        state = self.state
        news = [fact.seq for fact in self.facts[state.applied :] if is_input(fact.type, fact.payload)]
        ends = self.likely(0.1)
        closing = transitions.close_all(state) if ends else []
        count = 0 if ends else self.chance.randint(0, 3)
        self.add(
            "CHECKPOINT_WRITTEN",
            checkpoint=state.checkpoint + 1,
            applied=news[0] if news else state.last_input,
            commands=count + len(closing) + ends,
            delta={"field": self.names} if self.likely(0.5) else None,
            digest="d",
        )
        self.commands(count)
        self.add_all(closing)
        if ends:
            self.ends()

    def ends(self) -> None:
        state = self.state
        kind = self.chance.randint(0, 2)
        failed = [step.key for step in state.steps.values() if step.status == "failed" and not step.void]
        failed += [c.call for c in state.children.values() if c.status == "failed" and not c.void]
        if kind == 0:
            self.add("RUN_COMPLETED", output=self.names)
        elif kind == 1 and state.cancel is not None:
            self.add("RUN_CANCELLED", reason=None, undone=[{"step": "s", "ok": True}])
        else:
            self.add("RUN_FAILED", error={**ERROR, "step": self.chance.choice(failed) if failed else None}, undone=[])

    def completed(self, key: str) -> None:
        self.add("STEP_COMPLETED", step=key, attempt=self.state.steps[key].attempt, output=self.names, **self.used())

    def used(self) -> dict[str, Any]:
        """What an attempt used of models: mostly nothing; one call, or several."""
        calls = [
            {"provider": "p", "model": "m", "input_tokens": n, "usd": n / 8}
            for n in range(self.chance.choice((0, 0, 0, 1, 3)))
        ]
        return {"usage": {"calls": calls} if len(calls) > 1 else calls[0]} if calls else {}

    def failed(self, key: str) -> None:
        step = self.state.steps[key]
        final = self.chance.random() < 0.5
        unknown = {"unknown": True} if self.likely(0.3) else {}
        self.add("STEP_FAILED", step=key, attempt=step.attempt, error=ERROR, final=final, **unknown, **self.used())
        if not final:
            at = self.now + self.chance.randint(0, 60) * SECOND
            self.add("RETRY_SCHEDULED", step=key, attempt=step.attempt + 1, at=at, reason="transient", max_attempts=5)

    def died(self) -> None:
        self.add_all(transitions.interrupt(self.state, self.state.epoch + 1, "it died"))

    def again(self, key: str) -> None:
        self.add("STEP_STARTED", step=key, attempt=self.state.steps[key].attempt + 1, input={}, idempotency_key="k")

    def fired(self, number: int) -> None:
        self.now = max(self.now, self.state.timers[number].at)
        self.add("TIMER_FIRED", timer=number)

    def gave_up(self, number: int) -> None:
        ends = self.state.waits[number].expires_at
        if ends is not None:
            self.now = max(self.now, ends)
            self.add("WAIT_EXPIRED", wait=number, late_us=self.now - ends)

    def reaches(self, id: str) -> None:
        """The next moment of an open gate comes: a reminder, an escalation, its end."""
        gate = self.state.gates[id]
        at = gate.next_at
        if at is None:
            return
        self.now = max(self.now, at)
        escalate = gate.request["escalate"][gate.escalated :][:1]
        if gate.request["remind"][gate.reminded :][:1] == [at]:
            self.add("APPROVAL_REMINDED", gate=id, late_us=self.now - at)
        elif escalate and escalate[0]["at"] == at:
            self.add("APPROVAL_ESCALATED", gate=id, to=escalate[0]["to"], expires_at=None, late_us=self.now - at)
        else:
            self.add("APPROVAL_EXPIRED", gate=id, outcome="deny", late_us=self.now - at)

    def probed(self, key: str) -> None:
        self.add("STEP_PROBED", step=key, attempt=self.state.steps[key].attempt, alone=self.likely(0.2))

    def unknown(self, key: str) -> None:
        self.add("RUN_BLOCKED", reason="unknown_outcome", version="v1", message="m", unblock="u", step=key)

    def ended_late(self, key: str) -> None:
        """A write that the code gave up, or whose time was up, ends all the same."""
        step = self.state.steps[key]
        if self.likely(0.5):
            self.add("STEP_COMPLETED", step=key, attempt=step.attempt, output=self.names)
        else:
            final = step.status != "retrying" or self.likely(0.5)
            self.add("STEP_FAILED", step=key, attempt=step.attempt, error=ERROR, final=final)

    def resolved(self, key: str, actor: str) -> None:
        outcome = self.chance.choice(["happened", "did_not_happen", "failed"])
        error = ERROR if outcome == "failed" else None
        self.add("STEP_RESOLVED", step=key, outcome=outcome, output=None, error=error, actor=actor)

    def blocked(self) -> None:
        if "v1" in self.state.blocked_by:
            return
        over = ("due", "retrying")
        unknown = [step.key for step in self.state.steps.values() if step.status in over and step.interrupted]
        reason, step = ("unknown_outcome", self.chance.choice(unknown)) if unknown else ("diverged", None)
        self.add("RUN_BLOCKED", reason=reason, version="v1", message="m", unblock="u", step=step)


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
