"""What people and recovery may do to a run: pure functions from its state to the payloads to append.

Each raises Conflict where the history already says something that refuses it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from vbl.errors import Conflict, KeyTaken
from vbl.history.events import (
    ApprovalClosed,
    CancelRequested,
    Error,
    Payload,
    RunCancelled,
    RunPaused,
    RunResumed,
    RunRetried,
    RunUnpaused,
    SignalReceived,
    StepCancelled,
    StepInterrupted,
    StepResolved,
    TimerCancelled,
    WaitCancelled,
)
from vbl.history.state import RunState, Status

CLEAN_UP_US = 300_000_000
"""So long, in microseconds, may a cancelled run clean up where nobody says otherwise."""
PARENT = "parent"
"""Who asks for the cancel of a child that is given up, or whose parent ends before it."""
DEADLINE = "deadline"
"""Who asks for the cancel of a run whose deadline has passed."""


def cancel(state: RunState, actor: str | None, reason: str | None, until: int | None = None) -> list[Payload]:
    """Ask for a cancel. A run whose code cannot see it, because it has not started or is blocked, is cancelled at
    once, also where it was blocked while it cleaned up; a paused one goes on, to be cancelled. It may clean up until
    the instant `until`."""
    if state.finished:
        raise Conflict(
            f"run {state.run_id} is finished ({state.status})",
            f"Look at it: vbl show {state.run_id}",
            code="run_finished",
        )
    if state.cancel is not None and state.blocked is None:
        by = state.cancel.get("actor") or "somebody"
        raise Conflict(
            f"a cancel of run {state.run_id} was asked for already, by {by}",
            f"See what it waits for: vbl why {state.run_id}",
        )
    asked: list[Payload] = [CancelRequested(actor=actor, reason=reason, until=until)] if state.cancel is None else []
    if state.started_at is None or state.blocked is not None:
        return [*asked, *close_all(state), RunCancelled(reason=reason, forced=True)]
    return [RunUnpaused(actor=actor, reason="a cancel was asked for"), *asked] if state.paused else asked


def deadline_passed(at: int) -> CancelRequested:
    """The cancel that a run's deadline asks for, heard by its code at the instant `at`."""
    return CancelRequested(actor=DEADLINE, reason="the run's deadline has passed", until=at + CLEAN_UP_US)


def close_all(state: RunState) -> list[Payload]:
    """Give up everything that is open, where the code is not at hand to do it."""
    return [
        *(StepCancelled(step=key) for key in state.pending),
        *(TimerCancelled(timer=number) for number in sorted(state.open_timers)),
        *(WaitCancelled(wait=number) for number in sorted(state.open_waits)),
        *(ApprovalClosed(gate=id) for id in sorted(state.open_gates)),
    ]


def signal(state: RunState, name: str, data: Any, key: str | None, actor: str | None) -> list[Payload]:
    """Send a message to the run. One whose key came before is not sent again; with other data it is refused."""
    before = state.signal_keys.get(f"{name}\0{key}") if key is not None else None
    if before is not None:
        if before.get("data") == data:
            return []
        raise KeyTaken(
            f"run {state.run_id} has a signal {name!r} with key {key!r} already, and other data",
            "Use another key for another message",
        )
    if state.finished:
        raise Conflict(
            f"run {state.run_id} is finished ({state.status}): nothing in it waits for {name!r}",
            f"Look at it: vbl show {state.run_id}",
            code="run_finished",
        )
    return [SignalReceived(name=name, data=data, key=key, actor=actor)]


def pause(state: RunState, actor: str | None, reason: str | None) -> list[Payload]:
    """Hold the run: nothing more starts."""
    if state.finished:
        raise Conflict(
            f"run {state.run_id} is finished ({state.status})",
            f"Look at it: vbl show {state.run_id}",
            code="run_finished",
        )
    if state.paused:
        raise Conflict(f"run {state.run_id} is paused already", f"Let it go on: vbl unpause {state.run_id}")
    return [RunPaused(actor=actor, reason=reason)]


def unpause(state: RunState, actor: str | None, reason: str | None) -> list[Payload]:
    """Let a paused run go on."""
    if not state.paused:
        raise Conflict(
            f"run {state.run_id} is not paused ({state.status})", f"See what it waits for: vbl why {state.run_id}"
        )
    return [RunUnpaused(actor=actor, reason=reason)]


