"""Schedules as people and programs see them: declare one, list them, pause, run now, remove. Never imports the engine.

A schedule is a run of the workflow `vbl.schedule`, found by its tag; after many fires it hands over to the next such
run, so the newest that is not finished is the schedule. What is done to it here is durable when the call returns.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable
from typing import Any, cast, get_args

from vbl import config
from vbl.access import Access
from vbl.clock import SYSTEM, microseconds
from vbl.errors import Conflict, NotFound, UsageError
from vbl.given import Startable, checked_priority, input_of, tag_list, workflow_name
from vbl.handle import Run
from vbl.history import planning, transitions
from vbl.history.events import Payload
from vbl.history.planning import SIGNAL, WORKFLOW, Book, Entry, Missed, Overlap, Spec, Word
from vbl.history.state import RunState, Status
from vbl.store.journal import Draft
from vbl.store.payloads import loads

_OPEN = [status.value for status in Status if not status.finished]
_TRIES = 5
"""A schedule may hand over to its next run while something is done to it; then the same is done to that one."""
_LONGEST_S = 1e9


class Schedule:
    """A workflow that is started at planned instants. From `vbl.schedule`, `client.schedule` and `client.schedules()`.

    `name`, `workflow`, `cron`, `tz`, `overlap`, `missed`, `grace_s`, `priority` and `tags` are as declared; `input` is
    the recorded form of the arguments. `run_id`, `status`, `next_at`, `last_fire`, `last_skip` and `waiting` are those
    of the file when it was last read: `refresh()` reads again. Instants are microseconds since 1970 UTC.
    """

    def __init__(self, spec: Spec, file: Scheduling | None = None, run: Run | None = None) -> None:
        self._file = file
        self._set(spec)
        self.run_id: str | None = None
        self.status: Status | None = None
        self.next_at: int | None = None
        self.last_fire: Entry | None = None
        self.last_skip: Entry | None = None
        self.waiting: list[int] = []
        self.going: list[str] = []
        if run is not None:
            self._read(run)

    def _set(self, spec: Spec) -> None:
        self.spec = spec
        self.name, self.workflow, self.cron, self.tz = spec.name, spec.workflow, spec.cron, spec.tz
        self.overlap, self.missed, self.grace_s = spec.overlap, spec.missed, spec.grace_us / 1e6
        self.input, self.priority, self.tags = spec.input, spec.priority, spec.tags

    def _read(self, run: Run) -> None:
        assert self._file is not None
        state = run.state()
        book = Book.model_validate(state.variables)
        spec = declared(state)
        self._set(spec)
        self.run_id, self.status = state.run_id, state.status
        self.last_fire, self.last_skip = book.fired, book.skipped
        self.waiting, self.going = [at for at, _ in book.waiting], list(book.going)
        if state.status in (Status.PAUSED, Status.BLOCKED) or state.finished or state.cancel is not None:
            self.next_at = None
        elif book.spec == spec and book.next_at is not None:
            self.next_at = book.next_at
        else:  # no supervisor has looked at it yet
            self.next_at = next(iter(planning.upcoming(spec.cron, spec.tz, self._file.instant(), 1)), None)

    @property
    def paused(self) -> bool:
        """Whether it was paused when it was last read."""
        return self.status is Status.PAUSED

    def refresh(self) -> Schedule:
        """Read it again. Raises NotFound where it was removed, UsageError where no file has it yet."""
        self._read(self._place().newest(self.name))
        return self

    def upcoming(self, count: int = 5, after: int | None = None) -> list[int]:
        """The next instants of its plan, behind `after` or now."""
        if after is None:
            after = self._file.instant() if self._file is not None else SYSTEM.now()
        return planning.upcoming(self.cron, self.tz, after, count)

    def pause(self, by: str | None = None, reason: str | None = None) -> None:
        """Start nothing until `unpause`; what is going on goes on. Raises Conflict where it is paused already."""

        def ask(run: Run) -> None:
            if run.state().paused:
                raise Conflict(
                    f"schedule {self.name} is paused already", f"Let it go on: vbl schedules unpause {self.name}"
                )
            run.pause(by, reason)

        self._do(ask)

    def unpause(self, by: str | None = None, reason: str | None = None) -> None:
        """Go on; what was due meanwhile was missed. Raises Conflict where it is not paused."""

        def ask(run: Run) -> None:
            if not run.state().paused:
                raise Conflict(f"schedule {self.name} is not paused", "See when it comes next: vbl schedules")
            run.unpause(by, reason)

        self._do(ask)

    def remove(self, by: str | None = None, reason: str | None = None) -> None:
        """End it; what it started goes on. Code that declares it brings it back. Raises NotFound where it is gone."""
        self._do(lambda run: run.cancel(by, reason))

    def run_now(self, by: str | None = None) -> None:
        """Start a run now, beside the plan, under the same rule for overlaps.

        Raises Conflict where the schedule is paused, or where the rule is "skip" and a run of it is going on.
        """

        def ask(run: Run) -> None:
            state = run.state()
            if state.paused:
                raise Conflict(f"schedule {self.name} is paused", f"Let it go on: vbl schedules unpause {self.name}")
            going = [state.children[call].id for call in sorted(state.open_children)]
            if going and declared(state).overlap == "skip":
                raise Conflict(
                    f"run {going[0]} of schedule {self.name} is going on, and no two may overlap",
                    f'See what it waits for: vbl why {going[0]}. Allow it by overlap="queue" or "replace"',
                )
            word = Word(do="run", by=by or config.actor())
            self._place().say(run, lambda state: word, None)

        self._do(ask)

    def _do(self, what: Callable[[Run], object]) -> None:
        """Do something to the run that is the schedule now, and read it again."""
        file = self._place()
        run = file.newest(self.name)
        for left in reversed(range(_TRIES)):
            try:
                what(run)
                break
            except Conflict as conflict:
                if conflict.code != "run_finished" or not left:
                    raise
            run = file.newest(self.name)
        self._read(run.refresh())

    def _place(self) -> Scheduling:
        if self._file is None:
            raise UsageError(
                f"schedule {self.name} is declared, and no file has it yet",
                'Open one: with vbl.open("work.db"): …, or declare it by client.schedule(…)',
            )
        return self._file

    def bind(self, file: Scheduling) -> None:
        """Be the schedule of that name in a file, as it was declared."""
        made = file.declare(self.spec)
        self._file = file
        self._read(file.newest(made.name))

    def leave(self, file: Scheduling) -> None:
        """Be no longer the one of that file."""
        if self._file is file:
            self._file = None

    def __repr__(self) -> str:
        return f"<schedule {self.name} {self.cron!r} {self.tz}>"


class Scheduling:
    """The schedules of one file, for its client. `created` makes the RUN_CREATED of a run of the workflow that a
    schedule is, `runs` lists runs."""

    def __init__(self, access: Access, created: Callable[..., Draft], runs: Callable[..., list[Run]]) -> None:
        self._access = access
        self._created = created
        self._runs = runs

    def schedule(
        self,
        workflow: Startable | str,
        cron: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        **options: Any,
    ) -> Schedule:
        """Declare a schedule in this file: see Client.schedule."""
        spec = specify(workflow, cron, args, kwargs, **options)
        if isinstance(workflow, str):
            self._demand_known(workflow)
        return self.declare(spec)

    def schedules(self) -> list[Schedule]:
        """The schedules of this file, by name."""
        found: dict[str, Run] = {}
        for run in self._runs(workflow=WORKFLOW, status=_OPEN, limit=None):
            if not _gone(run):
                found.setdefault(_name_of(run), run)
        return [Schedule(declared(run.state()), self, run) for _, run in sorted(found.items())]

    def one_schedule(self, name: str) -> Schedule:
        """The schedule of that name. Raises NotFound."""
        run = self.newest(name)
        return Schedule(declared(run.state()), self, run)

    def _demand_known(self, workflow: str) -> None:
        row = self._access.store.one("supervisor")
        known: list[str] = loads(row[2]) if row is not None and row[2] else []
        if workflow not in known and self._access.workflow(workflow) is None:
            raise NotFound(
                f"no supervisor of {self._access.path} has had a workflow {workflow!r}",
                f"Known are: {', '.join(sorted(set(known) - {WORKFLOW})) or 'none'}. "
                "Give the workflow itself, or load its file: vbl up FILE.py",
                code="workflow_not_found",
            )

    # The run that is the schedule ----------------------------------------------------------------------------------

    def instant(self) -> int:
        """The present instant of this file's clock."""
        return self._access.clock.now()

    def newest(self, name: str) -> Run:
        """The run that is the schedule of that name. Raises NotFound."""
        run = self._newest(name)
        if run is None or _gone(run):
            raise NotFound(
                f"there is no schedule {name!r} in {self._access.path}",
                "List them: vbl schedules",
                code="schedule_not_found",
            )
        return run

    def _newest(self, name: str) -> Run | None:
        row = self._access.store.one("newest_tagged", (_tag(name), WORKFLOW))
        return None if row is None else Run(self._access, self._access.summary(row[0]))

    def declare(self, spec: Spec) -> Schedule:
        """Make it so: begin the schedule, change it, or do nothing where it is so already."""
        for _ in range(_TRIES):
            run = self._newest(spec.name)
            try:
                if run is None or _gone(run):
                    run = self._begin(spec, run)
                else:
                    self.say(run, lambda state: _change(state, spec), "change")
            except _Meanwhile:
                continue
            except Conflict as conflict:
                if conflict.code != "run_finished":
                    raise
            else:
                return Schedule(spec, self, run)
        raise Conflict(f"schedule {spec.name} changes too fast to be declared", "Try again in a moment")

    def _begin(self, spec: Spec, before: Run | None) -> Run:
        """A run of the workflow that is the schedule; by one process only, where several declare it at once."""
        given = {"spec": spec.model_dump(mode="json"), "after": self.instant()}
        text, plain, blobs = input_of(WORKFLOW, (), given)
        item = self._created(WORKFLOW, text, plain, None, [_tag(spec.name)], None, 0)

        def check() -> None:
            newest = self._newest(spec.name)
            if (newest and newest.id) != (before and before.id):
                raise _Meanwhile(spec.name)

        ((key, _),) = self._access.journal.create([item], blobs=blobs, check=check)
        self._access.nudge()
        return Run(self._access, self._access.summary(key))

    def say(self, run: Run, what: Callable[[RunState], Word | None], key: str | None) -> None:
        """Send the schedule a word, made from its state. Raises Conflict where its run is finished."""

        def decide(state: RunState, _at: int) -> list[Payload]:
            if state.finished or state.cancel is not None:
                raise Conflict(f"run {state.run_id} is a schedule no more", "Try again", code="run_finished")
            word = what(state)
            if word is None:
                return []
            numbered = None if key is None else f"{key} {len(state.signal_keys) + 1}"
            data = word.model_dump(mode="json")
            return transitions.signal(state, SIGNAL, data, numbered, config.actor())

        self._access.commit(run.id, decide)


