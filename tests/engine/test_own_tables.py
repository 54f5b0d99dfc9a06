"""`@vbl.transaction`: what the body writes to the user's own tables and the step's completion are one commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import slow, work
from tests.engine.world import WORLD
from vbl.engine import transact
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.store.sqlite import QUERIES
from vbl.testing import Trial


@pytest.fixture(autouse=True)
def tables(trial: Trial) -> None:
    """Two accounts, and a ledger with a row for each transfer."""
    with bare(trial) as db:
        db.execute("create table accounts (name text primary key, balance integer not null check (balance >= 0))")
        db.execute("create table ledger (id integer primary key autoincrement, amount integer)")
        db.execute("insert into accounts values ('a', 100), ('b', 0)")


class bare:
    """The file as another program opens it."""

    def __init__(self, trial: Trial) -> None:
        self.path = str(trial.path)

    def __enter__(self) -> apsw.Connection:
        self.db = apsw.Connection(self.path)
        self.db.set_busy_timeout(5_000)
        return self.db

    def __exit__(self, *_: object) -> None:
        self.db.close()


def balances(trial: Trial) -> dict[str, int]:
    with bare(trial) as db:
        return dict(db.execute("select name, balance from accounts"))


def ledger(trial: Trial) -> list[int]:
    with bare(trial) as db:
        return [amount for (amount,) in db.execute("select amount from ledger order by id")]


def of(run: Run, type: str) -> list[Fact]:
    return [fact for fact in run.facts() if fact.type == type]


def move(amount: int) -> int:
    db = vbl.connection()
    db.execute("update accounts set balance = balance - ? where name = 'a'", (amount,))
    db.execute("update accounts set balance = balance + ? where name = 'b'", (amount,))
    db.execute("insert into ledger (amount) values (?)", (amount,))
    return amount


@vbl.transaction
def transfer(amount: int) -> int:
    WORLD.did()
    return move(amount)


@vbl.workflow
async def pay(amounts: list[int]) -> int:
    total = 0
    for amount in amounts:
        total += await transfer.aio(amount)
    return total


@vbl.workflow
def pay_in_a_thread(amounts: list[int]) -> int:
    return sum(transfer(amount) for amount in amounts)


@vbl.workflow
async def pay_at_once(amounts: list[int]) -> int:
    return sum(await asyncio.gather(*(transfer.aio(amount) for amount in amounts)))


@pytest.mark.parametrize("workflow", [pay, pay_in_a_thread, pay_at_once], ids=lambda w: w.name)
def test_what_the_body_writes_is_there_with_its_completion(trial: Trial, workflow: Any) -> None:
    run = trial.start(workflow, [1, 2, 3, 4])
    assert run.result() == 10
    assert balances(trial) == {"a": 90, "b": 10}
    assert sorted(ledger(trial)) == [1, 2, 3, 4]
    assert {fact.payload["effect"] for fact in of(run, "STEP_STARTED")} == {"write"}
    assert WORLD.runs_of(run.id).total() == 4
    assert_sound(trial)


def test_many_runs_take_turns_and_none_is_loaded_again(trial: Trial) -> None:
    runs = [trial.start(pay_at_once, [1] * 5) for _ in range(8)]
    assert [run.result() for run in runs] == [5] * 8
    assert balances(trial) == {"a": 60, "b": 40}
    assert WORLD.runs_of(runs[0].id).total() == 5
    assert_sound(trial)


def test_a_body_that_raises_leaves_nothing_and_is_tried_by_its_policy(trial: Trial) -> None:
    run = trial.start(third_time)
    assert run.result() == 5
    assert [fact.payload["final"] for fact in of(run, "STEP_FAILED")] == [False, False]
    assert (balances(trial), ledger(trial)) == ({"a": 95, "b": 5}, [5])
    run = trial.start(overdrawn)
    with pytest.raises(vbl.RunFailed, match="CHECK constraint failed"):
        run.result()
    assert (balances(trial), ledger(trial)) == ({"a": 95, "b": 5}, [5])
    assert_sound(trial)


@vbl.transaction(retry=vbl.Retry(max_attempts=3, delay=1))
def moody(amount: int) -> int:
    effect = WORLD.did()
    move(amount)
    if effect.attempt < 3:
        raise ConnectionError("not now")
    return amount


@vbl.workflow
async def third_time() -> int:
    return await moody.aio(5)


@vbl.workflow
async def overdrawn() -> int:
    return await transfer.aio(1_000)


def test_a_result_that_cannot_be_recorded_undoes_the_body(trial: Trial) -> None:
    run = trial.start(unrecordable)
    with pytest.raises(vbl.RunFailed, match="cannot be recorded"):
        run.result()
    assert ledger(trial) == []


@vbl.transaction
def returns_a_lock() -> Any:
    move(1)
    return threading.Lock()


@vbl.workflow
async def unrecordable() -> None:
    await returns_a_lock.aio()


def test_a_long_result_is_kept_as_any_other(trial: Trial) -> None:
    run = trial.start(verbose)
    assert run.result() == 100_000
    (done, _) = of(run, "STEP_COMPLETED")
    assert len(done.payload["output"]) == 100_000
    with bare(trial) as db:
        assert db.execute("select count(*) from blobs").get >= 1
    assert_sound(trial)


@vbl.transaction
def long_text() -> str:
    vbl.connection().execute("insert into ledger (amount) values (1)")
    return "".join(chr(97 + n % 26) for n in range(100_000))


@vbl.workflow
async def verbose() -> int:
    text = await long_text.aio()
    await work(1)
    return len(text)


# What a body may do -----------------------------------------------------------------------------------------------

FORBIDDEN = {
    "its events": "update events set payload = '{}'",
    "an event": QUERIES["append"].replace("?, ?, ?, ?, ?, ?", "1, 99, 'RUN_FAILED', 0, '{}', x''"),
    "the very text that vbl uses": "insert into blobs (digest, bytes, data) values ('x', 1, x'00')",
    "its summaries": "delete from runs",
    "a status": "update runs set status = 'completed'",
    "its gates": "insert into gates select * from gates",
    "a new index of its summaries": "create index mine on runs (status)",
    "its epoch": "update supervisor set epoch = 99",
    "its ids": "delete from sqlite_sequence",
    "a table": "drop table checkpoints",
    "a view": "drop view vbl_runs",
    "a trigger": "drop trigger events_no_update",
    "an index": "drop index events_by_run",
    "a new index": "create index mine on events (type)",
    "a new trigger": "create trigger mine after insert on events begin select 1; end",
    "a passing trigger": "create temp trigger mine after insert on events begin select 1; end",
    "a renamed table": "alter table events rename to past",
    "a name of ours": "create table vbl_more (a)",
    "commit": "commit",
    "rollback": "rollback",
    "begin": "begin",
    "attach": "attach ':memory:' as other",
    "detach": "detach main",
    "a setting": "pragma synchronous = off",
    "a schema": "pragma writable_schema = on",
    "a checkpoint": "pragma wal_checkpoint",
    "an optimisation": "pragma optimize",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_is_vbls_cannot_be_written(trial: Trial, what: str) -> None:
    run = trial.start(does, [FORBIDDEN[what]])
    with pytest.raises(vbl.RunFailed, match="not authorized"):
        run.result()
    assert ledger(trial) == []
    assert trial.start(pay, [1]).result() == 1, "the connection serves the next one"
    assert_sound(trial)


ALLOWED = {
    "views of ours": ["select count(*) from vbl_runs", "select payload from vbl_events", "select count(*) from events"],
    "savepoints": ["savepoint x", "insert into ledger (amount) values (7)", "rollback to x", "release x"],
    "tables": [
        "create table if not exists mine (events text, runs text, id integer primary key autoincrement)",
        "create index mine_runs on mine (runs)",
        "create view seen as select id from mine",
        "insert into mine (events, runs) values ('a', 'b')",
        "update mine set events = 'c', runs = 'd'",
        "alter table mine rename to yours",
        "alter table yours add column blobs text",
        "update yours set blobs = 'x'",
        "delete from yours",
        "drop view seen",
        "drop table yours",
    ],
    "passing tables": ["create temp table passing (a)", "insert into passing values (1)", "drop table passing"],
    "triggers": [
        "create trigger noticed after insert on ledger begin update accounts set balance = balance; end",
        "insert into ledger (amount) values (0)",
        "drop trigger noticed",
    ],
    "what is set": ["pragma user_version", "pragma table_info(ledger)", "pragma foreign_keys"],
}


@pytest.mark.parametrize("what", ALLOWED)
def test_whatever_is_the_users_can_be_done(trial: Trial, what: str) -> None:
    assert trial.start(does, ALLOWED[what]).result() is None
    assert trial.start(does, ALLOWED[what]).result() is None, "it left something behind"
    assert_sound(trial)


@vbl.transaction
def statements(sql: list[str]) -> None:
    db = vbl.connection()
    for one in sql:
        db.execute(one).fetchall()


@vbl.workflow
async def does(sql: list[str]) -> None:
    await statements.aio(sql)


@vbl.transaction
def does_badly(how: str) -> None:
    move(1)
    BAD[how](vbl.connection())


@vbl.workflow
async def badly(how: str) -> None:
    await does_badly.aio(how)


def roll_back_by_conflict(db: apsw.Connection) -> None:
    """SQLite ends the transaction; what comes then would stand for itself."""
    with pytest.raises(apsw.ConstraintError):
        db.execute("insert or rollback into accounts values ('a', 0)")
    move(1)


def roll_back_and_begin_by_a_savepoint(db: apsw.Connection) -> None:
    with pytest.raises(apsw.ConstraintError):
        db.execute("insert or rollback into accounts values ('a', 0)")
    db.execute("savepoint x")
    move(1)


def commit_without_leave(db: apsw.Connection) -> None:
    db.authorizer = None
    db.execute("commit")


def end_by_itself(db: apsw.Connection) -> None:
    db.authorizer = None
    db.execute("rollback")
    db.execute("begin")


def close(db: apsw.Connection) -> None:
    db.close()


BAD: dict[str, Callable[[apsw.Connection], None]] = {
    f.__name__: f
    for f in (roll_back_by_conflict, roll_back_and_begin_by_a_savepoint, commit_without_leave, end_by_itself, close)
}


@pytest.mark.parametrize("how", BAD)
def test_a_transaction_that_was_ended_in_its_body_leaves_nothing(trial: Trial, how: str) -> None:
    run = trial.start(badly, how)
    with pytest.raises(vbl.RunFailed):
        run.result()
    assert (balances(trial), ledger(trial)) == ({"a": 100, "b": 0}, [])
    assert trial.start(pay, [1]).result() == 1, "the next one has a connection that works"
    assert_sound(trial)


@vbl.transaction
def leaves_things_about() -> None:
    db = vbl.connection()
    db.row_trace = lambda cursor, row: dict(zip((d[0] for d in cursor.get_description()), row, strict=True))
    db.exec_trace = lambda cursor, sql, bindings: True
    move(1)
    WORLD.cursor = db.execute("select * from accounts")  # type: ignore[attr-defined]
    next(WORLD.cursor)  # type: ignore[attr-defined]


@vbl.workflow
async def untidy() -> None:
    await leaves_things_about.aio()
    await leaves_things_about.aio()


def test_what_a_body_leaves_in_the_connection_is_not_met_by_the_next(trial: Trial) -> None:
    assert trial.start(untidy).result() is None
    assert trial.start(pay, [1]).result() == 1
    assert balances(trial) == {"a": 97, "b": 3}
    assert_sound(trial)


# Where there is no transaction --------------------------------------------------------------------------------------


def test_a_connection_that_a_body_keeps_is_closed(trial: Trial) -> None:
    """Else what writes by it later would write outside of any transaction, and to tables of vbl."""
    kept: list[apsw.Connection] = []

    @vbl.transaction
    def keeps() -> None:
        kept.append(vbl.connection())

    @vbl.workflow(name="keeping")
    async def keeping() -> None:
        await keeps.aio()

    trial.start(keeping).result()
    with pytest.raises(apsw.ConnectionClosedError):
        kept[0].execute("insert into ledger (amount) values (1)")
    assert trial.start(pay, [1]).result() == 1


def test_a_thread_that_a_body_leaves_cannot_write_on(trial: Trial) -> None:
    told, said = threading.Event(), list[str]()

    @vbl.transaction
    def leaves() -> None:
        threading.Thread(target=writes_later, args=(vbl.connection(),)).start()

    def writes_later(connection: apsw.Connection) -> None:
        told.wait(20)
        try:
            connection.execute("insert into ledger (amount) values (1)")
        except apsw.Error as error:
            said.append(type(error).__name__)
        else:
            said.append("written")

    @vbl.workflow(name="leaving")
    async def leaving() -> None:
        await leaves.aio()

    trial.start(leaving).result()
    told.set()
    trial.until(lambda: said)
    assert said == ["ConnectionClosedError"]
    assert ledger(trial) == []


def test_a_refused_statement_says_what_may_be_written(trial: Trial) -> None:
    run = trial.start(does, ["delete from events"])
    with pytest.raises(vbl.RunFailed, match="not authorized"):
        run.result()
    [failed] = of(run, "STEP_FAILED")
    assert failed.payload["error"]["kind"] == "bug"


def test_outside_a_run_it_is_the_function() -> None:
    with pytest.raises(vbl.NotInWorkflow, match=r"vbl\.connection\(\)"):
        statements(["select 1"])


@vbl.step
def plain_step() -> None:
    vbl.connection()


@vbl.workflow
async def asks_in_a_step() -> None:
    await plain_step.aio()


@vbl.workflow
async def asks_in_a_workflow() -> None:
    vbl.connection()


def test_another_step_has_no_connection(trial: Trial) -> None:
    for workflow in (asks_in_a_step, asks_in_a_workflow):
        run = trial.start(workflow)
        with pytest.raises(vbl.RunFailed, match=r"vbl\.connection\(\) was called outside"):
            run.result()


def test_an_async_transaction_is_refused() -> None:
    with pytest.raises(vbl.UsageError, match="async"):

        @vbl.transaction  # type: ignore[type-var,arg-type]
        async def never() -> None: ...


# Deaths and giving up -----------------------------------------------------------------------------------------------


@vbl.transaction
def pauses(amount: int) -> int:
    WORLD.did()
    move(amount)
    WORLD.gate("inside").wait(20)
    return amount


@vbl.workflow
async def pay_slowly(amount: int) -> int:
    return await pauses.aio(amount)


def test_a_death_in_the_body_undoes_it_and_it_is_simply_run_again(trial: Trial) -> None:
    run = trial.start(pay_slowly, 7)
    trial.until(lambda: WORLD.runs_of(run.id).total() == 1)
    trial.kill()
    assert ledger(trial) == []
    WORLD.gate("inside").set()
    trial.up()
    assert run.result() == 7
    assert (balances(trial), ledger(trial)) == ({"a": 93, "b": 7}, [7])
    assert len(of(run, "STEP_INTERRUPTED")) == 1
    assert_sound(trial)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_death_at_any_commit_changes_nothing(tmp_path: Path, when: str) -> None:
    for at in range(1, 30):
        trial = Trial(tmp_path / f"{at}.db", clock=WORLD.clock).up()
        trial.down()
        with bare(trial) as db:
            db.execute("create table accounts (name text primary key, balance integer)")
            db.execute("create table ledger (id integer primary key autoincrement, amount integer)")
            db.execute("insert into accounts values ('a', 100), ('b', 0)")
        trial.up(die_before=at if when == "before" else None, die_after=at if when == "after" else None)
        run = trial.start(pay, [1, 2, 3])
        died = not trial.finish(run)
        if died:
            trial.up()
            assert trial.finish(run)
        assert run.result() == 6
        assert (balances(trial), ledger(trial)) == ({"a": 94, "b": 6}, [1, 2, 3])
        assert_sound(trial)
        trial.close()
        if not died:
            break
    assert at > 7, "each transfer has a commit of its own, which must be among those that die"


@vbl.transaction(timeout=5)
def hangs() -> None:
    WORLD.did()
    move(1)
    WORLD.gate("hangs").wait(20)
    vbl.connection().execute("select 1")
    WORLD.note("went on")


@vbl.workflow
async def impatient() -> str:
    try:
        await hangs.aio()
    except vbl.StepFailed as error:
        return error.kind
    return "?"


def test_a_body_that_hangs_gives_the_file_back(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the lock on the whole file: at its time-out it loses it, and what it has written."""
    monkeypatch.setattr(hangs, "timeout", 0.2)
    run = trial.start(impatient)
    trial.until(lambda: run.status.finished)
    assert run.result() == "timeout"
    assert ledger(trial) == []
    assert trial.start(pay, [2]).result() == 2
    WORLD.gate("hangs").set()
    assert WORLD.notes == []
    assert (balances(trial), ledger(trial)) == ({"a": 98, "b": 2}, [2])
    assert_sound(trial)


