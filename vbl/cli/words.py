"""Paragraphs that several commands print: what a run waits for, its error, its state."""

from __future__ import annotations

import time
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from vbl.cli.terminal import Terminal, dumps, fit
from vbl.errors import UsageError
from vbl.history.narration import cause, people, printable

if TYPE_CHECKING:
    from pathlib import Path

    from vbl.handle import Run
    from vbl.history.state import RunState
    from vbl.history.why import Why


FIELD = 13
"""So many columns stand before the value of a field."""


def clock(at: int) -> str:
    """The time of day on the clock of the reader, to the second."""
    return time.strftime("%H:%M:%S", time.localtime(at / 1_000_000))


def local(at: int) -> str:
    """An instant on the clock of the reader, to the second; the date where it is not today."""
    then = time.localtime(at / 1_000_000)
    today = time.localtime()
    same_day = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return clock(at) if same_day else time.strftime("%Y-%m-%d %H:%M:%S", then)


def save(terminal: Terminal, path: Path, text: str) -> None:
    """Write a file, and say so; as JSON where that is asked for. Raises UsageError where it cannot be written."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "Name a file in a folder of yours") from error
    size = path.stat().st_size
    terminal.note(f"wrote {path}, {max(size // 1_000, 1)} kB")
    if terminal.as_json:
        terminal.document({"file": str(path.resolve()), "bytes": size})


def say_why(terminal: Terminal, answer: Why) -> None:
    """What a run waits for: the thing, the sentence, the time, the command."""
    if answer.waits_for != "nothing":
        field(terminal, "waits for", answer.waits_for)
    changed = "\n--- " in answer.detail
    for line in answer.detail.splitlines():
        field(terminal, "", line, {"+": "good", "-": "bad"}.get(line[:1], "") if changed else "")
    if answer.until is not None:
        field(terminal, "until", local(answer.until))
    for number, line in enumerate(answer.hint.splitlines()):
        field(terminal, "" if number else "next", line, "strong")


def say_standing(terminal: Terminal, run: Run) -> None:
    """How a run stands after something was done to it, and what it waits for now."""
    if terminal.as_json:
        from vbl.documents import standing_document

        terminal.document(standing_document(run))
        return
    answer = run.refresh().why()
    terminal.line(f"{terminal.paint(run.id, 'strong')}  {run.workflow}  {terminal.status(run.last_status)}")
    say_why(terminal, answer)


def field(terminal: Terminal, name: str, text: str, style: str = "") -> None:
    """A dim name and its value, aligned with its neighbours. A long one is left to the terminal to wrap, so that a
    command can be copied; but for a screen that would cut it."""
    safe = "".join(c if c.isprintable() else printable(c) for c in text)
    room = max(terminal.width - FIELD, 10)
    for line in wrap(safe, room, break_on_hyphens=False) or [""] if terminal.cuts else [safe]:
        terminal.line(f"  {terminal.paint(f'{name:<10}', 'dim')} {terminal.paint(line, style)}")
        name = ""


def say_traceback(terminal: Terminal, error: dict[str, Any]) -> None:
    """The traceback of a recorded error, on stderr."""
    for line in str(error.get("traceback") or "").rstrip().splitlines():
        terminal.note("  " + "".join(c if c.isprintable() else printable(c) for c in line), "dim")


def say_state(terminal: Terminal, state: RunState) -> None:
    """The accumulated state: variables, outputs, what is pending."""
    head = f"{terminal.paint(state.run_id, 'strong')}  {state.workflow}  {terminal.status(state.status)}"
    terminal.line(f"{head}  after event {state.seq}, checkpoint {state.checkpoint}, at {local(state.at)}")
    _section(terminal, "input", state.input)
    _section(terminal, "variables", state.variables)
    _outputs(terminal, state)
    if state.pending:
        terminal.line()
        terminal.line(terminal.paint("pending", "strong"))
        for key in state.pending:
            step = state.steps[key]
            until = f" until {local(step.retry_at)}" if step.retry_at else ""
            terminal.line(f"  {printable(key)}  {step.status}, attempt {step.attempt}{until}")
    say_open(terminal, state)
    for number in sorted(state.open_timers):
        terminal.line(f"  timer {number}  until {local(state.timers[number].at)}")
    if state.output is not None:
        _section(terminal, "output", state.output)
    if state.error is not None:
        terminal.line()
        terminal.line(terminal.paint("error", "strong"))
        terminal.line(f"  {printable(cause(state.error))}")


def say_open(terminal: Terminal, state: RunState) -> None:
    """A line for each gate, wait for a signal and child that is open."""
    if not state.open_gates and not state.open_waits and not state.open_children:
        return
    terminal.line()
    terminal.line(terminal.paint("waits for", "strong"))
    for gate in sorted((state.gates[id] for id in state.open_gates), key=lambda gate: gate.asked_seq):
        until = f"  until {local(gate.expires_at)}" if gate.expires_at is not None else ""
        terminal.line(f"  gate {printable(gate.name)}  {gate.id}  asks {printable(people(gate.to))}{until}")
    for wait in (state.waits[number] for number in sorted(state.open_waits)):
        until = f"  until {local(wait.expires_at)}" if wait.expires_at is not None else ""
        terminal.line(f"  signal {printable(wait.name)}{until}")
    for child in (state.children[call] for call in sorted(state.open_children)):
        terminal.line(f"  child {printable(child.workflow)}  {child.id}")


def _section(terminal: Terminal, title: str, value: Any) -> None:
    if value is None or value in ({}, []):
        return
    terminal.line()
    terminal.line(terminal.paint(title, "strong"))
    for line in dumps(value, indent=2).splitlines():
        terminal.line(f"  {line}")


def _outputs(terminal: Terminal, state: RunState) -> None:
    """One line for each completed step; `--json` has them whole."""
    if not state.outputs:
        return
    from vbl.history.narration import preview

    terminal.line()
    terminal.line(terminal.paint("outputs", "strong"))
    width = min(max(len(key) for key in state.outputs), 28)
    room = max(terminal.width - width - 6, 40)
    for key, output in state.outputs.items():
        terminal.line(f"  {fit(key, width):<{width}}  {fit(preview(output, room), room)}")
