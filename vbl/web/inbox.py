"""The inbox, the page of one gate, and what people decide there.

A decision goes the same way as in the terminal: `client.approve`, `client.deny`, via "page". What can't be taken comes
back as the same card, with what was typed still in it and what is wrong beside it; then nothing was changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.drawing.decision import Answer, Foreseen, answer, foreseen
from vbl.drawing.forms import Sending
from vbl.drawing.frame import heading
from vbl.drawing.inbox import doubt_card, gate_card, inbox, only
from vbl.drawing.markup import Markup, join, tag
from vbl.drawing.places import gate_at, run_at
from vbl.errors import NotFound, VblError
from vbl.handle import Run
from vbl.history.gates import barred
from vbl.history.questions import Gate, Question
from vbl.history.state import RunState
from vbl.web.desk import Desk, desk, status_of
from vbl.web.values import whole

MOST = 50
"""Questions on a page; the next ones come up as these are settled."""


def page(request: Request) -> Response:
    """All that waits for a person, the oldest first."""
    d = desk(request)
    title = heading("Inbox", only(request.query_params.get("to"), d.actor, root=d.root))
    return d.page("Inbox", join([title, _list(request, d, _found(request, d))]), here="inbox")


def list_part(request: Request) -> Response:
    """The list as it is now; nothing where it is what the page shows already, for a busy file changes all the time."""
    d = desk(request)
    found = _found(request, d)
    if request.query_params.get("was") == found.stamp:
        return Response(status_code=204)
    return d.fragment(_list(request, d, found))


@dataclass(frozen=True, slots=True)
class _Found:
    """The questions, each with its run, and a stamp that changes with any of them."""

    asked: list[tuple[Question, Run]]
    more: bool
    stamp: str


def _found(request: Request, d: Desk) -> _Found:
    found = d.client.questions(to=request.query_params.get("to") or None, limit=MOST + 1)
    asked = [(one, d.client.run(one.run_id)) for one in found[:MOST]]
    text = repr([(one.kind, one.run_id, one.gate and one.gate.id, run.seq) for one, run in asked])
    return _Found(asked, len(found) > MOST, hashlib.sha256(text.encode()).hexdigest()[:16])


def _list(request: Request, d: Desk, found: _Found) -> Markup:
    to = request.query_params.get("to") or None
    cards = [card(d, question, run.seq, run.state) for question, run in found.asked]
    return inbox([one for one in cards if one], root=d.root, to=to, more=found.more, stamp=found.stamp)


def sending(d: Desk) -> Sending | None:
    """How this session sends a change; None where it may not."""
    return None if d.read_only else Sending(d.csrf, d.actor, d.root)


def card(d: Desk, question: Question, seq: int, state: Callable[[], RunState]) -> Markup:
    """One question, with its form; `state` reads that of its run after event `seq`, where it is needed."""
    now = d.client.now()
    gate = question.gate
    if gate is None:
        return doubt_card(state(), now, sending=sending(d), root=d.root)
    return gate_card(gate, now, sending=sending(d), told=_told(d, gate, now, seq, state), root=d.root)


def _told(d: Desk, gate: Gate, now: int, seq: int, state: Callable[[], RunState]) -> Foreseen | None:
    """What deciding an open gate would do, and whether it is for who sits here; told anew when an event has come or
    somebody has joined a group, and each time once its time is over, for then it says since when."""
    actor, groups = d.actor, d.client.groups

    def made() -> Foreseen | None:
        read = state()
        if gate.id not in read.open_gates:
            return None
        return foreseen(read, gate.id, now, barred(read, gate.id, actor, groups))

    if gate.expires_at is not None and now >= gate.expires_at:
        return made()
    return d.house.foreseen.get((gate.id, seq, actor, repr(groups)), made)


# Deciding ------------------------------------------------------------------------------------------------------------


def gate_page(request: Request) -> Response:
    """One gate, open or decided."""
    d = desk(request)
    gate = d.client.gate(request.path_params["gate"])
    if request.path_params["gate"] != gate.id:
        return d.redirect(gate_at("", gate.id))
    return _shown(d, gate, _card(d, gate))


def value(request: Request) -> Response:
    """One value that the gate is about, whole: what is shown, what was answered, an argument as it stands."""
    d = desk(request)
    gate = d.client.gate(request.path_params["gate"])
    of, name = request.query_params.get("of", ""), request.query_params.get("name", "")
    input: dict[str, Any] = (gate.call or {}).get("input") or {}
    found = {"show": gate.show, "data": gate.data, "argument": input.get(name)}
    if of not in found or (of == "argument" and name not in input):
        raise NotFound(f"gate {gate.id} has no {of} {name}".rstrip(), f"It has: {', '.join(found)}")
    query = urlencode({"of": of, **({"name": name} if name else {})})
    return whole(d, request, found[of], f"{gate_at(d.root, gate.id)}/value?{query}", f"{gate.id}-{of}")


def approve(request: Request) -> Response:
    """Approve what the gate asks, with what was typed."""
    d, gate, said = _asked(request)
    edit, data, said = said.read(d.form)
    seen = d.form.get("seen")
    stands = seen is None or seen == (gate.call or {}).get("digest")
    if said.wrong and stands and gate.status == "open":
        return _shown(d, gate, _card(d, gate, said), 422)
    return _decided(d, gate, said, lambda: d.client.approve(
        gate.id, by=said.actor, reason=said.reason or None, edit=edit, data=data, via="page", seen=seen,
    ))  # fmt: skip


def deny(request: Request) -> Response:
    """Deny what the gate asks; what was typed in its fields stays, and says nothing."""
    d, gate, said = _asked(request)
    _, _, said = said.read(d.form)
    return _decided(
        d, gate, said, lambda: d.client.deny(gate.id, by=said.actor, reason=said.reason or None, via="page")
    )


def _asked(request: Request) -> tuple[Desk, Gate, Answer]:
    d = desk(request)
    gate = d.client.gate(request.path_params["gate"])
    return d, gate, answer(gate, d.actor)


def _decided(d: Desk, gate: Gate, said: Answer, decide: Callable[[], Gate]) -> Response:
    """Decide, and show the gate as it stands then; where that is refused, say why in its card."""
    try:
        after = decide()
    except VblError as error:
        gate = d.client.gate(gate.id)
        if error.code == "call_changed":  # what was typed was about another call
            said = replace(answer(gate, said.actor), reason=said.reason)
        return _shown(d, gate, _card(d, gate, said, error), status_of(error))
    if not d.partial:
        return d.redirect(run_at("", gate.run_id))
    told = f"{after.name}: {'one more approval' if after.status == 'open' else after.status}"
    return d.fragment(join([_card(d, after), tag("div", told, id="said", hx_swap_oob="innerHTML")]))


def _card(d: Desk, gate: Gate, said: Answer | None = None, problem: VblError | None = None) -> Markup:
    now, run = d.client.now(), d.client.run(gate.run_id)
    told = _told(d, gate, now, run.seq, run.state)
    return gate_card(gate, now, sending=sending(d), said=said, told=told, problem=problem, root=d.root)


def _shown(d: Desk, gate: Gate, drawn: Markup, status: int = 200) -> Response:
    """A card alone, or a page of it."""
    if d.partial:
        return d.fragment(drawn, status)
    title = f"Gate {gate.name}"
    return d.page(title, join([heading(title), drawn]), here="inbox", run=gate.run_id, status=status)


routes = [
    Route("/inbox", page),
    Route("/inbox/questions", list_part),
    Route("/gates/{gate}", gate_page),
    Route("/gates/{gate}/value", value),
    Route("/gates/{gate}/approve", approve, methods=["POST"]),
    Route("/gates/{gate}/deny", deny, methods=["POST"]),
]
