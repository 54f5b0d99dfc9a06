"""The inbox: what waits for a person, decided on the page, and acted on by a real supervisor."""

from __future__ import annotations

import asyncio
import gc
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.drawing.test_forms import Browser
from tests.web.conftest import Site, pages
from tests.web.desk_work import answer_at_length, answer_for_two, answer_ticket, buy, move, refund
from vbl.client import Client
from vbl.handle import Run
from vbl.history.state import RunState
from vbl.testing import Trial
from vbl.web.app import application


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VBL_ACTOR", "me")
    monkeypatch.delenv("VBL_GROUPS", raising=False)


@pytest.fixture
def site(trial: Trial, path: Path) -> Iterator[Site]:
    """The pages on the clock of the trial."""
    with Client(path, clock=trial.clock) as client, pages(client) as site:
        yield site


def asked(trial: Trial, workflow: Any, *args: Any) -> Run:
    run = trial.start(workflow, *args)
    trial.settle()
    return run


def card(page: str, id: str) -> str:
    """The markup of one question."""
    found = re.search(rf'<article id="q-{id}".*?</article>', page, re.DOTALL)
    assert found is not None, page
    return found[0]


def gate_of(run: Run) -> str:
    (id,) = run.state().open_gates
    return id


def decide(site: Site, id: str, verdict: str, page: str | None = None, part: bool = True, **typed: str) -> Any:
    """Fill in the form that stands on the page, and send it as a browser would."""
    drawn = card(page or site.get("/inbox").text, id)
    sent = Browser(drawn).sent
    labels = dict(re.findall(r'<label for="([^"]*)"><span class="mono">([^<]*)', drawn))
    names = {html.unescape(label): sent_as(drawn, field) for field, label in labels.items()}
    fields = {names.get(name, name): text for name, text in typed.items()}
    headers = {"hx-request": "true"} if part else None
    assert set(fields) <= set(sent), (fields, sent)
    return site.post(f"/gates/{id}/{verdict}", data=sent | fields, headers=headers)


def sent_as(drawn: str, field: str) -> str:
    found = re.search(rf'id="{re.escape(field)}" name="([^"]*)"', drawn)
    assert found is not None, field
    return found[1]


def last(run: Run) -> dict[str, Any]:
    return next(fact.payload for fact in reversed(run.facts()) if fact.type.startswith(("APPROVAL", "DECISION")))


def test_an_empty_inbox_says_so(site: Site) -> None:
    assert "Nothing waits for a person" in site.get("/inbox").text


def test_an_approval_on_the_page_moves_the_run(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "eve")
    page = site.get("/inbox").text
    drawn = card(page, gate_of(run))
    assert "APPROVAL_GRANTED" in drawn
    assert "may run with just these arguments (or as you edit them), once" in drawn
    assert "data-until" in drawn
    after = decide(site, gate_of(run), "approve", reason="read it twice")
    assert after.status_code == 200, after.text
    assert "granted" in card(after.text, last(run)["gate"])
    assert "<form" not in after.text
    assert run.result() == "eve: Dear Eve,\n\nwe are sorry.\n () 3"
    assert {key: last(run).get(key) for key in ("actor", "reason", "via", "edit")} == {
        "actor": "me", "reason": "read it twice", "via": "page", "edit": None,
    }  # fmt: skip


def test_an_edit_runs_as_it_was_edited_and_only_that_is_recorded(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "eve")
    edits = {"reply.copies": "bob\r\ncarl", "priority": "1", "as": "ada"}
    assert decide(site, gate_of(run), "approve", **edits).status_code == 200
    assert run.result() == "eve: Dear Eve,\n\nwe are sorry.\n (bob, carl) 1"
    before = {"to": "eve", "body": "Dear Eve,\n\nwe are sorry.\n", "copies": ["bob", "carl"]}
    assert (last(run)["edit"], last(run)["actor"]) == ({"reply": before, "priority": 1}, "ada")


