"""Watching a run: what has ended as lasting lines, what is going on as a few live ones. Everything on stderr.

`Watch` is fed with events and says nothing else than they do. `lively` draws with rich where a person looks;
elsewhere the lines alone are written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vbl.cli.terminal import STYLES, Terminal, fit
from vbl.history.narration import duration, narrate, offset, people, preview, printable, tries
from vbl.history.sieve import went_wrong
from vbl.history.signs import SIGNS
from vbl.history.steps import name_of
from vbl.history.tones import tone_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from vbl.history.facts import Event
    from vbl.history.state import RunState

SHOWN = 8
"""So many steps in flight have a line of their own."""
REPEATED = 10
"""So many completions of one step have a line each; the rest is counted."""
QUIET = frozenset(
    {
        "CHECKPOINT_WRITTEN",
        "STEP_STARTED",
        "RUN_CREATED",
        "RUN_STARTED",
        "TIMER_SET",
        "TIMER_CANCELLED",
        "RUN_COMPLETED",
        "RUN_FAILED",
    }
)


@dataclass(slots=True)
class Doing:
    """A step in flight or backing off, a timer, a gate, a wait, a child: since when, until when, what else is to be
    said; `sign` stands before it where others have to act."""

    name: str
    start_at: int
    until_at: int | None = None
    text: str = ""
    sign: str = ""


@dataclass(slots=True)
class Watch:
    """What is known of a run from the events seen so far. `take` returns the lasting lines of an event."""

    start_at: int
    doing: dict[str, Doing] = field(default_factory=dict[str, Doing])
    done: int = 0
    completions: Counter[str] = field(default_factory=Counter[str])

    def begin(self, state: RunState) -> None:
        """Take over what a run that was begun before has in hand."""
        self.done = len(state.outputs)
        for key in state.pending:
            step = state.steps[key]
            self.doing[key] = Doing(key, step.started_at, step.retry_at)
        for gate in (state.gates[id] for id in state.open_gates):
            self.doing[gate.id] = Doing(f"gate {gate.name}", gate.requested_at, gate.expires_at, people(gate.to), "?")
        for number in state.open_waits:
            wait = state.waits[number]
            self.doing[f"wait {number}"] = Doing(f"signal {wait.name}", wait.asked_at, wait.expires_at, sign="?")
        for child in (state.children[call] for call in state.open_children):
            self.doing[child.id] = Doing(f"child {child.workflow}", state.at, None, child.id)

    def take(self, event: Event) -> list[tuple[str, str, str]]:
        """Lines as (status whose sign stands before it, text, style)."""
        p, at = event.payload, event.at
        match event.type:
            case "STEP_STARTED":
                attempt = f"attempt {p['attempt']}" if p["attempt"] > 1 else ""
                self.doing[p["step"]] = Doing(p["step"], at, text=attempt)
            case "STEP_COMPLETED":
                return self._completed(event)
            case "STEP_FAILED" | "STEP_CANCELLED" | "STEP_INTERRUPTED":
                self.doing.pop(p["step"], None)
            case "RETRY_SCHEDULED":
                self.doing[p["step"]] = Doing(p["step"], at, p["at"], tries(p["attempt"], p["max_attempts"]))
            case "TIMER_SET":
                self.doing[f"timer {p['timer']}"] = Doing(f"timer {p['timer']}", at, p["at"])
            case "TIMER_FIRED" | "TIMER_CANCELLED":
                self.doing.pop(f"timer {p['timer']}", None)
            case _:
                self._waiting(event)
        if event.type in QUIET or (event.type == "STEP_FAILED" and not p["final"]):
            return []  # a failure that is not final is told by the RETRY_SCHEDULED beside it
        sign = _SIGNS.get(event.type, "")
        if sign == "completed" and went_wrong(event):  # a child that failed, a step that was settled as failed
            sign = "failed"
        return [(sign, narrate(event), tone_of(event))]

    def _waiting(self, event: Event) -> None:
        """What the run hears from outside, and no longer waits for."""
        p, at = event.payload, event.at
        match event.type:
            case "APPROVAL_REQUESTED":
                self.doing[p["gate"]] = Doing(f"gate {p['name']}", at, p["expires_at"], people(p["to"]), "?")
            case "APPROVAL_DENIED" | "APPROVAL_EXPIRED" | "APPROVAL_CLOSED":
                self.doing.pop(p["gate"], None)
            case "APPROVAL_GRANTED":
                if p["final"]:
                    self.doing.pop(p["gate"], None)
            case "SIGNAL_AWAITED":
                self.doing[f"wait {p['wait']}"] = Doing(f"signal {p['name']}", at, p["expires_at"], sign="?")
            case "SIGNAL_RECEIVED":
                named = [key for key, doing in self.doing.items() if doing.name == f"signal {p['name']}"]
                self.doing.pop(named[0] if named else "", None)
            case "WAIT_EXPIRED" | "WAIT_CANCELLED":
                self.doing.pop(f"wait {p['wait']}", None)
            case "CHILD_STARTED":
                self.doing[p["child"]] = Doing(f"child {p['workflow']}", at, None, p["child"])
            case "CHILD_FINISHED" | "CHILD_CANCELLED":
                self.doing.pop(p["child"], None)
            case _:
                pass

    def _completed(self, event: Event) -> list[tuple[str, str, str]]:
        step = event.payload["step"]
        doing = self.doing.pop(step, None)
        self.done += 1
        name = name_of(step)
        again = event.payload["attempt"] > 1
        self.completions[name] += not again
        if self.completions[name] > REPEATED and not again:
            return []
        took = duration(event.at - doing.start_at) if doing else ""
        output = event.payload["output"]
        shown = f"  {printable(preview(output, 60))}" if output is not None else ""
        return [("completed", f"{printable(step)}  {took}{shown}", "")]

    def rest(self) -> list[str]:
        """What was counted and not shown."""
        return [
            f"{name}: {count - REPEATED} more completed" for name, count in self.completions.items() if count > REPEATED
        ]


_SIGNS = {
    "STEP_FAILED": "failed",
    "RUN_FAILED": "failed",
    "RUN_BLOCKED": "blocked",
    "RETRY_SCHEDULED": "retrying",
    "STEP_INTERRUPTED": "failed",
    "RUN_RESUMED": "running",
    "RUN_PAUSED": "paused",
    "RUN_UNPAUSED": "running",
    "CANCEL_REQUESTED": "cancelled",
    "STEP_CANCELLED": "cancelled",
    "RUN_CANCELLED": "cancelled",
    "TIMER_FIRED": "waiting",
    "APPROVAL_REQUESTED": "waiting_for_approval",
    "APPROVAL_GRANTED": "completed",
    "APPROVAL_DENIED": "failed",
    "APPROVAL_EXPIRED": "failed",
    "APPROVAL_ESCALATED": "waiting_for_approval",
    "APPROVAL_REMINDED": "waiting_for_approval",
    "APPROVAL_CLOSED": "cancelled",
    "DECISION_REFUSED": "failed",
    "SIGNAL_AWAITED": "waiting",
    "SIGNAL_RECEIVED": "completed",
    "WAIT_EXPIRED": "failed",
    "WAIT_CANCELLED": "cancelled",
    "CHILD_STARTED": "running",
    "CHILD_FINISHED": "completed",
    "CHILD_CANCELLED": "cancelled",
    "STEP_RESOLVED": "completed",
}
"""The status whose sign stands before the line of an event."""


class Plain:
    """Lasting lines only, for a pipe or a log."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, watch: Watch, events: Iterable[Event]) -> None:
        """Write what the events tell."""
        for event in events:
            for sign, text, style in watch.take(event):
                mark = SIGNS[sign][0 if self.terminal.unicode else 1] if sign else " "
                self.terminal.note(f"{offset(event.at - watch.start_at):>11}  {mark} {text}", style)

    def tick(self, watch: Watch, now: int) -> None:
        """Nothing moves here."""


