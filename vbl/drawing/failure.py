"""A recorded error on a page: what kind it is, what it says, where it came from. The traceback is folded away. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vbl.drawing.markup import Markup, tag
from vbl.drawing.prose import struck
from vbl.history.narration import tries

MOST_TRACEBACK = 100_000
"""Characters of a traceback that are put into a page: its end, where the error is."""


def failure(
    error: Mapping[str, Any], *, attempt: int | None = None, max_attempts: int | None = None, open: bool = False
) -> Markup:
    """Draw a recorded error {kind, type, message, traceback, step} and the attempt that it belongs to; `open` shows the
    traceback at once."""
    message = str(error.get("message") or "").strip()
    step = error.get("step")
    where = [f"step {step}" if step else None, tries(attempt, max_attempts) if attempt is not None else None]
    told = ", ".join(part for part in where if part)
    return tag(
        "div",
        tag(
            "p",
            tag("span", "✗ ", aria_hidden="true"),
            tag("b", str(error.get("type") or "error")),
            tag("span", str(error.get("kind") or "unknown").replace("_", " "), class_="kind"),
            tag("span", told, class_="dim") if told else None,
            class_="failure-head",
        ),
        tag("pre", struck(message), class_="message", tabindex=0) if message else None,
        _traceback(str(error.get("traceback") or "").rstrip(), open),
        class_="failure",
    )


def _traceback(text: str, open: bool) -> Markup | None:
    if not text:
        return None
    cut = len(text) - MOST_TRACEBACK
    shown = f"… {cut} characters cut …\n{text[cut:]}" if cut > 0 else text
    return tag("details", tag("summary", "traceback"), tag("pre", struck(shown), tabindex=0), open=open, class_="raw")
