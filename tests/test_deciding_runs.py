"""Deciding about runs that a supervisor holds: what was decided is what the code gets and what runs; what is refused
changes nothing in the history but for the trace of who tried."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

import vbl
from vbl.engine.definitions import REGISTRY
from vbl.errors import Conflict, InvalidInput, KeyTaken, NotEntitled, NotFound, UsageError, VblError
from vbl.handle import Run
from vbl.history.gates import call_digest
from vbl.testing import Trial


class Payment(BaseModel):
    """What an answer has to look like."""

    amount: int = Field(gt=0)
    note: str = ""


@vbl.step
async def pay(amount: int, to: str) -> str:
    return f"{amount} to {to}"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workflows and people of this test alone."""
    monkeypatch.delenv("VBL_GROUPS", raising=False)
    monkeypatch.setenv("VBL_ACTOR", "starter")
    monkeypatch.setenv("VBL_LINK_KEY", "a long enough key for links")
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with Trial(tmp_path / "trial.db") as made:
        yield made


def asked(trial: Trial, **options: Any) -> tuple[Run, str]:
    """A run that waits for a decision by its name, and the id of the gate."""

    @vbl.workflow(name="asks")
    async def asks() -> Any:
        gate = await vbl.approve("ask", **options)
        return [gate.approved, gate.by, None if gate.data is None else gate.data.model_dump()]

    return _waiting(trial, asks)


def called(trial: Trial, **options: Any) -> tuple[Run, str]:
    """A run that waits for a decision about a call."""

    @vbl.workflow(name="pays")
    async def pays() -> str:
        gate = await vbl.approve(pay.call(5, "bob"), **options)
        return await gate.run() if gate.approved else "denied"

    return _waiting(trial, pays)


def _waiting(trial: Trial, workflow: Any) -> tuple[Run, str]:
    run = trial.start(workflow)
    trial.settle()
    assert run.status == "waiting_for_approval", run.state().blocked or run.state().error
    return run, trial.gates(run=run)[0].id


@contextlib.contextmanager
def refused(
    run: Run, error: type[VblError], code: str, match: str | None = None, trace: int = 0
) -> Iterator[pytest.ExceptionInfo[VblError]]:
    """What is done within is refused with that error; the history gets so many traces of it, and nothing else."""
    before = run.facts()
    with pytest.raises(error, match=match) as info:
        yield info
    assert type(info.value) is error
    assert (info.value.code, bool(info.value.hint)) == (code, True)
    after = run.facts()
    assert after[: len(before)] == before
    assert [fact.type for fact in after[len(before) :]] == ["DECISION_REFUSED"] * trace


def votes(run: Run) -> list[dict[str, Any]]:
    return [fact.payload for fact in run.facts() if fact.type == "APPROVAL_GRANTED"]


# When -------------------------------------------------------------------------------------------------------------


def test_a_decision_is_durable_with_nobody_alive_and_acted_on_later(trial: Trial) -> None:
    run, id = called(trial, to="ada")
    trial.kill()
    gate = trial.approve(trial.gate(id), by="ada", reason="read it", via="mail")
    assert (gate.status, gate.decided_by, gate.reason) == ("granted", "ada", "read it")
    trial.up()
    assert run.result() == "5 to bob"


@pytest.mark.parametrize("status", ["granted", "denied"])
def test_the_second_decision_is_told_who_was_first_and_when(trial: Trial, status: str) -> None:
    run, id = asked(trial)
    first = trial.approve if status == "granted" else trial.deny
    first(id, by="ada")
    assert run.result()[:2] == [status == "granted", "ada"]
    trial.clock.advance(180)
    for again in (trial.approve, trial.deny):
        with refused(run, Conflict, "already_decided", rf"{status} by ada, 3 min ago"):
            again(id, by="bob")


@pytest.mark.parametrize("recorded", [True, False])
def test_a_gate_whose_time_is_over_is_decided_no_more(trial: Trial, recorded: bool) -> None:
    run, id = asked(trial, timeout=60)
    link = trial.link(id, "approve", by="ada")
    if not recorded:
        trial.kill()
    trial.clock.advance(60)
    trial.settle()
    assert trial.gate(id).status == ("expired" if recorded else "open")
    for decide in (trial.approve, trial.deny):
        with refused(run, Conflict, "gate_expired"):
            decide(id, by="ada")
    with refused(run, Conflict, "gate_expired"):
        trial.decide(link)


def test_the_gates_of_a_finished_run_are_closed(trial: Trial) -> None:
    run, id = asked(trial)
    run.cancel(by="ada")
    trial.settle()
    for decide in (trial.approve, trial.deny):
        with refused(run, Conflict, "gate_closed", "cancelled"):
            decide(id, by="ada")


