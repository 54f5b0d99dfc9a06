"""What may be opened, in which mode, and what is said of everything else."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.store.conftest import File
from vbl.errors import NotFound, StorageError, UsageError
from vbl.store import location, sqlite
from vbl.store.checkpointer import Checkpointer
from vbl.store.sqlite import APPLICATION_ID, Reader, Sqlite, migrations

ROOT = Path(__file__).parents[2]


def refusal(path: Path, **options: object) -> StorageError:
    with pytest.raises(StorageError) as refused:
        Sqlite(path, **options)  # pyright: ignore[reportArgumentType]
    assert str(path) in refused.value.message
    assert refused.value.hint, "an error says what to type next"
    return refused.value


# What is made -----------------------------------------------------------------------------------------------------


def test_a_new_file_is_private_and_durable(tmp_path: Path) -> None:
    store = Sqlite(tmp_path / "folder" / "deep" / "new.db")
    try:
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
        pragmas = {"journal_mode": "wal", "synchronous": 2, "application_id": APPLICATION_ID}
        assert {name: store.select(f"pragma {name}")[1][0][0] for name in pragmas} == pragmas
        assert store.select("pragma user_version")[1] == [(migrations()[-1][0],)]
    finally:
        store.close()


def test_durability_process_is_said_and_set(tmp_path: Path) -> None:
    store = Sqlite(tmp_path / "new.db", durability="process")
    assert store.select("pragma synchronous")[1] == [(1,)]
    store.close()


def test_a_commit_never_copies_the_write_ahead_log(file: File) -> None:
    """Not after a thousand pages, and not on close: that is the background's work."""
    for _ in range(30):
        file.some_run(steps=20)
    assert file.store.wal_pages > 1_000
    other = Sqlite(file.path)
    wal = file.path.with_name(file.path.name + "-wal")
    before = wal.stat().st_size
    other.close()
    assert wal.stat().st_size == before > 4_000_000
    assert file.path.stat().st_size < before / 4


def test_the_background_empties_the_log_at_the_end(file: File) -> None:
    for _ in range(5):
        file.some_run()
    background = Checkpointer(file.store)
    background.start()
    background.stop()
    assert file.path.with_name(file.path.name + "-wal").stat().st_size == 0
    assert len(file.rows("select distinct run from events")) == 5


# What is refused --------------------------------------------------------------------------------------------------


def test_a_text_file_is_not_ours_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 200)
    assert refusal(path).code == "not_vbl"
    assert path.read_text() == "Dear diary, " * 200


def test_somebody_elses_database_is_not_ours_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = apsw.Connection(str(path))
    other.execute("create table t (x); insert into t values (1)")
    other.close()
    before = path.read_bytes()
    assert refusal(path).code == "not_vbl"
    assert path.read_bytes() == before


def test_a_database_with_an_application_of_its_own_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = apsw.Connection(str(path))
    other.execute("pragma application_id = 1196444487; create table t (x)")
    other.close()
    assert refusal(path).code == "not_vbl"


