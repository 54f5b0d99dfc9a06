"""Two runs side by side, in two columns or stacked, and as JSON."""

from __future__ import annotations

import contextlib
import re

import pytest

import vbl


@vbl.step(retry=vbl.Retry(max_attempts=2, delay=0, jitter=0, retry_on=["bug"]))
async def look_up(name: str) -> str:
    if name == "Bob" and vbl.key() not in LOOKED_UP:
        LOOKED_UP.add(vbl.key())
        raise ValueError("not today")
    return f"a person called {name} who has been with us for many years"


@vbl.step
async def send(text: str) -> int:
    return len(text)


@vbl.step
async def even() -> str:
    return "even"


LOOKED_UP: set[str] = set()


@vbl.workflow
async def greet(name: str, careful: bool = False) -> int:
    if careful:
        await send("first")
    found = await look_up(name)
    for _ in range(8):
        await even()
    if careful:
        raise ValueError("too careful")
    return len(found)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("diff") / "diff.db"
    with vbl.open(path) as runtime:
        for name, careful in (("Ada", False), ("Ada", False), ("Bob", True)):
            with contextlib.suppress(vbl.RunFailed):
                runtime.start(greet, name, careful=careful).result()
    return path


def runs(path) -> list[str]:
    with vbl.connect(path) as client:
        return [run.id for run in reversed(client.runs())]


def test_two_runs_stand_beside_each_other(vbl_here, made):
    ada, _, bob = runs(made)
    out = vbl_here("diff", ada, bob, db=made).out
    assert re.search(rf"A  greet  {ada}  ✓ completed +after .*\nB  greet  {bob}  ✗ failed +after", out)
    assert re.search(r'input\n  ~ name +"Ada" → "Bob"\n  ~ careful +false → true\n', out)
    assert re.search(r"error\n  \+ bug: ValueError: too careful\n", out)
    assert re.search(r"  steps +A +B\n", out)
    assert re.search(r"\+ send +not asked for +completed in ", out)
    assert re.search(r"~ look_up +completed in [\d.]+ m?s +completed in [\d.]+ m?s, 2 attempts(  .*)?\n", out)
    assert "a person called [-Ada-]{+Bob+} who has been with us" in out
    assert re.search(r"= even#2 .*\n    6 alike\n\n  8 alike, 1 different, 1 only in B\n", out)


def test_on_a_narrow_terminal_they_are_stacked(vbl_here, made, monkeypatch):
    ada, _, bob = runs(made)
    vbl_here("diff", ada, bob, db=made)
    monkeypatch.setenv("COLUMNS", "60")
    out = vbl_here("diff", ada, bob, db=made).out
    assert re.search(r"  \+ send\n      A not asked for\n      B completed in ", out)
    assert re.search(r"  ~ look_up(  .*)?\n      A completed .*\n      B completed .*, 2 attempts\n", out)


def test_runs_that_did_the_same_are_the_same_whatever_they_took(vbl_here, made):
    ada, again, bob = runs(made)
    assert vbl_here("diff", ada, again, "--exit-code", db=made).out.endswith(
        "\n  the same: 9 in each run, alike but for their times\n"
    )
    assert "= even#8" in vbl_here("diff", ada, again, "--all", db=made).out
    assert vbl_here("diff", ada, again, "--json", db=made).document["same"] is True
    vbl_here("diff", ada, bob, db=made)
    vbl_here("diff", ada, bob, "--exit-code", db=made, code=1)


def test_the_comparison_as_json_has_every_pair(vbl_here, made):
    ada, _, bob = runs(made)
    document = vbl_here("diff", ada, bob, "--json", db=made).document
    assert (document["a"]["id"], document["b"]["id"], document["same"]) == (ada, bob, False)
    pairs = {pair["key"]: pair for pair in document["pairs"]}
    assert list(pairs) == ["send", "look_up", "even", *(f"even#{n}" for n in range(2, 9))]
    assert (pairs["send"]["verdict"], pairs["send"]["a"]) == ("only_b", None)
    assert (pairs["even"]["verdict"], pairs["even"]["a"]["attempts"]) == ("same", 1)
    assert [change["where"] for change in pairs["look_up"]["changes"]] == ["attempts", "input.name", "output"]
    assert isinstance(pairs["look_up"]["b"]["duration_ms"], int)


def test_a_run_that_is_not_there_is_said(vbl_here, made):
    assert "there is no run" in vbl_here("diff", "@last", "r_nope", db=made, code=3).err
    vbl_here("diff", db=made, code=2)


def test_one_run_is_compared_with_the_last_one_before_it_that_completed(vbl_here, made):
    ada, again, bob = runs(made)
    document = vbl_here("diff", bob, "--json", db=made).document
    assert (document["a"]["id"], document["b"]["id"]) == (again, bob)
    assert vbl_here("diff", again, "--json", db=made).document["a"]["id"] == ada
    assert "no run of greet before" in vbl_here("diff", ada, db=made, code=3).err
