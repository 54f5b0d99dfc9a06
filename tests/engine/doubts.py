"""A run whose write was in its body when the process died: what the tests of doubts begin with."""

from __future__ import annotations

from typing import Any

import vbl
from tests.engine.world import WORLD
from vbl.handle import Run
from vbl.testing import Trial


def cut_off(trial: Trial, **options: Any) -> Run:
    """The step `pay` of the run is in flight, and its supervisor dead; `options` are those of the step."""

    @vbl.step(name="pay", **options)
    async def pay(amount: int) -> int:
        WORLD.did()
        await WORLD.clock.sleep(10)
        return amount

    @vbl.workflow(name="paying")
    async def paying(amount: int) -> int | str:
        try:
            return await pay(amount)
        except vbl.StepFailed as error:
            return f"{error.kind}: {error.type}"

    run = trial.start(paying, 7)
    trial.settle()
    assert run.facts()[-1].type == "STEP_STARTED"
    trial.kill()
    return run
