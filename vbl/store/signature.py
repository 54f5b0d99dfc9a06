"""How a call is recorded: the parameters of a function with a codec for each, and a codec for what it returns.

One value is the affair of `codec`; here is what a signature adds: which value belongs to which parameter, and errors
that name it.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection
from typing import Any, cast

from pydantic import ValidationError

from vbl.errors import InvalidInput, UsageError, ValueNotStorable
from vbl.store.codec import Codec, Recorded
from vbl.store.payloads import Json, Recorder, same


class Signature:
    """The parameters of a function with a codec for each, and a codec for what it returns."""

    __slots__ = ("_plain", "_signature", "codecs", "names", "result", "what")

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        self.what = what
        self._signature = inspect.signature(function)
        hints = _hints(function)
        parameters = self._signature.parameters.values()
        self.names = tuple(p.name for p in parameters)
        self.codecs = {p.name: Codec(_annotation(p, hints), f"{what}, parameter {p.name}") for p in parameters}
        self.result = Codec(hints.get("return", inspect.Parameter.empty), f"{what}, its result")
        self._plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by parameter name. Raises TypeError as the call itself would."""
        if self._plain and not kwargs and len(args) == len(self.names):
            return dict(zip(self.names, args, strict=True))
        return dict(self._signature.bind(*args, **kwargs).arguments)

    def spread(self, bound: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments again, from those by name in any order."""
        if self._plain and len(bound) == len(self.names):
            return tuple([bound[name] for name in self.names]), {}
        arguments = inspect.BoundArguments(self._signature, cast("Any", bound))
        return arguments.args, arguments.kwargs

    def record(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Recorded]:
        """The recorded form of a call's arguments, by name. Raises TypeError as the call itself would, InvalidInput for
        a value that is not what its annotation says, ValueNotStorable for any other that would not survive."""
        recorder = Recorder()
        recorded: dict[str, Recorded] = {}
        for name, value in self.bind(args, kwargs).items():
            try:
                recorded[name] = self.codecs[name].record(value, recorder)
            except ValueNotStorable as refused:
                raise self.misfit(name, value) or refused from None
        return recorded

    def defaults(self, given: Collection[str]) -> dict[str, Json]:
        """The recorded form of what a call with these arguments leaves to the signature; a default that cannot be
        recorded is left out."""
        recorder, recorded = Recorder(), dict[str, Json]()
        for name, parameter in self._signature.parameters.items():
            if name in given or parameter.default is parameter.empty:
                continue
            try:
                recorded[name] = self.codecs[name].record(parameter.default, recorder).plain
            except ValueNotStorable:
                if parameter.kind is parameter.POSITIONAL_ONLY:
                    break  # what comes behind it could not be passed without it
        return recorded

    def accept(self, given: Json) -> dict[str, Any]:
        """Typed arguments from data that came from outside: an object is keyword arguments, anything else the one
        argument. Raises InvalidInput with pydantic's words."""
        try:
            named = self.bind((), cast("dict[str, Any]", given)) if isinstance(given, dict) else self.bind((given,), {})
        except TypeError as error:
            raise InvalidInput(f"{self.what}: {error}", f"It takes {self._signature}") from None
        typed: dict[str, Any] = {}
        for name, value in named.items():
            try:
                typed[name] = self.codecs[name].accept(value)
            except ValueError as error:
                raise InvalidInput(
                    f"{self.what}, parameter {name}: {_said(error)}", f"It takes {self._signature}"
                ) from None
        return typed

    def same_input(self, before: dict[str, Json], given: dict[str, Json]) -> bool:
        """Whether two recorded inputs are read as the same values, though they are written differently."""
        return before.keys() == given.keys() and all(
            (name in self.codecs and self.codecs[name].stands_for(plain, self.codecs[name].load(given[name])))
            or same(plain, given[name])
            for name, plain in before.items()
        )

    def misfit(self, name: str, value: Any) -> InvalidInput | None:
        """The error for a Python value that is not what the annotation of a parameter says; None where it is. As
        strict as the recording: "1" is no int."""
        try:
            made = self.codecs[name].validate(value)
        except ValidationError as error:
            said = _said(error)
        else:
            given, wanted = repr(value), repr(made)
            if made is value or given == wanted:
                return None
            said = f"{given[:60]} is given as {type(value).__name__}, where {wanted[:60]} is wanted"
        return InvalidInput(f"{self.what}, parameter {name}: {said}", f"It takes {self._signature}")

    def __str__(self) -> str:
        return str(self._signature)


def _said(error: ValueError) -> str:
    """Pydantic's words, a line for each error, without the addresses of its documentation."""
    if not isinstance(error, ValidationError):
        return str(error).removeprefix("Error serializing to JSON: ")
    lines = [(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors(include_url=False)]
    return "; ".join(f"{place}: {message}" if place else message for place, message in lines)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise UsageError(
            f"{function.__qualname__}: its annotations name {error.name!r}, which can't be found",
            "Define the type at module level, before the function",
        ) from error


def _annotation(parameter: inspect.Parameter, hints: dict[str, Any]) -> Any:
    hint = hints.get(parameter.name, inspect.Parameter.empty)
    if hint is inspect.Parameter.empty:
        return hint
    if parameter.kind is parameter.VAR_POSITIONAL:
        return tuple[hint, ...]
    return dict[str, hint] if parameter.kind is parameter.VAR_KEYWORD else hint
