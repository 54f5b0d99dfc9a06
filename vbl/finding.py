"""Finding runs by a filter, newest first, page by page: as quick among a million runs as among a thousand.

A page is made from candidates: the runs that one index names for one part of the filter, in the order of the list. The
part with the fewest is taken. What else the filter says is asked of each candidate, and no more than `MOST` are looked
at for a page: where that is not enough to fill it, the page says up to when was looked, and `older` goes on from there.
Reads summaries and the index of texts, never a history. Nothing here is drawn or printed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vbl import ids
from vbl.access import Access
from vbl.errors import UsageError
from vbl.handle import COLUMNS, Run
from vbl.history.filters import Bound, Filter, Words, instant
from vbl.history.glance import FIELDS, LAST, Glimpse, glance
from vbl.history.state import Status
from vbl.notebook import drawn
from vbl.store.payloads import loads

if TYPE_CHECKING:
    from vbl.drawing.throughput import Bucket
    from vbl.store.texts import Upto

_MANY = 500
"""Runs that are read at once, where a list has no pages."""
MOST = 10_000
"""So many candidates are looked at for one page; counts end there too."""
_FEW = 500
"""Where another part of the filter leaves no more than so many, they are tried against the texts one by one."""
_MOST_ENDED = 2_000
"""So many are counted in a slice of time."""
_GLANCE_S = 0.1
"""So long a search brings the index of texts forward by itself."""
_APART_US = 1_000_000
"""So far apart, in microseconds, may the time in an id and that of the run's first event be."""
_OWN = "workflow >= 'vbl.' and workflow < 'vbl/'"

Direction = Literal["older", "newer"]


@dataclass(frozen=True, slots=True)
class Page:
    """Runs that fit, the newest first. `older` and `newer` are the cursors of the pages beside it, None where there is
    none. `looked_to` is set where not all was looked at: nothing else fits among the runs created since that instant.
    `texts` tells, where words were looked for, up to where the file's texts are known."""

    runs: list[Run]
    older: str | None
    newer: str | None
    looked_to: int | None = None
    texts: Upto | None = None


class Runs(list[Run]):
    """Runs, as a list; a notebook shows it as a table."""

    def __init__(self, access: Access, found: Iterable[Run] = ()) -> None:
        super().__init__(found)
        self._access = access

    def _repr_html_(self) -> str:
        notes = Finder(self._access).glances(self)
        return drawn("runs", [run.row(notes.get(run.id, "")) for run in self], self._access.clock.now())


