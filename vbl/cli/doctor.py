"""`vbl doctor`: is the file sound, and does every run have somebody who moves it?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vbl.cli.terminal import Terminal, shared

if TYPE_CHECKING:
    from vbl.store.doctor import Finding

_SIGNS = {
    "ok": ("✓", "+", "good"),
    "info": ("·", ".", "dim"),
    "warning": ("!", "!", "warn"),
    "error": ("✗", "x", "bad"),
}


@click.command(short_help="Check the file, and say what to do.")
@click.option("--rebuild", is_flag=True, help="Drop what is derived from the events, and derive it again.")
@shared
def command(terminal: Terminal, rebuild: bool) -> None:
    """Check the file: its integrity, its histories, its summaries, and the runs that nobody would move.

    Exits with 10 if something is broken. A warning is worth reading, and breaks nothing.

    \b
    Examples:
      vbl doctor
      vbl doctor --rebuild
    """
    with terminal.connect() as client:
        findings = client.doctor(rebuild=rebuild)
        path = client.path
    if terminal.as_json:
        for finding in findings:
            terminal.emit(asdict(finding))
    else:
        terminal.line(terminal.paint(str(path), "strong"))
        for finding in findings:
            _print(terminal, finding)
    broken = sum(finding.severity == "error" for finding in findings)
    if broken:
        raise SystemExit(10)


def _print(terminal: Terminal, finding: Finding) -> None:
    sign, plain, style = _SIGNS.get(finding.severity, _SIGNS["info"])
    words = {"warning": "warning: ", "error": "broken: "}.get(finding.severity, "")
    terminal.line(f"  {terminal.paint(sign if terminal.unicode else plain, style)} {words}{finding.message}")
    for line in finding.hint.splitlines():
        terminal.line(f"    {terminal.paint(line, 'dim')}")
