"""Gates: what is asked of whom, who may decide, what time does, and that what was approved is what runs."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from pydantic import BaseModel

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import broken
from tests.engine.outside import open_gate
from tests.engine.world import WORLD
from vbl.errors import Conflict, NotEntitled, NotFound
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.testing import Trial, replay

SECOND = 1_000_000


def of(run: Run, type: str) -> list[Fact]:
    return [fact for fact in run.facts() if fact.type == type]


def payloads(run: Run, type: str) -> list[dict[str, Any]]:
    return [fact.payload for fact in of(run, type)]


def restarted(trial: Trial, seconds: float = 0.0) -> None:
    """Nobody is alive for so long."""
    trial.kill()
    trial.clock.advance(seconds)
    trial.up()
    trial.settle()


def asking(**options: Any) -> Any:
    """A workflow that asks, with these options."""

    @vbl.workflow(name="asking")
    async def ask() -> list[Any]:
        gate = await vbl.approve("ask", **options)
        return [gate.approved, gate.by]

    return ask


def begun(trial: Trial, workflow: Any, *args: Any) -> Run:
    run = trial.start(workflow, *args)
    trial.settle()
    assert run.status == "waiting_for_approval", run.state().blocked or run.state().error
    return run


# What is asked ----------------------------------------------------------------------------------------------------


class Mail(BaseModel):
    to: str
    words: str = ""


def test_the_request_says_what_was_shown_to_whom_until_when(trial: Trial) -> None:
    run = begun(
        trial,
        asking(
            show={"mail": Mail(to="eve"), "at": datetime.date(2026, 1, 1)},
            to=["ada", "group:ops"],
            timeout=datetime.timedelta(hours=2),
            on_timeout="approve",
            remind=600,
            escalate=[(3_600, "bob")],
            need=2,
            not_starter=True,
        ),
    )
    ((request),) = payloads(run, "APPROVAL_REQUESTED")
    begun_at = of(run, "APPROVAL_REQUESTED")[0].at
    assert request["show"] == {"mail": {"to": "eve", "words": ""}, "at": "2026-01-01"}
    assert request["to"] == ["ada", "group:ops"]
    assert request["expires_at"] == begun_at + 7_200 * SECOND
    assert request["remind"] == [begun_at + 600 * SECOND]
    assert request["escalate"] == [{"at": begun_at + 3_600 * SECOND, "to": ["bob"]}]
    assert (request["on_timeout"], request["need"], request["not_starter"]) == ("approve", 2, True)
    assert run.wake_at == begun_at + 600 * SECOND


def test_ids_of_gates_are_told_apart_and_stay_the_same_in_every_life(trial: Trial) -> None:
    @vbl.workflow(name="several")
    async def several() -> list[bool]:
        gates = await asyncio.gather(*(vbl.approve(name) for name in ("a", "b", "a")))
        return [gate.approved for gate in gates]

    run = begun(trial, several)
    ids = [request["gate"] for request in payloads(run, "APPROVAL_REQUESTED")]
    assert [request["key"] for request in payloads(run, "APPROVAL_REQUESTED")] == ["a", "b", "a#2"]
    assert len(set(ids)) == 3
    assert all(id.startswith("g_") and len(id) == 14 for id in ids)
    restarted(trial)
    assert [request["gate"] for request in payloads(run, "APPROVAL_REQUESTED")] == ids
    for id, decide in zip(ids, (trial.approve, trial.deny, trial.approve), strict=True):
        decide(id, by="ada")
    assert run.result() == [True, False, True]


def test_a_run_that_waits_for_a_person_is_parked(quick_housekeeping: None, trial: Trial) -> None:
    """Many of them cost rows, not memory; and each goes on when it is decided."""
    runs = trial.start_many(asking(to="ada"), [() for _ in range(40)])
    trial.advance(2)
    trial.until(lambda: trial.in_memory == 0)
    assert len(trial.gates(limit=None)) == 40
    trial.approve(open_gate(runs[7], "ask").id, by="ada")
    assert runs[7].result() == [True, "ada"]
    assert len(trial.gates(limit=None)) == 39


# Who decides ------------------------------------------------------------------------------------------------------


def test_the_second_decider_is_told_who_was_first(trial: Trial) -> None:
    run = begun(trial, asking())
    gate = open_gate(run, "ask").id
    trial.deny(gate, by="ada", reason="no")
    before = run.result() and run.facts()
    with pytest.raises(Conflict, match="denied by ada") as refused:
        trial.approve(gate, by="bob")
    assert refused.value.code == "already_decided"
    assert run.facts() == before


def test_a_decision_by_the_wrong_person_leaves_a_trace_and_moves_nothing(trial: Trial) -> None:
    run = begun(trial, asking(to=["ada", "bob"]))
    gate = open_gate(run, "ask").id
    with pytest.raises(NotEntitled, match="not eve"):
        trial.approve(gate, by="eve")
    with pytest.raises(NotEntitled):
        trial.deny(gate, by="mallory")
    trial.settle()
    assert run.status == "waiting_for_approval"
    told = payloads(run, "DECISION_REFUSED")
    assert [(one["actor"], one["decision"]) for one in told] == [("eve", "approve"), ("mallory", "deny")]
    assert len(of(run, "CHECKPOINT_WRITTEN")) == 0, "the code has nothing to digest"
    trial.approve(gate, by="bob")
    assert run.result() == [True, "bob"]
    replay(run)
    assert_sound(trial)


def test_who_started_the_run_may_not_decide_where_that_is_barred(trial: Trial) -> None:
    run = begun(trial, asking(not_starter=True))
    starter = run.state().actor
    with pytest.raises(NotEntitled, match="started"):
        trial.approve(open_gate(run, "ask").id, by=starter)
    trial.approve(open_gate(run, "ask").id, by=f"not {starter}")
    assert run.result()[0] is True


def test_a_quorum_is_filled_by_different_people(trial: Trial) -> None:
    run = begun(trial, asking(need=3))
    gate = open_gate(run, "ask").id
    trial.approve(gate, by="ada")
    restarted(trial)
    with pytest.raises(NotEntitled, match="already"):
        trial.approve(gate, by="ada")
    trial.approve(gate, by="bob")
    trial.settle()
    assert run.status == "waiting_for_approval"
    trial.approve(gate, by="eve")
    assert run.result() == [True, "eve"]
    assert [vote["actor"] for vote in payloads(run, "APPROVAL_GRANTED")] == ["ada", "bob", "eve"]
    replay(run)


def test_one_denial_ends_a_quorum(trial: Trial) -> None:
    run = begun(trial, asking(need=2))
    gate = open_gate(run, "ask").id
    trial.approve(gate, by="ada")
    trial.deny(gate, by="bob")
    assert run.result() == [False, "bob"]


# Time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "approved"), [("deny", False), ("approve", True)])
@pytest.mark.parametrize("down", [False, True])
def test_time_decides_where_nobody_does(trial: Trial, outcome: Any, approved: bool, down: bool) -> None:
    run = begun(trial, asking(timeout=60, on_timeout=outcome))
    if down:
        restarted(trial, 100)
    else:
        trial.advance(60)
    assert run.result() == [approved, None]
    (expired,) = payloads(run, "APPROVAL_EXPIRED")
    assert expired["outcome"] == outcome
    assert expired.get("late_us", 0) == (40 * SECOND if down else 0)
    assert run.state().status == "completed"
    assert_sound(trial)


def test_a_decision_after_the_time_is_refused_also_where_nobody_recorded_its_end(trial: Trial) -> None:
    run = begun(trial, asking(timeout=60))
    gate = open_gate(run, "ask").id
    trial.kill()
    trial.clock.advance(60)
    before = run.facts()
    with pytest.raises(Conflict) as refused:
        trial.approve(gate, by="ada")
    assert refused.value.code == "gate_expired"
    assert run.facts() == before
    trial.up()
    assert run.result() == [False, None]


def test_a_decision_in_time_stands_where_the_supervisor_comes_late(trial: Trial) -> None:
    run = begun(trial, asking(timeout=60))
    trial.kill()
    trial.clock.advance(59)
    trial.approve(open_gate(run, "ask").id, by="ada")
    trial.clock.advance(100)
    trial.up()
    assert run.result() == [True, "ada"]
    assert not of(run, "APPROVAL_EXPIRED")


def test_reminders_come_once_each_and_do_not_wake_the_code(trial: Trial) -> None:
    run = begun(trial, asking(remind=[30, 60, 90], timeout=100))
    trial.advance(60)
    asked_at = of(run, "APPROVAL_REQUESTED")[0].at
    assert [(fact.at - asked_at) // SECOND for fact in of(run, "APPROVAL_REMINDED")] == [30, 60]
    assert run.status == "waiting_for_approval"
    assert not of(run, "CHECKPOINT_WRITTEN")
    restarted(trial, 35)
    assert [fact.payload.get("late_us", 0) // SECOND for fact in of(run, "APPROVAL_REMINDED")] == [0, 0, 5]
    assert run.result() == [False, None]


def test_reminders_that_were_slept_through_come_as_one(trial: Trial) -> None:
    run = begun(trial, asking(remind=[10, 20, 30]))
    restarted(trial, 3_600)
    assert len(of(run, "APPROVAL_REMINDED")) == 1
    trial.advance(3_600)
    assert len(of(run, "APPROVAL_REMINDED")) == 1
    assert run.refresh().wake_at is None


def test_escalation_adds_people_and_takes_nobody_away(trial: Trial) -> None:
    run = begun(trial, asking(to="ada", escalate=[(60, "bob"), (120, ["eve", "dan"])]))
    gate = open_gate(run, "ask").id
    with pytest.raises(NotEntitled):
        trial.approve(gate, by="bob")
    trial.advance(60)
    assert open_gate(run, "ask").to == ["ada", "bob"]
    trial.advance(60)
    assert open_gate(run, "ask").to == ["ada", "bob", "eve", "dan"]
    assert len(of(run, "APPROVAL_ESCALATED")) == 2
    trial.approve(gate, by="ada")
    assert run.result() == [True, "ada"]


@pytest.mark.parametrize("options", [{}, {"timeout": 60, "on_timeout": "escalate"}], ids=["in time", "at the end"])
def test_an_escalation_to_me_lets_anybody_decide(trial: Trial, options: dict[str, Any]) -> None:
    run = begun(trial, asking(to="ada", escalate=[(60, "me"), (60, "bob")], **options))
    trial.advance(60)
    gate = open_gate(run, "ask")
    assert gate.to == []
    trial.approve(gate.id, by="eve")
    assert run.result() == [True, "eve"]
    assert_sound(trial)


def test_those_who_are_asked_later_count_for_a_quorum(trial: Trial) -> None:
    run = begun(trial, asking(to="ada", need=2, escalate=[(60, "bob")]))
    gate = open_gate(run, "ask").id
    trial.approve(gate, by="ada")
    trial.advance(60)
    trial.approve(gate, by="bob")
    assert run.result() == [True, "bob"]


@pytest.mark.parametrize("down", [False, True])
def test_a_time_out_that_escalates_gives_one_more_time_then_denies(trial: Trial, down: bool) -> None:
    run = begun(trial, asking(to="ada", timeout=60, on_timeout="escalate", escalate=[(1_000, "bob"), (2_000, "eve")]))
    if down:
        restarted(trial, 60)
    else:
        trial.advance(60)
    gate = open_gate(run, "ask")
    assert gate.to == ["ada", "bob", "eve"]
    asked_at = of(run, "APPROVAL_REQUESTED")[0].at
    assert gate.expires_at == asked_at + 120 * SECOND
    trial.advance(59)
    assert run.status == "waiting_for_approval"
    trial.advance(1)
    assert run.result() == [False, None]
    assert len(of(run, "APPROVAL_ESCALATED")) == 1
    assert_sound(trial)


def test_a_gate_that_fails_by_time_raises_in_the_code(trial: Trial) -> None:
    run = begun(trial, asking(timeout=60, on_timeout="fail"))
    gate = open_gate(run, "ask").id
    trial.advance(60)
    assert run.status == "failed"
    error = run.state().error or {}
    assert (error["type"], gate in error["message"]) == ("ApprovalExpired", True)
    with pytest.raises(Conflict) as refused:
        trial.approve(gate, by="ada")
    assert refused.value.code == "gate_expired"
    assert_sound(trial)


# Closing ----------------------------------------------------------------------------------------------------------


def test_a_gate_that_the_code_left_cannot_be_decided(trial: Trial) -> None:
    @vbl.workflow(name="hasty")
    async def hasty() -> str:
        try:
            async with asyncio.timeout(30):
                await vbl.approve("ask")
        except TimeoutError:
            await asyncio.sleep(1_000)
        return "left"

    run = begun(trial, hasty)
    gate = open_gate(run, "ask").id
    trial.advance(30)
    assert run.status == "waiting"
    with pytest.raises(Conflict) as refused:
        trial.approve(gate, by="ada")
    assert refused.value.code == "gate_closed"
    assert run.result() == "left"
    replay(run)


def test_a_decision_and_a_time_out_that_nobody_saw_come_in_the_order_of_the_history(trial: Trial) -> None:
    """The decision is in the history; that the time-out came later is found out by the next supervisor."""

    @vbl.workflow(name="hasty")
    async def hasty() -> str:
        try:
            async with asyncio.timeout(30):
                return "decided" if (await vbl.approve("ask")).approved else "denied"
        except TimeoutError:
            return "too late"

    run = begun(trial, hasty)
    trial.kill()
    trial.clock.advance(100)
    trial.approve(open_gate(run, "ask").id, by="ada")
    trial.up()
    assert run.result() == "decided"
    assert replay(run) == "decided"


@pytest.mark.parametrize("end", ["completed", "cancelled", "failed"])
def test_the_end_of_a_run_closes_its_gates(trial: Trial, end: str) -> None:
    @vbl.workflow(name="ending")
    async def ending() -> str:
        asked = asyncio.ensure_future(vbl.approve("ask"))
        await asyncio.sleep(10)
        if end == "failed":
            raise ValueError("no")
        if end == "cancelled":
            await asked
        return "done"

    run = begun(trial, ending)
    gate = open_gate(run, "ask").id
    trial.advance(10)
    if end == "cancelled":
        run.cancel()
    assert run.wait() == end
    assert trial.gates(limit=None) == []
    with pytest.raises(Conflict) as refused:
        trial.deny(gate, by="ada")
    assert refused.value.code == "gate_closed"
    assert_sound(trial)


def test_a_decision_for_an_unknown_gate_is_refused(trial: Trial) -> None:
    with pytest.raises(NotFound):
        trial.approve("g_0123456789ab", by="ada")


def test_a_decision_while_the_run_is_paused_is_acted_on_afterwards(trial: Trial) -> None:
    run = begun(trial, asking())
    run.pause()
    trial.approve(open_gate(run, "ask").id, by="ada")
    trial.settle()
    assert run.status == "paused"
    run.unpause()
    assert run.result() == [True, "ada"]


# Retries ----------------------------------------------------------------------------------------------------------


def test_a_retry_keeps_what_was_decided_before_the_failed_step(trial: Trial) -> None:
    @vbl.step
    async def once_broken() -> int:
        WORLD.did()
        if WORLD.notes:
            return 1
        raise ValueError("no")

    @vbl.workflow(name="fragile")
    async def fragile() -> list[Any]:
        gate = await vbl.approve("before")
        found = await once_broken()
        return [gate.by, found, (await vbl.approve("after")).by]

    run = begun(trial, fragile)
    trial.approve(open_gate(run, "before").id, by="ada")
    assert run.wait() == "failed"
    WORLD.note("mended")
    run.retry()
    trial.settle()
    assert len(of(run, "APPROVAL_REQUESTED")) == 2
    trial.approve(open_gate(run, "after").id, by="bob")
    assert run.result() == ["ada", 1, "bob"]
    assert replay(run) == ["ada", 1, "bob"]
    assert_sound(trial)


def test_a_gate_asked_for_behind_the_failure_is_asked_for_again_under_another_id(trial: Trial) -> None:
    """The retry makes void what the code did because of the failure; the old decision counts for nothing."""

    @vbl.workflow(name="sorry")
    async def sorry() -> None:
        try:
            await broken("no")
        except vbl.StepFailed as failure:
            gate = await vbl.approve("sorry")
            raise ValueError(gate.by) from failure

    run = begun(trial, sorry)
    first = open_gate(run, "sorry").id
    trial.approve(first, by="ada")
    assert run.wait() == "failed"
    run.retry()
    trial.settle()
    assert run.status == "failed", "the mistake is behind the decision, which stands"
    assert (run.state().error or {})["message"] == "ada"
    assert len(of(run, "APPROVAL_REQUESTED")) == 1
    assert_sound(trial)


@pytest.mark.parametrize("decided", [False, True])
def test_a_gate_behind_a_failed_step_is_void_when_that_is_tried_again(trial: Trial, decided: bool) -> None:
    @vbl.workflow(name="sorry")
    async def sorry() -> None:
        try:
            await broken("no")
        except vbl.StepFailed:
            if decided:
                await vbl.approve("sorry")
            else:
                asked = asyncio.ensure_future(vbl.approve("sorry"))
                await asyncio.wait([asked], timeout=10)
            raise

    run = begun(trial, sorry)
    first = open_gate(run, "sorry").id
    if decided:
        trial.approve(first, by="ada")
    assert run.wait() == "failed"
    run.retry()
    trial.settle()
    second = open_gate(run, "sorry").id
    assert second != first
    assert WORLD.runs_of(run.id) == {"broken": 2}
    with pytest.raises(Conflict):
        trial.deny(first, by="bob")
    if decided:
        trial.deny(second, by="bob")
    assert run.wait() == "failed"
    assert [request["key"] for request in payloads(run, "APPROVAL_REQUESTED")] == ["sorry", "sorry"]
    assert_sound(trial)


# Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": -1}, {"timeout": "soon"}, {"on_timeout": "shrug"}, {"need": 0}, {"need": 1.5}, {"to": ""},
        {"to": ["ada", ""]}, {"to": ["ada"], "need": 2}, {"on_timeout": "escalate"}, {"edit": True},
        {"on_timeout": "escalate", "timeout": 60}, {"remind": -5}, {"escalate": [(60, "")]},
        {"valid_for": float("nan")}, {"to": "group:"},
    ],
    ids=str,
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(trial: Trial, options: dict[str, Any]) -> None:
    run = trial.start(asking(**options))
    assert run.wait() == "failed"
    assert (run.state().error or {})["type"] == "UsageError"
    assert not of(run, "APPROVAL_REQUESTED")


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", 7, None])
def test_a_gate_has_a_name(trial: Trial, name: Any) -> None:
    @vbl.workflow(name="nameless")
    async def nameless() -> None:
        await vbl.approve(name)

    run = trial.start(nameless)
    assert run.wait() == "failed"
    assert (run.state().error or {})["type"] == "UsageError"


def test_nobody_is_asked_outside_of_a_workflow() -> None:
    with pytest.raises(vbl.NotInWorkflow):
        vbl.approve("ask")
