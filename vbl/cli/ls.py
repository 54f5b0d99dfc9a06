"""`vbl ls`: the runs of the file. Reads summaries only, so it is as quick on a million runs as on ten."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from vbl.cli.terminal import Terminal, fit, shared
from vbl.clock import SYSTEM
from vbl.history.signs import SIGNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vbl.client import Client
    from vbl.handle import Run

PAGE = 500
MOVED = ("queued", "running", "retrying", "waiting")
"""Runs in one of these statuses count on a supervisor."""
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


if TYPE_CHECKING:
    _Instant = click.ParamType[int]
else:
    _Instant = click.ParamType  # generic from click 8.4 on


class Age(_Instant):
    """A span of time like 90s, 15m, 1h, 2d or 1w, read as an instant that long ago (µs since 1970)."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the age; what is no age is a usage error."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|d|w)", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not an age; write 90s, 15m, 1h, 2d or 1w", param, ctx)
        return max(SYSTEM.now() - round(float(match[1]) * _UNITS[match[2]] * 1_000_000), 0)


@click.command("ls", short_help="List runs, the newest first.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(list(SIGNS)), help="Only these; repeat it for more."
)
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option("--since", metavar="AGE", type=Age(), help="Only runs created within 90s, 15m, 1h, 2d, 1w.")
@click.option("--tag", metavar="TAG", help="Only runs with this tag.")
@click.option("--waiting", is_flag=True, help="Only runs that wait for a person's approval.")
@click.option("--all", "whole", is_flag=True, help="Also the runs of vbl's own workflows, schedules for one.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="So many at most; 0 for all.")
@shared
def command(
    terminal: Terminal,
    statuses: tuple[str, ...],
    workflow: str | None,
    since: int | None,
    tag: str | None,
    waiting: bool,
    whole: bool,
    limit: int,
) -> None:
    """List runs, the newest first. Those of vbl's own workflows (vbl.…) are left out unless asked for.

    \b
    Examples:
      vbl ls --status failed --since 1d
      vbl ls --waiting
      vbl ls --json | jq -r .id
    """
    if waiting:
        statuses = (*statuses, "waiting_for_approval")
    filters: dict[str, Any] = {"status": list(statuses) or None, "workflow": workflow, "since": since, "tag": tag}
    with terminal.connect() as client:
        runs = _runs(client, limit, filters, own=whole or workflow is not None)
        if terminal.as_json:
            from vbl.documents import run_document

            for run in runs:
                terminal.emit(run_document(run))
            return
        found = list(runs)
        if found:
            _table(terminal, found)
        else:
            asked = any(value is not None for value in filters.values())
            terminal.note("no run fits" if asked else "no runs yet; start one: vbl run file.py:workflow")
        standing = sum(run.last_status in MOVED for run in found)
        if standing and client.supervisor() is None:
            need = f"{standing} of these need{'s' if standing == 1 else ''} one"
            terminal.note(f"no supervisor is alive; {need}: vbl up FILE.py", "warn")
        if limit and len(found) == limit:
            terminal.note(f"the newest {limit}; see more with --limit 0", "dim")


def _runs(client: Client, limit: int, filters: dict[str, Any], *, own: bool) -> Iterator[Run]:
    """Page through the runs, so that a long list needs neither memory nor a long read; `own`: vbl's own ones too."""
    left = limit or None
    before: str | None = None
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = client.runs(**filters, before=before, limit=size)
        shown = [run for run in page if own or not run.workflow.startswith("vbl.")]
        yield from shown
        if len(page) < size:
            return
        before = page[-1].id
        left = None if left is None else left - len(shown)


def _table(terminal: Terminal, runs: list[Run]) -> None:
    from vbl.history.narration import duration

    now = SYSTEM.now()
    rows: list[list[str]] = []
    for run in runs:
        end_at = run.finished_at if run.finished_at is not None else now
        wakes = f"in {duration(run.wake_at - now)}" if run.wake_at is not None and run.wake_at > now else ""
        named = [fit(run.key, 28)] if run.key else []
        rows.append(
            [
                run.id,
                fit(run.workflow, 32),
                terminal.status(run.last_status),
                f"{duration(now - run.created_at)} ago",
                duration(end_at - run.created_at),
                wakes,
                fit("  ".join([*named, *(f"#{tag}" for tag in run.tags)]), 48),
            ]
        )
    heads = ["run", "workflow", "status", "created", "took", "wakes", "key, #tags"]
    shown = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    right = [place for place, n in enumerate(shown) if n in (3, 4, 5)]
    terminal.table([heads[n] for n in shown], [[row[n] for n in shown] for row in rows], right)
