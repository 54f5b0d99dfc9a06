"""Histories written by hand: a builder that numbers facts and keeps a clock in seconds."""

from __future__ import annotations

from typing import Any

from vbl.history.facts import Fact
from vbl.history.state import RunState, fold

SECOND = 1_000_000
START = 1_760_000_000 * SECOND
RUN = "r_0123456789abcdef"


class History:
    """Facts of one run, each `after` seconds behind the one before; `now` is the instant of the last one."""

    def __init__(self, workflow: str = "triage", **created: Any) -> None:
        self.facts: list[Fact] = []
        self.now = START
        self.add("RUN_CREATED", run_id=RUN, workflow=workflow, version="v1", **created)

    def add(self, type: str, after: float = 0.0, /, **payload: Any) -> History:
        self.now += round(after * SECOND)
        self.facts.append(Fact(len(self.facts) + 1, type, self.now, payload))
        return self

    def started(self, after: float = 0.0, epoch: int = 1) -> History:
        return self.add("RUN_STARTED", after, epoch=epoch)

    def step(self, key: str, after: float = 0.0, attempt: int = 1, **more: Any) -> History:
        return self.add("STEP_STARTED", after, step=key, attempt=attempt, idempotency_key=f"{RUN}:{key}", **more)

    def done(self, key: str, after: float = 0.0, attempt: int = 1, output: Any = None) -> History:
        return self.add("STEP_COMPLETED", after, step=key, attempt=attempt, output=output).digested()

    def digested(self) -> History:
        state = self.state()
        return self.add("CHECKPOINT_WRITTEN", checkpoint=state.checkpoint + 1, applied=state.last_input)

    def failed(self, key: str, after: float = 0.0, attempt: int = 1, final: bool = True, **error: Any) -> History:
        recorded = {"kind": "transient", "type": "OSError", "message": "the line is dead", **error}
        return self.add("STEP_FAILED", after, step=key, attempt=attempt, error=recorded, final=final)

    def backoff(self, key: str, delay: float, attempt: int, max_attempts: int | None = 5) -> History:
        at = self.now + round(delay * SECOND)
        return self.add(
            "RETRY_SCHEDULED", step=key, attempt=attempt, at=at, reason="transient", max_attempts=max_attempts
        )

    def state(self) -> RunState:
        return fold(self.facts)
