"""`vbl run`: start a run, watch it to its end, print its output.

The run is moved by a supervisor in this process, or by the one that holds the file already. What the user's code
prints goes to stderr, so that stdout carries the output and nothing else.
"""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING, Any, cast

import click

from vbl.cli.prints import prints_beside
from vbl.cli.screen import sigterm_as_ctrl_c
from vbl.cli.terminal import Terminal, dumps, shared, target_argument
from vbl.clock import SYSTEM
from vbl.errors import RunBlocked, RunFailed, RunWaiting, UsageError
from vbl.history.narration import duration, money
from vbl.history.signs import SIGNS

if TYPE_CHECKING:
    from vbl.cli.progress import Watch
    from vbl.client import Client
    from vbl.engine.definitions import Workflow
    from vbl.engine.runtime import Runtime
    from vbl.handle import Run
    from vbl.history.state import RunState

GRACE_S = 10.0
TICK_S = 0.1
_OPTIONS_OF_START = frozenset({"key", "tags", "deadline", "priority"})


@click.command(short_help="Start a run, watch it, and print its output.")
@target_argument()
@click.option("--input", "given", metavar="JSON|@FILE|-", help="An object is keyword arguments, all else one argument.")
@click.option("--key", help="Start it once: the same key gives the same run, and resumes it.")
@click.option("--tag", "tags", multiple=True, help="A tag to find it by; repeat it for more.")
@click.option("--detach", is_flag=True, help="Start it for a supervisor elsewhere, and leave.")
@shared
def command(
    terminal: Terminal, target: str, given: str | None, key: str | None, tags: tuple[str, ...], detach: bool
) -> None:
    """Start a run, watch it, and print its output. TARGET is file.py:workflow or package.module:workflow.

    Where another process supervises the file, the run is started there. Ctrl-C stops gracefully here, or detaches
    from a run that another process moves; it can be resumed either way.

    \b
    Examples:
      vbl run hello.py:hello
      vbl run triage.py:triage --input '{"ticket": "T-1"}' --key T-1
    """
    with sigterm_as_ctrl_c(), prints_beside(terminal):
        workflow = workflow_of(target)
        args, kwargs = _arguments(workflow, given)
        options: dict[str, Any] = {"key": key, "tags": list(tags), **kwargs}
        if detach:
            with terminal.connect(create=True) as client:
                _say_detached(terminal, client, client.start(workflow, *args, **options), target)
            return
        from vbl.engine import runtime as engine

        cursor = _cursor(terminal)
        with engine.open(terminal.path, attach=True, grace_s=GRACE_S) as runtime:
            run = runtime.start(workflow, *args, **options)
            _say_started(terminal, runtime, run)
            try:
                _see_through(terminal, runtime, run, cursor)
            except KeyboardInterrupt:
                _say_left(terminal, runtime, run, target, key)
                raise
            except RunWaiting:
                if terminal.as_json:
                    from vbl.documents import run_document

                    terminal.document(run_document(run.refresh()) | {"output": None, "error": None})
                raise
            _say_outcome(terminal, run)


def as_workflow(value: object) -> Workflow[..., Any] | None:
    """The value, if it is a workflow."""
    from vbl.engine.definitions import Workflow

    return cast("Workflow[..., Any]", value) if isinstance(value, Workflow) else None


def workflow_of(target: str) -> Workflow[..., Any]:
    """The one workflow that the target names."""
    from vbl.cli.targets import workflows

    found = workflows(target, as_workflow)
    if len(found) > 1:
        names = ", ".join(workflow.name for workflow in found)
        raise UsageError(f"{target} has several workflows: {names}", f"Name one: {target}:{found[0].name}")
    return found[0]


