"""`vbl tail`: the latest events of the file or of a run, and those to come.

It reads from the cursor of the file, which grows in the order of the commits: nothing is missed, and nothing is printed
twice. While nothing is written it asks SQLite for one number, ten times a second.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from typing import TYPE_CHECKING

import click

from vbl.cli.events import print_event, sieve_options
from vbl.cli.ls import Age
from vbl.cli.terminal import Terminal, run_argument, shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vbl.client import Client
    from vbl.handle import Run
    from vbl.history.facts import Event
    from vbl.history.sieve import Sieve

POLL_S = 0.1
PAGE = 1_000
FAR = 50_000
"""So many events are looked at for the latest ones that a filter lets through; further back leads --since."""


@click.command(short_help="Print the latest events, and those to come.")
@run_argument(required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as more is recorded; with RUN, until it has finished.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help="So many at first.")
@click.option("--since", metavar="AGE", type=Age(), help="All since 90s, 15m, 1h, 2d or 1w ago, in place of -n.")
@click.option("--workflow", "workflows", multiple=True, metavar="NAME", help="Only of its runs; repeat it for more.")
@sieve_options
@shared
def tail(
    terminal: Terminal,
    ref: str | None,
    follow: bool,
    lines: int,
    since: int | None,
    workflows: tuple[str, ...],
    sieve: Sieve,
) -> None:
    """Print the latest events of a run, or of the whole file, and with -f those to come.

    \b
    Examples:
      vbl tail -f
      vbl tail @last -f --json
      vbl tail -f --workflow triage --failed
      vbl tail --since 1h --type RUN_FAILED
    """
    with terminal.connect() as client:
        run = client.run(ref) if ref else None
        lets = _sieve(client, sieve, frozenset(workflows))
        version, end = client.changed(), client.cursor()
        if since is None:
            found = _latest(terminal, client, run, lines, end, lets)
        else:
            found = (event for event in _since(client, run, since, end) if lets(event))
        for event in found:
            print_event(terminal, event, None)
        if follow:
            _follow(terminal, client, run, end, version, lets)


def _sieve(client: Client, sieve: Sieve, workflows: frozenset[str]) -> Callable[[Event], bool]:
    """Whether an event is wanted. The workflow of a run is not read for each event."""
    from vbl.errors import NotFound

    @functools.lru_cache(10_000)
    def workflow_of(run_id: str) -> str | None:
        try:
            return client.run(run_id).workflow
        except NotFound:  # retention has struck it since
            return None

    return lambda event: sieve.lets(event) and (not workflows or workflow_of(event.run_id) in workflows)


def _follow(
    terminal: Terminal, client: Client, run: Run | None, after: int, version: int, lets: Callable[[Event], bool]
) -> None:
    """Print what is recorded behind the cursor, as it comes. `version` was read before the cursor."""
    while True:
        over = run is not None and run.status.finished
        for event in _behind(client, run, after):
            after = event.id
            if lets(event):
                print_event(terminal, event, None)
        if over:
            return
        while (now := client.changed()) == version:
            time.sleep(POLL_S)
        version = now


def _behind(client: Client, run: Run | None, after: int, until: int | None = None) -> Iterator[Event]:
    """The events behind a cursor, to another one or to the last."""
    while page := client.events(after=after, run=run.id if run else None, limit=PAGE):
        for event in page:
            if until is not None and event.id > until:
                return
            yield event
        after = page[-1].id


def _since(client: Client, run: Run | None, since: int, end: int) -> Iterator[Event]:
    return (event for event in _behind(client, run, client.cursor(since), end) if event.at >= since)


def _latest(
    terminal: Terminal, client: Client, run: Run | None, count: int, end: int, lets: Callable[[Event], bool]
) -> list[Event]:
    """The last `count` events that are wanted, up to the cursor `end`."""
    found: deque[Event] = deque(maxlen=count)
    if run is not None:
        found.extend(event for event in run.events() if event.id <= end and lets(event))
        return list(found)
    upper, page = end, max(count, 1)
    while upper > 0 and len(found) < count and end - upper < FAR:
        lower = max(upper - page, 0)
        wanted = [event for event in _behind(client, None, lower, upper) if lets(event)]
        found.extendleft(reversed(wanted[-(count - len(found)) :]))
        upper, page = lower, PAGE
    if len(found) < count and upper > 0:
        terminal.note(f"looked at the last {FAR:,} events; further back: --since AGE", "dim")
    return list(found)
