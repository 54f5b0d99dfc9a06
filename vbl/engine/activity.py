"""One active run in the supervisor's memory: its history, its code, its attempts, and what it has yet to digest.

`move` is called once a tick. It takes what has happened (results, time, other people's events), hands it to the code
one input at a time, and leaves the events to append in `history.rows` and the bodies to start in `to_start`. It does
no I/O of its own; the supervisor commits, then starts the bodies.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from vbl.engine.advance import MISSING, Ask, Execution, StepCall
from vbl.engine.attempt import Failed, Outcome, Succeeded, failure
from vbl.engine.definitions import REGISTRY, Step, Workflow
from vbl.errors import Divergence, StepFailed, ValueNotStorable, WorkflowError
from vbl.history import retry, transitions
from vbl.history.events import Fact, Payload, RunBlocked, RunResumed
from vbl.history.script import script_of
from vbl.history.state import DEATHS_ALONE, QUARANTINE_AFTER, RunState, Status, StepState
from vbl.store.journal import History, Journal, draft
from vbl.store.payloads import dumps, spill

_RECENT_FACTS = 40
_DIFF_LINES = 80
_REPEATED_INPUT_BYTES = 2_048


class Host(Protocol):
    """What an active run needs of its supervisor."""

    journal: Journal
    epoch: int
    stopping: bool
    narrating: bool

    def now(self) -> int:
        """The present instant in microseconds."""
        ...

    def wake(self, run: ActiveRun) -> None:
        """Move this run in the next tick."""
        ...

    def wake_threadsafe(self, run: ActiveRun) -> None:
        """The same, from a workflow's thread."""
        ...

    def may_start_alone(self, run: ActiveRun, step: str) -> bool:
        """Whether a quarantined step may start now; at most one is in flight."""
        ...


@dataclass(slots=True)
class Landed:
    """An attempt of step `key` that has ended, and how."""

    key: str
    attempt: int
    outcome: Outcome
    step: Step[..., Any]


@dataclass(slots=True)
class Start:
    """A body to start once its STEP_STARTED is durable."""

    call: StepCall
    attempt: int
    alone: bool


@dataclass(slots=True)
class Flight:
    """A body that is running, and how to stop it."""

    attempt: int
    alone: bool
    cancel: Callable[[], object]


