"""Recorded schemas hold data as the types do that they were made of, with none of the types at hand."""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import uuid
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from vbl.errors import InvalidInput
from vbl.history.schemas import described, fields, fitting
from vbl.store.codec import Codec


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    number: int = 1


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    barks: bool


class Node(BaseModel):
    value: int
    next: Node | None = None


class Pair(NamedTuple):
    a: int
    b: str


class Order(BaseModel):
    amount: int = Field(ge=1, le=100, description="how many")
    note: str | None = None
    colour: Colour = Colour.RED
    address: Address
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None


def schema_of(annotation: Any) -> dict[str, Any]:
    return TypeAdapter(annotation).json_schema()


ORDER = {"amount": 3, "address": {"street": "here"}}

TRIED: list[tuple[Any, list[Any]]] = [
    (int, [1, "7", 1.0, 1.5, "x", None, True, [1], 2**70]),
    (float, [1, 1.5, "2.5", "x", None]),
    (str, ["", "text", 5, None, ["a"]]),
    (bool, [True, "yes", 1, 2, "maybe"]),
    (type(None), [None, 0, ""]),
    (Literal["a", 2], ["a", 2, "2", "b"]),
    (Colour, ["red", "green", "RED"]),
    (list[int], [[], [1, "2"], ["x"], 1, {}]),
    (tuple[int, str], [[1, "a"], [1], [1, "a", 2], ["x", "a"]]),
    (tuple[int, ...], [[], [1, 2], ["x"]]),
    (Pair, [[1, "a"], [1], [1, 2]]),
    (dict[str, int], [{}, {"a": 1}, {"a": "x"}, []]),
    (Annotated[str, Field(min_length=2, max_length=3, pattern="^[a-z]+$")], ["ab", "a", "abcd", "AB"]),
    (Annotated[int, Field(gt=1, lt=5, multiple_of=2)], [2, 1, 5, 3, 4]),
    (Annotated[list[int], Field(min_length=1, max_length=2)], [[], [1], [1, 2], [1, 2, 3]]),
    (datetime.datetime, ["2026-01-01T00:00:00Z", "tomorrow", None]),
    (datetime.date, ["2026-01-01", "2026-13-01"]),
    (datetime.time, ["12:00:00", "25:00"]),
    (datetime.timedelta, ["PT5M", "five minutes"]),
    (uuid.UUID, ["12345678-1234-5678-1234-567812345678", "1234"]),
    (decimal.Decimal, ["1.20", 3, None]),  # of its text pydantic's schema says nothing more
    (ipaddress.IPv4Address, ["127.0.0.1", "127.0.0"]),
    (int | None, [1, None, "x"]),
    (int | str, [1, "x", None]),
    (Node, [{"value": 1, "next": {"value": "2"}}, {"value": 1, "next": {"value": "x"}}, {"next": None}]),
    (Cat | Dog, [{"kind": "cat", "lives": 9}, {"kind": "dog", "lives": 9}]),
    (
        Order,
        [
            ORDER,
            {**ORDER, "amount": 0},
            {**ORDER, "amount": 101},
            {**ORDER, "colour": "green"},
            {**ORDER, "address": {}},
            {**ORDER, "pet": {"kind": "cat", "lives": "9"}},
            {**ORDER, "pet": {"kind": "cow"}},
            {"amount": 3},
            5,
        ],
    ),
    (Any, [None, 1, "x", [1], {"$ref": "#/$defs/nothing"}]),
]


@pytest.mark.parametrize(
    ("annotation", "value"), [(kind, value) for kind, values in TRIED for value in values], ids=repr
)
def test_data_fits_a_schema_where_it_fits_the_type(annotation: Any, value: Any) -> None:
    adapter = TypeAdapter(annotation)
    schema = adapter.json_schema()
    try:
        wanted = adapter.dump_python(adapter.validate_json(TypeAdapter(Any).dump_json(value)), mode="json")
    except ValidationError:
        with pytest.raises(InvalidInput, match="the answer does not fit"):
            fitting(schema, value, "the answer")
        return
    got = fitting(schema, value, "the answer")
    back = adapter.dump_python(adapter.validate_json(TypeAdapter(Any).dump_json(got)), mode="json")
    assert back == wanted


