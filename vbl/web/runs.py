"""`/` and `/runs`: the list, its part that renews itself, and what is done with several runs at once."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.drawing import bulk as drawn_bulk
from vbl.drawing import frame
from vbl.drawing import run_list as drawn
from vbl.drawing.bulk import Outcome
from vbl.drawing.markup import join
from vbl.drawing.run_list import Listing
from vbl.drawing.throughput import SPANS, Bucket
from vbl.errors import Conflict, NotFound, UsageError
from vbl.handle import Run
from vbl.history.consequences import Act, consequence
from vbl.history.filters import Filter, parse
from vbl.web.desk import Desk, desk, status_of

ROWS = 50
BULK = 200
"""So many runs can be dealt with at once."""
_READING_S = 0.4
"""So long each look at a list with words brings the index of texts forward, where it is behind."""
_ACTS: dict[str, Act] = {"cancel": "cancel", "retry": "retry"}


def runs(request: Request) -> Response:
    """The list."""
    d = desk(request)
    typed = request.query_params.get("q", "")
    try:
        listing = _listing(d, parse(typed), typed)
    except (UsageError, NotFound) as error:
        # half a term, while it is being typed, is no failure
        main = join([frame.heading("Runs"), drawn.search(typed, d.root), drawn.refused(error.message, error.hint)])
        return d.page("Runs", main, here="runs", status=200 if d.partial else status_of(error))
    return d.page("Runs", drawn.list_page(listing, d.root, csrf=d.csrf, read_only=d.read_only), here="runs")


def table(request: Request) -> Response:
    """The part of the list that renews itself."""
    d = desk(request)
    listing = _listing(d, parse(request.query_params.get("q", "")))
    return d.fragment(drawn.section(listing, d.root, csrf=d.csrf, read_only=d.read_only))


def _listing(d: Desk, wanted: Filter, typed: str | None = None) -> Listing:
    """What is shown of the runs that fit."""
    query, client = d.request.query_params, d.client
    now = client.now()
    before, after, newest = (query.get(name) or None for name in ("before", "after", "newest"))
    if wanted.words:
        client.index(_READING_S)
    page = client.find(wanted, before=before, after=after, limit=ROWS)
    if page.newer is None:
        after = None  # it is the first page, which goes with what comes; the others stay where they are
    notes = client.glances(page.runs)
    span = query.get("span", "hour") if query.get("span") in SPANS else "hour"
    texts = page.texts
    return Listing(
        wanted=wanted,
        rows=[run.row(notes[run.id]) for run in page.runs],
        now=now,
        counts=drawn.preset_counts(client.counts(wanted)),
        buckets=_throughput(d, span, now),
        span=span,
        older=page.older,
        newer=page.newer,
        before=before,
        after=after,
        newest=newest,
        come=_come(d, wanted, newest) if newest is not None and (before or after) else "",
        looked_to=page.looked_to,
        texts_to=texts.at if texts is not None else None,
        texts_left=texts.last - texts.event if texts is not None else 0,
        typed=typed,
    )


def _come(d: Desk, wanted: Filter, newest: str) -> str:
    count = d.client.newer(wanted, newest)
    return str(count) if count.number else ""


def _throughput(d: Desk, span: str, now: int) -> list[Bucket]:
    """The slices of time up to now. Those that are over are counted once for all who look."""
    length, number = SPANS[span]
    width = length // number
    last_at = now // width * width
    first_at = last_at - (number - 1) * width
    client = d.client
    over = d.house.slices.get((span, first_at), lambda: client.throughput(first_at, width, number - 1))
    return [*over, *client.throughput(last_at, width, 1)]


def bulk(request: Request) -> Response:
    """Cancel or retry several runs: first what it would do to each, then, once that is confirmed, what became of it."""
    d = desk(request)
    act = _ACTS.get(d.form.get("act", ""))
    if act is None:
        raise UsageError("nothing says what is to be done", "Choose Cancel or Retry")
    wanted = parse(d.form.get("q", ""))
    chosen, more = _chosen(d, wanted)
    if not chosen:
        raise UsageError("no run was ticked", "Tick some runs, or “all that fit the filter”")
    if d.form.get("confirmed") == "yes":
        outcomes = [_done(run, act, d.form.get("reason") or None, d.actor) for run in chosen]
        main = drawn_bulk.done_page(act, outcomes, d.root, wanted)
    else:
        outcomes = [_foreseen(run, act, d.client.now()) for run in chosen]
        main = drawn_bulk.preview_page(act, outcomes, d.root, wanted, csrf=d.csrf, more=more)
    return d.page(f"{act.capitalize()} runs", main, here="runs")


def _chosen(d: Desk, wanted: Filter) -> tuple[list[Run], bool]:
    """The runs that are meant, and whether more are than can be dealt with at once."""
    if d.form.get("every") == "yes" and d.form.get("confirmed") != "yes":
        page = d.client.find(wanted, limit=BULK)
        return page.runs, page.older is not None
    ids = list(dict.fromkeys(d.form.getlist("run")))
    return [d.client.run(id) for id in ids[:BULK]], len(ids) > BULK


def _foreseen(run: Run, act: Act, now: int) -> Outcome:
    """What it would do to a run, told by the transition that it would take."""
    state = run.state()
    row = replace(run.row(), status=state.status.value)
    try:
        foreseen = consequence(state, act, now)
    except Conflict as error:
        return Outcome(row, error.message, refused=True)
    return Outcome(row, foreseen.then, foreseen.events)


def _done(run: Run, act: Act, reason: str | None, actor: str) -> Outcome:
    """Do it, and tell what became of the run."""
    try:
        status = run.cancel(actor, reason) if act == "cancel" else run.retry(actor, reason)
    except (Conflict, NotFound) as error:
        return Outcome(run.row(), error.message, refused=True)
    return Outcome(replace(run.row(), status=status.value), "")


routes = [
    Route("/", runs),
    Route("/runs", runs),
    Route("/runs/table", table),
    Route("/runs/bulk", bulk, methods=["POST"]),
]
