"""What a client is given is refused in words before anything is written, and never by another library's error."""

from __future__ import annotations

import math
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

import vbl
from vbl.client import Client, connect
from vbl.config import actor
from vbl.engine.definitions import REGISTRY, Workflow
from vbl.errors import InvalidInput, UsageError, ValueNotStorable
from vbl.store.journal import Journal
from vbl.store.sqlite import Sqlite


class Order(BaseModel):
    """A parameter with a model."""

    n: int


@vbl.step
async def a_step(n: int) -> int:
    return n


async def plain(n: int) -> int:
    return n


@pytest.fixture
def taker() -> Iterator[Workflow[..., Any]]:
    before = dict(REGISTRY)

    @vbl.workflow
    async def takes(n: int = 0, order: Order | None = None, anything: Any = None) -> int:
        return n

    yield takes
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with connect(tmp_path / "client.db") as opened:
        yield opened


@pytest.mark.parametrize("thing", [a_step, plain, lambda: 1, Workflow, Order(n=1), None, 7, "", "\ud800"])
def test_what_is_no_workflow_is_not_started(client: Client, thing: Any) -> None:
    for start in (lambda: client.start(thing, 1), lambda: client.start_many(thing, [1])):
        with pytest.raises(UsageError) as refused:
            start()
        assert "workflow" in refused.value.message
        assert refused.value.hint
    assert client.events() == []


