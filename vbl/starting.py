"""Starting runs: the part of the client that makes them. Durable when a call returns; a supervisor moves them.

What may be given to a run, and how it is recorded, is in `given`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, cast

from vbl import ids
from vbl.access import Access
from vbl.clock import microseconds
from vbl.errors import KeyTaken
from vbl.given import Startable, checked_priority, checked_text, input_of, tag_list, workflow_name
from vbl.handle import Run
from vbl.history.state import Summary
from vbl.store.journal import Draft, birth
from vbl.store.payloads import Blob, Json, same


class Starter:
    """Starts runs in one file, for its client."""

    def __init__(self, access: Access, actor: str) -> None:
        self._access = access
        self._actor = actor

    def start(
        self,
        workflow: Startable | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        key: str | None,
        tags: Iterable[str] | dict[str, str] | None,
        deadline: float | datetime.timedelta | None,
        priority: int,
    ) -> Run:
        """Create a run, or find the one that has its key: see Client.start."""
        workflow_name(workflow)
        text, plain, blobs = input_of(workflow, args, kwargs)
        item = self.created(workflow, text, plain, key, tags, deadline, priority)
        try:
            created = self._access.journal.create([item], blobs=blobs, check=lambda: self._check_key(item))
        except _Exists as existing:
            return self._existing(existing.key, item, workflow)
        self._access.nudge()
        return self._new(*created[0])

    def start_many(
        self, workflow: Startable | str, inputs: Iterable[Any], tags: Iterable[str] | dict[str, str] | None
    ) -> list[Run]:
        """Create a run for each input, all in one transaction: see Client.start_many."""
        workflow_name(workflow)
        items: list[Draft] = []
        blobs: list[Blob] = []
        for given in inputs:
            args, kwargs = _spread(workflow, given)
            text, plain, more = input_of(workflow, args, kwargs)
            items.append(self.created(workflow, text, plain, None, tags, None, 0))
            blobs += more
        created = self._access.journal.create(items, blobs=blobs) if items else []
        self._access.nudge()
        return [self._new(key, summary) for key, summary in created]

    def _new(self, key: int, s: Summary) -> Run:
        row = (s.id, s.workflow, s.version, s.status, s.start_key, s.parent_id, s.tags, s.created_at, s.updated_at)
        after = (s.finished_at, s.wake_at, s.seq, key, s.started_at, s.queue, s.in_flight, s.usd)
        return Run(self._access, (*row, *after))

    def created(
        self,
        workflow: Startable | str,
        text: str,
        plain: dict[str, Json],
        key: str | None,
        tags: Iterable[str] | dict[str, str] | None,
        deadline: float | datetime.timedelta | None,
        priority: int,
    ) -> Draft:
        """The RUN_CREATED of a run of this workflow, with this recorded input."""
        now = self._access.clock.now()
        named = workflow_name(workflow)
        if not isinstance(workflow, str):
            self._access.workflows[workflow.name] = workflow
        if key is not None:
            checked_text("key", key)
        queue, lane = (None, None) if isinstance(workflow, str) else workflow.place(plain)
        return birth(
            now,
            ids.run_id(self._access.clock),
            named,
            "" if isinstance(workflow, str) else workflow.version,
            text,
            plain,
            key=key,
            tags=tag_list(tags),
            deadline=None if deadline is None else now + microseconds(deadline, "deadline", above_zero=True),
            priority=checked_priority(priority),
            queue=queue,
            lane=lane,
            actor=self._actor,
        )

    def _check_key(self, item: Draft) -> None:
        key = item.payload.get("key")
        if (
            key is not None
            and (row := self._access.store.one("by_start_key", (item.payload["workflow"], key))) is not None
        ):
            raise _Exists(row[0])

    def _existing(self, key: int, item: Draft, workflow: Startable | str) -> Run:
        run = Run(self._access, self._access.summary(key))
        before: dict[str, Json] = run.facts(1)[0].payload.get("input") or {}
        given: dict[str, Json] = item.payload["input"]
        if not same(before, given) and (isinstance(workflow, str) or not workflow.signature.same_input(before, given)):
            raise KeyTaken(
                f"key {item.payload['key']!r} belongs to run {run.id}, which has another input",
                f"Look: vbl show {run.id}. Use another key for another input",
            )
        return run


def _spread(workflow: Startable | str, given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(given, tuple):
        return cast("tuple[Any, ...]", given), {}
    if isinstance(given, dict):
        named = cast("dict[Any, Any]", given)
        if isinstance(workflow, str) or (named and all(name in workflow.signature.codecs for name in named)):
            return (), cast("dict[str, Any]", named)
    return (cast("Any", given),), {}


class _Exists(Exception):
    def __init__(self, key: int) -> None:
        super().__init__(key)
        self.key = key
