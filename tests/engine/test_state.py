"""The accumulated state of a run: at every checkpoint and every event, small in the file, the same after a death."""

from __future__ import annotations

import asyncio
import datetime
import json
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import vbl
from tests.engine import corpus
from tests.engine.checks import assert_sound
from tests.engine.corpus import SHAPES, echo, slow, work
from tests.engine.world import WORLD
from vbl.handle import Run
from vbl.history.state import fold
from vbl.testing import FakeClock, Trial, replay


class Order(BaseModel):
    lines: list[str] = []
    total: Decimal = Decimal(0)
    by_name: dict[str, int] = {}
    at: datetime.datetime | None = None
    tags: set[str] = set()
    note: str = Field(default="")


@vbl.workflow
async def ordering() -> list[Any]:
    """Changes its state between steps, in every way in which it may be changed."""
    order = vbl.state(Order)
    assert order is vbl.state(Order)
    order.lines.append("a")
    order.total += Decimal(str(await work(1)))
    order.lines.append("b")
    order.by_name["x"] = await work(2)
    order.at = vbl.now()
    order.tags.add("new")
    await work(3)
    order.lines = order.lines[:1]
    await vbl.sleep(60)
    order.note = "done"
    del order.by_name["x"]
    return [order.lines, str(order.total), order.by_name, sorted(order.tags), order.note]


def checkpoints(run: Run) -> list[dict[str, Any]]:
    return [fact.payload for fact in run.facts() if fact.type == "CHECKPOINT_WRITTEN"]


def test_the_state_stands_in_each_checkpoint(trial: Trial) -> None:
    run = trial.start(ordering)
    assert run.result() == [["a"], "1", {}, ["new"], "done"]
    assert [c["checkpoint"] for c in checkpoints(run)] == [1, 2, 3, 4]
    states = [run.state(checkpoint=n).variables for n in (1, 2, 3, 4)]
    assert [state["lines"] for state in states] == [["a", "b"], ["a", "b"], ["a"], ["a"]]
    assert [state["total"] for state in states] == ["1", "1", "1", "1"]
    assert [state["by_name"] for state in states] == [{}, {"x": 2}, {"x": 2}, {}]
    assert [state["note"] for state in states] == ["", "", "", "done"]
    assert states[1]["at"] is not None
    assert_sound(trial)


def test_a_checkpoint_says_only_what_has_changed(trial: Trial) -> None:
    run = trial.start(ordering)
    run.result()
    deltas = [set(c.get("delta") or {}) for c in checkpoints(run)]
    assert deltas[0] == set(Order.model_fields), "the first holds everything"
    assert deltas[1:] == [{"by_name", "at", "tags"}, {"lines"}, {"by_name", "note"}]


def test_the_state_at_any_event_is_the_fold_up_to_it(trial: Trial) -> None:
    run = trial.start(corpus.conversation)
    run.result()
    facts = run.facts()
    for fact in facts:
        state = run.state(at=fact.seq)
        assert state == fold(facts[: fact.seq])
        assert state.seq == fact.seq
    assert run.state() == run.state(at=len(facts))
    for checkpoint in checkpoints(run):
        state = run.state(checkpoint=checkpoint["checkpoint"])
        assert (state.checkpoint, state.applied) == (checkpoint["checkpoint"], checkpoint["applied"])
        said = len(state.variables["messages"])
        assert said == min(2 * len(state.outputs) + 1, 8), "with the next question, but for the last"
        json.dumps(state.variables)


def test_what_is_not_there_is_said_so(trial: Trial) -> None:
    run = trial.start(corpus.sequence)
    run.result()
    last = len(run.facts())
    for wrong in ({"at": 0}, {"at": last + 1}, {"at": -1}, {"checkpoint": 0}, {"checkpoint": 99}):
        with pytest.raises(vbl.NotFound) as refused:
            run.state(**wrong)
        assert refused.value.hint


