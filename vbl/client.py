"""Start, decide, cancel and read: what people, the terminal and pages do with a file. Never imports the engine.

A client needs no supervisor. What it writes is durable when the call returns, and is acted on as soon as a supervisor
looks at the file.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from vbl import config
from vbl.access import Access
from vbl.clock import SYSTEM, Clock
from vbl.errors import AmbiguousRun, NotFound
from vbl.handle import Run, status_named
from vbl.history.facts import Event
from vbl.history.filters import Filter, parse
from vbl.history.state import Status
from vbl.store import holder
from vbl.store.holder import SupervisorInfo
from vbl.store.sqlite import Durability, Reader

if TYPE_CHECKING:
    from vbl.decisions import Decisions, Gate
    from vbl.drawing.throughput import Bucket
    from vbl.engine.definitions import Workflow
    from vbl.finding import Count, Finder, Page
    from vbl.history.planning import Missed, Overlap
    from vbl.history.questions import Question
    from vbl.schedules import Schedule, Scheduling
    from vbl.starting import Starter
    from vbl.store.doctor import Finding
    from vbl.store.queues import LaneState, QueueState
    from vbl.store.texts import Upto
    from vbl.tail import Tail


class Client:
    """A file, open for starting, deciding and reading. A context manager; `close` gives the file back."""

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        clock: Clock = SYSTEM,
        durability: Durability = "power",
        groups: Mapping[str, Any] | None = None,
    ) -> None:
        self._open(Access(path, create=create, clock=clock, durability=durability), groups)

    def _open(self, access: Access, groups: Mapping[str, Any] | None = None) -> None:
        self._access = access
        self._store, self._journal, self._clock = access.store, access.journal, access.clock
        self.path = access.path
        self._actor = config.actor()
        self._groups = groups
        self.closed = False

    @functools.cached_property
    def _starter(self) -> Starter:
        """The part that starts runs; who only reads does not load it, nor the others below."""
        from vbl.starting import Starter

        return Starter(self._access, self._actor)

    @functools.cached_property
    def _finder(self) -> Finder:
        """The part that finds runs by a filter."""
        from vbl.finding import Finder

        return Finder(self._access)

    @functools.cached_property
    def _tail(self) -> Tail:
        """The part that reads events as they were committed."""
        from vbl.tail import Tail

        return Tail(self._access)

    @functools.cached_property
    def _decisions(self) -> Decisions:
        """The part that is about questions to people."""
        from vbl.decisions import Decisions

        return Decisions(self._access, self.run, self._groups)

    @functools.cached_property
    def scheduling(self) -> Scheduling:
        """The part that is about schedules."""
        from vbl.schedules import Scheduling

        return Scheduling(self._access, self._starter.created, self.runs)

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
        wanted = Filter(
            workflows=() if workflow is None else (workflow,),
            tags=() if tag is None else (tag,),
            since=since,
            own=True,
        ).only(*(status_named(one) for one in ([status] if isinstance(status, str) else status or ())))
        if status is not None and not wanted.statuses:  # of none of the statuses, not of any
            limit = 0
        return self._finder.listed(wanted, before, limit)

    def find(
        self, wanted: Filter | str = "", *, before: str | None = None, after: str | None = None, limit: int = 50
    ) -> Page:
        """A page of the runs that fit a filter, the newest first: `status:failed tag:env=dev cost:>0.1 since:1d`.

        `before` and `after` are ids of runs: the page that is older, or newer, than that one. However many runs there
        are, only so many are looked at for a page: see `Page.looked_to`. Raises UsageError(code="filter") for a term
        that is none; NotFound and AmbiguousRun for a `parent:` that is not the beginning of one run's id.
        """
        return self._finder.find(self._filter(wanted), before=before, after=after, limit=limit)

    def _filter(self, wanted: Filter | str) -> Filter:
        """The filter, with the whole id of a parent where its beginning is given."""
        found = parse(wanted) if isinstance(wanted, str) else wanted
        return found if found.parent is None else dataclasses.replace(found, parent=self.run(found.parent).id)

    def counts(self, wanted: Filter | str = "") -> dict[Status, Count]:
        """How many of the runs that a filter fits, but for what it says of statuses, are in each status: exact up to
        10,000. Raises as `find`."""
        return self._finder.counts(self._filter(wanted))

    def newer(self, wanted: Filter | str, than: str, most: int = 99) -> Count:
        """How many runs that fit have come since the run `than`, `most` at most. Raises as `find`."""
        return self._finder.newer(self._filter(wanted), than, most)

    def glances(self, runs: Iterable[Run]) -> dict[str, str]:
        """What each run is at, waits for or failed with, in a few words by its id; empty where its last events do not
        tell."""
        return self._finder.glances(runs)

    def throughput(self, first_at: int, slice_us: int, number: int) -> list[Bucket]:
        """How many runs ended, and how, in each of so many slices of time from `first_at` on; in microseconds."""
        return self._finder.throughput(first_at, slice_us, number)

    def index(self, seconds: float = 10.0) -> Upto:
        """Bring the index of texts, which follows the events by itself, forward for so long; how far it is then."""
        return self._finder.index(seconds)

    def run(self, ref: str) -> Run:
        """The run with that id or unique prefix, `@last`, or `@failed`. Raises NotFound and AmbiguousRun."""
        if ref in ("@last", "@failed"):
            row = self._store.one("newest") if ref == "@last" else self._store.one("newest_of", ("failed",))
            if row is None:
                raise NotFound(
                    f"there is no {'failed ' if ref == '@failed' else ''}run in {self.path}",
                    "List them: vbl ls",
                    code="run_not_found",
                )
            return Run(self._access, self._access.summary(row[0]))
        found = [row for row in self._store.all("keys_from", (ref,)) if row[1].startswith(ref)] if ref else []
        if not found:
            raise NotFound(f"there is no run {ref!r} in {self.path}", "List them: vbl ls", code="run_not_found")
        if len(found) > 1 and found[0][1] != ref:
            raise AmbiguousRun(
                f"{ref!r} fits several runs: {found[0][1]}, {found[1][1]}, …", "Give more characters of the id"
            )
        return Run(self._access, self._access.summary(found[0][0]))

    def now(self) -> int:
        """The instant on the clock of this file, in microseconds since 1970 UTC."""
        return self._clock.now()

    def changed(self) -> int:
        """A number that is another one once somebody else has committed to the file; asking costs microseconds."""
        return self._store.changed()

    def cursor(self, at: int | None = None) -> int:
        """The id of the last event of the file; with an instant, that of an event from which on all that was recorded
        since then follows, and little before it."""
        return self._tail.cursor(at)

    def pace(self, seconds: float = 10.0) -> float:
        """Steps that were completed per second, of late; over less than `seconds` where very much happens."""
        return self._tail.pace(seconds)

    def events(self, after: int = 0, run: str | None = None, limit: int = 1_000) -> list[Event]:
        """Events behind a cursor, in the order in which they were committed; of one run where it is named."""
        return self._tail.events(after, None if run is None else self.run(run).id, limit)

    def queues(self) -> list[QueueState]:
        """The queues of the file: those of the last supervisor's workflows, and those in which runs are."""
        from vbl.store.queues import states

        with self._store.read():
            return states(self._store, self._clock.now())

    def lanes(self, queue: str, limit: int = 1_000) -> list[LaneState]:
        """The lanes of a queue in which runs are, by name. Raises NotFound where there is no such queue."""
        from vbl.store.queues import lane_states, states

        with self._store.read():
            known = [one.name for one in states(self._store, self._clock.now())]
            if queue not in known:
                if not known:
                    raise NotFound(f"there is no queue {queue!r}", "Declare one: @vbl.workflow(queue=…, concurrency=2)")
                raise NotFound(f"there is no queue {queue!r}", f"There are: {', '.join(known)}")
            return lane_states(self._store, queue, self._clock.now(), limit)

    def supervisor(self) -> SupervisorInfo | None:
        """Who moves the runs of this file now; None where nobody does."""
        return self._access.supervisor()

    def silence(self) -> str | None:
        """Words on a holder of the file that gives no sign of life any more; None where it does, or there is none."""
        return self._access.silent() if holder.alive(self.path) else None

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

    # Deciding ------------------------------------------------------------------------------------------------------

    def gates(
        self,
        status: str | None = "open",
        *,
        run: Run | str | None = None,
        to: str | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> list[Gate]:
        """Questions to people, the oldest first: of a status (None for all: open, granted, denied, expired, closed), of
        a run, that the person `to` may decide; those behind the gate `after` (an id, for the next page)."""
        return self._decisions.gates(status, self.run(run) if isinstance(run, str) else run, to, limit, after)

    def gate(self, ref: str) -> Gate:
        """The gate with that id or unique prefix, or RUN:NAME. Raises NotFound, UsageError where several fit."""
        return self._decisions.gate(ref)

    def questions(self, *, to: str | None = None, limit: int = 100) -> list[Question]:
        """All that waits for a person: open gates, and steps whose outcome nobody knows; the oldest first."""
        return self._decisions.questions(to, limit)

    @property
    def groups(self) -> Mapping[str, Any]:
        """Who is in which group, for the gates that ask one."""
        return self._decisions.groups

    def waiting_for_people(self, limit: int = 100) -> int:
        """How many questions there are, up to `limit`; cheaper than to ask for them."""
        return self._decisions.waiting(limit)

    def approve(
        self,
        gate: str | Gate,
        *,
        by: str | None = None,
        reason: str | None = None,
        edit: Mapping[str, Any] | None = None,
        data: Any = None,
        via: str = "python",
        seen: str | None = None,
    ) -> Gate:
        """Approve what a gate asks, as `by` (you, where nobody is named); durable when it returns.

        `edit` maps parameters of the call to new values, `data` is what the gate asks to be given (plain data or a
        model), `seen` the digest of the call that was looked at: one that was edited since is refused. Raises NotFound;
        Conflict where it is decided (it says by whom), closed or its time is over; NotEntitled where this person may
        not decide, which leaves a trace; InvalidInput for what does not fit.
        """
        return self._decisions.approve(gate, by, reason, edit=edit, data=data, via=via, seen=seen)

    def deny(self, gate: str | Gate, *, by: str | None = None, reason: str | None = None, via: str = "python") -> Gate:
        """Deny what a gate asks. Raises as `approve`."""
        return self._decisions.decide(gate, "deny", by, reason, via)

    def link(
        self,
        gate: str | Gate,
        decision: Literal["approve", "deny"],
        *,
        by: str | None = None,
        valid_for: float | datetime.timedelta = 86_400.0,
    ) -> str:
        """A signed text that carries this decision of that person, once, for so many seconds. It is signed with
        VBL_LINK_KEY, else a key that is kept for this user."""
        return self._decisions.link(gate, decision, by, valid_for)

    def decide(
        self,
        link: str,
        *,
        reason: str | None = None,
        decision: Literal["approve", "deny"] | None = None,
        via: str = "link",
    ) -> Gate:
        """Do what a link says; `decision` is what it is taken to say, where that is known. Raises InvalidInput for one
        that was not made here, Conflict for one that is used, no longer good, or about a call that has changed."""
        return self._decisions.follow(link, reason, decision, via)

    def signal(
        self, run: Run | str, name: str, data: Any = None, *, key: str | None = None, by: str | None = None
    ) -> Run:
        """Send a message to a run: the oldest `vbl.wait(name)` gets it, or it is kept until there is one.

        With a `key` a repeated one changes nothing. Raises NotFound, Conflict for a finished run, KeyTaken for other
        data under a known key, InvalidInput where it does not fit what the run waits for.
        """
        handle = self.run(run) if isinstance(run, str) else run
        handle.signal(name, data, key=key, by=by)
        return handle.refresh()

    # Schedules -----------------------------------------------------------------------------------------------------

    def schedule(
        self,
        workflow: Workflow[..., Any] | str,
        cron: str,
        /,
        *args: Any,
        tz: str = "UTC",
        overlap: Overlap = "skip",
        missed: Missed = "skip",
        grace: float | datetime.timedelta = 60,
        name: str | None = None,
        priority: int = 0,
        tags: Iterable[str] | dict[str, str] = (),
        **kwargs: Any,
    ) -> Schedule:
        """Declare a schedule in this file: start the workflow with these arguments whenever the cron line says so.

        Declaring it again, by `name` (default: the workflow's), changes it where something differs, and else does
        nothing. `overlap` says what happens where the run before still runs: skip, queue (one), or replace it;
        `missed` what happens to instants that passed `grace` seconds ago or more while nothing moved: skip them, run
        once for all, or run all. Raises UsageError for a line, zone or option that is none, InvalidInput for arguments
        that do not fit, NotFound for the name of a workflow that this file has never had; then nothing is written.
        """
        return self.scheduling.schedule(
            workflow, cron, args, kwargs, tz=tz, overlap=overlap, missed=missed, grace=grace, name=name,
            priority=priority, tags=tags,
        )  # fmt: skip

    def schedules(self) -> list[Schedule]:
        """The schedules of this file, by name."""
        return self.scheduling.schedules()

    def one_schedule(self, name: str) -> Schedule:
        """The schedule of that name. Raises NotFound."""
        return self.scheduling.one_schedule(name)

    # Starting ------------------------------------------------------------------------------------------------------

    def start(
        self,
        workflow: Workflow[..., Any] | str,
        /,
        *args: Any,
        key: str | None = None,
        tags: Iterable[str] | dict[str, str] | None = None,
        deadline: float | datetime.timedelta | None = None,
        priority: int = 0,
        **kwargs: Any,
    ) -> Run:
        """Create a run; durable when it returns. `deadline` is in seconds from now.

        With a `key` that is in use the run that has it is returned. Raises KeyTaken where that one has another
        input, InvalidInput where the arguments do not fit the signature; then no run is created.
        """
        return self._starter.start(workflow, args, kwargs, key=key, tags=tags, deadline=deadline, priority=priority)

    def start_many(
        self,
        workflow: Workflow[..., Any] | str,
        inputs: Iterable[Any],
        *,
        tags: Iterable[str] | dict[str, str] | None = None,
    ) -> list[Run]:
        """Create a run for each input, all in one transaction. An input is the one argument, a tuple of arguments, or
        a dict of keyword arguments."""
        return self._finder.runs(self._starter.start_many(workflow, inputs, tags))

    def beside(self) -> Client:
        """A client of the same file, with the same clock and groups, on a connection of its own: neither waits while
        the other one reads. It has to be closed."""
        return Client(self.path, create=False, clock=self._clock, groups=self._groups)

    def close(self) -> None:
        """Give the file back."""
        if not self.closed:
            self.closed = True
            self._store.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.path}{' (closed)' if self.closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def connect(
    path: str | os.PathLike[str] | None = None, *, create: bool = True, groups: Mapping[str, Any] | None = None
) -> Client:
    """Open a file for starting, deciding and reading; runs nothing. `groups` says who is in which group, in the place
    of VBL_GROUPS and groups.toml.

    Raises NotFound where the file is missing and `create` is false, StorageError where it can't be used.
    """
    return Client(config.database_path(path), create=create, groups=groups)


__all__ = ["Client", "Run", "connect"]
