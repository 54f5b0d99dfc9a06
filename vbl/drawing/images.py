"""Pictures within payloads: `image(value)` where a value says that it is a PNG, JPEG, GIF or WebP, and its bytes agree.

SVG is never drawn: it can hold scripts. What only looks like a picture stays text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, cast

from vbl.drawing.markup import Markup, tag

LARGEST = 4 * 1024 * 1024
"""Characters of base64 that are drawn within a page."""

_DATA_URL = re.compile(r"data:(image/[a-z+.-]+);base64,", re.IGNORECASE)
_BEGINNINGS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))
_BARE = re.compile(r"iVBORw0KGgo|/9j/[4m2]|R0lGODl|UklGR")
"""How base64 of such a file begins."""
_SHORTEST = 64


def image(value: Any) -> Markup | None:
    """The picture that the value holds, or None. A data URL, base64 of a picture, or an object of a model's API that
    carries one: {"type": "image", "source": {…}}, {"type": "image_url", …}, {"media_type": …, "data": …}."""
    text = _carried(value)
    if text is None or not _SHORTEST <= len(text) <= LARGEST:
        return None
    said = _DATA_URL.match(text)
    encoded = "".join((text[said.end() :] if said else text).split())
    kind = _kind(encoded)
    if kind is None:
        return None
    size = len(encoded) * 3 // 4
    return tag(
        "figure",
        tag("img", src=f"data:{kind};base64,{encoded}", alt=f"picture in the payload, {kind}"),
        tag("figcaption", f"{kind}, {size_of(size)}"),
        class_="picture",
    )


def size_of(size: int) -> str:
    """A number of bytes in words: `812 B`, `1.2 KB`, `3.4 MB`."""
    if size < 1_000:
        return f"{size} B"
    for unit, bound in (("KB", 1_000_000), ("MB", 1_000_000_000)):
        if size < bound:
            return f"{size / (bound / 1_000):.1f}".removesuffix(".0") + f" {unit}"
    return f"{size / 1_000_000_000:.1f} GB"


def _carried(value: Any) -> str | None:
    """The text that is to be a picture."""
    if isinstance(value, str):
        return value if _DATA_URL.match(value) or _BARE.match(value) else None
    if not isinstance(value, Mapping):
        return None
    fields = cast("Mapping[str, Any]", value)
    if isinstance(fields.get("source"), Mapping) and fields.get("type") == "image":
        return _carried(fields["source"])
    url = fields.get("image_url")
    if isinstance(url, Mapping):
        url = cast("Mapping[str, Any]", url).get("url")
    if isinstance(url, str):
        return url if _DATA_URL.match(url) else None
    kind = next((fields[name] for name in ("media_type", "mime_type", "mimeType", "mime") if name in fields), None)
    data = fields.get("data")
    return data if isinstance(kind, str) and kind.startswith("image/") and isinstance(data, str) else None


def _kind(encoded: str) -> str | None:
    """What the first bytes say that it is; None for anything but a picture that holds no script, and for no base64."""
    if re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", encoded) is None:
        return None
    try:
        head = base64.b64decode(encoded[:64], validate=True)
    except binascii.Error:
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS if head.startswith(beginning)), None)
