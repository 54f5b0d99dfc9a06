"""What an act of a person would do, said before it is done: the events that it appends, and what runs then.

Each is found by the very transition that the act itself will take (`history.transitions`, `history.gates`), tried on a
copy of the state: what would be refused is refused here with the same error, and the types of the events are those of
the payloads that come back. The words are made from those payloads and from the state behind them, and say no more
than is known: what the code does with an answer, only the code knows.

Pure; nothing is written.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, cast

from vbl.history import gates, transitions
from vbl.history.events import Payload
from vbl.history.facts import Fact
from vbl.history.kin import left_behind
from vbl.history.narration import duration, preview, printable
from vbl.history.state import RunState, Status, StepState, apply

Act = Literal["cancel", "pause", "unpause", "retry", "happened", "did_not", "fail"]
"""What may be done to a run as a whole; `happened`, `did_not` and `fail` settle a step whose outcome nobody knows."""
ACTS: tuple[Act, ...] = ("cancel", "pause", "unpause", "retry", "happened", "did_not", "fail")
_NAMED = 3
_SOMEBODY = "somebody"


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an act would do: the types of the events that it appends to the history at once, in their order (none: it
    changes nothing), and in words what runs `then`."""

    events: tuple[str, ...]
    then: str


def consequence(state: RunState, act: Act, now: int) -> Consequence:
    """What it would do to the run at the instant `now` (microseconds since 1970 UTC). Raises Conflict where the
    history refuses it. `happened` is told for a result that fits."""
    acted = _acts(now)[act]
    payloads = acted(state)
    told = {"cancel": _cancelled, "pause": _paused, "unpause": _unpaused, "retry": _retried}.get(act, _resolved)
    return Consequence(_types(payloads), told(state, payloads, now))


def of_grant(state: RunState, gate: str, now: int, edit: dict[str, Any] | None = None) -> Consequence:
    """What an approval by somebody who may decide would do, with data that fits where data is asked for.

    Raises NotFound and Conflict where the gate can't be decided, InvalidInput for an edit that does not fit.
    """
    gates.open_gate(state, gate, now)
    trial = _thin(state)
    asked = trial.gates[gate]
    anything: dict[str, Any] | None = None if asked.request.get("json_schema") is None else {}
    asked.to, asked.request = [], {**asked.request, "json_schema": anything, "not_starter": False}
    before = gates.standing(asked)
    data = None if anything is None else before.data
    payloads = gates.grant(trial, gate, _stranger(before.voters), now=now, edit=edit, data=data)
    (granted,) = payloads
    _apply(trial, payloads, now)
    if trial.gates[gate].status == "open":
        need, have = asked.request.get("need", 1), len(gates.standing(asked).voters)
        again = "; those who approved the call before the edit are asked again" if have == 1 < len(asked.votes) else ""
        more = f"{have} of {need} have approved then, and {need - have} more must{again}"
        return Consequence(_types(payloads), f"nothing runs yet: {more}")
    call: dict[str, Any] | None = asked.request.get("call")
    if call is None:
        answer = " and gets the data" if state.gates[gate].request.get("json_schema") is not None else ""
        return Consequence(_types(payloads), f"the code goes on{answer}{_held(trial)}")
    input: dict[str, Any] = (granted["input"] if granted["edit"] else before.input) or {}
    may_change = " (or as you edit them)" if edit is None and asked.request.get("edit") else ""
    how = "with the edited arguments" if granted["edit"] else f"with just these arguments{may_change}"
    runs = f"{printable(call['step'])}({_arguments(input)}) may run {how}, once"
    return Consequence(_types(payloads), f"the code goes on, and {runs}{_held(trial)}")


def of_denial(state: RunState, gate: str, now: int) -> Consequence:
    """What a denial by somebody who may decide would do. Raises NotFound and Conflict where it can't be decided."""
    gates.open_gate(state, gate, now)
    trial = _thin(state)
    asked = trial.gates[gate]
    asked.to, asked.request = [], {**asked.request, "not_starter": False}
    payloads = gates.deny(trial, gate, _SOMEBODY, now=now)
    _apply(trial, payloads, now)
    call: dict[str, Any] | None = asked.request.get("call")
    rest = (
        f": {printable(call['step'])} is not run, and code that runs the call all the same gets NotApproved"
        if call is not None
        else ""
    )
    whole = ", whatever others said" if asked.request.get("need", 1) > 1 else ""
    return Consequence(_types(payloads), f"the code goes on and sees a denial{whole}{rest}{_held(trial)}")


