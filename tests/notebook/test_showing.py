"""What runs, gates, lists and states show of themselves: HTML that needs nothing but itself, and one line of text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vbl
from tests.drawing.sheets import sheet
from tests.history.hand import History
from tests.history.legal import histories
from tests.notebook.conftest import Notebook
from vbl.history.facts import Fact
from vbl.history.state import RunState, fold
from vbl.notebook import drawn
from vbl.testing import Trial

NASTY = "<script>alert(1)</script> \"'&\x00\ud800 </style> <img src=x onerror=alert(1)>"
MOST = 100 * 1024
VOID = re.compile(r"<(br|hr|img|input|link|meta|wbr)\b[^>]*>")
STYLE = re.compile("<style>([^<]*)</style>")
BARE = re.compile(r" (open|hidden|data-row)(?=[ >])")


@vbl.step
def nothing(n: int) -> int:
    return n


@vbl.step
def say(text: str) -> str:
    return text


@vbl.step
def fail(text: str) -> str:
    raise ValueError(text)


@vbl.workflow
def crowd(number: int) -> int:
    return sum(nothing(n) for n in range(number))


@vbl.workflow
def names(number: int) -> int:
    return sum(vbl.step(nothing.function, name=f"look {n}")(n) for n in range(number))


@vbl.workflow
async def letter(text: str) -> str:
    gate = await vbl.approve(say.call(text), to="ada", edit=True, show={"note": text}, timeout=3600)
    return await gate.run() if gate.approved else "not sent"


@vbl.workflow
def broken(text: str) -> str:
    return fail(text)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with Trial(tmp_path / "trial.db") as opened:
        yield opened


def html(value: Any) -> str:
    """What a notebook would show."""
    return checked(value._repr_html_())


def checked(text: str) -> str:
    """It is well-formed, complete in itself, and without a script."""
    start, style, rest = STYLE.split(text)
    tree = xml.fromstring(BARE.sub(r' \1=""', VOID.sub("", start + rest)))
    for node in tree.iter():
        assert node.tag not in ("script", "iframe", "link", "object", "embed", "base", "form")
        assert not [name for name in node.attrib if name.startswith(("on", "hx-")) or name == "style"]
        for name in ("src", "href", "action"):
            assert node.get(name, "data:").startswith("data:"), node.attrib
    assert "@import" not in style
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert tree.get("class") == "vbl notebook"
    return text


def one_line(value: object) -> bool:
    return "\n" not in repr(value)


@given(facts=histories(), after=st.integers(0, 3_600), supervised=st.booleans())
def test_any_run_is_shown(facts: list[Fact], after: int, supervised: bool) -> None:
    history = History()
    history.facts, history.now = facts, facts[-1].at
    about = sheet(history, after, supervised=supervised)
    shown = checked(drawn("run", about))
    assert about.id in shown
    assert str(about.state.status).replace("_", " ") in shown
    assert about.id in checked(drawn("state", about.state))


def test_a_run_says_what_its_steps_used() -> None:
    history = History().started().step("draft")
    assert "tokens" not in checked(drawn("run", sheet(history)))
    history.add("STEP_COMPLETED", step="draft", attempt=1, usage={"input_tokens": 1_200, "output_tokens": 90})
    assert "1.2k tokens in, 90 out" in checked(drawn("run", sheet(history)))


def test_a_run_says_why_it_waits_and_a_failed_one_with_what(trial: Trial) -> None:
    asked = trial.start(letter, "Dear Bob")
    asked.wait("waiting_for_approval")
    assert "waits for a person" in html(asked)
    failed = trial.start(broken, "no such place")
    failed.wait("failed")
    assert "ValueError" in html(failed)
    assert "no such place" in html(failed)


def test_what_is_recorded_never_becomes_markup(trial: Trial) -> None:
    text = NASTY.replace("\ud800", "").replace("\x00", "")
    asked, failed = trial.start(letter, text, key=text, tags=[text]), trial.start(broken, text)
    asked.wait("waiting_for_approval")
    failed.wait("failed")
    gate = trial.gates()[0]
    for value in (asked, failed, gate, trial.gates(), trial.runs(), asked.state(), failed.state()):
        shown = html(value)
        assert "<script" not in shown
        assert "<img" not in shown
    assert "&lt;script&gt;alert(1)" in html(gate)


def test_lists_are_lists_and_are_shown_as_tables(trial: Trial) -> None:
    runs = [trial.start(letter, f"to {n}") for n in range(3)]
    runs[0].wait("waiting_for_approval")
    listed = trial.runs()
    assert isinstance(listed, list)
    assert [run.id for run in listed] == [run.id for run in reversed(runs)]
    assert all(run.id in html(listed) for run in runs)
    assert html(listed).count("<tr") == 4
    gates = trial.gates()
    assert isinstance(gates, list)
    assert gates[0].id in html(gates)
    assert "say(text=" in html(gates)
    assert "No gate" in html(trial.gates("denied"))
    assert "No run" in html(trial.runs(workflow="other"))


def test_a_gate_shows_what_is_asked_and_how_to_decide_it(trial: Trial) -> None:
    trial.start(letter, "Dear Bob").wait("waiting_for_approval")
    [gate] = trial.gates()
    shown = html(gate)
    assert "Dear Bob" in shown
    assert "<dt>asks</dt><dd>ada</dd>" in shown
    assert "gate.approve(edit={…}, reason=…)" in shown
    assert one_line(gate)
    decided = gate.approve(by="ada", edit={"text": "Dear Ada"}, reason="her name")
    shown = html(decided)
    assert "<dt>approved</dt><dd><b>ada</b>" in shown
    assert "her name" in shown
    assert "Dear Ada" in shown
    assert "gate.approve" not in shown


def test_a_gate_is_decided_where_it_is_seen_with_the_errors_of_the_client(trial: Trial) -> None:
    run = trial.start(letter, "Dear Bob")
    run.wait("waiting_for_approval")
    gate = trial.gate(trial.gates()[0].id)
    with pytest.raises(vbl.NotEntitled):
        gate.approve(by="eve")
    with pytest.raises(vbl.InvalidInput):
        gate.approve(by="ada", edit={"other": 1})
    assert gate.status == "open"
    assert gate.deny(by="ada", reason="not today").status == "denied"
    with pytest.raises(vbl.Conflict, match="was denied by ada"):
        gate.approve(by="ada")
    assert run.result() == "not sent"
    assert [question.gate for question in trial.questions()] == []


def test_a_question_carries_a_gate_that_can_be_decided(trial: Trial) -> None:
    run = trial.start(letter, "Dear Bob")
    run.wait("waiting_for_approval")
    [question] = trial.questions()
    assert isinstance(question.gate, vbl.Gate)
    question.gate.approve(by="ada")
    assert run.result() == "Dear Bob"


def test_only_the_call_that_was_seen_is_approved(trial: Trial) -> None:
    @vbl.workflow
    async def two_hands(text: str) -> str:
        gate = await vbl.approve(say.call(text), edit=True, need=2)
        return await gate.run()

    run = trial.start(two_hands, "Dear Bob")
    run.wait("waiting_for_approval")
    seen = trial.gates()[0]
    trial.gates()[0].approve(by="ada", edit={"text": "Dear Eve"})
    with pytest.raises(vbl.Conflict, match="changed"):
        seen.approve(by="bob")
    trial.gates()[0].approve(by="bob")
    assert run.result() == "Dear Eve"


def test_a_state_is_the_fold_and_shows_what_is_in_it(trial: Trial) -> None:
    run = trial.start(crowd, 3)
    run.result()
    state = run.state()
    assert isinstance(state, RunState)
    assert state == fold(run.facts())
    assert fold(run.facts()) == state
    assert state != run.state(checkpoint=1)
    assert one_line(state)
    assert "checkpoint 1" in html(run.state(checkpoint=1))
    assert "nothing#3" not in html(run.state(checkpoint=2))
    assert "nothing#3" in html(state)


@pytest.mark.slow
@pytest.mark.parametrize("workflow", [crowd, names], ids=["one name", "a name each"])
def test_a_card_stays_small_however_long_the_run(workflow: Any, trial: Trial) -> None:
    run = trial.start(workflow, 400)
    run.result()
    assert "400 steps" in html(run)
    assert len(html(run).encode()) < MOST
    assert len(html(run.state()).encode()) < MOST


def test_long_lists_are_shown_by_their_beginning(trial: Trial) -> None:
    runs = trial.start_many(letter, ["Dear Bob, " * 30] * 200, tags=["env=dev", "some other tag"])
    for run in runs:
        run.wait("waiting_for_approval")
    for listed in (trial.runs(limit=None), trial.gates(limit=None)):
        assert len(listed) == 200
        assert "140 more" in html(listed)
        assert len(html(listed).encode()) < MOST


def test_large_values_are_shown_by_their_beginning(trial: Trial) -> None:
    text = "long " * 50_000
    run = trial.start(letter, text)
    run.wait("waiting_for_approval")
    gate = trial.gates()[0]
    values = [run, gate, trial.gates(), trial.runs(), run.state(), gate.approve(by="ada")]
    run.result()
    for value in (*values, run, run.state()):
        assert len(html(value).encode()) < MOST


def test_the_line_of_text_says_how_the_run_stands_now(tmp_path: Path) -> None:
    with vbl.open(tmp_path / "n.db") as runtime:
        run = runtime.start(crowd, 2)
        runtime.run(run.id).result()
        assert run.last_status == "queued"
        assert repr(run) == f"<run {run.id} crowd completed>"
    assert repr(run) == f"<run {run.id} crowd completed>"


@pytest.mark.slow
def test_a_kernel_sends_both_forms(notebook: Notebook) -> None:
    notebook.fine("import vbl\n@vbl.workflow\ndef flow(n: int) -> int:\n    return n\nruntime = vbl.open('n.db')")
    run = notebook.fine("run = runtime.start(flow, 1)\nrun.wait()\nrun")
    assert re.fullmatch(r"<run r_\w+ flow completed>", run.text)
    assert 'class="vbl notebook"' in run.html
    assert "r_" in notebook.fine("runtime.runs()").html
    assert "after event" in notebook.fine("run.state()").text
    assert "after event" in notebook.fine("run.state()").html
    notebook.fine("runtime.close()")
