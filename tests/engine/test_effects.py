"""Effects that can't be taken back: what becomes of a step whose process died between doing and recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.engine.checks import assert_sound
from tests.engine.doubts import cut_off
from tests.engine.world import WORLD
from vbl.errors import Conflict, InvalidInput, UsageError
from vbl.handle import Run
from vbl.testing import Trial

Answer = Callable[[], Any]


def types(run: Run) -> list[str]:
    return [fact.type for fact in run.facts()]


def gone_on(path: Path, **options: Any) -> tuple[Trial, Run]:
    """A run whose step was in its body when the process died, under a supervisor that has come since."""
    trial = Trial(path, clock=WORLD.clock).up()
    run = cut_off(trial, **options)
    trial.up()
    trial.settle()
    return trial, run


@pytest.mark.parametrize(
    "options", [{}, {"effect": "pure"}, {"effect": "read"}, {"effect": "write", "idempotent": True}]
)
def test_what_may_be_repeated_is_run_again(tmp_path: Path, options: dict[str, Any]) -> None:
    trial, run = gone_on(tmp_path / "a.db", **options)
    with trial:
        assert run.result() == 7
        assert WORLD.runs_of(run.id) == {"pay": 2}
        keys = {fact.payload["idempotency_key"] for fact in run.facts() if fact.type == "STEP_STARTED"}
        assert len(keys) == 1, "one key for every attempt"
        assert_sound(trial)


@pytest.mark.parametrize(
    ("answer", "output", "bodies"),
    [(vbl.Happened(70), 70, 1), (vbl.DidNotHappen(), 7, 2)],
    ids=["happened", "did not"],
)
def test_a_probe_settles_it(tmp_path: Path, answer: Any, output: int, bodies: int) -> None:
    asked: list[int] = []

    def probe(amount: int) -> Any:
        asked.append(amount)
        return answer

    trial, run = gone_on(tmp_path / "a.db", effect="write", verify=probe)
    with trial:
        assert run.result() == output
        assert asked == [7]
        assert WORLD.runs_of(run.id) == {"pay": bodies}
        assert "STEP_RESOLVED" in types(run)
        assert_sound(trial)


def raising(amount: int) -> Any:
    raise ConnectionError("the bank does not answer")


@pytest.mark.parametrize(
    "probe",
    [lambda amount: vbl.Unknown("no list"), raising, lambda amount: "yes"],
    ids=["unknown", "raises", "nonsense"],
)
def test_a_probe_that_cannot_say_asks_a_person(tmp_path: Path, probe: Any) -> None:
    trial, run = gone_on(tmp_path / "a.db", effect="write", verify=probe)
    with trial:
        assert run.status == "blocked"
        (question,) = trial.questions()
        assert (question.kind, question.step) == ("unknown_outcome", "pay")
        assert "vbl resolve" in run.why().hint
        assert_sound(trial)


@pytest.mark.parametrize("alive", [True, False], ids=["supervised", "alone"])
@pytest.mark.parametrize(
    ("said", "output", "bodies"),
    [
        ({"happened": 70}, 70, 1),
        ({"did_not": True}, 7, 2),
        ({"fail": True}, "interrupted: UnknownOutcome", 1),
    ],
    ids=["happened", "did not", "fail"],
)
def test_a_person_settles_it(tmp_path: Path, said: dict[str, Any], output: Any, bodies: int, alive: bool) -> None:
    trial, run = gone_on(tmp_path / "a.db", effect="write")
    with trial:
        assert run.status == "blocked"
        assert WORLD.runs_of(run.id) == {"pay": 1}, "it was blindly repeated"
        if not alive:
            trial.kill()
        run.resolve(by="ada", reason="I asked the bank", **said)
        if not alive:
            trial.up()
        assert run.result() == output
        assert WORLD.runs_of(run.id) == {"pay": bodies}
        (resolved,) = (fact.payload for fact in run.facts() if fact.type == "STEP_RESOLVED")
        assert (resolved["actor"], resolved["reason"]) == ("ada", "I asked the bank")
        assert_sound(trial)


def test_what_does_not_fit_or_is_not_asked_changes_nothing(tmp_path: Path) -> None:
    trial, run = gone_on(tmp_path / "a.db", effect="write")
    with trial:
        before = run.facts()
        with pytest.raises(InvalidInput, match="the result of step pay does not fit"):
            run.resolve(happened="a lot")
        with pytest.raises(UsageError):
            run.resolve()
        with pytest.raises(UsageError):
            run.resolve(did_not=True, fail=True)
        assert run.facts() == before
        run.resolve(happened=1)
        assert run.result() == 1
        with pytest.raises(Conflict) as refused:
            run.resolve(did_not=True)
        assert refused.value.code == "run_finished"


def test_a_retry_runs_it_again(tmp_path: Path) -> None:
    trial, run = gone_on(tmp_path / "a.db", effect="write")
    with trial:
        run.retry(by="ada")
        assert run.result() == 7
        assert WORLD.runs_of(run.id) == {"pay": 2}


@pytest.mark.parametrize("verify", [3, "probe"])
def test_what_can_be_no_probe_is_refused(verify: Any) -> None:
    with pytest.raises(UsageError, match="is no probe"):
        vbl.step(effect="write", verify=verify)(lambda: None)
