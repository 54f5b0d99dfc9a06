"""The notebooks of the examples run from their first cell to their last, and show what they say."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebook.conftest import ROOT, Cell, Notebook

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cell]:
    """The cells of the tour by how they begin, once the last one has run."""
    notebook = Notebook(tmp_path_factory.mktemp("tour"))
    try:
        document = nbformat.read(ROOT / "examples/tour.ipynb", as_version=4)
        cells = {cell.source: notebook.fine(cell.source) for cell in document.cells if cell.cell_type == "code"}
    finally:
        notebook.close()
    return cells


def cell(toured: dict[str, Cell], has: str) -> Cell:
    [found] = [cell for source, cell in toured.items() if has in source]
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_what_it_showed(path: Path) -> None:
    document = nbformat.read(path, as_version=4)
    nbformat.validate(document)
    assert [cell.id for cell in document.cells] == [f"cell-{n:02}" for n in range(len(document.cells))]
    for one in document.cells:
        if one.cell_type == "code":
            assert not one.outputs
            assert one.execution_count is None


def test_links_of_the_tour_lead_somewhere() -> None:
    text = (ROOT / "examples/tour.ipynb").read_text("utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / "examples" / link).exists()] == []


def test_the_tour_runs_and_shows_what_it_says(toured: dict[str, Cell]) -> None:
    assert cell(toured, "async def warmest").text == "'Cairo'"
    assert cell(toured, "async def stubborn").html.count('class="attempt failed bad"') >= 2
    assert "completed" in cell(toured, "async def stubborn").html


def test_what_was_completed_before_the_death_ran_once(toured: dict[str, Cell]) -> None:
    after = cell(toured, "pen.set()").text
    assert "ONE TWO THREE" in after
    assert "['one', 'two', 'two', 'three']" in after
    assert "no supervisor" in cell(toured, "async def book").html


def test_the_watched_reply_ends_with_what_was_approved(toured: dict[str, Cell]) -> None:
    watched = cell(toured, "async def reply").html
    assert "completed" in watched
    assert "edited" in watched
    assert "your parcel is on its way" in watched
    assert "Dear Ada, your parcel is lost" in cell(toured, "gate = runtime.gates()").html


def test_a_checkpoint_and_the_list_are_shown(toured: dict[str, Cell]) -> None:
    notes = cell(toured, "class Notes").html
    assert "page 1 is about durability" in notes
    assert "page 2 is about durability" not in notes
    assert cell(toured, "runtime.runs()").html.count("<tr") == 6
    assert "book" in cell(toured, "%vbl ls").text
