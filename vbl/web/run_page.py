"""The page of a run, and the parts of it that are fetched by themselves: head, timeline, history, values, state, code.

Every part is drawn by `vbl.drawing` from the same sheet, so none can say anything else than another. What a part needs
of the address stands in its query, so that each view can be linked to.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.drawing import event
from vbl.drawing.actions import action_bar
from vbl.drawing.chart import AxisName, chart, lanes
from vbl.drawing.children import DEPTH, MOST, children
from vbl.drawing.code import code
from vbl.drawing.costs import costs
from vbl.drawing.event import event_detail, find, value_of
from vbl.drawing.event_filter import EventFilter
from vbl.drawing.events import Reading, added, event_list, filter_form, newer, older
from vbl.drawing.graph import graph_svg
from vbl.drawing.head import head, value_command, values
from vbl.drawing.markup import Markup, join, tag
from vbl.drawing.places import run_at
from vbl.drawing.sheet import RunSheet
from vbl.drawing.state_view import Point, state_view, value_at
from vbl.errors import NotFound, UsageError
from vbl.history.questions import questions
from vbl.web.desk import Desk, desk
from vbl.web.inbox import card
from vbl.web.sheets import Known, depends_on_others
from vbl.web.values import whole

LIVE = {"hx_trigger": "vbl:changed from:body", "hx_swap": "outerMorph"}
"""Drawn anew when something has happened to the run."""
LIVE_BESIDE = {**LIVE, "hx_trigger": "vbl:moved from:body"}
"""Drawn anew when something has happened to any run: it tells of others too."""


def page(request: Request) -> Response:
    """The whole page of a run; a unique beginning of its id leads to it."""
    d, known, address = _opened(request)
    sheet = known.sheet
    if request.path_params["ref"] != sheet.id:
        query = f"?{request.url.query}" if request.url.query else ""
        return d.redirect(f"{run_at('', sheet.id)}{query}")
    tab = request.query_params.get("tab", "events")
    if tab not in TABS:
        raise UsageError(f"a run's page has no tab {tab!r}", f"It has {', '.join(TABS)}")
    main = join(
        [
            _head(d, sheet),
            tag(
                "section",
                chart(sheet.picture, source=f"{address}/timeline", axis=_axis(request)),
                aria_label="Timeline",
            ),
            _asks(d, sheet),
            _values(d, sheet) if tab == "events" else None,  # elsewhere it would stand before what was asked for
            _tabs(known, tab, address),
            tag("section", TABS[tab](request, d, known), id="tab", aria_label=f"The {tab} of the run"),
        ]
    )
    return d.page(f"{sheet.state.workflow} {sheet.id}", main, here="runs", run=sheet.id)


def _opened(request: Request) -> tuple[Desk, Known, str]:
    """The desk, what is known of the run that the path names, and the run's address."""
    d = desk(request)
    known = d.house.sheets.known(request.path_params["ref"])
    return d, known, run_at(d.root, known.sheet.id)


# Head, timeline, values --------------------------------------------------------------------------------------------


def _head(d: Desk, sheet: RunSheet) -> Markup:
    bar = action_bar(sheet, d.csrf, d.read_only, root=d.root, actor=d.actor)
    drawn = head(sheet, root=d.root, actions=bar)
    live = LIVE_BESIDE if depends_on_others(sheet.state) else LIVE
    return tag("section", drawn, id="head", aria_label="Run", hx_get=f"{run_at(d.root, sheet.id)}/head", **live)


def head_part(request: Request) -> Response:
    """The head as it is now."""
    d, known, _ = _opened(request)
    return d.fragment(_head(d, known.sheet))


def _asks(d: Desk, sheet: RunSheet) -> Markup:
    """What the run asks of people, each with its form, as in the inbox."""
    cards = [card(d, question, sheet.state.seq, lambda: sheet.state) for question in questions(sheet.state)]
    return tag(
        "section", cards, id="asks", aria_label="Asked of people", hx_get=f"{run_at(d.root, sheet.id)}/asks", **LIVE
    )


def asks_part(request: Request) -> Response:
    """What the run asks of people by now."""
    d, known, _ = _opened(request)
    return d.fragment(_asks(d, known.sheet))


