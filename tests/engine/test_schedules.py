"""Schedules: each instant has one fate, which is recorded, whatever dies and whoever interferes."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path

import pytest

import vbl
from tests.engine.checks import assert_sound
from tests.engine.world import WORLD
from vbl.engine import lookout, schedules
from vbl.engine.schedules import keep
from vbl.errors import Conflict, InvalidInput, NotFound, NotInWorkflow, UsageError
from vbl.handle import Run
from vbl.testing import NEW_YEAR, FakeClock, Trial, replay

KEEP = keep
"""The schedules' own workflow: known in every process that supervises."""
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
EVERY_5 = "*/5 * * * *"


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "_declared", {})
    monkeypatch.setattr(schedules, "_files", [])


@vbl.workflow
async def digest(n: int = 1, note: str | None = None) -> int:
    return n


@vbl.workflow
async def slow(minutes: int = 12) -> str:
    await vbl.sleep(minutes * 60)
    return "done"


@vbl.workflow
async def other() -> str:
    return "other"


def started(trial: Trial, workflow: str) -> list[Run]:
    return sorted(trial.runs(workflow=workflow, limit=None), key=lambda run: run.created_at)


def minutes(trial: Trial, workflow: str = "digest") -> list[float]:
    """When runs of the workflow were created, in minutes since the clock began."""
    return [(run.created_at - NEW_YEAR) / MINUTE for run in started(trial, workflow)]


def told(trial: Trial) -> list[tuple[str, float, str, int]]:
    """Fires and skips, in the order of the file: what, when it was planned (minutes), why, how many."""
    found: list[tuple[str, float, str, int]] = []
    for event in trial.events(limit=100_000):
        if event.type in ("SCHEDULE_FIRED", "SCHEDULE_SKIPPED"):
            payload = event.payload
            count = payload["count"] if event.type == "SCHEDULE_SKIPPED" else 1
            found.append((event.type[9:].lower(), (payload["due_at"] - NEW_YEAR) / MINUTE, payload["reason"], count))
    return found


def fates(trial: Trial) -> int:
    return sum(count for *_, count in told(trial))


# Time --------------------------------------------------------------------------------------------------------------


def test_it_fires_at_its_times_once_and_in_order(trial: Trial) -> None:
    made = trial.schedule(digest, EVERY_5, 7, note=None, tags=["a=b"], priority=3)
    trial.advance(31 * 60)
    assert minutes(trial) == [5, 10, 15, 20, 25, 30]
    assert told(trial) == [("fired", at, "on time", 1) for at in (5, 10, 15, 20, 25, 30)]
    runs = started(trial, "digest")
    assert [run.result() for run in runs] == [7] * 6
    assert runs[0].tags == ["a=b", "scheduled=digest"]
    assert runs[0].state().priority == 3
    assert runs[0].parent_id == made.run_id
    made.refresh()
    assert made.next_at == NEW_YEAR + 35 * MINUTE
    assert made.last_fire is not None
    assert (made.last_fire.run, made.last_fire.due_at, made.last_fire.late_us) == (
        runs[-1].id, NEW_YEAR + 30 * MINUTE, 0,
    )  # fmt: skip
    assert_sound(trial)


def test_a_schedule_waits_for_its_next_instant_and_asks_nobody_for_a_signal(trial: Trial) -> None:
    made = trial.schedule(digest, EVERY_5)
    trial.settle()
    answer = trial.run(made.run_id or "").why()
    assert (answer.waits_for, answer.until) == ("timer", NEW_YEAR + 5 * MINUTE)
    assert "vbl signal" not in answer.hint
    assert answer.hint == "vbl schedules"


