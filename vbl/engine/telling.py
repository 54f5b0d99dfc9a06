"""Who is told that a person is asked: the run of a notifying workflow, born with the event that asks.

A supervisor that was given such a workflow starts it with {"gate", "run", "event"} for each gate that is asked for,
escalated or reminded of, and for each run that is blocked by an outcome which nobody knows. That run is created in the
transaction of the event: nobody is asked unheard, and nobody is told of what was never asked. How it tells is its own
affair; what is told is no part of the run that asks.
"""

from __future__ import annotations

from typing import Any

from vbl import ids
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.errors import UsageError
from vbl.given import workflow_name
from vbl.store.journal import History, Journal, birth
from vbl.store.payloads import dumps

ASKING = frozenset({"APPROVAL_REQUESTED", "APPROVAL_ESCALATED", "APPROVAL_REMINDED"})
"""The events of a gate that somebody is told of."""


def notifying(workflow: Workflow[..., Any] | str | None) -> str | None:
    """The name of the workflow that tells. Raises UsageError where none of that name is loaded here, InvalidInput where
    it does not take `gate` (an id, or None), `run` (an id) and `event` (a type of event)."""
    if workflow is None:
        return None
    name = workflow_name(workflow)
    known = REGISTRY.get(name)
    if known is None:
        raise UsageError(
            f"notify={name!r}: no workflow of that name is loaded here",
            "Import the module that defines it; that of vbl.notify is vbl.notifier",
        )
    for gate in ("g_0", None):
        known.signature.accept({"gate": gate, "run": "r_0", "event": "APPROVAL_REQUESTED"})
    return name


def born(journal: Journal, name: str, run_id: str, event: str, gate: str | None, now: int) -> History:
    """The beginning of the run that tells somebody: to be stored with the event."""
    known = REGISTRY.get(name)
    given = {"gate": gate, "run": run_id, "event": event}
    version = known.version if known is not None else ""
    tags = [f"about={gate or run_id}"]
    return journal.unborn(birth(now, ids.run_id(journal.clock), name, version, dumps(given), given, tags=tags))