class Lively:
    """Lasting lines above a few live ones, redrawn in place by rich."""

    def __init__(self, terminal: Terminal) -> None:
        from rich.console import Console
        from rich.live import Live

        colored = terminal.color == "always" or None
        self.console: Console = Console(
            stderr=True, highlight=False, no_color=terminal.color == "never" or None, force_terminal=colored
        )
        self.unicode = terminal.unicode
        self.live: Live = Live(console=self.console, transient=True, auto_refresh=False, redirect_stdout=True)

    def __enter__(self) -> Lively:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def say(self, watch: Watch, events: Iterable[Event]) -> None:
        """Write what the events tell above the live lines."""
        from rich.text import Text

        for event in events:
            for sign, text, style in watch.take(event):
                mark, plain, mark_style = SIGNS.get(sign, (" ", " ", ""))
                line = Text.assemble(
                    ("  ", ""), (mark if self.unicode else plain, _rich(mark_style)), " ", (text, _rich(style))
                )
                self.console.print(line, soft_wrap=False, overflow="ellipsis", no_wrap=True)

    def tick(self, watch: Watch, now: int) -> None:
        """Redraw what is going on."""
        self.live.update(self._picture(watch, now), refresh=True)

    def _picture(self, watch: Watch, now: int) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if self.unicode else "|/-\\"
        frame = frames[now // 100_000 % len(frames)]
        for doing in list(watch.doing.values())[:SHOWN]:
            if doing.until_at is None:
                mark, when, style = frame, duration(now - doing.start_at), "cyan"
            else:
                sleeping = doing.name.startswith("timer ")
                mark, style = ("◔" if sleeping else "↻", "cyan" if sleeping else "yellow")
                mark = mark if self.unicode else "."
                when = f"in {duration(doing.until_at - now)}" if doing.until_at > now else "now"
            mark, style = (doing.sign, "yellow") if doing.sign else (mark, style)
            grid.add_row(f"  [{style}]{mark}[/]", Text(fit(doing.name, 40)), Text(when), Text(doing.text, style="dim"))
        hidden = len(watch.doing) - SHOWN
        if hidden > 0:
            grid.add_row("", Text(f"and {hidden} more", style="dim"))
        clock = f"{duration(now - watch.start_at)}, {watch.done} step{'' if watch.done == 1 else 's'} done"
        grid.add_row("", Text(clock, style="dim"))
        return grid


def _rich(style: str) -> str:
    """A style of ours in rich's words."""
    asked = STYLES.get(style, {})
    return " ".join([*(name for name in ("bold", "dim") if asked.get(name)), asked.get("fg", "")]).strip()


def display(terminal: Terminal) -> Plain | Lively:
    """Live where a person looks at stderr, plain lines elsewhere."""
    import os
    import sys

    if terminal.as_json or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return Plain(terminal)
    return Lively(terminal)
