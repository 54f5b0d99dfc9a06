"""The timeline of histories written by hand: every attempt has its bar, every stretch without motion its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.history.hand import SECOND, START, History
from tests.history.legal import histories
from vbl.history.axis import axis
from vbl.history.plotting import timeline
from vbl.history.remarks import remarks
from vbl.history.state import fold
from vbl.history.timeline import Outcome, Stand, Timeline


def lane(picture: Timeline, step: str):
    (found,) = [lane for lane in picture.lanes if lane.step == step]
    return found


def spans(bars):
    """(attempt, outcome, start, end) with times in seconds since the run was created."""
    return [
        (b.attempt, b.outcome.value, (b.start_at - START) / SECOND, b.end_at and (b.end_at - START) / SECOND)
        for b in bars
    ]


def stands(waits):
    return [(w.stand.value, (w.start_at - START) / SECOND, w.end_at and (w.end_at - START) / SECOND) for w in waits]


def test_each_attempt_has_a_bar_and_each_backoff_its_words():
    h = History().started(1).step("fetch").failed("fetch", 2, final=False).backoff("fetch", 30, 2)
    h.step("fetch", 30, attempt=2).done("fetch", 4, attempt=2).add("RUN_COMPLETED", output=1)
    picture = timeline(h.facts, h.now)
    fetch = lane(picture, "fetch")
    assert spans(fetch.bars) == [(1, "failed", 1, 3), (2, "completed", 33, 37)]
    assert fetch.bars[0].text == "transient: OSError: the line is dead"
    assert stands(fetch.waits) == [("backoff", 3, 33)]
    assert fetch.waits[0].text == "fetch failed, retrying in 30 s, attempt 2 of 5"
    assert stands(picture.waits) == [("queued", 0, 1)]
    assert picture.finished


def test_an_interruption_takes_no_attempt_of_the_policy():
    h = History().started().step("a").add("STEP_INTERRUPTED", 1, step="a", attempt=1, epoch=1)
    h.add("RUN_RESUMED", epoch=2, reason="takeover").step("a", 0, attempt=2).failed("a", 1, attempt=2, final=False)
    h.backoff("a", 10, attempt=3, max_attempts=2)
    (wait,) = lane(timeline(h.facts, h.now), "a").waits
    assert wait.text.endswith("attempt 2 of 2")


def test_a_killed_supervisor_leaves_a_gap_from_its_last_sign_of_life():
    h = History().started().step("a").done("a", 2).step("b")
    h.add("STEP_INTERRUPTED", 60, step="b", attempt=1, epoch=1).add("RUN_RESUMED", epoch=2, reason="takeover")
    h.step("b", 0, attempt=2).done("b", 3, attempt=2).add("RUN_COMPLETED")
    picture = timeline(h.facts, h.now)
    assert stands(picture.waits)[1:] == [("down", 2, 62)]
    assert picture.waits[1].text == "supervisor died, back after 1 min at most"
    assert spans(lane(picture, "b").bars) == [(1, "interrupted", 2, 2), (2, "completed", 62, 65)]
    assert [mark.text for mark in picture.marks] == ["resumed: takeover"]


def test_several_steps_lost_together_make_one_gap():
    h = History().started().step("a").step("b", 1)
    for key in ("a", "b"):
        h.add("STEP_INTERRUPTED", 5 if key == "a" else 0, step=key, attempt=1, epoch=1)
    h.add("RUN_RESUMED", epoch=2, reason="takeover").step("a", attempt=2).step("b", attempt=2)
    assert [s for s in stands(timeline(h.facts, h.now).waits) if s[0] == "down"] == [("down", 1, 6)]


def test_a_graceful_stop_is_known_exactly():
    h = History().started().step("a").add("STEP_INTERRUPTED", 5, step="a", attempt=1, epoch=1, counted=False)
    down = timeline(h.facts, h.now + 10 * SECOND, supervised=False).waits[-1]
    assert (down.stand, down.end_at) == (Stand.DOWN, None)
    h.add("RUN_RESUMED", 3600, epoch=2, reason="takeover").step("a", attempt=2)
    picture = timeline(h.facts, h.now)
    assert stands(picture.waits)[-1] == ("down", 5, 3605)
    assert picture.waits[-1].text == "supervisor was down 1 h"
    assert spans(lane(picture, "a").bars) == [(1, "interrupted", 0, 5), (2, "running", 3605, None)]


def test_a_step_in_flight_without_a_supervisor_shows_the_loss_before_it_is_recorded():
    h = History().started().step("a", 1)
    picture = timeline(h.facts, h.now + 9 * SECOND, supervised=False)
    assert stands(picture.waits)[-1] == ("down", 1, None)
    assert spans(lane(picture, "a").bars) == [(1, "lost", 1, 1)]
    assert [w.stand for w in timeline(h.facts, h.now + 9 * SECOND).waits] == [Stand.QUEUED]


def test_a_timer_that_fired_late_says_by_how_much():
    h = History().started().add("TIMER_SET", timer=1, at=START + 10 * SECOND)
    h.add("TIMER_FIRED", 25, timer=1).add("RUN_COMPLETED")
    (wait,) = [w for w in timeline(h.facts, h.now).waits if w.stand is Stand.TIMER]
    assert (wait.late, wait.text) == (15 * SECOND, "timer 1, 10 s")


def test_a_timer_no_longer_needed_is_no_promise_broken():
    h = History().started().add("TIMER_SET", timer=1, at=START + 10 * SECOND).add("TIMER_CANCELLED", 2, timer=1)
    (wait,) = [w for w in timeline(h.facts, h.now).waits if w.stand is Stand.TIMER]
    assert (wait.late, wait.text) == (0, "timer 1, 10 s, not needed")


def test_pause_block_and_failure_are_stretches_with_an_end():
    h = History().started().add("RUN_PAUSED", 1, actor="ada").add("RUN_UNPAUSED", 2)
    h.add("RUN_BLOCKED", 1, reason="diverged", version="v2", message="m", unblock="u").add(
        "RUN_RESUMED", 5, epoch=1, reason="code"
    )
    h.step("a").failed("a", 1).add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "x"})
    h.add("RUN_RETRIED", 7, step="a", from_seq=h.facts[-2].seq)
    picture = timeline(h.facts, h.now)
    assert stands(picture.waits)[1:] == [("paused", 1, 3), ("blocked", 4, 9), ("ended", 10, 17)]
    assert picture.waits[1].text == "paused by ada"


def test_a_run_that_stays_failed_has_no_stretch_for_it():
    h = (
        History()
        .started()
        .step("a")
        .failed("a", 1)
        .add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "x"})
    )
    picture = timeline(h.facts, h.now + 99 * SECOND)
    assert [w.stand for w in picture.waits] == [Stand.QUEUED]
    assert picture.end_at == h.now


def test_a_retry_voids_what_the_code_asked_for_after_the_failure():
    h = History().started().step("a").failed("a", 1)
    failed_at = h.facts[-1].seq
    h.digested().step("clean_up").done("clean_up", 1)
    h.add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "x"}).add(
        "RUN_RETRIED", 1, step="a", from_seq=failed_at
    )
    h.step("a", attempt=2).done("a", 1, attempt=2).step("clean_up", attempt=2)
    picture = timeline(h.facts, h.now)
    assert [bar.void for bar in lane(picture, "clean_up").bars] == [True, False]
    assert [bar.void for bar in lane(picture, "a").bars] == [False, False]
    assert lane(picture, "clean_up").status == "running"


def test_a_step_given_up_in_a_race_ends_cancelled_also_when_its_result_comes_later():
    h = History().started().step("slow").step("fast").done("fast", 1).add("STEP_CANCELLED", step="slow")
    h.add("STEP_COMPLETED", 5, step="slow", attempt=1, output=1)
    slow = lane(timeline(h.facts, h.now), "slow")
    assert (spans(slow.bars), slow.status) == ([(1, "cancelled", 0, 1)], "cancelled")


GATE, CHILD = "g_abcdefghjkmn", "r_fedcba9876543210"


def outside(picture: Timeline):
    """(kind, name, start, end, outcome) of what others end, with times in seconds since the run was created."""
    return [
        (w.stand.value, w.name, (w.start_at - START) / SECOND, w.end_at and (w.end_at - START) / SECOND, w.outcome)
        for w in picture.waits
        if w.name
    ]


def asking(**more) -> History:
    return History().started().add("APPROVAL_REQUESTED", **{"gate": GATE, "key": "send", "name": "send", **more})


@pytest.mark.parametrize(
    ("type", "payload", "outcome"),
    [
        ("APPROVAL_GRANTED", {"actor": "ada"}, "granted by ada"),
        ("APPROVAL_GRANTED", {"actor": "ada", "edit": {"text": "x"}}, "granted by ada, edited"),
        ("APPROVAL_DENIED", {"actor": "ada"}, "denied by ada"),
        ("APPROVAL_EXPIRED", {"outcome": "approve"}, "expired, which approves it"),
        ("APPROVAL_CLOSED", {}, "not needed"),
    ],
)
def test_a_gate_is_a_stretch_from_the_question_to_the_decision(type, payload, outcome):
    h = asking().add(type, 60, gate=GATE, **payload)
    assert outside(timeline(h.facts, h.now)) == [("gate", "send", 0, 60, outcome)]
    open_gate = timeline(asking().facts, h.now)
    assert outside(open_gate) == [("gate", "send", 0, None, "")]


def test_what_happens_to_an_open_gate_is_a_mark():
    h = asking(to=["ada"], need=2, expires_at=START + 90 * SECOND).add("APPROVAL_REMINDED", 10, gate=GATE)
    h.add("DECISION_REFUSED", 10, gate=GATE, actor="bob", decision="approve", why="bob may not")
    h.add("APPROVAL_ESCALATED", 10, gate=GATE, to=["eve"], expires_at=START + 180 * SECOND)
    h.add("APPROVAL_GRANTED", 10, gate=GATE, actor="ada", final=False)
    picture = timeline(h.facts, h.now)
    assert [mark.text for mark in picture.marks] == [
        "gate send still open: a reminder",
        "gate send: approve by bob refused, bob may not",
        "gate send escalated to eve",
        "gate send approved by ada, more are needed",
    ]
    (wait,) = [w for w in picture.waits if w.name]
    assert (wait.end_at, wait.until_at) == (None, START + 180 * SECOND)


def test_a_wait_for_a_signal_ends_when_one_comes_or_none_did():
    h = History().started().add("SIGNAL_AWAITED", wait=1, name="a").add("SIGNAL_AWAITED", wait=2, name="a")
    h.add("SIGNAL_RECEIVED", 5, name="a", actor="shop").add("WAIT_EXPIRED", 5, wait=2)
    h.add("SIGNAL_RECEIVED", 1, name="a").add("SIGNAL_AWAITED", 1, wait=3, name="a")
    h.add("SIGNAL_AWAITED", wait=4, name="a").add("WAIT_CANCELLED", 1, wait=4)
    picture = timeline(h.facts, h.now)
    assert sorted(outside(picture), key=lambda w: w[2:4]) == [
        ("signal", "a", 0, 5, "received by shop"),
        ("signal", "a", 0, 10, "none came in time"),
        ("signal", "a", 12, 12, "had come before"),
        ("signal", "a", 12, 13, "not needed"),
    ]
    assert [mark.text for mark in picture.marks] == ["signal a came before it was waited for"]


def test_a_child_is_a_stretch_of_its_life_and_says_how_it_ended():
    h = History().started().add("CHILD_STARTED", call="trip", child=CHILD, workflow="trip")
    assert outside(timeline(h.facts, h.now)) == [("child", "trip", 0, None, "")]
    error = {"kind": "bug", "type": "E", "message": "x"}
    h.add("CHILD_FINISHED", 7, call="trip", child=CHILD, status="failed", error=error)
    picture = timeline(h.facts, h.now)
    assert outside(picture) == [("child", "trip", 0, 7, "failed (bug: E: x)")]
    assert [r.text for r in remarks(picture)] == [f"child trip ({CHILD}): failed (bug: E: x) after 7 s"]
    h.add("CHILD_STARTED", call="trip#2", child="r_2", workflow="trip").add(
        "CHILD_CANCELLED", call="trip#2", child="r_2"
    )
    assert outside(timeline(h.facts, h.now))[-1] == ("child", "trip", 7, 7, "given up")


@given(histories())
def test_every_history_can_be_drawn_and_every_gate_wait_and_child_has_its_stretch(facts):
    picture = timeline(facts, facts[-1].at + SECOND)
    state = fold(facts)
    for stand, type, is_open in [
        (Stand.GATE, "APPROVAL_REQUESTED", len(state.open_gates)),
        (Stand.SIGNAL, "SIGNAL_AWAITED", len(state.open_waits)),
        (Stand.CHILD, "CHILD_STARTED", len(state.open_children)),
    ]:
        drawn = [wait for wait in picture.waits if wait.stand is stand]
        assert len(drawn) == sum(fact.type == type for fact in facts)
        retried = any(fact.type == "RUN_RETRIED" for fact in facts)
        assert state.finished or retried or sum(wait.end_at is None for wait in drawn) == is_open


def test_what_is_worth_a_sentence_is_told_once_and_in_order():
    h = History().started().step("fetch").failed("fetch", 2, final=False).backoff("fetch", 30, 2)
    h.step("fetch", 33, attempt=2).add("STEP_INTERRUPTED", 60, step="fetch", attempt=2, epoch=1)
    h.add("RUN_RESUMED", epoch=2, reason="takeover").step("fetch", attempt=3).failed("fetch", 1, attempt=3)
    h.add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "x"}).add("RUN_RETRIED", 5, actor="ada")
    told = [(round((r.at - START) / SECOND), r.text, r.grave) for r in remarks(timeline(h.facts, h.now))]
    assert told == [
        (2, "fetch failed, retrying in 30 s, attempt 2 of 5 (transient: OSError: the line is dead); 3 s late", False),
        (35, "fetch interrupted on attempt 2: its process died", False),
        (35, "supervisor died, back after 1 min at most", False),
        (95, "resumed: takeover", False),
        (96, "fetch failed for good on attempt 3 (transient: OSError: the line is dead)", True),
        (96, "failed: bug: E: x", False),
        (101, "retried by ada", False),
    ]


def test_the_items_of_a_map_share_a_name():
    h = History().started().step("fetch[0]").step("fetch[a, b]").step("fetch#2").step("fetch by hand")
    assert [lane.name for lane in timeline(h.facts, h.now).lanes] == ["fetch", "fetch", "fetch", "fetch by hand"]


def test_an_unfinished_run_ends_at_the_present():
    h = History().started().step("a")
    picture = timeline(h.facts, h.now + 5 * SECOND)
    assert picture.end_at == h.now + 5 * SECOND
    assert lane(picture, "a").bars[0].outcome is Outcome.RUNNING


def test_long_idle_stretches_are_cut_and_short_ones_are_not():
    h = History().started().step("a").done("a", 10).add("TIMER_SET", timer=1, at=START + 86_400 * SECOND)
    h.add("TIMER_FIRED", 86_390, timer=1).step("b").done("b", 4).step("c", 2).done("c", 4).add("RUN_COMPLETED")
    line = axis(timeline(h.facts, h.now))
    assert [piece.cut for piece in line.pieces] == [False, True, False]
    assert line.pieces[1].right - line.pieces[1].left == pytest.approx(0.12)
    a, gap, rest = ((p.right - p.left) for p in line.pieces)
    assert a == pytest.approx(rest)
    assert gap < a


def test_a_run_without_any_work_is_not_cut():
    h = History()
    line = axis(timeline(h.facts, h.now + 3600 * SECOND))
    assert [piece.cut for piece in line.pieces] == [False]


gaps = st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), max_size=30)


@given(gaps, st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_the_axis_keeps_the_order_of_time_and_stays_within_its_bounds(steps, shares):
    h = History().started()
    for number, (idle, work) in enumerate(steps):
        h.step(f"s{number}", idle).done(f"s{number}", work)
    picture = timeline(h.facts, h.now + SECOND)
    line = axis(picture)
    instants = sorted(picture.start_at + round(share * (picture.end_at - picture.start_at)) for share in shares)
    places = [line.place(at) for at in instants]
    assert places == sorted(places)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert line.pieces[0].left == 0
    assert line.pieces[-1].right == pytest.approx(1)
    assert all(a.end_at == b.start_at and a.right == b.left for a, b in zip(line.pieces, line.pieces[1:], strict=False))


@given(gaps, st.data())
def test_every_prefix_of_a_history_can_be_drawn_and_every_attempt_has_one_bar(steps, data):
    h = History().started()
    for number, (idle, work) in enumerate(steps):
        h.step(f"s{number % 3}", idle) if number < 3 else h.step(f"t{number}", idle)
        h.done(f"s{number % 3}" if number < 3 else f"t{number}", work)
    facts = h.facts[: data.draw(st.integers(1, len(h.facts)))]
    picture = timeline(facts, facts[-1].at)
    started = sum(fact.type == "STEP_STARTED" for fact in facts)
    assert sum(len(lane.bars) for lane in picture.lanes) == started
    assert all(bar.end_at is None or bar.end_at >= bar.start_at for lane in picture.lanes for bar in lane.bars)
