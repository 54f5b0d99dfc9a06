"""In which form a path says what went wrong: JSON where programs ask, a line where a monitor does, to people a page.

The guard and the pages behind it say it alike. Pages are drawn by who makes them, not here.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response


def path_of(scope: MutableMapping[str, Any]) -> str:
    """The path that is asked for, below the prefix under which the application is mounted."""
    root: str = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    return (path.removeprefix(root) if path.startswith(f"{root}/") or path == root else path) or "/"


def is_for_programs(path: str) -> bool:
    """Whether no page stands at the path."""
    return path.startswith(("/api/", "/assets/")) or path in ("/healthz", "/metrics")


def for_programs(
    path: str, error: Mapping[str, str], status: int, headers: Mapping[str, str] | None = None
) -> Response | None:
    """An error, by its `code` and, for those who may know, `message` and `hint`; None where people expect a page."""
    if not is_for_programs(path):
        return None
    if path.startswith("/api/") or path == "/healthz":
        return JSONResponse({"error": dict(error)}, status, headers)
    told = [error["code"], *(error[name] for name in ("message", "hint") if error.get(name))]
    return PlainTextResponse(f"{': '.join(told)}\n", status, headers)
