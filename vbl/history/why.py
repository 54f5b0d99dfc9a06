"""What a run waits for: every run that is not finished waits for one named thing at least, and this says which.

Pure: `why` is told the state, the time, whether a supervisor is alive, which workflows it has loaded, and what the
file knows of others: how the children stand, the place in a queue, a holder that does not answer. The sentence of each
kind of open thing is in `history.reasons`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vbl.history.narration import cause, duration, printable
from vbl.history.reasons import Reason, gates, in_flight, names, open_things, signals, told_of
from vbl.history.state import RunState, Status

CELL = "a cell"
"""What the name of the place begins with where a workflow was typed, in a notebook or at a prompt."""


@dataclass(frozen=True, slots=True)
class Why:
    """What a run waits for.

    `waits_for` is one of nothing, supervisor, lock, workflow, queue, step, gate, signal, child, backoff, timer,
    clean-up, unpause, code, person, retry; `detail` says it in a sentence, and in one line more for each other thing
    that can move the run, which `also` holds by itself; `until` is the instant (microseconds since 1970 UTC) at which
    time alone moves it, or None; `hint` is what to type, a line for each thing, or empty.
    """

    status: Status
    waits_for: str
    detail: str
    until: int | None = None
    hint: str = ""
    also: tuple[Reason, ...] = ()


def why(
    state: RunState,
    now: int,
    workflows_loaded: Collection[str] | None,
    supervisor_alive: bool,
    file: str | None = None,
    *,
    children: Mapping[str, str] | None = None,
    place: Reason | None = None,
    silent: str | None = None,
) -> Why:
    """Name what the run waits for.

    `workflows_loaded` is what the supervisor has, None if that is not known; `file` the one that defines the
    workflow, where it is known, for the hint; `children` the statuses of children by id, as far as they are known;
    `place` what the queue says of a run that has not begun; `silent` names a holder of the file that does not answer.
    """
    if state.finished:
        return _finished(state)
    if state.blocked is not None:
        return _blocked(state)
    if state.paused:
        return Why(Status.PAUSED, "unpause", _paused_detail(state), None, f"vbl unpause {state.run_id}")
    up = _up(state.workflow, file)
    forced = f"vbl up {file if file and not file.startswith(CELL) else 'FILE.py'} --force"
    lock = Reason("lock", silent, None, f"{forced}   (where that process is gone for good)") if silent else None
    mover = _mover(state, now, workflows_loaded, supervisor_alive, up, lock)
    return _joined(state.status, _reasons(state, now, mover, children or {}, place))


def _up(workflow: str, file: str | None) -> str:
    """What to type so that there is a supervisor that has the workflow."""
    if file is not None and file.startswith(CELL):
        return f"vbl.open(…)   (in the notebook: run {file} first, which defines {printable(workflow)})"
    return f"vbl up {file}" if file else f"vbl up FILE.py   (the file that defines {workflow})"


def _joined(status: Status, reasons: list[Reason]) -> Why:
    first, *also = reasons
    until = min((reason.until for reason in reasons if reason.until is not None), default=None)
    hint = "\n".join(dict.fromkeys(reason.hint for reason in reasons if reason.hint))
    return Why(status, first.waits_for, "\n".join(reason.detail for reason in reasons), until, hint, tuple(also))


def _finished(state: RunState) -> Why:
    took = duration((state.finished_at or state.at) - state.created_at)
    if state.status is Status.FAILED:
        error = f": {printable(cause(state.error))}" if state.error else ""
        return Why(Status.FAILED, "retry", f"failed after {took}{error}", None, f"vbl retry {state.run_id}")
    by = told_of(state.cancel) if state.status is Status.CANCELLED else ""
    return Why(state.status, "nothing", f"{state.status} after {took}{by}")


def _blocked(state: RunState) -> Why:
    block = state.blocked or {}
    waits_for = _SETTLED_BY.get(block["reason"], "code")
    hint = _settling(state.run_id) if block["reason"] == "unknown_outcome" else str(block["unblock"])
    return Why(Status.BLOCKED, waits_for, str(block["message"]).strip(), None, hint)


_SETTLED_BY = {"poisoned": "person", "unknown_outcome": "person", "queue_deadlock": "queue"}
"""Blocks that no other code ends by itself: two say something about the world, which only a person can know."""


def _settling(run_id: str) -> str:
    """The three answers to a step whose outcome nobody knows."""
    return "\n".join(
        [
            f"vbl resolve {run_id} --happened JSON   (it happened, with this result)",
            f"vbl resolve {run_id} --did-not   (it did not: run it again)",
            f"vbl resolve {run_id} --fail   (let the workflow see a failure)",
        ]
    )


def _paused_detail(state: RunState) -> str:
    running = in_flight(state)
    return "paused" + (
        f"; {names(running)} still in flight, to be recorded when done"
        if running
        else "; no step starts until it is unpaused"
    )


def _mover(
    state: RunState, now: int, loaded: Collection[str] | None, alive: bool, up: str, lock: Reason | None
) -> Reason | None:
    """What keeps anybody from moving the run at all; None where a supervisor that has its workflow answers."""
    if not alive:
        return Reason("supervisor", _without_supervisor(state, now), None, up)
    if loaded is not None and state.workflow not in loaded and not state.in_flight:
        has = ", ".join(sorted(loaded)) or "none"
        detail = f"the supervisor has not loaded the workflow {printable(state.workflow)}; it has: {has}"
        return Reason("workflow", detail, None, f"Stop it, and start it with this file too: {up}")
    return lock


def _reasons(
    state: RunState, now: int, mover: Reason | None, children: Mapping[str, str], place: Reason | None
) -> list[Reason]:
    """What the run waits for, the first thing first; there is always one."""
    if state.started_at is None or state.waits_for_place:
        return [mover or (_next_up(state) if state.queue is None else queued(state, place))]
    if _has_news(state):
        return [mover or _next_up(state)]
    if mover is not None and state.in_flight and mover.waits_for == "supervisor":
        # the bodies went with it; what people can do meanwhile is kept all the same
        return [mover, *gates(state, now), *signals(state, now)]
    open_now = open_things(state, now, children)
    if not any(reason.waits_for != "clean-up" for reason in open_now):
        return [mover or _next_up(state), *open_now]
    if mover is None:
        return open_now
    return [*open_now, mover] if state.in_flight or _rests(state, now) else [mover, *open_now]


def _has_news(state: RunState) -> bool:
    """Whether there is something that the code has not been told, or has to do again."""
    return bool(state.due or state.due_children or state.last_input > state.applied or state.reopened)


def _rests(state: RunState, now: int) -> bool:
    """Whether nobody needs to look at the run now: what it waits for has not come."""
    return state.due_at is None or state.due_at > now


def _next_up(state: RunState) -> Reason:
    what = "due" if state.cancel is None else "a cancel was asked for"
    return Reason("supervisor", f"{what}; the supervisor takes it up next")


def queued(state: RunState, place: Reason | None) -> Reason:
    """The wait of a run that has not begun for a place in its queue, as the queue tells it."""
    lane = f", lane {printable(state.lane)}" if state.lane is not None else ""
    return place or Reason("queue", f"waits for a place in queue {printable(state.queue or '')}{lane}")


def _without_supervisor(state: RunState, now: int) -> str:
    if state.status is Status.QUEUED:
        return "queued; no supervisor is alive to start it"
    running = in_flight(state)
    if running:
        again = "it" if len(running) == 1 else "them"
        return f"{names(running)} in flight when the supervisor went; the next one starts {again} again"
    if state.cancel is not None and state.last_input > state.applied:
        return "a cancel was asked for; no supervisor is alive to carry it out"
    rests = not _has_news(state) and _rests(state, now)
    return "no supervisor is alive to notice" if rests else "ready to go on; no supervisor is alive to move it"
