"""`vbl show`: a run at a glance: where it is and why, its timeline, and what went wrong on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vbl.cli.state import Points, point_options, print_state
from vbl.cli.terminal import Terminal, fit, run_argument, shared
from vbl.clock import SYSTEM
from vbl.history.narration import duration, offset, preview

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.handle import Run
    from vbl.history.state import RunState
    from vbl.history.timeline import Timeline
    from vbl.history.why import Why

CHILDREN = 20
"""So many children of one run are listed."""
REMARKS = 12
"""So many remarks below the picture; the history has the rest."""


@click.command(short_help="Show a run: its state, and its timeline.")
@run_argument()
@point_options
@click.option("--all", "whole", is_flag=True, help="A row for every step, however many.")
@click.option(
    "--depth", type=click.IntRange(min=0), default=3, show_default=True, metavar="N", help="So many levels of children."
)
@shared
def command(
    terminal: Terminal, ref: str, at: Points | None, checkpoint: Points | None, whole: bool, depth: int
) -> None:
    """Show a run: where it is and why, its timeline, a bar for each attempt, and the tree of its children.

    With --at or --checkpoint: the accumulated state at that point instead.

    \b
    Examples:
      vbl show @last
      vbl show r_01h --checkpoint 3
    """
    if at is not None or checkpoint is not None:
        print_state(terminal, ref, at, checkpoint)
        return
    from vbl.history.state import fold
    from vbl.history.timeline import timeline

    with terminal.connect() as client:
        run = client.run(ref)
        facts = run.facts()
        answer = run.why()
        supervised = client.supervisor() is not None
        parent = client.run(run.parent_id) if run.parent_id and _is_there(client, run.parent_id) else None
        tree = list(run.descendants(depth, None if whole else CHILDREN))
    state = fold(facts)
    picture = timeline(facts, SYSTEM.now(), supervised=supervised)
    if terminal.as_json:
        from vbl.documents import gate_documents, run_document, timeline_document, why_document

        run_part = run_document(run) | {"input": state.input, "output": state.output, "error": state.error}
        asked = gate_documents(state) if state.gates else []
        rest = {"gates": asked, "children": [run_document(child) | {"depth": level} for level, child in tree]}
        terminal.document(run_part | {"why": why_document(answer), "timeline": timeline_document(picture)} | rest)
        return
    _head(terminal, run, state, answer, picture, parent)
    from vbl.cli.draw import draw

    terminal.line()
    for line in draw(picture, terminal.width, terminal.unicode, terminal.paint, whole):
        terminal.line(line)
    _tree(terminal, run, tree, whole)
    _remarks(terminal, picture, run)


def _is_there(client: Client, id: str) -> bool:
    """Whether the run is still in the file: retention may have struck a parent that has ended."""
    from vbl.errors import NotFound

    try:
        client.run(id)
    except NotFound:
        return False
    return True


def _tree(terminal: Terminal, run: Run, tree: list[tuple[int, Run]], whole: bool) -> None:
    """The children, indented below their parents, each with its status."""
    if not tree:
        return
    now = SYSTEM.now()
    terminal.line()
    terminal.line(f"  {terminal.paint('children', 'strong')}")
    for level, child in tree:
        took = duration((now if child.finished_at is None else child.finished_at) - child.created_at)
        name = fit(child.workflow, 32)
        terminal.line(f"  {'  ' * level}{name}  {child.id}  {terminal.status(child.last_status)}  {took}")
    if not whole and sum(level == 1 for level, _ in tree) == CHILDREN:
        terminal.line(terminal.paint(f"  the first {CHILDREN} of each; all: vbl show {run.id} --all", "dim"))


def _head(terminal: Terminal, run: Run, state: RunState, answer: Why, picture: Timeline, parent: Run | None) -> None:
    """Who it is, how it stands, what went in and what came out."""
    from vbl.cli.words import field, local, say_why

    took = duration(picture.end_at - picture.start_at)
    terminal.line(
        f"{terminal.paint(fit(state.workflow, 40), 'strong')}  {run.id}  {terminal.status(state.status)}"
        f"  {'after' if state.finished else 'for'} {took}"
    )
    room = max(terminal.width - 14, 40)
    by = f" by {state.actor}" if state.actor else ""
    field(terminal, "created", f"{local(state.created_at)}{by}")
    if run.parent_id is not None:
        named = f"{parent.workflow} {parent.id}, {parent.last_status}" if parent is not None else run.parent_id
        field(terminal, "child of", fit(named, room))
    if state.key or state.tags:
        field(
            terminal, "key, tags", fit("  ".join([state.key or "", *(f"#{tag}" for tag in state.tags)]).strip(), room)
        )
    if state.input not in (None, {}, []):
        field(terminal, "input", preview(state.input, room))
    if state.output is not None:
        field(terminal, "output", preview(state.output, room))
    steps = [step for step in state.steps.values() if not step.void]
    if steps:
        done = sum(step.status == "completed" for step in steps)
        again = sum(step.attempt - 1 for step in steps)
        repeated = f", {again} more attempt{'s' if again > 1 else ''}" if again else ""
        field(terminal, "steps", f"{done} of {len(steps)} completed{repeated}, checkpoint {state.checkpoint}")
    if answer.waits_for != "nothing":
        say_why(terminal, answer)


def _remarks(terminal: Terminal, picture: Timeline, run: Run) -> None:
    """What is worth a sentence, with the time since the beginning."""
    from vbl.history.remarks import remarks

    told = remarks(picture)
    if told:
        terminal.line()
    for remark in told[-REMARKS:]:
        text = fit(remark.text, max(terminal.width - 18, 40))
        clock = f"{offset(remark.at - picture.start_at):>12}"
        terminal.line(f"  {terminal.paint(clock, 'dim')}  {terminal.paint(text, 'bad' if remark.grave else '')}")
    if len(told) > REMARKS:
        terminal.line(terminal.paint(f"  {len(told) - REMARKS} earlier remarks: vbl events {run.id}", "dim"))
