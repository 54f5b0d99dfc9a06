"""The page of runs: its filter, the presets with their counts, how many ended lately, the list, and the pages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vbl.drawing import frame
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.runs import RunRow, address, runs_table
from vbl.drawing.throughput import Bucket, sparkline
from vbl.drawing.times import clock
from vbl.history.filters import PRESETS, Filter
from vbl.history.state import Status

NAMES = {"all": "All", "running": "Running", "held-up": "Held up", "needs-you": "Needs you", "failed": "Failed"}
"""The presets as tabs."""
MOST_SAID = 10_000
"""Of numbers that are not known to the end, no more is said than this."""
EXAMPLE = 'status:failed workflow:triage tag:env=dev cost:>0.1 since:1d "529 overloaded"'
TERMS: tuple[tuple[str, str], ...] = (
    ("status:failed,blocked", "in one of these statuses; is:held-up and is:needs-you stand for several"),
    ("workflow:triage", "of this workflow"),
    ("tag:env=dev", "with this tag"),
    ("cost:>0.1", "that cost more than 0.10 US dollars, as its steps said"),
    ("took:>30s", "that took, or have been taking, longer"),
    ("since:1d until:1h", "created in that time; also dates: since:2026-11-20"),
    ('overload* "529 too many"', "with these words in input, output, errors, key or tags"),
    ("parent:r_…", "started by that run"),
    ("r_8f2e", "whose id begins so"),
    ("own:yes", "vbl's own too: schedules, notifications"),
)
"""What can be typed, and what it means: \"runs …\"."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a page of the list shows: the one older than the run `before`, newer than `after`, or the newest. `counts`
    are texts by preset; `older` and `newer` are the cursors of the pages beside it; `newest` is the run
    that was the first one when the list was opened, and `come` says how many have come since; `looked_to` and
    `texts_to` are instants up to which was looked, None where nothing was left out."""

    wanted: Filter
    rows: Sequence[RunRow]
    now: int
    counts: Mapping[str, str]
    buckets: Sequence[Bucket] = ()
    span: str = "hour"
    older: str | None = None
    newer: str | None = None
    before: str | None = None
    after: str | None = None
    newest: str | None = None
    come: str = ""
    looked_to: int | None = None
    texts_to: int | None = None
    texts_left: int = 0
    typed: str | None = None


def list_page(listing: Listing, root: str, *, csrf: str = "", read_only: bool = True) -> Markup:
    """The whole page: the field for the filter, and what fits it."""
    return join(
        [
            frame.heading("Runs"),
            search(str(listing.wanted) if listing.typed is None else listing.typed, root),
            section(listing, root, csrf=csrf, read_only=read_only),
        ]
    )


def search(typed: str, root: str) -> Markup:
    """The field for the filter; it keeps what was typed, also what could not be read."""
    field = tag(
        "input", type="search", name="q", value=typed, id="q", placeholder=EXAMPLE, autocomplete="off",
        spellcheck="false", aria_label="Filter runs", data_search=True,
    )  # fmt: skip
    terms = tag("dl", ([tag("dt", tag("code", term)), tag("dd", "runs ", meaning)] for term, meaning in TERMS))
    return tag(
        "form",
        tag("div", field, tag("button", "Search", class_="primary"), class_="bar"),
        tag("details", tag("summary", "What can be typed"), terms, id="terms", class_="terms"),
        action=f"{root}/runs",
        method="get",
        role="search",
        id="search",
        class_="search",
        hx_get=f"{root}/runs",
        hx_trigger="submit, input delay:400ms",
        hx_target="#runs",
        hx_select="#runs",
        hx_swap="outerMorph",
        hx_replace_url="true",
    )


def section(listing: Listing, root: str, *, csrf: str = "", read_only: bool = True) -> Markup:
    """What changes while one looks; it renews itself."""
    # while texts are being read, each look brings them forward
    again = ", every 1s" if listing.texts_left else ""
    more = {
        "before": listing.before,
        "after": listing.after,
        "newest": listing.newest,
        "span": listing.span if listing.span != "hour" else None,
    }
    return tag(
        "section",
        tag("div", presets(listing, root), throughput(listing, root), class_="overview"),
        _texts(listing),
        _table(listing, root, csrf, read_only),
        pager(listing, root),
        id="runs",
        aria_label="Runs",
        hx_get=address(root, listing.wanted, part="/table", **more),
        hx_trigger=f"vbl:changed from:body{again}",
        hx_swap="outerMorph",
    )


def refused(message: str, hint: str) -> Markup:
    """In the place of the section, where the filter cannot be read."""
    return tag("section", frame.problem(message, hint), id="runs", aria_label="Runs")


def presets(listing: Listing, root: str) -> Markup:
    """The presets as tabs, with how many runs there are of each."""
    links: list[Markup] = []
    for name, statuses in PRESETS.items():
        wanted = listing.wanted.only(*statuses)
        number = listing.counts.get(name, "")
        links.append(
            tag(
                "a",
                NAMES[name],
                " ",
                tag("span", number, class_="count"),
                href=address(root, wanted),
                aria_current="page" if wanted == listing.wanted else None,
                class_=f"p-{name}" + (" some" if number[:1] not in ("", "0") else ""),
            )
        )
    return tag("nav", links, class_="tabs presets", aria_label="Presets")


def throughput(listing: Listing, root: str) -> Markup | None:
    """How many runs ended lately, and how."""
    other, name = ("day", "24 h") if listing.span == "hour" else ("hour", "60 min")
    switch = tag(
        "a",
        f"show {name}",
        href=address(root, listing.wanted, span=other if other != "hour" else None),
        class_="dim",
    )
    return tag("div", sparkline(listing.buckets, listing.span), switch, class_="throughput")


def _texts(listing: Listing) -> Markup | None:
    if not listing.texts_left:
        return None
    upto = clock(listing.texts_to, listing.now) if listing.texts_to else "the beginning"
    left = f"{listing.texts_left:,} events are still to be read."
    return tag("p", "Texts are known up to ", upto, "; ", left, class_="note", role="status")


def _table(listing: Listing, root: str, csrf: str, read_only: bool) -> Markup:
    if not listing.rows:
        return _empty(listing, root)
    table = runs_table(listing.rows, listing.now, root=root, select=not read_only)
    if read_only:
        return tag("div", table, class_="panel list")
    return tag(
        "form",
        tag("input", type="hidden", name="csrf", value=csrf),
        tag("input", type="hidden", name="q", value=str(listing.wanted)),
        table,
        tag("div", bulk_bar(), class_="bulk bar"),
        method="post",
        action=f"{root}/runs/bulk",
        class_="panel list",
        id="list",
    )


def bulk_bar() -> Markup:
    """What can be done with the runs that are ticked."""
    return join(
        [
            tag("span", "with those that are ticked:", class_="dim", data_ticked=True),
            tag("button", "Cancel…", name="act", value="cancel", class_="danger"),
            tag("button", "Retry…", name="act", value="retry"),
            tag(
                "label",
                tag("input", type="checkbox", name="every", value="yes", id="every"),
                " all that fit the filter",
            ),
        ]
    )


def _empty(listing: Listing, root: str) -> Markup:
    if listing.looked_to is not None and listing.older is not None:
        further = tag(
            "a", "Look further", href=address(root, listing.wanted, before=listing.older, newest=listing.newest)
        )
        since = clock(listing.looked_to, listing.now)
        return tag("p", "No run that was created since ", since, " fits. ", further, class_="empty")
    if listing.before is not None:
        return tag(
            "p", "No older run fits. ", tag("a", "To the newest", href=address(root, listing.wanted)), class_="empty"
        )
    if listing.wanted == Filter():
        code = tag("code", "vbl run file.py:workflow")
        return tag("p", "No runs yet. Start one: ", code, " or take a file to begin with from ",
                   tag("code", "vbl init"), class_="empty")  # fmt: skip
    everything = tag("a", "Show all runs", href=f"{root}/runs")
    return tag("p", "No run fits ", tag("code", str(listing.wanted)), ". ", everything, class_="empty")


def pager(listing: Listing, root: str) -> Markup | None:
    """The ways to the pages beside this one, and how many runs have come since."""
    newest = listing.newest or (listing.rows[0].id if listing.rows else None)
    span = listing.span if listing.span != "hour" else None
    links: list[Child] = []
    if listing.before is not None or listing.after is not None:
        come = f" ({listing.come} new)" if listing.come else ""
        links.append(tag("a", f"« newest{come}", href=address(root, listing.wanted, span=span), class_="button"))
    if listing.newer is not None:
        to = address(root, listing.wanted, after=listing.newer, newest=newest, span=span)
        links.append(tag("a", "‹ newer", href=to, class_="button", rel="prev"))
    if listing.older is not None and listing.rows:
        to = address(root, listing.wanted, before=listing.older, newest=newest, span=span)
        links.append(tag("a", "older ›", href=to, class_="button", rel="next"))
        if listing.looked_to is not None:
            since = clock(listing.looked_to, listing.now)
            links.append(tag("span", "nothing else fits among the runs since ", since, class_="dim"))
    return tag("nav", links, class_="bar pager", aria_label="Pages") if links else None


def preset_counts(counts: Mapping[Status, tuple[int, bool]]) -> dict[str, str]:
    """What stands in the tabs: `12`, or `10,000+` where it is not counted further."""
    return {name: _sum(counts[status] for status in statuses or Status) for name, statuses in PRESETS.items()}


def _sum(counts: Iterable[tuple[int, bool]]) -> str:
    number, more = 0, False
    for count, open_end in counts:
        number, more = number + count, more or open_end
    return f"{min(number, MOST_SAID) if more else number:,}{'+' if more else ''}"
