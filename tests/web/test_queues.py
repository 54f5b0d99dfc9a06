"""The pages of queues and schedules, and what a person does to a schedule there."""

from __future__ import annotations

from pathlib import Path

import pytest

import vbl
from tests.web.conftest import Site, entered, running
from vbl.client import Client


@vbl.workflow(queue="mail<b>", concurrency=1)
def send(to: str) -> str:
    return to


@pytest.fixture
def planned(file: Client) -> vbl.Schedule:
    return file.schedule(send, "0 9 * * 1-5", to="ada", name="every/morning", tz="Europe/Berlin")


def test_a_queue_shows_who_waits(path: Path) -> None:
    with vbl.open(path) as runtime:
        runtime.start(send, "ada").result(timeout=20)
        with running(path) as server:
            site = entered(server)
            page = site.get("/queues").text
            assert "mail&lt;b&gt;" in page
            assert "mail<b>" not in page
            assert "send" in page
            lanes = site.get("/queues/mail%3Cb%3E")
            assert lanes.status_code == 200
            assert "No run waits in it" in lanes.text
            assert site.get("/queues/none").status_code == 404


def test_without_queues_and_schedules_the_pages_say_what_to_type(site: Site) -> None:
    assert "@vbl.workflow(queue=" in site.get("/queues").text
    assert "vbl schedules add" in site.get("/schedules").text


def test_a_schedule_shows_its_plan_and_what_nobody_will_start(site: Site, planned: vbl.Schedule) -> None:
    page = site.get("/schedules").text
    assert "0 9 * * 1-5" in page
    assert "Europe/Berlin" in page
    assert f"/runs/{planned.run_id}" in page
    assert "No supervisor is alive" in page


def test_a_schedule_is_paused_and_goes_on(site: Site, planned: vbl.Schedule) -> None:
    answer = site.post_form("/schedules/every%2Fmorning/pause")
    assert (answer.status_code, answer.headers["location"]) == (303, "/schedules")
    assert planned.refresh().paused
    assert "Go on" in site.get("/schedules").text
    again = site.post_form("/schedules/every%2Fmorning/pause")
    assert again.status_code == 409
    assert site.post_form("/schedules/every%2Fmorning/run").status_code == 409
    assert site.post_form("/schedules/every%2Fmorning/unpause").status_code == 303
    assert not planned.refresh().paused


def test_a_run_of_a_schedule_is_asked_for(site: Site, planned: vbl.Schedule, file: Client) -> None:
    before = file.cursor()
    assert site.post_form("/schedules/every%2Fmorning/run").status_code == 303
    assert planned.run_id in [event.run_id for event in file.events(before)]


def test_what_a_schedule_cannot_do_is_not_found(site: Site, planned: vbl.Schedule) -> None:
    assert site.post_form("/schedules/every%2Fmorning/explode").status_code == 404
    assert site.post_form("/schedules/nothing/pause").status_code == 404


def test_a_page_that_only_shows_has_no_buttons(file: Client, planned: vbl.Schedule) -> None:
    with running(file.path, read_only=True) as server:
        page = entered(server).get("/schedules").text
    assert "every/morning" in page
    assert "<form" not in page.partition("<main")[2]
