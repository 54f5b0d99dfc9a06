"""A world that starts anew for each test: its clock, what bodies did to it, and the workflows that are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.engine.world import WORLD
from vbl.engine import lookout
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.testing import FakeClock, Trial


@pytest.fixture(autouse=True)
def known(request: pytest.FixtureRequest) -> Iterator[None]:
    """A process knows the workflows of the modules that it has loaded; here each test module is one process."""
    before = dict(REGISTRY)
    homes = [request.module, *(m for m in vars(request.module).values() if isinstance(m, ModuleType))]
    REGISTRY.clear()
    for home in homes:
        if home.__name__.startswith("tests."):
            REGISTRY.update({w.name: w for w in vars(home).values() if isinstance(w, Workflow)})
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


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
