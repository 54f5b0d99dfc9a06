"""What users declare: steps and workflows, with their policies, versions and source.

A step called in workflow code becomes a durable call; anywhere else it is the plain function. The registry holds the
workflows that this process knows; registering a name again replaces it, which in a notebook is the normal case.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from vbl import config
from vbl.clock import seconds
from vbl.engine.context import CURRENT, Attempt
from vbl.engine.probe import checked_probe
from vbl.engine.version import version_of
from vbl.errors import UsageError
from vbl.history import queues
from vbl.history.retry import ONCE, Retry
from vbl.history.why import CELL
from vbl.notebook import follow_reloads
from vbl.store.payloads import Recorder, has_surrogate
from vbl.store.signature import Signature

if TYPE_CHECKING:
    from vbl.engine.gates import BoundCall

_VAR_POSITIONAL, _VAR_KEYWORD = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
P = ParamSpec("P")
R = TypeVar("R")
Effect = Literal["pure", "read", "write"]

# Steps ------------------------------------------------------------------------------------------------------------


class Step(Generic[P, R]):
    """A named piece of work; the unit of retry. Made by `@vbl.step`.

    Attributes: `name`, `function`, `retry` (Retry), `timeout` (seconds an attempt, or None), `effect`, `idempotent`,
    `verify` (the probe, or None), `isolation`.
    """

    is_async = False
    transactional = False

    def __init__(
        self,
        function: Callable[P, Any],
        *,
        name: str | None = None,
        retry: Retry | bool | None = None,
        timeout: float | None = None,
        effect: Effect | None = None,
        idempotent: bool = False,
        verify: Callable[..., Any] | None = None,
        isolation: Literal["process"] | None = None,
    ) -> None:
        self.function = function
        self.name = _checked_name(function.__name__ if name is None else name)
        self.retry = _policy(retry)
        self.timeout = None if timeout is None else seconds(timeout, f"step {self.name}, timeout", above_zero=True)
        if effect not in (None, "pure", "read", "write"):
            raise UsageError(f"step {self.name}: effect={effect!r}", 'It is "pure", "read" or "write"')
        if isolation not in (None, "process"):
            raise UsageError(f"step {self.name}: isolation={isolation!r}", 'It is "process", or left out')
        self.effect: Effect | None = effect
        self.idempotent = idempotent
        self.verify = checked_probe(self.name, verify, effect)
        self.isolation = isolation
        self.key: str | None = None
        self._version: tuple[types.CodeType, str] | None = None
        functools.update_wrapper(self, function)

    @functools.cached_property
    def signature(self) -> Signature:
        """Parameters and result, with codecs; made at the first durable call."""
        return Signature(self.function, f"step {self.name}")

    def options(
        self, *, key: str | None = None, retry: Retry | bool | None = None, timeout: float | None = None
    ) -> typing.Self:
        """The same step with another key, policy or time-out for the calls made through it.

        `key` names the call by hand; it must be unique within the run.
        """
        other = copy.copy(self)
        if key is not None:
            other.key = _checked_name(key, "key")
        if retry is not None:
            other.retry = _policy(retry)
        if timeout is not None:
            other.timeout = seconds(timeout, f"step {self.name}, timeout", above_zero=True)
        return other

    @property
    def version(self) -> str:
        """The digest of the body's code and of the sources it can reach in its own package; 16 hex digits."""
        code = inspect.unwrap(self.function).__code__
        if self._version is None or self._version[0] is not code:
            self._version = (code, version_of(self.function, code))
        return self._version[1]

    def call(self, *args: P.args, **kwargs: P.kwargs) -> BoundCall[R]:
        """The step bound to these arguments and the defaults of the others, not yet run: what `vbl.approve` asks about.
        Raises TypeError where they do not fit the signature, ValueNotStorable where they cannot be recorded."""
        from vbl.engine.gates import BoundCall

        return BoundCall(self, args, kwargs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """A durable call in a sync workflow; elsewhere the function. Raises UsageError in an async workflow."""
        scope = CURRENT.get()
        if scope is None or isinstance(scope, Attempt):
            return self.function(*args, **kwargs)
        return scope.call_blocking(self, args, kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Call a sync step from async code: durable in an async workflow, else the function in a thread."""
        scope = CURRENT.get()
        if scope is None or isinstance(scope, Attempt):
            return asyncio.to_thread(self.function, *args, **kwargs)
        return scope.call(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<step {self.name}>"


class AsyncStep(Step[P, R]):
    """A step whose body is an `async def`; awaited in an async workflow."""

    is_async = True

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """A durable call in an async workflow, to be awaited; elsewhere the function's own coroutine."""
        scope = CURRENT.get()
        if scope is None or isinstance(scope, Attempt):
            return self.function(*args, **kwargs)
        return scope.call(self, args, kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Refused: an async step is awaited as it is. Raises UsageError."""
        raise UsageError(f"step {self.name} is async: it has no .aio", f"Write: await {self.name}(…)")


def _checked_name(name: object, what: str = "name") -> str:
    text = name if isinstance(name, str) else ""
    if not text or len(text) > 200 or any(c in text for c in "#[]\n\0") or has_surrogate(text):
        raise UsageError(
            f"{what} {name!r} cannot be used", "Use letters, digits, spaces and - _ . : / in it, at most 200 characters"
        )
    return text


def _policy(retry: Retry | bool | None) -> Retry:
    if retry is None or retry is False:
        return ONCE
    if retry is True:
        return Retry()
    if isinstance(retry, Retry):  # pyright: ignore[reportUnnecessaryIsInstance]
        return retry
    raise UsageError(f"retry={retry!r} is not a policy", "Write retry=True or retry=vbl.Retry(max_attempts=5)")


@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncStep[P, R]: ...
@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry | bool | None = None,
    timeout: float | None = None,
    effect: Effect | None = None,
    idempotent: bool = False,
    verify: Callable[..., Any] | None = None,
    isolation: Literal["process"] | None = None,
) -> _StepDecorator: ...


def step(function: Any = None, /, **options: Any) -> Any:
    """Mark a function as a step. Options: `name`, `retry` (a vbl.Retry, or True for the default policy), `timeout`
    (seconds an attempt), `effect` ("pure", "read", "write"), `idempotent`, `verify` (a probe: where a write has no end
    on record it is called with the step's arguments, and returns vbl.Happened(result), vbl.DidNotHappen() or
    vbl.Unknown()), `isolation` ("process": the body runs in a child process that is killed at its time-out).

    Raises UsageError for generators and for limits that make no sense.
    """
    return _make_step(function, **options) if function is not None else functools.partial(_make_step, **options)


class _StepDecorator(typing.Protocol):
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncStep[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...


def _make_step(function: Callable[..., Any], **options: Any) -> Step[..., Any]:
    if not callable(function):
        raise UsageError(
            f"@vbl.step was given {function!r}", "Put it above a function, options by name: @vbl.step(timeout=30)"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(
            f"step {function.__qualname__} is a generator", "A step returns one value: collect what it yields in a list"
        )
    if inspect.iscoroutinefunction(function):
        return cast("Step[..., Any]", AsyncStep(function, **options))
    return cast("Step[..., Any]", Step(function, **options))


# Workflows --------------------------------------------------------------------------------------------------------

REGISTRY: dict[str, Workflow[..., Any]] = {}
"""The workflows that this process knows, by name."""


class Workflow(Generic[P, R]):
    """A registered function, with a name and a version. Made by `@vbl.workflow`.

    Called outside a run it is the plain function, so that it can be tested as one.
    """

    def __init__(
        self,
        function: Callable[P, Any],
        *,
        name: str | None = None,
        queue: str | None = None,
        concurrency: int | None = None,
        key: str | None = None,
        key_concurrency: int | None = None,
        rate: str | None = None,
        key_rate: str | None = None,
    ) -> None:
        if not callable(function):
            raise UsageError(f"@vbl.workflow was given {function!r}", "Put it above a function: @vbl.workflow")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError(
                f"workflow {function.__qualname__} is a generator", "A workflow returns one value; use async def or def"
            )
        self.function = function
        self.name = _checked_name(function.__name__ if name is None else name)
        self.is_async = inspect.iscoroutinefunction(function)
        self._versions: dict[int, tuple[types.CodeType, str]] = {}
        self._source: tuple[str, str, int] | None = None
        functools.update_wrapper(self, function)
        if queue is None and (concurrency, key, key_concurrency, rate, key_rate) != (None,) * 5:
            queue = self.name
        self.options = queues.options(
            f"workflow {self.name}",
            queue=None if queue is None else _checked_name(queue, "queue"),
            concurrency=concurrency,
            key=key,
            key_concurrency=key_concurrency,
            rate=rate,
            key_rate=key_rate,
        )
        self._check_queue()
        REGISTRY[self.name] = self

    def _check_queue(self) -> None:
        """Raises UsageError where the key is no parameter, or another workflow of the queue states another limit."""
        key = self.options.get("key")
        parameters = inspect.signature(self.function).parameters
        if key is not None and (key not in parameters or parameters[key].kind in (_VAR_POSITIONAL, _VAR_KEYWORD)):
            has = ", ".join(parameters) or "none"
            raise UsageError(f"workflow {self.name}: key={key!r} is none of its parameters", f"It has: {has}")
        for other in list(REGISTRY.values()):
            if other.name == self.name or self.options.get("queue", self) != other.options.get("queue"):
                continue
            if (limit := queues.contradiction(self.options, other.options)) is not None:
                raise UsageError(
                    f"queue {self.options['queue']!r}: workflow {self.name} says {limit}={self.options[limit]!r}, "
                    f"workflow {other.name} says {limit}={other.options[limit]!r}",
                    f"Give {limit} in one of them, or the same in both",
                )

    def place(self, given: Any) -> tuple[str | None, str | None]:
        """The queue of a run with this recorded input, and its lane: the JSON text of its key."""
        queue, key = self.options.get("queue"), self.options.get("key")
        if queue is None or key is None:
            return queue, None
        if isinstance(given, dict) and key in given:
            return queue, queues.lane_of(given[key])
        default = inspect.signature(self.function).parameters[key].default
        if default is inspect.Parameter.empty:
            return queue, queues.lane_of(None)
        return queue, queues.lane_of(self.signature.codecs[key].record(default, Recorder()).plain)

    @functools.cached_property
    def signature(self) -> Signature:
        """Parameters and result, with codecs."""
        return Signature(self.function, f"workflow {self.name}")

    @property
    def version(self) -> str:
        """The digest of the code object and of the sources it can reach in its own package; 16 hex digits."""
        code = inspect.unwrap(self.function).__code__
        known = self._versions.get(id(code))
        if known is None or known[0] is not code:
            known = self._versions[id(code)] = (code, version_of(self.function, code))
        return known[1]

    def source(self) -> tuple[str, str, int]:
        """The text of the definition, its file (of one that was typed: the cell) and its first line; the text is empty
        where Python has none.

        Read once: a later edit of the file does not change what this process runs.
        """
        if self._source is None:
            code = inspect.unwrap(self.function).__code__
            try:
                text = inspect.getsource(self.function)
            except (OSError, TypeError):
                text = ""
            self._source = text, _place(self.function, code), code.co_firstlineno
        return self._source

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Inside a workflow of the same kind: a child run, whose output comes back. Elsewhere the plain function.

        Raises UsageError where one is sync and the other async.
        """
        scope = CURRENT.get()
        if scope is None or isinstance(scope, Attempt):
            return self.function(*args, **kwargs)
        if scope.workflow.is_async != self.is_async:
            other = f"await {self.name}.aio(…)" if scope.workflow.is_async else f"vbl.start({self.name}, …).result()"
            kinds = ("async", "sync") if self.is_async else ("sync", "async")
            raise UsageError(
                f"workflow {self.name} is {kinds[0]}, and {scope.workflow.name} is {kinds[1]}", f"Write: {other}"
            )
        return scope.child(self, args, kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[Any]:
        """A sync workflow as a child of an async one, to be awaited. Raises UsageError elsewhere."""
        scope = CURRENT.get()
        if scope is None or isinstance(scope, Attempt) or self.is_async or not scope.workflow.is_async:
            raise UsageError(
                f"{self.name}.aio(…) calls a sync workflow inside an async one", f"Write {self.name}(…), or vbl.start"
            )
        return scope.child(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<workflow {self.name} {self.version}>"


def _place(function: Callable[..., Any], code: types.CodeType) -> str:
    """The file of a definition; of one that was typed the cell, for the name that its code has is made up."""
    if function.__module__ != "__main__" or hasattr(sys.modules["__main__"], "__file__"):
        return code.co_filename
    name = Path(function.__globals__.get("__vsc_ipynb_file__", "")).name or config.notebook()
    return f"{CELL} of {name}" if name else CELL


@overload
def workflow(function: Callable[P, R], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    queue: str | None = None,
    concurrency: int | None = None,
    key: str | None = None,
    key_concurrency: int | None = None,
    rate: str | None = None,
    key_rate: str | None = None,
) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...


def workflow(function: Any = None, /, **options: Any) -> Any:
    """Register a function as a workflow, under its own name or `name`.

    Its runs wait for a place in `queue` (the workflow's own name where only limits are given): `concurrency` runs of it
    at once, begun at no more than `rate` ("60/min"; s, min, h, day). `key` names a parameter: `key_concurrency` runs at
    once (1 unless said) for each of its values, begun at no more than `key_rate`. Workflows may share a queue.

    Raises UsageError for limits that make no sense, or contradict those of another workflow of the queue.
    """
    made = cast("Any", functools.partial(Workflow, **options))
    return made if function is None else made(function)


if "IPython" in sys.modules:
    follow_reloads(Step, Workflow)
