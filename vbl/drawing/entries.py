"""The fields of a form that is made from a JSON schema, and what the texts that come back from it stand for.

What stands in a field and comes back untouched is the value that was there, exactly, whatever its text looks like; what
was typed is read as the schema wants it. Texts, numbers, choices, dates and lists of them have a field each, nested
objects one for each of their parts; anything stranger is written as JSON.

Pure: the fields are those of `history.schemas`, which also says what fits. What they look like is in `drawing.forms`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from vbl.drawing.markup import clean
from vbl.errors import InvalidInput
from vbl.history.gates import canonical
from vbl.history.schemas import Field, Schema, described, fields, fitting

ABSENT: Any = object()
"""Nothing stands there, and nothing is to."""
Kind = Literal["text", "number", "choice", "line", "date", "lines", "json"]
KINDS: tuple[Kind, ...] = ("text", "number", "choice", "line", "date", "lines", "json")
_NULL = {"type": "null"}
_SCALARS = frozenset(("string", "number", "integer", "boolean", "null"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One field as it stands: the `name` under which it is sent, its `label`, what is asked for (`inner`: the schema
    without its null), the `text` in it, the value `before` which that text may still stand for, and what is wrong."""

    name: str
    label: str
    field: Field
    inner: Schema
    nullable: bool
    kind: Kind
    before: Any
    text: str
    error: str = ""

    @property
    def sent_as(self) -> str:
        """The name of its input: what kind of text it is comes back with it."""
        return f"{self.name}.{self.kind}"

    @property
    def needed(self) -> bool:
        """Whether something has to be written in it."""
        return self.field.required and self.before is ABSENT and not self.nullable and self.kind != "lines"

    @property
    def choices(self) -> list[Any]:
        """What there is to choose from."""
        if self.inner.get("type") == "boolean":
            return [True, False]
        return [self.inner["const"]] if "const" in self.inner else _several(self.inner.get("enum"))

    @property
    def shape(self) -> str:
        """What stands in an object that is written as JSON, or in each of a list of them; empty where that is open."""
        if self.kind != "json":
            return ""
        options = [option for option in _options(self.field.schema) if option != _NULL]
        schema = options[0] if len(options) == 1 else self.field.schema
        definitions = {"$defs": self.field.schema.get("$defs", {})}
        (only, *more) = fields({**schema, **definitions})
        items = only.schema.get("items") if not more and not only.path else None
        asked = cast("Schema", items) if isinstance(items, Mapping) else schema
        told = described({**asked, **definitions})
        return ("each: " if items else "") + told if ": " in told else ""

    @property
    def untouched(self) -> bool:
        """Whether the text is the one that was shown for the value before."""
        return _posted(self.text) == _posted(_shown(self.kind, self.before))

    def sent(self, given: Mapping[str, str]) -> Entry:
        """The entry with the text that was sent for it; as it is where none was."""
        for kind in KINDS:
            text = given.get(f"{self.name}.{kind}")
            if text is not None:
                return replace(self, kind=kind, text=text, error="")
        return replace(self, error="")

    def read(self) -> Any:
        """The value that the text stands for; ABSENT where it is left out. Raises InvalidInput."""
        if self.untouched and (self.before is not ABSENT or not self.field.required):
            return self.before
        if self.kind == "lines" or (self.text if self.kind == "text" else self.text.strip()):
            return fitting(self.field.schema, self._typed(), "this")
        if self.nullable:
            return None
        if self.kind == "text" and self.before is not ABSENT:
            return ""
        if self.field.required:
            raise InvalidInput("a value is needed")
        return ABSENT

    def _typed(self) -> Any:
        text = self.text.replace("\r\n", "\n").replace("\r", "\n")
        match self.kind:
            case "text":
                number = isinstance(self.before, (int, float)) and not isinstance(self.before, bool)
                return _number(text) if number else text
            case "number":
                return _number(text)
            case "choice":
                return _json(text)
            case "lines":
                worded = _items(self.inner) == "string"
                return [line if worded else _number(line) for line in text.split("\n") if line.strip()]
            case "json":
                return _loose(text)
            case _:
                return text.strip()


