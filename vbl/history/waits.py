"""What a run waits for from outside, in its state: gates, signals and children, and how their events change it.

Pure, like the rest of the fold. A signal is matched to a wait here as the code will match it: the oldest wait for that
name gets the oldest signal that none took.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vbl.history.facts import Fact

if TYPE_CHECKING:
    from vbl.history.state import RunState


@dataclass(slots=True)
class GateState:
    """A gate: what was asked of whom, and what was decided. Instants are microseconds since 1970 UTC.

    `status` is open, granted, denied, expired or closed; `request` is the payload of its APPROVAL_REQUESTED, and
    `asked_after` the seq of the input that made the code ask; `to` are those who may decide by now (empty: anybody);
    `votes` the payloads of the grants so far, `answer` that of the event which ended it; `refused` those of the
    decisions that were refused; `void` says that a retry of the run undid it, whatever was decided.
    """

    id: str
    key: str
    name: str
    requested_at: int
    asked_seq: int
    asked_after: int
    request: dict[str, Any]
    to: list[str] = field(default_factory=list[str])
    expires_at: int | None = None
    status: str = "open"
    escalated: int = 0
    reminded: int = 0
    votes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    refused: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    answer: dict[str, Any] | None = None
    decided_at: int | None = None
    ended_seq: int | None = None
    void: bool = False

    @property
    def decided_by(self) -> str | None:
        """Who decided it: the one whose decision ended it."""
        return (self.answer or {}).get("actor")

    @property
    def next_at(self) -> int | None:
        """When time alone does something to it: a reminder, an escalation, its end."""
        if self.status != "open":
            return None
        moments: list[int] = self.request.get("remind", [])[self.reminded :][:1]
        moments += [step["at"] for step in self.request.get("escalate", [])[self.escalated :][:1]]
        if self.expires_at is not None:
            moments.append(self.expires_at)
        return min(moments, default=None)


@dataclass(slots=True)
class WaitState:
    """A wait for a signal. `taken` is the seq of the signal that it got; `ended` that of its expiry or cancel, and
    `expired` says which."""

    number: int
    name: str
    asked_seq: int
    asked_at: int
    expires_at: int | None = None
    json_schema: dict[str, Any] | None = None
    taken: int | None = None
    ended: int | None = None
    expired: bool = False


@dataclass(slots=True)
class ChildState:
    """A run that this one started. `status` is open, cancelled (given up here), due (to be started again by a retry),
    or how the child ended; `given_up` says that it was the code that cancelled it."""

    call: str
    id: str
    workflow: str
    asked_seq: int
    input: Any = None
    on_close: str = "cancel"
    status: str = "open"
    ended_seq: int | None = None
    void: bool = False
    given_up: bool = False


# Gates -------------------------------------------------------------------------------------------------------------


def _approval_requested(state: RunState, fact: Fact) -> None:
    p = fact.payload
    gate = GateState(p["gate"], p["key"], p["name"], fact.at, fact.seq, state.applied, p)
    gate.to, gate.expires_at = list(p.get("to") or []), p.get("expires_at")
    state.gates[gate.id] = gate
    state.open_gates.add(gate.id)
    state.reopened = False


def _end_gate(state: RunState, fact: Fact, status: str) -> None:
    gate = state.gates[fact.payload["gate"]]
    gate.status, gate.answer, gate.ended_seq, gate.decided_at = status, fact.payload, fact.seq, fact.at
    state.open_gates.discard(gate.id)


def _approval_granted(state: RunState, fact: Fact) -> None:
    p = fact.payload
    state.gates[p["gate"]].votes.append(p)
    if p.get("final", True):
        _end_gate(state, fact, "granted")
        state.last_input = fact.seq


def _approval_denied(state: RunState, fact: Fact) -> None:
    _end_gate(state, fact, "denied")
    state.last_input = fact.seq


def _approval_escalated(state: RunState, fact: Fact) -> None:
    p = fact.payload
    gate = state.gates[p["gate"]]
    if gate.to:  # where anybody may decide, naming somebody takes nothing away from the others
        gate.to = [*gate.to, *(one for one in p["to"] if one not in gate.to)] if p["to"] else []
    gate.escalated += 1
    if p.get("expires_at") is not None:
        gate.expires_at, gate.escalated = p["expires_at"], len(gate.request.get("escalate", []))


def _approval_reminded(state: RunState, fact: Fact) -> None:
    gate = state.gates[fact.payload["gate"]]
    gate.reminded = max(gate.reminded + 1, sum(at <= fact.at for at in gate.request.get("remind", [])))


def _approval_expired(state: RunState, fact: Fact) -> None:
    _end_gate(state, fact, "expired")
    state.last_input = fact.seq


def _approval_closed(state: RunState, fact: Fact) -> None:
    if (
        state.gates[fact.payload["gate"]].status == "open"
    ):  # else it was decided before the code was at hand to leave it
        _end_gate(state, fact, "closed")


def _decision_refused(state: RunState, fact: Fact) -> None:
    gate = state.gates.get(fact.payload["gate"])
    if gate is not None:
        gate.refused.append(fact.payload)


# Signals -----------------------------------------------------------------------------------------------------------


def _signal_awaited(state: RunState, fact: Fact) -> None:
    p = fact.payload
    wait = WaitState(p["wait"], p["name"], fact.seq, fact.at, p.get("expires_at"), p.get("json_schema"))
    state.waits[wait.number] = wait
    state.reopened = False
    kept = state.signals.get(wait.name)
    if kept:
        wait.taken = kept.pop(0)
    else:
        state.open_waits.add(wait.number)


def _signal_received(state: RunState, fact: Fact) -> None:
    p = fact.payload
    name = p["name"]
    if p.get("key") is not None:
        state.signal_keys[f"{name}\0{p['key']}"] = p
    state.last_input = fact.seq
    _offer(state, name, fact.seq)


def _offer(state: RunState, name: str, seq: int) -> None:
    """A signal that none took: for the oldest wait for that name, or kept."""
    waiting = min((n for n in state.open_waits if state.waits[n].name == name), default=None)
    if waiting is None:
        kept = state.signals.setdefault(name, [])
        kept.append(seq)
        kept.sort()
    else:
        state.waits[waiting].taken = seq
        state.open_waits.discard(waiting)


def _wait_ended(state: RunState, fact: Fact) -> None:
    wait = state.waits[fact.payload["wait"]]
    wait.ended = fact.seq
    if wait.number in state.open_waits:
        state.open_waits.discard(wait.number)
    elif wait.taken is not None:
        # it came before the code was at hand to leave the wait: it is there for the next one
        taken, wait.taken = wait.taken, None
        _offer(state, wait.name, taken)


def _wait_expired(state: RunState, fact: Fact) -> None:
    _wait_ended(state, fact)
    state.waits[fact.payload["wait"]].expired = True
    state.last_input = fact.seq


# Children ----------------------------------------------------------------------------------------------------------


def _child_started(state: RunState, fact: Fact) -> None:
    p = fact.payload
    child = ChildState(p["call"], p["child"], p["workflow"], fact.seq, p.get("input"), p.get("on_close", "cancel"))
    before = state.children.get(child.call)
    if before is not None and not before.void:
        child.asked_seq = before.asked_seq  # a retry puts another in its place; the code has asked once
    state.children[child.call] = child
    state.open_children.add(child.call)
    state.due_children.discard(child.call)
    state.reopened = False


def _child_finished(state: RunState, fact: Fact) -> None:
    p = fact.payload
    child = state.children[p["call"]]
    state.open_children.discard(child.call)
    if child.status == "open":
        child.status, child.ended_seq = p["status"], fact.seq
        state.last_input = fact.seq


def _child_cancelled(state: RunState, fact: Fact) -> None:
    child = state.children[fact.payload["call"]]
    if child.status in ("open", "due"):
        child.status, child.ended_seq, child.given_up = "cancelled", fact.seq, True
        state.open_children.discard(child.call)
        state.due_children.discard(child.call)


def void_waits(state: RunState, failed_at: int, failed: Collection[str | None]) -> None:
    """Undo what the code asked for and gave up behind the input at `failed_at`: a retry asks again, and what was heard
    stays. The ends of the children `failed` are undone too."""
    for gate in state.gates.values():
        if gate.asked_seq > failed_at:
            gate.void = True
            if gate.status == "open":
                gate.status = "closed"
                state.open_gates.discard(gate.id)
        elif gate.status == "closed" and (gate.ended_seq or 0) > failed_at >= gate.asked_seq:
            gate.status, gate.answer, gate.ended_seq, gate.decided_at = "open", None, None, None
            state.open_gates.add(gate.id)
    for number, wait in sorted(state.waits.items()):
        if wait.asked_seq > failed_at:
            state.open_waits.discard(number)
            del state.waits[number]
            if wait.taken is not None:
                _offer(state, wait.name, wait.taken)
        elif wait.ended is not None and wait.ended > failed_at and not wait.expired:
            wait.ended = None
            kept = state.signals.get(wait.name)
            if kept:
                wait.taken = kept.pop(0)
            else:
                state.open_waits.add(number)
    for child in state.children.values():
        if child.void:
            continue
        if child.asked_seq > failed_at:
            child.void = True
            state.open_children.discard(child.call)
            state.due_children.discard(child.call)
        elif child.call in failed:
            child.status, child.ended_seq = "open", None
            state.open_children.add(child.call)
            state.due_children.discard(child.call)
        elif child.given_up and (child.ended_seq or 0) > failed_at:
            child.status, child.ended_seq, child.given_up = "due", None, False
            state.due_children.add(child.call)


WAITS: dict[str, Callable[[RunState, Fact], None]] = {
    "SIGNAL_AWAITED": _signal_awaited,
    "SIGNAL_RECEIVED": _signal_received,
    "WAIT_EXPIRED": _wait_expired,
    "WAIT_CANCELLED": _wait_ended,
    "APPROVAL_REQUESTED": _approval_requested,
    "APPROVAL_GRANTED": _approval_granted,
    "APPROVAL_DENIED": _approval_denied,
    "APPROVAL_ESCALATED": _approval_escalated,
    "APPROVAL_REMINDED": _approval_reminded,
    "APPROVAL_EXPIRED": _approval_expired,
    "APPROVAL_CLOSED": _approval_closed,
    "DECISION_REFUSED": _decision_refused,
    "CHILD_STARTED": _child_started,
    "CHILD_FINISHED": _child_finished,
    "CHILD_CANCELLED": _child_cancelled,
}