def test_what_does_not_fit_comes_back_as_it_was_typed_and_changes_nothing(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "eve")
    seq = run.refresh().seq
    typed = {"priority": "very <b>high</b>", "reply.body": "better", "reason": "because", "as": "ada"}
    answer = decide(site, gate_of(run), "approve", **typed)
    assert (answer.status_code, run.refresh().seq) == (422, seq)
    drawn = card(answer.text, gate_of(run))
    values = Browser(drawn).values
    assert {"very <b>high</b>", "better", "because", "ada"} <= set(values.values())
    assert "valid integer" in drawn
    assert "data-keep" in drawn
    assert decide(site, gate_of(run), "approve", answer.text, priority="2").status_code == 200
    assert run.result() == "eve: better () 2"


def test_without_scripts_the_whole_page_comes_back(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "eve")
    answer = decide(site, gate_of(run), "approve", part=False, priority="x")
    assert (answer.status_code, "<!doctype html>" in answer.text) == (422, True)
    after = decide(site, gate_of(run), "deny", answer.text, part=False)
    assert (after.status_code, after.headers["location"]) == (303, f"/runs/{run.id}")
    assert run.result() is None


def test_the_second_decider_is_told_who_was_first(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "eve")
    gate, page = gate_of(run), site.get("/inbox").text
    trial.approve(gate, by="ada")
    trial.settle()
    for verdict in ("approve", "deny"):
        answer = decide(site, gate, verdict, page)
        assert answer.status_code == 409
        assert "was granted by ada" in answer.text
        assert "<form" not in answer.text
    assert [fact.type for fact in run.facts()].count("APPROVAL_GRANTED") == 1


def test_what_was_looked_at_is_what_is_approved(site: Site, trial: Trial) -> None:
    """Somebody edits the call while the page is open: it neither approves nor edits back what it never showed."""
    run = asked(trial, answer_for_two, "eve")
    gate, page = gate_of(run), site.get("/inbox").text
    trial.approve(gate, by="ada", edit={"priority": 9})
    answer = decide(site, gate, "approve", page, **{"as": "bob"})
    assert answer.status_code == 409
    assert "was changed by ada since you looked" in answer.text
    assert decide(site, gate, "approve", answer.text, **{"as": "bob"}).status_code == 200
    assert run.result().endswith("() 9"), "the card that came back shows the call as it stands"


def test_a_quorum_shows_who_has_approved(site: Site, trial: Trial) -> None:
    run = asked(trial, refund, 20)
    gate = gate_of(run)
    first = decide(site, gate, "approve", amount="15", currency='"USD"', **{"as": "ada"})
    assert first.status_code == 200, first.text
    drawn = card(site.get("/inbox").text, gate)
    assert "1 of 2 have approved it as it stands" in drawn
    assert Browser(drawn).values[sent_as(drawn, f"q-{gate}-data-0")] == "15", "the next one sees what was answered"
    second = decide(site, gate, "approve", **{"as": "bob"})
    assert second.status_code == 200
    assert run.result() == 15
    assert last(run)["data"] == {"amount": 15, "currency": "USD", "note": None}


def test_data_that_is_missing_or_wrong_is_said_beside_its_field(site: Site, trial: Trial) -> None:
    run = asked(trial, refund, 20)
    for text, said in (("", "a value is needed"), ("lots", "valid integer")):
        answer = decide(site, gate_of(run), "approve", amount=text, **{"as": "ada"})
        assert (answer.status_code, said in answer.text) == (422, True)
    assert run.status == "waiting_for_approval"


def test_who_may_not_decide_is_told_so_before_it_is_tried(site: Site, trial: Trial) -> None:
    """A refused decision stays in the history for good."""
    run = asked(trial, refund, 20)
    assert "asks ada, bob, carl, not me" in card(site.get("/inbox").text, gate_of(run))
    other = asked(trial, answer_ticket, "eve")
    assert "not me" not in card(site.get("/inbox").text, gate_of(other))


