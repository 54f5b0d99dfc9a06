"""`vbl bench`: figures of this machine, each beside bare apsw or a bare import, and whether they clear the bar.

The measurements are in vbl.bench; here they are shown. A bar that does not hold changes no exit code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vbl.cli.terminal import Terminal, columns, shared
from vbl.errors import UsageError

if TYPE_CHECKING:
    from vbl.bench.rows import Figure, Row

NAMES = (
    "many", "one", "late", "texts", "messages", "resume", "parked", "foreign", "help", "ls", "ls-many", "import",
)  # fmt: skip
"""The rows that can be asked for; named here so that the help need not load them."""


@click.command("bench", short_help="Measure vbl on this machine.")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Only this row; repeat it for more.")
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True, max=1),
    default=0.1,
    show_default=True,
    help="1: all in full, with 1,000,000 runs to list; 0.1: a tenth of such crowds, the rest in full.",
)
@click.option("--rounds", type=click.IntRange(1, 99), default=3, show_default=True, help="Medians are of so many.")
@shared
def command(terminal: Terminal, only: tuple[str, ...], scale: float, rounds: int) -> None:
    """Measure what vbl takes on this machine.

    Each row is measured beside bare apsw writing the very same rows, or beside a bare import, in turns; the ratios say
    more than the times, which move with the disk and the neighbours. A bar that does not hold is reported and changes
    no exit code. The files lie in a temporary folder; TMPDIR names the disk to measure.

    \b
    Examples:
      vbl bench
      vbl bench --only many --only one --rounds 5
      TMPDIR=/srv vbl bench --scale 1 --json > figures.json
    """
    if terminal.db is not None:
        raise UsageError(
            "vbl bench measures in files of its own", "Leave out --db; to measure another disk, set TMPDIR"
        )
    from vbl.bench.machine import about
    from vbl.bench.rows import ROWS, Size

    machine, size = about(), Size(scale, rounds)
    rows: list[Row] = []
    if not terminal.as_json:
        _heading(terminal, machine)
    for name in [name for name in ROWS if not only or name in only]:
        terminal.note(f"measuring {name} …", "dim")
        rows.append(ROWS[name](size))
        if not terminal.as_json:
            _print(terminal, rows[-1])
    if terminal.as_json:
        terminal.document(document(machine, size.scale, rounds, rows))
    else:
        _verdict(terminal, rows)


def document(machine: dict[str, Any], scale: float, rounds: int, rows: list[Row]) -> dict[str, Any]:
    """The one JSON document: the machine, the size, every row with its figures, and which bars hold."""
    judged = [figure.holds for row in rows for figure in row.figures if figure.holds is not None]
    return {
        "machine": machine,
        "scale": scale,
        "rounds": rounds,
        "rows": [row.document() for row in rows],
        "bars": len(judged),
        "bars_that_hold": sum(judged),
    }


def _heading(terminal: Terminal, machine: dict[str, Any]) -> None:
    terminal.line(
        terminal.paint(
            f"vbl {machine['vbl']}, Python {machine['python']}, SQLite {machine['sqlite']}, {machine['system']}, "
            f"{machine['cpus']} CPUs (load {machine['load']:.1f}), {machine['folder']} on {machine['file_system']}",
            "dim",
        )
    )


def _print(terminal: Terminal, row: Row) -> None:
    terminal.line()
    size = "" if row.full_size else terminal.paint("  (not at full size)", "dim")
    terminal.line(f"{terminal.paint(row.name, 'strong')}  {row.title}{size}")
    cells = [_cells(terminal, figure) for figure in row.figures]
    widths = [max(columns(cell[n]) for cell in cells) for n in range(5)]
    for what, value, beside, ratio, verdict in cells:
        named = what + " " * (widths[0] - columns(what))
        terminal.line(
            f"  {named}  {value:>{widths[1]}}  {beside:<{widths[2]}}  {ratio:>{widths[3]}}  {verdict}".rstrip()
        )


def _cells(terminal: Terminal, figure: Figure) -> tuple[str, str, str, str, str]:
    beside = f"{figure.beside_is} {quantity(figure.beside, figure.unit)}" if figure.beside is not None else ""
    as_share = figure.bar_is == "at least" and figure.judged == "ratio"
    return (
        figure.what,
        quantity(figure.value, figure.unit),
        beside,
        "" if figure.ratio is None else _ratio(figure.ratio, as_share),
        _bar(terminal, figure, as_share),
    )


def _bar(terminal: Terminal, figure: Figure, as_share: bool) -> str:
    if figure.bar is None:
        return ""
    bar = _ratio(figure.bar, as_share) if figure.judged == "ratio" else quantity(figure.bar, figure.unit)
    sign = ("✓" if terminal.unicode else "+") if figure.holds else ("✗" if terminal.unicode else "x")
    return f"{figure.bar_is} {bar} {terminal.paint(sign, 'good' if figure.holds else 'bad')}"


def _ratio(ratio: float, as_share: bool) -> str:
    return f"{ratio * 100:.0f} %" if as_share else f"{ratio:.2f} ×"


def quantity(value: float, unit: str) -> str:
    """A figure with a unit that suits its size."""
    match unit:
        case "ms" if value < 1:
            return f"{value * 1_000:.0f} µs"
        case "ms":
            return f"{value:.3g} ms" if value < 1_000 else f"{value / 1_000:.3g} s"
        case "bytes":
            return f"{value:.0f} B" if value < 10_000 else f"{value / 1e6:.2f} MB"
        case "%":
            return f"{value:.2f} %"
        case "a second":
            return f"{value:,.0f} a second"
        case _:
            return f"{value:.4g} {unit}"


def _verdict(terminal: Terminal, rows: list[Row]) -> None:
    judged = [figure for row in rows for figure in row.figures if figure.holds is not None]
    missed = sum(not figure.holds for figure in judged)
    terminal.line()
    if missed:
        terminal.line(terminal.paint(f"{missed} of {len(judged)} bars do not hold here and now", "warn"))
    else:
        terminal.line(terminal.paint(f"all {len(judged)} bars hold", "good"))
