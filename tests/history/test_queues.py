"""Who begins next, as a pure choice: its limits hold, and no lane waits for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbl.errors import UsageError
from vbl.history.queues import Choice, Lane, Limits, Rate, Use, choose, lane_of, limits_of

NOW = 1_000_000_000


def lane(
    name: str | None, *runs: tuple[int, int], held: int = 0, turn_at: int = 0, begun: tuple[int, ...] = ()
) -> Lane:
    return Lane(name, turn_at, Use(held, list(begun)), list(runs))


def test_the_lane_that_holds_least_is_next_then_the_one_that_waited_longest() -> None:
    lanes = [lane("a", (0, 1), held=0, turn_at=5), lane("b", (0, 2), held=0, turn_at=7), lane("c", (0, 3), held=1)]
    assert choose(Limits(concurrency=3), NOW, Use(), lanes, 10).keys == [1, 2, 3]


def test_a_lane_that_was_served_stands_behind_the_others() -> None:
    lanes = [lane("a", (0, 1), (0, 2), (0, 3)), lane("b", (0, 4), turn_at=9)]
    assert choose(Limits(key_concurrency=3), NOW, Use(), lanes, 10).keys == [1, 4, 2, 3]


def test_what_began_counts_until_its_window_has_passed_and_no_longer() -> None:
    rate = Rate.read("2/s", "rate")
    assert rate.next_at([NOW - 900_000, NOW - 100_000], NOW) == NOW + 100_000
    assert rate.next_at([NOW - 900_000, NOW - 100_000], NOW + 100_000) is None


def test_nobody_is_woken_by_time_where_only_a_place_is_missing() -> None:
    limits = Limits(concurrency=1, rate=Rate.read("1/min", "rate"))
    assert choose(limits, NOW, Use(1, [NOW]), [lane(None, (0, 1))], 10) == Choice([], None)


def test_the_first_lane_whose_rate_opens_is_the_time_to_wake() -> None:
    limits = Limits(key_rate=Rate.read("1/s", "key_rate"))
    lanes = [lane("a", (0, 1), begun=(NOW - 10,)), lane("b", (0, 2), begun=(NOW - 30,))]
    assert choose(limits, NOW, Use(), lanes, 10) == Choice([], NOW - 30 + 1_000_000)


@given(
    lanes=st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(0, 9)), max_size=6
    ),
    concurrency=st.none() | st.integers(1, 6),
    most=st.none() | st.integers(1, 3),
    rate=st.none() | st.integers(1, 5),
    held=st.integers(0, 4),
)
def test_a_choice_keeps_every_limit_and_leaves_no_place_empty(
    lanes: list[tuple[int, list[int], int]], concurrency: int | None, most: int | None, rate: int | None, held: int
) -> None:
    limits = Limits(concurrency, most, Rate(rate, 1_000) if rate else None)
    made: list[Lane] = []
    key = 0
    for number, (own, priorities, turn_at) in enumerate(lanes):
        runs = [(priority, key := key + 1) for priority in sorted(priorities, reverse=True)]
        made.append(lane(str(number), *runs, held=own, turn_at=turn_at))
    made.sort(key=Lane.order)
    of = {run: one for one in made for _, run in one.waiting}
    before = {id(one): one.use.held for one in made}
    use = Use(held)
    chosen = choose(limits, NOW, use, list(made), 100).keys
    assert len(set(chosen)) == len(chosen)
    assert concurrency is None or not chosen or use.held <= concurrency
    assert rate is None or len(chosen) <= rate
    for one in made:
        mine = [run for run in chosen if of[run] is one]
        assert one.use.held == before[id(one)] + len(mine)
        assert most is None or not mine or one.use.held <= most
        assert mine == sorted(mine), "within a lane who is first begins first"
    full = (concurrency is not None and use.held >= concurrency) or (rate is not None and len(chosen) >= rate)
    assert full or all(not one.waiting or (most is not None and one.use.held >= most) for one in made)


def test_equal_keys_are_one_lane_however_they_are_written() -> None:
    assert lane_of({"a": 1, "b": 2}) == lane_of({"b": 2, "a": 1})
    assert lane_of("1") != lane_of(1)
    assert len(lane_of("x" * 10_000)) < 200
    assert lane_of("x" * 10_000) != lane_of("x" * 10_001)


def test_a_key_that_nobody_limits_means_one_at_a_time() -> None:
    assert limits_of([{"queue": "q", "key": "k"}]) == Limits(key_concurrency=1)
    assert limits_of([{"key": "k"}, {"concurrency": 3, "key_concurrency": 2}]) == Limits(3, 2)
    assert limits_of([{"key": "k", "key_rate": "2/h"}]) == Limits(key_rate=Rate(2, 3_600_000_000))
    assert limits_of([]) == Limits()


@pytest.mark.parametrize("text", ["", "60", "60/month", "-1/s", "1.5/s", "100001/s", "x/min"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no rate"):
        Rate.read(text, "rate")
