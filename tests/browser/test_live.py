"""What happens in the file happens on the screen: as it happens, through deaths, and without disturbing who reads."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.browser.conftest import Complaints
from tests.browser.site import Site, shows, wait
from tests.ports import lasting_port

pytestmark = pytest.mark.slow
GONE = r"ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|EMPTY_RESPONSE|NETWORK_CHANGED)"


def cursors(requests: list[Request]) -> list[int]:
    """From which cursor each stream that was opened goes on."""
    return [int(found[1]) for request in requests if (found := re.search(r"/live\?.*after=(\d+)", request.url))]


def streams_of(context: BrowserContext) -> list[Request]:
    opened: list[Request] = []
    context.on("request", lambda request: opened.append(request) if "/live?" in request.url else None)
    return opened


def test_a_run_is_watched_while_it_goes_on(site: Site, tab: Page) -> None:
    site.up().ui()
    run = site.begin("story", name="one")
    site.begun("one")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    shows(tab, "running")
    tab.locator("#e1 summary").first.click()
    expect(tab.locator("#e1 details").first).to_have_attribute("open", "")
    tab.get_by_role("searchbox").or_(tab.get_by_role("textbox")).first.fill("half a wo")
    seen = len(run.events())
    site.release("one")
    shows(tab, "completed")
    assert len(run.events()) > seen
    expect(tab.locator(f"#e{len(run.events())}")).to_be_visible()
    expect(tab.locator("#e1 details").first).to_have_attribute("open", "")
    expect(tab.get_by_role("searchbox").or_(tab.get_by_role("textbox")).first).to_have_value("half a wo")


def test_the_page_says_that_its_supervisor_was_killed_and_goes_on_with_the_next(site: Site, tab: Page) -> None:
    site.up().ui()
    run = site.begin("story", name="two")
    site.begun("two")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    expect(tab.locator("#supervision")).to_contain_text("epoch 1")
    assert site.supervisor is not None
    site.supervisor.kill()
    expect(tab.locator("#supervision")).to_contain_text("no supervisor")
    site.release("two")
    site.up()
    expect(tab.locator("#supervision")).to_contain_text("epoch 2")
    shows(tab, "completed")
    expect(tab.locator("main")).to_contain_text("resumed")


def test_a_page_that_lost_its_server_goes_on_where_it_was(
    site: Site, tab: Page, context: BrowserContext, complaints: Complaints
) -> None:
    complaints.expected = [GONE]
    port = lasting_port()
    site.up().ui("--token", "a-lasting-token-for-the-test", port=port)
    run = site.begin("story", name="three")
    site.begun("three")
    streams = streams_of(context)
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    expect(tab.locator("#live")).to_have_attribute("data-state", "live")
    at = int(tab.locator("body").get_attribute("data-cursor") or "-1")
    assert site.server is not None
    site.server.kill()
    expect(tab.locator("#live")).to_have_attribute("data-state", "reconnecting")
    site.release("three")
    wait(lambda: run.status.finished, "the end of the run")
    before = len(streams)
    site.ui("--token", "a-lasting-token-for-the-test", port=port)
    shows(tab, "completed")
    expect(tab.locator("#live")).to_have_attribute("data-state", "live")
    resumed = cursors(streams[before:])
    assert resumed
    assert min(resumed) >= at > 0


def test_pages_that_a_supervisor_serves_come_back_with_the_next_one(
    site: Site, tab: Page, complaints: Complaints
) -> None:
    complaints.expected = [GONE]
    port = str(lasting_port())
    site.up("--ui", "--port", port)
    run = site.begin("story", name="five")
    site.begun("five")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    expect(tab.locator("#live")).to_have_attribute("data-state", "live")
    assert site.supervisor is not None
    site.supervisor.kill()
    expect(tab.locator("#live")).to_have_attribute("data-state", "reconnecting")
    site.release("five")
    site.up("--ui", "--port", port)
    shows(tab, "completed")
    expect(tab.locator("#supervision")).to_contain_text("epoch 2")


def shown(tab: Page, visible: bool) -> None:
    """Tell the page that it is in front, or behind another."""
    tab.evaluate(
        """visible => {
            const state = visible ? 'visible' : 'hidden'
            Object.defineProperty(document, 'hidden', {value: !visible, configurable: true})
            Object.defineProperty(document, 'visibilityState', {value: state, configurable: true})
            document.dispatchEvent(new Event('visibilitychange'))
        }""",
        visible,
    )


def test_a_hidden_tab_gives_its_stream_back_and_catches_up(site: Site, tab: Page, context: BrowserContext) -> None:
    site.up().ui()
    run = site.begin("story", name="four")
    site.begun("four")
    streams = streams_of(context)
    ended: list[Request] = []
    for fate in ("requestfailed", "requestfinished"):
        context.on(fate, lambda request: ended.append(request))
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    expect(tab.locator("#live")).to_have_attribute("data-state", "live")
    shown(tab, False)
    last = streams[-1]
    wait(lambda: tab.wait_for_timeout(1) or last in ended, "the end of the stream")
    site.release("four")
    wait(lambda: run.status.finished, "the end of the run")
    shown(tab, True)
    shows(tab, "completed")
    assert streams[-1] is not last
