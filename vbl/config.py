"""What comes from the environment: where the file is, and the defaults of a process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from vbl.errors import UsageError


def default_path() -> Path:
    """The file when none is named: `VBL_DB`, else `vbl.db` in the user's data folder."""
    named = os.environ.get("VBL_DB")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_path("vbl")) / "vbl.db"


def ended_sessions() -> Path:
    """The folder of the user's in which is kept who has signed out of the pages."""
    import platformdirs

    return Path(platformdirs.user_data_path("vbl")) / "signed-out"


def database_path(path: str | os.PathLike[str] | None) -> Path:
    """Resolve a path given by the caller, or the default one, to an absolute path."""
    return (Path(path).expanduser() if path is not None else default_path()).resolve()


def actor() -> str:
    """Who acts when nobody is named: the operating system's user, also where a service or a container tells no name."""
    for name in ("VBL_ACTOR", "USER", "LOGNAME", "USERNAME"):
        if os.environ.get(name):
            return os.environ[name]
    if not hasattr(os, "getuid"):
        return "unknown"
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid:{os.getuid()}"


def notebook() -> str:
    """The name of the notebook whose kernel this is, as its server gives it (`JPY_SESSION_NAME`); else empty."""
    return Path(os.environ.get("JPY_SESSION_NAME", "")).name


def groups() -> dict[str, list[str]]:
    """Who is in which group, for gates that ask one: `VBL_GROUPS="ops=ada,bob;fin=eve"`, else `groups.toml` in the
    user's config folder (`ops = ["ada", "bob"]`). Raises UsageError for what is neither."""
    named = os.environ.get("VBL_GROUPS")
    if named is not None:
        pairs = [part.partition("=") for part in named.split(";") if part.strip()]
        return checked_groups({name.strip(): _names(members) for name, _, members in pairs}, "VBL_GROUPS")
    import platformdirs

    path = Path(platformdirs.user_config_path("vbl")) / "groups.toml"
    if not path.exists():
        return {}
    import tomllib

    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", _GROUPS, code="bad_groups") from None
    return checked_groups(found, str(path))


_GROUPS = """For example VBL_GROUPS="ops=ada,bob;fin=eve", or ops = ["ada", "bob"] in groups.toml"""


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def checked_groups(found: Mapping[Any, Any], where: str) -> dict[str, list[str]]:
    """Groups by name, each a list of people. Raises UsageError naming `where` for anything else."""
    for name, members in found.items():
        people = cast("Sequence[Any]", members)
        listed = isinstance(members, (list, tuple, set, frozenset))
        if not (isinstance(name, str) and name and listed and people and all(isinstance(p, str) for p in people)):
            raise UsageError(f"{where}: group {name!r} has no list of people", _GROUPS, code="bad_groups")
    return {name: list(members) for name, members in found.items()}
