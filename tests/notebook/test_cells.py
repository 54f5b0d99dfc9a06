"""What a person expects of cells: run again, interrupted, redefined, loaded again, killed in the middle."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import vbl
from tests.notebook.conftest import Notebook, wait_for

FLOW = """
import pathlib, time
import vbl

@vbl.step
def slow(n: int) -> int:
    with open("began", "a") as file:
        file.write("x")
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    return 2 * n

@vbl.workflow
def flow(n: int) -> int:
    return slow(n)
"""
OFFER = """
import vbl

@vbl.step
def price(item: str) -> int:
    return 40

@vbl.step
def send(text: str) -> str:
    return text

@vbl.workflow
async def offer(item: str) -> str:
    {first}
    amount = await price.aio(item){less}
    gate = await vbl.approve(send.call(f"{{item}}: {{amount}}"))
    return await gate.run() if gate.approved else "not sent"
"""


def began(notebook: Notebook) -> int:
    """How often the slow step's body has begun."""
    file = notebook.folder / "began"
    return len(file.read_text()) if file.exists() else 0


def go(notebook: Notebook) -> None:
    (notebook.folder / "go").touch()


@pytest.mark.slow
def test_the_cell_that_opens_the_file_can_be_run_again_and_is_closed_once(notebook: Notebook) -> None:
    notebook.fine(FLOW)
    go(notebook)
    notebook.fine("runtime = first = vbl.open('n.db')")
    notebook.fine("runtime = vbl.open('n.db')")
    assert notebook.fine("runtime = vbl.open('n.db'); runtime is first").text == "True"
    assert notebook.fine("with vbl.open('n.db') as same: pass\nruntime.start(flow, 1).result()").text == "2"
    with pytest.raises(vbl.SupervisorHeld):
        vbl.open(notebook.folder / "n.db")
    notebook.fine("runtime.close()")
    with vbl.open(notebook.folder / "n.db") as ours:
        assert [run.status for run in ours.runs()] == ["completed"]
    assert "closed here" in notebook.run("runtime.runs()").error
    assert notebook.fine("runtime = vbl.open('n.db'); len(runtime.runs())").text == "1"


@pytest.mark.slow
def test_one_liners_one_after_the_other(notebook: Notebook) -> None:
    go(notebook)
    notebook.fine(FLOW)
    assert notebook.fine("vbl.run(flow, 1), vbl.run(flow, 2)").text == "(2, 4)"
    assert notebook.fine("import asyncio\nvbl.run(flow, 3)").text == "6"


@pytest.mark.slow
def test_a_one_liner_counts_as_none_of_the_openings_that_are_closed_as_one(notebook: Notebook) -> None:
    go(notebook)
    notebook.fine(FLOW + "\nruntime = vbl.open()")
    assert notebook.fine("vbl.run(flow, 1)").text == "2"
    notebook.fine("runtime = vbl.open()")
    assert notebook.fine("runtime.close(); runtime.closed").text == "True"


@pytest.mark.slow
def test_a_run_is_awaited_at_the_top_level(notebook: Notebook) -> None:
    go(notebook)
    notebook.fine(FLOW + "\nimport asyncio\nruntime = vbl.open('n.db')")
    assert notebook.fine("await runtime.start(flow, 4)").text == "8"
    assert notebook.fine("await asyncio.gather(*[runtime.start(flow, n) for n in (1, 2)])").text == "[2, 4]"


@pytest.mark.slow
@pytest.mark.parametrize("waiting", ["run.result()", "run.wait()", "await run"])
def test_an_interrupt_leaves_the_run_going_and_the_next_cell_waits_again(notebook: Notebook, waiting: str) -> None:
    notebook.fine(FLOW + "\nrun = vbl.open('n.db').start(flow, 3)")
    cell = notebook.interrupted(waiting, lambda: began(notebook))
    assert cell.error.startswith(("KeyboardInterrupt", "CancelledError"))
    assert notebook.fine("str(run.status)").text == "'running'"
    go(notebook)
    assert notebook.fine("run.result()").text == "6"
    assert began(notebook) == 1


@pytest.mark.slow
def test_an_interrupted_one_liner_goes_on_and_says_how_to_wait_for_it(notebook: Notebook) -> None:
    notebook.fine(FLOW)
    cell = notebook.interrupted("vbl.run(flow, 3)", lambda: began(notebook))
    assert cell.error.startswith("KeyboardInterrupt")
    told = re.search(r"goes on; wait for it: (.+)", cell.traceback)
    assert told is not None, cell.traceback
    go(notebook)
    assert notebook.fine(told[1]).text == "6"
    assert began(notebook) == 1
    notebook.fine("vbl.open().close()")
    with vbl.open(notebook.folder / "default.db"):
        pass


