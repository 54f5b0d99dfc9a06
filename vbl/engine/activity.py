"""One active run in the supervisor's memory: its history, its code, its attempts, and what it has yet to digest.

`move` is called once a tick. It takes what has happened (results, time, other people's events), hands it to the code
one input at a time, and leaves the events to append in `history.rows` and the attempts to start in `to_start`. It
does no I/O but reading its history; the supervisor commits, then starts the bodies.
"""

from __future__ import annotations

import difflib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from vbl.engine import doubt, overdue
from vbl.engine.advance import MISSING, Ask, Execution
from vbl.engine.calls import StepCall
from vbl.engine.context import Attempt
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.engine.doubt import InDoubt
from vbl.engine.landing import Landing
from vbl.engine.outcomes import Failed, Succeeded
from vbl.engine.record import Record
from vbl.engine.telling import ASKING
from vbl.errors import Divergence, StorageError, ValueNotStorable, WorkflowError
from vbl.history import moments, transitions
from vbl.history.events import Payload, RunBlocked, RunResumed, StepInterrupted
from vbl.history.facts import Fact, is_input
from vbl.history.script import script_of
from vbl.history.state import RunState, Status, StepState
from vbl.history.steps import DEATHS_ALONE, QUARANTINE_AFTER
from vbl.store.journal import History, Journal, draft

if TYPE_CHECKING:
    from vbl.engine.kinship import Kinship

log = logging.getLogger("vbl")

_RECENT_FACTS = 40
_DIFF_LINES = 80
_TAKEN_IN = frozenset({"RUN_PAUSED", "RUN_UNPAUSED", "APPROVAL_GRANTED", "DECISION_REFUSED"})
"""Events of others that need no replay although they are no inputs."""


class Host(Protocol):
    """What an active run needs of its supervisor."""

    journal: Journal
    kinship: Kinship
    epoch: int
    stopping: bool
    narrating: bool

    def now(self) -> int:
        """The instant of the tick in microseconds."""
        ...

    def wake(self, active: ActiveRun) -> None:
        """Move this run in the next tick."""
        ...

    def wake_threadsafe(self, active: ActiveRun) -> None:
        """Move this run in the next tick; from a workflow's thread."""
        ...

    def may_begin(self, active: ActiveRun) -> bool:
        """Whether the run need not wait for a place in a queue; if it must, it is woken when it may."""
        ...

    def may_start_alone(self, active: ActiveRun, step: StepState) -> bool:
        """Whether a quarantined step may start now; if not, the run is woken when it may."""
        ...

    def still_at_work(self, active: ActiveRun, step: str) -> Attempt | None:
        """The attempt of a write that was given up, or whose time is up, and whose body goes on; the run is woken when
        it ends."""
        ...

    def asked(self, active: ActiveRun, event: str, gate: str | None) -> None:
        """The run asks a person by this event: who is to be told of it is told, from the same transaction on."""
        ...


