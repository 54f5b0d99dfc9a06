"""What makes schedules move: the workflow `vbl.schedule`, and `vbl.schedule(…)`, which declares one in code.

A schedule is a run like any other. It sleeps until the next instant, starts the workflow as a child that it leaves
behind, and records each fire and each skip; its variables are the Book of `history.planning`, which also decides. The
plan is looked up in a step, so that a replay never depends on the rules of time zones of today. After some entries it
hands over to a run of the same workflow, so that replays stay short.
"""

from __future__ import annotations

import asyncio
import datetime
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vbl.engine.ambient import sleep, state
from vbl.engine.children import ChildRun, Order
from vbl.engine.context import execution, refuse_in_workflow
from vbl.engine.definitions import REGISTRY, Workflow, step, workflow
from vbl.engine.signals import sleep_until, wait
from vbl.errors import InvalidInput, NotFound
from vbl.history import planning
from vbl.history.planning import SIGNAL, WORKFLOW, Act, Book, Due, Entry, Missed, Overlap, Spec, Stand, Verdict, Word
from vbl.schedules import Schedule, Scheduling, specify
from vbl.store.payloads import dumps, guard

if TYPE_CHECKING:
    from vbl.engine.advance import Execution

ENTRIES = 100
"""After so many fires and skips a schedule hands over to its next run, as soon as none that it started is open."""
_SELDOM_US = 86_400_000_000
"""A schedule that can't hand over, and whose every instant is skipped, writes that down once in so long."""
_PAUSE_S = 0.001
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@step(name="look", effect="pure")
def _look(cron: str, tz: str, after: int, now: int) -> Due:
    return planning.look(cron, tz, after, now)


@workflow(name=WORKFLOW)
async def keep(spec: Spec, after: int, waiting: list[tuple[int, str]] | None = None) -> str:
    """A schedule: starts the workflow of `spec` at each instant behind `after`. Ends only by handing over to the run
    whose id it returns, or by a cancel."""
    book = state(Book)
    book.spec, book.planned_at, book.waiting = spec, after, waiting or []
    return await _Keeper(execution(WORKFLOW), spec, book).keep()


