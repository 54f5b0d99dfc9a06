"""`/api/v1`: what the client can do, as JSON over HTTP. One table of endpoints is routed, and described by OpenAPI.

An endpoint reads its question by a model, asks the client, and answers with a document of `vbl.documents`. Errors are
`{"error": {"code", "message", "hint"}}`. Changes are durable when they are answered, with no supervisor alive.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vbl import documents
from vbl.clock import instant
from vbl.errors import InvalidInput, NotFound, UsageError
from vbl.handle import Run
from vbl.history.filters import Filter
from vbl.web import asked as a
from vbl.web import models as m
from vbl.web.desk import Desk, desk
from vbl.web.live import holder_of
from vbl.web.openapi import Described, document

BASE = "/api/v1"
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has been read: the desk, the parameters of the path, the query and the body."""

    desk: Desk
    path: dict[str, str]
    query: Any
    body: Any

    @property
    def run(self) -> Run:
        """The run that the path names. Raises NotFound, AmbiguousRun."""
        return self.desk.client.run(self.path["run"])

    def by(self) -> str:
        """Who does it."""
        return self.body.by or self.desk.actor


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A way to ask: what the document says of it, and what answers."""

    said: Described
    answer: Callable[[Call], Document]


# Reading -----------------------------------------------------------------------------------------------------------


def file(call: Call) -> Document:
    """The file, and who moves it."""
    client = call.desk.client
    return {
        "file": str(client.path),
        "cursor": client.cursor(),
        "supervisor": holder_of(client.supervisor(), client.silence()),
        "questions": client.waiting_for_people(1_000),
    }


def runs(call: Call) -> Document:
    """Runs that fit a filter, the newest first."""
    return _found(call, call.query.q)


def _found(call: Call, wanted: str | Filter) -> Document:
    page = call.desk.client.find(wanted, before=call.query.before, limit=call.query.limit)
    return {
        "items": [documents.run_document(run) for run in page.runs],
        "next": page.older,
        "looked_to": instant(page.looked_to),
    }


def counts(call: Call) -> Document:
    """How many runs that fit a filter are in each status."""
    found = call.desk.client.counts(call.query.q)
    return {"counts": {str(status): {"number": one.number, "more": one.more} for status, one in found.items()}}


def run(call: Call) -> Document:
    """A run with its input, its output, and what it waits for."""
    found = call.run
    sheet = found.sheet()
    return {
        **documents.run_document(found),
        "input": sheet.state.input,
        "output": sheet.state.output,
        "error": sheet.state.error,
        "usage": sheet.state.usage,
        "why": documents.why_document(sheet.answer),
        "gates": documents.gate_documents(sheet.state),
    }


def why(call: Call) -> Document:
    """What a run waits for."""
    return documents.why_document(call.run.why())


def events(call: Call) -> Document:
    """Events of all runs, behind a cursor."""
    return _events(call, None)


def run_events(call: Call) -> Document:
    """Events of one run, behind a cursor."""
    return _events(call, call.run.id)


def _events(call: Call, run: str | None) -> Document:
    asked: a.EventsQuery = call.query
    found = call.desk.client.events(asked.after, run=run, limit=asked.limit + 1)
    items = [documents.event_document(event) for event in found[: asked.limit]]
    return {"items": items, "next": items[-1]["id"] if len(found) > asked.limit else None}


def state(call: Call) -> Document:
    """The state of a run, now or at a point of its history."""
    asked: a.PointQuery = call.query
    if asked.at is not None and asked.checkpoint is not None:
        raise UsageError("at and checkpoint name two points", "Give one of them")
    return documents.state_document(call.run.state(asked.at, asked.checkpoint))


def timeline(call: Call) -> Document:
    """The attempts and waits of a run, from which its picture is drawn."""
    return documents.timeline_document(call.run.sheet().picture)


def children(call: Call) -> Document:
    """The runs that a run started, the newest first."""
    return _found(call, Filter(parent=call.run.id))


def gates(call: Call) -> Document:
    """Questions to people, the oldest first."""
    asked: a.GatesQuery = call.query
    status = None if asked.status == "all" else asked.status
    found = call.desk.client.gates(status, run=asked.run, to=asked.to, limit=asked.limit + 1, after=asked.after)
    page = found[: asked.limit]
    more = page[-1].id if len(found) > asked.limit else None
    return {"items": [documents.gate_document(gate) for gate in page], "next": more}


def gate(call: Call) -> Document:
    """One question in full."""
    return documents.gate_document(call.desk.client.gate(call.path["gate"]))


def questions(call: Call) -> Document:
    """All that waits for a person: gates, and steps whose outcome nobody knows."""
    found = call.desk.client.questions(to=call.query.to, limit=call.query.limit)
    return {"items": [documents.question_document(question) for question in found]}


def queues(call: Call) -> Document:
    """Queues, their limits, and who waits."""
    return {"items": [documents.queue_document(queue) for queue in call.desk.client.queues()]}


def lanes(call: Call) -> Document:
    """The lanes of a queue."""
    found = call.desk.client.lanes(call.path["queue"], call.query.limit)
    return {"items": [documents.lane_document(lane) for lane in found]}


def schedules(call: Call) -> Document:
    """Schedules, and what came of them last."""
    return {"items": [documents.schedule_document(one) for one in call.desk.client.schedules()]}


def schedule(call: Call) -> Document:
    """One schedule."""
    return documents.schedule_document(call.desk.client.one_schedule(call.path["schedule"]))


# Changing ----------------------------------------------------------------------------------------------------------


def start(call: Call) -> Document:
    """Start a run."""
    body: a.Start = call.body
    client = call.desk.client
    given: dict[str, Any] = {"key": body.key, "tags": body.tags, "deadline": body.deadline_s, "priority": body.priority}
    if shadowed := sorted(given.keys() & body.input.keys()):
        raise InvalidInput(f"parameters called {', '.join(shadowed)} cannot be given here", "Start it with vbl run")
    return documents.run_document(client.start(body.workflow, **given, **body.input))


def cancel(call: Call) -> Document:
    """Ask for the cancel of a run."""
    found = call.run
    found.cancel(call.by(), call.body.reason, within=call.body.within_s)
    return documents.standing_document(found)


def pause(call: Call) -> Document:
    """Hold a run."""
    found = call.run
    found.pause(call.by(), call.body.reason)
    return documents.standing_document(found)


def unpause(call: Call) -> Document:
    """Let a paused run go on."""
    found = call.run
    found.unpause(call.by(), call.body.reason)
    return documents.standing_document(found)


def retry(call: Call) -> Document:
    """Open a failed run again at its failed step, or try a blocked one again."""
    found = call.run
    found.retry(call.by(), call.body.reason)
    return documents.standing_document(found)


def signal(call: Call) -> Document:
    """Send a message to a run."""
    body: a.Signal = call.body
    found = call.run
    found.signal(body.name, body.data, key=body.key, by=call.by())
    return documents.standing_document(found)


def resolve(call: Call) -> Document:
    """Settle the write whose outcome nobody knows."""
    body: a.Resolve = call.body
    found = call.run
    said: dict[str, Any] = {"happened": body.result} if body.outcome == "happened" else {}
    found.resolve(
        did_not=body.outcome == "did_not_happen",
        fail=body.outcome == "failed",
        by=call.by(),
        reason=body.reason,
        **said,
    )
    return documents.standing_document(found)


def approve(call: Call) -> Document:
    """Approve what a gate asks."""
    body: a.Approve = call.body
    client = call.desk.client
    decided = client.approve(
        call.path["gate"], by=call.by(), reason=body.reason, edit=body.edit, data=body.data, via="api"
    )
    return documents.gate_document(decided)


def deny(call: Call) -> Document:
    """Deny what a gate asks."""
    client = call.desk.client
    return documents.gate_document(client.deny(call.path["gate"], by=call.by(), reason=call.body.reason, via="api"))


def pause_schedule(call: Call) -> Document:
    """Start nothing more by a schedule."""
    found = call.desk.client.one_schedule(call.path["schedule"])
    found.pause(by=call.by())
    return documents.schedule_document(found)


def unpause_schedule(call: Call) -> Document:
    """Start by a schedule again."""
    found = call.desk.client.one_schedule(call.path["schedule"])
    found.unpause(by=call.by())
    return documents.schedule_document(found)


def run_schedule(call: Call) -> Document:
    """Start a run now, beside the plan of a schedule."""
    found = call.desk.client.one_schedule(call.path["schedule"])
    found.run_now(by=call.by())
    return documents.schedule_document(found)


# The table ---------------------------------------------------------------------------------------------------------


def _get(
    path: str, answer: Callable[[Call], Document], model: type[BaseModel], query: type[BaseModel] = a.Nothing
) -> Endpoint:
    return Endpoint(Described("GET", path, answer.__name__, _summary(answer), model, query), answer)


def _post(
    path: str, answer: Callable[[Call], Document], model: type[BaseModel], body: type[BaseModel], status: int = 200
) -> Endpoint:
    said = Described("POST", path, answer.__name__, _summary(answer), model, body=body, status=status)
    return Endpoint(said, answer)


def _summary(answer: Callable[[Call], Document]) -> str:
    return (answer.__doc__ or "").strip()


ENDPOINTS = (
    _get("/file", file, m.File),
    _get("/runs", runs, m.Runs, a.RunsQuery),
    _post("/runs", start, m.Run, a.Start, 201),
    _get("/counts", counts, m.Counts, a.CountsQuery),
    _get("/events", events, m.Events, a.EventsQuery),
    _get("/runs/{run}", run, m.RunInFull),
    _get("/runs/{run}/why", why, m.Why),
    _get("/runs/{run}/events", run_events, m.Events, a.EventsQuery),
    _get("/runs/{run}/state", state, m.State, a.PointQuery),
    _get("/runs/{run}/timeline", timeline, m.Timeline),
    _get("/runs/{run}/children", children, m.Runs, a.PageQuery),
    _post("/runs/{run}/cancel", cancel, m.RunAndWhy, a.Cancel),
    _post("/runs/{run}/pause", pause, m.RunAndWhy, a.Deed),
    _post("/runs/{run}/unpause", unpause, m.RunAndWhy, a.Deed),
    _post("/runs/{run}/retry", retry, m.RunAndWhy, a.Deed),
    _post("/runs/{run}/signal", signal, m.RunAndWhy, a.Signal),
    _post("/runs/{run}/resolve", resolve, m.RunAndWhy, a.Resolve),
    _get("/gates", gates, m.Gates, a.GatesQuery),
    _get("/gates/{gate}", gate, m.Gate),
    _post("/gates/{gate}/approve", approve, m.Gate, a.Approve),
    _post("/gates/{gate}/deny", deny, m.Gate, a.Deed),
    _get("/questions", questions, m.Questions, a.QuestionsQuery),
    _get("/queues", queues, m.Queues),
    _get("/queues/{queue}/lanes", lanes, m.Lanes, a.LanesQuery),
    _get("/schedules", schedules, m.Schedules),
    _get("/schedules/{schedule}", schedule, m.Schedule),
    _post("/schedules/{schedule}/pause", pause_schedule, m.Schedule, a.ScheduleDeed),
    _post("/schedules/{schedule}/unpause", unpause_schedule, m.Schedule, a.ScheduleDeed),
    _post("/schedules/{schedule}/run", run_schedule, m.Schedule, a.ScheduleDeed),
)


def openapi(request: Request) -> Response:
    """`GET /api/v1/openapi.json`."""
    server = f"{desk(request).root}{BASE}"
    version = sys.modules["vbl"].__version__  # said there alone; an import would point the wrong way
    return JSONResponse(document((endpoint.said for endpoint in ENDPOINTS), version, server))


def _answering(endpoint: Endpoint) -> Callable[[Request], Response]:
    said = endpoint.said

    def answering(request: Request) -> Response:
        d = desk(request)
        query = _read(said.query, dict(request.query_params), UsageError, "the address")
        body = None if said.body is None else _read(said.body, _posted(d), InvalidInput, "the body")
        call = Call(d, dict(request.path_params), query, body)
        return JSONResponse(endpoint.answer(call), said.status)

    return answering


def _posted(d: Desk) -> Any:
    if not d.body.strip():
        return {}
    try:
        return json.loads(d.body)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is no JSON: {error}", "Send an object, as application/json", code="json") from None


def _read(model: type[BaseModel], given: Any, kind: type[UsageError], where: str) -> BaseModel:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "all of it"
        known = ", ".join(model.model_fields) or "nothing"
        raise kind(f"{where} does not fit: {place}: {first['msg']}", f"It takes: {known}") from None


def _nothing(request: Request) -> Response:
    raise NotFound(f"there is nothing at {request.url.path}", f"What there is: GET {BASE}/openapi.json")


def _path(path: str) -> str:
    """Names of queues and schedules may have slashes in them."""
    return path.replace("{queue}", "{queue:path}").replace("{schedule}", "{schedule:path}")


routes = [
    Route(f"{BASE}/openapi.json", openapi),
    *(
        # those that end in a word first, so that a name with slashes does not swallow it
        Route(f"{BASE}{_path(one.said.path)}", _answering(one), methods=[one.said.method], name=one.said.name)
        for one in sorted(ENDPOINTS, key=lambda one: one.said.path.endswith("}"))
    ),
    Route("/api/{rest:path}", _nothing, methods=["GET", "POST"]),
]
