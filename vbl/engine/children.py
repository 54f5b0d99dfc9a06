"""A workflow started inside a workflow: a run of its own, with its own history, linked both ways.

`await child(…)` owns the child: who gives up the wait cancels it. `vbl.start(child, …)` returns a handle, which may be
awaited or not; when the parent ends, `on_close` decides.
"""

from __future__ import annotations

import datetime
from collections.abc import Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vbl import ids
from vbl.clock import microseconds
from vbl.engine.context import execution
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.errors import RunCancelled, RunFailed, UsageError
from vbl.given import checked_priority, input_of, tag_list, workflow_name
from vbl.store.codec import Codec
from vbl.store.journal import Draft, birth
from vbl.store.payloads import Blob, Json, dumps, same

if TYPE_CHECKING:
    from vbl.engine.advance import Execution
    from vbl.engine.calls import Awaited
    from vbl.history.facts import Fact

OnClose = Literal["cancel", "leave"]


class Order(NamedTuple):
    """What a child is to be started with: the recorded input, and the options of its run. `workflow` is None where it
    is named and not loaded here."""

    name: str
    workflow: Workflow[..., Any] | None
    text: str
    plain: dict[str, Json]
    blobs: list[Blob]
    on_close: OnClose = "cancel"
    deadline_us: int | None = None
    priority: int | None = None
    tags: tuple[str, ...] = ()


class ChildRun:
    """A run that this one started; await it for its output. In a sync workflow: `result()`.

    `id` is the id of the run, `workflow` its name. Awaiting raises RunFailed and RunCancelled as the child ended.
    """

    def __init__(self, scope: Execution, call: str, order: Order) -> None:
        self.workflow = order.name
        self.call = call
        self._scope = scope
        self.id, payload, text = _asked(scope, call, order)
        scope.orders[call] = order
        scope.ask("CHILD_STARTED", call, payload, text, order.blobs)
        self._end: Awaited = scope.awaits("child", call, self.id)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._ended().__await__()

    async def over(self) -> None:
        """Wait for its end, however it ends."""
        if not self._end.done():
            waiter = self._scope.loop.create_future()
            self._end.add_done_callback(lambda _: waiter.done() or waiter.set_result(None))
            await waiter

    async def _ended(self) -> Any:
        await self.over()
        return self._output()

    async def owned(self) -> Any:
        """Await it; who gives that up cancels the child."""
        try:
            return await self._ended()
        finally:
            self.cancel()

    def result(self) -> Any:
        """In a sync workflow: wait for its output."""
        if self._scope.workflow.is_async:
            raise UsageError("result() blocks, and this workflow is async", "Write: await child")
        return self._scope.waiting(self._ended())

    def cancel(self) -> None:
        """Give it up: its cancel is asked for; does nothing once it has ended."""
        self._end.cancel()

    def _output(self) -> Any:
        if self._end.cancelled():
            raise RunCancelled(f"run {self.id} ({self.workflow}) was cancelled here", f"Look: vbl show {self.id}")
        fact: Fact = self._end.result()
        payload = fact.payload
        if payload["status"] == "completed":
            workflow = self._scope.orders[self.call].workflow
            codec = workflow.signature.result if workflow is not None else Codec(Any, self.call)
            return codec.recall(payload.get("output"), f"the recorded result of {self.call}")
        if payload["status"] == "cancelled":
            raise RunCancelled(f"run {self.id} ({self.workflow}) was cancelled", f"Look: vbl show {self.id}")
        error: dict[str, Any] = payload.get("error") or {}
        failed = RunFailed(
            f"run {self.id} ({self.workflow}) failed: {error.get('type')}: {error.get('message')}",
            f"Look: vbl show {self.id}",
            error=error,
        )
        failed.call = self.call
        raise failed

    def __repr__(self) -> str:
        return f"<child {self.id} {self.workflow}>"


def _asked(scope: Execution, call: str, order: Order) -> tuple[str, dict[str, Any], str]:
    """The id of the child and the payload of its CHILD_STARTED. One that a retry made void, but that is still at work
    or has completed, is used again where workflow and input are the same."""
    name = order.name
    void = scope.script.void.get(call, [])
    for one in void:
        if one.usable and one.payload["workflow"] == name and same(one.payload.get("input"), order.plain):
            id = one.id
            break
    else:
        id = ids.child_id(scope.loop.now, scope.history.state.run_id, f"{call}~{len(void)}" if void else call)
    about = {"v": 1, "call": call, "child": id, "workflow": name, "on_close": order.on_close}
    return id, {**about, "input": order.plain}, f'{dumps(about)[:-1]},"input":{order.text}}}'


def start(
    workflow: Workflow[..., Any] | str,
    /,
    *args: Any,
    on_close: OnClose = "cancel",
    deadline: float | datetime.timedelta | None = None,
    priority: int | None = None,
    tags: Iterable[str] | dict[str, str] = (),
    **kwargs: Any,
) -> ChildRun:
    """In workflow code: start another workflow as a child run, and go on. Outside: `runtime.start` or `client.start`.

    `workflow` is one, or the name of one: then the arguments are plain data, by name. `on_close` says what becomes of
    a child that is open when this run ends: "cancel" or "leave". `deadline` is in seconds from now; this run's own
    deadline holds for the child too. Raises UsageError for what is no workflow, InvalidInput for arguments that do not
    fit.
    """
    scope = execution("vbl.start")
    if on_close not in ("cancel", "leave"):
        raise UsageError(f"vbl.start(on_close={on_close!r})", 'It is "cancel" or "leave"')
    order = _ordered(workflow, args, kwargs)._replace(
        on_close=on_close,
        deadline_us=None if deadline is None else microseconds(deadline, "vbl.start, deadline"),
        priority=None if priority is None else checked_priority(priority),
        tags=tuple(tag_list(tags)),
    )
    return ChildRun(scope, scope.reserve(order.name), order)


def _ordered(workflow: Workflow[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Order:
    """Take the recorded form of a child's arguments; where it is named, they are plain data by name."""
    name = workflow_name(workflow)
    known = REGISTRY.get(name) if isinstance(workflow, str) else workflow
    if isinstance(workflow, str) and known is not None and not args:
        workflow, kwargs = known, known.signature.accept(kwargs)
    text, plain, blobs = input_of(workflow, args, kwargs)
    return Order(name, known, text, plain, blobs)


def called(
    scope: Execution, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Coroutine[Any, Any, Any]:
    """`child(…)` in workflow code: key and input are taken at the call, it is started when it is awaited."""
    order, key = _ordered(workflow, args, kwargs), scope.reserve(workflow.name)

    async def run() -> Any:
        return await ChildRun(scope, key, order).owned()

    return run()


def created(scope: Execution, payload: dict[str, Any], now: int, order: Order) -> Draft:
    """The RUN_CREATED of a child, for its CHILD_STARTED. It inherits deadline, priority and actor."""
    parent = scope.history.state
    own = None if order.deadline_us is None else now + order.deadline_us
    # the clean-up of a cancelled run has a time of its own, and what it starts ends with it
    inherited = parent.deadline if parent.cancel is None else None
    return birth(
        now,
        payload["child"],
        order.name,
        order.workflow.version if order.workflow is not None else "",
        order.text,
        order.plain,
        parent=parent.run_id,
        call=payload["call"],
        on_parent_close=order.on_close,
        deadline=min((at for at in (own, inherited) if at is not None), default=None),
        tags=list(order.tags),
        priority=parent.priority if order.priority is None else order.priority,
        actor=parent.actor,
    )
