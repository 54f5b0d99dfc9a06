"""The definition of a workflow as a run began with it, and what has changed in it since. Pure."""

from __future__ import annotations

import difflib
import io
import keyword
import tokenize
from collections.abc import Sequence
from typing import Any

from vbl.drawing.markup import Child, Markup, tag
from vbl.drawing.sheet import RunSheet

MOST_COLOURED = 200_000
"""Characters of source whose words are told apart by colour; a longer one stands as it is."""
LONGEST_LINE = 1_000
"""Characters of a line of it: Python's tokenizer looks from each quotation mark that is never closed to its end."""


def code(sheet: RunSheet) -> Markup:
    """The source that the run began with, and the difference to the newest one that the file has seen."""
    source, newest = sheet.source, sheet.newest
    if source is None and newest is not None:
        told = "What this run began with was not recorded; this is the newest that the file has seen."
        return tag("div", tag("p", told, class_="dim"), _listing(newest), class_="code")
    if source is None:
        return tag("p", "The source of this workflow was not kept.", class_="empty")
    return tag("div", _origin(source, sheet.version), _since(source, newest, sheet.version), _listing(source),
               class_="code")  # fmt: skip


def _origin(source: dict[str, Any], version: str) -> Markup:
    place = f"{source.get('file') or 'source'}" + (f":{source['line']}" if source.get("line") else "")
    python = source.get("python")
    return tag(
        "p",
        tag("b", place, class_="mono"),
        tag("span", f" as the run began with it: version {version[:12]}", class_="dim"),
        tag("span", f", Python {python}", class_="dim") if python else None,
    )


def _since(source: dict[str, Any], newest: dict[str, Any] | None, version: str) -> Child:
    """What has changed since, in words or as a difference."""
    if newest is None or newest.get("version") == version:
        return tag("p", tag("span", "✓ ", class_="good"), "No other version has been seen since.")
    lines = list(
        difflib.unified_diff(
            str(source["source"]).splitlines(),
            str(newest["source"]).splitlines(),
            f"as it began, {version[:12]}",
            f"newest, {str(newest.get('version'))[:12]}",
            lineterm="",
        )
    )
    if not lines:
        return tag("p", tag("span", "≠ ", class_="warn"), "The version has changed, its own source has not: what has "
                   "changed is in a module that it uses.")  # fmt: skip
    return [
        tag("h2", "What has changed since"),
        tag("pre", diff_lines(lines), class_="diff", tabindex=0),
        tag("h2", "As it began"),
    ]


def diff_lines(lines: Sequence[str]) -> list[Markup]:
    """Lines of a unified difference, each in an element of its kind; the signs stay, so colour says nothing alone."""
    kinds = {"+": "added", "-": "removed", "@": "place"}
    return [
        tag("span", f"{line}\n", class_="header" if line.startswith(("+++", "---")) else kinds.get(line[:1]))
        for line in lines
    ]


def _listing(source: dict[str, Any]) -> Markup:
    text = str(source["source"])
    first = source.get("line") or 1
    lines = coloured(text)
    width = len(str(first + len(lines)))
    numbered = [
        [tag("span", f"{first + number:>{width}}  ", class_="line-number", aria_hidden="true"), line, "\n"]
        for number, line in enumerate(lines)
    ]
    return tag("pre", tag("code", numbered), class_="listing", tabindex=0)


def coloured(text: str) -> list[Child]:
    """The lines of a Python source, its keywords, strings, numbers and comments in elements of their kind. One that is
    no Python stands as it is."""
    lines = text.splitlines()
    if len(text) > MOST_COLOURED or any(len(line) > LONGEST_LINE for line in lines):
        return list(lines)
    marks: list[list[tuple[int, int, str]]] = [[] for _ in lines]
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            kind = _kind(token)
            if kind is not None:
                _mark(marks, lines, token.start, token.end, kind)
    except (tokenize.TokenError, SyntaxError):
        return list(lines)  # a piece of a file: what could be read would be coloured up to a chance place
    return [_line(line, found) for line, found in zip(lines, marks, strict=True)]


def _kind(token: tokenize.TokenInfo) -> str | None:
    if token.type == tokenize.NAME:
        return "kw" if keyword.iskeyword(token.string) else None
    if token.type == tokenize.OP:
        return "deco" if token.string == "@" else None
    named = tokenize.tok_name[token.type]
    return {"COMMENT": "com", "STRING": "str", "NUMBER": "num", "FSTRING_START": "str", "FSTRING_MIDDLE": "str",
            "FSTRING_END": "str"}.get(named)  # fmt: skip


def _mark(
    marks: list[list[tuple[int, int, str]]], lines: list[str], start: tuple[int, int], end: tuple[int, int], kind: str
) -> None:
    """Note a token on each line that it covers."""
    for row in range(start[0], min(end[0], len(lines)) + 1):
        first = start[1] if row == start[0] else 0
        last = end[1] if row == end[0] else len(lines[row - 1])
        if last > first:
            marks[row - 1].append((first, last, kind))


def _line(line: str, marks: list[tuple[int, int, str]]) -> list[Child]:
    parts: list[Child] = []
    at = 0
    for first, last, kind in marks:
        parts += [line[at:first], tag("span", line[first:last], class_=f"t-{kind}")]
        at = last
    return [*parts, line[at:]]
