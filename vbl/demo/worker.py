"""One life of the worker: a process of its own that supervises the demo's file until it is killed or told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from vbl.agents import diary
from vbl.agents.models import MODEL_VARIABLES
from vbl.clock import SYSTEM
from vbl.demo.scene import Scene
from vbl.errors import SupervisorHeld, VblError

TARGET = "vbl.agents.briefing:briefing"
GRACE_S = 5.0
KILLED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else 1
"""What the operating system says of a process that was killed."""


class Worker:
    """A running `vbl up`. Its words go to the log."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.began_at = SYSTEM.now()
        with scene.log.open("ab") as log:
            self._process = subprocess.Popen(
                supervise(scene),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=scene.log.parent,
                env=environment(os.environ, scene),
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise if the process has ended although nobody told it to, with the last words of its log."""
        code = self._process.poll()
        if code is None:
            return
        words = self.scene.log.read_text("utf-8", "replace").strip().splitlines()[-12:]
        message = f"the worker process ended by itself, with exit code {code}:\n" + "\n".join(words)
        if code == SupervisorHeld.exit_code:
            raise SupervisorHeld(message, "Leave out --db: the demo then uses a file of its own")
        raise VblError(message, f"Its whole log is in {self.scene.log}", code="worker_ended")

    def kill(self) -> int:
        """End the process without warning; the exit code, which says how it ended."""
        self._process.kill()
        return self._process.wait()

    def stop(self) -> int:
        """Ask the process to stop, and insist after a moment; the exit code."""
        self._process.terminate()
        try:
            return self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return self.kill()


def supervise(scene: Scene) -> list[str]:
    """The command line of the worker: what anybody types to supervise a file."""
    return [sys.executable, "-P", "-m", "vbl", "up", TARGET, "--db", str(scene.db)]


def environment(outer: Mapping[str, str], scene: Scene) -> dict[str, str]:
    """What the worker finds in its environment: this very vbl, the diary, and the model if it is wanted."""
    inner = {name: value for name, value in outer.items() if scene.model or name not in MODEL_VARIABLES}
    package = str(Path(__file__).parents[2])
    inner["PYTHONPATH"] = os.pathsep.join(filter(None, [package, inner.get("PYTHONPATH")]))
    return inner | {
        diary.FILE: str(scene.diary),
        diary.PACE: str(scene.pace_s),
        "PYTHONUNBUFFERED": "1",
    }
