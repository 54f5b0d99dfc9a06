"""The right to move the runs of a file: a lock of the operating system, and the epoch as the fence behind it.

The lock is a `flock` on a file beside the database: it belongs to the open file description, is released by the
system at the process's death, and cannot be dropped by a careless `open` of the database itself (flock(2)). A holder
writes a beat into that file each second, so that one which no longer answers can be told from one that does.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
import uuid
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vbl import config
from vbl.clock import Clock
from vbl.errors import StorageError, SupervisorHeld
from vbl.store import holder
from vbl.store.protocol import Store

SILENT_S = 3.0
"""A holder that does not beat for so long does not answer."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class Lease:
    """A supervisor's right to a file at one epoch."""

    path: Path
    store: Store
    clock: Clock
    epoch: int
    token: str
    _fd: int | None
    _about: dict[str, Any]
    _beats: int = 0

    @classmethod
    def take(cls, path: Path, store: Store, clock: Clock, workflows: list[str], *, force: bool = False) -> Lease:
        """Take the file. Raises SupervisorHeld, saying who holds it and since when, and StorageError.

        With `force` the epoch is taken from a holder that does not answer; one that does is left alone.
        """
        fd: int | None = None
        try:
            fd = _lock(path)
            if fd is not None and holder.read(path).get("locked") is False:
                # taken by force from a holder that has died since, and so free for a moment; but held
                os.close(fd)
                fd = None
                _demand_silence(path)
                fd = _lock(path)
            if fd is None and force:
                _demand_silence(path)
            elif fd is None:
                raise _held(path)
            token = uuid.uuid4().hex
            with store.write():
                row = store.one("take_epoch", (token, json.dumps(workflows), clock.now()))
            assert row is not None
            lease = cls(path, store, clock, row[0], token, fd, _about(clock.now(), row[0]))
            _leases.add(lease)
            lease.beat()
        except BaseException as error:
            if fd is not None:
                os.close(fd)
            if isinstance(error, OSError):
                raise _unwritable(path, error) from error
            if fd is None and isinstance(error, StorageError) and error.code == "locked":
                raise StorageError(
                    f"{path} is locked, and {holder.describe(path)} does not answer: it may stand within a commit",
                    f"End it, then start again: kill -9 {holder.read(path).get('pid', 'PID')}",
                    code="locked",
                ) from error
            raise
        return lease

    def beat(self) -> None:
        """Say that this process is alive; take the lock where a silent holder has died meanwhile."""
        if holder.read(self.path).get("epoch", 0) > self.epoch:
            return  # taken from this one while it stood still: the file itself will say so
        if self._fd is None:
            self._fd = _lock(self.path)
        self._beats += 1
        holder.write(self.path, {**self._about, "locked": self._fd is not None, "beat": self._beats})

    def announce(self, workflows: list[str]) -> None:
        """Say which workflows the holder has; inside a transaction."""
        self.store.many("announce", [(json.dumps(workflows), self.epoch)])

    def forget(self) -> None:
        """In a forked child: the lock is the parent's, and must not outlive it here."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def leave(self) -> None:
        """Give the file back."""
        # the lock is what counts; that a holder left is only a courtesy to readers
        with contextlib.suppress(StorageError), self.store.write():
            self.store.one("leave", (self.clock.now(), self.epoch))
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


_leases: weakref.WeakSet[Lease] = weakref.WeakSet()


def _forget_all() -> None:
    for lease in _leases:
        lease.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{holder.lock_path(path)} cannot be written: {error.strerror}",
        "Check the folder: its free space, its owner and its mode",
        code="disk_full" if error.errno == errno.ENOSPC else "cannot_open",
    )


def _about(since: int, epoch: int) -> dict[str, Any]:
    called = Path(sys.argv[0] if sys.argv and sys.argv[0] else "python")
    program = called.parent.name if called.name == "__main__.py" else called.name
    if called.name == "ipykernel_launcher.py":
        program = config.notebook() or "a notebook"
    return {"pid": os.getpid(), "host": socket.gethostname(), "program": program, "since": since, "epoch": epoch}


def _lock(path: Path) -> int | None:
    """The descriptor of the locked file; None where another process holds it. Clients probe it for a moment, so
    a refusal is looked at twice."""
    for _ in range(5):
        fd = holder.try_lock(path)
        if fd is not None:
            return fd
        time.sleep(0.02)
    return None


def _demand_silence(path: Path) -> None:
    first = holder.read(path)
    deadline = time.monotonic() + SILENT_S
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if holder.read(path) != first:
            raise _held(path, "It answers, so --force leaves it alone: stop it first")


def _held(
    path: Path, hint: str = "Wait for it with --wait, stop it, or take over a silent one with --force"
) -> SupervisorHeld:
    return SupervisorHeld(f"{path} is supervised by {holder.describe(path)}", hint)
