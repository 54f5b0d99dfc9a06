"""The terminal as a user has it: real processes in an empty folder, or the same `main` in this process where a process
adds nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vbl.cli.main import main

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 60.0

FLOWS = '''
import asyncio
import pathlib
import time

import vbl


@vbl.step
async def greet(name: str) -> str:
    return f"hello {name}"


@vbl.step
def note(line: str) -> str:
    with open("notes.txt", "a") as file:
        file.write(line + "\\n")
    return line


@vbl.step
def until(name: str) -> str:
    """Ends when a file of that name is there."""
    pathlib.Path(name + ".begun").touch()
    while not pathlib.Path(name).exists():
        time.sleep(0.01)
    return name


@vbl.step
async def boom() -> None:
    raise ValueError("this went wrong")


@vbl.step(retry=vbl.Retry(max_attempts=5, delay=3600, max_delay=3600, jitter=0, retry_on=["bug"]))
async def flaky() -> None:
    raise ValueError("try later")


@vbl.workflow
async def hello(name: str = "you") -> str:
    print("printed by the workflow")
    return await greet(name)


@vbl.workflow
async def gated(name: str) -> str:
    await note.aio("before")
    await until.aio(name)
    return await note.aio("after")


@vbl.workflow
async def bad() -> None:
    await boom()


@vbl.workflow
async def patient() -> None:
    await flaky()


@vbl.workflow
async def nap(seconds: float = 3600.0) -> str:
    await vbl.sleep(seconds)
    return "awake"


@vbl.workflow
async def asks(name: str = "you") -> str:
    gate = await vbl.approve(greet.call(name), to="ada", timeout=3600)
    return await gate.run() if gate.approved else "denied"


@vbl.workflow
async def family() -> list[str]:
    return await asyncio.gather(asks("Ada"), asks("Bob"))


@vbl.workflow
async def hears() -> str:
    return await vbl.wait("payment")
'''


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err)["error"]


@dataclass
class Shell:
    """A user's shell in a folder of his own; every command is a process."""

    folder: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def db(self) -> Path:
        return self.folder / "work.db"

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("VBL_", "_VBL"))}
        return kept | {
            "VBL_DB": str(self.db),
            "VBL_ACTOR": "ada",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
            "TZ": "UTC",
            "PYTHONUTF8": "1",
        }

    def start(self, *args: str, **more: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | more
        process = subprocess.Popen(
            [sys.executable, "-m", "vbl", *args], cwd=self.folder, env=self.environment, text=True, **pipes
        )
        self.running.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> Ended:
        out, err = process.communicate(timeout=DEADLINE_S)
        return Ended(process.returncode, out, err)

    def vbl(self, *args: str, code: int = 0) -> Ended:
        ended = self.end(self.start(*args))
        assert ended.code == code, f"vbl {' '.join(args)} exited with {ended.code}\n{ended.out}\n{ended.err}"
        return ended

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.02)
        return value

    def begun(self, name: str) -> None:
        """Wait until the step `until(name)` runs."""
        self.until((self.folder / f"{name}.begun").exists, f"the step of {name}")

    def release(self, name: str) -> None:
        (self.folder / name).touch()

    @property
    def notes(self) -> list[str]:
        return (self.folder / "notes.txt").read_text().split()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "flows.py").write_text(FLOWS)
    shell = Shell(tmp_path)
    yield shell
    for process in shell.running:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture
def vbl_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run a command in this process: `vbl_here("ls", db=path, code=0)`."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(*args: str, db: Path | None = None, code: int = 0) -> Ended:
        if db is not None:
            monkeypatch.setenv("VBL_DB", str(db))
        with pytest.raises(SystemExit) as left:
            main(list(args))
        ended = Ended(left.value.code, *capsys.readouterr())  # type: ignore[arg-type]
        assert ended.code == code, f"vbl {' '.join(args)} exited with {ended.code}\n{ended.out}\n{ended.err}"
        return ended

    return run
