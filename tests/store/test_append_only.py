"""The database itself refuses to change a history."""

from __future__ import annotations

import pytest

from tests.store.conftest import File
from vbl.errors import StorageError
from vbl.store.journal import chained

COPY = "insert into events (run, seq, type, at, payload, chain) select"
CHANGES = [
    "update events set payload = '{}'",
    "update events set at = at + 1 where seq = 1",
    "update events set id = id + 1000 where seq = 4",
    "update or ignore events set chain = x'00'",
    "delete from events",
    "delete from events where seq = (select max(seq) from events)",
    "insert or replace into events select id, run, seq, type, at, '{}', chain from events where seq = 2",
    "replace into events (run, seq, type, at, payload, chain) select run, seq, type, at, '{}', chain from events",
    COPY.replace("insert", "insert or ignore") + " run, 1, type, at, '{}', chain from events",
    f"{COPY} run, max(seq) + 2, type, at, '{{}}', chain from events",
    f"{COPY} run, 0, type, at, '{{}}', chain from events limit 1",
    "insert into events (run, seq, type, at, payload, chain) values (999, 2, 'RUN_STARTED', 1, '{}', x'00')",
    "insert into events select id, run + 100, 1, type, at, '{}', chain from events where seq = 1",
    f"{COPY} run, max(seq) + 1, type, 'noon', '{{}}', chain from events",
    f"{COPY} run, max(seq) + 1, null, 1, '{{}}', chain from events",
]


@pytest.mark.parametrize("sql", CHANGES)
def test_a_history_cannot_be_changed(file: File, sql: str) -> None:
    file.some_run()
    before = file.rows("select * from events")
    with pytest.raises(StorageError):
        file.store.execute(sql)
    assert file.rows("select * from events") == before


@pytest.mark.parametrize("conflict", ["rollback", "abort", "fail", "ignore", "replace"])
def test_no_conflict_clause_gets_around_it(file: File, conflict: str) -> None:
    """A statement's own clause overrides that of what a trigger does, but not its raise."""
    file.some_run()
    before = file.rows("select * from events")
    with pytest.raises(StorageError):
        file.store.execute(f"update or {conflict} events set payload = '{{}}'")
    with pytest.raises(StorageError):
        file.store.execute(
            f"insert or {conflict} into events select id, run, seq, type, at, '{{}}', chain from events where seq = 2"
        )
    assert file.rows("select * from events") == before


def test_the_run_after_the_last_event_is_the_only_place_to_append(file: File) -> None:
    run_id = file.some_run()
    key, last = file.rows("select run, max(seq) from events")[0]
    file.store.execute(
        "insert into events (run, seq, type, at, payload, chain) values (?, ?, 'RUN_PAUSED', 1, '{}', x'00')",
        (key, last + 1),
    )
    assert file.rows("select count(*) from events where run = ?", file.key(run_id)) == [(last + 1,)]


def test_retention_may_strike_a_whole_finished_run_and_nothing_less(file: File) -> None:
    finished, other = file.some_run(), file.some_run()
    open_run = file.run()
    for run_id in (finished, open_run):
        with pytest.raises(StorageError, match="append-only"):
            file.store.execute("delete from events where run = ?", (file.key(run_id),))
    key = file.key(finished)
    file.strike(key)
    assert file.rows("select count(*) from events where run = ?", key) == [(0,)]
    assert file.rows("select count(*) from events where run = ?", file.key(other))[0][0] > 0


def test_what_ends_late_does_not_keep_a_finished_run(file: File) -> None:
    """A write that the code had given up may end behind the end of its run; a retry opens the run again."""
    finished, opened = file.some_run(), file.some_run()
    for run_id in (finished, opened):
        file.append(run_id, ("STEP_COMPLETED", {"step": "s#1", "attempt": 1, "output": None}))
    file.append(opened, ("RUN_RETRIED", {}), ("STEP_CANCELLED", {"step": "s#1"}))
    file.strike(file.key(finished))
    assert file.rows("select count(*) from events where run = ?", file.key(opened))[0][0] > 0
    with pytest.raises(StorageError, match="only a finished run can be struck"):
        file.strike(file.key(opened))


def test_the_events_of_an_open_run_cannot_be_struck_even_without_its_summary(file: File) -> None:
    run_id = file.run()
    key = file.key(run_id)
    file.store.execute("delete from runs where key = ?", (key,))
    with pytest.raises(StorageError, match="append-only"):
        file.store.execute("delete from events where run = ?", (key,))


def test_ids_of_struck_events_do_not_come_back(file: File) -> None:
    run_id = file.some_run()
    key, last = file.key(run_id), file.store.head().last_id
    file.strike(key)
    file.run()
    assert file.rows("select id from events") == [(last + 1,)]


def test_the_chain_proves_every_part_of_every_event(file: File) -> None:
    run_id = file.some_run()
    rows = file.journal.rows(file.key(run_id))
    digest = run_id.encode()
    for row in rows:
        digest = chained(digest, row.seq, row.type, row.at, row.payload)
        assert digest == row.chain
    first, second = rows[1], rows[2]
    honest = chained(first.chain, second.seq, second.type, second.at, second.payload)
    for changed in (
        (rows[0].chain, second.seq, second.type, second.at, second.payload),
        (first.chain, second.seq + 1, second.type, second.at, second.payload),
        (first.chain, second.seq, second.type + "X", second.at, second.payload),
        (first.chain, second.seq, second.type, second.at + 1, second.payload),
        (first.chain, second.seq, second.type, second.at, second.payload + " "),
    ):
        assert chained(*changed) != honest


def test_seq_and_time_cannot_slide_into_each_other(file: File) -> None:
    """The digest is over separated parts: 1 and 23 is not 12 and 3."""
    assert chained(b"", 1, "A", 23, "{}") != chained(b"", 12, "A", 3, "{}")
