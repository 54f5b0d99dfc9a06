"""Examine a file, and derive anew what is derived: each finding says what is, and what to do.

Reads every history once, in order; holds one run in memory at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from vbl.errors import VblError
from vbl.history.state import RunState, summarise
from vbl.store import texts
from vbl.store.journal import History, Journal, chained, gate_row, summary_row
from vbl.store.location import mount_type
from vbl.store.payloads import Resolver, unpack
from vbl.store.protocol import Row
from vbl.store.sqlite import Reader, Sqlite

Severity = Literal["ok", "info", "warning", "error"]
_MANY_WAL_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of the examination: a stable `code`, how bad it is, what is, what to do, and the run it is about."""

    code: str
    severity: Severity
    message: str
    hint: str = ""
    run: str | None = None


def examine(store: Sqlite, now: int, *, supervised: bool) -> list[Finding]:
    """Check the whole file. The first findings are about the file, then those of runs, then sizes."""
    findings = _integrity(store)
    if any(finding.severity == "error" for finding in findings):
        # nothing that is read from such a file can be relied on, where it can be read at all
        return [*findings, _owner(supervised)]
    findings += _triggers(store)
    histories, problems = 0, list[Finding]()
    for key, rows in _histories(store):
        histories += 1
        problems += _examine_run(store, key, rows, now, supervised)
    problems += _orphans(store) + _tags(store) + _lanes(store) + _blobs(store)
    findings += problems or [
        Finding("histories", "ok", f"{histories} histories: no gap, every chain whole, every summary as its events say")
    ]
    return [*findings, *_sizes(store), _owner(supervised)]


def _integrity(store: Sqlite) -> list[Finding]:
    reader = Reader(store.path)
    try:
        found = reader.integrity()
    finally:
        reader.close()
    if found == ["ok"]:
        return [Finding("integrity", "ok", "SQLite finds the file whole")]
    return [
        Finding(
            "integrity",
            "error",
            f"SQLite reports: {line}",
            "Copy the file away first; then try the .recover command of the sqlite3 shell",
        )
        for line in found
    ]


_TRIGGERS = {"events_in_order", "events_no_update", "events_no_delete", "struck_finished", "struck_whole"}


def _triggers(store: Sqlite) -> list[Finding]:
    there = {name for (name,) in store.select("select name from sqlite_master where type = 'trigger'")[1]}
    return [
        Finding(
            "trigger_missing",
            "error",
            f"trigger {name} is missing: the history is not protected",
            "Restore the file from a backup",
        )
        for name in sorted(_TRIGGERS - there)
    ]


def _histories(store: Sqlite) -> Iterator[tuple[int, list[Row]]]:
    """Every run that has events, with them, in the order of its key."""
    keys = [key for (key,) in store.select("select distinct run from events order by run")[1]]
    for key in keys:
        yield key, [Row(*row) for row in store.all("events_of", (key, 0))]


def _examine_run(store: Sqlite, key: int, rows: list[Row], now: int, supervised: bool) -> list[Finding]:
    summary = store.one("run_row", (key,))
    name = summary[0] if summary is not None else f"number {key}"
    expected = list(range(1, len(rows) + 1))
    if [row.seq for row in rows] != expected:
        return [
            Finding(
                "gap",
                "error",
                f"run {name}: its events are not numbered 1 to {len(rows)}",
                "Restore the file from a backup",
                name,
            )
        ]
    try:
        history = _read(store, key, rows)
    except (VblError, KeyError, ValueError, TypeError) as error:
        return [
            Finding(
                "unreadable",
                "error",
                f"run {name}: its history cannot be read: {error}",
                "Restore the file from a backup",
                name,
            )
        ]
    state = history.state
    return [
        *_chain(name, state.run_id, rows),
        *_summary(name, state, summary, key),
        *_checkpoints(store, name, history, key),
        *_gates(store, name, history, key),
        *_stranded(state, now, supervised),
    ]


def _read(store: Sqlite, key: int, rows: list[Row]) -> History:
    history = History(key, Resolver(Journal(store).blob))
    for row in rows:
        history.take(row)
    return history