@pytest.mark.slow
def test_nine_o_clock_in_berlin_through_both_changes_of_the_clock(trial: Trial) -> None:
    trial.schedule(digest, "30 2 * * *", tz="Europe/Berlin")
    trial.advance((datetime.datetime(2026, 3, 28) - datetime.datetime(2026, 1, 1)).total_seconds())
    before = len(minutes(trial))
    trial.advance(3 * 86_400)
    spring = [utc(run) for run in started(trial, "digest")[before:]]
    assert spring == ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]
    trial.advance((datetime.datetime(2026, 10, 24) - datetime.datetime(2026, 3, 31)).total_seconds())
    before = len(minutes(trial))
    trial.advance(3 * 86_400)
    autumn = [utc(run) for run in started(trial, "digest")[before:]]
    assert autumn == ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]
    assert {kind for kind, *_ in told(trial)} == {"fired"}


def utc(run: Run) -> str:
    return datetime.datetime.fromtimestamp(run.created_at / 1e6, datetime.UTC).strftime("%Y-%m-%dT%H:%M")


def test_a_line_of_seconds_fires_every_second(trial: Trial) -> None:
    trial.schedule(digest, "* * * * * *")
    trial.advance(10.5)
    assert [round(at * 60) for at in minutes(trial)] == list(range(1, 11))


def test_it_leaves_memory_between_its_times_and_replays_as_it_was(
    quick_housekeeping: None, monkeypatch: pytest.MonkeyPatch, trial: Trial
) -> None:
    monkeypatch.setattr(lookout, "PARK_AFTER", -1)
    made = trial.schedule(digest, EVERY_5)
    for _ in range(4):
        trial.advance(300)
        trial.settle()
        trial.until(lambda: trial.in_memory == 0)
    assert minutes(trial) == [5, 10, 15, 20]
    assert made.run_id is not None
    run = trial.run(made.run_id)
    seq = run.seq
    replay(run)
    assert run.refresh().seq == seq


# Missed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", [("skipped", 5, "missed", 4), ("fired", 25, "on time", 1)]),
        ("once", [("skipped", 5, "missed", 4), ("fired", 25, "on time", 1)]),
        ("all", [("fired", 5, "missed", 1), ("skipped", 25, "the one before still runs", 1),
                 *[("fired", at, "missed", 1) for at in (10, 15, 20)]]),
    ],
)  # fmt: skip
def test_what_came_due_while_nobody_was_there(
    trial: Trial, missed: str, expected: list[tuple[str, float, str, int]]
) -> None:
    trial.schedule(digest, EVERY_5, missed=missed)
    trial.settle()
    trial.down()
    WORLD.clock.advance(25 * 60 + 10)
    trial.up()
    trial.settle()
    assert told(trial) == expected
    late = [run.state().created_at for run in started(trial, "digest")]
    assert set(late) == {NEW_YEAR + 25 * MINUTE + 10_000_000}
    trial.advance(300)
    assert told(trial)[-1] == ("fired", 30, "on time", 1)


def test_one_run_stands_for_all_that_were_missed(trial: Trial) -> None:
    made = trial.schedule(digest, EVERY_5, missed="once", grace=datetime.timedelta(seconds=30))
    trial.kill()
    WORLD.clock.advance(24 * 60)
    trial.up()
    trial.settle()
    assert told(trial) == [("skipped", 5, "missed", 3), ("fired", 20, "missed", 1)]
    fired = made.refresh().last_fire
    assert fired is not None
    assert fired.late_us == 4 * MINUTE


def test_late_within_the_grace_is_on_time_and_says_how_late(trial: Trial) -> None:
    made = trial.schedule(digest, "0 * * * *", grace=900)
    trial.settle()
    trial.down()
    WORLD.clock.advance(3_600 + 899)
    trial.up()
    trial.settle()
    assert told(trial) == [("fired", 60, "on time", 1)]
    fired = made.refresh().last_fire
    assert fired is not None
    assert fired.late_us == 899_000_000


