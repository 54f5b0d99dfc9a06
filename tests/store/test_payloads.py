"""What is written as a difference, a reference or a blob comes back as it was, and costs what is new in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.conftest import AT, File
from vbl.errors import StorageError
from vbl.store.codec import Codec, Recorded
from vbl.store.journal import History
from vbl.store.payloads import (
    INLINE_BYTES,
    Recorder,
    Resolver,
    Shape,
    dumps,
    equal_lists,
    same,
    shape_of,
    spill,
    unpack,
)
from vbl.store.protocol import Row

ANY = Codec(Any, "the test")


class Written:
    """A history in memory, written as the engine writes one: outputs, inputs and fields of the state."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.history = History(1, Resolver(self.blobs.__getitem__))
        self.history.propose(
            "RUN_CREATED",
            AT,
            {"run_id": "r", "workflow": "w", "version": "v"},
            dumps({"run_id": "r", "workflow": "w", "version": "v"}),
        )
        self.history.propose("RUN_STARTED", AT, {"epoch": 1}, '{"epoch":1}')
        self.values: list[tuple[int, str, Any]] = []
        self.codecs: dict[str, Codec] = {}

    def write(self, where: str, value: Any) -> None:
        """`where` is output, input or delta; the value is recorded there and remembered."""
        codec = self.codecs.setdefault(where, Codec(Any, "the test"))
        recorded = codec.record(value, self.history.recorder)
        assert same(recorded.value, value), "the workflow sees something else than it was given"
        if recorded.blob is not None:
            self.blobs[recorded.blob[0]] = recorded.blob[2]
        seq = {"output": self._output, "input": self._input, "delta": self._delta}[where](recorded)
        path = (seq, "output") if where == "output" else (seq, where, "x")
        self.history.recorder.know(path, recorded.plain, recorded.shape)
        self.values.append((seq, where, value))

    def _start(self, body: str) -> int:
        step = f"s#{len(self.values)}"
        head = f'{{"v":1,"step":"{step}","attempt":1,"idempotency_key":"k"'
        payload = {"v": 1, "step": step, "attempt": 1, "idempotency_key": "k"}
        return self.history.propose("STEP_STARTED", AT, payload, head + body + "}").seq

    def _input(self, recorded: Recorded) -> int:
        return self._start(f',"input":{{"x":{recorded.text}}}')

    def _output(self, recorded: Recorded) -> int:
        self._start("")
        step = f"s#{len(self.values)}"
        payload = {"v": 1, "step": step, "attempt": 1, "output": recorded.plain}
        text = f'{{"v":1,"step":"{step}","attempt":1,"output":{recorded.text}}}'
        return self.history.propose("STEP_COMPLETED", AT, payload, text).seq

    def _delta(self, recorded: Recorded) -> int:
        number = self.history.state.checkpoint + 1
        body, blob = spill(f'{{"x":{recorded.text}}}')
        if blob is not None:
            self.blobs[blob[0]] = blob[2]
        payload = {"v": 1, "checkpoint": number, "applied": 2, "delta": {"x": recorded.plain}, "digest": "d"}
        text = f'{{"v":1,"checkpoint":{number},"applied":2,"delta":{body},"digest":"d"}}'
        return self.history.propose("CHECKPOINT_WRITTEN", AT, payload, text).seq

    @property
    def size(self) -> int:
        return sum(len(row[3]) for row in self.history.rows) + sum(map(len, self.blobs.values()))

    def read(self) -> list[Any]:
        """Read all of it again, as another process would."""
        again = History(1, Resolver(self.blobs.__getitem__))
        payloads = {row[0]: again.take(Row(*row, 0)).payload for row in self.history.rows}
        return [
            payloads[seq]["output"] if where == "output" else payloads[seq][where]["x"] for seq, where, _ in self.values
        ]

    def check(self) -> None:
        for read, (_, where, value) in zip(self.read(), self.values, strict=True):
            assert same(read, value), f"{where} came back as {dumps(read)[:200]} instead of {dumps(value)[:200]}"


