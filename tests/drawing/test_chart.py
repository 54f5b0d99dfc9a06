"""The timeline as a chart: every attempt is on it once, within the picture, and nothing that was recorded is markup."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as xml
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.history.hand import SECOND, START, History
from tests.history.legal import histories
from vbl.drawing.chart import FOLDED, PAGE, chart, lanes
from vbl.drawing.hatches import fill
from vbl.drawing.lanes import CHUNK, LAST_SHAPES, MOST_SHAPES
from vbl.drawing.ruler import clock_ticks, elapsed_ticks
from vbl.history.axis import axis
from vbl.history.plotting import timeline
from vbl.history.rows import ENDS, TONES, rows
from vbl.history.timeline import Outcome, Stand, Timeline

VOID = re.compile(r"<(br|hr|img|input|link|meta|wbr)\b[^>]*>")
BARE = re.compile(r" (hx-preserve|open|hidden)(?=[ >])")


def parsed(markup: str) -> xml.Element:
    """The chart as a tree; it is well-formed, or this raises."""
    return xml.fromstring(BARE.sub(r' \1=""', VOID.sub("", markup)))


def classed(tree: xml.Element, name: str) -> list[xml.Element]:
    return [node for node in tree.iter() if name in (node.get("class") or "").split()]


def drawn(h: History, after: float = 0, *, supervised: bool = True, **options) -> xml.Element:
    picture = timeline(h.facts, h.now + round(after * SECOND), supervised=supervised)
    return parsed(chart(picture, zone=UTC, **options))


def words(node: xml.Element) -> str:
    return node.findtext("title") or ""


def retried() -> History:
    h = History().started().step("fetch").failed("fetch", 2, final=False).backoff("fetch", 30, 2)
    return h.step("fetch", 30, attempt=2).done("fetch", 4, attempt=2).add("RUN_COMPLETED", output=1)


def crowd(number: int) -> History:
    h = History().started().step("plan").done("plan", 1)
    for n in range(number):
        h.step(f"look[{n}]", name="look")
        h.add("STEP_COMPLETED", 1, step=f"look[{n}]", attempt=1, output=None)
    return h.add("RUN_COMPLETED", output=1)


def test_each_attempt_has_a_bar_that_leads_to_its_start():
    h = retried()
    starts = [fact.seq for fact in h.facts if fact.type == "STEP_STARTED"]
    bars = classed(drawn(h), "attempt")[: len(starts)]
    assert [bar.get("href") for bar in bars] == [f"#e{seq}" for seq in starts]
    assert [bar.get("class") for bar in bars] == ["attempt failed bad", "attempt completed good"]
    assert words(bars[0]) == (
        "fetch, attempt 1, failed after 2 s\nfrom +0.000 s (08:53:20)\ntransient: OSError: the line is dead"
    )
    assert all(bar.get("aria-label") == words(bar).replace("\n", " ") for bar in bars)


def test_a_backoff_is_hatched_and_says_how_long_it_was():
    (wait,) = [w for w in classed(drawn(retried()), "wait") if w.tag == "a"]
    assert wait.get("class") == "wait backoff warn"
    assert wait.find("rect").get("fill") == "url(#timeline-backoff)"  # type: ignore[union-attr]
    assert "".join(wait.itertext()).endswith("30 s")


def test_every_kind_has_a_tone_and_every_one_of_a_tone_its_own_pattern_or_sign():
    kinds = [*Outcome, *Stand]
    assert set(TONES) == set(kinds)
    looks = [(TONES[kind], fill(kind, "x"), ENDS.get(kind) if isinstance(kind, Outcome) else None) for kind in kinds]
    assert len(set(looks)) == len(kinds)


def test_an_attempt_that_a_retry_undid_is_struck():
    h = History().started().step("a").done("a", 1).step("b").failed("b", 1)
    h.add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "x"})
    h.add("RUN_RETRIED", 1, step="b", from_seq=h.facts[-4].seq, actor="ada")
    tree = drawn(h)
    (void,) = classed(tree, "void")
    assert words(void).endswith("undone by a retry of the run")
    assert [node.tag for node in classed(void, "struck")] == ["line"]
    assert [words(mark) for mark in classed(tree, "mark") if mark.tag == "a"] == ["retried by ada\n+3.000 s (08:53:23)"]


def test_a_stretch_without_a_supervisor_lies_behind_all_rows():
    h = History().started().step("a", 1)
    tree = drawn(h, 60, supervised=False)
    (grid,) = classed(tree, "grid")
    assert len(classed(grid, "down")) == 1
    assert [words(bar).split("\n")[0] for bar in classed(tree, "lost") if bar.tag == "a"] == [
        "a, attempt 1, lost after 0 ms"
    ]


def test_days_of_waiting_are_cut_or_have_their_real_length():
    h = History().started().step("a").done("a", 10).add("TIMER_SET", timer=1, at=START + 86_400 * SECOND)
    h.add("TIMER_FIRED", 86_400, timer=1).step("b").done("b", 10).add("RUN_COMPLETED")
    widths = {}
    for kind in ("compressed", "real"):
        tree = drawn(h, axis=kind)
        bar = next(node for node in classed(tree, "attempt") if node.tag == "a")
        widths[kind] = float(bar.find("rect").get("width").rstrip("%"))  # type: ignore[union-attr]
        assert len(classed(tree, "cut")) == (1 if kind == "compressed" else 0)
    assert widths["compressed"] > 40 > 0.02 > widths["real"]


def test_both_ways_of_counting_are_on_the_ruler():
    tree = drawn(History().started().step("a", 0).done("a", 60).add("RUN_COMPLETED"))
    (ruler,) = classed(tree, "ruler")
    shown = {
        name: [(text.get("class"), text.text) for text in group.iter("text") if text.get("class") in ("t0", "t1")]
        for name in ("elapsed", "clock")
        for group in classed(ruler, name)
    }
    assert shown == {
        "elapsed": [("t0", "0"), ("t0", "30 s"), ("t1", "10 s"), ("t1", "20 s"), ("t1", "40 s"), ("t1", "50 s")],
        "clock": [
            *(("t0", f"08:{at}") for at in ("53:30", "54:00")),
            *(("t1", f"08:{at}") for at in ("53:20", "53:40", "53:50", "54:10")),
        ],
    }


@pytest.mark.parametrize("grain", [1, 500, 100_000, SECOND, 30 * SECOND])
@pytest.mark.parametrize("length", [400, 90_000, 59.9 * SECOND, 3_601 * SECOND, 200_000.7 * SECOND])
def test_no_time_on_the_ruler_has_sixty_seconds(grain, length):
    picture = timeline(History().started().step("a", grain / SECOND).done("a", length / SECOND).facts, 0)
    texts = [tick.text for tick in (*elapsed_ticks(axis(picture)), *clock_ticks(axis(picture), UTC))]
    assert texts
    assert not [text for text in texts if re.search(r"\b60(\.\d+)? (s|min)\b|:60", text)]


def test_ticks_after_a_cut_are_told_apart():
    h = History().started().step("a").done("a", 10).add("TIMER_SET", timer=1, at=START + 14_400 * SECOND)
    h.add("TIMER_FIRED", 14_400, timer=1).step("b").done("b", 30).add("RUN_COMPLETED")
    (ruler,) = classed(drawn(h), "ruler")
    for name in ("elapsed", "clock"):
        texts = [text.text for group in classed(ruler, name) for text in group.iter("text")]
        assert len(set(texts)) == len(texts)
    assert "4:00:20" in [text.text for text in ruler.iter("text")]


def test_many_steps_of_one_name_share_a_row_that_opens():
    number = FOLDED + 10
    tree = drawn(crowd(number), source="/runs/r_1/timeline", axis="real")
    (group,) = classed(tree, "group")
    assert "".join(group.find("summary").itertext()).startswith(f"look ×{number}")  # type: ignore[union-attr]
    assert len([node for node in classed(tree, "attempt") if node.tag == "a"]) == 1  # plan
    assert group.get("hx-get") == "/runs/r_1/timeline?axis=real&group=look&from=0"
    assert (group.get("hx-trigger"), group.get("hx-target")) == ("toggle once", "find .members")
    assert [node.get("hx-preserve") for node in classed(group, "members")] == [""]


def test_the_lanes_of_a_group_come_in_pages():
    h = crowd(PAGE + 7)
    picture = timeline(h.facts, h.now)
    first = parsed(lanes(picture, "look", source="/t", zone=UTC))
    rest = parsed(lanes(picture, "look", source="/t", start=PAGE, zone=UTC))
    count = [len([node for node in classed(tree, "attempt") if node.tag == "a"]) for tree in (first, rest)]
    assert count == [PAGE, 7]
    (button,) = first.iter("button")
    assert (button.text, button.get("hx-get")) == ("7 more of 7", f"/t?axis=compressed&group=look&from={PAGE}")
    assert (button.get("hx-target"), button.get("hx-swap")) == ("closest .page", "afterend")
    assert not list(rest.iter("button"))
    assert (first.get("hx-get"), rest.get("hx-trigger")) == (None, "vbl:changed from:body")  # a full page is settled
    assert rest.get("hx-get") == f"/t?axis=compressed&group=look&from={PAGE}"
    assert len(classed(first, "chunk")) == PAGE // CHUNK


def test_what_is_left_out_without_a_server_is_named():
    h = crowd(PAGE + 7)
    tree = parsed(chart(timeline(h.facts, h.now), whole=True, zone=UTC))
    (more,) = classed(tree, "more")
    assert "7 more are left out" in "".join(more.itertext())


def test_a_chart_with_a_source_redraws_itself_with_the_axis_it_has():
    tree = drawn(retried(), source="/runs/r_1/timeline", axis="real")
    assert tree.get("hx-get") == "/runs/r_1/timeline?axis=real"
    assert tree.get("hx-trigger") == "vbl:changed from:body"
    assert drawn(retried()).get("hx-get") is None


def test_a_row_of_very_many_shapes_has_the_last_ones_each_for_itself():
    h = History().started()
    for number in range(MOST_SHAPES + 1):
        h.add("CHILD_STARTED", call=f"c{number}", child=f"r_{number}", workflow="sub", input=None)
        h.add("CHILD_FINISHED", 1, call=f"c{number}", child=f"r_{number}", status="completed", output=None)
    tree = drawn(h)
    waits = [node for node in classed(tree, "wait") if node.tag == "a"]
    assert [node.get("href") for node in (waits[0], waits[-1])] == [
        f"#e{2 * (MOST_SHAPES - 99) + 3}",
        f"#e{len(h.facts) - 1}",
    ]
    assert len(waits) == LAST_SHAPES
    (track,) = [node for node in classed(tree, "track") if waits[0] in list(node)]
    assert classed(track, "waits")
    assert_within(tree)


def test_without_links_nothing_leads_anywhere():
    tree = drawn(retried(), links=False, tools=False)
    assert not list(tree.iter("a"))
    assert not list(tree.iter("button"))
    assert [words(bar).split(",")[1] for bar in classed(tree, "attempt") if bar.find("title") is not None] == [
        " attempt 1",
        " attempt 2",
    ]


def test_nothing_leads_to_an_event_that_the_page_has_not():
    h = retried()
    assert [link.get("href") for link in classed(drawn(h, last=5), "attempt") if link.tag == "a"] == ["#e3"]


def test_a_run_that_has_not_begun_has_a_chart():
    tree = drawn(History(), 5)
    assert [words(wait).split("\n")[0] for wait in classed(tree, "queued") if wait.tag == "a"] == ["queued: queued"]


EVIL = """<script>alert(1)</script>"'&\x00\u202e</svg>"""