def test_who_may_not_decide_is_refused_and_leaves_a_trace(site: Site, trial: Trial) -> None:
    run = asked(trial, refund, 20)
    answer = decide(site, gate_of(run), "deny", **{"as": "mallory"})
    assert (answer.status_code, "not mallory" in answer.text) == (403, True)
    assert (last(run)["actor"], last(run)["decision"], last(run)["via"]) == ("mallory", "deny", "page")
    assert "deny by mallory" in site.get("/inbox").text
    assert decide(site, gate_of(run), "deny", **{"as": ""}).status_code == 400


def test_after_its_time_it_can_not_be_decided(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "eve")
    gate, page = gate_of(run), site.get("/inbox").text
    trial.kill()
    trial.clock.advance(6 * 3600)
    answer = decide(site, gate, "approve", page)
    assert (answer.status_code, "was over" in answer.text) == (409, True)


def test_a_gate_has_a_page_and_an_unknown_one_is_not_found(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "eve")
    assert gate_of(run) in site.get(f"/gates/{gate_of(run)}").text
    assert site.get(f"/gates/{gate_of(run)[:-2]}").headers["location"] == f"/gates/{gate_of(run)}"
    assert site.get("/gates/g_none").status_code == 404
    assert site.post_form("/gates/g_none/approve").status_code == 404


def test_only_what_one_person_may_decide(site: Site, trial: Trial) -> None:
    mine, theirs = asked(trial, answer_ticket, "eve"), asked(trial, refund, 3)
    everything = site.get("/inbox").text
    assert gate_of(mine) in everything
    assert gate_of(theirs) in everything
    for part in ("/inbox", "/inbox/questions"):
        assert gate_of(theirs) in site.get(f"{part}?to=ada").text
        assert gate_of(theirs) not in site.get(f"{part}?to=eve").text


def test_a_list_that_has_not_changed_is_not_drawn_again(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "eve")
    page = site.get("/inbox").text
    (address,) = re.findall(r'hx-get="(/inbox/questions[^"]*)"', page)
    assert site.get(html.unescape(address)).status_code == 204
    other = asked(trial, buy, 1)
    assert other.status == "completed"
    assert site.get(html.unescape(address)).status_code == 204, "another run asks nobody"
    run.signal("x")
    changed = site.get(html.unescape(address))
    assert changed.status_code == 200
    assert gate_of(run) in changed.text
    assert address not in changed.text


def states() -> set[int]:
    """The states of runs that are in memory."""
    gc.collect()
    return {id(one) for one in gc.get_objects() if type(one) is RunState}


def test_what_is_asked_keeps_no_history_in_memory(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "T-1")
    before = states()
    assert "the code goes on" in card(site.get("/inbox").text, gate_of(run))
    trial.until(lambda: not states() - before)  # the thread that answered may still be at its end


def test_a_form_without_the_token_changes_nothing(site: Site, trial: Trial) -> None:
    run = asked(trial, answer_ticket, "eve")
    assert site.post(f"/gates/{gate_of(run)}/approve", data={"as": "me"}).status_code == 403
    assert run.status == "waiting_for_approval"


def test_read_only_pages_show_the_question_and_no_form(trial: Trial, path: Path) -> None:
    run = asked(trial, answer_ticket, "eve")
    with Client(path, clock=trial.clock) as client, pages(client, read_only=True) as site:
        drawn = card(site.get("/inbox").text, gate_of(run))
        assert "Ticket" in drawn
        assert "<form" not in drawn
        assert site.post(f"/gates/{gate_of(run)}/approve", data={"as": "me"}).status_code == 403
    assert run.status == "waiting_for_approval"


async def fetched(app: Starlette, path: str) -> str:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", follow_redirects=True) as browser:
        return (await browser.get(path)).text


