"""What the pages say is true: their programs run, their commands exit as they should, their references exist.

A page is one session in an empty folder. A Python block that begins with `# name.py` is written to that file and run; a
console block is typed line by line, and the output that it shows is compared, with `…` for anything. A command is
expected to exit with 0, or with the code that a trailing comment names: `# exits with 5`; or it is killed at the moment
that the comment names: `# kill -9 it while it is waiting`; or it ends in `&` and is stopped at the end of the page.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import vbl

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(match[2], textwrap.dedent(match[3])) for match in FENCE.finditer(page.read_text("utf-8"))]


def sessions() -> list[Path]:
    found = [page for page in PAGES if any(language in {"python", "console"} for language, _ in blocks(page))]
    assert found
    return found


class Session:
    """One reader at one terminal in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        commands = folder / "bin"
        commands.mkdir()
        for name, does in {"vbl": f'"{sys.executable}" -m vbl', "python": f'"{sys.executable}"'}.items():
            (commands / name).write_text(f'#!/bin/sh\nexec {does} "$@"\n', "utf-8")
            (commands / name).chmod(0o755)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("VBL_")} | {
            "VBL_DB": str(folder / "default.db"),
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            "COLUMNS": "120",
        }
        self.background: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.background:
            process.terminate()
            process.communicate(timeout=60)

    def run_python(self, source: str, number: int) -> None:
        named = re.match(r"# ([\w.]+\.py)\n", source)
        file = self.folder / (named[1] if named else f"block_{number}.py")
        file.write_text(source, "utf-8")
        if file.name.startswith("test_"):
            code, said = self.shell(f"{sys.executable} -m pytest -q -p no:cacheprovider {file.name}")
        else:
            code, said = self.shell(f"{sys.executable} {file.name}")
        assert code == 0, f"{file.name} exited with {code}:\n{said}"

    def type(self, block: str) -> None:
        for entry in re.split(r"^(?=\$ )", block, flags=re.MULTILINE):
            command, _, expected = entry.removeprefix("$ ").partition("\n")
            if not command:
                continue
            if export := re.fullmatch(r"export (\w+)=(.*)", command):
                self.environment[export[1]] = export[2].replace("$PWD", str(self.folder))
                continue
            if command.endswith(" &"):
                self.background.append(self.started(f"exec {command.removesuffix(' &')}"))
                continue
            if moment := re.search(r"# kill -9 it while it is (\w+)$", command):
                self.kill(command, moment[1])
                continue
            wanted = int(found[1]) if (found := re.search(r"# exits with (\d+)$", command)) else 0
            code, said = self.shell(command)
            assert code == wanted, f"$ {command}\nexited with {code}:\n{said}"
            if not expected.strip():
                continue
            pattern = ".*".join(re.escape(part.strip()) for part in expected.split("…"))
            assert re.fullmatch(f"\\s*{pattern}\\s*", said, re.DOTALL), f"$ {command}\n{said}\nis not\n{expected}"

    def kill(self, command: str, status: str) -> None:
        """Start a command and kill it, SIGKILL, as soon as the newest run of its file has the status."""
        with self.started(f"exec {command}") as process:
            deadline = time.monotonic() + 60
            path = Path(self.environment["VBL_DB"])
            while not (path.exists() and newest(path) == status):
                assert process.poll() is None, f"$ {command}\nended by itself:\n{process.communicate()[0]}"
                assert time.monotonic() < deadline, f"$ {command}\nwas never {status}"
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)

    def shell(self, command: str) -> tuple[int, str]:
        with self.started(command) as process:
            try:
                said, _ = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                said, _ = process.communicate()
                pytest.fail(f"$ {command}\ndid not end in 60 s:\n{said}")
        return process.returncode, said

    def started(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def newest(path: Path) -> str | None:
    with vbl.connect(path) as client:
        return next((str(run.status) for run in client.runs(limit=1)), None)


@pytest.mark.slow
@pytest.mark.parametrize("page", sessions(), ids=name_of)
def test_every_program_and_command_of_a_page_works(page: Path, tmp_path: Path) -> None:
    with Session(tmp_path) as session:
        for number, (language, text) in enumerate(blocks(page), 1):
            if language == "python":
                session.run_python(text, number)
            elif language == "console":
                session.type(text)


@pytest.mark.slow
def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_is_documented() -> None:
    import click

    from vbl.cli import main as module

    group = next(value for value in vars(module).values() if isinstance(value, click.Group))
    page = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    with click.Context(group, info_name="vbl") as context:
        names = [name for name in group.list_commands(context) if not group.get_command(context, name).hidden]  # type: ignore[union-attr]
    assert names
    missing = [name for name in names if f"## vbl {name}\n" not in page]
    assert not missing


LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        target
        for target, _ in LINK.findall(page.read_text("utf-8"))
        if target and "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken


def test_tests_that_the_pages_name_exist() -> None:
    named = [
        (page, file, test)
        for page in PAGES
        for file, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text("utf-8"))
    ]
    wrong = [
        f"{name_of(page)}: {file}::{test}"
        for page, file, test in named
        if not (ROOT / file).exists() or (test and f"def {test}(" not in (ROOT / file).read_text("utf-8"))
    ]
    assert named
    assert not wrong


FOREIGN = re.compile(r"/home/|/root/|/tmp/|pypi\.|\bTODO\b|\bFIXME\b|\bTBD\b", re.IGNORECASE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_name_no_machine_and_leave_nothing_open(page: Path) -> None:
    assert not FOREIGN.findall(page.read_text("utf-8"))
