"""`Site`: a folder with a real file, and the processes that serve and move it, as a person has them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Page, expect

import vbl

ROOT = Path(__file__).parent.parent.parent
FLOWS = ROOT / "tests/browser/flows.py"
DEADLINE_S = 30.0
LINK = r"http://\S+(?=\s)"
T = TypeVar("T")


def wait(condition: Callable[[], T], what: str) -> T:
    """What the condition returns, as soon as that is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return value


def shows(tab: Page, status: str) -> None:
    """Wait until the run's page has that status at its head."""
    expect(tab.locator("#head .status").first).to_have_attribute("data-status", status)


@dataclass
class Process:
    """One command of the site, and the file that it writes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8")

    def ended(self) -> int:
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        """End it as a loss of power would, SIGKILL."""
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def wait_for(self, pattern: str) -> str:
        """What of its output matches, once it has been written."""

        def found() -> re.Match[str] | None:
            over = self.process.poll() is not None
            match = re.search(pattern, self.said)
            assert match or not over, f"{self.name} ended before it said {pattern}:\n{self.said}"
            return match

        return wait(found, f"{pattern} from {self.name}")[0]


@dataclass
class Site:
    """A folder with a file, and the processes that serve and move it."""

    folder: Path
    db: Path
    flows: Path = FLOWS
    actor: str = "ada"
    processes: list[Process] = field(default_factory=list[Process])
    supervisor: Process | None = None
    server: Process | None = None
    link: str = ""
    cookies: list[Any] = field(default_factory=list[Any])
    _client: vbl.Client | None = None

    @property
    def url(self) -> str:
        """Where the page is, without the token."""
        return self.link.partition("/?")[0]

    @property
    def client(self) -> vbl.Client:
        """What any other program would use, open as long as the site."""
        if self._client is None:
            self._client = vbl.connect(self.db)
        return self._client

    def start(self, *args: str) -> Process:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("VBL_", "_VBL"))}
        log = self.folder / f"log-{len(self.processes)}.txt"
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "vbl", *args],
                cwd=self.folder,
                env=kept
                | {
                    "VBL_DB": str(self.db),
                    "VBL_ACTOR": self.actor,
                    "PYTHONPATH": str(ROOT),
                    "XDG_DATA_HOME": str(self.folder / "data"),
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(started := Process(f"vbl {' '.join(args)}", process, log))
        return started

    def up(self, *flags: str) -> Site:
        """Start a supervisor of the file, and wait until it holds it."""
        self.supervisor = self.start("up", str(self.flows), *flags)
        self.supervisor.wait_for("supervising")
        if "--ui" in flags:
            self.link = self.supervisor.wait_for(LINK)
        return self

    def ui(self, *flags: str, port: int = 0) -> Site:
        """Serve the file by a process of its own, and take the link that it prints."""
        self.server = self.start("ui", "--no-open", "--port", str(port), *flags)
        self.link = self.server.wait_for(LINK)
        if "--token" in flags:  # a lasting one is not printed
            self.link += f"?token={flags[flags.index('--token') + 1]}"
        return self

    def vbl(self, *args: str) -> str:
        """A command in the folder; it must exit with 0."""
        process = self.start(*args)
        code = process.ended()
        assert code == 0, f"{process.name} exited with {code}\n{process.said}"
        return process.said

    def begin(self, workflow: str, **inputs: Any) -> vbl.Run:
        """Create a run from outside, as any program may."""
        return self.client.start(workflow, **inputs)

    def begun(self, name: str) -> None:
        """Wait until the step `until(name)` runs."""
        wait((self.folder / f"{name}.begun").exists, f"the step of {name}")

    def release(self, name: str) -> None:
        (self.folder / name).touch()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        for process in self.processes:
            process.kill()
