"""The API: every answer is what the OpenAPI document says and what `--json` prints, and every change is a real one."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

import vbl
from tests.web.conftest import Site, entered, running
from vbl.agents import record_usage
from vbl.client import Client
from vbl.web.api import BASE, ENDPOINTS

pytestmark = pytest.mark.slow  # real servers on real sockets

ROOT = Path(__file__).parent.parent.parent
TOKEN = "a-lasting-token-of-32-characters"


@vbl.step
def halve(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


@vbl.workflow(queue="sums", concurrency=2)
def half(number: int) -> int:
    return halve(number)


@vbl.workflow
async def asks(what: str) -> dict[str, Any]:
    answer = await vbl.approve("allow", show={"what": what})
    return {"approved": answer.approved}


@vbl.workflow
async def listens() -> Any:
    return await vbl.wait("word", timeout=3600)


@vbl.workflow
async def half_by_child(number: int) -> int:
    return await vbl.start(half, number)


@vbl.workflow
async def three_children() -> int:
    return sum([await vbl.start(half, number) for number in (2, 4, 6)])


class Api:
    """The API as a program uses it; each answer is compared with the document."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(
            base_url=address + BASE, headers={"authorization": f"Bearer {TOKEN}"}, timeout=20, follow_redirects=False
        )
        self.document: dict[str, Any] = self.http.get("/openapi.json").json()

    def get(self, path: str, expected: int = 200, /, **query: Any) -> Any:
        return self._checked("get", path, self.http.get(path, params=query), expected)

    def post(self, path: str, status: int = 200, /, **body: Any) -> Any:
        return self._checked("post", path, self.http.post(path, json=body), status)

    def _checked(self, method: str, path: str, answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, answer.text
        described = self._operation(method, path)["responses"][str(status)]["content"]["application/json"]["schema"]
        schema = {**described, "components": self.document["components"]}
        found = answer.json()
        jsonschema.Draft202012Validator(schema).validate(found)
        return found

    def _operation(self, method: str, path: str) -> Any:
        fitting = [
            operations[method]
            for template, operations in self.document["paths"].items()
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and method in operations
        ]
        assert len(fitting) == 1, path
        return fitting[0]


@vbl.step
def pay(usd: float) -> None:
    record_usage(provider="p", model="m-1", input_tokens=812, usd=usd)


@vbl.workflow(name="api.paying")
def paying(usd: float) -> None:
    pay(usd)


@pytest.fixture
def work(path: Path) -> Iterator[vbl.Runtime]:
    with vbl.open(path) as runtime:
        yield runtime


@pytest.fixture
def api(work: vbl.Runtime, path: Path) -> Iterator[Api]:
    with running(path, token=TOKEN) as server:
        api = Api(server.address)
        yield api
        api.http.close()


def settle(run: vbl.Run, *statuses: str) -> vbl.Run:
    run.wait(*statuses, timeout=20)
    return run


# The document ------------------------------------------------------------------------------------------------------


def test_the_document_names_what_there_is_and_nothing_else(api: Api) -> None:
    document = api.document
    assert document["openapi"] == "3.1.0"
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(one.said.method, one.said.path) for one in ENDPOINTS}
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"].endswith("."), operation


def test_the_schemas_say_every_key(api: Api) -> None:
    """A key that is given and not described would be in no schema: they allow more keys for later versions only."""
    run = settle(api_start(api, "half", number=4), "completed")
    described = api.document["components"]["schemas"]
    for path, name in ((f"/runs/{run.id}", "RunInFull"), (f"/runs/{run.id}/state", "State"), ("/file", "File")):
        assert set(api.get(path)) == set(described[name]["properties"]), path


def api_start(api: Api, workflow: str, **given: Any) -> vbl.Run:
    started = api.post("/runs", 201, workflow=workflow, input=given)
    return vbl.connect(api.get("/file")["file"]).run(started["id"])


# Reading -----------------------------------------------------------------------------------------------------------


def test_a_run_is_what_the_terminal_says(api: Api, work: vbl.Runtime, path: Path) -> None:
    run = settle(work.start(half_by_child, 8), "completed")

    def printed(*args: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "vbl", *args, "--db", str(path), "--json"],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    shown = json.loads(printed("show", run.id))
    full = api.get(f"/runs/{run.id}")
    assert full == {key: shown[key] for key in full}
    assert api.get(f"/runs/{run.id}/timeline") == shown["timeline"]
    assert api.get(f"/runs/{run.id}/state") == json.loads(printed("state", run.id))
    events = [json.loads(line) for line in printed("events", run.id).splitlines()]
    assert api.get(f"/runs/{run.id}/events")["items"] == events
    (listed,) = (json.loads(line) for line in printed("ls", "--limit", "1").splitlines())
    assert api.get("/runs", limit=1)["items"] == [listed]


