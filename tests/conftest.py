"""What every test has in common: properties are tried alike on every machine, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from vbl.engine.definitions import REGISTRY, Workflow

settings.register_profile(
    "vbl",
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("quick", settings.get_profile("vbl"), max_examples=20)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("quick" if config.option.markexpr == "not slow" else "vbl")


# Where nobody may write bytecode, every worker and every process that a test starts compiles all modules anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a shell: every child would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: one worker more than there are processors, since tests wait for disks and processes."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def known(request: pytest.FixtureRequest) -> Iterator[None]:
    """A process knows the workflows of the modules that it has loaded; here each test module is one process."""
    before = dict(REGISTRY)
    homes = [request.module, *(m for m in vars(request.module).values() if isinstance(m, ModuleType))]
    REGISTRY.clear()
    for home in homes:
        if home.__name__.startswith(("tests.", "vbl.")):
            REGISTRY.update({w.name: w for w in vars(home).values() if isinstance(w, Workflow)})
    yield
    REGISTRY.clear()
    REGISTRY.update(before)
