"""The page of a run over a real file: every part answers by itself, and says what the history says."""

from __future__ import annotations

import asyncio
import html
import itertools
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

import vbl
from tests.web.conftest import Site, pages
from vbl.agents import record_usage
from vbl.client import Client
from vbl.history.causes import causes
from vbl.history.facts import Fact
from vbl.testing import Trial
from vbl.web.app import application
from vbl.web.sheets import KEPT, Known, Sheets
from vbl.web.values import whole

EVIL = "</script><img src=x onerror=alert(1)>"


@vbl.step
async def look(url: str) -> dict[str, Any]:
    return {"url": url, "body": EVIL * 3_000}


@vbl.step(retry=vbl.Retry(max_attempts=3, delay=14, factor=1, jitter=0))
async def ask(question: str) -> str:
    raise ConnectionError(f"529 overloaded {EVIL}")


@vbl.step
async def send(text: str) -> str:
    return "sent"


@vbl.workflow
async def report(question: str) -> str:
    page = await look("https://a.example")
    if question == "hard":
        return await ask(question)
    await vbl.approve("send_report", to=["nora"], show={"question": question})
    await send(str(len(page["body"])))
    return "done"


@vbl.workflow
async def parent() -> str:
    child = vbl.start(send_alone, "x")
    return await child


@vbl.workflow
async def send_alone(text: str) -> str:
    return await send(text)


@vbl.workflow
async def elder() -> str:
    return await vbl.start(report, "easy")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with Trial(tmp_path / "support.db") as trial:
        yield trial


@pytest.fixture
def site(trial: Trial) -> Iterator[Site]:
    """The pages on the clock of the trial."""
    with Client(trial.path, clock=trial.clock) as client, pages(client) as site:
        yield site


def text_of(site: Site, path: str) -> str:
    answer = site.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_page_says_the_status_and_its_reason_and_shows_every_event(site: Site, trial: Trial) -> None:
    run = trial.start(report, "hard", key="k", tags=["env=dev"])
    trial.settle()
    page = text_of(site, f"/runs/{run.id}")
    assert "retrying in 14 s, attempt 2 of 3" in page
    assert run.why().detail.split(" (")[0] in page
    assert [int(seq) for seq in re.findall(r'<li id="e(\d+)"', page)] == [fact.seq for fact in run.facts()]
    assert "<h1>report</h1>" in page


def test_a_beginning_of_an_id_leads_to_the_page_with_its_query(site: Site, trial: Trial) -> None:
    run = trial.start(report, "easy")
    answer = site.get(f"/runs/{run.id[:-3]}?tab=state")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run.id}?tab=state")


def test_each_part_can_be_fetched_by_itself_and_asks_for_itself_again(site: Site, trial: Trial) -> None:
    run = trial.start(report, "easy")
    trial.settle()
    for part in ("head", "asks", "timeline", "values", "children", "state", "graph", "costs", "tabs"):
        drawn = text_of(site, f"/runs/{run.id}/{part}")
        assert "<html" not in drawn
        assert f'hx-get="/runs/{run.id}/{part}' in drawn
        assert ("vbl:moved from:body" if part == "children" else "vbl:changed from:body") in drawn


@vbl.step
async def draft(usd: float) -> None:
    record_usage(provider="p", model="m-1", input_tokens=12_400, output_tokens=300, usd=usd)


@vbl.workflow(name="used.drafting")
async def drafting() -> None:
    await draft(0.25)
    await vbl.sleep(60)
    await draft(0.5)


def test_what_a_run_has_used_is_in_its_head_and_on_a_tab_that_asks_again(site: Site, trial: Trial) -> None:
    run = trial.start(drafting)
    trial.settle()
    page = text_of(site, f"/runs/{run.id}?tab=costs")
    assert "$0.2500 · 12.4k tokens in, 300 out" in page
    assert "m-1" in page
    assert f'hx-get="/runs/{run.id}/costs" hx-trigger="vbl:changed from:body"' in page
    trial.finish(run)
    assert "$0.7500" in text_of(site, f"/runs/{run.id}/costs")
    assert "$0.7500 · 24.8k tokens in, 600 out" in text_of(site, f"/runs/{run.id}/head")
    assert "$0.7500" in text_of(site, "/runs")
    assert run.id in text_of(site, "/runs?q=cost:>0.7")
    assert run.id not in text_of(site, "/runs?q=cost:>0.8")


