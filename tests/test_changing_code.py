"""The table of edits in docs/changing-code.md: which of them runs under way survive, and which block them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import vbl
from vbl.engine.definitions import REGISTRY
from vbl.testing import Trial, replay

SOURCE = """
import vbl

@vbl.step
def fetch(n: int) -> int:
    return n

@vbl.workflow
async def errand() -> int:
    result = await fetch.aio(1)
    await vbl.sleep(3600)
    return result
"""


class Programmer:
    """A run that sleeps between its steps, and somebody who edits its file meanwhile."""

    def __init__(self, folder: Path, trial: Trial) -> None:
        self.file = folder / "errand.py"
        self.trial = trial
        self.load(SOURCE)
        self.run = trial.start("errand")
        trial.advance(1)
        trial.down()

    def load(self, source: str) -> None:
        """Save the file and restart the supervisor with it."""
        self.trial.down()
        REGISTRY.clear()
        self.file.write_text(source, "utf-8")
        module = sys.modules["errand"] = ModuleType("errand")
        module.__file__ = str(self.file)
        exec(compile(source, module.__file__, "exec"), vars(module))  # as an import, but never from a stale cache
        self.trial.up()


@pytest.fixture
def programmer(tmp_path: Path) -> Iterator[Programmer]:
    known = dict(REGISTRY)
    with Trial(tmp_path / "trial.db") as trial:
        yield Programmer(tmp_path, trial)
    sys.modules.pop("errand", None)
    REGISTRY.clear()
    REGISTRY.update(known)


def edited(*changes: tuple[str, str]) -> str:
    source = SOURCE
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    return source


RETURN = "    return result"
HARMLESS = {
    "the body of a step": (edited(("return n", "return 100 * n"), (RETURN, "    return await fetch.aio(5)")), 500),
    "a retry policy and a time-out": (edited(("@vbl.step", "@vbl.step(retry=True, timeout=5)")), 1),
    "a comment and a print": (edited(("    result =", "    print()  # here\n    result =")), 1),
    "the time of a sleep that was begun": (edited(("3600", "30")), 1),
    "a step after the place": (edited((RETURN, RETURN + " + await fetch.aio(5)")), 6),
    "a function renamed whose step keeps its name": (
        edited(("@vbl.step", "@vbl.step(name='fetch')"), ("fetch(n", "get(n"), ("fetch.aio", "get.aio")),
        1,
    ),
    "a place that is patched": (
        edited(("    result =", "    if vbl.patched('x'):\n        await fetch.aio(7)\n    result =")),
        1,
    ),
}


@pytest.mark.parametrize(("source", "output"), HARMLESS.values(), ids=HARMLESS.keys())
def test_a_run_under_way_survives(programmer: Programmer, source: str, output: int) -> None:
    programmer.load(source)
    replay(programmer.run)
    assert programmer.run.result() == output


BLOCKING = {
    "a step before the place": edited(("    result =", "    await fetch.aio(7)\n    result =")),
    "the arguments of a call that was made": edited(("aio(1)", "aio(2)")),
    "a function renamed": edited(("fetch(n", "get(n"), ("fetch.aio", "get.aio")),
    "a result that recorded ones do not fit": edited(("-> int:\n    return n", "-> list[str]:\n    return []")),
    "a step less": edited(("    result = await fetch.aio(1)", "    result = 1")),
}


@pytest.mark.parametrize("source", BLOCKING.values(), ids=BLOCKING.keys())
def test_a_run_under_way_is_blocked_once_and_goes_on_with_its_old_code(programmer: Programmer, source: str) -> None:
    run = programmer.run
    programmer.load(source)
    with pytest.raises(vbl.Divergence):
        replay(run)
    with pytest.raises(vbl.RunBlocked):
        run.result()
    programmer.load(source)
    programmer.trial.settle()
    assert [event.type for event in run.events()].count(vbl.EventType.RUN_BLOCKED) == 1
    programmer.load(SOURCE)
    assert run.result() == 1


def test_a_workflow_of_another_name_leaves_the_run_waiting_for_its_own(programmer: Programmer) -> None:
    programmer.load(edited(("def errand", "def other")))
    programmer.trial.advance(7200)
    assert programmer.run.status is vbl.Status.WAITING
    programmer.load(edited(("@vbl.workflow", "@vbl.workflow(name='errand')"), ("def errand", "def other")))
    assert programmer.run.result() == 1