def test_a_schedule_made_while_nobody_was_there_counts_from_then(trial: Trial) -> None:
    trial.down()
    trial.schedule(digest, EVERY_5, missed="all")
    WORLD.clock.advance(11 * 60)
    trial.up()
    trial.settle()
    assert told(trial) == [("fired", 5, "missed", 1), ("skipped", 10, "the one before still runs", 1)]


def test_years_of_missed_minutes_are_made_up_for_within_bounds(monkeypatch: pytest.MonkeyPatch, trial: Trial) -> None:
    monkeypatch.setattr(schedules.planning, "CATCH_UP", 5)
    trial.schedule(digest, "* * * * *", missed="all")
    trial.settle()
    trial.down()
    WORLD.clock.advance(3 * 86_400 + 90)
    trial.up()
    trial.settle()
    found = told(trial)
    assert found[0] == ("skipped", 1, "too many missed", 3 * 1_440 + 1 - 5)
    assert [kind for kind, *_ in found if kind == "fired"] == ["fired"] * 4
    assert fates(trial) == 3 * 1_440 + 1


# Overlap -----------------------------------------------------------------------------------------------------------


def test_skip_never_runs_two_at_once(trial: Trial) -> None:
    trial.schedule(slow, EVERY_5)
    trial.advance(31 * 60)
    assert minutes(trial, "slow") == [5, 20]
    assert told(trial) == [
        ("fired", 5, "on time", 1),
        ("skipped", 10, "the one before still runs", 1),
        ("skipped", 15, "the one before still runs", 1),
        ("fired", 20, "on time", 1),
        ("skipped", 25, "the one before still runs", 1),
        ("skipped", 30, "the one before still runs", 1),
    ]


def test_queue_starts_the_next_when_the_one_before_has_ended(trial: Trial) -> None:
    made = trial.schedule(slow, EVERY_5, overlap="queue")
    trial.advance(11 * 60)
    assert made.refresh().waiting == [NEW_YEAR + 10 * MINUTE]
    assert made.going == [started(trial, "slow")[0].id]
    trial.advance(20 * 60)
    assert minutes(trial, "slow") == [5, 17, 29]
    assert told(trial) == [
        ("fired", 5, "on time", 1),
        ("skipped", 15, "one waits already", 1),
        ("fired", 10, "waited for its turn", 1),
        ("skipped", 25, "one waits already", 1),
        ("fired", 20, "waited for its turn", 1),
    ]


def test_replace_cancels_the_one_before(trial: Trial) -> None:
    trial.schedule(slow, EVERY_5, overlap="replace")
    trial.advance(16 * 60)
    runs = started(trial, "slow")
    assert minutes(trial, "slow") == [5, 10, 15]
    assert [str(run.status) for run in runs] == ["cancelled", "cancelled", "waiting"]
    trial.schedule(slow, "0 0 1 1 *", overlap="replace")
    assert runs[-1].result() == "done"


@vbl.step
async def fails() -> None:
    raise ValueError("no")


@vbl.workflow
async def breaks() -> None:
    await fails()


def test_a_run_that_fails_is_its_own_affair(trial: Trial) -> None:
    made = trial.schedule(breaks, EVERY_5)
    trial.advance(16 * 60)
    assert [str(run.status) for run in started(trial, "breaks")] == ["failed"] * 3
    assert made.refresh().next_at == NEW_YEAR + 20 * MINUTE


def test_a_run_whose_workflow_changed_its_parameters_does_not_stop_the_schedule(trial: Trial) -> None:
    trial.settle()
    trial.schedule("digest", EVERY_5, no_such_parameter=1)
    trial.advance(11 * 60)
    assert [str(run.status) for run in started(trial, "digest")] == ["blocked"]
    assert told(trial)[-1] == ("skipped", 10, "the one before still runs", 1)


# Steering ----------------------------------------------------------------------------------------------------------


