"""`vbl why`: the one thing that a run waits for."""

from __future__ import annotations

import click

from vbl.cli.terminal import Terminal, run_argument, shared
from vbl.cli.words import say_why


@click.command(short_help="Say what a run waits for.")
@run_argument()
@shared
def command(terminal: Terminal, ref: str) -> None:
    """Say what a run waits for, until when, and what to type.

    \b
    Example:
      vbl why @last
    """
    with terminal.connect() as client:
        run = client.run(ref)
        answer = run.why()
        if terminal.as_json:
            from vbl.documents import run_document, why_document

            terminal.document(run_document(run) | why_document(answer))
            return
        terminal.line(f"{terminal.paint(run.id, 'strong')}  {run.workflow}  {terminal.status(answer.status)}")
        say_why(terminal, answer)
