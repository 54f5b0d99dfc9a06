"""`vbl bench`: every row runs through, what it compares with is the same work, and no bar is ever asserted here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vbl
from vbl.bench import floor, moving, workloads
from vbl.bench.child import measure
from vbl.bench.rows import ROWS, Figure, Row, Size
from vbl.cli.bench import NAMES, quantity
from vbl.cli.main import main
from vbl.errors import VblError

Bench = Callable[..., str]


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """`vbl bench` in this process; what it measures has processes of its own. Returns what it wrote to stdout."""
    monkeypatch.delenv("VBL_DB", raising=False)

    def run(*args: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main(["bench", *args])
        out, err = capsys.readouterr()
        assert left.value.code == code, err
        return out

    return run


@pytest.mark.slow
def test_every_row_runs_through_and_its_document_keeps_its_form(bench: Bench) -> None:
    document = json.loads(bench("--scale", "0.001", "--rounds", "1", "--json"))
    assert set(document) == {"machine", "scale", "rounds", "rows", "bars", "bars_that_hold"}
    machine = {"vbl", "python", "apsw", "sqlite", "system", "cpus", "load", "folder", "file_system"}
    assert set(document["machine"]) == machine
    assert (document["scale"], document["rounds"]) == (0.001, 1)
    assert [row["name"] for row in document["rows"]] == list(NAMES)
    judged = []
    for row in document["rows"]:
        assert set(row) == {"name", "title", "full_size", "figures"}
        assert row["full_size"] is (row["name"] in ("help", "ls", "import"))
        assert row["figures"]
        for figure in row["figures"]:
            check_form(figure)
            judged += [figure["holds"]] if figure["holds"] is not None else []
    assert document["bars"] == len(judged)
    assert document["bars_that_hold"] == sum(judged)


def check_form(figure: dict[str, Any]) -> None:
    assert set(figure) == {"what", "value", "unit", "beside", "beside_is", "ratio", "bar", "bar_is", "judged", "holds"}
    assert figure["unit"] in {"ms", "bytes", "a second", "a step", "a turn", "%"}
    assert math.isfinite(figure["value"])
    assert figure["value"] >= 0
    assert (figure["beside"] is None) == (figure["beside_is"] is None)
    assert figure["bar_is"] in {"at most", "at least"}
    assert figure["judged"] in {"ratio", "value"}
    assert (figure["bar"] is None) == (figure["holds"] is None)


@pytest.mark.slow
def test_bare_apsw_writes_the_very_rows_that_vbl_wrote(tmp_path: Path) -> None:
    counts = moving.counted(tmp_path, lambda client: client.start_many(workloads.steps, [3] * 5), "power")
    db = floor.prepare(tmp_path / "floor.db", "power")
    floor.replay(db, counts.transactions)
    with vbl.connect(tmp_path / "counted.db") as client:
        for table in ("events", "runs"):
            rows = client.sql(f"select * from {table}")[1]
            assert rows
            assert db.execute(f"select * from {table}").fetchall() == rows
        indexes = "select name from sqlite_master where type = 'index' order by name"
        assert db.execute(indexes).fetchall() == client.sql(indexes)[1]
    assert db.execute("select count(*) from sqlite_master where type = 'trigger'").fetchall() == [(0,)]
    assert (db.pragma("journal_mode"), db.pragma("synchronous")) == ("wal", 2)
    db.close()


@pytest.mark.slow
def test_transactions_and_fsyncs_are_counted_as_they_are(tmp_path: Path) -> None:
    def work(client: vbl.Client) -> list[vbl.Run]:
        return [client.start(workloads.steps, 20)]

    (tmp_path / "power").mkdir()
    (tmp_path / "process").mkdir()
    safe = moving.counted(tmp_path / "power", work, "power")
    quick = moving.counted(tmp_path / "process", work, "process")
    assert len([t for t in safe.transactions if t.thread == floor.SUPERVISOR]) == 21
    assert safe.syncs >= 21
    assert quick.syncs < 5


def test_what_fails_in_a_measurement_is_said() -> None:
    with pytest.raises(VblError, match="KeyError: 'nonsense'") as refused:
        measure("moving.conversation", turns=1, size=2, shape="nonsense", rounds=1)
    assert refused.value.code == "bench_failed"


def test_the_command_knows_every_row() -> None:
    assert tuple(ROWS) == NAMES


@pytest.mark.parametrize(
    ("figure", "ratio", "holds"),
    [
        (Figure("time", 3.0, "ms", 2.0, "apsw", 1.5), 1.5, True),
        (Figure("time", 3.1, "ms", 2.0, "apsw", 1.5), 1.55, False),
        (Figure("steps", 15.0, "a second", 100.0, "apsw", 0.15, "at least"), 0.15, True),
        (Figure("steps", 14.0, "a second", 100.0, "apsw", 0.15, "at least"), 0.14, False),
        (Figure("median", 49.0, "ms", 1.0, "apsw", 50.0, judged="value"), 49.0, True),
        (Figure("median", 51.0, "ms", 100.0, "apsw", 50.0, judged="value"), 0.51, False),
        (Figure("worst", 51.0, "ms"), None, None),
        (Figure("time", 3.0, "ms", 2.0, "apsw"), 1.5, None),
    ],
)
def test_when_a_bar_holds(figure: Figure, ratio: float | None, holds: bool | None) -> None:
    assert figure.ratio == (pytest.approx(ratio) if ratio is not None else None)
    assert figure.holds is holds


def test_full_size_is_what_the_bars_speak_of() -> None:
    assert [Size(scale).of(1_000, 10) for scale in (1, 0.1, 0.01, 0.0001)] == [1_000, 1_000, 100, 10]
    assert [Size(scale).of_very_many(1_000_000, 2_000) for scale in (1, 0.1, 0.0001)] == [1_000_000, 100_000, 2_000]


def test_a_bar_that_does_not_hold_is_no_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Row("help", "vbl --help", [Figure("time", 9.0, "ms", 2.0, "import click", 1.5)])
    monkeypatch.setitem(ROWS, "help", lambda size: slow)
    shown = bench("--only", "help")
    assert "4.50 ×  at most 1.50 × ✗" in shown
    assert "1 of 1 bars do not hold here and now" in shown
    assert json.loads(bench("--only", "help", "--json"))["bars_that_hold"] == 0


@pytest.mark.parametrize(
    "nonsense", [("--scale", "0"), ("--scale", "2"), ("--rounds", "0"), ("--only", "everything"), ("--db", "a.db")]
)
def test_nonsense_is_refused(bench: Bench, nonsense: tuple[str, str]) -> None:
    assert bench(*nonsense, code=2) == ""


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0842, "ms", "84 µs"),
        (12.34, "ms", "12.3 ms"),
        (1_500.0, "ms", "1.5 s"),
        (812.0, "bytes", "812 B"),
        (4_520_000.0, "bytes", "4.52 MB"),
        (12_656.0, "a second", "12,656 a second"),
        (1.001, "a step", "1.001 a step"),
        (0.24, "%", "0.24 %"),
    ],
)
def test_figures_are_said_in_a_unit_that_suits(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text