class _Keeper:
    """One run of `vbl.schedule` in memory. What it waits for are three things: the next instant, the next word, and
    the ends of the runs that it started."""

    def __init__(self, scope: Execution, spec: Spec, book: Book) -> None:
        self.scope, self.spec, self.book = scope, spec, book
        self.alarm: asyncio.Future[Any] | None = None
        self.ear = asyncio.ensure_future(_word())
        self.going: dict[asyncio.Future[Any], ChildRun] = {}
        self.seldom = False

    async def keep(self) -> str:
        """Until it hands over."""
        await self._plan()
        while True:
            if self.book.entries >= ENTRIES and not self.going:
                # what others have written comes to the ear before a timer does
                await sleep(_PAUSE_S)
                if not self.ear.done():
                    return self._hand_over()
            if self.book.waiting and not self.going:
                at, reason = self.book.waiting[0]
                self.book.waiting = self.book.waiting[1:]
                self._fire(at, "waited for its turn" if reason == "on time" else reason)
            await self._something()

    async def _something(self) -> None:
        """Wait for one of the three, and do what it asks for."""
        alarm = [self.alarm] if self.alarm is not None else []
        await asyncio.wait([*alarm, self.ear, *self.going], return_when=asyncio.FIRST_COMPLETED)
        ended = [run for run in self.going if run.done()]
        if ended:
            if self.seldom:
                await self._plan()  # while it still counts as going on
            for run in ended:
                self.going.pop(run, None)
            self._list_going()
            if self.seldom:
                self._set_alarm()
        elif self.ear.done():
            await self._heard()
        elif self.alarm is not None and self.alarm.done():
            await self._due()

    # Instants ------------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> int:
        return self.scope.loop.now

    @property
    def _stand(self) -> Stand:
        return Stand(bool(self.going), len(self.book.waiting))

    async def _due(self) -> None:
        """The next instant has come: fire it in the transaction of its timer, then look at what comes."""
        at = self.book.next_at
        if at is not None and not self.seldom and self._now - at <= self.spec.grace_us:
            self._act(planning.meet(self.spec, at, self._stand, "on time"))
            self.book.planned_at = at
        await self._plan()

    async def _plan(self) -> None:
        """Deal with all that is due, and set the alarm for what comes next."""
        spec, now, seldom = self.spec, self._now, self.seldom
        due = await _look.aio(spec.cron, spec.tz, self.book.planned_at, now)
        if seldom and due.first is not None:
            reason = planning.meet(spec, due.first, self._stand, "").reason
            self._act(Verdict(Act.SKIP, due.first, reason, len(due.instants) + due.more))
        elif not seldom:
            stand = self._stand
            for verdict in planning.verdicts(spec, due, now, stand):
                self._act(verdict)
                stand.busy, stand.waiting = bool(self.going), len(self.book.waiting)
        self.book.planned_at, self.book.next_at = max(now, self.book.planned_at), due.next_at
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
        full = self.book.entries >= ENTRIES and bool(self.going)
        skips = self.spec.overlap == "skip" or (self.spec.overlap == "queue" and bool(self.book.waiting))
        self.seldom = full and skips
        at = self._now + _SELDOM_US if self.seldom else self.book.next_at
        if at is not None:
            self.alarm = asyncio.ensure_future(sleep_until(_EPOCH + datetime.timedelta(microseconds=at)))

    # Acts ----------------------------------------------------------------------------------------------------------

    def _act(self, verdict: Verdict) -> None:
        match verdict.act:
            case Act.SKIP:
                self._skip(verdict)
            case Act.WAIT:
                self.book.waiting = [*self.book.waiting, (verdict.due_at, verdict.reason)]
            case Act.REPLACE:
                for run in self.going.values():
                    run.cancel()
                self.going.clear()
                self._fire(verdict.due_at, verdict.reason)
            case Act.FIRE:
                self._fire(verdict.due_at, verdict.reason)

    def _fire(self, due_at: int, reason: str) -> None:
        spec, now = self.spec, self._now
        tags = (*spec.tags, f"scheduled={spec.name}")
        run = self._start(spec.workflow, spec.input, tags, spec.priority)
        entry = Entry(due_at=due_at, at=now, reason=reason, run=run.id, late_us=max(0, now - due_at))
        about = {"v": 1, "due_at": due_at, "run": run.id, "reason": reason, "late_us": entry.late_us}
        self.scope.ask("SCHEDULE_FIRED", due_at, about)
        self.going[asyncio.ensure_future(run.over())] = run
        self.book.fired = entry
        self.book.entries += 1
        self._list_going()

    def _skip(self, verdict: Verdict) -> None:
        due_at, reason, count = verdict.due_at, verdict.reason, verdict.count
        self.scope.ask("SCHEDULE_SKIPPED", due_at, {"v": 1, "due_at": due_at, "reason": reason, "count": count})
        self.book.skipped = Entry(due_at=due_at, at=self._now, reason=reason, count=count)
        self.book.entries += 1

    def _start(self, name: str, given: dict[str, Any], tags: tuple[str, ...], priority: int) -> ChildRun:
        """Start a run by the name of its workflow. The input is in its recorded form: what does not fit any more is
        refused by that run, and the schedule goes on."""
        text = "{" + ",".join(f"{dumps(key)}:{guard(dumps(value), value)}" for key, value in given.items()) + "}"
        order = Order(name, REGISTRY.get(name), text, given, [], on_close="leave", priority=priority, tags=tags)
        return ChildRun(self.scope, self.scope.reserve(name), order)

    def _list_going(self) -> None:
        self.book.going = [run.id for run in self.going.values()]

    # Words ---------------------------------------------------------------------------------------------------------

    async def _heard(self) -> None:
        """Do as a word says. One that is none is there to be read in the history, and changes nothing."""
        heard, self.ear = self.ear, asyncio.ensure_future(_word())
        word: Word | None = heard.result()
        if word is None:
            return
        if word.do == "run":
            self._act(planning.meet(self.spec, self._now, self._stand, "asked for"))
        elif word.spec is not None and word.spec.name == self.spec.name:
            before, self.spec = self.spec, word.spec
            self.book.spec = word.spec
            if (before.cron, before.tz) != (word.spec.cron, word.spec.tz):
                self.book.planned_at, self.book.next_at = self._now, None
                self.seldom = False
            await self._plan()

    def _hand_over(self) -> str:
        """The next run is the schedule from now on; in the transaction that ends this one."""
        book = self.book
        given = {"spec": self.spec.model_dump(mode="json"), "after": book.planned_at, "waiting": book.waiting}
        return self._start(WORKFLOW, given, (f"schedule={self.spec.name}",), 0).id


async def _word() -> Word | None:
    try:
        return await wait(SIGNAL, Word)
    except InvalidInput:
        return None


# Declared in code --------------------------------------------------------------------------------------------------

_declared: dict[str, Schedule] = {}
_files: list[Scheduling] = []
_lock = threading.RLock()


def schedule(
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
    """Declare a schedule: start the workflow with these arguments whenever the cron line says so, in the time zone.

    Every supervisor of this process, open now or opened later, makes it durable in its file. Declaring it again, by
    `name` (default: the workflow's), changes it where something differs, and else does nothing; the schedule stays
    when the code no longer declares it. `overlap` says what happens where the run before still runs: "skip", "queue"
    (one waits), or "replace" it; `missed` what happens to instants that passed more than `grace` seconds ago while
    nothing moved: "skip" them, run "once" for all, or run "all", one after the other. Raises UsageError for a line,
    zone or option that is none, InvalidInput for arguments that do not fit, NotFound for a workflow that is not loaded.
    """
    refuse_in_workflow("vbl.schedule")
    if isinstance(workflow, str):
        loaded = REGISTRY.get(workflow)
        if loaded is None:
            known = ", ".join(sorted(set(REGISTRY) - {WORKFLOW})) or "none"
            raise NotFound(
                f"workflow {workflow!r} is not loaded here", f"Loaded are: {known}", code="workflow_not_found"
            )
        workflow = loaded
    spec = specify(
        workflow, cron, args, kwargs, tz=tz, overlap=overlap, missed=missed, grace=grace, name=name,
        priority=priority, tags=tags,
    )  # fmt: skip
    made = Schedule(spec)
    with _lock:
        _declared[spec.name] = made
        for file in _files:
            made.bind(file)
    return made


def opened(file: Scheduling) -> None:
    """A supervisor of this process has the file now: what is declared is made durable there."""
    with _lock:
        for made in _declared.values():
            made.bind(file)
        _files.append(file)


def closed(file: Scheduling) -> None:
    """The file is left."""
    with _lock:
        if file in _files:
            _files.remove(file)
        for made in _declared.values():
            made.leave(file)
