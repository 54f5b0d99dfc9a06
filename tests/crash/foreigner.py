"""A process of its own that steers a file's runs as people do: it starts, pauses, unpauses and cancels them, and now
and then has everything derived rebuilt.

What was acknowledged it writes to a file, after the call returned: `verb run`. Called with the file, that other file,
a seed and the number of decisions.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from pathlib import Path

import vbl
from tests.crash.corpus import PARAMETERS
from vbl.errors import Conflict

NAMES = ("chain", "fan", "talker", "plainly", "sleeper")
SIZES = {"chain": 20, "fan": 6, "talker": 10, "plainly": 10, "sleeper": 4}


def main(db: str, acknowledged: str, seed: int, decisions: int) -> None:
    rng = random.Random(seed)
    out = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with vbl.connect(Path(db)) as client:
        for _ in range(decisions):
            verb = rng.choices(("started", "paused", "cancelled", "rebuilt"), (40, 50, 10, 1))[0]
            try:
                if verb == "rebuilt":
                    client.doctor(rebuild=True)
                    continue
                if verb == "started":
                    name = rng.choice(NAMES)
                    run = client.start(name, **{PARAMETERS[name]: SIZES[name]})
                else:
                    run = rng.choice(client.runs(limit=12))
                    run.pause() if verb == "paused" else run.cancel()
            except Conflict:
                # finished, or somebody else was first: refused by the history, which is an answer too
                continue
            os.write(out, f"{verb} {run.id}\n".encode())
            if verb == "paused":
                try:
                    run.unpause()
                    os.write(out, f"unpaused {run.id}\n".encode())
                except Conflict:
                    # somebody else unpaused it, or a cancel came between
                    continue


def hammer(db: str, run_id: str) -> None:
    """Pause one run and let it go on, as fast as the file allows, until it has ended."""
    with vbl.connect(Path(db)) as client:
        run = client.run(run_id)
        while not run.status.finished:
            with contextlib.suppress(Conflict):
                run.pause()
                run.unpause()
            with contextlib.suppress(Conflict):
                run.unpause()


if __name__ == "__main__":
    if sys.argv[1] == "hammer":
        hammer(*sys.argv[2:])
    else:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
