"""What calls of models used stands in the history of the step that made them, once, however its attempts ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.agents import paying
from tests.engine.world import WORLD
from tests.model_server import RATE_LIMITED, Answer, ModelServer
from vbl.agents import record_usage
from vbl.agents.models import MODEL_VARIABLES
from vbl.errors import NotInWorkflow, UsageError
from vbl.handle import Run
from vbl.testing import FakeClock, Trial, replay

KEY = "sk-planted-0123456789abcdef"
COLUMNS = "step, provider, model, input_tokens, output_tokens, cached_tokens, usd"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    for name in MODEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with ModelServer() as running:
        monkeypatch.setenv("VBL_MODEL_URL", running.url)
        monkeypatch.setenv("VBL_MODEL_KEY", KEY)
        monkeypatch.setenv("VBL_MODEL", "m-0")
        yield running


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    WORLD.begin(FakeClock())
    with Trial(tmp_path / "trial.db", clock=WORLD.clock) as made:
        yield made
        made.down(grace_s=0)


def paid(text: str = "- yes", **usage: Any) -> Answer:
    """An answer of OpenAI's form that says what it used."""
    return Answer(200, {"model": "m-1", "choices": [{"message": {"content": text}}], "usage": usage})


def costs(trial: Trial, run: Run) -> list[tuple[Any, ...]]:
    return trial.sql(f"select {COLUMNS} from vbl_costs where run_id = ? order by seq", (run.id,))[1]


def used(run: Run, type: str) -> list[Any]:
    """The usage of the events of a type; None where there is none."""
    return [fact.payload.get("usage") for fact in run.facts() if fact.type == type]


def by_hand(usd: float) -> dict[str, Any]:
    return {"provider": "by hand", "model": "own-1", "usd": usd}


def assert_sound(trial: Trial) -> None:
    """The summaries say what the histories say, and are rebuilt byte for byte."""
    rows = "select * from vbl_runs order by id"
    before = trial.sql(rows)[1]
    assert [finding for finding in trial.doctor(rebuild=True) if finding.severity in ("error", "warning")] == []
    assert trial.sql(rows)[1] == before


def test_each_call_of_a_step_is_a_row(trial: Trial, server: ModelServer) -> None:
    server.script(paid(prompt_tokens=100, completion_tokens=20, prompt_tokens_details={"cached_tokens": 64}, cost=0.25))
    run = trial.start(paying.asking_twice, "why")
    run.result()
    assert costs(trial, run) == [
        ("one", "compatible", "m-1", 100, 20, 64, 0.25),
        ("one#2", "compatible", "m-0", 1, 11, None, None),
    ]
    assert run.usd == 0.25
    assert run.state().usage[0] == {
        "step": "one", "provider": "compatible", "model": "m-1", "input_tokens": 100, "output_tokens": 20,
        "cached_tokens": 64, "usd": 0.25,
    }  # fmt: skip
    assert_sound(trial)


def test_calls_in_tasks_and_threads_of_one_body_are_rows_of_their_own(trial: Trial, server: ModelServer) -> None:
    run = trial.start(paying.asking_all_ways, "why")
    run.result()
    rows = costs(trial, run)
    assert [row[0] for row in rows] == ["several"] * 3 + ["in_threads"] * 2
    assert ("several", "by hand", "own-1", 7, 0, 3, 0.5) in rows
    assert sum(row[1] == "compatible" for row in rows) == 4
    assert run.usd == 0.5
    assert_sound(trial)


@pytest.mark.slow
def test_what_a_process_of_its_own_uses_is_known_also_when_it_dies(trial: Trial, server: ModelServer) -> None:
    run = trial.start(paying.asking_apart, "why")
    run.result()
    assert [row[:3] for row in costs(trial, run)] == [("apart", "compatible", "m-0")]
    server.script(paid(cost=1))
    run = trial.start(paying.dying, "why")
    assert trial.finish(run)
    assert [(row[0], row[6]) for row in costs(trial, run)] == [("dies_once", 1.0), ("dies_once", None)]
    assert used(run, "STEP_FAILED") == [{"provider": "compatible", "model": "m-1", "usd": 1.0}]


def test_an_attempt_that_fails_behind_a_paid_call_says_what_it_used(trial: Trial, server: ModelServer) -> None:
    server.script(*[paid("no JSON", cost=0.5)] * 2, paid('{"answer": 42}', cost=0.125))
    run = trial.start(paying.correcting, "why")
    assert trial.finish(run)
    assert run.result() == 42
    assert [row[6] for row in costs(trial, run)] == [0.5, 0.5, 0.125]
    assert run.usd == 1.125
    assert_sound(trial)


