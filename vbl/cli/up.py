"""`vbl up`: the supervisor of a file, in the foreground until it is stopped.

What the user's code prints goes to stderr; stdout carries events, and only with --json.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from vbl.cli.prints import prints_beside
from vbl.cli.terminal import Terminal, fit, shared, target_argument
from vbl.cli.ui import TOKEN, greet, serving
from vbl.cli.words import clock
from vbl.errors import UsageError
from vbl.history.narration import narrate
from vbl.history.tones import tone_of

if TYPE_CHECKING:
    from vbl.engine.definitions import Workflow
    from vbl.engine.supervisor import Supervisor
    from vbl.history.facts import Fact

CALM = frozenset(
    (
        "RUN_CREATED", "RUN_RESUMED", "RUN_COMPLETED", "RUN_FAILED", "RUN_BLOCKED", "RUN_PAUSED", "RUN_UNPAUSED",
        "RUN_RETRIED", "CANCEL_REQUESTED", "RUN_CANCELLED", "STEP_FAILED", "STEP_INTERRUPTED", "RETRY_SCHEDULED",
        "APPROVAL_REQUESTED", "APPROVAL_GRANTED", "APPROVAL_DENIED", "APPROVAL_ESCALATED", "APPROVAL_REMINDED",
        "APPROVAL_EXPIRED", "STEP_RESOLVED",
    )
)  # fmt: skip
"""What is worth a line without --verbose."""
OPEN = "('queued', 'running', 'retrying', 'waiting', 'waiting_for_approval', 'paused', 'blocked')"


class Seconds(click.FloatRange):
    """A finite number of seconds, zero or more."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0, max=86_400 * 365)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse NaN, which no range does."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return number


@click.command(short_help="Supervise the file: move its runs until stopped.")
@target_argument(many=True)
@click.option("--wait", is_flag=True, help="Where another process holds the file, wait and take over.")
@click.option("--force", is_flag=True, help="Take the file from a holder that does not answer.")
@click.option("--grace", type=Seconds(), default=10.0, show_default=True, help="Seconds that steps get when it stops.")
@click.option(
    "--notify",
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    help="Tell people what they are asked: the webhook URL, or what VBL_NOTIFY_URL and VBL_NOTIFY_COMMAND name.",
)
@click.option("--ui", is_flag=True, help="Serve the pages of the file too (see vbl ui).")
@click.option("--host", default="127.0.0.1", show_default=True, help="With --ui: where; others need --token.")
@click.option("--port", type=click.IntRange(0, 65_535), help="With --ui: which port; 0 finds a free one.")
@click.option("--token", envvar=TOKEN, help=f"With --ui: a lasting token; else ${TOKEN}.")
@click.option("--verbose", "-v", is_flag=True, help="Say every event, steps that go well included.")
@shared
def command(
    terminal: Terminal,
    targets: tuple[str, ...],
    wait: bool,
    force: bool,
    grace: float,
    notify: str | None,
    ui: bool,
    host: str,
    port: int | None,
    token: str | None,
    verbose: bool,
) -> None:
    """Supervise the file: resume what is open, move what is started, until Ctrl-C or SIGTERM.

    TARGET is file.py for all of its workflows, file.py:workflow, package.module or package.module:workflow. A second
    supervisor of one file exits with 9.

    \b
    Examples:
      vbl up hello.py
      vbl up triage.py billing.py --wait
      vbl up triage.py --ui
      vbl up triage.py --notify https://hooks.example.org/vbl
    """
    if wait and force:
        raise UsageError(
            "--wait and --force contradict each other", "Wait for a holder that answers, force one that does not"
        )
    if not ui and (port is not None or host != "127.0.0.1"):
        raise UsageError("--host and --port are about the pages", "Serve them: vbl up FILE --ui")
    with prints_beside(terminal):
        _load(targets)
        telling = _telling(notify)
        from vbl.engine.runtime import serve

        with contextlib.ExitStack() as beside, Log(terminal, verbose) as log:
            watch = Keeper(terminal, grace, _pages(beside, terminal, host, port, token) if ui else None)
            serve(
                terminal.path,
                wait=wait,
                force=force,
                grace_s=grace,
                on_fact=log.take,
                on_start=watch.started,
                on_stop=watch.stopping,
                notify=telling,
            )
    terminal.note("stopped; what is open is resumed by the next supervisor", "dim")


