"""Kinds of error, and the decision what to do after one. Decides; touches nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from vbl.errors import UsageError


class Kind(StrEnum):
    """What sort of failure an error is; the policy bounds what is done about it."""

    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    PERMANENT = "permanent"
    CORRECTABLE = "correctable"
    BUG = "bug"
    INTERRUPTED = "interrupted"


LONGEST_DELAY = 366 * 86_400.0
"""No backoff is longer, in seconds, whatever the policy or the other side says."""
DEFAULT_KINDS = (Kind.TRANSIENT, Kind.RATE_LIMITED, Kind.TIMEOUT)


Wanted = Kind | str | type[BaseException]
"""What a policy can name: a kind of error, or a class of exceptions."""


def _positive(name: str, value: object, *, zero: bool = False) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise UsageError(f"{name}={value!r} is not a number of seconds", f"Give a finite number: {name}=1.0")
    if value < 0 or (value == 0 and not zero):
        raise UsageError(
            f"{name}={value!r} must be {'zero or more' if zero else 'more than zero'}", f"For example {name}=1.0"
        )


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a step is tried again. Times are in seconds.

    Delay before attempt n + 1 is `delay * factor ** (n - 1)`, at most `max_delay`, then drawn from the upper
    part of that span by `jitter` (0 none, 1 all of it). `retry_on` is a kind, an exception class, a collection of
    both, or a predicate over the exception. `max_elapsed` bounds the time since the first attempt started.

    Raises UsageError for limits that make no sense: 0 attempts, negative or NaN times.
    """

    max_attempts: int = 5
    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.5
    max_elapsed: float | None = None
    retry_on: Wanted | Iterable[Wanted] | Callable[[BaseException], bool] = DEFAULT_KINDS

    def __post_init__(self) -> None:
        attempts = cast("object", self.max_attempts)
        if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
            raise UsageError(
                f"max_attempts={self.max_attempts!r} must be a whole number, at least 1",
                "For example vbl.Retry(max_attempts=5)",
            )
        _positive("delay", self.delay, zero=True)
        _positive("factor", self.factor)
        _positive("max_delay", self.max_delay, zero=True)
        _positive("jitter", self.jitter, zero=True)
        if self.jitter > 1:
            raise UsageError(f"jitter={self.jitter!r} must lie between 0 and 1", "For example vbl.Retry(jitter=0.5)")
        if self.max_elapsed is not None:
            _positive("max_elapsed", self.max_elapsed)
        given = self.retry_on
        if isinstance(given, str) or _is_error_class(given):
            given = (given,)
        if not callable(given):
            try:
                object.__setattr__(self, "retry_on", tuple(_wanted(one) for one in cast("Iterable[Wanted]", given)))
            except (ValueError, TypeError) as error:
                known = ", ".join(Kind)
                raise UsageError(
                    f"retry_on: {error}", f"Give kinds ({known}), exception classes, or a predicate over the exception"
                ) from None

    def wants(self, kind: str, error: BaseException | None) -> bool:
        """Whether the policy covers this failure at all."""
        if callable(self.retry_on):
            return error is not None and bool(cast("Callable[[BaseException], bool]", self.retry_on)(error))
        wanted = cast("tuple[Wanted, ...]", self.retry_on)
        return any(kind == one if isinstance(one, str) else isinstance(error, one) for one in wanted)


def _is_error_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _wanted(value: Wanted) -> Wanted:
    return value if _is_error_class(value) else Kind(cast("str", value))


ONCE = Retry(max_attempts=1)


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `delay` seconds."""

    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The failure is final."""

    reason: str


