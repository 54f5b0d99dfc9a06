"""Typed values and their recorded form: pydantic at the edge, with the round trip checked when it is written.

`Codec.record` gives the text to store, the plain data it stands for, and the value that the workflow sees, which is
always the one decoded from the recorded form.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pydantic import ConfigDict, PydanticUserError, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation
from pydantic_core import PydanticSerializationError, ValidationError, from_json, to_json

from vbl.errors import Divergence, ValueNotStorable
from vbl.store.payloads import (
    LARGE_BYTES,
    Blob,
    Json,
    Recorder,
    Shape,
    check_size,
    copy_list,
    dumps,
    guard,
    native,
    plain_copy,
    refuse,
    same,
    spill,
)

if TYPE_CHECKING:
    from pydantic.json_schema import GenerateJsonSchema
    from pydantic_core import core_schema


@dataclass(slots=True)
class Recorded:
    """A value in its three forms, the blob that holds its text where that is long, and its shape where it is large."""

    text: str
    plain: Json
    value: Any
    blob: Blob | None = None
    shape: Shape | None = None


_SMALL: dict[type, Any] = {str: None, int: None, bool: None, type(None): None}
_ATOMS: dict[Any, tuple[type, ...]] = {
    Any: (str, int, bool, type(None)),
    object: (str, int, bool, type(None)),
    str: (str,),
    int: (int,),
    bool: (bool,),
    None: (type(None),),
    type(None): (type(None),),
}
_LONG_ATOM = 256
_LEVELS = 8
"""What an event puts around a value; a value that leaves no room for it could be written, and never read again."""
_OPEN, _CLOSE = b"[" * _LEVELS, b"]" * _LEVELS
_TOO_DEEP = "it is nested too deeply, or holds itself"
_CONSTANTS = {True: "true", False: "false", None: "null"}


def _is_native_type(annotation: Any) -> bool:
    """Whether values of the annotation are JSON data themselves, so that plain form and value are equal."""
    if annotation in (str, int, float, bool, None, type(None), Any, object, list, dict, inspect.Parameter.empty):
        return True
    origin = typing.get_origin(annotation)
    if origin in (list, typing.Union, types.UnionType):
        return all(map(_is_native_type, typing.get_args(annotation)))
    if origin is dict:
        key, value = typing.get_args(annotation)
        return key is str and _is_native_type(value)
    return False


def _is_loose(annotation: Any) -> bool:
    """Whether a native annotation leaves open what is inside."""
    arguments = typing.get_args(annotation)
    return annotation in (Any, object, list, dict) or any(map(_is_loose, arguments))


class Codec:
    """Writes and reads values of one annotation. Without one, only what JSON itself holds is accepted."""

    __slots__ = ("_adapter", "_anything", "_large", "_loose", "_native", "_schema", "atoms", "what")

    def __init__(self, annotation: Any, what: str) -> None:
        self.what = what
        if annotation is inspect.Parameter.empty:
            annotation = Any
        self._anything = annotation is Any
        self._native = _is_native_type(annotation)
        self._loose = self._native and _is_loose(annotation)
        self.atoms = _ATOMS.get(annotation, ()) if self._native and isinstance(annotation, Hashable) else ()
        self._large = False
        self._schema: dict[str, Json] | None = None
        try:
            self._adapter = _adapter(annotation)
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation) as error:
            raise refuse(what, annotation, f"pydantic has no schema for {annotation!r}") from error

    def record(self, value: Any, recorder: Recorder, *, decode: bool = True) -> Recorded:
        """Turn `value` into what is stored. Raises ValueNotStorable, naming the place and the type.

        `decode` is false where nobody needs the value that would be read back. Once it stands in the history the
        caller tells the recorder: `recorder.know(path, plain, shape)`.
        """
        kind = cast("type[Any]", type(value))
        if kind in self.atoms and (atom := self.atom(value)) is not None:
            return Recorded(atom, value, value)
        if self._large and self._native and kind in (list, str):
            repeated = self._repeated(value, recorder, decode)
            if repeated is not None:
                return repeated
        raw, back = self._round_trip(value)
        self._large = len(raw) >= LARGE_BYTES
        text = raw.decode()
        if not self._large:
            # not the value itself: 60 given as a float is recorded as 60.0
            plain = value if kind is str and self._native else self._plain(value, raw)
            return Recorded(guard(text, plain), plain, back)
        plain = self._plain(value, raw)
        return self._long(guard(text, plain), plain, back, recorder)

    def atom(self, value: Any) -> str | None:
        """The text of a value of one of the `atoms`, or None where it is long and deserves the long way."""
        if type(value) is str:
            if len(value) >= _LONG_ATOM:
                return None
            try:
                return to_json(value).decode()
            except (PydanticSerializationError, UnicodeError) as error:
                raise refuse(self.what, value, _reason(error)) from error
        if type(value) is int:
            return str(value) if -(2**63) <= value < 2**63 else None
        return _CONSTANTS[value]

    def _long(self, text: str, plain: Json, back: Any, recorder: Recorder) -> Recorded:
        shape = None
        if isinstance(plain, dict):
            text = _by_key(cast(dict[str, Json], plain), text, recorder)
        elif isinstance(plain, (list, str)) and (found := recorder.difference(plain)) is not None:
            text, plain, shape = found.text, found.whole, found.shape
        text, blob = spill(text)
        return Recorded(text, plain, back, blob, shape)

    def _repeated(self, value: Any, recorder: Recorder, decode: bool) -> Recorded | None:
        """The quick way for a long list or text that mostly repeats an earlier one: only the new part is encoded."""
        found = recorder.difference(value)
        if found is None:
            return None
        if found.put:
            self._plain(found.put, self._round_trip(found.put)[0])
        back = copy_list(found.whole, found.shape) if decode and type(value) is list else found.whole
        text, blob = spill(found.text)
        return Recorded(text, found.whole, back, blob, found.shape)

    def _round_trip(self, value: Any) -> tuple[bytes, Any]:
        try:
            raw = self._adapter.dump_json(value, warnings="error")
            check_size(self.what, len(raw))
            back = self._adapter.validate_json(raw)
            survived = self._survived(value, back, raw)
        except ValueNotStorable:
            raise
        except Exception as error:  # the type's own validators, serialisers and equality may raise anything
            raise refuse(self.what, value, _reason(error)) from error
        if not survived:
            raise refuse(self.what, value, f"it would come back as {_brief(back)} instead of {_brief(value)}")
        return raw, back

    def _plain(self, value: Any, raw: bytes) -> Json:
        try:
            plain = from_json(_OPEN + raw + _CLOSE)
        except ValueError as error:
            raise refuse(self.what, value, _TOO_DEEP) from error
        for _ in range(_LEVELS):
            plain = plain[0]
        return plain

    def _survived(self, value: Any, back: Any, raw: bytes) -> bool:
        if type(value) is type(back) and type(value) in _SMALL:
            return bool(value == back)
        if self._anything:
            return same(value, back) and native(value)
        if type(value) is not type(back) and (type(value), type(back)) != (int, float):
            return False
        if value == back:
            return True
        # a class without an equality of its own: what it writes must be what was written
        return type(value).__eq__ is object.__eq__ and self._adapter.dump_json(back) == raw

    def load(self, plain: Json) -> Any:
        """The value that was recorded as `plain`, by the same way as when it was written."""
        kind = cast("type[Any]", type(plain))
        if self._native and kind in (list, dict):
            return plain_copy(plain)
        if self._native and kind is str:
            return plain
        return self._adapter.validate_json(to_json(plain))

    def recall(self, plain: Json, what: str) -> Any:
        """As `load`, for what other code may have written: validated in full. Raises Divergence, naming `what`."""
        kind = cast("type[Any]", type(plain))
        if kind in self.atoms:
            return plain
        try:
            if self._native and kind in (list, dict):
                # pydantic makes new lists and dicts, but hands on what it does not look into
                return self._adapter.validate_python(plain_copy(plain) if self._loose else plain)
            return self._adapter.validate_json(to_json(plain))
        except Exception as error:
            raise Divergence(
                f"{what} no longer fits its type: {_reason(error)}",
                "Bring the old type back, or let the new one accept both forms",
            ) from error

    def stands_for(self, plain: Json, value: Any) -> bool:
        """Whether `plain`, which is not what is written for `value` now, is nevertheless read as it: the elements of
        a set are written in an order that differs between processes."""
        if self._native:
            return False
        try:
            back = self.load(plain)
        except ValidationError:
            return False
        return type(back) is type(value) and bool(back == value)

    def accept(self, plain: Json) -> Any:
        """Validate data that came from outside. Raises ValueError: pydantic's ValidationError, or its words where the
        data is no JSON, as with a lone surrogate."""
        return self._adapter.validate_json(to_json(plain))

    def json_schema(self) -> dict[str, Json] | None:
        """What data has to look like, as a JSON schema; None where anything is accepted, or pydantic cannot say."""
        if not self._anything and self._schema is None:
            try:
                self._schema = self._adapter.json_schema(by_alias=False, schema_generator=_schemas())
            except PydanticUserError:
                self._schema = {}
        return self._schema or None

    def validate(self, value: Any) -> Any:
        """Validate a Python value as it is, without making another of it. Raises pydantic's ValidationError."""
        return self._adapter.validate_python(value, strict=True)