def test_an_empty_file_becomes_ours(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    store = Sqlite(path)
    assert store.head() == (0, 0)
    store.close()


def test_a_file_of_a_newer_vbl_is_refused_by_its_version(file: File) -> None:
    file.store.execute("pragma user_version = 99")
    error = refusal(file.path)
    assert error.code == "newer"
    assert "99" in error.message
    assert "pip install" in error.hint


def test_a_folder_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.code == "not_vbl"
    assert "folder" in error.message


def test_a_missing_file_is_not_made_where_that_was_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        Sqlite(tmp_path / "no.db", create=False)
    with pytest.raises(NotFound):
        Reader(tmp_path / "no.db")
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_no_file_can_be_made_is_named(tmp_path: Path) -> None:
    assert refusal(Path("/proc/vbl-cannot-be/here.db")).code == "cannot_open"


READ_ONLY = """
import os, sys
from pathlib import Path
from vbl.errors import StorageError
from vbl.store.sqlite import Sqlite
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
store = Sqlite(Path(sys.argv[1]), create=False)
print(store.select("select count(*) from events")[1][0][0])
try:
    with store.write():
        store.execute("delete from runs")
except StorageError as error:
    print(error.code)
"""


def test_a_file_that_cannot_be_written_can_be_read_and_says_so(file: File) -> None:
    """In a process of a user who may not write it."""
    file.some_run()
    file.store.checkpoint("truncate")
    events = file.rows("select count(*) from events")[0][0]
    file.store.close()
    for part in [file.path, *file.path.parent.glob("file.db-*")]:
        part.chmod(0o444)
    folder = file.path.parent
    while folder != folder.parent and folder != Path("/tmp"):
        folder.chmod(0o755)
        folder = folder.parent
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(file.path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == ([str(events), "read_only"], "")


HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("begin immediate")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(file: File) -> Iterator[File]:
    """Another program keeps the file locked."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield file
        holder.communicate()


def test_a_file_that_another_program_keeps_locked_is_named_in_time(held: File) -> None:
    impatient = Sqlite(held.path, wait_ms=5)
    try:
        with pytest.raises(StorageError) as refused, impatient.write():
            pass
        assert refused.value.code == "locked"
        assert "fuser" in refused.value.hint
        assert impatient.head() == (0, 0), "it can still be read"
    finally:
        impatient.close()


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:26 / /home rw - nfs4 server:/home rw
31 30 0:27 / /home/ada/local rw - ext4 /dev/sdb1 rw
32 22 0:28 / /mnt/my\\040share rw - cifs //server/share rw
33 22 0:29 / /mnt/ssh rw - fuse.sshfs ada@host: rw
34 22 0:30 / /tmp rw - tmpfs tmpfs rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/vbl.db", "ext4"),
        ("/home/ada/vbl.db", "nfs4"),
        ("/home/ada/local/vbl.db", "ext4"),
        ("/homestead/vbl.db", "ext4"),
        ("/mnt/my share/vbl.db", "cifs"),
        ("/mnt/ssh/deep/vbl.db", "fuse.sshfs"),
        ("/tmp/vbl.db", "tmpfs"),
    ],
)
def test_network_file_systems_are_refused(path: str, kind: str) -> None:
    assert location.mount_type(Path(path), MOUNTS) == kind
    if kind in ("ext4", "tmpfs"):
        location.refuse_network(Path(path), MOUNTS)
        return
    with pytest.raises(StorageError, match=kind) as refused:
        location.refuse_network(Path(path), MOUNTS)
    assert refused.value.code == "network"


def test_a_reader_changes_nothing_whatever_is_typed(file: File) -> None:
    file.some_run()
    before = file.rows("select count(*) from events")
    reader = Reader(file.path)
    try:
        for sql in ("delete from events", "update runs set status = 'x'", "drop table events", "create table t (x)"):
            with pytest.raises(Exception, match=r"(?i)readonly|read-only|query_only|refused"):
                reader.query(sql)
        assert reader.query("select count(*) from vbl_events")[1] == before
        assert reader.query("select 1 as a, 2 as b") == (["a", "b"], [(1, 2)])
    finally:
        reader.close()
    assert file.rows("select count(*) from events") == before


def test_a_connection_that_was_closed_says_so(file: File) -> None:
    file.close()

    def write() -> None:
        with file.store.write():
            pass

    for use in (lambda: file.rows("select 1"), file.store.head, file.store.changed, write):
        with pytest.raises(UsageError, match="was closed here") as refused:
            use()
        assert refused.value.hint


def test_text_that_is_none_is_refused_in_words(file: File) -> None:
    reader = Reader(file.path)
    try:
        for use in (
            lambda: file.store.all("keys_from", ("\udcff",)),
            lambda: file.rows("select ?", "\udcff"),
            lambda: reader.query("select '\udcff'"),
        ):
            with pytest.raises(UsageError, match="UTF-8"):
                use()
    finally:
        reader.close()


# Migrations -------------------------------------------------------------------------------------------------------


def test_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_migration_is_applied_once_with_its_record(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = file.some_run()
    newest = migrations()[-1][0]
    more = [*migrations(), (newest + 1, "alter table runs add column colour text")]
    monkeypatch.setattr(sqlite, "migrations", lambda: more)
    for _ in range(2):
        store = Sqlite(file.path)
        assert store.select("pragma user_version")[1] == [(newest + 1,)]
        assert store.select("select colour from runs where id = ?", (run_id,))[1] == [(None,)]
        store.close()
    monkeypatch.undo()
    assert refusal(file.path).code == "newer"


def test_a_migration_that_fails_leaves_the_file_as_it_was(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    file.some_run()
    newest = migrations()[-1][0]
    bad = (newest + 1, "create table half (x integer) strict; insert into nowhere values (1)")
    more = [*migrations(), bad]
    monkeypatch.setattr(sqlite, "migrations", lambda: more)
    with pytest.raises(StorageError):
        Sqlite(file.path)
    monkeypatch.undo()
    store = Sqlite(file.path)
    assert store.select("select name from sqlite_master where name = 'half'")[1] == []
    assert store.select("pragma user_version")[1] == [(newest,)]
    assert store.select("select count(*) from runs")[1] == [(1,)]
    store.close()


@pytest.mark.parametrize("look", ["schema_version", "application_id", "user_version"])
def test_a_file_that_another_process_makes_just_now_is_ours(tmp_path: Path, look: str) -> None:
    """It is made between two looks at its head, whichever comes first."""
    path = tmp_path / "new.db"
    made: list[Path] = []

    def make(cursor: apsw.Cursor, sql: str, bindings: object) -> bool:
        if look in sql and not made:
            made.append(path)  # first: the other one looks too
            Sqlite(path).close()
        return True

    def watch(connection: apsw.Connection) -> None:
        connection.exec_trace = make

    apsw.connection_hooks.append(watch)
    try:
        Sqlite(path).close()
    finally:
        apsw.connection_hooks.remove(watch)
    assert made
