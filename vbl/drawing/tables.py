"""A plain table in a panel, for pages that need no more. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vbl.drawing.markup import Child, Markup, tag


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Child]], caption: str, *, numbers: Sequence[int] = ()
) -> Markup:
    """A row for each of `rows`, a cell for each of its children; the columns in `numbers` stand to the right. Keys move
    from row to row; `caption` is for those who cannot see it."""
    kinds = ["num" if place in numbers else None for place in range(len(heads))]
    head = tag("tr", (tag("th", name, scope="col", class_=kind) for name, kind in zip(heads, kinds, strict=True)))
    body = (
        tag("tr", (tag("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)), data_row=True)
        for row in rows
    )
    shown = tag("table", tag("caption", caption, class_="sr"), tag("thead", head), tag("tbody", body), class_="table")
    return tag("div", shown, class_="panel scroll", tabindex="0", role="region", aria_label=caption)
