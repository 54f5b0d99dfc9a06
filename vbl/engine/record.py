"""Writes what happens to one run as events: payloads and their stored text, made together.

`Record` decides nothing. It is on the way of every step, so the text is put together around values that were encoded
once; the models in `history.events` are the schema, and a test holds the two against each other.
"""

from __future__ import annotations

from typing import Any, cast

from vbl.engine.advance import Ask, Execution
from vbl.engine.calls import StepCall
from vbl.engine.context import Attempt, recorded_usage
from vbl.engine.outcomes import Failed, failure
from vbl.engine.variables import Variables
from vbl.errors import ApprovalExpired, RunFailed, StepFailed, ValueNotStorable
from vbl.history.events import Payload
from vbl.history.facts import Fact
from vbl.history.retry import Again
from vbl.history.state import RunState
from vbl.store.journal import History, draft
from vbl.store.payloads import LARGE_BYTES, dumps, spill

_REPEATED_INPUT_BYTES = 2_048
"""A longer input is recorded with the first attempt alone."""
_FARTHEST_CAUSE = 20
"""So far is it asked what an error was raised from."""


class Record:
    """The events of one run, as they are proposed. `at` is the instant of the tick, microseconds since 1970."""

    __slots__ = ("facts", "history", "narrating", "state")

    def __init__(self, history: History, *, narrating: bool) -> None:
        self.history = history
        self.state: RunState = history.state  # with everything proposed so far
        self.narrating = narrating
        self.facts: list[Fact] = []

    def append(self, type: str, at: int, payload: dict[str, Any], text: str | None = None) -> Fact:
        """Propose an event; time never runs backwards within a run."""
        history = self.history
        if at < history.state.at:
            at = history.state.at
        fact = history.propose(type, at, payload, dumps(payload) if text is None else text)
        if self.narrating:
            self.facts.append(fact)
        return fact

    def payload(self, at: int, payload: Payload) -> None:
        """Propose an event from its model."""
        self.append(*draft(at, payload))

    def about(self, type: str, at: int, field: str, subject: str | int | None) -> Fact:
        """Propose an event that names one thing."""
        return self.append(type, at, {"v": 1, field: subject})

    # Steps ---------------------------------------------------------------------------------------------------------

    def started(
        self, at: int, call: StepCall, number: int, *, alone: bool, idempotency_key: str | None = None
    ) -> Attempt:
        """Attempt `number` of a step begins."""
        history, step, key, text = self.history, call.step, call.key, call.input_text
        attempt = Attempt(self.state.run_id, key, number, call=call, alone=alone)
        own = f'"{self.state.run_id}:{call.key_text[1:]}'  # the text of the attempt's idempotency key
        if idempotency_key is not None:
            attempt.idempotency_key, own = idempotency_key, dumps(idempotency_key)
        payload: dict[str, Any] = {"v": 1, "step": key, "attempt": number, "idempotency_key": attempt.idempotency_key}
        parts = f'{{"v":1,"step":{call.key_text},"attempt":{number},"idempotency_key":{own}'
        before = self.state.steps.get(key)
        if before is None or before.void or len(text) <= _REPEATED_INPUT_BYTES:
            payload["input"] = call.input_plain
            parts = f'{parts},"input":{text}'
            if call.large:
                history.blobs += [recorded.blob for _, recorded in call.large if recorded.blob is not None]
        if step.key is not None:
            payload["name"] = step.name
            parts += f',"name":{dumps(step.name)}'
        if step.effect is not None:
            payload["effect"] = step.effect
            parts += f',"effect":"{step.effect}"'
        if call.gate is not None:
            payload["gate"] = call.gate
            parts += f',"gate":"{call.gate}"'
        if alone:
            payload["alone"] = True
            parts += ',"alone":true'
        fact = self.append("STEP_STARTED", at, payload, parts + "}")
        if call.large and "input" in payload:
            for name, recorded in call.large:
                history.recorder.know((fact.seq, "input", name), recorded.plain, recorded.shape)
        return attempt

    def completed(self, at: int, attempt: Attempt, value: Any) -> tuple[Fact, Any]:
        """A body returned. Returns the event and the value as the workflow sees it. Raises ValueNotStorable."""
        history, call = self.history, attempt.call
        assert call is not None
        recorded = call.step.signature.result.record(value, history.recorder)
        payload = {"v": 1, "step": attempt.key, "attempt": attempt.number, "output": recorded.plain}
        text = f'{{"v":1,"step":{call.key_text},"attempt":{attempt.number},"output":{recorded.text}'
        if attempt.usage:
            payload["usage"] = used = attempt.spent
            text += f',"usage":{dumps(used)}'
        if recorded.blob is not None:
            history.blobs.append(recorded.blob)
        fact = self.append("STEP_COMPLETED", at, payload, text + "}")
        if recorded.shape is not None or len(recorded.text) >= LARGE_BYTES:
            history.recorder.know((fact.seq, "output"), recorded.plain, recorded.shape)
        return fact, recorded.value

    def failed(self, at: int, attempt: Attempt, outcome: Failed, *, final: bool) -> Fact:
        """A body raised, or its time was up."""
        about = {"v": 1, "step": attempt.key, "attempt": attempt.number}
        more: dict[str, Any] = {"usage": attempt.spent} if attempt.usage else {}
        if outcome.unknown:
            more["unknown"] = True
        return self.append("STEP_FAILED", at, {**about, "error": outcome.record(), "final": final, **more})

    def given_up(self, at: int, step: str, attempt: Attempt | None) -> None:
        """The code no longer waits for a step; `attempt` is the one in flight. What a write uses after that is told by
        its end, which is recorded all the same."""
        cancelled: dict[str, Any] = {"v": 1, "step": step}
        if attempt is not None and (calls := attempt.usage):  # one reading: its thread may be using more
            cancelled["usage"], attempt.told = recorded_usage(calls), len(calls)
        self.append("STEP_CANCELLED", at, cancelled)

    def retry(self, at: int, attempt: Attempt, outcome: Failed, decision: Again, max_attempts: int) -> None:
        """Another attempt is due after a delay."""
        first_line = outcome.message.partition("\n")[0][:200] or outcome.type
        scheduled = {
            "v": 1,
            "step": attempt.key,
            "attempt": attempt.number + 1,
            "at": at + round(decision.delay * 1e6),
            "reason": f"{outcome.kind}: {first_line}",
            "max_attempts": max_attempts,
        }
        self.append("RETRY_SCHEDULED", at, scheduled)

    def asked(self, at: int, ask: Ask) -> Fact:
        """A command that is recorded as the code asked for it."""
        self.history.blobs += ask.blobs
        return self.append(ask.type, at, ask.payload or {}, ask.text)

    def fired(self, at: int, timer: int, late_us: int) -> Fact:
        """A timer's time has come, so many microseconds ago."""
        late = {"late_us": late_us} if late_us else {}
        return self.append("TIMER_FIRED", at, {"v": 1, "timer": timer, **late})

    # The run -------------------------------------------------------------------------------------------------------

    def run_started(self, at: int, epoch: int, commands: int, queue: str | None, lane: str | None) -> None:
        """The workflow function was entered; the run holds a place in that queue, where there is one."""
        payload = {"v": 1, "epoch": epoch, "commands": commands}
        place = {} if queue is None and self.state.queue is None else {"queue": queue, "lane": lane}
        self.append("RUN_STARTED", at, payload | place)

    def checkpoint(self, applied: int, commands: int, variables: Variables) -> None:
        """The code has digested the input at `applied`. Raises ValueNotStorable, naming the field of the state."""
        history, state = self.history, self.state
        number = state.checkpoint + 1
        payload: dict[str, Any] = {"v": 1, "checkpoint": number, "applied": applied, "commands": commands}
        text = f'{{"v":1,"checkpoint":{number},"applied":{applied},"commands":{commands}'
        delta = variables.delta(state.variables, state.digest)
        if delta is not None:
            body, blob = spill(delta.text)
            payload["delta"], payload["digest"] = delta.plain, delta.digest
            text += f',"delta":{body},"digest":"{delta.digest}"'
            history.blobs += delta.blobs if blob is None else [*delta.blobs, blob]
        elif state.digest is not None:
            payload["digest"] = state.digest
            text += f',"digest":"{state.digest}"'
        fact = self.append("CHECKPOINT_WRITTEN", state.at, payload, text + "}")
        if delta is not None:
            for name, recorded in delta.recorded.items():
                history.recorder.know((fact.seq, "delta", name), recorded.plain, recorded.shape)

    def ended(self, at: int, execution: Execution, type: str) -> None:
        """The workflow function has ended: cancelled, returned or raised."""
        undone = {"undone": execution.undone} if execution.undone else {}
        if type == "RUN_CANCELLED":
            self.append(type, at, {"v": 1, "reason": (self.state.cancel or {}).get("reason"), **undone})
            return
        assert execution.main is not None
        error = execution.main.exception()
        if error is None:
            try:
                recorded = execution.workflow.signature.result.record(execution.main.result(), self.history.recorder)
            except ValueNotStorable as refused:
                error = refused
            else:
                if recorded.blob is not None:
                    self.history.blobs.append(recorded.blob)
                more = f',"undone":{dumps(execution.undone)}' if undone else ""
                text = f'{{"v":1,"output":{recorded.text}{more}}}'
                self.append("RUN_COMPLETED", at, {"v": 1, "output": recorded.plain, **undone}, text)
                return
        described = failure(error).record()
        if isinstance(error, StepFailed):
            described["message"] = str(error)
        self.append("RUN_FAILED", at, {"v": 1, "error": {**described, **_failed_by(error, self.state)}, **undone})


def _failed_by(error: BaseException, state: RunState, depth: int = 0) -> dict[str, Any]:
    """The step, the child or the gate by which a run failed, which a retry tries again, and the kind of its error; in
    a group of errors the first of them. An error that was raised from another one stands for that, where the code has
    heard of nothing since: what was heard is to stand."""
    if isinstance(error, StepFailed):
        return {"kind": error.kind, "step": error.step}
    if isinstance(error, RunFailed) and error.call is not None:
        return {"kind": error.error["kind"], "step": error.call} if "kind" in error.error else {"step": error.call}
    if isinstance(error, ApprovalExpired):
        return {"step": error.gate}
    if isinstance(error, BaseExceptionGroup):
        found = [_failed_by(one, state, depth) for one in cast("BaseExceptionGroup[BaseException]", error).exceptions]
        return next((said for said in found if said), dict[str, Any]())
    if error.__cause__ is None or depth >= _FARTHEST_CAUSE:
        return {}
    step = _failed_by(error.__cause__, state, depth + 1).get("step", "")
    failed = state.steps.get(step) or state.children.get(step)
    return {"step": step} if failed is not None and failed.ended_seq == state.applied else {}
