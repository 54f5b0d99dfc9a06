"""`vbl show`: a run at a glance: where it is and why, its timeline, and what went wrong on the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vbl.cli.state import Points, point_options, print_state
from vbl.cli.terminal import Terminal, fit, run_argument, shared
from vbl.clock import SYSTEM
from vbl.history.narration import duration, money, offset, preview

if TYPE_CHECKING:
    from vbl.drawing.sheet import RunSheet
    from vbl.handle import Run
    from vbl.history.timeline import Timeline

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
@click.option("--watch", "watched", is_flag=True, help="Redraw it in place until the run has ended.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the run's page as one file."
)
@shared
def command(
    terminal: Terminal,
    ref: str,
    at: Points | None,
    checkpoint: Points | None,
    whole: bool,
    depth: int,
    watched: bool,
    html: Path | None,
) -> None:
    """Show a run: where it is and why, its timeline, a bar for each attempt, and the tree of its children.

    With --at or --checkpoint: the accumulated state at that point instead. With --watch, q leaves the run to itself;
    the exit code is that of `vbl run`, and where nobody looks at a terminal the run is printed once, when it has ended
    or only a person can move it. With --html: its page, as it is now, as one file that opens anywhere and asks nobody.

    \b
    Examples:
      vbl show @last
      vbl show @last --watch
      vbl show r_01h --checkpoint 3
      vbl show @failed --html failed.html
    """
    of_state = at is not None or checkpoint is not None
    if of_state + watched + (html is not None) > 1:
        raise click.UsageError("--watch, --html and a point (--at, --checkpoint) each show another thing; give one")
    if of_state:
        print_state(terminal, ref, at, checkpoint)
        return
    with terminal.connect() as client:
        run = client.run(ref)
        if html is not None:
            _write_page(terminal, run, html)
        elif watched:
            from vbl.cli.watch import watch

            watch(terminal, client, run, lambda onto: print_run(onto, run, whole, depth))
        else:
            print_run(terminal, run, whole, depth)


def _write_page(terminal: Terminal, run: Run, html: Path) -> None:
    """Write the page of the run. Raises UsageError where the file cannot be written."""
    from vbl.cli.words import save
    from vbl.drawing.static import document

    save(terminal, html, document(run.sheet()))


def print_run(terminal: Terminal, run: Run, whole: bool, depth: int) -> None:
    """Print a run as it is now, as text or as one JSON document."""
    sheet = run.sheet()
    tree = list(run.descendants(depth, None if whole else CHILDREN))
    if terminal.as_json:
        terminal.document(_document(run, sheet, tree))
        return
    from vbl.cli.draw import draw

    _head(terminal, run, sheet)
    terminal.line()
    for line in draw(sheet.picture, terminal.width, terminal.unicode, terminal.paint, whole):
        terminal.line(line)
    _tree(terminal, run, tree, whole)
    _remarks(terminal, sheet.picture, run)


def _document(run: Run, sheet: RunSheet, tree: list[tuple[int, Run]]) -> dict[str, Any]:
    from vbl.documents import gate_documents, run_document, timeline_document, why_document

    state = sheet.state
    return {
        **run_document(run),
        "input": state.input,
        "output": state.output,
        "error": state.error,
        "usage": state.usage,
        "why": why_document(sheet.answer),
        "timeline": timeline_document(sheet.picture),
        "gates": gate_documents(state) if state.gates else [],
        "children": [run_document(child) | {"depth": level} for level, child in tree],
    }


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
        said = f"  {'  ' * level}{name}  {child.id}  {terminal.status(child.last_status)}  {took}"
        terminal.line(f"{said}  {money(child.usd)}".rstrip())
    if not whole and sum(level == 1 for level, _ in tree) == CHILDREN:
        terminal.line(terminal.paint(f"  the first {CHILDREN} of each; all: vbl show {run.id} --all", "dim"))


def _head(terminal: Terminal, run: Run, sheet: RunSheet) -> None:
    """Who it is, how it stands, what went in and what came out."""
    from vbl.cli.words import field, local, say_why
    from vbl.drawing.costs import spent

    state, parent = sheet.state, sheet.parent
    took = duration(sheet.picture.end_at - sheet.picture.start_at)
    terminal.line(
        f"{terminal.paint(fit(state.workflow, 40), 'strong')}  {run.id}  {terminal.status(state.status)}"
        f"  {'after' if state.finished else 'for'} {took}"
    )
    room = max(terminal.width - 14, 40)
    by = f" by {state.actor}" if state.actor else ""
    field(terminal, "created", f"{local(state.created_at)}{by}")
    if run.parent_id is not None:
        named = f"{parent.workflow} {parent.id}, {parent.status}" if parent is not None else run.parent_id
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
    if used := spent(state.usage).told:
        field(terminal, "used", used)
    if sheet.answer.waits_for != "nothing":
        say_why(terminal, sheet.answer)


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
