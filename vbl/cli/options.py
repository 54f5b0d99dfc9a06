"""The options that every command has, and `vbl` itself: `vbl --db x ls` is `vbl ls --db x`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

NAMES = ("db", "as_json", "color", "yes")


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --db, --json, --color and --yes. One that is not given is None, or False for a flag."""
    for option in (
        click.option("--yes", "-y", is_flag=True, help="Answer every question with yes."),
        click.option("--color", type=click.Choice(["auto", "always", "never"]), help="When to use colours."),
        click.option("--json", "as_json", is_flag=True, help="JSON: one document, or one object a line."),
        click.option("--db", metavar="PATH", help="The file; else $VBL_DB, else your data folder's."),
    ):
        function = option(function)
    return function
