"""How values become payloads and come back: typed values to JSON by pydantic, large ones by reference.

`Codec` turns a typed value into its recorded form and back, and refuses what would not survive. `Recorder` writes
a value that mostly repeats an earlier one of the same run as the difference to it, and moves long text to the
table `blobs`. `Resolver` undoes both while a history is read in order. In a payload the only sign of either is
`{"$ref": …}`:

    {"$ref": {"of": [seq, field, …], "keep": [head, tail], "put": …}}   a difference to an earlier value
    {"$ref": {"blob": digest, "bytes": n}}                              text in `blobs`
    {"$ref": {"literal": value}}                                        a user's value that has a "$ref" itself

Nothing here is ever unpickled or evaluated.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pydantic_core import from_json, to_json

from vbl.errors import InvalidInput, StorageError, ValueNotStorable

Json = Any
Blob = tuple[str, int, bytes]
Path = tuple[int | str, ...]

INLINE_BYTES = 32 * 1024
"""Longer text goes to `blobs`, compressed."""
LARGE_BYTES = 2 * 1024
"""From this size on a value is compared with earlier ones."""
MAX_BYTES = 64 * 1024 * 1024
"""The longest recorded form of one value; a longer one is refused."""
_RECENT = 8
_MARK = "$ref"


def dumps(value: Json) -> str:
    """Plain JSON data as compact text."""
    return to_json(value).decode()


def loads(text: str | bytes) -> Json:
    """JSON text as plain data."""
    return from_json(text)


def same(a: Json, b: Json) -> bool:
    """Whether two plain values are the same, types included: 1, 1.0 and True differ."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        entries = cast(dict[str, Json], a)
        return len(entries) == len(b) and all(k in b and same(v, b[k]) for k, v in entries.items())
    if isinstance(a, list):
        items = cast(list[Json], a)
        return len(items) == len(b) and all(map(same, items, b))
    return bool(a == b)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a list is made of: whether `==` may confuse its numbers, and how deep it is.

    `depth` is 0 for atoms, 1 for dicts of atoms, 2 for anything else. It lets the parts of a long conversation be
    compared and copied by C code instead of element by element.
    """

    numbers: bool
    depth: int

    def joined(self, other: Shape) -> Shape:
        """The shape of a list that holds the elements of both."""
        return Shape(self.numbers or other.numbers, max(self.depth, other.depth))


FLAT = Shape(False, 0)


def shape_of(items: list[Json]) -> Shape:
    """Look at every element once."""
    numbers, depth = False, 0
    for item in items:
        if type(item) is str:
            continue
        if isinstance(item, dict):
            kinds = set(map(type, cast(dict[str, Json], item).values()))
            depth = max(depth, 2 if kinds & {dict, list} else 1)
            numbers = numbers or not kinds <= {str}
        elif isinstance(item, list):
            depth, numbers = 2, True
        else:
            numbers = True
    return Shape(numbers, depth)


def equal_lists(a: list[Json], b: list[Json], shape: Shape) -> bool:
    """Whether two lists hold the same, types included, where `shape` is that of `a`."""
    if len(a) != len(b):
        return False
    if shape.depth == 2:
        return all(map(same, a, b))
    if a != b:
        return False
    return not shape.numbers or _kinds(a, shape.depth) == _kinds(b, shape.depth) or all(map(same, a, b))


def _kinds(items: list[Json], depth: int) -> list[type]:
    if depth == 0:
        return list(map(type, items))
    kinds: list[type] = []
    for item in items:
        kinds += map(type, cast(dict[str, Json], item).values() if type(item) is dict else (item,))
    return kinds


_copy_dict: Callable[[Any], Json] = cast("Any", dict).copy


def copy_list(items: list[Json], shape: Shape) -> list[Json]:
    """A copy of a list of a known shape that shares nothing that can change."""
    if shape.depth == 0:
        return list(items)
    if shape.depth == 1:
        try:
            return list(map(_copy_dict, items))
        except TypeError:  # atoms among the dicts
            return [item.copy() if type(item) is dict else item for item in items]
    return plain_copy(items)


def plain_copy(value: Json) -> Json:
    """A copy of plain data that shares nothing that can change."""
    if isinstance(value, list):
        return [v if type(v) is str else plain_copy(v) for v in cast(list[Json], value)]
    if isinstance(value, dict):
        return {k: v if type(v) is str else plain_copy(v) for k, v in cast(dict[str, Json], value).items()}
    return value


# Differences ------------------------------------------------------------------------------------------------------


def _shared(old: Any, new: Any, shape: Shape) -> tuple[int, int]:
    """The lengths of the longest shared prefix and, behind it, suffix of two lists or strings."""

    def equal(a: Any, b: Any) -> bool:
        return a == b if isinstance(a, str) else equal_lists(a, b, shape)

    limit = min(len(old), len(new))
    if equal(old[:limit], new[:limit]):
        return limit, 0
    head = _longest(limit, lambda n, at: equal(old[at:n], new[at:n]))
    room = limit - head
    tail = _longest(room, lambda n, at: equal(old[len(old) - n : len(old) - at], new[len(new) - n : len(new) - at]))
    return head, tail


def _longest(limit: int, holds: Callable[[int, int], bool]) -> int:
    """The largest n up to `limit` for which the first n agree: doubling strides, then halving."""
    good, stride = 0, 1
    while good < limit and holds(min(limit, good + stride), good):
        good = min(limit, good + stride)
        stride *= 2
    while stride > 1:
        stride //= 2
        if good + stride <= limit and holds(good + stride, good):
            good += stride
    return good


@dataclass(slots=True)
class _Known:
    """A large value that stands in the history, where it stands, and its shape."""

    path: Path
    value: Json
    shape: Shape


@dataclass(slots=True)
class Repeat:
    """A value as a difference: the `$ref` as text, the whole value (its old parts shared), and what is new in it."""

    text: str
    whole: Json
    put: Json
    shape: Shape


class Recorder:
    """Writes the values of one run; knows the last large ones that stand in its history."""

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        self._recent: deque[_Known] = deque(maxlen=_RECENT)

    def know(self, path: Path, value: Json, shape: Shape | None = None) -> None:
        """Remember a value that now stands in the history at `path`, if it is large."""
        if isinstance(value, dict):
            for key, item in cast(dict[str, Json], value).items():
                if isinstance(item, (list, str)):
                    self.know((*path, key), item)
        elif isinstance(value, str):
            if len(value) >= LARGE_BYTES:
                self._recent.appendleft(_Known(path, value, FLAT))
        elif isinstance(value, list) and _looks_large(cast(list[Json], value)):
            self._recent.appendleft(_Known(path, value, shape or shape_of(cast(list[Json], value))))

    def know_payload(self, seq: int, payload: dict[str, Json]) -> None:
        """Remember the large values of a stored event."""
        for field in Resolver.FIELDS:
            if (value := payload.get(field)) is not None:
                self.know((seq, field), value)

    def difference(self, value: Json) -> Repeat | None:
        """How `value` differs from an earlier value that it mostly repeats, or None."""
        for known in self._recent:
            if type(known.value) is not type(value):
                continue
            shape = known.shape
            head, tail = _shared(known.value, value, shape)
            if (head + tail) * 2 < len(value) or head + tail == 0:
                continue
            put = value[head : len(value) - tail]
            if isinstance(value, str):
                return Repeat(_ref_text(known.path, head, tail, put), value, put, FLAT)
            put = plain_copy(put)
            old = known.value
            whole = old if not put and head == len(old) else [*old[:head], *put, *old[len(old) - tail :]]
            return Repeat(_ref_text(known.path, head, tail, put), whole, put, shape.joined(shape_of(put)))
        return None


def _ref_text(path: Path, head: int, tail: int, put: Json) -> str:
    return dumps({_MARK: {"of": list(path), "keep": [head, tail], "put": put}})


def _looks_large(items: list[Json]) -> bool:
    """Whether the recorded form is at least LARGE_BYTES long; looks at no more than it must."""
    size = 0
    for item in items:
        size += len(item) + 3 if isinstance(item, str) else len(to_json(item)) + 1
        if size >= LARGE_BYTES:
            return True
    return False


def received(what: str, value: Any) -> Json:
    """Data that came from outside as plain data; models and the like as pydantic writes them.

    Raises InvalidInput for what JSON cannot hold, ValueNotStorable for what is too long.
    """
    try:
        text = to_json(value, bytes_mode="base64")
        plain = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidInput(f"{what} is no data that JSON can hold: {error}", "Give JSON data, or a model") from None
    check_size(what, len(text))
    return plain


def spill(text: str) -> tuple[str, Blob | None]:
    """Move text that is too long for a row to a blob. Returns what stands in the payload, and the blob."""
    if len(text) <= INLINE_BYTES:
        return text, None
    data = text.encode()
    digest = hashlib.sha256(data).hexdigest()
    return dumps({_MARK: {"blob": digest, "bytes": len(data)}}), (digest, len(data), zlib.compress(data, 3))


def guard(text: str, value: Json) -> str:
    """The text of a plain value, made literal where the user's own data holds a "$ref"."""
    if '"$ref"' in text and _marked(value):
        return dumps({_MARK: {"literal": value}})
    return text