def test_runs_are_paged_and_filtered(api: Api, work: vbl.Runtime) -> None:
    runs = [settle(work.start(half, n * 2), "completed").id for n in range(5)]
    found: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = api.get("/runs", q="workflow:half", limit=2, **before)
        found += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert found == runs[::-1]
    assert api.get("/runs", q="status:failed workflow:half")["items"] == []
    assert api.get("/runs", 400, q="status:nonsense")["error"]["hint"]
    assert api.get("/counts", q="workflow:half")["counts"]["completed"] == {"number": 5, "more": False}


def test_events_are_paged_by_their_cursor(api: Api, work: vbl.Runtime) -> None:
    run = settle(work.start(half, 4), "completed")
    settle(work.start(half, 6), "completed")
    seen: list[int] = []
    after = 0
    while True:
        page = api.get(f"/runs/{run.id}/events", after=after, limit=2)
        assert {event["run_id"] for event in page["items"]} == {run.id}
        seen += [event["seq"] for event in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == list(range(1, run.refresh().seq + 1))
    everything = api.get("/events", limit=1_000)["items"]
    assert everything[-1]["id"] == api.get("/file")["cursor"]


def test_state_at_a_point(api: Api, work: vbl.Runtime) -> None:
    run = settle(work.start(half, 4), "completed")
    assert api.get(f"/runs/{run.id}/state", at=1)["seq"] == 1
    assert api.get(f"/runs/{run.id}/state", checkpoint=1)["checkpoint"] == 1
    api.get(f"/runs/{run.id}/state", 404, at=9_999)
    api.get(f"/runs/{run.id}/state", 400, at=1, checkpoint=1)


def test_families_queues_and_the_file(api: Api, work: vbl.Runtime) -> None:
    run = settle(work.start(half_by_child, 8), "completed")
    (child,) = api.get(f"/runs/{run.id}/children")["items"]
    assert child["parent_id"] == run.id
    (queue,) = (one for one in api.get("/queues")["items"] if one["name"] == "sums")
    assert queue["concurrency"] == 2
    assert api.get("/queues/sums/lanes") == {"items": []}
    api.get("/queues/none/lanes", 404)
    assert api.get("/file")["supervisor"]["epoch"] >= 1


def test_children_are_read_page_by_page(api: Api, work: vbl.Runtime) -> None:
    run = settle(work.start(three_children), "completed")
    first = api.get(f"/runs/{run.id}/children", limit=2)
    rest = api.get(f"/runs/{run.id}/children", limit=2, before=first["next"])
    assert [one["id"] for one in [*first["items"], *rest["items"]]] == [one.id for one in reversed(run.children())]
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)


# Changing ----------------------------------------------------------------------------------------------------------


def test_gates_are_paged_by_their_cursor(api: Api, work: vbl.Runtime) -> None:
    runs = [settle(work.start(asks, str(number)), "waiting_for_approval") for number in range(5)]
    wanted = [gate["id"] for gate in api.get("/gates")["items"]]
    assert len(wanted) == 5
    api.post(f"/gates/{wanted[1]}/approve")

    def pages(**query: Any) -> Iterator[list[str]]:
        after: dict[str, str] = {}
        while True:
            page = api.get("/gates", limit=2, **query, **after)
            yield [gate["id"] for gate in page["items"]]
            if page["next"] is None:
                return
            after = {"after": page["next"]}

    assert list(pages(status="all")) == [wanted[:2], wanted[2:4], wanted[4:]]
    assert list(pages()) == [[wanted[0], wanted[2]], wanted[3:]]
    behind = api.get("/gates", after=wanted[1], limit=2)["items"]
    assert [gate["id"] for gate in behind] == wanted[2:4], "one that was decided meanwhile is a place all the same"
    (own,) = api.get("/gates", run=runs[2].id)["items"]
    assert api.get("/gates", run=runs[2].id, after=own["id"]) == {"items": [], "next": None}
    api.get("/gates", 404, after="g_none")


