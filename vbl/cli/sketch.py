"""A graph in characters: a line a node, and beside it the lines that lead on, as in the log of a version control.

Draws `history.graph.Graph`, and decides nothing about it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vbl.drawing.graph import label, shown, title
from vbl.history.graph import Graph, Node
from vbl.history.narration import printable
from vbl.history.signs import SIGNS, UNKNOWN

Paint = Callable[[str, str], str]

STROKES: dict[str, str] = {
    "│": "|", "─": "-", "├": "|", "┤": "|", "┬": "+", "┴": "+", "┐": ".", "┘": "'", "┌": ".", "└": "'", "┼": "+",
}  # fmt: skip
"""The strokes that are used, and what stands for them in ASCII."""


@dataclass(slots=True)
class Rails:
    """What leads on beside the present line: each column holds the key of the node that it leads to, or None."""

    leads: list[str | None] = field(default_factory=list["str | None"])

    def take(self, key: str) -> tuple[int, list[int]]:
        """The column in which the node stands, and all columns that end in it."""
        ending = [number for number, target in enumerate(self.leads) if target == key]
        if ending:
            return ending[0], ending
        column = self.free(0)
        return column, [column]

    def free(self, after: int, apart_from: Sequence[int] = ()) -> int:
        """The first column from `after` on that leads nowhere; a new one, where there is none."""
        for number in range(after, len(self.leads)):
            if self.leads[number] is None and number not in apart_from:
                return number
        self.leads.append(None)
        return len(self.leads) - 1

    def line(self, at: int | None = None, sign: str = "") -> str:
        """The strokes beside a line, with a sign in one column."""
        return " ".join(
            sign if number == at else " " if target is None else "│" for number, target in enumerate(self.leads)
        )

    def across(self, columns: Sequence[int], joins: bool) -> str:
        """The line on which columns come together, or part; all others lead on through it."""
        first, last = min(columns), max(columns)
        cells: list[str] = []
        for number, target in enumerate(self.leads):
            leads = target is not None
            if number in columns:
                cells.append(
                    "├" if number == first else ("┘" if joins else "┐") if number == last else "┴" if joins else "┬"
                )
            else:
                cells.append(("┼" if leads else "─") if first < number < last else "│" if leads else " ")
            cells.append("─" if first <= number < last else " ")
        return "".join(cells).rstrip()


def sketch(graph: Graph, unicode: bool, paint: Paint) -> list[str]:
    """The lines of the graph, from the workflow itself on."""
    graph = shown(graph)
    order = {key: number for number, key in enumerate(graph.nodes)}
    rails = Rails([None])
    lines = [paint("○" if unicode else "o", "dim") + f"  {paint(printable(graph.workflow), 'strong')}"]
    lines += _fork(rails, 0, [key for key in graph.nodes if not _from_above(graph, order, key)], unicode, paint)
    for key, node in graph.nodes.items():
        column, ending = rails.take(key)
        if len(ending) > 1:
            lines.append(_strokes(rails.across(ending, joins=True), unicode, paint))
        for number in ending:
            rails.leads[number] = None
        ahead = [target for source, target in graph.edges if source == key and order[target] > order[key]]
        back = [target for source, target in graph.edges if source == key and order[target] <= order[key]]
        lines.append(_node(graph, node, rails, column, back, unicode, paint))
        lines += _fork(rails, column, ahead, unicode, paint)
    return lines


def _from_above(graph: Graph, order: dict[str, int], key: str) -> bool:
    """Whether the node follows from one that stands above it."""
    return any(order[source] < order[key] for source in graph.before(key))


def _fork(rails: Rails, column: int, ahead: list[str], unicode: bool, paint: Paint) -> list[str]:
    """Lead on from a column to what follows; the line on which it parts, where it does."""
    rails.leads[column] = ahead[0] if ahead else None
    places = [column]
    for target in ahead[1:]:
        places.append(rails.free(column + 1))
        rails.leads[places[-1]] = target
    lines = [_strokes(rails.across(places, joins=False), unicode, paint)] if len(places) > 1 else []
    while rails.leads and rails.leads[-1] is None:
        rails.leads.pop()
    return lines


def _node(graph: Graph, node: Node, rails: Rails, column: int, back: list[str], unicode: bool, paint: Paint) -> str:
    """The line of a node: its sign among the strokes, its name, and what is said of it."""
    sign, plain, style = SIGNS.get(node.status, UNKNOWN)
    before, _, behind = rails.line(column, "\0").partition("\0")
    marked = _strokes(before, unicode, paint) + paint(sign if unicode else plain, style)
    marked += _strokes(behind.rstrip(), unicode, paint) if behind.strip() else ""
    told = label(node, graph.runs) + _again(graph, node, back)
    quiet = "dim" if style in ("good", "dim") else style
    return f"{marked}  {_plain(title(node), unicode)}  {paint(_plain(told, unicode), quiet)}"


def _again(graph: Graph, node: Node, back: list[str]) -> str:
    """What is said of a node that others further up, or itself, follow from again."""
    names = ["itself" if graph.nodes[key] is node else graph.nodes[key].call for key in back]
    return f"  ↺ {', '.join(names)}" if names else ""


def _plain(text: str, unicode: bool) -> str:
    return text if unicode else text.replace("×", "x").replace("…", "~").replace("↺", "again:")


def _strokes(text: str, unicode: bool, paint: Paint) -> str:
    if not text.strip():
        return text
    return paint(text if unicode else "".join(STROKES.get(c, c) for c in text), "dim")
