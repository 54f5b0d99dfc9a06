"""What fills attempts and waits in a chart: a pattern for each kind, so that its shape tells what its colour tells.

The style sheet gives the colours (`timeline.css`); without it the picture is still told apart by its patterns. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from vbl.drawing.markup import Markup, join, tag
from vbl.history.rows import TITLES, TONES
from vbl.history.timeline import Outcome, Stand

Kind = Outcome | Stand

_HATCH: dict[Kind, tuple[int, str]] = {
    Outcome.FAILED: (6, "M-1,1l2,-2M0,6l6,-6M5,7l2,-2"),
    Outcome.INTERRUPTED: (6, "M0,0l3,3l-3,3M3,0l3,3l-3,3"),
    Outcome.LOST: (6, "M0,0l3,3l-3,3M3,0l3,3l-3,3"),
    Stand.BACKOFF: (8, "M-1,1l2,-2M0,8l8,-8M7,9l2,-2"),
    Stand.GATE: (8, "M-1,7l2,2M0,0l8,8M7,-1l2,2"),
    Stand.TIMER: (8, "M0,4h5"),
    Stand.QUEUED: (6, "M2,3h1"),
    Stand.PAUSED: (8, "M2,0v8M5,0v8"),
    Stand.BLOCKED: (8, "M0,0l8,8M8,0l-8,8"),
    Stand.ENDED: (8, "M0,0l8,8M8,0l-8,8"),
    Stand.DOWN: (8, "M0,2h5M4,6h5M0,6h1"),
    Stand.SIGNAL: (5, "M2,1v3M1,2.5h2"),
    Stand.CHILD: (4, "M0,2h4M2,0v4"),
}
"""The size of the tile in pixels and the strokes in it; a kind without is plain."""


def hatches(name: str) -> Markup:
    """The patterns of the picture of that name, to stand once in it, before what they fill. A browser that does not
    show one picture has no patterns of it for another; so each has its own."""
    patterns = [
        tag(
            "pattern",
            tag("rect", width=size, height=size, class_="under"),
            tag("path", d=strokes),
            id=f"{name}-{kind}",
            width=size,
            height=size,
            patternUnits="userSpaceOnUse",
            class_=f"hatch-{kind} {TONES[kind]}",
        )
        for kind, (size, strokes) in _HATCH.items()
    ]
    return tag("svg", tag("defs", patterns), class_="hatches", width=0, height=0, aria_hidden="true")


def fill(kind: Kind, name: str) -> str | None:
    """The value of an attribute `fill` in the picture of that name; None where the style sheet's plain colour does."""
    return f"url(#{name}-{kind})" if kind in _HATCH else None


def named(kind: Kind) -> str:
    """What people call it."""
    return TITLES[kind] if isinstance(kind, Stand) else kind.value


def legend(kinds: Iterable[Kind], name: str) -> Markup:
    """A sample and the name of each kind that is on a picture, in a fixed order."""
    seen = set(kinds)
    entries = [tag("li", _sample(kind, name), named(kind)) for kind in TONES if kind in seen]
    return tag("ul", entries, class_="legend", aria_label="What the patterns mean") if entries else join(())


def _sample(kind: Kind, name: str) -> Markup:
    shape = "attempt" if isinstance(kind, Outcome) else "wait"
    box = tag("rect", x=0.5, y=0.5, width=21, height=10, rx=2, fill=fill(kind, name), class_="shape")
    return tag("svg", tag("g", box, class_=f"{shape} {kind} {TONES[kind]}"), width=22, height=11, aria_hidden="true")
