"""A run's history drawn up as a picture on one line of time: `timeline(facts, now) -> Timeline`.

One rule for each type of event says what it begins or ends. What the picture is made of is in `history.timeline`, the
sentences in it are those of `history.narration`. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vbl.history.narration import EXPIRY, cause, duration, people, tries
from vbl.history.state import RunState, apply
from vbl.history.steps import name_of
from vbl.history.timeline import Bar, Lane, Mark, Outcome, Stand, Timeline, Wait

if TYPE_CHECKING:
    from vbl.history.facts import Fact


def timeline(facts: Iterable[Fact], now: int, *, supervised: bool = True) -> Timeline:
    """Draw up the run's timeline. `supervised` says whether a supervisor is alive at `now`."""
    facts = list(facts)
    state = RunState()
    draft = _Draft(state)
    for fact in facts:
        apply(state, fact)
        draft.take(fact)
    end_at = state.finished_at if state.finished_at is not None else max(now, state.at)
    draft.finish(state.finished_at, supervised)
    for key, lane in draft.lanes.items():
        step = state.steps.get(key)
        lane.status = "cancelled" if step is None or step.void else step.status
    start_at = min(state.created_at, end_at)
    return Timeline(
        state.run_id, state.workflow, state.status, start_at, end_at,
        list(draft.lanes.values()), draft.waits, draft.marks, state.checkpoint,
    )  # fmt: skip


@dataclass(slots=True)
class _Draft:
    """The picture while it is being drawn. `state` is what the history adds up to so far.

    `seqs` holds the seq at which each step was first asked for; `sign_at` is the last instant at which the run's
    supervisor is known to have lived, by the events of this run; `gone_at` that of the supervisor whose loss is on
    record and not yet made up; `back_at` when another one recorded the loss, None where it left in order.
    """

    state: RunState
    lanes: dict[str, Lane] = field(default_factory=dict[str, Lane])
    waits: list[Wait] = field(default_factory=list[Wait])
    marks: list[Mark] = field(default_factory=list[Mark])
    open: dict[tuple[Stand, object], Wait] = field(default_factory=dict[tuple[Stand, object], Wait])
    running: dict[str, Bar] = field(default_factory=dict[str, Bar])
    seqs: dict[str, int] = field(default_factory=dict[str, int])
    failures: dict[str, int] = field(default_factory=dict[str, int])
    sign_at: int = 0
    gone_at: int | None = None
    back_at: int | None = None

    def take(self, fact: Fact) -> None:
        draw = _DRAW.get(fact.type)
        if draw is not None:
            draw(self, fact, fact.payload)
        if fact.type not in _NOT_A_SIGN:
            self.sign_at = max(self.sign_at, fact.at)

    def mark(self, fact: Fact, text: str) -> None:
        self.marks.append(Mark(fact.at, fact.seq, text))

    def gate(self, p: dict[str, Any]) -> str:
        """What the gate of the payload is called, while it is open; else its id."""
        wait = self.open.get((Stand.GATE, p["gate"]))
        return f"gate {wait.name if wait is not None else p['gate']}"

    def lane(self, key: str, name: str | None = None) -> Lane:
        if key not in self.lanes:
            self.lanes[key] = Lane(key, name or name_of(key))
        return self.lanes[key]

    def wait(self, wait: Wait, name: object = None) -> None:
        """Open a wait; one of the same kind and name that is open ends here."""
        self.end(wait.stand, wait.start_at, name)
        self.open[wait.stand, name] = wait

    def end(self, stand: Stand, at: int, name: object = None) -> None:
        wait = self.open.pop((stand, name), None)
        if wait is not None:
            self.keep(replace(wait, end_at=max(at, wait.start_at)))

    def settle(self, stand: Stand, at: int, name: object, outcome: str) -> None:
        """End a wait and say how; one that is closed already stays as it is."""
        wait = self.open.get((stand, name))
        if wait is not None:
            self.open[stand, name] = replace(wait, outcome=outcome)
            self.end(stand, at, name)

    def keep(self, wait: Wait) -> None:
        (self.waits if wait.step is None else self.lane(wait.step).waits).append(wait)

    def close(self, key: str, at: int, outcome: Outcome, text: str = "") -> None:
        """End the running attempt of a step, and the backoff of one that was given up in it."""
        self.end(Stand.BACKOFF, at, key)
        bar = self.running.pop(key, None)
        if bar is not None:
            self.lanes[key].bars.append(replace(bar, end_at=max(at, bar.start_at), outcome=outcome, text=text))

    def back(self, at: int) -> None:
        """A supervisor moves the run again: the stretch without one, if there was one, ends."""
        if self.gone_at is None:
            return
        gone_at, back_at = self.gone_at, self.back_at
        self.gone_at = self.back_at = None
        length = duration((at if back_at is None else back_at) - gone_at)
        text = f"supervisor was down {length}" if back_at is None else f"supervisor died, back after {length} at most"
        self.keep(Wait(Stand.DOWN, gone_at, max(at if back_at is None else back_at, gone_at), text))

    def void_after(self, seq: int) -> None:
        """A retry undid what the code asked for after `seq`."""
        for key in [key for key, asked_seq in self.seqs.items() if asked_seq > seq]:
            del self.seqs[key]
            lane = self.lanes[key]
            lane.bars = [replace(bar, void=True) for bar in lane.bars]

    def finish(self, finished_at: int | None, supervised: bool) -> None:
        """Close what ends with the run, or show it as still going on."""
        if finished_at is not None:
            self.back(finished_at)
            self.open.pop((Stand.ENDED, None), None)
            for key in list(self.running):
                self.close(key, finished_at, Outcome.CANCELLED)
            for stand, name in list(self.open):
                self.end(stand, finished_at, name)
            return
        if self.running and not supervised and self.gone_at is None:
            self.keep(Wait(Stand.DOWN, self.sign_at, None, "no supervisor since then at the latest"))
            for key in list(self.running):
                self.close(key, self.sign_at, Outcome.LOST, "its process has gone")
        elif self.back_at is not None:
            self.back(self.back_at)
        elif self.gone_at is not None:
            self.keep(Wait(Stand.DOWN, self.gone_at, None, "no supervisor"))
        for key, bar in self.running.items():
            self.lanes[key].bars.append(bar)
        for wait in self.open.values():
            self.keep(wait)


