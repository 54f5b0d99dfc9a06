"""The steps and timers of a run, in its state, and how their events change them.

Pure, like the rest of the fold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vbl.history.facts import Fact

if TYPE_CHECKING:
    from vbl.history.state import RunState

QUARANTINE_AFTER = 3
"""From this many counted interruptions on, a step is started alone."""
DEATHS_ALONE = 2
"""So many deaths while alone block the run."""


@dataclass(slots=True)
class StepState:
    """One step of a run: what is known of its attempts.

    `status` is running, retrying (backing off), due (to be started again), completed, failed or cancelled.
    `interrupted`: nobody knows how its last attempt ended; while `probing`, its probe is asked. `late_seq` is the seq
    of the end that a write had although the code had given it up, or of its success after the code saw it fail.
    """

    key: str
    name: str
    asked_at: int
    asked_seq: int
    effect: str | None = None
    status: str = "running"
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    deaths_alone: int = 0
    alone: bool = False
    started_at: int = 0
    finished_at: int | None = None
    retry_at: int | None = None
    max_attempts: int | None = None
    ended_seq: int | None = None
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    void: bool = False
    interrupted: bool = False
    probing: bool = False
    late_seq: int | None = None
    idempotency_key: str | None = None


@dataclass(slots=True)
class TimerState:
    """A timer that the code set: due at `at`; `fired` and `cancelled` hold the seq of its end."""

    number: int
    at: int
    set_seq: int
    fired: int | None = None
    cancelled: int | None = None


def name_of(key: str) -> str:
    """The step's name within its key: `fetch`, `fetch#2` and `fetch#2[7]` are all calls of `fetch`."""
    return key.partition("#")[0].partition("[")[0]


def _step_started(state: RunState, fact: Fact) -> None:
    p = fact.payload
    key = p["step"]
    step = state.steps.get(key)
    if step is None or step.void:
        attempts = step.attempt if step is not None else 0
        if step is not None:
            del state.steps[key]
        step = StepState(key, p.get("name") or name_of(key), fact.at, fact.seq, p.get("effect"), attempt=attempts)
        step.input = p.get("input")
        step.idempotency_key = p.get("idempotency_key")
        state.steps[key] = step
    else:
        _close(state, step)
    step.status = "running"
    step.interrupted = False
    step.attempt, step.alone, step.started_at = p["attempt"], p.get("alone", False), fact.at
    state.in_flight += 1
    state.reopened = False


def _step_completed(state: RunState, fact: Fact) -> None:
    p = fact.payload
    step = state.steps[p["step"]]
    if "usage" in p:
        _used(state, p)
    _known(state, step)
    step.output = p.get("output")
    if step.status == "failed":
        step.late_seq = fact.seq
        return
    step.error = None
    if step.status == "cancelled" or step.void:
        step.late_seq = fact.seq
        step.status = "completed" if step.void else "cancelled"  # a retry that asks for it again finds it done
        return
    _close(state, step)
    step.status, step.finished_at, step.ended_seq = "completed", fact.at, fact.seq
    state.last_input = fact.seq


def _step_failed(state: RunState, fact: Fact) -> None:
    p = fact.payload
    step = state.steps[p["step"]]
    if "usage" in p:
        _used(state, p)
    _known(state, step)
    counted, final = step.status == "retrying", p.get("final", True)
    if step.status == "failed" or (counted and not final):
        return  # it failed when its time was up; this is how it ended
    step.error, step.interrupted = p["error"], p.get("unknown", False)
    if step.status == "cancelled" or step.void:
        step.late_seq = fact.seq
        return
    step.failures += not counted
    if final:
        _close(state, step)
        step.status, step.finished_at, step.ended_seq = "failed", fact.at, fact.seq
        state.last_input = fact.seq
    else:
        due_again(state, step)


def _used(state: RunState, payload: dict[str, Any]) -> None:
    """What an attempt used of models, however it ended: the money is spent."""
    usage: dict[str, Any] = payload["usage"] or {}
    for call in usage.get("calls") or [usage] if usage else []:
        state.usage.append({"step": payload["step"], **call})
        usd = call.get("usd")
        if isinstance(usd, (int, float)):
            state.usd = (state.usd or 0.0) + usd


def _step_cancelled(state: RunState, fact: Fact) -> None:
    if "usage" in fact.payload:
        _used(state, fact.payload)
    step = state.steps[fact.payload["step"]]
    if step.status in ("completed", "failed"):
        return  # it had ended before the code was at hand to give it up: it never runs again
    step.interrupted = step.interrupted or step.status == "running"
    _close(state, step)
    step.status, step.finished_at, step.ended_seq = "cancelled", fact.at, fact.seq


def _step_interrupted(state: RunState, fact: Fact) -> None:
    if "usage" in fact.payload:
        _used(state, fact.payload)
    step = state.steps[fact.payload["step"]]
    if step.status != "running":
        return
    due_again(state, step)
    step.interrupted = True
    if fact.payload.get("counted", True):
        step.interruptions += 1
        step.deaths_alone += step.alone


