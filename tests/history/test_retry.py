"""The kind of an error decides what is done about it; the policy bounds it."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbl.errors import UsageError
from vbl.history.retry import (
    ONCE,
    Again,
    GiveUp,
    Kind,
    Retry,
    decide,
    kind_of,
    kind_of_status,
    retry_after_of,
)

POLICIES = st.builds(
    Retry,
    max_attempts=st.integers(1, 50),
    delay=st.floats(0, 1e6),
    factor=st.floats(0.1, 1e6),
    max_delay=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
)


def after(policy: Retry, tried: int, **more: Any) -> Again | GiveUp:
    given: dict[str, Any] = {"kind": "transient", "error": OSError(), "elapsed": 0.0, "seed": "run:step", **more}
    return decide(policy, tried=tried, **given)


# The decision -----------------------------------------------------------------------------------------------------


@given(POLICIES, st.text(max_size=20))
def test_a_step_is_tried_as_often_as_the_policy_says(policy: Retry, seed: str) -> None:
    decisions = [after(policy, tried, seed=seed) for tried in range(1, policy.max_attempts + 1)]
    assert all(isinstance(decision, Again) for decision in decisions[:-1])
    assert isinstance(decisions[-1], GiveUp)


@given(POLICIES, st.integers(1, 49), st.text(max_size=20))
def test_a_delay_lies_within_the_bounds_and_is_the_same_on_every_replay(policy: Retry, tried: int, seed: str) -> None:
    decision = after(policy, tried, seed=seed)
    assert decision == after(policy, tried, seed=seed)
    if isinstance(decision, Again):
        assert 0 <= decision.delay <= policy.max_delay
        ceiling = min(policy.max_delay, policy.delay * min(policy.factor ** (tried - 1), 1e12))
        assert decision.delay >= ceiling * (1 - policy.jitter) * (1 - 1e-9)


def test_delays_double_up_to_the_cap() -> None:
    policy = Retry(max_attempts=8, delay=1, factor=2, max_delay=10, jitter=0)
    assert [after(policy, tried).delay for tried in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_a_policy_of_thousands_of_attempts_does_not_run_out_of_numbers() -> None:
    policy = Retry(max_attempts=100_000, delay=0.5, factor=10, max_delay=30, jitter=0)
    assert after(policy, 5_000) == Again(30, "transient")
    assert after(Retry(max_attempts=100_000, delay=0, jitter=0), 5_000) == Again(0, "transient")


def test_jitter_spreads_steps_that_failed_together() -> None:
    delays = {after(Retry(delay=10, jitter=1), 1, seed=f"run:{n}").delay for n in range(50)}
    assert len(delays) == 50
    assert max(delays) - min(delays) > 5


def test_the_other_side_is_heard_when_it_says_how_long_to_wait() -> None:
    policy = Retry(delay=1, jitter=0)
    assert after(policy, 1, retry_after=30.0).delay == 30
    assert after(policy, 1, retry_after=0.1).delay == 1, "but never sooner than the policy"
    for nonsense in (-5.0, math.nan, math.inf):
        assert after(policy, 1, retry_after=nonsense).delay == 1


def test_the_total_time_bounds_the_tries() -> None:
    policy = Retry(max_attempts=99, delay=10, factor=1, jitter=0, max_elapsed=60)
    assert isinstance(after(policy, 1, elapsed=50.0), Again)
    assert isinstance(after(policy, 1, elapsed=50.1), GiveUp)
    assert isinstance(after(policy, 1, elapsed=0.0, retry_after=61.0), GiveUp)


def test_a_kind_that_the_policy_does_not_cover_is_final() -> None:
    for kind in Kind:
        decision = after(Retry(), 1, kind=kind)
        assert isinstance(decision, Again) is (kind in (Kind.TRANSIENT, Kind.RATE_LIMITED, Kind.TIMEOUT))
    assert isinstance(after(Retry(retry_on=("bug",)), 1, kind="bug"), Again)


def test_a_predicate_sees_the_exception() -> None:
    policy = Retry(retry_on=lambda error: "busy" in str(error))
    assert isinstance(after(policy, 1, error=ValueError("busy"), kind="bug"), Again)
    assert isinstance(after(policy, 1, error=OSError("broken")), GiveUp)
    assert isinstance(after(policy, 1, error=None), GiveUp), "from another process there is no exception to see"


def test_without_a_policy_a_step_is_tried_once() -> None:
    assert isinstance(after(ONCE, 1), GiveUp)


# Kinds ------------------------------------------------------------------------------------------------------------


class Response:
    def __init__(self, status: int, **headers: str) -> None:
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class HTTPStatusError(Exception):
    def __init__(self, response: Response, message: str = "") -> None:
        super().__init__(message)
        self.response = response


class SdkError(Exception):
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


class ReadTimeout(Exception):
    pass


class ValidationError(ValueError):
    pass


class Says(Exception):
    def __init__(self, kind: str) -> None:
        self.kind = kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HTTPStatusError(Response(429)), "rate_limited"),
        (HTTPStatusError(Response(429), "insufficient_quota: pay first"), "permanent"),
        (HTTPStatusError(Response(500)), "transient"),
        (HTTPStatusError(Response(529)), "transient"),
        (HTTPStatusError(Response(408)), "transient"),
        (HTTPStatusError(Response(400)), "permanent"),
        (HTTPStatusError(Response(401)), "permanent"),
        (HTTPStatusError(Response(404)), "permanent"),
        (SdkError(503), "transient"),
        (TimeoutError(), "timeout"),
        (ReadTimeout(), "timeout"),
        (ConnectionResetError(), "transient"),
        (OSError("network is unreachable"), "transient"),
        (FileNotFoundError(), "permanent"),
        (PermissionError(), "permanent"),
        (ValidationError(), "correctable"),
        (TypeError(), "bug"),
        (KeyError(), "bug"),
        (ZeroDivisionError(), "bug"),
        (RuntimeError("who knows"), "transient"),
        (Says("permanent"), "permanent"),
        (Says("nonsense"), "transient"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_kind_of_an_error(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind


def test_every_status_has_a_kind() -> None:
    for status in range(400, 600):
        assert kind_of_status(status) in (Kind.PERMANENT if status < 500 else Kind.TRANSIENT, *_others(status))


def _others(status: int) -> tuple[Kind, ...]:
    return {429: (Kind.RATE_LIMITED,), 408: (Kind.TRANSIENT,), 409: (Kind.TRANSIENT,), 425: (Kind.TRANSIENT,)}.get(
        status, (Kind.PERMANENT,) if status in (501, 505) else ()
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_what_a_response_says_about_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_of(HTTPStatusError(Response(429, **headers))) == seconds


def test_an_error_may_say_itself_when_to_come_back() -> None:
    error = OSError()
    error.retry_after = 7  # pyright: ignore[reportAttributeAccessIssue]
    assert retry_after_of(error) == 7.0
    assert retry_after_of(ValueError()) is None


# Limits that make no sense ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"max_attempts": 2.5},
        {"max_attempts": True},
        {"max_attempts": "3"},
        {"delay": -1},
        {"delay": math.nan},
        {"delay": math.inf},
        {"delay": "1"},
        {"delay": timedelta(seconds=1)},
        {"factor": 0},
        {"factor": -2},
        {"factor": math.nan},
        {"max_delay": -1},
        {"max_delay": math.inf},
        {"jitter": -0.1},
        {"jitter": 1.5},
        {"jitter": math.nan},
        {"max_elapsed": 0},
        {"max_elapsed": -1},
        {"max_elapsed": math.nan},
        {"retry_on": ("transient", "tranquil")},
        {"retry_on": 7},
    ],
    ids=str,
)
def test_nonsense_limits_are_refused_by_name(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(limits))) as refused:
        Retry(**limits)
    assert refused.value.hint
