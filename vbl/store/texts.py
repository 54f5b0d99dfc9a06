"""The words in runs: an index of their inputs, outputs and errors that follows the events, and may be behind them.

No step pays for it, and no file in which nobody looks for words. Who does brings it forward a bit; from then on so
does a supervisor that has nothing else to do, in transactions of a few milliseconds. `upto` says how far it is. It can
be dropped at any time: the next one who looks begins it again.
What belongs here is what the index holds; what is asked of it is in `vbl.finding`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

from vbl.errors import StorageError
from vbl.store.journal import Journal
from vbl.store.payloads import Resolver, loads
from vbl.store.sqlite import BRIEFLY_MS, Sqlite

MOST_TEXT = 64 * 1024
"""So many characters of a run are indexed; the first ones."""
_BATCH_EVENTS = 2_000
_BATCH_TEXT = 64 * 1024
"""A transaction takes in so many events, or so many characters, at most."""
_WITH_TEXTS = frozenset(("RUN_CREATED", "RUN_COMPLETED", "RUN_FAILED", "STEP_FAILED"))
_NOT_NOW = frozenset(("read_only", "locked", "disk_full", "io_error"))


class Upto(NamedTuple):
    """How far the texts of the file are known: to which event, of how many; `at` is when that one was written, in
    microseconds since 1970 UTC, 0 where there is none."""

    event: int
    last: int
    at: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.event >= self.last


def upto(store: Sqlite) -> Upto:
    """How far the index is."""
    row = store.one("texts_upto")
    assert row is not None
    known = store.one("event_behind", (row[0] - 1,)) if row[0] else None
    # what retention has struck at the end is missed by nobody
    last = row[0] if store.one("event_behind", (row[0],)) is None else store.head().last_id
    return Upto(row[0], last, known[1] if known is not None else 0)


def forget(store: Sqlite) -> None:
    """Drop the index, inside a transaction; it is made again from the events when it is needed."""
    store.execute("delete from run_texts")
    store.many("set_texts_upto", [(0,)])


class Texts:
    """Brings the index of one file forward."""

    def __init__(self, store: Sqlite) -> None:
        self._store = store
        self._journal = Journal(store)

    @property
    def wanted(self) -> bool:
        """Whether words were ever looked for in this file: only then it is worth its room."""
        row = self._store.one("texts_upto")
        return row is not None and row[0] > 0

    def catch_up(self, go_on: Callable[[], bool]) -> bool:
        """Take in what was written since, batch by batch while `go_on` says so. Whether nothing is left.

        A file that cannot be written just now is left as it is: what is known of it can still be searched.
        """
        try:
            while self._batch():
                if not go_on():
                    return False
        except StorageError as error:
            if error.code not in _NOT_NOW:
                raise
            return False
        return True

    def _batch(self) -> bool:
        """Take in the next events, in one transaction. Whether there are more."""
        row = self._store.one("texts_upto")
        assert row is not None
        events = self._store.all("types_behind", (row[0], _BATCH_EVENTS))
        if not events:
            return False
        found: dict[int, list[str]] = {}
        size, last = 0, row[0]
        for id, run, seq, type in events:
            stored = self._store.one("payload_of", (id,)) if type in _WITH_TEXTS else None
            if stored is not None:  # retention may have struck it meanwhile
                piece = "\n".join(self._pieces(run, seq, type, stored[0]))
                found.setdefault(run, []).append(piece)
                size += len(piece)
            last = id
            if size >= _BATCH_TEXT:
                break
        with self._store.patience(BRIEFLY_MS), self._store.write():
            if self._store.one("texts_upto") == row:  # else somebody else was quicker, and this is taken in already
                self._store.many("put_text", [(run, text, run) for run, text in self._grown(found)])
                self._store.many("set_texts_upto", [(last,)])
        self._store.relieve()
        return last != events[-1][0] or len(events) == _BATCH_EVENTS

    def _grown(self, found: dict[int, list[str]]) -> Iterator[tuple[int, str]]:
        """The texts of runs with what was found, in the order of their keys; those that stay as they were are left out.
        What a run says again and again (the error of each attempt) is kept once."""
        for run in sorted(found):
            row = self._store.one("text_of", (run,))
            before = text = row[0] if row is not None else ""
            for piece in found[run]:
                if len(text) < MOST_TEXT and f"\n{piece}\n" not in f"\n{text}\n":
                    text = f"{text}\n{piece}"[:MOST_TEXT]
            if text != before:
                yield run, text

    def _pieces(self, run: int, seq: int, type: str, text: str) -> Iterator[str]:
        """What of an event can be looked for; at most MOST_TEXT characters."""
        payload = self._payload(run, seq, type, text)
        match type:
            case "RUN_CREATED":
                yield from strings([payload.get("key"), payload.get("tags"), payload.get("input")])
            case "RUN_COMPLETED":
                yield from strings(payload.get("output"))
            case _:
                error: dict[str, Any] = payload.get("error") or {}
                yield from strings([error.get("type"), error.get("message")])

    def _payload(self, run: int, seq: int, type: str, text: str) -> dict[str, Any]:
        """The payload with what it refers to; as it stands, where that cannot be read: doctor tells of it."""
        if '"$ref"' in text:
            try:
                if type == "RUN_CREATED":
                    return Resolver(self._journal.blob).resolve(seq, text)
                facts = self._journal.load(run, seq)[1]
                return facts[-1].payload if facts else {}
            except StorageError as error:
                if error.code != "corrupt":
                    raise
        return loads(text)


def strings(value: Any) -> Iterator[str]:
    """The texts and numbers in plain data, without the names of fields; MOST_TEXT characters of them."""
    left, waiting = MOST_TEXT, [value]
    while waiting and left > 0:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += reversed(list(cast("dict[str, Any]", item).values()))
        elif isinstance(item, list):
            waiting += reversed(cast("list[Any]", item))
        elif isinstance(item, str) or (isinstance(item, (int, float)) and not isinstance(item, bool)):
            piece = str(item)[:left]
            left -= len(piece) + 1
            if piece:
                yield piece