def _retry_scheduled(state: RunState, fact: Fact) -> None:
    step = state.steps[fact.payload["step"]]
    _close(state, step)
    step.status, step.retry_at = "retrying", fact.payload["at"]
    step.max_attempts = fact.payload.get("max_attempts")
    state.backing_off.add(step.key)


def _step_probed(state: RunState, fact: Fact) -> None:
    step = state.steps[fact.payload["step"]]
    _close(state, step)
    step.status, step.probing = "running", True
    step.alone, step.started_at = fact.payload.get("alone", False), fact.at
    state.in_flight += 1
    state.reopened = False


def _step_resolved(state: RunState, fact: Fact) -> None:
    p = fact.payload
    step = state.steps[p["step"]]
    _known(state, step)
    step.interrupted = p["outcome"] == "failed"  # the workflow sees a failure; what happened is still not known
    if p["outcome"] == "did_not_happen":
        due_again(state, step)
        return
    _close(state, step)
    step.finished_at, step.ended_seq = fact.at, fact.seq
    state.last_input = fact.seq
    if p["outcome"] == "happened":
        step.status, step.output, step.error = "completed", p.get("output"), None
    else:
        step.status, step.error = "failed", p["error"]


def _known(state: RunState, step: StepState) -> None:
    """How the last attempt ended is known: nobody has to be asked any more."""
    step.interrupted = False
    if state.blocked is not None and state.blocked.get("step") == step.key:
        state.blocked, state.blocked_by = None, []


def _timer_set(state: RunState, fact: Fact) -> None:
    number = fact.payload["timer"]
    state.timers[number] = TimerState(number, fact.payload["at"], fact.seq)
    state.open_timers.add(number)
    state.reopened = False


def _timer_fired(state: RunState, fact: Fact) -> None:
    number = fact.payload["timer"]
    state.timers[number].fired = fact.seq
    state.open_timers.discard(number)
    state.last_input = fact.seq


def _timer_cancelled(state: RunState, fact: Fact) -> None:
    number = fact.payload["timer"]
    state.timers[number].cancelled = fact.seq
    state.open_timers.discard(number)


def void_after(state: RunState, failed_at: int, failed: Collection[str | None], at: int) -> None:
    """Undo what the code did behind the input at `failed_at`, and the failures of the steps `failed`; completions of
    earlier steps stay."""
    for step in state.steps.values():
        if step.void:
            continue
        if step.asked_seq > failed_at:
            step.interrupted = step.interrupted or step.status == "running"
            completed = step.status == "completed" or _succeeded_late(step)
            _close(state, step)
            step.void = True
            step.status = "completed" if completed else "cancelled"
        elif step.key in failed or (step.status == "cancelled" and (step.ended_seq or 0) > failed_at):
            if _succeeded_late(step):
                step.status, step.ended_seq, step.error = "completed", step.late_seq, None
                state.last_input = max(state.last_input, step.late_seq or 0)
            else:
                reopen(state, step, at)
    for timer in list(state.timers.values()):
        if timer.set_seq > failed_at:
            state.open_timers.discard(timer.number)
            del state.timers[timer.number]
        elif timer.cancelled is not None and timer.cancelled > failed_at:
            timer.cancelled = None
            state.open_timers.add(timer.number)


def reopen(state: RunState, step: StepState, at: int) -> None:
    """The step is due again, as if it had just been asked for."""
    _close(state, step)
    step.asked_at = at
    step.status, step.failures, step.error = "due", 0, None
    step.finished_at = step.ended_seq = step.late_seq = None
    state.due += 1


def _succeeded_late(step: StepState) -> bool:
    return step.late_seq is not None and (step.error is None or step.status == "failed")


def due_again(state: RunState, step: StepState) -> None:
    """The step in flight is to be started again."""
    _close(state, step)
    step.status = "due"
    state.due += 1


def _close(state: RunState, step: StepState) -> None:
    """Take the step out of the counts of what is open."""
    step.probing = False
    if step.status == "running":
        state.in_flight -= 1
    elif step.status == "due":
        state.due -= 1
    elif step.status == "retrying":
        state.backing_off.discard(step.key)
        step.retry_at = None


STEPS: dict[str, Callable[[RunState, Fact], None]] = {
    "STEP_STARTED": _step_started,
    "STEP_COMPLETED": _step_completed,
    "STEP_FAILED": _step_failed,
    "STEP_CANCELLED": _step_cancelled,
    "STEP_INTERRUPTED": _step_interrupted,
    "STEP_PROBED": _step_probed,
    "RETRY_SCHEDULED": _retry_scheduled,
    "STEP_RESOLVED": _step_resolved,
    "TIMER_SET": _timer_set,
    "TIMER_FIRED": _timer_fired,
    "TIMER_CANCELLED": _timer_cancelled,
}
