"""`vbl cancel`, `pause`, `unpause` and `retry`: what a person may do to a run. Durable with no supervisor alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from vbl.cli.terminal import Terminal, run_argument, shared
from vbl.cli.words import say_standing

if TYPE_CHECKING:
    from vbl.handle import Run


def _steer(
    name: str,
    summary: str,
    help_text: str,
    act: Callable[[Run, str | None, dict[str, Any]], object],
    question: str = "",
    *options: Callable[[Callable[..., None]], Callable[..., None]],
) -> click.Command:
    """A command that does one thing to a run, and says what the run waits for then."""

    @click.command(name, help=help_text, short_help=summary)
    @run_argument()
    @click.option("--reason", metavar="TEXT", help="Kept in the history.")
    @shared
    def command(terminal: Terminal, ref: str, reason: str | None, **more: Any) -> None:
        with terminal.connect() as client:
            run = client.run(ref)
            if question:
                terminal.confirm(question.format(run=f"{run.workflow} {run.id}"))
            act(run, reason, more)
            say_standing(terminal, run)

    for option in options:
        option(command)
    return command


cancel = _steer(
    "cancel",
    "Cancel a run.",
    """Cancel a run. Its code sees a CancelledError where it waits, and may clean up; this can't be taken back.

    A clean-up that takes longer than --within is broken off, and what it did not come to is named in the history.

    \b
    Examples:
      vbl cancel r_01h --reason "not needed any more"
      vbl cancel r_01h --within 60
    """,
    lambda run, reason, more: run.cancel(reason=reason, **more),
    "Cancel {run}?",
    click.option(
        "--within", metavar="SECONDS", type=float, help="How long it may clean up, while a supervisor is alive [300]."
    ),
)
pause = _steer(
    "pause",
    "Start no more steps of a run.",
    """Pause a run: steps in flight end and are recorded, no further one starts, timers wait.

    \b
    Example:
      vbl pause @last
    """,
    lambda run, reason, _: run.pause(reason=reason),
)
unpause = _steer(
    "unpause",
    "Let a paused run go on.",
    """Let a paused run go on from where it was.

    \b
    Example:
      vbl unpause @last
    """,
    lambda run, reason, _: run.unpause(reason=reason),
)
retry = _steer(
    "retry",
    "Open a failed run again, from its failed step.",
    """Open a failed run again: it goes on from the step that failed, and no completed step runs again. A blocked run
    is tried again; a run that backs off stops waiting.

    \b
    Example:
      vbl retry @failed
    """,
    lambda run, reason, _: run.retry(reason=reason),
)