# Who --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "  ", "group:ops", "a\nb", "\x1b[2J", 7])
def test_a_decision_is_by_somebody(trial: Trial, name: Any) -> None:
    run, id = asked(trial)
    for decide in (trial.approve, trial.deny):
        with refused(run, UsageError, "usage", "names nobody"):
            decide(id, by=name)


def test_who_was_not_asked_is_refused_and_the_run_waits_on(trial: Trial) -> None:
    run, id = asked(trial, to=["ada", "bob"])
    for decide in (trial.approve, trial.deny):
        with refused(run, NotEntitled, "not_entitled", "asks ada, bob, not eve", trace=1):
            decide(id, by="eve", via="mail")
    trial.settle()
    assert run.status == "waiting_for_approval"
    assert [(r["actor"], r["decision"], r["via"]) for r in trial.gate(id).refused] == [
        ("eve", "approve", "mail"),
        ("eve", "deny", "mail"),
    ]
    trial.approve(id, by="bob")
    assert run.result() == [True, "bob", None]


def test_who_started_the_run_may_be_barred(trial: Trial) -> None:
    run, id = asked(trial, not_starter=True)
    for decide in (trial.approve, trial.deny):
        with refused(run, NotEntitled, "not_entitled", "starter started", trace=1):
            decide(id)
    trial.approve(id, by="ada")
    assert run.result() == [True, "ada", None]


def test_a_group_is_who_is_in_it_where_the_decision_is_made(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    run, id = asked(trial, to="group:ops", need=2)
    with refused(run, NotEntitled, "not_entitled", "group ops has no members here", trace=1) as info:
        trial.approve(id, by="bob")
    assert "VBL_GROUPS" in info.value.hint
    monkeypatch.setenv("VBL_GROUPS", "ops=ada, bob;fin=eve")
    with refused(run, NotEntitled, "not_entitled", "asks group:ops, not eve", trace=1):
        trial.approve(id, by="eve")
    trial.approve(id, by="bob")
    with vbl.connect(trial.path, groups={"ops": ["zoe"]}) as client:
        with refused(run, NotEntitled, "not_entitled", trace=1):
            client.deny(id, by="ada")
        client.approve(id, by="zoe")
    assert [(vote["actor"], vote["member_of"]) for vote in votes(run)] == [("bob", "ops"), ("zoe", "ops")]
    assert run.result()[0] is True


def test_a_quorum_is_of_different_people_and_of_one_call(trial: Trial) -> None:
    run, id = called(trial, need=2, edit=True)
    assert trial.approve(id, by="ada").status == "open"
    with refused(run, NotEntitled, "not_entitled", "ada has approved .* 1 of 2 have approved", trace=1):
        trial.approve(id, by="ada")
    edited = trial.approve(id, by="bob", edit={"amount": 9})
    assert edited.status == "open", "bob approves another call than ada did"
    assert edited.call is not None
    assert edited.call["input"] == {"amount": 9, "to": "bob"}
    assert trial.approve(id, by="ada").status == "granted"
    assert run.result() == "9 to bob"


# What -------------------------------------------------------------------------------------------------------------


def test_an_edit_is_bound_to_the_call_that_runs(trial: Trial) -> None:
    run, id = called(trial, edit=True)
    before = trial.gate(id).call
    assert before is not None
    trial.approve(id, by="ada", edit={"amount": "7", "to": "bob"})
    (vote,) = votes(run)
    assert vote["edit"] == {"amount": 7}, "what is as before is no edit"
    assert vote["input"] == {"amount": 7, "to": "bob"}
    assert vote["digest"] == call_digest("pay", vote["input"], before["version"]) != before["digest"]
    assert run.result() == "7 to bob"
    (started,) = [fact.payload for fact in run.facts() if fact.type == "STEP_STARTED"]
    assert (started["gate"], started["input"]) == (id, vote["input"])


def test_an_edit_that_changes_nothing_is_the_call_that_was_asked(trial: Trial) -> None:
    run, id = called(trial, edit=True)
    trial.approve(id, by="ada", edit={"amount": 5})
    (vote,) = votes(run)
    assert (vote.get("edit"), vote.get("digest")) == (None, None)
    assert run.result() == "5 to bob"


@pytest.mark.parametrize(
    ("edit", "match"), [({"amount": "much"}, "parameter amount"), ({"sum": 1}, "no parameter 'sum'")]
)
def test_an_edit_has_to_fit_the_call(trial: Trial, edit: dict[str, Any], match: str) -> None:
    run, id = called(trial, edit=True)
    with refused(run, InvalidInput, "invalid_input", match):
        trial.approve(id, by="ada", edit=edit)


@pytest.mark.parametrize("ask", [called, asked])
def test_an_edit_where_none_is_asked_for_is_refused(trial: Trial, ask: Callable[..., tuple[Run, str]]) -> None:
    run, id = ask(trial)
    with refused(run, InvalidInput, "invalid_input", "takes no edit"):
        trial.approve(id, by="ada", edit={"amount": 1})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, "data_missing"),
        ({}, "invalid_input"),
        ({"amount": 0}, "invalid_input"),
        ({"amount": "x"}, "invalid_input"),
        ({"amount": 1, "other": 2}, "invalid_input"),
        ("text", "invalid_input"),
        ([], "invalid_input"),
    ],
)
def test_data_has_to_be_what_was_asked_for(trial: Trial, data: Any, code: str) -> None:
    run, id = asked(trial, schema=Payment)
    with refused(run, InvalidInput, code) as info:
        trial.approve(id, by="ada", data=data)
    assert "amount: a whole number, note: text (may be left out)" in info.value.hint


