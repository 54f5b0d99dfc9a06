"""What the API gives, as models: the OpenAPI document is made of them.

Answers are the documents of `vbl.documents`, the same as those of `--json`; the tests compare them with these models.
Keys are only ever added. Instants are RFC 3339 in UTC, durations integers of milliseconds under keys that end in `_ms`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """What is given; there may be more keys in later versions."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class ErrorBody(Answer):
    """What is wrong: `code` is stable, `hint` is what to do."""

    code: str
    message: str
    hint: str


class Error(Answer):
    """Every answer that is not 2xx."""

    error: ErrorBody


class Run(Answer):
    """A run as its summary says it."""

    id: str
    workflow: str
    version: str
    status: str
    key: str | None
    parent_id: str | None
    tags: list[str]
    created_at: str | None
    updated_at: str | None
    finished_at: str | None
    wake_at: str | None
    seq: int
    usd: float | None


class Runs(Answer):
    """A page of runs, the newest first. `next` is the `before` of the page after it; null where there is none. With
    `looked_to` not all was looked at: nothing else fits among the runs created since that instant."""

    items: list[Run]
    next: str | None
    looked_to: str | None


class Reason(Answer):
    """One thing that a run waits for."""

    waits_for: str | None
    detail: str
    until: str | None
    hint: str


class Why(Reason):
    """What a run waits for, the first thing first."""

    status: str
    also: list[Reason]


class GateBrief(Answer):
    """A gate, as the state of its run has it."""

    id: str
    name: str
    status: str
    to: list[str]
    requested_at: str | None
    expires_at: str | None
    decided_at: str | None
    decided_by: str | None


class RunInFull(Run):
    """A run with what went in, what came out, what it used of models, and what it waits for."""

    input: Any
    output: Any
    error: dict[str, Any] | None
    usage: list[dict[str, Any]]
    why: Why
    gates: list[GateBrief]


class RunAndWhy(Run):
    """A run after something was done to it, and what it waits for then."""

    why: Why


class Event(Answer):
    """An event; `id` is its place in the file, the cursor."""

    id: int
    run_id: str
    seq: int
    type: str
    at: str | None
    payload: dict[str, Any]


class Events(Answer):
    """Events in the order in which they were committed. `next` is the `after` of the page behind; null at the end."""

    items: list[Event]
    next: int | None


class State(Answer):
    """The accumulated state of a run after one of its events."""

    id: str
    workflow: str
    seq: int
    checkpoint: int
    at: str | None
    status: str
    input: Any
    variables: dict[str, Any]
    outputs: dict[str, Any]
    pending: list[dict[str, Any]]
    timers: list[dict[str, Any]]
    gates: list[GateBrief]
    waits: list[dict[str, Any]]
    signals: dict[str, int]
    children: list[dict[str, Any]]
    attempts: Any
    usage: list[dict[str, Any]]
    output: Any
    error: dict[str, Any] | None


class Timeline(Answer):
    """What every picture of a run is drawn from."""

    start_at: str | None
    end_at: str | None
    duration_ms: int
    lanes: list[dict[str, Any]]
    waits: list[dict[str, Any]]
    remarks: list[dict[str, Any]]
    marks: list[dict[str, Any]]


class Gate(Answer):
    """A question to a person, in full."""

    id: str
    run_id: str
    workflow: str
    name: str
    status: str
    requested_at: str | None
    expires_at: str | None
    decided_at: str | None
    decided_by: str | None
    reason: str | None
    data: Any
    sentence: str
    show: Any
    to: list[str]
    need: int
    not_starter: bool
    votes: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    call: dict[str, Any] | None
    edit: bool
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")]
    on_timeout: str
    problem: str | None
    reopens: str | None


class Gates(Answer):
    """Gates, the oldest first. `next` is the `after` of the page behind; null at the end."""

    items: list[Gate]
    next: str | None


class Question(Answer):
    """Something that only a person can settle: a gate, or a step whose outcome nobody knows."""

    kind: str
    run_id: str
    workflow: str
    since: str | None
    detail: str
    step: str | None
    gate: Gate | None


class Questions(Answer):
    """What waits for a person, the oldest first."""

    items: list[Question]


class Queue(Answer):
    """A queue: its limits, who holds places and who waits."""

    name: str
    workflows: list[str]
    concurrency: int | None
    key_concurrency: int | None
    rate: str | None
    key_rate: str | None
    running: int
    waiting: int
    begun: int
    next_at: str | None


class Queues(Answer):
    """The queues of the file."""

    items: list[Queue]


class Lane(Answer):
    """The runs of one value of a queue's key."""

    key: Any
    running: int
    waiting: int
    next_at: str | None


class Lanes(Answer):
    """The lanes of a queue."""

    items: list[Lane]


class Schedule(Answer):
    """A schedule, and what came of it last."""

    name: str
    workflow: str
    cron: str
    tz: str
    overlap: str
    missed: str
    grace_ms: int
    input: Any
    priority: int
    tags: list[str]
    run_id: str | None
    status: str
    paused: bool
    next_at: str | None
    waiting: list[str | None]
    going: list[str]
    last_fire: dict[str, Any] | None
    last_skip: dict[str, Any] | None


class Schedules(Answer):
    """The schedules of the file."""

    items: list[Schedule]


class Supervisor(Answer):
    """Who moves the runs of the file. `silent`: it holds the file, and gives no sign of life."""

    program: str
    pid: int
    host: str
    epoch: int
    since_at: str | None
    silent: bool


class File(Answer):
    """The file, its cursor (the id of its last event), and who moves it; null where nobody does."""

    file: str
    cursor: int
    supervisor: Supervisor | None
    questions: int


class Count(Answer):
    """So many; with `more`, at least so many."""

    number: int
    more: bool


class Counts(Answer):
    """How many runs are in each status."""

    counts: dict[str, Count]
