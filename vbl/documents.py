"""The JSON of `--json` and of the API: documents for runs, events, states, waits, timelines. Keys are only ever added.

Instants are RFC 3339 in UTC, durations integers of milliseconds under keys that end in `_ms`. What the user recorded
(inputs, outputs, variables) is passed on as it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vbl.clock import instant

if TYPE_CHECKING:
    from vbl.handle import Run
    from vbl.history.facts import Event, Fact
    from vbl.history.planning import Entry
    from vbl.history.questions import Gate, Question
    from vbl.history.state import RunState
    from vbl.history.timeline import Bar, Timeline, Wait
    from vbl.history.why import Why
    from vbl.schedules import Schedule
    from vbl.store.queues import LaneState, QueueState

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


def milliseconds(us: int) -> int:
    """A duration for a key that ends in `_ms`."""
    return round(us / 1_000)


def standing_document(run: Run) -> dict[str, Any]:
    """A run as it stands after something was done to it, with what it waits for now."""
    return {**run_document(run.refresh()), "why": why_document(run.why())}


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
        "usd": run.usd,
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
    if type == "APPROVAL_REQUESTED":
        payload["remind"] = [instant(each) for each in payload["remind"]]
        payload["escalate"] = [step | {"at": instant(step["at"])} for step in payload["escalate"]]
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


def gate_document(gate: Gate) -> dict[str, Any]:
    """A gate as `--json` has it."""
    return {
        "id": gate.id,
        "run_id": gate.run_id,
        "workflow": gate.workflow,
        "name": gate.name,
        "status": gate.status,
        "requested_at": instant(gate.requested_at),
        "expires_at": instant(gate.expires_at),
        "decided_at": instant(gate.decided_at),
        "decided_by": gate.decided_by,
        "reason": gate.reason,
        "data": gate.data,
        "sentence": gate.sentence,
        "show": gate.show,
        "to": list(gate.to),
        "need": gate.need,
        "not_starter": gate.not_starter,
        "votes": [dict(vote) for vote in gate.votes],
        "refused": [dict(one) for one in gate.refused],
        "call": gate.call,
        "edit": gate.edit,
        "schema": gate.schema,
        "on_timeout": gate.on_timeout,
        "problem": gate.problem,
        "reopens": gate.reopens,
    }


def question_document(question: Question) -> dict[str, Any]:
    """A question as `--json` has it."""
    return {
        "kind": question.kind,
        "run_id": question.run_id,
        "workflow": question.workflow,
        "since": instant(question.since),
        "detail": question.detail,
        "step": question.step,
        "gate": None if question.gate is None else gate_document(question.gate),
    }


def queue_document(queue: QueueState) -> dict[str, Any]:
    """A queue as JSON."""
    limits = queue.limits
    return {
        "name": queue.name,
        "workflows": queue.workflows,
        "concurrency": limits.concurrency,
        "key_concurrency": limits.key_concurrency,
        "rate": str(limits.rate) if limits.rate is not None else None,
        "key_rate": str(limits.key_rate) if limits.key_rate is not None else None,
        "running": queue.running,
        "waiting": queue.waiting,
        "begun": queue.begun,
        "next_at": instant(queue.next_at),
    }


def lane_document(lane: LaneState) -> dict[str, Any]:
    """A lane as JSON; `key` is the value of the parameter."""
    try:
        key = json.loads(lane.lane) if lane.lane else None
    except ValueError:  # a long one is named by its beginning
        key = lane.lane
    return {"key": key, "running": lane.running, "waiting": lane.waiting, "next_at": instant(lane.next_at)}


def schedule_document(schedule: Schedule) -> dict[str, Any]:
    """A schedule as `--json` gives it."""
    return {
        "name": schedule.name,
        "workflow": schedule.workflow,
        "cron": schedule.cron,
        "tz": schedule.tz,
        "overlap": schedule.overlap,
        "missed": schedule.missed,
        "grace_ms": round(schedule.grace_s * 1_000),
        "input": schedule.input,
        "priority": schedule.priority,
        "tags": list(schedule.tags),
        "run_id": schedule.run_id,
        "status": str(schedule.status),
        "paused": schedule.paused,
        "next_at": instant(schedule.next_at),
        "waiting": [instant(at) for at in schedule.waiting],
        "going": schedule.going,
        "last_fire": _entry(schedule.last_fire),
        "last_skip": _entry(schedule.last_skip),
    }


def _entry(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    what = (
        {"count": entry.count} if entry.run is None else {"run_id": entry.run, "late_ms": milliseconds(entry.late_us)}
    )
    return {"due_at": instant(entry.due_at), "at": instant(entry.at), "reason": entry.reason, **what}