def _marked(value: Json) -> bool:
    if not isinstance(value, dict):
        return False
    entries = cast(dict[str, Json], value)
    return _MARK in entries or any(isinstance(v, dict) and _MARK in v for v in entries.values())


class Resolver:
    """Reads the payloads of one run in order and puts every `$ref` back in place."""

    __slots__ = ("_blob", "_seen")

    FIELDS = ("output", "input", "delta")

    def __init__(self, blob: Callable[[str], bytes]) -> None:
        self._blob = blob
        self._seen: dict[int, dict[str, Json]] = {}

    def resolve(self, seq: int, text: str) -> dict[str, Json]:
        """The payload of event `seq` as plain data. Raises StorageError(code="corrupt") where it can't be read."""
        try:
            payload = self._resolved(text)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise StorageError(
                f"the payload of event {seq} cannot be read: {error}", "Run: vbl doctor", code="corrupt"
            ) from error
        self._seen[seq] = payload
        return payload

    def _resolved(self, text: str) -> dict[str, Json]:
        payload: dict[str, Json] = from_json(text)
        if '"$ref"' in text:
            if "output" in payload:
                payload["output"] = self._value(payload["output"])
            for field in ("input", "delta"):
                if field in payload:
                    payload[field] = self._named(payload[field])
        return payload

    def forget(self) -> None:
        """Let go of what was read: nothing more of this history will be."""
        self._seen.clear()

    def _named(self, values: Json) -> Json:
        """Values by name: parameters, or fields of the state."""
        if isinstance(values, dict) and _MARK in values and "blob" in values[_MARK]:
            values = self._unpacked(cast(dict[str, Json], values)[_MARK])
        if not isinstance(values, dict):
            return values
        named = cast(dict[str, Json], values)
        return {name: self._value(value) for name, value in named.items()}

    def _value(self, value: Json) -> Json:
        """One value; a `$ref` may stand for it, or for the entries of a dict."""
        if not isinstance(value, dict):
            return value
        entries = cast(dict[str, Json], value)
        if _MARK not in entries:
            return {name: self._referred(item) for name, item in entries.items()}
        mark = entries[_MARK]
        if "literal" in mark:
            return mark["literal"]
        if "blob" in mark:
            return self._value(self._unpacked(mark))
        return self._joined(mark)

    def _referred(self, item: Json) -> Json:
        if isinstance(item, dict) and _MARK in item:
            return self._joined(cast(dict[str, Json], item)[_MARK])
        return cast("Json", item)

    def _unpacked(self, mark: dict[str, Json]) -> Json:
        return from_json(unpack(self._blob(mark["blob"]), mark["blob"]))

    def _joined(self, mark: dict[str, Json]) -> Json:
        seq, *path = mark["of"]
        old: Any = self._seen[seq]
        for part in path:
            old = old[part]
        head, tail = mark["keep"]
        put = mark["put"]
        if isinstance(put, str):
            return old[:head] + put + old[len(old) - tail :]
        if not put and head == len(old):
            return old
        return [*old[:head], *put, *old[len(old) - tail :]]


