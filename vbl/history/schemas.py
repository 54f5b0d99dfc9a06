"""Hold data against a JSON schema that stands in a history, in pydantic's own words; and name the fields of a form.

What a decision, a signal or an answer has to look like is recorded as a JSON schema, so that a client can check it with
none of the user's code at hand: nothing of a file is imported or evaluated. The schema is translated to a validator of
pydantic's core, for the words that pydantic uses for types: what it leaves open is left open here, and the engine holds
the data against the real types again. A name that the schema does not have is refused: what a person writes and
nobody would read is a slip.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from pydantic_core import (
    CoreSchema,
    PydanticCustomError,
    SchemaError,
    SchemaValidator,
    ValidationError,
    core_schema,
    from_json,
    to_json,
)

from vbl.errors import InvalidInput

Schema = Mapping[str, Any]
_DEEPEST = 64
"""Levels of a schema that are looked into; what lies deeper is left to the real types."""
_NULL = {"type": "null"}
_SHOWN = 3
"""So many misfits are named; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value that a form asks for. `path` leads to it through objects; `kind` names its type in words."""

    path: tuple[str, ...]
    kind: str
    required: bool
    schema: Schema
    default: Any = None
    about: str = ""
    choices: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The path as text: `address.street`."""
        return ".".join(self.path)


def fitting(schema: Schema | bool, value: Any, what: str) -> Any:
    """The plain value as the schema has it: "5" is 5 where a whole number is asked for.

    Raises InvalidInput, which begins with `what` and names each misfit.
    """
    try:
        return from_json(to_json(_validator(schema).validate_json(to_json(value)), bytes_mode="base64"))
    except ValidationError as error:
        raise InvalidInput(f"{what} does not fit: {_misfits(error)}", _wanted(schema)) from None
    except ValueError as error:
        raise InvalidInput(f"{what} is no JSON data: {error}", _wanted(schema)) from None


def described(schema: Schema | bool) -> str:
    """What a schema asks for, on one line: `amount: a whole number, note: text (may be left out)`."""
    asked = fields(schema)
    if len(asked) == 1 and not asked[0].path:
        return asked[0].kind
    return ", ".join(f"{f.name}: {f.kind}" + ("" if f.required else " (may be left out)") for f in asked)


def fields(schema: Schema | bool) -> list[Field]:
    """The values that a form for this schema asks for, in order; one without a path where it is no object."""
    root = _mapping(schema)
    return _fields(root, root, (), True, frozenset())


def _fields(root: Schema, schema: Schema, path: tuple[str, ...], required: bool, seen: frozenset[str]) -> list[Field]:
    whole, refs = _resolved(root, schema)
    named = whole.get("properties")
    if isinstance(named, Mapping) and named and not seen & refs and "default" not in whole:
        must = _several(whole.get("required"))
        return [
            field
            for name, part in cast("Mapping[str, Any]", named).items()
            for field in _fields(root, _mapping(part), (*path, name), required and name in must, seen | refs)
        ]
    choices = _choices(whole)
    about = str(whole.get("description") or "")
    with_definitions = {**whole, "$defs": root["$defs"]} if "$defs" in root else whole
    return [Field(path, _kind(root, whole), required, with_definitions, whole.get("default"), about, tuple(choices))]


def _resolved(root: Schema, schema: Schema) -> tuple[Schema, frozenset[str]]:
    """A schema with its references followed, and their names. A title or a default beside a reference stays."""
    seen: set[str] = set()
    while isinstance(ref := schema.get("$ref"), str) and ref not in seen:
        seen.add(ref)
        target = _target(root, ref)
        if target is None:
            break
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    if isinstance(only := schema.get("allOf"), list) and len(cast("list[Any]", only)) == 1:
        inner, refs = _resolved(root, _mapping(only[0]))
        return {**inner, **{key: value for key, value in schema.items() if key != "allOf"}}, frozenset(seen | refs)
    return schema, frozenset(seen)


def _target(root: Schema, ref: str) -> Schema | None:
    """What a reference within the document stands for; None for any other."""
    if ref == "#":
        return root
    at: Any = root
    if not ref.startswith("#/"):
        return None
    for part in ref[2:].split("/"):
        at = _mapping(at).get(part.replace("~1", "/").replace("~0", "~"))
    return cast("Schema", at) if isinstance(at, Mapping) else None


def _mapping(value: Any) -> Schema:
    return cast("Schema", value) if isinstance(value, Mapping) else {}


