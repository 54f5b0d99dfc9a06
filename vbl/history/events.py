"""The vocabulary of a run's history: one frozen payload class for each type of event.

Each docstring has three lines: who writes the event, what it changes, when it is rejected. The reference page
is generated from them. Payloads are stored as JSON; `v` is the version of the payload's form, and `UPCASTS`
holds a function for each form that is no longer written. Every instant is in microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from vbl.errors import StorageError
from vbl.history.facts import EventType


class Error(BaseModel):
    """A recorded error: its kind (history.retry.Kind), the class, the message and the traceback as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    type: str
    message: str
    traceback: str | None = None
    step: str | None = None


class Payload(BaseModel):
    """What every payload has in common. Fields are also read as items: `event.payload["step"]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    TYPE: ClassVar[EventType]

    v: int = 1

    def __getitem__(self, field: str) -> Any:
        if field not in type(self).model_fields:
            raise KeyError(field)
        return getattr(self, field)


class RunCreated(Payload):
    """Written by a client or a supervisor, as the first event of a run.
    Effect: the run exists and is queued; its workflow, version and input are fixed.
    Rejected when a run with the same start key exists, or when the input does not fit the signature."""

    TYPE = EventType.RUN_CREATED
    run_id: str
    workflow: str
    version: str
    python: str = ""
    input: Any = None
    key: str | None = None
    parent: str | None = None
    call: str | None = None
    on_parent_close: str | None = None
    tags: list[str] = []
    deadline: int | None = None
    priority: int = 0
    queue: str | None = None
    lane: str | None = None
    actor: str | None = None


class RunStarted(Payload):
    """Written by the supervisor, with the first commands of the code.
    Effect: the workflow function has been entered; `commands` commands follow in the same transaction.
    Rejected when the run was started before, or the supervisor's epoch is not the file's."""

    TYPE = EventType.RUN_STARTED
    epoch: int
    commands: int = 0
    queue: str | None = None
    lane: str | None = None


class RunQueued(Payload):
    """Written by the supervisor for a run whose workflow has another queue than was known when it was created.
    Effect: the run waits in that queue, in the lane of its key.
    Rejected when the run has started."""

    TYPE = EventType.RUN_QUEUED
    queue: str
    lane: str | None = None


class RunResumed(Payload):
    """Written by the supervisor that takes over a run which another one left in flight, or that unblocks it.
    Effect: the run belongs to this epoch; if `unblocked`, a block is lifted; with `queue`, a run that was opened again
    holds a place there.
    Rejected when the run is finished."""

    TYPE = EventType.RUN_RESUMED
    epoch: int
    reason: str
    unblocked: bool = False
    queue: str | None = None


class RunCompleted(Payload):
    """Written by the supervisor when the workflow function returned.
    Effect: the run is finished with this output; `undone` says what sagas that it got over have undone.
    Rejected when the run is finished."""

    TYPE = EventType.RUN_COMPLETED
    output: Any = None
    undone: list[dict[str, Any]] = []


class RunFailed(Payload):
    """Written by the supervisor when the workflow function raised.
    Effect: the run is finished; `vbl retry` opens it again.
    Rejected when the run is finished."""

    TYPE = EventType.RUN_FAILED
    error: Error
    undone: list[dict[str, Any]] = []


class RunBlocked(Payload):
    """Written by the supervisor, at most once for each version of the code.
    Effect: the run moves no further until other code is loaded or a person retries it; nothing is lost.
    Rejected when the run is finished or is blocked by the same version."""

    TYPE = EventType.RUN_BLOCKED
    reason: str
    version: str
    message: str
    unblock: str
    step: str | None = None
    json_schema: dict[str, Any] | None = None


class RunPaused(Payload):
    """Written by a client.
    Effect: no further step starts; steps in flight end and are recorded; timers wait.
    Rejected when the run is finished or paused."""

    TYPE = EventType.RUN_PAUSED
    actor: str | None = None
    reason: str | None = None


class RunUnpaused(Payload):
    """Written by a client.
    Effect: the run goes on from where it was; one that cleans up has all of its time for that from now on.
    Rejected when the run is not paused."""

    TYPE = EventType.RUN_UNPAUSED
    actor: str | None = None
    reason: str | None = None


class RunRetried(Payload):
    """Written by a client.
    Effect: a failed run is open again: the failure of `step`, and what the code did because of it, is void, and so are
    the failures of the steps and children `also`, which came after it; a blocked run is tried again.
    Rejected when the run is neither failed nor blocked nor backing off."""

    TYPE = EventType.RUN_RETRIED
    actor: str | None = None
    reason: str | None = None
    step: str | None = None
    from_seq: int | None = None
    also: list[str] = []


class CancelRequested(Payload):
    """Written by a client, or by the supervisor at a run's deadline.
    Effect: the workflow sees `asyncio.CancelledError` at the point where it waits; it may clean up until `until`.
    Rejected when the run is finished or a cancel was requested."""

    TYPE = EventType.CANCEL_REQUESTED
    actor: str | None = None
    reason: str | None = None
    until: int | None = None


class RunCancelled(Payload):
    """Written by the supervisor when the workflow let the cancel through, or by a client when it had not started.
    Effect: the run is finished; `undone` says what was undone. `forced`: the code was not asked, for it had not begun,
    was blocked, or took too long to clean up.
    Rejected when the run is finished."""

    TYPE = EventType.RUN_CANCELLED
    reason: str | None = None
    undone: list[dict[str, Any]] = []
    forced: bool = False


class StepStarted(Payload):
    """Written by the supervisor; the body starts only after this is durable.
    Effect: attempt `attempt` of the step is in flight; the first one is the command of the code.
    Rejected when the step is in flight or has completed."""

    TYPE = EventType.STEP_STARTED
    step: str
    attempt: int
    input: Any = None
    idempotency_key: str
    name: str | None = None
    effect: str | None = None
    alone: bool = False
    gate: str | None = None


class StepCompleted(Payload):
    """Written by the supervisor when a body returned; in the transaction of the body's own rows where that writes to
    tables of the user's.
    Effect: the output is known and is handed to the code; the step never runs again. A write that the code had given
    up, or saw fail, is recorded all the same, also after the end of the run, and not handed to it. `usage` is what
    the attempt used of models: provider, model, input_tokens, output_tokens, cached_tokens, usd; of several calls
    `calls`, a list.
    Rejected when the step is not in flight, and was not given up or broken off in flight either."""

    TYPE = EventType.STEP_COMPLETED
    step: str
    attempt: int
    output: Any = None
    usage: dict[str, Any] | None = None


class StepFailed(Payload):
    """Written by the supervisor when a body raised or timed out.
    Effect: if `final`, the code sees `vbl.StepFailed`; else a RETRY_SCHEDULED stands beside it. `unknown`: a write was
    broken off in its body, and is in doubt. The failure of one that was given up or broken off before is only kept.
    `usage`: as in STEP_COMPLETED.
    Rejected when the step is not in flight, and was not given up or broken off in flight either."""

    TYPE = EventType.STEP_FAILED
    step: str
    attempt: int
    error: Error
    final: bool = True
    unknown: bool = False
    usage: dict[str, Any] | None = None


class StepCancelled(Payload):
    """Written by the supervisor when the code gave the step up: a time-out, a lost race, a cancel.
    Effect: the step is over; a result that comes later, or came while the code was not at hand, is not handed to it.
    `usage`, as in STEP_COMPLETED, is what the attempt in flight had used by then; what a write uses after that comes
    with its end.
    Rejected when the code has the result, or gave the step up before."""

    TYPE = EventType.STEP_CANCELLED
    step: str
    usage: dict[str, Any] | None = None


class StepInterrupted(Payload):
    """Written by a supervisor for a step that was in flight when its process died or was stopped.
    Effect: the attempt has no outcome; the step is tried again. Only a `counted` one leads to quarantine. `usage`, as
    in STEP_COMPLETED, is there where the attempt was stopped; what it had used when its process died nobody knows.
    Rejected when that attempt is not in flight."""

    TYPE = EventType.STEP_INTERRUPTED
    step: str
    attempt: int
    epoch: int
    counted: bool = True
    usage: dict[str, Any] | None = None


class RetryScheduled(Payload):
    """Written by the supervisor beside a STEP_FAILED that is not final.
    Effect: attempt `attempt` starts at `at`, also after a restart.
    Rejected when the step is in flight or has ended."""

    TYPE = EventType.RETRY_SCHEDULED
    step: str
    attempt: int
    at: int
    reason: str
    max_attempts: int | None = None


class StepProbed(Payload):
    """Written by the supervisor before it asks the probe of a step whose process died whether the step happened.
    Effect: the probe is in flight, about attempt `attempt`; what it says stands in STEP_RESOLVED or RUN_BLOCKED.
    Rejected when the step's outcome is not unknown, or its probe is in flight."""

    TYPE = EventType.STEP_PROBED
    step: str
    attempt: int
    alone: bool = False


