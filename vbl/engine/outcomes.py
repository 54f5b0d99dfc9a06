"""What can become of an attempt: one value for each way to end, and the words for an exception.

The values are plain; what follows from one is decided where it is recorded. How a body is run is in `attempt`, and for
one in a process of its own in `isolate`.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vbl.errors import VblError
from vbl.history.retry import Kind, kind_of, retry_after_of

if TYPE_CHECKING:
    from vbl.engine.definitions import Step

_TRACEBACK_CHARS = 8_000
_MESSAGE_CHARS = 2_000
_OURS = os.path.dirname(__file__) + os.sep


@dataclass(slots=True)
class Succeeded:
    """The body returned."""

    value: Any


@dataclass(slots=True)
class Failed:
    """The body raised, or its time was up. `error` is the exception, for a policy's predicate.

    `unknown`: it is a write that was broken off, and nobody knows what it did; `later` is how it ends after all, where
    it is in a thread, which cannot be stopped."""

    kind: Kind
    type: str
    message: str
    traceback: str | None
    error: BaseException | None = None
    retry_after: float | None = None
    unknown: bool = False
    later: asyncio.Future[Outcome] | None = None

    def record(self) -> dict[str, Any]:
        """The form that is recorded."""
        recorded = {"kind": self.kind.value, "type": self.type, "message": self.message}
        return {**recorded, "traceback": self.traceback} if self.traceback else recorded


@dataclass(slots=True)
class Stopped:
    """The supervisor took the attempt back: a graceful stop, or the step was given up. `later` is how it ends after
    all, where its body is a write in a thread, which cannot be stopped."""

    later: asyncio.Future[Outcome] | None = None


@dataclass(slots=True)
class Committed:
    """The body of a transaction returned, and its completion is in the file already."""


@dataclass(slots=True)
class Broken:
    """Something happened around the body that must not: the supervisor ends."""

    error: BaseException


Outcome = Succeeded | Failed | Stopped | Committed | Broken


def failure(error: BaseException) -> Failed:
    """Describe an exception; the frames of ours around the user's code are left out. Never raises."""
    try:
        return _described(error)
    except Exception as trouble:
        # its own __str__, or a property of it, raised: the attempt has failed all the same
        message = f"{type(error).__qualname__} (describing it raised {type(trouble).__qualname__})"
        return Failed(Kind.BUG, type(error).__qualname__, message, None, error)


def _described(error: BaseException) -> Failed:
    frames = error.__traceback__
    while frames is not None and str(frames.tb_frame.f_globals.get("__name__")).startswith("vbl.engine"):
        frames = frames.tb_next
    told = traceback.TracebackException(type(error), error, frames)
    if isinstance(error, VblError):  # raised by us: it ends in the line that called us
        while len(told.stack) > 1 and told.stack[-1].filename.startswith(_OURS):
            told.stack.pop()
    text = "".join(told.format())
    message = error.message if isinstance(error, VblError) else str(error)
    return Failed(
        kind_of(error),
        type(error).__qualname__,
        _printable(message[:_MESSAGE_CHARS]),
        _printable(text if len(text) <= _TRACEBACK_CHARS else text[:2_000] + "\n  …\n" + text[-6_000:]),
        error,
        retry_after_of(error),
    )


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def timed_out(step: Step[..., Any]) -> Failed:
    """The failure of an attempt whose time was up. A transaction is rolled back then; any other write may be done."""
    message = f"the attempt took longer than {step.timeout:g} s"
    unknown = step.effect == "write" and not step.transactional
    return Failed(Kind.TIMEOUT, "TimeoutError", message, None, TimeoutError(), unknown=unknown)
