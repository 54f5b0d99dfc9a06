"""The one path for motion: an execution of a workflow's code, driven by inputs, asking for commands.

`Execution.activate(fact)` hands one input to the code and lets it run until it rests; what it asked for meanwhile is
in `asks`. Live and replay do exactly the same. During a replay the asks are held against the script of the history;
where they differ, `Divergence` says what the history has, what the code asks for now, and on which line.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from vbl import ids
from vbl.engine.calls import Awaited, StepCall, StepFuture, Waiting, call_site
from vbl.engine.context import CURRENT
from vbl.engine.definitions import Step, Workflow
from vbl.engine.following import hold, too_little, too_much
from vbl.engine.loop import Timer, WorkflowLoop
from vbl.engine.mapping import mapped
from vbl.engine.sync import Thread
from vbl.engine.variables import Variables
from vbl.errors import Divergence, NotInWorkflow, Parked, StepFailed, UsageError, ValueNotStorable
from vbl.history.facts import Fact
from vbl.history.script import Command, Script, subject_of
from vbl.store.journal import History
from vbl.store.payloads import Blob, Json, Recorder

if TYPE_CHECKING:
    from vbl.engine.children import Order
    from vbl.engine.gates import BoundCall
    from vbl.engine.saga import Saga

MISSING: Any = object()
"""No value at hand: it is decoded from the history."""


@dataclass(slots=True)
class Ask:
    """Something that the code asks for: the type of the command, its subject, and where in the code. Of a step the
    call is at hand, of a timer the timer, of anything else the payload, its text where that is not simply its JSON, and
    the long texts that it refers to."""

    type: str
    subject: str | int | None
    call: StepCall | None = None
    timer: Timer | None = None
    where: str = ""
    withdrawn: bool = False
    payload: dict[str, Any] | None = None
    text: str | None = None
    blobs: Iterable[Blob] = ()


class Execution:
    """A run's code in memory. Made for each load; dropped by `close`."""

    def __init__(
        self, history: History, workflow: Workflow[..., Any], script: Script, notify: Callable[[], None]
    ) -> None:
        self._notify = notify
        self.history = history
        self.workflow = workflow
        self.script = script
        self.matched = 0
        self.replaying = bool(script.commands or script.inputs)
        self.asks: list[Ask] = []
        self.calls: dict[str, StepCall] = {}
        self.timers: dict[int, Timer] = {}
        self.open: dict[tuple[str, str | int], Awaited] = {}
        self.signals: dict[str, deque[Any]] = {}
        self.orders: dict[str, Order] = {}
        self.undone: list[dict[str, Any]] = []
        self.sagas: list[Saga] = []
        self.cancel_asked = False
        self.context = contextvars.copy_context()
        self.context.run(CURRENT.set, self)
        self.loop = WorkflowLoop(self._timer_set, self._timer_cancelled, self.context)
        self.variables = Variables(history.recorder)
        self.main: asyncio.Task[Any] | None = None
        self.thread: Thread | None = None
        self.outcome: Ask | None = None
        self._keys: dict[str, int] = {}
        self._timer_count = 0
        self._wait_count = 0
        self._gates: dict[str, int] = {}
        self._digested = False
        self._ending = False
        self._given_up: set[str | int] = set()
        self._patches: set[str] = set()

    @functools.cached_property
    def random(self) -> random.Random:
        """The generator behind vbl.random and vbl.uuid4: seeded by the run."""
        return random.Random(self.history.state.run_id)

    # Inputs --------------------------------------------------------------------------------------------------------

    def activate(self, fact: Fact, value: Any = MISSING) -> None:
        """Hand one input to the code and let it rest. `value` is a completed step's result where it is at hand.

        For a sync workflow the code may still be running in its thread afterwards: see `resting`.
        Raises Divergence where nothing waits for the input, WorkflowError for a spin.
        """
        self.loop.now = max(self.loop.now, fact.at)
        self.loop.muted = self.replaying
        self._digested = self.script.whole and fact.seq <= self.script.applied
        self._deliver(fact, value)
        self.settle()

    def _deliver(self, fact: Fact, value: Any) -> None:
        payload = fact.payload
        match fact.type:
            case "STEP_COMPLETED" | "STEP_FAILED" if payload["step"] in self._given_up:
                # it ended while the code was not at hand, and an input before it made the code give the step up
                pass
            case "STEP_COMPLETED":
                call = self._waiting(fact)
                if value is MISSING:
                    codec, plain = call.step.signature.result, payload.get("output")
                    value = codec.recall(plain, f"the recorded result of {call.key}")
                call.ended().set_result(value)
            case "STEP_FAILED":
                self._fail(self._waiting(fact), payload["error"], payload["attempt"])
            case "STEP_RESOLVED" if payload["step"] in self._given_up:
                pass
            case "STEP_RESOLVED":
                call = self._waiting(fact)
                if payload["outcome"] == "happened":
                    codec = call.step.signature.result
                    call.ended().set_result(codec.recall(payload.get("output"), f"what was said of {call.key}"))
                else:
                    self._fail(call, payload["error"], self.history.state.steps[call.key].attempt)
            case "TIMER_FIRED":
                timer = self.timers.pop(payload["timer"], None)
                if timer is None:
                    raise self._unmet(fact)
                self.loop.call_soon(timer.callback, *timer.args, context=timer.context)
            case "CANCEL_REQUESTED":
                assert self.main is not None
                self.cancel_asked = True
                self.main.cancel(payload.get("reason"))
            case "SIGNAL_RECEIVED":
                self._signalled(fact)
            case "WAIT_EXPIRED":
                awaited = self._came("wait", payload["wait"], fact)
                if awaited is not None:
                    awaited.set_exception(TimeoutError(f"no signal {awaited.topic!r} came in time"))
            case "APPROVAL_GRANTED" | "APPROVAL_DENIED" | "APPROVAL_EXPIRED":
                self._hand_over("gate", payload["gate"], fact)
            case "CHILD_FINISHED":
                self._hand_over("child", payload["call"], fact)
            case "RUN_STARTED":
                self._start()
            case _:
                raise self._unmet(fact)

    def _fail(self, call: StepCall, error: dict[str, Any], attempts: int) -> None:
        call.ended().set_exception(StepFailed(call.key, error["kind"], attempts, error["type"], error["message"]))

    def _signalled(self, fact: Fact) -> None:
        """The oldest wait for that name gets it; without one it is kept until there is."""
        name = fact.payload["name"]
        for (kind, _), awaited in self.open.items():
            if kind == "wait" and awaited.topic == name:
                self._hand_over(kind, awaited.subject, fact)
                return
        self.signals.setdefault(name, deque()).append(fact)

    def _hand_over(self, kind: str, subject: str | int, fact: Fact) -> None:
        awaited = self._came(kind, subject, fact)
        if awaited is not None:
            awaited.set_result(fact)

    def _came(self, kind: str, subject: str | int, fact: Fact) -> Awaited | None:
        """What waits for an input; None where an input before it made the code give that up. Raises Divergence."""
        awaited = self.open.pop((kind, subject), None)
        if awaited is None:
            if subject in self._given_up:
                return None
            raise self._unmet(fact)
        awaited.execution = None
        return awaited

    def _waiting(self, fact: Fact) -> StepCall:
        call = self.calls.pop(fact.payload["step"], None)
        if call is None or call.future is None or call.future.done():
            raise self._unmet(fact)
        return call

    def _unmet(self, fact: Fact) -> Divergence:
        subject = subject_of(fact.type, fact.payload)
        return Divergence(
            f"the history goes on with {fact.type} {subject} (event {fact.seq}), but the code does not wait for it"
        )

    def _start(self) -> None:
        signature = self.workflow.signature
        given: dict[str, Json] = self.history.state.input or {}
        codecs = signature.codecs
        known = [name for name in given if name in codecs]
        bound = {name: codecs[name].recall(given[name], f"its input {name}") for name in known}
        unknown = [name for name in given if name not in codecs]
        if unknown:
            raise Divergence(
                f"the run was started with {', '.join(unknown)}, which the workflow no longer takes: {signature}"
            )
        args, kwargs = signature.spread(bound)
        try:
            signature.bind(args, kwargs)
        except TypeError as error:
            raise Divergence(f"the run's input does not fit its workflow: {error}; it takes {signature}") from None
        if self.workflow.is_async:
            coro = self.workflow.function(*args, **kwargs)
        else:
            self.thread = Thread(self.workflow, self.context, args, kwargs, self._notify)
            coro = self.thread.drive(self.loop)
        self.main = self.loop.create_task(coro, context=self.context)

    def settle(self) -> None:
        """Let the code run until it rests, then finish if the workflow function has returned."""
        self.loop.settle()
        if self.main is not None and self.main.done() and self.outcome is None and not self.loop.hold:
            self._finish()

    def resume(self) -> None:
        """Go on where a sync workflow's thread has reached its next call."""
        if self.thread is not None and self.thread.resume(self.loop):
            self.settle()

    @property
    def resting(self) -> bool:
        """Whether the activation is over: false while a sync workflow's thread computes."""
        return not self.loop.hold

    def _finish(self) -> None:
        """The function has ended: cancel what it left behind, then say how it ended. What a task does in a shield of
        its own, an undo for one, is carried out first."""
        main = cast("asyncio.Task[Any]", self.main)
        if not self._ending:
            self._ending = True
            for task in self.loop.open_tasks():
                task.cancel()
            self.loop.settle()
        if any(task.shields for task in self.loop.open_tasks()):
            return
        for timer in list(self.timers.values()):
            timer.cancel()
        for call in list(self.calls.values()):
            self.give_up(call)
        for awaited in list(self.open.values()):
            if awaited.kind != "child":  # those have a policy of their own
                awaited.cancel()
        if main.cancelled():
            kind = "RUN_CANCELLED"
        else:
            kind = "RUN_FAILED" if main.exception() is not None else "RUN_COMPLETED"
        self.outcome = Ask(kind, None)
        self.asks.append(self.outcome)

    @property
    def stuck(self) -> bool:
        """Whether nothing can ever move the code: it rests, and waits for no step, no timer and nobody."""
        waits = self.calls or self.timers or self.open
        return self.main is not None and self.outcome is None and not waits and self.resting

    # What the code asks for ----------------------------------------------------------------------------------------

    def reserve(self, name: str) -> str:
        """The next key for a call of that name: `name`, `name#2`, …"""
        count = self._keys[name] = self._keys.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"

    def _by_hand(self, key: str) -> str:
        """A key that the code has given. Raises UsageError where it is in use."""
        if key in self._keys:
            raise UsageError(
                f"two calls have the key {key!r}", "Keys given by options(key=…) must be unique within a run"
            )
        self._keys[key] = 1
        return key

    def child(self, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A workflow called inside this one: a run of its own, whose output comes back."""
        from vbl.engine.children import called

        return self.waiting(called(self, workflow, args, kwargs))

    def call(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepCall:
        """A durable call from async workflow code."""
        if not self.workflow.is_async:
            raise UsageError(
                f"step {step.name} is called as for an async workflow, and {self.workflow.name} is a sync one",
                f"Make step {step.name} a plain def and call {step.name}(…), or make the workflow async",
            )
        return self._call(step, args, kwargs)

    def _call(
        self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], key: str | None = None
    ) -> StepCall:
        if self.loop.closed:
            raise Parked
        if key is None:
            key = self.reserve(step.name) if step.key is None else self._by_hand(step.key)
        return StepCall(self, step, key, args, kwargs)

    def later(
        self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], key: str | None = None
    ) -> StepCall:
        """A durable call that may be made later: its key, where none is given, and its arguments are taken now."""
        return self._call(step, args, kwargs, key)

    def call_blocking(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A durable call from a sync workflow: its thread waits for the result."""
        if self.workflow.is_async:
            raise UsageError(
                f"step {step.name} is sync, and {self.workflow.name} is an async workflow",
                f"Write: await {step.name}.aio(…)",
            )
        return self._blocking(self._call(step, args, kwargs))

    def _blocking(self, call: Awaitable[Any]) -> Any:
        if self.thread is None:
            raise NotInWorkflow(
                "a durable call came from outside the workflow's own thread", "Call it in the workflow function"
            )
        return self.thread.hand_over(call)

    def ask_step(self, call: StepCall) -> StepFuture:
        """Ask for the start of a step; what comes back is resolved when it has ended."""
        if self.loop.closed:
            raise Parked
        future = StepFuture(call)
        self.calls[call.key] = call
        self.asks.append(Ask("STEP_STARTED", call.key, call=call, where=call.where))
        return future

    def give_up(self, call: StepCall) -> None:
        """The code no longer waits for a step."""
        if self.loop.closed or self.calls.get(call.key) is not call:
            return
        del self.calls[call.key]
        for ask in self.asks:
            if ask.call is call:
                ask.withdrawn = True
                return
        self._given_up.add(call.key)
        self.asks.append(Ask("STEP_CANCELLED", call.key))

    def _timer_set(self, timer: Timer) -> None:
        if self.loop.closed:
            raise Parked
        self._timer_count += 1
        timer.number = self._timer_count
        self.timers[timer.number] = timer
        where = call_site() if self.replaying else ""
        self.asks.append(Ask("TIMER_SET", timer.number, timer=timer, where=where))

    def _timer_cancelled(self, timer: Timer) -> None:
        if self.timers.pop(timer.number, None) is None:
            return
        for ask in self.asks:
            if ask.timer is timer:
                ask.withdrawn = True
                return
        self.asks.append(Ask("TIMER_CANCELLED", timer.number))

    def ask(
        self,
        type: str,
        subject: str | int,
        payload: dict[str, Any],
        text: str | None = None,
        blobs: Iterable[Blob] = (),
    ) -> None:
        """Ask for a command that is recorded as it stands. Raises Parked where the run is being dropped."""
        if self.loop.closed:
            raise Parked
        where = call_site() if self.replaying else ""
        self.asks.append(Ask(type, subject, where=where, payload=payload, text=text, blobs=blobs))

    def awaits(self, kind: str, subject: str | int, topic: str = "") -> Awaited:
        """What is resolved with the fact that the code waits for: of a gate, a wait or a child."""
        awaited = self.open[kind, subject] = Awaited(self, kind, subject, topic)
        return awaited

    def leave(self, awaited: Awaited) -> None:
        """The code no longer waits for a gate, a signal or a child."""
        key = (awaited.kind, awaited.subject)
        if self.loop.closed or self.open.get(key) is not awaited:
            return
        del self.open[key]
        asked, left, fields = _LEAVING[awaited.kind]
        for ask in self.asks:
            if ask.type == asked and ask.subject == awaited.subject:
                ask.withdrawn = True
                return
        self._given_up.add(awaited.subject)
        payload: dict[str, Any] = {"v": 1, fields: awaited.subject}
        if awaited.kind == "child":
            started = self.history.state.children.get(str(awaited.subject))
            # a retry may have started another in its place
            payload["child"] = started.id if started is not None else awaited.topic
        self.ask(left, awaited.subject, payload)

    def waiting(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """A durable call that is no step: to be awaited in an async workflow; in a sync one its thread waits."""
        call = Waiting(self, coro)
        return call if self.workflow.is_async else self._blocking(call)

    def gated(self, call: BoundCall[Any], gate: str) -> StepCall:
        """The durable call of a step that a gate has approved."""
        codecs = call.step.signature.codecs
        args, kwargs = call.step.signature.spread({n: codecs[n].load(plain) for n, plain in call.input.items()})
        made = self._call(call.step, args, kwargs)
        made.gate = gate
        return made

    def gate_key(self, name: str, *, reserve: bool = True) -> tuple[str, str]:
        """The key of the next gate of that name (`name`, `name#2`, …), a namespace of its own, and the gate's id."""
        count = self._gates.get(name, 0) + 1
        if reserve:
            self._gates[name] = count
        key = name if count == 1 else f"{name}#{count}"
        void = len(self.script.void.get(f"gate {key}", []))
        return key, ids.gate_id(self.history.state.run_id, f"{key}~{void}" if void else key)

    def number_wait(self) -> int:
        """The number of the next wait for a signal."""
        self._wait_count += 1
        return self._wait_count

    def upcoming(self) -> Command | None:
        """During a replay: the command that the history has where the code is now."""
        position = self.matched + sum(not ask.withdrawn for ask in self.asks)
        commands = self.script.commands
        return commands[position] if position < len(commands) else None

    def patched(self, patch: str) -> bool:
        """See vbl.patched."""
        if patch in self._patches:
            return True
        command = self.upcoming()
        if command is not None:
            taken = command.type == "VERSION_MARKED" and command.subject == patch
        else:
            taken = not self._digested
        if taken:
            self._patches.add(patch)
            self.asks.append(Ask("VERSION_MARKED", patch))
        return taken

    def sleep(self, seconds: float) -> Awaitable[None]:
        """See vbl.sleep."""
        if not (isinstance(cast("object", seconds), (int, float)) and 0 <= seconds < 1e12):
            raise UsageError(
                f"vbl.sleep({seconds!r}): not a number of seconds, zero or more", "For example vbl.sleep(60)"
            )
        waiting = asyncio.sleep(seconds)
        return waiting if self.workflow.is_async else self._blocking(waiting)

    def map(self, step: Step[..., Any], items: Iterable[Any], limit: int | None, tolerate: int) -> Any:
        """See vbl.map."""
        running = mapped(self, step, items, limit, tolerate)
        return running if self.workflow.is_async else self._blocking(running)

    # Replay --------------------------------------------------------------------------------------------------------

    def take_asks(self) -> list[Ask]:
        """What the code asked for since the last time, less what it withdrew, and less what the script has.

        Raises Divergence where the two differ.
        """
        if not self.asks:
            return []
        asks = [ask for ask in self.asks if not ask.withdrawn]
        self.asks = []
        commands = self.script.commands
        while asks and self.matched < len(commands):
            self._hold(commands[self.matched], asks.pop(0))
            self.matched += 1
        return asks

    def _hold(self, command: Command, ask: Ask) -> None:
        if command.type == "RUN_FAILED" and ask.type == "RUN_COMPLETED" and not self._recordable():
            return
        hold(command, ask)

    def _recordable(self) -> bool:
        """Whether what the function returned can be kept; where it cannot, the run has failed of it."""
        assert self.main is not None
        try:
            self.workflow.signature.result.record(self.main.result(), Recorder())
        except ValueNotStorable:
            return False
        return True

    def check_whole(self, extra: list[Ask]) -> None:
        """At the end of a replay: nothing may be left over on either side. Raises Divergence."""
        if self.matched < len(self.script.commands):
            raise too_little(self.script.commands[self.matched])
        if self.script.whole and extra:
            raise too_much(extra[0])
        self.replaying = False

    def close(self) -> None:
        """Drop the run from memory."""
        if self.thread is not None:
            self.thread.abandon()
        self.loop.close()
        self.calls.clear()
        self.timers.clear()
        self.open.clear()
        self.asks.clear()
        # what refers in a circle would have to wait for the garbage collection
        self.context.run(CURRENT.set, None)
        self.main = self.outcome = None


_LEAVING = {
    "gate": ("APPROVAL_REQUESTED", "APPROVAL_CLOSED", "gate"),
    "wait": ("SIGNAL_AWAITED", "WAIT_CANCELLED", "wait"),
    "child": ("CHILD_STARTED", "CHILD_CANCELLED", "call"),
}
"""Of what is waited for: the command that asked for it, the one that gives it up, and the field that names it."""
