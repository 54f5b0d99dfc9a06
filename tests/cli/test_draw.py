"""The timeline in characters: what is on the picture, in Unicode and in ASCII, at any width."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.history.hand import SECOND, START, History
from vbl.cli.draw import draw
from vbl.cli.terminal import columns
from vbl.history.plotting import timeline


def plain(text: str, style: str) -> str:
    return text


def picture(h: History, *, after: float = 0, supervised: bool = True, **options):
    drawn = timeline(h.facts, h.now + round(after * SECOND), supervised=supervised)
    return draw(drawn, options.pop("width", 80), options.pop("unicode", True), plain, **options)


def eventful() -> History:
    """Every outcome and most waits: a failure, a backoff, a killed supervisor, a sleep, a final failure."""
    h = History().started().step("fetch").done("fetch", 3)
    h.step("outline").failed("outline", 2, final=False).backoff("outline", 4, 2)
    h.step("outline", 4, attempt=2).step("draft", 1)
    for key, attempt in (("outline", 2), ("draft", 1)):
        h.add("STEP_INTERRUPTED", 7200 if key == "outline" else 0, step=key, attempt=attempt, epoch=1)
    h.add("RUN_RESUMED", epoch=2, reason="takeover").step("outline", attempt=3).step("draft", attempt=2)
    h.done("outline", 4, attempt=3).done("draft", 1, attempt=2)
    h.add("TIMER_SET", timer=1, at=h.now + 60 * SECOND).add("TIMER_FIRED", 60, timer=1)
    return h.step("send").failed("send", 1).add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "x"})


UNICODE = """\
  fetch          █████             ┆            ┆     3 s
  outline            1▒▒▒✗╱╱╱╱╱2▚↯ ┆ 3███████   ┆     4 s, attempt 3
  draft                          ↯ ┆ 2█████████ ┆     5 s, attempt 2
  no supervisor                  ╌╌╌╌╌          ┆     2 h
  asleep                           ┆          ┄┄┄┄┄   1 min
  send                             ┆            ┆ ▒✗  failed 1 s

                 0               ‹2 h›       ‹1 min›
                 ▒ failed   ▚ interrupted   ╱ backoff   ┄ asleep
                 ╌ no supervisor"""

ASCII = """\
  fetch          =====             :            :     3 s
  outline            1xxxx/////2!! : 3=======   :     4 s, attempt 3
  draft                          ! : 2========= :     5 s, attempt 2
  no supervisor                  ~~~~~          :     2 h
  asleep                           :          .....   1 min
  send                             :            : xx  failed 1 s

                 0               <2 h>       <1 min>
                 x failed   ! interrupted   / backoff   . asleep
                 ~ no supervisor"""


def test_a_picture_in_unicode():
    assert "\n".join(picture(eventful())) == UNICODE


def test_a_picture_in_ascii():
    lines = picture(eventful(), unicode=False)
    assert "\n".join(lines) == ASCII
    assert all(line.isascii() for line in lines)


def test_every_outcome_and_wait_differs_without_colour():
    from vbl.cli.draw import FILL

    for place in (0, 1):
        signs = [sign[place] for what, sign in FILL.items() if what not in ("running", "ended", "lost")]
        assert len(set(signs)) == len(signs)


def test_what_goes_on_is_told_at_the_end_of_its_row():
    h = History().started().step("a").step("b").failed("b", 1, final=False).backoff("b", 30, 2)
    assert [line.split("  ")[-1] for line in picture(h, after=4)[:2]] == ["running 5 s", "retries in 26 s"]
    h = History().started().add("TIMER_SET", timer=1, at=START + 60 * SECOND)
    assert picture(h, after=20)[0].endswith("wakes in 40 s")


def test_a_late_timer_says_so():
    h = History().started().add("TIMER_SET", timer=1, at=START + 10 * SECOND).add("TIMER_FIRED", 40, timer=1)
    assert any(line.startswith("  asleep") and line.endswith("40 s, 30 s late") for line in picture(h))


def test_a_gate_a_signal_and_a_child_have_rows_of_their_own():
    h = (
        History()
        .started()
        .add("APPROVAL_REQUESTED", gate="g_1", key="send", name="send", expires_at=START + 60 * SECOND)
    )
    h.add("SIGNAL_AWAITED", wait=1, name="payment").add("CHILD_STARTED", call="trip", child="r_2", workflow="trip")
    rows = {line[2:17].strip(): line.split("  ")[-1] for line in picture(h, after=20)[:3]}
    assert rows == {"ask send": "ends in 40 s", "signal payment": "open", "child trip": "open"}
    h.add("APPROVAL_DENIED", 30, gate="g_1", actor="ada").add(
        "CHILD_FINISHED", call="trip", child="r_2", status="failed"
    )
    shown = "\n".join(picture(h, after=20))
    assert "denied by ada" in shown
    assert "failed" in shown
    assert all(line.isascii() for line in picture(h, after=20, unicode=False))


def test_waits_that_overlap_are_not_counted_twice():
    h = (
        History()
        .started()
        .add("TIMER_SET", timer=1, at=START + 10 * SECOND)
        .add("TIMER_SET", timer=2, at=START + 99 * SECOND)
    )
    h.add("TIMER_FIRED", 10, timer=1).add("TIMER_CANCELLED", timer=2)
    assert picture(h)[0].endswith("  10 s")
    h.add("TIMER_SET", 5, timer=3, at=START + 20 * SECOND).add("TIMER_FIRED", 5, timer=3)
    assert picture(h)[0].endswith("  15 s, 2 times")


def many(number: int) -> History:
    h = History().started()
    for n in range(number):
        h.step("summarise" if n == 0 else f"summarise#{n + 1}")
    return h


def test_many_steps_of_one_name_share_a_row_and_all_shows_each():
    h = many(60).done("summarise", 1).failed("summarise#2", 1)
    (row,) = [line for line in picture(h) if line.startswith("  summarise")]
    assert row.startswith("  summarise ×60")
    assert row.endswith("58 running, 1 failed")
    assert len([line for line in picture(h, whole=True) if line.startswith("  summarise")]) == 60


def test_many_names_are_shortened_in_the_middle():
    h = History().started()
    for n in range(100):
        h.step(f"step {n}").done(f"step {n}", 1)
    lines = picture(h)
    rows = [line for line in lines if line.startswith(("  step", "  …"))]
    assert len(rows) == 40
    assert any("… 61 more" in line for line in rows)
    assert "step 0 " in rows[0]
    assert "step 99 " in rows[-1]


@settings(max_examples=50, deadline=None)
@given(st.integers(40, 250), st.booleans(), st.integers(0, 20))
def test_a_picture_fits_its_width(width, unicode, cut):
    h = eventful()
    facts = h.facts[: len(h.facts) - cut] or h.facts[:1]
    drawn = timeline(facts, facts[-1].at + SECOND)
    for line in draw(drawn, width, unicode, plain):
        assert columns(line) <= max(width, 72), line


def test_a_users_step_name_cannot_break_the_picture():
    h = History().started().step("evil\x1b[2J\n" + "x" * 100).step("日本語のステップ")
    lines = picture(h, after=1)
    assert all(line.isprintable() for line in lines)
    assert lines[0].index("█") == lines[0].find("█")
    assert {columns(line.split("█")[0]) for line in lines[:2]} == {columns(lines[0].split("█")[0])}


@pytest.mark.parametrize("unicode", [True, False])
def test_a_queued_run_has_a_picture(unicode):
    assert picture(History(), after=5, unicode=unicode)[0].endswith("5 s")
