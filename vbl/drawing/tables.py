"""A plain table in a panel, for pages that need no more. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vbl.drawing.markup import Child, Markup, tag


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Child]], caption: str, *, numbers: Sequence[int] = ()
) -> Markup:
    """A row for each of `rows`, a cell for each of its children; the columns in `numbers` stand to the right, and those
    in which nothing stands are left out. Keys move from row to row; `caption` is for those who cannot see it."""
    shown = [place for place in range(len(heads)) if any(row[place] not in ("", None) for row in rows)]
    kinds = {place: "num" if place in numbers else None for place in shown}
    head = tag("tr", (tag("th", heads[place] or None, scope="col", class_=kinds[place]) for place in shown))
    body = (tag("tr", (tag("td", row[place], class_=kinds[place]) for place in shown), data_row=True) for row in rows)
    drawn = tag("table", tag("caption", caption, class_="sr"), tag("thead", head), tag("tbody", body), class_="table")
    return tag("div", drawn, class_="panel scroll flush", tabindex="0", role="region", aria_label=caption)