@pytest.mark.parametrize("options", [{}, {"source": "/t"}, {"whole": True}])
def test_nothing_that_was_recorded_becomes_markup(options):
    h = History(workflow=EVIL).started().step(EVIL)
    h.failed(EVIL, 1, message=EVIL, final=False).backoff(EVIL, 5, 2).step(EVIL, 5, attempt=2, name=EVIL)
    h.add("APPROVAL_REQUESTED", gate="g_1", key=EVIL, name=EVIL, to=[EVIL])
    h.add("APPROVAL_GRANTED", 100, gate="g_1", actor=EVIL)
    h.add("CANCEL_REQUESTED", 1, actor=EVIL)
    for n in range(FOLDED + 1):
        h.step(f"{EVIL}#{n + 2}", name=EVIL)
    text = chart(timeline(h.facts, h.now), zone=UTC, **options)
    assert "<script" not in text
    tree = parsed(text)
    assert {node.tag for node in tree.iter()} <= {
        "div", "svg", "defs", "pattern", "rect", "path", "g", "a", "title", "text", "line", "span", "button", "ul",
        "li", "details", "summary",
    }  # fmt: skip
    assert not [name for node in tree.iter() for name in node.attrib if name == "style" or name.startswith("on")]


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(facts=histories(), seconds=st.sampled_from([0, 1, 86_400]), supervised=st.booleans(), real=st.booleans())
def test_every_attempt_has_exactly_one_bar_within_the_picture(facts, seconds, supervised, real):
    picture = timeline(facts, facts[-1].at + seconds * SECOND, supervised=supervised)
    tree = parsed(chart(picture, axis="real" if real else "compressed", whole=True, zone=UTC))
    attempts = [bar for lane in picture.lanes for bar in lane.bars]
    bars = [node for node in classed(tree, "attempt") if node.tag == "a"]
    assert sorted(bar.get("href") or "" for bar in bars) == sorted(f"#e{bar.seq}" for bar in attempts)
    assert {bar.seq for bar in attempts} == {fact.seq for fact in facts if fact.type == "STEP_STARTED"}
    assert_within(tree)


