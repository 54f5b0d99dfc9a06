"""`vbl queues`: the queues of the file, and the lanes of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vbl.cli.terminal import Terminal, fit, shared
from vbl.clock import SYSTEM

if TYPE_CHECKING:
    from vbl.store.queues import LaneState, QueueState


@click.command("queues", short_help="Show queues: their limits, and who waits.")
@click.argument("name", metavar="[QUEUE]", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="So many lanes at most.")
@shared
def command(terminal: Terminal, name: str | None, limit: int) -> None:
    """Show the queues of the file: their limits, the runs that hold places and those that wait, and when the next one
    may begin. With QUEUE, its lanes: one for each value of the key.

    \b
    Examples:
      vbl queues
      vbl queues mail --json
    """
    with terminal.connect() as client:
        if name is None:
            _queues(terminal, client.queues())
        else:
            _lanes(terminal, client.lanes(name, limit + 1), limit)


def _queues(terminal: Terminal, found: list[QueueState]) -> None:
    if terminal.as_json:
        from vbl.documents import queue_document

        for queue in found:
            terminal.emit(queue_document(queue))
        return
    if not found:
        terminal.note('no queues yet; give a workflow one: @vbl.workflow(queue="mail", concurrency=2)')
        return
    heads = ["queue", "limits", "running", "waiting", "begun", "next", "workflows"]
    rows = [
        [
            fit(queue.name, 32),
            str(queue.limits),
            str(queue.running),
            str(queue.waiting),
            str(queue.begun) if queue.limits.rate is not None else "",
            _next(queue),
            fit(", ".join(queue.workflows), 48),
        ]
        for queue in found
    ]
    terminal.table(heads, rows, (2, 3, 4), spared=(6, 4, 5, 1))


def _next(line: QueueState | LaneState) -> str:
    """When the next run begins, in words."""
    if not line.waiting:
        return ""
    if line.full:
        return "when a place is free"
    from vbl.history.reasons import when

    return when(line.next_at, SYSTEM.now()) if line.next_at is not None else "now"


def _lanes(terminal: Terminal, found: list[LaneState], limit: int) -> None:
    if terminal.as_json:
        from vbl.documents import lane_document

        for lane in found[:limit]:
            terminal.emit(lane_document(lane))
        return
    if not found:
        terminal.note("no run waits in it, and none is under way")
        return
    rows = [
        [fit(lane.lane, 48) or "(no key)", str(lane.running), str(lane.waiting), _next(lane)] for lane in found[:limit]
    ]
    terminal.table(["lane", "running", "waiting", "next"], rows, (1, 2))
    if len(found) > limit:
        terminal.note(f"the first {limit}; see more with --limit", "dim")
