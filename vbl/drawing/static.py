"""The page of a run as one file that opens anywhere, without a server and without asking anybody: `document(sheet)`.

The sections are those of the page, and the timeline has both of its axes. Styles and scripts stand in the file itself;
its policy lets exactly these run, and forbids every request. It shows the run as it was when the file was made.
"""

from __future__ import annotations

from datetime import tzinfo

from vbl.drawing import inline
from vbl.drawing.chart import chart
from vbl.drawing.frame import ICON, theme_button
from vbl.drawing.markup import Child, Markup, join, tag, trusted
from vbl.drawing.sections import MOST_EVENTS, Section, run_sections
from vbl.drawing.sheet import RunSheet
from vbl.drawing.times import local
from vbl.history.axis import axis
from vbl.history.narration import printable

STYLES = ("base.css", "run.css", "timeline.css", "graph.css", "static.css")
EARLY = "theme.js"
MODULES = ("timeline.js", "run.js")
MOST_TWICE = 1_000
"""A timeline of more steps has the compressed axis alone."""


def document(sheet: RunSheet, *, zone: tzinfo | None = None) -> str:
    """The whole file as text. `zone` is by default that of the machine, as on the page."""
    title = f"{printable(sheet.state.workflow)} {sheet.id}"
    first, *others = run_sections(sheet)
    sections = [first, Section("timeline-section", "Timeline", _timeline(sheet, zone)), *others]
    body = tag(
        "body",
        tag("a", "Skip to the content", class_="skip", href="#main"),
        _top(sheet, sections, zone),
        tag("main", (_section(section) for section in sections), id="main", tabindex="-1"),
        tag("div", id="said", class_="sr", role="status", aria_live="polite"),
        (tag("script", trusted(inline.js(name)), type="module") for name in MODULES),
        class_="vbl static",
    )
    return f'<!doctype html>\n<html lang="en">{_head(title)}{body}</html>\n'


def policy() -> str:
    """What the file may do: show what is in it, run what is in it, and nothing else."""
    scripts = " ".join(inline.source(inline.js(name)) for name in (EARLY, *MODULES))
    styles = inline.source(inline.css(*STYLES))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _head(title: str) -> Markup:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", trusted(inline.css(*STYLES))),
        tag("script", trusted(inline.js(EARLY))),
    )


def _top(sheet: RunSheet, sections: list[Section], zone: tzinfo | None) -> Markup:
    """What the file is, when it was made, and the way to its parts."""
    links = [tag("li", tag("a", section.title, href=f"#{section.id}")) for section in sections if section.title]
    made: list[Child] = ["as it was at ", tag("b", local(sheet.now, zone=zone))]
    return tag(
        "header",
        tag("span", ICON, tag("b", "vbl"), class_="brand"),
        tag("nav", tag("ul", links), aria_label="Sections"),
        tag("span", class_="gap"),
        tag("span", made, class_="dim made"),
        theme_button(),
        class_="top",
    )


def _section(section: Section) -> Markup:
    heading = tag("h2", section.title) if section.title else None
    return tag("section", heading, section.markup, id=section.id, aria_label=section.title or "Run")


def _timeline(sheet: RunSheet, zone: tzinfo | None) -> Markup:
    picture = sheet.picture
    twice = len(picture.lanes) <= MOST_TWICE and any(piece.cut for piece in axis(picture).pieces)
    drawn = [chart(picture, both=twice, whole=True, last=MOST_EVENTS, zone=zone)]
    if twice:
        real = chart(picture, axis="real", name="timeline-real", both=True, whole=True, last=MOST_EVENTS, zone=zone)
        drawn.append(real)
    return tag("div", join(drawn), class_="both-axes")
