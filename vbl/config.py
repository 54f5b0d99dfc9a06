"""What comes from the environment: where the file is, and the defaults of a process."""

from __future__ import annotations

import os
from pathlib import Path


def default_path() -> Path:
    """The file when none is named: `VBL_DB`, else `vbl.db` in the user's data folder."""
    named = os.environ.get("VBL_DB")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_path("vbl")) / "vbl.db"


def database_path(path: str | os.PathLike[str] | None) -> Path:
    """Resolve a path given by the caller, or the default one, to an absolute path."""
    return (Path(path).expanduser() if path is not None else default_path()).resolve()


def actor() -> str:
    """Who acts when nobody is named: the operating system's user."""
    for name in ("VBL_ACTOR", "USER", "LOGNAME", "USERNAME"):
        if os.environ.get(name):
            return os.environ[name]
    return f"uid:{os.getuid()}" if hasattr(os, "getuid") else "unknown"
