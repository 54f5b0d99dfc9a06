"""What each open thing of a run says of itself: a gate, a signal, a step, a child, a backoff, a timer, its clean-up.

Pure. Here are the sentences; which of them come first, and who has to be there to move the run, is in `history.why`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from vbl.history.narration import EXPIRY, cause, duration, people, printable, tries, utc
from vbl.history.state import ChildState, GateState, RunState, StepState, WaitState

T = TypeVar("T")

SCHEDULE = "vbl.schedule"
"""The workflow that a schedule is. The signal that it waits for is no message for anybody to send."""
NAMED = 3
"""So many things of one kind are named; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that a run waits for: its kind, a sentence, the instant (microseconds since 1970 UTC) at which time
    alone ends it, or None, and what to type, or nothing."""

    waits_for: str
    detail: str
    until: int | None = None
    hint: str = ""


def open_things(state: RunState, now: int, children: Mapping[str, str]) -> list[Reason]:
    """Everything that can move the run, what a person can do first. `children` holds the statuses that are known."""
    schedule = state.workflow == SCHEDULE
    return [
        *steps(state, now),
        *gates(state, now),
        *([] if schedule else signals(state, now)),
        *kin(state, children),
        *backoff(state, now),
        *times(state, now),
        *clean_up(state, now),
        *(words(state) if schedule else []),
    ]


def when(at: int, now: int) -> str:
    """`in 2 h`, or `now` for what is due."""
    return f"in {duration(at - now)}" if at > now else "now"


def names(flying: Sequence[StepState]) -> str:
    """`step fetch, attempt 2` or `5 steps (a, b, c, …)`."""
    if len(flying) == 1:
        (step,) = flying
        return f"step {printable(step.key)}" + (f", attempt {step.attempt}" if step.attempt > 1 else "")
    named = ", ".join(printable(step.key) for step in flying[:NAMED])
    return f"{len(flying)} steps ({named}{', …' if len(flying) > NAMED else ''})"


def in_flight(state: RunState) -> list[StepState]:
    """The steps whose bodies run, as far as the history knows."""
    return [step for step in state.steps.values() if step.status == "running" and not step.void]


def steps(state: RunState, now: int) -> list[Reason]:
    """The bodies in flight, as one thing."""
    flying = in_flight(state)
    if not flying:
        return []
    since = min(step.started_at for step in flying)
    return [Reason("step", f"{names(flying)} in flight for {duration(now - since)}")]


# What others do ----------------------------------------------------------------------------------------------------


def open_gates(state: RunState) -> list[GateState]:
    """The gates that wait for a person, in the order in which they were asked for."""
    return sorted((state.gates[id] for id in state.open_gates), key=lambda gate: gate.asked_seq)


def gates(state: RunState, now: int) -> list[Reason]:
    """One reason for each open gate; the inbox has those beyond the first few."""
    opened = open_gates(state)
    told = [_gate(gate, now) for gate in opened[:NAMED]]
    return [*told, *_more("gate", "gate", len(opened) - NAMED, "vbl inbox")]


def _gate(gate: GateState, now: int) -> Reason:
    parts = [
        f"gate {printable(gate.name)} ({gate.id}) asks {printable(people(gate.to))}, "
        f"for {duration(now - gate.requested_at)} now"
    ]
    need = gate.request.get("need", 1)
    if need > 1:
        by = ", ".join(str(vote["actor"]) for vote in gate.votes)
        parts.append(f"{len(gate.votes)} of {need} have approved" + (f": {printable(by)}" if by else ""))
    if gate.request.get("problem"):
        parts.append(f"asked again: {printable(gate.request['problem'])}")
    escalations = gate.request.get("escalate", [])[gate.escalated :]
    if escalations:
        one = escalations[0]
        parts.append(f"escalates to {printable(people(one['to']))} {when(one['at'], now)}")
    if gate.expires_at is not None:
        what = EXPIRY.get(gate.request.get("on_timeout", ""), "")
        parts.append(f"expires {when(gate.expires_at, now)}" + (f", which {what}" if what else ""))
    hint = f"vbl approve {gate.id}   (or: vbl deny {gate.id})"
    return Reason("gate", "; ".join(parts), gate.expires_at, hint)


def signals(state: RunState, now: int) -> list[Reason]:
    """One reason for each wait for a signal."""
    waits = sorted((state.waits[number] for number in state.open_waits), key=lambda wait: wait.asked_seq)
    told = [_signal(wait, state.run_id, now) for wait in waits[:NAMED]]
    return [*told, *_more("signal", "wait for a signal", len(waits) - NAMED)]


def _signal(wait: WaitState, run_id: str, now: int) -> Reason:
    ends = f"; gives up {when(wait.expires_at, now)}" if wait.expires_at is not None else ""
    detail = f"signal {printable(wait.name)}, for {duration(now - wait.asked_at)} now{ends}"
    data = " JSON" if wait.json_schema is not None else ""
    return Reason("signal", detail, wait.expires_at, f"vbl signal {run_id} {shlex.quote(wait.name)}{data}")


def words(state: RunState) -> list[Reason]:
    """What a schedule hears besides its instants."""
    return [Reason("signal", "what `vbl schedules` says to it", None, "vbl schedules")] if state.open_waits else []


def open_children(state: RunState) -> list[ChildState]:
    """The children whose end the run waits for, in the order in which they were started."""
    return sorted((state.children[call] for call in state.open_children), key=lambda child: child.asked_seq)


def kin(state: RunState, statuses: Mapping[str, str]) -> list[Reason]:
    """One reason for each child that has not ended; those in the hands of a person or stuck first."""
    opened = sorted(open_children(state), key=lambda child: statuses.get(child.id, "") not in _STANDS_STILL)
    told = [_child(child, statuses.get(child.id)) for child in opened[:NAMED]]
    return [*told, *_more("child", "child", len(opened) - NAMED, f"vbl show {state.run_id}")]


_STANDS_STILL = frozenset({"waiting_for_approval", "blocked", "paused"})


def _child(child: ChildState, status: str | None) -> Reason:
    stands = f", {status.replace('_', ' ')}" if status is not None else ""
    return Reason("child", f"child {printable(child.workflow)} ({child.id}){stands}", None, f"vbl why {child.id}")


def _more(kind: str, noun: str, count: int, hint: str = "") -> list[Reason]:
    if count <= 0:
        return []
    nouns = {"child": "children", "wait for a signal": "waits for signals"}.get(noun, f"{noun}s")
    return [Reason(kind, f"{count} more {noun if count == 1 else nouns}", None, hint)]


# What time does ----------------------------------------------------------------------------------------------------


def backoff(state: RunState, now: int) -> list[Reason]:
    """The steps that failed and are tried again later: the soonest, and how many more."""
    if not state.backing_off:
        return []
    step = min((state.steps[key] for key in state.backing_off), key=lambda s: (s.retry_at or 0, s.asked_seq))
    until = step.retry_at or now
    others = len(state.backing_off) - 1
    more = f"; {others} more backing off" if others else ""
    error = f" ({printable(cause(step.error))})" if step.error else ""
    which = tries(step.failures + 1 if step.max_attempts else step.attempt + 1, step.max_attempts)
    detail = f"{printable(step.key)} failed{error}, retrying {when(until, now)}, {which}{more}"
    return [Reason("backoff", detail, until, f"vbl retry {state.run_id}   (to try now)")]


def times(state: RunState, now: int) -> list[Reason]:
    """The next timer, and the deadline of the run, in the order in which they come."""
    told: list[Reason] = []
    if state.open_timers:
        timer = min((state.timers[number] for number in state.open_timers), key=lambda t: (t.at, t.number))
        others = len(state.open_timers) - 1
        more = f", first of {others + 1}" if others else ""
        detail = f"timer {timer.number}{more}: until {utc(timer.at)}, {when(timer.at, now)}"
        told.append(Reason("timer", detail, timer.at))
    if state.deadline is not None and state.cancel is None:
        told.append(Reason("timer", f"its deadline, {when(state.deadline, now)}", state.deadline))
    return sorted(told, key=lambda reason: reason.until or 0)


def clean_up(state: RunState, now: int) -> list[Reason]:
    """That the run is being cancelled, where its code has been told."""
    cancel = state.cancel
    if cancel is None:
        return []
    until: int | None = cancel.get("until")
    bound = f"; it may clean up until {utc(until)}, {when(until, now)}" if until is not None else "; it cleans up"
    return [Reason("clean-up", f"cancelled{told_of(cancel)}{bound}", until)]


def told_of(cancel: Mapping[str, Any] | None) -> str:
    """By whom a run was cancelled and why, as far as that was said; empty where nobody asked for it."""
    if cancel is None:
        return ""
    by = f" by {printable(cancel['actor'])}" if cancel.get("actor") else ""
    return by + (f" ({printable(cancel['reason'])})" if cancel.get("reason") else "")