class StepResolved(Payload):
    """Written by a client, or by the supervisor for the step's own probe, about a step whose outcome was unknown.
    Effect: `outcome` is happened (with this output), did_not_happen (it is started again) or failed (with this error);
    a run that was blocked by it goes on.
    Rejected when the step's outcome is not unknown."""

    TYPE = EventType.STEP_RESOLVED
    step: str
    outcome: str
    output: Any = None
    error: Error | None = None
    actor: str | None = None
    reason: str | None = None


class CheckpointWritten(Payload):
    """Written by the supervisor after each activation, in the transaction of the input that caused it.
    Effect: the code has digested the input at `applied`; `delta` brings the variables up to date; `commands`
    commands follow in the same transaction.
    Rejected when the number is not the next one."""

    TYPE = EventType.CHECKPOINT_WRITTEN
    checkpoint: int
    applied: int
    commands: int = 0
    delta: dict[str, Any] | None = None
    digest: str | None = None


class TimerSet(Payload):
    """Written by the supervisor for a sleep or a time-out that the code waits for.
    Effect: the run wakes at `at`.
    Rejected when the timer is set already."""

    TYPE = EventType.TIMER_SET
    timer: int
    at: int


class TimerFired(Payload):
    """Written by the supervisor when a timer's time has come; `late_us` tells how late, in microseconds.
    Effect: the code goes on behind its sleep, or sees its time-out.
    Rejected when the timer is not open."""

    TYPE = EventType.TIMER_FIRED
    timer: int
    late_us: int = 0


