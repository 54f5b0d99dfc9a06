"""`vbl resolve`: settle a write whose outcome nobody knows."""

from __future__ import annotations

from typing import Any

import click

from vbl.cli.given import value
from vbl.cli.terminal import Terminal, run_argument, shared
from vbl.cli.words import say_standing
from vbl.errors import UsageError


@click.command(short_help="Settle a step whose outcome nobody knows.")
@run_argument()
@click.option("--happened", metavar="JSON", help="It happened, and this is its result.")
@click.option("--did-not", is_flag=True, help="It did not happen: run it again.")
@click.option("--fail", is_flag=True, help="Let the code see a failure.")
@click.option("--as", "person", metavar="NAME", help="Who says so; else $VBL_ACTOR, else you.")
@click.option("--reason", metavar="TEXT", help="Kept in the history.")
@shared
def command(
    terminal: Terminal,
    ref: str,
    happened: str | None,
    did_not: bool,
    fail: bool,
    person: str | None,
    reason: str | None,
) -> None:
    """Settle a step whose outcome nobody knows: its process died while it wrote to the world. Durable with no
    supervisor alive; the run goes on from there.

    \b
    Examples:
      vbl resolve r_01h --happened '{"id": "ch_7"}' --reason "it is in the bank's list"
      vbl resolve r_01h --did-not
    """
    if (happened is not None) + did_not + fail != 1:
        raise UsageError("say one thing of the three", "--happened JSON, --did-not or --fail")
    said: dict[str, Any] = {"did_not": did_not, "fail": fail}
    if happened is not None:
        said = {"happened": value(happened, "--happened")}
    with terminal.connect() as client:
        run = client.run(ref)
        run.resolve(by=person, reason=reason, **said)
        say_standing(terminal, run)