def timeline_part(request: Request) -> Response:
    """The timeline on an axis, or the lanes of one group of steps."""
    d, known, address = _opened(request)
    asked, axis = request.query_params, _axis(request)
    source, picture = f"{address}/timeline", known.sheet.picture
    if "group" in asked:
        start = _number(request, "from") or 0
        return d.fragment(lanes(picture, asked["group"], source=source, axis=axis, start=start))
    return d.fragment(chart(picture, source=source, axis=axis))


def _axis(request: Request) -> AxisName:
    return "real" if request.query_params.get("axis") == "real" else "compressed"


def _values(d: Desk, sheet: RunSheet) -> Markup:
    """Input, output and variables; they change no more once the run has completed."""
    grows = {} if sheet.state.status in ("completed", "cancelled") else LIVE
    source = f"{run_at(d.root, sheet.id)}/values" if grows else None
    drawn = values(sheet, root=d.root)
    return tag("section", drawn, id="values", aria_label="Input and output", hx_get=source, **grows)


def values_part(request: Request) -> Response:
    """Input and output as they are now."""
    d, known, _ = _opened(request)
    return d.fragment(_values(d, known.sheet))


def value(request: Request) -> Response:
    """One of the run's own values, whole."""
    d, known, address = _opened(request)
    state, name = known.sheet.state, request.query_params.get("of", "")
    found = {"input": state.input, "output": state.output, "variables": state.variables}
    if name not in found:
        raise NotFound(f"a run has no value {name!r}", f"It has {', '.join(found)}")
    run, url = known.sheet.id, f"{address}/value?of={name}"
    command, lasting = value_command(run, name), name != "variables"
    return whole(d, request, found[name], url, f"{run}-{name}", command=command, lasting=lasting)


# Events ------------------------------------------------------------------------------------------------------------


def _reading(request: Request, known: Known, address: str) -> Reading:
    return Reading(known.sheet, known.links, EventFilter.of(request.query_params.multi_items()), address)


def _events_tab(request: Request, d: Desk, known: Known) -> Markup:
    reading = _reading(request, known, run_at(d.root, known.sheet.id))
    around = _number(request, "event")
    return join([filter_form(reading, reading.address), event_list(reading, around=around)])


def events_part(request: Request) -> Response:
    """A page of the history: behind `after`, before `before`, added since `since`, or the first one."""
    d, known, address = _opened(request)
    reading = _reading(request, known, address)
    asked = {name: _number(request, name) for name in ("after", "before", "since", "event")}
    if asked["after"] is not None:
        return d.fragment(newer(reading, asked["after"]))
    if asked["before"] is not None:
        return d.fragment(older(reading, asked["before"]))
    if asked["since"] is not None:
        return d.fragment(added(reading, asked["since"]))
    response = d.fragment(event_list(reading, around=asked["event"]))
    if "tab" in request.query_params:  # the form of filters asks: the address of the page shall say the same
        response.headers["HX-Replace-Url"] = f"{address}?{reading.filter.query(tab='events')}"
    return response


def event_part(request: Request) -> Response:
    """What one event holds."""
    d, known, address = _opened(request)
    reading = _reading(request, known, address)
    fact = find(reading, request.path_params["seq"])
    return d.fragment(event_detail(reading, fact, known.effects.get(fact.seq, ())))


def event_value(request: Request) -> Response:
    """One value of an event, whole."""
    d, known, address = _opened(request)
    fact = find(_reading(request, known, address), request.path_params["seq"])
    name = request.query_params.get("of", "")
    run, url = known.sheet.id, f"{address}/events/{fact.seq}/value?of={name}"
    command = event.value_command(run, fact, name)
    return whole(d, request, value_of(fact, name), url, f"{run}-{fact.seq}-{name}", command=command)


def _number(request: Request, name: str) -> int | None:
    """A number in the query; None where it is not given. Raises UsageError for what is none."""
    text = request.query_params.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise UsageError(f"{name}={text!r} is no number", f"For example {name}=3")
    return int(text)


# State, code, children ---------------------------------------------------------------------------------------------


def _point(request: Request) -> Point:
    return Point(_number(request, "checkpoint"), _number(request, "at"))


def _state_tab(request: Request, d: Desk, known: Known) -> Markup:
    address = run_at(d.root, known.sheet.id)
    point, against = _point(request), _number(request, "against")
    drawn = state_view(known.sheet, point, None if against is None else Point(against), address=address)
    if point.query:
        return tag("div", drawn, id="state")
    return tag("div", drawn, id="state", hx_get=f"{address}/state?{request.url.query}", **LIVE)


