"""What is done beside the commits, so that none of them has to: copying the write-ahead log into the file, and bringing
the index of texts forward while nothing else is written."""

from __future__ import annotations

import contextlib
import threading

from vbl.errors import StorageError
from vbl.store.sqlite import BRIEFLY_MS, PAGE_BYTES, WAL_RELIEF_PAGES, Sqlite
from vbl.store.texts import Texts


class Checkpointer(threading.Thread):
    """Copies the WAL into the file in the background, on a connection of its own, and empties it when idle. A second
    after the last commit it brings the index of texts forward, in a file in which texts were ever looked for.

    Durability does not depend on it: a commit is durable once it is in the WAL.
    """

    _EVERY_S = 0.25
    _IDLE_S = 1.0
    _QUIET_TURNS = 4
    _IDLE_TURNS = 8
    _REST_S = 0.02

    def __init__(self, source: Sqlite, *, vfs: str | None = None) -> None:
        super().__init__(name="vbl-checkpointer", daemon=True)
        self._source = source
        self._store = Sqlite(source.path, vfs=vfs)
        self._store.wait_ms = BRIEFLY_MS
        self._texts = Texts(self._store)
        self._wal = source.path.with_name(source.path.name + "-wal")
        self._stopping = threading.Event()
        self.error: StorageError | OSError | None = None

    def run(self) -> None:
        """Look at the WAL a few times a second until told to stop."""
        seen, idle = -1, 0
        while not self._stopping.wait(self._EVERY_S if idle <= self._IDLE_TURNS else self._IDLE_S):
            try:
                version = self._store.changed()
                idle = idle + 1 if version == seen else 0
                seen = version
                self._look(idle)
                self.error = None
            except (StorageError, OSError) as error:
                # the next turn tries again; until then the WAL keeps every commit, and doctor shows its size
                self.error = error

    def _look(self, idle: int) -> None:
        size = self._wal.stat().st_size
        if not idle and size >= WAL_RELIEF_PAGES * PAGE_BYTES:
            self._store.checkpoint("passive")
        elif idle == self._QUIET_TURNS and self._texts.wanted:
            quiet = self._store.changed()
            # between two batches others have their turn; once somebody writes, they have all of it
            self._texts.catch_up(lambda: not self._stopping.wait(self._REST_S) and self._store.changed() == quiet)
        elif idle >= self._IDLE_TURNS and size and self._store.checkpoint("truncate"):
            self._source.wal_pages = 0

    def stop(self) -> None:
        """Stop, and leave a small WAL behind where nobody else reads."""
        self._stopping.set()
        if self.is_alive():
            self.join()
        with contextlib.suppress(StorageError):
            self._store.checkpoint("truncate")
        self._store.close()
