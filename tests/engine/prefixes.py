"""A history cut off anywhere: from there the code asks for what the history goes on with."""

from __future__ import annotations

import threading
from typing import Any

from vbl.engine.advance import Execution
from vbl.engine.definitions import REGISTRY
from vbl.handle import Run
from vbl.history.facts import Fact, is_input
from vbl.history.script import COMMANDS, script_of
from vbl.history.state import fold
from vbl.store.journal import History
from vbl.store.payloads import Resolver

PATIENCE_S = 60.0


def asked_after(run: Run, facts: list[Fact]) -> list[tuple[str, Any]]:
    """Replay the beginning of a history: what the code asks for behind it."""
    history = History(None, Resolver(lambda digest: b""))
    history.state = fold(facts)
    script = script_of(facts)
    reached = threading.Event()
    execution = Execution(history, REGISTRY[run.workflow], script, reached.set)
    try:
        asks = [ask for fact in script.inputs for ask in _asked(execution, fact, reached)]
        assert execution.matched == len(script.commands), "the code asks for less than the history holds"
        return [(ask.type, ask.subject) for ask in asks]
    finally:
        execution.close()


def _asked(execution: Execution, fact: Fact, reached: threading.Event) -> list[Any]:
    """Hand over one input; a sync workflow's thread takes a moment."""
    execution.activate(fact)
    while not execution.resting:
        assert reached.wait(PATIENCE_S)
        reached.clear()
        execution.resume()
    return execution.take_asks()


def check_prefixes(run: Run) -> int:
    """From every prefix the code asks for the very commands that the history goes on with, and for some where it goes
    on with a command. Returns how many prefixes there were."""
    facts = run.facts()
    if all(fact.type != "RUN_STARTED" for fact in facts):
        return len(facts)  # it was cancelled before its code was entered
    for length in range(1, len(facts) + 1):
        script = script_of(facts[:length])
        commands = [(command.type, command.subject) for command in script_of(facts[: _horizon(facts, length)]).commands]
        known = len(script.commands)
        asks = asked_after(run, facts[:length])
        assert asks == commands[known : known + len(asks)], f"after event {length}"
        following = facts[length] if length < len(facts) else None
        if following is not None and _is_command(following, facts[:length]) and script.inputs:
            assert asks, f"event {length + 1}, {following.type}, is not asked for"
    return len(facts)


def _horizon(facts: list[Fact], length: int) -> int:
    """How far the history goes on with what follows from its first events: a retry takes back what had followed."""
    return next((n for n in range(length, len(facts)) if facts[n].type == "RUN_RETRIED"), len(facts))


def _is_command(fact: Fact, before: list[Fact]) -> bool:
    """Whether the code asked for it: of a step its first attempt alone, of a child the first that was started."""
    if is_input(fact.type, fact.payload) or fact.type not in COMMANDS:
        return False
    if fact.type == "CHILD_STARTED":
        return not any(f.type == "CHILD_STARTED" and f.payload["call"] == fact.payload["call"] for f in before)
    return fact.type != "STEP_STARTED" or fact.payload["attempt"] == 1
