"""What something took: wall time, CPU time of all threads, medians, and a process's memory."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self


class Cost(NamedTuple):
    """What something took, in seconds; the CPU time is that of all threads of the process."""

    wall_s: float
    cpu_s: float

    def each(self, count: int) -> Cost:
        """The cost of one of `count`."""
        return Cost(self.wall_s / count, self.cpu_s / count)


class Stopwatch:
    """A context manager that fills in its `cost`; `lap` fills it in earlier."""

    cost: Cost

    def __enter__(self) -> Self:
        gc.collect()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.lap()

    def lap(self) -> None:
        """What it took until now."""
        self.cost = Cost(time.perf_counter() - self._wall, time.process_time() - self._cpu)


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each part."""
    return Cost(statistics.median(c.wall_s for c in costs), statistics.median(c.cpu_s for c in costs))


def mean(costs: Sequence[Cost]) -> Cost:
    """The mean of each part."""
    return Cost(statistics.fmean(c.wall_s for c in costs), statistics.fmean(c.cpu_s for c in costs))


def memory_bytes() -> int:
    """The memory that this process holds now; where the system does not say, the most that it held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