def test_a_run_is_started_once_for_a_key(api: Api) -> None:
    one = api.post("/runs", 201, workflow="half", input={"number": 4}, key="k", tags=["env=dev"])
    two = api.post("/runs", 201, workflow="half", input={"number": 4}, key="k")
    assert one["id"] == two["id"]
    assert one["tags"] == ["env=dev"]
    api.post("/runs", 409, workflow="half", input={"number": 6}, key="k")


def test_a_gate_is_approved_once(api: Api, work: vbl.Runtime) -> None:
    run = settle(work.start(asks, "go"), "waiting_for_approval")
    (gate,) = api.get("/gates")["items"]
    assert gate["show"] == {"what": "go"}
    assert api.get("/questions")["items"][0]["gate"] == gate
    assert api.get(f"/runs/{run.id}/why")["waits_for"]
    decided = api.post(f"/gates/{gate['id']}/approve", by="ada", reason="fine")
    assert (decided["status"], decided["decided_by"]) == ("granted", "ada")
    assert run.result(timeout=20) == {"approved": True}
    assert "ada" in api.post(f"/gates/{gate['id']}/deny", 409, by="bob")["error"]["message"]
    assert api.get(f"/gates/{gate['id']}") == decided
    assert api.get("/gates")["items"] == []
    assert api.get("/gates", status="granted", run=run.id)["items"] == [decided]


def test_a_signal_reaches_its_run(api: Api, work: vbl.Runtime) -> None:
    run = settle(work.start(listens), "waiting")
    assert api.post(f"/runs/{run.id}/signal", name="word", data={"x": [1, None]}, key="1")["id"] == run.id
    assert run.result(timeout=20) == {"x": [1, None]}
    assert api.post(f"/runs/{run.id}/signal", 409, name="word")["error"]["code"]


def test_runs_are_steered(api: Api, work: vbl.Runtime) -> None:
    run = settle(work.start(listens), "waiting")
    assert api.post(f"/runs/{run.id}/pause", reason="lunch")["status"] == "paused"
    api.post(f"/runs/{run.id}/pause", 409)
    assert api.post(f"/runs/{run.id}/unpause")["why"]["status"] == "waiting"
    api.post(f"/runs/{run.id}/cancel", within_s=5, by="ada")
    settle(run, "cancelled")
    failed = settle(work.start(half, 3), "failed")
    assert api.get(f"/runs/{failed.id}")["error"]["type"] == "StepFailed"
    assert api.post(f"/runs/{failed.id}/retry")["id"] == failed.id
    api.post(f"/runs/{run.id}/resolve", 409, outcome="failed")


def test_a_schedule_is_steered(api: Api, file: Client) -> None:
    file.schedule(half, "0 9 * * *", number=2, name="every/day")
    at = "/schedules/every%2Fday"
    assert api.get("/schedules")["items"][0]["name"] == "every/day"
    assert api.get(at)["cron"] == "0 9 * * *"
    assert api.post(f"{at}/pause")["paused"]
    api.post(f"{at}/run", 409)
    assert not api.post(f"{at}/unpause")["paused"]
    api.post(f"{at}/run", by="ada")
    api.get("/schedules/none", 404)


# Refusing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "query", "status"),
    [
        ("/runs/r_none", {}, 404),
        ("/runs/r_none/state", {}, 404),
        ("/gates/g_none", {}, 404),
        ("/runs", {"limit": 0}, 400),
        ("/runs", {"limit": "all"}, 400),
        ("/runs", {"nonsense": 1}, 400),
        ("/events", {"after": -1}, 400),
        ("/events", {"after": 1 << 63}, 400),
        ("/runs/r_none/state", {"at": 1 << 63}, 400),
        ("/runs/r_none/state", {"checkpoint": -1}, 400),
        ("/gates", {"status": "shut"}, 400),
    ],
)
def test_a_wrong_question_is_told_what_to_do(api: Api, place: str, query: dict[str, Any], status: int) -> None:
    error = api.get(place, status, **query)["error"]
    assert error["code"]
    assert error["message"]
    assert error["hint"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"workflow": ""}, 400),
        ({"workflow": "half", "input": [1]}, 422),
        ({"workflow": "half", "nonsense": 1}, 422),
        ({"workflow": "half", "input": {"key": "shadowed"}}, 422),
        ({"workflow": "half", "input": {"no name": 1}}, 422),
        ({"workflow": "half", "deadline_s": -1}, 400),
        ({"workflow": "half", "tags": ["two\nlines"]}, 400),
    ],
)
def test_a_wrong_start_starts_nothing(api: Api, file: Client, body: dict[str, Any], status: int) -> None:
    before = file.cursor()
    assert api.post("/runs", status, **body)["error"]["hint"]
    assert file.cursor() == before