@functools.cache
def _schemas() -> type[GenerateJsonSchema]:
    """Pydantic's own words, but that the text of a decimal number says that it is one, and keeps its limits."""
    from pydantic.json_schema import GenerateJsonSchema

    class Schemas(GenerateJsonSchema):
        def decimal_schema(self, schema: core_schema.DecimalSchema) -> dict[str, Any]:
            number = super().decimal_schema(schema)["anyOf"][0]
            return {"anyOf": [number, {**number, "type": "string", "format": "decimal"}]}

    return Schemas


def _by_key(plain: dict[str, Json], text: str, recorder: Recorder) -> str:
    """A dict whose large entries repeat earlier values, written with a `$ref` at those entries."""
    found = {
        key: ref
        for key, item in plain.items()
        if isinstance(item, (list, str))
        and len(cast("list[Json]", item)) > 1
        and (ref := recorder.difference(item)) is not None
    }
    if not found or text.startswith('{"$ref"'):
        return text
    for key, repeat in found.items():
        plain[key] = repeat.whole
    parts = (f"{dumps(key)}:{found[key].text if key in found else dumps(item)}" for key, item in plain.items())
    return "{" + ",".join(parts) + "}"


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"{first['msg']}{f' at {place}' if place else ''}"
    if isinstance(error, RecursionError) or "depth exceeded" in str(error) or "Circular reference" in str(error):
        return _TOO_DEEP
    lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    return lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]


def _brief(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '…'}"


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    """An adapter that writes bytes as base64, where the type has no configuration of its own."""
    try:
        return TypeAdapter(annotation, config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(annotation)
