"""`vbl schedules`: list schedules; add, pause, unpause, run and remove one. Durable with no supervisor alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import click

from vbl.cli.options import common
from vbl.cli.prints import prints_beside
from vbl.cli.terminal import Terminal, fit, shared, target_argument
from vbl.clock import SYSTEM
from vbl.errors import VblError

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.schedules import Schedule

OVERLAPS = ("skip", "queue", "replace")
MISSED = ("skip", "once", "all")


@click.group("schedules", invoke_without_command=True, short_help="List schedules, and steer them.")
@common
@click.pass_context
def schedules(context: click.Context, **given: Any) -> None:
    """List the schedules of the file: what they start, when they do so next, and what they did last.

    \b
    Examples:
      vbl schedules
      vbl schedules add digest.py:digest "0 9 * * 1-5" --tz Europe/Berlin
      vbl schedules pause digest
    """
    above = cast("dict[str, Any]", context.find_object(dict) or {})
    context.obj = {name: value or above.get(name) for name, value in given.items()}
    if context.invoked_subcommand is None:
        _list(Terminal(**context.obj))


def _list(terminal: Terminal) -> None:
    with terminal.connect() as client:
        found = client.schedules()
        if terminal.as_json:
            from vbl.documents import schedule_document

            for schedule in found:
                terminal.emit(schedule_document(schedule))
            return
        if not found:
            terminal.note('no schedules yet; add one: vbl schedules add FILE.py:workflow "0 9 * * 1-5"')
            return
        _table(terminal, found)
        _warn(terminal, client, found)


def _warn(terminal: Terminal, client: Client, found: list[Schedule]) -> None:
    """Say what nobody will move."""
    info = client.supervisor()
    if info is None:
        terminal.note("no supervisor is alive; what comes due meanwhile is missed: vbl up FILE.py", "warn")
        return
    for schedule in found:
        if schedule.workflow not in info.workflows:
            terminal.note(
                f"the supervisor does not have {schedule.workflow}, which {schedule.name} starts: vbl up FILE.py",
                "warn",
            )


def _table(terminal: Terminal, found: list[Schedule]) -> None:
    now = SYSTEM.now()
    rows = [
        [
            fit(one.name, 32),
            fit(one.workflow, 24) if one.workflow != one.name else "",
            one.cron,
            one.tz,
            terminal.status(one.status) if one.status not in (None, "waiting", "running") else "",
            _next(one, now),
            _last(one, now),
        ]
        for one in found
    ]
    heads = ["schedule", "workflow", "cron", "zone", "status", "next", "last"]
    terminal.table(heads, rows, spared=(6, 3, 1, 2, 5, 4))


def _next(schedule: Schedule, now: int) -> str:
    if schedule.next_at is None:
        return ""
    from vbl.history.narration import duration

    away = f"in {duration(schedule.next_at - now)}" if schedule.next_at > now else "now"
    return f"{_local(schedule.next_at, schedule.tz)}, {away}"


def _local(at: int, tz: str) -> str:
    """An instant on the clock of a time zone, to the minute, or to the second where that matters."""
    from vbl.history.planning import wall

    text = wall(at, tz).strftime("%a %Y-%m-%d %H:%M:%S")
    return text.removesuffix(":00") if at % 60_000_000 == 0 else text


def _last(schedule: Schedule, now: int) -> str:
    from vbl.history.narration import duration

    told: list[tuple[int, str]] = []
    if (fired := schedule.last_fire) is not None:
        told.append((fired.at, f"started {fired.run}"))
    if (skipped := schedule.last_skip) is not None:
        times = f"{skipped.count} times, " if skipped.count > 1 else ""
        told.append((skipped.at, f"skipped, {times}{skipped.reason}"))
    if not told:
        return ""
    at, text = max(told)
    return f"{text}, {duration(now - at)} ago"


def _say(terminal: Terminal, schedule: Schedule) -> None:
    if terminal.as_json:
        from vbl.documents import schedule_document

        terminal.document(schedule_document(schedule))
    else:
        _table(terminal, [schedule])


# Steering ----------------------------------------------------------------------------------------------------------


@schedules.command("add", short_help="Add a schedule, or change it.")
@target_argument()
@click.argument("cron", metavar="CRON")
@click.option("--tz", metavar="ZONE", default="UTC", show_default=True, help="The time zone of the line.")
@click.option("--input", "given", metavar="JSON|@FILE|-", help="An object is keyword arguments, all else one argument.")
@click.option("--name", help="Its name; else the workflow's.")
@click.option("--overlap", type=click.Choice(OVERLAPS), default="skip", help="Where the run before still runs.")
@click.option("--missed", type=click.Choice(MISSED), default="skip", help="What came due while nothing moved.")
@click.option("--grace", type=float, default=60.0, show_default=True, help="Seconds late that still count as on time.")
@click.option("--priority", type=int, default=0, help="Of the runs that it starts.")
@click.option("--tag", "tags", multiple=True, help="A tag of the runs that it starts; repeat it for more.")
@shared
def add(terminal: Terminal, target: str, cron: str, given: str | None, **options: Any) -> None:
    """Add a schedule, or change the one of that name. A supervisor that has the workflow starts its runs: vbl up.

    \b
    Example:
      vbl schedules add digest.py:digest "0 9 * * 1-5" --tz Europe/Berlin --missed once
    """
    from vbl.cli.given import value
    from vbl.cli.run import workflow_of
    from vbl.schedules import specify

    with prints_beside(terminal):
        workflow = workflow_of(target)
        args, kwargs = workflow.signature.spread(workflow.signature.accept(value(given)))
        spec = specify(workflow, cron, args, kwargs, **options)
    with terminal.connect(create=True) as client:
        schedule = client.scheduling.declare(spec)
        _say(terminal, schedule)
        if not terminal.as_json:
            _warn(terminal, client, [schedule])


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Complete the name of a schedule; a file that can't be read completes to nothing."""
    from click.shell_completion import CompletionItem

    try:
        with Terminal(ctx.params.get("db")).connect() as client:
            found = client.schedules()
    except VblError:
        return []
    return [CompletionItem(one.name, help=one.cron) for one in found if one.name.startswith(incomplete)]


