"""What changed between two points of a run, in text and in JSON."""

from __future__ import annotations

import re

import pydantic
import pytest

import vbl

LETTER = "Dear Ada,\nthis is version {} of a long letter.\nYours, the agent"


class Talk(pydantic.BaseModel):
    draft: str = ""
    turns: list[str] = []


@vbl.step
async def think(n: int) -> str:
    return f"thought {n}"


@vbl.workflow
async def talk() -> str:
    state = vbl.state(Talk)
    for n, word in enumerate(("one", "two", "three")):
        state.turns.append(await think(n))
        state.draft = LETTER.format(word)
    raise ValueError("nothing came of it")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "state.db"
    with vbl.open(path) as runtime, pytest.raises(vbl.RunFailed):
        runtime.start(talk).result()
    return path


def test_two_checkpoints_differ_by_what_was_put_in_between(vbl_here, made):
    out = vbl_here("state", "@last", "--checkpoint", "1..3", db=made).out
    assert re.search(r"from +event \d+, checkpoint 1 .*\n +to +event \d+, checkpoint 3 .* later", out)
    assert "this is version [-one-]{+three+} of a long letter." in out
    assert re.search(r'\+ turns\[1\] +"thought 1"\n +\+ turns\[2\] +"thought 2"', out)
    assert re.search(r'outputs\n +\+ think#2 +"thought 1"\n +\+ think#3 +"thought 2"\n', out)
    assert vbl_here("show", "@last", "--checkpoint", "1..3", db=made).out == out


def test_the_difference_as_json_says_where_and_what(vbl_here, made):
    document = vbl_here("state", "@last", "--checkpoint", "1..2", "--json", db=made).document
    assert (document["from"]["checkpoint"], document["to"]["checkpoint"]) == (1, 2)
    assert {
        "path": ["variables", "turns", 1], "where": "variables.turns[1]", "kind": "added", "after": "thought 1"
    } in document["changes"]  # fmt: skip
    (draft,) = [change for change in document["changes"] if change["where"] == "variables.draft"]
    assert (draft["before"], draft["after"]) == (LETTER.format("one"), LETTER.format("two"))


def test_an_open_end_is_the_creation_or_the_present(vbl_here, made):
    document = vbl_here("state", "@last", "--at", "..4", "--json", db=made).document
    assert (document["from"]["seq"], document["to"]["seq"]) == (1, 4)
    out = vbl_here("state", "@last", "--checkpoint", "3..", db=made).out
    assert "✗ failed" in out
    assert "error\n  + bug: ValueError: nothing came of it\n" in out


def test_backwards_takes_away_what_was_added(vbl_here, made):
    out = vbl_here("state", "@last", "--checkpoint", "2..1", db=made).out
    assert "earlier" in out
    assert re.search(r'- turns\[1\] +"thought 1"', out)


def test_a_point_does_not_differ_from_itself(vbl_here, made):
    assert "nothing changed" in vbl_here("state", "@last", "--at", "4..4", db=made).out
    assert vbl_here("state", "@last", "--at", "4..4", "--json", db=made).document["changes"] == []


@pytest.mark.parametrize("points", ["..", "1..2..3", "x", "0", "1..0", "-1", "1...2", "12.."])
def test_what_names_no_points_is_refused(vbl_here, made, points):
    code = 3 if points == "12.." else 2
    ended = vbl_here("state", "@last", "--checkpoint", points, db=made, code=code)
    assert ("Its checkpoints are 1 to 3" if code == 3 else "write 3, or two points: 3..7, 3.. or ..7") in ended.err
