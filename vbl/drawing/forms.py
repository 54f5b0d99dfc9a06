"""What a form looks like, and how a page sends it: `fields_of(form, id)` and `Sending.form(path, …)`.

Where something does not fit, the form is drawn with the text still in it and the misfit beside its field. What the
fields are and what comes back from them is in `drawing.entries`. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from vbl.drawing.entries import Entry, Form
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.history.gates import canonical

_LONG = 60
"""Characters of a line in a field of several."""
_ROWS = 16
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Sending:
    """How a page sends a change: the prefix of its URLs, the token that every form holds, and as whom it acts."""

    csrf: str
    actor: str
    root: str = ""

    def form(self, path: str, *children: Child, **attributes: str | bool | None) -> Markup:
        """A form that posts there."""
        token = tag("input", type="hidden", name="csrf", value=self.csrf)
        return tag("form", token, *children, method="post", action=f"{self.root}{path}", **attributes)


def line(id: str, name: str, label: str, text: str, about: str = "", **more: str | bool | None) -> Markup:
    """A line of text that is no part of a schema: a name, a reason."""
    beside = tag("span", about, class_="dim") if about else None
    named = tag("label", label, " ", beside, for_=id)
    return tag("div", named, tag("input", type="text", id=id, name=name, value=text, autocomplete="off", **more),
               class_="field")  # fmt: skip


def fields_of(form: Form, id: str, *, demand: bool = True) -> Markup:
    """The fields of a form, with ids that begin with `id`. `demand`: the browser insists on what has to be written, as
    it can't where the fields are folded away."""
    wrong = tag("p", form.error, class_="problem", role="alert") if form.error else None
    return join([wrong, *(_drawn(entry, f"{id}-{entry.name}", demand) for entry in form.entries)])


def _drawn(entry: Entry, id: str, demand: bool) -> Markup:
    """Label, field, what it takes, and what is wrong with it."""
    words = "; ".join(part for part in (entry.field.about, entry.shape) if part)
    about = tag("p", words, class_="about", id=f"{id}-about") if words else None
    wrong = tag("p", entry.error, class_="wrong", id=f"{id}-wrong") if entry.error else None
    takes = entry.field.kind if entry.field.required or entry.nullable else f"{entry.field.kind}, may be left out"
    label = tag("label", tag("span", entry.label, class_="mono"), " ", tag("span", takes, class_="dim"), for_=id)
    told = " ".join(f"{id}-{part}" for part, there in (("about", about), ("wrong", wrong)) if there) or None
    attributes: dict[str, Any] = {
        "id": id,
        "name": entry.sent_as,
        "aria_describedby": told,
        "aria_invalid": "true" if wrong else None,
        "required": entry.needed and demand,
    }
    return tag("div", label, _widget(entry, attributes), about, wrong, class_="field wrong" if wrong else "field")


def _widget(entry: Entry, attributes: dict[str, Any]) -> Markup:
    text = entry.text
    match entry.kind:
        case "choice":
            return _choice(entry, attributes)
        case "number":
            return _line(text, attributes, inputmode="decimal", class_="number")
        case "date":
            return _line(text, attributes, type="date" if not text or _DAY.fullmatch(text) else "text")
        case "line":
            return _line(text, attributes, placeholder=_EXAMPLES.get(str(entry.inner.get("format"))))
        case "lines":
            return _area(text, attributes, placeholder="one a line")
        case "json":
            return _area(text, attributes, placeholder="JSON", class_="mono")
        case "text":
            return _area(text, attributes)


_EXAMPLES = {
    "date-time": "2026-01-31T09:30:00Z",
    "time": "09:30:00",
    "duration": "PT90S",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


def _line(text: str, attributes: dict[str, Any], type: str = "text", **more: Any) -> Markup:
    return tag("input", type=type, value=text, autocomplete="off", **attributes, **more)


def _area(text: str, attributes: dict[str, Any], **more: Any) -> Markup:
    rows = min(max(text.count("\n") + 1, len(text) // _LONG + 1), _ROWS)
    # the first line break in a textarea is dropped by parsers: one that means nothing stands before the text
    return tag("textarea", "\n", text, rows=rows, spellcheck="false", autocomplete="off", **attributes, **more)


def _choice(entry: Entry, attributes: dict[str, Any]) -> Markup:
    """The choices, and none of them where that is one; a value that is no choice is shown all the same."""
    texts = [canonical(choice) for choice in entry.choices]
    options: list[tuple[str, str]] = [(text, _named(choice)) for text, choice in zip(texts, entry.choices, strict=True)]
    if entry.nullable or not entry.field.required or not entry.text:
        options.insert(0, ("", _nothing(entry)))
    if entry.text and entry.text not in texts:
        options.append((entry.text, entry.text))
    drawn = [tag("option", named, value=text, selected=text == entry.text) for text, named in options]
    return tag("select", drawn, **attributes)


def _nothing(entry: Entry) -> str:
    """What choosing nothing means."""
    if entry.nullable:
        return "(none)"
    return "choose…" if entry.field.required else "(left out)"


def _named(choice: Any) -> str:
    if isinstance(choice, bool):
        return "yes" if choice else "no"
    return choice if isinstance(choice, str) else canonical(choice)
