"""vbl: durable execution for agentic workflows, in one SQLite file.

The front door: names are loaded when they are first used, so that `import vbl` costs next to nothing and nobody pays
for the engine who only reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vbl.client import Client, connect
    from vbl.decisions import Gate
    from vbl.engine.ambient import key, map, now, parked, patched, random, sleep, state, uuid4  # noqa: A004
    from vbl.engine.children import ChildRun, start
    from vbl.engine.definitions import AsyncStep, Step, Workflow, step, workflow
    from vbl.engine.gates import BoundCall, Decision, approve
    from vbl.engine.probe import DidNotHappen, Happened, Unknown
    from vbl.engine.runtime import Runtime, open, run  # noqa: A004
    from vbl.engine.saga import Saga, saga
    from vbl.engine.schedules import schedule
    from vbl.engine.shield import cancelled, shield
    from vbl.engine.signals import sleep_until, wait
    from vbl.engine.transact import connection, transaction
    from vbl.errors import (
        AmbiguousRun,
        ApprovalExpired,
        Conflict,
        Divergence,
        EpochLost,
        InvalidInput,
        KeyTaken,
        NotApproved,
        NotEntitled,
        NotFound,
        NotInWorkflow,
        Parked,
        RunBlocked,
        RunCancelled,
        RunFailed,
        RunWaiting,
        StepFailed,
        StorageError,
        SupervisorHeld,
        UsageError,
        ValueNotStorable,
        VblError,
        WorkflowError,
    )
    from vbl.handle import Run
    from vbl.history.facts import Event, EventType
    from vbl.history.questions import Question
    from vbl.history.retry import Kind, Retry
    from vbl.history.state import RunState, Status
    from vbl.schedules import Schedule
    from vbl.watching import Watch

_HOMES = {
    "vbl.client": ("Client", "connect"),
    "vbl.decisions": ("Gate",),
    "vbl.engine.ambient": ("key", "map", "now", "parked", "patched", "random", "sleep", "state", "uuid4"),
    "vbl.engine.children": ("ChildRun", "start"),
    "vbl.engine.definitions": ("AsyncStep", "Step", "Workflow", "step", "workflow"),
    "vbl.engine.gates": ("BoundCall", "Decision", "approve"),
    "vbl.engine.probe": ("DidNotHappen", "Happened", "Unknown"),
    "vbl.engine.runtime": ("Runtime", "open", "run"),
    "vbl.engine.saga": ("Saga", "saga"),
    "vbl.engine.shield": ("cancelled", "shield"),
    "vbl.engine.schedules": ("schedule",),
    "vbl.engine.signals": ("sleep_until", "wait"),
    "vbl.engine.transact": ("connection", "transaction"),
    "vbl.errors": (
        "AmbiguousRun", "ApprovalExpired", "Conflict", "Divergence", "EpochLost", "InvalidInput", "KeyTaken",
        "NotApproved", "NotEntitled", "NotFound", "NotInWorkflow", "Parked", "RunBlocked", "RunCancelled",
        "RunFailed", "RunWaiting", "StepFailed", "StorageError", "SupervisorHeld", "UsageError", "ValueNotStorable",
        "VblError", "WorkflowError",
    ),
    "vbl.handle": ("Run",),
    "vbl.history.facts": ("Event", "EventType"),
    "vbl.history.questions": ("Question",),
    "vbl.history.retry": ("Kind", "Retry"),
    "vbl.history.state": ("RunState", "Status"),
    "vbl.notebook": ("load_ipython_extension",),
    "vbl.schedules": ("Schedule",),
    "vbl.watching": ("Watch",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AmbiguousRun", "ApprovalExpired", "AsyncStep", "BoundCall", "ChildRun", "Client", "Conflict", "Decision",
    "DidNotHappen", "Divergence", "EpochLost", "Event", "EventType", "Gate", "Happened", "InvalidInput", "KeyTaken",
    "Kind", "NotApproved", "NotEntitled", "NotFound", "NotInWorkflow", "Parked", "Question", "Retry", "Run",
    "RunBlocked", "RunCancelled", "RunFailed", "RunState", "RunWaiting", "Runtime", "Saga", "Schedule", "Status",
    "Step", "StepFailed", "StorageError", "SupervisorHeld", "Unknown", "UsageError", "ValueNotStorable", "VblError",
    "Watch", "Workflow", "WorkflowError", "approve", "cancelled", "connect", "connection", "key", "map", "now", "open",
    "parked", "patched", "random", "run", "saga", "schedule", "shield", "sleep", "sleep_until", "start", "state",
    "step", "transaction", "uuid4", "wait", "workflow",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    import importlib

    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'vbl' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
