"""The demo on the terminal: what happens, line by line; what is in flight, moving; and the proof as a table.

On a stream that is no terminal the same lines are written without what moves. With --json nothing is written here.
"""

from __future__ import annotations

import shlex
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from vbl.demo.moments import label
from vbl.drawing.costs import spent
from vbl.history.narration import cause, duration, printable, tries

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from vbl.cli.terminal import Terminal
    from vbl.demo.play import Life, Performance
    from vbl.demo.proof import Proof, StepProof
    from vbl.demo.scene import Scene
    from vbl.handle import Run
    from vbl.history.facts import Event
    from vbl.history.state import RunState, StepState

SIGNS = {"done": "✓", "killed": "✗", "failed": "!", "kept": "·", "torn": "↯", "dots": "dots"}
PLAIN_SIGNS = {"done": "+", "killed": "x", "failed": "!", "kept": ".", "torn": "~", "dots": "line"}
LABEL_WIDTH = 44
CELL_WIDTH = len("✓ completed")
EXCERPT = 3
"""Lines of the briefing that are shown at the end."""


class Stage:
    """The demo's audience in a terminal. Use as a context manager: what moves stops at the end of it."""

    def __init__(self, terminal: Terminal, scene: Scene) -> None:
        colored = terminal.colored(sys.stdout)
        self._console = Console(
            file=sys.stdout,
            quiet=terminal.as_json,
            force_terminal=sys.stdout.isatty(),
            color_system="standard" if colored else None,
            no_color=not colored,
            width=min(terminal.width, 110),
            highlight=False,
            emoji=False,
            markup=False,
        )
        self._signs = SIGNS if terminal.unicode else PLAIN_SIGNS
        self._scene = scene
        self._in_flight: list[tuple[str, float]] = []
        self._born_at = 0.0
        self._spinner = Spinner(self._signs["dots"], style="cyan")
        moving = self._console.is_terminal and not terminal.as_json
        self._live = self._beneath() if moving else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._rest()
        if self._live:
            self._live.stop()

    # --- the audience's part

    def started(self, run: Run) -> None:
        """Say what will be done, with what, and where."""
        survey = self._scene.survey
        whose = "the documents that vbl ships" if self._scene.shipped else survey.folder
        how = (
            self._scene.model
            or f"sentences chosen by counting words, no model; slowed to about {self._scene.pace_s:.1g} s each"
        )
        self._line(("A briefing from ", ""), (f"{len(survey.documents)} documents", "bold"), (f": {whose}", ""))
        for name, value in {"summaries": how, "run": run.id, "file": str(self._scene.db)}.items():
            self._line((f"  {name:<10} ", "dim"), (value, ""))
        for file in survey.left_out:
            self._line(("  not read   ", "yellow"), (f"{file.name}: {file.reason}", ""))

    def born(self, number: int, pid: int) -> None:
        """A worker begins; what its predecessor left in flight moves no more."""
        self._born_at = time.time()
        self._line()
        self._line((f"worker {number}", "bold"), (f"  process {pid}", "dim"))

    def happened(self, event: Event, state: RunState) -> None:
        """One line for what a watcher wants to know of: ends of steps, failures, interruptions."""
        tell = self._tellers.get(event.type)
        if tell:
            tell(self, event, state)

    def waiting(self, state: RunState) -> None:
        """Remember what is in flight, for what moves."""
        now = time.time()
        running = [(step, step.started_at / 1e6) for step in state.steps.values() if step.status == "running"]
        self._in_flight = [(label(state, step.key), now - at) for step, at in running if at >= self._born_at]

    def died(self, life: Life, state: RunState) -> None:
        """A worker was killed, or stopped because all is done."""
        self._rest()
        if not life.killed:
            end = f"the run is {state.status}; worker {life.number} was asked to stop: exit code {life.exit_code}"
            self._line((f"  {end}", "dim"))
            return
        torn = ", ".join(sorted(label(state, key) for key in life.torn)) or "nothing"
        self._line(
            (f"  {self._signs['killed']} kill -9 {life.pid}", "bold red"), (f"  exit code {life.exit_code}", "red")
        )
        self._line((f"    {len(life.complete)} steps are complete; in flight: {torn}", "red"))

    def _completed(self, event: Event, state: RunState) -> None:
        step = state.steps[event.payload["step"]]
        if step.name != "read":
            again = f"  attempt {step.attempt}" if step.attempt > 1 else ""
            self._step(step, state, "done", "green", f"{duration(event.at - step.started_at):>8}{again}")
        elif all(other.status == "completed" for other in state.steps.values() if other.name == "read"):
            self._line((f"  {self._signs['done']} ", "green"), (f"read {self._count(state, 'read')} documents", ""))

    def _interrupted(self, event: Event, state: RunState) -> None:
        step = state.steps[event.payload["step"]]
        self._step(step, state, "torn", "yellow", "was in flight when its worker died; it is tried again")

    def _failed(self, event: Event, state: RunState) -> None:
        self._step(
            state.steps[event.payload["step"]], state, "failed", "yellow", cause(event.payload["error"].model_dump())
        )

    def _scheduled(self, event: Event, state: RunState) -> None:
        again = tries(event.payload["attempt"], event.payload["max_attempts"])
        self._line((f"    {again} in {duration(event.payload['at'] - event.at)}", "dim"))

    _tellers: dict[str, Callable[[Stage, Event, RunState], None]] = {  # noqa: RUF012  # read only
        "STEP_COMPLETED": _completed,
        "STEP_INTERRUPTED": _interrupted,
        "STEP_FAILED": _failed,
        "RETRY_SCHEDULED": _scheduled,
    }

    # --- the end

    def concludes(self, performance: Performance, proof: Proof) -> None:
        """Show the table, the claims, the verdict, a taste of the briefing, and where to look further."""
        self._rest()
        self._console.print()
        self._console.print(self._table(performance, proof))
        self._console.print()
        for claim in proof.claims:
            sign, style = ("done", "green") if claim.holds else ("killed", "bold red")
            self._line((f"{self._signs[sign]} {claim.text}", style))
            self._indented(claim.facts, "dim")
        self._line()
        state = performance.state
        took = duration((state.finished_at or state.at) - state.created_at)
        if proof.holds:
            self._line(
                ("Proved. ", "bold green"),
                (f"Killed twice, complete after {took}, and no completed step ran again.", ""),
            )
        else:
            self._line(("Not proved. ", "bold red"), ("The claims marked above do not hold.", ""))
        if used := spent(state.usage).told:
            self._line((f"The model: {used}, as the steps recorded it.", "dim"))
        self._taste()
        self._further(performance)

    def _table(self, performance: Performance, proof: Proof) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        left = self._console.width - len(performance.lives) * (CELL_WIDTH + 2) - len("attempts") - len("ended") - 4
        table.add_column("step", max_width=max(min(LABEL_WIDTH, left), 12), no_wrap=True, overflow="ellipsis")
        for life in performance.lives:
            table.add_column(f"worker {life.number}", no_wrap=True)
        table.add_column("attempts", justify="right", no_wrap=True)
        table.add_column("ended", justify="right", no_wrap=True)
        for step in proof.steps:
            cells = [self._cell(step, life) for life in performance.lives]
            ended = sum(step.ended.values())
            table.add_row(Text(printable(step.label)), *cells, str(len(step.attempts)), f"{ended} ×")
        return table

    def _cell(self, step: StepProof, life: Life) -> Text:
        """What became of a step in one life of the worker."""
        outcomes = [attempt.outcome for attempt in step.attempts if attempt.life == life.number]
        if outcomes:
            sign, word, style = {
                "completed": ("done", "completed", "green"),
                "interrupted": ("killed", "in flight", "red"),
                "failed": ("failed", "failed", "yellow"),
            }.get(outcomes[-1], ("failed", outcomes[-1], "yellow"))
            return Text(f"{self._signs[sign]} {word}", style)
        complete = step.completed_in is not None and step.completed_in < life.number
        return Text(f"{self._signs['kept']} kept" if complete else "", "dim")

    def _taste(self) -> None:
        """The first lines of the briefing, with what it says of its making."""
        lines = [line for line in self._scene.briefing.read_text("utf-8").splitlines() if line and line[0] != "#"]
        self._line()
        self._line(("The briefing begins", "bold"))
        for line in lines[: EXCERPT + 1]:
            self._indented(line)

    def _further(self, performance: Performance) -> None:
        self._line()
        self._line(("Look for yourself", "bold"))
        scene = self._scene
        for command, path in {
            f"vbl show {performance.run.id} --db": scene.db,
            f"vbl state {performance.run.id} --db": scene.db,
            "cat": scene.briefing,
            "less": scene.diary,
        }.items():
            self._line((f"  {command} {shlex.quote(str(path))}", ""))

    # --- lines

    def _line(self, *parts: tuple[str, str]) -> None:
        self._console.print(Text.assemble(*((printable(text), style) for text, style in parts)), soft_wrap=True)

    def _indented(self, text: str, style: str = "", by: int = 2) -> None:
        for line in textwrap.wrap(printable(text), self._console.width - by, break_on_hyphens=False):
            self._line((" " * by + line, style))

    def _step(self, step: StepState, state: RunState, sign: str, style: str, words: str) -> None:
        name = Text(printable(label(state, step.key)))
        name.truncate(LABEL_WIDTH, overflow="ellipsis", pad=True)
        line = Text.assemble((f"  {self._signs[sign]} ", style), name, " ", (printable(words), "dim"))
        self._console.print(line, soft_wrap=True)

    def _count(self, state: RunState, name: str) -> int:
        return sum(step.name == name for step in state.steps.values())

    def _beneath(self) -> Live:
        return Live(get_renderable=self._moving, console=self._console, transient=True, refresh_per_second=10)

    def _moving(self) -> Any:
        """What is in flight, each with its time."""
        if not self._in_flight:
            return Group()
        rows = Table.grid(padding=(0, 1))
        for name, seconds in self._in_flight[:8]:
            shown = Text(printable(name), "cyan")
            shown.truncate(LABEL_WIDTH, overflow="ellipsis", pad=True)
            rows.add_row(" ", self._spinner, shown, Text(f"{max(seconds, 0):.1f} s", "dim"))
        return rows

    def _rest(self) -> None:
        """Let nothing move any more."""
        self._in_flight = []
        if self._live:
            self._live.refresh()