def _arguments(workflow: Workflow[..., Any], given: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Typed arguments from --input. Raises InvalidInput with pydantic's words."""
    from vbl.cli.given import value

    args, kwargs = workflow.signature.spread(workflow.signature.accept(value(given)))
    if clash := sorted(_OPTIONS_OF_START & set(kwargs)):
        hint = "Rename the parameter, or let it be given by position too"
        raise UsageError(f"{workflow.name} takes {clash[0]!r} by keyword alone; that is an option of start", hint)
    return args, kwargs


def _cursor(terminal: Terminal) -> int:
    """Where the file stands before a supervisor of ours looks at it: what that records at once is shown, too."""
    if not terminal.path.exists():
        return 0
    with terminal.connect() as client:
        return client.cursor()


def _see_through(terminal: Terminal, runtime: Runtime, run: Run, cursor: int) -> None:
    """Watch the run to its end; ask whoever sits here where only a person can move it.

    Raises RunWaiting where nobody sits here, or they leave the question.
    """
    from vbl.cli import person
    from vbl.cli.progress import Watch

    watch = Watch(SYSTEM.now())
    watch.begin(run.state())
    while gates := _watch(terminal, runtime, run, watch, cursor):
        cursor = runtime.cursor()
        gate = runtime.gate(gates[0])
        if not terminal.asks:
            raise person.waits(run, [gate, *map(runtime.gate, gates[1:])])
        if not person.ask(terminal, runtime, gate, lambda gate=gate: runtime.gate(gate.id).status == "open"):
            raise person.waits(run, [gate])
    for line in watch.rest():
        terminal.note(f"    {line}", "dim")


def _watch(terminal: Terminal, runtime: Runtime, run: Run, watch: Watch, cursor: int) -> list[str]:
    """Show what happens until the run has ended or is blocked, or only a person can move it: then the gates."""
    from vbl.cli.person import asked_of
    from vbl.cli.progress import display

    alone = False
    with display(terminal) as screen:
        while True:
            over = _settled(run)
            gates = [] if over else asked_of(run, SYSTEM.now())
            events = runtime.events(after=cursor, run=run.id)
            screen.say(watch, events)
            cursor = events[-1].id if events else cursor
            if (over or gates) and not events:
                return gates
            screen.tick(watch, SYSTEM.now())
            if runtime.attached and not alone and runtime.supervisor() is None:
                alone = True
                terminal.note(f"the supervisor has gone; the run waits for the next one: vbl why {run.id}", "warn")
            with contextlib.suppress(TimeoutError):
                run.wait(timeout=TICK_S)


def _settled(run: Run) -> bool:
    """Whether the run has ended, or is blocked and this process has no other version of its code to try."""
    status = run.status
    if status != "blocked":
        return status.finished
    try:
        run.result(timeout=0)
    except TimeoutError:
        return False
    except RunBlocked:
        return True
    return run.status.finished


def _say_started(terminal: Terminal, runtime: Runtime, run: Run) -> None:
    info = runtime.supervisor() if runtime.attached else None
    under = f", moved by process {info.pid} ({info.program})" if info else ""
    terminal.note(f"{run.workflow} {run.id}{under}", "strong")


def _say_detached(terminal: Terminal, client: Client, run: Run, target: str) -> None:
    """The id on stdout, and what becomes of the run on stderr."""
    if terminal.as_json:
        from vbl.documents import run_document

        terminal.document(run_document(run.refresh()))
        return
    terminal.line(run.id)
    info = client.supervisor()
    place = shlex.quote(target.rpartition(":")[0] or target)
    if info is None:
        terminal.note(f"{run.last_status}; no supervisor is alive. To move it: vbl up {place}")
    elif run.workflow not in info.workflows:
        terminal.note(f"{run.last_status}; process {info.pid} supervises the file and has not loaded {run.workflow}.")
        terminal.note(f"Restart it with this one too: vbl up {place}")
    else:
        terminal.note(f"process {info.pid} ({info.program}) takes it up. Watch it: vbl show {run.id} --watch")


def _say_left(terminal: Terminal, runtime: Runtime, run: Run, target: str, key: str | None) -> None:
    """What Ctrl-C means for the run, and how to go on."""
    if runtime.attached and (info := runtime.supervisor()) is not None:
        terminal.note(f"\ndetached; process {info.pid} goes on with it. Watch it: vbl show {run.id} --watch")
        return
    again = ", or the same command again: its key finds the run" if key else ""
    place = shlex.quote(target.rpartition(":")[0] or target)
    terminal.note(f"\nstopping; steps in flight get up to {GRACE_S:.0f} s, or Ctrl-C again. Nothing is lost.", "warn")
    terminal.note(f"  resume {run.id}: vbl up {place}{again}")


def _say_outcome(terminal: Terminal, run: Run) -> None:
    """The output on stdout, how it went on stderr. Raises as `run.result()` does for a run that did not complete."""
    state = run.state()
    if terminal.as_json:
        from vbl.documents import run_document

        terminal.document(run_document(run.refresh()) | {"output": state.output, "error": state.error})
    _say_end(terminal, state)
    if state.outcome == "completed":
        if not terminal.as_json:
            terminal.line(state.output if isinstance(state.output, str) else dumps(state.output, indent=2))
        return
    try:
        run.result()
    except RunFailed as failure:
        from vbl.cli.words import say_traceback

        step = state.steps.get(failure.error.get("step") or "")
        say_traceback(terminal, step.error if step is not None and step.error else failure.error)
        raise


def _say_end(terminal: Terminal, state: RunState) -> None:
    sign, plain, style = SIGNS[state.status]
    took = duration((state.finished_at or state.at) - state.created_at)
    cost = f", {money(state.usd)}" if state.usd is not None else ""
    said = f"{sign if terminal.unicode else plain} {state.status} after {took}{cost}   vbl show {state.run_id}"
    terminal.note(said, style)
