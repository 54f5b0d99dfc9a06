"""Forms from types: what comes back untouched is what was there; what was typed is read as its type, or said wrong."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from html.parser import HTMLParser
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from vbl.drawing.entries import ABSENT, Form, form
from vbl.drawing.forms import Sending, fields_of
from vbl.history.gates import canonical


class Browser(HTMLParser):
    """A form as a browser fills and sends it: the value of each control by its name, line breaks as CR LF."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.values: dict[str, str] = {}
        self.labels: set[str] = set()
        self.ids: list[str] = []
        self.described: set[str] = set()
        self._area: str | None = None
        self._select: str | None = None
        self.feed(markup.replace("\r\n", "\n").replace("\r", "\n"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = dict(attrs)
        self.ids += [at["id"] or ""] if "id" in at else []
        self.described |= set((at.get("aria-describedby") or "").split())
        name = at.get("name") or ""
        match tag:
            case "label":
                self.labels.add(at.get("for") or "")
            case "input":
                self.values[name] = at.get("value") or ""
            case "textarea":
                self._area, self.values[name] = name, ""
            case "select":
                self._select = name
            case "option" if self._select is not None:
                if "selected" in at or self._select not in self.values:
                    self.values[self._select] = at.get("value") or ""
            case _:
                pass

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            first = not self.values[self._area] and data.startswith("\n")
            self.values[self._area] += data[1:] if first else data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = None
        if tag == "select":
            self._select = None

    @property
    def sent(self) -> dict[str, str]:
        return {name: value.replace("\n", "\r\n") for name, value in self.values.items()}


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    number: int | None = None


class Everything(BaseModel):
    whole: int
    real: float = 1.5
    text: str = "x"
    maybe: str | None = None
    yes: bool
    one_of: Literal["a", "b", 3]
    colour: Colour = Colour.RED
    perhaps: Colour | None = None
    words: list[str] = Field(default=[], description="words of the day")
    numbers: list[int]
    named: dict[str, int] = {}
    address: Address
    other: Address | None = None
    day: datetime.date
    at: datetime.datetime
    price: decimal.Decimal
    either: int | str
    anything: Any = None
    pair: tuple[int, str]
    id: uuid.UUID
    many: list[Address]


SCHEMA = TypeAdapter(Everything).json_schema()
TYPED = {
    "whole": "7", "real": "2.5", "text": "two\r\nlines", "maybe": "", "yes": "true", "one_of": '"b"',
    "colour": '"blue"', "perhaps": "", "words": "first\r\n\r\nsecond one\r\n", "numbers": "1\r\n22",
    "named": '{"a": 1}', "address.street": "Main St", "address.number": "", "other": '{"street": "x"}',
    "day": "2026-01-31", "at": "2026-01-31T09:30:00Z", "price": "12.50", "either": "5", "anything": "just text",
    "pair": '[1, "x"]', "id": "12345678-1234-5678-1234-567812345678", "many": '[{"street": "y", "number": 3}]',
}  # fmt: skip


def typed(made: Form, **texts: str) -> dict[str, str]:
    """What a browser sends where these texts are typed into the fields of those labels."""
    sent = Browser(fields_of(made, "f")).sent
    by_label = {entry.label: entry.sent_as for entry in made.entries}
    return sent | {by_label[label]: text for label, text in texts.items()}


def test_what_is_typed_comes_back_as_its_type_wants_it() -> None:
    made = form(SCHEMA, "data")
    value, after = made.filled(typed(made, **TYPED))
    assert not after.wrong, [(entry.label, entry.error) for entry in after.entries if entry.error]
    model = Everything.model_validate(value)
    assert (model.whole, model.real, model.text, model.maybe, model.yes) == (7, 2.5, "two\nlines", None, True)
    assert (model.one_of, model.colour, model.perhaps) == ("b", Colour.BLUE, None)
    assert (model.words, model.numbers, model.named) == (["first", "second one"], [1, 22], {"a": 1})
    assert (model.address, model.other) == (Address(street="Main St"), Address(street="x"))
    assert (model.price, model.either, model.anything) == (decimal.Decimal("12.50"), "5", "just text")
    assert (model.pair, model.many) == ((1, "x"), [Address(street="y", number=3)])
    assert model.at == datetime.datetime(2026, 1, 31, 9, 30, tzinfo=datetime.UTC)


def test_what_is_written_as_json_says_its_shape() -> None:
    shapes = {entry.label: entry.shape for entry in form(SCHEMA, "data").entries if entry.kind == "json"}
    address = "street: text, number: a whole number or null (may be left out)"
    assert shapes == {"named": "", "other": address, "anything": "", "pair": "", "many": f"each: {address}"}


@pytest.mark.parametrize(
    ("label", "text", "said"),
    [
        ("whole", "many", "valid integer"),
        ("whole", "", "a value is needed"),
        ("whole", "1.5", "valid integer"),
        ("real", "NaN", "finite number"),
        ("yes", "", "a value is needed"),
        ("one_of", '"z"', "should be"),
        ("one_of", "z", "is not JSON"),
        ("numbers", "1\nx", "1: "),
        ("named", '{"a": ', "is not JSON"),
        ("named", "[" * 100_000, "nested too deeply"),
        ("address.street", "", "a value is needed"),
        ("day", "yesterday", "valid date"),
        ("other", '{"street": 1, "more": 2}', "more"),
        ("id", "7", "UUID"),
    ],
)
def test_what_does_not_fit_is_said_beside_its_field_and_stays_as_it_was_typed(label: str, text: str, said: str) -> None:
    made = form(SCHEMA, "data")
    _, after = made.filled(typed(made, **TYPED | {label: text}))
    assert [entry.label for entry in after.entries if entry.error] == [label]
    (wrong,) = [entry for entry in after.entries if entry.error]
    assert said in wrong.error
    markup = fields_of(after, "f")
    assert Browser(markup).values[wrong.sent_as] == text
    assert 'aria-invalid="true"' in markup
    assert {entry.label: entry.text for entry in after.entries if entry is not wrong} == {
        entry.label: dict(TYPED).get(entry.label, entry.text) for entry in after.entries if entry is not wrong
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PART = st.sampled_from(
    [
        True, {}, {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"},
        {"enum": ["a", 1, None, True]}, {"const": 1}, {"type": "string", "format": "date"}, {"type": "object"},
        {"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "number"}]},
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]},
    ]
)  # fmt: skip
SCHEMAS = PART | st.builds(
    lambda parts: {"type": "object", "properties": parts, "required": list(parts)[:1]},
    st.dictionaries(st.text(max_size=3), PART, min_size=1, max_size=4),
)


@given(SCHEMAS, JSON)
def test_what_comes_back_untouched_is_what_was_there(schema: Any, value: Any) -> None:
    """Whatever stands there, also what the schema would never have let in: nobody edits by only looking."""
    made = form(schema, "data", value)
    came, errors = made.value()
    assert (canonical(came), errors) == (canonical(value), {})
    read = Browser(fields_of(made, "f"))
    back = [entry.sent(read.sent) for entry in made.entries]
    assert all(entry.untouched for entry in back)
    assert canonical(Form("data", schema, "", tuple(back)).value()[0]) == canonical(value)


@given(SCHEMAS, JSON)
def test_every_field_has_a_label_and_ids_are_unique(schema: Any, value: Any) -> None:
    read = Browser(fields_of(form(schema, "data", value), "f"))
    assert len(set(read.ids)) == len(read.ids)
    assert len(read.labels) == len(read.values)
    assert read.labels <= set(read.ids)
    assert read.described <= set(read.ids)


@given(SCHEMAS, st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3), st.text(max_size=12))
def test_no_text_from_outside_breaks_the_reading(schema: Any, more: dict[str, str], text: str) -> None:
    made = form(schema, "data")
    sent = {entry.sent_as: text for entry in made.entries}
    value, after = made.filled(more | sent)
    assert after.wrong or value is ABSENT or canonical(value)
    assert [entry.text for entry in after.entries] == [text for _ in after.entries]


def test_a_field_that_is_of_another_kind_by_now_is_read_as_it_was_sent() -> None:
    """The page was drawn before the schema or the value became another."""
    for value in (1.5, {"a": 1}, "text"):
        _, said = form(True, "data", value).filled({"data.lines": "2"})
        assert said.entries[0].text == "2"


def test_a_field_that_the_form_has_no_more_is_refused_not_forgotten() -> None:
    made = form({"type": "integer"}, "data")
    _, after = made.filled({"data-3.text": "important"})
    assert "has changed since" in after.error
    assert not form({"type": "integer"}, "data", 1).filled({"other": "x", "dataset.text": "y"})[1].wrong


def test_defaults_stand_in_the_fields_and_are_recorded() -> None:
    made = form(SCHEMA, "data")
    value, after = made.filled(typed(made, **{k: v for k, v in TYPED.items() if k not in ("real", "text", "colour")}))
    assert not after.wrong
    assert (value["real"], value["text"], value["colour"]) == (1.5, "x", "red")


def test_nothing_of_a_value_becomes_markup() -> None:
    nasty = "</textarea><script>alert(1)</script>\"'<"
    schema = {"type": "object", "properties": {nasty: {"type": "string", "description": nasty, "enum": [nasty]}}}
    markup = fields_of(form(schema, "data", {nasty: nasty}), "f") + fields_of(form({"type": "string"}, "d", nasty), "g")
    assert "<script" not in markup
    assert markup.count("</textarea>") == 1


def test_a_form_posts_with_its_token_below_the_prefix() -> None:
    made = Sending('tok"en', "ada", "/vbl").form("/gates/g/approve", class_="decide")
    assert made == (
        '<form method="post" action="/vbl/gates/g/approve" class="decide">'
        '<input type="hidden" name="csrf" value="tok&quot;en"></form>'
    )


WORDS = st.sampled_from(
    [
        "type", "enum", "const", "anyOf", "oneOf", "allOf", "items", "properties", "required", "format", "default",
        "description", "$ref", "$defs", "prefixItems", "minItems", "maxItems", "additionalProperties", "pattern",
    ]
)  # fmt: skip
ODD = st.recursive(
    JSON | st.sampled_from(["string", "object", "array", "#", "#/$defs/a", "#/properties/a", "date"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.just("a"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(WORDS, ODD, max_size=4), JSON, st.text(max_size=6))
def test_no_schema_of_a_strangers_file_breaks_the_page(schema: Any, value: Any, text: str) -> None:
    for made in (form(schema, "data"), form(schema, "data", value)):
        assert Browser(fields_of(made, "f")).ids
        made.filled({entry.sent_as: text for entry in made.entries})
    assert canonical(form(schema, "data", value).value()[0]) == canonical(value)
