"""What one body does cannot reach another: its context, its process, its death."""

from __future__ import annotations

import contextvars

import vbl
from tests.engine.world import WORLD
from vbl.testing import Trial

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


@vbl.step
async def marks(name: str) -> str:
    """What was set before, which must be nothing; then sets it."""
    before = MARK.get()
    MARK.set(name)
    return before


@vbl.step
def marks_in_a_thread(name: str) -> str:
    before = MARK.get()
    MARK.set(name)
    return before


@vbl.workflow
async def marking(name: str) -> list[str]:
    mine = MARK.get()
    return [
        mine,
        await marks(name),
        await marks(name),
        await marks_in_a_thread.aio(name),
        await marks(name),
        MARK.get(),
    ]


@vbl.workflow
def plain_marking(name: str) -> list[str]:
    MARK.set("workflow")
    found = [marks_in_a_thread(name) for _ in range(3)]
    return [*found, MARK.get()]


def test_context_variables_do_not_leak_between_bodies_and_runs(trial: Trial) -> None:
    for name in ("a", "b"):
        assert trial.start(marking, name).result() == ["none"] * 6
        assert trial.start(plain_marking, name).result() == ["none"] * 3 + ["workflow"]
    assert WORLD.notes == []


def test_a_sync_workflow_can_be_the_first_to_need_a_thread(trial: Trial) -> None:
    """Its call wakes the supervisor out of workflow code; what that starts then is no workflow's doing."""
    assert trial.start(plain_marking, "a").result(timeout=10) == ["none"] * 3 + ["workflow"]
