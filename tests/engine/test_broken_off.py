"""A write that is broken off in its body: nobody knows what it did, so it is not repeated blindly, and how it ends
after all is recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.engine.checks import assert_sound
from vbl.errors import RunFailed
from vbl.handle import Run
from vbl.testing import Trial

AT_ONCE = vbl.Retry(max_attempts=3, delay=0)


class Bank:
    """A write that takes longer than its time: its thread waits for `told`; then it does what `ends` says."""

    def __init__(self) -> None:
        self.bodies = 0
        self.told = threading.Event()
        self.error: Exception | None = None

    def step(self, **options: Any) -> Any:
        @vbl.step(name="pay", effect="write", timeout=0.05, **options)
        def pay(amount: int) -> int:
            self.bodies += 1
            if self.bodies > 1:
                return amount + self.bodies
            self.told.wait(20)
            if self.error is not None:
                raise self.error
            return amount

        return pay


@pytest.fixture
def bank() -> Iterator[Bank]:
    made = Bank()
    yield made
    made.told.set()


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with Trial(tmp_path / "a.db") as made:
        yield made
        made.down(grace_s=0)  # a body that is let go at the end may still be recorded
        assert_sound(made)


def paying(pay: Any) -> Any:
    @vbl.workflow(name="paying")
    async def workflow(amount: int) -> int:
        return await pay.aio(amount)

    return workflow


def types(run: Run) -> list[str]:
    return [fact.type for fact in run.facts() if fact.type != "CHECKPOINT_WRITTEN"]


def blocked(trial: Trial, bank: Bank, **options: Any) -> Run:
    """A run that asks what became of its write, whose body goes on."""
    run = trial.start(paying(bank.step(retry=AT_ONCE, **options)), 7)
    trial.finish(run)
    assert run.status == "blocked"
    assert bank.bodies == 1
    return run


def test_a_write_whose_time_is_up_is_not_repeated_but_asked_about(trial: Trial, bank: Bank) -> None:
    run = blocked(trial, bank)
    [failed] = [fact.payload for fact in run.facts() if fact.type == "STEP_FAILED"]
    assert failed["unknown"] is True
    assert failed["error"]["kind"] == "timeout"
    [asked] = trial.questions()
    assert "took longer than 0.05 s" in run.why().detail
    assert "goes on" in run.why().detail
    assert asked.run_id == run.id
    run.resolve(happened=70)
    assert run.result() == 70
    assert bank.bodies == 1


def test_the_end_that_comes_later_settles_it(trial: Trial, bank: Bank) -> None:
    run = blocked(trial, bank)
    bank.told.set()
    trial.until(lambda: run.status.finished)
    assert run.result() == 7
    assert bank.bodies == 1
    assert types(run)[-3:] == ["RUN_BLOCKED", "STEP_COMPLETED", "RUN_COMPLETED"]


@pytest.mark.parametrize(
    ("error", "output"),
    [(ConnectionError("refused"), 9), (ValueError("no such account"), "ValueError: no such account")],
    ids=["again", "for good"],
)
def test_a_failure_that_comes_later_goes_by_the_policy(trial: Trial, bank: Bank, error: Exception, output: Any) -> None:
    run = blocked(trial, bank)
    bank.error = error
    bank.told.set()
    trial.until(lambda: run.status != "blocked")
    trial.finish(run)
    if isinstance(output, int):
        assert run.result() == output
    else:
        with pytest.raises(RunFailed, match=output):
            run.result()


def test_what_is_idempotent_is_run_again_beside_a_body_that_hangs(trial: Trial, bank: Bank) -> None:
    run = trial.start(paying(bank.step(retry=AT_ONCE, idempotent=True)), 7)
    assert run.result() == 9
    assert bank.bodies == 2


def test_a_probe_is_not_asked_while_the_body_goes_on(trial: Trial, bank: Bank) -> None:
    asked: list[int] = []

    def probe(amount: int) -> Any:
        asked.append(amount)
        return vbl.DidNotHappen()

    blocked(trial, bank, verify=probe)
    assert asked == []


def test_the_next_supervisor_asks_the_probe(trial: Trial, bank: Bank) -> None:
    patient = vbl.Retry(max_attempts=3, delay=60, jitter=0)
    run = trial.start(paying(bank.step(retry=patient, verify=lambda amount: vbl.Happened(amount + 1))), 7)
    trial.settle()
    assert run.status == "retrying"
    trial.kill()
    trial.up()
    assert run.result() == 8
    assert bank.bodies == 1


def test_an_async_write_that_was_broken_off_is_asked_about(trial: Trial) -> None:
    bodies: list[int] = []

    @vbl.step(effect="write", timeout=0.05, retry=AT_ONCE)
    async def pay(amount: int) -> int:
        bodies.append(amount)
        await trial.clock.sleep(3600)
        return amount

    @vbl.workflow(name="paying")
    async def workflow() -> int:
        return await pay(7)

    run = trial.start(workflow)
    trial.until(lambda: run.status == "blocked")
    assert bodies == [7]
    run.resolve(fail=True)
    with pytest.raises(RunFailed, match="nobody knows what became of it"):
        run.result()


def test_what_may_be_repeated_is_tried_again_at_once(trial: Trial) -> None:
    told, bodies = threading.Event(), []

    @vbl.step(timeout=0.05, retry=AT_ONCE)
    def look(amount: int) -> int:
        bodies.append(amount)
        return len(bodies) if len(bodies) > 1 else told.wait(20) + 100

    run = trial.start(paying(look), 7)
    assert run.result() == 2
    told.set()
    assert all("unknown" not in fact.payload for fact in run.facts())


def failed(trial: Trial, bank: Bank) -> Run:
    run = trial.start(paying(bank.step()), 7)
    with pytest.raises(RunFailed, match="took longer"):
        run.result()
    return run


def test_a_success_behind_the_end_of_the_run_is_what_a_retry_goes_on_with(trial: Trial, bank: Bank) -> None:
    run = failed(trial, bank)
    bank.told.set()
    trial.until(lambda: types(run)[-1] == "STEP_COMPLETED")
    assert run.status == "failed"
    assert_sound(trial)
    run.retry()
    assert run.result() == 7
    assert bank.bodies == 1


def test_a_retry_before_that_asks(trial: Trial, bank: Bank) -> None:
    run = failed(trial, bank)
    run.retry()
    trial.finish(run)
    assert run.status == "blocked"
    bank.told.set()
    trial.until(lambda: run.status.finished)
    assert run.result() == 7
    assert bank.bodies == 1


def test_code_that_saw_the_failure_does_not_see_the_end(trial: Trial, bank: Bank) -> None:
    pay = bank.step()

    @vbl.workflow(name="paying")
    async def workflow() -> str:
        try:
            return str(await pay.aio(7))
        except vbl.StepFailed as error:
            gate = await vbl.approve("seen")
            if not gate:
                raise
            return f"{error.kind} {gate.by}"

    run = trial.start(workflow)
    trial.settle()
    bank.told.set()
    trial.until(lambda: types(run)[-1] == "STEP_COMPLETED")
    trial.kill()
    trial.up()
    [gate] = trial.gates()
    trial.approve(gate.id, by="ada")
    assert run.result() == "timeout ada"
    assert run.state().steps["pay"].status == "failed"


def test_a_late_end_stays_unseen_where_something_else_is_retried(trial: Trial, bank: Bank) -> None:
    pay, fine = bank.step(), threading.Event()

    @vbl.step
    def then() -> str:
        if not fine.is_set():
            raise ValueError("not yet")
        return "then"

    @vbl.workflow(name="paying")
    async def workflow() -> str:
        try:
            await pay.aio(7)
        except vbl.StepFailed as error:
            return f"{error.kind} {await then.aio()}"
        return "paid"

    run = trial.start(workflow)
    trial.finish(run)
    bank.told.set()
    trial.until(lambda: types(run)[-1] == "STEP_COMPLETED")
    fine.set()
    run.retry()
    assert run.result() == "timeout then"
