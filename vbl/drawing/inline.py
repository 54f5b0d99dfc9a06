"""The styles and scripts of pictures as text inside a document that opens without a server: a notebook, a static file.

Pure but for reading the files that are shipped beside it.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from vbl.drawing.markup import Markup, tag, trusted

_ASSETS = Path(__file__).parent / "assets"


def style(*names: str) -> Markup:
    """A style element with these sheets, by name and in this order, without their comments."""
    return tag("style", trusted(_small(*names)))


@functools.cache
def _small(*names: str) -> str:
    text = "\n".join((_ASSETS / name).read_text("utf-8") for name in names)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"\s*([{};,])\s*", r"\1", re.sub(r"\s+", " ", text)).strip()