class Count(NamedTuple):
    """So many runs; where `more`, at least so many."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.more else ''}"


class _Source(NamedTuple):
    """Where candidates come from: rows of `table` for which `where` holds with each of `args` in turn, which an index
    serves; and in whose order it does, that of ids or that of keys. Runs get both as they are created."""

    table: str
    key: str
    by: Literal["id", "key"]
    where: str = "true"
    args: tuple[tuple[Any, ...], ...] = ((),)

    @property
    def place(self) -> str:
        """The column that says where in the list a candidate stands."""
        return "id" if self.by == "id" else self.key


class Finder:
    """Finds runs in one file."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._store = access.store

    def find(self, wanted: Filter, *, before: str | None = None, after: str | None = None, limit: int = 50) -> Page:
        """The newest runs that fit; those older than the run `before`, or the next newer than `after`."""
        if limit < 1:
            raise UsageError(f"limit={limit} lists no run", "Give 1 or more")
        if wanted.words:
            self.index(_GLANCE_S)
        with self._store.read():
            now = self._access.clock.now()
            source = self._narrowest(wanted, now)
            if after is not None:
                rows, _ = self._page(wanted, source, now, after, "newer", limit)
                if len(rows) > limit:
                    runs = self._runs(rows[:limit][::-1])
                    return Page(runs, runs[-1].id, runs[0].id, texts=self._texts(wanted))
                before = None
            rows, looked = self._page(wanted, source, now, before, "older", limit)
            runs = self._runs(rows[:limit])
            newer = runs[0].id if runs and before is not None else None
            if len(rows) > limit:
                return Page(runs, runs[-1].id, newer, texts=self._texts(wanted))
            older, looked_to = looked if looked is not None else (None, None)
            return Page(runs, older, newer, looked_to, self._texts(wanted))

    def listed(self, wanted: Filter, before: str | None = None, limit: int | None = None) -> Runs:
        """The newest runs that fit, older than the run `before`, `limit` at most: as many pages as it takes."""
        found = self.runs()
        while limit is None or len(found) < limit:
            page = self.find(wanted, before=before, limit=min(_MANY, _MANY if limit is None else limit - len(found)))
            found += page.runs
            before = page.older
            if before is None:
                break
        return found

    def runs(self, found: Iterable[Run] = ()) -> Runs:
        """These runs, as a list that a notebook can show."""
        return Runs(self._access, found)

    def newer(self, wanted: Filter, than: str, most: int = 99) -> Count:
        """How many runs that fit have come since the run `than`."""
        with self._store.read():
            now = self._access.clock.now()
            rows, left = self._page(wanted, self._narrowest(wanted, now), now, than, "newer", most)
            return Count(min(len(rows), most), len(rows) > most or left is not None)

    def glances(self, runs: Iterable[Run]) -> dict[str, str]:
        """What each run is at, in a few words, by its id; only its last events are read."""
        with self._store.read():
            return {run.id: glance(run.last_status, self._last(run)) for run in runs}

    def _last(self, run: Run) -> list[Glimpse]:
        rows = self._store.all("last_events", (self._access.journal.key_of(run.id), run.seq - LAST))
        return [
            Glimpse(type, {name: value for name, value in zip(FIELDS, loads(fields), strict=True) if value is not None})
            for type, fields in rows
        ]

    def throughput(self, first_at: int, slice_us: int, number: int) -> list[Bucket]:
        """How many runs ended in each of so many slices of time from `first_at` on, in microseconds since 1970 UTC."""
        from vbl.drawing.throughput import Bucket

        buckets: list[Bucket] = []
        with self._store.read():
            for at in range(first_at, first_at + slice_us * number, slice_us):
                ended = dict(self._store.all("ended_between", (at, at + slice_us, _MOST_ENDED)))
                three = [ended.get(status.value, 0) for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)]
                buckets.append(Bucket(at, *three, more=sum(three) >= _MOST_ENDED))
        return buckets

    def counts(self, wanted: Filter) -> dict[Status, Count]:
        """How many runs there are of each status, whatever the filter says of statuses: exact up to MOST."""
        if wanted.words:
            self.index(_GLANCE_S)
        with self._store.read():
            if wanted == Filter(wanted.statuses, own=wanted.own):
                return {status: self._of_status(status, wanted.own) for status in Status}
            now = self._access.clock.now()
            everything = wanted.only()
            source = self._narrowest(everything, now)
            candidates, args = _candidates(source, everything, now, None, "older", MOST)
            where, more = _fitting(everything, now, source)
            rows = self._store.select(
                f"select status, count(*) from ({candidates}) as candidate cross join runs on runs.key = candidate.run"
                f"{where} group by status",
                [*args, *more],
            )[1]
            found = {Status(status): number for status, number in rows}
            open_end = self._last_candidate(everything, source, now, None) is not None
            return {status: Count(found.get(status, 0), open_end) for status in Status}

    def _of_status(self, status: Status, own: bool) -> Count:
        number = self._counted("count_status", status)
        if own:
            return Count(min(number, MOST), number > MOST)
        taken_off = self._counted("count_status_own", status)
        return Count(max(min(number, MOST) - taken_off, 0), number > MOST)

    def _counted(self, query: str, status: Status) -> int:
        row = self._store.one(query, (status.value, MOST + 1))
        assert row is not None
        return row[0]

    def _runs(self, rows: Iterable[tuple[Any, ...]]) -> list[Run]:
        return [Run(self._access, row) for row in rows]

    def index(self, seconds: float) -> Upto:
        """Bring the index of texts forward for so long, or until it holds all; how far it is then."""
        from vbl.store.texts import Texts, upto

        until = time.monotonic() + seconds
        Texts(self._store).catch_up(lambda: time.monotonic() < until)
        return upto(self._store)

    def _texts(self, wanted: Filter) -> Upto | None:
        if not wanted.words:
            return None
        from vbl.store.texts import upto

        return upto(self._store)

    def _page(
        self, wanted: Filter, source: _Source, now: int, cursor: str | None, way: Direction, limit: int
    ) -> tuple[list[tuple[Any, ...]], tuple[str, int] | None]:
        """The rows that fit, one more than the limit where there are, and the last candidate where it is too few and
        there may be more."""
        place = self._place(source, cursor)
        candidates, args = _candidates(source, wanted, now, place, way, MOST)
        where, more = _fitting(wanted, now, source)
        # the outer loop runs over the candidates in their order, which is that of the list
        sql = (
            f"select {COLUMNS} from ({candidates}) as candidate cross join runs on runs.key = candidate.run"
            f"{where} limit ?"
        )
        rows = self._store.select(sql, [*args, *more, limit + 1])[1]
        return rows, None if len(rows) > limit else self._last_candidate(wanted, source, now, place, way)

    def _last_candidate(
        self, wanted: Filter, source: _Source, now: int, place: str | int | None, way: Direction = "older"
    ) -> tuple[str, int] | None:
        """The id and the age of the last candidate that was looked at; None where there were no more."""
        candidates, args = _candidates(source, wanted, now, place, way, 1, MOST - 1)
        rows = self._store.select(
            f"select id, created_at from ({candidates}) as candidate cross join runs on runs.key = candidate.run", args
        )[1]
        return rows[0] if rows else None

    def _place(self, source: _Source, cursor: str | None) -> str | int | None:
        """A cursor in the order of the source. The run that it names may have been struck since."""
        if cursor is None or source.by == "id":
            return cursor
        row = self._store.one("place_of", (cursor, cursor))
        return 0 if row is None else row[0]

    def _narrowest(self, wanted: Filter, now: int) -> _Source:
        """The source with the fewest candidates, as far as a short look can tell."""
        sources = _sources(wanted)
        if len(sources) == 1:
            return sources[0]
        sizes = [self._size(source, wanted, now) for source in sources]
        best = min(range(len(sources)), key=sizes.__getitem__)
        texts = next((n for n, source in enumerate(sources) if source.table == _TEXTS), best)
        return sources[best if sizes[best] <= _FEW else texts]

    def _size(self, source: _Source, wanted: Filter, now: int) -> int:
        candidates, args = _candidates(source, wanted, now, None, "older", MOST)
        return self._store.select(f"select count(*) from ({candidates})", args)[1][0][0]


