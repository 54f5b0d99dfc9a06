"""Differences of two values are all there are: applied to the one they give the other."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from vbl.history.differences import CARE, Change, Piece, abridged, accumulated, between, differences, words
from vbl.history.facts import Fact
from vbl.history.state import fold

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["", "a", "some text"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)
)
TEXTS = st.text(alphabet="ab c.\nd", max_size=60)


def patched(before, changes: list[Change], depth: int = 0):
    """`before` with the changes made to it: removals by their old positions, all else by the new ones."""
    whole = [change for change in changes if len(change.path) == depth]
    if whole:
        return whole[0].after
    if not changes:
        return before
    ends = [change for change in changes if len(change.path) == depth + 1]
    gone = {change.path[depth] for change in ends if change.kind == "removed"}
    new = {change.path[depth]: change.after for change in ends if change.kind == "added"}
    inner: dict = {}
    for change in changes:
        if change.kind == "changed" or len(change.path) > depth + 1:
            inner.setdefault(change.path[depth], []).append(change)
    if isinstance(before, dict):
        kept = {name: patched(value, inner.get(name, []), depth + 1) for name, value in before.items()}
        return {name: value for name, value in kept.items() if name not in gone} | new
    items = [item for n, item in enumerate(before) if n not in gone]
    for n in sorted(new):
        items.insert(n, new[n])
    return [item if n in new else patched(item, inner.get(n, []), depth + 1) for n, item in enumerate(items)]


def canonical(value) -> str:
    return json.dumps(value, sort_keys=True)


@given(VALUES, VALUES)
def test_changes_applied_to_the_one_value_give_the_other(before, after):
    assert canonical(patched(before, differences(before, after))) == canonical(after)


@given(VALUES)
def test_a_value_does_not_differ_from_itself(value):
    assert differences(value, json.loads(json.dumps(value))) == []


def test_numbers_and_truth_values_are_not_mistaken_for_each_other():
    assert [c.where for c in differences({"a": 1, "b": 1, "c": 0}, {"a": True, "b": 1.0, "c": 0})] == ["a", "b"]


def test_an_item_put_in_front_leaves_the_others_alone():
    (change,) = differences({"list": ["b", "c", "d"]}, {"list": ["a", "b", "c", "d"]})
    assert (change.where, change.kind, change.after) == ("list[0]", "added", "a")


def test_an_item_changed_within_is_told_by_what_changed_in_it():
    before = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    after = [before[0], {"role": "assistant", "content": "good day"}, {"role": "user", "content": "bye"}]
    changes = differences({"messages": before}, {"messages": after})
    assert [(c.where, c.kind) for c in changes] == [("messages[1].content", "changed"), ("messages[2]", "added")]


def test_names_that_are_no_words_stand_in_brackets():
    (change,) = differences({"a b": {"c": {"0": 1}}}, {"a b": {"c": {"0": 2}}})
    assert change.where == '["a b"].c["0"]'


def test_lists_that_would_take_too_long_to_align_are_compared_place_by_place():
    count = int(CARE**0.5) + 10
    before, after = [1, *["x"] * count, 2], [3, "y", *["x"] * count, 4]
    changes = differences(before, after)
    assert canonical(patched(before, changes)) == canonical(after)
    assert [change.where for change in changes] == ["[0]", "[1]", f"[{count + 1}]", f"[{count + 2}]"]


def test_a_value_nested_without_end_is_compared():
    before: list = []
    after: list = [1]
    for _ in range(400):
        before, after = [before], [after]
    (change,) = differences(before, after)
    assert change.kind == "changed"


@given(TEXTS, TEXTS)
def test_pieces_of_two_texts_join_to_each(before, after):
    pieces = words(before, after)
    assert "".join(p.text for p in pieces if p.fate != "added") == before
    assert "".join(p.text for p in pieces if p.fate != "removed") == after
    assert all(piece.text for piece in pieces)
    assert all(one.fate != other.fate for one, other in itertools.pairwise(pieces))


def test_words_that_stayed_are_not_said_to_have_changed():
    pieces = words("Dear Ada,\nyour order has left.\nYours", "Dear Ada,\nyour parcel has arrived.\nYours")
    assert pieces == [
        Piece("same", "Dear Ada,\nyour "),
        Piece("removed", "order"),
        Piece("added", "parcel"),
        Piece("same", " has "),
        Piece("removed", "left"),
        Piece("added", "arrived"),
        Piece("same", ".\nYours"),
    ]


def test_what_stayed_far_from_a_change_is_left_out():
    pieces = abridged([Piece("same", "a" * 100), Piece("added", "new"), Piece("same", "b" * 100)], around=5)
    assert [piece.text for piece in pieces] == ["…aaaaa", "new", "bbbbb…"]
    middle = abridged([Piece("added", "x"), Piece("same", "one two three " * 9), Piece("added", "y")], around=12)
    assert middle[1].text == "one two … two three "
    assert abridged([Piece("same", "short"), Piece("added", "x")], around=4) == [Piece("same", "short"), ("added", "x")]


def test_only_texts_of_some_length_are_worth_words():
    assert not Change((), "changed", "draft", "final").worded
    assert Change((), "changed", "a\nb", "a\nc").worded
    assert not Change((), "added", None, "x" * 100).worded


def history() -> list[Fact]:
    made = {"run_id": "r_1", "workflow": "w", "version": "1", "input": {}}
    return [
        Fact(1, "RUN_CREATED", 10, made),
        Fact(2, "RUN_STARTED", 20, {"epoch": 1}),
        Fact(3, "STEP_STARTED", 30, {"step": "draft", "attempt": 1, "input": {}}),
        Fact(4, "STEP_COMPLETED", 40, {"step": "draft", "attempt": 1, "output": "text"}),
        Fact(5, "CHECKPOINT_WRITTEN", 50, {"checkpoint": 1, "applied": 4, "delta": {"turns": ["hi"]}}),
        Fact(6, "RUN_COMPLETED", 60, {"output": "done"}),
    ]


def test_states_of_a_run_differ_by_what_was_added_between():
    facts = history()
    changes = {change.where: change for change in between(fold(facts[:3]), fold(facts))}
    assert {where: change.kind for where, change in changes.items()} == {
        "status": "changed",
        "variables.turns": "added",
        "outputs.draft": "added",
        "pending.draft": "removed",
        "output": "added",
    }
    assert changes["pending.draft"].before == {"status": "running", "attempt": 1}
    assert changes["variables.turns"].after == ["hi"]


def test_accumulated_state_is_plain_data():
    assert json.loads(json.dumps(accumulated(fold(history())))) == {
        "status": "completed",
        "variables": {"turns": ["hi"]},
        "outputs": {"draft": "text"},
        "pending": {},
        "waits_for": {},
        "output": "done",
    }