def test_pause_holds_it_and_what_came_due_was_missed(trial: Trial) -> None:
    made = trial.schedule(digest, EVERY_5)
    trial.advance(6 * 60)
    made.pause(by="ada", reason="holidays")
    assert (made.paused, made.next_at) == (True, None)
    trial.advance(30 * 60)
    assert minutes(trial) == [5]
    with pytest.raises(Conflict, match=f"schedule {made.name} is paused already"):
        made.pause()
    with pytest.raises(Conflict, match="is paused"):
        made.run_now()
    made.unpause()
    trial.settle()
    assert told(trial)[1:] == [("skipped", 10, "missed", 5), ("fired", 35, "on time", 1)]
    trial.advance(5 * 60)
    assert minutes(trial)[-1] == 40
    assert not made.refresh().paused
    with pytest.raises(Conflict, match=f"schedule {made.name} is not paused"):
        made.unpause()


def test_run_now_starts_one_beside_the_plan(trial: Trial) -> None:
    made = trial.schedule(digest, EVERY_5)
    trial.advance(60)
    made.run_now(by="ada")
    trial.settle()
    trial.advance(5 * 60)
    assert told(trial) == [("fired", 1, "asked for", 1), ("fired", 5, "on time", 1)]


def test_run_now_keeps_to_the_rule_for_overlaps(trial: Trial) -> None:
    made = trial.schedule(slow, EVERY_5)
    trial.advance(6 * 60)
    with pytest.raises(Conflict, match="is going on, and no two may overlap"):
        made.run_now()
    made = trial.schedule(slow, EVERY_5, overlap="queue")
    trial.settle()
    made.run_now()
    trial.advance(12 * 60)
    assert minutes(trial, "slow") == [5, 17]
    assert told(trial)[-1] == ("fired", 6, "asked for", 1)


def test_remove_ends_it_and_leaves_what_it_started(trial: Trial) -> None:
    made = trial.schedule(slow, EVERY_5)
    trial.advance(6 * 60)
    made.remove(by="ada")
    trial.settle()
    assert trial.schedules() == []
    (run,) = started(trial, "slow")
    assert run.result() == "done"
    trial.advance(3_600)
    assert minutes(trial, "slow") == [5]
    for act in (made.refresh, made.pause, made.run_now, made.remove):
        with pytest.raises(NotFound, match="there is no schedule 'slow'"):
            act()


def test_one_removed_with_nobody_there_is_gone_and_can_be_declared_again(trial: Trial) -> None:
    made = trial.schedule(digest, EVERY_5)
    trial.down()
    made.remove()
    assert trial.schedules() == []
    again = trial.schedule(digest, EVERY_5)
    assert again.run_id != made.run_id
    trial.up()
    trial.advance(11 * 60)
    assert minutes(trial) == [5, 10]
    assert [one.run_id for one in trial.schedules()] == [again.run_id]


# Declaring ---------------------------------------------------------------------------------------------------------


def test_declaring_the_same_again_does_nothing_and_another_thing_changes_it(trial: Trial) -> None:
    made = trial.schedule(digest, EVERY_5, 1)
    trial.advance(6 * 60)
    cursor = trial.cursor()
    again = trial.schedule(digest, "*/5  *  * * *", 1)
    assert (again.run_id, trial.cursor()) == (made.run_id, cursor)
    changed = trial.schedule(digest, "*/2 * * * *", 2)
    assert changed.run_id == made.run_id
    assert (changed.cron, changed.next_at) == ("*/2 * * * *", NEW_YEAR + 8 * MINUTE)
    trial.settle()
    cursor = trial.cursor()
    trial.schedule(digest, "*/2 * * * *", 2)
    assert trial.cursor() == cursor
    trial.advance(4 * 60)
    assert minutes(trial) == [5, 8, 10]
    assert [run.result() for run in started(trial, "digest")] == [1, 2, 2]
    trial.schedule(digest, EVERY_5, 1)
    trial.advance(6 * 60)
    assert minutes(trial) == [5, 8, 10, 15]


