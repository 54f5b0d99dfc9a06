"""The graph of a run, or of several over each other, as SVG, as Mermaid, and as it is named: from `history.graph`.

Boxes in layers from top to bottom; the outline tells the kind (a step, a gate, a wait, a child), sign, word and colour
the status. A graph with very many nodes is drawn by name. Pure.
"""

from __future__ import annotations

from vbl.drawing.layers import Layout, Route, lay_out
from vbl.drawing.markup import Markup, tag, trusted
from vbl.drawing.places import run_at
from vbl.drawing.status import sign, style_of, word
from vbl.history.graph import Graph, Node, by_name
from vbl.history.narration import printable

MOST = 60
"""Beyond so many nodes those of one name are drawn as one."""
NAME, TOLD = 28, 42
"""So many characters of a name and of what is said below it are shown."""
HEIGHT, STEP = 44, 84
MARGIN = 14
BEND, APART = 22, 7
"""So far out an edge bends that leads back up, and so far two of them keep from each other."""
_KINDS = {"step": "", "gate": "asks ", "signal": "waits for ", "timer": "", "child": "child "}


def shown(graph: Graph) -> Graph:
    """The graph as it is drawn: by name where it has too many nodes."""
    return by_name(graph) if len(graph.nodes) > MOST else graph


def title(node: Node) -> str:
    """What a node is called, with how many are in it."""
    times = f" ×{node.count}" if node.count > 1 else ""
    return _short(_KINDS.get(node.kind, "") + printable(node.call), NAME) + times


def label(node: Node, runs: int = 1) -> str:
    """What is said below it: how long it took, and its status, where that is not simply completed."""
    status = "" if node.status == "completed" and node.told else word(node.status)
    said = [status, node.told] if runs == 1 else [f"in {node.runs} of {runs} runs", node.told]
    return _short(", ".join(part for part in said if part), TOLD)


def graph_svg(graph: Graph, *, links: bool = True, root: str = "", style: Markup | None = None) -> Markup:
    """Draw it. With `links` a node leads to the event by which it was asked for (`#e42`), a child to its run below
    `root`. The page has the style sheet; `style` is what stands in for it elsewhere."""
    graph = shown(graph)
    if not graph.nodes:
        return tag("p", "nothing has begun yet", class_="empty")
    widths = {key: _width(node, graph.runs) for key, node in graph.nodes.items()}
    order = {key: number for number, key in enumerate(graph.nodes)}
    back = any(order[source] >= order[target] for source, target in graph.edges)
    layout = lay_out(widths, graph.edges, gap=48 if back else 22)
    loops = sorted((route for route in layout.routes if route.back), key=lambda route: _climb(route, layout))
    wide = round(layout.width + 2 * MARGIN + (BEND + APART * len(loops) if loops else 0))
    high = layout.depth * STEP - (STEP - HEIGHT) + 2 * MARGIN
    edges = [_line(route, graph.edges[route.source, route.target]) for route in layout.routes if not route.back]
    edges += [_loop(route, layout, widths, APART * number) for number, route in enumerate(loops)]
    boxes = [_box(node, layout.place[key], widths[key], graph.runs, links, root) for key, node in graph.nodes.items()]
    return tag(
        "svg",
        style,
        _arrow(),
        tag("g", edges, class_="edges"),
        tag("g", boxes, class_="nodes"),
        class_="graph",
        xmlns="http://www.w3.org/2000/svg",
        width=wide,
        height=high,
        viewBox=f"0 0 {wide} {high}",
        role="group",
        aria_label=f"Graph of {printable(graph.workflow)}: {len(graph.nodes)} nodes",
    )


def svg_file(graph: Graph) -> str:
    """The SVG as a document of its own, which leads nowhere: plain rules that every viewer knows."""
    style = tag("style", trusted("".join(_FILE_STYLE)))
    drawn = graph_svg(graph, links=False, style=style)
    empty = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
    return (drawn if shown(graph).nodes else empty) + "\n"