class ActiveRun:
    """See the module."""

    def __init__(self, host: Host, key: int) -> None:
        self.host = host
        self.key = key
        self.record: Record | None = None
        self.history: History | None = None
        self.execution: Execution | None = None
        self.inbox: deque[Attempt] = deque()
        self.consumed: list[Attempt] = []
        self.in_flight: dict[str, Attempt] = {}
        self.to_start: list[Attempt] = []
        self.to_cancel: list[str] = []
        self.newborn: list[History] = []
        self.bound: set[int] = set()
        self.contended_until = 0
        self.queued = False
        self.announced: Status | None = None
        self.touched_at = 0
        self._facts: list[Fact] = []
        self._replay: deque[Fact] = deque()
        self._tail: list[Ask] = []
        self._foreign: deque[Fact] = deque()
        self.stale = False
        self._digesting: Fact | None = None
        self._loading = False
        self._unblocking = False
        self._landing = Landing(host)

    @property
    def state(self) -> RunState:
        """The state with everything proposed so far."""
        assert self.history is not None
        return self.history.state

    @property
    def idle(self) -> bool:
        """Whether the run may be dropped from memory: nothing in flight, nothing to digest."""
        return (
            not self.in_flight
            and not self.inbox
            and not self.to_start
            and (self.execution is None or self.execution.resting)
        )

    def loaded(self) -> Record:
        """Its history is in memory."""
        return self.record or self._load()

    def hear(self, payloads: list[Payload]) -> None:
        """Take in what the motion of a relative means for this run; what is an input is digested in its next move."""
        record = self.loaded()
        for payload in payloads:
            fact = record.append(*draft(self.host.now(), payload))
            if self.execution is None:
                if self._facts:
                    self._facts.append(fact)
            elif is_input(fact.type, fact.payload):
                self._foreign.append(fact)

    def stand_still(self, error: WorkflowError) -> None:
        """Block the run for what was found of it from outside; it is idle, and is stored by its next move."""
        self._block(self.loaded(), error.code, error)

    # Moving --------------------------------------------------------------------------------------------------------

    def move(self) -> None:
        """Bring the run as far as it goes without waiting."""
        self.touched_at = self.host.now()
        record = self.loaded()
        try:
            if self.execution is not None:
                self.execution.resume()
                if self.stale and not self.execution.loop.hold:
                    self._catch_up(record)
            if self._held(record.state):
                self._drop_code()
                self._land_undigested(record)
                if record.state.outcome is not None:
                    self.to_cancel += self.in_flight
                elif not self._held(record.state):
                    self.host.wake(self)  # what landed has settled what blocked it
                self._facts = []  # what lands from now on is not among them
            elif self.execution is None and not (self._may_begin(record) and self._prepare(record)):
                self._land_undigested(record)
                self._facts = []
            else:
                self._digest(record)
                if record.state.outcome is not None:
                    self._land_undigested(record)  # writes that were given up with the run
        except Divergence as divergence:
            self._block(record, "diverged", divergence)
        except (WorkflowError, ValueNotStorable) as error:
            self._block(record, error.code, error)
        except StorageError:
            raise
        except Exception as error:
            # a mistake in the definitions, or of ours: it belongs to this run, and must be seen there
            log.exception("run %s cannot go on", record.state.run_id)
            hint = "Change the code, or cancel the run; if vbl is to blame, report it with the log"
            self.reload()  # what was half done is forgotten
            self._block(self._load(), "broken", WorkflowError(f"{type(error).__name__}: {error}", hint))

    def _held(self, state: RunState) -> bool:
        """Whether the code must not move: then results are recorded all the same, for it to digest later."""
        if state.paused or state.outcome is not None or self.host.stopping:
            return True
        return state.blocked is not None and not self._may_unblock(state)

    def _may_begin(self, record: Record) -> bool:
        """Whether it has its place, where it needs one. One whose deadline passes while it waits has ended here."""
        if self.host.may_begin(self):
            return True
        if record.state.outcome is not None:
            self.host.kinship.ended(self)
        return False

    def _may_unblock(self, state: RunState) -> bool:
        workflow = REGISTRY.get(state.workflow)
        return workflow is not None and workflow.version not in state.blocked_by

    def _load(self) -> Record:
        self.history, self._facts = self.host.journal.load(self.key)
        self.history.resolver.forget()
        for fact in self._facts[-_RECENT_FACTS:]:
            self.history.recorder.know_payload(fact.seq, fact.payload)
        self.record = record = Record(self.history, narrating=self.host.narrating)
        ours = {*self.in_flight, *(landed.key for landed in self.inbox)}
        if any(step.status == "running" and key not in ours for key, step in record.state.steps.items()):
            reason = "the process that ran it died"
            for payload in transitions.interrupt(record.state, self.host.epoch, reason, but=ours):
                record.payload(self.host.now(), payload)
        if overdue.counts(record.state) and record.state.epoch != self.host.epoch:
            reason = "another supervisor goes on with its clean-up"
            record.payload(self.host.now(), RunResumed(epoch=self.host.epoch, reason=reason))
        return record

    def _prepare(self, record: Record) -> bool:
        """Make the execution and line up its replay. False where this process does not have the workflow."""
        workflow: Workflow[..., Any] | None = REGISTRY.get(record.state.workflow)
        if workflow is None:
            return False
        if not self._facts:
            if record.history.rows:
                self.host.wake(self)  # what is not stored yet could not be read
                return False
            self._facts = self.host.journal.load(self.key)[1]
        script = script_of(self._facts)
        self._facts = []
        self.execution = Execution(record.history, workflow, script, lambda: self.host.wake_threadsafe(self))
        self._replay = deque(script.inputs)
        self._loading = True
        self._unblocking = record.state.blocked is not None
        return True

    def _digest(self, record: Record) -> None:
        """The heart: one input after the other, each until the code rests."""
        execution = self.execution
        assert execution is not None
        while not execution.loop.hold:
            if self._digesting is not None:
                self._finish_activation(record, execution)
            elif self._loading:
                self._next_replayed(record, execution)
            elif not self._next_live(record, execution):
                return
        if record.state.cancel is not None and overdue.over_since(record.state, self.host.now()) is not None:
            self._end_overdue(record, execution)

    def _activate(self, execution: Execution, fact: Fact, value: Any = MISSING) -> None:
        self._digesting = fact
        execution.activate(fact, value)

    def _next_replayed(self, record: Record, execution: Execution) -> None:
        """Replay the next recorded input; at the end settle accounts with the history."""
        if self._replay:
            self._activate(execution, self._replay.popleft())
            return
        self._loading = False
        extra, self._tail = self._tail, []
        execution.check_whole(extra)
        state, now = record.state, self.host.now()
        place = state.queue if state.waits_for_place and state.started_at is not None else None
        if self._unblocking:
            self._unblocking = False
            reason = "another version of the code follows its history"
            record.payload(now, RunResumed(epoch=self.host.epoch, reason=reason, unblocked=True, queue=place))
        elif state.reopened or place is not None:
            record.payload(now, RunResumed(epoch=self.host.epoch, reason="a retry was asked for", queue=place))
            for call in sorted(state.open_children):
                # it may have ended while there was nobody to tell
                self.host.kinship.reunite(self, record, execution, call)
        if state.started_at is None:
            self._activate(execution, Fact(state.seq + 1, "RUN_STARTED", now, {}))
            return
        digested = execution.script.inputs[-1].seq if self._foreign else state.last_input
        if digested > state.applied:
            record.checkpoint(digested, len(extra), execution.variables)
        self._carry_out(record, execution, extra)

    def _finish_activation(self, record: Record, execution: Execution) -> None:
        """The code rests: record what it asked for."""
        fact, self._digesting = self._digesting, None
        assert fact is not None
        if execution.stuck:
            raise WorkflowError(
                "the workflow waits for something that no step, timer or input will ever bring",
                "Look for an asyncio.Future, Event or Queue that nobody sets; then change the code, or cancel the run",
                code="deadlock",
            )
        asks = execution.take_asks()
        if self._loading:
            self._tail += asks
            return
        if fact.type == "RUN_STARTED":
            place = execution.workflow.place(record.state.input)
            record.run_started(fact.at, self.host.epoch, len(asks), *place)
        else:
            record.checkpoint(fact.seq, len(asks), execution.variables)
        self._carry_out(record, execution, asks)

    # Inputs --------------------------------------------------------------------------------------------------------

    def _next_live(self, record: Record, execution: Execution) -> bool:
        """Take the next thing that has happened: a result, then time. False when there is none."""
        if execution.outcome is not None:
            return False
        if self._foreign:
            self._activate(execution, self._foreign.popleft())
            return True
        while self.inbox:
            landed = self.inbox.popleft()
            self.consumed.append(landed)
            fact, value = self._landing.take(record, landed)
            if fact is not None:
                self._activate(execution, fact, value)
                return True
        if self._landing.unanswered:
            self._landing.settle(record)
        state = record.state
        waits = state.open_timers or state.backing_off or state.due or state.open_gates or state.open_waits
        if waits or state.due_children or state.deadline is not None or state.cancel is not None:
            return self._next_in_time(record, execution)
        return False

    def _next_in_time(self, record: Record, execution: Execution) -> bool:
        """What was due first happens first, also where all of it was slept through. Steps that are due come last: what
        happens before may give them up."""
        state, now = record.state, self.host.now()
        passing = moments.passed(state, now) if state.open_gates or state.open_waits else None
        fired = min(((state.timers[n].at, n) for n in state.open_timers if state.timers[n].at <= now), default=None)
        deadline = state.deadline if state.cancel is None and (state.deadline or now + 1) <= now else None
        due = (passing[0] if passing else None, deadline, fired[0] if fired else None)
        first = min((at for at in due if at is not None), default=None)
        over = overdue.over_since(state, now)
        if over is not None and (first is None or over < first):
            self._end_overdue(record, execution)
            return False
        if passing is not None and passing[0] == first:
            fact = record.append(*draft(now, passing[1]))
            if is_input(fact.type, fact.payload):
                self._activate(execution, fact)
            elif fact.type in ASKING:
                self.host.asked(self, fact.type, fact.payload["gate"])
            return True
        if deadline is not None and deadline == first:
            self._activate(execution, record.append(*draft(now, transitions.deadline_passed(now))))
            return True
        if fired is not None:
            self._activate(execution, record.fired(now, fired[1], now - fired[0]))
            return True
        for call in sorted(state.due_children):
            self.host.kinship.start_again(self, record, execution, call)
        ready = [state.steps[key] for key in state.backing_off if (state.steps[key].retry_at or 0) <= now]
        if state.due:
            ready += [step for step in state.steps.values() if step.status == "due" and not step.void]
        for step in ready:
            self._again(record, execution, step)
        return False

    def _end_overdue(self, record: Record, execution: Execution) -> None:
        """The time to clean up is over: the run ends whatever its code does."""
        self.to_cancel += overdue.end(record, execution, self.in_flight, self.host.now())
        self._drop_code()
        self.host.kinship.ended(self)

    def _land_undigested(self, record: Record) -> None:
        """The code is not at hand (paused, blocked, stopping): record results, and let it digest them later."""
        while self.inbox:
            landed = self.inbox.popleft()
            self.consumed.append(landed)
            self._landing.take(record, landed)
        if self._landing.unanswered:
            self._landing.settle(record)

    # Commands ------------------------------------------------------------------------------------------------------

    def _carry_out(self, record: Record, execution: Execution, asks: list[Ask]) -> None:
        now = self.host.now()
        reunited: list[str] = []
        for ask in asks:
            match ask.type:
                case "STEP_STARTED":
                    assert ask.call is not None
                    self._start(record, ask.call)
                case "STEP_CANCELLED":
                    key = str(ask.subject)
                    record.given_up(now, key, self.in_flight.get(key))
                    self.to_cancel.append(key)
                case "TIMER_SET":
                    assert ask.timer is not None
                    record.append("TIMER_SET", now, {"v": 1, "timer": ask.timer.number, "at": ask.timer.at})
                case "TIMER_CANCELLED":
                    record.about("TIMER_CANCELLED", now, "timer", ask.subject)
                case "VERSION_MARKED":
                    record.about("VERSION_MARKED", now, "patch", ask.subject)
                case "RUN_COMPLETED" | "RUN_FAILED" | "RUN_CANCELLED":
                    record.ended(now, execution, ask.type)
                    self.host.kinship.ended(self)
                case "CHILD_STARTED":
                    reunited += self.host.kinship.start(self, record, execution, ask)
                case _:
                    record.asked(now, ask)
                    if ask.type == "CHILD_CANCELLED":
                        self.host.kinship.cancel(self, (ask.payload or {})["child"])
                    elif ask.type in ASKING:
                        self.host.asked(self, ask.type, str(ask.subject))
        for call in reunited:
            self.host.kinship.reunite(self, record, execution, call)

    def _start(self, record: Record, call: StepCall) -> None:
        """The first attempt of a step that the code asks for. One that completed with this very input before a retry
        made it void is not run again: its recorded output is used. With another input it is another call, and has an
        idempotency key of its own."""
        before = record.state.steps.get(call.key)
        if before is None:
            self.to_start.append(record.started(self.host.now(), call, 1, alone=False))
            return
        number, repeated = before.attempt + 1, call.has_input(before.input or {})
        key = before.idempotency_key if repeated else f"{record.state.run_id}:{call.key}~{number}"
        attempt = record.started(self.host.now(), call, number, alone=False, idempotency_key=key)
        if repeated and before.void and before.status == "completed":
            result = call.step.signature.result
            attempt.outcome = Succeeded(result.recall(before.output, f"the recorded result of {call.key}"))
            self.inbox.append(attempt)
        elif repeated and before.void and before.interrupted and before.effect == "write":
            # nobody knows whether the call that is void did what it was to do: it is in doubt, not to be started
            lost = StepInterrupted(step=call.key, attempt=number, epoch=self.host.epoch, counted=False)
            record.payload(self.host.now(), lost)
        else:
            self.to_start.append(attempt)

    def _again(self, record: Record, execution: Execution, step: StepState) -> None:
        """Another attempt of a step that is due: after a backoff, an interruption or a retry."""
        call = execution.calls.get(step.key)
        if call is None:
            return
        if step.deaths_alone >= DEATHS_ALONE:
            raise WorkflowError(
                f"step {step.key} was in flight {step.interruptions} times when its process died, "
                f"{step.deaths_alone} times alone",
                f"Find out what it does to the process; then: vbl retry {record.state.run_id}",
                code="poisoned",
                step=step.key,
            )
        in_doubt = step.interrupted and step.effect == "write"
        at_work = self.host.still_at_work(self, step.key) if in_doubt else None
        hangs = at_work is not None and isinstance(at_work.outcome, Failed)
        if at_work is not None and not hangs:
            return
        if in_doubt and not call.step.idempotent and (hangs or call.step.verify is None):
            # while the body goes on, a probe could only say what is not so yet
            raise InDoubt(record.state.run_id, call, doubt.broken_off(step, hangs))
        now, alone = self.host.now(), step.interruptions >= QUARANTINE_AFTER
        if alone and not self.host.may_start_alone(self, step):
            return
        if in_doubt and call.step.verify is not None:
            self.to_start.append(doubt.ask(record, now, call, step, alone=alone))
            return
        key = step.idempotency_key
        self.to_start.append(record.started(now, call, step.attempt + 1, alone=alone, idempotency_key=key))

    # Blocking, dropping, loading again -----------------------------------------------------------------------------

    def _block(self, record: Record, reason: str, error: WorkflowError | ValueNotStorable) -> None:
        """Park the run with an explanation; nothing is lost. What the code did since the last input is forgotten."""
        state = record.state
        workflow = self.execution.workflow if self.execution is not None else REGISTRY.get(state.workflow)
        self._drop_code()
        version = workflow.version if workflow is not None else state.version
        if state.finished or (state.blocked is not None and version in state.blocked_by):
            return
        message = error.message
        if reason == "diverged" and workflow is not None:
            message += self._changes(workflow, state.version)
        unblock = error.hint or "Bring the old code back, or cancel the run"
        step = error.step if isinstance(error, WorkflowError) else None
        schema = error.json_schema if isinstance(error, InDoubt) else None
        blocked = RunBlocked(
            reason=reason, version=version, message=message, unblock=unblock, step=step, json_schema=schema
        )
        record.payload(self.host.now(), blocked)
        if reason == "unknown_outcome":
            self.host.asked(self, "RUN_BLOCKED", None)

    def _changes(self, workflow: Workflow[..., Any], version: str) -> str:
        """How the definition differs from the one that the run began with, as far as its text was kept."""
        row = self.host.journal.store.one("definition", (workflow.name, version))
        source, file, _line = workflow.source()
        if row is None or not row[0] or row[0] == source:
            return ""
        began = f"{workflow.name} as the run began"
        lines = difflib.unified_diff(row[0].splitlines(), source.splitlines(), began, f"{file} now", lineterm="", n=1)
        return "\n\n" + "\n".join(list(lines)[:_DIFF_LINES])

    def _drop_code(self) -> None:
        if self.execution is not None:
            self.execution.close()
            self.execution = None
        self._digesting = None
        self._loading = False
        self._tail = []
        self._foreign.clear()
        self.stale = False

    def take_notice(self) -> None:
        """Somebody else appended, and this run has proposed nothing: take the events in, as inputs that wait for their
        turn. A sync workflow's thread cannot be stopped: it does so when it has reached its next call. What changes
        more than the code can be told loads the run again."""
        if self.execution is not None and self.execution.loop.hold:
            self.stale = True
        elif self.execution is None or self.record is None or self._loading or not self._catch_up(self.record):
            self.reload()

    def _catch_up(self, record: Record) -> bool:
        self.stale = False
        plain = True
        for fact in self.host.journal.catch_up(record.history):
            if is_input(fact.type, fact.payload):
                self._foreign.append(fact)
            plain = plain and (is_input(fact.type, fact.payload) or fact.type in _TAKEN_IN)
        return plain

    def reload(self) -> None:
        """Somebody else appended: forget what was not stored, and load again; attempts in flight go on."""
        self._drop_code()
        self.record = self.history = None
        self.to_start.clear()
        self.to_cancel.clear()
        self.newborn.clear()
        self.bound.clear()
        self._landing.unanswered.clear()
        self.inbox.extendleft(reversed([landed for landed in self.consumed if landed.launched]))
        self.consumed.clear()

    def close(self) -> None:
        """Drop the run from memory."""
        self._drop_code()
        self.record = self.history = None