class ActiveRun:
    """See the module."""

    def __init__(self, host: Host, key: int) -> None:
        self.host = host
        self.key = key
        self.history: History | None = None
        self.execution: Execution | None = None
        self.inbox: deque[Landed] = deque()
        self.consumed: list[Landed] = []
        self.recorded: list[Fact] = []
        self.in_flight: dict[str, Flight] = {}
        self.to_start: list[Start] = []
        self.to_cancel: list[str] = []
        self.queued = False
        self.announced: Status | None = None
        self.touched_at = 0
        self.unmovable: str | None = None
        self._facts: list[Fact] = []
        self._replay: deque[Fact] = deque()
        self._tail: list[Ask] = []
        self._digesting: Fact | None = None
        self._loading = False
        self._unblocking = False

    # The state as it is now ----------------------------------------------------------------------------------------

    @property
    def state(self) -> RunState:
        """The state with everything proposed so far."""
        assert self.history is not None
        return self.history.state

    @property
    def idle(self) -> bool:
        """Whether the run may be dropped from memory: nothing in flight, nothing to digest."""
        return not self.in_flight and not self.inbox and not self.to_start and (self.execution is None or self.execution.resting)

    # Moving --------------------------------------------------------------------------------------------------------

    def move(self) -> None:
        """Bring the run as far as it goes without waiting."""
        self.touched_at = self.host.now()
        if self.history is None:
            self._load()
        try:
            if self.execution is not None:
                self.execution.resume()
            if self._held():
                self._drop_code()
                self._land_undigested()
            elif self.execution is None and not self._prepare():
                self._land_undigested()
            else:
                self._digest()
        except Divergence as divergence:
            self._block("diverged", divergence)
        except (WorkflowError, ValueNotStorable) as error:
            self._block(error.code, error)

    def _held(self) -> bool:
        state = self.state
        blocked = state.blocked is not None and not self._may_unblock()
        return state.paused or blocked or state.finished or self.host.stopping

    def _may_unblock(self) -> bool:
        workflow = REGISTRY.get(self.state.workflow)
        return workflow is not None and workflow.version not in self.state.blocked_by

    def _load(self) -> None:
        journal = self.host.journal
        self.history, self._facts = journal.load(self.key)
        self.history.resolver.forget()
        for fact in self._facts[-_RECENT_FACTS:]:
            self.history.recorder.know_payload(fact.seq, fact.payload)
        ours = {*self.in_flight, *(landed.key for landed in self.inbox)}
        if any(step.status == "running" and key not in ours for key, step in self.state.steps.items()):
            reason = "the process that ran it died"
            self._propose_all(transitions.interrupt(self.state, self.host.epoch, counted=True, reason=reason, but=ours))

    def _prepare(self) -> bool:
        """Make the execution and line up its replay. False where this process does not have the workflow."""
        history = self.history
        assert history is not None
        workflow: Workflow[..., Any] | None = REGISTRY.get(self.state.workflow)
        if workflow is None:
            self.unmovable = self.state.workflow
            return False
        script = script_of(self._facts)
        self._facts = []
        self.execution = Execution(history, workflow, script, lambda: self.host.wake_threadsafe(self))
        self._replay = deque(script.inputs)
        self._loading = True
        self._unblocking = self.state.blocked is not None
        return True

    def _digest(self) -> None:
        """The heart: one input after the other, each until the code rests."""
        execution = self.execution
        assert execution is not None
        while execution.resting:
            if self._digesting is not None:
                self._finish_activation(execution)
            elif self._loading:
                if not self._next_replayed(execution):
                    continue
            elif not self._next_live(execution):
                return

    def _activate(self, execution: Execution, fact: Fact, value: Any = MISSING) -> None:
        self._digesting = fact
        execution.activate(fact, value)

    def _next_replayed(self, execution: Execution) -> bool:
        """Replay the next recorded input; at the end settle accounts with the history."""
        if self._replay:
            self._activate(execution, self._replay.popleft())
            return True
        self._end_of_replay(execution)
        return False

    def _end_of_replay(self, execution: Execution) -> None:
        self._loading = False
        state = self.state
        extra = self._tail
        self._tail = []
        execution.check_whole(extra)
        if self._unblocking:
            self._unblocking = False
            self._propose(RunResumed(epoch=self.host.epoch, reason="another version of the code follows its history"))
        if state.started_at is None:
            self._begin(execution)
            return
        if state.last_input > state.applied and not state.finished:
            self._checkpoint(len(extra))
        self._carry_out(execution, extra)

    def _begin(self, execution: Execution) -> None:
        """The first activation of a run."""
        at = self.host.now()
        epoch = self.host.epoch
        self._activate(execution, Fact(self.state.seq + 1, "RUN_STARTED", at, {"v": 1, "epoch": epoch}))

    def _finish_activation(self, execution: Execution) -> None:
        """The code rests: record what it asked for."""
        fact, self._digesting = self._digesting, None
        assert fact is not None
        self._check_stuck(execution)
        asks = execution.take_asks()
        if self._loading:
            self._tail += asks
            return
        if fact.type == "RUN_STARTED":
            payload = {"v": 1, "epoch": self.host.epoch, "commands": len(asks)}
            self._append("RUN_STARTED", fact.at, payload, f'{{"v":1,"epoch":{self.host.epoch},"commands":{len(asks)}}}')
        else:
            self._checkpoint(len(asks))
        self._carry_out(execution, asks)

    def _check_stuck(self, execution: Execution) -> None:
        if execution.stuck:
            raise WorkflowError(
                "the workflow waits for something that no step, timer or input will ever bring",
                "Look for an asyncio.Future, Event or Queue that nobody sets; then change the code, or cancel the run",
                code="deadlock",
            )

    # Inputs --------------------------------------------------------------------------------------------------------

    def _next_live(self, execution: Execution) -> bool:
        """Take the next thing that has happened: a result, then time. False when there is none."""
        if execution.outcome is not None:
            return False
        while self.inbox:
            landed = self.inbox.popleft()
            self.consumed.append(landed)
            fact, value = self._record(landed, execution)
            if fact is not None:
                self._activate(execution, fact, value)
                return True
        return self._next_in_time(execution)

    def _next_in_time(self, execution: Execution) -> bool:
        state = self.state
        if not state.open_timers and not state.backing_off and not state.due and state.deadline is None:
            return False
        now = self.host.now()
        for step in [state.steps[key] for key in state.backing_off]:
            if (step.retry_at or 0) <= now:
                self._again(execution, step)
        if state.due:
            for step in [s for s in state.steps.values() if s.status == "due" and not s.void]:
                self._again(execution, step)
        if state.deadline is not None and state.deadline <= now and state.cancel is None:
            payload = {"v": 1, "actor": "deadline", "reason": "the run's deadline has passed"}
            self._activate(execution, self._append("CANCEL_REQUESTED", now, payload, dumps(payload)))
            return True
        fired = min(((state.timers[n].at, n) for n in state.open_timers if state.timers[n].at <= now), default=None)
        if fired is None:
            return False
        number = fired[1]
        self._activate(execution, self._append("TIMER_FIRED", now, {"v": 1, "timer": number}, f'{{"v":1,"timer":{number}}}'))
        return True

    def _record(self, landed: Landed, execution: Execution | None) -> tuple[Fact | None, Any]:
        """Record how an attempt ended. Returns the input for the code, where it is one, and the value."""
        step = self.state.steps.get(landed.key)
        if step is None or step.status != "running" or step.attempt != landed.attempt or self.state.finished:
            return None, MISSING
        outcome = landed.outcome
        if isinstance(outcome, Succeeded):
            try:
                return self._completed(landed, outcome)
            except ValueNotStorable as error:
                outcome = failure(error, skip=0)
                outcome.traceback = None
        if isinstance(outcome, Failed):
            return self._failed(landed, outcome, step)
        others = self.state.steps.keys() - {landed.key}
        self._propose_all(transitions.interrupt(self.state, self.host.epoch, counted=False, but=others))
        return None, MISSING

    def _completed(self, landed: Landed, outcome: Succeeded) -> tuple[Fact, Any]:
        history = self.history
        assert history is not None
        recorded = landed.step.signature.result.record(outcome.value, history.recorder)
        if recorded.blob is not None:
            history.blobs.append(recorded.blob)
        payload = {"v": 1, "step": landed.key, "attempt": landed.attempt, "output": recorded.plain}
        text = f'{{"v":1,"step":{dumps(landed.key)},"attempt":{landed.attempt},"output":{recorded.text}}}'
        fact = self._append("STEP_COMPLETED", self.host.now(), payload, text)
        if recorded.shape is not None or len(recorded.text) > _REPEATED_INPUT_BYTES:
            history.recorder.know((fact.seq, "output"), recorded.plain, recorded.shape)
        return fact, recorded.value

    def _failed(self, landed: Landed, outcome: Failed, step: StepState) -> tuple[Fact | None, Any]:
        now = self.host.now()
        policy = landed.step.retry
        decision = retry.decide(
            policy,
            tried=step.failures + 1,
            kind=outcome.kind,
            error=outcome.error,
            elapsed=(now - step.asked_at) / 1e6,
            seed=f"{self.state.run_id}:{landed.key}",
            retry_after=outcome.retry_after,
        )
        final = isinstance(decision, retry.GiveUp)
        payload = {"v": 1, "step": landed.key, "attempt": landed.attempt, "error": outcome.record(), "final": final}
        fact = self._append("STEP_FAILED", now, payload, dumps(payload))
        if isinstance(decision, retry.GiveUp):
            return fact, MISSING
        due = now + round(decision.delay * 1e6)
        first_line = outcome.message.partition("\n")[0][:200] or outcome.type
        scheduled = {
            "v": 1,
            "step": landed.key,
            "attempt": landed.attempt + 1,
            "at": due,
            "reason": f"{outcome.kind}: {first_line}",
            "max_attempts": policy.max_attempts,
        }
        self._append("RETRY_SCHEDULED", now, scheduled, dumps(scheduled))
        return None, MISSING

    def _land_undigested(self) -> None:
        """The code is not at hand (paused, blocked, stopping): record results, and let the code digest them later."""
        while self.inbox:
            landed = self.inbox.popleft()
            self.consumed.append(landed)
            self._record(landed, None)

    # Commands ------------------------------------------------------------------------------------------------------

    def _carry_out(self, execution: Execution, asks: list[Ask]) -> None:
        for ask in asks:
            match ask.type:
                case "STEP_STARTED":
                    assert ask.call is not None
                    self._start(execution, ask.call)
                case "STEP_CANCELLED":
                    self._append_about("STEP_CANCELLED", "step", ask.subject)
                    self.to_cancel.append(str(ask.subject))
                case "TIMER_SET":
                    assert ask.timer is not None
                    payload = {"v": 1, "timer": ask.timer.number, "at": ask.timer.at}
                    self._append("TIMER_SET", self.host.now(), payload, dumps(payload))
                case "TIMER_CANCELLED":
                    self._append_about("TIMER_CANCELLED", "timer", ask.subject)
                case "VERSION_MARKED":
                    self._append_about("VERSION_MARKED", "patch", ask.subject)
                case _:
                    self._end(execution, ask)

    def _append_about(self, type: str, field: str, subject: str | int | None) -> None:
        payload = {"v": 1, field: subject}
        self._append(type, self.host.now(), payload, dumps(payload))

    def _again(self, execution: Execution, step: StepState) -> None:
        """Another attempt of a step that is due: after a backoff, an interruption or a retry."""
        call = execution.calls.get(step.key)
        if call is None or self.host.stopping:
            return
        if step.deaths_alone >= DEATHS_ALONE:
            raise WorkflowError(
                f"step {step.key} was in flight {step.interruptions} times when its process died, {step.deaths_alone} times alone",
                f"Find out what it does to the process; then: vbl retry {self.state.run_id}",
                code="poisoned",
            )
        if step.interrupted and step.effect == "write" and not call.step.idempotent:
            raise WorkflowError(
                f"step {step.key} writes to the world, and its process died before the outcome was recorded",
                f"Find out whether it happened. To run it again: vbl retry {self.state.run_id}",
                code="unknown_outcome",
            )
        alone = step.interruptions >= QUARANTINE_AFTER
        if alone and not self.host.may_start_alone(self, step.key):
            return
        self._started(call, step.attempt + 1, alone=alone)

    def _start(self, execution: Execution, call: StepCall) -> None:
        """The first attempt of a step that the code asks for."""
        before = self.state.steps.get(call.key)
        attempt = before.attempt + 1 if before is not None else 1
        reused = before.output if before is not None and before.void and before.status == "completed" else MISSING
        self._started(call, attempt, alone=False)
        if reused is not MISSING:
            self.to_start.pop()
            self.inbox.append(Landed(call.key, attempt, Succeeded(call.step.signature.result.load(reused)), call.step))

    def _started(self, call: StepCall, attempt: int, *, alone: bool) -> None:
        history = self.history
        assert history is not None
        step, key, text = call.step, call.key, call.input_text
        idempotency_key = f"{self.state.run_id}:{key}"
        payload: dict[str, Any] = {"v": 1, "step": key, "attempt": attempt, "idempotency_key": idempotency_key}
        parts = f'{{"v":1,"step":{dumps(key)},"attempt":{attempt},"idempotency_key":{dumps(idempotency_key)}'
        if attempt == 1 or len(text) <= _REPEATED_INPUT_BYTES or key not in self.state.steps:
            payload["input"] = call.input_plain
            parts += f',"input":{text}'
            history.blobs += [recorded.blob for _, recorded in call.large if recorded.blob is not None]
        if step.key is not None:
            payload["name"] = step.name
            parts += f',"name":{dumps(step.name)}'
        if step.effect is not None:
            payload["effect"] = step.effect
            parts += f',"effect":"{step.effect}"'
        if alone:
            payload["alone"] = True
            parts += ',"alone":true'
        fact = self._append("STEP_STARTED", self.host.now(), payload, parts + "}")
        if "input" in payload:
            for name, recorded in call.large:
                history.recorder.know((fact.seq, "input", name), recorded.plain, recorded.shape)
        self.to_start.append(Start(call, attempt, alone))

    def _end(self, execution: Execution, ask: Ask) -> None:
        """How the workflow function ended."""
        main = execution.main
        assert main is not None
        if ask.type == "RUN_CANCELLED":
            self._append_about("RUN_CANCELLED", "reason", (self.state.cancel or {}).get("reason"))
            return
        error = main.exception()
        if error is None:
            try:
                recorded = execution.workflow.signature.result.record(main.result(), execution.history.recorder)
            except ValueNotStorable as refused:
                error = refused
            else:
                if recorded.blob is not None:
                    execution.history.blobs.append(recorded.blob)
                self._append("RUN_COMPLETED", self.host.now(), {"v": 1, "output": recorded.plain}, f'{{"v":1,"output":{recorded.text}}}')
                return
        self._append_failed(error)

    def _append_failed(self, error: BaseException) -> None:
        described = failure(error).record()
        if isinstance(error, StepFailed):
            described = {**described, "kind": error.kind, "step": error.step, "message": str(error)}
        payload = {"v": 1, "error": described}
        self._append("RUN_FAILED", self.host.now(), payload, dumps(payload))

    # Book-keeping --------------------------------------------------------------------------------------------------

    def _append(self, type: str, at: int, payload: dict[str, Any], text: str) -> Fact:
        history = self.history
        assert history is not None
        if at < history.state.at:
            at = history.state.at
        fact = history.propose(type, at, payload, text)
        if self.host.narrating:
            self.recorded.append(fact)
        return fact

    def _propose(self, payload: Payload) -> None:
        self._append(*draft(self.host.now(), payload))

    def _propose_all(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            self._propose(payload)

    def _checkpoint(self, commands: int) -> None:
        """Record the state after the code has digested the last input."""
        history, execution, state = self.history, self.execution, self.state
        assert history is not None and execution is not None
        number, applied = state.checkpoint + 1, state.last_input
        payload: dict[str, Any] = {"v": 1, "checkpoint": number, "applied": applied, "commands": commands}
        text = f'{{"v":1,"checkpoint":{number},"applied":{applied},"commands":{commands}'
        delta = execution.variables.delta(state.variables, state.digest)
        if delta is not None:
            payload["delta"], payload["digest"] = delta.plain, delta.digest
            body, blob = spill(delta.text)
            text += f',"delta":{body},"digest":"{delta.digest}"'
            history.blobs += delta.blobs
            if blob is not None:
                history.blobs.append(blob)
        elif state.digest is not None:
            payload["digest"] = state.digest
            text += f',"digest":"{state.digest}"'
        fact = self._append("CHECKPOINT_WRITTEN", state.at, payload, text + "}")
        if delta is not None:
            for name, recorded in delta.recorded.items():
                history.recorder.know((fact.seq, "delta", name), recorded.plain, recorded.shape)

    def _block(self, reason: str, error: WorkflowError | ValueNotStorable) -> None:
        """Park the run with an explanation; nothing is lost. What the code did since the last input is undone."""
        workflow = self.execution.workflow if self.execution is not None else None
        self._drop_code()
        version = workflow.version if workflow is not None else self.state.version
        state = self.state
        if state.finished or version in state.blocked_by:
            return
        unblock = error.hint or "Bring the old code back, or cancel the run"
        message = error.message
        if reason == "diverged" and workflow is not None:
            message += self._changes(workflow)
        self._propose(RunBlocked(reason=reason, version=version, message=message, unblock=unblock))

    def _changes(self, workflow: Workflow[..., Any]) -> str:
        """How the definition differs from the one that the run began with, as far as its text was kept."""
        row = self.host.journal.store.one("definition", (workflow.name, self.state.version))
        source, file, _line = workflow.source()
        if row is None or not row[0] or row[0] == source:
            return ""
        lines = difflib.unified_diff(row[0].splitlines(), source.splitlines(), f"{workflow.name} as the run began", f"{file} now", lineterm="", n=1)
        return "\n\n" + "\n".join(list(lines)[:_DIFF_LINES])

    def _drop_code(self) -> None:
        if self.execution is not None:
            self.execution.close()
            self.execution = None
        self._digesting = None
        self._loading = False
        self._tail = []

    def reload(self) -> None:
        """Somebody else appended: forget what was not stored, and load again; attempts in flight go on."""
        self._drop_code()
        self.history = None
        self.to_start.clear()
        self.to_cancel.clear()
        self.inbox.extendleft(reversed(self.consumed))
        self.consumed.clear()
        self.recorded.clear()

    def committed(self) -> None:
        """What was proposed is durable."""
        self.consumed.clear()
        self.recorded.clear()

    def close(self) -> None:
        """Drop the run from memory."""
        self._drop_code()
        self.history = None
