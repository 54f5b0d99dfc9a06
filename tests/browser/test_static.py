"""`vbl show RUN --html FILE`: one file that opens anywhere, and asks nobody for anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.site import Site, wait

pytestmark = pytest.mark.slow


@pytest.fixture
def document(site: Site) -> Iterator[Path]:
    """The file of a run that waits for a person, after its supervisor and all else has gone."""
    site.up()
    run = site.begin("letter", to="Grace </script><script>document.title='taken'</script>")
    wait(lambda: run.status == "waiting_for_approval", "the question")
    site.vbl("show", run.id, "--html", "run.html")
    site.close()
    return site.folder / "run.html"


def test_it_opens_from_the_disk_without_a_request(document: Path, tab: Page, context: BrowserContext) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    tab.goto(document.as_uri())
    expect(tab.get_by_role("heading", level=1)).to_contain_text("letter")
    expect(tab.locator("main")).to_contain_text("waiting for approval")
    expect(tab.locator(".timeline .track").first).to_be_visible()
    assert asked == [document.as_uri()]
    assert "taken" not in tab.title()
    assert tab.locator("form, [hx-get]").count() == 0


def test_its_timeline_is_zoomed_and_its_events_open(document: Path, tab: Page) -> None:
    tab.goto(document.as_uri())
    wide = "document.querySelector('.timeline .scroller').scrollWidth"
    before = tab.evaluate(wide)
    tab.locator(".timeline [data-chart=zoom-in]").first.click()
    tab.wait_for_function(f"() => {wide} > {before} * 1.2")
    event = tab.locator("#e1")
    event.locator("summary").first.click()
    expect(event).to_contain_text("RUN_CREATED")
    expect(event.locator("details").first).to_have_attribute("open", "")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_scan_of_accessibility_finds_nothing(document: Path, tab: Page, theme: str) -> None:
    tab.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    tab.goto(document.as_uri())
    results = Axe().run(tab)
    assert not results.violations_count, results.generate_report()
