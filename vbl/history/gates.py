"""What deciding a gate means: from the state of its run and what a person says to the events to append.

Pure. Every refusal is an error: `NotEntitled` where it is because of who asks, which leaves a trace by `refusal`; any
other leaves the history as it was. What a person approved is the call as it stood then: an edit makes another call of
it, and those who approved the earlier one have to be asked again before a quorum is full.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vbl.errors import Conflict, InvalidInput, NotEntitled, NotFound, UsageError
from vbl.history.events import ApprovalDenied, ApprovalGranted, DecisionRefused, Payload
from vbl.history.narration import assignees, duration, preview
from vbl.history.schemas import described, fitting
from vbl.history.state import RunState
from vbl.history.waits import GateState

GROUP = "group:"
"""What a name in `to` begins with that stands for several people."""
Groups = Mapping[str, Sequence[str]]


def call_digest(step: str, input: Mapping[str, Any], version: str) -> str:
    """The digest that binds a grant to a call: 32 hex digits over the step, its recorded arguments and its version."""
    bound = {"step": step, "input": input, "version": version}
    return hashlib.sha256(canonical(bound).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def canonical(value: Any) -> str:
    """Plain JSON data as the one text that stands for it: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Standing:
    """What a gate stands at: the arguments and the digest of the call that the next grant covers, the data that was
    answered, and who has approved just that."""

    input: dict[str, Any] | None
    digest: str | None
    data: Any
    voters: tuple[str, ...]


def standing(gate: GateState) -> Standing:
    """Where the votes so far have brought a gate."""
    call: dict[str, Any] = gate.request.get("call") or {}
    first = call.get("input"), call.get("digest")
    at = Standing(*first, None, ())
    for vote in gate.votes:
        input, digest = (vote["input"], vote["digest"]) if vote.get("digest") else first
        data = vote.get("data")
        agrees = digest == at.digest and canonical(data) == canonical(at.data)
        at = Standing(input, digest, data, (*(at.voters if agrees else ()), vote["actor"]))
    return at


def grant(
    state: RunState,
    gate: str,
    actor: str,
    *,
    now: int,
    reason: str | None = None,
    edit: Mapping[str, Any] | None = None,
    data: Any = None,
    via: str | None = None,
    link: str | None = None,
    seen: str | None = None,
    groups: Groups | None = None,
) -> list[Payload]:
    """Approve what gate `gate` asks, as `actor`, at the instant `now`; `edit` maps parameters to new values, `seen` is
    the digest of the call that the person looked at, where that is known.

    Raises NotFound, Conflict (gate_closed, already_decided, gate_expired, link_used, call_changed), NotEntitled,
    InvalidInput.
    """
    asked = open_gate(state, gate, now)
    member_of = entitled(state, asked, actor, groups or {})
    _demand_unused(asked, link)
    before = standing(asked)
    _demand_seen(asked, before, seen)
    changed = _changed(asked, before, edit or {})
    call: dict[str, Any] = asked.request.get("call") or {}
    input, digest = before.input, before.digest
    if changed:
        input = {**(input or {}), **changed}
        digest = call_digest(call["step"], input, call["version"])
    answer = _answer(asked, before, data)
    again = digest == before.digest and canonical(answer) == canonical(before.data)
    if again and actor in before.voters:
        raise NotEntitled(
            f"{actor} has approved {_named(asked)} already; {_missing(asked, before)}",
            f"Somebody else has to: vbl gate {asked.id}",
        )
    voters = len(before.voters) + 1 if again or not asked.votes else 1
    edited = digest != call.get("digest")
    asked_for: dict[str, Any] = call.get("input") or {}
    return [
        ApprovalGranted(
            gate=asked.id,
            actor=actor,
            reason=reason,
            data=answer,
            edit=_differences(asked_for, input or {}) if edited else None,
            input=input if edited else None,
            digest=digest if edited else None,
            member_of=member_of,
            via=via,
            link=link,
            final=voters >= asked.request.get("need", 1),
        )
    ]


