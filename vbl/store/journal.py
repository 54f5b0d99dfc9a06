"""The one door for facts: everything that is ever known about a run enters through here.

`Journal.commit(run_id, decide)` is for people and programs: it catches up with the run's history, takes the write
lock, catches up with what came since, calls the pure `decide(state)`, appends what it returns and rewrites the
summary, all in one transaction. `Journal.commit_all(histories, …)` is for the engine: the proposals of many runs in
one transaction, fenced by the epoch.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import PydanticSerializationError, from_json, to_json

from vbl.clock import SYSTEM, Clock
from vbl.errors import EpochLost, InvalidInput, NotFound, StorageError
from vbl.history.facts import Fact
from vbl.history.state import APPLY, RunState, Summary, apply, summarise
from vbl.store.payloads import Blob, Recorder, Resolver, dumps, guard
from vbl.store.protocol import Head, Row, Store

if TYPE_CHECKING:
    from vbl.history.events import Payload


class Draft(NamedTuple):
    """An event that is proposed: its type, its time, its payload as plain data and as stored text."""

    type: str
    at: int
    payload: dict[str, Any]
    text: str


def draft(at: int, payload: Payload) -> Draft:
    """The proposal of an event from its model. Fields that hold their default are left out."""
    try:
        plain = {"v": payload.v, **payload.model_dump(mode="json", exclude_defaults=True)}
        text = to_json(plain).decode()
    except PydanticSerializationError as error:
        raise InvalidInput(f"what {payload.TYPE} is to hold cannot be recorded: {error}", "Give plain text") from None
    plain = from_json(text)
    return Draft(payload.TYPE.value, at, plain, _guarded(plain) if '"$ref"' in text else text)


def _guarded(payload: dict[str, Any]) -> str:
    """The text of a payload whose values hold a "$ref" of the user's own, in the fields where ours are looked for."""
    stored = dict(payload)
    if "output" in stored:
        stored["output"] = from_json(guard(dumps(stored["output"]), stored["output"]))
    if isinstance(stored.get("input"), dict):
        named: dict[str, Any] = stored["input"]
        stored["input"] = {name: from_json(guard(dumps(value), value)) for name, value in named.items()}
    return dumps(stored)


_PYTHON = ".".join(map(str, sys.version_info[:3]))


def birth(at: int, run_id: str, workflow: str, version: str, text: str, plain: dict[str, Any], **about: Any) -> Draft:
    """The RUN_CREATED of a run to be: its recorded input as stored text and as plain data, and what else is said
    `about` it; what is empty is left out."""
    payload: dict[str, Any] = {"v": 1, "run_id": run_id, "workflow": workflow, "version": version, "python": _PYTHON}
    payload |= {field: value for field, value in about.items() if value}
    return Draft("RUN_CREATED", at, {**payload, "input": plain}, f'{dumps(payload)[:-1]},"input":{text}}}')


def chained(before: bytes, seq: int, type: str, at: int, text: str) -> bytes:
    """The digest that an event carries: of the one before it and of its own content."""
    return blake2b(before + f"{seq} {type} {at} {text}".encode(), digest_size=16).digest()


_OF_GATES = frozenset(
    {
        "APPROVAL_REQUESTED", "APPROVAL_GRANTED", "APPROVAL_DENIED", "APPROVAL_ESCALATED", "APPROVAL_EXPIRED",
        "APPROVAL_CLOSED", "RUN_RETRIED",
    }
)  # fmt: skip
"""After these events the rows of gates are derived anew: the gate's, or all of the run's."""
_KEPT = 8
"""So many histories does a door keep in memory that `commit` is called on, so that the next event of the same run costs
little; `keep` is another number for one that is called by many runs."""


