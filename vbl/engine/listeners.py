"""Who waits for a run in another thread of this process: told when the run has another status."""

from __future__ import annotations

import threading

from vbl.engine.activity import ActiveRun


class Listeners:
    """Events to set, by the id of the run. `listen` and `unlisten` may be called from any thread."""

    def __init__(self) -> None:
        self._events: dict[str, list[threading.Event]] = {}

    def listen(self, run_id: str, event: threading.Event) -> None:
        """Set `event` whenever this run has another status, and when the supervisor ends."""
        self._events.setdefault(run_id, []).append(event)

    def unlisten(self, run_id: str, event: threading.Event) -> None:
        """End `listen`."""
        events = self._events.get(run_id, [])
        if event in events:
            events.remove(event)
        if not events:
            self._events.pop(run_id, None)

    def announce(self, active: ActiveRun) -> None:
        """Tell of the run's status where it is another than the last one told."""
        if not self._events or active.history is None:
            return
        state = active.history.state
        events = self._events.get(state.run_id)
        if events and active.announced is not (status := state.status):
            active.announced = status
            for event in events:
                event.set()

    def wake_all(self) -> None:
        """The supervisor has ended: nobody waits any longer."""
        for events in list(self._events.values()):
            for event in events:
                event.set()