def test_a_transaction_has_a_time_out_of_its_own() -> None:
    assert transfer.timeout == transact.TIMEOUT_S


@vbl.workflow
async def gives_up() -> str:
    try:
        async with asyncio.timeout(3):
            await asyncio.gather(pauses.aio(1), pauses.aio(2))
    except TimeoutError:
        return "gave up"
    return "?"


def test_what_is_given_up_before_its_turn_never_begins(trial: Trial) -> None:
    """The first holds the lock, so that nothing can be recorded; the second waits for its turn. The first commits;
    then the time-out, which has passed, gives the second up."""
    run = trial.start(gives_up)
    trial.until(lambda: WORLD.runs_of(run.id).total() == 1)
    WORLD.clock.advance(10)
    WORLD.gate("inside").set()
    assert run.result() in ("gave up", "?")
    done = len(of(run, "STEP_COMPLETED"))
    assert len(ledger(trial)) == done
    assert_sound(trial)


@vbl.workflow
async def side_by_side() -> list[int]:
    return list(await asyncio.gather(pauses.aio(3), slow(4, 1)))


def test_the_others_results_wait_while_a_body_holds_the_file(trial: Trial) -> None:
    run, other = trial.start(side_by_side), trial.start(pay, [1])
    trial.until(lambda: WORLD.runs_of(run.id).total() == 2)
    WORLD.clock.advance(5)
    WORLD.gate("inside").set()
    assert run.result() == [3, 4]
    assert other.result() == 1
    assert_sound(trial)


