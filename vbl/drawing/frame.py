"""The frame around every page: head, navigation, who moves the file, and the slots that scripts fill. Pure.

It links every stylesheet and script that it is given; what they are called and where they are served is known to the
web room alone. No inline script or style stands anywhere: the policy of the pages forbids them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from vbl.drawing.markup import Markup, join, tag, trusted
from vbl.drawing.times import clock
from vbl.errors import VblError

SECTIONS = (("runs", "Runs", "/runs"), ("inbox", "Inbox", "/inbox"), ("queues", "Queues", "/queues"),
            ("schedules", "Schedules", "/schedules"))  # fmt: skip
"""Key, name and path of what the navigation leads to."""
HTMX = (
    '{"includeIndicatorCSS": false, "defaultSettleDelay": 0, "morphIgnore": ["data-htmx-powered", "open"], '
    '"morphSkip": "[data-keep]"}'
)
"""Settings of htmx: no style of its own, not even for the moment in which a swap settles; what a person has opened
stays open when its markup is renewed, and what is marked `data-keep` stays as it is."""
ICON = trusted(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
    '<rect x="1" y="2" width="9" height="3" rx="1" fill="currentColor"/>'
    '<rect x="4" y="6.5" width="5" height="3" rx="1" fill="currentColor" opacity=".55"/>'
    '<rect x="7" y="11" width="8" height="3" rx="1" fill="currentColor"/></svg>'
)

_LEAVE = trusted(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" '
    'fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round">'
    '<path d="M6.5 2.5H3v11h3.5M7 8h7M11 5l3 3-3 3"/></svg>'
)
SIGN_OUT = "/sign-out"
"""Where the session ends."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who moves the runs of the file, since an instant in microseconds since 1970 UTC. `silent` says in words that it
    gives no sign of life any more."""

    program: str
    pid: int
    epoch: int
    since_at: int
    silent: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the head of every page says: the file, who moves it, how many questions wait for a person (`many`: there
    may be more), the cursor up to which the page is true, and the instant at which it was read."""

    file: str
    path: str
    cursor: int
    now: int
    holder: Holder | None
    questions: int = 0
    many: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page stands: the prefix `root` under which the application is mounted, the section `here`, the run that
    it is about, and the assets to link. `csrf` goes with every change that a script asks for; `signed_in` says that
    there is a session to be ended."""

    root: str
    here: str
    scripts: Sequence[str]
    modules: Sequence[str]
    styles: Sequence[str]
    csrf: str = ""
    run: str | None = None
    read_only: bool = False
    signed_in: bool = False


def document(title: str, main: Markup, place: Place, standing: Standing) -> Markup:
    """The whole page."""
    body = tag(
        "body",
        tag("a", "Skip to the content", class_="skip", href="#main"),
        header(place, standing),
        tag("main", main, id="main", tabindex="-1"),
        tag("dialog", id="help", class_="help", aria_label="Keyboard shortcuts"),
        tag("div", id="said", class_="sr", role="status", aria_live="polite"),
        class_="vbl",
        data_root=place.root,
        data_cursor=standing.cursor,
        data_run=place.run,
        data_here=place.here,
        data_read_only=place.read_only,
    )
    return Markup(f'<!doctype html>\n<html lang="en">{_head(title, place, standing)}{body}</html>')


def _head(title: str, place: Place, standing: Standing) -> Markup:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="same-origin"),
        tag("meta", name="csrf", content=place.csrf) if place.csrf else None,
        tag("meta", name="htmx-config", content=HTMX),
        tag("title", f"{title} · {standing.file}"),
        tag("link", rel="icon", href="data:,"),
        (tag("link", rel="stylesheet", href=href) for href in place.styles),
        (tag("script", src=src, defer=late > 0) for late, src in enumerate(place.scripts)),
        (tag("script", type="module", src=src) for src in place.modules),
    )


def header(place: Place, standing: Standing) -> Markup:
    """The bar on top of every page."""
    return tag(
        "header",
        tag(
            "a", ICON, tag("b", "vbl"), tag("span", standing.file, class_="file"),
            class_="brand", href=f"{place.root}/runs", title=standing.path,
        ),
        tag("nav", tag("ul", (_link(place, standing, *section) for section in SECTIONS)), aria_label="Sections"),
        tag("span", class_="gap"),
        supervision(place.root, standing),
        tag("span", _tools(), _sign_out(place) if place.signed_in else None, class_="tools"),
        class_="top",
    )  # fmt: skip


def _tools() -> Markup:
    live = tag(
        "button",
        tag("span", class_="dot", aria_hidden="true"),
        tag("span", "live", class_="word"),
        id="live",
        class_="quiet live-state",
        type="button",
        data_state="connecting",
        aria_pressed="true",
        title="Pause or resume live updates",
    )
    keys = tag(
        "button",
        "?",
        class_="quiet",
        type="button",
        id="keys",
        aria_label="Keyboard shortcuts",
        title="Keys (?)",
    )
    return join([live, keys, theme_button()])


def _sign_out(place: Place) -> Markup:
    """The form that ends the session; it needs no script."""
    return tag(
        "form",
        tag("input", type="hidden", name="csrf", value=place.csrf),
        tag("button", _LEAVE, class_="quiet", type="submit", aria_label="Sign out", title="Sign out of these pages"),
        method="post",
        action=f"{place.root}{SIGN_OUT}",
    )


def theme_button() -> Markup:
    """The button that `theme.js` listens to."""
    return tag(
        "button",
        tag("span", "◐", aria_hidden="true"),
        id="theme",
        class_="quiet",
        type="button",
        aria_label="Change between light and dark",
        title="Light or dark",
    )


def _link(place: Place, standing: Standing, key: str, name: str, path: str) -> Markup:
    number = inbox_number(standing) if key == "inbox" else None
    current = "page" if key == place.here else None
    return tag("li", tag("a", name, number, href=f"{place.root}{path}", aria_current=current, data_go=key))


def inbox_number(standing: Standing, again: bool = False) -> Markup:
    """How many questions wait, beside the link to the inbox; `again` where it replaces the one that is shown."""
    text = f"{standing.questions}{'+' if standing.many else ''}"
    said = (text, tag("span", " open", class_="sr")) if standing.questions else None
    return tag("span", said, id="open-questions", class_="count", hx_swap_oob="true" if again else None)


def supervision(root: str, standing: Standing) -> Markup:
    """Who moves the runs of this file, or that nobody does; it renews itself."""
    holder = standing.holder
    if holder is None:
        kind, sign, lead, title = "none", "○", "no supervisor", None
        more = join([": nothing moves; ", tag("code", f"vbl up FILE --db {quote(standing.path)}")])
    else:
        title = f"{holder.program}, process {holder.pid}, epoch {holder.epoch}"
        if holder.silent is not None:
            kind, sign, lead, more = "bad", "■", "the supervisor does not answer", join([holder.silent])
        else:
            kind, sign, lead = "up", "●", "supervised"
            since = clock(holder.since_at, standing.now)
            more = join([f"{holder.program} · pid {holder.pid} · epoch {holder.epoch} · since ", since])
    return tag(
        "div",
        tag("span", sign, class_="sign", aria_hidden="true"),
        tag("b", lead),
        tag("span", more, class_="wide"),
        id="supervision",
        class_=f"supervision {kind}",
        title=title,
        hx_get=f"{root}/standing",
        hx_trigger="vbl:moved from:body",
        hx_swap="outerMorph",
    )


def problem(message: str, hint: str = "", code: str = "") -> Markup:
    """An error as a part of a page: what is, and what to do."""
    lines = [tag("p", tag("b", line)) for line in message.splitlines()[:1]]
    rest = message.splitlines()[1:]
    return tag(
        "div",
        lines,
        tag("pre", "\n".join(rest)) if rest else None,
        tag("p", hint, class_="dim") if hint else None,
        class_="problem",
        role="alert",
        data_code=code or None,
    )


def refusal(error: VblError) -> Markup:
    """The same of an error that was raised."""
    return problem(error.message, error.hint, error.code)


def alone(title: str, hint: str, root: str, more: Markup | None = None) -> Markup:
    """A page without the frame, for who is not let in, and where the file cannot be read."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("link", rel="stylesheet", href=f"{root}/assets/now/base.css"),
    )
    lead, colon, command = hint.rpartition(": ")
    said = join([lead, colon, tag("code", command)]) if colon else join([hint])
    main = tag("main", tag("h1", title), tag("p", said), more, class_="alone")
    return Markup(f"<!doctype html>\n{tag('html', head, tag('body', main, class_='vbl'), lang='en')}")


def heading(title: str, *beside: Markup) -> Markup:
    """The heading of a page, and what stands on its line."""
    return tag("div", tag("h1", title), beside, class_="heading")
