"""vbl where a person types: IPython and notebooks. The only place that imports IPython, and only where that is there.

Places below a cell that can be drawn anew, the line magic `%vbl`, and that modules which `%autoreload` loads again keep
their steps and workflows. What is shown is drawn in `vbl.drawing.notebook`; how a run is watched is in `vbl.watching`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast


def drawn(what: str, *about: Any) -> str:
    """The HTML of a run, a list, a gate or a state, as `vbl.drawing.notebook` has it, with its style."""
    from vbl.drawing import notebook

    return notebook.framed(notebook.CARDS[what](*about))


def shell() -> Any:
    """The interactive shell of this process; None where there is none. IPython is not loaded for it."""
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    return get_ipython()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, so that what was shown can be shown anew in its place."""
    return hasattr(shell(), "kernel")


class Place:
    """Where something is shown below a cell, and may be shown anew: in any thread, and when the cell has ended.

    What came while no cell ran does not reach every front end (nbclient listens to the cell that runs alone), so it is
    shown once more at the end of the next cell. `renew` is called there too: at the end of each cell it is true.
    """

    def __init__(self, text: str, html: str, renew: Callable[[], None]) -> None:
        from IPython.display import DisplayHandle

        self._handle: Any = DisplayHandle()
        self._renew = renew
        self._last = self._settled = {"text/plain": text, "text/html": html}
        self._left = False
        self._handle.display(self._last, raw=True)
        if not _places:
            shell().events.register("post_run_cell", _settle_all)
        _places.append(self)

    def show(self, text: str, html: str) -> None:
        """Show this in the place of what was shown last."""
        self._last = {"text/plain": text, "text/html": html}
        self._handle.update(self._last, raw=True)

    def leave(self) -> None:
        """What is shown now stays."""
        self._left = True

    def settle(self) -> None:
        """A cell ends: let the picture be true, and be seen."""
        left = self._left
        if not left:
            self._renew()
        if self._last is not self._settled:
            self._settled = self._last
            self._handle.update(self._last, raw=True)
        if left:
            _places.remove(self)


_places: list[Place] = []


def _settle_all(*_result: object) -> None:
    for place in list(_places):
        place.settle()
    if not _places:
        shell().events.unregister("post_run_cell", _settle_all)


def follow_reloads(*kinds: type) -> None:
    """Let `%autoreload` renew objects of these kinds in place, as it renews functions: who imported one by name has
    the new one. Does nothing outside IPython."""
    if shell() is None:
        return
    from IPython.extensions import autoreload

    def are_ours(old: object, new: object) -> bool:
        return isinstance(old, kinds) and isinstance(new, kinds)

    rules = cast("list[Any] | None", vars(autoreload).get("UPDATE_RULES"))
    if rules is not None:  # not a promise of IPython's: without it a name that was imported keeps the old object
        rules.append((are_ours, _renew))


def _renew(old: Any, new: Any) -> None:
    """Make the old object what the new one is."""
    before, after = cast("dict[str, Any]", vars(old)), cast("dict[str, Any]", vars(new))
    old.__class__ = new.__class__
    before.update(after)
    for name in before.keys() - after.keys():
        del before[name]


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext vbl`: the line magic `%vbl`, which is the command of the terminal on the file that is open here."""
    ipython.register_magic_function(_magic, magic_kind="line", magic_name="vbl")


def _magic(line: str) -> None:
    """Run a command of vbl: `%vbl ls`, `%vbl why @last`, `%vbl inbox`, `%vbl approve GATE`.

    It is a process of its own, on the one file that this one has open, else on the default one; `--db` names another.
    """
    import shlex
    import subprocess

    from vbl.store import guard

    arguments = shlex.split(line)
    opened = guard.held()
    if len(opened) == 1 and not any(one == "--db" or one.startswith("--db=") for one in arguments):
        arguments += ["--db", str(opened[0])]
    command = [sys.executable, "-m", "vbl", "--color", "always", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        try:
            for said in process.stdout:
                sys.stdout.write(said)
        except KeyboardInterrupt:
            process.terminate()
