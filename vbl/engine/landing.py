"""How an attempt ended, on record: what a body returned or raised, what a probe said, and what follows from it.

What the code is to see of it is given back as an input; when the code sees it is the affair of `activity`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vbl.engine import doubt
from vbl.engine.advance import MISSING
from vbl.engine.context import Attempt
from vbl.engine.doubt import InDoubt
from vbl.engine.outcomes import Committed, Failed, Stopped, Succeeded, failure
from vbl.engine.record import Record
from vbl.errors import ValueNotStorable
from vbl.history import retry
from vbl.history.events import StepInterrupted
from vbl.history.facts import Fact, is_input
from vbl.history.state import StepState

if TYPE_CHECKING:
    from vbl.engine.activity import Host


class Landing:
    """Of one run. `unanswered` are the probes that could not say what became of their steps, until they are settled."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.unanswered: list[InDoubt] = []

    def take(self, record: Record, landed: Attempt) -> tuple[Fact | None, Any]:
        """Record how an attempt ended. Returns the input for the code, where it is one, and the value."""
        state, now = record.state, self._host.now()
        step = state.steps.get(landed.key)
        if step is None:
            return None, MISSING
        ours = step.status == "running" and step.attempt == landed.number and step.probing == landed.probing
        if not ours and doubt.ended_late(step, landed):
            doubt.keep(record, now, landed)
            return None, MISSING
        if not (ours or doubt.still_counts(step, landed)) or state.outcome is not None:
            return None, MISSING
        outcome = landed.outcome
        if landed.probing and not isinstance(outcome, Stopped):
            return self._answer(record, landed)
        if isinstance(outcome, Committed):
            return None, MISSING  # it comes as somebody else's event
        if isinstance(outcome, Succeeded):
            try:
                return record.completed(now, landed, outcome.value)
            except ValueNotStorable as refused:
                outcome = failure(refused)
                outcome.traceback = None
        if isinstance(outcome, Failed):
            return self._failure(record, landed, outcome, step), MISSING
        if step.status == "running":
            lost = StepInterrupted(
                step=landed.key, attempt=landed.number, epoch=self._host.epoch, counted=False, usage=landed.spent
            )
            record.payload(now, lost)
        return None, MISSING

    def _answer(self, record: Record, asked: Attempt) -> tuple[Fact | None, Any]:
        """Record what a step's probe said. Where it could not say the run is blocked, when all that has come is
        recorded; one that is blocked already asks again when it goes on."""
        said = doubt.answered(record, self._host.now(), asked)
        if not isinstance(said, InDoubt):
            fact, value = said
            return (fact, value) if is_input(fact.type, fact.payload) else (None, MISSING)
        self.unanswered.append(said)
        return None, MISSING

    def settle(self, record: Record) -> None:
        """Block the run where a probe could not say; one question at a time, the other probes are asked again."""
        unanswered, self.unanswered = self.unanswered, []
        steps = record.state.steps
        open_ = [said for said in unanswered if steps[said.step or ""].probing]
        for said in open_ if record.state.blocked is not None else open_[1:]:
            step = steps[said.step or ""]
            lost = StepInterrupted(step=step.key, attempt=step.attempt, epoch=self._host.epoch, counted=False)
            record.payload(self._host.now(), lost)
        if open_ and record.state.blocked is None:
            raise open_[0]

    def _failure(self, record: Record, landed: Attempt, outcome: Failed, step: StepState) -> Fact | None:
        now, counted = self._host.now(), step.status == "retrying"  # its time was up before it ended
        assert landed.call is not None
        policy = landed.call.step.retry
        decision = retry.decide(
            policy,
            tried=step.failures + (not counted),
            kind=outcome.kind,
            error=outcome.error,
            elapsed=(now - step.asked_at) / 1e6,
            seed=landed.idempotency_key,
            retry_after=outcome.retry_after,
        )
        if isinstance(decision, retry.GiveUp):
            return record.failed(now, landed, outcome, final=True)
        record.failed(now, landed, outcome, final=False)
        if not counted:
            record.retry(now, landed, outcome, decision, policy.max_attempts)
        return None
