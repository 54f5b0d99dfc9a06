"""A history as the code has to follow it: the commands it must ask for, and the inputs it is handed, in order.

Pure. A replay is right when the code asks for exactly these commands, in this order, and waits for each input by the
time it comes. What a retry made void (the failure, and what the code did because of it) is not in the script.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vbl.history.facts import Fact, is_input

COMMANDS = frozenset(
    {
        "STEP_STARTED", "STEP_CANCELLED", "TIMER_SET", "TIMER_CANCELLED", "VERSION_MARKED", "RUN_COMPLETED",
        "RUN_FAILED", "RUN_CANCELLED",
    }
)  # fmt: skip


@dataclass(slots=True)
class Command:
    """Something that the code asked for: the type of the event, what it is about, and the input of a step."""

    seq: int
    type: str
    subject: str | int | None
    input: Any = None

    def __str__(self) -> str:
        return f"{self.type} {self.subject}" if self.subject is not None else self.type


@dataclass(slots=True)
class Script:
    """What to follow. `whole` is false where the history ends within a batch (a fork, a retry): then the code may
    ask for more than what is recorded. `applied` is the seq of the last input that was digested."""

    commands: list[Command] = field(default_factory=list[Command])
    inputs: list[Fact] = field(default_factory=list[Fact])
    whole: bool = True
    applied: int = 0


def subject_of(type: str, payload: dict[str, Any]) -> str | int | None:
    """What an event is about: the key of a step, the number of a timer, the id of a patch."""
    if type.startswith("STEP_"):
        return payload["step"]
    if type.startswith("TIMER_"):
        return payload["timer"]
    return payload.get("patch")


def script_of(facts: list[Fact]) -> Script:
    """Read the script from a history."""
    script = Script()
    asked: set[str] = set()
    ended: set[str] = set()
    expected = 0
    for fact in facts:
        type, payload = fact.type, fact.payload
        if type == "RUN_STARTED":
            script.inputs.append(fact)
            script.applied, expected = fact.seq, payload.get("commands", 0)
        elif type == "CHECKPOINT_WRITTEN":
            script.applied, expected = payload["applied"], payload.get("commands", 0)
        elif type == "RUN_RETRIED":
            _void(script, asked, ended, payload)
            expected = -1
        elif is_input(type, payload):
            if type.startswith("STEP_"):
                if payload["step"] in ended:
                    continue
                ended.add(payload["step"])
            script.inputs.append(fact)
            expected = -1
        elif type in COMMANDS:
            if type == "STEP_STARTED":
                if payload["step"] in asked:
                    continue
                asked.add(payload["step"])
            elif type == "STEP_CANCELLED":
                ended.add(payload["step"])
            script.commands.append(Command(fact.seq, type, subject_of(type, payload), payload.get("input")))
            expected -= 1
    script.whole = expected == 0
    return script


def _void(script: Script, asked: set[str], ended: set[str], retried: dict[str, Any]) -> None:
    """Take out the end of the run, what the code did behind the input it failed at, and that input too where it is the
    failure of the step that is tried again."""
    failed_at = retried.get("from_seq")
    if failed_at is None:
        script.commands = [c for c in script.commands if c.type != "RUN_FAILED"]
        return
    for command in script.commands:
        if command.seq > failed_at and command.type == "STEP_STARTED":
            asked.discard(str(command.subject))
    script.commands = [c for c in script.commands if c.seq <= failed_at and c.type != "RUN_FAILED"]
    steps = {c.subject for c in script.commands if c.type == "STEP_STARTED"}
    timers = {c.subject for c in script.commands if c.type == "TIMER_SET"}
    stays = retried.get("step") is None

    def holds(fact: Fact) -> bool:
        if fact.seq == failed_at:
            return stays
        if fact.seq < failed_at or fact.type == "CANCEL_REQUESTED":
            return True
        return _subject(fact) in (timers if fact.type == "TIMER_FIRED" else steps)

    script.inputs = [fact for fact in script.inputs if holds(fact)]
    ended.clear()
    ended.update(str(_subject(f)) for f in script.inputs if f.type.startswith("STEP_"))
    ended.update(str(c.subject) for c in script.commands if c.type == "STEP_CANCELLED")


def _subject(fact: Fact) -> str | int | None:
    return subject_of(fact.type, fact.payload)
