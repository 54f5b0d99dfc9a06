"""A vbl file with a journal, and a few runs to write in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vbl import ids
from vbl.clock import SYSTEM
from vbl.history.events import RunCreated
from vbl.history.state import RunState
from vbl.store.journal import Draft, Journal, draft
from vbl.store.payloads import dumps
from vbl.store.sqlite import Sqlite

AT = 1_760_000_000_000_000


class File:
    """An open file: its store, its journal, and short ways to write runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Sqlite(path, durability="process")
        self.journal = Journal(self.store)

    def run(self, **created: Any) -> str:
        """Begin a run; returns its id."""
        run_id = ids.run_id(SYSTEM)
        self.journal.create([draft(AT, RunCreated(run_id=run_id, workflow="w", version="v", **created))])
        return run_id

    def append(self, run_id: str, *events: tuple[str, dict[str, Any]]) -> RunState:
        def decide(state: RunState) -> list[Draft]:
            return [Draft(type, AT, {"v": 1, **p}, dumps({"v": 1, **p})) for type, p in events]

        return self.journal.commit(run_id, decide)

    def some_run(self, steps: int = 3) -> str:
        """A completed run."""
        run_id = self.run(input={"n": 1}, tags=["env=test", "blue"])
        self.append(run_id, ("RUN_STARTED", {"epoch": 0, "commands": 1}))
        for n in range(1, steps + 1):
            name = {"step": f"s#{n}", "attempt": 1}
            self.append(run_id, ("STEP_STARTED", {**name, "input": {"x": n}, "idempotency_key": f"{run_id}:s#{n}"}))
            done = {**name, "output": {"text": f"result {n} " * 20}, "usage": {"usd": 0.1}}
            state = self.append(run_id, ("STEP_COMPLETED", done))
            mark = {"checkpoint": n, "applied": state.seq, "commands": 1, "delta": {"n": n, "seen": list(range(n))}}
            self.append(run_id, ("CHECKPOINT_WRITTEN", {**mark, "digest": "d"}))
        self.append(run_id, ("RUN_COMPLETED", {"output": steps}))
        return run_id

    def strike(self, key: int) -> None:
        """Delete a whole finished run, as retention may."""
        with self.store.write():
            self.store.execute("insert into struck (run) values (?)", (key,))
            self.store.execute("delete from runs where key = ?", (key,))
            for table in ("events", "run_tags", "checkpoints", "struck"):
                self.store.execute(f"delete from {table} where run = ?", (key,))

    def key(self, run_id: str) -> int:
        return self.journal.key_of(run_id)

    def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        return self.store.select(sql, args)[1]

    def close(self) -> None:
        self.store.close()


@pytest.fixture
def open_file(tmp_path: Path) -> Iterator[Callable[..., File]]:
    opened: list[File] = []

    def open_one(name: str = "file.db") -> File:
        opened.append(File(tmp_path / name))
        return opened[-1]

    yield open_one
    for file in opened:
        file.close()


@pytest.fixture
def file(open_file: Callable[..., File]) -> File:
    return open_file()
