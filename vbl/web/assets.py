"""The files that pages link: our own beside the drawings, and the vendored libraries. Served under a path that names
their content, so that a browser may keep them for good and modules may import each other by name.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, replace
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
class Shelf:
    """The files as they were read together, ours and the libraries; `version` names the content of all of them."""

    stamp: tuple[tuple[str, int, int], ...]
    version: str
    own: dict[str, bytes]
    vendored: dict[str, bytes]

    @property
    def scripts(self) -> list[str]:
        """Scripts in their order: the early one, then the libraries."""
        return [EARLY, *(name for name in self.vendored if name.endswith(".js"))]

    @property
    def modules(self) -> list[str]:
        """Our own modules."""
        return [name for name in self.own if name.endswith(".js") and name != EARLY]

    @property
    def styles(self) -> list[str]:
        """The stylesheets; the one that defines the colours comes first."""
        named = (name for name in self.own if name.endswith(".css"))
        return sorted(named, key=lambda name: (name != "base.css", name))

    def url(self, root: str, name: str) -> str:
        """Where the file is served."""
        return f"{root}/assets/{self.version}/{name}"

    def content(self, name: str) -> bytes:
        """The file's bytes. Raises NotFound."""
        found = self.own.get(name, self.vendored.get(name))
        if found is None:
            raise NotFound(f"there is no file {name!r} here")
        return found


class Assets:
    """The shelf, filled again when a file has changed on the disk. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shelf = Shelf((), "", {}, {})

    def shelf(self) -> Shelf:
        """The files as they are now."""
        own, vendored = _files(OWN), _files(VENDORED)
        abouts = [(path, path.stat()) for path in (*own, *vendored)]
        stamp = tuple((path.name, about.st_mtime_ns, about.st_size) for path, about in abouts)
        with self._lock:
            if stamp != self._shelf.stamp:
                self._shelf = _filled(stamp, own, vendored)
            return self._shelf


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in _TYPES and path.is_file())


def _filled(stamp: tuple[tuple[str, int, int], ...], own: list[Path], vendored: list[Path]) -> Shelf:
    shelf = Shelf(stamp, "", *({path.name: path.read_bytes() for path in paths} for paths in (own, vendored)))
    digest = hashlib.sha256()
    for name, content in (*shelf.own.items(), *shelf.vendored.items()):
        digest.update(name.encode() + b"\0" + content + b"\0")
    return replace(shelf, version=digest.hexdigest()[:12])


def _asset(request: Request) -> Response:
    name: str = request.path_params["name"]
    shelf: Shelf = request.app.state.house.assets.shelf()
    content = shelf.content(name)
    kept = "private, max-age=31536000, immutable" if request.path_params["version"] == shelf.version else "no-cache"
    return Response(content, headers={"cache-control": kept}, media_type=_TYPES[Path(name).suffix])


routes = [Route("/assets/{version}/{name}", _asset)]
