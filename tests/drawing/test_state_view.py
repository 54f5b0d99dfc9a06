"""The state at any point of a history, the difference between two, the code and the children: each as recorded."""

from __future__ import annotations

import pytest

from tests.drawing.sheets import EVIL, sheet
from tests.drawing.test_markup import Reader
from tests.history.hand import History
from vbl.drawing.children import children
from vbl.drawing.code import code, coloured, diff_lines
from vbl.drawing.sheet import Neighbour
from vbl.drawing.state_view import Point, state_at, state_view, value_at
from vbl.errors import NotFound


def text(markup: str) -> str:
    return Reader(markup).text


def growing() -> History:
    history = History().started()
    for number, words in enumerate(("the lamp is broken", "the lamp is broken again"), 1):
        history.step(f"turn#{number}").add("STEP_COMPLETED", 1, step=f"turn#{number}", attempt=1, output=number)
        delta = {"notes": f"we were told that {words}, and wrote it down", "count": number}
        history.add("CHECKPOINT_WRITTEN", checkpoint=number, applied=len(history.facts), delta=delta)
    return history


def test_the_state_at_a_checkpoint_is_that_and_not_the_latest() -> None:
    seen = sheet(growing())
    assert state_at(seen, Point(checkpoint=1)).variables["count"] == 1
    assert state_at(seen, Point()).variables["count"] == 2
    assert state_at(seen, Point(event=3)).variables == {}
    assert state_at(seen, Point(checkpoint=0)).variables == {}
    assert "State at checkpoint 1: after event 5, checkpoint 1" in text(state_view(seen, Point(checkpoint=1)))


def test_the_difference_of_two_checkpoints_is_shown_word_by_word() -> None:
    drawn = state_view(sheet(growing()), Point(checkpoint=2), Point(checkpoint=1), address="/runs/r_1")
    assert "<del>broken</del><ins>broken again</ins>" in drawn
    assert "<del>1</del> → <ins>2</ins>" in drawn
    assert "outputs.turn#2" in text(drawn)


def test_two_points_that_are_alike_say_so() -> None:
    assert "Nothing has changed" in text(state_view(sheet(growing()), Point(checkpoint=2), Point()))


@pytest.mark.parametrize("point", [Point(checkpoint=9), Point(event=99)])
def test_a_point_that_is_not_there_is_refused(point: Point) -> None:
    with pytest.raises(NotFound):
        state_at(sheet(growing()), point)


def test_one_part_of_the_state_can_be_asked_for_by_itself() -> None:
    seen = sheet(growing())
    assert value_at(seen, Point(checkpoint=1), "outputs") == {"turn#1": 1}
    with pytest.raises(NotFound, match="no colour"):
        value_at(seen, Point(), "colour")


SOURCE = {
    "source": "async def triage():\n    return 1  # one\n",
    "file": "/a/b.py",
    "line": 10,
    "python": "3.11",
    "version": "v1",
}


def test_the_source_stands_as_the_run_began_with_it_and_with_what_has_changed_since() -> None:
    same = code(sheet(History().started(), source=SOURCE, newest=SOURCE))
    assert "11      return 1  # one" in text(same)
    assert "No other version has been seen since" in text(same)
    newest = {**SOURCE, "source": "async def triage():\n    return 2  # one\n", "version": "v2"}
    changed = text(code(sheet(History().started(), source=SOURCE, newest=newest)))
    assert "-    return 1  # one" in changed
    assert "+    return 2  # one" in changed
    elsewhere = code(sheet(History().started(), source=SOURCE, newest={**SOURCE, "version": "v2"}))
    assert "in a module that it uses" in text(elsewhere)
    assert "was not kept" in text(code(sheet(History().started())))


@pytest.mark.parametrize(
    "source", ["def f(:\n  '''open", "\tx\n y", f"x = {EVIL!r}", "a = f'{b!r:>{c}} {{}}'\n@d\ndef e(): ..."]
)
def test_colours_change_no_character_of_a_source(source: str) -> None:
    from vbl.drawing.markup import join

    assert [Reader(join([line])).text for line in coloured(source)] == source.splitlines()


def test_a_source_of_endless_quotation_marks_stands_as_it_is() -> None:
    source = "'a" + "\\'" * 90_000  # looking for the end of each would take minutes
    assert coloured(source) == [source]


def test_each_line_of_a_difference_keeps_its_sign() -> None:
    drawn = diff_lines(["--- a", "+++ b", "@@ -1 +1 @@", "-x", "+y", " z"])
    assert [Reader(one).elements[0][1].get("class") for one in drawn] == [
        "header", "header", "place", "removed", "added", None,
    ]  # fmt: skip
    assert "".join(Reader(one).text for one in drawn) == "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n z\n"


def test_the_tree_of_children_leads_to_each_with_its_status() -> None:
    tree = [(1, Neighbour("r_a", "fetch", "failed", 0, 2_000_000)), (2, Neighbour("r_b", EVIL, "running", 0, None))]
    drawn = children(tree, 5_000_000, root="/vbl")
    assert 'href="/vbl/runs/r_b"' in drawn
    assert "<img" not in drawn
    for part in ("fetch", "r_a", "failed", "2 s", "└", "5 s"):
        assert part in text(drawn)
    assert "has started no other" in text(children([], 0))


def test_children_say_what_they_cost_where_one_of_them_does() -> None:
    free, paid = Neighbour("r_a", "fetch", "completed", 0, 1), Neighbour("r_b", "draft", "completed", 0, 1, 0.25)
    assert "cost" not in text(children([(1, free)], 1))
    drawn = text(children([(1, free), (1, paid)], 1))
    assert "cost" in drawn
    assert drawn.count("$") == drawn.count("$0.2500") == 1
