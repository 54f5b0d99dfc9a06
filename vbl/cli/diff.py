"""`vbl diff`: two runs side by side, what their code asked for in pairs. Decided by `history.comparing`, drawn here.

Two columns where the terminal is wide enough, else one below the other. The sign before a row tells what it is, and
the words behind it: = alike, ~ different, - only in the first run, + only in the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vbl.cli.changes import change_document, say_changes
from vbl.cli.terminal import Terminal, columns, fit, run_argument, shared
from vbl.errors import NotFound
from vbl.history.narration import duration

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.handle import Run
    from vbl.history.comparing import Asked, Comparison, Pair, Verdict
    from vbl.history.differences import Change

WIDE = 96
"""From so many columns on the runs stand beside each other."""
NAME_WIDTH = 30
CONTEXT = 2
"""So many rows that are alike are shown on either side of one that is not."""
SHOWN = 5
"""So many differences of one step are listed, unless --all is given."""
ROWS = 200
"""So many rows are shown, unless --all is given."""
MOST_WIDE = 36
"""A column is not wider."""
PARTS = ("input", "variables", "output", "error")
"""What of a run as a whole is compared, in this order; status and workflow stand above."""
MUCH_US = 100_000
"""A difference in time is worth a word from twice as long and so many microseconds on."""
SIGNS: dict[Verdict, tuple[str, str]] = {
    "same": ("=", "dim"),
    "differs": ("~", "warn"),
    "left": ("-", "bad"),
    "right": ("+", "good"),
}
WORDS: dict[Verdict, str] = {"same": "alike", "differs": "different", "left": "only in A", "right": "only in B"}


@click.command(short_help="Compare two runs: what they did, and with what.")
@run_argument(name="left")
@run_argument(required=False, name="right")
@click.option("--all", "whole", is_flag=True, help="Also every step that is alike, and every difference.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where the runs differ.")
@shared
def command(terminal: Terminal, left: str, right: str | None, whole: bool, exit_code: bool) -> None:
    """Compare two runs: their inputs and outputs, and, step by step, what was asked for, how often it was tried, what
    came of it and how long it took.

    With one run: the last one of the same workflow before it that completed, and this one. Steps are paired by their
    keys. That something took longer is shown, and makes no difference.

    \b
    Examples:
      vbl diff @failed
      vbl diff @last @failed
      vbl diff r_01h r_01j --json
    """
    from vbl.history.comparing import compare

    with terminal.connect() as client:
        named = client.run(left)
        runs = _with_the_one_before(named, client) if right is None else (named, client.run(right))
        comparison = compare(runs[0].facts(), runs[1].facts())
    if terminal.as_json:
        terminal.document(_document(runs, comparison))
    else:
        _head(terminal, runs, comparison)
        _parts(terminal, comparison.changes)
        _pairs(terminal, comparison.pairs, whole)
        _sum(terminal, comparison)
    if exit_code and not comparison.same:
        raise click.exceptions.Exit(1)


def _with_the_one_before(run: Run, client: Client) -> tuple[Run, Run]:
    """The last run of its workflow before it that completed, and the run. Raises NotFound where there is none."""
    found = client.runs(status="completed", workflow=run.workflow, before=run.id, limit=1)
    if not found:
        message = f"no run of {run.workflow} before {run.id} completed"
        raise NotFound(message, "Name two runs: vbl diff RUN RUN", code="run_not_found")
    return found[0], run


def _head(terminal: Terminal, runs: tuple[Run, Run], comparison: Comparison) -> None:
    """Who they are, how each stands, how long it took."""
    from vbl.cli.words import local

    name = max(columns(fit(run.workflow, NAME_WIDTH)) for run in runs)
    status = max(len(run.last_status) for run in runs) + 2
    for side, run, state in zip("AB", runs, (comparison.left, comparison.right), strict=True):
        ended = state.at if state.finished_at is None else state.finished_at
        took = f"{'after' if state.finished else 'at'} {duration(ended - state.created_at)}"
        called = fit(run.workflow, NAME_WIDTH)
        shown = terminal.status(run.last_status)
        terminal.line(
            f"{terminal.paint(side, 'strong')}  {called}{' ' * (name - columns(called))}  {run.id}  "
            f"{shown}{' ' * (status - columns(shown))}  {took}, created {local(run.created_at)}"
        )
    versions = {state.version for state in (comparison.left, comparison.right)}
    if comparison.left.workflow == comparison.right.workflow and len(versions) > 1:
        terminal.line(terminal.paint("   The code differs: they began with two versions of it", "dim"))


def _parts(terminal: Terminal, changes: list[Change]) -> None:
    """What differs of the runs as a whole; their status stands above."""
    from itertools import groupby

    told = [change for change in changes if change.path[0] in PARTS]
    told.sort(key=lambda change: PARTS.index(str(change.path[0])))
    for part, group in groupby(told, key=lambda change: str(change.path[0])):
        terminal.line()
        terminal.line(terminal.paint(part, "strong"))
        say_changes(terminal, list(group), skip=1)


def _pairs(terminal: Terminal, pairs: list[Pair], whole: bool) -> None:
    """A row for each pair, those that are alike and far from others in short."""
    rows = _kept(pairs, whole)
    kept = [row for row in rows if not isinstance(row, int)]
    if not kept:
        return
    width = max(8, *(columns(fit(pair.key, NAME_WIDTH)) for pair in kept))
    half = min((terminal.width - width - 8) // 2, MOST_WIDE) if terminal.width >= WIDE else 0
    terminal.line()
    head = f"  {'steps':<{width + 2}}  {'A':<{half}}  B" if half else "  steps"
    terminal.line(terminal.paint(head, "strong"))
    for row in rows[:ROWS] if not whole else rows:
        if isinstance(row, int):
            terminal.line(terminal.paint(f"    {row} alike", "dim"))
        else:
            _row(terminal, row, width, half)
            _differences(terminal, row, whole)
    if len(rows) > ROWS and not whole:
        terminal.line(terminal.paint(f"    {len(rows) - ROWS} more rows; --all shows them", "dim"))


def _kept(pairs: list[Pair], whole: bool) -> list[Pair | int]:
    """The pairs that are worth a row; between them, how many that are alike were left out."""
    if whole:
        return [*pairs]
    differs = [n for n, pair in enumerate(pairs) if pair.verdict != "same"]
    near = {n for at in differs for n in range(at - CONTEXT, at + CONTEXT + 1)}
    rows: list[Pair | int] = []
    left_out = 0
    for n, pair in enumerate(pairs):
        if n not in near:
            left_out += 1
            continue
        rows += [left_out, pair] if left_out else [pair]
        left_out = 0
    return [*rows, left_out] if left_out else rows


def _row(terminal: Terminal, pair: Pair, width: int, half: int) -> None:
    sign, style = SIGNS[pair.verdict]
    key = fit(pair.key, NAME_WIDTH)
    head = f"  {terminal.paint(sign, style)} {key}{' ' * (width - columns(key))}"
    left, right = _told(pair.left), _told(pair.right)
    note = "  in another place" if pair.moved else _slower(pair)
    if half:
        left, right = fit(left, half), fit(right, half)
        left += " " * (half - columns(left))
        sides = f"{_tone(terminal, left, pair.left)}  {_tone(terminal, right, pair.right)}"
        terminal.line(f"{head}  {sides}{note}".rstrip())
        return
    terminal.line(f"{head}{note}".rstrip())
    for side, text, asked in (("A", left, pair.left), ("B", right, pair.right)):
        terminal.line(f"      {terminal.paint(side, 'dim')} {_tone(terminal, text, asked)}")


def _told(asked: Asked | None) -> str:
    """How one went, in words."""
    if asked is None:
        return "not asked for"
    parts = [asked.status if asked.took is None else f"{asked.status} in {duration(asked.took)}"]
    if asked.attempts > 1:
        parts.append(f"{asked.attempts} attempts")
    return ", ".join(parts)


def _tone(terminal: Terminal, text: str, asked: Asked | None) -> str:
    style = "dim" if asked is None else {"failed": "bad", "running": "live", "retrying": "warn"}.get(asked.status, "")
    return terminal.paint(text, style)


def _slower(pair: Pair) -> str:
    """How many times as long the second took, where that is worth a word."""
    one, other = (asked.took if asked is not None else None for asked in (pair.left, pair.right))
    if one is None or other is None or abs(one - other) < MUCH_US:
        return ""
    slow, factor = max(one, other), max(one, other) / max(min(one, other), 1)
    return f"  {factor:.1f} times as {'long' if other == slow else 'fast'}" if factor >= 2 else ""


def _differences(terminal: Terminal, pair: Pair, whole: bool) -> None:
    """What differs of one pair. Status and attempts stand in its row."""
    told = [change for change in pair.changes if change.path[0] not in ("status", "attempts")]
    say_changes(terminal, told if whole else told[:SHOWN], indent="      ")
    if not whole and len(told) > SHOWN:
        terminal.line(terminal.paint(f"      {len(told) - SHOWN} more; --all shows them", "dim"))


def _sum(terminal: Terminal, comparison: Comparison) -> None:
    """How many of each, in a line."""
    terminal.line()
    if comparison.same:
        terminal.line(f"  the same: {len(comparison.pairs)} in each run, alike but for their times")
        return
    verdicts = [pair.verdict for pair in comparison.pairs]
    told = [f"{count} {word}" for verdict, word in WORDS.items() if (count := verdicts.count(verdict))]
    terminal.line(f"  {', '.join(told) or 'neither has asked for anything'}")


def _document(runs: tuple[Run, Run], comparison: Comparison) -> dict[str, Any]:
    from vbl.documents import run_document

    return {
        "a": run_document(runs[0]),
        "b": run_document(runs[1]),
        "same": comparison.same,
        "changes": [change_document(change) for change in comparison.changes],
        "pairs": [
            {
                "key": pair.key,
                "kind": pair.kind,
                "verdict": {"left": "only_a", "right": "only_b"}.get(pair.verdict, pair.verdict),
                "moved": pair.moved,
                "a": _asked_document(pair.left),
                "b": _asked_document(pair.right),
                "changes": [change_document(change) for change in pair.changes],
            }
            for pair in comparison.pairs
        ],
    }


def _asked_document(asked: Asked | None) -> dict[str, Any] | None:
    from vbl.documents import milliseconds

    if asked is None:
        return None
    return {
        "seq": asked.seq,
        "status": asked.status,
        "attempts": asked.attempts,
        "duration_ms": None if asked.took is None else milliseconds(asked.took),
    }
