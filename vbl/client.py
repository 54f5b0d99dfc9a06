"""Start, decide, cancel and read: what people, the terminal and pages do with a file. Never imports the engine.

A client needs no supervisor. What it writes is durable when the call returns, and is acted on as soon as a supervisor
looks at the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from vbl import config, ids
from vbl.clock import SYSTEM, Clock
from vbl.errors import (
    AmbiguousRun,
    InvalidInput,
    KeyTaken,
    NotFound,
    RunBlocked,
    RunCancelled,
    RunFailed,
    UsageError,
    ValueNotStorable,
)
from vbl.history import transitions
from vbl.history.events import Event, EventType, Fact, Payload, RunCreated, payload_model
from vbl.history.state import RunState, Status, fold
from vbl.store import holder
from vbl.store.holder import SupervisorInfo
from vbl.store.journal import Draft, Journal, draft
from vbl.store.payloads import Blob, Json, Recorder, dumps, loads, same
from vbl.store.sqlite import Durability, Reader, Sqlite

if TYPE_CHECKING:
    from vbl.engine.definitions import Workflow
    from vbl.history.why import Why
    from vbl.store.doctor import Finding

_COLUMNS = "id, workflow, version, status, start_key, parent_id, tags, created_at, updated_at, finished_at, wake_at, seq, key"
_FIRST_WAIT_S = 0.002
_LAST_WAIT_S = 0.05


class Run:
    """A handle to a run; from `start` and from `client.run(ID)` alike. Instants are microseconds since 1970 UTC.

    `id`, `workflow`, `version`, `key`, `parent_id`, `tags` and `created_at` never change; the rest is read when asked.
    """

    def __init__(self, client: Client, row: tuple[Any, ...]) -> None:
        self._client = client
        self._take(row)

    def _take(self, row: tuple[Any, ...]) -> None:
        (self.id, self.workflow, self.version, status, self.key, self.parent_id, tags, self.created_at) = row[:8]
        self.tags: list[str] = tags.split("\n") if tags else []
        self._status = Status(status)
        self.updated_at, self.finished_at, self.wake_at, self.seq, self._key = row[8:13]

    def refresh(self) -> Self:
        """Read the summary again."""
        self._take(self._client._summary(self._key))
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
        return self._client._journal.load(self._key, at)[1]

    def events(self) -> list[Event]:
        """The history, oldest first."""
        journal = self._client._journal
        rows = journal.rows(self._key)
        facts = journal.load(self._key)[1]
        return [
            Event(row.id, self.id, fact.seq, EventType(fact.type), fact.at, payload_model(fact.type, fact.payload))
            for row, fact in zip(rows, facts, strict=False)
        ]

    def state(self, at: int | None = None, checkpoint: int | None = None) -> RunState:
        """The accumulated state now, after event `at`, or at a checkpoint. Raises NotFound where there is none."""
        facts = self.facts()
        if checkpoint is not None:
            found = [f.seq for f in facts if f.type == "CHECKPOINT_WRITTEN" and f.payload["checkpoint"] == checkpoint]
            if not found:
                last = max((f.payload["checkpoint"] for f in facts if f.type == "CHECKPOINT_WRITTEN"), default=0)
                raise NotFound(f"run {self.id} has no checkpoint {checkpoint}", f"Its checkpoints are 1 to {last}" if last else "It has none yet")
            at = found[-1]
        if at is not None and not 1 <= at <= len(facts):
            raise NotFound(f"run {self.id} has no event {at}", f"Its events are 1 to {len(facts)}: vbl events {self.id}")
        return fold(facts if at is None else facts[:at])

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the workflow's output.

        Raises RunFailed, RunCancelled, RunBlocked, and TimeoutError after `timeout` seconds.
        """
        self._wait_until(lambda status: self._client._settled(self, status), timeout)
        return self._outcome()

    def wait(self, *statuses: Status | str, timeout: float | None = None) -> Status:
        """Wait until the run has one of the statuses (by default: has ended) and return it.

        Raises TimeoutError after `timeout` seconds.
        """
        wanted = {Status(status) for status in statuses}
        return self._wait_until(lambda status: status in wanted if wanted else status.finished, timeout)

    def _wait_until(self, done: Callable[[Status], bool], timeout: float | None) -> Status:
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._client._watching(self.id) as pause:
            while not done(status := self.status):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"run {self.id} is {status} after {timeout} s")
                pause(left)
        return status

    def _outcome(self) -> Any:
        state = self.state()
        match state.status:
            case Status.COMPLETED:
                return self._client._typed_output(state)
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
                raise RunBlocked(f"run {self.id} is blocked: {blocked.get('message')}", str(blocked.get("unblock") or f"vbl why {self.id}"))

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        wait_s = _FIRST_WAIT_S
        while not self._client._settled(self, self.status):
            await asyncio.sleep(wait_s)
            self._client._check_alive()
            wait_s = min(wait_s * 1.5, _LAST_WAIT_S)
        return self._outcome()

    def cancel(self, by: str | None = None, reason: str | None = None) -> Status:
        """Ask for a cancel. Raises Conflict for a finished run."""
        return self._decide(transitions.cancel, by, reason)

    def pause(self, by: str | None = None, reason: str | None = None) -> Status:
        """Hold the run: no further step starts. Raises Conflict where it is finished or paused."""
        return self._decide(transitions.pause, by, reason)

    def unpause(self, by: str | None = None, reason: str | None = None) -> Status:
        """Let a paused run go on. Raises Conflict where it is not paused."""
        return self._decide(transitions.unpause, by, reason)

    def retry(self, by: str | None = None, reason: str | None = None) -> Status:
        """Open a failed run at its failed step, or try a blocked one again. Raises Conflict for any other."""
        return self._decide(transitions.retry, by, reason)

    def _decide(self, what: Callable[[RunState, str | None, str | None], list[Payload]], by: str | None, reason: str | None) -> Status:
        clock = self._client._clock

        def decide(state: RunState) -> list[Draft]:
            at = max(clock.now(), state.at)
            return [draft(at, payload) for payload in what(state, by or config.actor(), reason)]

        status = self._client._journal.commit(self.id, decide).status
        self._client._nudge()
        return status

    def why(self) -> Why:
        """What the run waits for, and what would move it on."""
        from vbl.history.why import why

        info = self._client.supervisor()
        loaded = set(info.workflows) if info is not None else None
        return why(self.state(), self._client._clock.now(), loaded, info is not None)

    def source(self) -> dict[str, Any] | None:
        """The definition as the run began with it: {"source", "file", "line", "python"}; None where it was not kept."""
        row = self._client._store.one("definition", (self.workflow, self.version))
        return dict(zip(("source", "file", "line", "python"), row, strict=True)) if row is not None and row[0] else None

    def __repr__(self) -> str:
        return f"<run {self.id} {self.workflow} {self._status}>"