def of_signal(state: RunState, name: str, now: int) -> Consequence:
    """What a message of that name would do. Raises Conflict for a run that has ended."""
    payloads = transitions.signal(state, name, None, None, None)
    trial = _thin(state)
    _apply(trial, payloads, now)
    taken = sorted(number for number in state.open_waits if number not in trial.open_waits)
    if not taken:
        return Consequence(_types(payloads), f"it is kept until the code waits for {printable(name)}")
    return Consequence(_types(payloads), f"the code gets it where it waits for {printable(name)}{_held(trial)}")


# The acts -------------------------------------------------------------------------------------------------------------


def _acts(now: int) -> dict[Act, Callable[[RunState], list[Payload]]]:
    """The transition of each act, by nobody in particular."""
    until = now + transitions.CLEAN_UP_US
    return {
        "cancel": lambda state: transitions.cancel(state, None, None, until),
        "pause": lambda state: transitions.pause(state, None, None),
        "unpause": lambda state: transitions.unpause(state, None, None),
        "retry": lambda state: transitions.retry(state, None, None),
        "happened": lambda state: transitions.resolve(_any_result(state), "happened", None, None, None),
        "did_not": lambda state: transitions.resolve(state, "did_not_happen", None, None, None),
        "fail": lambda state: transitions.resolve(state, "failed", None, None, None),
    }


def _any_result(state: RunState) -> RunState:
    """The state as it would be if the step could return anything: whether a result fits is said when there is one."""
    if state.blocked is None:
        return state
    trial = copy.copy(state)
    trial.blocked = {**state.blocked, "json_schema": None}
    return trial


def _cancelled(state: RunState, payloads: list[Payload], now: int) -> str:
    kin = f"; {_counted(len(left_behind(state)), 'child', 'children')} with it" if left_behind(state) else ""
    if any(payload.TYPE == "RUN_CANCELLED" for payload in payloads):
        begun = "it has not begun" if state.started_at is None else "its code is not at hand, and does not clean up"
        return f"the run ends as cancelled at once: {begun}{kin}"
    asked = next(payload for payload in payloads if payload.TYPE == "CANCEL_REQUESTED")
    time = duration(asked["until"] - now)
    given_up = f"; {_named(_running(state))} given up" if _running(state) else ""
    return f"the code sees a cancel where it waits, and may clean up for {time}{given_up}{kin}"


def _paused(state: RunState, payloads: list[Payload], now: int) -> str:
    flying = _running(state)
    if not flying:
        return "no step starts and no timer fires until the run is unpaused"
    end = "ends and is recorded" if len(flying) == 1 else "end and are recorded"
    return f"{_named(flying)} {end}; nothing more starts until the run is unpaused"


def _unpaused(state: RunState, payloads: list[Payload], now: int) -> str:
    trial = _after(state, payloads, now)
    return _next(trial)


def _retried(state: RunState, payloads: list[Payload], now: int) -> str:
    (said,) = payloads
    trial = _after(state, payloads, now)
    kept = sum(step.status == "completed" and not step.void for step in trial.steps.values())
    rest = f"; {_counted(kept, 'completed step is', 'completed steps are')} not run again" if kept else ""
    doubtful = state.blocked is not None and state.blocked.get("reason") == "unknown_outcome"
    warning = ", although nobody knows whether it happened before" if doubtful else ""
    child = trial.children.get(said["step"] or "")
    void = said["from_seq"] is not None and child is None and not trial.due
    if child is not None:
        what = f"child {printable(child.workflow)} ({child.id}) is retried"
    elif void:
        what = f"what the code did behind event {said['from_seq']} is void, and it goes on from there"
    else:
        what = _next(trial)
    return f"{what}{warning}{rest}"


