"""The files that pages link: our own beside the drawings, and the vendored libraries. Served under a path that names
their content, so that a browser may keep them for good and modules may import each other by name.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.errors import NotFound

OWN = Path(__file__).parent.parent / "drawing" / "assets"
VENDORED = Path(__file__).parent / "vendored"
EARLY = "theme.js"
"""The one script that runs before anything is painted: it says whether the page is light or dark."""
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The files as they were read together."""

    stamp: tuple[tuple[str, int, int], ...]
    version: str
    files: dict[str, bytes]


class Assets:
    """The files by name, read again when one of them has changed on the disk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shelf = _Shelf((), "", {})
        self._read()

    def _read(self) -> _Shelf:
        paths = sorted(
            path for folder in (OWN, VENDORED) for path in folder.iterdir() if path.suffix in _TYPES and path.is_file()
        )
        stamp = tuple((path.name, (about := path.stat()).st_mtime_ns, about.st_size) for path in paths)
        with self._lock:
            if stamp != self._shelf.stamp:
                files = {path.name: path.read_bytes() for path in paths}
                digest = hashlib.sha256()
                for name, content in files.items():
                    digest.update(name.encode() + b"\0" + content + b"\0")
                self._shelf = _Shelf(stamp, digest.hexdigest()[:12], files)
            return self._shelf

    @property
    def scripts(self) -> list[str]:
        """Scripts in their order: the early one, then the libraries."""
        return [EARLY, *sorted(path.name for path in VENDORED.glob("*.js"))]

    @property
    def modules(self) -> list[str]:
        """Our own modules."""
        return [name for name in self._names(OWN, ".js") if name != EARLY]

    @property
    def styles(self) -> list[str]:
        """The stylesheets; the one that defines the colours comes first."""
        return sorted(self._names(OWN, ".css"), key=lambda name: (name != "base.css", name))

    def _names(self, folder: Path, suffix: str) -> list[str]:
        return sorted(path.name for path in folder.glob(f"*{suffix}"))

    @property
    def version(self) -> str:
        """Names the content of all files."""
        return self._read().version

    def url(self, root: str, name: str) -> str:
        """Where the file is served."""
        return f"{root}/assets/{self.version}/{name}"

    def content(self, name: str) -> bytes:
        """The file's bytes. Raises NotFound."""
        found = self._read().files.get(name)
        if found is None:
            raise NotFound(f"there is no file {name!r} here")
        return found


def _asset(request: Request) -> Response:
    name: str = request.path_params["name"]
    assets: Assets = request.app.state.house.assets
    content = assets.content(name)
    kept = "private, max-age=31536000, immutable" if request.path_params["version"] == assets.version else "no-cache"
    return Response(content, headers={"cache-control": kept}, media_type=_TYPES[Path(name).suffix])


routes = [Route("/assets/{version}/{name}", _asset)]
