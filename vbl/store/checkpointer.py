"""Copies the write-ahead log into the file in the background, so that no commit has to."""

from __future__ import annotations

import contextlib
import threading

from vbl.errors import StorageError
from vbl.store.sqlite import BRIEFLY_MS, PAGE_BYTES, WAL_RELIEF_PAGES, Sqlite


class Checkpointer(threading.Thread):
    """Copies the WAL into the file in the background, on a connection of its own, and empties it when idle.

    Durability does not depend on it: a commit is durable once it is in the WAL.
    """

    _EVERY_S = 0.25
    _IDLE_S = 1.0
    _IDLE_TURNS = 8

    def __init__(self, source: Sqlite, *, vfs: str | None = None) -> None:
        super().__init__(name="vbl-checkpointer", daemon=True)
        self._source = source
        self._store = Sqlite(source.path, vfs=vfs)
        self._store.wait_ms = BRIEFLY_MS
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
