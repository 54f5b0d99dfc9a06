"""The sign of each status, for terminal and page alike: a shape, its ASCII form, and the style in which it is painted.

The word always stands beside the sign; nothing is told by colour alone. Pure.
"""

from __future__ import annotations

SIGNS: dict[str, tuple[str, str, str]] = {
    "queued": ("○", "o", "dim"),
    "running": ("●", "*", "live"),
    "retrying": ("↻", "r", "warn"),
    "waiting": ("◔", "w", "live"),
    "waiting_for_approval": ("?", "?", "warn"),
    "paused": ("‖", "=", "warn"),
    "blocked": ("■", "#", "bad"),
    "completed": ("✓", "+", "good"),
    "failed": ("✗", "x", "bad"),
    "cancelled": ("⊘", "-", "dim"),
}
"""Sign, its ASCII form and its style: good, bad, warn, live or dim."""
UNKNOWN = ("·", ".", "dim")
"""What stands for a status that this version does not know."""
