"""The history of a run as a list that is read page by page: a row an event, opened for what it holds.

A history only grows, so rows are never drawn again: a page ends in a place that asks for the next one, as soon as it is
seen, and behind the last event in one that asks whenever something has been added. What is open stays open, and nothing
moves under the reader's eyes. Pure; `vbl.drawing.event` draws what a row holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote

from vbl.drawing.event_filter import KINDS, EventFilter, kind_of, subject_of
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.sheet import RunSheet
from vbl.drawing.times import clock
from vbl.history.facts import Fact
from vbl.history.narration import narrate, offset, printable
from vbl.history.tones import tone_of

PAGE = 200
"""Events of one page."""
LONG = 400
"""From so many events on, rows that are out of sight are not laid out."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a history is read: the events that match, and what each goes back to. `address` is that of the run, empty
    where there is nowhere to ask: then nothing is fetched."""

    sheet: RunSheet
    links: Mapping[int, int]
    filter: EventFilter = field(default_factory=EventFilter)
    address: str = ""

    def after(self, seq: int, limit: int = PAGE) -> list[Fact]:
        """The first matching events behind this one, oldest first."""
        found: list[Fact] = []
        for fact in self.sheet.facts[max(seq, 0) :]:
            if self.filter.matches(fact):
                found.append(fact)
                if len(found) == limit:
                    break
        return found

    def before(self, seq: int, limit: int = PAGE) -> list[Fact]:
        """The last matching events before this one, newest first."""
        found: list[Fact] = []
        for fact in reversed(self.sheet.facts[: max(seq - 1, 0)]):
            if self.filter.matches(fact):
                found.append(fact)
                if len(found) == limit:
                    break
        return found

    @property
    def last(self) -> int:
        """The seq of the latest event."""
        return len(self.sheet.facts)


def event_list(reading: Reading, *, around: int | None = None) -> Markup:
    """The first page of the list; the one with event `around` where it is given."""
    if around is not None and not 1 <= around <= reading.last:
        around = None
    newest = reading.filter.order == "newest"
    if newest:
        first = reading.last if around is None else min(around + PAGE // 4, reading.last)
        body = join([_above(reading, first), older(reading, first + 1)])
    else:
        first = 0 if around is None else max(around - PAGE // 4, 0)
        body = join([_earlier(reading, first), newer(reading, first)])
    named = "events long" if reading.last > LONG else "events"
    return tag("ol", body, id="event-list", class_=named, aria_label="Events", data_order=reading.filter.order)


def newer(reading: Reading, after: int) -> Markup:
    """The page behind an event, oldest first, and the place that asks for what comes then."""
    page = reading.after(after)
    full = len(page) == PAGE
    end = page[-1].seq if full else reading.last
    rows = [event_row(reading, fact) for fact in page]
    ask = _ask(reading, "after", end, "revealed" if full else "vbl:changed from:body")
    empty = None if page or after else _nothing(reading)
    return join([rows, empty, ask])


def older(reading: Reading, before: int) -> Markup:
    """The page before an event, newest first, and the place that asks for what lies before it."""
    page = reading.before(before)
    rows = [event_row(reading, fact) for fact in page]
    more = _ask(reading, "before", page[-1].seq, "revealed") if len(page) == PAGE and page[-1].seq > 1 else None
    empty = _nothing(reading) if not page and before > reading.last else None
    return join([rows, empty, more])


def added(reading: Reading, since: int) -> Markup:
    """What has been added behind an event, newest first, below the place that asks for more of it. Where it is more
    than a page, the rest of it is behind the place that asks for what lies before."""
    page = reading.before(reading.last + 1)
    fresh = [fact for fact in page if fact.seq > since]
    ask = _ask(reading, "since", reading.last, "vbl:changed from:body")
    rows = [event_row(reading, fact) for fact in fresh]
    gap = len(fresh) == PAGE and any(
        reading.filter.matches(fact) for fact in reading.sheet.facts[since : fresh[-1].seq - 1]
    )
    note = tag("li", "more were added than are shown: ", _again(reading), class_="ask dim") if gap else None
    return join([ask, rows, note])


def _again(reading: Reading) -> Markup:
    return tag("a", "show the list anew", href=f"{reading.address}?tab=events&{reading.filter.query()}")


def _above(reading: Reading, first: int) -> Markup | None:
    """What stands above the newest row: the place that asks for newer ones, or a way to those that are left out."""
    if first < reading.last:
        return tag("li", f"{reading.last - first} newer: ", _again(reading), class_="ask dim")
    return _ask(reading, "since", reading.last, "vbl:changed from:body")


def _earlier(reading: Reading, first: int) -> Markup | None:
    """A way to the events before the first row; not by itself, or the list would jump."""
    return tag("li", f"{first} earlier: ", _again(reading), class_="ask dim") if first and reading.address else None


def _ask(reading: Reading, way: str, seq: int, when: str) -> Markup | None:
    """A row that replaces itself by what it asks for; behind an ended run too, which may be retried."""
    if not reading.address:
        return None
    url = f"{reading.address}/events?{reading.filter.query(**{way: seq})}"
    waits = tag("span", "…", aria_hidden="true") if when == "revealed" else None
    return tag("li", waits, class_="ask", hx_get=url, hx_trigger=when, hx_swap="outerHTML")


def _nothing(reading: Reading) -> Markup:
    text = "No event of this run matches." if reading.filter.narrow else "No event yet."
    return tag("li", text, class_="empty")


def event_row(reading: Reading, fact: Fact, detail: Markup | None = None) -> Markup:
    """One event on a line. It is opened for `detail`, which is fetched when it is first asked for."""
    sheet, cause = reading.sheet, reading.links.get(fact.seq)
    attempt = fact.payload.get("attempt") or 1
    again = tag("i", f" ×{attempt}", title=f"attempt {attempt}") if attempt > 1 else None
    summary = tag(
        "summary",
        tag("span", fact.seq, class_="seq"),
        clock(fact.at, sheet.now),
        tag("span", offset(fact.at - sheet.state.created_at), class_="elapsed"),
        tag("span", fact.type, class_="type"),
        tag("span", subject_of(fact), again, class_="subject"),
        tag("span", narrate(fact), class_="told"),
        data_open=True,
    )
    fetch = f"{reading.address}/events/{fact.seq}" if detail is None and reading.address else None
    opened = tag(
        "details", summary, tag("div", detail, class_="detail"),
        hx_get=fetch, hx_trigger="toggle once" if fetch else None, hx_target="find .detail" if fetch else None,
        hx_swap="innerHTML" if fetch else None,
    )  # fmt: skip
    back = tag("a", f"↖ {cause}", href=f"#e{cause}", class_="cause", title=_title(sheet, cause)) if cause else None
    tone = tone_of(fact)
    named = f"event {kind_of(fact.type)}" + (f" is-{tone}" if tone else "")
    return tag("li", opened, back, id=f"e{fact.seq}", class_=named, data_row=True)


def _title(sheet: RunSheet, cause: int) -> str:
    fact = sheet.facts[cause - 1]
    return f"because of event {cause}, {fact.type}: {narrate(fact)}"


def filter_form(reading: Reading, url: str) -> Markup:
    """The filters, as a form that works without a script too. `url` is that of the page."""
    chosen = reading.filter
    kinds = [_box("kind", kind, kind, kind in chosen.kinds) for kind in KINDS]
    orders: list[Child] = [
        tag("option", text, value=order, selected=chosen.order == order)
        for order, text in (("oldest", "oldest first"), ("newest", "newest first"))
    ]
    return tag(
        "form",
        tag("input", type="hidden", name="tab", value="events"),
        tag("fieldset", tag("legend", "Kinds of events", class_="sr"), kinds, class_="kinds"),
        _box("failed", "1", "only what went wrong", chosen.failed),
        tag("label", tag("span", "name", class_="sr"), tag(
            "input", type="search", name="step", value=chosen.step, placeholder="step, gate, signal", size=18,
            autocomplete="off", data_search=True,
        )),
        tag("label", tag("span", "order", class_="sr"), tag("select", orders, name="order")),
        tag("button", "filter", type="submit", class_="button"),
        tag("a", "all", href=f"{url}?tab=events&{chosen.wide().query()}") if chosen.narrow else None,
        method="get", action=url, class_="filters", hx_get=f"{reading.address}/events", hx_target="#event-list",
        hx_swap="outerHTML", hx_trigger="change, submit, keyup changed delay:300ms", hx_sync="this:replace",
    )  # fmt: skip


def _box(name: str, value: str, text: str, checked: bool) -> Markup:
    box = tag("input", type="checkbox", name=name, value=value, checked=checked)
    return tag("label", box, " ", text, class_="chip")


def all_events(reading: Reading, details: Mapping[int, Markup], most: int) -> Markup:
    """Up to `most` events at once, with what is known of each already: for a file that has nowhere to ask."""
    facts: Sequence[Fact] = reading.sheet.facts
    cut = len(facts) - most
    told = f"The first {most} of {len(facts)} events; all of them: vbl events {quote(printable(reading.sheet.id))}"
    rows = [event_row(reading, fact, details.get(fact.seq) or Markup()) for fact in facts[:most]]
    note = tag("p", told, class_="dim") if cut > 0 else None
    return join([note, tag("ol", rows, class_="events", aria_label="Events")])