_TEXTS = "run_texts"
_ALL = _Source("runs", "key", "id")


def _sources(wanted: Filter) -> list[_Source]:
    """Every index that serves a part of the filter; the one for the whole list only where there is no other. What is
    named twice is looked through once, lest a run come twice."""
    if wanted.run is not None:
        return [_ALL]
    found = [_Source("run_tags", "run", "key", "tag = ?", ((tag,),)) for tag in wanted.tags]
    if wanted.words:
        found.append(_Source(_TEXTS, "rowid", "key", f"{_TEXTS} match ?", ((match(wanted.words),),)))
    if wanted.parent is not None:
        found.append(_Source("runs indexed by runs_by_parent", "key", "key", "parent_id = ?", ((wanted.parent,),)))
    if wanted.workflows:
        each = tuple((name,) for name in dict.fromkeys(wanted.workflows))
        found.append(_Source("runs indexed by runs_by_workflow", "key", "id", "workflow = ?", each))
    if wanted.statuses:
        each = tuple((status.value,) for status in dict.fromkeys(wanted.statuses))
        found.append(_Source("runs indexed by runs_by_status", "key", "id", "status = ?", each))
    if wanted.cost:
        found.append(_Source("runs indexed by runs_with_cost", "key", "id", "usd is not null"))
    return found or [_ALL]


