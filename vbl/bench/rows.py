"""What is measured, and the bars: each row asks a measurement, and says its figures beside what they are held against.

A bar that does not hold is a finding, never an error: what a machine does is not what the code is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vbl.bench import starting
from vbl.bench.child import measure

Unit = Literal["ms", "bytes", "a second", "a step", "a turn", "%"]
BARE = "bare apsw"
FEW = "1,000 runs"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: what vbl takes, what it is held against takes, their ratio, the bar, and whether it holds.

    `judged` says what the bar is about: the `ratio` of `value` to `beside`, or the `value` itself.
    """

    what: str
    value: float
    unit: Unit
    beside: float | None = None
    beside_is: str | None = None
    bar: float | None = None
    bar_is: Literal["at most", "at least"] = "at most"
    judged: Literal["ratio", "value"] = "ratio"

    @property
    def ratio(self) -> float | None:
        """`value` as a multiple of `beside`."""
        return self.value / self.beside if self.beside else None

    @property
    def holds(self) -> bool | None:
        """Whether the bar holds; None where there is none."""
        judged = self.ratio if self.judged == "ratio" else self.value
        if self.bar is None or judged is None:
            return None
        return judged <= self.bar if self.bar_is == "at most" else judged >= self.bar

    def document(self) -> dict[str, Any]:
        """The form of `--json`."""
        named = ("what", "value", "unit", "beside", "beside_is", "ratio", "bar", "bar_is", "judged", "holds")
        return {name: getattr(self, name) for name in named}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the report. `full_size` says whether it was measured at the size that the bars speak of."""

    name: str
    title: str
    figures: list[Figure]
    full_size: bool = True

    def document(self) -> dict[str, Any]:
        """The form of `--json`."""
        figures = [figure.document() for figure in self.figures]
        return {"name": self.name, "title": self.title, "full_size": self.full_size, "figures": figures}


@dataclass(frozen=True, slots=True)
class Size:
    """How large to measure. At scale 1 everything is at full size; at 0.1 all but the rows about very many runs."""

    scale: float = 0.1
    rounds: int = 3

    def of(self, full: int, least: int, step: int = 1) -> int:
        """The size of what is measured in full from scale 0.1 on."""
        return max(round(full * min(self.scale * 10, 1) / step) * step, least)

    def of_very_many(self, full: int, least: int) -> int:
        """The size of what is measured in full at scale 1 only."""
        return max(round(full * self.scale), least)


def folder() -> AbstractContextManager[str]:
    """A temporary folder for files that several processes share."""
    return tempfile.TemporaryDirectory(prefix="vbl-bench-")


def ms(seconds: float) -> float:
    """Seconds as milliseconds."""
    return seconds * 1_000


# Runs that move ---------------------------------------------------------------------------------------------------


def many(size: Size) -> Row:
    """Many runs at once."""
    runs = size.of(1_000, 10)
    found = measure("moving.many", runs=runs, steps=10, rounds=size.rounds)
    steps, ours, bare = found["steps"], found["vbl"], found["floor"]
    return Row(
        "many",
        f"{runs:,} runs at once, 10 steps each that do nothing",
        [
            Figure("steps", steps / ours["wall_s"], "a second", steps / bare["wall_s"], BARE, 0.15, "at least"),
            Figure("CPU", ms(ours["cpu_s"]) / steps, "ms", ms(bare["cpu_s"]) / steps, BARE, 6.0),
            *_commits(found, steps, "a step"),
        ],
        runs == 1_000,
    )


def one(size: Size) -> Row:
    """One run."""
    steps = size.of(1_000, 20)
    found = measure("moving.one", steps=steps, rounds=size.rounds)
    ours, bare = found["vbl"], found["floor"]
    return Row(
        "one",
        f"one run, {steps:,} steps that do nothing, one after the other",
        [
            Figure("time", ms(ours["wall_s"]) / steps, "ms", ms(bare["wall_s"]) / steps, BARE, 2.5),
            Figure("CPU", ms(ours["cpu_s"]) / steps, "ms", ms(bare["cpu_s"]) / steps, BARE, 3.5),
            *_commits(found, steps, "a step", bar=1.05),
        ],
        steps == 1_000,
    )


def _commits(found: dict[str, Any], count: int, unit: Unit, bar: float | None = None) -> list[Figure]:
    return [
        Figure("transactions", found["transactions"] / count, unit, bar=bar, judged="value"),
        Figure("fsyncs", found["syncs"] / count, unit, bar=bar, judged="value"),
    ]


def late(size: Size) -> Row:
    """A late step."""
    steps = size.of(10_000, 200)
    found = measure("moving.late", steps=steps, rounds=max(size.rounds - 1, 1))
    early = "an early step"
    return Row(
        "late",
        f"a step late in a run of {steps:,}, against an early one",
        [
            Figure("time", ms(found["late"]["wall_s"]), "ms", ms(found["early"]["wall_s"]), early, 1.2),
            Figure("CPU", ms(found["late"]["cpu_s"]), "ms", ms(found["early"]["cpu_s"]), early, 1.2),
            Figure("CPU, mean", ms(found["late_mean"]["cpu_s"]), "ms", ms(found["early_mean"]["cpu_s"]), early),
        ],
        steps == 10_000,
    )


def texts(size: Size) -> Row:
    """A conversation of texts."""
    return _conversation(size, "texts", "list[str]")


def messages(size: Size) -> Row:
    """A conversation of dicts."""
    return _conversation(size, "messages", "list[dict[str, str]]")


def _conversation(size: Size, shape: str, annotation: str) -> Row:
    turns = size.of(2_000, 40)
    found = measure("moving.conversation", turns=turns, size=1_024, shape=shape, rounds=max(size.rounds - 1, 1))
    said, ours, bare = found["message_bytes"], found["late_turn"], found["floor_turn"]
    near_end = f"near turn {turns:,}"
    return Row(
        shape,
        f"a conversation growing by 1 KB for {turns:,} turns, in vbl.state, to and from each step, as {annotation}",
        [
            Figure("file", found["stored_bytes"], "bytes", said, "the messages", 3.0),
            Figure("its rows by apsw", found["floor_stored_bytes"], "bytes", said, "the messages"),
            Figure(f"CPU {near_end}", ms(ours["cpu_s"]), "ms", ms(bare["cpu_s"]), BARE, 1.0, judged="value"),
            Figure(f"time {near_end}", ms(ours["wall_s"]), "ms", ms(bare["wall_s"]), BARE),
            *_commits(found, turns, "a turn"),
        ],
        turns == 2_000,
    )


def resume(size: Size) -> Row:
    """A resume."""
    steps = size.of(5_000, 20)
    with folder() as name:
        path = str(Path(name) / "long.db")
        measure("moving.prepare_resume", path=path, steps=steps)
        found = sorted(
            (measure("moving.resume", path=path) for _ in range(size.rounds)), key=lambda m: m["vbl"]["wall_s"]
        )
    middle = found[len(found) // 2]
    ours, bare = middle["vbl"], middle["floor"]
    return Row(
        "resume",
        f"from opening the file to the next step of a run with {steps:,} completed steps",
        [
            Figure("time", ms(ours["wall_s"]), "ms", ms(bare["wall_s"]), f"{BARE}, reading", 250.0, judged="value"),
            Figure("CPU", ms(ours["cpu_s"]), "ms", ms(bare["cpu_s"]), f"{BARE}, reading"),
        ],
        steps == 5_000,
    )


# Runs that wait ---------------------------------------------------------------------------------------------------


def parked(size: Size) -> Row:
    """Many parked runs."""
    runs = size.of_very_many(100_000, 100)
    idle_s = 3.0 if size.scale >= 0.1 else 0.3
    with folder() as name:
        full, empty = str(Path(name) / "parked.db"), str(Path(name) / "empty.db")
        measure("waiting.prepare_parked", path=full, runs=runs)
        measure("waiting.prepare_parked", path=empty, runs=0)
        without = measure("waiting.parked", path=empty, idle_s=idle_s)
        found = measure("waiting.parked", path=full, idle_s=idle_s)
    no_run = "no parked run"
    ready, ready_without = ms(found["ready"]["wall_s"]), ms(without["ready"]["wall_s"])
    per_run = max(found["memory_bytes"] - without["memory_bytes"], 0) / runs
    return Row(
        "parked",
        f"{runs:,} runs parked in the file while a supervisor runs",
        [
            Figure("opened, a new run done", ready, "ms", ready_without, no_run, 1_000.0, judged="value"),
            Figure("memory a parked run", per_run, "bytes", bar=256.0, judged="value"),
            Figure(
                "CPU when idle",
                found["idle_share"] * 100,
                "%",
                without["idle_share"] * 100,
                no_run,
                0.5,
                judged="value",
            ),
        ],
        runs == 100_000,
    )


def foreign(size: Size) -> Row:
    """Somebody else's decision."""
    samples = size.of(24, 3)
    found = measure("waiting.foreign", samples=samples)
    bare = f"{BARE}, the commit alone"
    return Row(
        "foreign",
        f"from `unpause` in another process to the run's next step, {samples} times",
        [
            Figure("median", ms(found["median_s"]), "ms", ms(found["floor"]["wall_s"]), bare, 50.0, judged="value"),
            Figure("worst", ms(found["worst_s"]), "ms"),
        ],
        samples == 24,
    )


