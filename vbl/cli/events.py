"""`vbl events` and `vbl tail`: the history as it stands, and as it grows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from vbl.cli.terminal import Terminal, fit, run_argument, shared
from vbl.history.narration import narrate, offset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vbl.client import Client
    from vbl.history.facts import Event

POLL_S = 0.1
PAGE = 1_000

_STYLES = {
    "RUN_CREATED": "strong",
    "RUN_STARTED": "strong",
    "RUN_RESUMED": "warn",
    "RUN_COMPLETED": "good",
    "RUN_FAILED": "bad",
    "RUN_BLOCKED": "bad",
    "RUN_CANCELLED": "warn",
    "CANCEL_REQUESTED": "warn",
    "STEP_COMPLETED": "good",
    "STEP_FAILED": "bad",
    "STEP_INTERRUPTED": "warn",
    "RETRY_SCHEDULED": "warn",
    "CHECKPOINT_WRITTEN": "dim",
    "APPROVAL_REQUESTED": "warn",
    "APPROVAL_GRANTED": "good",
    "APPROVAL_DENIED": "bad",
    "APPROVAL_EXPIRED": "warn",
    "APPROVAL_ESCALATED": "warn",
    "DECISION_REFUSED": "warn",
    "SIGNAL_RECEIVED": "good",
    "WAIT_EXPIRED": "warn",
    "CHILD_FINISHED": "good",
}


@click.command(short_help="Print the history of a run.")
@run_argument()
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of this type; repeat it for more.")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Only events behind this number.")
@shared
def events(terminal: Terminal, ref: str, types: tuple[str, ...], after: int) -> None:
    """Print the history of a run: every event, in order.

    \b
    Examples:
      vbl events @last
      vbl events r_01h --type STEP_FAILED --json
    """
    wanted = {_event_type(name) for name in types}
    with terminal.connect() as client:
        run = client.run(ref)
        for event in run.events():
            if event.seq > after and (not wanted or event.type in wanted):
                _print(terminal, event, run.created_at)


def _event_type(name: str) -> str:
    from vbl.history.facts import EventType

    if name.upper() not in EventType.__members__:
        raise click.BadParameter(f"{name!r} is no type of event; they are {', '.join(EventType)}", param_hint="--type")
    return name.upper()


@click.command(short_help="Print the latest events, and those to come.")
@run_argument(required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as more is recorded; with RUN, until it has finished.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help="Begin so many events ago."
)
@shared
def tail(terminal: Terminal, ref: str | None, follow: bool, lines: int) -> None:
    """Print the latest events of a run, or of the whole file, and with -f those to come.

    \b
    Examples:
      vbl tail -f
      vbl tail @last -f --json
    """
    with terminal.connect() as client:
        run = client.run(ref) if ref else None
        after = client.cursor()
        latest = run.events()[-lines:] if run else _paged(client, max(after - lines, 0), after)
        for event in latest if lines else ():
            _print(terminal, event, None)
            after = max(after, event.id)
        while follow:
            over = run is not None and run.status.finished
            for event in client.events(after=after, run=run.id if run else None, limit=PAGE):
                _print(terminal, event, None)
                after = event.id
            if over:
                return
            time.sleep(POLL_S)


def _paged(client: Client, after: int, until: int) -> Iterator[Event]:
    """The events of the file between two cursors."""
    while after < until and (page := client.events(after=after, limit=PAGE)):
        yield from page
        after = page[-1].id


def _print(terminal: Terminal, event: Event, since: int | None) -> None:
    """An event on a line: with the time since the run's creation within one run, else with the run and the clock."""
    if terminal.as_json:
        from vbl.documents import event_document

        terminal.emit(event_document(event))
        return
    style = _STYLES.get(event.type, "")
    if since is None:
        clock = time.strftime("%H:%M:%S", time.localtime(event.at / 1_000_000))
        head = f"{clock}  {event.run_id}  {event.seq:>4}"
    else:
        head = f"{event.seq:>4}  {offset(event.at - since):>12}"
    room = terminal.room(len(head) + 24)
    terminal.line(
        f"{terminal.paint(head, 'dim')}  {terminal.paint(f'{event.type:<18}', style)}  {fit(narrate(event), room)}"
    )