def _several(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
_FORMATS = {
    "date-time": "a date and time",
    "date": "a date",
    "time": "a time",
    "duration": "a duration",
    "uuid": "a UUID",
    "decimal": "a number",
}


def _choices(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else _several(schema.get("enum"))


def _kind(root: Schema, schema: Schema, depth: int = 0) -> str:
    """The type in words."""
    schema = _resolved(root, schema)[0]
    if choices := _choices(schema):
        return " or ".join(to_json(choice).decode() for choice in choices)
    options = _several(schema.get("anyOf") or schema.get("oneOf"))
    if options and depth < _SHOWN:
        return " or ".join(dict.fromkeys(_kind(root, _mapping(option), depth + 1) for option in options))
    named = schema.get("type")
    if isinstance(named, list):
        return " or ".join(_KINDS.get(str(one), str(one)) for one in cast("list[Any]", named))
    if named == "array" and "items" in schema and depth < _SHOWN:
        return f"a list, each {_kind(root, _mapping(schema['items']), depth + 1)}"
    return _FORMATS.get(str(schema.get("format")), _KINDS.get(str(named), "any JSON"))


def _misfits(error: ValidationError) -> str:
    found = error.errors(include_url=False)
    told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in found[:_SHOWN]]
    return "; ".join(told) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def _wanted(schema: Schema | bool) -> str:
    return f"It takes {described(schema)}"


# From JSON schema to a validator -----------------------------------------------------------------------------------


def _validator(schema: Schema | bool) -> SchemaValidator:
    """Raises nothing: everything fits a schema that is none, or that pydantic's core cannot take."""
    maker = _Maker(_mapping(schema))
    try:
        made = maker.made(schema, 0)
        return SchemaValidator(core_schema.definitions_schema(made, maker.definitions()))
    except (SchemaError, TypeError, ValueError, KeyError, AttributeError):
        # a client must get by with what a stranger's file holds; the engine has the real types
        return SchemaValidator(core_schema.any_schema())


class _Maker:
    """Translates one document. Each definition that is referred to is made once, so it may refer to itself."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._made: dict[str, CoreSchema | None] = {}

    def definitions(self) -> list[CoreSchema]:
        """Those that were referred to."""
        return [{**made, "ref": ref} for ref, made in self._made.items() if made is not None]  # type: ignore[misc]

    def made(self, schema: Any, depth: int) -> CoreSchema:
        """The validator's form of a schema."""
        if schema is False:
            return core_schema.no_info_plain_validator_function(_nothing_fits)
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return core_schema.any_schema()
        whole = cast("Schema", schema)
        if isinstance(ref := whole.get("$ref"), str):
            return self._reference(ref, depth)
        if "const" in whole or "enum" in whole:
            return core_schema.literal_schema([whole["const"]] if "const" in whole else _several(whole["enum"]))
        if "anyOf" in whole or "oneOf" in whole:
            return self._union(whole, depth)
        if "allOf" in whole:
            parts = [self.made(part, depth + 1) for part in _several(whole["allOf"])]
            return parts[0] if len(parts) == 1 else core_schema.any_schema()
        return self._typed(whole, depth)

    def _reference(self, ref: str, depth: int) -> CoreSchema:
        target = _target(self._root, ref)
        if target is None or self._endless(ref):
            return core_schema.any_schema()
        if ref not in self._made:
            self._made[ref] = None
            self._made[ref] = self.made(target, depth + 1)
        return core_schema.definition_reference_schema(ref)

    def _endless(self, ref: str) -> bool:
        """Whether a definition leads back to itself before any data is looked into: a validator would never end."""
        seen: set[str] = set()
        ahead = [ref]
        while ahead:
            for other in _alternatives(_target(self._root, ahead.pop()), 0):
                if other == ref:
                    return True
                if other not in seen:
                    seen.add(other)
                    ahead.append(other)
        return False

    def _union(self, schema: Schema, depth: int) -> CoreSchema:
        told = _mapping(schema.get("discriminator"))
        if told.get("mapping"):
            tags: dict[Any, CoreSchema] = {
                tag: self._reference(str(ref), depth) for tag, ref in _mapping(told["mapping"]).items()
            }
            return core_schema.tagged_union_schema(tags, discriminator=str(told["propertyName"]))
        options = _several(schema.get("anyOf") or schema.get("oneOf"))
        kept = [option for option in options if option != _NULL and not _told_as_text(option, options)]
        some: list[Any] = [self.made(option, depth + 1) for option in kept]
        made = some[0] if len(some) == 1 else core_schema.union_schema(some)
        return core_schema.nullable_schema(made) if _NULL in options and some else made

    def _typed(self, schema: Schema, depth: int) -> CoreSchema:
        named = schema.get("type")
        if isinstance(named, list):
            return core_schema.union_schema([self._typed({**schema, "type": one}, depth) for one in _several(named)])
        match named:
            case "string":
                return _text(schema)
            case "integer" | "number":
                return _number(schema, whole=named == "integer")
            case "boolean":
                return core_schema.bool_schema()
            case "null":
                return core_schema.none_schema()
            case "array":
                return self._array(schema, depth)
            case "object":
                return self._object(schema, depth)
            case _:
                return self._object(schema, depth) if "properties" in schema else core_schema.any_schema()

    def _array(self, schema: Schema, depth: int) -> CoreSchema:
        least, most = schema.get("minItems"), schema.get("maxItems")
        parts = [self.made(part, depth + 1) for part in _several(schema.get("prefixItems"))]
        if parts and least == most == len(parts):
            return core_schema.tuple_schema(parts)
        every = self.made(schema.get("items", True), depth + 1) if not parts else None
        return core_schema.list_schema(every, min_length=least, max_length=most)

    def _object(self, schema: Schema, depth: int) -> CoreSchema:
        named, more = _mapping(schema.get("properties")), schema.get("additionalProperties")
        if not named and more is not False:
            return core_schema.dict_schema(
                self.made(schema.get("propertyNames", {"type": "string"}), depth + 1),
                self.made(True if more is None else more, depth + 1),
                min_length=schema.get("minProperties"),
                max_length=schema.get("maxProperties"),
            )
        must = _several(schema.get("required"))
        made = {
            name: core_schema.typed_dict_field(self.made(part, depth + 1), required=name in must)
            for name, part in named.items()
        }
        if more is None or more is False:
            return core_schema.typed_dict_schema(made, extra_behavior="forbid")
        return core_schema.typed_dict_schema(made, extra_behavior="allow", extras_schema=self.made(more, depth + 1))


def _told_as_text(option: Any, options: list[Any]) -> bool:
    """Whether it is the number of a decimal, whose text beside it takes numbers as well."""
    whole = _mapping(option)
    return whole.get("type") == "number" and {**whole, "type": "string", "format": "decimal"} in options


def _alternatives(schema: Any, depth: int) -> list[str]:
    """The references that stand for the same value as the schema itself."""
    whole = _mapping(schema)
    found = [str(whole["$ref"])] if "$ref" in whole else []
    found += [str(ref) for ref in _mapping(_mapping(whole.get("discriminator")).get("mapping")).values()]
    for word in ("anyOf", "oneOf", "allOf") if depth < _DEEPEST else ():
        for part in _several(whole.get(word)):
            found += _alternatives(part, depth + 1)
    return found


def _nothing_fits(value: Any) -> Any:
    raise PydanticCustomError("nothing_fits", "Nothing is allowed here")


def _address(kind: Callable[[str], object], value: str) -> str:
    try:
        kind(value)
    except ValueError as error:
        raise PydanticCustomError("ip_address", "{said}", {"said": str(error)}) from None
    return value


def _decimal(number: SchemaValidator, value: Any) -> Any:
    """A decimal number, or the text of one, as it was given: a float would lose digits of it."""
    try:
        number.validate_json(to_json(value))
    except ValidationError as error:
        raise PydanticCustomError("decimal", "{said}", {"said": error.errors()[0]["msg"]}) from None
    return value


_FORMATTED: dict[str, Callable[[], CoreSchema]] = {
    "date-time": core_schema.datetime_schema,
    "date": core_schema.date_schema,
    "time": core_schema.time_schema,
    "duration": core_schema.timedelta_schema,
    "uuid": core_schema.uuid_schema,
    "uri": lambda: _as_given(core_schema.url_schema()),
    "ipv4": lambda: core_schema.no_info_after_validator_function(
        partial(_address, ipaddress.IPv4Address), core_schema.str_schema()
    ),
    "ipv6": lambda: core_schema.no_info_after_validator_function(
        partial(_address, ipaddress.IPv6Address), core_schema.str_schema()
    ),
}


def _as_given(schema: CoreSchema) -> CoreSchema:
    """Checked, but handed on as text: its normal form is the business of the real type."""

    def check(value: Any, handler: Callable[[Any], Any]) -> Any:
        handler(value)
        return value

    return core_schema.no_info_wrap_validator_function(check, schema)


def _text(schema: Schema) -> CoreSchema:
    if schema.get("format") == "decimal":
        number = SchemaValidator(core_schema.decimal_schema(**_limits(schema)))
        return core_schema.no_info_plain_validator_function(partial(_decimal, number))
    made = _FORMATTED.get(str(schema.get("format")))
    if made is not None:
        return made()
    limits = {"min_length": schema.get("minLength"), "max_length": schema.get("maxLength")}
    pattern = schema.get("pattern")
    try:
        SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError:  # written for another engine of regular expressions: the real type looks at it
        pattern = None
    return core_schema.str_schema(pattern=pattern, **limits)


def _limits(schema: Schema) -> dict[str, Any]:
    limits = {
        "ge": schema.get("minimum"),
        "le": schema.get("maximum"),
        "gt": schema.get("exclusiveMinimum"),
        "lt": schema.get("exclusiveMaximum"),
        "multiple_of": schema.get("multipleOf"),
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def _number(schema: Schema, *, whole: bool) -> CoreSchema:
    given = _limits(schema)
    if whole:
        return core_schema.int_schema(**given)
    # a whole number stays one: as a float a long one would lose its last digits
    real = core_schema.float_schema(allow_inf_nan=False, **given)  # JSON has none: "NaN" would be recorded as null
    return core_schema.union_schema([core_schema.int_schema(strict=True, **given), real])


__all__ = ["Field", "Schema", "described", "fields", "fitting"]
