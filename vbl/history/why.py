"""What a run waits for: every run that is not finished waits for one named thing, and this says which.

Pure: `why` is told the state, the time, whether a supervisor is alive and which workflows it has loaded.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from vbl.history.narration import cause, duration, printable, tries
from vbl.history.state import RunState, Status, StepState

NAMED = 3
"""So many steps are named; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Why:
    """What a run waits for.

    `waits_for` is one of nothing, supervisor, workflow, step, backoff, timer, unpause, code, person, retry; `detail`
    is a sentence; `until` the instant (microseconds since 1970 UTC) when time alone ends the wait, or None; `hint`
    is what to type, or empty.
    """

    status: Status
    waits_for: str
    detail: str
    until: int | None = None
    hint: str = ""


def why(
    state: RunState,
    now: int,
    workflows_loaded: Collection[str] | None,
    supervisor_alive: bool,
    file: str | None = None,
) -> Why:
    """Name what the run waits for.

    `workflows_loaded` is what the supervisor has, None if that is not known; `file` the one that defines the
    workflow, where it is known, for the hint.
    """
    if state.finished:
        return _finished(state)
    if state.blocked is not None:
        return _blocked(state)
    if state.paused:
        return Why(Status.PAUSED, "unpause", _paused_detail(state), None, f"vbl unpause {state.run_id}")
    up = f"vbl up {file}" if file else f"vbl up FILE.py   (the file that defines {state.workflow})"
    return _owner(state, now, workflows_loaded, supervisor_alive, up) or _moving(state, now, supervisor_alive, up)


def _finished(state: RunState) -> Why:
    took = duration((state.finished_at or state.at) - state.created_at)
    if state.status is Status.FAILED:
        error = f": {printable(cause(state.error))}" if state.error else ""
        return Why(Status.FAILED, "retry", f"failed after {took}{error}", None, f"vbl retry {state.run_id}")
    return Why(state.status, "nothing", f"{state.status} after {took}")


def _blocked(state: RunState) -> Why:
    block = state.blocked or {}
    waits_for = "person" if block["reason"] in _SETTLED_BY_A_PERSON else "code"
    return Why(Status.BLOCKED, waits_for, str(block["message"]).strip(), None, str(block["unblock"]))


_SETTLED_BY_A_PERSON = frozenset({"poisoned", "unknown_outcome"})
"""Blocks that say something about the world, which no other code can know."""


def _paused_detail(state: RunState) -> str:
    running = [step for step in state.steps.values() if step.status == "running" and not step.void]
    return "paused" + (
        f"; {_names(running)} still in flight, to be recorded when done"
        if running
        else "; no step starts until it is unpaused"
    )


def _owner(state: RunState, now: int, loaded: Collection[str] | None, alive: bool, up: str) -> Why | None:
    """The wait for somebody to move the run at all, if that is what it waits for now."""
    due_at = state.due_at
    asleep = due_at is not None and due_at > now and not state.in_flight
    if asleep:
        return None
    if not alive:
        return Why(state.status, "supervisor", _without_supervisor(state), None, up)
    if loaded is not None and state.workflow not in loaded and not state.in_flight:
        has = ", ".join(sorted(loaded)) or "none"
        detail = f"the supervisor has not loaded the workflow {state.workflow}; it has: {has}"
        return Why(state.status, "workflow", detail, None, f"Stop it, and start it with this file too: {up}")
    return None


def _without_supervisor(state: RunState) -> str:
    if state.status is Status.QUEUED:
        return "queued; no supervisor is alive to start it"
    running = [step for step in state.steps.values() if step.status == "running" and not step.void]
    if running:
        again = "it" if len(running) == 1 else "them"
        return f"{_names(running)} in flight when the supervisor went; the next one starts {again} again"
    what = "a cancel was asked for" if state.cancel is not None else "ready to go on"
    return f"{what}; no supervisor is alive to {'carry it out' if state.cancel is not None else 'move it'}"


def _moving(state: RunState, now: int, alive: bool, up: str) -> Why:
    """The wait of a run that has, or needs as yet, no other owner than time and its own steps."""
    alone = "" if alive else "; no supervisor is alive to notice"
    hint = "" if alive else up
    running = [step for step in state.steps.values() if step.status == "running" and not step.void]
    if running:
        return Why(
            state.status,
            "step",
            f"{_names(running)} in flight for {duration(now - min(s.started_at for s in running))}",
            state.deadline,
        )
    if state.status is Status.QUEUED or state.due or state.last_input > state.applied or state.reopened:
        return Why(state.status, "supervisor", "due; the supervisor takes it up next", None, hint)
    if state.backing_off:
        return _backoff(state, now, alone, hint)
    if state.open_timers:
        return _timer(state, now, alone, hint)
    return Why(state.status, "supervisor", "due; the supervisor takes it up next", None, hint)


def _backoff(state: RunState, now: int, alone: str, hint: str) -> Why:
    step = min((state.steps[key] for key in state.backing_off), key=lambda s: (s.retry_at or 0, s.asked_seq))
    until = step.retry_at or now
    others = len(state.backing_off) - 1
    more = f"; {others} more backing off" if others else ""
    error = f" ({printable(cause(step.error))})" if step.error else ""
    which = tries(step.failures + 1 if step.max_attempts else step.attempt + 1, step.max_attempts)
    detail = f"{printable(step.key)} failed{error}, retrying {_when(until, now)}, {which}{more}{alone}"
    return Why(state.status, "backoff", detail, until, hint or f"vbl retry {state.run_id}   (to try now)")


def _timer(state: RunState, now: int, alone: str, hint: str) -> Why:
    timer = min((state.timers[number] for number in state.open_timers), key=lambda t: (t.at, t.number))
    if state.deadline is not None and state.cancel is None and state.deadline < timer.at:
        return Why(state.status, "timer", f"its deadline, {_when(state.deadline, now)}{alone}", state.deadline, hint)
    others = len(state.open_timers) - 1
    more = f", first of {others + 1}" if others else ""
    return Why(state.status, "timer", f"timer {timer.number}{more}, {_when(timer.at, now)}{alone}", timer.at, hint)


def _when(at: int, now: int) -> str:
    return f"in {duration(at - now)}" if at > now else "now"


def _names(steps: list[StepState]) -> str:
    """`step fetch, attempt 2` or `5 steps (a, b, c, …)`."""
    if len(steps) == 1:
        (step,) = steps
        return f"step {printable(step.key)}" + (f", attempt {step.attempt}" if step.attempt > 1 else "")
    named = ", ".join(printable(step.key) for step in steps[:NAMED])
    return f"{len(steps)} steps ({named}{', …' if len(steps) > NAMED else ''})"
