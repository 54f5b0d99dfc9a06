"""Real notebooks in real kernels: a `notebook` types cells one after the other, interrupts, kills and restarts."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 60.0


class Cell:
    """A cell that was run, and what stands below it now."""

    def __init__(self, node: Any) -> None:
        self.node = node

    @property
    def text(self) -> str:
        """What it printed, and the text form of what it showed."""
        return "".join(
            o.text if o.output_type == "stream" else o.get("data", {}).get("text/plain", "") for o in self.node.outputs
        )

    @property
    def html(self) -> str:
        """The HTML form of what it shows."""
        return "".join(o.data["text/html"] for o in self.node.outputs if "text/html" in o.get("data", {}))

    @property
    def error(self) -> str:
        """The error that ended it: its type and its words, without the traceback."""
        return "".join(f"{o.ename}: {o.evalue}" for o in self.node.outputs if o.output_type == "error")

    @property
    def traceback(self) -> str:
        """The traceback as the person sees it, without its colours."""
        import re

        lines = "\n".join(line for o in self.node.outputs if o.output_type == "error" for line in o.traceback)
        return re.sub("\x1b\\[[0-9;]*m", "", lines)


class Notebook:
    """One notebook in `folder`, and the kernel that it has now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = contextlib.ExitStack()
        self.start()

    def start(self) -> None:
        """Give it a kernel, where everything is to be run anew."""
        import nbformat
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager
        from nbclient import NotebookClient

        # sockets in a folder of its own: ports that one kernel has chosen can be another one's by the time it binds
        files = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="vbl-"))
        manager = AsyncKernelManager(
            kernel_name="python3",  # this very Python, whatever kernels the person at this machine has
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            transport="ipc",
            connection_file=f"{files}/kernel.json",
        )
        self.document = nbformat.v4.new_notebook()
        self.client = NotebookClient(
            self.document,
            km=manager,
            timeout=DEADLINE_S,
            startup_timeout=DEADLINE_S,
            resources={"metadata": {"path": str(self.folder)}},
            allow_errors=True,
        )
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("VBL_", "COV_"))}
        env = {
            **clean,
            "PYTHONPATH": str(ROOT),
            "VBL_DB": str(self.folder / "default.db"),
            "IPYTHONDIR": str(self.folder / "profile"),
            "JPY_SESSION_NAME": str(self.folder / "work.ipynb"),  # as a Jupyter server does
        }
        self.stack.enter_context(self.client.setup_kernel(env=env, cwd=str(self.folder), cleanup_kc=True))

    @property
    def pid(self) -> int:
        """The process of the kernel."""
        return self.client.km.provisioner.pid

    def run(self, source: str) -> Cell:
        """Type a cell below the others and run it to its end; an error stays below it."""
        import nbformat

        node = nbformat.v4.new_code_cell(source)
        self.document.cells.append(node)
        self.client.execute_cell(node, len(self.document.cells) - 1)
        return Cell(node)

    def fine(self, source: str) -> Cell:
        """The same, where no error is expected."""
        cell = self.run(source)
        assert not cell.error, cell.traceback
        return cell

    def interrupted(self, source: str, when: Callable[[], object] = lambda: True) -> Cell:
        """Run a cell, and press the button once it has begun and `when()` holds."""
        failed: list[BaseException] = []
        begun = self.folder / "cell_has_begun"
        begun.unlink(missing_ok=True)

        def press() -> None:
            try:
                wait_for(begun.exists)
                wait_for(when)
            except BaseException as error:
                failed.append(error)
            os.killpg(os.getpgid(self.pid), signal.SIGINT)  # as Jupyter does: the kernel and its children

        thread = threading.Thread(target=press)
        thread.start()
        cell = self.run(f"import pathlib; pathlib.Path({str(begun)!r}).touch()\n{source}")
        thread.join()
        assert not failed, failed
        return cell

    def kill(self) -> None:
        """End the kernel's process, SIGKILL, and open the notebook again with another one."""
        os.kill(self.pid, signal.SIGKILL)
        self.stack.close()
        self.start()

    def restart(self) -> None:
        """Let the kernel end in order, and open the notebook again with another one."""
        self.close()
        self.start()

    def close(self) -> None:
        """Close it; its kernel ends."""
        self.stack.close()


def wait_for(condition: Callable[[], Any]) -> Any:
    """Its value once it holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.02)
    return found


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    """An empty notebook in a folder of its own."""
    opened = Notebook(tmp_path)
    try:
        yield opened
    finally:
        opened.close()
