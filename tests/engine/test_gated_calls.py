"""Gated calls: what a person approved, edited or answered is what runs, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

import vbl
from tests.engine.corpus import labour, work
from tests.engine.outside import open_gate
from tests.engine.world import WORLD
from vbl.errors import InvalidInput
from vbl.handle import Run
from vbl.history.gates import call_digest
from vbl.testing import Trial, replay


def payloads(run: Run, type: str) -> list[dict[str, Any]]:
    return [fact.payload for fact in run.facts() if fact.type == type]


def restarted(trial: Trial) -> None:
    trial.kill()
    trial.up()
    trial.settle()


def begun(trial: Trial, workflow: Any, *args: Any) -> Run:
    run = trial.start(workflow, *args)
    trial.settle()
    assert run.status == "waiting_for_approval", run.state().blocked or run.state().error
    return run


# Gated calls ------------------------------------------------------------------------------------------------------


def gated(step: Any = work, **options: Any) -> Any:
    """A workflow that asks about a call of that step, and runs what was approved."""

    @vbl.workflow(name="gated")
    async def gate_it(value: int) -> Any:
        gate = await vbl.approve(step.call(value), **options)
        return await gate.run() if gate.approved else None

    return gate_it


def test_what_was_approved_is_bound_to_what_runs(trial: Trial) -> None:
    run = begun(trial, gated(to="ada"), 3)
    (request,) = payloads(run, "APPROVAL_REQUESTED")
    call = request["call"]
    assert (call["step"], call["input"], call["version"]) == ("work", {"value": 3}, work.version)
    assert call["digest"] == call_digest("work", {"value": 3}, work.version)
    trial.approve(request["gate"], by="ada")
    assert run.result() == 3
    (started,) = payloads(run, "STEP_STARTED")
    assert (started["step"], started["input"], started["gate"]) == ("work", {"value": 3}, request["gate"])
    replay(run)


def test_an_edit_stands_beside_the_original_and_runs(trial: Trial) -> None:
    run = begun(trial, gated(edit=True), 3)
    gate = open_gate(run, "work").id
    with pytest.raises(InvalidInput):
        trial.approve(gate, by="ada", edit={"value": "many"})
    with pytest.raises(InvalidInput):
        trial.approve(gate, by="ada", edit={"amount": 4})
    assert run.status == "waiting_for_approval"
    trial.approve(gate, by="ada", edit={"value": 7}, reason="seven is better")
    assert run.result() == 7
    (granted,) = payloads(run, "APPROVAL_GRANTED")
    assert (granted["edit"], granted["input"]) == ({"value": 7}, {"value": 7})
    assert granted["digest"] == call_digest("work", {"value": 7}, work.version)
    assert payloads(run, "APPROVAL_REQUESTED")[0]["call"]["input"] == {"value": 3}
    assert payloads(run, "STEP_STARTED")[0]["input"] == {"value": 7}
    assert replay(run) == 7


def test_a_call_may_not_be_edited_where_that_was_not_asked(trial: Trial) -> None:
    run = begun(trial, gated(), 3)
    with pytest.raises(InvalidInput, match="edit"):
        trial.approve(open_gate(run, "work").id, by="ada", edit={"value": 7})
    assert not payloads(run, "APPROVAL_GRANTED")


class Even(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def _even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("an even number is needed")
        return number


@vbl.step
async def halve(even: Even) -> int:
    WORLD.did()
    return even.number // 2


def test_an_edit_that_only_the_types_refuse_is_asked_for_again(trial: Trial) -> None:
    """A recorded schema cannot hold what the step's own types demand: they have the last word, and it is told why."""

    @vbl.workflow(name="halving")
    async def halving() -> int:
        gate = await vbl.approve(halve.call(Even(number=4)), edit=True)
        return await gate.run()

    run = begun(trial, halving)
    first = open_gate(run, "halve").id
    trial.approve(first, by="ada", edit={"even": {"number": 7}})
    trial.settle()
    assert run.status == "waiting_for_approval"
    again = open_gate(run, "halve")
    assert again.id != first
    assert again.request["reopens"] == first
    assert "an even number is needed" in again.request["problem"]
    trial.approve(again.id, by="ada", edit={"even": {"number": 8}})
    assert run.result() == 4
    assert WORLD.runs_of(run.id) == {"halve": 1}
    assert replay(run) == 4


