"""What docs/guarantees.md says of the file itself: it refuses to be rewritten, shows it where it was, and can derive
again what is not history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from pydantic import BaseModel

import vbl
from vbl.testing import Trial


class Talk(BaseModel):
    messages: list[str] = []


@vbl.step
def answer(messages: list[str]) -> str:
    return f"answer {len(messages)}"


@vbl.workflow
def chat_for_the_guarantees(turns: int) -> int:
    talk = vbl.state(Talk)
    for _ in range(turns):
        talk.messages.append(answer(talk.messages))
    return len(talk.messages)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with two finished runs and one that waits for its supervisor."""
    path = tmp_path / "history.db"
    with Trial(path) as trial:
        assert [trial.start(chat_for_the_guarantees, turns).result() for turns in (3, 40)] == [3, 40]
        trial.down()
        trial.start(chat_for_the_guarantees, 1)
    return path


@pytest.fixture
def bare(file: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(file))
    yield connection
    connection.close()


REWRITES = {
    "update": "update events set payload = '{}'",
    "delete": "delete from events where seq > 2",
    "delete of an open run's": "delete from runs where status = 'queued'; delete from events where seq = 1",
    "replace by id": "insert or replace into events select * from events limit 1",
    "replace by number": (
        "insert or replace into events (run, seq, type, at, payload, chain)"
        " select run, seq, type, at, '{}', chain from events limit 1"
    ),
    "gap": (
        "insert into events (run, seq, type, at, payload, chain)"
        " select run, max(seq) + 2, type, at, payload, chain from events group by run"
    ),
}


@pytest.mark.parametrize("sql", REWRITES.values(), ids=REWRITES.keys())
def test_the_database_refuses_to_rewrite_a_history(bare: apsw.Connection, sql: str) -> None:
    before = list(bare.execute("select * from events order by id"))
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        bare.execute(sql)
    assert list(bare.execute("select * from events order by id")) == before


TAMPERINGS = {
    "an altered payload": "update events set payload = replace(payload, 'answer 2', 'answer 9')",
    "an altered time": "update events set at = at + 1 where seq = 3",
    "a missing event": "delete from events where seq = 4",
    "an altered summary": "update runs set status = 'failed' where status = 'completed'",
}


@pytest.mark.parametrize("sql", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_what_was_rewritten_by_force_is_found(bare: apsw.Connection, file: Path, sql: str) -> None:
    for (trigger,) in list(bare.execute("select name from sqlite_schema where type = 'trigger'")):
        bare.execute(f"drop trigger {trigger}")
    bare.execute(sql)
    assert bare.changes() > 0
    bare.close()
    with vbl.connect(file) as client:
        assert [finding for finding in client.doctor() if finding.severity == "error"]


def test_a_whole_file_has_no_finding(file: Path) -> None:
    with vbl.connect(file) as client:
        assert not [finding for finding in client.doctor() if finding.severity in ("warning", "error")]


def test_what_is_derived_is_rebuilt_to_the_byte(file: Path, bare: apsw.Connection) -> None:
    derived = ("runs", "run_tags", "checkpoints")
    with vbl.connect(file) as client:
        before = {table: client.sql(f"select * from {table} order by 1, 2") for table in derived}
        states = [run.state() for run in client.runs()]
        assert before["checkpoints"][1], "no checkpoint in full: this test would pass on nothing"
    bare.execute("delete from checkpoints; update runs set status = 'blocked', updated_at = 0, seq = 1, wake_at = 7")
    bare.close()
    with vbl.connect(file) as client:
        client.doctor(rebuild=True)
        assert {table: client.sql(f"select * from {table} order by 1, 2") for table in derived} == before
        assert [run.state() for run in client.runs()] == states
