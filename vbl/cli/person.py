"""What `vbl run` does where only a person can move the run: say what is asked, ask it here if somebody sits here.

Without a terminal nobody is asked: the command ends with exit code 6, and the run waits, durable, for its decision.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from vbl.cli.inbox import call_lines, value_lines
from vbl.cli.terminal import Terminal
from vbl.errors import RunWaiting, VblError
from vbl.history.narration import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vbl.client import Client
    from vbl.handle import Run
    from vbl.history.questions import Gate

SOON_US = 60_000_000
"""A timer that comes within this time may be what the gate races with: it is waited for. A later one is a time-out."""


MOST = 200
"""So many lines of what is asked are shown; of more it is said that there are."""


def asked_of(run: Run, now: int) -> list[str]:
    """The ids of the open gates of the run and its children, if nothing else can move it but a time-out; else none."""
    status = run.status
    if status != "waiting_for_approval" and (status != "waiting" or not run.children(1)):
        return []
    state = run.state()
    if state.open_waits or any(state.timers[number].at - now <= SOON_US for number in state.open_timers):
        return []
    found = sorted(state.open_gates, key=lambda id: state.gates[id].asked_seq)
    if state.open_children:
        awaited = {state.children[call].id for call in state.open_children}
        below = [asked_of(child, now) for child in run.children() if child.id in awaited]
        if not all(below):
            return []
        found += [id for gates in below for id in gates]
    return found


def waits(run: Run, gates: Sequence[Gate], *, moved: bool = False) -> RunWaiting:
    """The error of exit code 6: it names the gate and the command; `moved`: a supervisor is there to go on with it."""
    first = gates[0]
    named = f"gate {first.name} ({first.id})" + (f" and {len(gates) - 1} more" if len(gates) > 1 else "")
    then = "" if moved else "; then go on: vbl up FILE.py"
    hint = f"Decide: vbl approve {first.id}   (or: vbl deny {first.id}){then}"
    return RunWaiting(f"run {run.id} waits for a person: {named}", hint)


def ask(terminal: Terminal, client: Client, gate: Gate, still: Callable[[], bool]) -> bool:
    """Put the gate to who sits here. Returns whether to go on watching: it was decided, here or elsewhere."""
    _show(terminal, gate)
    while True:
        answer = _answer("[a]pprove, [d]eny or [l]eave? ", still)
        if answer is None:
            terminal.note("it has been settled meanwhile", "dim")
            return True
        word = answer.strip().lower()[:1]
        if word == "l" or not answer:  # not even an end of line: the end of the input
            return False
        decide = {"a": client.approve, "d": client.deny}.get(word)
        if decide is not None and _decided(terminal, lambda decide=decide: decide(gate.id, via="terminal")):
            return True


def _show(terminal: Terminal, gate: Gate) -> None:
    terminal.note(f"? {printable(gate.sentence)}", "warn")
    asked = [f"call   {gate.call['step']}", *(f"       {line}" for line, _ in call_lines(gate))] if gate.call else []
    for number, line in enumerate([] if gate.show is None else value_lines(gate.show)):
        asked.append(f"{'' if number else 'shown':<6} {line}")
    for line in asked[:MOST]:
        terminal.note(f"    {printable(line)}")
    if len(asked) > MOST:
        terminal.note(f"    {len(asked) - MOST} more lines: vbl gate {gate.id}", "warn")
    if gate.schema is not None or gate.edit:
        terminal.note(f"    with data or changes: vbl approve {gate.id} --help", "dim")
    terminal.note(f"    or elsewhere: vbl approve {gate.id}   vbl deny {gate.id}", "dim")


def _decided(terminal: Terminal, decide: Callable[[], object]) -> bool:
    """Whether the decision was taken; what refuses it is said, and asked again."""
    try:
        decide()
    except VblError as refused:
        terminal.note(f"  {printable(refused.message)}", "bad")
        if refused.hint:
            terminal.note(f"  {printable(refused.hint)}")
        return False
    return True


def _answer(question: str, still: Callable[[], bool]) -> str | None:
    """A line from the keyboard; empty at the end of the input; None where the question is settled before."""
    click.echo(question, nl=False, err=True)
    if os.name != "nt":
        import select

        while not select.select([sys.stdin], [], [], 0.2)[0]:
            if not still():
                click.echo(err=True)
                return None
    return sys.stdin.readline()
