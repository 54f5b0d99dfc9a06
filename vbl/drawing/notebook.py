"""What a notebook shows of runs, gates and states: still pictures, complete in themselves, without a script.

Each card is a function of what was read, and stands below the class `vbl`, so that it takes nothing from the page
around it and leaves nothing there. `framed` puts its style into it; a card that would be too large says less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from shlex import quote
from typing import Any

from vbl.drawing import inbox
from vbl.drawing.chart import chart
from vbl.drawing.code import diff_lines
from vbl.drawing.costs import spent
from vbl.drawing.failure import failure
from vbl.drawing.frame import problem
from vbl.drawing.inline import style
from vbl.drawing.markup import Child, Markup, tag
from vbl.drawing.payload import as_json, payload
from vbl.drawing.prose import struck
from vbl.drawing.runs import RunRow, runs_table
from vbl.drawing.sheet import RunSheet
from vbl.drawing.status import badge, gate_badge
from vbl.history.narration import duration, people, preview
from vbl.history.questions import Gate
from vbl.history.state import RunState

LARGEST = 80 * 1024
"""Bytes of a run's card from which on its timeline is left out; the style is not counted."""
LONG = 8 * 1024
"""A value whose JSON has more characters is shown by its beginning."""
BEGINNING = 2_000
"""So many characters of such a value are shown."""
MANY = 60
"""So many rows of a list are shown; beyond so many steps those of one name share a row of the timeline."""
SHEETS = ("base.css", "timeline.css", "inbox.css", "notebook.css")


def framed(card: Markup) -> Markup:
    """The card with its style, as a notebook keeps it."""
    return tag("div", style(*SHEETS), card, class_="vbl notebook")


# Runs -------------------------------------------------------------------------------------------------------------


def run_card(sheet: RunSheet) -> Markup:
    """A run: how it stands and why, its timeline, what came out of it or what went wrong."""
    whole = _run(sheet, chart(sheet.picture, name=f"timeline-{sheet.id}", tools=False, links=False, most=MANY))
    if len(whole.encode()) <= LARGEST:
        return whole
    command = tag("code", f"vbl show {quote(sheet.id)} --html run.html")
    return _run(sheet, tag("p", "Its timeline is too large for a notebook: ", command, class_="dim"))


def _run(sheet: RunSheet, picture: Markup) -> Markup:
    return tag("article", _head(sheet), _reason(sheet), picture, _outcome(sheet), data_run=sheet.id)


