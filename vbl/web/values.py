"""One recorded value as an answer of its own: what a page names only, because it is large."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from vbl.drawing.payload import as_json, payload
from vbl.web.desk import Desk


def whole(
    d: Desk, request: Request, found: Any, url: str, name: str, *, command: str | None = None, lasting: bool = True
) -> Response:
    """The value drawn in full; with `raw` in the query, as the JSON that was recorded, to be kept as `name`.json.
    `command` prints it in a terminal; `lasting` says that it never changes."""
    if "raw" in request.query_params:
        named = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}.json"}
        return Response(as_json(found).encode("utf-8", "replace"), media_type="application/json", headers=named)
    return d.fragment(payload(found, whole=url, command=command, full=True, lasting=lasting))
