"""The proof: the history and the side-effect file, laid side by side. Pure; every claim is computed from the facts.

A claim that does not hold says by which step. Times are not compared, for clocks may be set: what came first is told
by the order of the history and by the process that wrote a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vbl.agents.diary import Entry
from vbl.demo.moments import KILLS, label
from vbl.demo.play import Life, Performance, calls
from vbl.demo.worker import KILLED
from vbl.history.facts import Event

STRANGER = 0
"""The life of a process that was no worker of ours."""
OUTCOMES = {
    "STEP_COMPLETED": "completed",
    "STEP_FAILED": "failed",
    "STEP_INTERRUPTED": "interrupted",
    "STEP_CANCELLED": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a step: the life of the worker that it was made in, and how it ended by the history."""

    number: int
    life: int
    outcome: str


@dataclass(frozen=True, slots=True)
class StepProof:
    """What is known of one step: its attempts by the history, and how often its body began and ended in each life."""

    key: str
    label: str
    attempts: list[Attempt]
    began: Counter[int]
    ended: Counter[int]
    completions: int
    started_after_completion: int

    @property
    def completed_in(self) -> int | None:
        """The life in which the completion was recorded."""
        return next((attempt.life for attempt in self.attempts if attempt.outcome == "completed"), None)


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, whether it holds, and the facts that say so."""

    text: str
    holds: bool
    facts: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The steps, the claims, and the verdict."""

    steps: list[StepProof]
    claims: list[Claim]

    @property
    def holds(self) -> bool:
        """Whether every claim does."""
        return all(claim.holds for claim in self.claims)


def prove(performance: Performance, entries: Sequence[Entry], briefing_words: int) -> Proof:
    """Lay history and side effects side by side. `briefing_words` counts the words in the file that was written."""
    steps = _steps(performance, entries)
    lives = performance.lives
    claims = [
        _killed(lives),
        _nothing_twice(steps, lives),
        _torn_again(steps, lives),
        _agree(steps),
        _conversation(lives, performance.state.variables),
        _finished(performance, briefing_words),
    ]
    return Proof(steps, claims)


def _steps(performance: Performance, entries: Sequence[Entry]) -> list[StepProof]:
    lives, events = performance.lives, performance.events
    life_of_pid = {life.pid: life.number for life in lives}
    notes: dict[tuple[str, str], Counter[int]] = {}
    for entry in entries:
        notes.setdefault((entry.key, entry.phase), Counter())[life_of_pid.get(entry.pid, STRANGER)] += 1
    found: list[StepProof] = []
    for key, call in calls(events).items():
        own = [event for event in events if event.type.startswith("STEP_") and event.payload["step"] == key]
        types = [event.type.value for event in own]
        complete_at = types.index("STEP_COMPLETED") if "STEP_COMPLETED" in types else len(types)
        found.append(
            StepProof(
                key=key,
                label=label(performance.state, key),
                attempts=_attempts(own, lives),
                began=notes.get((call, "began"), Counter()),
                ended=notes.get((call, "ended"), Counter()),
                completions=types.count("STEP_COMPLETED"),
                started_after_completion=types[complete_at:].count("STEP_STARTED"),
            )
        )
    return found


def _attempts(own: Iterable[Event], lives: Sequence[Life]) -> list[Attempt]:
    attempts: dict[int, Attempt] = {}
    for event in own:
        if event.type == "STEP_STARTED":
            number = event.payload["attempt"]
            life = next(life.number for life in lives if event.id <= life.last_event)
            attempts[number] = Attempt(number, life, "open")
        elif event.type in OUTCOMES:
            number = max(attempts) if event.type == "STEP_CANCELLED" else event.payload["attempt"]
            attempts[number] = Attempt(number, attempts[number].life, OUTCOMES[event.type])
    return list(attempts.values())


