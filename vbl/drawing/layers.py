"""Where the nodes of a graph go: in layers from top to bottom, so that what follows stands below.

The method of Sugiyama, Tagawa and Toda (1981), kept small: edges that lead back are set aside, each node stands one
layer below the lowest that it follows from, long edges get a bend in each layer that they pass, layers are ordered by
the middle of their neighbours until nothing gets better, and each node goes as near to its neighbours as the order lets
it. Pure; knows nothing of runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 12
"""So many times the order, and so many times the places are made better."""


@dataclass(frozen=True, slots=True)
class Route:
    """An edge as a line from point to point, from the bottom of its source to the top of its target. `back` says that
    it leads up, or from a node to itself; such a one has no points."""

    source: str
    target: str
    points: tuple[tuple[float, float], ...]
    back: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The middle of each node across and its layer, the routes of the edges, and the width and the number of layers."""

    place: dict[str, tuple[float, int]]
    routes: list[Route]
    width: float
    depth: int


@dataclass(slots=True)
class _Draft:
    """Nodes and bends by layer, and what is beside each above and below."""

    layers: list[list[str]]
    above: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    below: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


def lay_out(widths: Mapping[str, float], edges: Iterable[tuple[str, str]], gap: float, bend: float = 8.0) -> Layout:
    """Place nodes of these widths, in the order in which they came, with `gap` between two. What a bend needs is
    `bend`. Edges name nodes that there are."""
    order = {key: number for number, key in enumerate(widths)}
    edges = list(edges)
    down = [(source, target) for source, target in edges if order[source] < order[target]]
    layer = _layers(order, down)
    depth = max(layer.values(), default=-1) + 1
    draft = _Draft([[] for _ in range(depth)])
    for key in widths:
        draft.layers[layer[key]].append(key)
    bends = {edge: _bends(draft, edge, layer) for edge in down}
    _arrange(draft)
    all_widths = {key: widths.get(key, bend) for row in draft.layers for key in row}
    across = _spread(draft, all_widths, gap)
    left = min((across[key] - all_widths[key] / 2 for key in across), default=0.0)
    right = max((across[key] + all_widths[key] / 2 for key in across), default=0.0)
    routes = [_route(edge, bends.get(edge), across, layer, left) for edge in edges]
    return Layout({key: (across[key] - left, layer[key]) for key in widths}, routes, right - left, depth)


def _layers(order: Mapping[str, int], down: list[tuple[str, str]]) -> dict[str, int]:
    """Each node one below the lowest that it follows from."""
    layer = dict.fromkeys(order, 0)
    before: dict[str, list[str]] = {}
    for source, target in down:
        before.setdefault(target, []).append(source)
    for key in order:
        layer[key] = max((layer[source] + 1 for source in before.get(key, ())), default=0)
    return layer


def _bends(draft: _Draft, edge: tuple[str, str], layer: Mapping[str, int]) -> list[str]:
    """Lead an edge through the layers between its ends."""
    source, target = edge
    chain = [source]
    for number in range(layer[source] + 1, layer[target]):
        name = f"{source}\0{target}\0{number}"
        draft.layers[number].append(name)
        chain.append(name)
    chain.append(target)
    for upper, lower in pairwise(chain):
        draft.below.setdefault(upper, []).append(lower)
        draft.above.setdefault(lower, []).append(upper)
    return chain[1:-1]


def _arrange(draft: _Draft) -> None:
    """Order each layer by the middle of its neighbours, down and up, and keep the order with the fewest crossings."""
    best, fewest = [list(row) for row in draft.layers], _crossings(draft)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        beside = draft.above if downwards else draft.below
        numbers = range(1, len(draft.layers)) if downwards else range(len(draft.layers) - 2, -1, -1)
        for number in numbers:
            fixed = {key: at for at, key in enumerate(draft.layers[number - 1 if downwards else number + 1])}
            row = draft.layers[number]
            wanted = {key: _mean([fixed[other] for other in beside.get(key, ())], at) for at, key in enumerate(row)}
            row.sort(key=wanted.__getitem__)
        crossings = _crossings(draft)
        if crossings < fewest:
            best, fewest = [list(row) for row in draft.layers], crossings
    draft.layers = best


def _crossings(draft: _Draft) -> int:
    """How many pairs of edges cross."""
    total = 0
    for upper, lower in pairwise(draft.layers):
        at = {key: number for number, key in enumerate(lower)}
        ends = [place for key in upper for place in sorted(at[other] for other in draft.below.get(key, ()))]
        counted = [0] * (len(lower) + 1)
        for seen, place in enumerate(ends):
            passed, node = 0, place + 1
            while node:
                passed += counted[node]
                node &= node - 1
            total += seen - passed
            node = place + 1
            while node <= len(lower):
                counted[node] += 1
                node += node & -node
    return total


def _spread(draft: _Draft, widths: Mapping[str, float], gap: float) -> dict[str, float]:
    """The middle of each node: as near to its neighbours as the order and the widths let it."""
    across: dict[str, float] = {}
    for row in draft.layers:
        _settle(row, dict.fromkeys(row, 0.0), widths, gap, across)
    for sweep in range(SWEEPS):
        rows = draft.layers if sweep % 2 == 0 else draft.layers[::-1]
        for row in rows:
            beside = draft.above if sweep % 2 == 0 else draft.below
            wanted = {key: _mean([across[other] for other in beside.get(key, ())], across[key]) for key in row}
            _settle(row, wanted, widths, gap, across)
    return across


def _settle(
    row: list[str], wanted: Mapping[str, float], widths: Mapping[str, float], gap: float, across: dict[str, float]
) -> None:
    """Give each node of a layer the place nearest to the wanted one, by least squares under the order: neighbours that
    would overlap are pushed together into blocks (pool adjacent violators)."""
    offsets: list[float] = []
    at = 0.0
    for number, key in enumerate(row):
        at += (widths[row[number - 1]] + widths[key]) / 2 + gap if number else 0.0
        offsets.append(at)
    blocks: list[tuple[float, int]] = []
    for key, offset in zip(row, offsets, strict=True):
        blocks.append((wanted[key] - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (second, more), (first, some) = blocks.pop(), blocks.pop()
            blocks.append(((first * some + second * more) / (some + more), some + more))
    shifts = [shift for shift, size in blocks for _ in range(size)]
    for key, offset, shift in zip(row, offsets, shifts, strict=True):
        across[key] = offset + shift


def _mean(numbers: list[int] | list[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise


def _route(
    edge: tuple[str, str],
    bends: list[str] | None,
    across: Mapping[str, float],
    layer: Mapping[str, int],
    left: float,
) -> Route:
    source, target = edge
    if bends is None:
        return Route(source, target, (), back=True)
    first = layer[source]
    stops = [(across[key] - left, float(first + number)) for number, key in enumerate([source, *bends, target])]
    return Route(source, target, tuple(stops))
