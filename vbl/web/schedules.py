"""`/schedules`: what is started when, what was started last, and the three things a person does to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.drawing import frame
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.places import run_at
from vbl.drawing.status import badge
from vbl.drawing.tables import table
from vbl.drawing.times import countdown
from vbl.errors import NotFound
from vbl.history.narration import duration
from vbl.history.planning import wall
from vbl.web.desk import Desk, desk, renewed

if TYPE_CHECKING:
    from vbl.schedules import Schedule

_CALM = ("waiting", "running")


def schedules(request: Request) -> Response:
    """All schedules."""
    d = desk(request)
    return d.page("Schedules", renewed(f"{d.root}/schedules", _schedules(d)), here="schedules")


def _schedules(d: Desk) -> Markup:
    found, now = d.client.schedules(), d.client.now()
    head = frame.heading("Schedules")
    if not found:
        hint = tag("code", 'vbl schedules add FILE.py:workflow "0 9 * * 1-5"')
        return join([head, tag("p", "No schedules yet. Add one: ", hint, class_="empty")])
    rows = [_row(one, d, now) for one in found]
    heads = ("schedule", "starts", "plan", "status", "next", "last", "")
    return join([head, _missing(d, found), table(heads, rows, "Schedules")])


def _missing(d: Desk, found: Sequence[Schedule]) -> Markup | None:
    """What nobody will start, and what to type."""
    info = d.client.supervisor()
    if info is None:
        words = "No supervisor is alive; what comes due meanwhile is missed. "
        return tag("p", words, tag("code", "vbl up FILE.py"), class_="note")
    absent = sorted({one.workflow for one in found if one.workflow not in info.workflows})
    if not absent:
        return None
    return tag("p", f"The supervisor does not have {', '.join(absent)}. ", tag("code", "vbl up FILE.py"), class_="note")


def _row(one: Schedule, d: Desk, now: int) -> list[Child]:
    name = tag("a", one.name, href=run_at(d.root, one.run_id), class_="mono") if one.run_id else one.name
    return [
        name,
        one.workflow if one.workflow != one.name else "",
        tag("span", tag("code", one.cron), f" {one.tz}", class_="nowrap"),
        badge(str(one.status)) if one.status is not None and one.status not in _CALM else "",
        _next(one, now),
        _last(one, d.root, now),
        None if d.read_only else _buttons(one, d),
    ]


def _next(one: Schedule, now: int) -> Child:
    if one.next_at is None:
        return ""
    there, today = wall(one.next_at, one.tz), wall(now, one.tz)
    shown = there.strftime("%H:%M:%S" if there.date() == today.date() else "%a %Y-%m-%d %H:%M:%S").removesuffix(":00")
    return tag("span", shown, ", ", countdown(one.next_at, now), class_="nowrap")


def _last(one: Schedule, root: str, now: int) -> Child:
    told: list[tuple[int, Child]] = []
    if (fired := one.last_fire) is not None:
        run = tag("a", fired.run, href=run_at(root, fired.run), class_="mono") if fired.run else "a run"
        told.append((fired.at, join(["started ", run])))
    if (skipped := one.last_skip) is not None:
        times = f"{skipped.count} times, " if skipped.count > 1 else ""
        told.append((skipped.at, f"skipped, {times}{skipped.reason}"))
    if not told:
        return ""
    at, text = max(told, key=lambda one: one[0])
    return tag("span", text, f", {duration(now - at)} ago")


def _buttons(one: Schedule, d: Desk) -> Markup:
    """Each is a form: it works without a script. What each does is said before it is pressed."""
    over = ("unpause", "Go on", "Start it as planned again") if one.paused else ("pause", "Pause", "Start nothing more")
    now = ("run", "Run now", "Start a run now, beside the plan")
    return tag("div", (_button(one, d, *what) for what in (over, now)), class_="bar")


def _button(one: Schedule, d: Desk, action: str, words: str, title: str) -> Markup:
    return tag(
        "form",
        tag("input", type="hidden", name="csrf", value=d.csrf),
        tag("button", words, title=title, aria_label=f"{words}: {one.name}", disabled=action == "run" and one.paused),
        method="post",
        action=f"{d.root}/schedules/{quote(one.name, safe='')}/{action}",
    )


def change(request: Request) -> Response:
    """`POST /schedules/NAME/pause|unpause|run`. Raises NotFound, Conflict."""
    d = desk(request)
    schedule = d.client.one_schedule(request.path_params["name"])
    match request.path_params["action"]:
        case "pause":
            schedule.pause(by=d.actor)
        case "unpause":
            schedule.unpause(by=d.actor)
        case "run":
            schedule.run_now(by=d.actor)
        case other:
            raise NotFound(f"a schedule cannot {other}", "It can: pause, unpause, run")
    return d.redirect("/schedules")


routes = [
    Route("/schedules", schedules),
    Route("/schedules/{name:path}/{action}", change, methods=["POST"]),
]
