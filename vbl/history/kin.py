"""What the end of a run means for its parent and its children: pure, from their states to the payloads to append.

A run and its kin are written in one transaction, so that no crash can come between the end of a child and the event
that tells its parent.
"""

from __future__ import annotations

from vbl.history.events import ChildFinished, Error, Payload
from vbl.history.state import RunState


def told(parent: RunState, child: RunState) -> list[Payload]:
    """What the parent's history gets when the child has ended: nothing where it has ended too, or does not wait."""
    known = parent.children.get(child.call or "")
    if parent.finished or known is None or known.id != child.run_id or child.call not in parent.open_children:
        return []
    error = Error.model_validate(child.error) if child.error is not None else None
    return [ChildFinished(call=known.call, child=known.id, status=child.status.value, output=child.output, error=error)]


def left_behind(state: RunState) -> list[str]:
    """The ids of the children that a run which has ended takes with it."""
    return [child.id for call in sorted(state.open_children) if (child := state.children[call]).on_close == "cancel"]
