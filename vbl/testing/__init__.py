"""For tests, yours and ours: a supervisor in this process over a real SQLite file, with a clock that the test moves.

    with Trial(tmp_path / "trial.db") as trial:
        run = trial.start(remind, "T-1")       # sleeps for a week in between
        assert run.result() == "sent"          # at once: waiting moves the clock to the next instant that matters

What it promises: nothing here sleeps for the sake of time, a death (`die_before`, `die_after`, `kill`) loses exactly
what a death of the process loses in the file, and the file is an ordinary one. It fakes the clock and nothing else:
steps run, threads are threads, SQLite is SQLite. `replay` holds recorded runs against the code of today.
"""

from __future__ import annotations

from vbl.testing.clock import NEW_YEAR as NEW_YEAR
from vbl.testing.clock import FakeClock
from vbl.testing.dying import Crash, DyingJournal
from vbl.testing.replaying import replay
from vbl.testing.trial import Trial

__all__ = ["Crash", "DyingJournal", "FakeClock", "Trial", "replay"]