def unpack(data: bytes, digest: str) -> bytes:
    """The text of a blob, checked against its digest. Raises StorageError where they disagree."""
    try:
        text = zlib.decompress(data)
    except zlib.error as error:
        raise StorageError(
            f"blob {digest[:12]} cannot be unpacked: {error}", "Run: vbl doctor", code="corrupt"
        ) from error
    if hashlib.sha256(text).hexdigest() != digest:
        raise StorageError(f"blob {digest[:12]} is not what was written", "Run: vbl doctor", code="corrupt")
    return text


# Typed values -----------------------------------------------------------------------------------------------------

_ATOMS = frozenset({str, int, bool, type(None)})


def native(value: Any) -> bool:
    """Whether a value is JSON data already: exact types only, finite floats, text that UTF-8 can hold."""
    kind = cast("type[Any]", type(value))
    if kind in _ATOMS:
        return kind is not str or not has_surrogate(value)
    if kind is float:
        return value - value == 0.0
    if kind is list:
        return all(map(native, value))
    if kind is dict:
        return all(type(k) is str and native(v) for k, v in value.items())
    return False


def has_surrogate(text: str) -> bool:
    """Whether UTF-8 cannot hold the text, because of a lone surrogate."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def refuse(what: str, value: Any, why: str) -> ValueNotStorable:
    """The error for a value that would not survive, naming where it is and its type."""
    shown = type(value).__qualname__
    return ValueNotStorable(
        f"{what}: a value of type {shown} cannot be recorded: {why}",
        "Annotate it with a type that pydantic can write and read (a model, dataclass, list[…], datetime, …)",
    )


def check_size(what: str, size: int) -> None:
    """Refuse a value whose recorded form is too long."""
    if size > MAX_BYTES:
        raise ValueNotStorable(
            f"{what}: the recorded form has {size / 2**20:.0f} MiB, more than the limit of {MAX_BYTES // 2**20} MiB",
            "Write it to a file in the step and return its path, with a digest of the content",
            code="value_too_large",
        )
