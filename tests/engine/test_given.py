"""What the functions of `vbl` are given in workflow code is refused in words, or taken in each form that it has."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import pytest

import vbl
from vbl.testing import Trial


async def state_of_a_dict() -> None:
    vbl.state(dict)  # pyright: ignore[reportArgumentType]


async def state_of_a_value() -> None:
    vbl.state({"n": 1})  # pyright: ignore[reportArgumentType]


async def maps_a_lambda() -> None:
    await vbl.map(lambda n: n, [1, 2])  # pyright: ignore[reportArgumentType]


def maps_a_workflow() -> None:
    vbl.map(slumbers, [1, 2])  # pyright: ignore[reportArgumentType]


@vbl.workflow
async def slumbers() -> None:
    await vbl.sleep(datetime.timedelta(minutes=2))
    await asyncio.sleep(1)


@pytest.mark.parametrize("function", [state_of_a_dict, state_of_a_value, maps_a_lambda, maps_a_workflow])
def test_what_is_no_model_and_no_step_is_refused(trial: Trial, function: Callable[[], Any]) -> None:
    run = trial.start(vbl.workflow(name="given")(function))
    assert trial.finish(run)
    error = run.state().error or {}
    assert error["type"] == "UsageError"
    assert "pydantic model" in error["message"] or "it calls a step" in error["message"]


def test_a_time_to_sleep_is_given_in_either_form(trial: Trial) -> None:
    begun = trial.clock.now()
    run = trial.start(slumbers)
    assert trial.finish(run)
    assert run.status == "completed"
    assert trial.clock.now() - begun == 121_000_000
    assert run.state().error is None


@pytest.mark.parametrize("seconds", [datetime.timedelta(seconds=-1), "5", None, float("nan")], ids=repr)
def test_a_time_that_is_none_is_refused(trial: Trial, seconds: Any) -> None:
    async def sleeps() -> None:
        await vbl.sleep(seconds)

    run = trial.start(vbl.workflow(name="given")(sleeps))
    assert trial.finish(run)
    assert (run.state().error or {})["type"] == "UsageError"