def retry(state: RunState, actor: str | None, reason: str | None) -> list[Payload]:
    """Open a failed run at the step that failed it, try a blocked one again, or cut a backoff short."""
    status = state.status
    if status is Status.FAILED:
        step = (state.error or {}).get("step")
        if step is not None and (gate := state.gates.get(step)) is not None:
            # nobody decided in time: what the code did since it began to ask is void, and it asks again
            _refuse_undone(state, gate.asked_after)
            return [RunRetried(actor=actor, reason=reason, from_seq=gate.asked_after)]
        failed = state.steps.get(step) or state.children.get(step) if step is not None else None
        if failed is None or failed.status != "failed":
            # a mistake in the code: what it did since it digested its last input is void, the input stays
            _refuse_undone(state, state.applied)
            return [RunRetried(actor=actor, reason=reason, from_seq=state.applied)]
        failed_at = failed.ended_seq or state.seq
        _refuse_undone(state, failed_at)
        also = _failed_after(state, failed_at)
        return [RunRetried(actor=actor, reason=reason, step=step, from_seq=failed_at, also=also)]
    if state.blocked is not None:
        return [RunRetried(actor=actor, reason=reason, step=state.blocked.get("step"))]
    if status is Status.RETRYING:
        soonest = min(state.backing_off, key=lambda key: state.steps[key].retry_at or 0)
        return [RunRetried(actor=actor, reason=reason, step=soonest)]
    raise Conflict(
        f"run {state.run_id} is {status}: only a failed, a blocked or a backing-off run can be retried",
        f"See what it waits for: vbl why {state.run_id}",
    )


def _failed_after(state: RunState, failed_at: int) -> list[str]:
    """The steps and children beside the one that failed the run whose failure came after it: several may fail at once,
    and the code hears of the first."""
    asked = [*state.steps.items(), *state.children.items()]
    failed = [(key, one) for key, one in asked if one.status == "failed" and not one.void]
    return [key for key, one in failed if one.asked_seq < failed_at < (one.ended_seq or 0)]


def _refuse_undone(state: RunState, failed_at: int) -> None:
    """A saga has taken back what was to be built on: going on from there would be a lie. So it has where undos were
    asked for behind what failed the run, and where the run failed as soon as the last of them had ended."""
    steps = [state.steps[told["step"]] for told in state.undone]
    if any(step.asked_seq > failed_at or step.ended_seq == state.applied for step in steps):
        raise Conflict(
            f"run {state.run_id} has undone what it did before it failed ({', '.join(step.key for step in steps)})",
            "Start it anew: a retry would go on as if that still held",
            code="undone",
        )


def resolve(
    state: RunState,
    outcome: Literal["happened", "did_not_happen", "failed"],
    output: Any,
    actor: str | None,
    reason: str | None,
) -> list[Payload]:
    """Settle the step whose unknown outcome blocks the run: it happened, with this output; it did not, so it is run
    again; or the code is to see a failure. Raises InvalidInput for an output that the step could not have returned."""
    if state.finished:
        raise Conflict(
            f"run {state.run_id} is finished ({state.status})",
            f"Look at it: vbl show {state.run_id}",
            code="run_finished",
        )
    block = state.blocked or {}
    if block.get("reason") != "unknown_outcome":
        raise Conflict(
            f"run {state.run_id} is {state.status}: it does not ask what became of a step",
            f"See what it waits for: vbl why {state.run_id}",
            code="nothing_to_resolve",
        )
    key: str = block["step"]
    if outcome == "did_not_happen":
        return [StepResolved(step=key, outcome=outcome, actor=actor, reason=reason)]
    if outcome == "failed":
        said = f"nobody knows what became of it, and {actor or 'somebody'} let it count as failed"
        error = Error(kind="interrupted", type="UnknownOutcome", message=f"{said}: {reason}" if reason else said)
        return [StepResolved(step=key, outcome=outcome, error=error, actor=actor, reason=reason)]
    schema = block.get("json_schema")
    if schema is not None:
        from vbl.history.schemas import fitting

        output = fitting(schema, output, f"the result of step {key}")
    return [StepResolved(step=key, outcome=outcome, output=output, actor=actor, reason=reason)]


def interrupt(state: RunState, epoch: int, reason: str, *, but: Collection[str] = ()) -> list[Payload]:
    """Record that the process of the steps in flight, `but` those, died, so that they have no outcome; the run is
    resumed at this epoch."""
    lost = [
        StepInterrupted(step=key, attempt=step.attempt, epoch=epoch)
        for key, step in state.steps.items()
        if step.status == "running" and key not in but
    ]
    return [*lost, RunResumed(epoch=epoch, reason=reason)]
