"""`run.watch()`: a run that is drawn below a cell, and anew while it goes on; at a prompt it is told line by line.

In a notebook the picture has its own thread and its own connection, so it goes on when its cell has ended, whatever
the cells after it do; it never prints. It ends with the run, with another watch of the same run, and where the file is
closed; the last picture stays. Nothing is drawn here: `vbl.drawing.notebook` does.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vbl import notebook
from vbl.access import Access
from vbl.errors import VblError
from vbl.history.narration import narrate, offset
from vbl.tail import Tail

if TYPE_CHECKING:
    from vbl.drawing.sheet import RunSheet
    from vbl.handle import Run

LOOK_S = 0.1
"""How often the file is looked at."""
MOVING_S = 1.0
"""How often a picture is drawn in which something grows."""
STANDING_S = 30.0
"""How often one is drawn in which nothing does."""
SHARE = 10
"""A picture that took some time to draw is not drawn again for so many times as long."""

_watches: dict[tuple[Path, str], Watch] = {}
_changing = threading.Lock()


class Watch:
    """A watch of one run; made by `run.watch()`. In a notebook it shows itself where it was made, and nowhere else."""

    def __init__(self, run: Run, access: Access) -> None:
        self._run = run
        self._access = access
        self._seq = 0
        self._moving = True
        self._drawing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if notebook.in_notebook():
            self._begin()

    @property
    def ended(self) -> bool:
        """Whether the picture is the last one."""
        return self._thread is None or not self._thread.is_alive()

    def stop(self) -> None:
        """End the watch; the run goes on, and the last picture stays."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, `timeout` seconds at most; whether it has come."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self.ended

    def __repr__(self) -> str:
        return f"<watch of {self._run.id}{', ended' if self.ended else ''}>"

    def _ipython_display_(self) -> None:
        """What it shows is shown already."""

    # In a notebook -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Show the run as it is, and go on in a thread; a watch of the same run before this one ends."""
        sheet = self._run.sheet()
        with _changing:
            before = _watches.pop(self._key, None)
            _watches[self._key] = self
        if before is not None:
            before.stop()
        self._seq, self._moving = sheet.state.seq, _moves(sheet)
        self._place = notebook.Place(repr(self._run), notebook.drawn("run", sheet), self._catch_up)
        if sheet.state.finished:
            self._leave()
            return
        self._thread = threading.Thread(target=self._go_on, name="vbl-watch", daemon=True)
        self._thread.start()

    @property
    def _key(self) -> tuple[Path, str]:
        return self._access.path, self._run.id

    def _leave(self) -> None:
        self._place.leave()
        with _changing:
            if _watches.get(self._key) is self:
                del _watches[self._key]

    def _draw(self, run: Run) -> bool:
        """Show the run as it is now; whether it has ended."""
        with self._drawing:
            sheet = run.sheet()
            self._seq, self._moving = sheet.state.seq, _moves(sheet)
            self._place.show(repr(run), notebook.drawn("run", sheet))
        return sheet.state.finished

    def _catch_up(self) -> None:
        """A cell ends: what it did to the run is to be seen when it has."""
        if not (self.ended or self._access.closed) and self._run.refresh().seq != self._seq:
            self._draw(self._run)

    def _go_on(self) -> None:
        try:
            with self._access.beside() as access:
                self._follow(access, _again(self._run, access))
        except VblError as error:
            self._place.show(str(error), notebook.drawn("problem", error.message, error.hint))
        finally:
            self._leave()

    def _follow(self, access: Access, run: Run) -> None:
        """Draw the run whenever there is something new, and each moment while something grows."""
        seen, rest_s, at = -1, 0.0, time.monotonic()
        while not self._stop.wait(LOOK_S):
            closed, since = self._access.closed, time.monotonic() - at
            period = MOVING_S if self._moving else STANDING_S
            if not closed and (since < rest_s or (access.store.changed() == seen and since < period)):
                continue
            seen, at = access.store.changed(), time.monotonic()
            if self._draw(run) or closed:
                return
            rest_s = (time.monotonic() - at) * SHARE


def _again(run: Run, access: Access) -> Run:
    """The same run over another connection. Raises NotFound where retention has struck it."""
    return type(run)(access, access.summary(access.journal.key_of(run.id)))


def _moves(sheet: RunSheet) -> bool:
    """Whether the picture changes by itself from second to second."""
    return bool(sheet.state.in_flight) and sheet.supervised


# At a prompt ------------------------------------------------------------------------------------------------------


def _tell(run: Run, access: Access) -> None:
    """A line for each event, until the run ends; Ctrl-C ends the telling, not the run."""
    after = 0
    with access.beside() as own:
        tail, handle, seen = Tail(own), _again(run, own), -1
        while True:
            if (version := own.store.changed()) != seen:
                seen, finished = version, handle.status.finished
                while events := tail.events(after, run.id):
                    after = events[-1].id
                    for event in events:
                        sys.stdout.write(f"{offset(event.at - run.created_at):>11}  {narrate(event)}\n")
                    sys.stdout.flush()
                if finished:
                    return
            time.sleep(LOOK_S)


def watch(run: Run, access: Access) -> Watch:
    """Watch a run where this process shows things: see the module. Raises UsageError where its file was closed."""
    run.refresh()
    if not notebook.in_notebook():
        try:
            _tell(run, access)
        except KeyboardInterrupt:
            sys.stdout.write(f"run {run.id} goes on; look again: run.watch()\n")
    return Watch(run, access)
