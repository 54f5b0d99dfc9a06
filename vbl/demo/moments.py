"""When to kill: decided by what the history says is complete and what is in flight. Pure."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from vbl.agents.prompts import QUESTIONS
from vbl.history.state import RunState, StepState

KILLS = 2


def worth_a_kill(state: RunState, kill: int, at_work: Set[str]) -> bool:
    """Whether the worker should die now for the `kill`-th time (1, 2).

    `at_work` are the keys of the steps whose bodies have begun and not ended, by the side-effect file: one that is in
    flight by the history too must be among them, or there is nothing to tear.
    """
    torn = [step for step in state.steps.values() if step.status == "running" and step.key in at_work]
    if not torn:
        return False
    if kill == 1:
        summaries = named(state, "summarise")
        complete = sum(step.status == "completed" for step in summaries)
        middle = complete >= min(2, len(documents(state)) - 1) and any(step.name == "summarise" for step in torn)
        return middle or bool(named(state, "ask"))
    answers = named(state, "ask")
    return any(step.status == "completed" for step in answers)


def documents(state: RunState) -> list[str]:
    """The names of the documents that the run has found."""
    found: Any = state.outputs.get("look_through") or {}
    return found.get("documents", [])


def named(state: RunState, name: str) -> list[StepState]:
    """The steps of one name, in the order in which the code asked for them."""
    return [step for step in state.steps.values() if step.name == name]


def label(state: RunState, key: str) -> str:
    """What a step is called on the screen: by its document or its question instead of a number."""
    name, _, index = key.removesuffix("]").partition("[")
    found = documents(state)
    if index.isdigit() and int(index) < len(found):
        return f"{name} {found[int(index)]}"
    name, _, count = key.partition("#")
    asked = int(count or 1) - 1
    return f"ask: {QUESTIONS[asked].heading}" if name == "ask" and asked < len(QUESTIONS) else key