class TimerCancelled(Payload):
    """Written by the supervisor when the code no longer waits for the timer.
    Effect: the timer never fires.
    Rejected when the timer is not open."""

    TYPE = EventType.TIMER_CANCELLED
    timer: int


class SignalAwaited(Payload):
    """Written by the supervisor where the code waits for a signal by name.
    Effect: wait number `wait` takes the oldest signal of that name that none took, now or as soon as one comes.
    Rejected when the number is taken."""

    TYPE = EventType.SIGNAL_AWAITED
    wait: int
    name: str
    expires_at: int | None = None
    json_schema: dict[str, Any] | None = None


class SignalReceived(Payload):
    """Written by a client.
    Effect: the oldest wait for that name gets `data`; without one it is kept until there is.
    Rejected when the run is finished, or `data` does not fit what the wait asks for; one whose `key` came before is
    not written again."""

    TYPE = EventType.SIGNAL_RECEIVED
    name: str
    data: Any = None
    key: str | None = None
    actor: str | None = None


class WaitExpired(Payload):
    """Written by the supervisor when no signal came in time; `late_us` tells how late, in microseconds.
    Effect: the code sees TimeoutError.
    Rejected when the wait is not open."""

    TYPE = EventType.WAIT_EXPIRED
    wait: int
    late_us: int = 0


