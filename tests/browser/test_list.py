"""The list of runs under a person's hands: a filter that is typed, rows that are ticked, pages that are turned."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.site import Site

pytestmark = pytest.mark.slow


def test_the_list_follows_the_filter_while_it_is_typed(site: Site, tab: Page) -> None:
    with_words = site.client.start("story", text="529 is overloaded", n=1, tags=["blue"])
    other = site.client.start("story", text="all is well", n=2)
    site.ui()
    tab.goto(site.link)
    rows = tab.locator("#runs [data-row]")
    expect(rows).to_have_count(2)
    field = tab.get_by_role("searchbox", name="Filter runs")
    field.press_sequentially("tag:")
    expect(tab.get_by_role("alert")).to_contain_text("nothing stands behind the colon")
    field.press_sequentially("blue")
    expect(rows).to_have_count(1)
    expect(tab.get_by_role("alert")).to_have_count(0)
    expect(tab).to_have_url(re.compile(r"/runs\?q=tag%3Ablue$"))
    expect(field).to_be_focused()
    # the part that renews itself asks for the new filter from now on
    again = site.client.start("story", text="later", n=3, tags=["blue"])
    expect(tab.locator(f"#row-{again.id}")).to_be_visible()
    expect(rows).to_have_count(2)
    field.fill('"529 is overloaded"')
    field.press("Enter")
    expect(rows).to_have_count(1)
    expect(tab.locator(f"#row-{with_words.id}")).to_be_visible()
    tab.reload()
    expect(field).to_have_value('"529 is overloaded"')
    expect(rows).to_have_count(1)
    tab.get_by_role("navigation", name="Presets").get_by_role("link", name="Failed").click()
    expect(tab.locator("#runs")).to_contain_text("No run fits")
    expect(field).to_have_value('status:failed "529 is overloaded"')
    assert other.status == "queued"


def test_ticking_all_is_ticking_each(site: Site, tab: Page) -> None:
    runs = [site.client.start("story", n=n) for n in range(3)]
    site.ui()
    tab.goto(site.link)
    cancel = tab.get_by_role("button", name="Cancel…")
    every = tab.get_by_role("checkbox", name="select all runs of this page")
    expect(cancel).to_be_disabled()
    tab.locator(f"#tick-{runs[0].id}").check()
    expect(cancel).to_be_enabled()
    expect(tab.locator("[data-ticked]")).to_have_text("with the 1 ticked:")
    expect(every).to_have_js_property("indeterminate", True)
    every.check()
    expect(tab.locator("#runs [data-row] input:checked")).to_have_count(3)
    expect(tab.locator("[data-ticked]")).to_have_text("with the 3 ticked:")
    tab.locator(f"#tick-{runs[1].id}").uncheck()
    expect(every).not_to_be_checked()
    tab.get_by_role("checkbox", name="all that fit the filter").check()
    cancel.click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Cancel 3 runs?")
    tab.get_by_role("link", name="Back to the list").click()
    expect(tab.locator("#runs [data-row]")).to_have_count(3)
    assert {run.status for run in runs} == {"queued"}


def test_the_list_begins_on_the_first_screen_however_wide_it_is(site: Site, tab: Page) -> None:
    for n in range(3):
        site.client.start("story", n=n, key=f"story number {n}", tags=["env=dev", "blue", f"n={n}"]).cancel()
    site.client.start("story", n=3)
    site.ui()
    tab.goto(site.link)
    for width in (390, 600, 780, 820, 900, 1024, 1280, 1600):
        tab.set_viewport_size({"width": width, "height": 800})
        row, overview = (tab.locator(part).first.bounding_box() for part in ("#runs [data-row]", ".overview"))
        assert row is not None
        assert overview is not None
        assert row["y"] < 400, width
        assert overview["height"] < (90 if width >= 600 else 130), width  # two lines, on a phone three
        assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_long_names_widen_no_phone(site: Site, tab: Page) -> None:
    name = "a-rather-long-tag-of-a-team=with-a-value-that-nobody-would-break"
    run = site.client.start("a_workflow_with_a_name_that_goes_on_and_on", key="k" * 80, tags=[name, "x" * 90])
    site.ui()
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.goto(site.link)
    for path in ("/runs", f"/runs/{run.id}"):
        tab.goto(site.url + path)
        assert tab.evaluate("document.scrollingElement.scrollWidth") <= 390, path
        ends = tab.locator(".chip").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
        assert max(ends) <= 390, path
        tools = tab.locator("header.top > .tools").bounding_box()
        sections = tab.locator("header.top > nav").bounding_box()
        assert tools is not None
        assert sections is not None
        assert tools["y"] < 30, "the buttons stand beside the name of the file"
        assert tools["y"] + tools["height"] <= sections["y"], "and the sections below both"
