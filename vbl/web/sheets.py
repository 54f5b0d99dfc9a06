"""What was last read of the runs that are being looked at, so that the parts of one page read a long history once.

A sheet is used again while no event has come: for good where its run has ended, else for a moment, for it also tells of
the time; and not at all where it tells of other runs, whose events are not in it. Safe for threads: of those who ask at
once for a run that goes on, one reads it, and the others get what was read after they had asked.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from vbl.history.causes import Links, effects
from vbl.history.graph import Graph, graph

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.drawing.sheet import RunSheet
    from vbl.handle import Run
    from vbl.history.state import RunState

FRESH_S = 0.5
"""For so long an unfinished run without news is what it was: the parts of one page, or of one change, share a sheet."""
KEPT = 4
"""Runs whose sheets are kept; one of 20,000 events takes some 30 MB."""


def depends_on_others(state: RunState) -> bool:
    """Whether what a run waits for is told by other runs: its children, or those before it in a queue."""
    return bool(state.open_children) or (state.waits_for_place and not state.finished)


class Known:
    """A run as it was read from `read_at` on, in seconds of the clock of `Sheets`."""

    def __init__(self, sheet: RunSheet, links: dict[int, int], read_at: float) -> None:
        self.sheet = sheet
        self.links = links
        """What each event goes back to; events that have come since may be in it too."""
        self.read_at = read_at

    @cached_property
    def graph(self) -> Graph:
        """What followed from what."""
        return graph(self.sheet.facts)

    @cached_property
    def effects(self) -> dict[int, list[int]]:
        """What goes back to each event."""
        last = len(self.sheet.facts)
        return effects({effect: cause for effect, cause in list(self.links.items()) if effect <= last})


class Sheets:
    """The sheets of a file's runs, read by a client of their own. `monotonic` gives seconds."""

    def __init__(self, client: Client, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._sources: dict[str, tuple[Iterator[RunSheet], Links]] = {}

    def known(self, ref: str) -> Known:
        """All that is said of a run, by its id or the beginning of it. Raises NotFound, and UsageError where several
        runs begin so."""
        asked_at = self._monotonic()
        run = self._client.run(ref)
        supervised = self._client.supervisor() is not None
        with self._lock:
            lock = self._reading.setdefault(run.id, threading.Lock())
        with lock:
            known = self._known.get(run.id)
            if known is None or not (known.read_at > asked_at or self._holds(known, run, supervised)):
                begun = self._monotonic()
                known = Known(*self._next(run), begun)
            self._keep(run.id, known)
            return known

    def close(self) -> None:
        """Read no more."""
        self._client.close()

    def _holds(self, known: Known, run: Run, supervised: bool) -> bool:
        """Whether what is known of the run is still so."""
        sheet = known.sheet
        if len(sheet.facts) != run.seq or sheet.supervised != supervised:
            return False
        if depends_on_others(sheet.state):
            return False
        return sheet.state.finished or self._monotonic() - known.read_at < FRESH_S

    def _next(self, run: Run) -> tuple[RunSheet, dict[int, int]]:
        """The run as it is now, and its causes; of a history that was read before, only what is new is read."""
        source, links = self._sources.pop(run.id, None) or (run.sheets(), Links())
        sheet = next(source)
        found = links.read(sheet.facts)
        self._sources[run.id] = source, links
        return sheet, found

    def _keep(self, id: str, known: Known) -> None:
        with self._lock:
            self._known[id] = known
            self._known.move_to_end(id)
            while len(self._known) > KEPT:
                gone, _ = self._known.popitem(last=False)
                self._reading.pop(gone, None)
                self._sources.pop(gone, None)