def _chain(name: str, run_id: str, rows: list[Row]) -> list[Finding]:
    digest = run_id.encode()
    for row in rows:
        digest = chained(digest, row.seq, row.type, row.at, row.payload)
        if digest != row.chain:
            return [
                Finding(
                    "chain",
                    "error",
                    f"run {name}: event {row.seq} ({row.type}) is not what was written",
                    "Somebody changed the file; restore it from a backup",
                    name,
                )
            ]
    return []


def _summary(name: str, state: RunState, summary: tuple[Any, ...] | None, key: int) -> list[Finding]:
    if summary is None:
        return [
            Finding(
                "summary_missing",
                "error",
                f"run {state.run_id} has events but no summary",
                "vbl doctor --rebuild",
                state.run_id,
            )
        ]
    if tuple(summary) == (*summary_row(summarise(state)), key):
        return []
    return [
        Finding("summary", "error", f"run {name}: its summary is not what its events say", "vbl doctor --rebuild", name)
    ]


def _checkpoints(store: Sqlite, name: str, history: History, key: int) -> list[Finding]:
    rows = store.select("select checkpoint, seq, variables from checkpoints where run = ? order by checkpoint", (key,))[
        1
    ]
    try:
        kept = [(checkpoint, seq, zlib.decompress(variables)) for checkpoint, seq, variables in rows]
    except zlib.error:
        kept = None
    if kept == [(checkpoint, seq, zlib.decompress(variables)) for checkpoint, seq, variables in history.checkpoints]:
        return []
    return [
        Finding(
            "checkpoint",
            "error",
            f"run {name}: its checkpoint is not what its events say",
            "vbl doctor --rebuild",
            name,
        )
    ]


def _tags(store: Sqlite) -> list[Finding]:
    listed = set(store.select("select tag, run from run_tags")[1])
    tagged = store.select("select key, tags from runs where tags <> ''")[1]
    wrong = listed ^ {(tag, key) for key, tags in tagged for tag in tags.split("\n")}
    if not wrong:
        return []
    message = f"{len(wrong)} entries of the index of tags are not what the runs say"
    return [Finding("tags", "error", message, "vbl doctor --rebuild")]


_NEXT_IN_LANES = """
select queue, coalesce(lane, ''), workflow, priority, created_at, key,
    (
        select min(count(*), 1000)
        from runs as other
        where other.queue = runs.queue
            and other.lane is runs.lane
            and started_at is not null
            and finished_at is null
            and status <> 'queued'
    ),
    max(created_at, coalesce((
        select max(started_at) from runs as other where other.queue = runs.queue and other.lane is runs.lane
    ), 0))
from runs
where queue is not null and status = 'queued'
order by queue, lane, workflow, priority desc, created_at, key
"""


def _lanes(store: Sqlite) -> list[Finding]:
    rows = store.select("select queue, lane, workflow, priority, asked_at, head, held, turn_at from lanes")[1]
    first: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in store.select(_NEXT_IN_LANES)[1]:
        first.setdefault(row[:3], row)
    wrong = set(rows) ^ set(first.values())
    if not wrong:
        return []
    return [Finding("lanes", "error", f"{len(wrong)} rows of lanes are not what the runs say", "vbl doctor --rebuild")]


def _gates(store: Sqlite, name: str, history: History, key: int) -> list[Finding]:
    rows = {row[0]: row for row in store.all("gates_of", (key,))}
    if rows == {id: gate_row(history, id) for id in history.state.gates}:
        return []
    return [
        Finding("gates", "error", f"run {name}: its gates are not what its events say", "vbl doctor --rebuild", name)
    ]


def _stranded(state: RunState, now: int, supervised: bool) -> list[Finding]:
    """Invariant: a run that is not finished has an owner, a time to wake, or a named thing that it waits for."""
    if state.finished or state.paused or state.blocked is not None or state.in_flight:
        if state.in_flight and not supervised and not state.finished:
            return [
                Finding(
                    "in_flight",
                    "info",
                    f"run {state.run_id} was in flight when its supervisor ended",
                    "It is resumed by: vbl up FILE…",
                    state.run_id,
                )
            ]
        return []
    if state.open_gates or state.open_waits or state.open_children or state.waits_for_place:
        return []
    due = state.due_at
    if due is None:
        return [
            Finding(
                "stranded",
                "error",
                f"run {state.run_id} ({state.status}) waits for nothing that has a name",
                f"vbl retry {state.run_id}",
                state.run_id,
            )
        ]
    if due < now - 60_000_000 and supervised:
        return [
            Finding(
                "overdue",
                "warning",
                f"run {state.run_id} ({state.status}) has been due for {(now - due) // 1_000_000} s",
                f"vbl why {state.run_id}",
                state.run_id,
            )
        ]
    return []


