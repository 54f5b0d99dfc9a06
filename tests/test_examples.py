"""The examples are programs of their own: each runs in an empty folder, decides by itself or by hand, and shows what it
says it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

import vbl
from tests.model_server import ModelServer

ROOT = Path(__file__).parent.parent
DEADLINE_S = 60.0
T = TypeVar("T")
pytestmark = pytest.mark.slow


def started(folder: Path, name: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("VBL_")}
    return subprocess.Popen(
        [sys.executable, ROOT / "examples" / name, *arguments],
        cwd=folder,
        env={
            **clean,
            "PYTHONPATH": str(ROOT),
            "VBL_DB": str(folder / "example.db"),
            "NO_COLOR": "1",
            "COLUMNS": "120",
            **more,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    said, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code, said
    return said


def wait_for(condition: Callable[[], T]) -> T:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.05)
    return found


def test_briefing_says_what_its_model_used_and_asks_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("The pump failed on 3 May. It must be repaired by 9 May.")
    with ModelServer() as server:
        said = ended(started(tmp_path, "briefing.py", "notes", VBL_MODEL_URL=server.url, VBL_MODEL="m-1"))
        assert re.search(r"by m-1\n4 calls of a model: \d+ tokens in, \d+ out", said), said
        assert ended(started(tmp_path, "briefing.py", "notes", VBL_MODEL_URL=server.url, VBL_MODEL="m-1")) == said
        assert len(server.seen) == 4


def test_approval_is_killed_while_it_waits_and_goes_on(tmp_path: Path) -> None:
    said = ended(started(tmp_path, "approval.py"))
    assert "was killed" in said
    assert re.search(r"worker \d+: message r_\w+:send_reply to Ada", said)
    with vbl.connect(tmp_path / "example.db") as client:
        [run] = client.runs()
        types = [str(event.type) for event in run.events()]
        assert run.status == "completed"
        assert types.count("STEP_STARTED") == types.count("STEP_COMPLETED") == 2
        [gate] = run.state().gates.values()
        assert (gate.status, gate.decided_by) == ("granted", "grace")


def test_approval_waits_for_somebody_else_by_hand(tmp_path: Path) -> None:
    with started(tmp_path, "approval.py", "--by-hand") as process:
        assert process.stdout is not None
        assert any("Decide in another terminal" in line for line in process.stdout), "it never asked"
        with vbl.connect(tmp_path / "example.db") as client:
            [gate] = client.gates(status="open")
            client.deny(gate.id, by="eve", reason="not today")
        said = ended(process)
    assert "not sent: not today" in said


def test_human_loop_runs_what_was_edited_and_tells_of_what_was_denied(tmp_path: Path) -> None:
    said = ended(started(tmp_path, "human_loop.py"))
    assert re.search(r"refund: refunded 40\.00 EUR to Ada for order 7", said)
    assert "denied by grace: nobody asked for that" in said
    with vbl.connect(tmp_path / "example.db") as client:
        [run] = client.runs()
        ran = {e.payload["step"]: e.payload["input"] for e in run.events() if e.type == "STEP_STARTED"}
    assert ran["refund"] == {"customer": "Ada", "order": 7, "amount": 40.0}
    assert "find_orders" in ran
    assert "close_account" not in ran


def test_human_loop_by_hand(tmp_path: Path) -> None:
    with started(tmp_path, "human_loop.py", "--by-hand") as process:
        with vbl.connect(tmp_path / "example.db") as client:
            wait_for(lambda: len(client.gates(status="open")) == 2)
            for gate in client.gates(status="open"):
                client.approve(gate.id, by="ada")
        said = ended(process)
    assert "refunded 400.00 EUR" in said
    assert "closed the account of Ada" in said


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_an_example_says_what_it_is(name: str, tmp_path: Path) -> None:
    text = (ROOT / "examples" / name).read_text("utf-8")
    assert text.startswith('"""')
    assert f"python examples/{name}" in text.partition('"""\n')[0]
