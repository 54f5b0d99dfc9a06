"""Every page of a day at a support desk: accessible in light and dark, whole on a phone, and driven by the keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from docs.pictures import PICTURES, ROOT, SUPPORT, made
from tests.browser.conftest import Complaints
from tests.browser.site import Site

pytestmark = pytest.mark.slow
PAGES_WITH_PICTURES = (ROOT / "README.md", ROOT / "docs/inspecting.md")
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)]+\.png)\)")
PAGES = {
    "runs": "/runs",
    "failed runs": "/runs?q=status:failed",
    "no runs": "/runs?q=workflow:nobody",
    "a wrong query": "/runs?q=cost:cheap",
    "run that waits for a person": "/runs/{asking}",
    "events": "/runs/{asking}?tab=events",
    "state": "/runs/{asking}?tab=state",
    "graph": "/runs/{asking}?tab=graph",
    "code": "/runs/{asking}?tab=code",
    "costs": "/runs/{asking}?tab=costs",
    "failed run": "/runs/{failed}",
    "blocked run": "/runs/{blocked}",
    "run that is retrying": "/runs/{retrying}",
    "paused run with children": "/runs/{paused}?tab=children",
    "running run": "/runs/{running}",
    "inbox": "/inbox",
    "queues": "/queues",
    "schedules": "/schedules",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    """The day at the support desk that the pictures show, served and moved; its cookies are those of a session."""
    folder = tmp_path_factory.mktemp("desk")
    site = Site(folder, folder / "support.db", flows=SUPPORT)
    try:
        made(site.db)
        site.up().ui()
        with browser.new_context() as context:
            context.new_page().goto(site.link)
            site.cookies = context.cookies()
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def runs(desk: Site) -> dict[str, str]:
    """The newest run of each fate."""
    found: dict[str, str] = {}
    for run in desk.client.runs(limit=None):
        found.setdefault({"waiting_for_approval": "asking"}.get(run.status, str(run.status)), run.id)
    return found


@pytest.fixture
def tab(context: BrowserContext, complaints: Complaints, desk: Site) -> Page:
    complaints.expected = [r"cost:cheap.* 400 "]  # a wrong query is a bad request
    context.add_cookies(desk.cookies)
    return context.new_page()


def opened(tab: Page, desk: Site, path: str, runs: dict[str, str]) -> Page:
    answer = tab.goto(desk.url + path.format(**runs))
    assert answer is not None
    assert answer.status in (200, 400, 422), path
    expect(tab.locator("h1")).to_have_count(1)
    expect(tab.locator("#live")).to_have_attribute("data-state", "live")
    return tab


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES.keys())
def test_a_scan_of_accessibility_finds_nothing(
    tab: Page, desk: Site, runs: dict[str, str], path: str, theme: Any
) -> None:
    tab.emulate_media(color_scheme=theme)
    results = Axe().run(opened(tab, desk, path, runs))
    assert results.response["passes"]
    assert not results.violations_count, results.generate_report()


OPENED = {
    "what can be typed": ("/runs", ["#terms summary"]),
    "ticked runs": ("/runs", ["[data-row] input[type=checkbox] >> nth=0", "[data-row] input[type=checkbox] >> nth=3"]),
    "the keys": ("/runs", ["[data-keys-help], #keys"]),
    "a cancel": ("/runs/{asking}", ["text=Cancel…"]),
    "a signal": ("/runs/{asking}", ["text=Send a signal…"]),
    "events": ("/runs/{asking}", ["#e1 summary >> nth=0", "#e4 summary >> nth=0", "#e3 summary >> nth=0"]),
    "an edit": ("/inbox", ["text=Edit before approving >> nth=0"]),
    "a traceback": ("/runs/{failed}", ["text=traceback >> nth=0"]),
    "a difference": ("/runs/{asking}?tab=state&checkpoint=5&against=4", []),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("path", "clicks"), OPENED.values(), ids=OPENED.keys())
def test_a_scan_finds_nothing_in_what_was_opened(
    tab: Page, desk: Site, runs: dict[str, str], path: str, clicks: list[str], theme: Any
) -> None:
    tab.emulate_media(color_scheme=theme)
    opened(tab, desk, path, runs)
    for place in clicks:
        tab.locator(place).click()
    results = Axe().run(tab)
    assert not results.violations_count, results.generate_report()


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES.keys())
def test_a_page_is_as_wide_as_a_phone(tab: Page, desk: Site, runs: dict[str, str], path: str) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    opened(tab, desk, path, runs)
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_the_ids_of_children_stay_on_a_line_of_a_phone(tab: Page, desk: Site, runs: dict[str, str]) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    opened(tab, desk, PAGES["paused run with children"], runs)
    ids = tab.locator("table.children td:nth-child(2) a")
    expect(ids.first).to_be_visible()
    lines = ids.evaluate_all("all => all.map(one => one.getClientRects().length)")
    assert set(lines) == {1}


def test_the_theme_is_chosen_and_kept(tab: Page, desk: Site, runs: dict[str, str]) -> None:
    tab.emulate_media(color_scheme="light")
    opened(tab, desk, "/runs", runs)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(paper)
    tab.locator("#theme").click()
    expect(tab.locator("html")).to_have_attribute("data-theme", "dark")
    dark = tab.evaluate(paper)
    assert dark != light
    tab.reload()
    assert tab.evaluate(paper) == dark


def test_keys_move_through_the_runs_and_open_one(tab: Page, desk: Site, runs: dict[str, str]) -> None:
    opened(tab, desk, "/runs", runs)
    tab.keyboard.press("j")
    first = tab.locator("[data-row]").nth(0)
    expect(first.locator(":focus")).to_be_visible()
    tab.keyboard.press("j")
    expect(tab.locator("[data-row]").nth(1).locator(":focus")).to_be_visible()
    tab.keyboard.press("k")
    expect(first.locator(":focus")).to_be_visible()
    wanted = first.locator("a[href*='/runs/r_']").first.get_attribute("href")
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**{wanted}")
    tab.keyboard.press("g")
    tab.keyboard.press("i")
    tab.wait_for_url("**/inbox")


def test_a_key_leads_to_the_search_and_another_one_to_the_help(tab: Page, desk: Site, runs: dict[str, str]) -> None:
    opened(tab, desk, "/runs", runs)
    tab.keyboard.press("/")
    expect(tab.locator("[data-search]")).to_be_focused()
    tab.keyboard.type("?j")
    expect(tab.locator("[data-search]")).to_have_value("?j")
    tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    expect(tab.get_by_role("dialog")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("dialog")).to_be_hidden()


def test_one_key_alone_decides_nothing(tab: Page, desk: Site, runs: dict[str, str]) -> None:
    opened(tab, desk, "/inbox", runs)
    before = len(desk.client.gates(status="open"))
    assert before
    for key in ("j", "a", "d", "a"):
        tab.keyboard.press(key)
    expect(tab.locator(":focus")).to_contain_text("pprove")
    assert len(desk.client.gates(status="open")) == before


def test_each_picture_of_the_docs_is_one_that_can_be_made_again() -> None:
    shown = {Path(name).stem for page in PAGES_WITH_PICTURES for name in IMAGE.findall(page.read_text("utf-8"))}
    assert shown == {picture.name for picture in PICTURES}
    assert shown == {file.stem for file in (ROOT / "docs/pictures").glob("*.png")}
