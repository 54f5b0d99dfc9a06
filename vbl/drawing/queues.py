"""The pages of queues and schedules: tables of what the client says of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vbl.drawing import frame
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.times import countdown

if TYPE_CHECKING:
    from vbl.store.queues import LaneState, QueueState


def queues_page(found: Sequence[QueueState], root: str, now: int) -> Markup:
    """All queues: their limits, who holds places and who waits."""
    if not found:
        hint = tag("code", '@vbl.workflow(queue="mail", concurrency=2)')
        return join([frame.heading("Queues"), tag("p", "No queues yet. Give a workflow one: ", hint, class_="empty")])
    heads = ("queue", "limits", "running", "waiting", "begun", "next", "workflows")
    rows = [_queue(queue, root, now) for queue in found]
    return _renewed(f"{root}/queues", join([frame.heading("Queues"), table(heads, rows, "Queues", numbers=(2, 3, 4))]))


def _queue(queue: QueueState, root: str, now: int) -> list[Child]:
    return [
        tag("a", queue.name, href=f"{root}/queues/{quoted(queue.name)}", class_="mono"),
        str(queue.limits),
        queue.running,
        queue.waiting,
        queue.begun if queue.limits.rate is not None else "",
        next_begins(queue, now),
        ", ".join(queue.workflows),
    ]


def next_begins(queue: QueueState, now: int) -> Child:
    """When the next run of a queue begins."""
    if not queue.waiting:
        return ""
    most = queue.limits.concurrency
    if most is not None and queue.running >= most:
        return "when a place is free"
    return countdown(queue.next_at, now) if queue.next_at is not None else "now"


def lanes_page(queue: str, found: Sequence[LaneState], more: bool, root: str, now: int) -> Markup:
    """One queue: a row for each value of its key."""
    head = frame.heading(f"Queue {queue}", tag("a", "all queues", href=f"{root}/queues"))
    if not found:
        return join([head, tag("p", "No run waits in it, and none is under way.", class_="empty")])
    rows: list[list[Child]] = [
        [
            tag("span", lane.lane or "(no key)", class_="mono"),
            lane.running,
            lane.waiting,
            (countdown(lane.next_at, now) if lane.next_at is not None else "now") if lane.waiting else "",
        ]
        for lane in found
    ]
    shown = table(("lane", "running", "waiting", "next"), rows, f"Lanes of {queue}", numbers=(1, 2))
    note = tag("p", f"The first {len(found)}.", class_="dim") if more else None
    return _renewed(f"{root}/queues/{quoted(queue)}", join([head, shown, note]))


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Child]], caption: str, *, numbers: Sequence[int] = ()
) -> Markup:
    """A table in a panel; the columns in `numbers` stand to the right."""
    kinds = ["num" if place in numbers else None for place in range(len(heads))]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption, class_="sr"),
            tag("thead", tag("tr", (tag("th", h, scope="col", class_=k) for h, k in zip(heads, kinds, strict=True)))),
            tag(
                "tbody",
                (
                    tag("tr", (tag("td", cell, class_=k) for cell, k in zip(row, kinds, strict=True)), data_row=True)
                    for row in rows
                ),
            ),
            class_="table",
        ),
        class_="panel scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def _renewed(url: str, content: Markup) -> Markup:
    return tag(
        "section", content, id="content", hx_get=url, hx_trigger="vbl:changed from:body", hx_swap="outerMorph",
        hx_select="#content",
    )  # fmt: skip


def quoted(name: str) -> str:
    """A name as a part of a path."""
    from urllib.parse import quote

    return quote(name, safe="")
