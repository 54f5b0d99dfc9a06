"""What is different between two values: `differences(before, after) -> list[Change]`, and of two texts word by word.

Values are plain JSON data. Terminal, page and notebook show the very same changes. Applying them to `before` gives
`after`: nothing is left out. The work is bounded: where two lists or texts are too large to be aligned with care, they
are compared place by place, or said to be replaced.

Pure; how a change looks belongs to who draws it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

from vbl.history.narration import utc

if TYPE_CHECKING:
    from vbl.history.state import RunState

T = TypeVar("T", bound=Hashable)
Kind = Literal["added", "removed", "changed"]
Fate = Literal["same", "removed", "added"]

CARE = 100_000
"""Two sequences are aligned where at most so many pairs of their items are equal: texts of some 2,500 words. It takes
some 30 ms, and below a second where one item is repeated without end."""
DEPTH = 100
"""Values that are nested deeper are compared as a whole."""
LONG = 40
"""From so many characters on, or over several lines, a text is worth comparing word by word."""

_NAME = re.compile(r"[^\W\d][\w#-]*\Z")
_WORD = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `before` is None for what was added, `after` for what was removed.

    `path` leads there by names and positions; a position in a list is that in the value where the item is found: in
    `before` for what was removed, else in `after`.
    """

    path: tuple[str | int, ...]
    kind: Kind
    before: Any = None
    after: Any = None

    @property
    def where(self) -> str:
        """The path in words: `messages[3].content`; empty for the whole value."""
        return place(self.path)

    @property
    def worded(self) -> bool:
        """Whether a text was changed that is best shown word by word."""
        both = isinstance(self.before, str) and isinstance(self.after, str)
        return both and any(len(text) > LONG or "\n" in text for text in (self.before, self.after))


class Piece(NamedTuple):
    """A stretch of text that is in both, or in one of two texts alone."""

    fate: Fate
    text: str


def differences(before: Any, after: Any) -> list[Change]:
    """What has to be changed in `before` to get `after`, in the order of the paths; empty where they are equal.

    Items of lists are aligned by what they are, so one that was put in front does not change all the others. Numbers
    are equal only where their JSON is: 1 is not 1.0, nor true.
    """
    return list(_walk((), before, after))


def words(before: str, after: str) -> list[Piece]:
    """Two texts as one sequence of pieces: joined without the added ones they are `before`, without the removed ones
    `after`. By lines first, and within the lines that differ by words."""
    pieces: list[Piece] = []
    for lines, others in _aligned(before.splitlines(keepends=True), after.splitlines(keepends=True)):
        if lines == others:
            pieces.append(Piece("same", "".join(lines)))
            continue
        for old, new in _aligned(_WORD.findall("".join(lines)), _WORD.findall("".join(others))):
            if old == new:
                pieces.append(Piece("same", "".join(old)))
            else:
                pieces += [Piece("removed", "".join(old)), Piece("added", "".join(new))]
    return _joined(pieces)


