"""`vbl show --watch`: a run that is redrawn in place until it ends, and how the command then ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vbl.cli.screen import LOOK_S, Canvas, Pace, Screen, moving, sigterm_as_ctrl_c
from vbl.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from vbl.cli.terminal import Terminal
    from vbl.client import Client
    from vbl.handle import Run


def watch(terminal: Terminal, client: Client, run: Run, draw: Callable[[Terminal], None]) -> None:
    """Draw the run whenever there is something new; print it once more at the end, where it stays.

    Raises RunFailed, RunCancelled and RunBlocked as `run.result()` does; where nobody looks at a terminal also
    RunWaiting, as soon as only a person can move the run. KeyboardInterrupt comes after the last picture.
    """
    with sigterm_as_ctrl_c():
        try:
            left = _redraw(terminal, client, run, draw) if moving(terminal) else _wait(client, run)
        finally:
            draw(terminal)
    if not left:
        run.result()


def _over(run: Run) -> bool:
    """Whether the run has ended, or is blocked until somebody does something about it."""
    return (status := run.status).finished or status == "blocked"


def _redraw(terminal: Terminal, client: Client, run: Run, draw: Callable[[Terminal], None]) -> bool:
    """Redraw until the run is over; whether the person left before."""
    with Screen(terminal) as screen:
        pace = Pace(lambda: (client.changed(), screen.size))
        while True:
            if pace.due(time.monotonic()):
                over = _over(run)
                pace.begin(time.monotonic())
                used = time.process_time()
                if over:
                    return False
                canvas = Canvas(terminal, screen.size[0])
                draw(canvas)
                screen.draw(canvas.lines())
                pace.end(time.monotonic(), time.process_time() - used)
            if screen.key(LOOK_S) in ("q", "escape"):
                return True


def _wait(client: Client, run: Run) -> bool:
    """Wait until the run is over. Raises RunWaiting where only a person can move it."""
    from vbl.cli import person

    while True:
        version = client.changed()
        if _over(run):
            return False
        if gates := person.asked_of(run, SYSTEM.now()):
            moved = client.supervisor() is not None
            raise person.waits(run, [client.gate(id) for id in gates], moved=moved)
        while client.changed() == version:
            time.sleep(LOOK_S)
