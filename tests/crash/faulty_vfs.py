"""A disk that can fail, and one that remembers what would be lost if the power went now: an apsw VFS for tests.

It knows nothing of vbl. Every write goes to the real file as well, so the program on top never notices; beside it the
disk keeps a tape of what was written, truncated and synced, in order, and of what the test says was acknowledged. A
`Platter` plays a tape up to any moment and says what a power loss would leave: all that was synced, and of the rest
nothing, or an arbitrary part, torn at sector borders.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apsw

SECTOR = 512
SYSTEM = apsw.vfs_names()[0]
"""The operating system's own VFS."""
Verb = Literal["read", "write", "truncate", "sync", "forgotten", "delete", "acknowledged"]


class Op(NamedTuple):
    """One thing that happened to a file, or a fact that somebody outside was told."""

    verb: Verb
    file: str
    offset: int = 0
    data: bytes = b""
    fact: Any = None


Fault = Callable[[Op], apsw.Error | None]
"""Asked before an operation: the error that it ends with, or None."""


def disk_full(op: Op) -> apsw.Error | None:
    """Nothing can be written."""
    return apsw.FullError("no space left on the disk") if op.verb == "write" else None


def io_error(*verbs: Verb) -> Fault:
    """These operations fail."""
    return lambda op: apsw.IOError(f"the disk failed to {op.verb}") if op.verb in verbs else None


class Once:
    """Fails the operation number `nth` (from 1) of those that `fault` would fail, and no other."""

    def __init__(self, fault: Fault, nth: int) -> None:
        self._fault, self._left = fault, nth
        self.met = False

    def __call__(self, op: Op) -> apsw.Error | None:
        error = self._fault(op)
        if error is None or self.met:
            return None
        self._left -= 1
        self.met = self._left == 0
        return error if self.met else None


class Disk(apsw.VFS):
    """The operating system's files, with faults and a tape. `refused` counts the operations that a fault ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault: Fault | None = None
        self.recording = False
        self.tape: list[Op] = []
        self.refused = 0
        self.lock = threading.Lock()
        super().__init__(name, SYSTEM)

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.happened(Op("delete", os.path.basename(filename)), lambda: super(Disk, self).xDelete(filename, syncdir))

    def happened(self, op: Op, do: Callable[[], Any]) -> Any:
        """Do it, unless it fails, and put it on the tape; both at once as others see it."""
        with self.lock:
            error = self.fault(op) if self.fault is not None else None
            if error is not None:
                self.refused += 1
                if self.recording and op.verb == "sync":
                    self.tape.append(Op("forgotten", op.file))
                raise error
            result = do()
            if self.recording and op.verb != "read":
                self.tape.append(op)
            return result

    def acknowledge(self, fact: Any) -> None:
        """Somebody outside was told this: from now on no power loss may undo it."""
        with self.lock:
            self.tape.append(Op("acknowledged", "", fact=fact))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = os.path.basename(path or "")
        super().__init__(SYSTEM, name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        if self._disk.fault is None:
            return super().xRead(amount, offset)
        return self._disk.happened(Op("read", self._name, offset), lambda: super(_File, self).xRead(amount, offset))

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.happened(
            Op("write", self._name, offset, bytes(data)), lambda: super(_File, self).xWrite(data, offset)
        )

    def xTruncate(self, newsize: int) -> None:
        self._disk.happened(Op("truncate", self._name, newsize), lambda: super(_File, self).xTruncate(newsize))

    def xSync(self, flags: int) -> None:
        self._disk.happened(Op("sync", self._name), lambda: super(_File, self).xSync(flags))


@contextmanager
def every_connection(name: str) -> Iterator[Disk]:
    """A disk under every connection that is opened within the block."""
    disk = Disk(name)
    apsw.set_default_vfs(name)
    try:
        yield disk
    finally:
        disk.fault = None
        apsw.set_default_vfs(SYSTEM)
        disk.unregister()


@dataclass
class _Kept:
    """One file: what is safe, and what was done to it since."""

    safe: bytearray = field(default_factory=bytearray)
    unsafe: list[Op] = field(default_factory=list[Op])

    def do(self, op: Op) -> None:
        if op.verb == "forgotten":
            # after a failed fsync the kernel may take its pages for written: a later one that succeeds proves nothing
            self.unsafe.clear()
        elif op.verb == "sync":
            for earlier in self.unsafe:
                _apply(self.safe, earlier)
            self.unsafe.clear()
        else:
            self.unsafe.append(op)

    def after_loss(self, rng: random.Random | None) -> bytes:
        """The file as it is found: without anything unsafe, or with a part of it."""
        if rng is None:
            return bytes(self.safe)
        content = bytearray(self.safe)
        kept = rng.choice((0.1, 0.5, 0.9))
        for op in self.unsafe:
            if op.verb == "write":
                for at in range(0, len(op.data), SECTOR):
                    if rng.random() < kept:
                        _apply(content, Op("write", op.file, op.offset + at, op.data[at : at + SECTOR]))
            elif rng.random() < kept:
                _apply(content, op)
        return bytes(content)


def _apply(content: bytearray, op: Op) -> None:
    if op.verb == "truncate":
        del content[op.offset :]
        return
    if len(content) < op.offset:
        content.extend(bytes(op.offset - len(content)))
    content[op.offset : op.offset + len(op.data)] = op.data


class Platter:
    """What is safe after a part of a tape."""

    def __init__(self) -> None:
        self._files: dict[str, _Kept] = {}
        self.acknowledged: list[Any] = []

    def play(self, op: Op) -> None:
        """Go on by one operation."""
        if op.verb == "acknowledged":
            self.acknowledged.append(op.fact)
        elif op.verb == "delete":
            # taken as safe at once: SQLite deletes only what it has no more use for, or syncs the folder
            self._files.pop(op.file, None)
        else:
            self._files.setdefault(op.file, _Kept()).do(op)

    @property
    def unsafe(self) -> int:
        """The number of operations that a power loss may undo now."""
        return sum(len(kept.unsafe) for kept in self._files.values())

    def after_loss(self, folder: Path, rng: random.Random | None = None) -> None:
        """Write the files into a folder as they are found after a loss of power now; with `rng` torn."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, kept in self._files.items():
            (folder / name).write_bytes(kept.after_loss(rng))
