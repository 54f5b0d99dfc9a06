"""A handle to a run: what can be asked of one, and done to it.

A client and a runtime give out the same handles; how they wait differs, and is in `access`. What is done to a run is
decided by `history.transitions`, and durable when the call returns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Self

from vbl import config
from vbl.access import FIRST_WAIT_S, LAST_WAIT_S, Access
from vbl.clock import microseconds
from vbl.errors import NotFound, RunBlocked, RunCancelled, RunFailed, UsageError, VblError
from vbl.given import checked_text
from vbl.history.facts import Event, EventType, Fact
from vbl.history.state import RunState, Status, fold
from vbl.notebook import drawn
from vbl.store.journal import chained
from vbl.store.payloads import Resolver, received

if TYPE_CHECKING:
    from vbl.drawing.runs import RunRow
    from vbl.drawing.sheet import Neighbour, RunSheet
    from vbl.history.events import Payload
    from vbl.history.why import Why
    from vbl.watching import Watch

COLUMNS = (
    "id, workflow, version, status, start_key, parent_id, tags, created_at, updated_at, finished_at, wake_at, seq, "
    "key, started_at, queue, in_flight, usd"
)
"""What a handle reads of the summary."""
_UNSAID: Any = object()


def status_named(text: str) -> Status:
    """The status of that name. Raises UsageError where there is none."""
    try:
        return Status(text)
    except ValueError:
        raise UsageError(f"{text!r} is no status", f"Statuses are {', '.join(Status)}") from None


def _seconds(timeout: object) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or math.isnan(timeout):
        raise UsageError(f"timeout={timeout!r} is no number of seconds", "For example timeout=30")
    return timeout


class Run:
    """A handle to a run; from `start` and from `client.run(ID)` alike. Instants are microseconds since 1970 UTC.

    `id`, `workflow`, `version`, `key`, `parent_id`, `tags` and `created_at` never change; `status` is read when asked.
    `usd` is what the run's steps say that they cost, in US dollars; None where none does.
    """

    def __init__(self, access: Access, row: tuple[Any, ...]) -> None:
        self._access = access
        self._take(row)

    def _take(self, row: tuple[Any, ...]) -> None:
        (self.id, self.workflow, self.version, status, self.key, self.parent_id, tags, self.created_at) = row[:8]
        self.tags: list[str] = tags.split("\n") if tags else []
        self._status = Status(status)
        self.updated_at, self.finished_at, self.wake_at, self.seq, self._key = row[8:13]
        self.started_at, self.queue, self.in_flight, self.usd = row[13:17]

    def refresh(self) -> Self:
        """Read the summary again."""
        self._take(self._access.summary(self._key))
        return self

    @property
    def status(self) -> Status:
        """Where the run is now."""
        return self.refresh()._status

    @property
    def last_status(self) -> Status:
        """Where the run was when its summary was last read; costs nothing."""
        return self._status

    def facts(self, at: int | None = None) -> list[Fact]:
        """The history as plain data, up to and with event `at`."""
        return self._access.journal.load(self._key, at)[1]

    def recorded_output(self) -> Any:
        """The output as it is recorded. The history is read only where the end of the run refers to it, or where a
        write that had been given up ended behind it."""
        row = self._access.journal.rows(self._key, self.seq - 1)[0]
        if row.type != "RUN_COMPLETED" or '"$ref"' in row.payload:
            return self.state().output
        return Resolver(self._access.journal.blob).resolve(row.seq, row.payload)["output"]

    def events(self) -> list[Event]:
        """The history, oldest first."""
        from vbl.history.events import payload_model

        journal = self._access.journal
        rows = journal.rows(self._key)
        facts = journal.load(self._key)[1]
        return [
            Event(row.id, self.id, fact.seq, EventType(fact.type), fact.at, payload_model(fact.type, fact.payload))
            for row, fact in zip(rows, facts, strict=False)
        ]

    def proof(self) -> tuple[str | None, int]:
        """The digest at the end of the history's chain, once every event is seen to be what was written, and how many
        events there are; None for the digest where one is not, or where the last ones are gone."""
        written = self.refresh().seq
        rows = self._access.journal.rows(self._key)
        digest = self.id.encode()
        for row in rows:
            digest = chained(digest, row.seq, row.type, row.at, row.payload)
            if digest != row.chain:
                return None, len(rows)
        if len(rows) < written:  # what is left of a chain that was cut is a whole chain: the summary knows its length
            return None, len(rows)
        return digest.hex(), len(rows)

    def state(self, at: int | None = None, checkpoint: int | None = None) -> RunState:
        """The accumulated state now, after event `at`, or at a checkpoint. Raises NotFound where there is none."""
        facts = self.facts()
        if checkpoint is not None:
            found = [f.seq for f in facts if f.type == "CHECKPOINT_WRITTEN" and f.payload["checkpoint"] == checkpoint]
            if not found:
                last = max((f.payload["checkpoint"] for f in facts if f.type == "CHECKPOINT_WRITTEN"), default=0)
                raise NotFound(
                    f"run {self.id} has no checkpoint {checkpoint}",
                    f"Its checkpoints are 1 to {last}" if last else "It has none yet",
                )
            at = found[-1]
        if at is not None and not 1 <= at <= len(facts):
            raise NotFound(
                f"run {self.id} has no event {at}", f"Its events are 1 to {len(facts)}: vbl events {self.id}"
            )
        return fold(facts if at is None else facts[:at], onto=State())

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the workflow's output.

        Raises RunFailed, RunCancelled, RunBlocked, and TimeoutError after `timeout` seconds.
        """
        self._wait_until(self._settled, timeout)
        return self._outcome()

    def wait(self, *statuses: Status | str, timeout: float | None = None) -> Status:
        """Wait until the run has one of the statuses (by default: has ended) and return it.

        Raises TimeoutError after `timeout` seconds, UsageError for a status that there is not.
        """
        wanted = {status_named(status) for status in statuses}
        return self._wait_until(lambda status: status in wanted if wanted else status.finished, timeout)

    def _wait_until(self, done: Callable[[Status], bool], timeout: float | None) -> Status:
        deadline = None if timeout is None else time.monotonic() + _seconds(timeout)
        with self._access.watching(self.id) as pause:
            while not done(status := self.status):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"run {self.id} is {status} after {timeout} s")
                pause(left)
        return status

    def _settled(self, status: Status) -> bool:
        """Whether `result()` need not wait any longer: not where a blocked run is about to be tried with other code."""
        if status is not Status.BLOCKED:
            return status.finished
        version = self._access.trying(self.workflow)
        return version is None or version in self.state().blocked_by

    def _output(self) -> Any:
        """A completed run's output: typed where the workflow is at hand, else plain data."""
        plain, workflow = self.recorded_output(), self._access.workflow(self.workflow)
        return plain if workflow is None else workflow.signature.result.load(plain)

    def _outcome(self) -> Any:
        if self._status is Status.COMPLETED:
            return self._output()
        state = self.state()
        match state.status:
            case Status.COMPLETED:
                return self.refresh()._output()
            case Status.FAILED:
                error = state.error or {}
                raise RunFailed(
                    f"run {self.id} failed: {error.get('type')}: {error.get('message')}",
                    f"Look: vbl show {self.id}. Go on from the failed step: vbl retry {self.id}",
                    error=error,
                )
            case Status.CANCELLED:
                raise RunCancelled(f"run {self.id} was cancelled", f"Look: vbl show {self.id}")
            case _:
                blocked = state.blocked or {}
                raise RunBlocked(
                    f"run {self.id} is blocked: {blocked.get('message')}",
                    str(blocked.get("unblock") or f"vbl why {self.id}"),
                )

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        import asyncio

        wait_s = FIRST_WAIT_S
        while not self._settled(self.status):
            await asyncio.sleep(wait_s)
            self._access.check_alive()
            wait_s = min(wait_s * 1.5, LAST_WAIT_S)
        return self._outcome()

    def cancel(self, by: str | None = None, reason: str | None = None, *, within: float | None = None) -> Status:
        """Ask for a cancel. The run may clean up for `within` seconds (300 where nothing is said), counted while a
        supervisor is alive; then it is ended, whatever its code does.

        Raises Conflict for a finished run and where a cancel was asked for before, UsageError for what is no time.
        """
        from vbl.history.transitions import CLEAN_UP_US, cancel

        span = CLEAN_UP_US if within is None else microseconds(within, "within")
        return self._decide(cancel, by, reason, span)

    def signal(self, name: str, data: Any = None, *, key: str | None = None, by: str | None = None) -> Status:
        """Send a message to the run: the oldest `vbl.wait(name)` gets it, or it is kept until there is one.

        With a `key` a repeated one changes nothing. Raises Conflict for a finished run, KeyTaken for other data under a
        known key, InvalidInput where it does not fit what the run waits for, UsageError for a name that is none.
        """
        from vbl.history.schemas import fitting
        from vbl.history.transitions import signal

        checked_text("signal", name)
        if key is not None:
            checked_text("key", key)
        plain = received(f"the data of signal {name}", data)

        def sent(state: RunState, actor: str | None, _reason: str | None) -> list[Payload]:
            payloads = signal(state, name, plain, key, actor)
            waiting = min((n for n in state.open_waits if state.waits[n].name == name), default=None)
            schema = state.waits[waiting].json_schema if waiting is not None else None
            if payloads and schema is not None:
                fitting(schema, plain, f"signal {name}")  # recorded as it came, so that its key knows it again
            return payloads

        return self._decide(sent, by, None)

    def resolve(
        self,
        *,
        happened: Any = _UNSAID,
        did_not: bool = False,
        fail: bool = False,
        by: str | None = None,
        reason: str | None = None,
    ) -> Status:
        """Settle the write whose unknown outcome blocks the run: it `happened`, with this result; it `did_not`, so it
        is run again; or it is to `fail`, and the code sees StepFailed.

        Raises Conflict where the run does not ask, InvalidInput for a result that the step could not have returned,
        UsageError where not exactly one of the three is said.
        """
        from pydantic_core import to_jsonable_python

        from vbl.history.transitions import resolve

        if (happened is not _UNSAID) + did_not + fail != 1:
            raise UsageError("say one thing of the three", "happened=RESULT, did_not=True or fail=True")
        outcome = "did_not_happen" if did_not else "failed" if fail else "happened"
        output: Any = None if happened is _UNSAID else to_jsonable_python(happened)

        def resolved(state: RunState, actor: str | None, why: str | None) -> list[Payload]:
            return resolve(state, outcome, output, actor, why)

        return self._decide(resolved, by, reason)

    def pause(self, by: str | None = None, reason: str | None = None) -> Status:
        """Hold the run: no further step starts. Raises Conflict where it is finished or paused."""
        from vbl.history.transitions import pause

        return self._decide(pause, by, reason)

    def unpause(self, by: str | None = None, reason: str | None = None) -> Status:
        """Let a paused run go on. Raises Conflict where it is not paused."""
        from vbl.history.transitions import unpause

        return self._decide(unpause, by, reason)

    def retry(self, by: str | None = None, reason: str | None = None) -> Status:
        """Open a failed run at its failed step, or try a blocked one again. Raises Conflict for any other."""
        from vbl.history.transitions import retry

        return self._decide(retry, by, reason)

    def _decide(
        self, what: Callable[..., list[Payload]], by: str | None, reason: str | None, span: int | None = None
    ) -> Status:
        """Commit what a transition makes of the state; one with a `span` is told the instant that lies so far ahead."""

        def decide(state: RunState, at: int) -> list[Payload]:
            until = () if span is None else (at + span,)
            return what(state, by or config.actor(), reason, *until)

        return self._access.commit(self.id, decide).status

    def why(self) -> Why:
        """What the run waits for, and what would move it on."""
        return self._why(self.state())

    def _why(self, state: RunState) -> Why:
        from vbl.history.why import why

        info = self._access.supervisor()
        loaded = set(info.workflows) if info is not None else None
        file = (self.source() or {}).get("file")
        children = {child.id: child.last_status.value for child in self.children()} if state.open_children else {}
        silent = self._access.silent() if info is not None else None
        now = self._access.clock.now()
        place = None
        if state.waits_for_place:
            from vbl.history.queues import place_in
            from vbl.store.queues import in_the_way

            with self._access.store.read():
                place = place_in(state, in_the_way(self._access.store, state, now), now)
        return why(state, now, loaded, info is not None, file, children=children, silent=silent, place=place)

    def children(self, limit: int = 1_000) -> list[Run]:
        """The runs that this one started, in the order in which it did, `limit` at most."""
        return [Run(self._access, row) for row in self._access.store.all("children_of", (self.id, limit))]

    def descendants(self, depth: int, each: int | None = None) -> Iterator[tuple[int, Run]]:
        """The runs below this one, `depth` levels, each with its level, a child before the next one's siblings; `each`
        of one parent at most."""
        most = -1 if each is None else each
        stack = [(1, child) for child in reversed(self.children(most))] if depth else []
        while stack:
            level, child = stack.pop()
            yield level, child
            if level < depth:
                stack += [(level + 1, below) for below in reversed(child.children(most))]

    def source(self) -> dict[str, Any] | None:
        """The definition as the run began with it: {"source", "file", "line", "python", "version"}; None where it was
        not kept."""
        return self._definition("definition", self.workflow, self.version)

    def _definition(self, query: str, *args: str) -> dict[str, Any] | None:
        row = self._access.store.one(query, args)
        named = ("source", "file", "line", "python", "version")
        return dict(zip(named, row, strict=True)) if row is not None and row[0] else None

    def sheets(self) -> Iterator[RunSheet]:
        """All that a page says of the run, time and again: as it is whenever the next one is asked for. Only what has
        come since is read."""
        history, facts = self._access.journal.load(self._key)
        while True:
            yield self._drawn(facts)
            facts = [*facts, *self._access.journal.catch_up(history)]

    def sheet(self) -> RunSheet:
        """All that a page says of the run, read now."""
        return self._drawn(self.facts())

    def _drawn(self, facts: list[Fact]) -> RunSheet:
        """What these facts add up to, and what the file knows beside them."""
        from vbl.drawing.sheet import MOST_NEIGHBOURS, RunSheet
        from vbl.history.plotting import timeline

        self.refresh()
        state, now, supervised = fold(facts), self._access.clock.now(), self._access.supervisor() is not None
        return RunSheet(
            id=self.id,
            version=self.version,
            parent=self._parent(),
            children=[child.neighbour() for child in self.children(MOST_NEIGHBOURS)],
            facts=facts,
            state=state,
            picture=timeline(facts, now, supervised=supervised),
            answer=self._why(state),
            supervised=supervised,
            now=now,
            source=self.source(),
            newest=self._definition("newest_definition", self.workflow),
        )

    def row(self, note: str = "") -> RunRow:
        """What a list says of this run, by its summary."""
        from vbl.drawing.runs import RunRow

        return RunRow(
            self.id, self.workflow, self._status.value, self.key, self.tags, self.created_at, self.started_at,
            self.finished_at, self.wake_at, self.queue, self.in_flight, self.usd, self.parent_id, note,
        )  # fmt: skip

    def neighbour(self) -> Neighbour:
        """What is said of this run beside another one, by its summary."""
        from vbl.drawing.sheet import Neighbour

        return Neighbour(self.id, self.workflow, self._status.value, self.created_at, self.finished_at, self.usd)

    def _parent(self) -> Neighbour | None:
        """The run that started this one; None where there is none, or retention has struck it."""
        row = self._access.store.one("keys_from", (self.parent_id,)) if self.parent_id else None
        if row is None or row[1] != self.parent_id:
            return None
        return Run(self._access, self._access.summary(row[0])).neighbour()

    def watch(self) -> Watch:
        """Show the run while it goes on: in a notebook a picture below the cell, which stays true after the cell has
        ended; elsewhere a line for each event, until the run ends. Watched again it is shown there, and here no more.

        Raises UsageError where the file was closed.
        """
        from vbl.watching import watch

        return watch(self, self._access)

    def __repr__(self) -> str:
        with contextlib.suppress(VblError):  # of a file that was closed the status is said that was known last
            self.refresh()
        return f"<run {self.id} {self.workflow} {self._status}>"

    def _repr_html_(self) -> str:
        return drawn("run", self.sheet())


class State(RunState):
    """The state of a run as a handle gives it; a notebook shows what is in it. Equal to a RunState of the same
    content."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunState) and all(getattr(self, name) == getattr(other, name) for name in _FIELDS)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<state of {self.run_id} {self.workflow} {self.status} after event {self.seq}>"

    def _repr_html_(self) -> str:
        return drawn("state", self)


_FIELDS = tuple(field.name for field in dataclasses.fields(RunState))