def deny(
    state: RunState,
    gate: str,
    actor: str,
    *,
    now: int,
    reason: str | None = None,
    via: str | None = None,
    link: str | None = None,
    groups: Groups | None = None,
) -> list[Payload]:
    """Deny what gate `gate` asks, as `actor`, at the instant `now`: one denial ends it, whatever the quorum.

    Raises NotFound, Conflict (gate_closed, already_decided, gate_expired, link_used), NotEntitled.
    """
    asked = open_gate(state, gate, now)
    member_of = entitled(state, asked, actor, groups or {})
    _demand_unused(asked, link)
    return [ApprovalDenied(gate=asked.id, actor=actor, reason=reason, member_of=member_of, via=via, link=link)]


def refusal(gate: str, actor: str, decision: str, error: NotEntitled, via: str | None) -> Payload:
    """The trace of a decision that was refused because of who made it."""
    return DecisionRefused(gate=gate, actor=actor, decision=decision, why=error.message, via=via)


def open_gate(state: RunState, gate: str, now: int) -> GateState:
    """The gate, where it can be decided at `now`. Raises NotFound, and Conflict that says who was first, and when."""
    asked = state.gates.get(gate)
    if asked is None:
        raise NotFound(
            f"run {state.run_id} has no gate {gate}", "List those that are open: vbl inbox", code="gate_not_found"
        )
    look = f"Look: vbl gate {asked.id}"
    if asked.status in ("granted", "denied"):
        when = duration(now - (asked.decided_at or now))
        raise Conflict(
            f"{_named(asked)} was {asked.status} by {asked.decided_by}, {when} ago", look, code="already_decided"
        )
    if asked.status == "expired":
        since = duration(now - (asked.decided_at or now))
        outcome = _OUTCOMES.get((asked.answer or {}).get("outcome", ""), "")
        raise Conflict(f"{_named(asked)} expired {since} ago{outcome}", look, code="gate_expired")
    if asked.status == "closed" or state.finished:
        ended = (
            f"run {state.run_id} is {state.status}" if state.finished else f"run {state.run_id} no longer waits for it"
        )
        raise Conflict(f"{_named(asked)} is closed: {ended}", look, code="gate_closed")
    if asked.expires_at is not None and now >= asked.expires_at:
        over = duration(now - asked.expires_at)
        raise Conflict(f"the time of {_named(asked)} was over {over} ago", look, code="gate_expired")
    return asked


_OUTCOMES = {
    "deny": ", which counts as denied",
    "approve": ", which counts as approved",
    "fail": ", which fails the run",
}


def entitled(state: RunState, gate: GateState, actor: str, groups: Groups) -> str | None:
    """The group as whose member the person may decide; None where no group is needed. Raises NotEntitled."""
    if gate.request.get("not_starter") and actor == state.actor:
        raise NotEntitled(
            f"{actor} started run {state.run_id}, and {_named(gate)} asks somebody else",
            f"See who may decide: vbl gate {gate.id}",
        )
    if not gate.to or (actor in gate.to and not actor.startswith(GROUP)):
        return None
    asked = [name.removeprefix(GROUP) for name in gate.to if name.startswith(GROUP)]
    for group in asked:
        if actor in groups.get(group, ()):
            return group
    unknown = [group for group in asked if not groups.get(group)]
    if unknown:
        raise NotEntitled(
            f"{_named(gate)} asks {assignees(gate.to)}, not {actor}, and group {unknown[0]} has no members here",
            f"Say who is in it: VBL_GROUPS='{unknown[0]}=ada,bob', or {unknown[0]} = [\"ada\"] in groups.toml",
        )
    raise NotEntitled(
        f"{_named(gate)} asks {assignees(gate.to)}, not {actor}", f"See who may decide: vbl gate {gate.id}"
    )


