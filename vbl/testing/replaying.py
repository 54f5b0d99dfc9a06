"""Recorded runs held against the code of today: nothing is written, and no step runs."""

from __future__ import annotations

import threading
from typing import Any

from vbl.engine.advance import Execution
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.errors import NotFound
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.history.script import script_of
from vbl.history.state import Status
from vbl.store.journal import History
from vbl.store.payloads import Resolver

_RECENT_FACTS = 40
"""Long values that repeat one of these are compared with it, and not encoded anew."""


def replay(run: Run, workflow: Workflow[..., Any] | None = None, *, patience_s: float = 20.0) -> Any:
    """Hold the code of today against a recorded run; nothing is written and no step runs.

    Returns the workflow's output if the run has completed. Raises Divergence where the code asks for something else
    than the history holds, NotFound where the workflow is not known here.
    """
    code = workflow or REGISTRY.get(run.workflow)
    if code is None:
        raise NotFound(f"workflow {run.workflow} is not known here", "Import the module that defines it")
    history = History(None, Resolver(_no_blob))
    history.state = run.state()
    if history.state.started_at is None:
        return None  # its code was never entered: it is queued, or was cancelled before
    facts = run.facts()
    for fact in facts[-_RECENT_FACTS:]:
        history.recorder.know_payload(fact.seq, fact.payload)
    script = script_of(facts)
    reached = threading.Event()
    execution = Execution(history, code, script, reached.set)
    try:
        extra = [ask for fact in script.inputs for ask in _replayed(execution, fact, reached, patience_s)]
        execution.check_whole(extra)
        if history.state.outcome != Status.COMPLETED or execution.main is None:
            return None
        return execution.main.result()
    finally:
        execution.close()


def _no_blob(digest: str) -> bytes:
    raise NotFound(f"blob {digest} was asked for", "The facts of a run are resolved when they are read")


def _replayed(execution: Execution, fact: Fact, reached: threading.Event, patience_s: float) -> list[Any]:
    """Hand over one input and wait until the code rests; what it asks for beyond the history."""
    execution.activate(fact)
    while not execution.resting:
        if not reached.wait(patience_s):
            raise TimeoutError(f"the sync workflow computes for more than {patience_s:g} s after event {fact.seq}")
        reached.clear()
        execution.resume()
    return execution.take_asks()
