"""What a supervisor changes for its whole process while it lives, it takes back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

import vbl
from vbl.engine import garbage


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_the_thresholds_come_back_with_the_end_of_the_last_supervisor(tmp_path: Path) -> None:
    first, second = vbl.open(tmp_path / "first.db"), vbl.open(tmp_path / "second.db")
    assert gc.get_threshold() == (garbage.OBJECTS, 10, 10)
    first.close()
    assert gc.get_threshold() == (garbage.OBJECTS, 10, 10)
    second.close()
    assert gc.get_threshold() == (700, 10, 10)


def test_thresholds_of_the_program_stay(tmp_path: Path) -> None:
    gc.set_threshold(50_000, 20, 20)
    with vbl.open(tmp_path / "vbl.db"):
        assert gc.get_threshold() == (50_000, 20, 20)
        gc.set_threshold(0)
    assert gc.get_threshold()[0] == 0
