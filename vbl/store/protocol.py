"""What a database has to offer. The engine and the journal know this and nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Row(NamedTuple):
    """A stored event of one run. `chain` is the digest of the history up to and with it; `id` the global cursor."""

    seq: int
    type: str
    at: int
    payload: str
    chain: bytes
    id: int


class Head(NamedTuple):
    """What an appender compares with what it has seen: the file's epoch and the id of the last event."""

    epoch: int
    last_id: int


class Store(Protocol):
    """One open database. Statements are those of `queries.sql`, by name.

    Every method raises StorageError where the database cannot do it (full, locked, corrupt, read-only).
    """

    path: Path

    def write(self) -> AbstractContextManager[None]:
        """A write transaction: committed when the block ends, rolled back when it raises."""
        ...

    def read(self) -> AbstractContextManager[None]:
        """One consistent view for several queries."""
        ...

    def all(self, name: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Every row of a named query."""
        ...

    def one(self, name: str, args: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a named query, or None."""
        ...

    def many(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a named statement once for each row."""
        ...

    def head(self) -> Head:
        """The epoch and the last event id, as the current transaction sees them."""
        ...

    def changed(self) -> int:
        """A number that differs once another connection has committed; cheaper than any query."""
        ...

    def relieve(self) -> None:
        """What a long row of commits makes necessary, done between two of them; never raises."""
        ...

    def close(self) -> None:
        """Give the database back."""
        ...