def assert_within(tree: xml.Element) -> None:
    """No shape begins before the picture or ends behind it."""
    for node in tree.iter("rect"):
        x, width = node.get("x") or "", node.get("width") or ""
        if x.endswith("%"):
            left, across = float(x[:-1]), float(width[:-1])
            assert 0 <= left <= 100
            assert 0 <= across <= 100
            assert left + across <= 100.01


@settings(max_examples=60, deadline=None)
@given(facts=histories())
def test_rows_hold_every_lane_once_folded_or_not(facts):
    picture = timeline(facts, facts[-1].at)
    for most in (None, 0):
        found = [lane.step for row in rows(picture, most) for lane in row.lanes]
        assert sorted(found) == sorted(lane.step for lane in picture.lanes)


@settings(max_examples=60, deadline=None)
@given(facts=histories(), seconds=st.sampled_from([0, 60, 10_000_000]))
def test_the_axis_has_no_holes_and_never_runs_back(facts, seconds):
    picture: Timeline = timeline(facts, facts[-1].at + seconds * SECOND)
    for compressed in (True, False):
        pieces = axis(picture, compressed=compressed).pieces
        assert pieces[0].left == 0
        assert pieces[-1].right == pytest.approx(1)
        for before, after in itertools.pairwise(pieces):
            assert (before.end_at, before.right) == (after.start_at, after.left)
        assert all(piece.left <= piece.right and piece.start_at <= piece.end_at for piece in pieces)