@pytest.mark.parametrize(
    "given", [{"n": "1"}, {"n": 1.5}, {"n": "abc"}, {"n": True}, {"order": {"n": 1}}, {"order": 3}, {"m": 1}], ids=str
)
def test_an_argument_of_another_type_is_invalid_input(
    client: Client, taker: Workflow[..., Any], given: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        client.start(taker, **given)
    assert next(iter(given)) in refused.value.message
    assert "It takes (n: " in refused.value.hint
    assert client.events() == []


@pytest.mark.parametrize("value", ["\ud800", {"n": "\ud800"}, {"n": 1, "anything": ["\ud800"]}], ids=ascii)
def test_data_that_json_cannot_hold_is_invalid_input(taker: Workflow[..., Any], value: Any) -> None:
    with pytest.raises(InvalidInput):
        taker.signature.accept(value)


@pytest.mark.parametrize("value", [math.nan, {1, 2}, b"x", (1, 2), "\ud800", plain])
def test_an_argument_by_name_is_refused_as_that_of_a_parameter_without_annotation(client: Client, value: Any) -> None:
    with pytest.raises(ValueNotStorable, match="parameter given"):
        client.start("somewhere", given=value)
    assert client.events() == []


def test_an_argument_by_name_comes_back_whatever_is_in_it(client: Client) -> None:
    given = {"schema": {"$ref": "#/defs/B"}, "long": "x" * 100_000, "deep": [{"a": {"$ref": 1}}]}
    run = client.start("somewhere", **given)
    assert run.facts()[0].payload["input"] == given
    assert client.start("somewhere", key="k", **given).id == client.start("somewhere", key="k", **given).id


@pytest.mark.parametrize("names", [{"$ref": 1}, {"": 1}, {"\ud800": 1}, {1: 1}], ids=ascii)
def test_a_name_that_no_parameter_can_have_is_refused(client: Client, names: dict[Any, Any]) -> None:
    with pytest.raises(InvalidInput, match="no parameter is called"):
        client.start_many("somewhere", [names])
    assert client.events() == []


@pytest.mark.parametrize("timeout", [math.nan, "5", True], ids=repr)
def test_a_wait_for_nonsense_is_refused(client: Client, timeout: Any) -> None:
    run = client.start("somewhere")
    for wait in (run.result, run.wait):
        with pytest.raises(UsageError, match="timeout"):
            wait(timeout=timeout)


def test_a_status_that_there_is_not_is_refused_with_those_that_there_are(client: Client) -> None:
    run = client.start("somewhere")
    for ask in (lambda: run.wait("nope", timeout=0), lambda: client.runs(status="nope")):
        with pytest.raises(UsageError, match="'nope' is no status") as refused:
            ask()
        assert "completed" in refused.value.hint
    assert run.wait("queued", timeout=0) == "queued"


def test_a_client_that_was_closed_says_so(tmp_path: Path) -> None:
    with connect(tmp_path / "closed.db") as client:
        run = client.start("somewhere")
    for use in (lambda: run.status, run.result, run.cancel, client.runs, lambda: client.start("somewhere")):
        with pytest.raises(UsageError, match="was closed here") as refused:
            cast(Any, use)()
        assert refused.value.hint


def test_events_of_one_run_are_followed_from_a_cursor(client: Client) -> None:
    one, other = client.start("somewhere"), client.start("elsewhere")
    one.pause(by="ada")
    other.pause(by="ada")
    assert [(e.run_id, e.type) for e in client.events(run=one.id)] == [(one.id, "RUN_CREATED"), (one.id, "RUN_PAUSED")]
    cursor = client.events(run=one.id, limit=1)[-1].id
    assert [e.type for e in client.events(after=cursor, run=one.id)] == ["RUN_PAUSED"]
    assert [e.run_id for e in client.events(after=cursor)] == [other.id, one.id, other.id]
    assert client.events(after=client.cursor(), run=one.id) == []


def test_events_are_read_whole_while_retention_strikes_their_run(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.start("somewhere", text="word " * 100_000).cancel()
    journal = Journal(Sqlite(client.path))
    load = client._journal.load  # pyright: ignore[reportPrivateUsage]

    def late(key: int, until: int | None = None) -> Any:
        with journal.store.write():
            for sql in ("insert into struck (run) values (?)", "delete from runs where key = ?"):
                journal.store.execute(sql, (key,))
            journal.store.execute("delete from events where run = ?", (key,))
        return load(key, until)

    monkeypatch.setattr(client._journal, "load", late)  # pyright: ignore[reportPrivateUsage]
    assert [event.type for event in client.events()] == ["RUN_CREATED", "CANCEL_REQUESTED", "RUN_CANCELLED"]
    assert client.events() == []
    journal.store.close()


@pytest.mark.slow
def test_a_cursor_at_an_instant_has_all_behind_it_that_came_since(tmp_path: Path) -> None:
    now = 1_000_000_000_000_000
    clock = type("Set", (), {"now": lambda self: now})()
    with Client(tmp_path / "then.db", clock=clock) as client:
        for _ in range(1_200):
            client.start_many("somewhere", [{}])
            now += 1_000_000
        first, last = client.events(limit=1)[0], client.cursor()
        assert client.cursor(first.at) == 0
        middle = first.at + 1_100 * 1_000_000
        cursor = client.cursor(middle)
        behind = [event for event in client.events(after=cursor, limit=5_000) if event.at >= middle]
        assert len(behind) == 100
        assert 0 < cursor < last


def test_a_commit_of_somebody_else_changes_the_number_of_the_file(client: Client) -> None:
    before = client.changed()
    assert client.changed() == before
    with connect(client.path) as other:
        other.start("somewhere")
    assert client.changed() != before


@pytest.mark.slow
def test_the_pace_is_that_of_the_last_seconds(tmp_path: Path) -> None:
    now = 1_000_000_000_000_000
    clock = type("Set", (), {"now": lambda self: now})()
    with vbl.open(tmp_path / "pace.db") as runtime:
        for _ in range(4):
            runtime.start(two_steps).result()
        at = max(event.at for event in runtime.events())
    with Client(tmp_path / "pace.db", clock=clock) as client:
        now = at + 2_000_000
        assert client.pace(1.0) == 0.0
        assert client.pace(100.0) == pytest.approx(8 / 100)
        client.start_many("somewhere", [{}] * 5_000)
        assert client.pace(1e9) == 0.0, "only the latest events are looked at"


@vbl.workflow
async def two_steps() -> int:
    return await a_step(1) + await a_step(2)


def test_who_acts_is_the_systems_user_also_where_the_environment_names_nobody(monkeypatch):
    for name in ("VBL_ACTOR", "USER", "LOGNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert actor() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert actor() == "uid:3999999999"
