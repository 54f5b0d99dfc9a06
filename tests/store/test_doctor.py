"""The doctor finds each damage, says what to do, and derives anew whatever is derived: byte for byte the same."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.store.conftest import AT, File
from vbl.client import connect
from vbl.store import doctor
from vbl.store.codec import Codec
from vbl.store.doctor import Finding
from vbl.store.payloads import Recorder

DERIVED = ("runs", "run_tags", "checkpoints")
PROTECTION = ("events_in_order", "events_no_update", "events_no_delete")


@pytest.fixture
def filled(file: File) -> File:
    """Two completed runs, one that waits, one that has not begun; a blob."""
    file.some_run()
    file.some_run()
    waiting = file.run(key="k-1")
    file.append(waiting, ("RUN_STARTED", {"epoch": 0, "commands": 1}), ("TIMER_SET", {"timer": 1, "at": AT + 10**12}))
    file.run(tags=["late"])
    recorded = Codec(Any, "x").record("z" * 50_000, Recorder())
    file.store.many("insert_blob", [recorded.blob])
    return file


def findings(file: File, **options: Any) -> list[Finding]:
    return doctor.examine(file.store, options.pop("now", AT), supervised=options.pop("supervised", False))


def bad(file: File, **options: Any) -> list[str]:
    return [finding.code for finding in findings(file, **options) if finding.severity in ("error", "warning")]


def unprotected(file: File, sql: str, *args: Any) -> None:
    """What somebody does with another tool: the triggers put aside, the change made, the triggers put back."""
    bodies = [row[0] for row in file.rows("select sql from sqlite_master where type = 'trigger'")]
    names = [row[0] for row in file.rows("select name from sqlite_master where type = 'trigger'")]
    for name in names:
        file.store.execute(f"drop trigger {name}")
    file.store.execute(sql, args)
    for body in bodies:
        file.store.execute(body)


def derived(file: File) -> dict[str, list[tuple[Any, ...]]]:
    return {table: file.rows(f"select * from {table} order by 1, 2") for table in DERIVED}


def test_a_sound_file_has_nothing_bad_in_it(filled: File) -> None:
    found = findings(filled)
    assert bad(filled) == []
    assert [f.code for f in found if f.severity == "ok"] == ["integrity", "histories"]
    size = next(f for f in found if f.code == "size")
    assert "4 runs" in size.message
    assert "2 completed" in size.message


DAMAGES = {
    "a payload": (
        "chain",
        "update events set payload = replace(payload, 'result 2', 'result 9') where type = 'STEP_COMPLETED'",
    ),
    "a time": ("chain", "update events set at = at + 1 where seq = 3"),
    "a chain": ("chain", "update events set chain = x'00' where seq = 2"),
    "an event in the middle": ("gap", "delete from events where seq = 3"),
    "the first event": ("gap", "delete from events where seq = 1"),
    "the last event": ("summary", "delete from events where type = 'RUN_COMPLETED'"),
    "a type that nobody knows": ("unreadable", "update events set type = 'RUN_FORKED' where seq = 3"),
    "a payload that is no json": ("unreadable", "update events set payload = '{' where seq = 3"),
    "a payload that lacks a field": ("unreadable", "update events set payload = '{}' where type = 'STEP_COMPLETED'"),
    "a reference to nothing": (
        "unreadable",
        """update events set payload = '{"v":1,"step":"s#1","attempt":1,"output":{"$ref":{"blob":"00","bytes":1}}}'
        where type = 'STEP_COMPLETED'""",
    ),
    "a status": ("summary", "update runs set status = 'failed' where status = 'completed'"),
    "a wake-up": ("summary", "update runs set wake_at = null where status = 'waiting'"),
    "a time to look": ("summary", "update runs set due_at = null where due_at is not null"),
    "a cost": ("summary", "update runs set usd = 0.5 where key = 1"),
    "a start key": ("summary", "update runs set start_key = 'k-2' where start_key = 'k-1'"),
    "a summary that is gone": ("summary_missing", "delete from runs where status = 'waiting'"),
    "a summary of nothing": (
        "orphan",
        """insert into runs
        select 99, 'r_nobody', workflow, version, status, null, null, '', 0, 1, 1, 1, null, null, 0, 1,
            null, null, null, null
        from runs limit 1""",
    ),
    "a tag": ("tags", "delete from run_tags where tag = 'blue'"),
    "a tag too many": ("tags", "insert into run_tags values ('green', 1)"),
    "a checkpoint": ("checkpoint", "update checkpoints set variables = x'00'"),
    "a checkpoint that is gone": ("checkpoint", "delete from checkpoints"),
    "a blob": ("blob", "update blobs set data = zeroblob(9)"),
    "a trigger": ("trigger_missing", "drop trigger events_no_update"),
}
REBUILT = {"summary", "summary_missing", "orphan", "tags", "checkpoint"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_found(filled: File, damage: str) -> None:
    code, sql = DAMAGES[damage]
    before = derived(filled)
    (filled.store.execute if "trigger" in damage else lambda sql: unprotected(filled, sql))(sql)
    found = [finding for finding in findings(filled) if finding.severity == "error"]
    assert code in [finding.code for finding in found]
    assert all(finding.message and finding.hint for finding in found)
    if code in REBUILT and damage != "the last event":
        assert all("--rebuild" in finding.hint for finding in found)
        doctor.rebuild(filled.store)
        assert bad(filled) == []
        assert derived(filled) == before


def test_a_damaged_page_is_found(filled: File) -> None:
    filled.store.checkpoint("truncate")
    path = filled.path
    filled.close()
    content = bytearray(path.read_bytes())
    page = int.from_bytes(content[16:18], "big")
    start = content.index(b"result 2") // page * page
    content[start : start + 100] = b"\xff" * 100
    path.write_bytes(content)
    with connect(path) as client:
        found = [finding for finding in client.doctor() if finding.severity == "error"]
    assert "integrity" in [finding.code for finding in found]


def test_what_is_derived_is_rebuilt_byte_for_byte(filled: File) -> None:
    before, events = derived(filled), filled.rows("select * from events")
    assert all(before.values()), "each table has something to lose"
    for table in DERIVED:
        filled.store.execute(f"delete from {table}")
    assert "summary_missing" in bad(filled)
    doctor.rebuild(filled.store)
    assert derived(filled) == before
    assert filled.rows("select * from events") == events
    assert bad(filled) == []


def test_a_rebuild_keeps_the_summary_of_a_history_that_cannot_be_read(filled: File) -> None:
    before = derived(filled)
    (key, run_id), *_ = filled.rows("select key, id from runs order by key")
    unprotected(filled, "update events set payload = '{' where run = ? and seq = 2", key)
    doctor.rebuild(filled.store)
    assert derived(filled) == before
    assert bad(filled) == ["unreadable"]
    with connect(filled.path) as client:
        assert len(client.runs()) == 4
        assert client.run(run_id).id == run_id
        assert run_id in [run.id for run in client.runs(tag="blue")]


def test_a_rebuild_gives_start_keys_back_that_stood_crosswise(file: File) -> None:
    for key in ("k-1", "k-2"):
        file.run(key=key)
    before = derived(file)
    file.store.execute("update runs set start_key = null")
    file.store.execute("update runs set start_key = 'k-' || (3 - key)")
    assert bad(file) == ["summary", "summary"]
    doctor.rebuild(file.store)
    assert derived(file) == before


def test_a_run_can_be_appended_to_and_struck_after_a_rebuild(filled: File) -> None:
    doctor.rebuild(filled.store)
    run_id, key = filled.rows("select id, key from runs where status = 'completed'")[0]
    waiting = filled.rows("select id from runs where status = 'waiting'")[0][0]
    filled.append(waiting, ("RUN_PAUSED", {}))
    assert bad(filled) == []
    filled.strike(key)
    assert bad(filled) == []
    assert run_id not in [row[0] for row in filled.rows("select id from runs")]


def test_a_run_that_is_long_overdue_is_named_while_a_supervisor_is_alive(filled: File) -> None:
    assert bad(filled, now=AT + 2 * 10**12, supervised=True).count("overdue") == 2
    assert bad(filled, now=AT + 2 * 10**12, supervised=False) == []


def test_a_run_that_was_in_flight_is_named_when_nobody_moves_it(file: File) -> None:
    run_id = file.run()
    step = {"step": "a", "attempt": 1, "idempotency_key": "k", "input": {}}
    file.append(run_id, ("RUN_STARTED", {"epoch": 0, "commands": 1}), ("STEP_STARTED", step))
    found = [finding for finding in findings(file) if finding.run == run_id]
    assert [(finding.code, finding.severity) for finding in found] == [("in_flight", "info")]
    assert "vbl up" in found[0].hint


def test_a_checkpoint_holds_the_variables_in_full(filled: File) -> None:
    for run, checkpoint, seq, variables in filled.rows("select * from checkpoints"):
        state = filled.journal.load(run, seq)[0].state
        assert state.checkpoint == checkpoint
        assert zlib.decompress(variables) == b'{"n":%d,"seen":%s}' % (
            state.variables["n"],
            str(state.variables["seen"]).replace(" ", "").encode(),
        )


def test_the_doctor_of_a_client_says_the_same(filled: File, tmp_path: Path) -> None:
    filled.store.execute("update runs set status = 'failed' where status = 'completed'")
    with connect(filled.path) as client:
        assert [f.code for f in client.doctor() if f.severity == "error"] == ["summary", "summary"]
        assert [f.code for f in client.doctor(rebuild=True) if f.severity == "error"] == []