@pytest.mark.slow
def test_an_interrupt_does_not_reach_the_process_of_a_step(notebook: Notebook) -> None:
    text = FLOW.replace("@vbl.step\n", "@vbl.step(isolation='process')\n")
    (notebook.folder / "steps.py").write_text(text, "utf-8")
    notebook.fine("from steps import *\nrun = vbl.open('n.db').start(flow, 3)")
    notebook.interrupted("run.result()", lambda: began(notebook))
    go(notebook)
    assert notebook.fine("run.result(timeout=30)").text == "6"
    assert began(notebook) == 1


@pytest.mark.slow
def test_a_close_that_is_interrupted_stops_at_once_and_the_file_can_be_opened_again(notebook: Notebook) -> None:
    notebook.fine(FLOW + "\nruntime = vbl.open('n.db', grace_s=1000)\nrun = runtime.start(flow, 3, key='three')")
    wait_for(lambda: began(notebook))
    cell = notebook.interrupted("runtime.close()")
    assert cell.error.startswith("KeyboardInterrupt")
    go(notebook)
    notebook.fine("runtime = vbl.open('n.db')\nrun = runtime.start(flow, 3, key='three')")
    assert notebook.fine("run.result(timeout=30)").text == "6"
    assert began(notebook) == 2


@pytest.mark.slow
def test_an_opening_that_is_interrupted_leaves_nothing_behind(notebook: Notebook) -> None:
    notebook.fine(
        FLOW
        + """
from vbl.engine.supervisor import Supervisor
start = Supervisor.start
def interrupted(self):
    start(self)
    Supervisor.start = start
    raise KeyboardInterrupt
Supervisor.start = interrupted
"""
    )
    assert notebook.run("runtime = vbl.open('n.db')").error.startswith("KeyboardInterrupt")
    go(notebook)
    assert notebook.fine("vbl.open('n.db').start(flow, 3).result()").text == "6"


@pytest.mark.slow
def test_a_step_with_a_process_of_its_own_cannot_be_typed(notebook: Notebook) -> None:
    notebook.fine(FLOW.replace("@vbl.step\n", "@vbl.step(isolation='process')\n"))
    assert "was typed here, where its process cannot find it" in notebook.run("vbl.run(flow, 1)").error


@pytest.mark.slow
def test_a_step_that_is_defined_again_is_used_by_the_next_run(notebook: Notebook) -> None:
    go(notebook)
    notebook.fine(FLOW + "\nruntime = vbl.open('n.db')\nbefore = runtime.start(flow, 1).result()")
    notebook.fine("@vbl.step\ndef slow(n: int) -> int:\n    return 100 * n")
    assert notebook.fine("before, runtime.start(flow, 1).result()").text == "(2, 100)"


@pytest.mark.slow
def test_a_workflow_that_is_defined_again_has_its_own_version_and_source(notebook: Notebook) -> None:
    go(notebook)
    notebook.fine(FLOW + "\nruntime = vbl.open('n.db')\none = runtime.start(flow, 1)\none.result()\nkept = flow")
    notebook.fine("@vbl.workflow\ndef flow(n: int, more: int = 5) -> int:\n    return slow(n) + more")
    assert notebook.fine("two = runtime.start(flow, 1); two.result()").text == "7"
    assert notebook.fine("one.version == two.version").text == "False"
    assert "more" in notebook.fine("print(two.source()['source'])").text
    assert "more" not in notebook.fine("print(one.source()['source'])").text
    assert notebook.fine("runtime.start(kept, 1, more=7).result()").text == "9"


@pytest.mark.slow
def test_a_run_under_way_is_blocked_by_other_code_and_told_so_and_goes_on_with_the_old(notebook: Notebook) -> None:
    before = OFFER.format(first="pass", less="")
    notebook.fine(before + "\nruntime = vbl.open('n.db')\nrun = runtime.start(offer, 'lamp')")
    notebook.fine("run.wait('waiting_for_approval')")
    wait_for(lambda: notebook.fine("len(runtime.supervising.runs)").text == "0")  # no longer in memory
    discount = "@vbl.step\ndef discount(item: str) -> int:\n    return 5\n"
    notebook.fine(discount + OFFER.format(first="off = await discount.aio(item)", less=" - off"))
    cell = notebook.run("runtime.gates()[0].approve(); run.result(timeout=30)")
    assert cell.error.startswith("RunBlocked")
    assert "+    off = await discount.aio(item)" in cell.error
    assert "blocked" in notebook.fine("run").html
    notebook.fine(before)
    assert notebook.fine("run.result(timeout=30)").text == "'lamp: 40'"


