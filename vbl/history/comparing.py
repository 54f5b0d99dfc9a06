"""Two runs side by side: `compare(facts, facts) -> Comparison`, what their code asked for in pairs, and what differs.

What the code asked for (steps, timers, gates, signals, children) is paired by its key, which is the same in each run of
the same code. How long something took is shown and makes no difference; status, attempts, input, output and error do.

Pure; which two runs to compare, and how it looks, is said elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vbl.history.differences import Change, differences
from vbl.history.state import RunState, fold

if TYPE_CHECKING:
    from vbl.history.facts import Fact

Kind = Literal["step", "timer", "gate", "signal", "child"]
Verdict = Literal["same", "differs", "left", "right"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that the code of a run asked for, and how it went. `took` is in microseconds from when it was asked for
    to its end, backoffs included; None where it has not ended. `error` is without its traceback."""

    key: str
    kind: Kind
    seq: int
    status: str
    took: int | None
    attempts: int = 1
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """What two runs have under one key; None where a run does not have it. `moved` says that both have it, and not in
    the same order. The paths of `changes` begin with status, attempts, input, output or error."""

    key: str
    kind: Kind
    left: Asked | None
    right: Asked | None
    moved: bool
    changes: list[Change]

    @property
    def verdict(self) -> Verdict:
        """Whether they are alike, differ, or only one run has it."""
        if self.left is None:
            return "right"
        if self.right is None:
            return "left"
        return "differs" if self.changes or self.moved else "same"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs beside each other. The paths of `changes` begin with workflow, status, input, variables, output or
    error: what differs of the runs as a whole."""

    left: RunState
    right: RunState
    changes: list[Change]
    pairs: list[Pair]

    @property
    def same(self) -> bool:
        """Whether nothing differs but times, ids and versions."""
        return not self.changes and all(pair.verdict == "same" for pair in self.pairs)


def compare(left: Sequence[Fact], right: Sequence[Fact]) -> Comparison:
    """Compare two histories. Pairs come in the order of the left run; what only the right one has stands behind what it
    follows there."""
    one, other = fold(left), fold(right)
    return Comparison(
        one, other, differences(_whole(one), _whole(other)), _pairs(_asked(one, left), _asked(other, right))
    )


def _whole(state: RunState) -> dict[str, Any]:
    parts = {
        "workflow": state.workflow,
        "status": state.status.value,
        "input": state.input,
        "variables": state.variables,
        "output": state.output,
        "error": _error(state.error),
    }
    return {name: value for name, value in parts.items() if value not in (None, {})}


def _error(error: dict[str, Any] | None) -> dict[str, Any] | None:
    """An error by what it says; the lines of its traceback change with every edit of the code."""
    return None if error is None else {name: value for name, value in error.items() if name != "traceback"}


def _asked(state: RunState, facts: Sequence[Fact]) -> dict[str, Asked]:
    """What the code asked for, by key, in order. What a retry of the run undid is left out."""
    at = {fact.seq: fact.at for fact in facts}
    asked = [*_steps(state), *_timers(state, at), *_gates(state), *_signals(state, at), *_children(state, at)]
    return {one.key: one for one in sorted(asked, key=lambda one: one.seq)}


def _steps(state: RunState) -> list[Asked]:
    return [
        Asked(
            step.key, "step", step.asked_seq, step.status, _span(step.asked_at, step.finished_at), step.attempt,
            step.input, step.output, _error(step.error),
        )
        for step in state.steps.values()
        if not step.void
    ]  # fmt: skip


def _timers(state: RunState, at: dict[int, int]) -> list[Asked]:
    found: list[Asked] = []
    for timer in state.timers.values():
        ended = timer.fired or timer.cancelled
        status = "fired" if timer.fired else "cancelled" if timer.cancelled else "open"
        took = _span(at[timer.set_seq], at.get(ended or 0))
        found.append(Asked(f"timer {timer.number}", "timer", timer.set_seq, status, took))
    return found


def _gates(state: RunState) -> list[Asked]:
    found: list[Asked] = []
    for gate in state.gates.values():
        if gate.void:
            continue
        call: dict[str, Any] = gate.request.get("call") or {}
        shown: dict[str, Any] = {"show": gate.request.get("show"), "input": call.get("input")}
        said = {name: (gate.answer or {}).get(name) for name in ("edit", "data", "reason")}
        asked = {name: value for name, value in shown.items() if value is not None}
        answer = {name: value for name, value in said.items() if value is not None}
        took = _span(gate.requested_at, gate.decided_at)
        found.append(
            Asked(f"gate {gate.key}", "gate", gate.asked_seq, gate.status, took, input=asked, output=answer or None)
        )
    return found


def _signals(state: RunState, at: dict[int, int]) -> list[Asked]:
    found: list[Asked] = []
    seen: Counter[str] = Counter()
    for wait in state.waits.values():
        seen[wait.name] += 1
        key = f"signal {wait.name}" + (f"#{seen[wait.name]}" if seen[wait.name] > 1 else "")
        status = "received" if wait.taken else "ended" if wait.ended else "open"
        ended = max(at.get(wait.taken or 0, 0), wait.asked_at) if wait.taken else at.get(wait.ended or 0)
        found.append(Asked(key, "signal", wait.asked_seq, status, _span(wait.asked_at, ended)))
    return found


def _children(state: RunState, at: dict[int, int]) -> list[Asked]:
    return [
        Asked(
            f"child {child.call}", "child", child.asked_seq, child.status,
            _span(at[child.asked_seq], at.get(child.ended_seq or 0)), input=child.input,
        )
        for child in state.children.values()
        if not child.void
    ]  # fmt: skip


def _span(start_at: int, end_at: int | None) -> int | None:
    return None if end_at is None else max(end_at - start_at, 0)


def _pairs(left: dict[str, Asked], right: dict[str, Asked]) -> list[Pair]:
    unmoved = _in_order([key for key in left if key in right], list(right))
    pairs: list[Pair] = []
    waiting = iter(right)
    for key, asked in left.items():
        if key in unmoved:
            for other in waiting:
                if other == key:
                    break
                if other not in left:
                    pairs.append(_pair(None, right[other], False))
        pairs.append(_pair(asked, right.get(key), key in right and key not in unmoved))
    pairs += [_pair(None, right[other], False) for other in waiting if other not in left]
    return pairs


def _pair(left: Asked | None, right: Asked | None, moved: bool) -> Pair:
    there = left or right
    assert there is not None
    changes = differences(_compared(left), _compared(right)) if left and right else []
    return Pair(there.key, there.kind, left, right, moved, changes)


def _compared(asked: Asked) -> dict[str, Any]:
    parts = {
        "status": asked.status,
        "attempts": asked.attempts,
        "input": asked.input,
        "output": asked.output,
        "error": asked.error,
    }
    return {name: value for name, value in parts.items() if value is not None}


def _in_order(keys: list[str], order: list[str]) -> set[str]:
    """The most of the keys that stand in the same order in both lists: the longest rising run of their places."""
    place = {key: n for n, key in enumerate(order)}
    ends: list[int] = []
    at_end: list[str] = []
    before: dict[str, str | None] = {}
    for key in keys:
        n = bisect_left(ends, place[key])
        before[key] = at_end[n - 1] if n else None
        ends[n : n + 1] = [place[key]]
        at_end[n : n + 1] = [key]
    kept: set[str] = set()
    key = at_end[-1] if at_end else None
    while key is not None:
        kept.add(key)
        key = before[key]
    return kept
