"""A watched run is drawn below its cell while it goes on, whatever the cells after it do; the last picture stays."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import vbl
from tests.notebook.conftest import ROOT, Cell, Notebook, wait_for
from vbl.errors import UsageError
from vbl.testing import Trial

pytestmark = pytest.mark.slow
LETTER = """
import pathlib, threading, time
import vbl

@vbl.step
def draft(to: str) -> str:
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    return f"Dear {to}"

@vbl.step
def send(text: str) -> str:
    return text

@vbl.workflow
async def letter(to: str) -> str:
    text = await draft.aio(to)
    gate = await vbl.approve(send.call(text), edit=True)
    return await gate.run() if gate.approved else "not sent"

runtime = vbl.open("n.db")
"""
NO_WATCH = "[t.name for t in threading.enumerate() if t.name == 'vbl-watch']"


def shows(notebook: Notebook, cell: Cell, *words: str) -> None:
    """Wait until all these words are below the cell; a cell that does nothing lets what is new arrive."""

    def there() -> bool:
        notebook.fine("time.sleep(0.1)")
        return all(word in cell.html for word in words)

    wait_for(there)


def test_a_watch_goes_on_when_its_cell_has_ended_and_the_last_picture_stays(notebook: Notebook) -> None:
    notebook.fine(LETTER)
    cell = notebook.fine("run = runtime.start(letter, 'Bob')\nrun.watch()")
    shows(notebook, cell, "draft", "in flight")
    (notebook.folder / "go").touch()
    shows(notebook, cell, "waiting for approval", "ask send")
    gate = notebook.fine("gate = runtime.gates()[0]\ngate")
    assert "Dear Bob" in gate.html
    decided = notebook.fine("gate.approve(edit={'text': 'Dear Ada'}, reason='her name')")
    assert "granted" in decided.html
    shows(notebook, cell, "completed", "Dear Ada", "granted by")
    assert re.fullmatch(r"<run r_\w+ letter completed>", cell.text)
    assert len(cell.node.outputs) == 1
    assert wait_for(lambda: notebook.fine(NO_WATCH).text == "[]")


def test_nothing_is_printed_into_the_cells_after_it(notebook: Notebook) -> None:
    (notebook.folder / "go").touch()
    notebook.fine(LETTER)
    cell = notebook.fine("run = runtime.start(letter, 'Bob')\nrun.watch()")
    quiet = notebook.fine("run.wait('waiting_for_approval')\nrun.cancel()\nrun.wait()\npass")
    shows(notebook, cell, "cancelled")
    assert quiet.node.outputs == []


def test_a_run_that_has_ended_is_shown_once(notebook: Notebook) -> None:
    notebook.fine(LETTER + "\n@vbl.workflow\ndef short() -> int:\n    return 7\nrun = runtime.start(short)\nrun.wait()")
    cell = notebook.fine("watch = run.watch()\nrepr(watch)")
    assert "completed" in cell.html
    assert "ended" in cell.text


def test_a_second_watch_takes_over_and_the_first_picture_stays(notebook: Notebook) -> None:
    notebook.fine(LETTER)
    first = notebook.fine("run = runtime.start(letter, 'Bob')\nrun.watch()")
    shows(notebook, first, "draft")
    second = notebook.fine("run.watch()")
    assert notebook.fine(NO_WATCH).text == "['vbl-watch']"
    (notebook.folder / "go").touch()
    shows(notebook, second, "waiting for approval")
    assert "waiting for approval" not in first.html
    assert "draft" in first.html


def test_a_watch_can_be_ended_and_the_run_goes_on(notebook: Notebook) -> None:
    notebook.fine(LETTER)
    cell = notebook.fine("run = runtime.start(letter, 'Bob')\nwatch = run.watch()")
    notebook.fine("watch.stop()")
    assert notebook.fine("watch.ended").text == "True"
    (notebook.folder / "go").touch()
    notebook.fine("run.wait('waiting_for_approval', timeout=30)")
    assert "waiting for approval" not in cell.html


def test_a_watch_ends_where_the_file_is_closed(notebook: Notebook) -> None:
    (notebook.folder / "go").touch()
    notebook.fine(LETTER)
    cell = notebook.fine("run = runtime.start(letter, 'Bob')\nwatch = run.watch()")
    notebook.fine("run.wait('waiting_for_approval')")
    notebook.fine("runtime.close()\nassert watch.wait(30)")
    shows(notebook, cell, "no supervisor")
    assert notebook.fine("import sqlite3\nsqlite3.connect('n.db').execute('select 1').fetchall()").text == "[(1,)]"


def test_a_run_of_another_process_is_watched_too(notebook: Notebook) -> None:
    with Trial(notebook.folder / "trial.db") as trial:

        @vbl.workflow
        async def elsewhere() -> str:
            return await vbl.wait("word", type=str)

        run = trial.start(elsewhere)
        run.wait("waiting")
        notebook.fine("import time, vbl\nclient = vbl.connect('trial.db')")
        cell = notebook.fine(f"client.run({run.id!r}).watch()")
        assert "signal word" in cell.html
        run.signal("word", "hello there")
        run.wait()
        shows(notebook, cell, "completed", "hello there")


def test_at_a_prompt_it_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @vbl.step
    def add(n: int) -> int:
        return n + 1

    @vbl.workflow
    def sums(n: int) -> int:
        return add(add(n))

    with vbl.open(tmp_path / "n.db") as runtime:
        run = runtime.start(sums, 1)
        watch = run.watch()
        assert watch.ended
        assert run.last_status in ("queued", "running", "completed")
        assert run.status == "completed"
    said = capsys.readouterr().out.splitlines()
    assert "sums created" in said[0]
    assert "run completed: 3" in said[-1]
    assert len(said) == run.seq
    assert all(re.match(r" *\+\d+\.\d{3} s  ", line) for line in said)


def test_a_run_of_a_file_that_was_closed_is_not_watched(tmp_path: Path) -> None:
    with vbl.connect(tmp_path / "vbl.db") as client:
        run = client.start("somewhere")
    with pytest.raises(UsageError, match="was closed here"):
        run.watch()


def test_an_interrupt_at_a_prompt_ends_the_telling_alone(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, time, vbl\n"
        "@vbl.step\ndef slow() -> int:\n"
        "    while not pathlib.Path('go').exists():\n        time.sleep(0.01)\n    return 7\n"
        "@vbl.workflow\ndef flow() -> int:\n    return slow()\n"
        "with vbl.open('n.db') as runtime:\n"
        "    run = runtime.start(flow)\n"
        "    run.watch()\n"
        "    pathlib.Path('go').touch()\n"
        "    print(run.result())\n",
        "utf-8",
    )
    with subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        told = list(itertools.takewhile(lambda line: "slow started" not in line, process.stdout))
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "flow created" in told[0]
    assert "goes on; look again: run.watch()" in said
    assert said.splitlines()[-1] == "7"
