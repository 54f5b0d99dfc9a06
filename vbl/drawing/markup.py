"""HTML and SVG that cannot be broken by what is in it: `tag("td", text, class_="number")`.

Everything that is not `Markup` is escaped, in text and in attributes alike; characters that no document may hold are
shown as what stands for them. There is no way from a string to `Markup` but `trusted`, which says what it is.

Pure; knows nothing of runs.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias

VOID = frozenset(("br", "hr", "img", "input", "link", "meta", "wbr"))
"""Elements of HTML that have no end tag (https://html.spec.whatwg.org/#void-elements)."""
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup already, and is not escaped again."""

    __slots__ = ()

    def __html__(self) -> str:
        """Templates and notebooks know markup by this."""
        return self


Child: TypeAlias = "str | int | float | Markup | Iterable[Child] | None"
Attribute: TypeAlias = "str | int | float | bool | None"


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An element. A name's trailing underscore goes and the others become hyphens: `class_`, `aria_label`, `data_seq`;
    `viewBox` and its like stay as they are. None and False leave an attribute out, True gives it no value."""
    start = name + "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{start}>")
    return Markup(f"<{start}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """The children one after the other; None is nothing."""
    return Markup("".join(_child(child) for child in children))


def trusted(text: str) -> Markup:
    """Markup that was written by hand or made by a library that escapes; never anything out of a payload."""
    return Markup(text)


def clean(text: str) -> str:
    """The text without the characters that HTML and XML do not allow: a picture of each control character, else �."""
    return _UNPRINTABLE.sub(_picture, text)


def _picture(found: re.Match[str]) -> str:
    point = ord(found[0])
    return chr(0x2400 + point) if point < 0x20 else "\u2421" if point == 0x7F else "\ufffd"


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, (str, int, float)):
        return html.escape(clean(str(child)), quote=False)
    return join(child)


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(clean(str(value)))}"'