def _killed(lives: Sequence[Life]) -> Claim:
    codes = [life.exit_code for life in lives if life.killed]
    by_signal = len(codes) == KILLS and all(code == KILLED for code in codes)
    listed = ", ".join(f"process {life.pid} ended with {life.exit_code}" for life in lives if life.killed)
    return Claim(f"The worker was killed by SIGKILL {_times(KILLS)}", by_signal, listed or "it was never killed")


def _nothing_twice(steps: Sequence[StepProof], lives: Sequence[Life]) -> Claim:
    """No step whose completion stood in the history ran again, by the history and by the side effects."""
    wrong = [
        step.label
        for step in steps
        if (life := step.completed_in) is not None
        and (
            step.completions > 1
            or step.started_after_completion
            or any(later > life for later in step.began)
            or step.ended[life] > 1
        )
    ]
    before = set[str]().union(*(life.complete for life in lives if life.killed))
    facts = f"{len(before)} of {len(steps)} steps were complete before a kill; none of them began again"
    return Claim("No completed step ran again", not wrong and bool(before), _unless(wrong, "ran again", facts))


def _torn_again(steps: Sequence[StepProof], lives: Sequence[Life]) -> Claim:
    """What was in flight at a kill, and nothing else, was recorded as interrupted and was tried once more."""
    torn = {(key, life.number) for life in lives if life.killed for key in life.torn}
    interrupted = {(s.key, attempt.life) for s in steps for attempt in s.attempts if attempt.outcome == "interrupted"}
    names = {step.key: step.label for step in steps}
    wrong = sorted(names[key] for key, _ in torn ^ interrupted)
    wrong += sorted(step.label for step in steps if any(attempt.outcome == "open" for attempt in step.attempts))
    facts = f"{len(torn)} attempts were in flight at a kill, {len(interrupted)} are recorded as interrupted"
    late = sum(1 for step in steps for key, life in torn if key == step.key and step.ended[life])
    if late:
        facts += f"; {late} had just ended, unrecorded, and so ran again all the same"
    holds = not wrong and bool(torn)
    return Claim(
        "What was in flight was interrupted and tried again, and nothing else was", holds, _unless(wrong, "", facts)
    )


def _agree(steps: Sequence[StepProof]) -> Claim:
    """Each body that began had its start recorded first, and each recorded completion has a body that ended."""
    wrong: list[str] = []
    for step in steps:
        recorded = Counter(attempt.life for attempt in step.attempts)
        life = step.completed_in
        if any(step.began[n] > recorded[n] for n in step.began) or (life is not None and step.ended[life] != 1):
            wrong.append(step.label)
    began, ended = (sum(sum(getattr(step, which).values()) for step in steps) for which in ("began", "ended"))
    attempts = sum(len(step.attempts) for step in steps)
    facts = f"{attempts} attempts recorded, {began} bodies began, {ended} ended, {len(steps)} steps"
    return Claim("History and side effects agree", not wrong, _unless(wrong, "differs", facts))


def _conversation(lives: Sequence[Life], final: dict[str, Any]) -> Claim:
    """What was said before a kill stands unchanged at the beginning of what was said in the end."""
    held: list[list[Any]] = [life.variables.get("messages") or [] for life in lives if life.killed]
    end: list[Any] = final.get("messages") or []
    kept = all(end[: len(messages)] == messages for messages in held)
    facts = f"{max(map(len, held), default=0)} messages at a kill, {len(end)} in the end"
    return Claim("The conversation went on where it was", kept and bool(end), facts)


def _finished(performance: Performance, briefing_words: int) -> Claim:
    status = performance.state.status
    facts = f"the run is {status}, {performance.state.seq} events; the file has {briefing_words} words"
    return Claim("The briefing was written", status == "completed" and briefing_words > 0, facts)


def _unless(wrong: Sequence[str], what: str, facts: str) -> str:
    return f"{what + ': ' if what else ''}{', '.join(wrong)} ({facts})" if wrong else facts


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
