"""The latest events and those to come: filtered, none missed, none twice."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import threading

import pytest

import vbl
from tests.cli.conftest import FLOWS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file in which two runs failed, between runs that did not."""
    path = tmp_path_factory.mktemp("tail") / "tail.db"
    scope: dict = {"__name__": "tail_flows"}
    exec(compile(FLOWS, "flows.py", "exec"), scope)
    with vbl.open(path) as runtime, contextlib.redirect_stdout(io.StringIO()):
        for name in ("hello", "bad", "hello", "bad", "hello"):
            with contextlib.suppress(vbl.RunFailed):
                runtime.start(scope[name]).result()
    with vbl.connect(path) as client:
        client.start_many("elsewhere", [{"n": n} for n in range(1_200)])
    return path


def types(ended) -> list[str]:
    return [event["type"] for event in ended.objects]


@pytest.mark.slow
def test_the_latest_that_a_filter_lets_through_are_found_however_far_back(vbl_here, made):
    assert types(vbl_here("tail", "--failed", "--json", db=made)) == ["STEP_FAILED", "RUN_FAILED"] * 2
    last = vbl_here("tail", "--failed", "-n", "1", "--json", db=made).objects
    assert [event["type"] for event in last] == ["RUN_FAILED"]
    assert types(vbl_here("tail", "--step", "greet", "-n", "2", "--json", db=made)) == [
        "STEP_STARTED", "STEP_COMPLETED"
    ]  # fmt: skip


def test_filters_hold_together_and_within_a_run(vbl_here, made):
    created = vbl_here("tail", "--workflow", "hello", "--workflow", "bad", "--type", "run_created", "--json", db=made)
    assert [event["payload"]["workflow"] for event in created.objects] == ["hello", "bad", "hello", "bad", "hello"]
    run = created.objects[1]["run_id"]
    assert types(vbl_here("tail", run, "--failed", "--json", db=made)) == ["STEP_FAILED", "RUN_FAILED"]
    assert types(vbl_here("events", run, "--failed", "--step", "boom", "--json", db=made)) == ["STEP_FAILED"]
    assert vbl_here("tail", run, "--workflow", "hello", db=made).out == ""
    assert "is no type of event" in vbl_here("tail", "--type", "NONSENSE", db=made, code=2).err


def test_all_since_an_age_is_printed(vbl_here, made):
    every = vbl_here("tail", "--since", "1h", "--json", db=made).objects
    with vbl.connect(made) as client:
        assert [event["id"] for event in every] == [event.id for event in client.events(limit=100_000)]
    assert vbl_here("tail", "--since", "0s", db=made).out == ""


def test_a_search_that_ends_early_says_so(vbl_here, made, monkeypatch):
    monkeypatch.setattr("vbl.cli.tail.FAR", 500)
    ended = vbl_here("tail", "--failed", db=made)
    assert "looked at the last 500 events; further back: --since AGE" in ended.err
    assert "looked at" not in vbl_here("tail", "-n", "3", db=made).err


@pytest.mark.slow
def test_what_many_write_while_it_follows_is_printed_once_and_in_order(shell):
    with vbl.connect(shell.db) as client:
        client.start("first")
    tail = shell.start("tail", "-f", "--json", "--type", "RUN_CREATED")
    printed = [json.loads(tail.stdout.readline())]

    def write() -> None:
        with vbl.connect(shell.db) as client:
            for n in range(40):
                client.start("hello" if n % 2 else "elsewhere").pause()
                client.start_many("many", [{}] * 30)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    with vbl.connect(shell.db) as client:
        wanted = 1 + 3 * 40 * 31
        while len(printed) < wanted:
            printed.append(json.loads(tail.stdout.readline()))
        for writer in writers:
            writer.join()
        expected = [event.id for event in client.events(limit=100_000) if event.type == "RUN_CREATED"]
    assert [event["id"] for event in printed] == expected
    tail.send_signal(signal.SIGINT)
    ended = shell.end(tail)
    assert (ended.code, ended.out) == (130, "")
