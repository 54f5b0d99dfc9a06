"""The runs below a run, as a tree. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vbl.drawing.markup import Markup, tag
from vbl.drawing.places import run_at
from vbl.drawing.sheet import Neighbour
from vbl.drawing.status import badge
from vbl.drawing.times import clock
from vbl.history.narration import duration, money

DEPTH = 4
"""So many levels of children are drawn."""
MOST = 500
"""So many runs of one tree are drawn."""


def children(
    tree: Sequence[tuple[int, Neighbour]], now: int, *, root: str = "", links: bool = True, more: bool = False
) -> Markup:
    """A row for each run, indented by its level (1 is a child), a child before the next one's siblings; `more` says
    that the tree has been cut."""
    if not tree:
        return tag("p", "This run has started no other.", class_="empty")
    priced = any(one.usd is not None for _, one in tree)
    titles = ("workflow", "run", "status", "created", "took", *(("cost",) if priced else ()))
    head = tag("tr", [tag("th", title, scope="col") for title in titles])
    rows = [_row(level, one, now, root, links, priced) for level, one in tree]
    cut = tag("p", f"Only the first {len(tree)}, {DEPTH} levels deep.", class_="dim") if more else None
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="table children")
    return tag("div", table, cut, class_="scroll", tabindex=0, role="region", aria_label="Children")


def _row(level: int, one: Neighbour, now: int, root: str, links: bool, priced: bool) -> Markup:
    took = duration((now if one.finished_at is None else one.finished_at) - one.created_at)
    id = tag("a", one.id, href=run_at(root, one.id), data_open=True) if links else one.id
    branch = tag("span", "\u00a0\u00a0" * (level - 1) + ("└ " if level > 1 else ""), class_="dim", aria_hidden="true")
    return tag(
        "tr",
        tag("td", branch, one.workflow, class_="mono"),
        tag("td", id, class_="mono"),
        tag("td", badge(one.status)),
        tag("td", clock(one.created_at, now)),
        tag("td", took, class_="num"),
        tag("td", money(one.usd), class_="num") if priced else None,
        data_row=True,
    )