@dataclass(frozen=True, slots=True)
class Form:
    """The fields for one value of a schema, sent under names that begin with `name`; `what` it is in an error. One that
    is `optional` is left out where nothing is written in it."""

    name: str
    schema: Schema | bool
    what: str
    entries: tuple[Entry, ...]
    optional: bool = False
    error: str = ""

    @property
    def wrong(self) -> bool:
        """Whether something in it does not fit."""
        return bool(self.error) or any(entry.error for entry in self.entries)

    @property
    def untouched(self) -> bool:
        """Whether all of it is as it was."""
        return all(entry.untouched for entry in self.entries)

    def filled(self, given: Mapping[str, str]) -> tuple[Any, Form]:
        """The value that was sent, and the form with what was typed and what is wrong. The value means something only
        where nothing is. A field that was not sent is as it was."""
        said = replace(self, entries=tuple(entry.sent(given) for entry in self.entries), error="")
        if unknown := self._unknown(given):
            return None, replace(said, error=f"the question has changed since: {unknown} is not asked for any more")
        value, errors = said.value()
        if errors:
            told = tuple(replace(one, error=errors.get(one.name, "")) for one in said.entries)
            return None, replace(said, entries=told)
        try:
            return (value if value is ABSENT else fitting(self.schema, value, self.what)), said
        except InvalidInput as error:
            return None, replace(said, error=error.message)

    def _unknown(self, given: Mapping[str, str]) -> str | None:
        """A field that was sent and is none of this form."""
        known = {entry.name for entry in self.entries}
        sent = (key for key in given if re.match(rf"{re.escape(self.name)}(-\d+)?\.", key))
        return next((key for key in sent if key.rpartition(".")[0] not in known), None)

    def value(self) -> tuple[Any, dict[str, str]]:
        """What the texts in it stand for together, and what is wrong with those of them that stand for nothing, by the
        names of the entries."""
        errors: dict[str, str] = {}
        made: Any = ABSENT
        for entry in self.entries:
            try:
                made = _put(made, entry.field.path, entry.read())
            except InvalidInput as error:
                errors[entry.name] = error.message.removeprefix("this does not fit: ")
        return (ABSENT if self.optional and made == {} else made), errors


def form(
    schema: Schema | bool,
    name: str,
    before: Any = ABSENT,
    *,
    label: str = "",
    what: str = "the data",
    optional: bool = False,
) -> Form:
    """The form for a value of this schema; `before` stands in it already. What it can't show field by field so that it
    comes back as it was is one field of JSON. One that is `optional` may be left out as a whole."""
    found = [replace(one, required=one.required and not optional) for one in fields(schema)]
    if len(found) == 1 and not found[0].path:
        return Form(name, schema, what, (_entry(name, label, found[0], before),), optional)
    entries = tuple(_entry(f"{name}-{number}", label, one, before) for number, one in enumerate(found))
    made = Form(name, schema, what, entries, optional)
    if before is ABSENT:
        return made
    kept, errors = made.value()
    if not errors and kept is not ABSENT and canonical(kept) == canonical(before):
        return made
    whole = Field((), "an object", True, schema if isinstance(schema, Mapping) else {})
    return Form(name, schema, what, (_entry(name, label, whole, before, plain=True),))


def _entry(name: str, label: str, field: Field, whole: Any, *, plain: bool = False) -> Entry:
    before = _at(whole, field.path)
    if before is ABSENT and whole is ABSENT and "default" in field.schema:
        before = field.schema["default"]  # what is shown is what is recorded
    inner, nullable = _inner(field.schema)
    kind: Kind = "json" if plain or not _holds(found := _kind(inner), before) else found
    titled = ".".join([label, *field.path] if label else field.path) or "answer"
    return Entry(name, titled, field, inner, nullable, kind, before, _shown(kind, before))


# What a field is ---------------------------------------------------------------------------------------------------


