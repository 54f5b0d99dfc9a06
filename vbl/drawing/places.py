"""Where runs and gates are on the pages: addresses that hold whatever stands for an id in a stranger's file. Pure."""

from __future__ import annotations

from urllib.parse import quote


def run_at(root: str, id: str) -> str:
    """The page of a run."""
    return f"{root}/runs/{quote(id, safe='')}"


def gate_at(root: str, id: str) -> str:
    """The page of a gate."""
    return f"{root}/gates/{quote(id, safe='')}"