def _resolved(state: RunState, payloads: list[Payload], now: int) -> str:
    (said,) = payloads
    key = printable(said["step"])
    if said["outcome"] == "happened":
        return f"{key} counts as completed with this result, and the code goes on; {key} is not run again"
    if said["outcome"] == "failed":
        return f"the code sees StepFailed at {key}, which fails the run where nothing catches it"
    return _next(_after(state, payloads, now))


# What runs then -------------------------------------------------------------------------------------------------------


def _next(state: RunState) -> str:
    """What a supervisor does with the run as it now stands."""
    place = f", once it has a place in queue {printable(state.queue or '')}" if state.waits_for_place else ""
    due = [step for step in state.steps.values() if step.status == "due" and not step.void]
    parts: list[str] = []
    if due:
        parts.append(_again(due))
    if state.due_children:
        children = [state.children[call].workflow for call in sorted(state.due_children)]
        parts.append(f"{_list(children)} {'is' if len(children) == 1 else 'are'} started again")
    if parts:
        return "; ".join(parts) + place
    if state.started_at is None:
        return f"it begins{place}"
    if place:
        return f"the code goes on{place}"
    if state.last_input > state.applied or state.status is Status.RUNNING:
        return "the code goes on from where its history ends"
    return f"it waits on: {state.status.value.replace('_', ' ')}"


def _again(due: list[StepState]) -> str:
    if len(due) == 1:
        (step,) = due
        return f"step {printable(step.key)} is run again as attempt {step.attempt + 1}"
    return f"{len(due)} steps ({_list(step.key for step in due)}) are run again"


def _held(state: RunState) -> str:
    """Why nothing runs yet, where something holds the run."""
    if state.paused:
        return ", once it is unpaused"
    return ", once what blocks it is settled" if state.blocked is not None else ""


def _running(state: RunState) -> list[StepState]:
    return [step for step in state.steps.values() if step.status == "running" and not step.void]


def _named(steps: list[StepState]) -> str:
    return ("step " if len(steps) == 1 else f"{len(steps)} steps: ") + _list(step.key for step in steps)


def _list(names: Iterable[str]) -> str:
    listed = [printable(name) for name in names]
    return ", ".join(listed[:_NAMED]) + (", …" if len(listed) > _NAMED else "")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


# Trying it ------------------------------------------------------------------------------------------------------------


def _after(state: RunState, payloads: list[Payload], now: int) -> RunState:
    trial = _thin(state)
    _apply(trial, payloads, now)
    return trial


def _apply(trial: RunState, payloads: list[Payload], now: int) -> None:
    for payload in payloads:
        plain = payload.model_dump(mode="json", exclude_defaults=True)
        apply(trial, Fact(trial.seq + 1, payload.TYPE.value, max(now, trial.at), plain))


def _thin(state: RunState) -> RunState:
    """A copy that events may be applied to: what the fold changes in place is copied, payloads are not."""
    trial = copy.copy(state)
    for field in fields(state):
        setattr(trial, field.name, _copied(getattr(state, field.name)))
    return trial


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _part(part) for key, part in cast("dict[Any, Any]", value).items()}
    return copy.copy(cast("object", value)) if isinstance(value, (list, set)) else value


def _part(part: Any) -> Any:
    """A step, a gate or another part of a run, with lists of its own; or a list. A long run has thousands."""
    if isinstance(part, list):
        return [*cast("list[Any]", part)]
    if not is_dataclass(part) or isinstance(part, type):
        return part
    made: Any = object.__new__(type(part))
    for name in _names(type(part)):
        held = getattr(part, name)
        setattr(made, name, [*cast("list[Any]", held)] if type(held) is list else held)
    return made


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _types(payloads: list[Payload]) -> tuple[str, ...]:
    return tuple(payload.TYPE.value for payload in payloads)


def _stranger(voters: Iterable[str]) -> str:
    """A name that none of those who have approved has."""
    taken, name = set(voters), _SOMEBODY
    while name in taken:
        name += "'"
    return name


def _arguments(input: dict[str, Any]) -> str:
    return ", ".join(f"{printable(name)}={preview(value, 40)}" for name, value in input.items())


__all__ = ["ACTS", "Act", "Consequence", "consequence", "of_denial", "of_grant", "of_signal"]
