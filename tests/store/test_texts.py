"""The index of texts follows the events at its own pace, holds what it says, and can be dropped at any time."""

from __future__ import annotations

import itertools
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.store.conftest import AT, File
from vbl.errors import StorageError
from vbl.store import doctor, sqlite, texts
from vbl.store.checkpointer import Checkpointer
from vbl.store.journal import Draft
from vbl.store.payloads import Recorder, spill
from vbl.store.sqlite import Sqlite
from vbl.store.texts import MOST_TEXT, Texts, strings, upto

ERROR = {"kind": "transient", "type": "Overloaded", "message": "529 overloaded: try again"}


def caught_up(file: File) -> File:
    assert Texts(file.store).catch_up(lambda: True)
    assert upto(file.store).complete
    return file


def found(file: File, words: str) -> list[str]:
    """The ids of the runs with these words."""
    keys = [key for (key,) in file.rows("select rowid from run_texts where run_texts match ? order by rowid", words)]
    return [file.rows("select id from runs where key = ?", key)[0][0] for key in keys]


def failing(file: File, attempts: int = 3, **created: Any) -> str:
    run_id = file.run(**created)
    file.append(run_id, ("RUN_STARTED", {"epoch": 0}))
    for attempt in range(1, attempts + 1):
        step = {"step": "a", "attempt": attempt}
        file.append(run_id, ("STEP_STARTED", {**step, "idempotency_key": "k"}))
        file.append(run_id, ("STEP_FAILED", {**step, "error": ERROR, "final": attempt == attempts}))
    return run_id


def test_input_output_errors_key_and_tags_are_found(file: File) -> None:
    run_id = failing(file, input={"ticket": {"title": "Grüße aus Köln", "n": 4711}}, key="ticket T-9", tags=["env=dev"])
    file.append(run_id, ("RUN_COMPLETED", {"output": ["done", {"said": "farewell"}]}))
    other = file.run(input={"ticket": "nothing of it"})
    caught_up(file)
    for words in ("gruße", '"aus koln"', "4711", '"T-9"', '"env=dev"', "529 AND overloaded", "done", "farewell"):
        assert found(file, words) == [run_id], words
    assert found(file, "ticket") == [run_id]  # of its key: the names of fields are not texts
    assert found(file, "nothing") == [other]


def test_what_is_said_again_is_kept_once(file: File) -> None:
    run_id = failing(file, attempts=5)
    caught_up(file)
    ((text,),) = file.rows("select text from run_texts where rowid = ?", file.key(run_id))
    assert text.count("529 overloaded") == 1


def test_a_text_within_another_is_kept_all_the_same(file: File) -> None:
    run_id = file.run(input={"n": "10 more"})
    file.append(run_id, ("RUN_STARTED", {"epoch": 0}), ("RUN_COMPLETED", {"output": 1}))
    caught_up(file)
    assert found(file, "1") == [run_id]


def test_it_goes_on_where_it_was(file: File) -> None:
    first = failing(file, attempts=1)
    caught_up(file)
    second = failing(file, attempts=1)
    file.append(first, ("RUN_FAILED", {"error": {**ERROR, "message": "gave up"}}))
    assert not upto(file.store).complete
    assert found(file, "overloaded") == [first]
    caught_up(file)
    assert found(file, "overloaded") == [first, second]
    assert found(file, "gave") == [first]


