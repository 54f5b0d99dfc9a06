"""Transactions: the user's own tables, in the same commit as the completion of the step."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Literal

import pytest

import vbl
from tests.engine.checks import assert_sound
from vbl.errors import NotInWorkflow, UsageError
from vbl.testing import FakeClock, Trial, replay


@vbl.transaction
def opened() -> None:
    vbl.connection().execute("create table if not exists notes (text text, number integer)")


@vbl.transaction
def noted(text: str, number: int) -> int:
    vbl.connection().execute("insert into notes values (?, ?)", (text, number))
    return vbl.connection().execute("select count(*) from notes").get


@vbl.transaction(retry=vbl.Retry(max_attempts=2, delay=1, jitter=0))
def fails_once(number: int) -> int:
    vbl.connection().execute("insert into notes values ('tried', ?)", (number,))
    if vbl.connection().execute("select count(*) from notes where text = 'failed before'").get == 0:
        raise ConnectionError("not yet")
    return number


@vbl.transaction
def anything(sql: str) -> int:
    vbl.connection().execute("insert into notes values ('before', 1)")
    vbl.connection().execute(sql)
    return 1


@vbl.workflow
async def noting(times: int) -> list[int]:
    await opened.aio()
    return [await noted.aio(f"note {n}", n) for n in range(times)]


@vbl.workflow
def noting_plainly(times: int) -> list[int]:
    opened()
    return [noted(f"note {n}", n) for n in range(times)]


def notes(trial: Trial) -> list[tuple[str, int]]:
    return trial.sql("select text, number from notes order by rowid")[1]  # type: ignore[return-value]


@pytest.mark.parametrize("workflow", [noting, noting_plainly], ids=["async", "sync"])
def test_rows_and_completions_are_written_together(trial: Trial, workflow: vbl.Workflow[[int], list[int]]) -> None:
    run = trial.start(workflow, 3)
    assert run.result() == [1, 2, 3]
    assert notes(trial) == [(f"note {n}", n) for n in range(3)]
    assert replay(run) == [1, 2, 3]
    assert_sound(trial)


def die_at(path: Path, at: int, when: Literal["before", "after"]) -> bool:
    trial = Trial(path, clock=FakeClock())
    try:
        trial.up(die_before=at if when == "before" else None, die_after=at if when == "after" else None)
        run = trial.start(noting, 2)
        if trial.finish(run):
            return False
        trial.up()
        assert trial.finish(run)
        assert run.result() == [1, 2]
        assert notes(trial) == [("note 0", 0), ("note 1", 1)]
        assert_sound(trial)
        return True
    finally:
        trial.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_any_commit_writes_each_row_once(tmp_path: Path, when: Literal["before", "after"]) -> None:
    for at in count(1):
        if not die_at(tmp_path / f"{at}.db", at, when):
            break
    assert at > 3, "it hardly died: this would prove nothing"


def test_a_body_that_raises_leaves_nothing(trial: Trial) -> None:
    @vbl.workflow
    async def trying() -> str:
        await opened.aio()
        try:
            await fails_once.aio(1)
        except vbl.StepFailed as error:
            assert error.attempts == 2
        return "done"

    assert trial.start(trying).result() == "done"
    assert notes(trial) == []


FORBIDDEN = [
    "delete from events",
    "update runs set status = 'completed'",
    "insert into gates select * from gates",
    "drop table blobs",
    "drop trigger events_no_update",
    "create trigger mine after insert on events begin select 1; end",
    "create index mine on runs (status)",
    "alter table runs rename to mine",
    "commit",
    "rollback",
    "begin",
    "attach ':memory:' as other",
    "pragma synchronous = off",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_what_is_vbls_own_is_refused_and_all_is_undone(trial: Trial, sql: str) -> None:
    @vbl.workflow
    async def breaking_in() -> str:
        await opened.aio()
        try:
            await anything.aio(sql)
        except vbl.StepFailed as error:
            return error.type
        return "it was let in"

    run = trial.start(breaking_in)
    assert run.result() == "AuthError"
    assert notes(trial) == []
    assert_sound(trial)


def test_vbls_views_may_be_read(trial: Trial) -> None:
    @vbl.transaction
    def reading() -> int:
        return vbl.connection().execute("select count(*) from vbl_runs").get

    @vbl.workflow
    async def looking() -> int:
        return await reading.aio()

    assert trial.start(looking).result() == 1


def test_an_async_transaction_is_refused() -> None:
    async def waits() -> None: ...

    with pytest.raises(UsageError, match="is async"):
        vbl.transaction(waits)


def test_outside_of_a_transaction_there_is_no_connection(trial: Trial) -> None:
    with pytest.raises(NotInWorkflow, match=r"vbl\.connection\(\) was called outside"):
        vbl.connection()

    @vbl.step
    def plain() -> None:
        vbl.connection()

    @vbl.workflow
    async def wrong() -> None:
        await plain.aio()

    run = trial.start(wrong)
    assert run.wait() == "failed"
    assert "NotInWorkflow: vbl.connection() was called outside" in (run.state().error or {})["message"]