def test_changes_before_anybody_has_heard_of_the_first(trial: Trial) -> None:
    trial.down()
    trial.schedule(digest, EVERY_5, 1)
    trial.schedule(digest, EVERY_5, 2)
    trial.schedule(digest, EVERY_5, 1)
    last = trial.schedule(other, EVERY_5, name="digest")
    assert [(one.name, one.workflow) for one in trial.schedules()] == [("digest", "other")]
    trial.up()
    trial.advance(6 * 60)
    assert (minutes(trial), minutes(trial, "other")) == ([], [5])
    assert last.refresh().workflow == "other"


def test_a_change_of_anything_else_loses_no_time(trial: Trial) -> None:
    trial.schedule(digest, EVERY_5)
    trial.advance(4 * 60)
    trial.schedule(digest, EVERY_5, priority=5, missed="once")
    trial.advance(2 * 60)
    assert minutes(trial) == [5]


def test_two_schedules_of_one_workflow_have_names_of_their_own(trial: Trial) -> None:
    trial.schedule(digest, EVERY_5, 1)
    trial.schedule(digest, "*/7 * * * *", 2, name="weekly digest")
    trial.advance(8 * 60)
    assert [one.name for one in trial.schedules()] == ["digest", "weekly digest"]
    assert minutes(trial) == [5, 7]


