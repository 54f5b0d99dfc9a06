"""Bare apsw: what vbl is measured against, and the instruments that say what vbl wrote.

`Tape` records the very statements that vbl's connections executed; `replay` writes the same rows in transactions of
the same size by apsw alone, into tables of the same columns and indexes, without vbl's triggers. `Syncs` counts
fsyncs. Beside the store, only this module imports apsw: it must not use the store to measure the store.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import apsw

from vbl.store.sqlite import migrations

SUPERVISOR = "vbl-supervisor"
"""The name of the thread that commits."""
Statement = tuple[str, list[tuple[Any, ...]]]


@dataclass(slots=True)
class Transaction:
    """The rows that one transaction wrote, by statement, and who wrote them."""

    thread: str
    statements: list[Statement] = field(default_factory=list[Statement])

    def add(self, sql: str, row: tuple[Any, ...]) -> None:
        """One more row; rows of the same statement in a row become one executemany."""
        if not self.statements or self.statements[-1][0] != sql:
            self.statements.append((sql, []))
        self.statements[-1][1].append(row)

    @property
    def events(self) -> int:
        """The events appended."""
        return sum(len(rows) for sql, rows in self.statements if sql.startswith("insert into events"))


class Tape:
    """What vbl's connections wrote while it ran, in the order of the commits."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self._open: dict[apsw.Connection, Transaction] = {}

    @contextmanager
    def running(self) -> Generator[Tape, None, None]:
        """Record every connection that is opened meanwhile."""
        apsw.connection_hooks.append(self._attach)
        try:
            yield self
        finally:
            apsw.connection_hooks.remove(self._attach)

    def _attach(self, connection: apsw.Connection) -> None:
        connection.exec_trace = lambda cursor, sql, bindings: self._executed(cursor.connection, sql, bindings)

    def _executed(self, connection: apsw.Connection, sql: str, bindings: Any) -> bool:
        verb = sql.lstrip()[:6].lower()
        if verb == "begin ":
            self._open[connection] = Transaction(threading.current_thread().name)
        elif verb == "commit":
            done = self._open.pop(connection, None)
            if done is not None and done.events:
                self.transactions.append(done)
        elif verb == "rollba":
            self._open.pop(connection, None)
        elif verb in ("insert", "update", "delete") and connection in self._open:
            self._open[connection].add(sql, tuple(bindings or ()))
        return True

    def by(self, thread: str) -> list[Transaction]:
        """The transactions of one thread."""
        return [transaction for transaction in self.transactions if transaction.thread == thread]


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: Any, counts: Counter[str]) -> None:
        super().__init__("", name, flags)
        self._counts = counts

    def xSync(self, flags: int) -> None:
        self._counts[threading.current_thread().name] += 1
        super().xSync(flags)


class Syncs(apsw.VFS):
    """The default VFS, counting fsyncs by thread. Give its `name` to a connection."""

    name = "vbl-bench-syncs"

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: Any) -> Any:
        """Open a file whose fsyncs are counted."""
        return _File(name, flags, self.counts)


Durability = Literal["power", "process"]


def prepare(path: Path, durability: Durability) -> apsw.Connection:
    """An empty file with vbl's tables and indexes, without its triggers; WAL, and synchronous as vbl sets it."""
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", 2 if durability == "power" else 1)
    db.pragma("cache_size", -16_000)
    for _, script in migrations():
        db.execute(script)
    for (name,) in db.execute("select name from sqlite_master where type = 'trigger'").fetchall():
        db.execute(f'drop trigger "{name}"')
    return db


def replay(db: apsw.Connection, transactions: Sequence[Transaction]) -> None:
    """Write the rows again, as plainly as apsw can."""
    for transaction in transactions:
        db.execute("begin immediate")
        for sql, rows in transaction.statements:
            db.executemany(sql, rows)
        db.execute("commit")


def read(path: Path) -> int:
    """Read every event of the file in order, by run; returns how many there are."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = db.execute("select seq, type, at, payload, chain, id from events order by run, seq").fetchall()
    db.close()
    return len(rows)


def versions() -> dict[str, str]:
    """The versions of apsw and of the SQLite in it."""
    return {"apsw": apsw.apsw_version(), "sqlite": apsw.sqlite_lib_version()}
