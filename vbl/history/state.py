"""What a history adds up to: `fold(facts) -> RunState`, and the summary row that is derived from it.

Everything here is a pure function of the events. The engine applies each fact it appends to the same state by
the same `apply`, so that what is live and what is read back can't differ.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from vbl.history.facts import Fact, is_input
from vbl.history.steps import (
    STEPS,
    StepState,
    TimerState,
    due_again,
    reopen,
    void_after,
)
from vbl.history.waits import WAITS, ChildState, GateState, WaitState, void_waits


class Status(StrEnum):
    """Where a run is; derived from its history."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    PAUSED = "paused"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


@dataclass(slots=True)
class RunState:
    """The state of a run after `seq` events. Instants are microseconds since 1970 UTC.

    `outputs` maps the key of each completed step to its recorded output (plain JSON data); `variables` are the
    fields of `vbl.state`; `applied` is the seq of the last input that the code has digested. `signals` holds, by name,
    the seqs of those that no wait has taken; gates are by id, children by the key of their call. `usd` is what the
    steps say that they cost, None where none does.
    """

    run_id: str = ""
    seq: int = 0
    at: int = 0
    workflow: str = ""
    version: str = ""
    input: Any = None
    key: str | None = None
    parent: str | None = None
    tags: list[str] = field(default_factory=list[str])
    call: str | None = None
    deadline: int | None = None
    priority: int = 0
    queue: str | None = None
    lane: str | None = None
    placed: bool = False
    actor: str | None = None
    created_at: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    epoch: int = 0
    steps: dict[str, StepState] = field(default_factory=dict[str, StepState])
    timers: dict[int, TimerState] = field(default_factory=dict[int, TimerState])
    gates: dict[str, GateState] = field(default_factory=dict[str, GateState])
    waits: dict[int, WaitState] = field(default_factory=dict[int, WaitState])
    signals: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    signal_keys: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    children: dict[str, ChildState] = field(default_factory=dict[str, ChildState])
    variables: dict[str, Any] = field(default_factory=dict[str, Any])
    patches: list[str] = field(default_factory=list[str])
    checkpoint: int = 0
    digest: str | None = None
    applied: int = 0
    last_input: int = 0
    in_flight: int = 0
    due: int = 0
    backing_off: set[str] = field(default_factory=set[str])
    open_timers: set[int] = field(default_factory=set[int])
    open_gates: set[str] = field(default_factory=set[str])
    open_waits: set[int] = field(default_factory=set[int])
    open_children: set[str] = field(default_factory=set[str])
    due_children: set[str] = field(default_factory=set[str])
    paused: bool = False
    blocked: dict[str, Any] | None = None
    blocked_by: list[str] = field(default_factory=list[str])
    cancel: dict[str, Any] | None = None
    outcome: str | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    undone: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    reopened: bool = False
    usage: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    usd: float | None = None

    @property
    def waits_for_place(self) -> bool:
        """Whether the run needs a place in its queue to begin, or to go on after a retry; no cancelled one does."""
        return self.queue is not None and not self.placed and self.cancel is None

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.outcome is not None

    @property
    def outputs(self) -> dict[str, Any]:
        """The recorded output of each completed step, in the order in which they were asked for."""
        return {key: step.output for key, step in self.steps.items() if step.status == "completed" and not step.void}

    @property
    def pending(self) -> list[str]:
        """The keys of the steps that were asked for and have not ended."""
        return [
            key for key, step in self.steps.items() if step.status in ("running", "retrying", "due") and not step.void
        ]

    @property
    def attempts(self) -> dict[str, int]:
        """The number of attempts of each step so far."""
        return {key: step.attempt for key, step in self.steps.items()}

    @property
    def status(self) -> Status:
        """Where the run is. The order of the questions is the meaning of the words."""
        if self.outcome is not None:
            return Status(self.outcome)
        if self.blocked is not None:
            return Status.BLOCKED
        if self.paused:
            return Status.PAUSED
        if self.started_at is None or (self.queue is not None and self.waits_for_place):
            return Status.QUEUED
        if self.in_flight or self.due or self.due_children or self.last_input > self.applied or self.reopened:
            return Status.RUNNING
        if self.backing_off:
            return Status.RETRYING
        if self.open_gates:
            return Status.WAITING_FOR_APPROVAL
        return Status.WAITING if self.open_timers or self.open_waits or self.open_children else Status.RUNNING

    @property
    def wake_at(self) -> int | None:
        """When time alone moves the run on: the earliest open timer, backoff, deadline, or end of a wait."""
        timed = self.open_timers or self.backing_off or self.open_gates or self.open_waits
        if not timed and self.deadline is None and self.cancel is None:
            return None
        if self.outcome is not None or self.paused or self.blocked is not None:
            return None
        moments = [self.timers[number].at for number in self.open_timers]
        if self.backing_off:
            moments += [self.steps[key].retry_at or 0 for key in self.backing_off]
        if self.deadline is not None and self.cancel is None:
            moments.append(self.deadline)
        if self.cancel is not None and self.cancel["until"] is not None:
            moments.append(self.cancel["until"])
        if self.open_gates:
            moments += [at for id in self.open_gates if (at := self.gates[id].next_at) is not None]
        if self.open_waits:
            moments += [at for number in self.open_waits if (at := self.waits[number].expires_at) is not None]
        return min(moments) if moments else None

    @property
    def due_at(self) -> int | None:
        """When a supervisor should next look at the run; None while only a step in flight, a person, a signal, a child
        or a place in a queue will wake it."""
        if self.outcome is not None or self.paused or self.blocked is not None:
            return None
        if self.started_at is None:
            return self.created_at if self.queue is None else self.deadline
        if self.queue is not None and self.waits_for_place:
            return self.deadline
        if self.due or self.due_children or self.last_input > self.applied or self.reopened:
            return self.at
        wake = self.wake_at
        if wake is None and not (self.in_flight or self.open_gates or self.open_waits or self.open_children):
            return self.at
        return wake