def _steer(name: str, summary: str, help_text: str, act: Callable[[Schedule], object], question: str = "") -> None:
    """A command that does one thing to a schedule, and shows it."""

    @schedules.command(name, help=help_text, short_help=summary)
    @click.argument("named", metavar="NAME", shell_complete=_names)
    @shared
    def command(terminal: Terminal, named: str) -> None:
        with terminal.connect() as client:
            schedule = client.one_schedule(named)
            if question:
                terminal.confirm(question.format(name=schedule.name))
            act(schedule)
            _say(terminal, schedule)

    assert isinstance(command, click.Command)


_steer(
    "pause",
    "Start nothing until it is unpaused.",
    """Pause a schedule: it starts nothing more; runs that it started go on.

    \b
    Example:
      vbl schedules pause digest
    """,
    lambda schedule: schedule.pause(),
)
_steer(
    "unpause",
    "Let a paused schedule go on.",
    """Let a paused schedule go on. What came due meanwhile was missed: its rule for that says what happens.

    \b
    Example:
      vbl schedules unpause digest
    """,
    lambda schedule: schedule.unpause(),
)
_steer(
    "run",
    "Start a run now, beside the plan.",
    """Start a run now, beside the plan, under the schedule's own rule for overlaps.

    \b
    Example:
      vbl schedules run digest
    """,
    lambda schedule: schedule.run_now(),
)
_steer(
    "remove",
    "Remove a schedule.",
    """Remove a schedule; runs that it started go on. Code that declares it brings it back: pause it instead.

    \b
    Example:
      vbl schedules remove digest --yes
    """,
    lambda schedule: schedule.remove(),
    "Remove schedule {name}?",
)
