"""When a schedule fires: through the days on which clocks change, behind long gaps, and where runs would meet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbl.errors import UsageError
from vbl.history import planning
from vbl.history.planning import (
    Act,
    Due,
    Spec,
    Stand,
    Verdict,
    check_line,
    check_zone,
    instants,
    look,
    upcoming,
    verdicts,
)

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000


def us(text: str, tz: str = "UTC") -> int:
    when = datetime.fromisoformat(text)
    when = when if when.tzinfo else when.replace(tzinfo=ZoneInfo(tz))
    return round((when - EPOCH) / timedelta(microseconds=1))


def local(at: int, tz: str) -> str:
    return (EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(tz)).isoformat()


def told(line: str, tz: str, after: str, count: int) -> list[str]:
    return [local(at, tz) for at in upcoming(line, tz, us(after, tz), count)]


# When --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "tz", "after", "expected"),
    [
        ("0 9 * * 1-5", BERLIN, "2026-01-02T10:00", ["2026-01-05T09:00:00+01:00", "2026-01-06T09:00:00+01:00"]),
        ("0 9 * * 1-5", BERLIN, "2026-01-05T08:59:59", ["2026-01-05T09:00:00+01:00"]),
        ("0 9 * * 1-5", BERLIN, "2026-01-05T09:00", ["2026-01-06T09:00:00+01:00"]),
        ("*/20 * * * *", "UTC", "2026-01-01T00:00", ["2026-01-01T00:20:00+00:00", "2026-01-01T00:40:00+00:00"]),
        ("*/10 * * * * *", "UTC", "2026-01-01T00:00", ["2026-01-01T00:00:10+00:00", "2026-01-01T00:00:20+00:00"]),
        ("5,7 30 2 * * *", "UTC", "2026-01-01T02:30:05", ["2026-01-01T02:30:07+00:00", "2026-01-02T02:30:05+00:00"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]),
        ("0 18 L * *", "UTC", "2026-02-01T00:00", ["2026-02-28T18:00:00+00:00", "2026-03-31T18:00:00+00:00"]),
        ("0 9 * * mon#1", "UTC", "2026-01-01T00:00", ["2026-01-05T09:00:00+00:00", "2026-02-02T09:00:00+00:00"]),
        ("@hourly", "Asia/Kolkata", "2026-01-01T00:10", ["2026-01-01T01:00:00+05:30"]),
        ("@Weekly", "UTC", "2026-01-01T00:00", ["2026-01-04T00:00:00+00:00"]),
    ],
)  # fmt: skip
def test_a_line_says_when(line: str, tz: str, after: str, expected: list[str]) -> None:
    assert told(line, tz, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("line", "tz", "after", "expected"),
    [
        # the clock jumps from 2 to 3: what lies between comes when it has jumped, and once
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("0,30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
        ("15 30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00:15+02:00", "2026-03-30T02:30:15+02:00"]),
        ("15,45 30 2 * * *", NEW_YORK, "2026-03-08T03:00:15-04:00", ["2026-03-08T03:00:45-04:00"]),
        ("0 2 * * *", NEW_YORK, "2026-03-07T12:00", ["2026-03-08T03:00:00-04:00", "2026-03-09T02:00:00-04:00"]),
        # from 3 back to 2: the first of the two
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("0 30 2 * * *", BERLIN, "2026-10-24T12:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]),
        # between the two, and behind the second: not once more
        ("30 2 * * *", BERLIN, "2026-10-25T02:10:00+01:00", ["2026-10-26T02:30:00+01:00"]),
        ("30 2 * * *", BERLIN, "2026-10-25T02:30:00+02:00", ["2026-10-26T02:30:00+01:00"]),
        # what counts through the hours counts real ones
        ("0 * * * *", BERLIN, "2026-03-29T00:30", ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]),
        ("0 * * * *", BERLIN, "2026-10-25T01:30", ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]),
        ("*/30 * * * *", NEW_YORK, "2026-11-01T01:30:00-04:00",
         ["2026-11-01T01:00:00-05:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:00:00-05:00"]),
        # midnight itself is jumped over
        ("0 0 * * *", "America/Santiago", "2026-09-05T12:00",
         ["2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"]),
    ],
)  # fmt: skip
def test_clocks_that_change_neither_lose_nor_double_a_time(line: str, tz: str, after: str, expected: list[str]) -> None:
    assert told(line, tz, after, len(expected)) == expected


def test_nine_o_clock_stays_nine_o_clock_through_a_year_in_both_places() -> None:
    for tz in (BERLIN, NEW_YORK):
        found = told("0 9 * * *", tz, "2026-01-01T00:00", 365)
        assert {moment[11:19] for moment in found} == {"09:00:00"}
        assert {moment[:10] for moment in found} == {
            str((datetime(2026, 1, 1) + timedelta(days=n)).date()) for n in range(365)
        }
        assert len({moment[19:] for moment in found}) == 2


LINES = ("* * * * *", "*/7 * * * *", "30 2 * * *", "0,30 1-3 * * *", "0 9 * * 1-5", "0 0 1 * *", "15,45 30 2 * * *")
ZONES = ("UTC", BERLIN, NEW_YORK, "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago")
MOMENTS = st.integers(us("2026-01-01"), us("2027-12-31"))


@given(st.sampled_from(LINES), st.sampled_from(ZONES), MOMENTS)
def test_instants_are_in_order_behind_the_start_and_each_is_once(line: str, tz: str, after: int) -> None:
    found = upcoming(line, tz, after, 50)
    assert found[0] > after
    assert all(earlier < later for earlier, later in pairwise(found))
    # the next behind any of them is the one that follows: nothing depends on where the look began
    assert [upcoming(line, tz, at, 1)[0] for at in found[:-1]] == found[1:]


@given(st.sampled_from(LINES), st.sampled_from(ZONES), MOMENTS, st.integers(0, 3 * DAY), st.integers(0, 3 * DAY))
def test_two_looks_find_what_one_finds(line: str, tz: str, after: int, first: int, second: int) -> None:
    whole = look(line, tz, after, after + first + second)
    early = look(line, tz, after, after + first)
    late = look(line, tz, after + first, after + first + second)
    assert len(whole.instants) + whole.more == sum(len(one.instants) + one.more for one in (early, late))
    assert (early.instants + late.instants)[-len(whole.instants) :] == whole.instants or not whole.instants
    assert whole.next_at == late.next_at
    assert whole.first == (early.first if early.first is not None else late.first)


def test_a_look_keeps_the_latest_and_counts_the_rest() -> None:
    after = us("2026-01-01")
    found = look("* * * * *", "UTC", after, after + 3 * DAY)
    assert len(found.instants) == planning.CATCH_UP
    assert found.instants[-1] == after + 3 * DAY
    assert found.more + len(found.instants) == 3 * 24 * 60
    assert found.first == after + MINUTE
    assert found.next_at == after + 3 * DAY + MINUTE


def test_years_of_seconds_are_looked_at_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "COUNTED", 5_000)
    after = us("2026-01-01")
    now = after + 3_650 * DAY
    found = look("* * * * * *", "UTC", after, now)
    assert found.instants == [now - n * 1_000_000 for n in reversed(range(planning.CATCH_UP))]
    assert found.more + len(found.instants) == 5_000 + 3_600
    assert found.next_at == now + 1_000_000


def test_the_end_of_time_is_no_crash() -> None:
    assert upcoming("0 0 1 1 *", "UTC", us("9998-06-01"), 5) == [us("9999-01-01")]
    assert look("0 0 1 1 *", "UTC", us("9999-06-01"), us("9999-06-02")) == Due()


# Bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "is no cron line"),
        ("   ", "is no cron line"),
        ("every monday", "wrong number of fields"),
        ("61 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("0 0 * * 8", "bad day-of-week"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("*/0 * * * *", "bad minute"),
        ("0 0 * 13 *", "bad month"),
        ("@fortnightly", "wrong number of fields"),
        ("60 0 0 * * *", "bad second"),
        ("0," * 200 + "0 * * * *", "too long"),
        (None, "is no cron line"),
        (5, "is no cron line"),
    ],
)
def test_what_is_no_cron_line_is_refused_with_an_example(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        check_line(line)
    assert "0 9 * * 1-5" in refused.value.hint


def test_a_line_is_kept_with_its_blanks_in_order() -> None:
    assert check_line("  0  9 *\t* mon-fri ") == "0 9 * * mon-fri"


@pytest.mark.parametrize(
    "name", ["Europe/Berln", "Mars/Olympus", "", "../etc/passwd", "Europe", "/etc/localtime", 5, None]
)
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there is no time zone"):
        check_zone(name)


def test_a_misspelt_time_zone_is_told_the_one_that_is_near() -> None:
    with pytest.raises(UsageError) as refused:
        check_zone("Europe/Berln")
    assert "Europe/Berlin" in refused.value.hint
    assert check_zone(BERLIN) == check_zone(ZoneInfo(BERLIN)) == BERLIN


# What --------------------------------------------------------------------------------------------------------------

NOON = us("2026-01-05T12:00")


def spec(**options: object) -> Spec:
    return Spec.model_validate({"name": "digest", "workflow": "digest", "cron": "0 12 * * *", **options})


def acted(spec: Spec, due: Due, now: int, stand: Stand) -> list[tuple[str, int, str, int]]:
    """As whoever acts on the verdicts keeps the stand."""
    found: list[Verdict] = []
    for verdict in verdicts(spec, due, now, stand):
        found.append(verdict)
        if verdict.act in (Act.FIRE, Act.REPLACE):
            stand.busy = True
        elif verdict.act is Act.WAIT:
            stand.waiting += 1
    return [(str(v.act), v.due_at, v.reason, v.count) for v in found]


def days(*back: int) -> Due:
    found = [NOON - n * DAY for n in back]
    return Due(instants=found, first=found[0] if found else None)


ON_TIME = NOON + 1_000


@pytest.mark.parametrize(
    ("options", "due", "stand", "expected"),
    [
        ({}, days(), Stand(), []),
        ({}, days(0), Stand(), [("fire", 0, "on time", 1)]),
        ({}, days(0), Stand(busy=True), [("skip", 0, "the one before still runs", 1)]),
        ({"overlap": "queue"}, days(0), Stand(busy=True), [("wait", 0, "on time", 1)]),
        ({"overlap": "queue"}, days(0), Stand(True, 1), [("skip", 0, "one waits already", 1)]),
        ({"overlap": "replace"}, days(0), Stand(busy=True), [("replace", 0, "on time", 1)]),
        ({"overlap": "replace"}, days(0), Stand(), [("fire", 0, "on time", 1)]),
        ({"missed": "skip"}, days(3, 2, 1), Stand(), [("skip", 3, "missed", 3)]),
        ({"missed": "skip"}, days(2, 1, 0), Stand(), [("skip", 2, "missed", 2), ("fire", 0, "on time", 1)]),
        ({"missed": "once"}, days(3, 2, 1), Stand(), [("skip", 3, "missed", 2), ("fire", 1, "missed", 1)]),
        ({"missed": "once"}, days(1), Stand(), [("fire", 1, "missed", 1)]),
        ({"missed": "once"}, days(2, 1, 0), Stand(), [("skip", 2, "missed", 2), ("fire", 0, "on time", 1)]),
        ({"missed": "once"}, days(1), Stand(busy=True), [("skip", 1, "the one before still runs", 1)]),
        ({"missed": "all"}, days(3, 2, 1), Stand(),
         [("fire", 3, "missed", 1), ("wait", 2, "missed", 1), ("wait", 1, "missed", 1)]),
        ({"missed": "all"}, days(1, 0), Stand(),
         [("fire", 1, "missed", 1), ("skip", 0, "the one before still runs", 1)]),
    ],
)  # fmt: skip
def test_what_becomes_of_what_is_due(
    options: dict[str, object], due: Due, stand: Stand, expected: list[tuple[str, int, str, int]]
) -> None:
    found = acted(spec(**options), due, ON_TIME, Stand(stand.busy, stand.waiting))
    assert [(act, (NOON - at) // DAY, reason, count) for act, at, reason, count in found] == expected


def test_grace_says_what_is_missed() -> None:
    due = days(0)
    for grace_us, late_us, act in (
        (MINUTE, MINUTE, "fire"),
        (MINUTE, MINUTE + 1, "skip"),
        (0, 0, "fire"),
        (0, 1, "skip"),
    ):
        assert [one[0] for one in acted(spec(grace_us=grace_us), due, NOON + late_us, Stand())] == [act]


def test_more_than_can_be_made_up_for_is_skipped_and_said() -> None:
    due = look("* * * * *", "UTC", NOON - 2_000 * MINUTE, NOON - HOUR)
    found = acted(spec(missed="all"), due, NOON, Stand())
    assert found[0] == ("skip", NOON - 1_999 * MINUTE, "too many missed", 940)
    assert [act for act, *_ in found[1:]] == ["fire", *["wait"] * 999]


def test_a_stall_does_not_start_runs_to_cancel_them() -> None:
    due = look("*/10 * * * * *", "UTC", NOON - MINUTE, NOON)
    found = acted(spec(overlap="replace"), due, NOON, Stand(busy=True))
    assert found == [
        ("skip", NOON - 50_000_000, "the next one is due too", 5),
        ("replace", NOON, "on time", 1),
    ]


KINDS = st.tuples(st.sampled_from(("skip", "queue", "replace")), st.sampled_from(("skip", "once", "all")))


@given(KINDS, st.integers(0, 3_000), st.integers(0, 600), st.booleans())
def test_every_instant_has_one_fate(kinds: tuple[str, str], minutes: int, grace_s: int, busy: bool) -> None:
    due = look("* * * * *", "UTC", NOON - minutes * MINUTE, NOON)
    kind = spec(overlap=kinds[0], missed=kinds[1], grace_us=grace_s * 1_000_000)
    found = acted(kind, due, NOON, Stand(busy=busy))
    assert sum(count for *_, count in found) == minutes
    assert all(count == 1 for act, _, _, count in found if act != "skip")
    assert sum(act == "wait" for act, *_ in found) <= planning.CATCH_UP
    if busy:
        assert not [act for act, *_ in found if act == "fire"]


def test_instants_go_on_for_ever_without_growing() -> None:
    found = instants("0 0 1 1 *", "UTC", NOON)
    assert [local(next(found), "UTC")[:4] for _ in range(3)] == ["2027", "2028", "2029"]