def test_a_run_without_state_writes_none(trial: Trial) -> None:
    run = trial.start(corpus.sequence)
    run.result()
    assert not [c for c in checkpoints(run) if "delta" in c or "digest" in c]
    assert run.state().variables == {}


def test_pending_outputs_and_attempts_are_part_of_the_state(trial: Trial) -> None:
    @vbl.workflow
    async def busy() -> list[int]:
        return list(await asyncio.gather(work(1), slow(2, 60), corpus.flaky(3, 1)))

    run = trial.start(busy)
    trial.settle()
    state = run.state()
    assert state.outputs == {"work": 1}
    assert state.pending == ["slow", "flaky"]
    assert state.attempts == {"work": 1, "slow": 1, "flaky": 1}
    assert run.result() == [1, 2, 3]
    assert run.state().attempts["flaky"] == 2


def test_the_digest_is_chained_over_the_deltas(trial: Trial) -> None:
    first, second = trial.start(ordering), trial.start(ordering)
    first.result(), second.result()
    digests = [c["digest"] for c in checkpoints(first)]
    assert len(set(digests)) == len(digests)
    assert digests == [c["digest"] for c in checkpoints(second)], "the same deltas, the same digests"


@pytest.mark.parametrize("name", ["conversation", "plain_state"])
@pytest.mark.slow
def test_state_is_the_same_when_the_run_dies_at_any_commit(name: str, tmp_path: Path) -> None:
    """Every checkpoint of the run that died and went on equals that of the undisturbed one."""
    shape = SHAPES[name]
    with Trial(tmp_path / "whole.db", clock=WORLD.clock) as whole:
        run = whole.start(shape.workflow)
        run.result()
        expected = [run.state(checkpoint=c["checkpoint"]).variables for c in checkpoints(run)]
    for at in count(1):
        WORLD.begin(FakeClock())
        with Trial(tmp_path / f"{at}.db", clock=WORLD.clock).up(die_after=at) as trial:
            run = trial.start(shape.workflow)
            if trial.finish(run):
                break
            trial.up()
            assert trial.finish(run)
            assert [run.state(checkpoint=c["checkpoint"]).variables for c in checkpoints(run)] == expected
            assert_sound(trial)
    assert at > 3


def test_a_value_that_is_shared_by_state_and_input_is_not_spoiled(trial: Trial) -> None:
    """What a body does to its argument, or the code to a result, changes neither the state nor the history."""

    class Box(BaseModel):
        items: list[Any] = []

    @vbl.step
    async def spoils(items: list[Any]) -> list[Any]:
        items.append("spoiled by the body")
        return items

    @vbl.workflow
    async def shares() -> list[Any]:
        box = vbl.state(Box)
        box.items.append({"n": 1, "deep": [1]})
        got = await spoils(box.items)
        got[0]["deep"].append("spoiled by the code")
        await work(1)
        box.items.append(got)
        box.items[0]["deep"].append(2)
        await work(2)
        return box.items

    run = trial.start(shares)
    expected = [{"n": 1, "deep": [1, 2]}, [{"n": 1, "deep": [1, "spoiled by the code"]}, "spoiled by the body"]]
    assert run.result() == expected
    assert run.state(checkpoint=1).variables == {"items": [{"n": 1, "deep": [1]}]}
    assert run.state().outputs["spoils"] == [{"n": 1, "deep": [1]}, "spoiled by the body"]
    assert replay(run) == expected
    assert_sound(trial)


