"""Deaths at a commit of one's choice: the door for facts, which dies before or after the n-th of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from vbl.clock import Clock
from vbl.history.state import RunState
from vbl.store.journal import Draft, History, Journal
from vbl.store.protocol import Head, Store

T = TypeVar("T")


class Crash(BaseException):
    """The process is taken to have died here."""


class DyingJournal(Journal):
    """Dies before or after its n-th commit, counted from 1; `commits` tells how many there were. Those of a journal
    `beside` another count as that one's."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        before: int | None = None,
        after: int | None = None,
        beside: DyingJournal | None = None,
    ) -> None:
        super().__init__(store, clock)
        self._commits = 0
        self._before = before
        self._after = after
        self._counted: DyingJournal = beside or self

    @property
    def commits(self) -> int:
        """How many there were."""
        return self._counted._commits

    def _dying(self, commit: Callable[[], T]) -> T:
        counted = self._counted
        if counted._commits + 1 == counted._before:
            raise Crash(f"before commit {counted._before}")
        done = commit()
        counted._commits += 1
        if counted._commits == counted._after:
            raise Crash(f"after commit {counted._commits}")
        return done

    def commit(self, run_id: str, decide: Callable[[RunState], Iterable[Draft]]) -> RunState:
        """As Journal.commit, until its moment has come."""
        commit = super().commit
        return self._dying(lambda: commit(run_id, decide))

    def commit_all(
        self, histories: Sequence[History], seen: Head, births: Sequence[History] = ()
    ) -> tuple[Head, set[int]]:
        """As Journal.commit_all, until its moment has come."""
        commit_all = super().commit_all
        return self._dying(lambda: commit_all(histories, seen, births))
