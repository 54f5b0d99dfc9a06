"""Connections for those who only look: each request has one of its own while it is answered, so that a long search
holds up nobody else. Changes go over the client that the pages were given, one after another, as in the file.

As many are open as requests are answered at once, which the server's threads bound; a few are kept for the next ones.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vbl.client import Client

KEPT = 4
"""So many stay open while nobody asks; what they have read of the file stays in their memory."""


class Readers:
    """Lends clients beside one, each to one thread at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._free: list[Client] = []
        self._closed = False

    @contextmanager
    def one(self) -> Generator[Client, None, None]:
        """A client that nobody else uses meanwhile. Raises UsageError (`closed`) once the one beside it is closed."""
        if self._client.closed:
            self._client.cursor()  # says so
        with self._lock:
            reader = self._free.pop() if self._free else None
        reader = reader or self._client.beside()
        try:
            yield reader
        finally:
            with self._lock:
                kept = not self._closed and len(self._free) < KEPT
                if kept:
                    self._free.append(reader)
            if not kept:
                reader.close()

    def close(self) -> None:
        """Close those that are free; who still reads closes his own."""
        with self._lock:
            self._closed, free = True, self._free
            self._free = []
        for reader in free:
            reader.close()