def test_large_values_that_are_shared_are_not_spoiled_either(trial: Trial) -> None:
    """The same with lists that are long enough to be stored by reference."""

    class Talk(BaseModel):
        messages: list[dict[str, Any]] = []

    @vbl.step
    async def answers(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        messages[0]["text"] = "spoiled by the body"
        return [*messages[1:], {"text": "answer", "parts": []}]

    @vbl.workflow
    async def talks() -> list[Any]:
        talk = vbl.state(Talk)
        talk.messages = [{"text": f"message {n} " + "and more " * 30, "parts": [n]} for n in range(30)]
        for turn in range(4):
            answer = await answers(talk.messages)
            answer[-1]["parts"].append(turn)
            answer[0]["text"] = "spoiled by the code"
            talk.messages.append(answer[-1])
            talk.messages[turn]["parts"].append("seen")
        return [m["parts"] for m in talk.messages]

    run = trial.start(talks)
    output = run.result()
    assert output == [[n, "seen"] if n < 4 else [n] for n in range(30)] + [[n] for n in range(4)]
    texts = [m["text"] for m in run.state().variables["messages"]]
    assert not [text for text in texts if "spoiled" in text]
    for fact in run.facts():
        if fact.type == "STEP_COMPLETED":
            assert fact.payload["output"][-1] == {"text": "answer", "parts": []}
            assert "spoiled" not in fact.payload["output"][0]["text"]
        if fact.type == "STEP_STARTED":
            assert "spoiled" not in fact.payload["input"]["messages"][0]["text"]
    assert replay(run) == output
    assert_sound(trial)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


class Heap(BaseModel):
    values: list[Any] = []


@vbl.workflow
async def heaping(values: list[Any]) -> list[Any]:
    """Sends each value through a step, and keeps it."""
    heap, found = vbl.state(Heap), []
    for value in values:
        found.append(await echo(value))
        heap.values.extend([value, *heap.values[:2]])
    return [found, heap.values]


@settings(max_examples=25)
@given(st.lists(VALUES | st.text("abc", min_size=1_000, max_size=3_000), max_size=5))
@pytest.mark.slow
def test_whatever_goes_through_a_run_comes_back(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    kept: list[Any] = []
    for value in values:
        kept.extend([value, *kept[:2]])
    path = tmp_path_factory.mktemp("heap") / "heap.db"
    with Trial(path) as trial:
        run = trial.start(heaping, values)
        assert run.result() == [values, kept]
        assert list(run.state().outputs.values()) == values
        assert run.state().variables.get("values", []) == kept
        assert replay(run) == [values, kept]
        assert_sound(trial)


# What it costs ----------------------------------------------------------------------------------------------------


class Conversation(BaseModel):
    messages: list[dict[str, str]] = []


@vbl.step
async def says(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    text = f"turn {len(messages)} " + "and so on and on " * 58
    return [*messages, {"role": "assistant", "content": text[:1_000]}]


@vbl.workflow
async def converses(turns: int) -> int:
    talk = vbl.state(Conversation)
    for _ in range(turns):
        talk.messages = await says(talk.messages)
    return len(talk.messages)


def size_of(trial: Trial, turns: int) -> tuple[int, int]:
    """The bytes in the file, and those of the messages."""
    run = trial.start(converses, turns)
    assert run.result() == turns
    said = len(json.dumps(run.state().variables["messages"], separators=(",", ":")))
    trial.down()
    _, rows = trial.sql("select page_count * page_size from pragma_page_count, pragma_page_size")
    return rows[0][0], said


def test_a_conversation_costs_no_more_than_three_times_what_is_said(trial: Trial) -> None:
    size, said = size_of(trial, 250)
    assert said > 250_000
    assert size <= 3 * said


@pytest.mark.slow
def test_a_long_conversation_costs_no_more_than_three_times_what_is_said(trial: Trial) -> None:
    size, said = size_of(trial, 2_000)
    assert said > 2_000_000
    assert size <= 3 * said
    (run,) = trial.runs()
    assert len(run.state(checkpoint=1_000).variables["messages"]) == 1_000
    assert replay(run) == 2_000


def test_reading_any_checkpoint_touches_a_bounded_chain(trial: Trial) -> None:
    """A full copy stands in the table once the deltas outweigh it; there is one a run."""
    run = trial.start(corpus.conversation)
    run.result()
    _, rows = trial.sql("select checkpoint, seq from checkpoints")
    assert len(rows) == 1
    assert 1 <= rows[0][0] <= run.state().checkpoint
