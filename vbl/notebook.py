"""vbl where a person types: IPython and notebooks. The only place that imports IPython, and only where that is there.

A run is watched below its cell and goes on being drawn when the cell has ended; `%vbl` is the terminal's command in a
cell; modules that `%autoreload` loads again keep their steps and workflows. What is drawn is in `vbl.drawing.notebook`.
"""

from __future__ import annotations

import sys
from typing import Any, cast


def shell() -> Any:
    """The interactive shell of this process; None where there is none. IPython is not loaded for it."""
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    return get_ipython()


def follow_reloads(*kinds: type) -> None:
    """Let `%autoreload` renew objects of these kinds in place, as it renews functions: who imported one by name has
    the new one. Does nothing outside IPython."""
    if shell() is None:
        return
    from IPython.extensions import autoreload

    def are_ours(old: object, new: object) -> bool:
        return isinstance(old, kinds) and isinstance(new, kinds)

    rules = cast("list[Any]", vars(autoreload)["UPDATE_RULES"])
    rules.append((are_ours, _renew))


def _renew(old: Any, new: Any) -> None:
    """Make the old object what the new one is."""
    before, after = cast("dict[str, Any]", vars(old)), cast("dict[str, Any]", vars(new))
    old.__class__ = new.__class__
    before.update(after)
    for name in before.keys() - after.keys():
        del before[name]