def test_an_answer_of_no_use_is_paid_for_and_a_refused_call_is_not(trial: Trial, server: ModelServer) -> None:
    server.script(paid("", prompt_tokens=9, completion_tokens=0), RATE_LIMITED)
    of_no_use = trial.start(paying.asking, "why")
    with pytest.raises(vbl.RunFailed, match="transient"):
        of_no_use.result()
    refused = trial.start(paying.asking, "why")
    with pytest.raises(vbl.RunFailed, match="rate_limited"):
        refused.result()
    assert costs(trial, of_no_use) == [("one", "compatible", "m-1", 9, 0, None, None)]
    assert costs(trial, refused) == []


def test_a_step_whose_time_is_up_says_what_it_used(trial: Trial) -> None:
    run = trial.start(paying.too_late)
    assert run.result() == "timeout"
    assert used(run, "STEP_FAILED") == [by_hand(0.5)]
    assert run.usd == 0.5


@pytest.mark.parametrize("writing", [False, True])
def test_a_step_that_is_given_up_says_what_it_had_used(trial: Trial, writing: bool) -> None:
    run = trial.start(paying.impatient, writing)
    assert trial.finish(run)
    assert run.result() == "given up"
    assert used(run, "STEP_CANCELLED") == [by_hand(0.5)]
    assert run.usd == 0.5
    assert replay(run, paying.impatient) == "given up"
    assert_sound(trial)


def test_a_clean_up_that_is_broken_off_says_what_it_had_used(trial: Trial) -> None:
    run = trial.start(paying.cleaning_up)
    trial.settle()
    run.cancel(within=60)
    trial.advance(60)
    assert run.status == "cancelled"
    assert used(run, "STEP_CANCELLED") == [by_hand(0.5)]
    assert_sound(trial)


def test_a_write_that_goes_on_in_its_thread_counts_each_call_once(trial: Trial) -> None:
    given_up, broken_off = trial.start(paying.giving_up), trial.start(paying.broken_off)
    trial.until(lambda: broken_off.status.finished and WORLD.notes == ["paid"] * 2)
    assert used(broken_off, "STEP_FAILED") == [by_hand(0.5)]
    WORLD.clock.advance(5)
    trial.until(lambda: given_up.status.finished)
    assert used(given_up, "STEP_CANCELLED") == [by_hand(0.5)]
    WORLD.release()
    trial.until(lambda: all(used(run, "STEP_COMPLETED") for run in (given_up, broken_off)))
    assert [used(run, "STEP_COMPLETED") for run in (given_up, broken_off)] == [[by_hand(0.25)]] * 2
    assert [trial.run(run.id).usd for run in (given_up, broken_off)] == [0.75, 0.75]
    assert_sound(trial)


def test_a_step_that_is_stopped_says_what_it_had_used_and_pays_again(trial: Trial) -> None:
    run = trial.start(paying.waiting)
    trial.settle()
    trial.down(grace_s=0)
    assert used(run, "STEP_INTERRUPTED") == [by_hand(0.5)]
    trial.up()
    trial.settle()
    trial.down(grace_s=0)
    assert trial.run(run.id).usd == 1.0, "two attempts paid"
    assert_sound(trial)


def test_a_death_between_the_call_and_its_commit_pays_again_and_counts_what_is_recorded(
    tmp_path: Path, server: ModelServer
) -> None:
    trial = Trial(tmp_path / "a.db")
    with trial.up(die_before=2):
        run = trial.start(paying.asking, "why")
        trial.until(lambda: trial.died)
        assert len(server.seen) == 1, "it died behind the call"
        assert costs(trial, run) == []
        trial.up()
        assert trial.finish(run)
        assert len(server.seen) == 2
        assert len(costs(trial, run)) == 1, "what the attempt of the dead process used is not known"
        assert used(run, "STEP_INTERRUPTED") == [None]


def test_a_death_behind_the_commit_and_a_replay_count_nothing_twice(tmp_path: Path, server: ModelServer) -> None:
    trial = Trial(tmp_path / "a.db")
    with trial.up(die_after=2):
        server.script(paid(cost=0.5))
        run = trial.start(paying.asking_twice, "why")
        trial.until(lambda: trial.died)
        assert [row[6] for row in costs(trial, run)] == [0.5]
        trial.up()
        assert trial.finish(run)
        assert [row[6] for row in costs(trial, run)] == [0.5, None]
        assert trial.run(run.id).usd == 0.5
        asked = len(server.seen)
        assert replay(run, paying.asking_twice) == run.result()
        assert len(server.seen) == asked
        assert_sound(trial)


