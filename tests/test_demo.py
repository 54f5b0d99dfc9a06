"""`vbl demo` as a user runs it: a process of its own, real kills, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.model_server import OVERLOADED, Answer, ModelServer, openai_error, rate_limited
from vbl.agents import diary
from vbl.agents.models import MODEL_VARIABLES

ROOT = Path(__file__).parent.parent
KEY = "sk-planted-0123456789abcdef"
FAST = ("--pace", "0.3")


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """The demo keeps its files in the temporary folder; here that is the test's own."""
    dropped = {*MODEL_VARIABLES, "VBL_MODEL", "VBL_MODEL_KEY", "VBL_DB", "NO_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **more}


def demo(tmp_path: Path, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vbl", "demo", *args]
    return subprocess.run(
        command, env=environment(tmp_path, **more), capture_output=True, text=True, timeout=120, check=False
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.slow
def test_worker_is_killed_twice_and_no_completed_step_runs_again(tmp_path: Path) -> None:
    done = demo(tmp_path, "--json", *FAST)
    told = document(done)
    assert (done.returncode, told["proved"], told["status"]) == (0, True, "completed"), done.stdout
    assert [worker["exit_code"] for worker in told["workers"]] == [-9, -9, 0]
    assert len({worker["pid"] for worker in told["workers"]}) == 3
    first, second, _ = told["workers"]
    assert len(first["complete"]) >= 11
    assert first["in_flight"]
    assert second["in_flight"]
    assert all(claim["holds"] for claim in told["claims"])
    assert "No language model was used" in Path(told["briefing"]).read_text("utf-8")

    with vbl.connect(told["db"]) as client:
        events = client.run(told["run"]).events()
        state = client.run(told["run"]).state()
    completed = Counter(event.payload["step"] for event in events if event.type == "STEP_COMPLETED")
    assert len(completed) == len(told["steps"]) == 21
    assert set(completed.values()) == {1}
    interrupted = [event.payload["step"] for event in events if event.type == "STEP_INTERRUPTED"]
    assert sorted(interrupted) == sorted(first["in_flight"] + second["in_flight"])
    assert len(state.variables["messages"]) == 6

    calls = {
        event.payload["idempotency_key"]: event.payload["step"] for event in events if event.type == "STEP_STARTED"
    }
    bodies: dict[str, Counter[str]] = {"began": Counter(), "ended": Counter()}
    for entry in diary.read(Path(told["side_effects"])):
        bodies[entry.phase][calls[entry.key]] += 1
    attempts = Counter(event.payload["step"] for event in events if event.type == "STEP_STARTED")
    assert bodies["began"] <= attempts, "a body began whose start is not in the history"
    assert set(bodies["ended"]) == set(completed)
    assert {step for step, count in attempts.items() if count > 1} == set(interrupted)


@pytest.mark.slow
def test_demo_proves_itself_and_reads_well_in_a_pipe(tmp_path: Path) -> None:
    done = demo(tmp_path, COLUMNS="80")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert "✓ completed" in done.stdout
    assert "…  ✓" in done.stdout, "a narrow terminal cuts labels, not what became of a step"
    assert not [line for line in done.stdout.splitlines() if line != line.rstrip()]
    assert len(re.findall(r"^  ✗ kill -9 \d+  exit code -9$", done.stdout, re.MULTILINE)) == 2
    assert "Proved. Killed twice" in done.stdout
    assert "no model" in done.stdout
    command = re.search(r"^  (vbl show \S+ --db \S+)$", done.stdout, re.MULTILINE)
    assert command
    shown = subprocess.run(
        [sys.executable, "-m", *command[1].split()],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "completed" in shown.stdout


@pytest.mark.slow
def test_a_forged_side_effect_is_found_and_the_demo_fails(tmp_path: Path) -> None:
    """Somebody runs a completed step's body again: a line that says so must turn the verdict."""
    stop = threading.Event()

    def forge() -> None:
        while not stop.wait(0.01):
            for path in tmp_path.glob("vbl-demo-*/side-effects.jsonl"):
                entries = diary.read(path)
                if len({entry.pid for entry in entries}) == 3:
                    line = diary.Entry(at=0, pid=entries[-1].pid, key=entries[0].key, phase="began")
                    with path.open("ab") as file:
                        file.write(line.model_dump_json().encode() + b"\n")
                    return

    forger = threading.Thread(target=forge)
    forger.start()
    try:
        done = demo(tmp_path, "--json", *FAST)
    finally:
        stop.set()
        forger.join()
    assert done.returncode == 1
    broken = {claim["claim"]: claim["facts"] for claim in document(done)["claims"] if not claim["holds"]}
    assert set(broken) == {"No completed step ran again", "History and side effects agree"}
    assert all("look_through" in facts for facts in broken.values())


@pytest.mark.slow
def test_a_model_that_is_limited_and_overloaded_is_seen_through(tmp_path: Path) -> None:
    with ModelServer(latency_s=0.4) as server:
        server.script(rate_limited("0.2"), OVERLOADED)
        done = demo(tmp_path, "--json", OPENAI_API_KEY=KEY, OPENAI_BASE_URL=server.url)
    told = document(done)
    assert told["proved"], told["claims"]
    assert told["model"] == "gpt-5-mini at 127.0.0.1"
    assert "failed" in {attempt["outcome"] for step in told["steps"] for attempt in step["attempts"]}
    assert "Written by a language model (gpt-5-mini)" in Path(told["briefing"]).read_text("utf-8")
    asking = [step["step"] for step in told["steps"] if step["step"].startswith(("summarise", "ask"))]
    assert sorted(call["step"] for call in told["usage"]) == sorted(asking), (
        "one call a step, refused and killed ones not"
    )
    assert all(call["input_tokens"] > 0 and call["model"] == "gpt-5-mini" for call in told["usage"])
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in left
    assert KEY not in done.stdout + done.stderr


@pytest.mark.slow
def test_model_is_left_alone_where_it_is_not_wanted(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("The pump failed on 3 May. It must be repaired by 9 May.")
    (tmp_path / "notes" / "two.bin").write_bytes(b"\0\1")
    with ModelServer() as server:
        done = demo(tmp_path, str(tmp_path / "notes"), "--no-model", "--json", *FAST, VBL_MODEL_URL=server.url)
        assert server.seen == []
    told = document(done)
    assert told["proved"], told["claims"]
    assert (told["model"], told["documents"]) == (None, ["one.txt"])
    assert told["left_out"] == [{"name": "two.bin", "reason": "it is binary, not text"}]


@pytest.mark.slow
def test_refused_key_ends_the_demo_with_the_reason(tmp_path: Path) -> None:
    with ModelServer() as server:
        server.script(*[Answer(401, openai_error(f"Incorrect API key provided: {KEY}", "invalid_api_key"))] * 9)
        done = demo(tmp_path, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=server.url)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "invalid_api_key" in done.stderr
    assert "vbl show r_" in done.stderr
    assert KEY not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["{}/none"], 2, "There is no folder"),
        (["{}"], 2, "holds no file"),
        (["{}/../file.bin"], 2, "is a file, not a folder"),
        (["--pace", "0"], 2, "--pace"),
        (["--db", "{}/../file.bin"], 10, "not a vbl file"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(tmp_path: Path, args: list[str], code: int, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").write_bytes(b"\0" * 5000)
    done = demo(tmp_path, *[arg.format(tmp_path / "empty") for arg in args])
    assert done.returncode == code
    assert words in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.glob("vbl-demo-*"))
    assert (tmp_path / "file.bin").read_bytes() == b"\0" * 5000


def test_senseless_model_address_is_said_before_anything_begins(tmp_path: Path) -> None:
    done = demo(tmp_path, VBL_MODEL_URL="localhost")
    assert done.returncode == 2
    assert "VBL_MODEL_URL must begin with http" in done.stderr
    assert not list(tmp_path.glob("vbl-demo-*"))


def test_file_with_a_supervisor_is_refused(tmp_path: Path) -> None:
    with vbl.open(tmp_path / "held.db"):
        done = demo(tmp_path, "--db", str(tmp_path / "held.db"))
    assert done.returncode == 9
    assert str(os.getpid()) in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.slow
def test_interrupted_demo_leaves_no_worker_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "vbl", "demo", "--pace", "20"],
        env=environment(tmp_path, PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as running:
        assert running.stdout is not None
        worker = next(
            int(found[1]) for line in running.stdout if (found := re.search(r"worker 1  process (\d+)", line))
        )
        wait_for(lambda: list(tmp_path.glob("vbl-demo-*/side-effects.jsonl")))
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130

    def gone() -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, 0)
            return False
        return True

    wait_for(gone)