SURROGATE = b'{"workflow": "half", "input": {"number": "\\ud800"}}'
INFINITE = b'{"workflow": "half", "input": {"number": 1e999}}'


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff", SURROGATE, INFINITE, b"[" * 100_000, b'"text"'])
def test_a_body_that_cannot_be_taken_is_refused(api: Api, file: Client, body: bytes) -> None:
    before = file.cursor()
    answer = api.http.post("/runs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["hint"]
    assert file.cursor() == before


def test_what_there_is_not_is_named_in_json(api: Api) -> None:
    for method, path in (("GET", "/nothing"), ("POST", "/nothing"), ("POST", "/file"), ("GET", "/runs/a/b/c")):
        answer = api.http.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code == 404
        assert "openapi.json" in answer.json()["error"]["hint"]
    answer = api.http.put("/file", json={})
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method"


def test_a_session_of_the_page_may_change_with_its_token(site: Site, file: Client) -> None:
    run = file.start("nothing")
    assert site.get(f"{BASE}/runs/{run.id}").json()["id"] == run.id
    assert site.post(f"{BASE}/runs/{run.id}/pause", json={}).status_code == 403
    answer = site.post(f"{BASE}/runs/{run.id}/pause", json={}, headers={"x-csrf-token": site.csrf})
    assert answer.json()["status"] == "paused"


def test_many_programs_at_once(api: Api) -> None:
    """The client behind the API is shared by the threads that answer."""

    async def all_at_once() -> list[str]:
        headers = dict(api.http.headers)
        async with httpx.AsyncClient(base_url=str(api.http.base_url), headers=headers, timeout=60) as http:
            bodies = [{"workflow": "half", "input": {"number": 2 * n}, "key": f"k{n % 10}"} for n in range(10)] * 4
            answers = await asyncio.gather(*(http.post("/runs", json=body) for body in bodies))
            assert {answer.status_code for answer in answers} == {201}
            return [answer.json()["id"] for answer in answers]

    assert len(set(asyncio.run(all_at_once()))) == 10


# Numbers -----------------------------------------------------------------------------------------------------------


def test_metrics_are_the_numbers_of_the_file(api: Api, work: vbl.Runtime, path: Path) -> None:
    settle(work.start(half, 4), "completed")
    settle(work.start(half, 3), "failed")
    settle(work.start(asks, "go"), "waiting_for_approval")
    paid = settle(work.start(paying, 0.0004), "completed")
    answer = api.http.get(str(api.http.base_url.copy_with(path="/metrics")))
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert values['vbl_runs{status="completed"}'] == "2"
    assert values["vbl_runs_usd"] == "0.000400"
    assert values['vbl_runs{status="failed"}'] == "1"
    assert values['vbl_runs{status="paused"}'] == "0"
    assert values['vbl_runs_ended_5m{status="failed"}'] == "1"
    assert values["vbl_questions_open"] == "1"
    assert values["vbl_supervisor_up"] == "1"
    assert int(values["vbl_events_total"]) == api.get("/file")["cursor"]
    assert int(values["vbl_wal_bytes"]) == path.with_name(path.name + "-wal").stat().st_size
    assert values['vbl_queue_waiting{queue="sums"}'] == "0"
    found = api.get(f"/runs/{paid.id}")
    assert found["usd"] == 0.0004
    assert found["usage"] == api.get(f"/runs/{paid.id}/state")["usage"]
    (used,) = found["usage"]
    assert used == {"step": "pay", "provider": "p", "model": "m-1", "input_tokens": 812, "usd": 0.0004}
    for line in answer.text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="(?:[^"\\]|\\.)*"\})? [0-9.]+', line), line


def test_labels_cannot_break_out(path: Path) -> None:
    from vbl.web.metrics import Metric, text

    shown = text([Metric("vbl_x", "Help.", "gauge", [({"queue": 'a"} 1\nvbl_y 2\\'}, 1)])])
    assert shown.splitlines()[2:] == ['vbl_x{queue="a\\"} 1\\nvbl_y 2\\\\"} 1']


def test_health_is_told_to_anybody_and_says_nothing_else(path: Path, file: Client) -> None:
    with running(path) as server:
        answer = httpx.get(f"{server.address}/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert entered(server).get("/healthz").status_code == 200
