"""A world that starts anew for each test: its clock, and what bodies did to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.world import WORLD
from vbl.engine import lookout
from vbl.testing import FakeClock, Trial


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    WORLD.begin(FakeClock())
    yield
    WORLD.release()


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    """A file, and a supervisor on the world's clock."""
    with Trial(tmp_path / "trial.db", clock=WORLD.clock) as made:
        yield made
        made.down(grace_s=0)  # what sleeps on the world's clock does not end by itself


@pytest.fixture
def quick_housekeeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor's slow turn (parking, looking for what nobody moves) comes every few milliseconds."""
    monkeypatch.setattr(lookout, "ROUND_S", 0.005)
