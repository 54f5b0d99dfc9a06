"""What the end of a run means for its parent and its children: pure, from their states to the payloads to append.

A run and its kin are written in one transaction, so that no crash can come between the end of a child and the event
that tells its parent.
"""

from __future__ import annotations

from vbl.history import transitions
from vbl.history.events import ChildFinished, Error, Payload
from vbl.history.state import RunState


def told(parent: RunState, child: RunState) -> list[Payload]:
    """What the parent's history gets when the child has ended: nothing where it has ended too, or does not wait."""
    known = parent.children.get(child.call or "")
    if parent.finished or known is None or known.id != child.run_id or child.call not in parent.open_children:
        return []
    error = Error.model_validate(child.error) if child.error is not None else None
    end = ChildFinished(call=known.call, child=known.id, status=child.status.value, output=child.output, error=error)
    return [*_deadline_of_both(parent, child), end]


def _deadline_of_both(parent: RunState, child: RunState) -> list[Payload]:
    """A child whose deadline ended it has told its parent of that before the parent's own deadline, which it inherited,
    did: then the parent is cancelled too, and does not fail because its child was."""
    at = max(parent.at, child.at)
    met = child.cancel is not None and child.cancel["actor"] == transitions.DEADLINE
    if not met or parent.cancel is not None or parent.deadline is None or parent.deadline > at:
        return []
    return [transitions.deadline_passed(at)]


def left_behind(state: RunState) -> list[str]:
    """The ids of the children that a run which has ended takes with it."""
    return [child.id for call in sorted(state.open_children) if (child := state.children[call]).on_close == "cancel"]
