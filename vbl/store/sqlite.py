"""SQLite by apsw: one WAL-mode file, durable commits, short waits, and errors in words.

Only this module and `workbench`, which lends a connection to bodies of transactions, import apsw. A connection is used
by one thread at a time (`_lock`); the engine, a client and the checkpointer each have their own. WAL checkpoints never
run inside a commit: see `store.checkpointer`.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Literal

import apsw

from vbl.errors import StorageError, UsageError
from vbl.store import guard, location
from vbl.store.protocol import Head

APPLICATION_ID = 0x76626C31  # "vbl1"
Durability = Literal["power", "process"]
Connection = apsw.Connection

_HERE = Path(__file__).parent
PAGE_BYTES = 4_096
WAL_RELIEF_PAGES = 1_000
"""From here on the background copies the WAL into the file (4 MiB)."""
WAL_FORCED_PAGES = 16_000
"""From here on it is done between two commits (64 MiB)."""
BRIEFLY_MS = 20
"""So long is waited for others where there is something else to do."""


class _Gate:
    """Lets the writers of one process take turns without polling; between processes SQLite's own lock does it.

    `distrusted`: the disk failed while the WAL was copied into the file. A sync that failed may never be made good by
    a later one, for the kernel may take the pages for written; and SQLite does not copy again what earlier, partial
    checkpoints copied without a sync of their own. So from then on the WAL, which holds everything, is left as it is;
    it is copied from its beginning once all connections were closed.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.distrusted = False


_gates: weakref.WeakValueDictionary[Path, _Gate] = weakref.WeakValueDictionary()
_gates_lock = threading.Lock()


def _gate(path: Path) -> _Gate:
    with _gates_lock:
        gate = _gates.get(path)
        if gate is None:
            gate = _gates[path] = _Gate()
        return gate


def _queries() -> dict[str, str]:
    named: dict[str, str] = {}
    for part in (_HERE / "queries.sql").read_text(encoding="utf-8").split("-- name: ")[1:]:
        name, _, sql = part.partition("\n")
        named[name.strip()] = sql.strip()
    return named


QUERIES = _queries()


def migrations() -> list[tuple[int, str]]:
    """The numbered migrations, in order."""
    files = sorted((_HERE / "migrations").glob("*.sql"))
    return [(int(file.name[:4]), file.read_text(encoding="utf-8")) for file in files]


def translate(error: apsw.Error | UnicodeEncodeError, path: Path) -> StorageError | UsageError:
    """Say in words why the database did not do it, and what to do."""
    name = str(path)
    match error:
        case UnicodeEncodeError():
            return UsageError(f"{error.object!r} is no text that UTF-8 can hold", "Leave out what is no character")
        case apsw.ConnectionClosedError():
            return UsageError(
                f"{name} was closed here", "Use it inside the `with`, or open it again: vbl.connect()", code="closed"
            )
        case apsw.FullError():
            return StorageError(
                f"{name}: the disk is full",
                "Free some space; nothing recorded is lost, and vbl goes on by itself",
                code="disk_full",
            )
        case apsw.BusyError() | apsw.LockedError():
            return StorageError(
                f"{name}: another program keeps the file locked", "See who has it open: fuser -v " + name, code="locked"
            )
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return StorageError(
                f"{name} cannot be written", f"Check its owner and mode: ls -l {name}*", code="read_only"
            )
        case apsw.NotADBError():
            return StorageError(
                f"{name} is not a vbl file", "Name another one with --db PATH or VBL_DB", code="not_vbl"
            )
        case apsw.CorruptError():
            return StorageError(f"{name} is damaged: {error}", f"Run: vbl doctor --db {name}", code="corrupt")
        case apsw.CantOpenError():
            return StorageError(
                f"{name} cannot be opened: {error}", "Check that the folder exists and is yours", code="cannot_open"
            )
        case apsw.IOError():
            return StorageError(
                f"{name}: the disk reports an error: {error}",
                "Check the disk; vbl goes on when it answers again",
                code="io_error",
            )
        case _:
            return StorageError(f"{name}: {error}", f"Run: vbl doctor --db {name}", code="storage")