_TONES = {"good": "#1a7340", "bad": "#b3261e", "warn": "#8a5a00", "live": "#0b6b80", "dim": "#6b7480"}
_FILE_STYLE = (
    "svg{font-family:system-ui,sans-serif;background:#fff}text{text-anchor:middle;fill:#1b2028}",
    ".name{font-family:ui-monospace,monospace;font-size:12px}.told{font-size:11px;fill:#565f6d}",
    ".node rect,.node>path{fill:#fbfbf9;stroke-width:1.5}.edge{fill:none;stroke:#8a93a0;stroke-width:1.25}",
    "marker path{fill:#8a93a0}.back{stroke-dasharray:4 3}",
    *(f".{tone} rect,.{tone}>path{{stroke:{colour}}}.{tone} .sign{{fill:{colour}}}" for tone, colour in _TONES.items()),
    ".warn rect,.warn>path{stroke-dasharray:6 3}.dim rect,.dim>path{stroke-dasharray:3 3}",
)


def mermaid(graph: Graph) -> str:
    """The same for Mermaid: a flowchart (https://mermaid.js.org/syntax/flowchart.html)."""
    graph = shown(graph)
    ids = {key: f"n{number}" for number, key in enumerate(graph.nodes, 1)}
    shapes = {"gate": ("{{", "}}"), "signal": ("([", "])"), "timer": ("([", "])"), "child": ("[[", "]]")}
    lines = ["flowchart TD"]
    for key, node in graph.nodes.items():
        left, right = shapes.get(node.kind, ("[", "]"))
        text = f"{_quoted(title(node))}<br/>{_quoted(label(node, graph.runs))}"
        lines.append(f'  {ids[key]}{left}"{text}"{right}:::{style_of(node.status)}')
    for (source, target), times in graph.edges.items():
        often = f"|{times}|" if graph.runs > 1 else ""
        lines.append(f"  {ids[source]} -->{often} {ids[target]}")
    for style, colours in _MERMAID.items():
        lines.append(f"  classDef {style} {colours}")
    return "\n".join(lines) + "\n"


_MERMAID = {
    "good": "stroke:#1a7340",
    "bad": "stroke:#b3261e,stroke-width:2px",
    "warn": "stroke:#8a5a00,stroke-dasharray:5 3",
    "live": "stroke:#0b6b80,stroke-width:2px",
    "dim": "stroke:#8a93a0,stroke-dasharray:2 3",
}


def _quoted(text: str) -> str:
    """As text within quotes: Mermaid knows entities by `#`, and takes some markup for its own."""
    return "".join(c if c.isalnum() or c in " _-.,:×()/" else f"#{ord(c)};" for c in text)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _width(node: Node, runs: int) -> float:
    return max(len(title(node)) * 7.4 + 34, len(label(node, runs)) * 6.2 + 20, 90.0)


def _box(node: Node, place: tuple[float, int], width: float, runs: int, links: bool, root: str) -> Markup:
    left, top = place[0] + MARGIN - width / 2, place[1] * STEP + MARGIN
    rounded = {"step": 5, "timer": 22, "signal": 22, "gate": 0, "child": 5}.get(node.kind, 5)

    def outline(off: int) -> Markup:
        if node.kind == "gate":
            return tag("path", d=_hexagon(left + off, top + off, width))
        at = {"x": _number(left + off), "y": _number(top + off), "width": _number(width)}
        return tag("rect", height=HEIGHT, rx=rounded, **at)

    parts = [outline(4), outline(0)] if node.count > 1 else [outline(0)]
    signs = tag("tspan", sign(node.status) + " ", class_="sign")
    middle = _number(left + width / 2)
    parts.append(tag("text", signs, title(node), x=middle, y=_number(top + 18), class_="name"))
    parts.append(tag("text", label(node, runs), x=middle, y=_number(top + 34), class_="told"))
    words = f"{_KINDS.get(node.kind, '')}{printable(node.call)}, {word(node.status)}, {node.told}".removesuffix(", ")
    inside = [tag("title", words), *parts]
    kind = f"node {node.kind} {style_of(node.status)}"
    to = _target(node, runs, root) if links else ""
    return tag("a", inside, href=to, class_=kind, aria_label=words) if to else tag("g", inside, class_=kind)


