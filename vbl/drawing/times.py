"""Instants and spans on a page: `clock(at)`, `countdown(until, now)`. Microseconds since 1970 UTC become elements.

Every instant is a `<time>` whose `datetime` is the exact one in UTC, and whose text is on the clock of the machine that
draws. Pure but for that machine's time zone.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from vbl.clock import EPOCH, instant
from vbl.drawing.markup import Markup, tag
from vbl.history.narration import duration


def clock(at: int, now: int | None = None, *, zone: tzinfo | None = None) -> Markup:
    """The instant to the second, with its date unless that is the day of `now`; `zone` is by default the machine's."""
    exact = instant(at)
    return tag("time", local(at, now, zone=zone), datetime=exact, title=exact, class_="clock")


def local(at: int, now: int | None = None, *, zone: tzinfo | None = None) -> str:
    """The same as text alone."""
    then = there(at, zone)
    if then is None:
        return f"{at} µs since 1970"
    today = there(now, zone) if now is not None else None
    same = today is not None and then.date() == today.date()
    return then.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S")


def countdown(until: int, now: int, *, past: str = "now") -> Markup:
    """`in 14 s`, as it is at `now`; a script on the page keeps it true by `data-until`, and says `past` at its end."""
    text, exact = f"in {duration(until - now)}" if until > now else past, instant(until)
    return tag("time", text, datetime=exact, title=exact, data_until=until, data_past=past, class_="countdown")


def there(at: int, zone: tzinfo | None = None) -> datetime | None:
    """The instant in a zone, by default that of the machine; None for what no calendar holds."""
    try:
        return (EPOCH + timedelta(microseconds=at)).astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return None