@pytest.mark.slow
def test_autoreload_renews_what_was_imported_by_name(notebook: Notebook) -> None:
    file = notebook.folder / "steps.py"
    text = "import vbl\n\n@vbl.step\ndef double(n: int) -> int:\n    return 2 * n\n\n"
    text += "@vbl.workflow\ndef twice(n: int) -> int:\n    return double(n)\n"
    file.write_text(text, "utf-8")
    notebook.fine("%load_ext autoreload\n%autoreload 2\nimport vbl\nfrom steps import double, twice")
    notebook.fine("@vbl.workflow\ndef mine(n: int) -> int:\n    return double(n)\nruntime = vbl.open('n.db')")
    results = "[runtime.start(one, 1).result() for one in (mine, twice)]"
    assert notebook.fine(results).text == "[2, 2]"
    for number, factor in enumerate((3, 5), 1):
        file.write_text(text.replace("2 * n", f"{factor} * n").replace("n: int)", "n: int, more: int = 0)"), "utf-8")
        notebook.fine(f"import os, time; os.utime('steps.py', (time.time() + {number} * 9,) * 2)")
        assert notebook.fine(results).text == f"[{factor}, {factor}]"
    assert notebook.fine("runtime.start(twice, 1, more=4).result()").text == "5"
    assert notebook.fine("runtime.runs(limit=1)[0].version == twice.version").text == "True"


@pytest.mark.slow
def test_a_kernel_that_dies_in_the_middle_and_the_same_cells_run_again(notebook: Notebook) -> None:
    cells = [
        "import pathlib, time, vbl",
        "@vbl.step\ndef first(n: int) -> int:\n    open('first', 'a').write('x')\n    return n + 1",
        FLOW.replace("return slow(n)", "return slow(first(n))"),
        "runtime = vbl.open('n.db')\nrun = runtime.start(flow, 3, key='three')",
    ]
    for cell in cells:
        notebook.fine(cell)
    wait_for(lambda: began(notebook))
    id = notebook.fine("run.id").text
    notebook.kill()
    go(notebook)
    for cell in cells:
        notebook.fine(cell)
    assert notebook.fine("run.result(timeout=30)").text == "8"
    assert notebook.fine("run.id").text == id
    assert (notebook.folder / "first").read_text() == "x"
    assert began(notebook) == 2


@pytest.mark.slow
def test_a_kernel_that_is_restarted_gives_the_file_back_first(notebook: Notebook) -> None:
    cells = [FLOW, "runtime = vbl.open('n.db')\nrun = runtime.start(flow, 3, key='three')"]
    for cell in cells:
        notebook.fine(cell)
    wait_for(lambda: began(notebook))
    notebook.restart()
    go(notebook)
    for cell in cells:
        notebook.fine(cell)
    assert notebook.fine("run.result(timeout=30)").text == "6"
    stopped = notebook.fine("[e.payload['counted'] for e in run.events() if e.type == 'STEP_INTERRUPTED']")
    assert stopped.text == "[False]"  # it was stopped in order, which is not held against the step


@pytest.mark.slow
def test_a_run_of_a_workflow_that_was_typed_names_the_notebook_and_not_a_file_that_is_none(notebook: Notebook) -> None:
    notebook.fine(FLOW + "\nruntime = vbl.open('n.db', grace_s=0)\nrun = runtime.start(flow, 1)")
    wait_for(lambda: began(notebook))
    notebook.fine("runtime.close()")
    cell = notebook.fine("run = vbl.connect('n.db').runs()[0]\nprint(run.source()['file'])")
    assert cell.text == "a cell of work.ipynb\n"
    assert "run a cell of work.ipynb first" in notebook.fine("print(run.why().hint)").text
    assert re.fullmatch(r"<client .*/n.db>", notebook.fine("vbl.connect('n.db')").text)
    assert re.fullmatch(r"<runtime .*/n.db \(closed\)>", notebook.fine("runtime").text)


@pytest.mark.slow
def test_another_kernel_is_told_who_holds_the_file(notebook: Notebook) -> None:
    notebook.fine("import vbl; runtime = vbl.open('n.db')")
    code = f"import vbl; vbl.open({str(notebook.folder / 'n.db')!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=Path.cwd()
    )
    assert f"process {notebook.pid} (work.ipynb)" in done.stderr
    assert "attach=True" in done.stderr


@pytest.mark.slow
def test_a_refusal_leads_from_the_cell_to_the_call_and_not_through_vbl(notebook: Notebook) -> None:
    notebook.fine(FLOW + "\nruntime = vbl.open('work.db')")
    cell = notebook.run("def begin():\n    return runtime.start(flow, 1, 2, 3)\n\nbegin()")
    assert cell.error.startswith("InvalidInput: workflow flow: too many positional arguments")
    lines = cell.traceback.splitlines()
    assert [line.rpartition(" in ")[2] for line in lines if line.startswith("  File ")] == ["<module>", "begin"]
    assert lines[-1] == "  It takes (n: int) -> int"
