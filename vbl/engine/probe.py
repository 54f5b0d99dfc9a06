"""What a probe is and what it may say: the function that a step's author gives to find out whether a write happened.

It is called where nobody knows how the step ended; what its answer means for the history is in `vbl.engine.doubt`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from vbl.errors import UsageError

if TYPE_CHECKING:
    from vbl.engine.definitions import Step

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Happened(Generic[R]):
    """A probe's answer: the step happened, and this is its result."""

    result: R = field(default=cast("R", None))


@dataclass(frozen=True, slots=True)
class DidNotHappen:
    """A probe's answer: the step did not happen; it is run again."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A probe's answer: it cannot say, and why; a person is asked."""

    reason: str = ""


def checked_probe(step: str, verify: Any, effect: str | None) -> Callable[..., Any] | None:
    """The function given as verify=. Raises UsageError for what can't be one, and where the step is no write."""
    probe = getattr(verify, "function", verify)  # a step serves as well
    if probe is None:
        return None
    if not callable(probe) or inspect.isgeneratorfunction(probe) or inspect.isasyncgenfunction(probe):
        raise UsageError(
            f"step {step}: verify={verify!r} is no probe",
            "Give a function that takes the step's arguments and returns vbl.Happened(result), vbl.DidNotHappen() or "
            "vbl.Unknown()",
        )
    if effect != "write":
        raise UsageError(
            f"step {step}: verify= asks whether a write happened, and its effect is {effect!r}",
            'Write @vbl.step(effect="write", verify=…)',
        )
    return cast("Callable[..., Any]", probe)


def probe_of(step: Step[..., Any]) -> Step[..., Any]:
    """The probe as something to run in an attempt: it takes the arguments of the step, within the same time-out."""
    signature = step.signature
    probe = copy.copy(step)
    probe.signature = signature
    probe.function = cast("Callable[..., Any]", step.verify)
    probe.is_async = inspect.iscoroutinefunction(step.verify)
    probe.effect, probe.isolation = "read", None
    return probe
