"""A value as a tree that folds: objects and lists as branches, and what people said within it as conversation or prose.

However large or deep the value is, what is drawn has a bound, and says where it was reached. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from vbl.drawing.chat import chat, is_chat, is_message
from vbl.drawing.images import image
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.prose import is_markdown, plain, prose, struck, upright
from vbl.history.narration import preview

MOST_NODES = 2_000
"""Nodes of one tree that are drawn."""
MOST_TEXT = 500_000
"""Characters of the longer texts in one tree that are drawn."""
DEEPEST = 40
"""Branches below this level are shown as their beginning; conversations within so many others as branches."""
INLINE = 80
"""A text of so many characters, on one line, needs no box of its own."""


@dataclass(slots=True)
class Tree:
    """A tree that is being drawn, and how many nodes and characters it may still have."""

    nodes: int = MOST_NODES
    room: int = MOST_TEXT
    depth: int = 0
    talks: int = 0

    def draw(self, value: Any) -> Markup:
        """Draw a value as what it is."""
        special = self._special(value)
        if special is not None:
            return special
        return tag("div", scalar(value)) if is_short(value) else self._branch(value)

    def text(self, text: str) -> Markup:
        """A text, laid out if it is Markdown; cut where there is no more room."""
        room, self.room = self.room, self.room - len(text)
        if len(text) <= room:
            return prose(text)
        note = tag("p", f"cut: {max(room, 0)} of {len(text)} characters; the JSON has them", class_="dim")
        return join([plain(text[:room]) if room > 0 else None, note])

    def _branch(self, value: Any) -> Markup:
        """A list of named values."""
        if isinstance(value, Mapping):
            items = [(str(name), one) for name, one in cast("Mapping[str, Any]", value).items()]
        else:
            items = [(str(number), one) for number, one in enumerate(cast("Sequence[Any]", value))]
        rows: list[Markup] = []
        self.depth += 1
        for name, one in items:
            if self.nodes <= 0:
                rows.append(tag("li", f"… {len(items) - len(rows)} more; the JSON has them", class_="dim"))
                break
            self.nodes -= 1
            rows.append(tag("li", self._node(name, one)))
        self.depth -= 1
        return tag("ul", rows, class_="tree")

    def _node(self, name: str, value: Any) -> Child:
        label = tag("span", upright(name), class_="k")
        special = self._special(value)
        if special is not None:
            return [label, special]
        if is_short(value):
            return [label, " ", scalar(value)]
        size = len(cast("Sequence[Any]", value))
        mark = tag("span", f"{{{size}}}" if isinstance(value, Mapping) else f"[{size}]", class_="dim")
        peek = tag("span", struck(preview(value, 60)), class_="peek", aria_hidden="true")
        if self.depth >= DEEPEST:
            return [label, " ", mark, " ", tag("code", struck(preview(value, 60))), " the JSON has it all"]
        opened = self.depth < 3 and size <= 20
        return tag("details", tag("summary", label, " ", mark, " ", peek), self._branch(value), open=opened)

    def _special(self, value: Any) -> Markup | None:
        """What is drawn as more than a node: a picture, a conversation, a text of several lines."""
        picture = image(value)
        if picture is not None:
            return picture
        if self.talks < DEEPEST and (is_chat(value) or is_message(value)):
            return self._talk(cast("list[Any]", value if isinstance(value, list) else [value]))
        return self.text(value) if isinstance(value, str) and not is_short(value) else None

    def _talk(self, messages: list[Any]) -> Markup:
        self.nodes -= len(messages)
        self.talks += 1
        drawn = chat(messages, self)
        self.talks -= 1
        return drawn


def is_short(value: Any) -> bool:
    """Whether the value fits on a line."""
    if isinstance(value, str):
        return len(value) <= INLINE and "\n" not in value and not is_markdown(value)
    return not value or not isinstance(value, (Mapping, Sequence))


def scalar(value: Any) -> Markup:
    """A value on one line, as JSON says it; a text without its quotation marks."""
    if isinstance(value, str):
        return tag("span", struck(value), class_="v string") if value else tag("span", "empty text", class_="v none")
    if value is None or isinstance(value, bool):
        return tag("span", json.dumps(value), class_="v none" if value is None else "v bool")
    if isinstance(value, (int, float)):
        return tag("span", json.dumps(value), class_="v number")
    return tag("span", f"{json.dumps(value, default=repr)} empty", class_="v none")
