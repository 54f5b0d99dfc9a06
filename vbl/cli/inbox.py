"""`vbl inbox` and `vbl gate`: what waits for a person, and one question in full."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from vbl.cli.terminal import Terminal, dumps, shared
from vbl.cli.words import field, local
from vbl.documents import gate_document, question_document
from vbl.history.narration import assignees, duration, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vbl.history.questions import Gate, Question


def gate_argument(function: Any) -> Any:
    """The argument GATE: an id, a unique prefix, or RUN:NAME."""
    return click.argument("ref", metavar="GATE")(function)


@click.command(short_help="List what waits for a person.")
@click.option("--to", metavar="NAME", help="Only what this person may decide.")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True)
@shared
def inbox(terminal: Terminal, to: str | None, limit: int) -> None:
    """List what waits for a person, the oldest first: gates, and steps whose outcome nobody knows.

    \b
    Examples:
      vbl inbox
      vbl inbox --to ada --json
    """
    with terminal.connect() as client:
        questions = client.questions(to=to, limit=limit)
    if terminal.as_json:
        for question in questions:
            terminal.emit(question_document(question))
        return
    if not questions:
        terminal.note("nothing waits for a person")
    now = time.time_ns() // 1000
    for number, question in enumerate(questions):
        if number:
            terminal.line()
        _brief(terminal, question, now)


def _brief(terminal: Terminal, question: Question, now: int) -> None:
    gate = question.gate
    head = gate.id if gate is not None else question.run_id
    terminal.line(f"{terminal.paint(head, 'strong')}  {printable(question.detail)}")
    since = f"{duration(max(now - question.since, 0))} ago"
    field(terminal, "asked", f"{since} by {question.workflow} {question.run_id}")
    if gate is None:
        field(terminal, "next", f"vbl resolve {question.run_id} --happened JSON | --did-not | --fail", "strong")
        return
    _asked(terminal, gate, now)
    field(terminal, "next", f"vbl approve {gate.id}   or   vbl deny {gate.id}   look: vbl gate {gate.id}", "strong")


def _asked(terminal: Terminal, gate: Gate, now: int) -> None:
    who = assignees(gate.to)
    need = f", {gate.need} of them" if gate.need > 1 else ""
    barred = ", not who started the run" if gate.not_starter else ""
    field(terminal, "of", f"{who}{need}{barred}")
    if gate.expires_at is not None and gate.status == "open":
        left = duration(gate.expires_at - now) if gate.expires_at > now else "no time"
        field(terminal, "expires", f"in {left} ({local(gate.expires_at)}), then: {gate.on_timeout}")
    if gate.problem is not None:
        field(terminal, "again", gate.problem, "warn")


@click.command(short_help="Show one question in full.")
@gate_argument
@click.option("--link", type=click.Choice(["approve", "deny"]), help="Print a signed link that decides so, once.")
@click.option("--for", "person", metavar="NAME", help="Whose decision the link is; else yours.")
@click.option("--valid-for", type=float, default=86_400.0, metavar="SECONDS", help="How long the link is good.")
@shared
def gate(terminal: Terminal, ref: str, link: str | None, person: str | None, valid_for: float) -> None:
    """Show one question in full: what is asked of whom, on which information, and who decided.

    \b
    Examples:
      vbl gate g_4m0
      vbl gate r_01h:send_reply
      vbl gate g_4m0 --link approve --for ada
    """
    with terminal.connect() as client:
        found = client.gate(ref)
        if link is not None:
            text = client.link(found, "approve" if link == "approve" else "deny", by=person, valid_for=valid_for)
            if terminal.as_json:
                terminal.document({"gate": found.id, "decision": link, "link": text})
            else:
                terminal.line(text)
            return
    if terminal.as_json:
        terminal.document(gate_document(found))
        return
    say_gate(terminal, found)


def say_gate(terminal: Terminal, gate: Gate) -> None:
    """A gate in full."""
    now = time.time_ns() // 1000
    style = {"open": "warn", "granted": "good", "denied": "bad"}.get(gate.status, "dim")
    terminal.line(f"{terminal.paint(gate.id, 'strong')}  {gate.name}  {terminal.paint(gate.status, style)}")
    field(terminal, "run", f"{gate.workflow} {gate.run_id}")
    field(terminal, "asked", local(gate.requested_at))
    _asked(terminal, gate, now)
    if gate.call is not None:
        may = "; the arguments may be edited" if gate.edit else ""
        field(terminal, "call", f"{gate.call['step']}{may}")
        for line, of_it in call_lines(gate):
            field(terminal, "", line, of_it)
    if gate.show is not None:
        for number, line in enumerate(value_lines(gate.show)):
            field(terminal, "" if number else "shows", line)
    if gate.schema is not None:
        from vbl.history.schemas import described

        field(terminal, "data", described(gate.schema))
    for vote in gate.votes:
        field(terminal, "approved", _said(vote), "good")
    for refused in gate.refused:
        field(terminal, "refused", f"{refused['decision']} by {refused['actor']}: {refused['why']}", "bad")
    if gate.decided_at is not None:
        reason = f": {gate.reason}" if gate.reason else ""
        field(terminal, gate.status, f"by {gate.decided_by or 'time'}, {local(gate.decided_at)}{reason}", style)
    if gate.status == "open":
        field(terminal, "next", f"vbl approve {gate.id}   or   vbl deny {gate.id}", "strong")


def call_lines(gate: Gate) -> Iterator[tuple[str, str]]:
    """The arguments of the call in full, for that is what is approved, as (line, style); below an edited one, what it
    was."""
    call: dict[str, Any] = gate.call or {}
    asked: dict[str, Any] = (gate.asked or {}).get("input") or {}
    stands: dict[str, Any] = call.get("input") or {}
    for name, value in stands.items():
        yield from _argument(name, value, "")
        if name in asked and asked[name] != value:
            yield from _argument("  was", asked[name], "dim")


def _argument(name: str, value: Any, style: str) -> Iterator[tuple[str, str]]:
    first, *rest = value_lines(value)
    yield f"{name}: {first}", style
    yield from ((f"    {line}", style) for line in rest)


def value_lines(value: Any) -> list[str]:
    """A value in full: a text as it is, anything else as JSON."""
    return (value.splitlines() if isinstance(value, str) else dumps(value, indent=2).splitlines()) or [""]


def _said(vote: dict[str, Any]) -> str:
    parts = [vote["actor"]]
    if vote.get("member_of"):
        parts.append(f"of group {vote['member_of']}")
    if vote.get("via"):
        parts.append(f"from {vote['via']}")
    if vote.get("edit"):
        parts.append(f"edited {dumps(vote['edit'])}")
    if vote.get("data") is not None:
        parts.append(f"gave {dumps(vote['data'])}")
    if vote.get("reason"):
        parts.append(f"because: {vote['reason']}")
    return ", ".join(parts)
