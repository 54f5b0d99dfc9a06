"""What runs used is said wherever they are shown: lists, one run, questions of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.cli.conftest import Ended
from vbl.agents import record_usage
from vbl.clock import SYSTEM
from vbl.testing import FakeClock, Trial

Vbl = Callable[..., Ended]


@vbl.step
async def draft(dollars: float) -> None:
    record_usage(provider="p", model="m-1", input_tokens=12_000, output_tokens=300, cached_tokens=6_000, usd=dollars)
    record_usage(provider="p", model="m-2", input_tokens=400)


@vbl.workflow(name="costs.drafts")
async def drafts(dollars: float) -> None:
    await draft(dollars)


@vbl.workflow(name="costs.failing")
async def failing() -> None:
    await draft(0.25)
    raise ValueError("it was no use")


@vbl.workflow(name="costs.family")
async def family() -> None:
    await drafts(1.25)


@vbl.workflow(name="costs.free")
async def free() -> None:
    return None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A file with a run that cost half a dollar, one that cost three, one that used nothing, and one that failed."""
    path = tmp_path_factory.mktemp("costs") / "costs.db"
    with Trial(path, clock=FakeClock(SYSTEM.now())) as trial:
        runs = [trial.start(drafts, 0.5), trial.start(drafts, 3.0), trial.start(free)]
        for run in runs:
            run.result()
        failed = trial.start(failing)
        with pytest.raises(vbl.RunFailed):
            failed.result()
        return path, [*(run.id for run in runs), failed.id]


def test_lists_say_and_are_asked_what_runs_cost(vbl_here: Vbl, made: tuple[Path, list[str]]) -> None:
    path, ids = made
    lines = {line.split()[0]: line for line in vbl_here("ls", db=path).out.splitlines()}
    assert "$0.5000" in lines[ids[0]]
    assert "$3.00" in lines[ids[1]]
    assert "$" not in lines[ids[2]]
    (failed,) = (line for line in vbl_here("top", "--once", db=path).out.splitlines() if ids[3] in line)
    assert "ago  $0.2500   " in failed
    found = vbl_here("ls", "--cost", ">1", "--json", db=path).objects
    assert [(run["id"], run["usd"]) for run in found] == [(ids[1], 3.0)]


def test_a_run_says_what_it_used(vbl_here: Vbl, made: tuple[Path, list[str]]) -> None:
    path, ids = made
    assert "used       $3.00 · 12.4k tokens in, 300 out, 48 % cached" in vbl_here("show", ids[1], db=path).out
    assert "used  " not in vbl_here("show", ids[2], db=path).out
    document: dict[str, Any] = vbl_here("show", ids[0], "--json", db=path).document
    assert document["usd"] == 0.5
    assert document["usage"][1] == {"step": "draft", "provider": "p", "model": "m-2", "input_tokens": 400}


def test_a_child_says_what_it_cost_below_its_parent(vbl_here: Vbl, tmp_path: Path) -> None:
    with Trial(tmp_path / "family.db") as trial:
        run = trial.start(family)
        run.result()
    (child,) = (
        line for line in vbl_here("show", run.id, db=trial.path).out.splitlines() if "    costs.drafts  r_" in line
    )
    assert child.endswith("  $1.25")


def test_the_view_answers_questions_of_ones_own(vbl_here: Vbl, made: tuple[Path, list[str]]) -> None:
    query = "select model, count(*) as calls, sum(usd) as usd from vbl_costs group by model order by model"
    assert vbl_here("sql", query, "--json", db=made[0]).objects == [
        {"model": "m-1", "calls": 3, "usd": 3.75},
        {"model": "m-2", "calls": 3, "usd": None},
    ]
