"""A live refresh that fails: the picture stays, and is renewed as soon as it can be."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Complaints
from tests.browser.site import Site, shows

pytestmark = pytest.mark.slow


def test_a_refresh_that_fails_leaves_the_picture_and_is_made_up_for(
    site: Site, tab: Page, complaints: Complaints
) -> None:
    complaints.expected = ["503", "ERR_FAILED", "Failed to fetch"]
    run = site.client.start("story", name="busy")
    site.ui()
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    expect(tab.locator("#live")).to_have_attribute("data-state", "live")
    shows(tab, "queued")
    failures = iter((503, None))
    broken: list[str] = []

    def answer(route: Route) -> None:
        if len(broken) >= 4:
            route.continue_()
            return
        broken.append(route.request.url)
        status = next(failures, 503)
        if status is None:
            route.abort()
        else:
            route.fulfill(status=status, body='<div class="problem">busy</div>', content_type="text/html")

    tab.route(f"**/runs/{run.id}/**", answer)
    with tab.expect_request(f"**/runs/{run.id}/**"):
        run.pause()
    expect(tab.locator("main .problem")).to_have_count(0)
    expect(tab.locator("main .status").first).to_be_visible()
    shows(tab, "paused")
    assert broken


def test_who_lost_his_session_is_told_instead_of_seeing_an_old_picture(
    site: Site, tab: Page, complaints: Complaints
) -> None:
    complaints.expected = ["403"]
    run = site.client.start("story", name="lost")
    site.ui()
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    expect(tab.locator("#live")).to_have_attribute("data-state", "live")
    tab.context.clear_cookies()
    run.pause()
    expect(tab.locator("h1")).to_contain_text("no session")


def test_paused_live_updates_stay_paused_and_then_catch_up(site: Site, tab: Page) -> None:
    run = site.client.start("story", name="still")
    site.ui()
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    live = tab.locator("#live")
    expect(live).to_have_attribute("data-state", "live")
    live.click()
    expect(live).to_have_attribute("data-state", "paused")
    expect(live).to_contain_text("paused")
    run.pause()
    with tab.expect_request("**/live?*"):
        shows(tab, "queued")
        live.click()
    shows(tab, "paused")
