"""What is done with several runs at once: what it would do to each, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vbl.drawing import frame, tables
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.places import run_at
from vbl.drawing.runs import RunRow, address
from vbl.drawing.status import badge
from vbl.history.filters import Filter

WORDS = {"cancel": ("cancel", "cancelled", "Cancel"), "retry": ("retry", "retried", "Retry")}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act would do to a run, or did: in words, and the types of the events that it appends; or why it was
    `refused`."""

    row: RunRow
    words: str
    events: Sequence[str] = ()
    refused: bool = False


def preview_page(
    act: str, outcomes: Sequence[Outcome], root: str, wanted: Filter, *, csrf: str, more: bool = False
) -> Markup:
    """Before it is done: how many of which, and what then runs; those that would be refused are named with why."""
    verb, past, button = WORDS[act]
    going = [one for one in outcomes if not one.refused]
    back = tag("a", "Back to the list", href=address(root, wanted), class_="button")
    title = f"{verb.capitalize()} {_runs(len(going))}?" if going else f"None of these can be {past}"
    note = tag("p", f"These are the first {len(outcomes)}; there are more that fit.", class_="note") if more else None
    hidden = {"csrf": csrf, "act": act, "q": str(wanted), "confirmed": "yes"}
    form = tag(
        "form",
        (tag("input", type="hidden", name=name, value=value) for name, value in hidden.items()),
        (tag("input", type="hidden", name="run", value=one.row.id) for one in going),
        tag("label", "Reason ", tag("input", type="text", name="reason", id="reason", maxlength=500)),
        tag("button", f"{button} {_runs(len(going))}", class_="danger" if act == "cancel" else "primary"),
        back,
        method="post",
        action=f"{root}/runs/bulk",
        class_="panel bar",
    )
    groups = _groups(outcomes, root, "Would be refused")
    return join([frame.heading(title), note, form if going else tag("p", back), *groups])


def done_page(act: str, outcomes: Sequence[Outcome], root: str, wanted: Filter) -> Markup:
    """Afterwards: what was done, and what was refused with why."""
    done = sum(not one.refused for one in outcomes)
    asked = "asked to cancel" if act == "cancel" else WORDS[act][1]
    back = tag("a", "Back to the list", href=address(root, wanted), class_="button primary")
    return join([frame.heading(f"{_runs(done)} {asked}"), *_groups(outcomes, root, "Refused"), tag("p", back)])


def _groups(outcomes: Sequence[Outcome], root: str, refused: str) -> list[Markup]:
    """Those that go first; below them those that do not, with why."""
    found: list[Markup] = []
    for rows, title in (
        ([one for one in outcomes if not one.refused], None),
        ([one for one in outcomes if one.refused], refused),
    ):
        if not rows:
            continue
        told = any(one.events for one in rows)
        last = ("why",) if title is not None else ("appends", "then") if told else ()
        found += [tag("h2", f"{title}: {_runs(len(rows))}")] if title is not None else []
        cells = [_cells(one, root, len(last)) for one in rows]
        found.append(tables.table(("run", "workflow", "status", *last), cells, title or "Runs"))
    return found


def _cells(one: Outcome, root: str, told: int) -> list[Child]:
    link = tag("a", one.row.id, href=run_at(root, one.row.id), class_="mono nowrap")
    said: list[Child] = [[tag("div", event, class_="mono nowrap") for event in one.events], one.words]
    return [link, one.row.workflow, badge(one.row.status), *said[2 - told :]]


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"