@pytest.mark.parametrize("restart", [False, True])
def test_other_arguments_reopen_the_gate(trial: Trial, restart: bool) -> None:
    @vbl.workflow(name="fickle")
    async def fickle() -> int:
        gate = await vbl.approve(work.call(3))
        return await gate.run(work.call(4))

    run = begun(trial, fickle)
    first = open_gate(run, "work").id
    trial.approve(first, by="ada")
    trial.settle()
    if restart:
        restarted(trial)
    again = open_gate(run, "work")
    assert (again.request["reopens"], again.request["call"]["input"]) == (first, {"value": 4})
    assert not WORLD.runs_of(run.id)
    trial.approve(again.id, by="ada")
    assert run.result() == 4
    assert payloads(run, "STEP_STARTED")[0]["gate"] == again.id
    assert replay(run) == 4


@pytest.mark.parametrize("restart", [False, True])
def test_a_decision_that_is_too_old_reopens_the_gate(trial: Trial, restart: bool) -> None:
    @vbl.workflow(name="patient")
    async def patient() -> int:
        gate = await vbl.approve(work.call(3), valid_for=60)
        await asyncio.sleep(61)
        return await gate.run()

    run = begun(trial, patient)
    trial.approve(open_gate(run, "work").id, by="ada")
    trial.advance(61)
    if restart:
        restarted(trial)
    again = open_gate(run, "work")
    assert "older" in again.request["problem"]
    assert not WORLD.runs_of(run.id)
    trial.deny(again.id, by="bob")
    assert run.wait() == "failed"
    assert (run.state().error or {})["type"] == "NotApproved"
    assert not WORLD.runs_of(run.id)


def test_a_decision_that_is_just_young_enough_holds(trial: Trial) -> None:
    @vbl.workflow(name="patient")
    async def patient() -> int:
        gate = await vbl.approve(work.call(3), valid_for=60)
        await asyncio.sleep(60)
        return await gate.run()

    run = begun(trial, patient)
    trial.approve(open_gate(run, "work").id, by="ada")
    assert run.result() == 3
    assert len(payloads(run, "APPROVAL_REQUESTED")) == 1


def pay(code: Callable[[int], Any]) -> Any:
    """A version of the step, and of the workflow that asks about it."""
    step = vbl.step(name="pay")(code)

    @vbl.workflow(name="paying")
    async def paying() -> int:
        gate = await vbl.approve(step.call(3))
        await asyncio.sleep(60)
        return await gate.run()

    return paying


def test_other_code_of_the_step_reopens_the_gate(trial: Trial) -> None:
    async def once(value: int) -> int:
        return value

    async def twice(value: int) -> int:
        return 2 * value

    run = begun(trial, pay(once))
    first = open_gate(run, "pay").id
    trial.approve(first, by="ada")
    trial.settle()
    trial.kill()
    pay(twice)
    trial.up()
    trial.advance(60)
    assert run.status == "waiting_for_approval", run.state().blocked
    again = open_gate(run, "pay")
    assert again.request["reopens"] == first
    assert "code" in again.request["problem"]
    trial.approve(again.id, by="ada")
    assert run.result() == 6
    assert replay(run) == 6


def test_code_that_changes_after_the_call_began_asks_nothing_again(trial: Trial) -> None:
    """What ran has run: the history says that the decision covered it."""

    async def once(value: int) -> int:
        return value

    async def twice(value: int) -> int:
        return 2 * value

    run = begun(trial, pay(once))
    trial.approve(open_gate(run, "pay").id, by="ada")
    assert run.result() == 3
    assert replay(run, pay(twice)) == 3


def test_an_approved_call_runs_once(trial: Trial) -> None:
    @vbl.workflow(name="greedy")
    async def greedy() -> list[int]:
        gate = await vbl.approve(work.call(3))
        return [await gate.run(), await gate.run()]

    run = begun(trial, greedy)
    trial.approve(open_gate(run, "work").id, by="ada")
    assert run.wait() == "failed"
    assert "has run" in (run.state().error or {})["message"]
    assert WORLD.runs_of(run.id) == {"work": 1}


def test_a_denied_call_does_not_run(trial: Trial) -> None:
    @vbl.workflow(name="deaf")
    async def deaf() -> int:
        return await (await vbl.approve(work.call(3))).run()

    run = begun(trial, deaf)
    trial.deny(open_gate(run, "work").id, by="ada")
    assert run.wait() == "failed"
    assert (run.state().error or {})["type"] == "NotApproved"
    assert not WORLD.runs_of(run.id)


def test_a_gated_call_in_a_sync_workflow_reopens_too(trial: Trial) -> None:
    @vbl.workflow(name="plain")
    def plain() -> int:
        gate = vbl.approve(labour.call(3), valid_for=60)
        vbl.sleep(100)
        return gate.run()

    run = begun(trial, plain)
    trial.approve(open_gate(run, "labour").id, by="ada")
    trial.advance(100)
    trial.approve(open_gate(run, "labour").id, by="bob")
    assert run.result() == 3
    assert replay(run) == 3


