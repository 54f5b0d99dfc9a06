"""The side-effect file: one whole line an act, also when the process is killed in the middle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vbl.agents import diary


def test_body_notes_its_beginning_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(diary.FILE, str(tmp_path / "diary"))
    with diary.noted(lambda: "call 1"):
        pass
    with pytest.raises(RuntimeError), diary.noted(lambda: "call 2"):
        raise RuntimeError
    phases = [(entry.key, entry.phase) for entry in diary.read(tmp_path / "diary")]
    assert phases == [("call 1", "began"), ("call 1", "ended"), ("call 2", "began"), ("call 2", "failed")]


def test_without_a_diary_nothing_is_asked_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(diary.FILE, raising=False)
    monkeypatch.chdir(tmp_path)
    with diary.noted(lambda: pytest.fail("the key was asked for")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_killed_process_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    code = (
        f"import os\nos.environ['{diary.FILE}'] = {str(path)!r}\n"
        "from vbl.agents import diary\nn = 0\n"
        "while True:\n    n += 1\n    with diary.noted(lambda: f'call {n}'): pass\n"
        "    if n == 50: print(n, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"50\n"
        writer.kill()
    entries = diary.read(path)
    assert len(entries) >= 100
    assert {entry.pid for entry in entries} == {writer.pid}
    assert path.read_bytes().endswith(b"\n")


def test_file_that_is_not_there_is_an_empty_diary(tmp_path: Path) -> None:
    assert diary.read(tmp_path / "none") == []