_NOT_A_SIGN = frozenset(
    {
        "RUN_CREATED", "RUN_PAUSED", "RUN_UNPAUSED", "RUN_RETRIED", "CANCEL_REQUESTED", "STEP_INTERRUPTED",
        "STEP_RESOLVED", "RUN_RESUMED", "SIGNAL_RECEIVED", "APPROVAL_GRANTED", "APPROVAL_DENIED", "DECISION_REFUSED",
    }
)  # fmt: skip
"""Events of clients, and those by which a new supervisor records the loss of an old one."""


def _created(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.wait(Wait(Stand.QUEUED, fact.at, None, "queued", seq=fact.seq))


def _started(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.end(Stand.QUEUED, fact.at)


def _resumed(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.end(Stand.BLOCKED, fact.at)
    draft.back(fact.at)
    draft.marks.append(Mark(fact.at, fact.seq, f"resumed: {p['reason']}"))


def _ended(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    for stand in (Stand.PAUSED, Stand.BLOCKED, Stand.QUEUED):
        draft.end(stand, fact.at)


def _run_failed(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    _ended(draft, fact, p)
    draft.wait(Wait(Stand.ENDED, fact.at, None, f"failed: {cause(p['error'])}", seq=fact.seq))


def _blocked(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.wait(Wait(Stand.BLOCKED, fact.at, None, f"blocked: {p['reason']}", seq=fact.seq))


def _paused(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.wait(Wait(Stand.PAUSED, fact.at, None, "paused" + _by(p), seq=fact.seq))


def _unpaused(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.end(Stand.PAUSED, fact.at)


def _retried(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.end(Stand.BLOCKED, fact.at)
    draft.end(Stand.ENDED, fact.at)
    if p.get("step"):
        draft.end(Stand.BACKOFF, fact.at, p["step"])
    if p.get("from_seq") is not None:
        draft.void_after(p["from_seq"])
    draft.marks.append(Mark(fact.at, fact.seq, "retried" + _by(p)))


def _cancel(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.marks.append(Mark(fact.at, fact.seq, "cancel requested" + _by(p)))


def _step_started(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    key = p["step"]
    draft.back(fact.at)
    draft.lane(key, p.get("name"))
    draft.seqs.setdefault(key, fact.seq)
    draft.close(key, fact.at, Outcome.INTERRUPTED)
    draft.running[key] = Bar(p["attempt"], fact.at, None, Outcome.RUNNING, alone=p.get("alone", False), seq=fact.seq)


def _step_completed(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.close(p["step"], fact.at, Outcome.COMPLETED)


def _step_failed(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.failures[p["step"]] = draft.failures.get(p["step"], 0) + 1
    draft.close(p["step"], fact.at, Outcome.FAILED, cause(p["error"]))


def _step_cancelled(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.close(p["step"], fact.at, Outcome.CANCELLED)


def _step_interrupted(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    counted = p.get("counted", True)
    gone_at = draft.sign_at if counted else fact.at
    draft.close(
        p["step"], gone_at, Outcome.INTERRUPTED, "its process died" if counted else "the supervisor was stopped"
    )
    draft.gone_at = gone_at if draft.gone_at is None else min(draft.gone_at, gone_at)
    draft.back_at = fact.at if counted else None


def _step_probed(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.back(fact.at)
    draft.marks.append(Mark(fact.at, fact.seq, f"{p['step']}: its probe was asked"))


def _step_resolved(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.end(Stand.BLOCKED, fact.at)
    what = {"happened": "it happened", "did_not_happen": "it did not happen"}.get(p["outcome"], "it failed")
    draft.marks.append(Mark(fact.at, fact.seq, f"{p['step']} settled{_by(p)}: {what}"))


def _retry_scheduled(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    key, limit = p["step"], p.get("max_attempts")
    attempt = draft.failures.get(key, 0) + 1 if limit else p["attempt"]
    text = f"{key} failed, retrying in {duration(p['at'] - fact.at)}, {tries(attempt, limit)}"
    draft.wait(Wait(Stand.BACKOFF, fact.at, None, text, p["at"], key, seq=fact.seq), key)


def _timer_set(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    text = f"timer {p['timer']}, {duration(p['at'] - fact.at)}"
    draft.wait(Wait(Stand.TIMER, fact.at, None, text, p["at"], seq=fact.seq), p["timer"])


def _timer_fired(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.end(Stand.TIMER, fact.at, p["timer"])


def _timer_cancelled(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    wait = draft.open.pop((Stand.TIMER, p["timer"]), None)
    if wait is not None:
        draft.keep(replace(wait, end_at=fact.at, text=f"{wait.text}, not needed"))


def _by(p: dict[str, Any]) -> str:
    return f" by {p['actor']}" if p.get("actor") else ""


def _requested(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    text = f"{p['name']} asked of {people(p.get('to') or ())}"
    gate = p["gate"]
    draft.wait(
        Wait(Stand.GATE, fact.at, None, text, p.get("expires_at"), name=p["name"], subject=gate, seq=fact.seq), gate
    )


def _granted(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    edited = ", edited" if p.get("edit") else ""
    if p.get("final", True):
        draft.settle(Stand.GATE, fact.at, p["gate"], f"granted by {p['actor']}{edited}")
    else:
        draft.mark(fact, f"{draft.gate(p)} approved by {p['actor']}, more are needed")


def _denied(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.settle(Stand.GATE, fact.at, p["gate"], f"denied by {p['actor']}")


def _expired(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.settle(Stand.GATE, fact.at, p["gate"], f"expired, which {EXPIRY.get(p['outcome'], 'ends it')}")


def _closed(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.settle(Stand.GATE, fact.at, p["gate"], "not needed")


def _escalated(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    wait = draft.open.get((Stand.GATE, p["gate"]))
    if wait is not None and p.get("expires_at") is not None:
        draft.open[Stand.GATE, p["gate"]] = replace(wait, until_at=p["expires_at"])
    draft.mark(fact, f"{draft.gate(p)} escalated to {people(p['to'])}")


def _reminded(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.mark(fact, f"{draft.gate(p)} still open: a reminder")


def _refused(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.mark(fact, f"{draft.gate(p)}: {p['decision']} by {p['actor']} refused, {p['why']}")


def _awaited(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    wait = Wait(
        Stand.SIGNAL, fact.at, None, f"waits for signal {p['name']}", p.get("expires_at"), name=p["name"], seq=fact.seq
    )
    draft.wait(wait, p["wait"])
    _heard(draft, fact, "had come before")


def _received(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    if not _heard(draft, fact, "received" + _by(p)):
        draft.mark(fact, f"signal {p['name']} came before it was waited for")


def _unheard(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    expired = fact.type == "WAIT_EXPIRED"
    draft.settle(Stand.SIGNAL, fact.at, p["wait"], "none came in time" if expired else "not needed")
    _heard(draft, fact, "had come before")


def _heard(draft: _Draft, fact: Fact, outcome: str) -> bool:
    """End the waits that have a signal now; whether there was one."""
    waits = draft.state.waits
    heard = [
        number
        for stand, number in list(draft.open)
        if stand is Stand.SIGNAL and isinstance(number, int) and number in waits and waits[number].taken is not None
    ]
    for number in heard:
        draft.settle(Stand.SIGNAL, fact.at, number, outcome)
    return bool(heard)


def _child_started(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    text = f"child {p['workflow']} ({p['child']})"
    draft.wait(Wait(Stand.CHILD, fact.at, None, text, name=p["workflow"], subject=p["child"], seq=fact.seq), p["call"])


def _child_finished(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    error = f" ({cause(p['error'])})" if p.get("error") else ""
    draft.settle(Stand.CHILD, fact.at, p["call"], f"{p['status']}{error}")


def _child_cancelled(draft: _Draft, fact: Fact, p: dict[str, Any]) -> None:
    draft.settle(Stand.CHILD, fact.at, p["call"], "given up")


_DRAW: dict[str, Callable[[_Draft, Fact, dict[str, Any]], None]] = {
    "RUN_CREATED": _created,
    "RUN_STARTED": _started,
    "RUN_RESUMED": _resumed,
    "RUN_COMPLETED": _ended,
    "RUN_CANCELLED": _ended,
    "RUN_FAILED": _run_failed,
    "RUN_BLOCKED": _blocked,
    "RUN_PAUSED": _paused,
    "RUN_UNPAUSED": _unpaused,
    "RUN_RETRIED": _retried,
    "CANCEL_REQUESTED": _cancel,
    "STEP_STARTED": _step_started,
    "STEP_COMPLETED": _step_completed,
    "STEP_FAILED": _step_failed,
    "STEP_CANCELLED": _step_cancelled,
    "STEP_INTERRUPTED": _step_interrupted,
    "STEP_PROBED": _step_probed,
    "STEP_RESOLVED": _step_resolved,
    "RETRY_SCHEDULED": _retry_scheduled,
    "TIMER_SET": _timer_set,
    "TIMER_FIRED": _timer_fired,
    "TIMER_CANCELLED": _timer_cancelled,
    "APPROVAL_REQUESTED": _requested,
    "APPROVAL_GRANTED": _granted,
    "APPROVAL_DENIED": _denied,
    "APPROVAL_EXPIRED": _expired,
    "APPROVAL_CLOSED": _closed,
    "APPROVAL_ESCALATED": _escalated,
    "APPROVAL_REMINDED": _reminded,
    "DECISION_REFUSED": _refused,
    "SIGNAL_AWAITED": _awaited,
    "SIGNAL_RECEIVED": _received,
    "WAIT_EXPIRED": _unheard,
    "WAIT_CANCELLED": _unheard,
    "CHILD_STARTED": _child_started,
    "CHILD_FINISHED": _child_finished,
    "CHILD_CANCELLED": _child_cancelled,
}
