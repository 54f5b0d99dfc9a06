"""A process of its own: moves every shape through all that may befall it, and leaves without a word.

Run in Python's development mode with warnings as errors, it would print what was never awaited or is still pending.
"""

from __future__ import annotations

import gc
import logging
import sys
from pathlib import Path

from tests.engine.corpus import SHAPES
from tests.engine.world import WORLD
from vbl.engine import lookout
from vbl.testing import FakeClock, Trial


def main(folder: Path, names: list[str]) -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # not how long a callback took on this machine
    lookout.ROUND_S, lookout.PARK_AFTER = 0.005, -1
    for name in names:
        shape = SHAPES[name]
        WORLD.begin(FakeClock())
        with Trial(folder / f"{name}.db", clock=WORLD.clock) as trial:
            run = trial.start(shape.workflow, *shape.args, **shape.options)
            trial.settle()
            trial.kill()
            trial.up()
            trial.settle()
            trial.down(grace_s=0)
            trial.up()
            while not run.status.finished:
                trial.settle()
                if not run.state().in_flight:
                    trial.until(lambda trial=trial: trial.in_memory == 0)
                trial.skip()
            assert run.status == shape.status, run.state().blocked
        gc.collect()
    print(len(names), "shapes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
