"""A status as markup: the sign, the word, and a class for the colour, alike on every page. Pure."""

from __future__ import annotations

from vbl.drawing.markup import Markup, tag
from vbl.history.signs import SIGNS, UNKNOWN

_GATES = {
    "open": ("?", "warn"),
    "granted": ("✓", "good"),
    "denied": ("✗", "bad"),
    "expired": ("⌛", "dim"),
    "closed": ("⊘", "dim"),
}


def sign(status: str) -> str:
    """The sign of a status."""
    return SIGNS.get(status, UNKNOWN)[0]


def style_of(status: str) -> str:
    """The style of a status: good, bad, warn, live or dim."""
    return SIGNS.get(status, UNKNOWN)[2]


def word(status: str) -> str:
    """The status as people read it."""
    return status.replace("_", " ")


def gate_badge(status: str) -> Markup:
    """The same for the status of a gate."""
    shown, style = _GATES.get(status, UNKNOWN[::2])
    return tag("span", tag("span", shown, class_="sign", aria_hidden="true"), " ", status, class_=f"status {style}")


def badge(status: str) -> Markup:
    """Sign and word of a status, coloured; the colour says nothing that they do not."""
    shown = tag("span", sign(status), class_="sign", aria_hidden="true")
    return tag("span", shown, " ", word(status), class_=f"status {style_of(status)}", data_status=status)
