"""Whether the code asks for what its history holds, and what is said where it does not.

A replay holds each command of the code against the history's, in order: its type, its subject, and what it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vbl.errors import Divergence
from vbl.history.script import Command
from vbl.store.payloads import Json, dumps, same

if TYPE_CHECKING:
    from vbl.engine.advance import Ask


def hold(command: Command, ask: Ask) -> None:
    """Hold what the code asks for against the command of the history. Raises Divergence where they differ."""
    if command.type != ask.type or command.subject != ask.subject:
        raise _differs(command, str(Command(0, ask.type, ask.subject)), ask)
    if ask.call is not None:
        recorded: dict[str, Json] = command.payload.get("input") or {}
        now = ask.call.input_plain
        agrees = ask.call.has_input(recorded)
    else:
        recorded, now = about(command.payload), about(ask.payload or {})
        agrees = ask.timer is not None or same(recorded, now)
    if not agrees:
        said = f"{ask.type} {ask.subject} with {_short(now)}"
        raise _differs(command, said, ask, f" with {_short(recorded)}")


def too_little(command: Command) -> Divergence:
    """The history goes on with a command that the code has not asked for."""
    return Divergence(
        f"the code asks for less than the history holds\n"
        f"  history, event {command.seq}: {command}\n"
        f"  code now:           nothing more",
        "Bring the old code back, or cancel the run",
    )


def too_much(ask: Ask) -> Divergence:
    """The code asks for something behind the end of a history that is whole."""
    return Divergence(
        f"the code asks for more than the history holds\n  history:  nothing more\n"
        f"  code now: {Command(0, ask.type, ask.subject)}" + (f"  at {ask.where}" if ask.where else ""),
        "Bring the old code back, guard the change by vbl.patched(…), or cancel the run",
    )


def _differs(command: Command, now: str, ask: Ask, detail: str = "") -> Divergence:
    where = f"  at {ask.where}" if ask.where else ""
    return Divergence(
        f"the code asks for something else than the history holds\n"
        f"  history, event {command.seq}: {command}{detail}\n"
        f"  code now:           {now}{where}",
        "Bring the old code back, guard the change by vbl.patched(…), or cancel the run",
    )


def about(payload: dict[str, Any]) -> dict[str, Any]:
    """The part of a command's payload in which history and code must agree: names and inputs, not instants."""
    part = {field: payload[field] for field in ("name", "show", "workflow", "input") if payload.get(field) is not None}
    if (call := payload.get("call")) is not None and not isinstance(call, str):
        part["call"] = {"step": call["step"], "input": call["input"]}
    return part


def _short(plain: Json) -> str:
    text = dumps(plain)
    return text if len(text) <= 200 else text[:197] + "…"
