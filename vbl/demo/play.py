"""The demonstration itself: start the run, watch its history, kill the worker twice, see it through to the end.

What is seen is told to an Audience as it happens. The history is read by a client, as any other program would; the
only thing that is done to the worker is to start it and to kill it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from vbl.agents import diary
from vbl.clock import SYSTEM
from vbl.demo.moments import KILLS, worth_a_kill
from vbl.demo.scene import Scene
from vbl.demo.worker import Worker
from vbl.errors import VblError
from vbl.history.facts import Event, Fact
from vbl.history.state import RunState, Status, apply

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.handle import Run

LOOK_S = 0.03
PATIENCE_S = 60.0
PATIENCE_WITH_MODEL_S = 600.0
"""So long nothing may happen before the demonstration gives up; a model may keep it waiting."""


@dataclass(frozen=True, slots=True)
class Life:
    """One life of the worker: its process, the part of the history that it wrote, and how it ended.

    `last_event` is the file's cursor and `seq` the run's length when the process was dead; `complete` and `torn` are
    the steps that were complete and in flight by then; `variables` is what `vbl.state` held.
    """

    number: int
    pid: int
    began_at: int
    ended_at: int
    last_event: int
    seq: int
    killed: bool
    exit_code: int
    complete: frozenset[str]
    torn: frozenset[str]
    variables: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Performance:
    """All that happened: the run, its whole history, what it added up to, and the lives of the worker."""

    run: Run
    events: list[Event]
    state: RunState
    lives: list[Life]


class Audience(Protocol):
    """Whoever watches."""

    def started(self, run: Run) -> None:
        """The run is durable; no worker is alive yet."""

    def born(self, number: int, pid: int) -> None:
        """A worker process was started."""

    def happened(self, event: Event, state: RunState) -> None:
        """An event was committed; `state` includes it."""

    def waiting(self, state: RunState) -> None:
        """Nothing new; called many times a second."""

    def died(self, life: Life, state: RunState) -> None:
        """The worker was killed, or stopped at the end."""


def perform(client: Client, scene: Scene, audience: Audience) -> Performance:
    """Run the briefing in a worker that dies twice. Raises VblError if it doesn't come to an end."""
    from vbl.agents.briefing import briefing

    run = client.start(briefing, scene.survey.folder, str(scene.briefing))
    audience.started(run)
    watch = _Watch(client, run, audience, scene)
    patience_s = PATIENCE_WITH_MODEL_S if scene.model else PATIENCE_S
    lives: list[Life] = []
    while not watch.over:
        worker = Worker(scene)
        try:
            audience.born(len(lives) + 1, worker.pid)
            watch.until(worker, len(lives) + 1, patience_s)
        except BaseException:
            worker.kill()
            raise
        lives.append(watch.end(worker, len(lives) + 1))
        audience.died(lives[-1], watch.state)
    return Performance(run, watch.events, run.state(), lives)


class _Watch:
    """The run's history as far as it was read, and what it adds up to."""

    def __init__(self, client: Client, run: Run, audience: Audience, scene: Scene) -> None:
        self.events: list[Event] = []
        self.state = RunState()
        self._client = client
        self._run = run
        self._audience = audience
        self._scene = scene

    @property
    def over(self) -> bool:
        """Whether the run will not move any more."""
        return self.state.status.finished or self.state.status is Status.BLOCKED

    def until(self, worker: Worker, number: int, patience_s: float) -> None:
        """Watch until the run is over or the moment for this life's kill has come."""
        deadline = time.monotonic() + patience_s
        while not self.over:
            worker.check()
            if self._read():
                deadline = time.monotonic() + patience_s
            if number <= KILLS and worth_a_kill(self.state, number, self._at_work(worker.pid)):
                return
            if time.monotonic() > deadline:
                raise VblError(
                    f"nothing happened for {patience_s:g} s",
                    f"See what the run waits for: vbl why {self._run.id} --db {self._scene.db}",
                    code="stalled",
                )
            self._audience.waiting(self.state)
            time.sleep(LOOK_S)

    def end(self, worker: Worker, number: int) -> Life:
        """Kill the worker, or stop it if the run is over; then read what it still wrote."""
        killed = not self.over
        exit_code = worker.kill() if killed else worker.stop()
        ended_at = SYSTEM.now()
        self._read()
        steps = self.state.steps.values()
        return Life(
            number=number,
            pid=worker.pid,
            began_at=worker.began_at,
            ended_at=ended_at,
            last_event=self.events[-1].id,
            seq=self.state.seq,
            killed=killed,
            exit_code=exit_code,
            complete=frozenset(step.key for step in steps if step.status == "completed"),
            torn=frozenset(step.key for step in steps if step.status == "running"),
            variables=self._run.state(at=self.state.seq).variables,
        )

    def _read(self) -> bool:
        """Take in what was committed since the last look; whether there was anything."""
        cursor = self.events[-1].id if self.events else 0
        new = self._client.events(after=cursor, run=self._run.id)
        for event in new:
            self.events.append(event)
            apply(self.state, Fact(event.seq, event.type, event.at, event.payload.model_dump(mode="json")))
            self._audience.happened(event, self.state)
        return bool(new)

    def _at_work(self, pid: int) -> frozenset[str]:
        """The steps whose bodies have begun in this process and not ended, by the side-effect file."""
        open_calls: set[str] = set()
        for entry in diary.read(self._scene.diary):
            if entry.pid == pid:
                open_calls.add(entry.key) if entry.phase == "began" else open_calls.discard(entry.key)
        return frozenset(key for key, call in calls(self.events).items() if call in open_calls)


def calls(events: list[Event]) -> dict[str, str]:
    """The idempotency key of each step, which is what its body notes in the side-effect file."""
    return {event.payload["step"]: event.payload["idempotency_key"] for event in events if event.type == "STEP_STARTED"}