def _candidates(
    source: _Source, wanted: Filter, now: int, place: str | int | None, way: Direction, limit: int, offset: int = 0
) -> tuple[str, list[Any]]:
    """The query for candidates (run, place), in the order of the list, and its arguments."""
    limits = [] if place is None else [("<" if way == "older" else ">", place)]
    if source.by == "id":
        limits += _ids(wanted, now)
    bounded = "".join(f" and {source.place} {sign} ?" for sign, _ in limits)
    branch = f"select {source.key} as run, {source.place} as place from {source.table} where {source.where}{bounded}"
    args = [value for given in source.args for value in (*given, *(value for _, value in limits))]
    order = "desc" if way == "older" else "asc"
    sql = f"{' union all '.join([branch] * len(source.args))} order by place {order} limit ? offset ?"
    return sql, [*args, limit, offset]


def _ids(wanted: Filter, now: int) -> list[tuple[str, str]]:
    """What the filter says of ids, which begin with the time at which they were made: just before the run was."""
    limits: list[tuple[str, str]] = []
    if wanted.since is not None:
        limits.append((">=", _lowest(instant(wanted.since, now) - _APART_US)))
    if wanted.until is not None:
        limits.append(("<", _lowest(instant(wanted.until, now) + _APART_US)))
    if wanted.run is not None:
        limits += [(">=", wanted.run), ("<", wanted.run + "~")]
    return limits


def _lowest(at: int) -> str:
    """The lowest id of an instant; of the nearest one that an id can hold."""
    return ids.lowest(min(max(at, 0), ids.LAST_INSTANT))


def _fitting(wanted: Filter, now: int, source: _Source) -> tuple[str, list[Any]]:
    """What is asked of each candidate: the filter as a where clause on runs, but for words that the source holds to."""
    clauses: list[str] = []
    args: list[Any] = []

    def ask(clause: str, *given: Any) -> None:
        clauses.append(clause)
        args.extend(given)

    for column, values in (("status", [s.value for s in wanted.statuses]), ("workflow", wanted.workflows)):
        if values:
            ask(f"{column} in ({', '.join('?' * len(values))})", *values)
    for tag in wanted.tags:
        ask("exists (select 1 from run_tags where tag = ? and run = runs.key)", tag)
    if wanted.parent is not None:
        ask("parent_id = ?", wanted.parent)
    if wanted.run is not None:
        ask("id >= ? and id < ?", wanted.run, wanted.run + "~")
    for bound in wanted.cost:
        ask(f"usd {_sign(bound)} ?", bound.value)
    for bound in wanted.took:
        ask(f"coalesce(finished_at, ?) - created_at {_sign(bound)} ?", now, bound.value)
    if wanted.since is not None:
        ask("created_at >= ?", instant(wanted.since, now))
    if wanted.until is not None:
        ask("created_at < ?", instant(wanted.until, now))
    if not wanted.with_own:
        clauses.append(f"not ({_OWN})")
    if wanted.words and source.table != _TEXTS:
        ask("exists (select 1 from run_texts where run_texts match ? and rowid = runs.key)", match(wanted.words))
    return f" where {' and '.join(clauses)}" if clauses else "", args


def _sign(bound: Bound) -> str:
    assert bound.sign in (">", ">=", "<", "<="), bound  # it stands in SQL
    return bound.sign


def match(words: Iterable[Words]) -> str:
    """The words as a query of FTS5: phrases that must all be there (https://sqlite.org/fts5.html, section 3)."""
    # a NUL would end the query for SQLite; between words it is as good as a blank
    return " AND ".join(
        '"' + one.text.replace("\0", " ").replace('"', '""') + '"' + ("*" if one.begins else "") for one in words
    )
