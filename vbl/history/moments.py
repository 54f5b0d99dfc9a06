"""What time does to the gates and the waits of a run: pure, from its state and the instant to the next event."""

from __future__ import annotations

from vbl.history.events import ApprovalEscalated, ApprovalExpired, ApprovalReminded, Payload, WaitExpired
from vbl.history.state import RunState
from vbl.history.waits import GateState


def passed(state: RunState, now: int) -> tuple[int, Payload] | None:
    """What was due first of all whose time has come at `now`, and when that was: the end of a wait, or a gate's
    reminder, escalation or end."""
    found: list[tuple[int, int, Payload]] = []
    for number in state.open_waits:
        at = state.waits[number].expires_at
        if at is not None and at <= now:
            found.append((at, state.waits[number].asked_seq, WaitExpired(wait=number, late_us=now - at)))
    for id in state.open_gates:
        gate = state.gates[id]
        at = gate.next_at
        if at is not None and at <= now:
            if gate.expires_at is not None and gate.expires_at <= now:
                at = gate.expires_at  # nobody is reminded of what is over
            found.append((at, gate.asked_seq, _of_gate(gate, at, now)))
    if not found:
        return None
    at, _, payload = min(found, key=lambda one: one[:2])
    return at, payload


def _of_gate(gate: GateState, at: int, now: int) -> Payload:
    """What happens to a gate whose moment `at` has come: its end first, then escalations, then reminders."""
    request, late = gate.request, now - at
    steps = request.get("escalate", [])
    if gate.expires_at is not None and gate.expires_at <= now:
        outcome = request.get("on_timeout", "deny")
        if outcome != "escalate":
            return ApprovalExpired(gate=gate.id, outcome=outcome, late_us=now - gate.expires_at)
        if gate.escalated < len(steps):
            rest = [step["to"] for step in steps[gate.escalated :]]
            people = [one for to in rest for one in to] if all(rest) else []  # one of them is anybody
            extended = max(now, gate.expires_at) + request["timeout_us"]
            return ApprovalEscalated(gate=gate.id, to=people, expires_at=extended, late_us=now - gate.expires_at)
        return ApprovalExpired(gate=gate.id, outcome="deny", late_us=now - gate.expires_at)
    due = [step for step in steps[gate.escalated :] if step["at"] <= now]
    if due:
        return ApprovalEscalated(gate=gate.id, to=due[0]["to"], late_us=late)
    return ApprovalReminded(gate=gate.id, late_us=late)
