"""The list of runs as markup: what it shows of a row, where its links lead, and that nothing of a payload is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from vbl.drawing import run_list
from vbl.drawing.bulk import Outcome, done_page, preview_page
from vbl.drawing.run_list import Listing, list_page, preset_counts, refused, search, section
from vbl.drawing.runs import RunRow, address, runs_table
from vbl.drawing.throughput import Bucket, sparkline
from vbl.history.filters import PRESETS, Filter, parse
from vbl.history.state import Status

NOW = 1_790_000_000_000_000
SECOND = 1_000_000
EVIL = '<script>alert("1")</script>'


def row(**given: Any) -> RunRow:
    about: dict[str, Any] = {
        "id": "r_0123456789abcdef",
        "workflow": "triage",
        "status": "running",
        "key": None,
        "tags": (),
        "created_at": NOW - 90 * SECOND,
        "started_at": NOW - 89 * SECOND,
        "finished_at": None,
        "wake_at": None,
        "queue": None,
        "in_flight": 0,
        "usd": None,
    }
    return RunRow(**{**about, **given})


def listing(**given: Any) -> Listing:
    about: dict[str, Any] = {"wanted": Filter(), "rows": [row()], "now": NOW, "counts": {}}
    return Listing(**{**about, **given})


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip()


def links(markup: str) -> list[str]:
    return [href.replace("&amp;", "&") for href in re.findall(r'href="([^"]*)"', markup)]


def queried(href: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(href).query).items()}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "running triage r_0123456789abcdef 1 min ago 1 min"),
        ({"status": "queued", "queue": "mail"}, "in queue mail"),
        ({"in_flight": 2}, "2 steps in flight"),
        ({"status": "waiting", "wake_at": NOW + 60 * SECOND}, "wakes in 1 min"),
        ({"status": "retrying", "note": "draft: 429", "wake_at": NOW + 5 * SECOND}, "draft: 429 · again in 5 s"),
        ({"status": "waiting_for_approval", "note": "Send it?", "wake_at": NOW + 5 * SECOND}, "Send it? · decide in"),
        ({"status": "completed", "finished_at": NOW - 60 * SECOND, "wake_at": NOW + SECOND}, "1 min ago 30 s"),
        ({"key": "ticket T-1", "tags": ("env=dev", "blue")}, "ticket T-1 #env=dev #blue"),
        ({"usd": 0.0412}, "$0.0412"),
    ],
)
def test_a_row_says_what_its_summary_says(given: dict[str, Any], words: str) -> None:
    assert words in text(runs_table([row(**given)], NOW))


def test_a_deadline_is_no_wake_up() -> None:
    assert "wakes" not in text(runs_table([row(wake_at=NOW + SECOND)], NOW))


def test_columns_that_would_be_empty_are_left_out() -> None:
    plain = text(runs_table([row()], NOW))
    assert "cost" not in plain
    assert "key and tags" not in plain
    full = text(runs_table([row(), row(usd=0.0, tags=("a",))], NOW))
    assert "key and tags" in full
    assert "$0.00" in full


def test_nothing_of_a_run_becomes_markup() -> None:
    evil = row(workflow=EVIL, key=EVIL, tags=(EVIL,), note=EVIL, queue=EVIL, status="queued")
    page = list_page(listing(rows=[evil], wanted=Filter(tags=(EVIL,)), typed=EVIL), "", csrf=EVIL, read_only=False)
    outcome = [Outcome(evil, EVIL, (EVIL,)), Outcome(evil, EVIL, refused=True)]
    for markup in (page, search(EVIL, ""), refused(EVIL, EVIL), done_page("cancel", outcome, "", Filter(tags=(EVIL,))),
                   preview_page("retry", outcome, "", Filter(tags=(EVIL,)), csrf=EVIL)):  # fmt: skip
        assert "<script" not in markup
        assert " style=" not in markup
        assert not re.search(r"\son\w+=", markup)


def test_an_id_of_a_strangers_file_leads_nowhere_else() -> None:
    evil = row(id="../runs/x/cancel?#")
    for markup in (runs_table([evil], NOW), done_page("cancel", [Outcome(evil, "")], "", Filter())):
        assert "/runs/..%2Fruns%2Fx%2Fcancel%3F%23" in links(markup)


def test_links_hold_where_the_application_is_mounted() -> None:
    markup = list_page(
        listing(older="r_1", newer="r_2", before="r_3", newest="r_4", rows=[row(tags=("a",))]), "/vbl", read_only=False
    )
    inner = [href for href in links(markup) if not href.startswith("#")]
    assert inner
    assert all(href.startswith("/vbl/runs") for href in inner)
    assert all(url.startswith("/vbl/runs") for url in re.findall(r'(?:action|hx-get)="([^"]*)"', markup))


def test_the_tabs_keep_the_rest_of_the_filter() -> None:
    wanted = parse('workflow:triage "529 overloaded" status:failed')
    tabs = run_list.presets(listing(wanted=wanted), "")
    found = {name: parse(queried(href)["q"]) for name, href in zip(PRESETS, links(tabs), strict=True)}
    for name, statuses in PRESETS.items():
        assert found[name] == replace(wanted, statuses=()).only(*statuses)
    assert re.search(r'aria-current="page"[^>]*class="p-failed', tabs)


def test_counts_of_presets_are_sums_that_say_where_they_end() -> None:
    counts = dict.fromkeys(Status, (0, False))
    counts |= {Status.WAITING: (10_000, True), Status.PAUSED: (5, False), Status.FAILED: (1234, False)}
    assert preset_counts(counts) == {
        "all": "10,000+",
        "running": "0",
        "held-up": "10,000+",
        "needs-you": "0",
        "failed": "1,234",
    }


def test_the_pages_beside_are_led_to_with_what_was_the_newest() -> None:
    first = run_list.pager(listing(older="r_1"), "")
    assert first is not None
    assert [queried(href) for href in links(first)] == [{"before": "r_1", "newest": row().id}]
    later = run_list.pager(listing(older="r_1", newer="r_2", before="r_3", newest="r_9", come="7+"), "")
    assert later is not None
    assert [queried(href) for href in links(later)] == [
        {},
        {"after": "r_2", "newest": "r_9"},
        {"before": "r_1", "newest": "r_9"},
    ]
    assert "newest (7+ new)" in text(later)
    assert run_list.pager(listing(), "") is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "No runs yet. Start one: vbl run file.py:workflow"),
        ({"wanted": parse("status:failed")}, "No run fits status:failed . Show all runs"),
        ({"before": "r_1"}, "No older run fits. To the newest"),
        ({"wanted": parse("cost:>1"), "older": "r_1", "looked_to": NOW}, "fits. Look further"),
    ],
)
def test_an_empty_list_says_what_to_do(given: dict[str, Any], words: str) -> None:
    assert words in text(section(listing(rows=[], **given), ""))


def test_a_list_renews_itself_where_it_stands() -> None:
    part = section(listing(wanted=parse("status:failed"), before="r_3", newest="r_4", span="day"), "")
    (url,) = re.findall(r'<section[^>]*hx-get="([^"]*)"', part)
    assert queried(url.replace("&amp;", "&")) == {"q": "status:failed", "before": "r_3", "newest": "r_4", "span": "day"}
    assert "every" not in part
    reading = section(listing(texts_left=12_000, texts_to=NOW), "")
    assert "12,000 events are still to be read" in text(reading)
    assert "every 1s" in reading


def test_who_may_only_look_has_nothing_to_tick() -> None:
    read_only = section(listing(), "", read_only=True)
    assert "<form" not in read_only
    assert "checkbox" not in read_only
    assert 'name="run" value="r_0123456789abcdef"' in section(listing(), "", csrf="t", read_only=False)


def test_each_box_has_a_name_and_an_id_that_survives_the_redraw() -> None:
    two = [row(), row(id="r_1123456789abcdef")]
    ids = re.findall(r' id="([^"]*)"', section(listing(rows=two), "", csrf="t", read_only=False))
    assert len(ids) == len(set(ids))
    assert {"row-r_1123456789abcdef", "tick-r_1123456789abcdef", "runs", "list"} <= set(ids)


# Throughput -------------------------------------------------------------------------------------------------------


def bars(markup: str) -> list[tuple[float, float, str]]:
    found = re.findall(r'<rect x="[^"]*" y="([^"]*)" width="[^"]*" height="([^"]*)" class="(\w+)">', markup)
    return [(float(y), float(height), kind) for y, height, kind in found]


def test_bars_stand_on_each_other_and_in_the_picture() -> None:
    markup = sparkline([Bucket(NOW, 10, 2, 3), Bucket(NOW + 1, 0, 0, 0), Bucket(NOW + 2, 1000, 1, 0)], "hour")
    drawn = bars(markup)
    assert [kind for *_, kind in drawn] == ["good", "dim", "bad", "good", "bad"]
    assert all(0 <= y <= 28 and height >= 1.5 for y, height, _ in drawn)
    assert "last hour: 1,010 completed, 3 failed, 3 cancelled" in markup


def test_nothing_that_ended_is_an_empty_picture() -> None:
    markup = sparkline([Bucket(NOW + n, 0, 0, 0) for n in range(60)], "hour")
    assert bars(markup) == []
    assert "last hour: 0 completed" in markup


def test_a_slice_that_was_not_counted_to_its_end_says_so() -> None:
    markup = sparkline([Bucket(NOW, 2000, 0, 0, more=True)], "day")
    assert "2,000 completed or more" in markup
    assert "last day: more than 2,000 completed" in markup


# Bulk -------------------------------------------------------------------------------------------------------------


def test_what_would_be_done_is_told_run_by_run() -> None:
    going = Outcome(row(status="failed"), "step charge is run again", ("RUN_RETRIED",))
    not_going = Outcome(row(id="r_2", status="completed"), "run r_2 is completed", refused=True)
    page = preview_page("retry", [going, not_going], "", parse("is:failed"), csrf="t", more=True)
    said = text(page)
    assert "Retry 1 run?" in said
    assert "RUN_RETRIED step charge is run again" in said
    assert "Would be refused: 1 run" in said
    assert "run r_2 is completed" in said
    assert "there are more that fit" in said
    assert re.findall(r'name="run" value="([^"]*)"', page) == [going.row.id]
    nothing = preview_page("retry", [not_going], "", Filter(), csrf="t")
    assert "None of these can be retried" in text(nothing)
    assert "<form" not in nothing


def test_what_was_done_is_told_with_what_was_refused() -> None:
    outcomes = [Outcome(row(), ""), Outcome(row(id="r_2"), "it is finished", refused=True)]
    assert text(done_page("cancel", outcomes, "", Filter())).startswith("1 run asked to cancel")
    assert "Refused: 1 run" in text(done_page("retry", outcomes, "", Filter()))


def test_an_address_leaves_out_what_is_not_said() -> None:
    assert address("", Filter()) == "/runs"
    assert queried(address("/a", parse("tag:a=b&c"), before="r_1", newest=None)) == {"q": "tag:a=b&c", "before": "r_1"}
