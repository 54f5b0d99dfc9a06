"""What was committed to a file, in the order in which it was: events behind a cursor, and how fast they come.

The id of an event is a cursor of the whole file. Of one run alone, as it stands, a handle tells.
"""

from __future__ import annotations

from typing import Any

from vbl.access import Access
from vbl.history.facts import Event, EventType
from vbl.store.payloads import Resolver

_LATELY = 5_000
"""So many events tell how fast things go."""
_MARGIN = 1_000
"""So many events are read in front of an instant, lest one be missed that was committed out of its turn."""


class Tail:
    """The events of one file."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._store = access.store

    def cursor(self, at: int | None = None) -> int:
        """The id of the last event of the file; with an instant, that of an event from which on all that was recorded
        since then follows, and little before it."""
        last = self._store.head().last_id
        if at is None:
            return last
        low, high = 0, last  # the clocks of several processes agree, but not to the microsecond: hence the margin
        while low < high:
            middle = (low + high) // 2
            row = self._store.one("event_behind", (middle,))
            low, high = (middle + 1, high) if row is not None and row[1] < at else (low, middle)
        return max(low - _MARGIN, 0)

    def pace(self, seconds: float = 10.0) -> float:
        """Steps that were completed per second, of late; over less than `seconds` where very much happens."""
        now, last = self._access.clock.now(), self.cursor()
        since_at, low = now - round(seconds * 1e6), max(last - _LATELY, 0)
        row = self._store.one("event_behind", (low,)) if low else None
        first_at = since_at if row is None else max(since_at, row[1])
        ((completed,),) = self._store.all("steps_completed", (low, first_at))
        return completed * 1e6 / max(now - first_at, 1)

    def events(self, after: int = 0, run_id: str | None = None, limit: int = 1_000) -> list[Event]:
        """Events behind a cursor, in the order in which they were committed; of one run where it is named."""
        with self._store.read():  # retention may strike a run between its rows and its history
            if run_id is not None:
                rows = self._store.all("tail_of", (self._access.journal.key_of(run_id), after, limit))
            else:
                rows = self._store.all("tail", (after, limit))
            return self._events(rows)

    def _events(self, rows: list[tuple[Any, ...]]) -> list[Event]:
        """Rows as events. What an event refers to is in its run's history, which is read once for all of a page."""
        from vbl.history.events import payload_model

        last: dict[int, int] = {key: seq for _, _, seq, _, _, text, key in rows if '"$ref"' in text}
        known = {key: self._access.journal.load(key, seq)[1] for key, seq in last.items()}
        events: list[Event] = []
        for id, run_id, seq, type, at, text, key in rows:
            refers = '"$ref"' in text
            plain = (
                known[key][int(seq) - 1].payload if refers else Resolver(self._access.journal.blob).resolve(seq, text)
            )
            events.append(Event(id, run_id, seq, EventType(type), at, payload_model(type, plain)))
        return events
