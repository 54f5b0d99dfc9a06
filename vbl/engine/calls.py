"""A durable call of a step, as workflow code holds it: something to await, and the future behind it."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

from vbl.engine.definitions import Signature, Step
from vbl.engine.loop import RunFuture
from vbl.errors import WorkflowError
from vbl.store.codec import Recorded
from vbl.store.payloads import LARGE_BYTES, Json, dumps, same

if TYPE_CHECKING:
    from vbl.engine.advance import Execution


class StepFuture(RunFuture):
    """What a step call waits for. Cancelling it gives the step up."""

    __slots__ = ("call",)

    def __init__(self, call: StepCall) -> None:
        loop = call.execution.loop
        asyncio.Future.__init__(self, loop=loop)  # pyright: ignore[reportUnknownMemberType]
        self.number = loop.count()
        self.call: StepCall | None = call

    def cancel(self, msg: Any | None = None) -> bool:
        """As asyncio's; the history hears of it."""
        if not super().cancel(msg):
            return False
        if self.call is not None:
            self.call.execution.give_up(self.call)
        return True


class StepCall(Coroutine[Any, Any, Any]):
    """A durable call of a step: its key and input are taken at the call, its start is asked for when it is awaited."""

    __slots__ = (
        "_iterator",
        "args",
        "awaited",
        "execution",
        "future",
        "gate",
        "input_plain",
        "input_text",
        "key",
        "key_text",
        "large",
        "number",
        "step",
        "where",
    )

    def __init__(
        self, execution: Execution, step: Step[..., Any], key: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.awaited = True  # a call that cannot be recorded is not one that was forgotten
        self.execution = execution
        self.step = step
        self.key = key
        self.key_text = dumps(key)
        self.number = execution.loop.count()
        self.where = call_site() if execution.replaying else ""
        self.future: StepFuture | None = None
        self.gate: str | None = None
        self._iterator: Generator[Any, Any, Any] | None = None
        self.large: list[tuple[str, Recorded]] = []
        self._record(step.signature, args, kwargs)
        self.awaited = False

    def _record(self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take the recorded form of the arguments: as text, as plain data, and decoded again for the body."""
        recorder = self.execution.history.recorder
        codecs = signature.codecs
        texts: list[str] = []
        self.args: dict[str, Any] = {}
        self.input_plain: dict[str, Json] = {}
        for name, value in signature.bind(args, kwargs).items():
            codec = codecs[name]
            if type(value) in codec.atoms and (atom := codec.atom(value)) is not None:
                texts.append(f'"{name}":{atom}')
                self.input_plain[name] = self.args[name] = value
                continue
            recorded = codec.record(value, recorder)
            texts.append(f'"{name}":{recorded.text}')
            self.input_plain[name] = recorded.plain
            self.args[name] = recorded.value
            if recorded.blob is not None or recorded.shape is not None or len(recorded.text) >= LARGE_BYTES:
                self.large.append((name, recorded))
        self.input_text = "{" + ",".join(texts) + "}"

    def has_input(self, recorded: dict[str, Json]) -> bool:
        """Whether the recorded arguments are those of this call."""
        now = self.input_plain
        if same(recorded, now):
            return True
        codecs = self.step.signature.codecs
        return recorded.keys() == now.keys() and all(
            same(plain, now[name]) or codecs[name].stands_for(plain, self.args[name])
            for name, plain in recorded.items()
        )

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def __await__(self) -> Generator[Any, Any, Any]:
        if self.awaited:
            raise WorkflowError(
                f"step {self.key} was awaited twice",
                "Keep its result in a variable, or wrap the call in asyncio.ensure_future",
                code="awaited_twice",
            )
        self.awaited = True
        self.future = self.execution.ask_step(self)
        return self.future.__await__()

    def __del__(self) -> None:
        if not self.awaited and not self.execution.loop.closed and not self.execution.replaying:
            warnings.warn(f"step {self.key} was called and never awaited: it did not run", RuntimeWarning, stacklevel=2)

    def ended(self) -> StepFuture:
        """The future to resolve, once. Call and future let go of each other and of the arguments, which may be long."""
        future = self.future
        assert future is not None
        self.future = future.call = None
        self.args, self.input_plain, self.input_text, self.large = {}, {}, "", []
        return future

    def send(self, value: Any) -> Any:
        """Start, then go on when the step has ended."""
        if self._iterator is None:
            self._iterator = self.__await__()
        return self._iterator.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise in the place of the result."""
        if self._iterator is None:
            self._iterator = self.__await__()
        return self._iterator.throw(*error)

    def close(self) -> None:
        """Drop the call."""
        self.awaited = True
        if self._iterator is not None:
            self._iterator.close()


class Awaited(RunFuture):
    """What code waits for that comes from outside: a decision, a signal, the end of a child. Cancelling it gives it
    up, and the history hears of it. `kind` is gate, wait or child, `subject` the id, the number, the key."""

    __slots__ = ("execution", "kind", "subject", "topic")

    def __init__(self, execution: Execution, kind: str, subject: str | int, topic: str = "") -> None:
        asyncio.Future.__init__(self, loop=execution.loop)  # pyright: ignore[reportUnknownMemberType]
        self.number = execution.loop.count()
        self.execution: Execution | None = execution
        self.kind = kind
        self.subject = subject
        self.topic = topic

    def cancel(self, msg: Any | None = None) -> bool:
        """As asyncio's; the history hears of it."""
        if not super().cancel(msg):
            return False
        if self.execution is not None:
            self.execution.leave(self)
        return True


class Waiting(Coroutine[Any, Any, Any]):
    """A durable call that is no step, as workflow code holds it: its coroutine, hashed by a number of the run."""

    __slots__ = ("coro", "number")

    def __init__(self, execution: Execution, coro: Coroutine[Any, Any, Any]) -> None:
        self.number = execution.loop.count()
        self.coro = coro

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.coro.__await__()

    def send(self, value: Any) -> Any:
        """As the coroutine's."""
        return self.coro.send(value)

    def throw(self, *error: Any) -> Any:
        """As the coroutine's."""
        return self.coro.throw(*error)

    def close(self) -> None:
        """As the coroutine's."""
        self.coro.close()


def call_site() -> str:
    """The innermost frame that is not ours or asyncio's: file and line, as a traceback shows them."""
    frame = inspect.currentframe()
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(("vbl.engine", "asyncio", "contextvars")):
            return f'File "{frame.f_code.co_filename}", line {frame.f_lineno}, in {frame.f_code.co_name}'
        frame = frame.f_back
    return ""