def _target(node: Node, runs: int, root: str) -> str:
    if node.kind == "child" and node.subject:
        return run_at(root, node.subject)
    return f"#e{node.seq}" if runs == 1 and node.seq else ""


def _hexagon(left: float, top: float, width: float) -> str:
    right, middle, bottom = left + width, top + HEIGHT / 2, top + HEIGHT
    corners = [
        (left + 10, top),
        (right - 10, top),
        (right, middle),
        (right - 10, bottom),
        (left + 10, bottom),
        (left, middle),
    ]
    return "M" + "L".join(f"{_number(x)},{_number(y)}" for x, y in corners) + "Z"


def _line(route: Route, times: int) -> Markup:
    """A curve through the bends of an edge."""
    points = [(x + MARGIN, layer * STEP + MARGIN) for x, layer in route.points]
    x, y = points[0]
    path = f"M{_number(x)},{_number(y + HEIGHT)}"
    y += HEIGHT
    for number, (to_x, top) in enumerate(points[1:], 1):
        end = top - 2 if number == len(points) - 1 else top + HEIGHT / 2
        half = (end - y) / 2
        path += (
            f"C{_number(x)},{_number(y + half)} {_number(to_x)},{_number(end - half)} {_number(to_x)},{_number(end)}"
        )
        x, y = to_x, end
    title_text = f"{times} times" if times > 1 else None
    return tag(
        "path", tag("title", title_text) if title_text else None, d=path, marker_end="url(#vbl-arrow)", class_="edge"
    )


def _climb(route: Route, layout: Layout) -> int:
    """How many layers an edge leads back up."""
    return layout.place[route.source][1] - layout.place[route.target][1]


def _loop(route: Route, layout: Layout, widths: dict[str, float], out: float) -> Markup:
    """An edge that leads back up: along the right side of all that stands between, `out` pixels further out."""
    (from_x, from_layer), (to_x, to_layer) = layout.place[route.source], layout.place[route.target]
    start = from_x + widths[route.source] / 2 + MARGIN
    end = to_x + widths[route.target] / 2 + MARGIN
    between = [x + widths[key] / 2 for key, (x, layer) in layout.place.items() if to_layer <= layer <= from_layer]
    side = max([start, end] if from_layer == to_layer else [*(x + MARGIN for x in between), start, end]) + BEND + out
    low, high = from_layer * STEP + MARGIN + HEIGHT * 0.65, to_layer * STEP + MARGIN + HEIGHT * 0.35
    if from_layer - to_layer < 1:
        bends = f"C{_number(side)},{_number(low)} {_number(side)},{_number(high)} {_number(end + 2)},{_number(high)}"
    else:
        bends = (
            f"C{_number(side)},{_number(low)} {_number(side)},{_number(low)} {_number(side)},{_number(low - HEIGHT)}"
            f"V{_number(high + HEIGHT)}"
            f"C{_number(side)},{_number(high)} {_number(side)},{_number(high)} {_number(end + 2)},{_number(high)}"
        )
    return tag("path", d=f"M{_number(start)},{_number(low)}{bends}", marker_end="url(#vbl-arrow)", class_="edge back")


def _arrow() -> Markup:
    head = tag("path", d="M0,0L8,4L0,8Z")
    size = {"viewBox": "0 0 8 8", "refX": 7, "refY": 4, "markerWidth": 7, "markerHeight": 7, "orient": "auto"}
    return tag("defs", tag("marker", head, id="vbl-arrow", **size))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