@pytest.mark.slow
@pytest.mark.parametrize("tab", ["events", "state", "graph", "code", "children", "costs"])
def test_every_tab_is_there_and_nothing_recorded_becomes_markup(site: Site, trial: Trial, tab: str) -> None:
    run = trial.start(report, EVIL, key=EVIL, tags=[EVIL])
    trial.settle()
    page = text_of(site, f"/runs/{run.id}?tab={tab}")
    assert "<img src=x" not in page
    assert "</script><img" not in page
    assert " style=" not in page


def test_a_tab_that_is_not_there_is_refused_in_words(site: Site, trial: Trial) -> None:
    run = trial.start(report, "easy")
    assert site.get(f"/runs/{run.id}?tab=colour").status_code == 400
    assert site.get("/runs/r_nosuchrun").status_code == 404
    assert site.get(f"/runs/{run.id}/events/99").status_code == 404
    assert site.get(f"/runs/{run.id}/events?after=x").status_code == 400
    assert site.get(f"/runs/{run.id}/events?after={'9' * 40}").status_code == 400
    assert site.get(f"/runs/{run.id}?tab=state&checkpoint=99").status_code == 404
    assert site.get(f"/runs/{run.id}/value?of=secrets").status_code == 404


def test_what_is_added_to_the_history_is_what_is_fetched(site: Site, trial: Trial) -> None:
    run = trial.start(report, "easy")
    trial.settle()
    page = text_of(site, f"/runs/{run.id}")
    (after,) = re.findall(rf'hx-get="/runs/{run.id}/events\?after=(\d+)" hx-trigger="vbl:changed', page)
    (gate,) = trial.gates()
    trial.approve(gate.id, by="nora")
    trial.settle()
    added = text_of(site, f"/runs/{run.id}/events?after={after}")
    seqs = [int(seq) for seq in re.findall(r'<li id="e(\d+)"', added)]
    assert seqs == [fact.seq for fact in run.facts() if fact.seq > int(after)]
    assert "APPROVAL_GRANTED" in added
    assert "completed" in text_of(site, f"/runs/{run.id}/head")


def test_filters_answer_with_the_list_and_the_address_that_shows_it(site: Site, trial: Trial) -> None:
    run = trial.start(report, "hard")
    trial.settle()
    answer = site.get(f"/runs/{run.id}/events?tab=events&kind=step&failed=1&step=&order=oldest")
    assert re.findall(r'<li id="e(\d+)"', answer.text) == [
        str(fact.seq) for fact in run.facts() if fact.type == "STEP_FAILED"
    ]
    assert answer.headers["hx-replace-url"] == f"/runs/{run.id}?kind=step&failed=1&tab=events"
    page = text_of(site, answer.headers["hx-replace-url"])
    assert re.findall(r'<li id="e(\d+)"', page) == re.findall(r'<li id="e(\d+)"', answer.text)


def test_an_event_is_opened_with_its_values_large_ones_on_demand(site: Site, trial: Trial) -> None:
    run = trial.start(report, "easy")
    trial.settle()
    done = next(fact for fact in run.facts() if fact.type == "STEP_COMPLETED")
    opened = text_of(site, f"/runs/{run.id}/events/{done.seq}")
    assert len(opened) < 10_000
    (address,) = set(re.findall(rf'hx-get="(/runs/{run.id}/events/{done.seq}/value\?of=output)"', opened))
    assert "&lt;img src=x" in text_of(site, address)
    raw = site.get(f"{address}&raw=1")
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["content-disposition"].startswith("attachment")
    assert json.loads(raw.content) == done.payload["output"]