def state_part(request: Request) -> Response:
    """The state at a point of the history."""
    d, known, _ = _opened(request)
    return d.fragment(_state_tab(request, d, known))


def state_value(request: Request) -> Response:
    """One part of the state, whole."""
    d, known, address = _opened(request)
    point, name = _point(request), request.query_params.get("of", "")
    url = f"{address}/state/value?{urlencode({**point.query, 'of': name})}"
    found, run = value_at(known.sheet, point, name), known.sheet.id
    command, lasting = value_command(run, name, point.option), bool(point.query)
    return whole(d, request, found, url, f"{run}-{name}", command=command, lasting=lasting)


def _graph_tab(request: Request, d: Desk, known: Known) -> Markup:
    drawn = tag("div", graph_svg(known.graph, root=d.root), class_="graph-scroll")
    return tag("div", drawn, id="graph", hx_get=f"{run_at(d.root, known.sheet.id)}/graph", **LIVE)


def graph_part(request: Request) -> Response:
    """The graph of the steps as they have run by now."""
    d, known, _ = _opened(request)
    return d.fragment(_graph_tab(request, d, known))


def _code_tab(request: Request, d: Desk, known: Known) -> Markup:
    return code(known.sheet)


def _costs_tab(request: Request, d: Desk, known: Known) -> Markup:
    sheet = known.sheet
    return tag("div", costs(sheet.state.usage), id="costs", hx_get=f"{run_at(d.root, sheet.id)}/costs", **LIVE)


def costs_part(request: Request) -> Response:
    """What the steps have used by now."""
    d, known, _ = _opened(request)
    return d.fragment(_costs_tab(request, d, known))


def _children_tab(request: Request, d: Desk, known: Known) -> Markup:
    """The tree below the run, read anew: the statuses of children are not in this history."""
    sheet = known.sheet
    below = islice(d.client.run(sheet.id).descendants(DEPTH, MOST), MOST + 1)
    tree = [(level, child.neighbour()) for level, child in below]
    drawn = children(tree[:MOST], sheet.now, root=d.root, more=len(tree) > MOST)
    return tag("div", drawn, id="children", hx_get=f"{run_at(d.root, sheet.id)}/children", **LIVE_BESIDE)


def children_part(request: Request) -> Response:
    """The tree of children as it is now."""
    d, known, _ = _opened(request)
    return d.fragment(_children_tab(request, d, known))


def _tabs(known: Known, here: str, address: str) -> Markup:
    """The ways to the parts of the page; those that a run of this kind does not have are left out."""
    sheet = known.sheet
    counts = {"events": sheet.state.seq, "children": sheet.number_of_children}
    there = {"children": bool(sheet.children), "costs": bool(sheet.state.usage)}
    links = [
        tag(
            "a",
            name,
            tag("span", f" {counts[name]}", class_="dim") if counts.get(name) else None,
            href=f"{address}?tab={name}#tabs",
            aria_current="page" if name == here else None,
        )
        for name in TABS
        if there.get(name, True) or name == here
    ]
    source = f"{address}/tabs?tab={here}"
    return tag("nav", links, id="tabs", class_="tabs", aria_label="Parts of the run", hx_get=source, **LIVE)


def tabs_part(request: Request) -> Response:
    """The tabs with what there is by now."""
    d, known, address = _opened(request)
    return d.fragment(_tabs(known, request.query_params.get("tab", "events"), address))


TABS: dict[str, Callable[[Request, Desk, Known], Markup]] = {
    "events": _events_tab,
    "state": _state_tab,
    "graph": _graph_tab,
    "code": _code_tab,
    "children": _children_tab,
    "costs": _costs_tab,
}

routes = [
    Route("/runs/{ref}", page),
    Route("/runs/{ref}/head", head_part),
    Route("/runs/{ref}/asks", asks_part),
    Route("/runs/{ref}/tabs", tabs_part),
    Route("/runs/{ref}/timeline", timeline_part),
    Route("/runs/{ref}/values", values_part),
    Route("/runs/{ref}/value", value),
    Route("/runs/{ref}/events", events_part),
    Route("/runs/{ref}/events/{seq:int}", event_part),
    Route("/runs/{ref}/events/{seq:int}/value", event_value),
    Route("/runs/{ref}/state", state_part),
    Route("/runs/{ref}/state/value", state_value),
    Route("/runs/{ref}/graph", graph_part),
    Route("/runs/{ref}/costs", costs_part),
    Route("/runs/{ref}/children", children_part),
]
