"""`%load_ext vbl` gives the command of the terminal to a cell, on the file that is open there."""

from __future__ import annotations

import re

import pytest

from tests.notebook.conftest import Notebook

pytestmark = pytest.mark.slow

ASK = """
import vbl

@vbl.step
def send(text: str) -> str:
    return text

@vbl.workflow
async def letter(to: str) -> str:
    gate = await vbl.approve(send.call(f"Dear {to}"))
    return await gate.run() if gate.approved else "not sent"

runtime = vbl.open("n.db")
run = runtime.start(letter, "Bob")
run.wait("waiting_for_approval")
"""


def plain(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_a_command_works_on_the_file_that_is_open_here(notebook: Notebook) -> None:
    notebook.fine(ASK)
    notebook.fine("%load_ext vbl")
    assert "waiting for approval" in plain(notebook.fine("%vbl ls").text)
    assert "Dear Bob" in notebook.fine("%vbl inbox").text
    gate = notebook.fine("print(runtime.gates()[0].id)").text.strip()
    assert "granted" in notebook.fine(f"%vbl approve {gate} --reason 'it is fine'").text
    assert notebook.fine("run.result(timeout=30)").text == "'Dear Bob'"
    assert notebook.fine("runtime.gates(None)[0].reason").text == "'it is fine'"
    assert "run completed" in plain(notebook.fine("%vbl events @last").text)


def test_errors_of_a_command_are_said_and_another_file_can_be_named(notebook: Notebook) -> None:
    notebook.fine(ASK + "\n%load_ext vbl")
    said = plain(notebook.fine("%vbl show r_nothing").text)
    assert "there is no run 'r_nothing' in" in said
    assert "n.db" in said
    assert "other.db" in plain(notebook.fine("%vbl ls --db other.db").text)


def test_an_interrupt_ends_a_command_that_goes_on(notebook: Notebook) -> None:
    notebook.fine(ASK + "\n%load_ext vbl")
    cell = notebook.interrupted("%vbl tail -f --since 1h", lambda: notebook.document.cells[-1].outputs)
    assert not cell.error
    assert "run started" in plain(cell.text)
    assert notebook.fine("1 + 1").text == "2"
