"""The timeline in the hand of a person: zoomed, moved, led by keys, switched, opened, and redrawn meanwhile."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

import vbl
from tests.browser.site import Site, wait
from vbl.testing import FakeClock, Trial

pytestmark = pytest.mark.slow

CLOCK: list[FakeClock] = []


@vbl.step
async def fetch(number: int) -> int:
    await CLOCK[-1].sleep(10)
    return number


@vbl.workflow
async def patient() -> str:
    """Two steps, a day, a step, and then a wait that nobody ends."""
    await fetch(1)
    await fetch(2)
    await vbl.sleep(86_400)
    await fetch(3)
    return await vbl.wait("go")


@pytest.fixture
def waiting(site: Site, tab: Page) -> Page:
    """The page of a run that has worked for half a minute, slept for a day, and waits."""
    with Trial(site.db) as trial:
        CLOCK.append(trial.clock)
        run = trial.start(patient)
        run.wait("waiting")
        trial.advance(90_000)
        assert run.state().open_waits
    site.ui()
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    expect(tab.locator(".timeline a.attempt")).to_have_count(3)
    return tab


def width(tab: Page) -> float:
    return tab.evaluate("document.querySelector('.timeline .sheet').getBoundingClientRect().width")


def scrolled(tab: Page) -> float:
    return tab.evaluate("document.querySelector('.timeline .scroller').scrollLeft")


def changed(site: Site) -> None:
    """Let something happen to the only run there is, so that its page is drawn anew."""
    (run,) = site.client.runs()
    run.signal("nobody waits for this")


def test_keys_lead_from_attempt_to_attempt_and_zoom(waiting: Page) -> None:
    tab = waiting
    before = width(tab)
    tab.keyboard.press("+")
    assert width(tab) > before * 1.2
    tab.keyboard.press("0")
    tab.locator(".timeline .scroller").focus()
    tab.keyboard.press("ArrowDown")
    focused = tab.locator(".timeline a:focus")
    expect(focused).to_have_attribute("aria-label", re.compile("^fetch, attempt 1, "))
    tab.keyboard.press("ArrowDown")
    expect(focused).to_have_attribute("aria-label", re.compile("^fetch#2, attempt 1, "))
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("+")
    assert width(tab) > before * 1.2
    tab.keyboard.press("0")
    assert width(tab) == pytest.approx(before, abs=1)
    tab.keyboard.press("Enter")
    row = tab.locator("#e3")
    expect(row.locator("details").first).to_have_attribute("open", "")
    expect(row).to_contain_text("STEP_STARTED")


def test_the_picture_is_dragged_and_the_smallest_one_leads_to_a_place(waiting: Page) -> None:
    tab = waiting
    for _ in range(4):
        tab.get_by_role("button", name="Zoom in").click()
    minimap = tab.locator(".timeline .minimap").bounding_box()
    assert minimap is not None
    middle = minimap["y"] + minimap["height"] / 2
    tab.mouse.click(minimap["x"] + minimap["width"] * 0.9, middle)
    far = scrolled(tab)
    assert far > 500
    shown = "getComputedStyle(document.documentElement).getPropertyValue('--vbl-from')"
    tab.wait_for_function(f"() => Number({shown}) > 0.5")  # a scroll is told with the next frame
    window = tab.locator(".timeline .window").bounding_box()
    assert window is not None
    assert window["x"] > minimap["x"] + minimap["width"] / 2
    assert window["width"] < minimap["width"] / 2
    scroller = tab.locator(".timeline .scroller").bounding_box()
    assert scroller is not None
    x, y = scroller["x"] + scroller["width"] * 0.6, scroller["y"] + scroller["height"] - 8
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 200, y, steps=4)
    tab.mouse.up()
    assert scrolled(tab) == pytest.approx(far - 200, abs=8)


def test_what_was_chosen_outlives_a_redraw(site: Site, waiting: Page) -> None:
    tab = waiting
    tab.get_by_role("button", name="Zoom in").click()
    tab.locator(".timeline [data-chart=clock]").click()
    tab.locator(".timeline [data-chart=refetch]").click()
    expect(tab.locator(".timeline.real")).to_be_visible()
    first = tab.locator(".timeline a.attempt").first
    first.focus()
    before, marks = width(tab), tab.locator(".timeline a.mark").count()
    changed(site)
    expect(tab.locator(".timeline a.mark")).to_have_count(marks + 1)
    assert width(tab) == pytest.approx(before, abs=1)
    expect(tab.locator(".timeline.real")).to_be_visible()
    expect(tab.locator(".timeline .ruler g.clock")).to_be_visible()
    expect(tab.locator(".timeline .ruler g.elapsed")).to_be_hidden()
    expect(first).to_be_focused()


def test_days_are_cut_until_their_real_length_is_asked_for(waiting: Page) -> None:
    tab = waiting
    last = tab.locator(".timeline a.attempt .shape").last
    wide = last.evaluate("one => one.getBoundingClientRect().width")
    expect(tab.locator(".timeline .grid .cut")).not_to_have_count(0)
    tab.locator(".timeline [data-chart=refetch]").click()
    expect(tab.locator(".timeline .grid .cut")).to_have_count(0)
    assert last.evaluate("one => one.getBoundingClientRect().width") < wide / 10
    tab.locator(".timeline [data-chart=refetch]").click()
    expect(tab.locator(".timeline .grid .cut")).not_to_have_count(0)


def test_an_open_group_goes_on_where_it_stands(site: Site, tab: Page) -> None:
    site.up().ui()
    run = site.begin("crowd", steps=200, name="last")
    site.begun("last")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    group = tab.locator(".timeline .group")
    group.locator("summary").click()
    expect(group.locator(".members .lane")).to_have_count(200)
    tab.evaluate("document.querySelector('.timeline .scroller').scrollTop = 900")
    site.release("last")
    wait(lambda: run.status == "completed", "the end of the run")
    expect(tab.locator(".timeline .lane a.attempt.running")).to_have_count(0)
    expect(group).to_have_attribute("open", "")
    expect(group.locator(".members .lane")).to_have_count(200)
    assert tab.evaluate("document.querySelector('.timeline .scroller').scrollTop") == 900


def test_what_was_chosen_stands_in_the_address(site: Site, waiting: Page) -> None:
    """Zoom, place, axis and time outlive a reload, go with the address, and with the ways to the parts of the page."""
    tab = waiting
    before = width(tab)
    for _ in range(4):
        tab.keyboard.press("+")
    tab.get_by_role("button", name="waits cut").click()
    tab.get_by_role("button", name="elapsed").click()
    tab.evaluate("document.querySelector('.timeline .scroller').scrollLeft = 900")
    tab.wait_for_url(re.compile("zoom=5.06&left=0[.][0-9]+&axis=real&time=clock"))
    zoomed, place = width(tab), scrolled(tab)
    assert zoomed > before * 4

    def as_chosen() -> None:
        expect(tab.locator(".timeline")).to_have_attribute("data-axis", "real")
        expect(tab.locator("html")).to_have_attribute("data-clock", "clock")
        assert abs(width(tab) - zoomed) < 5
        assert abs(scrolled(tab) - place) < 5

    tab.reload()
    as_chosen()
    tab.locator("input[name=failed]").check()
    tab.wait_for_url(re.compile("failed=1.*zoom=5.06.*time=clock"))
    tab.get_by_role("link", name="state").click()
    tab.wait_for_url(re.compile("tab=state.*zoom=5.06"))
    as_chosen()
    tab.goto(tab.url.partition("#")[0] + "#e2")  # which is on another part of the page
    expect(tab.locator("#e2 details")).to_have_attribute("open", "")
    as_chosen()
    tab.keyboard.press("0")
    tab.wait_for_url(lambda url: "zoom" not in url and "axis=real" in url)


def test_a_link_that_was_opened_beside_goes_by_what_is_chosen_now(waiting: Page) -> None:
    tab = waiting
    tab.keyboard.press("+")
    state = tab.get_by_role("link", name="state")
    with tab.context.expect_page() as beside:
        state.click(modifiers=["ControlOrMeta"])
    beside.value.wait_for_url(re.compile("tab=state.*zoom=1.50"))
    beside.value.close()
    tab.keyboard.press("0")
    state.click()
    tab.wait_for_url(lambda url: "tab=state" in url and "zoom" not in url)
