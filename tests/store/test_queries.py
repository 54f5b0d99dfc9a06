"""Every statement that the store makes is explained: none walks over the events."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.store.conftest import File
from vbl.store.sqlite import QUERIES, Sqlite

SCANS_ON_PURPOSE = {
    "newest": "the newest id comes from the end of an index",
}


def plan(store: Sqlite, sql: str) -> list[str]:
    """Explained with a null for each parameter; the plan does not depend on them."""
    return [row[3] for row in store.select(f"explain query plan {sql}", (None,) * sql.count("?"))[1]]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[File]:
    """A file that nobody changes."""
    file = File(tmp_path_factory.mktemp("filled") / "file.db")
    for _ in range(3):
        file.some_run()
    yield file
    file.close()


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_statement_never_scans_the_events(filled: File, name: str) -> None:
    steps = plan(filled.store, QUERIES[name])
    assert not [step for step in steps if re.match(r"SCAN (events|e\b|vbl_events)", step)], steps


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_statement_never_scans_or_sorts_the_runs(filled: File, name: str) -> None:
    steps = plan(filled.store, QUERIES[name])
    scans = [step for step in steps if re.match(r"SCAN runs(?! USING (COVERING )?INDEX)", step)]
    assert not scans, steps
    assert not [step for step in steps if "TEMP B-TREE" in step and "GROUP BY" not in step], steps


def test_a_scan_would_be_seen(filled: File) -> None:
    assert plan(filled.store, "select * from events where payload = ?")[0].startswith("SCAN events")
    assert plan(filled.store, "select * from runs where version = ?")[0].startswith("SCAN runs")


def test_every_statement_is_used_and_has_a_name_of_its_own() -> None:
    from pathlib import Path

    import vbl

    package = Path(vbl.__file__).parent
    code = "".join(path.read_text("utf-8") for path in package.rglob("*.py"))
    text = (package / "store/queries.sql").read_text("utf-8")
    names = re.findall(r"^-- name: (\w+)$", text, re.MULTILINE)
    assert sorted(names) == sorted(QUERIES), "two statements share a name"
    assert [name for name in names if f'"{name}"' not in code] == []


VIEWS = {
    "vbl_runs": "id workflow version status key parent_id created_at updated_at finished_at wake_at seq",
    "vbl_events": "id run_id seq type at payload",
    "vbl_steps": "run_id step attempt status effect kind started_at finished_at",
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_the_columns_that_it_promises(filled: File, view: str) -> None:
    columns, rows = filled.store.select(f"select * from {view}")
    assert columns[: len(VIEWS[view].split())] == VIEWS[view].split()
    assert rows


def test_the_views_say_what_happened(filled: File) -> None:
    run_id = filled.rows("select id from vbl_runs")[0][0]
    steps = filled.rows(
        "select step, attempt, status, kind from vbl_steps where run_id = ? order by started_at, step", run_id
    )
    assert steps == [(f"s#{n}", 1, "completed", None) for n in (1, 2, 3)]
    assert filled.rows(
        "select json_extract(payload, '$.output') from vbl_events where run_id = ? and type = 'RUN_COMPLETED'", run_id
    ) == [(3,)]


def test_the_view_of_steps_shows_how_each_attempt_ended(file: File) -> None:
    run_id = file.run()
    start = {"idempotency_key": "k", "input": {}}
    error = {"kind": "timeout", "type": "TimeoutError", "message": "m"}
    file.append(
        run_id,
        ("RUN_STARTED", {"epoch": 0}),
        ("STEP_STARTED", {"step": "a", "attempt": 1, "effect": "read", **start}),
        ("STEP_FAILED", {"step": "a", "attempt": 1, "error": error, "final": False}),
        ("RETRY_SCHEDULED", {"step": "a", "attempt": 2, "at": 1, "reason": "r"}),
        ("STEP_STARTED", {"step": "a", "attempt": 2, **start}),
        ("STEP_INTERRUPTED", {"step": "a", "attempt": 2, "epoch": 1}),
        ("STEP_STARTED", {"step": "a", "attempt": 3, **start}),
        ("STEP_STARTED", {"step": "b", "attempt": 1, **start}),
        ("STEP_CANCELLED", {"step": "a"}),
    )
    found = file.rows("select step, attempt, status, effect, kind from vbl_steps order by step, attempt")
    assert found == [
        ("a", 1, "failed", "read", "timeout"),
        ("a", 2, "interrupted", None, None),
        ("a", 3, "cancelled", None, None),
        ("b", 1, "running", None, None),
    ]
