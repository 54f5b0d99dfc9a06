"""How differences look in a terminal and in JSON: for the state of a run at two points, and for two runs.

What is different is decided by `history.differences`. A sign stands before each line (+ added, - removed, ~ changed),
and marks stand around changed words, [-old-] and {+new+}, so that nothing is told by colour alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from vbl.cli.terminal import Terminal, columns, fit
from vbl.history.differences import Change, abridged, place, words
from vbl.history.narration import cause, preview, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vbl.history.differences import Kind, Piece

SIGNS: dict[Kind, tuple[str, str]] = {"added": ("+", "good"), "removed": ("-", "bad"), "changed": ("~", "warn")}
"""The sign of a change, and its style."""
NAME_WIDTH = 32
MOST = 200
"""So many changes are listed in text; JSON has all."""


def change_document(change: Change) -> dict[str, Any]:
    """A change as JSON: `before` only where there was something, `after` only where there is."""
    document: dict[str, Any] = {"path": list(change.path), "where": change.where, "kind": change.kind}
    if change.kind != "added":
        document["before"] = change.before
    if change.kind != "removed":
        document["after"] = change.after
    return document


def say_changes(terminal: Terminal, changes: Sequence[Change], skip: int = 0, indent: str = "  ") -> None:
    """A line for each change, several for a text that was changed over several lines. `skip` names of the path are
    left out: they stand above."""
    shown = changes[:MOST]
    names = [_name(change.path[skip:]) for change in shown]
    width = min(max((columns(fit(name, NAME_WIDTH)) for name in names), default=0), NAME_WIDTH)
    for change, name in zip(shown, names, strict=True):
        for line in _lines(terminal, change, fit(name, NAME_WIDTH), width, terminal.width - len(indent)):
            terminal.line(indent + line)
    if len(changes) > MOST:
        terminal.line(terminal.paint(f"{indent}{len(changes) - MOST} more; --json has them all", "dim"))


def _name(path: tuple[str | int, ...]) -> str:
    """The path in words; what it begins with as it is, for that is often the key of a step."""
    if not path or isinstance(path[0], int):
        return place(path)
    return place(path[1:], path[0])


def _lines(terminal: Terminal, change: Change, name: str, width: int, room: int) -> list[str]:
    sign, style = SIGNS[change.kind]
    head = terminal.paint(sign, style) + (f" {name}{' ' * (width - columns(name))} " if width else "")
    left = max(room - width - 5, 30)
    if change.worded:
        told = worded(terminal, abridged(words(change.before, change.after)))
        if len(told) == 1:
            return [f"{head} {told[0]}".rstrip()]
        return [head.rstrip(), *(f"    {line}".rstrip() for line in told)]
    if change.kind == "changed":
        half = (left - 4) // 2
        before, after = _shown(change.before, half), _shown(change.after, half)
        return [f"{head} {terminal.paint(before, 'bad')} → {terminal.paint(after, 'good')}".rstrip()]
    value = change.after if change.kind == "added" else change.before
    return [f"{head} {terminal.paint(_shown(value, left), style)}".rstrip()]


def _shown(value: Any, room: int) -> str:
    """The beginning of a value; a recorded error in words."""
    if isinstance(value, dict) and {"kind", "type", "message"} <= cast("dict[str, Any]", value).keys():
        return fit(cause(cast("dict[str, Any]", value)), room)
    return fit(preview(value, room), room)


def worded(terminal: Terminal, pieces: Sequence[Piece]) -> list[str]:
    """The lines of a text with marks around the words that were taken out and put in."""
    lines = [""]
    for fate, text in pieces:
        for number, part in enumerate(text.split("\n")):
            if number:
                lines.append("")
            shown = printable(part)
            if fate == "removed" and shown:
                shown = terminal.paint(f"[-{shown}-]", "bad")
            elif fate == "added" and shown:
                shown = terminal.paint(f"{{+{shown}+}}", "good")
            lines[-1] += shown
    return lines