def test_below_a_prefix_every_address_has_it(trial: Trial, path: Path) -> None:
    run = asked(trial, answer_ticket, "eve")
    with Client(path, clock=trial.clock) as client:
        app = application(client, trusted=True)
        drawn = card(asyncio.run(fetched(Starlette(routes=[Mount("/vbl", app)]), "/vbl/inbox")), gate_of(run))
        app.close()
    addresses = re.findall(r'(?:href|action|formaction|hx-get|hx-post)="([^"#][^"]*)"', drawn)
    assert len(addresses) > 4
    assert [address for address in addresses if not address.startswith("/vbl/")] == []


# Unknown outcomes ----------------------------------------------------------------------------------------------------


def lost(trial: Trial) -> Run:
    """A write whose process died before anybody knew how it ended."""
    run = trial.start(move, 7)
    trial.settle()
    trial.kill()
    trial.up()
    trial.settle()
    assert run.status == "blocked", run.facts()
    return run


def settle(site: Site, run: Run, outcome: str, page: str | None = None, **typed: str) -> Any:
    drawn = card(page or site.get("/inbox").text, run.id)
    sent = Browser(drawn).sent
    result = {"result.id": sent_as(drawn, f"q-{run.id}-result-0")}
    fields = {result.get(name, name): text for name, text in typed.items()}
    path = f"/runs/{run.id}/resolve?outcome={outcome}"
    return site.post(path, data=sent | fields, headers={"hx-request": "true"})


def test_an_unknown_outcome_is_asked_with_what_each_answer_does(site: Site, trial: Trial) -> None:
    run = lost(trial)
    drawn = card(site.get("/inbox").text, run.id)
    for said in ("transfer is not run again", "step transfer is run again as attempt 2", "StepFailed at transfer"):
        assert said in drawn
    assert drawn.count("STEP_RESOLVED") == 3


def test_it_happened_with_a_result_by_its_type(site: Site, trial: Trial) -> None:
    run = lost(trial)
    wrong = settle(site, run, "happened", **{"result.id": "no number"})
    assert (wrong.status_code, "valid integer" in wrong.text, run.status) == (422, True, "blocked")
    assert settle(site, run, "happened", wrong.text, **{"result.id": "41", "reason": "it is listed"}).status_code == 200
    assert run.result() == 41
    (said,) = [fact.payload for fact in run.facts() if fact.type == "STEP_RESOLVED"]
    assert (said["actor"], said["reason"]) == ("me", "it is listed")


def test_it_did_not_happen_and_runs_again(site: Site, trial: Trial) -> None:
    run = lost(trial)
    assert settle(site, run, "did_not").status_code == 200
    assert run.result() == 7
    attempts = [fact.payload["attempt"] for fact in run.facts() if fact.type == "STEP_STARTED"]
    assert attempts == [1, 2]


def test_what_was_settled_can_not_be_settled_again(site: Site, trial: Trial) -> None:
    run = lost(trial)
    page = site.get("/inbox").text
    assert settle(site, run, "fail").status_code == 200
    trial.settle()
    assert settle(site, run, "did_not", page).status_code == 409
    assert run.status == "failed"
    assert site.post_form(f"/runs/{run.id}/resolve?outcome=maybe").status_code == 400


# What is large -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_large_argument_can_be_looked_at_and_stands_as_it_is(site: Site, trial: Trial) -> None:
    """More than a page takes back in a form: the approval covers it all the same."""
    body = "long " * 2_000_000
    run = asked(trial, answer_at_length, body)
    drawn = card(site.get("/inbox").text, gate_of(run))
    assert len(drawn) < 20_000
    assert "body: too large to edit here" in drawn
    (address,) = re.findall(r'hx-get="(/gates/[^"]*)"', drawn)
    whole = site.get(html.unescape(address)).text
    assert "long long" in whole
    raw = site.get(f"{html.unescape(address)}&raw=1")
    assert raw.json() == body
    assert site.get(f"/gates/{gate_of(run)}/value?of=argument&name=nothing").status_code == 404
    assert site.get(f"/gates/{gate_of(run)}/value?of=else").status_code == 404
    assert decide(site, gate_of(run), "approve", to="bob").status_code == 200
    assert run.result() == f"bob: {len(body)}"
