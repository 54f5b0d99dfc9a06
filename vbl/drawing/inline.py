"""The styles and scripts of pictures as text inside a document that opens without a server: a notebook, a static file.

Pure but for reading the files that are shipped beside it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path

from vbl.drawing.markup import Markup, tag, trusted
from vbl.errors import VblError

_ASSETS = Path(__file__).parent / "assets"


def style(*names: str) -> Markup:
    """A style element with these sheets, by name and in this order, without their comments."""
    return tag("style", trusted(css(*names)))


@functools.cache
def css(*names: str) -> str:
    """These sheets as one, without their comments."""
    text = "\n".join((_ASSETS / name).read_text("utf-8") for name in names)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"\s*([{};,])\s*", r"\1", re.sub(r"\s+", " ", text)).strip()


@functools.cache
def js(name: str) -> str:
    """A script, to stand inside an element: nothing in it ends that."""
    text = (_ASSETS / name).read_text("utf-8")
    if "</script" in text.lower() or "<!--" in text:
        raise VblError(f"{name} can't stand inside a document: it holds the end of a script", "Write it without that")
    return text


def source(text: str) -> str:
    """What a content security policy calls a style or a script with exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
