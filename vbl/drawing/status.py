"""A status as markup: the sign, the word, and a class for the colour, alike on every page. Pure."""

from __future__ import annotations

from vbl.drawing.markup import Markup, tag
from vbl.history.signs import SIGNS, UNKNOWN


def sign(status: str) -> str:
    """The sign of a status."""
    return SIGNS.get(status, UNKNOWN)[0]


def style_of(status: str) -> str:
    """The style of a status: good, bad, warn, live or dim."""
    return SIGNS.get(status, UNKNOWN)[2]


def word(status: str) -> str:
    """The status as people read it."""
    return status.replace("_", " ")


def badge(status: str) -> Markup:
    """Sign and word of a status, coloured; the colour says nothing that they do not."""
    shown = tag("span", sign(status), class_="sign", aria_hidden="true")
    return tag("span", shown, " ", word(status), class_=f"status {style_of(status)}", data_status=status)
