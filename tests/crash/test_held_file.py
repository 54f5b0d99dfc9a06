"""A process that holds a vbl file keeps everything else in it away from the file: a second SQLite library, or a plain
`open().close()`, would silently drop the locks (fcntl(2)). From another process both are harmless."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vbl
from tests.crash.lives import environment

OPENERS: dict[str, Callable[[Path], object]] = {
    "sqlite3.connect": lambda db: sqlite3.connect(db),
    "sqlite3.connect(str)": lambda db: sqlite3.connect(str(db)),
    "sqlite3.connect(bytes)": lambda db: sqlite3.connect(os.fsencode(db)),
    "sqlite3.connect(uri)": lambda db: sqlite3.connect(f"file:{db}?mode=ro", uri=True),
    "sqlite3.connect(uri, //)": lambda db: sqlite3.connect(f"file://{db}?mode=ro", uri=True),
    "sqlite3.connect(as_uri)": lambda db: sqlite3.connect(db.as_uri(), uri=True),
    "sqlite3.connect(relative)": lambda db: sqlite3.connect(os.path.relpath(db)),
    "open": lambda db: open(db, "rb"),  # noqa: SIM115
    "open(relative)": lambda db: open(os.path.relpath(db), "rb"),  # noqa: SIM115
    "open(detour)": lambda db: open(f"{db.parent}/../{db.parent.name}/{db.name}", "rb"),  # noqa: SIM115
    "open(wal)": lambda db: open(f"{db}-wal", "rb"),  # noqa: SIM115
    "open(shm)": lambda db: open(f"{db}-shm", "rb"),  # noqa: SIM115
    "os.open": lambda db: os.open(db, os.O_RDONLY),
    "Path.read_bytes": lambda db: db.read_bytes(),
    "shutil.copy": lambda db: shutil.copy(db, db.with_name("copy")),
}


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "a folder").mkdir()
    db = tmp_path / "a folder" / "held file.db"
    with vbl.connect(db) as client:
        client.start("nothing")
        yield db


@pytest.mark.parametrize("way", OPENERS)
def test_a_held_file_is_not_opened_by_anything_else(held: Path, way: str) -> None:
    with pytest.raises(vbl.StorageError, match=r"client\.sql") as refused:
        OPENERS[way](held)
    assert refused.value.code == "held_here"
    assert str(held) in refused.value.message


@pytest.mark.parametrize("way", ["sqlite3.connect", "open"])
def test_a_link_to_a_held_file_is_the_held_file(held: Path, way: str) -> None:
    soft, hard = held.with_name("soft"), held.with_name("hard")
    soft.symlink_to(held)
    hard.hardlink_to(held)
    for link in (soft, hard):
        with pytest.raises(vbl.StorageError, match=r"client\.sql"):
            OPENERS[way](link)


def test_a_file_in_a_linked_folder_is_held_too(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    with vbl.connect(tmp_path / "linked" / "x.db"):
        for folder in ("real", "linked"):
            with pytest.raises(vbl.StorageError, match=r"client\.sql"):
                open(tmp_path / folder / "x.db", "rb")  # noqa: SIM115


def test_other_files_are_opened_as_ever(held: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / held.name
    other.parent.mkdir()
    with sqlite3.connect(other) as connection:
        connection.execute("create table t (x)")
    connection.close()
    assert other.read_bytes().startswith(b"SQLite")
    memory = sqlite3.connect(":memory:")
    memory.close()


def test_the_file_is_free_again_after_close(tmp_path: Path) -> None:
    db = tmp_path / "vbl.db"
    first, second = vbl.connect(db), vbl.connect(db)
    first.close()
    with pytest.raises(vbl.StorageError):
        db.read_bytes()
    second.close()
    assert db.read_bytes().startswith(b"SQLite")
    with sqlite3.connect(db) as connection:
        assert connection.execute("select count(*) from vbl_runs").fetchone() == (0,)
    connection.close()


@vbl.step
async def careless(path: str) -> str:
    """What user code does without thinking: look into the file that it runs in."""
    sqlite3.connect(path).close()
    return "got away with it"


@vbl.workflow
async def carelessly(path: str) -> str:
    try:
        return await careless(path)
    except vbl.StepFailed as error:
        return error.message


def test_a_careless_step_fails_and_the_right_to_the_file_stays(tmp_path: Path) -> None:
    db = tmp_path / "vbl.db"
    with vbl.open(db) as runtime:
        assert "is held by vbl" in runtime.start(carelessly, str(db)).result(timeout=20)
        up = [sys.executable, "-m", "vbl", "up", __file__, "--db", str(db)]
        second = subprocess.run(up, env=environment(), capture_output=True, text=True, timeout=30)
        assert second.returncode == 9, second.stderr
        assert f"process {os.getpid()} " in second.stderr
        assert "is held by vbl" in runtime.start(carelessly, str(db)).result(timeout=20)
