"""What a person gives on the command line, read as JSON: `--input`, `--edit`, `--data`, the data of a signal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from vbl.errors import UsageError

EXAMPLES = """--input '{"name": "Ada"}' gives keyword arguments, --input '"text"' one argument, @file and - read it"""

OTHERS = """{what} '{{"amount": 20}}' is JSON, and so is {what} '"text"'; @file and - read it"""


def value(given: str | None, what: str = "--input") -> Any:
    """The data behind the option or argument `what`: JSON from the command line, from `@file`, or from stdin for `-`;
    so it is read once.

    Without one, no arguments: an empty object. Raises UsageError (`invalid_json`).
    """
    if given is None:
        return {}
    source = "stdin" if given == "-" else given if given.startswith("@") else what
    examples = EXAMPLES if what == "--input" else OTHERS.format(what=what)
    return _parsed(_text(given, examples), source, examples)


def _text(given: str, examples: str) -> str:
    try:
        if given == "-":
            return sys.stdin.read()
        return Path(given[1:]).expanduser().read_text(encoding="utf-8") if given.startswith("@") else given
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{given.removeprefix('@')} is not UTF-8 text: {error}", examples, code="invalid_json"
        ) from None
    except OSError as error:
        raise UsageError(f"{given[1:]} cannot be read: {error.strerror}", examples, code="invalid_json") from None


def _parsed(text: str, source: str, examples: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_twins)
    except json.JSONDecodeError as error:
        near = text[max(error.pos - 12, 0) : error.pos + 12].replace("\n", " ")
        message = f"{source} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}, near {near!r}"
        raise UsageError(message, examples, code="invalid_json") from None
    except RecursionError:
        raise UsageError(f"{source} is nested too deeply", examples, code="invalid_json") from None


def _refuse_constant(name: str) -> NoReturn:
    raise UsageError(f"{name} is not JSON", "Give a number, a string or null", code="invalid_json")


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that names a key twice would lose one of the values without a word."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twin = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise UsageError(f"the key {twin!r} stands twice in one object", "Give each key once", code="invalid_json")
    return made