class History:
    """One run's history in memory: its state, the end of its chain, and the events proposed but not yet stored."""

    __slots__ = (
        "blobs",
        "chain",
        "checkpoints",
        "delta_bytes",
        "due_at",
        "full_bytes",
        "gates",
        "key",
        "recorder",
        "resolver",
        "rows",
        "state",
    )

    def __init__(self, key: int | None, resolver: Resolver) -> None:
        self.key = key
        self.state = RunState()
        self.chain = b""
        self.resolver = resolver
        self.recorder = Recorder()
        self.rows: list[tuple[int, str, int, str, bytes]] = []
        self.blobs: list[Blob] = []
        self.checkpoints: list[tuple[int, int, bytes]] = []
        self.gates: set[str] = set()
        self.full_bytes = 0
        self.delta_bytes = 0
        self.due_at: int | None = None

    def take(self, row: Row) -> Fact:
        """Take in a stored event."""
        payload = self.resolver.resolve(row.seq, row.payload)
        fact = Fact(row.seq, row.type, row.at, payload)
        apply(self.state, fact)
        if row.type == "CHECKPOINT_WRITTEN" and "delta" in payload:
            self._weigh(fact, len(row.payload))
        self.chain = row.chain
        return fact

    def propose(self, type: str, at: int, payload: dict[str, Any], text: str) -> Fact:
        """Apply an event and hold it ready to be stored."""
        state = self.state
        seq = state.seq + 1
        fact = Fact(seq, type, at, payload)
        APPLY[type](state, fact)
        state.seq = seq
        state.at = at
        if type == "CHECKPOINT_WRITTEN":
            if "delta" in payload:
                self._weigh(fact, len(text))
        elif type in _OF_GATES:
            self.gates.update([payload["gate"]] if "gate" in payload else state.gates)
        self.chain = chain = chained(self.chain, seq, type, at, text)
        self.rows.append((seq, type, at, text, chain))
        return fact

    def _weigh(self, fact: Fact, size: int) -> None:
        """Keep the variables in full once the differences since the last time outweigh them."""
        self.delta_bytes += size
        if self.delta_bytes > self.full_bytes:
            full = to_json(self.state.variables)
            self.full_bytes, self.delta_bytes = len(full), 0
            self.checkpoints = [(fact.payload["checkpoint"], fact.seq, zlib.compress(full, 3))]

    def stored(self) -> None:
        """Forget the proposals: they are in the database."""
        self.rows = []
        if self.blobs or self.checkpoints or self.gates:
            self.blobs, self.checkpoints, self.gates = [], [], set()


class Conflict(Exception):
    """Somebody else appended to some of these runs since they were loaded; nothing was stored.

    `keys` are the runs that clash, `changed` all that others appended to, `head` what the transaction saw.
    """

    def __init__(self, keys: set[int], changed: set[int], head: Head) -> None:
        super().__init__(keys)
        self.keys = keys
        self.changed = changed
        self.head = head


