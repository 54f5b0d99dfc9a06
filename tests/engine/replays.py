"""A process of its own: replays the finished runs of a file, or finishes the runs of each file of a folder.

Prints what came out, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.engine import corpus, waiting  # noqa: F401  their workflows are the ones that are known here
from tests.engine.checks import assert_sound, completed
from tests.engine.world import WORLD, failures_of
from vbl.client import connect
from vbl.engine.definitions import REGISTRY
from vbl.store.codec import Codec
from vbl.store.payloads import Recorder
from vbl.testing import FakeClock, Trial, replay


def replays(path: Path) -> dict[str, Any]:
    """Every output as it would be recorded."""
    found: dict[str, Any] = {}
    with connect(path) as client:
        for run in client.runs(limit=None):
            workflow = REGISTRY[run.workflow]
            output = replay(run, workflow)
            codec = workflow.signature.result if run.state().output is not None else Codec(Any, "nothing")
            found[run.id] = codec.record(output, Recorder()).plain
    return found


def finishes(folder: Path) -> dict[str, Any]:
    """The status and the output of every run once it has ended."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.db")):
        with connect(path) as client:
            (run,) = client.runs()
            facts = run.facts()
        WORLD.begin(FakeClock(facts[-1].at), failures_of(run.id, facts))
        with Trial(path, clock=WORLD.clock) as trial:
            run = trial.run(run.id)
            assert trial.finish(run)
            assert not WORLD.runs_of(run.id).keys() & completed(facts).keys()
            assert_sound(trial)
            found[run.id] = [run.status.value, run.state().output]
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1])
    print(json.dumps(finishes(target) if target.is_dir() else replays(target)))
