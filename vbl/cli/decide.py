"""`vbl approve`, `vbl deny` and `vbl signal`: what a person tells a run. Durable with no supervisor alive."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from vbl.cli.given import value
from vbl.cli.inbox import gate_argument, say_gate
from vbl.cli.terminal import Terminal, dumps, run_argument, shared
from vbl.documents import gate_document
from vbl.errors import InvalidInput, UsageError
from vbl.history.narration import printable

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.history.questions import Gate
    from vbl.history.schemas import Field

_ABSENT = object()


@click.command(short_help="Approve what a gate asks.")
@gate_argument
@click.option("--as", "person", metavar="NAME", help="Who decides; else $VBL_ACTOR, else you.")
@click.option("--reason", metavar="TEXT", help="Kept in the history.")
@click.option("--edit", metavar="JSON", help="New values of the call's parameters, by name.")
@click.option("--editor", is_flag=True, help="Edit the call's arguments in your editor.")
@click.option("--data", metavar="JSON", help="What the gate asks to be given; @file and - read it.")
@shared
def approve(
    terminal: Terminal,
    ref: str,
    person: str | None,
    reason: str | None,
    edit: str | None,
    editor: bool,
    data: str | None,
) -> None:
    """Approve what a gate asks. GATE is an id, the unique beginning of one, RUN:NAME, or a signed link.

    A gate that asks for data prompts for it, field by field, where there is a terminal.

    \b
    Examples:
      vbl approve g_4m0 --reason "read it twice"
      vbl approve g_4m0 --edit '{"amount": 20}'
      vbl approve r_01h:how_much --data '{"amount": 20}'
    """
    with terminal.connect() as client:
        from vbl.links import is_link

        if is_link(ref):
            if edit or editor or data or person:
                raise UsageError("a link says who decides, and what", "Leave out --as, --edit, --editor and --data")
            _report(terminal, client.decide(ref, reason=reason, decision="approve"))
            return
        if editor and edit is not None:
            raise UsageError("--edit and --editor say the same in two ways", "Leave one of them out")
        gate = client.gate(ref)
        changes = _edited(gate) if editor else None if edit is None else _object(value(edit, "--edit"), "--edit")
        given = value(data, "--data") if data is not None else _answer(terminal, gate)
        seen = gate.call["digest"] if editor and gate.call is not None else None
        decided = client.approve(gate, by=person, reason=reason, edit=changes, data=given, via="terminal", seen=seen)
        _report(terminal, decided)


@click.command(short_help="Deny what a gate asks.")
@gate_argument
@click.option("--as", "person", metavar="NAME", help="Who decides; else $VBL_ACTOR, else you.")
@click.option("--reason", metavar="TEXT", help="Kept in the history.")
@shared
def deny(terminal: Terminal, ref: str, person: str | None, reason: str | None) -> None:
    """Deny what a gate asks: one denial ends it.

    \b
    Example:
      vbl deny g_4m0 --reason "wrong customer"
    """
    with terminal.connect() as client:
        from vbl.links import is_link

        if is_link(ref):
            if person:
                raise UsageError("a link says who decides", "Leave out --as")
            _report(terminal, client.decide(ref, reason=reason, decision="deny"))
            return
        _report(terminal, client.deny(ref, by=person, reason=reason, via="terminal"))


def _report(terminal: Terminal, gate: Gate) -> None:
    if terminal.as_json:
        terminal.document(gate_document(gate))
        return
    say_gate(terminal, gate)


def _edited(gate: Gate) -> dict[str, Any]:
    """What was changed in an editor. Raises UsageError where it was left without saving: that approves nothing."""
    if gate.call is None:
        raise UsageError(f"gate {gate.id} is about no call: there is nothing to edit", f"Look: vbl gate {gate.id}")
    if not (sys.stdin.isatty() or os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        raise UsageError("there is no terminal for an editor", "Give the changes by --edit JSON, or set EDITOR")
    import json

    before = gate.call["input"]
    text: str | None = click.edit(json.dumps(before, indent=2, ensure_ascii=False) + "\n", extension=".json")
    if text is None:
        raise UsageError(
            "nothing was saved in the editor, and nothing is approved", f"Approve it as it is: vbl approve {gate.id}"
        )
    after = _object(value(text), "what was edited")
    return {name: item for name, item in after.items() if name not in before or before[name] != item}


def _object(given: Any, what: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise UsageError(f"{what} is no JSON object", """Give parameters by name: '{"amount": 20}'""")
    return cast("dict[str, Any]", given)


def _answer(terminal: Terminal, gate: Gate) -> Any:
    """The data that a gate asks for, prompted for; None where it asks for none, or nobody can be asked."""
    if gate.schema is None or not terminal.asks or gate.status != "open" or gate.data is not None:
        return None
    from vbl.history.schemas import fields

    answer: Any = {}
    for one in fields(gate.schema):
        given = _prompted(terminal, one)
        if given is _ABSENT:
            continue
        if not one.path:
            return given
        at = answer
        for part in one.path[:-1]:
            at = at.setdefault(part, {})
        at[one.path[-1]] = given
    return answer


def _prompted(terminal: Terminal, one: Field) -> Any:
    """Ask for one value until it fits."""
    from vbl.history.schemas import fitting

    about = f" ({one.about})" if one.about else ""
    choices = f" [{', '.join(map(str, one.choices))}]" if one.choices else ""
    optional = not one.required
    spared = ", Enter leaves it out" if optional else ""
    label = printable(f"{one.name or 'answer'}: {one.kind}{choices}{about}{spared}")
    while True:
        text: str = click.prompt(label, default="" if optional else None, show_default=False, err=True)
        if optional and not text:
            return _ABSENT
        problem = ""
        for candidate in _readings(text):
            try:
                return fitting(one.schema, candidate, one.name or "the answer")
            except InvalidInput as error:
                problem = error.message
        terminal.note(f"  {problem}", "bad")


def _readings(text: str) -> list[Any]:
    """What a person typed, as text and, where it is that, as JSON."""
    try:
        return [text, value(text)]
    except UsageError:
        return [text]


@click.command(short_help="Send a message to a run.")
@run_argument()
@click.argument("name", metavar="NAME")
@click.argument("data", metavar="[DATA]", required=False)
@click.option("--key", metavar="KEY", help="A repeated message with the same key changes nothing.")
@click.option("--as", "person", metavar="NAME", help="Who sends it; else $VBL_ACTOR, else you.")
@shared
def signal(terminal: Terminal, ref: str, name: str, data: str | None, key: str | None, person: str | None) -> None:
    """Send a message to a run: what waits for NAME gets DATA, which is JSON; it is kept if it comes too early.

    \b
    Examples:
      vbl signal r_01h payment '{"amount": 20}' --key invoice-7
      vbl signal @last go
    """
    sent = None if data is None else value(data, "DATA")
    with terminal.connect() as client:
        run = _signalled(client, ref, name, sent, key, person)
        if terminal.as_json:
            from vbl.documents import run_document

            terminal.document(run_document(run) | {"signal": name, "data": sent})
            return
        terminal.line(f"{terminal.paint(run.id, 'strong')}  {run.workflow}  {terminal.status(run.last_status)}")
        terminal.note(f"sent {printable(name)}{'' if data is None else ' ' + dumps(sent)}")


def _signalled(client: Client, ref: str, name: str, data: Any, key: str | None, person: str | None) -> Any:
    return client.signal(client.run(ref), name, data, key=key, by=person)