def _orphans(store: Sqlite) -> list[Finding]:
    rows = store.select("select id from runs where not exists (select 1 from events where run = runs.key)")[1]
    return [
        Finding("orphan", "error", f"run {run_id} has a summary but no events", "vbl doctor --rebuild", run_id)
        for (run_id,) in rows
    ]


def _blobs(store: Sqlite) -> list[Finding]:
    problems: list[Finding] = []
    for digest, data in store.select("select digest, data from blobs")[1]:
        try:
            unpack(data, digest)
        except VblError as error:
            problems.append(Finding("blob", "error", error.message, "Restore the file from a backup"))
    return problems


def _sizes(store: Sqlite) -> list[Finding]:
    file = store.path.stat().st_size
    wal_path = store.path.with_name(store.path.name + "-wal")
    wal = wal_path.stat().st_size if wal_path.exists() else 0
    (events, runs), *_ = store.select("select (select count(*) from events), (select count(*) from runs)")[1]
    free = int(store.select("pragma freelist_count")[1][0][0]) * int(store.select("pragma page_size")[1][0][0])
    counts = ", ".join(
        f"{n} {status}" for status, n in store.select("select status, count(*) from runs group by status")[1]
    )
    found = [
        Finding(
            "size",
            "info",
            f"{_mib(file)} file, {_mib(wal)} write-ahead log, {_mib(free)} free; {events:,} events of {runs:,} runs"
            + (f" ({counts})" if counts else ""),
        )
    ]
    if wal > _MANY_WAL_BYTES:
        found.append(
            Finding(
                "wal",
                "warning",
                f"the write-ahead log has {_mib(wal)}",
                "Somebody holds an old view of the file: close long readers (fuser -v)",
            )
        )
    found.append(Finding("place", "info", f"{store.path} on {mount_type(store.path) or 'an unknown file system'}"))
    return found


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _owner(supervised: bool) -> Finding:
    if supervised:
        return Finding("supervisor", "ok", "a supervisor moves the runs of this file")
    return Finding("supervisor", "info", "no supervisor is alive: runs wait", "Start one: vbl up FILE…")


def rebuild(store: Sqlite) -> None:
    """Derive every summary, tag and checkpoint anew from the events, in one transaction.

    A run whose history cannot be read keeps the summary that it has, so that it is still listed; `examine` names it.
    """
    with store.write():
        texts.forget(store)
        for key, rows in _histories(store):
            try:
                history = _read(store, key, rows)
            except (VblError, KeyError, ValueError, TypeError):
                # named by the examination that follows; nothing must be lost for it
                continue
            _derive(store, key, history)
        store.execute("delete from runs where not exists (select 1 from events where run = runs.key)")
        store.execute("delete from gates where run not in (select key from runs)")
        store.execute("delete from checkpoints where run not in (select key from runs)")
        store.execute("delete from lanes")
        waiting = "from runs where queue is not null and status = 'queued'"
        store.execute(f"insert into changed_lanes select distinct queue, lane, workflow {waiting}")
        store.execute("delete from run_tags")
        for key, tags in store.select("select key, tags from runs where tags <> ''")[1]:
            store.many("insert_tag", [(tag, key) for tag in tags.split("\n")])


def _derive(store: Sqlite, key: int, history: History) -> None:
    summary = summarise(history.state)
    # a wrong row of another run may stand in the way; its own turn comes, or it was never true
    store.execute(
        "delete from runs where key = ? or id = ? or (workflow = ? and start_key = ?)",
        (key, summary.id, summary.workflow, summary.start_key),
    )
    store.many("insert_run", [(*summary_row(summary), key)])
    store.execute("delete from checkpoints where run = ?", (key,))
    store.many("insert_checkpoint", [(key, *row) for row in history.checkpoints])
    store.execute("delete from gates where run = ?", (key,))
    store.many("put_gate", [gate_row(history, id) for id in history.state.gates])
