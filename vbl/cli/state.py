"""`vbl state`: what a history adds up to, now or at any point of it, and what changed between two points."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vbl.cli.terminal import Terminal, run_argument, shared

if TYPE_CHECKING:
    from vbl.handle import Run
    from vbl.history.differences import Change
    from vbl.history.state import RunState


class Points(NamedTuple):
    """One point of a history (`first`), or two. None is an end of it: the creation of the run, or now."""

    first: int | None
    last: int | None
    two: bool


if TYPE_CHECKING:
    _PointsParam = click.ParamType[Points]
else:
    _PointsParam = click.ParamType  # generic from click 8.4 on


class PointsType(_PointsParam):
    """`3`, or two points: `3..7`, `3..` up to now, `..7` from the creation of the run."""

    name = "points"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Points:
        """Read the points; what is none is a usage error."""
        match = re.fullmatch(r"(\d{1,18})?(\.\.)?(\d{1,18})?", str(value).strip())
        first, dots, last = match.groups() if match is not None else (None, None, None)
        numbers = [int(number) for number in (first, last) if number]
        if not numbers or (not dots and last) or 0 in numbers:
            self.fail(f"{value!r} names no point; write 3, or two points: 3..7, 3.. or ..7", param, ctx)
        return Points(int(first) if first else None, int(last) if last else None, bool(dots))


def point_options(function: Any) -> Any:
    """The options --at and --checkpoint."""
    for name, metavar, when in (("checkpoint", "N|A..B", "at this checkpoint"), ("at", "SEQ|A..B", "after this event")):
        told = f"The state as it was {when}; A..B: what changed between two."
        function = click.option(f"--{name}", type=PointsType(), metavar=metavar, help=told)(function)
    return function


@click.command(short_help="Print the accumulated state of a run.")
@run_argument()
@point_options
@shared
def command(terminal: Terminal, ref: str, at: Points | None, checkpoint: Points | None) -> None:
    """Print the accumulated state of a run: variables, outputs of its steps, what is pending.

    With two points: what was added to it, taken away and changed between them, long texts word by word. A.. is up to
    now, ..B from the creation of the run.

    \b
    Examples:
      vbl state @last
      vbl state @last --checkpoint 3 --json
      vbl state @last --checkpoint 1..2
    """
    print_state(terminal, ref, at, checkpoint)


def print_state(terminal: Terminal, ref: str, at: Points | None, checkpoint: Points | None) -> None:
    """Print the state of a run at an event, at a checkpoint, or at its latest event; or what changed between two."""
    if at is not None and checkpoint is not None:
        raise click.UsageError("--at and --checkpoint name two points; give one of them")
    points = at or checkpoint
    with terminal.connect() as client:
        run = client.run(ref)
        if points is not None and points.two:
            before = _state(run, points.first, at is not None) if points.first else run.state(at=1)
            after = _state(run, points.last, at is not None) if points.last else run.state()
        else:
            before = None
            after = _state(run, points.first, at is not None) if points and points.first else run.state()
    if before is not None:
        _print_between(terminal, before, after)
    elif terminal.as_json:
        from vbl.documents import state_document

        terminal.document(state_document(after))
    else:
        from vbl.cli.words import say_state

        say_state(terminal, after)


def _state(run: Run, point: int, at: bool) -> RunState:
    return run.state(at=point) if at else run.state(checkpoint=point)


def _print_between(terminal: Terminal, before: RunState, after: RunState) -> None:
    """What changed between two points, by the parts of the state."""
    from vbl.history.differences import between

    changes = between(before, after)
    if terminal.as_json:
        from vbl.cli.changes import change_document

        document = {"id": after.run_id, "workflow": after.workflow, "from": _point(before), "to": _point(after)}
        terminal.document(document | {"changes": [change_document(change) for change in changes]})
        return
    from vbl.history.narration import duration

    span = duration(abs(after.at - before.at))
    terminal.line(f"{terminal.paint(after.run_id, 'strong')}  {after.workflow}")
    for word, state in (("from", before), ("to", after)):
        later = f", {span} {'later' if after.at >= before.at else 'earlier'}" if state is after else ""
        name = terminal.paint(f"{word:<5}", "dim")
        where = f"event {state.seq}, checkpoint {state.checkpoint}"
        terminal.line(f"  {name} {where}  {terminal.status(state.status)}{later}")
    if not changes:
        terminal.line()
        terminal.line("  nothing changed")
    _say_parts(terminal, changes)


def _say_parts(terminal: Terminal, changes: list[Change]) -> None:
    from itertools import groupby

    from vbl.cli.changes import say_changes

    told = [change for change in changes if change.path != ("status",)]  # said above
    for part, group in groupby(told, key=lambda change: str(change.path[0])):
        terminal.line()
        terminal.line(terminal.paint(part.replace("_", " "), "strong"))
        say_changes(terminal, list(group), skip=1)


def _point(state: RunState) -> dict[str, Any]:
    from vbl.clock import instant

    return {
        "seq": state.seq,
        "checkpoint": state.checkpoint,
        "at": instant(state.at),
        "status": str(state.status),
    }