class WaitCancelled(Payload):
    """Written by the supervisor when the code no longer waits for the signal: a lost race, a cancel.
    Effect: the wait is over; a signal that nobody has taken is kept for the next one.
    Rejected when the wait is not open."""

    TYPE = EventType.WAIT_CANCELLED
    wait: int


class ApprovalRequested(Payload):
    """Written by the supervisor where the code asks a person.
    Effect: gate `gate` is open; `to` are those who may decide (empty: anybody), `need` of them; `show` is what they
    see, `call` the step, arguments, digest and code version that a grant covers; `escalate`, `remind` hold instants.
    Rejected when the gate is there already."""

    TYPE = EventType.APPROVAL_REQUESTED
    gate: str
    key: str
    name: str
    show: Any = None
    call: dict[str, Any] | None = None
    edit: bool = False
    json_schema: dict[str, Any] | None = None
    to: list[str] = []
    need: int = 1
    not_starter: bool = False
    expires_at: int | None = None
    timeout_us: int | None = None
    on_timeout: str = "deny"
    escalate: list[dict[str, Any]] = []
    remind: list[int] = []
    valid_us: int | None = None
    reopens: str | None = None
    problem: str | None = None


class ApprovalGranted(Payload):
    """Written by a client for a person who approves.
    Effect: the gate is granted if this fills the quorum (`final`); `input` and `digest` are those of the edited call
    where `edit` changed arguments.
    Rejected when the gate is not open, its time is over, the person may not decide or did, or the data does not fit."""

    TYPE = EventType.APPROVAL_GRANTED
    gate: str
    actor: str
    reason: str | None = None
    data: Any = None
    edit: dict[str, Any] | None = None
    input: dict[str, Any] | None = None
    digest: str | None = None
    member_of: str | None = None
    via: str | None = None
    link: str | None = None
    final: bool = True


class ApprovalDenied(Payload):
    """Written by a client for a person who denies.
    Effect: the gate is denied, whatever the quorum.
    Rejected when the gate is not open, its time is over, or the person may not decide."""

    TYPE = EventType.APPROVAL_DENIED
    gate: str
    actor: str
    reason: str | None = None
    member_of: str | None = None
    via: str | None = None
    link: str | None = None


class ApprovalEscalated(Payload):
    """Written by the supervisor when nobody has decided for so long.
    Effect: those in `to` may decide too; `expires_at` is the new time-out, where there is one.
    Rejected when the gate is not open."""

    TYPE = EventType.APPROVAL_ESCALATED
    gate: str
    to: list[str]
    expires_at: int | None = None
    late_us: int = 0


class ApprovalReminded(Payload):
    """Written by the supervisor when a gate is still open at the time of a reminder.
    Effect: those who were asked are told again.
    Rejected when the gate is not open."""

    TYPE = EventType.APPROVAL_REMINDED
    gate: str
    late_us: int = 0


class ApprovalExpired(Payload):
    """Written by the supervisor when a gate's time is over.
    Effect: the gate is expired; `outcome` is what the code sees: deny, approve or fail.
    Rejected when the gate is not open."""

    TYPE = EventType.APPROVAL_EXPIRED
    gate: str
    outcome: str
    late_us: int = 0


class ApprovalClosed(Payload):
    """Written by the supervisor when the code no longer waits for the gate: a lost race, a cancel, the run's end.
    Effect: the gate is closed; nobody can decide it.
    Rejected when the gate is not open."""

    TYPE = EventType.APPROVAL_CLOSED
    gate: str


class DecisionRefused(Payload):
    """Written by a client for a person who may not decide.
    Effect: none; it is there for the audit.
    Rejected when the run is finished."""

    TYPE = EventType.DECISION_REFUSED
    gate: str
    actor: str
    decision: str
    why: str
    via: str | None = None


