"""Who may decide a gate, when, and what a grant covers: decided from the state alone."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.history.hand import SECOND, START, History
from vbl.errors import Conflict, InvalidInput, NotEntitled, NotFound, UsageError
from vbl.history.events import ApprovalGranted, Payload
from vbl.history.gates import barred, call_digest, deny, grant, person, refusal, sentence, standing
from vbl.history.state import RunState, Status

CALL = {
    "step": "send",
    "input": {"to": "eve", "amount": 5},
    "version": "v1",
    "digest": call_digest("send", {"to": "eve", "amount": 5}, "v1"),
    "parameters": {"to": {"type": "string"}, "amount": {"type": "integer", "minimum": 0}},
}
GROUPS = {"ops": ["ada", "bob"], "fin": ["eve"]}


class Asked:
    """A run that waits at gate g, and what people say there."""

    def __init__(self, **request: Any) -> None:
        self.history = History(actor="starter").started()
        self.history.add("APPROVAL_REQUESTED", gate="g", key="send", name="send", **request)

    @property
    def state(self) -> RunState:
        return self.history.state()

    def takes(self, payloads: list[Payload]) -> ApprovalGranted:
        for payload in payloads:
            self.history.add(payload.TYPE.value, 0, **payload.model_dump(mode="json", exclude={"v"}))
        (only,) = payloads
        assert isinstance(only, ApprovalGranted)
        return only

    def grant(self, actor: str = "ada", at: float = 0, **said: Any) -> ApprovalGranted:
        now = self.history.now + round(at * SECOND)
        return self.takes(grant(self.state, "g", actor, now=now, groups=GROUPS, **said))

    def deny(self, actor: str = "ada", **said: Any) -> None:
        (payload,) = deny(self.state, "g", actor, now=self.history.now, groups=GROUPS, **said)
        self.history.add(payload.TYPE.value, 0, **payload.model_dump(mode="json", exclude={"v"}))


def test_a_grant_ends_the_gate_and_says_who_and_why() -> None:
    asked = Asked()
    said = asked.grant("ada", reason="read it", via="terminal")
    assert (said.actor, said.reason, said.via, said.final) == ("ada", "read it", "terminal", True)
    assert asked.state.gates["g"].status == "granted"
    assert asked.state.status is Status.RUNNING


def test_the_second_decider_is_told_who_was_first_and_when() -> None:
    asked = Asked()
    asked.grant("ada")
    with pytest.raises(Conflict, match="was granted by ada, 3 min ago") as refused:
        asked.grant("bob", at=180)
    assert refused.value.code == "already_decided"
    denied = Asked()
    denied.deny("eve")
    with pytest.raises(Conflict, match="was denied by eve"):
        denied.grant("bob")


def test_a_gate_that_there_is_not_is_not_found() -> None:
    with pytest.raises(NotFound) as refused:
        grant(Asked().state, "other", "ada", now=START)
    assert refused.value.code == "gate_not_found"


def test_a_closed_gate_cannot_be_decided() -> None:
    asked = Asked()
    asked.history.add("APPROVAL_CLOSED", gate="g")
    with pytest.raises(Conflict, match="no longer waits for it") as refused:
        asked.grant()
    assert refused.value.code == "gate_closed"


def test_the_gate_of_a_finished_run_is_closed() -> None:
    asked = Asked()
    asked.history.add("RUN_CANCELLED")
    with pytest.raises(Conflict, match="is cancelled") as refused:
        asked.deny()
    assert refused.value.code == "gate_closed"


@pytest.mark.parametrize("recorded", [False, True])
def test_after_its_time_a_gate_cannot_be_decided_whether_that_is_recorded_or_not(recorded: bool) -> None:
    asked = Asked(expires_at=START + 60 * SECOND)
    if recorded:
        asked.history.add("APPROVAL_EXPIRED", 60, gate="g", outcome="deny")
    with pytest.raises(Conflict) as refused:
        asked.grant(at=0 if recorded else 60)
    assert refused.value.code == "gate_expired"
    early = Asked(expires_at=START + 60 * SECOND)
    assert early.grant(at=59.9).final


# Who -----------------------------------------------------------------------------------------------------------------


def test_where_nobody_is_named_anybody_may_decide() -> None:
    assert Asked().grant("a stranger").member_of is None


@pytest.mark.parametrize(("actor", "group"), [("carl", None), ("ada", "ops"), ("bob", "ops")])
def test_the_named_and_members_of_named_groups_may_decide(actor: str, group: str | None) -> None:
    assert Asked(to=["carl", "group:ops"]).grant(actor).member_of == group


@pytest.mark.parametrize("actor", ["eve", "", "group:ops", "CARL", "ops"])
def test_nobody_else_may(actor: str) -> None:
    asked = Asked(to=["carl", "group:ops"])
    for decide in (asked.grant, asked.deny):
        with pytest.raises(NotEntitled, match="asks carl, group:ops"):
            decide(actor)


def test_a_group_that_nobody_here_is_in_says_so() -> None:
    asked = Asked(to=["group:legal"])
    with pytest.raises(NotEntitled, match="group legal has no members here") as refused:
        asked.grant("ada")
    assert "VBL_GROUPS='legal=" in refused.value.hint


def test_who_started_the_run_may_be_barred() -> None:
    asked = Asked(not_starter=True)
    for decide in (asked.grant, asked.deny):
        with pytest.raises(NotEntitled, match="starter started run"):
            decide("starter")
    assert asked.grant("ada").final


def test_somebody_who_is_escalated_to_may_decide_too() -> None:
    asked = Asked(to=["carl"], escalate=[{"at": START + SECOND, "to": ["zoe"]}])
    with pytest.raises(NotEntitled):
        asked.grant("zoe")
    asked.history.add("APPROVAL_ESCALATED", 1, gate="g", to=["zoe"])
    assert asked.grant("zoe").final


def test_a_refusal_is_an_event_that_says_why() -> None:
    asked = Asked(to=["carl"])
    with pytest.raises(NotEntitled) as refused:
        asked.grant("eve")
    payload = refusal("g", "eve", "approve", refused.value, "terminal")
    assert payload["why"] == refused.value.message
    asked.history.add("DECISION_REFUSED", **payload.model_dump(exclude={"v"}))
    assert asked.state.gates["g"].status == "open"
    assert [one["actor"] for one in asked.state.gates["g"].refused] == ["eve"]


# How many ------------------------------------------------------------------------------------------------------------


def test_a_quorum_needs_so_many_people() -> None:
    asked = Asked(need=2)
    assert not asked.grant("ada").final
    assert asked.state.gates["g"].status == "open"
    with pytest.raises(NotEntitled, match=r"ada has approved .* 1 of 2 have approved"):
        asked.grant("ada")
    assert asked.grant("bob").final
    assert asked.state.gates["g"].status == "granted"


def test_one_denial_ends_a_quorum_also_by_who_had_approved() -> None:
    asked = Asked(need=3)
    asked.grant("ada")
    asked.deny("ada", reason="on second thoughts")
    assert asked.state.gates["g"].status == "denied"


def test_an_edit_makes_another_call_which_the_others_have_not_approved() -> None:
    asked = Asked(need=2, edit=True, call=CALL)
    assert not asked.grant("ada").final
    assert not asked.grant("bob", edit={"amount": 3}).final  # two people, but not for the same call
    assert standing(asked.state.gates["g"]).voters == ("bob",)
    last = asked.grant("ada")
    assert last.final
    assert last.input == {"to": "eve", "amount": 3}
    assert last.edit == {"amount": 3}
    assert last.digest == call_digest("send", {"to": "eve", "amount": 3}, "v1")


def test_other_data_is_another_answer() -> None:
    asked = Asked(need=2, json_schema={"type": "integer"})
    assert not asked.grant("ada", data=1).final
    assert not asked.grant("bob", data=2).final
    last = asked.grant("carl")  # what stands is what the last one said
    assert (last.final, last.data) == (True, 2)


# What ----------------------------------------------------------------------------------------------------------------


def test_an_edit_is_fitted_and_bound_by_a_new_digest() -> None:
    said = Asked(edit=True, call=CALL).grant("ada", edit={"amount": "7"})
    assert said.edit == {"amount": 7}
    assert said.input == {"to": "eve", "amount": 7}
    assert said.digest == call_digest("send", {"to": "eve", "amount": 7}, "v1") != CALL["digest"]


def test_an_edit_that_changes_nothing_is_none() -> None:
    said = Asked(edit=True, call=CALL).grant("ada", edit={"amount": 5, "to": "eve"})
    assert (said.edit, said.input, said.digest) == (None, None, None)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"amount": -1}, "parameter amount"),
        ({"amount": "much"}, "parameter amount"),
        ({"sum": 1}, "no parameter 'sum'"),
    ],
    ids=str,
)
def test_an_edit_that_does_not_fit_is_refused(edit: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Asked(edit=True, call=CALL).grant("ada", edit=edit)


@pytest.mark.parametrize("request_", [{"call": CALL}, {}], ids=["a call", "no call"])
def test_an_edit_that_was_not_offered_is_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="takes no edit"):
        Asked(**request_).grant("ada", edit={"amount": 1})


def test_data_that_is_asked_for_has_to_come_and_to_fit() -> None:
    asked = Asked(json_schema=TypeAdapter(dict[str, int]).json_schema())
    with pytest.raises(InvalidInput, match="asks for data, and there is none"):
        asked.grant("ada")
    with pytest.raises(InvalidInput, match="the data does not fit"):
        asked.grant("ada", data={"a": "x"})
    assert asked.grant("ada", data={"a": "3"}).data == {"a": 3}
    assert Asked(json_schema={"type": "integer"}).state.open_gates
    Asked(json_schema={"type": "integer"}).deny("ada")  # who denies gives none


def test_nothing_is_an_answer_where_the_schema_takes_it() -> None:
    assert Asked(json_schema=TypeAdapter(int | None).json_schema()).grant("ada").data is None


def test_data_that_is_not_asked_for_is_refused() -> None:
    with pytest.raises(InvalidInput, match="asks for no data"):
        Asked().grant("ada", data=1)


def test_a_link_is_good_for_one_vote() -> None:
    asked = Asked(need=3, edit=True, call=CALL)
    asked.grant("ada", link="n1")
    asked.grant("bob", edit={"amount": 1})
    with pytest.raises(Conflict) as refused:
        asked.grant("ada", link="n1")
    assert refused.value.code == "link_used"


def test_a_digest_knows_every_part_and_not_the_order() -> None:
    digest = call_digest("s", {"a": 1, "b": [1, {"c": None}]}, "v")
    assert len(digest) == 32
    assert digest == call_digest("s", {"b": [1, {"c": None}], "a": 1}, "v")
    others = [("t", {"a": 1}, "v"), ("s", {"a": 1}, "v"), ("s", {"a": True}, "v"), ("s", {"a": "1"}, "v")]
    assert len({digest, *(call_digest(*other) for other in others)}) == 5


def test_a_gate_in_a_sentence() -> None:
    assert sentence(Asked(call=CALL).state.gates["g"]) == 'send(to="eve", amount=5)'
    assert sentence(Asked(show="A letter").state.gates["g"]) == "send: A letter"
    assert sentence(Asked().state.gates["g"]) == "send"


@pytest.mark.parametrize("name", ["", " ", "group:ops", "a\nb", None, 3, "\x1b[2J"], ids=ascii)
def test_a_decision_needs_a_persons_name(name: Any) -> None:
    with pytest.raises(UsageError, match="names nobody"):
        person(name)


def test_who_is_barred_is_told_why() -> None:
    asked = Asked(to=["carl", "group:ops"], need=2, not_starter=True)
    assert [barred(asked.state, "g", who, GROUPS) for who in ("carl", "ada")] == [None, None]
    assert "not eve" in (barred(asked.state, "g", "eve", GROUPS) or "")
    assert "somebody else" in (barred(asked.state, "g", "starter", GROUPS) or "")
    asked.grant("ada")
    assert "has approved it as it stands" in (barred(asked.state, "g", "ada", GROUPS) or "")


def test_an_approval_covers_the_call_that_was_looked_at() -> None:
    """Who approves behind an edit that he has not seen would approve something else than he read."""
    asked = Asked(call=CALL, edit=True, need=2)
    seen = CALL["digest"]
    asked.grant("ada", edit={"amount": 7}, seen=seen)
    with pytest.raises(Conflict, match="was changed by ada since you looked") as refused:
        asked.grant("bob", seen=seen)
    assert refused.value.code == "call_changed"
    assert asked.grant("bob", seen=standing(asked.state.gates["g"]).digest).final