def abridged(pieces: Sequence[Piece], around: int = 60) -> list[Piece]:
    """The pieces with some `around` characters, whole words, of what is the same on either side of what is not."""
    shown: list[Piece] = []
    for number, piece in enumerate(pieces):
        text = piece.text
        first, last = number == 0, number == len(pieces) - 1
        if piece.fate == "same" and len(text) > 3 * around:
            head = "" if first else text[: text.rfind(" ", around // 2, around) + 1 or around]
            tail = "" if last else text[-around:]
            text = f"{head}…{tail[max(tail.find(' ', 0, around // 2), 0) :]}"
        shown.append(Piece(piece.fate, text))
    return shown


def between(before: RunState, after: RunState) -> list[Change]:
    """What happened to the accumulated state of a run between two points of its history; the first part of each path
    is one of those of `accumulated`."""
    return differences(accumulated(before), accumulated(after))


def accumulated(state: RunState) -> dict[str, Any]:
    """The state of a run as plain data that can be compared: status, variables, outputs of its steps, what is pending,
    what it waits for from outside, and its output and error where it has them."""
    open_gates = [state.gates[id] for id in sorted(state.open_gates)]
    open_children = [state.children[call] for call in sorted(state.open_children)]
    waits_for: dict[str, Any] = {
        **{gate.id: {"gate": gate.name, "to": list(gate.to)} for gate in open_gates},
        **{f"wait {number}": {"signal": state.waits[number].name} for number in sorted(state.open_waits)},
        **{f"timer {number}": {"until": utc(state.timers[number].at)} for number in sorted(state.open_timers)},
        **{child.id: {"child": child.workflow, "status": child.status} for child in open_children},
    }
    steps = [state.steps[key] for key in state.pending]
    parts: dict[str, Any] = {
        "status": state.status.value,
        "variables": state.variables,
        "outputs": state.outputs,
        "pending": {step.key: {"status": step.status, "attempt": step.attempt} for step in steps},
        "waits_for": waits_for,
    }
    ends = {"output": state.output, "error": state.error}
    return parts | {name: value for name, value in ends.items() if value is not None}


def place(path: Sequence[str | int], text: str = "") -> str:
    """A path in words, behind those of `text`: names behind dots, positions and unusual names in brackets."""
    for part in path:
        if isinstance(part, str) and _NAME.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def _walk(path: tuple[str | int, ...], before: Any, after: Any) -> Iterator[Change]:
    if len(path) < DEPTH and isinstance(before, dict) and isinstance(after, dict):
        yield from _members(path, cast("dict[str, Any]", before), cast("dict[str, Any]", after))
    elif len(path) < DEPTH and isinstance(before, list) and isinstance(after, list):
        yield from _items(path, cast("list[Any]", before), cast("list[Any]", after))
    elif not _same(before, after):
        yield Change(path, "changed", before, after)


def _members(path: tuple[str | int, ...], before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    """Those of `before` in its order, then the new ones."""
    for name, value in before.items():
        if name in after:
            yield from _walk((*path, name), value, after[name])
        else:
            yield Change((*path, name), "removed", before=value)
    for name, value in after.items():
        if name not in before:
            yield Change((*path, name), "added", after=value)


def _items(path: tuple[str | int, ...], before: list[Any], after: list[Any]) -> Iterator[Change]:
    old_at = new_at = 0
    for olds, news in _aligned([_text(item) for item in before], [_text(item) for item in after]):
        paired = 0 if olds == news else min(len(olds), len(news))
        for n in range(paired):
            yield from _walk((*path, new_at + n), before[old_at + n], after[new_at + n])
        if olds != news:
            for n in range(old_at + paired, old_at + len(olds)):
                yield Change((*path, n), "removed", before=before[n])
            for n in range(new_at + paired, new_at + len(news)):
                yield Change((*path, n), "added", after=after[n])
        old_at, new_at = old_at + len(olds), new_at + len(news)


def _aligned(before: list[T], after: list[T]) -> Iterator[tuple[list[T], list[T]]]:
    """Both sequences cut into stretches that are equal, or stand in each other's place. What they begin and end with
    alike costs nothing but looking at it: a conversation that has grown is compared at once."""
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    if head:
        yield before[:head], after[:head]
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    if old and new and _pairs(old, new) <= CARE:
        matcher = SequenceMatcher(None, old, new, autojunk=False)
        for _, start, end, other_start, other_end in matcher.get_opcodes():
            yield old[start:end], new[other_start:other_end]
    elif old or new:
        yield old, new
    if tail:
        yield before[len(before) - tail :], after[len(after) - tail :]


def _pairs(before: list[T], after: list[T]) -> int:
    """How many pairs of equal items there are: what aligning them costs."""
    counts, others = Counter(before), Counter(after)
    return sum(count * others[item] for item, count in counts.items() if item in others)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Neighbours of one fate as one; of what replaces each other the removed first, and the blanks that both end with
    as what they are: the same."""
    joined: list[Piece] = []
    removed = added = ""
    for piece in [*pieces, Piece("same", "")]:
        if piece.fate == "removed":
            removed += piece.text
        elif piece.fate == "added":
            added += piece.text
        else:
            blanks = _blanks(removed, added)
            kept = len(removed) - len(blanks), len(added) - len(blanks)
            _append(joined, Piece("removed", removed[: kept[0]]))
            _append(joined, Piece("added", added[: kept[1]]))
            _append(joined, Piece("same", blanks + piece.text))
            removed = added = ""
    return joined


def _blanks(one: str, other: str) -> str:
    """The white space that both texts end with."""
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count] and one[-1 - count].isspace():
        count += 1
    return one[len(one) - count :]


def _append(joined: list[Piece], piece: Piece) -> None:
    if joined and joined[-1].fate == piece.fate:
        joined[-1] = Piece(piece.fate, joined[-1].text + piece.text)
    elif piece.text:
        joined.append(piece)


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, (dict, list)) or isinstance(after, (dict, list)):
        return _text(before) == _text(after)
    return type(before) is type(after) and (before == after or (before != before and after != after))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
