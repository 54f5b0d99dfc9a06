"""A recorded value as a person wants to see it: `payload(value)` draws a conversation, a picture, a text or a tree.

The size stands first; what is large is only named, until somebody asks for it. Beside each drawing the JSON stands as
it is recorded. Everything from the value is text: nothing in it can become an element.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from vbl.drawing.chat import is_chat
from vbl.drawing.images import image, size_of
from vbl.drawing.markup import Markup, tag
from vbl.drawing.prose import is_markdown, plain, struck
from vbl.drawing.tree import Tree, is_short, scalar
from vbl.history.narration import preview

LARGE = 64 * 1024
"""Bytes of compact JSON from which on a value is drawn on demand only."""
LARGEST = 1024 * 1024
"""Bytes of JSON that are put into a page at all; the rest is cut, and says so."""


def payload(
    value: Any, *, whole: str | None = None, command: str | None = None, full: bool = False, lasting: bool = False
) -> Markup:
    """Draw a value. `whole` is the address that gives a large one; `command` prints it in a terminal, and is offered to
    be copied, as the JSON is, where there is a script on the page; `full` draws a large one all the same, and `lasting`
    says that the value never changes, so that a page that renews itself keeps what was fetched."""
    if is_short(value):
        return tag("div", scalar(value), class_="payload short")
    size = _size(value)
    if size > LARGE and not full:
        return _named(value, size, whole, command)
    kind, body = _drawn(value)
    return tag(
        "div",
        _bar(kind, size, whole, command),
        body,
        _as_text(value) if kind == "markdown" else None,
        _raw(as_json(value), size) if kind != "value" else None,
        class_="payload",
        data_kind=kind.split(",")[0],
        data_keep=full and lasting,
    )


def _size(value: Any) -> int:
    """Bytes of the value as compact JSON, as it is recorded; many times cheaper to say than to indent."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr)
    return len(text.encode("utf-8", "surrogatepass"))


def as_json(value: Any) -> str:
    """The value as indented JSON, characters as they are."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=repr)


def _named(value: Any, size: int, whole: str | None, command: str | None) -> Markup:
    """A large value: how large, how it begins, and where the rest is."""
    show = (
        tag("button", f"show {size_of(size)}", type="button", class_="button quiet", hx_get=whole,
            hx_target="closest .payload", hx_swap="outerHTML")
        if whole is not None
        else None
    )  # fmt: skip
    told = tag("code", struck(preview(value, 240)), class_="beginning")
    return tag("div", _bar("large", size, whole, command), told, show, class_="payload large", data_kind="large")


def _bar(kind: str, size: int, whole: str | None, command: str | None) -> Markup:
    """The size, what it is, and what can be done with it."""
    copied = command is not None
    return tag(
        "div",
        tag("span", size_of(size), class_="size"),
        tag("span", kind, class_="kind") if kind != "large" else None,
        tag("button", "copy JSON", type="button", class_="copy", data_copy_json=True)
        if copied and kind != "large"
        else None,
        tag("button", "copy command", type="button", class_="copy", data_copy=command, title=command)
        if copied
        else None,
        tag("a", "open JSON", href=f"{whole}&raw=1", class_="copy") if whole is not None else None,
        class_="payload-bar",
    )


def _raw(text: str, size: int) -> Markup:
    """The JSON, folded away."""
    cut = text[:LARGEST]
    rest = (
        tag("p", f"cut: the first {size_of(LARGEST)} of {size_of(size)}", class_="dim") if len(text) > LARGEST else None
    )
    return tag("details", tag("summary", "JSON"), tag("pre", struck(cut), tabindex=0), rest, class_="raw json")


def _as_text(value: str) -> Markup:
    """A text that was laid out, as it was written."""
    return tag("details", tag("summary", "text"), plain(value), class_="raw")


def _drawn(value: Any) -> tuple[str, Markup]:
    """What the value is, in words, and its drawing."""
    picture = image(value)
    if picture is not None:
        return "picture", picture
    if is_chat(value):
        return f"chat, {len(value)} message{'s' * (len(value) != 1)}", Tree().draw(value)
    if isinstance(value, str):
        return ("markdown" if is_markdown(value) else "text"), Tree(room=LARGEST).text(value)
    return _count(value), Tree().draw(value)


def _count(value: Any) -> str:
    if isinstance(value, Mapping):
        length = len(cast("Mapping[str, Any]", value))
        return f"object, {length} field{'s' * (length != 1)}"
    if isinstance(value, Sequence):
        length = len(cast("Sequence[Any]", value))
        return f"list, {length} item{'s' * (length != 1)}"
    return "value"
