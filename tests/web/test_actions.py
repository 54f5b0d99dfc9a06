"""What people do to runs from their pages: the buttons say what they do, and a real supervisor does it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.drawing.test_forms import Browser
from tests.web.conftest import Site, pages
from tests.web.desk_work import DOWN, answer_ticket, buy, paid, sleeper
from vbl.client import Client
from vbl.handle import Run
from vbl.testing import Trial


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VBL_ACTOR", "me")


@pytest.fixture
def site(trial: Trial, path: Path) -> Iterator[Site]:
    with Client(path, clock=trial.clock) as client, pages(client) as site:
        yield site


def begun(trial: Trial, workflow: Any, *args: Any) -> Run:
    run = trial.start(workflow, *args)
    trial.settle()
    return run


def last(run: Run) -> tuple[str, dict[str, Any]]:
    fact = run.facts()[-1]
    return fact.type, fact.payload


def buttons(site: Site, run: Run) -> dict[str, bool]:
    """The buttons of the run's page that open a dialog, and whether they are enabled."""
    bar = re.search(r'<div class="actions bar".*', site.get(f"/runs/{run.id}").text, re.DOTALL)
    assert bar is not None
    found = re.findall(r'<button type="button"([^>]*) data-dialog="do-(\w+)"', bar[0])
    return {name: " disabled" not in before for before, name in found}


def dialog(site: Site, run: Run, id: str) -> str:
    found = re.search(rf'<dialog id="{id}".*?</dialog>', site.get(f"/runs/{run.id}").text, re.DOTALL)
    assert found is not None, id
    return found[0]


def send(site: Site, run: Run, id: str, path: str, headers: dict[str, str] | None = None, **typed: str) -> Any:
    sent = Browser(dialog(site, run, id)).sent
    assert set(typed) <= set(sent), (set(typed), set(sent))
    return site.post(f"/runs/{run.id}/{path}", data=sent | typed, headers=headers)


