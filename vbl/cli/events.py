"""`vbl events`: the history of a run, and how an event looks on a line. `vbl tail` prints the same lines."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from vbl.cli.terminal import Terminal, fit, run_argument, shared
from vbl.cli.words import clock
from vbl.history.narration import narrate, offset
from vbl.history.tones import tone_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from vbl.history.facts import Event
    from vbl.history.sieve import Sieve

SENTENCE = 40
"""Where the sentence of an event would have fewer columns, its type is left out."""
_BEGINNINGS = ("RUN_CREATED", "RUN_STARTED")


def sieve_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options --type, --step and --failed, as the one parameter `sieve`."""

    @click.option(
        "--type",
        "types",
        multiple=True,
        metavar="TYPE",
        shell_complete=_types_beginning,
        help="Only events of this type; repeat for more.",
    )
    @click.option("--step", "steps", multiple=True, metavar="STEP", help="Only of this step, by key or name; repeat.")
    @click.option("--failed", is_flag=True, help="Only events of what went wrong.")
    @functools.wraps(function)
    def with_sieve(*args: Any, types: tuple[str, ...], steps: tuple[str, ...], failed: bool, **given: Any) -> None:
        from vbl.history.sieve import Sieve

        wanted = frozenset(_event_type(name) for name in types)
        function(*args, sieve=Sieve(wanted, frozenset(steps), failed), **given)

    return with_sieve


def _event_type(name: str) -> str:
    from vbl.history.facts import EventType

    asked = name.upper()
    if asked not in EventType.__members__:
        near = [type for type in EventType if asked in type]
        told = f"there are {', '.join(near)} with that in it" if near else f"they are {', '.join(EventType)}"
        raise click.BadParameter(f"{name!r} is no type of event; {told}", param_hint="--type")
    return asked


def _types_beginning(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the type of an event."""
    from vbl.history.facts import EventType

    return [str(type) for type in EventType if type.startswith(incomplete.upper())]


@click.command(short_help="Print the history of a run.")
@run_argument()
@sieve_options
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Only events behind this number.")
@shared
def events(terminal: Terminal, ref: str, sieve: Sieve, after: int) -> None:
    """Print the history of a run: every event, in order.

    \b
    Examples:
      vbl events @last
      vbl events r_01h --type STEP_FAILED --json
      vbl events r_01h --step draft --failed
    """
    with terminal.connect() as client:
        run = client.run(ref)
        for event in run.events():
            if event.seq > after and sieve.lets(event):
                print_event(terminal, event, run.created_at)


def print_event(terminal: Terminal, event: Event, since: int | None) -> None:
    """An event on a line: with the time since the run's creation within one run, else with the run and the clock."""
    if terminal.as_json:
        from vbl.documents import event_document

        terminal.emit(event_document(event))
        return
    style = "strong" if event.type in _BEGINNINGS else tone_of(event)
    if since is None:
        head = f"{clock(event.at)}  {event.run_id}  {event.seq:>4}"
    else:
        head = f"{event.seq:>4}  {offset(event.at - since):>12}"
    told = f"{event.type:<18}  "
    if terminal.room(len(head) + len(told) + 2, SENTENCE - 1) < SENTENCE:  # the sentence says what the type says
        room = terminal.room(len(head) + 2, 20)
        terminal.line(f"{terminal.paint(head, 'dim')}  {terminal.paint(fit(narrate(event), room), style)}")
        return
    room = terminal.room(len(head) + len(told) + 2)
    terminal.line(f"{terminal.paint(head, 'dim')}  {terminal.paint(told, style)}{fit(narrate(event), room)}")
