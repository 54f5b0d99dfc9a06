"""What a person is typing stays, whatever happens in the file meanwhile; and no key decides by accident."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

import vbl
from tests.browser.conftest import Complaints
from tests.browser.site import Site, wait

pytestmark = pytest.mark.slow


def asked(site: Site, to: str) -> vbl.Run:
    run = site.begin("letter", to=to)
    wait(lambda: run.status == "waiting_for_approval", "the question")
    return run


def card(tab: Page, run: vbl.Run) -> Locator:
    (gate,) = run.state().open_gates
    return tab.locator(f"#q-{gate}")


def test_what_is_typed_in_a_card_stays_while_others_come_and_go(site: Site, tab: Page) -> None:
    site.up().ui()
    first, mine = asked(site, "Ada"), asked(site, "Grace")
    tab.goto(site.link)
    tab.goto(f"{site.url}/inbox")
    gone, typing = card(tab, first), card(tab, mine)
    typing.get_by_text("Edit before approving").click()
    typing.get_by_label("reply.text").fill("half a sen")
    site.client.deny(first.state().gates.popitem()[0], by="ada")
    expect(gone).to_have_count(0)
    third = asked(site, "Eve")
    expect(card(tab, third)).to_be_visible()
    expect(typing.get_by_label("reply.text")).to_have_value("half a sen")
    expect(typing.get_by_label("reply.text")).to_be_focused()
    expect(typing.get_by_label("reply.text")).to_be_visible()


def test_a_form_that_came_back_with_errors_is_left_alone(site: Site, tab: Page, complaints: Complaints) -> None:
    complaints.expected.append("status of 422")
    site.up().ui()
    run = asked(site, "Grace")
    tab.goto(site.link)
    tab.goto(f"{site.url}/inbox")
    mine = card(tab, run)
    mine.get_by_text("Edit before approving").click()
    mine.get_by_label("reply.copies").fill("many")
    mine.get_by_role("button", name="Approve").click()
    expect(mine).to_contain_text("valid integer")
    expect(card(tab, asked(site, "Eve"))).to_be_visible()
    expect(mine).to_contain_text("valid integer")
    expect(mine.get_by_label("reply.copies")).to_have_value("many")
    mine.get_by_label("reply.copies").fill("2")
    mine.get_by_role("button", name="Approve").click()
    wait(lambda: run.status == "completed", "the end of the run")
    assert (site.folder / "sent.txt").read_text() == "Grace: Grace: line 1 x2\n"


def test_a_line_break_after_the_reason_goes_to_the_button_and_the_next_one_decides(site: Site, tab: Page) -> None:
    site.up().ui()
    run = asked(site, "Grace")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    mine = card(tab, run)
    mine.locator("[name=reason]").fill("it is polite")
    tab.keyboard.press("Enter")
    expect(mine.get_by_role("button", name="Approve")).to_be_focused()
    assert run.status == "waiting_for_approval"
    tab.keyboard.press("Enter")
    wait(lambda: run.status == "completed", "the end of the run")
    [gate] = run.state().gates.values()
    assert gate.votes[0]["reason"] == "it is polite"


def test_an_open_dialog_stays_open_while_its_run_goes_on(site: Site, tab: Page) -> None:
    site.up().ui()
    run = site.begin("story", name="long")
    site.begun("long")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    tab.get_by_role("button", name="Cancel").first.click()
    dialog = tab.locator("#do-cancel")
    dialog.locator("[name=reason]").fill("I am still")
    seq = run.refresh().seq
    run.signal("anything")
    wait(lambda: run.refresh().seq == seq + 2, "the message and the checkpoint behind it")
    expect(tab.locator("#head")).to_contain_text(f"{seq + 2} events")
    expect(dialog).to_be_visible()
    expect(dialog.locator("[name=reason]")).to_have_value("I am still")
    tab.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert run.status == "running"