def barred(state: RunState, gate: str, actor: str, groups: Groups) -> str | None:
    """Why the person may not approve the gate as it stands; None where he may."""
    asked = state.gates[gate]
    try:
        entitled(state, asked, actor, groups)
    except NotEntitled as error:
        return error.message
    return f"{actor} has approved it as it stands; somebody else has to" if actor in standing(asked).voters else None


def _named(gate: GateState) -> str:
    return f"gate {gate.id} ({gate.name})"


def _missing(gate: GateState, at: Standing) -> str:
    need = gate.request.get("need", 1)
    return f"{len(at.voters)} of {need} have approved"


def _demand_unused(gate: GateState, link: str | None) -> None:
    """A link is good for one decision, also where that one did not end the gate."""
    if link is not None and any(vote.get("link") == link for vote in gate.votes):
        raise Conflict(f"this link to {_named(gate)} has been used", f"Look: vbl gate {gate.id}", code="link_used")


def _demand_seen(gate: GateState, before: Standing, seen: str | None) -> None:
    """Who approves means the call that he looked at."""
    if seen is not None and seen != before.digest:
        raise Conflict(
            f"the call of {_named(gate)} was changed by {', '.join(before.voters)} since you looked",
            f"Look again: vbl gate {gate.id}",
            code="call_changed",
        )


def _changed(gate: GateState, before: Standing, edit: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that an edit really changes, as their types have them. Raises InvalidInput."""
    if not edit:
        return {}
    call: dict[str, Any] = gate.request.get("call") or {}
    if not gate.request.get("edit"):
        why = "the code did not ask with edit=True" if call else "it asks about no call"
        raise InvalidInput(
            f"{_named(gate)} takes no edit: {why}",
            f"Approve it as it is, or deny it: vbl gate {gate.id}",
        )
    parameters: dict[str, Any] = call.get("parameters") or dict.fromkeys(before.input or {}, True)
    for name in edit:
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise InvalidInput(f"{call['step']} has no parameter {name!r}", f"Its parameters are: {known}")
    fitted = {name: fitting(parameters[name], value, f"parameter {name}") for name, value in edit.items()}
    return _differences(before.input or {}, fitted)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What of `after` is not so in `before`."""
    return {
        name: value
        for name, value in after.items()
        if name not in before or canonical(before[name]) != canonical(value)
    }


def _answer(gate: GateState, before: Standing, data: Any) -> Any:
    """The data that a grant gives: what it brings, else what an earlier vote gave. Raises InvalidInput."""
    schema = gate.request.get("json_schema")
    if schema is None:
        if data is not None:
            raise InvalidInput(f"{_named(gate)} asks for no data", f"Approve it without: vbl approve {gate.id}")
        return None
    if data is None:
        data = before.data
    try:
        return fitting(schema, data, "the data")
    except InvalidInput:
        if data is not None:
            raise
        raise InvalidInput(
            f"{_named(gate)} asks for data, and there is none",
            f"Give it: vbl approve {gate.id} --data JSON. It takes {described(schema)}",
            code="data_missing",
        ) from None


def sentence(gate: GateState) -> str:
    """What a gate asks, in a line: the call with its arguments, or its name and what it shows."""
    call: dict[str, Any] | None = gate.request.get("call")
    if call is not None:
        given = ", ".join(f"{name}={preview(value, 40)}" for name, value in (standing(gate).input or {}).items())
        return f"{call['step']}({given})"
    show = gate.request.get("show")
    if show is None:
        return gate.name
    return f"{gate.name}: {show if isinstance(show, str) else preview(show)}"


def person(name: object, what: str = "by") -> str:
    """A name that a decision can be recorded under. Raises UsageError."""
    if not isinstance(name, str) or not name.strip() or name.startswith(GROUP) or not name.isprintable():
        raise UsageError(f"{what}={name!r} names nobody", "Give a person's name, for example by='ada'")
    return name


__all__ = [
    "GROUP",
    "Groups",
    "Standing",
    "barred",
    "call_digest",
    "canonical",
    "deny",
    "entitled",
    "grant",
    "open_gate",
    "person",
    "refusal",
    "sentence",
    "standing",
]
