"""Where a step starts that was in flight at several deaths of its process: alone, one at a time in the supervisor.

So a step that kills the process is told from its neighbours, which were merely there. One that has died alone before
starts last, and only once the supervisor has lived for a while: kills from outside, one soon after the other, would
else meet the same step again and block a healthy run.
"""

from __future__ import annotations

from collections.abc import Callable

_Place = tuple[int, str]


class Quarantine:
    """One place. `wake` is called with the key of a run that may ask again."""

    def __init__(self, wake: Callable[[int], None]) -> None:
        self._wake = wake
        self._inside: _Place | None = None
        self._waiting: dict[_Place, int] = {}
        self._looks = 0

    @property
    def _calm(self) -> bool:
        return self._looks > 1

    def enter(self, run: int, step: str, deaths: int) -> bool:
        """Ask for the place for a step that has died alone `deaths` times; whether it may start now."""
        place = (run, step)
        if self._inside == place:
            return True
        suspect = deaths > 0
        if self._inside is None and not (suspect and (not self._calm or 0 in self._waiting.values())):
            self._waiting.pop(place, None)
            self._inside = place
            return True
        self._waiting[place] = deaths
        return False

    def leave(self, run: int, step: str) -> None:
        """The step has ended: let the next one ask."""
        if self._inside == (run, step):
            self._inside = None
            self._call_next()

    def look(self, flying: bool) -> None:
        """At the start, then once a second: give the place away where the start was never made (`flying` is false),
        and where those who were called did not come."""
        self._looks += 1
        if not flying:
            self._inside = None
            self._call_next()

    def _call_next(self) -> None:
        innocent = [place for place, deaths in self._waiting.items() if not deaths]
        called = innocent or (list(self._waiting) if self._calm else [])
        for place in called:
            del self._waiting[place]
        for run in dict.fromkeys(run for run, _ in called):
            self._wake(run)

    @property
    def waiting(self) -> set[int]:
        """The runs (keys) that wait for the place."""
        return {run for run, _ in self._waiting}
