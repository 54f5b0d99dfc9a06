"""`/metrics`: the file in numbers, in the text format of Prometheus (https://prometheus.io/docs/instrumenting/).

Counts of runs are exact; they are read over a connection of their own, so that no page waits for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vbl.client import Client
from vbl.history.state import Status
from vbl.store import holder
from vbl.web.desk import desk

LATELY_US = 300_000_000
_SLICES = 60
"""Each is counted by an index, up to a bound that no file reaches in so short a time."""
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ENDED = ("completed", "failed", "cancelled")


class Metric(NamedTuple):
    """A name, what it says, its kind (gauge or counter), and a value for each set of labels."""

    name: str
    help: str
    kind: str
    samples: list[tuple[Mapping[str, str], float]]


def text(metrics: Iterable[Metric]) -> str:
    """The metrics as Prometheus reads them."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        lines += [f"{metric.name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def one(name: str, help: str, value: float, kind: str = "gauge") -> Metric:
    """A metric without labels."""
    return Metric(name, help, kind, [({}, value)])


def of_runs(client: Client) -> list[Metric]:
    """How many runs there are in each status, how many ended lately, and what all of them cost."""
    found = dict(client.sql("select status, count(*) from vbl_runs group by status")[1])
    slices = client.throughput(client.now() - LATELY_US, LATELY_US // _SLICES, _SLICES)
    usd = client.sql("select coalesce(sum(usd), 0.0) from vbl_runs where usd is not null")[1][0][0]
    ended = {status: sum(getattr(bucket, status) for bucket in slices) for status in _ENDED}
    return [
        Metric(
            "vbl_runs", "Runs in the file, by status.", "gauge",
            [({"status": status.value}, found.get(status.value, 0)) for status in Status],
        ),
        Metric(
            "vbl_runs_ended_5m", "Runs that ended in the last five minutes.", "gauge",
            [({"status": status}, ended[status]) for status in _ENDED],
        ),
        one("vbl_runs_usd", "What the runs in the file cost, in US dollars, as far as their steps say.", usd),
    ]  # fmt: skip


def of_file(client: Client, cursor: int) -> list[Metric]:
    """The file: its events, its size, and what is not copied into it yet."""
    return [
        one("vbl_events_total", "Events that were ever appended to the file.", cursor, "counter"),
        one("vbl_database_bytes", "Size of the file.", _size(client, "")),
        one("vbl_wal_bytes", "Size of its write-ahead log.", _size(client, "-wal")),
        one("vbl_questions_open", "What waits for a person (1000: or more).", client.waiting_for_people(1_000)),
    ]


def _size(client: Client, suffix: str) -> int:
    try:
        return client.path.with_name(client.path.name + suffix).stat().st_size
    except FileNotFoundError:
        return 0


def of_supervisor(client: Client) -> list[Metric]:
    """Who moves the file."""
    info = client.supervisor()
    silent_s = holder.silent_s(client.path) if info is not None else 0.0
    return [
        one("vbl_supervisor_up", "1 where a supervisor holds the file.", 0 if info is None else 1),
        one("vbl_supervisor_silent_seconds", "Since the holder last gave a sign of life.", silent_s),
        one("vbl_supervisor_epoch", "How often the file was taken by a supervisor.", info.epoch if info else 0),
    ]


def of_queues(client: Client) -> list[Metric]:
    """Who holds places, and who waits."""
    found = client.queues()
    return [
        Metric(
            "vbl_queue_running", "Runs that hold a place of the queue.", "gauge",
            [({"queue": queue.name}, queue.running) for queue in found],
        ),
        Metric(
            "vbl_queue_waiting", "Runs that wait in the queue.", "gauge",
            [({"queue": queue.name}, queue.waiting) for queue in found],
        ),
    ]  # fmt: skip


def metrics(request: Request) -> Response:
    """`GET /metrics`."""
    d = desk(request)
    client, cursor = d.client, d.client.cursor()
    streams = one("vbl_live_streams", "Pages that are open.", d.house.feed.open)
    found = [*of_runs(client), *of_file(client, cursor), *of_supervisor(client), *of_queues(client), streams]
    return Response(text(found), media_type=_TYPE)


routes = [Route("/metrics", metrics)]