def _head(sheet: RunSheet) -> Markup:
    state = sheet.state
    steps = [step for step in state.steps.values() if not step.void]
    attempts = sum(step.attempt for step in steps)
    elapsed = duration((sheet.now if state.finished_at is None else state.finished_at) - state.created_at)
    said = [
        elapsed,
        _counted(len(steps), "step"),
        _counted(attempts, "attempt") if attempts > len(steps) else None,
        spent(state.usage).told,
    ]
    return tag(
        "header",
        badge(state.status),
        tag("b", state.workflow, class_="mono"),
        tag("code", sheet.id),
        tag("span", " · ".join(part for part in said if part), class_="dim"),
        class_="bar",
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _reason(sheet: RunSheet) -> Markup | None:
    """Why it stands so and what moves it on; a completed run says nothing more."""
    answer = sheet.answer
    if sheet.state.status == "completed":
        return None
    said, mark, changed = answer.detail.strip().partition("\n--- ")
    difference = tag("pre", diff_lines(f"--- {changed}".splitlines()), class_="diff") if mark else None
    lines = [tag("p", line) for line in said.splitlines() if line.strip()]
    hints = [tag("li", tag("code", line)) for line in answer.hint.splitlines() if line.strip()]
    return tag("div", lines, difference, tag("ul", hints), class_="reason")


def _outcome(sheet: RunSheet) -> Markup | None:
    state = sheet.state
    if state.error is not None:
        return failure(state.error)
    return value("output", state.output) if state.status == "completed" else None


def runs_card(rows: Sequence[RunRow], now: int) -> Markup:
    """A list of runs, a row each."""
    if not rows:
        return tag("p", "No run.", class_="empty")
    more = tag("p", f"{len(rows) - MANY} more", class_="dim") if len(rows) > MANY else None
    return tag("div", runs_table(rows[:MANY], now, links=False), more)


def value(name: str, found: Any) -> Markup:
    """A recorded value under its name; a long one by its beginning."""
    long = len(as_json(found)) > LONG
    body = tag("pre", struck(preview(found, BEGINNING)), class_="mono") if long else payload(found)
    return tag("section", tag("h3", name), body, class_="value")


# Gates ------------------------------------------------------------------------------------------------------------


def gate_card(gate: Gate, now: int) -> Markup:
    """A gate: what is asked, of whom, until when; who decided; and how to decide it in the next cell."""
    decide = _answer(gate) if gate.status == "open" else None
    whole = tag("div", inbox.gate_card(gate, now, links=False), decide)
    if len(whole.encode()) <= LARGEST:
        return whole
    asked = tag("pre", struck(gate.sentence[:BEGINNING]))
    command = tag("code", f"vbl gate {quote(gate.id)}")
    return tag("div", gate_badge(gate.status), asked, tag("p", "All of it: ", command, class_="dim"), decide)


def _answer(gate: Gate) -> Markup:
    """What to type."""
    wants = "data=…, " if gate.schema is not None else ""
    edit = "edit={…}, " if gate.edit else ""
    return tag(
        "p", "decide: ", tag("code", f"gate.approve({wants}{edit}reason=…)"), " or ", tag("code", "gate.deny(reason=…)")
    )


def gates_card(gates: Sequence[Gate], now: int) -> Markup:
    """A list of gates, a row each."""
    if not gates:
        return tag("p", "No gate.", class_="empty")
    rows = [_gate_row(gate, now) for gate in gates[:MANY]]
    return _table(("status", "gate", "asks", "of", "asked", "id"), rows, len(gates))


def _gate_row(gate: Gate, now: int) -> Markup:
    cells: list[Child] = [
        gate_badge(gate.status),
        gate.name,
        tag("code", struck(gate.sentence[:300])),
        people(gate.to),
        [duration(now - gate.requested_at), " ago"],
        tag("code", gate.id, class_="id"),
    ]
    return tag("tr", (tag("td", cell) for cell in cells))


def _table(heads: Iterable[str], rows: Sequence[Markup], number: int) -> Markup:
    head = tag("tr", (tag("th", name, scope="col") for name in heads))
    more = f"{number - len(rows)} more" if number > len(rows) else None
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="table")
    return tag("div", table, tag("p", more, class_="dim") if more else None, class_="scroll")


# States -----------------------------------------------------------------------------------------------------------


def state_card(state: RunState) -> Markup:
    """The accumulated state of a run at one point of its history."""
    head = tag(
        "header",
        badge(state.status),
        tag("b", state.workflow, class_="mono"),
        tag("code", state.run_id),
        tag("span", f"after event {state.seq}, checkpoint {state.checkpoint}", class_="dim"),
        class_="bar",
    )
    pending = ", ".join(f"{key} ({state.steps[key].status})" for key in state.pending[:MANY])
    return tag(
        "article",
        head,
        value("input", state.input) if state.input else None,
        value("variables", state.variables) if state.variables else None,
        _outputs(state),
        tag("p", "pending: ", tag("code", pending)) if pending else None,
        value("output", state.output) if state.status == "completed" else None,
        failure(state.error) if state.error is not None else None,
        data_run=state.run_id,
        data_seq=state.seq,
    )


def _outputs(state: RunState) -> Markup | None:
    """What the steps returned, a row each."""
    outputs = state.outputs
    if not outputs:
        return None
    rows = [
        tag("tr", tag("th", key, scope="row"), tag("td", tag("code", struck(preview(outputs[key], 300)))))
        for key in list(outputs)[:MANY]
    ]
    return tag("section", tag("h3", "outputs"), _table(("step", "output"), rows, len(outputs)), class_="value")


CARDS: dict[str, Callable[..., Markup]] = {
    "run": run_card,
    "runs": runs_card,
    "gate": gate_card,
    "gates": gates_card,
    "state": state_card,
    "problem": problem,
}
"""What can be shown, by name."""