def test_many_processes_that_declare_at_once_make_one_schedule(trial: Trial, tmp_path: Path) -> None:
    clients = [vbl.connect(trial.path) for _ in range(8)]
    begin = threading.Barrier(8)

    def declare(client: vbl.Client) -> None:
        begin.wait()
        client.schedule(digest, EVERY_5, 1)

    threads = [threading.Thread(target=declare, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trial.runs(workflow="vbl.schedule", limit=None)) == 1
    for client in clients:
        client.close()


def test_what_code_declares_is_in_every_file_that_is_supervised(tmp_path: Path) -> None:
    made = vbl.schedule(digest, EVERY_5, 3, overlap="queue")
    assert made.upcoming(2, after=NEW_YEAR) == [NEW_YEAR + 5 * MINUTE, NEW_YEAR + 10 * MINUTE]
    with pytest.raises(UsageError, match="no file has it yet"):
        made.pause()
    for name in ("a.db", "b.db"):
        with Trial(tmp_path / name, clock=FakeClock()) as trial:
            trial.advance(6 * 60)
            assert minutes(trial) == [5]
            assert trial.schedules()[0].overlap == "queue"
            late = vbl.schedule(other, EVERY_5)
            assert late.run_id in {one.run_id for one in trial.schedules()}
            late.pause()
            assert [one.paused for one in trial.schedules()] == [False, True]
    with pytest.raises(UsageError, match="no file has it yet"):
        made.pause()
    with Trial(tmp_path / "a.db", clock=FakeClock()) as trial:
        assert len(trial.runs(workflow="vbl.schedule")) == 2
        assert [one.paused for one in trial.schedules()] == [False, True]


@pytest.mark.slow
def test_a_supervisor_of_this_process_keeps_them_in_real_time(tmp_path: Path) -> None:
    vbl.schedule(digest, "* * * * * *", 5)
    with vbl.open(tmp_path / "real.db") as runtime:
        (made,) = runtime.schedules()
        done = threading.Event()
        found: list[Run] = []
        while len(found) < 2 and not done.wait(0.05):
            found = runtime.runs(workflow="digest")
        assert [run.result(timeout=10) for run in found[-2:]] == [5, 5]
        fired = made.refresh().last_fire
        assert fired is not None
        assert fired.due_at % 1_000_000 == 0
        assert fired.at >= fired.due_at, "it fired before its time"


# Handing over ------------------------------------------------------------------------------------------------------


def generations(trial: Trial) -> list[Run]:
    return started(trial, "vbl.schedule")


def test_it_hands_over_so_that_its_replays_stay_short(monkeypatch: pytest.MonkeyPatch, trial: Trial) -> None:
    monkeypatch.setattr(schedules, "ENTRIES", 4)
    made = trial.schedule(digest, EVERY_5, 9)
    trial.advance(61 * 60)
    assert minutes(trial) == list(range(5, 61, 5))
    runs = generations(trial)
    assert [str(run.status) for run in runs] == ["completed", "completed", "completed", "waiting"]
    assert [run.result() for run in runs[:-1]] == [run.id for run in runs[1:]]
    assert made.refresh().run_id == runs[-1].id
    assert [one.run_id for one in trial.schedules()] == [runs[-1].id]
    made.pause()
    assert str(runs[-1].status) == "paused"
    assert_sound(trial)


@pytest.mark.slow
def test_a_hundred_fires_are_kept_by_two_runs(trial: Trial) -> None:
    trial.schedule(digest, "* * * * *")
    trial.advance(130 * 60)
    assert minutes(trial) == list(range(1, 131))
    assert [len(run.facts()) < 1_500 for run in generations(trial)] == [True, True]


def test_what_waits_and_what_was_changed_are_handed_over(monkeypatch: pytest.MonkeyPatch, trial: Trial) -> None:
    monkeypatch.setattr(schedules, "ENTRIES", 3)
    made = trial.schedule(slow, EVERY_5, minutes=12, overlap="queue")
    trial.advance(6 * 60)
    trial.schedule(slow, EVERY_5, minutes=3, overlap="queue")
    made.run_now()
    trial.advance(40 * 60)
    assert len(generations(trial)) > 2
    assert {run.state().input["minutes"] for run in started(trial, "slow")[1:]} == {3}
    kinds = [kind for kind, *_ in told(trial)]
    assert kinds.count("fired") == len(started(trial, "slow"))
    assert fates(trial) == 9 + 1  # each instant, and the one that was asked for
    assert trial.schedules()[0].input == {"minutes": 3}


def test_a_run_that_never_ends_does_not_make_the_history_grow(monkeypatch: pytest.MonkeyPatch, trial: Trial) -> None:
    monkeypatch.setattr(schedules, "ENTRIES", 4)
    trial.schedule(slow, EVERY_5, minutes=3 * 1_440)
    trial.advance(2 * 86_400)
    assert len(told(trial)) < 8
    trial.advance(86_400 + 20 * 60)
    found = told(trial)
    assert [entry for entry in found if entry[0] == "fired"] == [
        ("fired", 5, "on time", 1),
        *[("fired", at, "on time", 1) for at in (4_330,) if at <= 3 * 1_440 + 20],
    ]
    assert {reason for kind, _, reason, _ in found if kind == "skipped"} == {"the one before still runs"}
    assert fates(trial) == (3 * 1_440 + 20) // 5


# Death -------------------------------------------------------------------------------------------------------------


def test_a_replay_does_not_ask_for_the_rules_of_today(monkeypatch: pytest.MonkeyPatch, trial: Trial) -> None:
    made = trial.schedule(digest, EVERY_5)
    trial.advance(11 * 60)
    trial.kill()
    look = schedules.planning.look
    monkeypatch.setattr(schedules.planning, "look", lambda line, tz, after, now: look("*/7 * * * *", tz, after, now))
    trial.up()
    trial.advance(12 * 60)
    assert minutes(trial) == [5, 10, 15, 21]
    assert str(made.refresh().status) == "waiting"


@pytest.mark.slow
@pytest.mark.parametrize("when", ["die_before", "die_after"])
def test_any_death_leaves_each_instant_one_fate(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "ENTRIES", 2)
    commits = 1
    number = 0
    while number < commits:
        number += 1
        clock = FakeClock()
        path = tmp_path / f"{when}-{number}.db"
        with Trial(path, clock=clock) as trial:
            trial.down()
            trial.schedule(digest, EVERY_5, grace=86_400)
            trial.up(**{when: number})
            trial.advance(16 * 60)
            if number == 1 and not trial.died:
                commits = 0
            if trial.died:
                commits = max(commits, number + 1)
                trial.up()
            trial.advance(NEW_YEAR / 1e6 + 16 * 60 - clock.now() / 1e6)
            trial.settle()
            assert [(kind, at) for kind, at, *_ in told(trial)] == [("fired", 5), ("fired", 10), ("fired", 15)]
            assert len(started(trial, "digest")) == 3
            assert len(trial.schedules()) == 1
            assert_sound(trial)
    assert number > 6


# Bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (((digest, "61 * * * *"), {}), UsageError, "is no cron line"),
        (((digest, "0 0 31 2 *"), {}), UsageError, "is no cron line"),
        (((digest, EVERY_5), {"tz": "Mars/Olympus"}), UsageError, "there is no time zone"),
        (((digest, EVERY_5), {"overlap": "both"}), UsageError, "overlap='both'"),
        (((digest, EVERY_5), {"missed": "maybe"}), UsageError, "missed='maybe'"),
        (((digest, EVERY_5), {"grace": -1}), UsageError, "grace: -1 is no number"),
        (((digest, EVERY_5), {"grace": float("nan")}), UsageError, "grace: nan is no number"),
        (((digest, EVERY_5), {"grace": "soon"}), UsageError, "grace: 'soon' is no number"),
        (((digest, EVERY_5), {"name": ""}), UsageError, "cannot be called"),
        (((digest, EVERY_5), {"name": "a\nb"}), UsageError, "cannot be called"),
        (((digest, EVERY_5), {"priority": "high"}), UsageError, "priority='high'"),
        (((digest, EVERY_5), {"tags": ["a\nb"]}), UsageError, "tag"),
        (((digest, EVERY_5, "seven"), {}), InvalidInput, "parameter n"),
        (((digest, EVERY_5), {"m": 1}), InvalidInput, "unexpected keyword"),
        (((digest, EVERY_5), {"note": "x" * 100_000}), UsageError, "too long to be kept"),
        (((len, EVERY_5), {}), UsageError, "is no workflow"),
        ((("nobody", EVERY_5), {}), NotFound, "nobody"),
        ((("vbl.schedule", EVERY_5), {}), UsageError, "cannot be scheduled"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused_and_nothing_is_written(
    trial: Trial, given: tuple[tuple[object, ...], dict[str, object]], error: type[Exception], said: str
) -> None:
    trial.settle()
    cursor = trial.cursor()
    args, kwargs = given
    for declare in (trial.schedule, vbl.schedule):
        with pytest.raises(error, match=said):
            declare(*args, **kwargs)  # type: ignore[operator]
    assert (trial.cursor(), trial.schedules()) == (cursor, [])


@vbl.workflow
async def declares() -> None:
    vbl.schedule(digest, EVERY_5)


def test_a_workflow_cannot_declare_one(trial: Trial) -> None:
    run = trial.start(declares)
    with pytest.raises(vbl.RunFailed, match=NotInWorkflow.__name__):
        run.result()


def test_a_word_that_is_none_changes_nothing(trial: Trial) -> None:
    from vbl.history import transitions
    from vbl.store.journal import draft

    made = trial.schedule(digest, EVERY_5)
    trial.down()
    assert made.run_id is not None
    for data in ("hello", {"do": "dance"}, {"do": "change", "spec": {"cron": "x"}}):
        trial._journal.commit(  # pyright: ignore[reportPrivateUsage]
            made.run_id,
            lambda state, data=data: [
                draft(state.at, one) for one in transitions.signal(state, "schedule", data, None, "eve")
            ],
        )
    trial.up()
    trial.advance(6 * 60)
    assert minutes(trial) == [5]
    assert str(made.refresh().status) == "waiting"
