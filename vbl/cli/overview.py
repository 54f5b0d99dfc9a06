"""The file at a glance, as `vbl top` shows it: what is read, what of it is shown first, and its JSON.

Every question is answered by an index and for a few rows, so a file of a million runs is read as quickly as a small
one. How it looks on a screen is in `cli.top`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vbl.store import holder

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.drawing.throughput import Bucket
    from vbl.finding import Count
    from vbl.handle import Run
    from vbl.history.questions import Question
    from vbl.history.state import Status
    from vbl.store.holder import SupervisorInfo
    from vbl.store.queues import QueueState

GROUPS = ("needs-you", "running", "held-up", "failed")
"""What is shown, by the presets of `vbl.history.filters`; what needs somebody comes first."""
MINUTES = 20
"""The throughput is shown for so many minutes."""
FAILED_SINCE_US = 86_400_000_000
"""A failure is news for a day."""
_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Overview:
    """A file at `at` (microseconds since 1970 UTC). `runs` are the newest of each group, `glances` a few words on each
    by its id, `ended` the runs that ended by the minute, `pace` the steps completed per second; `silent_s` is for how
    many seconds the supervisor has given no sign of life."""

    at: int
    path: Path
    supervisor: SupervisorInfo | None
    silent_s: float
    wal_bytes: int
    pace: float
    ended: list[Bucket]
    counts: dict[Status, Count]
    queues: list[QueueState]
    questions: list[Question]
    runs: dict[str, list[Run]]
    glances: dict[str, str]

    def count(self, group: str) -> Count:
        """How many runs a group has. A run may ask somebody while it is doing something else: what needs somebody is
        at least what is asked."""
        from vbl.finding import Count
        from vbl.history.filters import PRESETS

        found = [self.counts[status] for status in PRESETS[group] if status in self.counts]
        asked = len(self.questions) if group == "needs-you" else 0
        return Count(max(sum(one.number for one in found), asked), any(one.more for one in found))


def look(client: Client, most: int) -> Overview:
    """Read it; `most` runs of each group, and as many questions."""
    now, info = client.now(), client.supervisor()
    runs = {group: client.find(f"is:{group}", limit=most).runs for group in GROUPS}
    runs["failed"] = [run for run in runs["failed"] if now - (run.finished_at or now) <= FAILED_SINCE_US]
    first = now - now % _MINUTE_US - (MINUTES - 1) * _MINUTE_US
    return Overview(
        at=now,
        path=client.path,
        supervisor=info,
        silent_s=holder.silent_s(client.path) if info is not None else 0.0,
        wal_bytes=wal_bytes(client.path),
        pace=client.pace(),
        ended=client.throughput(first, _MINUTE_US, MINUTES),
        counts=client.counts(),
        queues=[queue for queue in client.queues() if queue.running or queue.waiting],
        questions=client.questions(limit=most),
        runs=runs,
        glances=client.glances([run for group in runs.values() for run in group]),
    )


def beside(client: Client, seen: Overview) -> Overview:
    """What was seen, with what stands beside the file as it is now: its supervisor, and its write-ahead log."""
    info = client.supervisor()
    silent_s = holder.silent_s(client.path) if info is not None else 0.0
    return replace(seen, supervisor=info, silent_s=silent_s, wal_bytes=wal_bytes(client.path))


def wal_bytes(path: Path) -> int:
    """The size of the write-ahead log beside the file; 0 where there is none."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def overview_document(seen: Overview) -> dict[str, Any]:
    """It as JSON."""
    from vbl.clock import instant
    from vbl.documents import question_document, queue_document, run_document

    info = seen.supervisor
    return {
        "at": instant(seen.at),
        "path": str(seen.path),
        "supervisor": None
        if info is None
        else {
            "pid": info.pid,
            "host": info.host,
            "program": info.program,
            "since_at": instant(info.since_at),
            "workflows": info.workflows,
            "silent_ms": round(seen.silent_s * 1_000),
        },
        "wal_bytes": seen.wal_bytes,
        "steps_per_second": round(seen.pace, 3),
        "ended_per_minute": [
            {
                "at": instant(bucket.at),
                "completed": bucket.completed,
                "failed": bucket.failed,
                "cancelled": bucket.cancelled,
                "more": bucket.more,
            }
            for bucket in seen.ended
        ],
        "counts": {str(status): {"number": c.number, "more": c.more} for status, c in seen.counts.items()},
        "queues": [queue_document(queue) for queue in seen.queues],
        "questions": [question_document(question) for question in seen.questions],
        "runs": {
            group.replace("-", "_"): [run_document(run) | {"glance": seen.glances.get(run.id, "")} for run in runs]
            for group, runs in seen.runs.items()
        },
    }