def _pages(
    beside: contextlib.ExitStack, terminal: Terminal, host: str, port: int | None, token: str | None
) -> Callable[[], None]:
    """Bind the server of the pages, and return what starts it. Raises VblError where it cannot be had."""
    server = beside.enter_context(serving()(terminal.path, host=host, port=port, token=token, create=True))

    def start() -> None:
        beside.enter_context(server.beside())
        greet(terminal, server, token, events=True)

    return start


def _telling(notify: str | None) -> Workflow[..., Any] | None:
    """The workflow that tells people, where that is asked for. A URL given here goes before that of the environment.

    Raises UsageError where there is nobody to tell, or an address or a command that cannot be used.
    """
    if notify is None:
        return None
    from vbl import notifier

    if notify and "://" not in notify:
        raise UsageError(
            "--notify is followed by what is no address", "Name the files first: vbl up FILE --notify [URL]"
        )
    if notify:
        os.environ[notifier.URL] = notify
    if notifier.webhook() is None and notifier.command("", "") is None:
        raise UsageError(
            f"--notify: neither {notifier.URL} nor {notifier.COMMAND} is set, and no URL is given",
            "For example: vbl up FILE --notify https://hooks.example.org/vbl",
        )
    return notifier.notify


def _load(targets: tuple[str, ...]) -> None:
    """Import every target; two workflows of one name would hide each other."""
    from vbl.cli.run import as_workflow
    from vbl.cli.targets import workflows

    found: dict[str, tuple[str, Workflow[..., Any]]] = {}
    for target in targets:
        for workflow in workflows(target, as_workflow):
            other, known = found.setdefault(workflow.name, (target, workflow))
            if known is not workflow:
                raise UsageError(
                    f"{other} and {target} both have a workflow {workflow.name!r}",
                    f'Give one another name: @vbl.workflow(name="{workflow.name}-2")',
                )


class Keeper:
    """Says what the supervisor does as a whole, and makes a second Ctrl-C end the grace time."""

    def __init__(self, terminal: Terminal, grace: float, pages: Callable[[], None] | None = None) -> None:
        self.terminal = terminal
        self.grace = grace
        self._pages = pages
        self._supervisor: Supervisor | None = None

    def started(self, supervisor: Supervisor) -> None:
        """Say what is supervised, and which open runs nobody here can move."""
        self._supervisor = supervisor
        with self.terminal.connect() as client:
            info = client.supervisor()
            _, open_runs = client.sql(
                f"select workflow, count(*) from vbl_runs where status in {OPEN} group by workflow"
            )
        loaded = info.workflows if info is not None else []
        names = ", ".join(name for name in loaded if not name.startswith("vbl."))  # less what every supervisor has
        self.terminal.note(f"supervising {self.terminal.path} at epoch {supervisor.epoch}: {names}", "strong")
        for workflow, number in open_runs:
            if workflow not in loaded:
                runs = f"{number} open run{'' if number == 1 else 's'} of {workflow}"
                self.terminal.note(f"{runs} cannot move: no target has that workflow; name its file too", "warn")
        if self._pages is not None:
            self._pages()

    def stopping(self) -> None:
        """Say how long it may take."""
        signal.signal(signal.SIGINT, self._at_once)
        self.terminal.note(f"stopping; steps in flight get up to {self.grace:g} s, or Ctrl-C again", "dim")

    def _at_once(self, number: int, frame: object) -> None:
        if self._supervisor is not None:
            self._supervisor.ask_to_stop(0)


class Log:
    """Writes a line for an event, on a thread of its own: a terminal that stands still must not stop a supervisor."""

    def __init__(self, terminal: Terminal, verbose: bool) -> None:
        self.terminal = terminal
        self.verbose = verbose or terminal.as_json
        self._lines: queue.SimpleQueue[tuple[str, Fact] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="vbl-log", daemon=True)

    def __enter__(self) -> Log:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.put(None)
        self._thread.join(1.0)

    def take(self, run_id: str, fact: Fact) -> None:
        """Called by the supervisor after a commit."""
        told = fact.type in CALM and not (fact.type == "STEP_FAILED" and not fact.payload.get("final", True))
        if self.verbose or told:
            self._lines.put((run_id, fact))

    def _write(self) -> None:
        while (item := self._lines.get()) is not None:
            try:
                self._say(*item)
            except BrokenPipeError:
                return

    def _say(self, run_id: str, fact: Fact) -> None:
        if self.terminal.as_json:
            from vbl.documents import fact_document

            self.terminal.emit(fact_document(run_id, fact))
            return
        room = max(self.terminal.width - 31, 40) if sys.stderr.isatty() else 1_000
        self.terminal.note(f"{clock(fact.at)}  {run_id}  {fit(narrate(fact), room)}", tone_of(fact))
