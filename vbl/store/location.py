"""Where a vbl file may lie: the folder is made private, and network file systems are refused."""

from __future__ import annotations

import os
from pathlib import Path

from vbl.errors import NotFound, StorageError

NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "afs",
        "ncpfs",
        "ceph",
        "glusterfs",
        "lustre",
        "fuse.sshfs",
        "fuse.glusterfs",
        "beegfs",
    }
)
"""Types of mount on which SQLite's locks or its shared memory do not hold (https://sqlite.org/wal.html)."""


def prepare(path: Path, *, create: bool) -> None:
    """Make sure that SQLite can open `path`: refuse what it can't be, make what is missing with a private mode."""
    if path.is_dir():
        raise StorageError(f"{path} is a folder", f"Name a file in it: --db {path / 'vbl.db'}", code="not_vbl")
    refuse_network(path)
    if path.exists():
        return
    if not create:
        raise NotFound(
            f"there is no file {path}", f"Start a run to make it: vbl run file.py:workflow --db {path}", code="no_file"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StorageError(
            f"{path} cannot be made: {error.strerror}",
            "Name another place with --db PATH or VBL_DB",
            code="cannot_open",
        ) from error


def refuse_network(path: Path, mounts: str | None = None) -> None:
    """Refuse a network file system. `mounts` is the text of /proc/self/mountinfo; read from there by default."""
    kind = mount_type(path, mounts)
    if kind in NETWORK:
        raise StorageError(
            f"{path} lies on a network file system ({kind}), where SQLite's write-ahead log is not safe",
            "Keep the file on a local disk: --db PATH or VBL_DB",
            code="network",
        )


def mount_type(path: Path, mounts: str | None = None) -> str | None:
    """The type of the file system that `path` is on, as Linux names it; None where it can't be told."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
    whole, best, kind = f"{path}/", -1, None
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        point = fields[4].replace("\\040", " ")
        inside = whole.startswith(f"{point.rstrip('/')}/")
        if inside and len(point) >= best:
            best, kind = len(point), right.split()[0]
    return kind
