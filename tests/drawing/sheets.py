"""Sheets of histories that were written by hand."""

from __future__ import annotations

from typing import Any

from tests.history.hand import History
from vbl.drawing.sheet import RunSheet
from vbl.history.plotting import timeline
from vbl.history.state import fold
from vbl.history.why import why

EVIL = "<img src=x onerror=alert(1)>\"'&"


def sheet(history: History, after: float = 0.0, *, supervised: bool = True, **more: Any) -> RunSheet:
    """What is said of the run `after` seconds behind its last event."""
    now = history.now + round(after * 1_000_000)
    state = fold(history.facts)
    return RunSheet(
        id=state.run_id,
        version=state.version,
        parent=more.pop("parent", None),
        children=more.pop("children", []),
        facts=history.facts,
        state=state,
        picture=timeline(history.facts, now, supervised=supervised),
        answer=why(state, now, {state.workflow}, supervised),
        supervised=supervised,
        now=now,
        **more,
    )
