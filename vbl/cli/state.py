"""`vbl state`: what a history adds up to, now or at any point of it."""

from __future__ import annotations

import click

from vbl.cli.terminal import Terminal, run_argument, shared


@click.command(short_help="Print the accumulated state of a run.")
@run_argument()
@click.option("--at", type=click.IntRange(min=1), metavar="SEQ", help="As it was after this event.")
@click.option("--checkpoint", type=click.IntRange(min=1), metavar="N", help="As it was at this checkpoint.")
@shared
def command(terminal: Terminal, ref: str, at: int | None, checkpoint: int | None) -> None:
    """Print the accumulated state of a run: variables, outputs of its steps, what is pending.

    \b
    Examples:
      vbl state @last
      vbl state @last --checkpoint 3 --json
    """
    print_state(terminal, ref, at, checkpoint)


def print_state(terminal: Terminal, ref: str, at: int | None, checkpoint: int | None) -> None:
    """Print the state of a run at an event, at a checkpoint, or at its latest event."""
    if at is not None and checkpoint is not None:
        raise click.UsageError("--at and --checkpoint name two points; give one of them")
    with terminal.connect() as client:
        state = client.run(ref).state(at=at, checkpoint=checkpoint)
    if terminal.as_json:
        from vbl.documents import state_document

        terminal.document(state_document(state))
        return
    from vbl.cli.words import say_state

    say_state(terminal, state)
