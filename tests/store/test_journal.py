"""The one door: all or nothing, in order, and never over somebody else's head."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.store.conftest import AT, File
from vbl.errors import Conflict as Refused
from vbl.errors import EpochLost, NotFound, StorageError
from vbl.history import transitions
from vbl.history.events import RunCreated, RunPaused
from vbl.history.state import RunState, fold, summarise
from vbl.store.journal import Conflict, Draft, History, draft, summary_row
from vbl.store.payloads import dumps
from vbl.store.protocol import Head

OpenFile = Callable[..., File]


def event(type: str, **payload: object) -> Draft:
    return Draft(type, AT, {"v": 1, **payload}, dumps({"v": 1, **payload}))


def proposing(file: File, run_id: str, *events: Draft) -> History:
    history, _ = file.journal.load(file.key(run_id))
    for one in events:
        history.propose(*one)
    return history


def test_what_is_appended_is_read_back_with_its_state_and_summary(file: File) -> None:
    run_id = file.some_run()
    history, facts = file.journal.load(file.key(run_id))
    assert [fact.seq for fact in facts] == list(range(1, len(facts) + 1))
    assert history.state == fold(facts)
    assert file.rows("select * from runs")[0][1:] == summary_row(summarise(history.state))
    assert history.state.variables == {"n": 3, "seen": [0, 1, 2]}


def test_a_decision_that_raises_leaves_nothing(file: File) -> None:
    run_id = file.run()
    before = file.store.head()

    def decide(state: RunState) -> list[Draft]:
        raise Refused("no")

    with pytest.raises(Refused, match="no"):
        file.journal.commit(run_id, decide)
    assert file.store.head() == before


def test_a_decision_of_nothing_appends_nothing(file: File) -> None:
    run_id = file.run()
    before = file.rows("select * from runs"), file.store.head()
    file.journal.commit(run_id, lambda state: [])
    assert (file.rows("select * from runs"), file.store.head()) == before


def test_a_decision_is_made_on_the_state_that_it_meets(file: File, open_file: OpenFile) -> None:
    """Somebody else appends between the reading and the lock: the decision sees it."""
    run_id, other = file.run(), open_file()
    seen: list[int] = []
    slow_load = file.journal.load

    def load_then_be_overtaken(key: int) -> tuple[History, list]:
        loaded = slow_load(key)
        other.append(run_id, ("RUN_PAUSED", {}))
        return loaded

    def decide(state: RunState) -> list[Draft]:
        seen.append(state.seq)
        return [draft(AT, payload) for payload in transitions.unpause(state, "ada", None)]

    file.journal.load = load_then_be_overtaken  # pyright: ignore[reportAttributeAccessIssue]
    assert file.journal.commit(run_id, decide).paused is False
    assert seen == [2]
    assert [row.type for row in file.journal.rows(file.key(run_id))] == ["RUN_CREATED", "RUN_PAUSED", "RUN_UNPAUSED"]


def test_two_people_who_decide_at_once_are_put_in_order(file: File, open_file: OpenFile) -> None:
    """Of many who cancel, one does; the others are told who."""
    run_id = file.run()
    outcomes: list[str] = []
    start = threading.Barrier(4)

    def cancel(name: str) -> None:
        mine = open_file()
        start.wait(60)
        try:
            mine.journal.commit(run_id, lambda state: [draft(AT, p) for p in transitions.cancel(state, name, None)])
            outcomes.append("done")
        except Refused:
            outcomes.append("refused")

    threads = [threading.Thread(target=cancel, args=(f"p{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["done", "refused", "refused", "refused"]
    assert len(file.journal.rows(file.key(run_id))) == 3


def test_many_runs_are_begun_in_one_transaction(file: File) -> None:
    commits = file.store.commits
    items = [draft(AT, RunCreated(run_id=f"r_{n:016d}", workflow="w", version="v", tags=[f"n={n}"])) for n in range(50)]
    created = file.journal.create(items)
    assert len({key for key, _ in created}) == 50
    assert file.store.commits == commits + 1
    assert file.rows("select count(*), min(seq), max(seq) from events") == [(50, 1, 1)]
    assert file.rows("select count(*) from run_tags") == [(50,)]


def test_a_check_that_refuses_begins_nothing(file: File) -> None:
    def check() -> None:
        raise Refused("taken")

    with pytest.raises(Refused):
        file.journal.create([draft(AT, RunCreated(run_id="r_1", workflow="w", version="v"))], check=check)
    assert file.rows("select count(*) from events") == [(0,)]
    assert file.rows("select count(*) from runs") == [(0,)]


def test_the_same_run_is_not_begun_twice(file: File) -> None:
    item = draft(AT, RunCreated(run_id="r_1", workflow="w", version="v"))
    file.journal.create([item])
    with pytest.raises(StorageError):
        file.journal.create([item])
    assert file.rows("select count(*) from events") == [(1,)]


def test_proposals_of_many_runs_go_into_one_transaction(file: File) -> None:
    runs = [file.run() for _ in range(10)]
    histories = [proposing(file, run, event("RUN_STARTED", epoch=0)) for run in runs]
    commits, seen = file.store.commits, file.store.head()
    head, changed = file.journal.commit_all(histories, seen)
    assert file.store.commits == commits + 1
    assert (head, changed) == (Head(0, seen.last_id + 10), set())
    assert file.store.head() == head
    assert not any(history.rows for history in histories)
    assert {row[0] for row in file.rows("select status from runs")} == {"running"}


def test_a_newcomer_is_reported_and_a_clash_stores_nothing(file: File, open_file: OpenFile) -> None:
    mine, clashing, elsewhere = file.run(), file.run(), file.run()
    seen = file.store.head()
    histories = [proposing(file, run, event("RUN_STARTED", epoch=0)) for run in (mine, clashing)]
    other = open_file()
    other.append(elsewhere, ("RUN_PAUSED", {}))
    other.append(clashing, ("RUN_PAUSED", {}))
    before = file.store.head()
    with pytest.raises(Conflict) as refused:
        file.journal.commit_all(histories, seen)
    assert refused.value.keys == {file.key(clashing)}
    assert file.store.head() == before
    head, changed = file.journal.commit_all(histories[:1], seen)
    assert changed == {file.key(clashing), file.key(elsewhere)}
    assert head.last_id == before.last_id + 1


def test_an_old_epoch_may_append_nothing(file: File, open_file: OpenFile) -> None:
    run_id = file.run()
    seen = file.store.head()
    history = proposing(file, run_id, event("RUN_STARTED", epoch=0))
    other = open_file()
    other.store.one("take_epoch", ("somebody", "[]", AT))
    with pytest.raises(EpochLost, match=f"epoch {seen.epoch}"):
        file.journal.commit_all([history], seen)
    assert len(file.journal.rows(file.key(run_id))) == 1


def test_a_part_of_a_history_can_be_loaded(file: File) -> None:
    run_id = file.some_run()
    _, all_facts = file.journal.load(file.key(run_id))
    for until in (1, 5, len(all_facts)):
        history, facts = file.journal.load(file.key(run_id), until)
        assert facts == all_facts[:until]
        assert history.state == fold(facts)


def test_catching_up_takes_in_what_is_new_and_nothing_twice(file: File, open_file: OpenFile) -> None:
    run_id = file.run()
    history, _ = file.journal.load(file.key(run_id))
    open_file().append(run_id, ("RUN_PAUSED", {}), ("RUN_UNPAUSED", {}))
    assert [fact.type for fact in file.journal.catch_up(history)] == ["RUN_PAUSED", "RUN_UNPAUSED"]
    assert file.journal.catch_up(history) == []
    assert history.state == file.journal.load(file.key(run_id))[0].state


def test_a_run_that_is_not_there_is_said_so(file: File) -> None:
    with pytest.raises(NotFound, match="r_nobody"):
        file.journal.commit("r_nobody", lambda state: [])


def test_a_draft_leaves_out_what_holds_its_default(file: File) -> None:
    assert draft(AT, RunPaused(actor="ada")).text == '{"v":1,"actor":"ada"}'
    assert draft(AT, RunPaused()).payload == {"v": 1}


def test_other_connections_see_that_something_changed(file: File, open_file: OpenFile) -> None:
    other = open_file()
    before = file.store.changed()
    assert file.store.changed() == before
    other.run()
    assert file.store.changed() != before


def test_the_summary_says_what_the_steps_cost_together(file: File) -> None:
    run_id = file.some_run(steps=3)
    assert file.rows("select usd from runs where id = ?", run_id) == [(0.1 + 0.1 + 0.1,)]
    free = file.run()
    assert file.rows("select usd from runs where id = ?", free) == [(None,)]
