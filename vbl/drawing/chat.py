"""A list of messages as a conversation: who said what, with calls of tools and their results.

Knows the forms that model providers share: {role, content} with a text or a list of blocks, OpenAI's `tool_calls`, and
Anthropic's `tool_use` and `tool_result`. What it does not know it leaves to the tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard, cast

from pydantic_core import from_json

from vbl.drawing.images import image
from vbl.drawing.markup import Child, Markup, tag
from vbl.drawing.prose import upright


class Drawing(Protocol):
    """Who draws what is within a message."""

    def draw(self, value: Any) -> Markup:
        """A value that is no text."""
        ...

    def text(self, text: str) -> Markup:
        """A text."""
        ...


_SPOKEN = ("content", "tool_calls", "parts", "text")
_MOST = 500
"""Messages of one conversation that are drawn; the earliest beyond are counted."""


def is_chat(value: Any) -> TypeGuard[list[Any]]:
    """Whether this is a list of messages: each has a role, and something said."""
    if not isinstance(value, list):
        return False
    messages = cast("list[Any]", value)
    return bool(messages) and all(is_message(one) for one in messages)


def is_message(value: Any) -> bool:
    """Whether this is one message."""
    if not isinstance(value, Mapping):
        return False
    fields = cast("Mapping[str, Any]", value)
    return isinstance(fields.get("role"), str) and any(name in fields for name in _SPOKEN)


def chat(messages: Sequence[Mapping[str, Any]], tree: Drawing) -> Markup:
    """Draw the conversation; `tree` draws what is said."""
    cut = len(messages) - _MOST
    earlier = tag("li", f"{cut} earlier messages; the JSON has them", class_="dim") if cut > 0 else None
    return tag("ol", earlier, [_message(one, tree) for one in messages[-_MOST:]], class_="chat")


def _message(message: Mapping[str, Any], tree: Drawing) -> Markup:
    role = str(message["role"])
    said = next((message[name] for name in ("content", "parts", "text") if message.get(name) is not None), None)
    name = message.get("name") or message.get("tool_call_id")
    who = tag("span", upright(role), _id(name), class_="role")
    calls = message.get("tool_calls")
    rest = {key: one for key, one in message.items() if key not in _KNOWN and one is not None}
    return tag(
        "li",
        who,
        tag(
            "div",
            _content(said, tree),
            [_call(call, tree) for call in cast("list[Any]", calls)] if isinstance(calls, list) else None,
            _folded("more", tree.draw(rest)) if rest else None,
            class_="said",
        ),
        class_="message",
        data_role=role if role in _ROLES else "other",
    )


_KNOWN = frozenset({"role", "content", "parts", "text", "name", "tool_calls", "tool_call_id"})
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


def _content(said: Any, tree: Drawing) -> Child:
    if said is None:
        return None
    if isinstance(said, str):
        return image(said) or tree.text(said) if said else tag("span", "nothing", class_="dim")
    if isinstance(said, list):
        return [_block(block, tree) for block in cast("list[Any]", said)]
    return _tree_of(said, tree)


def _block(block: Any, tree: Drawing) -> Child:
    """One block of a message's content."""
    if isinstance(block, str):
        return tree.text(block)
    picture = image(block)
    if picture is not None:
        return picture
    if not isinstance(block, Mapping):
        return _tree_of(block, tree)
    fields = cast("Mapping[str, Any]", block)
    match fields.get("type"):
        case "text" | "input_text" | "output_text" if isinstance(fields.get("text"), str):
            return tree.text(fields["text"])
        case "thinking" if isinstance(fields.get("thinking"), str):
            return _folded("thinking", tree.text(fields["thinking"]))
        case "tool_use":
            return _tool(str(fields.get("name", "")), fields.get("id"), fields.get("input"), tree)
        case "tool_result":
            failed = " failed" if fields.get("is_error") else ""
            said = _content(fields.get("content"), tree)
            return tag("div", tag("p", f"result{failed}", _id(fields.get("tool_use_id")), class_="tool-name"), said,
                       class_="tool")  # fmt: skip
        case _:
            return _tree_of(block, tree)


def _call(call: Any, tree: Drawing) -> Child:
    """A call of a tool, as OpenAI has it: the arguments are JSON in a text."""
    fields: Any = cast("Mapping[str, Any]", call) if isinstance(call, Mapping) else {}
    function: Any = fields.get("function")
    if not isinstance(function, Mapping):
        return _tree_of(call, tree)
    named = cast("Mapping[str, Any]", function)
    arguments = named.get("arguments")
    return _tool(str(named.get("name", "")), fields.get("id"), _parsed(arguments), tree)


def _tool(name: str, id: Any, arguments: Any, tree: Drawing) -> Markup:
    called = tag("p", "calls ", tag("b", upright(name)), _id(id), class_="tool-name")
    return tag("div", called, _tree_of(arguments, tree), class_="tool")


def _id(id: Any) -> Markup | None:
    return tag("span", f" {upright(id)}", class_="dim") if isinstance(id, str) else None


def _parsed(text: Any) -> Any:
    """What a text of JSON says; the text itself where it is none, as a model may well write it."""
    if not isinstance(text, str):
        return text
    try:
        return from_json(text)
    except ValueError:  # also where it is nested deeper than anything that is recorded
        return text


def _tree_of(value: Any, tree: Drawing) -> Child:
    if isinstance(value, (Mapping, list)):
        return tree.draw(value)
    return None if value is None else tree.text(str(value))


def _folded(title: str, body: Markup) -> Markup:
    return tag("details", tag("summary", title), body)