@pytest.mark.parametrize(
    "given", ["1.20", 3, 4.5, "10", "-1", 10.5, "11", "abc", "", "NaN", None, True, 12345678901234567891]
)
def test_the_text_of_a_decimal_number_is_one_and_keeps_its_limits(given: Any) -> None:
    codec = Codec(Annotated[decimal.Decimal, Field(gt=0, le=10)], "amount")
    schema = codec.json_schema()
    assert schema is not None
    assert described(schema) == "a number"
    try:
        codec.accept(given)
    except ValidationError:
        with pytest.raises(InvalidInput, match=r"amount does not fit: (Decimal i|I)nput should be"):
            fitting(schema, given, "amount")
    else:
        assert fitting(schema, given, "amount") == given


@pytest.mark.parametrize("given", [None, "x", "1.5", 2])
def test_a_decimal_number_among_other_types(given: Any) -> None:
    schema = Codec(decimal.Decimal | Literal["x"] | None, "amount").json_schema()
    assert schema is not None
    assert fitting(schema, given, "amount") == given
    with pytest.raises(InvalidInput):
        fitting(schema, "y", "amount")


def test_values_become_what_their_types_take_them_for() -> None:
    assert fitting(schema_of(Order), {"amount": "5", "address": {"street": "x", "number": "2"}}, "it") == {
        "amount": 5,
        "address": {"street": "x", "number": 2},
    }


def test_a_long_number_keeps_its_digits() -> None:
    assert fitting(schema_of(decimal.Decimal), 12345678901234567891, "it") == 12345678901234567891


def test_a_name_that_nobody_would_read_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ammount"):
        fitting(schema_of(Order), {**ORDER, "ammount": 3}, "the data")


def test_a_misfit_says_where_and_what_is_taken() -> None:
    with pytest.raises(InvalidInput) as refused:
        fitting(schema_of(Order), {**ORDER, "amount": 0}, "the data")
    assert "amount: Input should be greater than or equal to 1" in refused.value.message
    assert "amount: a whole number" in refused.value.hint
    assert "note: text or null (may be left out)" in refused.value.hint


@pytest.mark.parametrize("value", ["\ud800", {"a": "\ud800"}], ids=ascii)
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        fitting(True, value, "the data")


STRANGE = [
    {"type": 7},
    {"type": ["string", 3]},
    {"enum": 3},
    {"anyOf": []},
    {"anyOf": "x"},
    {"$ref": "#/$defs/none"},
    {"$ref": "https://example.org/schema"},
    {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
    {
        "$defs": {
            "x": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/c"}}, {"$ref": "#/$defs/c"}]},
            "c": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]},
        },
        "$ref": "#/$defs/x",
    },
    {"$ref": "#"},
    {"properties": {"a": 3}, "required": "a"},
    {"type": "string", "pattern": "(?<=x)("},
    {"type": "integer", "minimum": "low"},
    {"type": "array", "prefixItems": {"a": 1}},
    {"discriminator": {"propertyName": 3, "mapping": {"a": 1}}, "oneOf": [{}]},
]


@pytest.mark.parametrize("schema", STRANGE, ids=str)
def test_a_schema_that_nobody_should_have_written_is_no_crash(schema: dict[str, Any]) -> None:
    for value in ({"a": 1}, "x", 3, None, [1]):
        try:
            fitting(schema, value, "it")
        except InvalidInput:
            continue
    assert described(schema)


def test_a_schema_that_holds_itself_ends() -> None:
    deep: dict[str, Any] = {"$defs": {"L": {"type": "array", "items": {"$ref": "#/$defs/L"}}}, "$ref": "#/$defs/L"}
    assert fitting(deep, [[[]], []], "it") == [[[]], []]
    with pytest.raises(InvalidInput):
        fitting(deep, [[1]], "it")
    assert described(deep).startswith("a list")


def test_a_form_has_a_field_for_each_value() -> None:
    found = {field.name: field for field in fields(schema_of(Order))}
    assert list(found) == ["amount", "note", "colour", "address.street", "address.number", "pet"]
    assert found["amount"].required
    assert found["amount"].about == "how many"
    assert not found["note"].required
    assert found["colour"].choices == ("red", "blue")
    assert found["colour"].default == "red"
    assert found["address.street"].required
    assert not found["address.number"].required
    assert fitting(found["amount"].schema, "7", "amount") == 7
    with pytest.raises(InvalidInput):
        fitting(found["pet"].schema, {"kind": "cow"}, "pet")


def test_a_form_of_one_value_has_no_name() -> None:
    (only,) = fields(schema_of(int))
    assert (only.path, only.kind, only.required) == ((), "a whole number", True)


@pytest.mark.parametrize("value", ["NaN", "inf", "-Infinity"])
def test_what_no_json_number_is_does_not_fit_as_one(value: str) -> None:
    """It would be recorded as null, which is no number."""
    with pytest.raises(InvalidInput):
        fitting({"type": "number"}, value, "x")