def fold(facts: Iterable[Fact], onto: RunState | None = None) -> RunState:
    """Add up a run's events; `onto` is not changed. Folding a prefix and then the rest equals folding all."""
    state = copy.deepcopy(onto) if onto is not None else RunState()
    for fact in facts:
        apply(state, fact)
    return state


def apply(state: RunState, fact: Fact) -> None:
    """Bring `state` forward by one event, in place."""
    APPLY[fact.type](state, fact)
    state.seq = fact.seq
    state.at = fact.at


def _run_created(state: RunState, fact: Fact) -> None:
    p = fact.payload
    state.run_id, state.workflow, state.version = p["run_id"], p["workflow"], p["version"]
    state.input, state.key, state.parent = p.get("input"), p.get("key"), p.get("parent")
    state.call = p.get("call")
    state.queue, state.lane = p.get("queue"), p.get("lane")
    state.tags, state.deadline = p.get("tags") or [], p.get("deadline")
    state.priority, state.actor = p.get("priority", 0), p.get("actor")
    state.created_at = fact.at


def _run_started(state: RunState, fact: Fact) -> None:
    state.started_at = fact.at
    state.placed = True
    state.epoch = fact.payload["epoch"]
    if "queue" in fact.payload:
        _run_queued(state, fact)
    state.applied = state.last_input = fact.seq


def _run_queued(state: RunState, fact: Fact) -> None:
    state.queue, state.lane = fact.payload["queue"], fact.payload.get("lane")


def _run_resumed(state: RunState, fact: Fact) -> None:
    state.epoch = fact.payload["epoch"]
    state.placed = state.placed or "queue" in fact.payload
    state.reopened = False
    _clean_up_anew(state, fact.at)
    if fact.payload.get("unblocked"):
        state.blocked, state.blocked_by = None, []


def _finish(outcome: Status) -> Callable[[RunState, Fact], None]:
    def finish(state: RunState, fact: Fact) -> None:
        state.outcome = outcome.value
        state.finished_at = fact.at
        state.output = fact.payload.get("output")
        state.error = fact.payload.get("error")
        state.undone = fact.payload.get("undone") or []
        state.blocked = None
        state.paused = state.reopened = False

    return finish


def _run_blocked(state: RunState, fact: Fact) -> None:
    state.blocked = fact.payload
    state.blocked_by = [*state.blocked_by, fact.payload["version"]]
    state.reopened = False
    step = state.steps.get(fact.payload.get("step") or "")
    if step is not None and step.probing:
        due_again(state, step)  # the probe could not say


def _run_paused(state: RunState, fact: Fact) -> None:
    state.paused = True


