"""Steps with isolation="process": the body runs in a child process, which is killed at its time-out.

Parent and child exchange JSON: the recorded form of the arguments and of the result, and before that what the body uses
of models, at once, so that it is known however the child ends. The child finds the step by module and name, so such a
step must be defined at the top level of a module.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from vbl.engine.context import CURRENT, Attempt
from vbl.engine.definitions import Step
from vbl.engine.outcomes import Failed, Outcome, Stopped, Succeeded, failure, timed_out
from vbl.errors import UsageError
from vbl.history.retry import Kind
from vbl.store.payloads import Json, Recorder, dumps, loads

_SPAWN = multiprocessing.get_context("spawn")
_START_S = 60.0
"""What a process with a time-out has to come up, and to import the step, before its time begins."""


async def run_isolated(step: Step[..., Any], attempt: Attempt, given: dict[str, Json]) -> Outcome:
    """Run the body in a new process. Its death is an ordinary failure of the attempt (kind transient), but that nobody
    knows what a write did whose body had begun."""
    home, began = _home(step), False
    here, there = _SPAWN.Pipe()
    child = _SPAWN.Process(
        target=_serve,
        args=(there, *home, dumps(given), attempt.run_id, attempt.key, attempt.number, attempt.idempotency_key),
        daemon=True,
    )
    starting = asyncio.ensure_future(asyncio.to_thread(_start, child))

    def begun() -> None:
        nonlocal began
        began = True
        limit.reschedule(_from_now(step.timeout))

    try:
        await asyncio.shield(starting)
        there.close()
        async with asyncio.timeout(None if step.timeout is None else _START_S) as limit:
            answer = await _answer(here, attempt, begun)
    except TimeoutError as error:
        if began:
            return timed_out(step)
        late = f"the step's process took longer than {_START_S:g} s to come to its body"
        # it may have come to it just now
        return Failed(Kind.TIMEOUT, "TimeoutError", late, None, error, unknown=step.effect == "write")
    except asyncio.CancelledError:
        return Stopped()
    finally:
        await _end(starting, child)
        there.close()
        here.close()
    if answer is None:
        died = f"the step's process ended with exit code {child.exitcode}"
        return Failed(Kind.TRANSIENT, "ProcessDied", died, None, unknown=began and step.effect == "write")
    fine, body = answer
    if fine:
        return Succeeded(step.signature.result.load(loads(body)))
    error = loads(body)
    return Failed(
        Kind(error["kind"]), error["type"], error["message"], error.get("traceback"), None, error.get("retry_after")
    )


async def _end(starting: asyncio.Future[None], child: SpawnProcess) -> None:
    """Kill the child and wait for its end; one that is just being made can only be killed once it is there."""
    await asyncio.wait([starting])
    if starting.exception() is None:
        child.kill()
        await asyncio.shield(asyncio.to_thread(child.join))


def _from_now(seconds: float | None) -> float | None:
    return None if seconds is None else asyncio.get_running_loop().time() + seconds


async def _answer(here: Connection, attempt: Attempt, begun: Callable[[], None]) -> tuple[bool, str] | None:
    """What the child sends; None when it dies first. `begun` is called when it comes to the body; what that uses is
    noted in the attempt."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Event = asyncio.Event()
    loop.add_reader(here.fileno(), ready.set)
    try:
        while True:
            await ready.wait()
            ready.clear()
            while here.poll():
                fine, body = loads(await asyncio.to_thread(here.recv_bytes))
                if fine is not None:
                    return fine, body
                begun() if body is None else attempt.used(body)
    except EOFError:
        return None
    finally:
        loop.remove_reader(here.fileno())


def _start(child: SpawnProcess) -> None:
    """Ctrl-C in a terminal reaches the whole process group; the child is ended by its supervisor alone. It inherits
    the mask of the thread that starts it."""
    if not hasattr(signal, "pthread_sigmask"):
        child.start()
        return
    resource_tracker.ensure_running()  # its own start unblocks the signal again, so it is to be there before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _home(step: Step[..., Any]) -> tuple[str, str | None, str]:
    function = step.function
    module = sys.modules.get(function.__module__)
    found: Any = module
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Step):
        raise UsageError(
            f'step {step.name} has isolation="process" but is not at the top level of a module',
            "Move it to the top level of a module, so that the child process can find it",
        )
    file = getattr(module, "__file__", None)
    if file is None and function.__module__ == "__main__":
        raise UsageError(
            f'step {step.name} has isolation="process" and was typed here, where its process cannot find it',
            f"Put it into a file, and import it: from steps import {step.name}",
        )
    return function.__module__, file, function.__qualname__


def _serve(
    there: Connection,
    module: str,
    file: str | None,
    name: str,
    given: str,
    run_id: str,
    key: str,
    number: int,
    idempotency_key: str,
) -> None:
    """The child: find the step, run its body, send back the recorded form of what it returned."""
    threading.Thread(target=_end_with_parent, args=(there,), daemon=True).start()
    try:
        found: Any = _load(module, file)
        for part in name.split("."):
            found = getattr(found, part)
        signature = found.signature
        bound = {k: signature.codecs[k].load(v) for k, v in loads(given).items()}
        attempt = _Apart(run_id, key, number)
        attempt.idempotency_key, attempt.parent = idempotency_key, there
        CURRENT.set(attempt)
        args, kwargs = signature.spread(bound)
        attempt.tell(None)
        value = asyncio.run(found.function(*args, **kwargs)) if found.is_async else found.function(*args, **kwargs)
        recorded = signature.result.record(value, Recorder())
        answer = [True, dumps(recorded.plain)]
    except BaseException as error:
        failed = failure(error)
        answer = [False, dumps({**failed.record(), "retry_after": failed.retry_after})]
    with _SENDING:
        there.send_bytes(dumps(answer).encode())


class _Apart(Attempt):
    """An attempt as its child process sees it."""

    __slots__ = ("parent",)
    parent: Connection

    def used(self, call: dict[str, Any]) -> None:
        """Tell the parent; what comes behind the answer nobody reads."""
        self.tell(call)

    def tell(self, call: dict[str, Any] | None) -> None:
        """Send what a call has used, or None: the body begins."""
        with _SENDING, contextlib.suppress(BrokenPipeError):
            self.parent.send_bytes(dumps([None, call]).encode())


_SENDING = threading.Lock()


def _end_with_parent(there: Connection) -> None:
    """The parent never sends anything: what becomes readable is its end, however it died."""
    there.poll(None)
    os._exit(1)


def _load(module: str, file: str | None) -> Any:
    if module == "__main__":
        module = "__mp_main__"
    if module in sys.modules:
        return sys.modules[module]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        if file is None:
            raise
    spec = importlib.util.spec_from_file_location(module, file)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(module)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    spec.loader.exec_module(loaded)
    return loaded
