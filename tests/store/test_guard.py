"""The guard around a file that is held has no gap while other files come and go."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from tests.store.conftest import File
from vbl.errors import StorageError
from vbl.store import guard


def test_a_held_file_is_guarded_while_other_connections_come_and_go(file: File, open_file: Callable[..., File]) -> None:
    other = open_file("other.db").path
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            guard.hold(other)
            guard.release(other)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    opened = 0
    try:
        for _ in range(3_000):
            try:
                os.close(os.open(file.path, os.O_RDONLY))
                opened += 1
            except StorageError:
                pass
    finally:
        over.set()
        thread.join()
    assert opened == 0
