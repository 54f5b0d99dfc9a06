"""What waits for a person, as cards: a gate with what is asked of whom on which information, a step whose outcome
nobody knows, and the list of them.

A gate's card is the same in the inbox, on the page of its run and in a notebook; without `sending` it shows and takes
no answer. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from vbl.drawing.decision import Answer, Foreseen, answer, decision_form
from vbl.drawing.forms import Sending
from vbl.drawing.frame import refusal
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.payload import payload
from vbl.drawing.places import gate_at, run_at
from vbl.drawing.resolution import Resolution, resolution, resolution_form
from vbl.drawing.status import gate_badge
from vbl.drawing.times import clock, countdown
from vbl.errors import VblError
from vbl.history.narration import EXPIRY, duration, people
from vbl.history.questions import Gate, Question, doubt
from vbl.history.state import RunState


def gate_card(
    gate: Gate,
    now: int,
    *,
    sending: Sending | None = None,
    said: Answer | None = None,
    told: Foreseen | None = None,
    problem: VblError | None = None,
    root: str = "",
    links: bool = True,
) -> Markup:
    """One gate in full at the instant `now`. `said` is an answer that came back and could not be taken, because of
    `problem` or of what is wrong in it; `told` what deciding would do; `links` whether there is a page of its run."""
    asks = gate.status == "open" and sending is not None
    form = decision_form(gate, said or answer(gate, sending.actor), sending, told) if asks and sending else None
    return tag(
        "article",
        _head(gate, now, root, links),
        refusal(problem) if problem is not None else None,
        _asked_again(gate),
        _information(gate, gate_at(root, gate.id) + "/value" if links else None),
        _people(gate, now),
        form,
        id=f"q-{gate.id}",
        class_=f"question panel {gate.status}",
        aria_labelledby=f"q-{gate.id}-asks",
        data_row=True,
        data_gate=gate.id,
        data_keep=bool(problem is not None or said is not None) and asks,
    )


def _head(gate: Gate, now: int, root: str, links: bool) -> Markup:
    name: Child = tag("a", gate.name, href=run_at(root, gate.run_id), data_open=True) if links else gate.name
    of = tag("span", f"{gate.workflow} ", tag("code", gate.run_id), class_="dim")
    return _line(
        tag("h2", name, id=f"q-{gate.id}-asks"),
        gate_badge(gate.status),
        of,
        _since("asked", gate.requested_at, now),
        _left(gate, now),
    )


def _line(heading: Markup, *parts: Markup | None) -> Markup:
    """The first line of a card, which reads as a sentence without any styles too."""
    return tag("header", heading, [(tag("span", " · ", class_="sep"), part) for part in parts if part is not None])


def _since(what: str, at: int, now: int) -> Markup:
    ago = tag("span", duration(now - at), data_since=at)
    return tag("span", f"{what} ", clock(at, now), ", ", ago, " ago", class_="dim")


def _left(gate: Gate, now: int) -> Markup | None:
    """How long there is to decide, and what happens then."""
    if gate.expires_at is None or gate.status != "open":
        return None
    end = EXPIRY.get(gate.on_timeout)
    what = f", which {end}" if end else ""
    left = countdown(gate.expires_at, now)
    return tag("span", "time ends ", left, what, class_="left warn")


def _asked_again(gate: Gate) -> Markup | None:
    return tag("p", f"asked again: {gate.problem}", class_="note") if gate.problem else None


def _information(gate: Gate, address: str | None) -> Markup | None:
    """What the decision is about: the call with its arguments, and what is shown; `address` gives what is large."""
    parts: list[Child] = []
    if gate.call is not None:
        parts.append(_fact("call", [tag("code", gate.call["step"]), _arguments(gate, address)]))
    if gate.show is not None:
        parts.append(_fact("shown", payload(gate.show, whole=address and f"{address}?of=show")))
    if gate.data is not None and gate.status != "open":
        parts.append(_fact("answered", payload(gate.data, whole=address and f"{address}?of=data")))
    return tag("dl", parts, class_="asked") if parts else None


def _arguments(gate: Gate, address: str | None) -> Markup:
    """Each argument as it stands; beside one that was edited, what it was."""
    call: dict[str, Any] = gate.call or {}
    asked: dict[str, Any] = (gate.asked or {}).get("input") or {}
    input: dict[str, Any] = call.get("input") or {}
    rows: list[Child] = []
    for name, value in input.items():
        was = tag("div", "was ", payload(asked[name]), class_="was dim") if _edited(asked, name, value) else None
        whole = address and f"{address}?{urlencode({'of': 'argument', 'name': name})}"
        rows.append(tag("div", tag("dt", name, class_="mono"), tag("dd", payload(value, whole=whole), was)))
    return tag("dl", rows, class_="arguments")


def _edited(asked: dict[str, Any], name: str, value: Any) -> bool:
    return name in asked and asked[name] != value


def _fact(name: str, value: Child) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value))


def _people(gate: Gate, now: int) -> Markup:
    """Who is asked, and what they have said so far."""
    barred = ", but not who started the run" if gate.not_starter else ""
    need = f"; {gate.need} of them have to approve" if gate.need > 1 else ""
    rows: list[Child] = [_fact("asks", f"{people(gate.to)}{barred}{need}")]
    if gate.need > 1 and gate.status == "open":
        rows.append(_fact("so far", f"{len(gate.agreed)} of {gate.need} have approved it as it stands"))
    coming = next((one for one in gate.escalate if one["at"] > now), None) if gate.status == "open" else None
    if coming is not None:
        rows.append(_fact("escalates", [f"to {people(coming['to'])} ", countdown(coming["at"], now)]))
    rows += [_fact("approved", _vote(vote)) for vote in gate.votes]
    rows += [_fact("refused", f"{one['decision']} by {one['actor']}: {one['why']}") for one in gate.refused]
    if gate.decided_at is not None and gate.status != "granted":
        why = f": {gate.reason}" if gate.reason else ""
        rows.append(_fact(gate.status, [f"by {gate.decided_by or 'time'}, ", clock(gate.decided_at, now), why]))
    return tag("dl", rows, class_="people")


def _vote(vote: dict[str, Any]) -> list[Child]:
    parts: list[Child] = [tag("b", vote["actor"])]
    for field, before in (("member_of", " of group "), ("via", " from "), ("reason", ": ")):
        if vote.get(field):
            parts.append(f"{before}{vote[field]}")
    if vote.get("edit"):
        parts += [" · edited ", payload(vote["edit"])]
    if vote.get("data") is not None:
        parts += [" · gave ", payload(vote["data"])]
    return parts


def doubt_card(
    state: RunState,
    now: int,
    *,
    sending: Sending | None = None,
    said: Resolution | None = None,
    problem: VblError | None = None,
    root: str = "",
) -> Markup:
    """The step whose unknown outcome blocks the run, and the three things that may be said of it. Draws nothing where
    there is none."""
    asked = doubt(state)
    if asked is None:
        return join([])
    name = tag("a", asked.step, href=run_at(root, state.run_id), data_open=True)
    id = f"q-{state.run_id}"
    status = tag("span", tag("span", "■", class_="sign", aria_hidden="true"), " outcome unknown", class_="status bad")
    of = tag("span", f"{state.workflow} ", tag("code", state.run_id), class_="dim")
    form = None
    if sending is not None:
        form = resolution_form(state, said or resolution(state, sending.actor), sending, now)
    return tag(
        "article",
        _line(tag("h2", name, id=f"{id}-asks"), status, of, _since("since", state.at, now)),
        refusal(problem) if problem is not None else None,
        tag("dl", _known(state, asked, now, root), class_="asked"),
        form,
        id=id,
        class_="question panel doubt",
        aria_labelledby=f"{id}-asks",
        data_row=True,
        data_keep=(problem is not None or said is not None) and sending is not None,
    )


def _known(state: RunState, asked: Question, now: int, root: str) -> list[Child]:
    """What is known of the step in doubt."""
    about: list[Child] = [_fact("what is known", asked.detail)]
    step = state.steps.get(asked.step or "")
    if step is not None:
        whole = f"{run_at(root, state.run_id)}/events/{step.asked_seq}/value?of=input"
        about.append(_fact("called with", payload(step.input, whole=whole)))
        about.append(_fact("attempt", [f"{step.attempt}, begun ", clock(step.started_at, now)]))
        about.append(_fact("idempotency key", tag("code", step.idempotency_key)) if step.idempotency_key else None)
    return about


def only(to: str | None, actor: str, *, root: str = "") -> Markup:
    """The choice between all questions and those that one person may decide: `to`, or whoever looks at the page."""
    who = to or actor
    links = [("everything", f"{root}/inbox", to is None), (f"for {who}", _for(root, who), to is not None)]
    drawn = [tag("a", word, href=href, class_="chip", aria_current="true" if on else None) for word, href, on in links]
    return tag("nav", drawn, class_="chips", aria_label="Whose questions")


def _for(root: str, who: str | None, part: str = "", **more: str) -> str:
    query = urlencode({**({"to": who} if who else {}), **more})
    return f"{root}/inbox{part}" + (f"?{query}" if query else "")


def inbox(
    cards: Sequence[Markup], *, root: str = "", to: str | None = None, more: bool = False, stamp: str = ""
) -> Markup:
    """The list of what waits, the oldest first; it renews itself. `to`: for whom it was narrowed; `more`: there is more
    than is shown; `stamp` goes back with the question whether anything has changed."""
    empty = tag(
        "div",
        tag("p", "Nothing waits for a person."),
        tag("p", "Gates (", tag("code", "vbl.approve"), ") and writes whose outcome nobody knows appear here."),
        class_="empty",
    )
    rest = tag("p", "There is more; it comes up as these are settled.", class_="dim") if more else None
    return tag(
        "section",
        join(cards) if cards else empty,
        rest,
        id="questions",
        class_="questions",
        aria_label="What waits for a person",
        hx_get=_for(root, to, "/questions", **({"was": stamp} if stamp else {})),
        hx_trigger="vbl:changed from:body",
        hx_swap="outerMorph",
    )
