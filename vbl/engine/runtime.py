"""A supervisor in this process, with a client beside it: `vbl.open` and `vbl.run`.

The supervisor lives on a thread of its own, so a blocking `run.result()` works in a script, inside a running asyncio
program and in a notebook.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from vbl import config
from vbl.access import Access
from vbl.client import Client
from vbl.clock import SYSTEM, Clock
from vbl.engine import schedules
from vbl.engine.context import refuse_in_workflow
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.engine.supervisor import Supervisor
from vbl.engine.telling import notifying
from vbl.errors import SupervisorHeld
from vbl.given import Startable, workflow_name
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.store.sqlite import Durability

P = ParamSpec("P")
R = TypeVar("R")

_open: dict[Path, Runtime] = {}
_leaving: dict[Path, Supervisor] = {}
"""Supervisors whose stop was interrupted, for all that is known; they still hold their files."""
_opening = threading.Lock()
_WAIT_FOR_LEASE_S = 0.25


class _Local(Access):
    """The file, with a supervisor in this process that tells when something has happened."""

    supervising: Supervisor | None = None

    def workflow(self, name: str) -> Startable | None:
        """Any workflow that is registered in this process."""
        return super().workflow(name) or REGISTRY.get(name)

    @contextlib.contextmanager
    def watching(self, run_id: str) -> Generator[Callable[[float | None], None], None, None]:
        """A function that waits until the supervisor has committed another status of the run."""
        refuse_in_workflow("waiting for a run")
        supervisor = self.supervising
        if supervisor is None:
            with super().watching(run_id) as pause:
                yield pause
            return
        event = threading.Event()
        supervisor.listeners.listen(run_id, event)

        def wait(left: float | None) -> None:
            event.wait(0.5 if left is None else min(left, 0.5))
            event.clear()
            self.check_alive()

        try:
            yield wait
        finally:
            supervisor.listeners.unlisten(run_id, event)

    def trying(self, workflow: str) -> str | None:
        """The version that this process has of it."""
        known = REGISTRY.get(workflow)
        return known.version if self.supervising is not None and known is not None else None

    def check_alive(self) -> None:
        """Raise what made the supervisor fail."""
        if self.supervising is not None and self.supervising.failure is not None:
            raise self.supervising.failure

    def nudge(self) -> None:
        """Let the supervisor look at the file now."""
        if self.supervising is not None:
            self.supervising.nudge()


class Runtime(Client):
    """A client whose runs are moved by a supervisor in this process; or, attached, by one elsewhere.

    `users` are the openings that are to be closed; `typed` are those of them that a person typed at a prompt, and that
    are closed as one: a cell that is run again opens again, and nobody closes as often.
    """

    def __init__(
        self,
        path: Path,
        *,
        attach: bool = False,
        clock: Clock = SYSTEM,
        durability: Durability = "power",
        grace_s: float = 10.0,
        notify: str | None = None,
    ) -> None:
        access = _Local(path, create=True, clock=clock, durability=durability)
        self._open(access)
        self.users = 1
        self.typed = 0
        self.grace_s = grace_s
        supervisor = Supervisor(path, clock=clock, durability=durability, notify=notify)
        try:
            supervisor.start()
        except SupervisorHeld as error:
            if not attach:
                super().close()
                raise SupervisorHeld(
                    error.message, "Start runs there as a client with vbl.open(…, attach=True), or stop it"
                ) from None
        except BaseException:
            supervisor.abandon()
            super().close()
            raise
        else:
            access.supervising = supervisor
        self.supervising = access.supervising
        if not self.attached:
            try:
                schedules.opened(self.scheduling)
            except BaseException:
                supervisor.stop(0)
                super().close()
                raise

    @property
    def attached(self) -> bool:
        """Whether the supervisor is another process."""
        return self.supervising is None

    @property
    def usable(self) -> bool:
        """Whether it is open and its runs are being moved."""
        return not self.closed and (self.supervising is None or self.supervising.alive)

    def start(self, workflow: Workflow[..., Any] | str, /, *args: Any, **options: Any) -> Run:
        """As Client.start; attached, the supervisor elsewhere has to know the workflow. Raises SupervisorHeld."""
        refuse_in_workflow("start")
        name = workflow_name(workflow)
        if not isinstance(workflow, str):
            workflow = REGISTRY.get(name, workflow)  # the code that will run, where that one has been defined again
        info = self.supervisor() if self.attached else None
        if info is not None and name not in info.workflows:
            known = ", ".join(info.workflows) or "none"
            raise SupervisorHeld(
                f"{self.path} is supervised by process {info.pid} ({info.program}), "
                f"which does not have workflow {name} (it has: {known})",
                "Restart that one with the file of this workflow: vbl up FILE… Or use another: vbl.open('other.db')",
            )
        return super().start(workflow, *args, **options)

    def __enter__(self) -> Self:
        if self.typed and _typed(inspect.currentframe()):
            self.typed -= 1  # this one ends with its block
        return self

    def __exit__(self, *error: object) -> None:
        self._leave(1)

    def close(self) -> None:
        """Stop the supervisor gracefully, then give the file back. Runs that are open stay resumable. Interrupted it
        stops at once."""
        self._leave(max(self.typed, 1))
        self.typed = 0

    def _leave(self, openings: int) -> None:
        self.users -= openings
        if self.users > 0 or self.closed:
            return
        supervisor = self.supervising
        if supervisor is not None:
            _leaving[self.path] = supervisor
        if _open.get(self.path) is self:  # else another one has its place, since it was of no use any more
            del _open[self.path]
        try:
            schedules.closed(self.scheduling)
            if supervisor is not None:
                supervisor.stop(self.grace_s)
                del _leaving[self.path]
        except KeyboardInterrupt:
            if supervisor is not None:
                supervisor.stop(0)  # somebody does not want to wait for the grace to pass
            raise
        finally:
            super().close()


def open(
    path: str | os.PathLike[str] | None = None,
    *,
    attach: bool = False,
    durability: Durability = "power",
    grace_s: float = 10.0,
    notify: Workflow[..., Any] | str | None = None,
) -> Runtime:
    """Open a file with a supervisor in this process; it resumes what was open.

    Opening it again in the same process gives the same runtime. Where another process supervises the file: raises
    SupervisorHeld, or with `attach=True` starts runs there as a client. `durability="process"` may lose the last
    acknowledged commits on loss of power. `grace_s` is how long running steps may go on at `close`, in seconds.
    `notify` is a workflow, or the name of a loaded one, that is started for each question to a person with `gate` (None
    where a run is blocked), `run` and `event`: `vbl.notifier.notify`, or one of your own. It does nothing where another
    process supervises the file. Raises UsageError where it is not loaded or does not take these.
    """
    refuse_in_workflow("vbl.open")
    telling = notifying(notify)
    resolved = config.database_path(path)
    typed = _typed(inspect.currentframe())
    with _opening:
        known = _open.get(resolved)
        leaving = _leaving.pop(resolved, None)
        if leaving is not None:
            leaving.stop(0)
        if known is not None and known.usable:
            known.users += 1
            if telling is not None and known.supervising is not None:
                known.supervising.notify = telling
        else:
            known = _open[resolved] = Runtime(
                resolved, attach=attach, durability=durability, grace_s=grace_s, notify=telling
            )
        if typed:
            known.typed += 1
            known.grace_s = grace_s  # the cell may have been edited since
        return known


def run(workflow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Any:
    """Run a workflow in the default file and return its output: open, start, wait.

    Interrupted at a prompt or in a notebook the run goes on, and the error says how to wait for it again; a program is
    about to end then, and stops its supervisor.
    """
    refuse_in_workflow("vbl.run")
    with open(attach=True) as runtime:
        started = runtime.start(workflow, *args, **kwargs)
        try:
            return started.result()
        except KeyboardInterrupt as interrupt:
            if hasattr(sys, "ps1"):
                runtime.users += 1
                runtime.typed += 1
                interrupt.add_note(f"run {started.id} goes on; wait for it: vbl.open().run({started.id!r}).result()")
            raise


def _typed(called: types.FrameType | None) -> bool:
    """Whether a person typed the code that made this call: a cell of a notebook, a line at a prompt."""
    caller = called.f_back if called is not None else None
    return hasattr(sys, "ps1") and caller is not None and caller.f_globals.get("__name__") == "__main__"


@atexit.register
def _close_all() -> None:
    for runtime in list(_open.values()):
        runtime.users = runtime.typed = 1
        runtime.grace_s = min(runtime.grace_s, 1.0)
        runtime.close()


def serve(
    path: str | os.PathLike[str] | None = None,
    *,
    wait: bool = False,
    force: bool = False,
    grace_s: float = 10.0,
    durability: Durability = "power",
    on_fact: Callable[[str, Fact], None] | None = None,
    on_start: Callable[[Supervisor], None] | None = None,
    on_stop: Callable[[], None] | None = None,
    notify: Workflow[..., Any] | str | None = None,
) -> None:
    """Supervise a file until SIGTERM or Ctrl-C; what `vbl up` does. Must be called on the main thread.

    `wait` waits for another holder to leave; `force` takes the file from one that does not answer. `on_fact` is
    called on the supervisor's thread with the run's id and each fact, after its commit, `on_stop`
    when it was asked to stop. `notify` is as in `open`. Raises SupervisorHeld, also when a newer supervisor takes the
    file later.
    """
    resolved = config.database_path(path)
    telling = notifying(notify)
    asked = threading.Event()

    def stop(number: int, frame: object) -> None:
        asked.set()

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        supervisor = _when_free(resolved, wait, force, durability, on_fact, asked, telling)
        if supervisor is None:
            return
        try:
            with _declaring(resolved):
                if on_start is not None:
                    on_start(supervisor)
                while not asked.wait(0.2) and not supervisor.join(0):
                    pass
        finally:
            supervisor.ask_to_stop(grace_s)
        if on_stop is not None and asked.is_set():
            on_stop()
        supervisor.join()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _declaring(path: Path) -> Generator[None]:
    """Make the schedules that code of this process declares durable in the file."""
    with Client(path) as client:
        schedules.opened(client.scheduling)
        try:
            yield
        finally:
            schedules.closed(client.scheduling)


def _when_free(
    path: Path,
    wait: bool,
    force: bool,
    durability: Durability,
    on_fact: Callable[[str, Fact], None] | None,
    asked: threading.Event,
    notify: str | None,
) -> Supervisor | None:
    while True:
        supervisor = Supervisor(path, durability=durability, force=force, on_fact=on_fact, notify=notify)
        try:
            supervisor.start()
        except SupervisorHeld:
            if not wait:
                raise
            if asked.wait(_WAIT_FOR_LEASE_S):
                return None
        else:
            return supervisor