def test_buttons_are_enabled_just_where_the_history_would_not_refuse(
    site: Site, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(trial, sleeper)
    assert buttons(site, run) == {"retry": False, "pause": True, "cancel": True}
    run.pause()
    assert buttons(site, run) == {"retry": False, "unpause": True, "cancel": True}
    run.unpause()
    run.cancel()
    trial.settle()
    assert run.status == "cancelled"
    assert buttons(site, run) == {"retry": False}
    monkeypatch.setenv(DOWN, "1")
    failed = begun(trial, buy, 3)
    assert (failed.status, buttons(site, failed)) == ("failed", {"retry": True})


def test_a_retry_says_what_runs_again_and_does_it(site: Site, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DOWN, "1")
    run = begun(trial, buy, 3)
    drawn = dialog(site, run, "do-retry")
    assert "step charge is run again as attempt 2" in drawn
    assert "<code>RUN_RETRIED</code>" in drawn
    monkeypatch.delenv(DOWN)
    answer = send(site, run, "do-retry", "retry", reason="it is open again", **{"as": "ada"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run.id}")
    assert run.result() == 3
    (said,) = [fact.payload for fact in run.facts() if fact.type == "RUN_RETRIED"]
    assert (said["actor"], said["reason"]) == ("ada", "it is open again")
    assert [f.payload["attempt"] for f in run.facts() if f.type == "STEP_STARTED"] == [1, 2]


def test_a_cancel_has_its_time_and_a_wrong_one_is_refused(site: Site, trial: Trial) -> None:
    run = begun(trial, sleeper)
    trial.down()
    for wrong in ("soon", "-1", "nan"):
        answer = send(site, run, "do-cancel", "cancel", within=wrong)
        assert (answer.status_code in (400, 422), run.state().cancel) == (True, None), wrong
    assert send(site, run, "do-cancel", "cancel", within="60").status_code == 303
    type, payload = last(run)
    assert (type, payload["actor"], payload["until"] - run.facts()[-1].at) == ("CANCEL_REQUESTED", "me", 60_000_000)
    again = site.post_form(f"/runs/{run.id}/cancel")
    assert (again.status_code, "was asked for already, by me" in again.text) == (409, True)
    assert "<!doctype html>" in again.text
    trial.up()
    trial.settle()
    assert run.status == "cancelled"


def test_pause_and_unpause(site: Site, trial: Trial) -> None:
    run = begun(trial, answer_ticket, "eve")
    assert send(site, run, "do-pause", "pause").status_code == 303
    assert run.status == "paused"
    assert site.post_form(f"/runs/{run.id}/pause").status_code == 409
    assert "once it is unpaused" in site.get("/inbox").text
    assert send(site, run, "do-unpause", "unpause").status_code == 303
    assert run.status == "waiting_for_approval"


def test_the_browser_goes_back_to_where_it_was_on_the_same_run(site: Site, trial: Trial) -> None:
    run = begun(trial, sleeper)
    base = str(site.base_url).rstrip("/")
    came = {"referer": f"{base}/runs/{run.id}?tab=state"}
    assert send(site, run, "do-pause", "pause", came).headers["location"] == f"/runs/{run.id}?tab=state"
    for referer in (f"{base}/runs/other?tab=state", "http://evil.example/?x", f"{base}//evil.example/?a=b"):
        answer = site.post_form(f"/runs/{run.id}/unpause", {"referer": referer})
        assert answer.headers["location"] == f"/runs/{run.id}"
        run.pause()


def test_a_message_by_the_type_that_is_waited_for(site: Site, trial: Trial) -> None:
    run = begun(trial, paid, "i-1")
    drawn = dialog(site, run, "send-0")
    assert "the code gets it where it waits for payment" in drawn
    fields = Browser(drawn).values
    amount, currency = sorted(name for name in fields if name.startswith("data-"))[:2]
    wrong = send(site, run, "send-0", "signal", **{amount: "lots", "key": "k"})
    assert (wrong.status_code, run.status) == (422, "waiting")
    values = Browser(wrong.text).values
    assert (values[amount], values["key"]) == ("lots", "k")
    assert send(site, run, "send-0", "signal", **{amount: "12", currency: '"USD"', "as": "ada"}).status_code == 303
    assert run.result() == 12
    (said,) = [fact.payload for fact in run.facts() if fact.type == "SIGNAL_RECEIVED"]
    assert (said["name"], said["actor"], said["data"]["currency"]) == ("payment", "ada", "USD")


def test_a_message_that_nothing_waits_for_is_kept(site: Site, trial: Trial) -> None:
    run = begun(trial, sleeper)
    assert send(site, run, "send", "signal", name="hello", **{"data.json": '{"a": [1]}'}).status_code == 303
    assert last(run)[1]["data"] == {"a": [1]}
    assert send(site, run, "send", "signal", name="bare").status_code == 303
    assert last(run)[1].get("data") is None
    assert send(site, run, "send", "signal", name="").status_code == 400
    assert send(site, run, "send", "signal", name="x", **{"data.json": "{"}).status_code == 422
    assert send(site, run, "send", "signal", name="x", key="k", **{"data.json": "1"}).status_code == 303
    taken = send(site, run, "send", "signal", name="x", key="k", **{"data.json": "2"})
    assert (taken.status_code, "has a signal" in taken.text) == (409, True)


def test_the_questions_of_a_run_stand_on_its_page(site: Site, trial: Trial) -> None:
    run = begun(trial, answer_ticket, "eve")
    (gate,) = run.state().open_gates
    for address in (f"/runs/{run.id}", f"/runs/{run.id}/asks"):
        assert f'<article id="q-{gate}"' in site.get(address).text
    trial.approve(gate)
    run.result()
    assert "<article" not in site.get(f"/runs/{run.id}/asks").text


def test_what_there_is_not_is_not_found(site: Site, trial: Trial) -> None:
    for act in ("cancel", "pause", "unpause", "retry", "signal", "resolve?outcome=fail"):
        assert site.post_form(f"/runs/r_none/{act}").status_code == 404, act
    run = begun(trial, sleeper)
    assert site.post_form(f"/runs/{run.id}/resolve?outcome=fail").status_code == 409
    assert site.get(f"/runs/{run.id}/cancel").status_code in (404, 405)


def test_without_the_token_and_on_read_only_pages_nothing_changes(site: Site, trial: Trial, path: Path) -> None:
    run = begun(trial, sleeper)
    seq = run.refresh().seq
    assert site.post(f"/runs/{run.id}/cancel", data={"as": "me"}).status_code == 403
    with Client(path, clock=trial.clock) as client, pages(client, read_only=True) as only:
        assert 'class="actions' not in only.get(f"/runs/{run.id}").text
        assert only.post(f"/runs/{run.id}/cancel", data={"as": "me"}).status_code == 403
    assert run.refresh().seq == seq
