"""What must hold of a run, and of a whole file, whatever happened before."""

from __future__ import annotations

from collections import Counter

from tests.engine.corpus import Shape
from tests.engine.world import WORLD, Effect
from vbl.client import Client
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.history.state import Status, fold, summarise


def assert_as_known(shape: Shape, run: Run) -> None:
    """The run has ended as is known of its shape."""
    state = run.state()
    assert state.status is shape.status, f"{state.status}: {state.blocked or state.error}"
    if shape.status is Status.COMPLETED:
        assert run.result(timeout=0) == shape.output(run.id)


def assert_sound(client: Client) -> None:
    """The whole file is: chains, gaps, summaries, owners."""
    assert [finding for finding in client.doctor() if finding.severity in ("error", "warning")] == []
    for run in client.runs(limit=None):
        facts = run.facts()
        assert [fact.seq for fact in facts] == list(range(1, len(facts) + 1))
        summary = summarise(fold(facts))
        assert (summary.status, summary.seq, summary.wake_at) == (run.status, run.seq, run.wake_at)


def completed(facts: list[Fact]) -> dict[str, int]:
    """The steps whose completion is recorded, and its seq."""
    return {fact.payload["step"]: fact.seq for fact in facts if fact.type == "STEP_COMPLETED"}


def assert_attempts_ran_once(run: Run, effects: list[Effect]) -> None:
    """No attempt's body ran twice, and none that the history does not know."""
    mine = Counter((effect.key, effect.attempt) for effect in effects if effect.run == run.id)
    assert not {attempt: times for attempt, times in mine.items() if times > 1 and attempt[0] != "outer"}
    known = {(fact.payload["step"], fact.payload["attempt"]) for fact in run.facts() if fact.type == "STEP_STARTED"}
    assert mine.keys() <= known


def body_runs(run_id: str, keys: set[str] | dict[str, int]) -> Counter[str]:
    """How often the bodies of these calls ran so far."""
    return Counter({key: count for key, count in WORLD.runs_of(run_id).items() if key in keys})
