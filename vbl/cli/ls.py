"""`vbl ls`: the runs of the file that fit a filter, the same one that the page takes.

Reads summaries only, and no more of them than a page needs, so it is as quick on a million runs as on ten.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from vbl.cli.terminal import Terminal, fit, shared
from vbl.clock import SYSTEM
from vbl.history.filters import TERMS, Filter, instant, parse, phrase, span
from vbl.history.signs import SIGNS
from vbl.history.state import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vbl.client import Client
    from vbl.handle import Run

PAGE = 500
MOVED = ("queued", "running", "retrying", "waiting")
"""Runs in one of these statuses count on a supervisor."""
NAMED = 7
"""The column of keys and tags."""
SPARED = (4, 3, NAMED, 6, 5)
"""What is left out of a narrow terminal, in this order: took, created, keys and tags, cost, wakes."""
_PATIENCE_S = 3.0
"""So long a search waits for the index of texts."""


if TYPE_CHECKING:
    _Instant = click.ParamType[int]
else:
    _Instant = click.ParamType  # generic from click 8.4 on


class Age(_Instant):
    """A span of time like 90s, 15m, 1h, 2d or 1w, read as an instant that long ago (µs since 1970)."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the age; what is no age is a usage error."""
        try:
            return instant(span(str(value).strip()), SYSTEM.now())
        except ValueError:
            self.fail(f"{value!r} is not an age; write 90s, 15m, 1h, 2d or 1w", param, ctx)


@click.command("ls", short_help="List runs, the newest first.")
@click.argument("query", metavar="[TERM]...", nargs=-1)
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(list(SIGNS)), help="Only these; repeat it for more."
)
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option("--since", metavar="AGE", type=Age(), help="Only runs created within 90s, 15m, 1h, 2d, 1w.")
@click.option("--tag", metavar="TAG", help="Only runs with this tag.")
@click.option("--cost", metavar="LIMIT", help="Only runs that cost so much, in US dollars: '>0.1', '<=2'.")
@click.option("--text", metavar="WORDS", help="Only runs with these words in input, output, errors, key or tags.")
@click.option("--waiting", is_flag=True, help="Only runs that wait for a person's approval.")
@click.option("--all", "whole", is_flag=True, help="Also the runs of vbl's own workflows, schedules for one.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="So many at most; 0 for all.")
@click.option("--before", metavar="RUN", help="Only runs older than this one.")
@shared
def command(
    terminal: Terminal,
    query: tuple[str, ...],
    statuses: tuple[str, ...],
    workflow: str | None,
    since: int | None,
    tag: str | None,
    cost: str | None,
    text: str | None,
    waiting: bool,
    whole: bool,
    limit: int,
    before: str | None,
) -> None:
    """List runs, the newest first. Those of vbl's own workflows (vbl.…) are left out unless asked for.

    A TERM is what the page takes too: status:failed, is:held-up, workflow:NAME, tag:TAG, cost:'>0.1', took:'>30s',
    since:1d, until:2026-11-20, parent:RUN, own:yes, the beginning of an id, or words of the run's input, output or
    errors.

    \b
    Examples:
      vbl ls --status failed --since 1d
      vbl ls is:needs-you workflow:triage
      vbl ls --json "529 overloaded" | jq -r .id
    """
    wanted = parse(" ".join(map(_term, query)))
    named = [Status(status) for status in (*statuses, *(("waiting_for_approval",) if waiting else ()))]
    wanted = replace(
        wanted.only(*wanted.statuses, *named),
        workflows=(*wanted.workflows, *([] if workflow is None else [workflow])),
        tags=(*wanted.tags, *([] if tag is None else [tag])),
        since=wanted.since if since is None else since,
        cost=(*wanted.cost, *(() if cost is None else parse(f"cost:{cost}").cost)),
        words=(*wanted.words, *(() if text is None else parse(phrase(text)).words)),
        own=wanted.own or whole,
    )
    with terminal.connect() as client:
        oldest = client.run(before).id if before is not None else None
        found = Found(client, wanted, limit, oldest, complete=terminal.as_json or not limit)
        if wanted.words:
            _read_texts(terminal, client)
        if terminal.as_json:
            from vbl.documents import run_document

            for run in found:
                terminal.emit(run_document(run))
            return
        _list(terminal, client, found)


class Found:
    """The runs that fit, read page by page, so that a long list needs neither memory nor a long read; `limit` at most,
    0 for all. Where `complete` is not asked for, a long look ends early: `looked_to` and `older` say where."""

    def __init__(self, client: Client, wanted: Filter, limit: int, before: str | None, *, complete: bool) -> None:
        self.wanted = wanted
        self.limit = limit
        self.looked_to: int | None = None
        self.older = before
        self._client = client
        self._complete = complete

    def __iter__(self) -> Iterator[Run]:
        left = self.limit or None
        while left is None or left > 0:
            page = self._client.find(self.wanted, before=self.older, limit=PAGE if left is None else min(PAGE, left))
            yield from page.runs
            left = None if left is None else left - len(page.runs)
            self.older = page.older
            if page.older is None:
                return
            if page.looked_to is not None and not self._complete:
                self.looked_to = page.looked_to
                return


def _term(argument: str) -> str:
    """An argument as a part of the query: the shell has taken the quotation marks of `"529 overloaded"`."""
    several = any(c.isspace() for c in argument) and '"' not in argument
    terms = any(part.partition(":")[0].lower() in TERMS and ":" in part for part in argument.split())
    return phrase(argument) if several and not terms else argument


def _read_texts(terminal: Terminal, client: Client) -> None:
    """Bring the index of texts up to date; a person is told where that takes its time."""
    known = client.index(_PATIENCE_S)
    while terminal.as_json and not known.complete and known.event < (known := client.index(_PATIENCE_S)).event:
        pass
    if not known.complete:
        terminal.note(f"{known.last - known.event:,} events are not searched yet; ask again in a moment", "warn")


def _list(terminal: Terminal, client: Client, looked: Found) -> None:
    """The runs as a table, and what is to be known about it."""
    found = list(looked)
    if found:
        _table(terminal, found)
    elif looked.looked_to is None:
        asked = looked.wanted != Filter(own=looked.wanted.own)
        terminal.note("no run fits" if asked else "no runs yet; start one: vbl run file.py:workflow")
    standing = sum(run.last_status in MOVED for run in found)
    if standing and client.supervisor() is None:
        need = f"{standing} of these need{'s' if standing == 1 else ''} one"
        terminal.note(f"no supervisor is alive; {need}: vbl up FILE.py", "warn")
    if looked.looked_to is not None:
        from vbl.history.narration import utc

        more = "nothing else" if found else "nothing"
        terminal.note(
            f"{more} fits among the runs since {utc(looked.looked_to)}; go on: --before {looked.older}", "dim"
        )
    elif looked.limit and len(found) == looked.limit:
        terminal.note(f"the newest {looked.limit}; see more with --limit 0", "dim")


def _table(terminal: Terminal, runs: list[Run]) -> None:
    from vbl.history.narration import duration, money

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
                money(run.usd),
                fit("  ".join([*named, *(f"#{tag}" for tag in run.tags)]), 48),
            ]
        )
    heads = ["run", "workflow", "status", "created", "took", "wakes", "cost", "key, #tags"]
    terminal.table(heads, rows, (3, 4, 5, 6), SPARED, NAMED)
