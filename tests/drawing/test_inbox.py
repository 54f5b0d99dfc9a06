"""Cards of questions: they show what is asked, take an answer only where one can be given, and let nothing in."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drawing.test_forms import Browser
from tests.drawing.test_markup import Reader
from tests.history.hand import SECOND, History
from vbl.drawing.decision import EDITABLE, answer, foreseen
from vbl.drawing.forms import Sending
from vbl.drawing.inbox import doubt_card, gate_card, inbox, only
from vbl.drawing.markup import Markup
from vbl.errors import Conflict
from vbl.history.gates import call_digest, grant, standing
from vbl.history.questions import Gate, questions, view

SENDING = Sending("token", "me", "/root")
NASTY = "\"'><script>alert(1)</script></textarea></select>"
INPUT = {"to": "eve", "amount": 5}
CALL = {
    "step": "send",
    "input": INPUT,
    "version": "v1",
    "digest": call_digest("send", INPUT, "v1"),
    "parameters": {"to": {"type": "string"}, "amount": {"type": "integer"}, "rush": {"type": "boolean"}},
}


class Asked:
    """A run that waits at gate g."""

    def __init__(self, **request: Any) -> None:
        self.history = History(actor="starter").started()
        self.history.add("APPROVAL_REQUESTED", gate="g", key="send", name="send", **request)

    @property
    def gate(self) -> Gate:
        state = self.history.state()
        return view(state, state.gates["g"])

    def grant(self, actor: str, **said: Any) -> Asked:
        state = self.history.state()
        seen = standing(state.gates["g"]).digest
        for payload in grant(state, "g", actor, now=self.history.now, seen=seen, **said):
            self.history.add(payload.TYPE.value, 0, **payload.model_dump(mode="json", exclude={"v"}))
        return self

    def card(self, **more: Any) -> Markup:
        told = foreseen(self.history.state(), "g", self.history.now)
        return gate_card(self.gate, self.history.now, sending=SENDING, told=told, root="/root", **more)


def test_a_card_says_what_is_asked_of_whom_and_until_when() -> None:
    asked = Asked(call=CALL, show="look at this", to=["ada", "group:ops"], need=2, not_starter=True, on_timeout="deny")
    text = Reader(asked.card()).text
    for said in (
        "send",
        "eve",
        "look at this",
        "ada or group ops",
        "but not who started the run",
        "2 of them",
        "0 of 2",
    ):
        assert said in text
    late = Asked(expires_at=asked.history.now + 3_600 * SECOND, on_timeout="approve").card()
    assert f'data-until="{asked.history.now + 3_600 * SECOND}"' in late
    assert "which approves it" in Reader(late).text


def test_an_edit_shows_what_it_was_and_who_approved_what_stands() -> None:
    asked = Asked(call=CALL, edit=True, need=2).grant("ada", edit={"amount": 7}, reason="five is too little")
    text = Reader(asked.card()).text
    assert "1 of 2 have approved it as it stands" in text
    assert "was 5" in text
    assert "ada: five is too little" in text
    again = asked.grant("bob", edit={"amount": 9})
    assert "1 of 2 have approved it as it stands" in Reader(again.card()).text, "bob's edit is another call"
    assert [entry.text for _, form in answer(again.gate, "me").edits for entry in form.entries] == ["eve", "9", ""]


def test_only_an_open_gate_takes_an_answer_and_only_where_something_may_be_sent() -> None:
    asked = Asked(call=CALL, edit=True)
    assert "<form" in asked.card()
    assert "<form" not in gate_card(asked.gate, asked.history.now)
    decided = asked.grant("ada")
    assert "<form" not in decided.card()
    assert "granted" in decided.card()


def test_every_address_of_a_card_is_below_the_prefix() -> None:
    markup = Asked(call=CALL, edit=True).card()
    addresses = re.findall(r'(?:href|action|formaction|hx-(?:get|post))="([^"]*)"', markup)
    assert len(addresses) >= 5
    assert [one for one in addresses if not one.startswith("/root/")] == []
    assert "href" not in gate_card(Asked(call=CALL).gate, 0, links=False)


def test_no_id_of_a_strangers_file_leads_elsewhere() -> None:
    """A gate that is called like a path must not make its buttons post to another one."""
    history = History().started()
    history.add("APPROVAL_REQUESTED", gate="../runs/r_1/cancel?x=#", key="k", name="k", call=CALL, edit=True)
    state = history.state()
    (gate,) = [view(state, one) for one in state.gates.values()]
    markup = gate_card(gate, history.now, sending=SENDING, root="/root")
    addresses = re.findall(r'(?:action|formaction|hx-(?:get|post))="([^"]*)"', markup)
    assert {address.partition("/gates/")[2].partition("/")[0] for address in addresses} == {
        "..%2Fruns%2Fr_1%2Fcancel%3Fx%3D%23"
    }
    assert set(re.findall(r'hx-target="([^"]*)"', markup)) <= {"closest .question", "closest .payload"}


def test_what_is_to_be_typed_is_quoted() -> None:
    history = History().started()
    large = {**CALL, "input": {**INPUT, "to": "x" * EDITABLE}}
    history.add("APPROVAL_REQUESTED", gate="g; rm -rf ~", key="k", name="k", call=large, edit=True)
    state = history.state()
    (gate,) = [view(state, one) for one in state.gates.values()]
    assert "vbl approve 'g; rm -rf ~' --editor" in html.unescape(gate_card(gate, history.now, sending=SENDING))


def test_what_an_answer_would_do_stands_beside_its_button() -> None:
    markup = Asked(call=CALL).card()
    for verdict in ("approve", "deny"):
        assert f'aria-describedby="q-g-{verdict}-then"' in markup
        assert f'id="q-g-{verdict}-then"' in markup


def test_a_refused_answer_keeps_what_was_typed_and_is_left_alone_by_redraws() -> None:
    asked = Asked(call=CALL, edit=True)
    sent = Browser(asked.card()).sent | {"as": "bob", "reason": NASTY, "edit1.number": NASTY}
    edit, _, said = answer(asked.gate, "me").read(sent)
    assert (edit, said.wrong) == (None, True)
    markup = asked.card(said=said, problem=Conflict("it is too late", "Look"))
    values = Browser(markup).values
    assert (values["as"], values["reason"], values["edit1.number"]) == ("bob", NASTY, NASTY)
    assert "data-keep" in markup
    assert re.search(r"<details open", markup), "what is wrong is not folded away"
    assert "data-keep" not in asked.card()
    assert "open" not in re.findall(r"<details[^>]*>", asked.card())[0]


def test_untouched_arguments_are_no_edit_and_a_default_may_be_given() -> None:
    gate = Asked(call=CALL, edit=True).gate
    sent = Browser(Asked(call=CALL, edit=True).card()).sent
    assert answer(gate, "me").read(sent)[0] is None
    (rush,) = [name for name in sent if name.startswith("edit2")]
    assert answer(gate, "me").read(sent | {rush: "true"})[0] == {"rush": True}


@given(st.text(max_size=20), st.text(max_size=20))
def test_nothing_that_was_recorded_becomes_markup(name: str, text: str) -> None:
    name = f"{name}{NASTY}"
    call = {**CALL, "step": name, "input": {name: text}, "parameters": {name: {"type": "string", "description": name}}}
    asked = Asked(call=call, show={name: text}, edit=True, to=[name], problem=name, json_schema={"enum": [name]})
    asked.history.add("DECISION_REFUSED", gate="g", actor=name, decision="approve", why=name)
    read = Reader(asked.card())
    assert not {tag for tag, _ in read.elements} & {"script", "iframe", "img", "object"}
    assert not [at for _, attributes in read.elements for at in attributes if at.startswith("on") or at == "style"]


def lost(**more: Any) -> History:
    history = History().started().step("pay", effect="write", input={"amount": 7})
    history.add("STEP_INTERRUPTED", step="pay", attempt=1, epoch=2)
    about = {"reason": "unknown_outcome", "version": "v1", "message": "nobody knows", "unblock": "!"}
    return history.add("RUN_BLOCKED", step="pay", **about, **more)


def test_an_unknown_outcome_has_three_answers_that_say_what_they_do() -> None:
    history = lost(json_schema={"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]})
    markup = doubt_card(history.state(), history.now, sending=SENDING, root="/root")
    text = Reader(markup).text
    for said in ("nobody knows", "amount", "pay is not run again", "step pay is run again as attempt 2", "result.id"):
        assert said in text
    outcomes = re.findall(r'formaction="/root/runs/r_\w+/resolve\?outcome=(\w+)"', markup)
    assert outcomes == ["happened", "did_not", "fail"]
    assert "<form" not in doubt_card(history.state(), history.now)
    assert doubt_card(History().started().state(), 0) == ""


def test_a_step_that_returns_nothing_needs_no_result() -> None:
    history = lost(json_schema={"type": "null"})
    read = Browser(doubt_card(history.state(), history.now, sending=SENDING))
    (name,) = [name for name in read.values if name.startswith("result")]
    assert read.values[name] == ""
    assert " required" not in doubt_card(history.state(), history.now, sending=SENDING)


def test_the_questions_of_a_run_are_its_open_gates_and_its_doubt() -> None:
    asked = Asked(call=CALL)
    assert [(one.kind, one.gate and one.gate.id) for one in questions(asked.history.state())] == [("gate", "g")]
    assert [(one.kind, one.step) for one in questions(lost().state())] == [("unknown_outcome", "pay")]
    assert questions(asked.grant("ada").history.state()) == []


@pytest.mark.parametrize("to", [None, "ada", 'a&b="'])
def test_the_list_renews_itself_for_whom_it_was_narrowed(to: str | None) -> None:
    markup = inbox([], root="/root", to=to)
    assert "Nothing waits for a person" in markup
    (address,) = re.findall(r'hx-get="([^"]*)"', markup)
    assert address == {None: "/root/inbox/questions", "ada": "/root/inbox/questions?to=ada"}.get(
        to, "/root/inbox/questions?to=a%26b%3D%22"
    )
    assert Reader(only(to, "me", root="/root")).text == f"everythingfor {to or 'me'}"


def test_a_vote_that_edited_says_so_apart_from_its_reason() -> None:
    asked = Asked(call=CALL, edit=True).grant("ada", edit={"to": "bob"}, reason="he moved")
    assert "ada: he moved · edited " in " ".join(Reader(asked.card()).text.split())