class ChildStarted(Payload):
    """Written by the supervisor where the code starts another workflow, with that run's RUN_CREATED.
    Effect: run `child` belongs to this one; when this one ends, `on_close` says whether it is cancelled or left.
    Rejected when the call has a child already."""

    TYPE = EventType.CHILD_STARTED
    call: str
    child: str
    workflow: str
    input: Any = None
    on_close: str = "cancel"


class ChildFinished(Payload):
    """Written by whoever ends the child, in the transaction of its end.
    Effect: the code that waits for the child sees its output, or its error.
    Rejected when the child is not open here."""

    TYPE = EventType.CHILD_FINISHED
    call: str
    child: str
    status: str
    output: Any = None
    error: Error | None = None


class ChildCancelled(Payload):
    """Written by the supervisor when the code gave the child up: a lost race, a cancel.
    Effect: a cancel of the child is asked for in the same transaction; its end is not awaited here.
    Rejected when the child is not open here."""

    TYPE = EventType.CHILD_CANCELLED
    call: str
    child: str


class ScheduleFired(Payload):
    """Written by the supervisor where a schedule starts a run. `due_at` is the planned instant.
    Effect: that run is the schedule's last one.
    Rejected when that instant was fired or skipped before."""

    TYPE = EventType.SCHEDULE_FIRED
    due_at: int
    run: str
    reason: str
    late_us: int = 0


class ScheduleSkipped(Payload):
    """Written by the supervisor where a schedule starts no run at `due_at`, and why: overlap, missed.
    Effect: none but that instant is over; `count` instants where several were missed.
    Rejected when that instant was fired or skipped before."""

    TYPE = EventType.SCHEDULE_SKIPPED
    due_at: int
    reason: str
    count: int = 1


class VersionMarked(Payload):
    """Written by the supervisor where the code asked `vbl.patched(patch)` for the first time.
    Effect: this run takes the new branch, now and on every replay.
    Rejected when the patch is marked already."""

    TYPE = EventType.VERSION_MARKED
    patch: str


PAYLOADS: dict[str, type[Payload]] = {
    cls.TYPE.value: cls
    for cls in (
        RunCreated, RunStarted, RunQueued, RunResumed, RunCompleted, RunFailed, RunBlocked, RunPaused, RunUnpaused,
        RunRetried, CancelRequested, RunCancelled, StepStarted, StepCompleted, StepFailed, StepCancelled,
        StepInterrupted, StepProbed, RetryScheduled, StepResolved, CheckpointWritten, TimerSet, TimerFired,
        TimerCancelled, SignalAwaited, SignalReceived, WaitExpired, WaitCancelled, ApprovalRequested, ApprovalGranted,
        ApprovalDenied, ApprovalEscalated, ApprovalReminded, ApprovalExpired, ApprovalClosed, DecisionRefused,
        ChildStarted, ChildFinished, ChildCancelled, ScheduleFired, ScheduleSkipped, VersionMarked,
    )
}  # fmt: skip

CURRENT_VERSION = 1
UPCASTS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From (type, v) to a function that returns the payload in form v + 1."""


def upcast(type: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Bring a stored payload to the present form. Raises StorageError for one from a newer vbl."""
    version = payload.get("v", 1)
    while version < CURRENT_VERSION and (step := UPCASTS.get((type, version))):
        payload = step(payload)
        version = payload["v"]
    if type not in PAYLOADS or version > CURRENT_VERSION:
        raise StorageError(
            f"event type {type} v{version} is not known to this version of vbl",
            "Open the file with the vbl that wrote it: pip install -U vbl",
            code="newer",
        )
    return payload


def payload_model(type: str, payload: dict[str, Any]) -> Payload:
    """Validate a plain payload against the class of its type."""
    return PAYLOADS[type].model_validate(upcast(type, payload))