def _inner(schema: Schema) -> tuple[Schema, bool]:
    """What is asked for where it is not null, and whether it may be."""
    options = _options(schema)
    some = [option for option in options if option != _NULL]
    if len(some) != 1:
        return schema, len(some) < len(options) or schema.get("type") == "null"
    (found, *more) = fields({**some[0], "$defs": schema.get("$defs", {})})
    return ({"type": "object"} if more or found.path else found.schema), len(options) > 1


def _options(schema: Schema) -> list[Schema]:
    found = _several(schema.get("anyOf") or schema.get("oneOf"))
    return [cast("Schema", option) for option in found if isinstance(option, Mapping)]


def _several(value: Any) -> list[Any]:
    """A list; a file may hold anything there."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def _kind(schema: Schema) -> Kind:
    """The kind of field for a schema."""
    if "const" in schema or _several(schema.get("enum")) or schema.get("type") == "boolean":
        return "choice"
    if options := _options(schema):
        plain = all(option.get("type") in _SCALARS and "format" not in option for option in options)
        return "text" if plain and any(option.get("type") == "string" for option in options) else "json"
    match schema.get("type"):
        case "string":
            return _FORMATS.get(str(schema.get("format")), "text")
        case "integer" | "number":
            return "number"
        case "array" if _items(schema) in ("string", "integer", "number"):
            return "lines"
        case _:
            return "json"


_FORMATS: dict[str, Kind] = {
    "date": "date", "date-time": "line", "time": "line", "duration": "line", "uuid": "line", "uri": "line",
    "email": "line", "ipv4": "line", "ipv6": "line",
}  # fmt: skip


def _items(schema: Schema) -> str | None:
    """The type of the items of a list of plain ones; None for any other list."""
    items = schema.get("items")
    if not isinstance(items, Mapping) or "enum" in items or "format" in items or "prefixItems" in schema:
        return None
    return cast("Schema", items).get("type")


def _holds(kind: Kind, value: Any) -> bool:
    """Whether a field of that kind can show this value so that it may be changed as what it is."""
    if value is ABSENT or value is None or kind == "json":
        return True
    if kind == "lines":
        return _fits_lines(value)
    if kind in ("line", "date"):
        return isinstance(value, str)
    return kind == "choice" or not isinstance(value, (list, dict))


def _fits_lines(value: Any) -> bool:
    """Whether each item of a list is a line that is read as just that item."""
    if not isinstance(value, list):
        return False
    items = cast("list[Any]", value)
    return all(
        isinstance(item, (str, int, float)) and not isinstance(item, bool) and str(item).strip() != ""
        and not re.search(r"[\r\n]", str(item))
        for item in items
    )  # fmt: skip


# Text and value ------------------------------------------------------------------------------------------------------


def _shown(kind: Kind, value: Any) -> str:
    """The text for a value."""
    if value is ABSENT:
        return ""
    if kind == "json":
        return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)
    if value is None:
        return ""
    if kind == "choice":
        return canonical(value)
    if kind == "lines" and isinstance(value, list):
        return "\n".join(str(item) for item in cast("list[Any]", value))
    return value if isinstance(value, str) else json.dumps(value)


def _posted(text: str) -> str:
    """A text as it comes back from a page that showed it."""
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))


def _number(text: str) -> Any:
    """A number where it is one; else the text, of which is said that it is none."""
    try:
        return _strict(text)
    except ValueError:
        return text.strip()


def _json(text: str) -> Any:
    try:
        return _strict(text)
    except ValueError as error:
        raise InvalidInput(f"this is not JSON: {error}") from None


def _loose(text: str) -> Any:
    """JSON; or the text itself, where it does not begin like JSON."""
    try:
        return _strict(text)
    except ValueError as error:
        if text.lstrip()[:1] not in ("{", "[", '"'):
            return text
        raise InvalidInput(f"this is not JSON: {error}") from None


def _strict(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return ABSENT
        value = cast("Mapping[str, Any]", value)[part]
    return value


def _put(made: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    root: dict[str, Any] = {} if made is ABSENT else made
    at = root
    if value is not ABSENT:
        for part in path[:-1]:
            at = at.setdefault(part, {})
        at[path[-1]] = value
    return root