def test_it_takes_in_a_bit_at_a_time(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_BATCH_EVENTS", 3)
    runs = [failing(file, attempts=2) for _ in range(4)]
    steps = [upto(file.store).event]
    while not Texts(file.store).catch_up(lambda: False):
        steps.append(upto(file.store).event)
    assert steps == sorted(steps)
    assert len(steps) > 4
    assert all(after - before <= 3 for before, after in itertools.pairwise(steps))
    assert found(file, "overloaded") == runs


def test_what_is_read_and_written_at_a_time_stays_small_where_inputs_are_large(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_FORCED_PAGES", 100)
    large = 24 * 1024
    for number in range(200):
        file.run(input={"text": f"{number} " + "word " * (large // 5)})
    tracemalloc.start()
    try:
        caught_up(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found(file, "199")) == 1
    assert peak < 60 * large
    wal_pages = file.path.with_name(file.path.name + "-wal").stat().st_size // sqlite.PAGE_BYTES
    assert wal_pages < 1.2 * sqlite.WAL_RELIEF_PAGES


def test_two_that_take_in_the_same_do_it_once(file: File) -> None:
    run_id = failing(file)
    other = Sqlite(file.path, durability="process")
    try:
        mine, theirs = Texts(file.store), Texts(other)
        assert theirs.catch_up(lambda: True)
        before = file.rows("select text from run_texts")
        assert mine.catch_up(lambda: True)
        assert file.rows("select text from run_texts") == before
        assert found(file, "overloaded") == [run_id]
    finally:
        other.close()


def test_who_was_overtaken_sets_nothing_back(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_BATCH_EVENTS", 3)
    runs = [failing(file) for _ in range(3)]
    other = Sqlite(file.path, durability="process")

    class Overtaken(Texts):
        """Somebody else takes in everything between its look and its write."""

        def _pieces(self, *event: Any) -> Iterator[str]:
            Texts(other).catch_up(lambda: True)
            return super()._pieces(*event)

    try:
        Overtaken(file.store).catch_up(lambda: False)
        assert upto(file.store).complete
        assert found(file, "overloaded") == runs
    finally:
        other.close()


def test_a_long_text_is_known_by_its_beginning(file: File) -> None:
    words = " ".join(f"word{n}" for n in range(20_000))
    text, blob = spill(f'"{words}"')
    assert blob is not None
    file.store.many("insert_blob", [blob])
    run_id = file.run()
    file.journal.commit(run_id, lambda _: [_stored("RUN_STARTED", '{"v":1,"epoch":0}', {"epoch": 0})])
    file.journal.commit(run_id, lambda _: [_stored("RUN_COMPLETED", f'{{"v":1,"output":{text}}}', {"output": words})])
    caught_up(file)
    assert found(file, "word17") == [run_id]
    assert found(file, "word19999") == []
    assert len(file.rows("select text from run_texts")[0][0]) <= MOST_TEXT


def _stored(type: str, text: str, plain: dict[str, Any]) -> Draft:
    return Draft(type, AT, {"v": 1, **plain}, text)


def test_an_output_that_repeats_an_earlier_value_is_found(file: File) -> None:
    run_id = file.run()
    said = [f"paragraph {n} of the report" for n in range(200)]
    step = {"step": "a", "attempt": 1}
    file.append(run_id, ("RUN_STARTED", {"epoch": 0}), ("STEP_STARTED", {**step, "idempotency_key": "k"}))
    state = file.append(run_id, ("STEP_COMPLETED", {**step, "output": said}))
    recorder = Recorder()
    recorder.know((state.seq, "output"), said)
    repeat = recorder.difference([*said, "and an end"])
    assert repeat is not None
    assert "paragraph 3" not in repeat.text
    output = f'{{"v":1,"output":{repeat.text}}}'
    file.journal.commit(run_id, lambda _: [_stored("RUN_COMPLETED", output, {"output": repeat.whole})])
    caught_up(file)
    assert found(file, '"paragraph 3"') == [run_id]
    assert found(file, '"an end"') == [run_id]


def test_a_blob_that_is_gone_holds_nothing_up(file: File) -> None:
    broken, whole = file.run(), failing(file)
    missing = '{"v":1,"output":{"$ref":{"blob":"00ff","bytes":99999}}}'
    file.append(broken, ("RUN_STARTED", {"epoch": 0}))
    file.journal.commit(broken, lambda _: [_stored("RUN_COMPLETED", missing, {"output": None})])
    caught_up(file)
    assert found(file, "overloaded") == [whole]


def test_retention_takes_the_text_with_the_run(file: File) -> None:
    kept, gone = failing(file), file.some_run()
    caught_up(file)
    assert found(file, "result OR 3") == [gone]
    file.strike(file.key(gone))
    assert file.rows("select count(*) from run_texts") == [(1,)]
    assert found(file, "overloaded") == [kept]


def test_what_is_struck_at_the_end_is_not_waited_for(file: File) -> None:
    kept = failing(file)
    caught_up(file)
    file.strike(file.key(file.some_run()))
    caught_up(file)
    assert found(file, "overloaded") == [kept]
    assert upto(file.store).complete


def test_a_run_that_is_struck_before_its_turn_has_no_text(file: File) -> None:
    gone = file.some_run()
    texts_of = Texts(file.store)
    rows = file.store.all("types_behind", (0, 100))
    assert rows
    file.strike(file.key(gone))
    file.store.many("put_text", [(1, "left over", 1)])
    assert texts_of.catch_up(lambda: True)
    assert file.rows("select count(*) from run_texts") == [(0,)]


def test_a_rebuild_drops_it_and_it_is_made_again(file: File) -> None:
    run_id = failing(file)
    caught_up(file)
    doctor.rebuild(file.store)
    assert found(file, "overloaded") == []
    assert upto(file.store).event == 0
    caught_up(file)
    assert found(file, "overloaded") == [run_id]


def test_a_file_that_cannot_be_written_can_still_be_searched(file: File) -> None:
    first = failing(file)
    caught_up(file)
    failing(file)
    other = Sqlite(file.path, durability="process")
    try:
        with other.write():
            assert not Texts(file.store).catch_up(lambda: True)
        assert found(file, "overloaded") == [first]
        assert not upto(file.store).complete
    finally:
        other.close()
    caught_up(file)


def test_doctor_finds_nothing_wrong_with_it(file: File) -> None:
    failing(file)
    file.some_run()
    caught_up(file)
    assert file.rows("select count(*) from run_texts") == [(2,)]
    told = doctor.examine(file.store, AT, supervised=False)
    assert [one for one in told if one.severity in ("warning", "error")] == []


def test_damage_is_no_reason_to_be_silent(file: File) -> None:
    failing(file)
    file.store.execute("drop table run_texts_upto")
    with pytest.raises(StorageError):
        Texts(file.store).catch_up(lambda: True)


def test_how_far_it_is_says_when_that_was(file: File) -> None:
    assert upto(file.store) == (0, 0, 0)
    failing(file)
    last = file.store.head().last_id
    assert upto(file.store) == (0, last, 0)
    caught_up(file)
    assert upto(file.store) == (last, last, AT)


def test_texts_of_data_are_its_values_up_to_a_bound() -> None:
    assert list(strings({"a": ["x", 1, 2.5, True, None, {"b": "y"}], "c": ""})) == ["x", "1", "2.5", "y"]
    assert sum(len(piece) + 1 for piece in strings(["z" * 1000] * 1000)) <= MOST_TEXT + 1


@pytest.mark.slow
def test_a_quiet_file_is_read_in_the_background_once_words_were_looked_for(file: File) -> None:
    first = failing(file)
    beside = Checkpointer(file.store)
    beside.start()
    try:
        assert not Texts(file.store).wanted
        caught_up(file)
        second = failing(file)
        deadline = time.monotonic() + 20
        while not upto(file.store).complete:
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
        assert found(file, "overloaded") == [first, second]
        assert beside.error is None
    finally:
        beside.stop()


def test_a_file_in_which_nobody_looks_has_no_index(file: File) -> None:
    failing(file)
    beside = Checkpointer(file.store)
    for idle in range(20):
        beside._look(idle)
    beside.stop()
    assert upto(file.store).event == 0
    assert file.rows("select count(*) from run_texts") == [(0,)]