class Sqlite:
    """A connection to a vbl file. Opening creates and migrates it where that is needed.

    Raises StorageError: not_vbl, newer, network, not_wal, read_only, locked, missing.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "power",
        create: bool = True,
        wait_ms: int = 10_000,
        vfs: str | None = None,
    ) -> None:
        self.path = path
        self.durability: Durability = durability
        self.wal_pages = 0
        self.commits = 0
        self._refused_at = 0
        self._depth = 0
        self._lock = threading.RLock()
        self._gate = _gate(path)
        self.wait_ms = wait_ms
        location.prepare(path, create=create)
        with self._worded():
            self._db = apsw.Connection(str(path), vfs=vfs)
        self._closed = False
        guard.hold(path)
        try:
            self._configure()
        except BaseException:
            self.close()
            raise

    def _configure(self) -> None:
        with self._worded():
            db = self._db
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            db.set_busy_handler(self._busy)
            self._check_ours()
            self.readonly = bool(db.readonly("main"))
            if not self.readonly:
                self._demand("journal_mode", "wal", "wal")
            level = 2 if self.durability == "power" else 1
            self._demand("synchronous", level, level)
            db.set_wal_hook(self._committed)
            db.pragma("temp_store", 2)
            db.pragma("cache_size", -16_000)
            if not self.readonly:
                self._migrate()

    def _demand(self, name: str, value: str | int, expected: str | int) -> None:
        """Set a pragma and refuse the file where the answer is another: durability depends on it."""
        db = self._db
        if db.pragma(name) != expected:
            db.pragma(name, value)
        answer = db.pragma(name)
        if answer != expected:
            raise StorageError(
                f"{self.path}: {name} is {answer!r} and cannot be set to {expected!r}",
                "Keep the file on a local disk, where SQLite's write-ahead log works",
                code="not_wal",
            )

    def _check_ours(self) -> None:
        db = self._db
        empty = db.pragma("schema_version") == 0  # first: another process may be making the file just now
        application, version = db.pragma("application_id"), db.pragma("user_version")
        newest = migrations()[-1][0]
        if application == APPLICATION_ID:
            if isinstance(version, int) and version > newest:
                raise StorageError(
                    f"{self.path} was written by a newer vbl (schema {version}, this one knows {newest})",
                    "Upgrade: pip install -U vbl",
                    code="newer",
                )
        elif application != 0 or not empty:
            raise StorageError(
                f"{self.path} is a SQLite file, but not one of vbl's",
                "Name another one with --db PATH or VBL_DB",
                code="not_vbl",
            )

    def _migrate(self) -> None:
        db = self._db
        for number, script in migrations():
            if int(str(db.pragma("user_version"))) >= number:
                continue
            db.execute("begin immediate")
            try:
                if int(str(db.pragma("user_version"))) < number:
                    db.execute(script)
                    db.pragma("application_id", APPLICATION_ID)
                    db.pragma("user_version", number)
                db.execute("commit")
            except BaseException:
                if db.in_transaction:  # a full or failing disk has rolled it back already
                    db.execute("rollback")
                raise

    def _busy(self, tries: int) -> bool:
        if tries >= self.wait_ms:
            return False
        time.sleep(0.001)
        return True

    def _committed(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_pages = pages
        self.commits += 1
        return 0

    @contextlib.contextmanager
    def _worded(self) -> Generator[None, None, None]:
        try:
            yield
        except (apsw.Error, UnicodeEncodeError) as error:
            raise translate(error, self.path) from error

    def write(self) -> _Write:
        """A write transaction, immediate: the lock is taken before anything is read."""
        return _Write(self)

    def begin(self) -> None:
        """Take the locks and begin to write; inside a transaction of this connection, go on with that one."""
        self._lock.acquire()
        if self._depth:
            self._depth += 1
            return
        if not self._take_turn():
            self._lock.release()
            raise translate(apsw.BusyError("another thread of this process writes"), self.path)
        try:
            self._db.execute("begin immediate")
        except BaseException as error:
            self._pass_turn()
            self._lock.release()
            if isinstance(error, apsw.Error):
                raise translate(error, self.path) from error
            raise
        self._depth = 1

    def end(self, failed: BaseException | None) -> None:
        """Commit, or roll back where the block raised; then let the next writer in. Within another block nothing is
        done: that one decides."""
        self._depth -= 1
        if self._depth:
            self._lock.release()
            return
        try:
            if failed is None:
                self._db.execute("commit")
        except BaseException as error:
            failed = error
            if isinstance(error, apsw.Error):
                raise translate(error, self.path) from error
            raise
        finally:
            try:
                if failed is not None:
                    self._roll_back()
            finally:
                self._pass_turn()
                self._lock.release()

    def _roll_back(self) -> None:
        with contextlib.suppress(apsw.ConnectionClosedError):  # then it has been
            if self._db.in_transaction:
                self._db.execute("rollback")

    def _take_turn(self) -> bool:
        """Wait for the other writers of this process; whether it is our turn."""
        return self._gate.lock.acquire(timeout=self.wait_ms / 1000)

    def _pass_turn(self) -> None:
        self._gate.lock.release()

    @contextlib.contextmanager
    def patience(self, wait_ms: int) -> Generator[None, None, None]:
        """Wait for others no longer than this: for what can as well be done later."""
        with self._lock:
            before, self.wait_ms = self.wait_ms, min(self.wait_ms, wait_ms)
            try:
                yield
            finally:
                self.wait_ms = before

    @contextlib.contextmanager
    def read(self) -> Generator[None, None, None]:
        """One consistent view; short, so that it never holds up a WAL checkpoint."""
        with self._lock, self._worded():
            if self._db.in_transaction:
                yield
                return
            self._db.execute("begin")
            try:
                yield
            finally:
                if self._db.in_transaction:
                    self._db.execute("commit")

    def all(self, name: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Every row of a named query."""
        with self._lock, self._worded():
            return self._db.execute(QUERIES[name], args).fetchall()

    def select(self, sql: str, args: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows of a query that was put together from known parts, or that a person typed."""
        with self._lock, self._worded():
            cursor = self._db.execute(sql, args)
            names: list[str] = []
            with contextlib.suppress(apsw.ExecutionCompleteError):
                names = [column[0] for column in cursor.get_description()]
            return names, cursor.fetchall()

    def one(self, name: str, args: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a named query, or None."""
        with self._lock, self._worded():
            return self._db.execute(QUERIES[name], args).fetchone()

    def many(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a named statement once for each row."""
        with self._lock:
            try:
                self._db.executemany(QUERIES[name], rows)
            except apsw.Error as error:
                raise translate(error, self.path) from error

    def execute(self, sql: str, args: Sequence[Any] = ()) -> None:
        """Run one statement of the rebuild, which is not worth a name."""
        with self._lock, self._worded():
            self._db.execute(sql, args)

    def head(self) -> Head:
        """The epoch and the last event id."""
        with self._lock:
            try:
                epoch, last = self._db.execute(QUERIES["head"]).get
            except apsw.Error as error:
                raise translate(error, self.path) from error
        return Head(epoch, last or 0)

    def changed(self) -> int:
        """SQLite's data_version: it changes when another connection has committed."""
        with self._lock:
            try:
                return self._db.execute("pragma data_version").get
            except apsw.Error as error:
                raise translate(error, self.path) from error

    def checkpoint(self, mode: Literal["passive", "truncate"]) -> bool:
        """Copy the WAL into the file; whether nothing was left behind."""
        if self._gate.distrusted:
            return False
        flag = apsw.SQLITE_CHECKPOINT_PASSIVE if mode == "passive" else apsw.SQLITE_CHECKPOINT_TRUNCATE
        with self._lock:
            try:
                log, done = self._db.wal_checkpoint(mode=flag)
            except (apsw.BusyError, apsw.LockedError):
                return False
            except apsw.Error as error:
                self._gate.distrusted = self._gate.distrusted or isinstance(error, apsw.IOError)
                raise translate(error, self.path) from error
            return log == done

    def relieve(self) -> None:
        """Copy a WAL that has become long into the file, and cut it off. Where that can't be done now (a reader, a full
        disk), try again when it has grown some more, not after every commit."""
        pages = self.wal_pages
        if pages <= WAL_FORCED_PAGES or self._refused_at <= pages < self._refused_at + WAL_RELIEF_PAGES:
            return
        try:
            with self.patience(BRIEFLY_MS):
                done = self.checkpoint("truncate")
        except StorageError:
            # no commit hangs on it: the WAL keeps them all, and doctor shows its size
            done = False
        self._refused_at = 0 if done else pages
        if done:
            self.wal_pages = 0

    @property
    def closed(self) -> bool:
        """Whether the connection was closed."""
        return self._closed

    def close(self) -> None:
        """Close the connection and let go of the file; once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._db.close()
                guard.release(self.path)

    def __del__(self) -> None:
        if getattr(self, "_closed", True) is False:
            self.close()


class _Write:
    """The write transaction of a connection, as a context manager that costs two calls."""

    __slots__ = ("_store",)

    def __init__(self, store: Sqlite) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._store.begin()

    def __exit__(self, type: object, error: BaseException | None, traceback: object) -> None:
        self._store.end(error)


class Reader:
    """A read-only connection for SQL that a person types: nothing it runs can change the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        location.prepare(path, create=False)
        try:
            self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            self._db.set_busy_timeout(2_000)
            self._db.pragma("query_only", 1)
            self._db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            self._db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            self._db.authorizer = only_reading
        except apsw.Error as error:
            raise translate(error, path) from error
        guard.hold(path)

    def query(self, sql: str, args: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows. Raises UsageError(code="sql") with SQLite's words where the SQL is wrong."""
        try:
            cursor = self._db.execute(sql, args)
            try:
                names = [column[0] for column in cursor.get_description()]
            except apsw.ExecutionCompleteError:
                names = []
            return names, cursor.fetchall()
        except (apsw.SQLError, apsw.ReadOnlyError, apsw.BindingsError, apsw.AuthError) as error:
            raise UsageError(
                f"the SQL was refused: {error}", "Tables to read: vbl_runs, vbl_events, vbl_steps", code="sql"
            ) from error
        except (apsw.Error, UnicodeEncodeError) as error:
            raise translate(error, self._path) from error

    def integrity(self) -> list[str]:
        """What SQLite's own check finds; ["ok"] when nothing."""
        try:
            return [str(row[0]) for row in self._db.execute("pragma integrity_check(20)")]
        except apsw.Error as error:
            return [str(error)]

    def close(self) -> None:
        """Close the connection and let go of the file."""
        self._db.close()
        guard.release(self._path)


def only_reading(operation: int, first: str | None, second: str | None, *_where: str | None) -> int:
    """SQLite asks before it prepares a statement: what attaches files or sets pragmas is refused."""
    attaches = operation in (apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH)
    sets = (
        operation == apsw.SQLITE_PRAGMA and second is not None and not str(first).endswith(("_info", "_list", "_check"))
    )
    return apsw.SQLITE_DENY if attaches or sets else apsw.SQLITE_OK
