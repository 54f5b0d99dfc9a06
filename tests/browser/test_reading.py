"""A run is read: filtered, opened, followed from effect to cause, copied, compared; and its times go on."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time

import pytest
from playwright.sync_api import BrowserContext, Page, expect

import vbl
from tests.browser.site import Site, shows, wait

pytestmark = pytest.mark.slow


def opened(site: Site, tab: Page, workflow: str, until: str, **inputs: object) -> str:
    """The address of a run that has come to stand, and its page open in the tab."""
    site.up().ui()
    run = site.begin(workflow, **inputs)
    wait(lambda: run.status == until, f"the run to be {until}")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    shows(tab, until)
    return f"{site.url}/runs/{run.id}"


def test_a_filter_stands_in_the_address_and_leaves_the_reader_where_he_types(site: Site, tab: Page) -> None:
    address = opened(site, tab, "invoice", "failed", amount=3.0)
    every = tab.locator(".event").count()
    tab.get_by_label("step", exact=True).check()
    expect(tab).to_have_url(re.compile(r"kind=step"))
    box = tab.get_by_placeholder("step, gate, signal")
    box.press_sequentially("pay")
    expect(tab).to_have_url(re.compile(r"step=pay"))
    expect(box).to_be_focused()
    expect(box).to_have_value("pay")
    tab.get_by_label("only what went wrong").check()
    expect(tab.locator(".event")).to_have_count(3)
    tab.reload()
    expect(tab.locator(".event")).to_have_count(3)
    expect(tab.get_by_label("only what went wrong")).to_be_checked()
    tab.get_by_role("link", name="all", exact=True).click()
    expect(tab.locator(".event")).to_have_count(every)
    assert tab.url.startswith(address)


def test_an_effect_leads_to_its_cause_also_where_a_filter_hides_it(site: Site, tab: Page) -> None:
    address = opened(site, tab, "invoice", "failed", amount=3.0)
    tab.goto(f"{address}?failed=1")
    failure = tab.locator(".event", has_text="STEP_FAILED").first
    cause = failure.locator("a.cause")
    seq = (cause.get_attribute("href") or "").removeprefix("#e")
    assert tab.locator(f"#e{seq}").count() == 0
    cause.click()
    expect(tab.locator(f"#e{seq} > details")).to_have_attribute("open", "")
    expect(tab.locator(f"#e{seq} .event-detail")).to_contain_text("input")
    expect(tab).to_have_url(re.compile(rf"#e{seq}$"))


def test_an_event_is_found_whatever_a_stranger_called_its_run(site: Site, tab: Page) -> None:
    with vbl.connect(site.db) as client:
        client.start("invoice", amount=3.0)
    with contextlib.closing(sqlite3.connect(site.db)) as db, db:
        for (name,) in db.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            db.execute(f"drop trigger {name}")
        db.execute("update runs set id = 'r_1?#'")
    tab.goto(site.ui().link)
    tab.goto(f"{site.url}/runs/r_1%3F%23?kind=gate#e1")
    expect(tab.locator("#e1 > details")).to_have_attribute("open", "")
    expect(tab.locator("header.top")).to_have_count(1)


def test_a_node_of_the_graph_leads_to_its_event(site: Site, tab: Page) -> None:
    address = opened(site, tab, "invoice", "failed", amount=3.0)
    tab.goto(f"{address}?tab=graph")
    tab.locator("#graph a").first.click()
    expect(tab).to_have_url(re.compile(r"tab=events.*#e\d+$"))
    expect(tab.locator(".event details[open]")).to_have_count(1)


def test_what_is_large_is_drawn_on_demand_and_can_be_copied(site: Site, tab: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    text = "a long story, " * 6_000
    opened(site, tab, "hostile", "waiting_for_approval", text=text)
    value = tab.locator("#values .value", has_text="input")
    expect(value).not_to_contain_text("a long story, " * 100)
    value.get_by_role("button", name=re.compile("^show ")).click()
    expect(value).to_contain_text("a long story, " * 100)
    value.get_by_text("copy JSON").click()
    expect(value.locator("[data-copied]")).to_be_visible()
    assert json.loads(tab.evaluate("navigator.clipboard.readText()")) == {"text": text}


def test_the_time_that_is_left_goes_on_by_itself(site: Site, tab: Page) -> None:
    tab.clock.install()
    opened(site, tab, "letter", "waiting_for_approval", to="eve")
    left = tab.locator("#head .countdown").first
    expect(left).to_have_text("in 23 h 59 min")
    tab.clock.set_system_time(time.time() + 3_600)
    expect(left).to_have_text("in 22 h 59 min")


def test_two_checkpoints_are_compared_on_the_page(site: Site, tab: Page) -> None:
    site.release("three")
    opened(site, tab, "story", "completed", name="three")
    tab.get_by_role("link", name="state", exact=True).click()
    tab.get_by_role("link", name="what it changed").click()
    tab.get_by_label("checkpoint").fill("2")
    tab.get_by_label("compared with").fill("1")
    tab.get_by_role("button", name="show", exact=True).click()
    expect(tab.locator(".changes")).to_contain_text("variables.messages[1]")
    expect(tab.locator(".changes")).to_contain_text("three is there")