class _Meanwhile(Exception):
    """Another process has begun the schedule."""


def _gone(run: Run) -> bool:
    """Whether the schedule has ended, or will as soon as a supervisor looks."""
    return run.last_status.finished or run.state().cancel is not None


def _change(state: RunState, spec: Spec) -> Word | None:
    return None if declared(state) == spec else Word(do="change", spec=spec, by=config.actor())


def declared(state: RunState) -> Spec:
    """What was last declared for a schedule, whether it has heard of it or not."""
    words = [one.get("data") for one in state.signal_keys.values() if one["name"] == SIGNAL]
    named = [cast("dict[str, Any]", word) for word in words if isinstance(word, dict)]
    said = [word["spec"] for word in named if word.get("spec")]
    return Spec.model_validate(said[-1] if said else state.input["spec"])


def specify(
    workflow: Startable | str,
    cron: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    tz: str,
    overlap: str,
    missed: str,
    grace: float | datetime.timedelta,
    name: str | None,
    priority: int,
    tags: Iterable[str] | dict[str, str],
) -> Spec:
    """What a schedule was declared as, checked. Raises UsageError, and InvalidInput for arguments that do not fit."""
    named = workflow_name(workflow)
    if named == WORKFLOW:
        raise UsageError("a schedule cannot be scheduled", "Give a workflow of your own")
    for what, value, known in (("overlap", overlap, get_args(Overlap)), ("missed", missed, get_args(Missed))):
        if value not in known:
            raise UsageError(f"{what}={value!r}", f"It is {', '.join(known[:-1])} or {known[-1]}")
    line, zone = planning.check_line(cron), planning.check_zone(tz)
    grace_us = microseconds(grace, "grace", below=_LONGEST_S)
    _, plain, blobs = input_of(workflow, args, kwargs)
    called = _checked_name(named if name is None else name)
    if blobs:
        raise UsageError(
            f"the arguments of schedule {called} are too long to be kept with it",
            "Give it the path or the id of what is long, and read that in a step",
        )
    return Spec(
        name=called,
        workflow=named,
        cron=line,
        tz=zone,
        overlap=cast("Overlap", overlap),
        missed=cast("Missed", missed),
        input=plain,
        priority=checked_priority(priority),
        tags=tag_list(tags),
        grace_us=grace_us,
    )


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[^\s\x00-\x1f=](?:[^\x00-\x1f\ud800-\udfff]{0,198}\S)?", name):
        raise UsageError(f"a schedule cannot be called {name!r}", "Use letters, digits and - _ . : /, at most 200")
    return name


def _tag(name: str) -> str:
    return f"schedule={name}"


def _name_of(run: Run) -> str:
    return next(tag.partition("=")[2] for tag in run.tags if tag.startswith("schedule="))


__all__ = ["Schedule", "Scheduling"]
