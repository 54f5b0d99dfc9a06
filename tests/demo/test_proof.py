"""The demo's verdict: it holds for an honest history, and each way in which it could be false is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from vbl.agents.diary import Entry
from vbl.demo.moments import worth_a_kill
from vbl.demo.play import Life, Performance
from vbl.demo.proof import Proof, prove
from vbl.demo.worker import KILLED
from vbl.history.events import payload_model
from vbl.history.facts import Event, EventType, Fact
from vbl.history.state import RunState, fold

PIDS = {1: 101, 2: 102, 3: 103}


class Story:
    """A performance told by hand: `start`, `end`, `kill` in the order in which they happened."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.entries: list[Entry] = []
        self.lives: list[Life] = []
        self.attempts: dict[str, int] = {}
        self.messages: list[str] = []
        self._append("RUN_CREATED", run_id="r_1", workflow="briefing", version="1")
        self._append("RUN_STARTED", epoch=1)

    @property
    def life(self) -> int:
        return len(self.lives) + 1

    def _append(self, type: str, **payload: Any) -> None:
        number = len(self.events) + 1
        self.events.append(Event(number, "r_1", number, EventType(type), number, payload_model(type, payload)))

    def note(self, step: str, phase: str, life: int | None = None) -> None:
        self.entries.append(
            Entry(at=len(self.entries), pid=PIDS[life or self.life], key=f"key of {step}", phase=cast("Any", phase))
        )

    def start(self, *steps: str, body: bool = True) -> None:
        for step in steps:
            self.attempts[step] = self.attempts.get(step, 0) + 1
            self._append("STEP_STARTED", step=step, attempt=self.attempts[step], idempotency_key=f"key of {step}")
            if body:
                self.note(step, "began")

    def end(self, *steps: str, recorded: bool = True) -> None:
        for step in steps:
            self.note(step, "ended")
            if recorded:
                self._append("STEP_COMPLETED", step=step, attempt=self.attempts[step], output=None)

    def say(self, *messages: str) -> None:
        self.messages += messages
        seq = len(self.events)
        number = sum(event.type == "CHECKPOINT_WRITTEN" for event in self.events) + 1
        self._append("CHECKPOINT_WRITTEN", checkpoint=number, applied=seq, delta={"messages": list(self.messages)})

    def kill(self, interrupts: bool = True, exit_code: int = KILLED) -> None:
        state = self.state()
        torn = frozenset(step.key for step in state.steps.values() if step.status == "running")
        self.lives.append(self._life(state, torn, killed=True, exit_code=exit_code))
        if interrupts:
            for step in torn:
                self._append("STEP_INTERRUPTED", step=step, attempt=self.attempts[step], epoch=self.life)

    def finish(self) -> None:
        self._append("RUN_COMPLETED", output=None)
        self.lives.append(self._life(self.state(), frozenset(), killed=False, exit_code=0))

    def _life(self, state: RunState, torn: frozenset[str], killed: bool, exit_code: int) -> Life:
        complete = frozenset(step.key for step in state.steps.values() if step.status == "completed")
        last = len(self.events)
        return Life(
            self.life, PIDS[self.life], 0, 0, last, last, killed, exit_code, complete, torn, dict(state.variables)
        )

    def state(self) -> RunState:
        return fold(
            Fact(event.seq, event.type, event.at, event.payload.model_dump(mode="json")) for event in self.events
        )

    def proof(self) -> Proof:
        return prove(Performance(cast("Any", None), self.events, self.state(), self.lives), self.entries, 100)


def told(before: Callable[[Story], None] | None = None, after: Callable[[Story], None] | None = None) -> Story:
    """An honest story with two kills; `before` adds to the second life, `after` to the third."""
    story = Story()
    story.start("a", "b", "c")
    story.end("a", "b")
    story.say("one", "two")
    story.kill()
    story.start("c")
    story.end("c")
    story.start("d")
    if before:
        before(story)
    story.kill()
    story.start("d")
    story.end("d")
    story.say("three")
    if after:
        after(story)
    story.finish()
    return story


def failing(story: Story) -> list[str]:
    return [claim.text for claim in story.proof().claims if not claim.holds]