def test_a_value_is_kept_under_a_name_that_no_id_breaks() -> None:
    request = Request({"type": "http", "query_string": b"raw=1", "headers": []})
    answer = whole(cast("Any", None), request, 1, "/x", 'r_\r\nX: "1" 中')
    assert (
        answer.headers["content-disposition"] == "attachment; filename*=UTF-8''r_%0D%0AX%3A%20%221%22%20%E4%B8%AD.json"
    )


def test_lanes_of_steps_that_there_are_not_are_none(site: Site, trial: Trial) -> None:
    run = trial.start(report, "easy")
    trial.settle()
    assert "lane-name" not in text_of(site, f"/runs/{run.id}/timeline?group=none&from=0")
    assert "lane-name" in text_of(site, f"/runs/{run.id}/timeline?group=look&from=0")


def test_the_state_at_a_checkpoint_is_the_one_of_the_terminal(site: Site, trial: Trial) -> None:
    run = trial.start(report, "easy")
    trial.settle()
    raw = site.get(f"/runs/{run.id}/state/value?checkpoint=1&of=outputs&raw=1")
    assert json.loads(raw.content) == run.state(checkpoint=1).outputs


def test_children_are_a_tree_that_leads_to_each(site: Site, trial: Trial) -> None:
    run = trial.start(parent)
    trial.settle()
    (child,) = run.children()
    assert f'href="/runs/{child.id}"' in text_of(site, f"/runs/{run.id}?tab=children")
    assert f'href="/runs/{run.id}"' in text_of(site, f"/runs/{child.id}")


@pytest.mark.slow
def test_the_commands_that_can_be_copied_give_what_stands_beside_them(site: Site, trial: Trial) -> None:
    run = trial.start(report, "how warm?")
    trial.settle()
    done = next(fact for fact in run.facts() if fact.type == "STEP_COMPLETED")
    page = text_of(site, f"/runs/{run.id}") + text_of(site, f"/runs/{run.id}/events/{done.seq}")
    page += text_of(site, f"/runs/{run.id}?tab=state&checkpoint=1")
    commands = {html.unescape(one) for one in re.findall(r'data-copy="(vbl [^"]*\| jq [^"]*)"', page)}
    expected = {
        ".input": run.state().input,
        ".outputs": run.state(checkpoint=1).outputs,
        ".payload.input": {"url": "https://a.example"},
        ".payload.output": done.payload["output"],
    }
    seen = {path: printed(trial.path, command) for command in commands for path in [command.rpartition(" ")[2]]}
    assert seen == {path: expected[path] for path in seen}
    assert {".input", ".payload.output", ".outputs"} <= set(seen)


def printed(db: Path, command: str) -> Any:
    """What the command prints, its filters for lines and parts done by hand."""
    typed, *filters = command.split(" | ")
    args = [sys.executable, "-m", "vbl", *shlex.split(typed)[1:], "--db", str(db)]
    out = subprocess.run(args, capture_output=True, text=True, check=True, timeout=60).stdout
    document = json.loads(out.splitlines()[0] if filters[0] == "head -n 1" else out)
    for part in filters[-1].removeprefix("jq .").split("."):
        document = document[part]
    return document


def test_the_addresses_hold_under_a_prefix(trial: Trial) -> None:
    run = trial.start(report, "easy")
    trial.settle()
    done = next(fact for fact in run.facts() if fact.type == "STEP_COMPLETED")
    app = application(trial.path, trusted=True)
    mounted = httpx.ASGITransport(Starlette(routes=[Mount("/desk", app)]))

    async def look() -> str:
        async with httpx.AsyncClient(transport=mounted, base_url="http://127.0.0.1") as browser:
            answers = [await browser.get(f"/desk/runs/{run.id}{part}") for part in ("", f"/events/{done.seq}")]
        return "".join(answer.raise_for_status().text for answer in answers)

    page = asyncio.run(look())
    app.close()
    addresses = re.findall(r'(?:href|hx-get|hx-post|action|src)="([^"]*)"', page)
    assert len(addresses) > 20
    assert not [one for one in addresses if one.startswith("/") and not one.startswith("/desk/")]


