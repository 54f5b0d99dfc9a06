"""`@vbl.transaction`: a step that writes to the user's own tables in the file, inside the very transaction that records
its completion. There is no moment at which one is there and the other is not, so it happens exactly once.

The body runs in a thread, on a connection of its own that holds the write lock meanwhile. What it commits is somebody
else's event to the supervisor, which takes it in as it takes in a decision.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vbl.clock import Clock
from vbl.engine.attempt import Committed, Outcome, Stopped, failure
from vbl.engine.context import CURRENT, Attempt
from vbl.errors import NotInWorkflow
from vbl.history.state import RunState
from vbl.store.journal import Draft, Journal
from vbl.store.payloads import Recorder
from vbl.store.sqlite import Durability, Sqlite

if TYPE_CHECKING:
    from vbl.store.sqlite import Connection


def connection() -> Connection:
    """In the body of a `@vbl.transaction`: the connection to the file, of apsw, inside the open transaction.

    Tables of your own may be made, read and written, and vbl's views be read. Refused are vbl's own tables, attaching
    other files, settings, and ending the transaction. Raises NotInWorkflow anywhere else.
    """
    scope = CURRENT.get()
    if not isinstance(scope, Attempt) or scope.connection is None:
        raise NotInWorkflow(
            "vbl.connection() was called outside the body of a transaction step",
            "Put @vbl.transaction above the function, and call it in a workflow",
        )
    return scope.connection


class _Over(Exception):
    """The attempt no longer counts: its supervisor has lost the file, or the step was given up."""


class Transactor:
    """Runs the bodies of transactions for one supervisor, one at a time; its connection is opened when first needed."""

    def __init__(self, path: Path, clock: Clock, durability: Durability, vfs: str | None, epoch: int) -> None:
        self._path = path
        self._clock = clock
        self._durability: Durability = durability
        self._vfs = vfs
        self._epoch = epoch
        self._turn = threading.Lock()
        self._journal: Journal | None = None

    def carry_out(self, attempt: Attempt, body: Callable[[], Any]) -> Outcome:
        """Run the body and record its completion, in one transaction. Never raises."""
        try:
            with self._turn:
                if self._journal is None:
                    store = Sqlite(self._path, durability=self._durability, vfs=self._vfs)
                    self._journal = Journal(store, self._clock)
                journal = self._journal
                journal.commit(attempt.run_id, lambda state: self._completed(journal.store, state, attempt, body))
        except _Over:
            return Stopped()
        except BaseException as error:
            return failure(error)
        return Committed()

    def _completed(self, store: Any, state: RunState, attempt: Attempt, body: Callable[[], Any]) -> Iterable[Draft]:
        """Inside the transaction: the body, then the event of its completion. What it raises undoes both."""
        step = state.steps.get(attempt.key)
        flying = step is not None and step.status == "running" and step.attempt == attempt.number
        if not flying or state.finished or attempt.stopped or store.head().epoch != self._epoch:
            raise _Over
        attempt.connection = store.lend()
        try:
            value = body()
        finally:
            attempt.connection = None
            store.take_back()
        if attempt.stopped:
            raise _Over
        assert attempt.call is not None
        recorded = attempt.call.step.signature.result.record(value, Recorder())
        if recorded.blob is not None:
            store.many("insert_blob", [recorded.blob])
        payload = {"v": 1, "step": attempt.key, "attempt": attempt.number, "output": recorded.plain}
        head = f'{{"v":1,"step":{attempt.call.key_text},"attempt":{attempt.number}'
        at = max(self._clock.now(), state.at)
        return [Draft("STEP_COMPLETED", at, payload, f'{head},"output":{recorded.text}}}')]

    def close(self) -> None:
        """Give the connection back; a body that still runs keeps it until it ends."""
        if self._turn.acquire(timeout=1.0):
            try:
                if self._journal is not None:
                    self._journal.store.close()
                    self._journal = None
            finally:
                self._turn.release()