def decide(
    policy: Retry,
    *,
    tried: int,
    kind: str,
    error: BaseException | None,
    elapsed: float,
    seed: str,
    retry_after: float | None = None,
) -> Again | GiveUp:
    """Decide after attempt number `tried` (interruptions not counted) failed.

    `elapsed` is in seconds since the first attempt started; `seed` fixes the jitter, so that a replay shows
    the same plan; `retry_after` is what the other side asked for (seconds, RFC 9110 section 10.2.3).
    """
    try:
        wanted = policy.wants(kind, error)
    except Exception as raised:
        return GiveUp(f"retry_on raised {type(raised).__name__}: {raised}")
    if not wanted:
        return GiveUp(f"{kind} errors are not retried by this policy")
    if tried >= policy.max_attempts:
        return GiveUp(f"attempt {tried} of {policy.max_attempts} was the last")
    ceiling = min(policy.max_delay, policy.delay * _growth(policy.factor, tried - 1))
    delay = ceiling * (1 - policy.jitter * random.Random(f"{seed}:{tried}").random())
    if retry_after is not None and math.isfinite(retry_after):
        delay = max(delay, retry_after)
    delay = min(delay, LONGEST_DELAY)
    if policy.max_elapsed is not None and elapsed + delay > policy.max_elapsed:
        return GiveUp(f"another try would pass max_elapsed={policy.max_elapsed:g} s")
    return Again(delay, kind)


def _growth(factor: float, times: int) -> float:
    """The factor to that power, as far as numbers go."""
    try:
        return min(float(factor) ** times, 1e12)
    except OverflowError:
        return 1e12


_RETRYABLE_STATUS = frozenset({408, 409, 425, 500, 502, 503, 504, 529})
_SPENT = ("insufficient_quota", "billing", "spend_limit", "credit")


def kind_of_status(status: int, body: str = "") -> Kind:
    """The kind of an HTTP answer; a 429 that says the money is spent does not get better by waiting."""
    if status == 429:
        return Kind.PERMANENT if any(word in body for word in _SPENT) else Kind.RATE_LIMITED
    if status in _RETRYABLE_STATUS or status > 500:
        return Kind.TRANSIENT
    return Kind.PERMANENT


_BUGS = (
    ArithmeticError,
    TypeError,
    ValueError,
    NameError,
    AttributeError,
    ImportError,
    SyntaxError,
    IndexError,
    KeyError,
    AssertionError,
    NotImplementedError,
    RecursionError,
)


def kind_of(error: BaseException) -> Kind:
    """Classify an exception raised by a step's body.

    An error may say its own `kind` (and `retry_after`); HTTP errors are known by their `response.status_code`
    or `status_code`, whatever client raised them; the rest goes by class.
    """
    if not isinstance(error, Exception):
        return Kind.BUG
    own = getattr(error, "kind", None)
    if isinstance(own, str) and own in Kind._value2member_map_:
        return Kind(own)
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status_code", None)
    if isinstance(status, int):
        return kind_of_status(status, str(error))
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return Kind.TIMEOUT
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)):
        return Kind.PERMANENT
    if isinstance(error, OSError) or any(
        c.__module__.startswith(("httpx", "httpcore")) and c.__name__ == "TransportError" for c in type(error).__mro__
    ):
        return Kind.TRANSIENT
    if type(error).__name__ == "ValidationError":
        return Kind.CORRECTABLE
    if isinstance(error, _BUGS):
        return Kind.BUG
    return Kind.TRANSIENT


def retry_after_of(error: BaseException) -> float | None:
    """Seconds that the other side asked to wait: `error.retry_after`, or a Retry-After header of its response."""
    own = getattr(error, "retry_after", None)
    if isinstance(own, (int, float)):
        return float(own)
    headers: Mapping[str, str] | None = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    try:
        return float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(headers["retry-after"])
    except (KeyError, ValueError, TypeError):
        return _retry_after_date(headers)


def _retry_after_date(headers: Mapping[str, str]) -> float | None:
    """Retry-After as a date, held against the answer's own clock."""
    from email.utils import parsedate_to_datetime

    try:
        return max(
            0.0,
            (parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])).total_seconds(),
        )
    except (KeyError, TypeError, ValueError):
        return None
