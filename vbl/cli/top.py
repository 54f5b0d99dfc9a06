"""`vbl top`: a live screen of the file: what needs somebody, runs, is held up or failed, and how fast it all goes.

Drawn from `cli.overview`, in as many lines as the terminal has: each part gets some, and its title says how many there
are in all. While nothing is written only the clocks and the supervisor are looked at, and the file is not read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from vbl.cli.overview import GROUPS, MINUTES, Overview, beside, look, overview_document
from vbl.cli.screen import LOOK_S, Canvas, Pace, Screen, moving, sigterm_as_ctrl_c
from vbl.cli.terminal import Terminal, columns, fit, shared
from vbl.cli.words import clock
from vbl.clock import SYSTEM
from vbl.history.narration import duration, money, people
from vbl.history.state import Status
from vbl.store import holder

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.handle import Run
    from vbl.history.questions import Question
    from vbl.store.queues import QueueState

MOST = 40
"""So many of each part are read."""
STALE_S = 5.0
"""After so long the file is read again although nobody wrote: rates fall, and days pass."""
ROOMY = 90
"""From so many columns on, less important things are said too."""
TITLES = {"needs-you": "needs you", "running": "running", "held-up": "held up", "failed": "failed"}
STYLES = {"needs-you": "warn", "running": "live", "held-up": "", "failed": "bad"}
_BARS = ("▁▂▃▄▅▆▇█", "_.-=+*#@")


@dataclass(slots=True)
class Row:
    """A line that leads to a run, or none."""

    text: str
    run_id: str = ""


@dataclass(slots=True)
class Part:
    """A part of the screen: its title, its rows, and how many of them are shown."""

    title: str
    rows: list[Row]
    shown: int = 0


@dataclass(slots=True)
class Choice:
    """Where the mark stands (a run), and whether that run is looked at, from which line on."""

    run_id: str = ""
    open: bool = False
    line: int = 0
    order: list[str] = field(default_factory=list[str])

    def move(self, by: int) -> None:
        """Put the mark on the next row, or go down in what is looked at."""
        if self.open:
            self.line = max(self.line + by, 0)
        elif self.order:
            at = self.order.index(self.run_id) + by if self.run_id in self.order else 0
            self.run_id = self.order[max(0, min(at, len(self.order) - 1))]


@click.command(short_help="Watch the file: its runs, queues, gates and throughput.")
@click.option("--once", is_flag=True, help="Print it once, and leave.")
@shared
def command(terminal: Terminal, once: bool) -> None:
    """Watch the file: what needs you, what runs, what is held up, what failed; queues, throughput, the supervisor.

    q leaves, j and k (or the arrows) choose a run, Enter looks at it. With --once, with --json, and where nobody looks
    at a terminal, it is printed once.

    \b
    Examples:
      vbl top
      vbl top --once
      vbl top --json | jq .counts.failed.number
    """
    with terminal.connect() as client:
        if terminal.as_json:
            terminal.document(overview_document(look(client, MOST)))
        elif once or not moving(terminal):
            seen = look(client, MOST)
            for line in frame(terminal, seen, seen.at, 10_000, Choice()):
                terminal.line(line)
        else:
            with sigterm_as_ctrl_c():
                _live(terminal, client)


def _live(terminal: Terminal, client: Client) -> None:
    """Redraw until q is pressed."""
    choice = Choice()
    read_at, version = time.monotonic(), client.changed()
    seen = look(client, MOST)
    with Screen(terminal) as screen:
        pace = Pace(lambda: (client.changed(), screen.size, choice.run_id, choice.open, choice.line))
        while True:
            if pace.due(now := time.monotonic()):
                pace.begin(now)
                used = time.process_time()
                if client.changed() != version or now - read_at > STALE_S:
                    version, read_at = client.changed(), now
                    seen = look(client, MOST)
                else:
                    seen = beside(client, seen)
                screen.draw(_picture(terminal, client, screen, seen, choice))
                pace.end(time.monotonic(), time.process_time() - used)
            if not _obey(screen.key(LOOK_S), choice, pace):
                return


def _obey(key: str, choice: Choice, pace: Pace) -> bool:
    """Do what a key asks for; whether to go on."""
    if key in ("q", "escape") and not choice.open:
        return False
    if key in ("q", "escape"):
        choice.open = False
    elif key in ("j", "down", "k", "up"):
        choice.move(1 if key in ("j", "down") else -1)
    elif key == "enter" and choice.run_id in choice.order:
        choice.open, choice.line = True, 0
    if key:
        pace.hurry()
    return True


def _picture(terminal: Terminal, client: Client, screen: Screen, seen: Overview, choice: Choice) -> list[str]:
    """The lines of the screen: the file, or the run that is looked at."""
    width, height = screen.size
    canvas = Canvas(terminal, width)
    choice.open = choice.open and _print_run(canvas, client, choice.run_id)
    if not choice.open:
        foot = "q leave   j k choose   enter look" if screen.hears else "Ctrl-C leaves"
        return frame(canvas, seen, SYSTEM.now(), height, choice, foot)
    lines = canvas.lines()
    choice.line = max(min(choice.line, len(lines) - height + 1), 0)
    below = lines[choice.line :][: height - 1]
    return [*below, *[""] * (height - 1 - len(below)), canvas.paint("q back   j k scroll", "dim")]


def _print_run(canvas: Canvas, client: Client, run_id: str) -> bool:
    """Print a run; whether it is still there, for retention may have struck it."""
    from vbl.cli.show import print_run
    from vbl.errors import NotFound

    try:
        run = client.run(run_id)
    except NotFound:
        return False
    print_run(canvas, run, whole=False, depth=3)
    return True


def frame(terminal: Terminal, seen: Overview, now: int, height: int, choice: Choice, foot: str = "") -> list[str]:
    """The file in at most `height` lines, the last of them at the foot of the screen."""
    lines = _head(terminal, seen, now)
    parts = _parts(terminal, seen, now)
    if not parts:
        lines += ["", "  no runs yet; start one: vbl run file.py:workflow" if _empty(seen) else "  all is quiet"]
    _share(parts, height - len(lines) - bool(foot))
    shown = [part for part in parts if part.shown]
    choice.order = [row.run_id for part in shown for row in part.rows[: part.shown] if row.run_id]
    for part in shown:
        lines += ["", part.title]
        for row in part.rows[: part.shown]:
            chosen = row.run_id and row.run_id == choice.run_id
            mark = terminal.paint("▸" if terminal.unicode else ">", "strong") if chosen else " "
            lines.append(f"{mark} {row.text}")
    if foot:
        lines += [""] * (height - 1 - len(lines))
        lines.append(terminal.paint(foot, "dim"))
    return lines[:height]


def _empty(seen: Overview) -> bool:
    return not any(count.number for count in seen.counts.values())


def _share(parts: list[Part], room: int) -> None:
    """Give each part a row in turn, for as long as there is room; the first one also takes two lines for the title."""
    for turn in range(max((len(part.rows) for part in parts), default=0)):
        for part in parts:
            needed = 1 if part.shown else 3
            if turn < len(part.rows) and part.shown == turn and needed <= room:
                part.shown += 1
                room -= needed


def _head(terminal: Terminal, seen: Overview, now: int) -> list[str]:
    """Which file, who moves it, how fast, and how many runs there are of each kind."""
    at = clock(now)
    path = fit(str(seen.path), terminal.width - 20)
    gap = " " * max(terminal.width - len(at) - columns(path) - 9, 1)
    first = f"{terminal.paint('vbl top', 'strong')}  {path}{gap}{terminal.paint(at, 'dim')}"
    told: list[str] = []
    for group in GROUPS:
        count = seen.count(group)
        told.append(terminal.paint(f"{count} {TITLES[group]}", STYLES[group] if count.number else "dim"))
    for status in (Status.COMPLETED, Status.CANCELLED):
        told.append(terminal.paint(f"{seen.counts[status]} {status}", "dim"))
    line = "  " + told[0]
    for text in told[1:]:
        line += f"   {text}" if columns(line) + columns(text) + 3 <= terminal.width else ""
    return [first, _supervisor(terminal, seen, now), _speed(terminal, seen), line]


def _supervisor(terminal: Terminal, seen: Overview, now: int) -> str:
    info = seen.supervisor
    if info is None:
        return terminal.paint("  no supervisor is alive, nothing moves: vbl up FILE.py", "warn")
    loaded = f"{len(info.workflows)} workflow{'' if len(info.workflows) == 1 else 's'}"
    told = f"  supervised by process {info.pid} ({info.program}) for {duration(now - info.since_at)}, {loaded}"
    if seen.silent_s < holder.SILENT_S:
        return fit(told, terminal.width)
    silent = duration(round(seen.silent_s * 1e6))
    told = f"  process {info.pid} ({info.program}) holds the file, no sign of life for {silent}"
    return terminal.paint(fit(told, terminal.width), "bad")


def _speed(terminal: Terminal, seen: Overview) -> str:
    """Steps per second, and what ended in the last minutes: in words, and as bars, as many as there is room for."""
    completed, failed, cancelled = (
        sum(getattr(bucket, name) for bucket in seen.ended) for name in ("completed", "failed", "cancelled")
    )
    told = [f"{completed:,} completed", f"{failed:,} failed"] + ([f"{cancelled:,} cancelled"] if cancelled else [])
    bars = _BARS[0] if terminal.unicode else _BARS[1]
    highest = max((bucket.ended for bucket in seen.ended), default=0)
    cells: list[str] = []
    for bucket in seen.ended:
        style = "bad" if bucket.failed else "good" if bucket.ended else "dim"
        cells.append(terminal.paint(bars[-(-bucket.ended * 7 // max(highest, 1))], style))
    wal = f"   WAL {_size(seen.wal_bytes)}" if terminal.width >= ROOMY else ""
    head = f"  {seen.pace:,.1f} steps/s   in {MINUTES} min {', '.join(told)}  "
    oldest = max(len(cells) - max(terminal.width - len(head) - len(wal), 0), 0)
    return f"{head}{''.join(cells[oldest:])}{terminal.paint(wal, 'dim')}".rstrip()


def _size(bytes: int) -> str:
    return f"{bytes / 1_048_576:.1f} MB" if bytes >= 1_048_576 else f"{-(-bytes // 1024)} KB" if bytes else "empty"


def _parts(terminal: Terminal, seen: Overview, now: int) -> list[Part]:
    """The parts that have something in them, what needs somebody first."""
    asked = {question.run_id for question in seen.questions}
    parts: list[Part] = []
    for group in GROUPS:
        runs = [run for run in seen.runs[group] if group != "needs-you" or run.id not in asked]
        rows = [_question(terminal, question, now) for question in seen.questions] if group == "needs-you" else []
        rows += _runs(terminal, runs, seen, now)
        title = f"{terminal.paint(TITLES[group], 'strong')} {terminal.paint(str(seen.count(group)), 'dim')}"
        parts.append(Part(f"  {title}", rows))
        if group == "needs-you" and seen.queues:
            title = f"{terminal.paint('queues', 'strong')} {terminal.paint(str(len(seen.queues)), 'dim')}"
            parts.append(Part(f"  {title}", [_queue(queue, terminal.width) for queue in seen.queues]))
    return [part for part in parts if part.rows]


def _question(terminal: Terminal, question: Question, now: int) -> Row:
    gate = question.gate
    if gate is None:
        sign, text = "blocked", f"{question.step}: nobody knows whether it happened; vbl resolve {question.run_id}"
        return Row(f"{terminal.mark(sign)} {fit(text, terminal.width - 4)}", question.run_id)
    left = ""
    if gate.expires_at is not None:
        left = f"{duration(gate.expires_at - now)} left" if gate.expires_at > now else "its time is over"
    text = f"{gate.name}  {gate.id}  {gate.workflow} asks {people(gate.to)}"
    room = terminal.width - columns(left) - 6
    text = fit(text, room - 2)
    return Row(f"{terminal.mark('waiting_for_approval')} {text}{' ' * (room - columns(text))}{left}", question.run_id)


def _queue(queue: QueueState, width: int) -> Row:
    text = f"{fit(queue.name, 24)}  {queue.running} running, {queue.waiting} waiting  ({queue.limits})"
    return Row(fit(text, width - 2))


def _runs(terminal: Terminal, runs: list[Run], seen: Overview, now: int) -> list[Row]:
    """A line for each run: status, id, workflow, since when, what it cost, and what it is at."""
    words = max((len(run.last_status.replace("_", " ")) for run in runs), default=0) + 2
    names = min(max((columns(fit(run.workflow, 24)) for run in runs), default=0), 24)
    since = [
        f"{duration(now - (run.finished_at or run.created_at))}{' ago' if run.finished_at is not None else ''}"
        for run in runs
    ]
    longest = max(map(len, since), default=0)
    widest = max((len(money(run.usd)) for run in runs), default=0)
    rows: list[Row] = []
    for run, ago in zip(runs, since, strict=True):
        status, name = terminal.status(run.last_status), fit(run.workflow, names)
        status += " " * (words - columns(status))
        name += " " * (names - columns(name))
        head = f"{status}  {run.id}  {name}  {ago:>{longest}}" + (f"  {money(run.usd):>{widest}}" if widest else "")
        room = terminal.width - columns(head) - 5
        glance = fit(seen.glances.get(run.id, ""), room) if room >= 8 else ""
        rows.append(Row(f"{head}   {terminal.paint(glance, 'dim')}".rstrip(), run.id))
    return rows
