"""The JSON of `--json` and of the API: documents for runs, events, states, waits, timelines. Keys are only ever added.

Instants are RFC 3339 in UTC, durations integers of milliseconds under keys that end in `_ms`. What the user recorded
(inputs, outputs, variables) is passed on as it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vbl.handle import Run
    from vbl.history.facts import Event, Fact
    from vbl.history.state import RunState
    from vbl.history.timeline import Bar, Timeline, Wait
    from vbl.history.why import Why

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANTS = {
    "RUN_CREATED": ("deadline",),
    "RETRY_SCHEDULED": ("at",),
    "TIMER_SET": ("at",),
    "CANCEL_REQUESTED": ("until",),
    "SIGNAL_AWAITED": ("expires_at",),
    "APPROVAL_REQUESTED": ("expires_at",),
    "APPROVAL_ESCALATED": ("expires_at",),
    "SCHEDULE_FIRED": ("due_at",),
    "SCHEDULE_SKIPPED": ("due_at",),
}
"""Fields of payloads that are instants."""


def instant(at: int | None) -> str | None:
    """Microseconds since 1970 as RFC 3339, to the microsecond."""
    if at is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError:
        return None


def milliseconds(us: int) -> int:
    """A duration for a key that ends in `_ms`."""
    return round(us / 1_000)


def run_document(run: Run) -> dict[str, Any]:
    """A run as `vbl ls` knows it."""
    return {
        "id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "status": str(run.last_status),
        "key": run.key,
        "parent_id": run.parent_id,
        "tags": list(run.tags),
        "created_at": instant(run.created_at),
        "updated_at": instant(run.updated_at),
        "finished_at": instant(run.finished_at),
        "wake_at": instant(run.wake_at),
        "seq": run.seq,
    }


def event_document(event: Event) -> dict[str, Any]:
    """An event with its payload; `id` is its place in the file."""
    payload = event.payload.model_dump(mode="json")
    return {"id": event.id, **_event(event.run_id, event.seq, event.type, event.at, payload)}


def fact_document(run_id: str, fact: Fact) -> dict[str, Any]:
    """The same for an event that has just been committed, and whose place in the file is not known yet."""
    from vbl.history.events import payload_model

    payload = payload_model(fact.type, fact.payload).model_dump(mode="json")
    return _event(run_id, fact.seq, fact.type, fact.at, payload)


def _event(run_id: str, seq: int, type: str, at: int, payload: dict[str, Any]) -> dict[str, Any]:
    for field in _INSTANTS.get(type, ()):
        payload[field] = instant(payload[field])
    return {"run_id": run_id, "seq": seq, "type": str(type), "at": instant(at), "payload": payload}


def why_document(answer: Why) -> dict[str, Any]:
    """What a run waits for."""
    return {
        "status": str(answer.status),
        "waits_for": answer.waits_for,
        "detail": answer.detail,
        "until": instant(answer.until),
        "hint": answer.hint,
        "also": [
            {"waits_for": one.waits_for, "detail": one.detail, "until": instant(one.until), "hint": one.hint}
            for one in answer.also
        ],
    }


def gate_documents(state: RunState) -> list[dict[str, Any]]:
    """The gates of a run, in the order in which they were asked."""
    return [
        {
            "id": gate.id,
            "name": gate.name,
            "status": gate.status,
            "to": gate.to,
            "requested_at": instant(gate.requested_at),
            "expires_at": instant(gate.expires_at),
            "decided_at": instant(gate.decided_at),
            "decided_by": gate.decided_by,
        }
        for gate in sorted(state.gates.values(), key=lambda gate: gate.asked_seq)
    ]


def _outside_documents(state: RunState) -> dict[str, Any]:
    """What the run waits for from outside, and what came and was not taken."""
    return {
        "gates": gate_documents(state),
        "waits": [
            {"wait": number, "signal": state.waits[number].name, "until": instant(state.waits[number].expires_at)}
            for number in sorted(state.open_waits)
        ],
        "signals": {name: len(kept) for name, kept in state.signals.items() if kept},
        "children": [
            {"call": child.call, "id": child.id, "workflow": child.workflow, "status": child.status}
            for child in state.children.values()
            if not child.void
        ],
    }


def state_document(state: RunState) -> dict[str, Any]:
    """The accumulated state of a run after one of its events."""
    return {
        "id": state.run_id,
        "workflow": state.workflow,
        "seq": state.seq,
        "checkpoint": state.checkpoint,
        "at": instant(state.at),
        "status": str(state.status),
        "input": state.input,
        "variables": state.variables,
        "outputs": state.outputs,
        "pending": [
            {
                "step": key,
                "status": state.steps[key].status,
                "attempt": state.steps[key].attempt,
                "retry_at": instant(state.steps[key].retry_at),
            }
            for key in state.pending
        ],
        "timers": [
            {"timer": number, "until": instant(state.timers[number].at)} for number in sorted(state.open_timers)
        ],
        **_outside_documents(state),
        "attempts": state.attempts,
        "usage": state.usage,
        "output": state.output,
        "error": state.error,
    }


def timeline_document(picture: Timeline) -> dict[str, Any]:
    """The model that every timeline is drawn from."""
    from vbl.history.remarks import remarks

    return {
        "start_at": instant(picture.start_at),
        "end_at": instant(picture.end_at),
        "duration_ms": milliseconds(picture.end_at - picture.start_at),
        "lanes": [
            {
                "step": lane.step,
                "name": lane.name,
                "status": lane.status,
                "bars": [_bar(bar, picture.end_at) for bar in lane.bars],
                "waits": [_wait(wait, picture.end_at) for wait in lane.waits],
            }
            for lane in picture.lanes
        ],
        "waits": [_wait(wait, picture.end_at) for wait in picture.waits],
        "remarks": [{"at": instant(r.at), "text": r.text, "grave": r.grave} for r in remarks(picture)],
        "marks": [{"at": instant(mark.at), "seq": mark.seq, "text": mark.text} for mark in picture.marks],
    }


def _bar(bar: Bar, present: int) -> dict[str, Any]:
    return {
        "attempt": bar.attempt,
        "start_at": instant(bar.start_at),
        "end_at": instant(bar.end_at),
        "duration_ms": milliseconds((present if bar.end_at is None else bar.end_at) - bar.start_at),
        "outcome": str(bar.outcome),
        "text": bar.text,
        "alone": bar.alone,
        "void": bar.void,
    }


def _wait(wait: Wait, present: int) -> dict[str, Any]:
    return {
        "stand": str(wait.stand),
        "start_at": instant(wait.start_at),
        "end_at": instant(wait.end_at),
        "until_at": instant(wait.until_at),
        "duration_ms": milliseconds((present if wait.end_at is None else wait.end_at) - wait.start_at),
        "late_ms": milliseconds(wait.late),
        "text": wait.text,
        "name": wait.name,
        "subject": wait.subject,
        "outcome": wait.outcome,
    }
