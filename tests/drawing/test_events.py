"""The history as a list that grows: what is on a page, what asks for the next one, and what an opened row holds."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drawing.sheets import EVIL, sheet
from tests.drawing.test_markup import Reader
from tests.history.hand import History
from tests.history.legal import histories
from vbl.drawing.event import event_detail, find, value_of
from vbl.drawing.event_filter import KINDS, EventFilter, kind_of
from vbl.drawing.events import PAGE, Reading, added, all_events, event_list, filter_form, newer, older
from vbl.errors import NotFound
from vbl.history.causes import causes, effects
from vbl.history.facts import Fact


def reading(history: History, filter: EventFilter | None = None, address: str = "/runs/r_1") -> Reading:
    return Reading(sheet(history), causes(history.facts), filter or EventFilter(), address)


def rows(markup: str) -> list[int]:
    return [int(seq) for seq in re.findall(r'<li id="e(\d+)"', markup)]


def asks(markup: str) -> list[tuple[str, dict[str, str]]]:
    """When each place in the list asks for more, and with which query."""
    found = [attributes for name, attributes in Reader(markup).elements if name == "li" and "hx-get" in attributes]
    return [(str(one["hx-trigger"]), dict(parse_qsl(urlsplit(str(one["hx-get"])).query))) for one in found]


def long_history(steps: int) -> History:
    history = History().started()
    for number in range(steps):
        history.step(f"s{number}").done(f"s{number}", 0.1)
    return history


def test_a_short_history_is_there_at_once_and_asks_again_when_something_has_changed() -> None:
    history = History().started().step("a")
    drawn = event_list(reading(history))
    assert rows(drawn) == [1, 2, 3]
    assert asks(drawn) == [("vbl:changed from:body", {"after": "3"})]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_long_history_is_read_page_by_page_and_every_event_once(order: str) -> None:
    history = long_history(3 * PAGE // 2)
    read = reading(history, EventFilter.of([("order", order)]))
    drawn = event_list(read)
    seen = rows(drawn)
    while (more := [query for when, query in asks(drawn) if when == "revealed"]) != []:
        (query,) = more
        drawn = newer(read, int(query["after"])) if order == "oldest" else older(read, int(query["before"]))
        seen += rows(drawn)
    expected = [fact.seq for fact in history.facts]
    assert seen == (expected if order == "oldest" else expected[::-1])


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_what_is_new_is_added_and_what_is_there_is_not_drawn_again(order: str) -> None:
    history = History().started().step("a")
    filter = EventFilter.of([("order", order)])
    (ask,) = [query for when, query in asks(event_list(reading(history, filter))) if when.startswith("vbl:changed")]
    history.done("a", 1)
    read = reading(history, filter)
    drawn = newer(read, int(ask["after"])) if order == "oldest" else added(read, int(ask["since"]))
    assert rows(drawn) == ([4, 5] if order == "oldest" else [5, 4])
    assert [when for when, _ in asks(drawn)] == ["vbl:changed from:body"]


def test_a_filter_that_lets_nothing_through_goes_on_behind_the_last_event() -> None:
    history = History().started().step("a")
    read = reading(history, EventFilter(kinds=frozenset({"gate"})))
    drawn = event_list(read)
    assert rows(drawn) == []
    assert "No event of this run matches" in drawn
    assert asks(drawn) == [("vbl:changed from:body", {"kind": "gate", "after": "3"})]


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_an_event_that_is_far_down_is_on_the_page_that_is_asked_for_it(order: str) -> None:
    history = long_history(PAGE)
    drawn = event_list(reading(history, EventFilter.of([("order", order)])), around=333)
    assert 333 in rows(drawn)
    assert "show the list anew" in drawn


def test_more_than_a_page_of_news_leaves_no_silent_gap() -> None:
    history = long_history(PAGE)
    drawn = added(reading(history, EventFilter(order="newest")), 10)
    assert len(rows(drawn)) == PAGE
    assert "more were added than are shown" in drawn


@given(st.sets(st.sampled_from(KINDS)), st.booleans(), st.text(max_size=8), st.sampled_from(["oldest", "newest"]))
def test_a_filter_comes_back_from_its_address_as_it_was(kinds: set[str], failed: bool, step: str, order: str) -> None:
    filter = EventFilter.of(
        [*(("kind", kind) for kind in kinds), ("failed", "1" if failed else ""), ("step", step), ("order", order)]
    )
    assert EventFilter.of(parse_qsl(filter.query(), keep_blank_values=True)) == filter


def test_filters_narrow_by_kind_by_name_and_to_what_went_wrong() -> None:
    history = History().started().step("draft").failed("draft", 1, final=False).backoff("draft", 2, 2).step("send")
    history.add("APPROVAL_REQUESTED", gate="g_1", key="ask", name="ask")
    read = lambda **chosen: rows(event_list(reading(history, EventFilter(**chosen))))  # noqa: E731
    assert read(kinds=frozenset({"step"})) == [3, 4, 5, 6]
    assert read(failed=True) == [4]
    assert read(step="dra") == [3, 4, 5]
    assert read(kinds=frozenset({"gate", "run"})) == [1, 2, 7]


@pytest.mark.slow
@given(histories())
def test_every_row_says_what_happened_and_leads_to_its_cause(facts: list[Fact]) -> None:
    history = History()
    history.facts, history.now = facts, facts[-1].at
    read = reading(history)
    drawn = event_list(read)
    assert rows(drawn) == [fact.seq for fact in facts]
    links = [str(a["href"]) for name, a in Reader(drawn).elements if name == "a" and a.get("class") == "cause"]
    assert links == [f"#e{read.links[fact.seq]}" for fact in facts if fact.seq in read.links]
    assert {kind_of(fact.type) for fact in facts} <= set(KINDS)
    back = effects(causes(facts))
    for fact in facts:
        assert "event-detail" in event_detail(read, fact, back.get(fact.seq, ()))


def test_an_opened_end_of_a_step_shows_what_went_in_and_came_out_and_how_long_it_took() -> None:
    history = History().started().step("a", input={"question": "how warm?"}).done("a", 2.5, output={"celsius": 21})
    read = reading(history)
    drawn = event_detail(read, history.facts[3], [5])
    text = Reader(drawn).text
    for said in ("how warm?", "21", "2.5 s", "input, recorded in event 3", "5 CHECKPOINT_WRITTEN", "3 STEP_STARTED"):
        assert said in text
    assert f'data-copy="vbl events {read.sheet.id} --after 3 --json | head -n 1 | jq .payload.output"' in drawn


def test_an_opened_failure_shows_kind_type_message_traceback_and_attempt() -> None:
    history = History().started().step("a", attempt=2)
    history.failed(
        "a", 1, attempt=2, kind="rate_limited", type="HTTPStatusError", message="429", traceback="File x\n  y"
    )
    text = Reader(event_detail(reading(history), history.facts[3])).text
    for said in ("rate limited", "HTTPStatusError", "429", "File x", "attempt 2"):
        assert said in text


def test_a_large_value_of_an_event_is_fetched_on_demand() -> None:
    history = History().started().step("a").done("a", 1, output="x" * 100_000)
    drawn = event_detail(reading(history), history.facts[3])
    assert "/runs/r_1/events/4/value?of=output" in drawn
    assert len(drawn) < 5_000
    assert value_of(history.facts[3], "output") == "x" * 100_000


def test_what_is_not_there_is_refused_in_words() -> None:
    history = History().started()
    with pytest.raises(NotFound, match="no event 9"):
        find(reading(history), 9)
    with pytest.raises(NotFound, match="no output"):
        value_of(history.facts[1], "output")


def test_nothing_that_was_recorded_becomes_markup() -> None:
    history = History(workflow=EVIL, input={EVIL: EVIL}, key=EVIL, tags=[EVIL], actor=EVIL).started()
    history.step(EVIL, input={EVIL: [EVIL]}).failed(EVIL, 1, type=EVIL, message=EVIL, kind=EVIL, traceback=EVIL)
    history.add("SIGNAL_RECEIVED", name=EVIL, data={"a": EVIL}, actor=EVIL)
    read = reading(history, EventFilter(step=EVIL), "/runs/r_1")
    drawn = event_list(reading(history)) + event_list(read) + filter_form(read, "/runs/r_1")
    drawn += "".join(event_detail(read, fact) for fact in history.facts)
    for name, attributes in Reader(drawn).elements:
        assert name not in ("img", "script")
        assert not [one for one in attributes if one.startswith("on") or one == "style"]


def test_what_stands_for_an_id_in_a_strangers_file_leads_and_types_nothing_else() -> None:
    history = History().started().add("CHILD_STARTED", call="c", child="../x/cancel?", workflow="w")
    history.facts[0] = replace(history.facts[0], payload={**history.facts[0].payload, "run_id": "r; rm -rf ~"})
    drawn = event_detail(reading(history, address="/vbl/runs/r_1"), history.facts[2])
    assert 'href="/vbl/runs/..%2Fx%2Fcancel%3F"' in drawn
    assert "vbl events &#x27;r; rm -rf ~&#x27; --after 2" in drawn


def test_without_an_address_nothing_is_fetched() -> None:
    history = long_history(5)
    read = reading(history, address="")
    details = {fact.seq: event_detail(read, fact) for fact in history.facts}
    drawn = all_events(read, details, most=10)
    assert "hx-" not in drawn
    assert rows(drawn) == list(range(1, 11))
    assert "The first 10 of 17 events" in drawn