# What everybody pays ----------------------------------------------------------------------------------------------


def help(size: Size) -> Row:
    """The help."""
    return Row(
        "help", "vbl --help", _processes(size, (*starting.VBL, "--help"), starting.IMPORT_CLICK, "import click", 1.5)
    )


def ls(size: Size) -> Row:
    """The list."""
    with folder() as name:
        path = str(Path(name) / "runs.db")
        measure("starting.prepare_ls", path=path, runs=1_000)
        command = (*starting.VBL, "ls", "--db", path)
        figures = _processes(size, command, starting.IMPORT_FOR_LS, "import click, apsw, pydantic, rich.table", 1.5)
    return Row("ls", "vbl ls, 1,000 runs in the file", figures)


def ls_many(size: Size) -> Row:
    """The list of very many: plain, and by the filter whose query is the slowest."""
    runs = size.of_very_many(1_000_000, 2_000)
    with folder() as name:
        small, large = str(Path(name) / "small.db"), str(Path(name) / "large.db")
        measure("starting.prepare_ls", path=small, runs=1_000)
        measure("starting.prepare_ls", path=large, runs=runs)
        queries = measure("starting.listing", small=small, large=large, rounds=5 * size.rounds)
        slowest = max(queries, key=lambda filters: queries[filters]["large_s"])
        figures: list[Figure] = []
        for filters in dict.fromkeys(("", slowest)):
            typed = (*starting.VBL, "ls", *filters.split())
            ours, beside = starting.by_turns((*typed, "--db", large), (*typed, "--db", small), 2 * size.rounds)
            named = f"vbl ls {filters}".strip()
            figures.append(Figure(f"{named}, time", ms(ours.wall_s), "ms", ms(beside.wall_s), FEW, 1.5))
            figures.append(Figure(f"{named}, CPU", ms(ours.cpu_s), "ms", ms(beside.cpu_s), FEW, 1.5))
    for filters, times in queries.items():
        figures.append(Figure(f"its query {filters}".strip(), ms(times["large_s"]), "ms", ms(times["small_s"]), FEW))
    title = f"vbl ls on a file of {runs:,} runs, plain and by the filter whose query is the slowest"
    return Row("ls-many", title, figures, runs == 1_000_000)


