"""`vbl graph`: what followed from what, in one run as it ran, or in the last runs of a workflow over each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vbl.cli.terminal import Terminal, run_argument, shared
from vbl.errors import NotFound, UsageError

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.handle import Run
    from vbl.history.graph import Graph, Node

FORMATS = ("text", "mermaid", "svg")
ENDINGS = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".txt": "text", "": "text"}
"""The format that the end of a file's name asks for."""


@click.command(short_help="Draw what followed from what, in a run or a workflow.")
@run_argument(called="RUN|WORKFLOW")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Text by default, or by the name of the file.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it there.")
@click.option(
    "--last",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    metavar="N",
    help="So many runs of a workflow.",
)
@shared
def command(terminal: Terminal, ref: str, form: str | None, output: Path | None, last: int) -> None:
    """Draw the graph of a run as it ran, or, by the name of a workflow, of its last runs laid over each other.

    The history tells it, not the code: an arrow says what had just ended when something was asked for. What never ran
    is not on it.

    \b
    Examples:
      vbl graph @last
      vbl graph triage --format mermaid
      vbl graph r_01h -o run.svg
    """
    with terminal.connect() as client:
        runs = _meant(client, ref, last)
        drawn = _graph(ref, runs)
    if terminal.as_json and output is None:
        terminal.document(_document(drawn, runs))
        return
    text = _text(terminal, drawn, form or _by_name(output), to_file=output is not None)
    if output is None:
        for line in text.splitlines():
            terminal.line(line)
    else:
        from vbl.cli.words import save

        save(terminal, output, text)
    if drawn.runs > 1:
        terminal.note(f"the last {drawn.runs} runs of {drawn.workflow} laid over each other, by name")


def _meant(client: Client, ref: str, last: int) -> list[Run]:
    """The run of that id, or the last runs of the workflow of that name."""
    found = client.runs(workflow=ref, limit=last)
    if found:
        return found
    try:
        return [client.run(ref)]
    except NotFound:
        if ref.startswith("@"):
            raise
        raise NotFound(
            f"{ref!r} is no run, and no workflow of that name has ever run in {client.path}",
            "A graph is drawn from runs. List them: vbl ls",
            code="run_not_found",
        ) from None


def _graph(ref: str, runs: list[Run]) -> Graph:
    from vbl.history.graph import graph, merged

    graphs = [graph(run.facts()) for run in runs]
    return graphs[0] if len(graphs) == 1 else merged(graphs)


def _by_name(output: Path | None) -> str:
    """The format that the name of a file asks for. Raises UsageError for one that nothing is drawn in."""
    named = output.suffix.lower() if output else ""
    if named not in ENDINGS:
        raise UsageError(
            f"a graph cannot be drawn as {named[1:]}",
            f"Name a file that ends with {', '.join(filter(None, ENDINGS))}, or add --format {'|'.join(FORMATS)}",
        )
    return ENDINGS[named]


def _text(terminal: Terminal, drawn: Graph, form: str, to_file: bool) -> str:
    from vbl.drawing.graph import mermaid, svg_file

    if form == "mermaid":
        return mermaid(drawn)
    if form == "svg":
        return svg_file(drawn)
    from vbl.cli.sketch import sketch

    lines = sketch(drawn, to_file or terminal.unicode, _plain if to_file else terminal.paint)
    return "\n".join(lines if drawn.nodes else [*lines, "nothing has begun yet"]) + "\n"


def _plain(text: str, style: str) -> str:
    return text


def _document(drawn: Graph, runs: list[Run]) -> dict[str, Any]:
    return {
        "workflow": drawn.workflow,
        "runs": [run.id for run in runs],
        "nodes": [_node_document(node) for node in drawn.nodes.values()],
        "edges": [{"from": source, "to": target, "times": times} for (source, target), times in drawn.edges.items()],
    }


def _node_document(node: Node) -> dict[str, Any]:
    from vbl.documents import milliseconds

    took = node.end_at - node.start_at if node.end_at is not None and node.count == 1 else None
    return {
        "key": node.key,
        "kind": node.kind,
        "name": node.name,
        "status": node.status,
        "count": node.count,
        "attempts": node.attempts,
        "duration_ms": None if took is None else milliseconds(took),
        "statuses": dict(node.tally) or {node.status: 1},
        "note": node.note,
        "subject": node.subject or None,
    }