def _run_unpaused(state: RunState, fact: Fact) -> None:
    state.paused = False
    _clean_up_anew(state, fact.at)


def _run_retried(state: RunState, fact: Fact) -> None:
    key = fact.payload.get("step")
    if key in state.steps:
        step = state.steps[key]
        step.interruptions = step.deaths_alone = 0
        if state.blocked is not None and state.blocked["reason"] == "unknown_outcome":
            step.interrupted = False  # somebody who was told of it says: run it again
    state.blocked, state.blocked_by, state.reopened = None, [], True
    _clean_up_anew(state, fact.at)
    failed_at = fact.payload.get("from_seq")
    if state.outcome is not None:
        state.placed = False
        state.outcome = state.error = state.output = state.finished_at = None
    if failed_at is not None:
        again = {key, *fact.payload.get("also", ())}
        void_after(state, failed_at, again, fact.at)
        void_waits(state, failed_at, again)
    elif key in state.backing_off:
        reopen(state, state.steps[key], fact.at)


def _cancel_requested(state: RunState, fact: Fact) -> None:
    p = fact.payload
    until: int | None = p.get("until")
    span = None if until is None else until - fact.at
    state.cancel = {"at": fact.at, "actor": p.get("actor"), "reason": p.get("reason"), "until": until, "span": span}
    state.last_input = fact.seq


def _clean_up_anew(state: RunState, at: int) -> None:
    """Nobody could clean up meanwhile: a cancelled run has all of its time from now on."""
    if state.cancel is not None and state.cancel["span"] is not None:
        state.cancel = {**state.cancel, "until": max(state.cancel["until"], at + state.cancel["span"])}


def _checkpoint_written(state: RunState, fact: Fact) -> None:
    p = fact.payload
    state.checkpoint, state.applied, state.digest = p["checkpoint"], p["applied"], p.get("digest")
    if p.get("delta"):
        state.variables = {**state.variables, **p["delta"]}


def _version_marked(state: RunState, fact: Fact) -> None:
    state.patches.append(fact.payload["patch"])


def _scheduled(state: RunState, fact: Fact) -> None:
    """What a schedule did is told by its own variables; the event is there to be read."""


APPLY: dict[str, Callable[[RunState, Fact], None]] = {
    **STEPS,
    **WAITS,
    "RUN_CREATED": _run_created,
    "RUN_STARTED": _run_started,
    "RUN_QUEUED": _run_queued,
    "RUN_RESUMED": _run_resumed,
    "RUN_COMPLETED": _finish(Status.COMPLETED),
    "RUN_FAILED": _finish(Status.FAILED),
    "RUN_CANCELLED": _finish(Status.CANCELLED),
    "RUN_BLOCKED": _run_blocked,
    "RUN_PAUSED": _run_paused,
    "RUN_UNPAUSED": _run_unpaused,
    "RUN_RETRIED": _run_retried,
    "CANCEL_REQUESTED": _cancel_requested,
    "SCHEDULE_FIRED": _scheduled,
    "SCHEDULE_SKIPPED": _scheduled,
    "CHECKPOINT_WRITTEN": _checkpoint_written,
    "VERSION_MARKED": _version_marked,
}


@dataclass(frozen=True, slots=True)
class Summary:
    """The derived row of a run in `runs`. Disposable: it is rebuilt from the events."""

    id: str
    workflow: str
    version: str
    status: str
    start_key: str | None
    parent_id: str | None
    tags: str
    priority: int
    created_at: int
    updated_at: int
    finished_at: int | None
    wake_at: int | None
    due_at: int | None
    in_flight: int
    seq: int
    started_at: int | None
    queue: str | None
    lane: str | None
    usd: float | None


def summarise(state: RunState) -> Summary:
    """Derive the summary row from a state."""
    return Summary(
        state.run_id, state.workflow, state.version, state.status.value, state.key, state.parent, "\n".join(state.tags),
        state.priority, state.created_at, state.at, state.finished_at, state.wake_at, state.due_at, state.in_flight,
        state.seq, state.started_at, state.queue, state.lane, state.usd,
    )  # fmt: skip


__all__ = [
    "ChildState",
    "GateState",
    "RunState",
    "Status",
    "StepState",
    "Summary",
    "TimerState",
    "WaitState",
    "apply",
    "fold",
    "is_input",
    "summarise",
]
