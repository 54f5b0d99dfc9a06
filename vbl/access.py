"""The open file, as a client, a runtime and the handles that they gave out share it.

It is the part that differs between a client, which watches the file, and a runtime, whose supervisor tells it: what
waits for a run waits here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vbl.clock import Clock
from vbl.errors import NotFound
from vbl.store import holder
from vbl.store.holder import SupervisorInfo
from vbl.store.journal import Draft, Journal, draft
from vbl.store.payloads import loads
from vbl.store.sqlite import Durability, Sqlite

if TYPE_CHECKING:
    from vbl.given import Startable
    from vbl.history.events import Payload
    from vbl.history.state import RunState

FIRST_WAIT_S = 0.002
LAST_WAIT_S = 0.05
"""Who waits looks at the file after a moment, then less and less often."""


class Access:
    """The open file, as a client and the handles that it gave out use it."""

    def __init__(self, path: Path, *, create: bool, clock: Clock, durability: Durability) -> None:
        self.path = path
        self.clock = clock
        self.store = Sqlite(path, create=create, durability=durability)
        self.journal = Journal(self.store, clock)
        self.workflows: dict[str, Startable] = {}

    @property
    def closed(self) -> bool:
        """Whether the file was given back."""
        return self.store.closed

    @contextlib.contextmanager
    def beside(self) -> Generator[Access, None, None]:
        """The same file, on a connection of its own."""
        access = Access(self.path, create=False, clock=self.clock, durability="power")
        try:
            yield access
        finally:
            access.store.close()

    def summary(self, key: int) -> tuple[Any, ...]:
        """The columns of a handle. Raises NotFound for a run whose summary is gone."""
        row = self.store.one("handle", (key,))
        if row is None:
            raise NotFound(
                f"run number {key} is gone from {self.path}",
                "If summaries were dropped: vbl doctor --rebuild",
                code="run_not_found",
            )
        return row

    def commit(self, run_id: str, decide: Callable[[RunState, int], Iterable[Payload]]) -> RunState:
        """Append what is decided from a run's state at an instant, and tell a supervisor in this process; durable when
        it returns. Raises what `decide` raises; then nothing is appended."""

        def drafts(state: RunState) -> list[Draft]:
            at = max(self.clock.now(), state.at)
            return [draft(at, payload) for payload in decide(state, at)]

        state = self.journal.commit(run_id, drafts)
        self.nudge()
        return state

    def supervisor(self) -> SupervisorInfo | None:
        """Who moves the runs of this file now; None where nobody does."""
        if not holder.alive(self.path):
            return None
        about = holder.read(self.path)
        row = self.store.one("supervisor")
        workflows: list[str] = loads(row[2]) if row is not None and row[2] else []
        since, epoch = about.get("since", 0), about.get("epoch", 0)
        return SupervisorInfo(
            about.get("pid", 0), about.get("host", ""), about.get("program", ""), since, epoch, workflows
        )

    def silent(self) -> str | None:
        """Words on a holder of the file that gives no sign of life any more; None where it does."""
        silent_s = holder.silent_s(self.path)
        if silent_s < holder.SILENT_S:
            return None
        return f"{holder.describe(self.path)} holds the file and has not answered for {silent_s:.0f} s"

    def workflow(self, name: str) -> Startable | None:
        """The workflow of that name, where this process has it."""
        return self.workflows.get(name)

    def trying(self, workflow: str) -> str | None:
        """The version of the code with which a supervisor in this process tries a blocked run again; None for none."""
        return None

    def check_alive(self) -> None:
        """Raise where the wait can never end; a plain client cannot know that."""

    def nudge(self) -> None:
        """Tell a supervisor in this process that there is something new."""

    @contextlib.contextmanager
    def watching(self, run_id: str) -> Generator[Callable[[float | None], None], None, None]:
        """A function that waits a moment, or until the file has changed."""
        wait_s = FIRST_WAIT_S
        version = self.store.changed()

        def pause(left: float | None) -> None:
            nonlocal wait_s, version
            time.sleep(wait_s if left is None else min(wait_s, left))
            changed = self.store.changed()
            wait_s = FIRST_WAIT_S if changed != version else min(wait_s * 1.5, LAST_WAIT_S)
            version = changed
            self.check_alive()

        yield pause