class Journal:
    """The door to one database."""

    def __init__(self, store: Store, clock: Clock = SYSTEM) -> None:
        self.store = store
        self.clock = clock
        self.keep = _KEPT
        self._kept: dict[str, History] = {}

    # Reading ------------------------------------------------------------------------------------------------------

    def blob(self, digest: str) -> bytes:
        """The stored form of a blob."""
        row = self.store.one("blob", (digest,))
        if row is None:
            raise StorageError(f"blob {digest[:12]} is missing", "Run: vbl doctor", code="corrupt")
        return row[0]

    def rows(self, key: int, after: int = 0) -> list[Row]:
        """The stored events of a run behind seq `after`."""
        return [Row(*row) for row in self.store.all("events_of", (key, after))]

    def load(self, key: int, until: int | None = None) -> tuple[History, list[Fact]]:
        """A run's history and its facts, up to and with seq `until` where that is given."""
        history = History(key, Resolver(self.blob))
        facts = [history.take(row) for row in self.rows(key) if until is None or row.seq <= until]
        history.checkpoints.clear()
        return history, facts

    def catch_up(self, history: History) -> list[Fact]:
        """Take in the events that others appended. Returns them."""
        assert history.key is not None
        return [history.take(row) for row in self.rows(history.key, history.state.seq)]

    def key_of(self, run_id: str) -> int:
        """The integer key of a run. Raises NotFound."""
        row = self.store.one("key_of", (run_id,))
        if row is None:
            raise NotFound(f"there is no run {run_id}", "List them: vbl ls", code="run_not_found")
        return row[0]

    def due(self, workflow: str, now: int, limit: int) -> tuple[list[int], int | None]:
        """The runs (keys) of a workflow that are due, the highest priority first, then the earliest; and when the next
        one is due, after now, or None where none will be."""
        found: list[int] = []
        moments: list[int] = []
        for (priority,) in self.store.all("priorities", (workflow, workflow)):
            if len(found) < limit:
                rows = self.store.all("due", (workflow, priority, now, limit - len(found)))
                found += [key for (key,) in rows]
            row = self.store.one("next_due", (workflow, priority, now))
            if row is not None and row[0] is not None:
                moments.append(row[0])
        return found, min(moments, default=None)

    # Writing ------------------------------------------------------------------------------------------------------

    def commit(self, run_id: str, decide: Callable[[RunState], Iterable[Draft]]) -> RunState:
        """Append what `decide` makes of the caught-up state, and what that means for the run's parent and children.
        Where it raises, nothing is stored."""
        history = self._kept.pop(run_id, None) or self.load(self.key_of(run_id))[0]
        self.catch_up(history)
        with self.store.write():
            self.catch_up(history)
            written = self._decided(history, decide)
            if written:
                self._store(written)
        for one in written:
            one.stored()
        self._kept[run_id] = history
        if len(self._kept) > self.keep:
            self._kept.pop(next(iter(self._kept)), None)
        self.store.relieve()
        return history.state

    def _decided(
        self, history: History, decide: Callable[[RunState], Iterable[Draft]], *, orphan: bool = False
    ) -> list[History]:
        """Propose a decision, and after it what follows for the kin; the histories that got events. An orphan has no
        parent to tell: that one has ended before it, in the same transaction."""
        finished = history.state.finished
        history.checkpoints.clear()
        said: dict[str, Any] = {}
        for item in decide(history.state):
            said = said or item.payload
            history.propose(*item)
        if not history.rows:
            return []
        from vbl.history.kin import left_behind, told
        from vbl.history.transitions import CLEAN_UP_US, PARENT, cancel, retry

        state, kin = history.state, list[History]()
        if state.finished and not finished:
            if state.parent is not None and not orphan:
                kin += self._also(state.parent, lambda parent: told(parent, state))
            until = self.clock.now() + CLEAN_UP_US
            for child in left_behind(state):
                kin += self._also(
                    child, lambda it: [] if it.finished or it.cancel else cancel(it, PARENT, None, until), orphan=True
                )
        elif history.rows[0][1] == "RUN_RETRIED":
            for key in (said.get("step"), *said.get("also", ())):
                if (child := state.children.get(key or "")) is not None:
                    # one that somebody has retried already is on its way, or has ended anew
                    kin += self._also(
                        child.id,
                        lambda it: retry(it, state.actor, "its parent was retried") if it.error is not None else [],
                    )
        return [history, *kin]

    def _also(self, run_id: str, what: Callable[[RunState], list[Payload]], *, orphan: bool = False) -> list[History]:
        """The same for a parent or a child, in the same transaction."""
        history, _ = self.load(self.key_of(run_id))

        def decide(state: RunState) -> list[Draft]:
            at = max(self.clock.now(), state.at)
            return [draft(at, payload) for payload in what(state)]

        return self._decided(history, decide, orphan=orphan)

    def create(
        self, drafts: Sequence[Draft], *, blobs: Sequence[Blob] = (), check: Callable[[], None] | None = None
    ) -> list[tuple[int, Summary]]:
        """Begin a history for each RUN_CREATED, all in one transaction. `check` may refuse inside it.

        Returns the integer key and the summary of each run.
        """
        histories: list[History] = []
        for item in drafts:
            histories.append(self.unborn(item))
        with self.store.write():
            if check is not None:
                check()
            if blobs:
                self.store.many("insert_blob", blobs)
            created = self._insert_runs(histories)
            self.store.many("append", [(history.key, *row) for history in histories for row in history.rows])
        self.store.relieve()
        return created

    def unborn(self, item: Draft, blobs: Iterable[Blob] = ()) -> History:
        """The history of a run that begins with this RUN_CREATED, not yet stored: one of the `births` of commit_all."""
        history = History(None, Resolver(self.blob))
        history.chain = item.payload["run_id"].encode()
        history.blobs += blobs
        history.propose(*item)
        return history

    def commit_all(
        self, histories: Sequence[History], seen: Head, births: Sequence[History] = ()
    ) -> tuple[Head, set[int]]:
        """Append the proposals of many runs in one transaction. `births` are those of runs that begin with it.

        `seen` is the epoch of the caller and the last event id that it knows. Raises EpochLost if another
        supervisor took the file, and Conflict with the runs that others appended to; then nothing is stored.
        Returns the new head, and the runs (keys) that others appended to.
        """
        store = self.store
        with store.write():
            head = store.head()
            if head.epoch != seen.epoch:
                raise EpochLost.between(seen.epoch, head.epoch)
            changed = self.newer(seen.last_id) if head.last_id != seen.last_id else set[int]()
            clash = {h.key for h in histories if h.key is not None and h.key in changed}
            if clash:
                raise Conflict(clash, changed, head)
            if births:
                self._insert_runs(births)
            appended = self._store([*histories, *births] if births else histories)
        for history in histories:
            history.stored()
        return Head(head.epoch, head.last_id + appended), changed

    def newer(self, last_id: int) -> set[int]:
        """The runs (keys) that have events behind the cursor `last_id`."""
        return {key for key, _ in self.store.all("newer", (last_id,))}

    def _store(self, histories: Sequence[History]) -> int:
        """Write proposals, summaries and what hangs on them; inside a transaction. Returns the number of events."""
        store = self.store
        rows: list[tuple[Any, ...]] = []
        updates: list[tuple[Any, ...]] = []
        for history in histories:
            updates.append(_update(history))
            key = history.key
            for row in history.rows:
                rows.append((key, *row))
            if history.blobs:
                store.many("insert_blob", history.blobs)
            if history.gates:
                store.many("put_gate", [gate_row(history, id) for id in sorted(history.gates)])
            for number, seq, variables in history.checkpoints:
                store.many("insert_checkpoint", [(key, number, seq, variables)])
                store.many("drop_older_checkpoints", [(key, number)])
        store.many("append", rows)
        store.many("update_run", updates)
        return len(rows)

    def _insert_runs(self, histories: Sequence[History]) -> list[tuple[int, Summary]]:
        row = self.store.one("last_run")
        assert row is not None
        created: list[tuple[int, Summary]] = []
        for key, history in enumerate(histories, row[0] + 1):
            history.key = key
            created.append((key, summarise(history.state)))
        self.store.many("insert_run", [(*summary_row(summary), key) for key, summary in created])
        self.store.many("insert_tag", [(tag, history.key) for history in histories for tag in history.state.tags])
        return created


def _update(history: History) -> tuple[Any, ...]:
    s = history.state
    history.due_at = due_at = s.due_at
    return (
        s.version, s.status, s.at, s.finished_at, s.wake_at, due_at, s.in_flight, s.seq, s.started_at, s.queue,
        s.lane, s.usd, history.key,
    )  # fmt: skip


def gate_row(history: History, id: str) -> tuple[Any, ...]:
    """The columns of `gates` in the order of put_gate."""
    gate = history.state.gates[id]
    return (
        gate.id, history.key, gate.asked_seq, gate.name, gate.status, "\n".join(gate.to), gate.requested_at,
        gate.expires_at, gate.decided_at, gate.decided_by,
    )  # fmt: skip


def summary_row(summary: Summary) -> tuple[Any, ...]:
    """The columns of `runs` in the order of insert_run."""
    return (
        summary.id, summary.workflow, summary.version, summary.status, summary.start_key, summary.parent_id,
        summary.tags, summary.priority, summary.created_at, summary.updated_at, summary.finished_at,
        summary.wake_at, summary.due_at, summary.in_flight, summary.seq, summary.started_at, summary.queue,
        summary.lane, summary.usd,
    )  # fmt: skip