@vbl.transaction
def meets_trouble() -> int:
    WORLD.note("try")
    move(1)
    if len(WORLD.notes) < 3:
        raise apsw.BusyError("somebody holds the file")
    return len(WORLD.notes)


@vbl.workflow
async def patient() -> int:
    return await meets_trouble.aio()


def test_a_file_that_cannot_be_written_just_now_is_waited_for(trial: Trial) -> None:
    """It is no failure of the step: what was done is undone, and done again in the same attempt."""
    run = trial.start(patient)
    assert run.result() == 3
    assert ledger(trial) == [1]
    assert (len(of(run, "STEP_STARTED")), of(run, "STEP_FAILED")) == (1, [])
    assert_sound(trial)


@vbl.workflow
async def pay_and_hear(amount: int) -> str:
    await pauses.aio(amount)
    return await vbl.wait("word")


def test_a_signal_that_comes_meanwhile_is_taken_in(trial: Trial) -> None:
    run = trial.start(pay_and_hear, 7)
    trial.until(lambda: WORLD.runs_of(run.id).total() == 1)
    sender = threading.Thread(target=run.signal, args=("word", "thanks"))  # it waits for the file
    sender.start()
    WORLD.gate("inside").set()
    sender.join()
    assert run.result() == "thanks"
    assert ledger(trial) == [7]
    assert len(of(run, "STEP_STARTED")) == len(of(run, "STEP_COMPLETED")) == 1
    assert_sound(trial)


def test_a_cancel_that_comes_meanwhile_lets_the_body_end(trial: Trial) -> None:
    run = trial.start(pay_and_hear, 7)
    trial.until(lambda: WORLD.runs_of(run.id).total() == 1)
    canceller = threading.Thread(target=run.cancel)
    canceller.start()
    WORLD.gate("inside").set()
    canceller.join()
    trial.settle()
    assert run.status == "cancelled"
    assert ledger(trial) == [7]
    assert len(of(run, "STEP_COMPLETED")) == 1
    assert_sound(trial)


def test_a_stop_in_the_body_undoes_it(trial: Trial) -> None:
    run = trial.start(pay_slowly, 7)
    trial.until(lambda: WORLD.runs_of(run.id).total() == 1)
    trial.down(grace_s=0.1)
    assert ledger(trial) == []
    assert [fact.payload["counted"] for fact in of(run, "STEP_INTERRUPTED")] == [False]
    WORLD.gate("inside").set()
    trial.up()
    assert run.result() == 7
    assert ledger(trial) == [7]
    assert_sound(trial)
