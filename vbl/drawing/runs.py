"""Runs as a table, for the page and for a notebook. Pure; what is shown is what the summaries say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from vbl.clock import instant
from vbl.drawing.markup import Child, Markup, tag
from vbl.drawing.places import run_at
from vbl.drawing.status import badge
from vbl.drawing.times import countdown
from vbl.history.filters import Filter
from vbl.history.narration import duration, money

_NUMBERS = frozenset(("created", "took", "cost"))
_WAKES = {"waiting": "wakes ", "retrying": "again ", "waiting_for_approval": "decide "}
"""Statuses in which it is of interest when time alone moves the run on, and what is said before."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in a list, from its summary. Instants are microseconds since 1970 UTC, `usd` is US dollars; `note` says
    in short what it is at, waits for or failed with, where that is known."""

    id: str
    workflow: str
    status: str
    key: str | None
    tags: Sequence[str]
    created_at: int
    started_at: int | None
    finished_at: int | None
    wake_at: int | None
    queue: str | None
    in_flight: int
    usd: float | None
    parent_id: str | None = None
    note: str = ""


def runs_table(rows: Sequence[RunRow], now: int, *, root: str = "", links: bool = True, select: bool = False) -> Markup:
    """Runs as a table, without the columns that would be empty; with `select` each can be ticked, as a field `run` of
    the form around it. `now` is in microseconds since 1970 UTC."""
    cells = [_cells(row, now, root, links) for row in rows]
    shown = [name for name in _COLUMNS if name not in _OPTIONAL or any(cell[name] for cell in cells)]
    heads = [tag("th", name, scope="col", class_=_kind(name)) for name in shown]
    body = (
        tag(
            "tr",
            tag("td", _box(row), class_="c-tick") if select else None,
            (tag("td", cell[name], class_=_kind(name)) for name in shown),
            id=f"row-{row.id}" if select else None,
            data_row=True,
        )
        for row, cell in zip(rows, cells, strict=True)
    )
    caption = tag("caption", "Runs, the newest first", class_="sr")
    head = tag("thead", tag("tr", tag("th", _all_box(), scope="col", class_="c-tick") if select else None, heads))
    return tag("div", tag("table", caption, head, tag("tbody", body), class_="table runs"), class_="scroll")


_COLUMNS = ("status", "run", "key and tags", "now", "created", "took", "cost")
_OPTIONAL = frozenset(("key and tags", "cost"))


def _kind(name: str) -> str:
    short = name.split(" ", maxsplit=1)[0]
    return f"c-{short} num" if name in _NUMBERS else f"c-{short}"


def _all_box() -> Markup:
    return tag("input", type="checkbox", data_all=True, id="all-runs", aria_label="select all runs of this page")


def _box(row: RunRow) -> Markup:
    return tag("input", type="checkbox", name="run", value=row.id, id=f"tick-{row.id}", aria_label=f"select {row.id}")


def _cells(row: RunRow, now: int, root: str, links: bool) -> dict[str, Child]:
    took: Child = duration((now if row.finished_at is None else row.finished_at) - row.created_at)
    if row.finished_at is None:
        took = tag("span", duration(_rounded(now - row.created_at)), data_age=row.created_at)
    name = tag("span", row.id, class_="mono id")
    shown = tag("a", name, href=run_at(root, row.id), data_open=True) if links else name
    return {
        "status": badge(row.status),
        "run": [tag("span", row.workflow, class_="workflow"), " ", shown],
        "key and tags": _named(row, root, links),
        "now": tag("span", _doing(row, now), class_="said", title=row.note or None),
        "created": _ago(row.created_at, now),
        "took": took,
        "cost": money(row.usd),
    }


def _named(row: RunRow, root: str, links: bool) -> list[Child]:
    tags = [
        tag("a", f"#{one}", href=address(root, Filter(tags=(one,))), class_="chip", title=one)
        if links
        else tag("span", f"#{one}", class_="chip", title=one)
        for one in row.tags
    ]
    named = tag("span", row.key, class_="mono") if row.key else None
    shown = tag("span", tags, class_="chips") if tags else None
    return [one for one in (named, " " if named and tags else None, shown) if one is not None]


def _doing(row: RunRow, now: int) -> list[Child]:
    """What the run is at: its note, and when it wakes by itself."""
    said: list[Child] = [tag("span", row.note, class_="note-text")] if row.note else []
    if not said and row.status == "queued" and row.queue:
        said.append(f"in queue {row.queue}")
    elif not said and row.in_flight and row.finished_at is None:
        said.append(f"{row.in_flight} step{'s' if row.in_flight > 1 else ''} in flight")
    if row.wake_at is not None and row.status in _WAKES:
        said += [" · " if said else None, _WAKES[row.status], countdown(row.wake_at, now)]
    return said


def _ago(at: int, now: int) -> Markup:
    exact = instant(at)
    return tag("time", tag("span", duration(_rounded(now - at)), data_age=at), " ago", datetime=exact, title=exact)


def _rounded(us: int) -> int:
    """Whole seconds, from a minute on whole minutes: a list is no stopwatch."""
    unit = 60_000_000 if us >= 60_000_000 else 1_000_000
    return us // unit * unit if us >= unit else us


def address(root: str, wanted: Filter, *, part: str = "", **more: str | None) -> str:
    """The URL of a list: its filter, and where in it."""
    fields = {"q": str(wanted), **more}
    query = urlencode({name: value for name, value in fields.items() if value})
    return f"{root}/runs{part}" + (f"?{query}" if query else "")
