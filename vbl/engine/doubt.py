"""Steps in doubt: a write whose process died, or that the code gave up, before anybody knew how it ended.

Here is how a step's probe is asked, and what its answer, or a body that ends late, means for the history. Which policy
applies to a step is decided where it would be started again: `ActiveRun`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from vbl.engine.context import Attempt
from vbl.engine.outcomes import Failed, Succeeded, failure
from vbl.engine.probe import DidNotHappen, Happened, Unknown
from vbl.errors import ValueNotStorable, WorkflowError
from vbl.history.events import StepResolved
from vbl.store.journal import draft
from vbl.store.payloads import dumps

if TYPE_CHECKING:
    from vbl.engine.calls import StepCall
    from vbl.engine.record import Record
    from vbl.history.facts import Fact
    from vbl.history.state import StepState

PROBE = "probe"
"""The actor of what a probe settles."""
_SHOWN_CHARS = 300


class InDoubt(WorkflowError):
    """Nobody here knows what became of a step. `json_schema` is what its result would look like."""

    code = "unknown_outcome"

    def __init__(self, run_id: str, call: StepCall, said: str = "") -> None:
        message = f"step {call.key} writes to the world, and nobody knows whether it did: it had no end on record"
        super().__init__(
            f"{message}. {said}" if said else message,
            f"Find out whether it happened; then: vbl resolve {run_id} --happened JSON, or --did-not, or --fail",
            step=call.key,
        )
        self.json_schema = call.step.signature.result.json_schema()


def broken_off(step: StepState, hangs: bool) -> str:
    """What is known of a write whose last attempt was broken off in its body; empty where its process died. `hangs`:
    the body goes on."""
    if step.error is None:
        return ""
    then = "; its body goes on, and what becomes of it will be recorded" if hangs else ""
    return f"Its last attempt: {step.error['message']}{then}"


def ask(record: Record, at: int, call: StepCall, step: StepState, *, alone: bool) -> Attempt:
    """Ask the step's probe about its last attempt."""
    attempt = Attempt(record.state.run_id, step.key, step.attempt, call=call, alone=alone)
    attempt.idempotency_key = step.idempotency_key or attempt.idempotency_key
    attempt.probing = True
    about: dict[str, Any] = {"v": 1, "step": step.key, "attempt": step.attempt}
    record.append("STEP_PROBED", at, {**about, "alone": True} if alone else about)
    return attempt


def answered(record: Record, at: int, asked: Attempt) -> tuple[Fact, Any] | InDoubt:
    """Record what the probe said: the event, and the value that the workflow sees where the step happened. What is no
    answer is in doubt."""
    call, outcome = asked.call, asked.outcome
    assert call is not None
    if isinstance(outcome, Failed):
        return InDoubt(record.state.run_id, call, f"Its probe raised {outcome.type}: {outcome.message[:_SHOWN_CHARS]}")
    answer: Any = outcome.value
    if isinstance(answer, DidNotHappen):
        return record.append(*draft(at, StepResolved(step=call.key, outcome="did_not_happen", actor=PROBE))), None
    if isinstance(answer, Happened):
        try:
            return _happened(record, at, call, cast("Happened[Any]", answer).result)
        except ValueNotStorable as refused:
            said = f"Its probe says that it happened, with a result that cannot be recorded: {refused.message}"
            return InDoubt(record.state.run_id, call, said)
    if isinstance(answer, Unknown):
        why = f": {answer.reason}" if answer.reason else ""
        return InDoubt(record.state.run_id, call, f"Its probe cannot say either{why}")
    shown = repr(answer)
    said = f"Its probe returned {shown if len(shown) <= 80 else shown[:77] + '…'}"
    return InDoubt(record.state.run_id, call, f"{said}, and not vbl.Happened, vbl.DidNotHappen or vbl.Unknown")


def _happened(record: Record, at: int, call: StepCall, result: Any) -> tuple[Fact, Any]:
    history = record.history
    recorded = call.step.signature.result.record(result, history.recorder)
    payload = {"v": 1, "step": call.key, "outcome": "happened", "output": recorded.plain, "actor": PROBE}
    head = f'{{"v":1,"step":{call.key_text},"outcome":"happened"'
    if recorded.blob is not None:
        history.blobs.append(recorded.blob)
    fact = record.append("STEP_RESOLVED", at, payload, f'{head},"output":{recorded.text},"actor":{dumps(PROBE)}}}')
    return fact, recorded.value


# Late ends --------------------------------------------------------------------------------------------------------


def ended_late(step: StepState, landed: Attempt) -> bool:
    """Whether this is the end of a write that the code has given up in flight, or has seen fail for its time."""
    return (
        step.status in ("cancelled", "failed")
        and step.effect == "write"
        and step.interrupted
        and step.attempt == landed.number
        and landed.launched
    )


def still_counts(step: StepState, landed: Attempt) -> bool:
    """Whether this is the end of an earlier attempt of a step that is in doubt: then that is over."""
    return (
        step.status in ("due", "retrying")
        and step.effect == "write"
        and step.interrupted
        and step.attempt >= landed.number
        and step.idempotency_key == landed.idempotency_key
    )


def keep(record: Record, at: int, landed: Attempt) -> None:
    """Record how a write ended that the code no longer waits for; it is not handed to the code."""
    outcome = landed.outcome
    if isinstance(outcome, Succeeded):
        try:
            record.completed(at, landed, outcome.value)
            return
        except ValueNotStorable as refused:
            outcome = failure(refused)
    if isinstance(outcome, Failed):
        record.failed(at, landed, outcome, final=True)