def test_a_sheet_is_read_once_while_nothing_comes(trial: Trial) -> None:
    now = 0.0
    sheets = Sheets(trial, lambda: now)
    run = trial.start(report, "easy")
    trial.settle()
    first = sheets.known(run.id)
    assert sheets.known(run.id[:-2]) is first
    now = 10.0
    assert sheets.known(run.id) is not first, "a run that waits tells of the time"
    (gate,) = trial.gates()
    trial.approve(gate.id, by="nora")
    trial.settle()
    ended = sheets.known(run.id)
    assert ended.sheet.state.finished
    now = 1_000.0
    assert sheets.known(run.id) is ended


class Talk(BaseModel):
    messages: list[str] = []


@vbl.step
async def say(messages: list[str]) -> list[str]:
    return [*messages, "word " * 2_000]


@vbl.workflow
async def conversation(turns: int) -> int:
    talk = vbl.state(Talk)
    for _ in range(turns):
        talk.messages = await say(talk.messages)
        await vbl.wait("go on")
    return len(talk.messages)


def test_what_is_read_on_is_what_is_read_anew(trial: Trial) -> None:
    """Later values stand in the file as differences to earlier ones, which have been read before."""
    run = trial.start(conversation, 4)
    sheets = Sheets(trial)
    for _ in range(5):
        trial.settle()
        sheet = sheets.known(run.id).sheet
        assert sheet.facts == run.facts()
        assert sheet.state == run.state()
        assert sheets.known(run.id).links == causes(run.facts())
        if not sheet.state.finished:
            run.signal("go on")
    assert run.result() == 4


def test_the_head_of_a_run_tells_how_its_child_stands_whatever_happens_to_that(site: Site, trial: Trial) -> None:
    run = trial.start(elder)
    trial.settle()
    (child,) = run.children()
    head = text_of(site, f"/runs/{run.id}/head")
    assert f"({child.id}), waiting for approval" in head
    assert 'hx-trigger="vbl:moved from:body"' in head
    seq = run.refresh().seq
    child.pause()
    assert f"({child.id}), paused" in text_of(site, f"/runs/{run.id}/head")
    assert run.refresh().seq == seq, "nothing has happened to the run itself"


def test_who_asks_while_a_run_is_read_shares_what_is_read_after_that(trial: Trial) -> None:
    run = trial.start(report, "easy")
    trial.settle()
    asked = threading.Barrier(3)
    calls = itertools.count(1)
    me = threading.current_thread()

    def clock() -> float:
        """Goes on by a second whenever it is asked: no sheet is fresh. While the first one reads, two others ask."""
        number = next(calls)
        if number == 2:
            later.extend(pool.submit(sheets.known, run.id) for _ in range(2))
            asked.wait(20)
        elif threading.current_thread() is not me and number <= 4:
            asked.wait(20)
        return float(number)

    later: list[Future[Known]] = []
    sheets = Sheets(trial, clock)
    with ThreadPoolExecutor(2) as pool:
        first = sheets.known(run.id)
        second, third = (one.result(20) for one in later)
    assert second is third
    assert second is not first


def test_only_a_few_sheets_are_kept(trial: Trial) -> None:
    sheets = Sheets(trial, lambda: 0.0)
    runs = [trial.start(parent) for _ in range(KEPT + 1)]
    trial.settle()
    known = [sheets.known(run.id) for run in runs]
    assert sheets.known(runs[-1].id) is known[-1]
    assert sheets.known(runs[0].id) is not known[0]


def test_effects_are_the_causes_the_other_way_round(trial: Trial) -> None:
    run = trial.start(report, "easy")
    trial.settle()
    known = Sheets(trial).known(run.id)
    facts: list[Fact] = known.sheet.facts
    assert facts[known.links[len(facts)] - 1].seq in known.effects
