"""What a run asks of people, as they see it: its gates, and the step whose outcome nobody knows.

Pure: from the state of a run to values that terminal, page, notebook and `--json` show alike. Who may decide, and what
a decision means, is in `history.gates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vbl.history import gates
from vbl.history.state import RunState
from vbl.history.waits import GateState


@dataclass(frozen=True, slots=True)
class Gate:
    """A question to a person, as it stood when it was read. Instants are microseconds since 1970 UTC.

    `status` is open, granted, denied, expired or closed; `show` what the person is shown; `to` who may decide by now
    (empty: anybody), `need` how many of them; `votes` the decisions so far, `agreed` who has approved just what stands
    now; `call` the step and arguments that it is about, as they stand, `asked` as they were asked; `edit` whether they
    may be changed; `schema` of the data that the answer needs; `problem` why it is asked again; `refused` the decisions
    that were refused.
    """

    id: str
    run_id: str
    workflow: str
    name: str
    status: str
    requested_at: int
    expires_at: int | None
    decided_at: int | None
    decided_by: str | None
    reason: str | None
    data: Any
    sentence: str
    show: Any
    to: tuple[str, ...]
    need: int
    not_starter: bool
    votes: tuple[dict[str, Any], ...]
    agreed: tuple[str, ...]
    refused: tuple[dict[str, Any], ...]
    call: dict[str, Any] | None
    asked: dict[str, Any] | None
    edit: bool
    schema: dict[str, Any] | None
    on_timeout: str
    escalate: tuple[dict[str, Any], ...]
    problem: str | None
    reopens: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """Something that only a person can settle: a gate, or a step whose outcome nobody knows.

    `kind` is gate or unknown_outcome; `gate` is there for a gate, `step` for the other; `detail` is a sentence.
    """

    kind: Literal["gate", "unknown_outcome"]
    run_id: str
    workflow: str
    since: int
    detail: str
    gate: Gate | None = None
    step: str | None = None


def view(state: RunState, gate: GateState) -> Gate:
    """A gate as people see it."""
    request, at = gate.request, gates.standing(gate)
    answer: dict[str, Any] = gate.answer or {}
    asked: dict[str, Any] | None = request.get("call")
    return Gate(
        id=gate.id,
        run_id=state.run_id,
        workflow=state.workflow,
        name=gate.name,
        status=gate.status,
        requested_at=gate.requested_at,
        expires_at=gate.expires_at,
        decided_at=gate.decided_at,
        decided_by=gate.decided_by,
        reason=answer.get("reason"),
        data=at.data,
        sentence=gates.sentence(gate),
        show=request.get("show"),
        to=tuple(gate.to),
        need=request.get("need", 1),
        not_starter=request.get("not_starter", False),
        votes=tuple(gate.votes),
        agreed=at.voters,
        refused=tuple(gate.refused),
        call=None if asked is None else {**asked, "input": at.input, "digest": at.digest},
        asked=asked,
        edit=request.get("edit", False),
        schema=request.get("json_schema"),
        on_timeout=request.get("on_timeout", "deny"),
        escalate=tuple(request.get("escalate", ())),
        problem=request.get("problem"),
        reopens=request.get("reopens"),
    )


def doubt(state: RunState) -> Question | None:
    """The step whose unknown outcome blocks the run, as a question; None where there is none."""
    block = state.blocked or {}
    if block.get("reason") != "unknown_outcome":
        return None
    message = str(block["message"])
    return Question("unknown_outcome", state.run_id, state.workflow, state.at, message, step=block.get("step"))


def questions(state: RunState) -> list[Question]:
    """All that the run asks of people now, the oldest first."""
    opened = sorted((state.gates[id] for id in state.open_gates), key=lambda gate: gate.asked_seq)
    asked = [
        Question("gate", state.run_id, state.workflow, gate.requested_at, gate.sentence, gate)
        for gate in (view(state, one) for one in opened)
    ]
    unknown = doubt(state)
    return asked if unknown is None else sorted([*asked, unknown], key=lambda question: question.since)
