"""What a person does on the page happens in the file, and a supervisor acts on it."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints
from tests.browser.site import Site, shows, wait

pytestmark = pytest.mark.slow


def test_an_edited_call_is_what_runs(site: Site, tab: Page) -> None:
    site.up().ui()
    run = site.begin("letter", to="Grace")
    wait(lambda: run.status == "waiting_for_approval", "the question")
    tab.goto(site.link)
    tab.get_by_role("link", name="Inbox").click()
    tab.get_by_text("Edit before approving").click()
    tab.get_by_label("reply.text").fill("as a person wrote it")
    tab.get_by_label("reply.copies").fill("3")
    tab.get_by_label("reason").first.fill("shorter is better")
    tab.get_by_role("button", name="Approve").first.click()
    wait(lambda: run.status == "completed", "the end of the run")
    assert (site.folder / "sent.txt").read_text() == "Grace: as a person wrote it x3\n"
    [gate] = run.state().gates.values()
    assert (gate.status, gate.decided_by) == ("granted", "ada")
    tab.goto(f"{site.url}/inbox")
    expect(tab.locator("main")).not_to_contain_text("Grace")


def test_a_wrong_edit_comes_back_with_what_was_typed(site: Site, tab: Page, complaints: Complaints) -> None:
    complaints.expected = ["/approve: .* 422 "]
    site.up().ui()
    run = site.begin("letter", to="Grace")
    wait(lambda: run.status == "waiting_for_approval", "the question")
    tab.goto(site.link)
    tab.get_by_role("link", name="Inbox").click()
    tab.get_by_text("Edit before approving").click()
    tab.get_by_label("reply.text").fill("this one stays")
    tab.evaluate("for (const field of document.querySelectorAll('[type=number]')) field.type = 'text'")
    tab.get_by_label("reply.copies").fill("many")
    tab.get_by_role("button", name="Approve").first.click()
    expect(tab.locator("main")).to_contain_text("valid integer")
    expect(tab.get_by_label("reply.text")).to_have_value("this one stays")
    assert run.status == "waiting_for_approval"


def test_a_failed_run_is_tried_again(site: Site, tab: Page) -> None:
    site.up().ui()
    run = site.begin("invoice", amount=12.5)
    wait(lambda: run.status == "failed", "the failure")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    expect(tab.locator("main")).to_contain_text("the account does not hold 12.50")
    site.release("funds")
    tab.get_by_role("button", name="Retry").first.click()
    tab.get_by_role("dialog").get_by_role("button", name="Retry").click()
    shows(tab, "completed")
    assert run.result() == "paid 12.50"


def test_a_running_run_is_cancelled_with_a_reason(site: Site, tab: Page) -> None:
    site.up().ui()
    run = site.begin("story", name="long")
    site.begun("long")
    tab.goto(site.link)
    tab.goto(f"{site.url}/runs/{run.id}")
    tab.get_by_role("button", name="Cancel").first.click()
    dialog = tab.get_by_role("dialog")
    expect(dialog).to_contain_text("CANCEL_REQUESTED")
    dialog.get_by_label("reason").fill("nobody needs it")
    dialog.get_by_role("button", name="Cancel").first.click()
    site.release("long")
    wait(lambda: run.status == "cancelled", "the cancel")
    shows(tab, "cancelled")
    [asked] = [event for event in run.events() if event.type == "CANCEL_REQUESTED"]
    assert asked.payload.reason == "nobody needs it"


def test_two_pages_decide_once(site: Site, tab: Page) -> None:
    site.up().ui()
    run = site.begin("letter", to="Grace")
    wait(lambda: run.status == "waiting_for_approval", "the question")
    tab.goto(site.link)
    tab.get_by_role("link", name="Inbox").click()
    other = tab.context.new_page()
    other.goto(f"{site.url}/inbox")
    expect(other.get_by_role("button", name="Deny").first).to_be_visible()
    [gate] = site.client.gates(status="open")
    tab.get_by_role("button", name="Approve").first.click()
    wait(lambda: run.status == "completed", "the end of the run")
    expect(other.locator("main")).not_to_contain_text(gate.id)


def test_a_question_is_answered_by_keys_alone(site: Site, tab: Page) -> None:
    site.up().ui()
    runs = [site.begin("letter", to=to) for to in ("Ada", "Bo")]
    wait(lambda: len(site.client.gates(status="open")) == 2, "the questions")
    tab.goto(site.link)
    expect(tab.locator("[data-row]")).to_have_count(2)
    tab.keyboard.press("g")
    tab.keyboard.press("i")
    tab.wait_for_url("**/inbox")  # and until its scripts are there
    expect(tab.locator("article")).to_have_count(2)
    second = tab.locator("article").nth(1).inner_text()
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    tab.keyboard.press("d")
    expect(tab.locator(":focus")).to_contain_text("Deny")
    assert len(site.client.gates(status="open")) == 2
    tab.keyboard.press("Enter")
    meant = next(run for run in runs if run.id in second)
    wait(lambda: meant.status == "completed", "the end of the run")
    assert meant.result() == "not sent: None"
    expect(tab.locator("article")).to_have_count(1)
    assert [run.status for run in runs if run.id != meant.id] == ["waiting_for_approval"]


def test_who_may_only_look_is_offered_nothing_to_do(site: Site, tab: Page) -> None:
    site.up().ui("--read-only")
    run = site.begin("letter", to="Grace")
    wait(lambda: run.status == "waiting_for_approval", "the question")
    tab.goto(site.link)
    for path in ("/runs", f"/runs/{run.id}", "/inbox", "/schedules"):
        tab.goto(site.url + path)
        expect(tab.locator("#live")).to_have_attribute("data-state", "live")
        expect(tab.locator("form[method=post]:not([action$='/sign-out'])")).to_have_count(0)
    expect(tab.locator("main")).to_be_visible()


def test_no_script_of_a_payload_runs(site: Site, tab: Page) -> None:
    text = "</script><img src=x onerror=alert(1)><svg onload=alert(2)>'\"{{7*7}}[x](javascript:alert(3))"
    spoken: list[str] = []
    tab.on("dialog", lambda dialog: (spoken.append(dialog.message), dialog.dismiss()))
    site.up().ui()
    run = site.begin("hostile", text=text, key=text, tags={"mark": text[:40]})
    wait(lambda: run.status == "waiting_for_approval", "the question")
    tab.goto(site.link)
    for path in ("/runs", f"/runs/{run.id}", *(f"/runs/{run.id}?tab={tab}" for tab in TABS), "/inbox"):
        tab.goto(site.url + path)
        expect(tab.locator("#live")).to_have_attribute("data-state", "live")
        assert not tab.locator("img[src=x], svg[onload], script:not([src]), [href^='javascript']").count(), path
    assert not spoken


TABS = ("events", "state", "graph", "code", "children")


def test_who_signs_out_by_the_keys_is_out_in_every_tab(site: Site, tab: Page, complaints: Complaints) -> None:
    complaints.expected = [" 403 "]
    run = site.client.start("story", n=1)
    site.ui()
    tab.goto(site.link)
    beside = tab.context.new_page()
    beside.goto(f"{site.url}/runs/{run.id}")
    expect(beside.locator("#live")).to_have_attribute("data-state", "live")
    way_out = tab.get_by_role("button", name="Sign out")
    way_out.focus()
    way_out.press("Enter")
    expect(tab.get_by_role("heading", level=1)).to_have_text("You have signed out")
    results = Axe().run(tab)
    assert not results.violations_count, results.generate_report()
    tab.go_back()
    expect(tab.get_by_role("heading", level=1)).to_have_text("this browser has no session here")
    run.pause()
    expect(beside.get_by_role("heading", level=1)).to_have_text("this browser has no session here")