def test_a_child_pays_for_itself(trial: Trial, server: ModelServer) -> None:
    server.script(paid(cost=1))
    run = trial.start(paying.parent, "why")
    run.result()
    (child,) = (one for one in trial.runs() if one.parent_id == run.id)
    assert (trial.run(run.id).usd, child.usd) == (0.25, 1.0)


def test_a_retried_run_keeps_what_it_paid_before(trial: Trial, server: ModelServer) -> None:
    server.script(paid("", cost=0.5), paid(cost=0.25))
    run = trial.start(paying.asking, "why")
    with pytest.raises(vbl.RunFailed):
        run.result()
    run.retry()
    run.result()
    assert trial.run(run.id).usd == 0.75
    assert_sound(trial)


def test_neither_key_nor_prompt_nor_reply_is_in_what_was_used(trial: Trial, server: ModelServer) -> None:
    body = {
        "model": f"m-1 {KEY}",
        "choices": [{"message": {"content": "a secret reply"}}],
        "usage": {"prompt_tokens": 1, "prompt": "what was asked", "prompt_tokens_details": {"text": "what was asked"}},
    }
    server.script(Answer(200, body))
    run = trial.start(paying.asking, "what was asked")
    run.result()
    assert used(run, "STEP_COMPLETED") == [{"provider": "compatible", "model": "m-1 [key]", "input_tokens": 1}]


def test_what_anthropic_reads_from_and_writes_to_its_cache_went_in(
    trial: Trial, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VBL_MODEL_URL")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    counts = {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 5}
    body = {"model": "c-1", "content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn", "usage": counts}
    server.script(Answer(200, body))
    run = trial.start(paying.asking, "why")
    run.result()
    assert costs(trial, run) == [("one", "anthropic", "c-1", 130, 5, 100, None)]


JUNK: list[tuple[dict[str, Any], str]] = [
    ({"usage": {"prompt_tokens": -1, "completion_tokens": True, "cost": "much", "prompt_tokens_details": []}}, "m-0"),
    ({"usage": {"prompt_tokens": 10**30, "completion_tokens": 1.5, "cost": 10**400}}, "m-0"),
    ({"usage": {"cost": float("nan")}, "model": 7}, "m-0"),
    ({"usage": [1], "model": ""}, "m-0"),
    ({"usage": None, "model": "\ud800 m"}, "? m"),
    ({"model": "m" * 10_000}, "m" * 200),
]


def test_what_a_provider_says_is_taken_only_for_what_it_can_be(trial: Trial, server: ModelServer) -> None:
    for body, model in JUNK:
        server.script(Answer(200, {"choices": [{"message": {"content": "yes"}}], **body}))
        run = trial.start(paying.asking, "why")
        run.result()
        assert costs(trial, run) == [("one", "compatible", model, None, None, None, None)]


WRONG = [
    {"usd": -1.0},
    {"usd": float("nan")},
    {"usd": 1e300},
    {"input_tokens": -1},
    {"output_tokens": 1.5},
    {"cached_tokens": 2**60},
    {"model": ""},
    {"model": "what was asked " * 20},
]


def test_what_is_no_count_is_refused_by_name(trial: Trial) -> None:
    @vbl.step(name="wrong")
    async def step() -> list[str]:
        said: list[str] = []
        for wrong in WRONG:
            with pytest.raises(UsageError, match=r"record_usage\(" + next(iter(wrong))) as refused:
                record_usage(**{"provider": "p", "model": "m", **wrong})
            said.append(refused.value.message)
        return said

    @vbl.workflow(name="paying.recording")
    async def recording() -> list[str]:
        return await step()

    run = trial.start(recording)
    assert "what was asked" not in "".join(run.result())
    assert used(run, "STEP_COMPLETED") == [None]


def test_outside_of_a_step_there_is_nothing_to_record_it_in(trial: Trial, server: ModelServer) -> None:
    with pytest.raises(NotInWorkflow, match="outside the body of a step"):
        record_usage(provider="p", model="m")

    @vbl.workflow(name="paying.recording")
    async def recording() -> None:
        record_usage(provider="p", model="m")

    with pytest.raises(vbl.RunFailed, match="outside the body of a step"):
        trial.start(recording).result()
    assert asyncio.run(paying.asked("why")), "a call of a model is none of a step there"


def test_a_transaction_records_what_it_used(trial: Trial) -> None:
    @vbl.transaction(name="booking")
    def booking() -> int:
        record_usage(provider="p", model="m", usd=0.5)
        return 1

    @vbl.workflow(name="paying.books")
    async def books() -> int:
        return await booking.aio()

    run = trial.start(books)
    assert run.result() == 1
    assert used(run, "STEP_COMPLETED") == [{"provider": "p", "model": "m", "usd": 0.5}]
    assert trial.run(run.id).usd == 0.5
