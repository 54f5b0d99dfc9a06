"""`vbl graph` on real files: what a run did as text, Mermaid and SVG, and a workflow by its last runs."""

from __future__ import annotations

import contextlib
import io
import re
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

import vbl
from tests.cli.conftest import FLOWS

FAN = """

@vbl.workflow
async def fan() -> str:
    first = await greet("all")
    names = await vbl.map(greet, ["a", "b", "c", "d"], limit=2)
    pair = await asyncio.gather(greet("x"), note.aio("y"))
    await vbl.sleep(0.001)
    return await greet(str(len(names) + len(pair)))
"""

TEXT = """\
○  fan
✓  greet  TOOK
✓  greet#2 ×4  TOOK
├─┐
✓ │  greet#3  TOOK
│ ✓  note  TOOK
├─┘
✓  sleep  TOOK
✓  greet#4  TOOK
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A file with a run of a workflow that fans out, three greetings, one of them named, and a failed run."""
    folder = tmp_path_factory.mktemp("made")
    scope: dict = {"__name__": "graph_flows"}
    exec(compile(FLOWS + FAN, "flows.py", "exec"), scope)
    with contextlib.chdir(folder), vbl.open("made.db") as runtime, contextlib.redirect_stdout(io.StringIO()):
        runtime.start(scope["fan"]).result()
        for name in ("Ada", "Bob", "Cy"):
            runtime.start(scope["hello"], name).result()
        with pytest.raises(vbl.RunFailed):
            runtime.start(scope["bad"]).result()
    return folder / "made.db"


def without_times(text: str) -> str:
    return re.sub(r"  [^ ]+ (ms|s|min)( each)?$", "  TOOK", text, flags=re.MULTILINE)


def run_of(path: Path, workflow: str) -> str:
    with vbl.connect(path) as client:
        return client.runs(workflow=workflow)[-1].id


def test_a_run_is_drawn_as_it_ran(vbl_here, made):
    shown = vbl_here("graph", run_of(made, "fan"), db=made)
    assert without_times(shown.out) == TEXT
    assert shown.err == ""


def test_the_runs_of_a_workflow_are_laid_over_each_other(vbl_here, made):
    shown = vbl_here("graph", "hello", db=made)
    assert shown.out.startswith("○  hello\n✓  greet ×3  in 3 of 3 runs, ")
    assert shown.err == "the last 3 runs of hello laid over each other, by name\n"
    assert vbl_here("graph", "hello", "--last", "2", db=made).out.startswith("○  hello\n✓  greet ×2  in 2 of 2 runs, ")


def test_a_workflow_that_never_ran_is_no_graph(vbl_here, made):
    shown = vbl_here("graph", "nap", db=made, code=3)
    assert "'nap' is no run, and no workflow of that name has ever run" in shown.err
    assert "vbl ls" in shown.err


def test_mermaid_names_every_node_and_edge(vbl_here, made):
    lines = vbl_here("graph", "bad", "--format", "mermaid", db=made).out.splitlines()
    assert lines[:2] == ["flowchart TD", lines[1]]
    assert lines[1].startswith('  n1["boom<br/>failed, ')
    assert lines[1].endswith('"]:::bad')


def test_svg_goes_to_a_file_that_is_well_formed(vbl_here, made, tmp_path):
    target = tmp_path / "run.svg"
    shown = vbl_here("graph", run_of(made, "fan"), "-o", str(target), db=made)
    assert shown.out == ""
    assert f"wrote {target}" in shown.err
    tree = xml.fromstring(target.read_text("utf-8"))
    names = [text.text or "" for text in tree.iter("{http://www.w3.org/2000/svg}tspan")]
    assert len(names) == 6
    assert not list(tree.iter("{http://www.w3.org/2000/svg}a"))


def test_text_in_a_file_is_plain(vbl_here, made, tmp_path):
    target = tmp_path / "run.txt"
    vbl_here("graph", run_of(made, "fan"), "-o", str(target), "--color", "always", db=made)
    assert without_times(target.read_text("utf-8")) == TEXT


def test_a_file_that_is_asked_for_is_written_with_json_too(vbl_here, made, tmp_path):
    target = tmp_path / "run.svg"
    document = vbl_here("graph", run_of(made, "fan"), "-o", str(target), "--json", db=made).document
    assert document == {"file": str(target), "bytes": target.stat().st_size}


def test_json_has_the_nodes_and_the_edges(vbl_here, made):
    document = vbl_here("graph", run_of(made, "fan"), "--json", db=made).document
    assert [(node["key"], node["kind"], node["count"]) for node in document["nodes"]] == [
        ("greet", "step", 1),
        ("greet#2", "step", 4),
        ("greet#3", "step", 1),
        ("note", "step", 1),
        ("timer 1", "timer", 1),
        ("greet#4", "step", 1),
    ]
    assert [(edge["from"], edge["to"]) for edge in document["edges"]] == [
        ("greet", "greet#2"),
        ("greet#2", "greet#3"),
        ("greet#2", "note"),
        ("greet#3", "timer 1"),
        ("note", "timer 1"),
        ("timer 1", "greet#4"),
    ]
    assert document["runs"] == [run_of(made, "fan")]
    assert [type(node["duration_ms"]) for node in document["nodes"] if node["count"] == 1] == [int] * 5


def test_a_file_that_no_graph_can_be_drawn_in_is_refused(vbl_here, made, tmp_path):
    refused = vbl_here("graph", run_of(made, "fan"), "-o", str(tmp_path / "run.png"), "--json", db=made, code=2)
    assert refused.error["message"] == "a graph cannot be drawn as png"
    assert ".svg, .mmd" in refused.error["hint"]
    assert not list(tmp_path.iterdir())