# Any values, each made from one before -----------------------------------------------------------------------------

ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30)
)
ELEMENTS = (
    ATOMS
    | st.text("ab", min_size=100, max_size=900)
    | st.dictionaries(st.sampled_from(["role", "content", "$ref", "of"]), ATOMS, max_size=3)
    | st.lists(ATOMS, max_size=3)
)


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Values written one after the other, each new or changed from one before: appended to, cut, edited inside."""
    story: list[tuple[str, Any]] = []
    for _ in range(draw(st.integers(1, 8))):
        where = draw(st.sampled_from(["output", "input", "delta"]))
        if not story or draw(st.booleans()):
            value = draw(st.lists(ELEMENTS, max_size=12)) if draw(st.booleans()) else "x" * draw(st.integers(0, 5_000))
            if draw(st.booleans()) and isinstance(value, list):
                value = value * draw(st.integers(1, 8))
            if draw(st.integers(0, 3)) == 0:
                value = {"text": value, "again": draw(ATOMS)}
        else:
            value = changed(draw, draw(st.sampled_from(story))[1])
        story.append((where, value))
    return story


def changed(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict):
        return {**value, "text": changed(draw, value.get("text", ""))} if draw(st.booleans()) else dict(value)
    if not isinstance(value, (list, str)):
        return value
    at, cut = draw(st.integers(0, len(value))), draw(st.integers(0, 3))
    new: Any = draw(st.lists(ELEMENTS, max_size=3)) if isinstance(value, list) else draw(st.text(max_size=20))
    return value[:at] + new + value[at + cut :]


@settings(max_examples=200)
@given(stories())
def test_whatever_is_written_after_whatever_comes_back(story: list[tuple[str, Any]]) -> None:
    written = Written()
    for where, value in story:
        written.write(where, value)
    written.check()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1] * 2_000, [True] * 2_000),
        ([1] * 2_000, [1.0] * 2_000),
        ([0] * 2_000, [False] * 2_000),
        ([[1]] * 1_000, [[True]] * 1_000),
        ([{"n": 1}] * 500, [{"n": 1.0}] * 500),
        ([{"n": {"m": 1}}] * 500, [{"n": {"m": True}}] * 500),
        ([1] * 2_000, [1] * 1_000 + [1.0] * 1_000),
        (["a"] * 2_000, ["a"] * 1_999 + [{"a": 1}]),
        ([{"n": 1}] * 500, [{"n": 1, "m": 2}] * 500),
        ([{"a": 1, "b": 2}] * 500, [{"b": 2, "a": 1}] * 500),
        ("é" * 3_000, "é" * 2_999 + "e"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_equal_but_not_the_same_is_not_taken_for_a_repetition(before: Any, after: Any) -> None:
    written = Written()
    for value in (before, after, before):
        written.write("output", value)
    written.check()


def test_a_list_that_shrinks_and_repeats_itself_comes_back() -> None:
    lines = [f"line {n} of some length" for n in range(300)]
    written = Written()
    for value in (lines, lines[:200], lines[100:], lines[::-1], lines + lines, [], lines[:1], lines * 3):
        written.write("delta", value)
    written.check()


@given(st.lists(ELEMENTS, max_size=6), st.lists(ELEMENTS, max_size=6))
def test_lists_are_compared_by_type_as_well(a: list[Any], b: list[Any]) -> None:
    assert equal_lists(a, b, shape_of(a)) == same(a, b)
    assert equal_lists(a, list(a), shape_of(a))


def test_the_shape_of_a_list_tells_what_may_be_confused() -> None:
    assert shape_of(["a", "b"]) == Shape(numbers=False, depth=0)
    assert shape_of(["a", 1]) == Shape(numbers=True, depth=0)
    assert shape_of([{"a": "b"}]) == Shape(numbers=False, depth=1)
    assert shape_of([{"a": None}]).depth == 1
    assert shape_of([{"a": []}]).depth == 2
    assert shape_of([[]]).depth == 2


# What it costs ----------------------------------------------------------------------------------------------------


def test_a_conversation_costs_what_is_said_in_it() -> None:
    """It goes into each step, comes back from each and stands in the state: three times what grows, stored once."""
    written, messages, said = Written(), [], 0
    for n in range(300):
        message = {"role": "user", "content": f"{n}: " + "and so on " * 100}
        said += len(dumps(message))
        messages = [*messages, message]
        written.write("input", messages)
        written.write("output", messages)
        written.write("delta", messages)
    assert written.size <= 3 * said
    assert said > 300_000
    written.check()


def test_a_text_that_grows_costs_its_growth() -> None:
    written, text = Written(), ""
    for n in range(200):
        text += f"paragraph {n} " + "of words " * 60
        written.write("output", text)
    assert written.size <= 3 * len(text)
    written.check()


def test_an_edit_in_the_middle_costs_the_edit() -> None:
    lines = [f"line {n} of the text" for n in range(2_000)]
    written = Written()
    written.write("output", lines)
    before = written.size
    for n in range(0, 2_000, 400):
        lines = [*lines[:n], "something else", *lines[n + 1 :]]
        written.write("delta", lines)
    assert written.size - before < 5_000
    written.check()


# Blobs ------------------------------------------------------------------------------------------------------------


def test_long_text_leaves_the_row_and_is_stored_once(file: File) -> None:
    text = "The same words. " * 4_000
    for _ in range(3):
        recorded = ANY.record({"text": text}, Recorder())
        assert recorded.blob is not None
        assert len(recorded.text) < 200
        file.store.many("insert_blob", [recorded.blob])
    assert file.rows("select count(*), max(bytes) from blobs") == [(1, len(dumps({"text": text})))]
    assert file.rows("select length(data) from blobs")[0][0] < len(text) / 20, "compressed"


def test_short_text_stays_in_the_row() -> None:
    for length, outside in ((INLINE_BYTES - 2, False), (INLINE_BYTES - 1, True)):
        assert (ANY.record("x" * length, Recorder()).blob is not None) is outside


def test_a_blob_that_was_changed_or_is_gone_is_noticed(file: File) -> None:
    recorded = ANY.record("y" * 50_000, Recorder())
    assert recorded.blob is not None
    digest, _, data = recorded.blob
    assert unpack(data, digest) == dumps("y" * 50_000).encode()
    for wrong in (data[:-1], b"", b"nonsense", ANY.record("z" * 50_000, Recorder()).blob[2]):  # pyright: ignore[reportOptionalSubscript]
        with pytest.raises(StorageError) as refused:
            unpack(wrong, digest)
        assert refused.value.code == "corrupt"
    with pytest.raises(StorageError, match="missing"):
        file.journal.blob(digest)


@pytest.mark.parametrize(
    "text", ['{"output":{"$ref":{"of":[9,"output"],"keep":[0,0],"put":""}}}', '{"output":{"$ref":7}}', "{"]
)
def test_a_payload_that_cannot_be_read_says_so_in_words(text: str, open_file: Callable[..., File]) -> None:
    """A damaged or a hostile file: an error of ours, naming the event, and never a crash."""
    with pytest.raises(StorageError, match="event 7"):
        Resolver({}.__getitem__).resolve(7, text)
