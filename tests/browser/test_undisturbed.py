"""A page that redraws itself leaves alone what a person is at: text, caret, choices, open rows, and the place."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.site import Site, wait

pytestmark = pytest.mark.slow


def asked(site: Site, number: int) -> None:
    wait(lambda: len(site.client.gates(status="open")) == number, f"{number} questions")


def test_what_is_typed_into_a_card_stays_while_other_questions_come_and_go(site: Site, tab: Page) -> None:
    site.up().ui()
    site.begin("letter", to="Grace")
    asked(site, 1)
    tab.goto(site.link)
    tab.goto(f"{site.url}/inbox")
    card = tab.locator("article", has_text="Grace")
    card.get_by_text("Edit before approving").click()
    card.get_by_label("reply.text").fill("half a sen")
    card.get_by_label("reason").fill("so that")
    card.get_by_label("reason").press("ArrowLeft")
    other = site.begin("letter", to="Heidi")
    expect(tab.locator("article")).to_have_count(2)
    [gate] = site.client.gates(run=other.id, status="open")
    site.client.deny(gate.id, by="ada", reason="no")
    expect(tab.locator("article")).to_have_count(1)
    expect(card.get_by_label("reply.text")).to_have_value("half a sen")
    expect(card.get_by_label("reason")).to_be_focused()
    tab.keyboard.type("!")
    expect(card.get_by_label("reason")).to_have_value("so tha!t")


def test_ticked_runs_stay_ticked_and_are_cancelled_together(site: Site, tab: Page) -> None:
    site.up().ui()
    runs = [site.begin("letter", to=name) for name in ("Ada", "Bo", "Chidi")]
    asked(site, 3)
    tab.goto(site.link)
    rows = tab.locator("[data-row]")
    expect(rows).to_have_count(3)
    for run in runs[:2]:
        tab.locator(f"#row-{run.id} input[type=checkbox]").check()
    site.begin("letter", to="Dana")
    expect(rows).to_have_count(4)
    for run in runs[:2]:
        expect(tab.locator(f"#row-{run.id} input[type=checkbox]")).to_be_checked()
    tab.get_by_role("button", name="Cancel").first.click()
    expect(tab.locator("main")).to_contain_text("2 runs")
    assert {run.status for run in runs} == {"waiting_for_approval"}
    tab.get_by_role("button", name="Cancel").last.click()
    wait(lambda: [run.status for run in runs[:2]] == ["cancelled", "cancelled"], "two cancels")
    assert runs[2].status == "waiting_for_approval"


def test_the_place_that_was_scrolled_to_stays_while_events_come(site: Site, tab: Page) -> None:
    site.up().ui()
    run = site.begin("march", steps=60)
    wait(lambda: run.status == "completed", "the end of the march")
    long = site.begin("story", name="long")
    site.begun("long")
    tab.set_viewport_size({"width": 1000, "height": 500})
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{long.id}")
    tab.locator("#e3 summary").first.click()
    expect(tab.locator("#e3 .event-detail")).to_contain_text("input")
    tab.locator("#e4").scroll_into_view_if_needed()
    before = tab.locator("#e4").bounding_box()
    site.release("long")
    expect(tab.locator("#head .status").first).to_have_attribute("data-status", "completed")
    expect(tab.locator("#e10")).to_be_attached()
    after = tab.locator("#e4").bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 120, (before, after)


def test_an_event_is_on_the_screen_soon_after_its_commit(site: Site, tab: Page) -> None:
    """How soon is written down beside the result (`-rP` shows it) and not judged."""
    site.up().ui()
    run = site.begin("story", name="soon")
    site.begun("soon")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    expect(tab.locator("#live")).to_have_attribute("data-state", "live")
    tab.evaluate(
        """() => {
            window.seen = {}
            const look = () => {
                const rows = document.querySelectorAll('[data-row][id^=e]')
                for (const row of rows) window.seen[row.id.slice(1)] ??= Date.now()
            }
            look()
            new MutationObserver(look).observe(document.body, {childList: true, subtree: true})
        }"""
    )
    shown = len(run.events())
    site.release("soon")
    wait(lambda: run.status == "completed", "the end of the run")
    last = run.events()[-1]
    tab.wait_for_function(f"() => window.seen[{last.seq}] !== undefined")
    seen = tab.evaluate("window.seen")
    for event in run.events()[shown:]:
        print(f"event {event.seq}, {event.type}: {seen[str(event.seq)] - event.at / 1000:.0f} ms")
    assert set(seen) == {str(event.seq) for event in run.events()}
