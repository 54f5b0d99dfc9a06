"""The connection that is lent to bodies of transactions, and what they may do with it.

To tables of their own: everything. To vbl's: nothing but read. To the transaction around them: nothing at all.

SQLite asks an authorizer before it prepares a statement; what no statement says is found out by hooks. When a body is
run, and for how long, is the engine's.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import apsw

from vbl.errors import UsageError
from vbl.store import guard
from vbl.store.sqlite import Connection, Durability, Sqlite, migrations, only_reading, translate


class Workbench(Sqlite):
    """A connection that is lent to bodies of transactions: what they write is committed with the fact that records it,
    or not at all. `spent` says that it should be closed, for the next body would meet what the last one left in it.
    """

    def __init__(self, path: Path, *, durability: Durability = "power", vfs: str | None = None) -> None:
        self._turn = threading.Lock()
        self._holds_turn = False
        self._worn = False
        self._ended = False
        self._renaming = False
        super().__init__(path, durability=durability, create=False, wait_ms=1_000, vfs=vfs)
        self._references = self._referred_to()

    def _referred_to(self) -> int:
        return sys.getrefcount(self._db)

    @property
    def spent(self) -> bool:
        """Whether it cannot be used again: closed, in a state of the last body's, or still in somebody's hands, who
        could write by it outside of any transaction, or in that of the next body."""
        with contextlib.suppress(apsw.ConnectionClosedError):
            kept = self._referred_to() > self._references
            return kept or self._worn or self._db.in_transaction or self._db.txn_state() != apsw.SQLITE_TXN_NONE
        return True

    @contextlib.contextmanager
    def lend(self) -> Generator[Connection, None, None]:
        """The connection, inside the open transaction, for tables of the user's own. What is vbl's cannot be written,
        and the transaction cannot be ended: a commit is turned into a rollback, which is found out afterwards.

        Raises UsageError where the body has ended the transaction all the same, or reached for what is not its own, and
        the StorageError of a database that could not be written or read in the body.
        """
        db, self._ended = self._db, False
        db.set_rollback_hook(self._rolled_back)
        db.set_commit_hook(_refuse_commit)
        db.authorizer = self._only_their_own
        try:
            yield db
        except (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.CorruptError) as error:
            raise translate(error, self.path) from error
        except apsw.AuthError as error:
            raise UsageError(
                f"a statement of the transaction was refused: {error}",
                "Write to tables of your own alone: vbl's, other files, settings and the transaction's end are refused",
                code="not_yours",
            ) from error
        finally:
            with contextlib.suppress(apsw.ConnectionClosedError):
                db.authorizer = db.row_trace = db.exec_trace = None
                db.set_commit_hook(None)
                db.set_rollback_hook(None)
        if self._ended:
            raise UsageError(
                "the transaction was ended in its body, so that nothing of it is kept",
                "Leave out commit, rollback, ON CONFLICT ROLLBACK and RAISE(ROLLBACK), and do not close the connection",
                code="transaction_ended",
            )

    def _rolled_back(self) -> None:
        self._ended = True

    def _only_their_own(self, operation: int, first: str | None, second: str | None, *where: str | None) -> int:
        """SQLite asks before it prepares a statement."""
        if operation in _RENAMES:
            self._renaming = True
        elif operation in _ROWS and first == "sqlite_sequence":
            # SQLite's own, when a table with numbered rows goes or gets another name; by hand it is refused
            allowed, self._renaming = self._renaming, False
            return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY
        if operation in _PASSING:
            self._worn = True
        subjects = (first,) if operation in _ROWS else (first, second)
        changes = operation in _ROWS or operation in _SHAPES
        if operation == apsw.SQLITE_TRANSACTION or (changes and any(map(_ours, subjects))):
            return apsw.SQLITE_DENY
        if operation == apsw.SQLITE_PRAGMA and second is None and not _tells(str(first)):
            return apsw.SQLITE_DENY
        return only_reading(operation, first, second, *where)

    def revoke(self) -> bool:
        """From another thread: take the connection away from a body that does not end. What it has written is rolled
        back, and the others may write. Whether it was possible at this moment; if not, ask again in a moment."""
        self.wait_ms = 0
        try:
            self._db.interrupt()
            self._db.close()
        except apsw.ConnectionClosedError:
            pass  # it was closed already: only its turn is still to be passed on
        except apsw.Error:
            return False  # a statement is just being run; it has been told to end
        if not self._closed:
            self._closed = True
            guard.release(self.path)
        self._pass_turn()
        return True

    def _take_turn(self) -> bool:
        if not super()._take_turn():
            return False
        with self._turn:
            self._holds_turn = True
        return True

    def _pass_turn(self) -> None:
        with self._turn:
            if self._holds_turn:
                self._holds_turn = False
                super()._pass_turn()


def _refuse_commit() -> bool:
    return True


_ROWS = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
_RENAMES = frozenset({apsw.SQLITE_DROP_TABLE, apsw.SQLITE_ALTER_TABLE})
_PASSING = frozenset(
    {
        apsw.SQLITE_CREATE_TEMP_TABLE, apsw.SQLITE_CREATE_TEMP_INDEX, apsw.SQLITE_CREATE_TEMP_TRIGGER,
        apsw.SQLITE_CREATE_TEMP_VIEW,
    }
)  # fmt: skip
_SHAPES = frozenset(
    {
        *_RENAMES, *_PASSING, apsw.SQLITE_CREATE_TABLE, apsw.SQLITE_CREATE_INDEX, apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_CREATE_VIEW, apsw.SQLITE_CREATE_VTABLE, apsw.SQLITE_DROP_VTABLE, apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_DROP_TRIGGER, apsw.SQLITE_DROP_VIEW, apsw.SQLITE_REINDEX, apsw.SQLITE_ANALYZE,
    }
)  # fmt: skip
_TELLING = frozenset(
    {
        "application_id", "cache_size", "data_version", "encoding", "foreign_keys", "freelist_count", "journal_mode",
        "page_count", "page_size", "schema_version", "synchronous", "user_version",
    }
)  # fmt: skip
"""Settings that may be looked at."""


def _tells(pragma: str) -> bool:
    return pragma.lower() in _TELLING or pragma.endswith(("_info", "_list", "_check"))


@functools.cache
def _our_names() -> frozenset[str]:
    """The tables, views, indexes and triggers of vbl, as the migrations make them."""
    db = apsw.Connection(":memory:")
    try:
        for _, script in migrations():
            db.execute(script)
        return frozenset(name.lower() for (name,) in db.execute("select name from sqlite_schema"))
    finally:
        db.close()


def _ours(name: str | None) -> bool:
    return name is not None and (name.lower() in _our_names() or name.lower().startswith("vbl_"))
