"""What people do to runs from their pages: cancel, pause, unpause, retry, signal, resolve.

Each is the method of the run's handle that the terminal calls too. Then the browser is sent back to where it came from;
what is refused comes back as a page that says why, with the buttons as they are now. Nothing is changed then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.drawing.actions import action_bar, free, signal_form, waits
from vbl.drawing.entries import ABSENT
from vbl.drawing.frame import heading
from vbl.drawing.inbox import doubt_card
from vbl.drawing.markup import Markup, join, tag
from vbl.drawing.places import run_at
from vbl.drawing.resolution import resolution
from vbl.errors import InvalidInput, UsageError, VblError
from vbl.handle import Run
from vbl.web.desk import Desk, desk, status_of
from vbl.web.inbox import sending

_OUTCOMES = ("happened", "did_not", "fail")


def _run(request: Request) -> tuple[Desk, Run]:
    d = desk(request)
    return d, d.client.run(request.path_params["ref"])


# The acts ------------------------------------------------------------------------------------------------------------


def cancel(request: Request) -> Response:
    """Ask for a cancel, with the time to clean up where it was typed."""
    within = desk(request).form.get("within", "").strip()
    return _done(request, lambda run, said: run.cancel(**said, within=_seconds(within) if within else None))


def pause(request: Request) -> Response:
    """Hold the run."""
    return _done(request, lambda run, said: run.pause(**said))


def unpause(request: Request) -> Response:
    """Let it go on."""
    return _done(request, lambda run, said: run.unpause(**said))


def retry(request: Request) -> Response:
    """Open it again, or try it again."""
    return _done(request, lambda run, said: run.retry(**said))


def _done(request: Request, act: Callable[[Run, dict[str, str | None]], object]) -> Response:
    d, run = _run(request)
    try:
        act(run, _said(d))
    except VblError as error:
        return _refused(d, run, error)
    return _back(d, run)


def _said(d: Desk) -> dict[str, str | None]:
    """Who does it, and why."""
    return {"by": d.form.get("as") or d.actor, "reason": d.form.get("reason") or None}


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no number of seconds", "For example 60") from None


def _back(d: Desk, run: Run) -> Response:
    """To the page that the browser came from, where that is one of this run; else to the run's."""
    home = run_at("", run.id)
    came = urlsplit(d.request.headers.get("referer", ""))
    same = came.netloc == d.request.headers.get("host") and came.path == f"{d.root}{home}"
    return d.redirect(f"{home}?{came.query}" if same and came.query else home)


def _refused(d: Desk, run: Run, error: VblError, more: Markup | None = None) -> Response:
    """Why it was refused, and what can be done now."""
    if d.partial:
        return d.problem(error)
    link = tag("p", tag("a", f"{run.workflow} {run.id}", href=run_at(d.root, run.id)))
    drawn = action_bar(run.sheet(), d.csrf, d.read_only, root=d.root, actor=d.actor, problem=error)
    main = join([heading("That did not work"), link, drawn, more])
    return d.page("That did not work", main, here="runs", run=run.id, status=status_of(error))


# Signals and outcomes ------------------------------------------------------------------------------------------------


def signal(request: Request) -> Response:
    """Send a message, with data by the type that the code waits for."""
    d, run = _run(request)
    name, key = d.form.get("name", ""), d.form.get("key") or None
    state = run.state()
    data, made = waits(state).get(name, free()).filled(d.form)
    if made.wrong:
        problem = InvalidInput(f"signal {name} was not sent: what is marked does not fit")
        back = run_at(d.root, run.id)
        again = signal_form(state, name, made, sending(d), key=key or "", actor=d.form.get("as"), back=back)
        return _refused(d, run, problem, again)
    plain = None if data is ABSENT else data
    return _done(request, lambda run, said: run.signal(name, plain, key=key, by=said["by"]))


def resolve(request: Request) -> Response:
    """Settle the step whose outcome nobody knows."""
    d, run = _run(request)
    outcome = request.query_params.get("outcome", "")
    if outcome not in _OUTCOMES:
        raise UsageError(f"outcome {outcome!r} is none", f"It is one of {', '.join(_OUTCOMES)}")
    state = run.state()
    result, said = resolution(state, d.actor).read(d.form)
    asks = (state.blocked or {}).get("reason") == "unknown_outcome"
    if outcome == "happened" and asks and said.result.wrong:
        return _doubt(d, run, doubt_card(state, d.client.now(), sending=sending(d), said=said, root=d.root), 422)
    told: dict[str, Any] = {"happened": result} if outcome == "happened" else {outcome: True}
    try:
        run.resolve(by=said.actor or d.actor, reason=said.reason or None, **told)
    except VblError as error:
        now = d.client.now()
        drawn = doubt_card(run.state(), now, sending=sending(d), said=said, problem=error, root=d.root)
        return _doubt(d, run, drawn, status_of(error)) if drawn else _refused(d, run, error)
    if not d.partial:
        return d.redirect(run_at("", run.id))
    told_text = f"settled: {outcome.replace('_', ' ')}"
    settled = tag("article", tag("p", told_text), id=f"q-{run.id}", class_="question panel", role="status")
    return d.fragment(join([settled, tag("div", told_text, id="said", hx_swap_oob="innerHTML")]))


def _doubt(d: Desk, run: Run, drawn: Markup, status: int) -> Response:
    if d.partial:
        return d.fragment(drawn, status)
    title = "Outcome unknown"
    return d.page(title, join([heading(title), drawn]), here="inbox", run=run.id, status=status)


ACTS = {"cancel": cancel, "pause": pause, "unpause": unpause, "retry": retry, "signal": signal, "resolve": resolve}
routes = [Route(f"/runs/{{ref}}/{name}", act, methods=["POST"]) for name, act in ACTS.items()]