def test_data_that_fits_reaches_the_code_as_its_type(trial: Trial) -> None:
    run, id = asked(trial, schema=Payment)
    assert trial.approve(id, by="ada", data=Payment(amount=3, note="rent")).data == {"amount": 3, "note": "rent"}
    assert run.result() == [True, "ada", {"amount": 3, "note": "rent"}]


def test_data_that_nobody_asked_for_is_refused(trial: Trial) -> None:
    run, id = asked(trial)
    with refused(run, InvalidInput, "invalid_input", "asks for no data"):
        trial.approve(id, by="ada", data={"amount": 3})


def test_a_denial_needs_no_data(trial: Trial) -> None:
    run, id = asked(trial, schema=Payment)
    trial.deny(id, by="ada")
    assert run.result() == [False, "ada", None]


# Links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_a_link_moves_the_run_once(trial: Trial, decision: Any) -> None:
    run, id = asked(trial, to="ada")
    link = trial.link(id, decision, by="ada")
    trial.decide(f"  {link}\n", reason="from my phone")
    assert run.result() == [decision == "approve", "ada", None]
    with refused(run, Conflict, "already_decided"):
        trial.decide(link)


def _changed(link: str, at: int) -> str:
    return link[:at] + ("A" if link[at] != "A" else "B") + link[at + 1 :]


def test_a_link_with_any_character_changed_is_none(trial: Trial) -> None:
    run, id = asked(trial)
    link = trial.link(id, "approve", by="ada")
    with refused(run, InvalidInput, "bad_link"):
        trial.decide(link[:-1])
    for at in range(0, len(link) - 1, 7):  # the last one holds bits that count for nothing
        with refused(run, InvalidInput, "bad_link"):
            trial.decide(_changed(link, at))
    trial.decide(link)


def test_a_link_covers_the_call_that_its_reader_saw(trial: Trial) -> None:
    run, id = called(trial, need=2, edit=True)
    approve, deny = (trial.link(id, decision, by="ada") for decision in ("approve", "deny"))
    trial.approve(id, by="bob", edit={"amount": 9_000})
    with refused(run, Conflict, "link_outdated"):
        trial.decide(approve)
    trial.decide(deny)
    assert run.result() == "denied"


# Signals ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hearing(trial: Trial) -> Run:
    @vbl.workflow(name="hears")
    async def hears() -> int:
        payment = await vbl.wait("payment", type=Payment)
        return payment.amount

    run = trial.start(hears)
    trial.settle()
    assert run.state().waits
    return run


def test_a_signal_is_heard(trial: Trial, hearing: Run) -> None:
    assert trial.signal(hearing.id, "payment", {"amount": 4}, key="k", by="eve").id == hearing.id
    assert hearing.result() == 4
    (heard,) = [fact.payload for fact in hearing.facts() if fact.type == "SIGNAL_RECEIVED"]
    assert (heard["actor"], heard["key"], heard["data"]) == ("eve", "k", {"amount": 4})
    with refused(hearing, Conflict, "run_finished"):
        trial.signal(hearing, "payment", {"amount": 4})


@pytest.mark.parametrize("data", [None, {"amount": -1}, "text", {"amount": 1, "other": 1}])
def test_a_signal_that_does_not_fit_what_is_waited_for_is_refused(trial: Trial, hearing: Run, data: Any) -> None:
    with refused(hearing, InvalidInput, "invalid_input"):
        trial.signal(hearing, "payment", data)


def test_a_signal_with_a_known_key_changes_nothing(trial: Trial, hearing: Run) -> None:
    trial.signal(hearing, "other", {"n": 1}, key="k")
    trial.settle()
    before = hearing.facts()
    trial.signal(hearing, "other", {"n": 1}, key="k")
    assert hearing.facts() == before
    with refused(hearing, KeyTaken, "key_taken"):
        trial.signal(hearing, "other", {"n": 2}, key="k")


def test_a_signal_to_nobody_is_refused(trial: Trial) -> None:
    with pytest.raises(NotFound):
        trial.signal("r_nothing", "payment")