class Client:
    """A file, open for starting, deciding and reading. A context manager; `close` gives the file back."""

    def __init__(self, path: Path, *, create: bool = True, clock: Clock = SYSTEM, durability: Durability = "power") -> None:
        self.path = path
        self._clock = clock
        self._store = Sqlite(path, create=create, durability=durability)
        self._journal = Journal(self._store, clock)
        self._workflows: dict[str, Workflow[..., Any]] = {}
        self._closed = False

    # Reading -------------------------------------------------------------------------------------------------------

    def runs(
        self,
        *,
        status: Status | str | Sequence[str] | None = None,
        workflow: str | None = None,
        tag: str | None = None,
        since: int | None = None,
        before: str | None = None,
        limit: int | None = 50,
    ) -> list[Run]:
        """Runs, newest first: of these statuses, of that workflow, with that tag, created since an instant, older
        than the run `before` (an id, for the next page)."""
        where: list[str] = []
        args: list[Any] = []
        if status is not None:
            wanted = [status] if isinstance(status, str) else list(status)
            where.append(f"status in ({', '.join('?' * len(wanted))})")
            args += [_status(one).value for one in wanted]
        for clause, value in (("workflow = ?", workflow), ("id < ?", before)):
            if value is not None:
                where.append(clause)
                args.append(value)
        if since is not None:
            where += ["id >= ?", "created_at >= ?"]
            args += [ids.lowest(since), since]
        source = "runs"
        if tag is not None:
            source = "run_tags cross join runs on runs.key = run_tags.run"
            where.append("tag = ?")
            args.append(tag)
        order = "run_tags.run" if tag is not None else "id"
        sql = f"select {_COLUMNS} from {source}" + (f" where {' and '.join(where)}" if where else "")
        rows = self._store.select(f"{sql} order by {order} desc limit ?", [*args, -1 if limit is None else limit])[1]
        return [Run(self, row) for row in rows]

    def run(self, ref: str) -> Run:
        """The run with that id or unique prefix, `@last`, or `@failed`. Raises NotFound and AmbiguousRun."""
        if ref in ("@last", "@failed"):
            row = self._store.one("newest") if ref == "@last" else self._store.one("newest_of", ("failed",))
            if row is None:
                raise NotFound(f"there is no {'failed ' if ref == '@failed' else ''}run in {self.path}", "List them: vbl ls", code="run_not_found")
            return Run(self, self._summary(row[0]))
        found = [row for row in self._store.all("keys_from", (ref,)) if row[1].startswith(ref)] if ref else []
        if not found:
            raise NotFound(f"there is no run {ref!r} in {self.path}", "List them: vbl ls", code="run_not_found")
        if len(found) > 1 and found[0][1] != ref:
            raise AmbiguousRun(f"{ref!r} fits several runs: {found[0][1]}, {found[1][1]}, …", "Give more characters of the id")
        return Run(self, self._summary(found[0][0]))

    def _summary(self, key: int) -> tuple[Any, ...]:
        row = self._store.one("handle", (key,))
        if row is None:
            raise NotFound(f"run number {key} is gone from {self.path}", "If summaries were dropped: vbl doctor --rebuild", code="run_not_found")
        return row

    def cursor(self) -> int:
        """The id of the last event of the file."""
        return self._store.head().last_id

    def events(self, after: int = 0, run: str | None = None, limit: int = 1_000) -> list[Event]:
        """Events behind a cursor, in the order in which they were committed; of one run where it is named."""
        wanted = self.run(run).id if run is not None else None
        found: list[Event] = []
        while len(found) < limit:
            rows = self._store.all("tail", (after, 1_000))
            if not rows:
                break
            after = rows[-1][0]
            found += [self._event(row) for row in rows if wanted is None or row[1] == wanted]
        return found[:limit]

    def _event(self, row: tuple[Any, ...]) -> Event:
        id, run_id, seq, type, at, text, key = row
        if '"$ref"' in text:
            plain = self._journal.load(key, seq)[1][-1].payload
        else:
            plain = loads(text)
        return Event(id, run_id, seq, EventType(type), at, payload_model(type, plain))

    def supervisor(self) -> SupervisorInfo | None:
        """Who moves the runs of this file now; None where nobody does."""
        if not holder.alive(self.path):
            return None
        about = holder.read(self.path)
        row = self._store.one("supervisor")
        workflows = loads(row[2]) if row is not None and row[2] else []
        return SupervisorInfo(
            about.get("pid", 0), about.get("host", ""), about.get("program", ""), about.get("since", 0), about.get("epoch", 0), workflows
        )

    def sql(self, query: str, params: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows of a query that can only read. Raises UsageError with SQLite's words where it is wrong."""
        reader = Reader(self.path)
        try:
            return reader.query(query, params)
        finally:
            reader.close()

    def doctor(self, rebuild: bool = False) -> list[Finding]:
        """Check the file; with `rebuild` derive summaries and checkpoints anew from the events first."""
        from vbl.store import doctor

        if rebuild:
            doctor.rebuild(self._store)
        return doctor.examine(self._store, self._clock.now(), supervised=holder.alive(self.path))

    # Starting ------------------------------------------------------------------------------------------------------

    def start(
        self,
        workflow: Workflow[..., Any] | str,
        /,
        *args: Any,
        key: str | None = None,
        tags: Iterable[str] | dict[str, str] | None = None,
        deadline: float | None = None,
        priority: int = 0,
        **kwargs: Any,
    ) -> Run:
        """Create a run; durable when it returns. `deadline` is in seconds from now.

        With a `key` that is in use the run that has it is returned. Raises KeyTaken where that one has another
        input, InvalidInput where the arguments do not fit the signature; then no run is created.
        """
        text, plain, blobs = self._input(workflow, args, kwargs)
        item = self._created(workflow, text, plain, key, tags, deadline, priority)
        try:
            keys = self._journal.create([item], blobs=blobs, check=lambda: self._check_key(item))
        except _Exists as existing:
            return self._existing(existing.key, item)
        self._nudge()
        return Run(self, self._summary(keys[0]))

    def start_many(self, workflow: Workflow[..., Any] | str, inputs: Iterable[Any], *, tags: Iterable[str] | dict[str, str] | None = None) -> list[Run]:
        """Create a run for each input, all in one transaction. An input is the one argument, a tuple of arguments, or
        a dict of keyword arguments."""
        items: list[Draft] = []
        blobs: list[Blob] = []
        for given in inputs:
            args, kwargs = self._spread(workflow, given)
            text, plain, more = self._input(workflow, args, kwargs)
            items.append(self._created(workflow, text, plain, None, tags, None, 0))
            blobs += more
        keys = self._journal.create(items, blobs=blobs) if items else []
        self._nudge()
        return [Run(self, self._summary(key)) for key in keys]

    def _spread(self, workflow: Workflow[..., Any] | str, given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if isinstance(given, tuple):
            return cast("tuple[Any, ...]", given), {}
        if isinstance(given, dict):
            named = cast("dict[Any, Any]", given)
            if isinstance(workflow, str) or (named and all(name in workflow.signature.codecs for name in named)):
                return (), cast("dict[str, Any]", named)
        return (given,), {}

    def _input(self, workflow: Workflow[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, dict[str, Json], list[Blob]]:
        if isinstance(workflow, str):
            if args:
                raise UsageError(f"workflow {workflow!r} is named by text, so its parameters are not known here", "Give the arguments by name: start('name', ticket_id='T-1')")
            return dumps(kwargs), kwargs, []
        signature = workflow.signature
        try:
            bound = signature.bind(args, kwargs)
        except TypeError as error:
            raise InvalidInput(f"workflow {workflow.name}: {error}", f"It takes {signature}") from None
        recorder = Recorder()
        recorded = {}
        for name, value in bound.items():
            try:
                recorded[name] = signature.codecs[name].record(value, recorder)
            except ValueNotStorable as refused:
                raise signature.misfit(name, value) or refused from None
        text = "{" + ",".join(f"{dumps(name)}:{r.text}" for name, r in recorded.items()) + "}"
        return text, {name: r.plain for name, r in recorded.items()}, [r.blob for r in recorded.values() if r.blob is not None]

    def _created(
        self,
        workflow: Workflow[..., Any] | str,
        text: str,
        plain: dict[str, Json],
        key: str | None,
        tags: Iterable[str] | dict[str, str] | None,
        deadline: float | None,
        priority: int,
    ) -> Draft:
        now = self._clock.now()
        named = workflow if isinstance(workflow, str) else workflow.name
        if not isinstance(workflow, str):
            self._workflows[workflow.name] = workflow
        if deadline is not None and not 0 < deadline < 1e11:
            raise UsageError(f"deadline={deadline!r} must be a number of seconds above zero", "For example deadline=3600")
        payload = RunCreated(
            run_id=ids.run_id(self._clock),
            workflow=named,
            version="" if isinstance(workflow, str) else workflow.version,
            key=key,
            tags=_tags(tags),
            deadline=None if deadline is None else now + round(deadline * 1e6),
            priority=priority,
            actor=config.actor(),
        )
        made = draft(now, payload)
        full = made.text[:-1] + f',"input":{text}}}'
        return Draft(made.type, made.at, {**made.payload, "input": plain}, full)

    def _check_key(self, item: Draft) -> None:
        key = item.payload.get("key")
        if key is not None and (row := self._store.one("by_start_key", (item.payload["workflow"], key))) is not None:
            raise _Exists(row[0])

    def _existing(self, key: int, item: Draft) -> Run:
        run = Run(self, self._summary(key))
        first = run.facts(1)[0]
        if not same(first.payload.get("input") or {}, item.payload["input"]):
            raise KeyTaken(
                f"key {item.payload['key']!r} belongs to run {run.id}, which has another input",
                f"Look: vbl show {run.id}. Use another key for another input",
            )
        return run

    def _typed_output(self, state: RunState) -> Any:
        workflow = self._workflow(state.workflow)
        return state.output if workflow is None else workflow.signature.result.load(state.output)

    def _workflow(self, name: str) -> Workflow[..., Any] | None:
        return self._workflows.get(name)

    # Waiting -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _watching(self, run_id: str) -> Generator[Callable[[float | None], None], None, None]:
        """A function that waits a moment, or until the file has changed."""
        wait_s = _FIRST_WAIT_S
        version = self._store.changed()

        def pause(left: float | None) -> None:
            nonlocal wait_s, version
            time.sleep(wait_s if left is None else min(wait_s, left))
            changed = self._store.changed()
            wait_s = _FIRST_WAIT_S if changed != version else min(wait_s * 1.5, _LAST_WAIT_S)
            version = changed
            self._check_alive()

        yield pause

    def _settled(self, run: Run, status: Status) -> bool:
        """Whether `result()` need not wait any longer."""
        return status.finished or status is Status.BLOCKED

    def _check_alive(self) -> None:
        """Raise where the wait can never end; a plain client cannot know that."""

    def _nudge(self) -> None:
        """Tell a supervisor in this process that there is something new."""

    def close(self) -> None:
        """Give the file back."""
        if not self._closed:
            self._closed = True
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            if not self._closed:
                Client.close(self)


class _Exists(Exception):
    def __init__(self, key: int) -> None:
        super().__init__(key)
        self.key = key


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        raise UsageError(f"{text!r} is no status", f"Statuses are {', '.join(Status)}") from None


def _tags(tags: Iterable[str] | dict[str, str] | None) -> list[str]:
    if tags is None:
        return []
    if isinstance(tags, str):
        tags = [tags]
    listed = [f"{name}={value}" for name, value in cast("dict[str, str]", tags).items()] if isinstance(tags, dict) else list(tags)
    for tag in listed:
        if not isinstance(tag, str) or not tag or "\n" in tag:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"tag {tag!r} cannot be used", "A tag is text on one line, for example env=dev")
    return listed


def connect(path: str | os.PathLike[str] | None = None, *, create: bool = True) -> Client:
    """Open a file for starting, deciding and reading; runs nothing.

    Raises NotFound where the file is missing and `create` is false, StorageError where it can't be used.
    """
    return Client(config.database_path(path), create=create)


__all__ = ["Client", "Run", "connect"]