def test_honest_story_is_proved() -> None:
    proof = told().proof()
    assert proof.holds, [claim for claim in proof.claims if not claim.holds]
    steps = {step.key: step for step in proof.steps}
    assert [(attempt.life, attempt.outcome) for attempt in steps["c"].attempts] == [
        (1, "interrupted"),
        (2, "completed"),
    ]
    assert (steps["c"].began.total(), steps["c"].ended.total()) == (2, 1)
    assert steps["a"].completed_in == 1


NOTHING_TWICE = "No completed step ran again"
AGREE = "History and side effects agree"
TORN = "What was in flight was interrupted and tried again, and nothing else was"


@pytest.mark.parametrize(
    ("after", "claims"),
    [
        (lambda story: story.start("a"), [NOTHING_TWICE, TORN]),
        (lambda story: story.note("a", "began"), [NOTHING_TWICE, AGREE]),
        (lambda story: story.note("d", "ended"), [NOTHING_TWICE, AGREE]),
        (lambda story: story.note("a", "ended", life=1), [NOTHING_TWICE, AGREE]),
        (lambda story: story.start("e"), [TORN]),
        (lambda story: (story.start("e", body=False), story._append("STEP_COMPLETED", step="e", attempt=1)), [AGREE]),
    ],
    ids=["started again", "body began again", "body ended twice", "ended twice in one life", "left open", "no body"],
)
def test_a_lie_in_the_history_or_the_side_effects_is_seen(after: Callable[[Story], None], claims: list[str]) -> None:
    story = told(after=after)
    assert failing(story) == claims
    assert not story.proof().holds


def test_step_that_ended_just_before_the_kill_may_run_again_and_is_named() -> None:
    story = told(before=lambda story: story.end("d", recorded=False))
    proof = story.proof()
    assert proof.holds
    assert any("1 had just ended, unrecorded" in claim.facts for claim in proof.claims)


def test_interruption_that_was_not_recorded_is_seen() -> None:
    story = Story()
    story.start("a", "b")
    story.end("a")
    story.kill(interrupts=False)
    story.start("b")
    story.end("b")
    story.kill()
    story.finish()
    assert TORN in failing(story)


def test_worker_that_was_not_killed_by_the_signal_proves_nothing() -> None:
    story = told()
    story.lives[0] = replace(story.lives[0], exit_code=0)
    assert failing(story) == ["The worker was killed by SIGKILL twice"]


def test_conversation_that_lost_a_message_is_seen() -> None:
    story = told()
    story.lives[1].variables["messages"] = ["one", "another"]
    assert failing(story) == ["The conversation went on where it was"]


def test_run_that_did_not_complete_and_file_without_words_are_seen() -> None:
    story = told()
    performance = Performance(cast("Any", None), story.events, story.state(), story.lives)
    assert not prove(performance, story.entries, 0).holds


def state_with(summaries: str, answers: str = "", documents: int = 8) -> RunState:
    """c: completed, r: running, one letter a step."""
    story = Story()
    story.start("look_through")
    story._append("STEP_COMPLETED", step="look_through", attempt=1, output={"documents": ["x"] * documents})
    for name, letters in (("summarise", summaries), ("ask", answers)):
        for number, letter in enumerate(letters):
            story.start(f"{name}[{number}]")
            if letter == "c":
                story.end(f"{name}[{number}]")
    return fold(
        Fact(
            e.seq,
            e.type,
            e.at,
            {**e.payload.model_dump(mode="json"), "name": str(dict(e.payload).get("step")).split("[")[0]},
        )
        for e in story.events
    )


@pytest.mark.parametrize(
    ("state", "kill", "worth"),
    [
        (state_with("rrr"), 1, False),
        (state_with("crr"), 1, False),
        (state_with("ccr"), 1, True),
        (state_with("cr", documents=2), 1, True),
        (state_with("r", documents=1), 1, True),
        (state_with("ccc"), 1, False),
        (state_with("ccc", "r", documents=3), 1, True),
        (state_with("ccr"), 2, False),
        (state_with("ccc", "r"), 2, False),
        (state_with("ccc", "cr"), 2, True),
    ],
)
def test_moment_is_chosen_by_the_history(state: RunState, kill: int, worth: bool) -> None:
    assert worth_a_kill(state, kill, frozenset(state.steps)) is worth


def test_nothing_is_killed_while_no_body_is_at_work() -> None:
    assert not worth_a_kill(state_with("ccr"), 1, frozenset())
