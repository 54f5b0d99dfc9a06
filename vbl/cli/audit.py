"""`vbl audit`: who was asked, who decided, on which information, and what ran; and that the history is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vbl.cli.terminal import Terminal, dumps, run_argument, shared
from vbl.cli.words import field, local
from vbl.clock import instant
from vbl.errors import StorageError
from vbl.history.narration import assignees, narrate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vbl.handle import Run
    from vbl.history.facts import Fact
    from vbl.history.questions import Gate

_OF_PEOPLE = frozenset(
    {
        "CANCEL_REQUESTED", "RUN_PAUSED", "RUN_UNPAUSED", "RUN_RETRIED", "SIGNAL_RECEIVED", "STEP_RESOLVED",
        "STATE_EDITED",
    }
)  # fmt: skip
"""What people and programs did to the run besides deciding gates."""


@click.command(short_help="Tell who decided what, and on which information.")
@run_argument()
@shared
def audit(terminal: Terminal, ref: str) -> None:
    """Tell who asked, who was asked, who decided, when, why and from where, on which information, what was edited and
    what ran; and prove by the chain of digests that the history is whole. Exits 10 where it is not.

    \b
    Example:
      vbl audit @last
    """
    with terminal.connect() as client:
        run = client.run(ref)
        head, events = run.proof()
        facts = run.facts()
        gates = client.gates(None, run=run, limit=100_000)
        if terminal.as_json:
            terminal.document(_document(run, gates, facts, head, events))
        else:
            _say(terminal, run, gates, facts)
            whole = f"chain of {events} events is whole, head {head}" if head else "the chain of events is BROKEN"
            terminal.line(terminal.paint(whole, "good" if head else "bad"))
    if not head:
        raise StorageError(
            f"the history of {run.id} is not what was written", f"Run: vbl doctor --db {terminal.path}", code="corrupt"
        )


def _say(terminal: Terminal, run: Run, gates: Sequence[Gate], facts: list[Fact]) -> None:
    created = facts[0].payload
    terminal.line(f"{terminal.paint(run.id, 'strong')}  {run.workflow}  {terminal.status(run.last_status)}")
    field(terminal, "started", f"by {created.get('actor')}, {local(facts[0].at)}, version {created['version']}")
    for gate in gates:
        terminal.line()
        _say_gate(terminal, gate, facts)
    others = [fact for fact in facts if fact.type in _OF_PEOPLE]
    if others:
        terminal.line()
    for fact in others:
        field(terminal, local(fact.at), f"{fact.type} by {fact.payload.get('actor') or 'nobody'}{_why(fact.payload)}")
    terminal.line()


def _say_gate(terminal: Terminal, gate: Gate, facts: list[Fact]) -> None:
    style = {"open": "warn", "granted": "good", "denied": "bad"}.get(gate.status, "dim")
    terminal.line(f"{terminal.paint(gate.id, 'strong')}  {gate.name}  {terminal.paint(gate.status, style)}")
    ran = {f.payload["step"] for f in facts if f.type == "STEP_STARTED" and f.payload.get("gate") == gate.id}
    for fact in facts:
        for number, line in enumerate(_told(gate, fact) or _ended(fact, ran)):
            field(terminal, "" if number else local(fact.at), line)


def _told(gate: Gate, fact: Fact) -> list[str]:
    """What an event says of a gate, in lines."""
    p = fact.payload
    if fact.type == "STEP_STARTED" and p.get("gate") == gate.id:
        return [f"ran {p['step']}, attempt {p['attempt']}, with {dumps(p.get('input'))}"]
    if p.get("gate") != gate.id:
        return []
    match fact.type:
        case "APPROVAL_REQUESTED":
            return _requested(gate, p)
        case "APPROVAL_GRANTED":
            return [f"approved by {p['actor']}{_where(p)}{_why(p)}", *_edit(gate, p)]
        case "APPROVAL_DENIED":
            return [f"denied by {p['actor']}{_where(p)}{_why(p)}"]
        case "DECISION_REFUSED":
            return [f"refused: {p['decision']} by {p['actor']}{_where(p)}: {p['why']}"]
        case "APPROVAL_ESCALATED":
            return [f"escalated to {assignees(p['to'])}"]
        case "APPROVAL_REMINDED":
            return ["reminded those who were asked"]
        case "APPROVAL_EXPIRED":
            return [f"nobody decided in time: {p['outcome']}"]
        case "APPROVAL_CLOSED":
            return ["closed: the run no longer waits for it"]
        case _:
            return []


def _ended(fact: Fact, ran: set[str]) -> list[str]:
    """How an attempt of what was approved ended."""
    if fact.payload.get("step") not in ran:
        return []
    match fact.type:
        case "STEP_COMPLETED":
            return [f"{fact.payload['step']} completed with {dumps(fact.payload.get('output'))}"]
        case "STEP_FAILED" | "STEP_INTERRUPTED" | "STEP_CANCELLED" | "STEP_RESOLVED":
            return [narrate(fact)]
        case _:
            return []


def _requested(gate: Gate, p: dict[str, Any]) -> list[str]:
    who = assignees(p.get("to") or ())
    lines = [f"asked of {who} by {gate.workflow}" + (f", {p['need']} needed" if p.get("need", 1) > 1 else "")]
    if p.get("problem"):
        lines.append(f"again, because {p['problem']}")
    if p.get("show") is not None:
        lines.append(f"shown: {dumps(p['show'])}")
    if p.get("call"):
        lines.append(f"about: {p['call']['step']} with {dumps(p['call']['input'])}, digest {p['call']['digest']}")
    return lines


def _edit(gate: Gate, p: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    before: dict[str, Any] = (gate.asked or {}).get("input") or {}
    edited: dict[str, Any] = p.get("edit") or {}
    for name, after in edited.items():
        lines.append(f"edited {name}: {dumps(before.get(name))} -> {dumps(after)}, digest {p.get('digest')}")
    if p.get("data") is not None:
        lines.append(f"gave: {dumps(p['data'])}")
    return lines


def _where(p: dict[str, Any]) -> str:
    group = f" of group {p['member_of']}" if p.get("member_of") else ""
    return group + (f", from {p['via']}" if p.get("via") else "")


def _why(p: dict[str, Any]) -> str:
    return f", because: {p['reason']}" if p.get("reason") else ""


def _document(run: Run, gates: Sequence[Gate], facts: list[Fact], head: str | None, events: int) -> dict[str, Any]:
    from vbl.documents import gate_document

    related = [
        {"seq": fact.seq, "type": fact.type, "at": instant(fact.at), "payload": fact.payload}
        for fact in facts
        if "gate" in fact.payload or fact.type in _OF_PEOPLE
    ]
    return {
        "id": run.id,
        "workflow": run.workflow,
        "started_by": facts[0].payload.get("actor"),
        "gates": [gate_document(gate) for gate in gates],
        "events": related,
        "chain": {"whole": head is not None, "events": events, "head": head},
    }
