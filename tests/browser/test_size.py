"""Files and runs of a size at which a careless page stands still. How long it takes is written down beside the test's
result (`-rP` shows it) and never judged: machines differ."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect

import vbl
from tests.browser import flows
from tests.browser.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
RUNS = 200_000
STEPS = 5_000
EVENTS = 20_000


@contextmanager
def measured(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {(time.perf_counter() - began) * 1000:.0f} ms")


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A file with 200,000 queued runs, three that failed among them, one of 5,000 steps and one of 20,000 events."""
    folder = tmp_path_factory.mktemp("big")
    site = Site(folder, folder / "work.db")
    with vbl.open(site.db, durability="process") as runtime:
        runtime.start(flows.march, STEPS, key="five thousand steps").result()
        wide = runtime.start(flows.march, EVENTS // 3 + 1, key="twenty thousand events")
        wide.result()
        assert len(wide.facts()) >= EVENTS
        for run in runtime.start_many(flows.invoice, [1.0, 2.0, 3.0], tags={"shop": "north"}):
            assert run.wait("failed") == "failed"
    for _ in range(RUNS // 10_000):
        site.client.start_many(flows.story, [f"run {number}" for number in range(10_000)], tags={"shop": "south"})
    yield site.ui("--token", "a-lasting-token-for-the-test")
    site.close()


def test_three_are_found_among_two_hundred_thousand(big: Site, tab: Page) -> None:
    with measured("the first page"):
        tab.goto(big.link)
        expect(tab.get_by_role("row").nth(1)).to_be_visible()
    search = tab.locator("[data-search]")
    search.fill("status:failed tag:shop=north")
    with measured("the three that failed"):
        search.press("Enter")
        expect(tab.locator("[data-row]")).to_have_count(3)
    expect(tab).to_have_url(re.compile("north"))
    with measured("full text"):
        search.fill('"does not hold 2.00"')
        search.press("Enter")
        expect(tab.locator("[data-row]")).to_have_count(1)
    expect(tab).to_have_url(re.compile("hold"))
    other = tab.context.new_page()
    other.goto(tab.url)
    expect(other.locator("[data-row]")).to_have_count(1)
    with measured("nothing at all"):
        search.fill("status:failed tag:shop=south")
        search.press("Enter")
        expect(tab.locator("[data-row]")).to_have_count(0)


def test_the_pages_of_the_list_follow_each_other(big: Site, tab: Page) -> None:
    tab.goto(big.link)
    first = tab.locator("[data-row] a[href*='/runs/r_']").evaluate_all("all => all.map(one => one.href)")
    with measured("the next page"):
        tab.get_by_role("link", name="older").or_(tab.get_by_role("link", name="next")).first.click()
        tab.wait_for_url("**before=*")
        expect(tab.locator("[data-row]").first).to_be_visible()
    second = tab.locator("[data-row] a[href*='/runs/r_']").evaluate_all("all => all.map(one => one.href)")
    assert second
    assert not set(first) & set(second)


def run_named(site: Site, key: str, workflow: str = "march") -> str:
    return next(run.id for run in site.client.runs(workflow=workflow) if run.key == key)


def test_the_timeline_of_five_thousand_steps_is_zoomed(big: Site, tab: Page) -> None:
    tab.goto(big.link)
    run = run_named(big, "five thousand steps")
    with measured("the page of 5,000 steps"):
        tab.goto(f"{big.url}/runs/{run}")
        expect(tab.locator(".timeline .track").first).to_be_visible()
    wide = "document.querySelector('.timeline .scroller').scrollWidth"
    before = tab.evaluate(wide)
    with measured("zoomed"):
        tab.locator(".timeline [data-chart=zoom-in]").first.click()
        tab.wait_for_function(f"() => {wide} > {before} * 1.2")
    with measured("the lanes of a group"):
        tab.locator(".timeline summary").first.click()
        expect(tab.locator(".timeline .lane", has_text="count#100").first).to_be_visible()
    with measured("whole again"):
        tab.locator(".timeline [data-chart=fit]").first.click()
        tab.wait_for_function(f"() => Math.abs({wide} - {before}) < 2")


def test_twenty_thousand_events_paint_and_scroll(big: Site, tab: Page) -> None:
    tab.goto(big.link)
    run = run_named(big, "twenty thousand events")
    with measured("the page of 20,000 events"):
        tab.goto(f"{big.url}/runs/{run}?tab=events")
        expect(tab.locator("[id^=e][data-row]").first).to_be_visible()
    paint = tab.wait_for_function("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    print(f"first contentful paint: {paint.json_value():.0f} ms")
    loaded = tab.locator("[id^=e][data-row]")
    first = loaded.count()
    with measured("two more pages of events"):
        while loaded.count() < first + 400:
            tab.locator("[id^=e][data-row]").last.scroll_into_view_if_needed()
            tab.wait_for_timeout(10)
    longest = tab.evaluate(
        """() => new Promise(done => {
            let longest = 0, last = performance.now(), left = 60
            const step = now => {
                longest = Math.max(longest, now - last)
                last = now
                scrollBy(0, 120)
                left-- ? requestAnimationFrame(step) : done(longest)
            }
            requestAnimationFrame(step)
        })"""
    )
    print(f"the longest frame of a scroll: {longest:.0f} ms")


def test_a_link_leads_to_an_event_far_down(big: Site, tab: Page) -> None:
    tab.goto(big.link)
    run = run_named(big, "twenty thousand events")
    with measured("event 12345"):
        tab.goto(f"{big.url}/runs/{run}?tab=events#e12345")
        expect(tab.locator("#e12345")).to_be_in_viewport()
