"""A history as the code has to follow it: the commands it must ask for, and the inputs it is handed, in order.

Pure. A replay is right when the code asks for exactly these commands, in this order, and waits for each input by the
time it comes. What a retry made void (the failure, and what the code did because of it) is not in the script.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from vbl.history.facts import Fact, is_input

COMMANDS = frozenset(
    {
        "STEP_STARTED", "STEP_CANCELLED", "TIMER_SET", "TIMER_CANCELLED", "VERSION_MARKED", "SIGNAL_AWAITED",
        "WAIT_CANCELLED", "APPROVAL_REQUESTED", "APPROVAL_CLOSED", "CHILD_STARTED", "CHILD_CANCELLED",
        "SCHEDULE_FIRED", "SCHEDULE_SKIPPED", "RUN_COMPLETED", "RUN_FAILED", "RUN_CANCELLED",
    }
)  # fmt: skip
_SUBJECTS = {
    "STEP": "step", "TIMER": "timer", "WAIT": "wait", "SIGNAL": "wait", "APPROVAL": "gate", "CHILD": "call",
    "SCHEDULE": "due_at", "VERSION": "patch",
}  # fmt: skip


@dataclass(slots=True)
class Command:
    """Something that the code asked for: the type of the event, what it is about, and its payload."""

    seq: int
    type: str
    subject: str | int | None
    payload: dict[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        return f"{self.type} {self.subject}" if self.subject is not None else self.type


@dataclass(slots=True)
class Script:
    """What to follow. `whole` is false where the history ends within a batch (a fork, a retry): then the code may
    ask for more than what is recorded. `applied` is the seq of the last input that was digested. `void` holds the
    gates (as "gate KEY") and children (by the key of their call) that a retry made void."""

    commands: list[Command] = field(default_factory=list[Command])
    inputs: list[Fact] = field(default_factory=list[Fact])
    whole: bool = True
    applied: int = 0
    void: dict[str, list[Void]] = field(default_factory=dict[str, "list[Void]"])


class Void(NamedTuple):
    """A gate or a child that a retry made void: its id, what it was about, and whether it may be used again."""

    id: str
    payload: dict[str, Any]
    usable: bool


def subject_of(type: str, payload: dict[str, Any]) -> str | int | None:
    """What an event is about: the key of a step or a child's call, the number of a timer or a wait, a gate's id."""
    return payload.get(_SUBJECTS.get(type.partition("_")[0], ""))


def script_of(facts: list[Fact]) -> Script:
    """Read the script from a history."""
    script = Script()
    asked: set[str] = set()
    ended: set[str] = set()
    late: dict[str, Fact] = {}
    expected = settled = 0
    for fact in facts:
        type, payload = fact.type, fact.payload
        if type == "RUN_STARTED":
            script.inputs.append(fact)
            script.applied, expected = fact.seq, payload.get("commands", 0)
            settled = fact.seq + expected
        elif type == "CHECKPOINT_WRITTEN":
            script.applied, expected = payload["applied"], payload.get("commands", 0)
            settled = fact.seq + expected
        elif type == "RUN_RETRIED":
            _void(script, asked, ended, late, fact)
            expected = -1
        elif is_input(type, payload):
            if type.startswith("STEP_"):
                if payload["step"] in ended:
                    late[payload["step"]] = fact
                    continue
                ended.add(payload["step"])
            elif type == "CHILD_FINISHED":
                if payload["call"] in ended:
                    continue
                ended.add(payload["call"])
            script.inputs.append(fact)
            expected = -1
        elif type in COMMANDS:
            if type == "RUN_CANCELLED" and payload.get("forced"):
                # the code was not asked: what stands behind its last commands is not of its doing
                expected = _cut(script, settled, expected)
                continue
            subject = subject_of(type, payload)
            if type in ("STEP_STARTED", "CHILD_STARTED"):
                if subject in asked:
                    continue
                asked.add(str(subject))
            elif type in ("STEP_CANCELLED", "CHILD_CANCELLED"):
                ended.add(str(subject))
            script.commands.append(Command(fact.seq, type, subject, payload))
            expected -= 1
    script.whole = expected == 0
    return script


def _cut(script: Script, settled: int, expected: int) -> int:
    """Take out what was closed over the head of the code, behind the event `settled`; how many commands of its own are
    still to come, below zero where it had not digested its last input."""
    script.commands = [c for c in script.commands if c.seq <= settled]
    return 0 if script.inputs and script.applied >= script.inputs[-1].seq else expected


def _void(script: Script, asked: set[str], ended: set[str], late: dict[str, Fact], retry: Fact) -> None:
    """Take out the end of the run, what the code did behind the input it failed at, and that input too where it is the
    failure of the step, or the child, that is tried again. A step that completed although it was given up has
    completed, where its being given up is void. What the code does anew behind an input that stays, it does at the time
    of the retry."""
    retried = retry.payload
    failed_at = retried.get("from_seq")
    if failed_at is None:
        script.commands = [c for c in script.commands if c.type != "RUN_FAILED"]
        return
    for command in script.commands:
        if command.seq > failed_at and command.type in ("STEP_STARTED", "CHILD_STARTED"):
            asked.discard(str(command.subject))
    _keep_void(script, failed_at)
    script.commands = [c for c in script.commands if c.seq <= failed_at and c.type != "RUN_FAILED"]
    there = {(_kind(c.type), c.subject) for c in script.commands}
    stays, also = retried.get("step") is None, retried.get("also", ())

    def holds(fact: Fact) -> bool:
        if fact.seq == failed_at:
            return stays
        if fact.seq > failed_at and fact.type in ("STEP_FAILED", "CHILD_FINISHED") and _subject(fact) in also:
            return False
        if fact.seq < failed_at or fact.type in ("CANCEL_REQUESTED", "SIGNAL_RECEIVED"):
            return True
        return (_kind(fact.type), _subject(fact)) in there

    over = {c.subject for c in script.commands if c.type == "STEP_CANCELLED"}
    over |= {_subject(fact) for fact in script.inputs if fact.type == "STEP_FAILED" and holds(fact)}
    known = [late.pop(key) for key in list(late) if key not in over]
    inputs = [*script.inputs, *(fact for fact in known if fact.type == "STEP_COMPLETED")]
    inputs = [replace(fact, at=retry.at) if fact.seq == failed_at else fact for fact in inputs if holds(fact)]
    script.inputs = sorted(inputs, key=lambda fact: fact.seq)
    ended.clear()
    ended.update(str(_subject(f)) for f in script.inputs if _kind(f.type) in ("step", "call"))
    ended.update(str(c.subject) for c in script.commands if c.type in ("STEP_CANCELLED", "CHILD_CANCELLED"))


def _keep_void(script: Script, failed_at: int) -> None:
    """Remember the gates and children that become void: what is asked for again gets another id, but a child that is
    still at work, or has completed, is used again for the same input."""
    gone = {c.subject for c in script.commands if c.type == "CHILD_CANCELLED"}
    gone |= {_subject(f) for f in script.inputs if f.type == "CHILD_FINISHED" and f.payload["status"] != "completed"}
    for command in script.commands:
        if command.seq > failed_at and command.type == "APPROVAL_REQUESTED":
            key, id = command.payload["key"], command.payload["gate"]
            script.void.setdefault(f"gate {key}", []).append(Void(id, command.payload, usable=False))
        elif command.seq > failed_at and command.type == "CHILD_STARTED":
            key, id = command.payload["call"], command.payload["child"]
            script.void.setdefault(key, []).append(Void(id, command.payload, usable=key not in gone))


def _kind(type: str) -> str:
    return _SUBJECTS.get(type.partition("_")[0], "")


def _subject(fact: Fact) -> str | int | None:
    return subject_of(fact.type, fact.payload)
