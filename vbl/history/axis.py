"""The line of time under a timeline: where an instant is drawn, between 0 and 1.

A run may work for a minute and wait for a month; so a stretch in which no attempt ran is cut short once it outweighs
the work. Pure; the terminal, a page and a static file share it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from vbl.clock import SECOND
from vbl.history.timeline import Timeline, Wait


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time and its place on the axis. `cut` says that it is drawn shorter than it was."""

    start_at: int
    end_at: int
    left: float
    right: float
    cut: bool


@dataclass(frozen=True, slots=True)
class Axis:
    """Places between 0 and 1 for the instants of a timeline."""

    pieces: tuple[Piece, ...]

    def place(self, at: int) -> float:
        """Where the instant is drawn; what lies outside is drawn at the edge."""
        number = bisect_left(self.pieces, at, key=lambda piece: piece.end_at)
        if number == len(self.pieces):
            return 1.0
        piece = self.pieces[number]
        span = piece.end_at - piece.start_at
        share = (max(at, piece.start_at) - piece.start_at) / span if span else 0.0
        return piece.left + (piece.right - piece.left) * share


IDLE_SHARE = 0.4
"""The cut stretches together take at most this share of the axis."""
IDLE_EACH = 0.12
"""One cut stretch takes at most this share."""

MOST_CUTS = 8
"""So many cut stretches at most are made by telling one wait from the next."""


def axis(picture: Timeline, *, compressed: bool = True) -> Axis:
    """Lay out the line of time: a stretch in which no attempt ran is cut short once it outweighs half of the work;
    where it is not to be compressed, all is as long as it was."""
    start, end = picture.start_at, max(picture.end_at, picture.start_at + 1)
    if not compressed:
        return Axis((Piece(start, end, 0.0, 1.0, False),))
    busy = merged(
        (bar.start_at, bar.end_at if bar.end_at is not None else end) for lane in picture.lanes for bar in lane.bars
    )
    work = sum(b - a for a, b in busy)
    threshold = max(work // 2, SECOND)
    cuts = [gap for gap in _gaps(busy, start, end) if gap[1] - gap[0] > threshold] if busy else []
    apart = [part for gap in cuts for part in _parts(gap, picture.waits) if part[1] - part[0] > threshold]
    cuts = apart if len(apart) <= MOST_CUTS else cuts
    kept = (end - start) - sum(b - a for a, b in cuts)
    if kept <= 0:
        cuts, kept = [], end - start  # nothing is left that they would have to make room for
    each = min(IDLE_EACH, IDLE_SHARE / len(cuts)) if cuts else 0.0
    pieces: list[Piece] = []
    left, at = 0.0, start
    scale = (1 - each * len(cuts)) / kept
    for gap_start, gap_end in cuts:
        if gap_start > at:
            pieces.append(Piece(at, gap_start, left, left := left + (gap_start - at) * scale, False))
        pieces.append(Piece(gap_start, gap_end, left, left := left + each, True))
        at = gap_end
    if at < end:
        pieces.append(Piece(at, end, left, 1.0, False))
    return Axis(tuple(pieces))


def _parts(gap: tuple[int, int], waits: Iterable[Wait]) -> list[tuple[int, int]]:
    """A stretch in the parts in which the run waited for one thing after the other."""
    edges = {at for wait in waits for at in (wait.start_at, wait.end_at) if at is not None and gap[0] < at < gap[1]}
    return list(pairwise(sorted(edges | {*gap})))


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping spans as one, in order."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def _gaps(busy: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """What lies between the spans."""
    edges = [start, *(edge for span in busy for edge in span), end]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
