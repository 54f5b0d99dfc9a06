"""What a notebook shows of runs, gates and states: still pictures, complete in themselves, without a script.

Each card is a function of what was read, and stands below the class `vbl`, so that it takes nothing from the page
around it and leaves nothing there. `framed` puts its style into it; a card that would be too large says less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vbl.drawing.chart import chart
from vbl.drawing.code import diff_lines
from vbl.drawing.failure import failure
from vbl.drawing.frame import problem
from vbl.drawing.inline import style
from vbl.drawing.markup import Child, Markup, tag
from vbl.drawing.payload import as_json, payload
from vbl.drawing.prose import struck
from vbl.drawing.runs import RunRow, runs_table
from vbl.drawing.sheet import RunSheet
from vbl.drawing.status import badge
from vbl.drawing.times import clock, countdown
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
"""So many rows of a list are shown."""
SHEETS = ("base.css", "timeline.css", "notebook.css")

_GATES = {
    "open": ("?", "warn"),
    "granted": ("✓", "good"),
    "denied": ("✗", "bad"),
    "expired": ("◔", "dim"),
    "closed": ("⊘", "dim"),
}


def framed(card: Markup) -> Markup:
    """The card with its style, as a notebook keeps it."""
    return tag("div", style(*SHEETS), card, class_="vbl notebook")


# Runs -------------------------------------------------------------------------------------------------------------


def run_card(sheet: RunSheet) -> Markup:
    """A run: how it stands and why, its timeline, what came out of it or what went wrong."""
    whole = _run(sheet, chart(sheet.picture, name=f"timeline-{sheet.id}", tools=False, links=False))
    if len(whole.encode()) <= LARGEST:
        return whole
    command = tag("code", f"vbl show {sheet.id} --html run.html")
    return _run(sheet, tag("p", "Its timeline is too large for a notebook: ", command, class_="dim"))


def _run(sheet: RunSheet, picture: Markup) -> Markup:
    return tag("article", _head(sheet), _reason(sheet), picture, _outcome(sheet), data_run=sheet.id)


def _head(sheet: RunSheet) -> Markup:
    state = sheet.state
    steps = [step for step in state.steps.values() if not step.void]
    attempts = sum(step.attempt for step in steps)
    elapsed = duration((sheet.now if state.finished_at is None else state.finished_at) - state.created_at)
    usd = sum(float(one.get("usd") or 0) for one in state.usage)
    said = [
        elapsed,
        _counted(len(steps), "step"),
        _counted(attempts, "attempt") if attempts > len(steps) else None,
        f"${usd:.4f}" if usd else None,
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
    until = countdown(answer.until, sheet.now) if answer.until is not None else None
    hints = [tag("li", tag("code", line)) for line in answer.hint.splitlines() if line.strip()]
    return tag("div", lines, tag("p", until) if until else None, difference, tag("ul", hints), class_="reason")


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
    return tag(
        "article",
        tag(
            "header",
            _gate_badge(gate.status),
            tag("b", gate.name, class_="mono"),
            tag("code", gate.id),
            tag("span", f"{gate.workflow} {gate.run_id}", class_="dim"),
            class_="bar",
        ),
        tag("p", "asked again: ", gate.problem, class_="warn") if gate.problem else None,
        _asked(gate),
        tag("p", _standing(gate, now), class_="dim"),
        _answer(gate) if gate.status == "open" else None,
        data_gate=gate.id,
    )


def _gate_badge(status: str) -> Markup:
    sign, tone = _GATES.get(status, ("·", "dim"))
    return tag("span", tag("span", sign, class_="sign", aria_hidden="true"), " ", status, class_=f"status {tone}")


def _asked(gate: Gate) -> Child:
    """The call with its arguments, and what is shown beside it."""
    asked: list[Child] = []
    if gate.call is not None:
        first: dict[str, Any] = (gate.asked or {}).get("input") or {}
        now: dict[str, Any] = gate.call["input"] or {}
        rows = [_argument(name, given, first.get(name, given)) for name, given in now.items()]
        caption = tag("caption", "the call ", tag("code", gate.call["step"]))
        asked.append(tag("table", caption, tag("tbody", rows), class_="table"))
    if gate.show is not None:
        asked.append(value("shown", gate.show))
    return asked


def _argument(name: str, given: Any, first: Any) -> Markup:
    edited = tag("span", " edited", class_="warn") if given != first else None
    return tag("tr", tag("th", name, edited, scope="row"), tag("td", tag("code", struck(preview(given, BEGINNING)))))


def _standing(gate: Gate, now: int) -> list[Child]:
    need = f", {gate.need} of them" if gate.need > 1 else ""
    said: list[Child] = [f"asked of {people(gate.to)}{need} ", clock(gate.requested_at, now)]
    if gate.status == "open" and gate.expires_at is not None:
        said += ["; its time ends ", countdown(gate.expires_at, now, past="now"), f", then: {gate.on_timeout}"]
    if gate.decided_at is not None:
        by = f" by {gate.decided_by}" if gate.decided_by else ""
        said += [f"; {gate.status}{by} ", clock(gate.decided_at, now), f": {gate.reason}" if gate.reason else None]
    elif gate.votes:
        said.append(f"; approved so far by {', '.join(str(vote.get('actor')) for vote in gate.votes)}")
    return said


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
        _gate_badge(gate.status),
        gate.name,
        tag("code", struck(gate.sentence[:300])),
        people(gate.to),
        [duration(now - gate.requested_at), " ago"],
        tag("code", gate.id),
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