def imports(size: Size) -> Row:
    """The import."""
    beside = "import pydantic, apsw, asyncio"
    lazy = _processes(size, starting.IMPORT_VBL, starting.IMPORT_FOR_VBL, beside, 1.3)
    engine = _processes(size, starting.IMPORT_ENGINE, starting.IMPORT_FOR_VBL, beside, None, " with the engine")
    return Row("import", "import vbl; and with the names of the engine used: step, workflow, open", [*lazy, *engine])


def _processes(
    size: Size, ours: tuple[str, ...], beside: tuple[str, ...], beside_is: str, bar: float | None, more: str = ""
) -> list[Figure]:
    a, b = starting.by_turns(ours, beside, 3 * size.rounds)
    return [
        Figure(f"time{more}", ms(a.wall_s), "ms", ms(b.wall_s), beside_is, bar),
        Figure(f"CPU{more}", ms(a.cpu_s), "ms", ms(b.cpu_s), beside_is, bar),
    ]


ROWS: dict[str, Callable[[Size], Row]] = {
    "many": many,
    "one": one,
    "late": late,
    "texts": texts,
    "messages": messages,
    "resume": resume,
    "parked": parked,
    "foreign": foreign,
    "help": help,
    "ls": ls,
    "ls-many": ls_many,
    "import": imports,
}
"""Every row, in the order of the report."""
