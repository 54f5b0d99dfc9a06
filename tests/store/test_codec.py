"""Values come back as what they were, live as on replay, or are refused where they are written."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from vbl.errors import ValueNotStorable
from vbl.store import payloads
from vbl.store.codec import Codec
from vbl.store.payloads import Recorder, Resolver, dumps, loads, same


def recorded(annotation: Any, value: Any) -> Any:
    """What is recorded of a value, checked: the text stands for the plain form, and both are read alike."""
    codec = Codec(annotation, "the test")
    found = codec.record(value, Recorder())
    blobs = {found.blob[0]: found.blob[2]} if found.blob is not None else {}
    text = f'{{"v":1,"output":{found.text}}}'
    plain = Resolver(blobs.__getitem__).resolve(1, text)["output"]
    assert same(plain, found.plain), f"the text {found.text!r} does not stand for {found.plain!r}"
    back = codec.load(plain)
    assert back == found.value
    assert type(back) is type(found.value), "live and replay see different types"
    return found.value


def refusal(annotation: Any, value: Any) -> str:
    with pytest.raises(ValueNotStorable) as refused:
        Codec(annotation, "step fetch, its result").record(value, Recorder())
    assert refused.value.message.startswith("step fetch, its result: ")
    assert refused.value.hint
    return refused.value.message


# What comes back --------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_data_comes_back_without_any_annotation(value: Any) -> None:
    assert same(recorded(Any, value), value)


@given(st.dictionaries(TEXT, JSON, max_size=4), st.lists(JSON, max_size=4))
def test_dicts_and_lists_of_anything_come_back(entries: dict[str, Any], items: list[Any]) -> None:
    assert same(recorded(dict[str, Any], entries), entries)
    assert same(recorded(list, items), items)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Parcel:
    name: str
    sent_at: datetime.datetime
    tags: set[str] = field(default_factory=set)
    inner: Parcel | None = None


class Ticket(BaseModel):
    id: uuid.UUID
    price: decimal.Decimal
    colour: Colour
    parts: tuple[int, str] = (1, "a")
    extra: dict[str, Any] = {}


class Plain:
    def __init__(self, x: int) -> None:
        self.x = x


ZONES = st.sampled_from([datetime.UTC, *(datetime.timezone(datetime.timedelta(minutes=m)) for m in (-90, 330, 765))])
MOMENTS = st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2200, 1, 1), timezones=ZONES)
TYPED = {
    "datetime": (
        datetime.datetime,
        MOMENTS | st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)),
    ),
    "date": (datetime.date, st.dates()),
    "time": (datetime.time, st.times()),
    "bytes": (bytes, st.binary(max_size=60)),
    "list of bytes": (list[bytes], st.lists(st.binary(max_size=9), max_size=3)),
    "decimal": (decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    "uuid": (uuid.UUID, st.uuids()),
    "float": (float, st.floats(allow_nan=False, allow_infinity=False)),
    "int": (int, st.integers(-(10**40), 10**40)),
    "text": (str, TEXT),
    "set": (set[str], st.sets(TEXT, max_size=5)),
    "frozenset": (frozenset[int], st.frozensets(st.integers(), max_size=5)),
    "tuple": (tuple[int, ...], st.lists(st.integers(), max_size=5).map(tuple)),
    "pair": (tuple[int, str], st.tuples(st.integers(), TEXT)),
    "enum": (Colour, st.sampled_from(Colour)),
    "int enum": (Level, st.sampled_from(Level)),
    "str enum": (Word, st.sampled_from(Word)),
    "named tuple": (Point, st.builds(Point, st.integers(), st.integers())),
    "literal": (Literal["a", 1], st.sampled_from(["a", 1])),
    "optional": (int | None, st.none() | st.integers()),
    "union": (int | str | None, st.none() | st.integers() | TEXT),
    "dict of int": (dict[int, str], st.dictionaries(st.integers(), TEXT, max_size=4)),
    "path": (Path, TEXT.filter(lambda text: text and "\0" not in text).map(Path)),
    "dataclass": (
        Parcel,
        st.builds(Parcel, TEXT, MOMENTS, st.sets(TEXT, max_size=3), st.none() | st.builds(Parcel, TEXT, MOMENTS)),
    ),
    "model": (
        Ticket,
        st.builds(
            Ticket,
            id=st.uuids(),
            price=st.decimals(allow_nan=False, allow_infinity=False),
            colour=st.sampled_from(Colour),
            parts=st.tuples(st.integers(), TEXT),
            extra=st.dictionaries(TEXT, JSON, max_size=3),
        ),
    ),
    "list of models or nothing": (list[Ticket] | None, st.none()),
}


@pytest.mark.parametrize("name", TYPED)
@given(data=st.data())
def test_typed_values_keep_their_type_and_value(name: str, data: st.DataObject) -> None:
    annotation, values = TYPED[name]
    value = data.draw(values)
    back = recorded(annotation, value)
    assert back == value
    assert type(back) is type(value)
    if isinstance(value, datetime.datetime):
        assert back.utcoffset() == value.utcoffset()


@given(st.timedeltas(datetime.timedelta(-9_000), datetime.timedelta(9_000)))
def test_a_timedelta_comes_back_or_is_refused(value: datetime.timedelta) -> None:
    try:
        back = recorded(datetime.timedelta, value)
    except ValueNotStorable:
        return
    assert back == value


def test_a_moment_in_a_named_zone_keeps_its_instant_and_its_offset() -> None:
    for zone in ("Europe/Berlin", "Asia/Kolkata", "America/St_Johns"):
        for month in (1, 7):
            moment = datetime.datetime(2026, month, 5, 12, 30, 1, 999_999, tzinfo=ZoneInfo(zone))
            back = recorded(datetime.datetime, moment)
            assert back == moment
            assert back.utcoffset() == moment.utcoffset()


@pytest.mark.parametrize(
    ("annotation", "value"), [(float, 60), (float, True + 1), (float | None, 2), (list[float], [1])]
)
def test_a_whole_number_given_as_float_is_recorded_as_one(annotation: Any, value: Any) -> None:
    assert recorded(annotation, value) == value


@pytest.mark.parametrize("text", ["\0", "a\0b", "\u2028", "\U0001f600", "ÅÄÖ" * 200, '"\\\n\t\x7f', "$ref"])
def test_odd_text_comes_back(text: str) -> None:
    for annotation in (str, Any, list[str], dict[str, str]):
        value = {"list[str]": [text], "dict[str, str]": {text: text}}.get(str(annotation), text)
        assert recorded(annotation, value) == value


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**100])
def test_long_numbers_come_back_whole(number: int) -> None:
    assert recorded(int, number) == number
    assert recorded(Any, number) == number
    assert recorded(list[int], [number]) == [number]


def test_a_class_without_an_equality_of_its_own_is_judged_by_what_it_writes() -> None:
    from pydantic import ConfigDict
    from pydantic.dataclasses import dataclass as checked

    @checked(config=ConfigDict(), eq=False)
    class Quiet:
        x: int

    assert recorded_text(Quiet, Quiet(7)) == '{"x":7}'


def recorded_text(annotation: Any, value: Any) -> str:
    return Codec(annotation, "the test").record(value, Recorder()).text


# What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\ud83d alone", "x" * 300 + "\udc00"])
def test_lone_surrogates_are_refused(text: str) -> None:
    for annotation, value in (
        (str, text),
        (Any, text),
        (list[str], [text]),
        (dict[str, str], {text: "x"}),
        (Any, {"k": text}),
    ):
        assert "cannot be recorded" in refusal(annotation, value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(number: float) -> None:
    for annotation, value in ((float, number), (Any, number), (list[float], [number]), (dict[str, Any], {"x": number})):
        refusal(annotation, value)
    refusal(decimal.Decimal, decimal.Decimal("nan"))


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1, 2},
        {1: "a"},
        b"bytes",
        datetime.datetime(2026, 1, 1),
        Colour.RED,
        Word.YES,
        Level.LOW,
        Plain(1),
        object(),
        print,
    ],
    ids=lambda value: type(value).__name__,
)
def test_without_an_annotation_only_json_data_is_recorded(value: Any) -> None:
    """Else it would come back as something else."""
    message = refusal(Any, value)
    assert type(value).__name__ in message
    refusal(Any, [value])
    refusal(Any, {"deep": {"down": value}})


def test_a_value_of_another_type_than_the_annotation_is_refused() -> None:
    class Special(Ticket):
        more: int = 1

    price = decimal.Decimal("1.5")
    special = Special(id=uuid.UUID(int=1), price=price, colour=Colour.RED)
    for annotation, value in (
        (str, Word.YES),
        (int, True),
        (int, 1.5),
        (int, "7"),
        (bool, 1),
        (list[int], (1, 2)),
        (tuple[int, ...], [1, 2]),
        (Ticket, special),
        (list[Ticket], [special]),
        (dict[str, Any], {1: "a"}),
        (None, 0),
    ):
        refusal(annotation, value)


def test_a_type_that_has_no_schema_is_refused_when_it_is_declared() -> None:
    with pytest.raises(ValueNotStorable, match="Plain"):
        Codec(Plain, "step fetch, its result")


def test_something_nested_too_deeply_is_refused_and_never_half_written() -> None:
    """Whatever is accepted can be read again within the event that holds it."""
    accepted = []
    for depth in (1, 50, 100, 150, 180, 195, 198, 199, 200, 201, 205, 250, 1_000, 100_000):
        value: Any = "bottom"
        for _ in range(depth):
            value = [value]
        try:
            found = Codec(Any, "the test").record(value, Recorder())
        except ValueNotStorable:
            assert re.search("deep|recursion", refusal(Any, value))
            continue
        text = f'{{"v":1,"step":"s","input":{{"x":{found.text}}}}}'
        assert Resolver({}.__getitem__).resolve(1, text)["input"]["x"] == value
        accepted.append(depth)
    assert 100 in accepted, "a hundred levels are not too deep"
    assert 100_000 not in accepted


def test_a_thing_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    refusal(Any, loop)


def test_a_long_value_is_refused_by_a_limit_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "MAX_BYTES", 2**20)
    assert recorded(str, "x" * (2**20 - 2)) == "x" * (2**20 - 2)
    for annotation, value in ((str, "x" * 2**20), (Any, ["x" * 2**19] * 2), (bytes, b"x" * 2**20)):
        with pytest.raises(ValueNotStorable, match="1 MiB") as refused:
            Codec(annotation, "step fetch, its result").record(value, Recorder())
        assert refused.value.code == "value_too_large"
        assert "file" in refused.value.hint


# Data that looks like ours ----------------------------------------------------------------------------------------

MARKED = [
    {"$ref": 1},
    {"$ref": {"of": [1, "output"], "keep": [1, 1], "put": ""}},
    {"$ref": {"blob": "00", "bytes": 3}},
    {"$ref": {"literal": 5}},
    {"$ref": None, "other": 2},
    {"a": {"$ref": {"of": [1], "keep": [0, 0], "put": []}}},
    {"a": [{"$ref": {"blob": "x"}}], "b": "$ref"},
    {"a": {"b": {"c": {"$ref": {"blob": "x"}}}}},
    [{"$ref": {"blob": "x"}}],
    "$ref",
    '{"$ref":{"blob":"x"}}',
    {"$ref": {"literal": {"$ref": {"literal": 1}}}},
]


@pytest.mark.parametrize("value", MARKED, ids=dumps)
def test_users_data_with_a_reference_in_it_comes_back(value: Any) -> None:
    assert recorded(Any, value) == value
    long = {"filler": "x" * 40_000, "value": value}
    assert recorded(dict[str, Any], long) == long


@given(
    st.recursive(
        st.sampled_from(["$ref", "of", "keep", "literal", "blob", 1, None]),
        lambda inner: (
            st.dictionaries(st.sampled_from(["$ref", "of", "keep", "put", "literal", "blob", "a"]), inner, max_size=3)
            | st.lists(inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_no_data_can_be_taken_for_a_reference(value: Any) -> None:
    assert recorded(Any, value) == value
    assert loads(dumps(value)) == value