# Data -------------------------------------------------------------------------------------------------------------


def test_data_is_held_against_the_schema_and_then_against_the_type(trial: Trial) -> None:
    @vbl.workflow(name="counted")
    async def counted() -> list[Any]:
        gate = await vbl.approve("how many", schema=Even)
        return [type(gate.data).__name__, gate.data.number]

    run = begun(trial, counted)
    gate = open_gate(run, "how many").id
    for wrong in (None, {"number": "many"}, {}):
        with pytest.raises(InvalidInput):
            trial.approve(gate, by="ada", data=wrong)
    assert run.status == "waiting_for_approval"
    trial.approve(gate, by="ada", data={"number": 3})
    trial.settle()
    again = open_gate(run, "how many")
    assert "an even number is needed" in again.request["problem"]
    trial.approve(again.id, by="ada", data={"number": 4})
    assert run.result() == ["Even", 4]
    assert replay(run) == ["Even", 4]


def test_a_denial_needs_no_data(trial: Trial) -> None:
    @vbl.workflow(name="counted")
    async def counted() -> list[Any]:
        gate = await vbl.approve("how many", schema=int)
        return [gate.approved, gate.data]

    run = begun(trial, counted)
    trial.deny(open_gate(run, "how many").id, by="ada")
    assert run.result() == [False, None]


def test_a_call_is_bound_with_arguments_that_fit() -> None:
    with pytest.raises((TypeError, vbl.InvalidInput)):
        work.call()
    with pytest.raises(vbl.InvalidInput):
        work.call("many")


# The arguments of a call ------------------------------------------------------------------------------------------


@vbl.step
def joined(a: str, b: str = "b", c: str = "c") -> str:
    return f"{a}-{b}-{c}"


def asking(call: Callable[[], Any], **options: Any) -> Any:
    """A workflow that asks about the call, and runs what was approved."""

    @vbl.workflow(name="gated")
    async def gate_it() -> Any:
        gate = await vbl.approve(call(), **options)
        return await gate.run()

    return gate_it


def test_an_edit_of_what_was_not_given_stays_with_its_parameter(trial: Trial) -> None:
    run = begun(trial, asking(lambda: joined.call("x", c="z"), edit=True))
    trial.approve(open_gate(run, "joined").id, by="ada", edit={"b": "y"})
    assert run.result() == "x-y-z"
    assert replay(run) == "x-y-z"


def test_what_the_call_leaves_to_the_signature_is_shown_and_bound(trial: Trial) -> None:
    run = begun(trial, asking(lambda: joined.call("x", c="z")))
    asked = {"a": "x", "b": "b", "c": "z"}
    call = open_gate(run, "joined").request["call"]
    assert call["input"] == asked
    assert list(call["input"]) == ["a", "b", "c"]
    assert call["digest"] == call_digest("joined", asked, joined.version)
    trial.approve(open_gate(run, "joined").id, by="ada")
    assert run.result() == "x-b-z"
    assert payloads(run, "STEP_STARTED")[0]["input"] == asked
    assert replay(run) == "x-b-z"


def test_a_default_that_cannot_be_recorded_is_left_to_the_signature(trial: Trial) -> None:
    nothing = object()

    @vbl.step
    def note(text: str, when: Any = nothing, tone: str = "kind") -> str:
        return f"{text} {when is nothing} {tone}"

    run = begun(trial, asking(lambda: note.call("x")))
    assert open_gate(run, "note").request["call"]["input"] == {"text": "x", "tone": "kind"}
    trial.approve(open_gate(run, "note").id, by="ada")
    assert run.result() == "x True kind"


def test_a_default_that_came_or_changed_while_the_gate_was_open_is_asked_about(trial: Trial) -> None:
    def first(text: str, tone: str = "kind") -> str:
        return f"{text} {tone}"

    def second(text: str, tone: str = "curt", copies: int = 1) -> str:
        return f"{text} {tone} {copies}"

    versions = [vbl.step(name="note")(first)]
    run = begun(trial, asking(lambda: versions[-1].call("x")))
    asked = open_gate(run, "note")
    versions.append(vbl.step(name="note")(second))
    restarted(trial)
    assert run.status == "waiting_for_approval", "what the step says now does not change what was asked"
    trial.approve(asked.id, by="ada")
    trial.settle()
    again = open_gate(run, "note")
    assert "code of the step has changed" in again.request["problem"]
    assert again.request["call"]["input"] == {"text": "x", "tone": "curt", "copies": 1}
    restarted(trial)
    trial.approve(again.id, by="ada")
    assert run.result() == "x curt 1"
    assert replay(run) == "x curt 1"
