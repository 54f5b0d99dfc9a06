"""What the page of a run shows, without the page: the sections of a file that opens anywhere and asks nobody.

They are the same drawings as on the page. What would be fetched there is here at once, up to bounds that are said where
they are reached; nothing leads to another page. The timeline is drawn by `vbl.drawing.chart`. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from vbl.drawing.children import children
from vbl.drawing.code import code
from vbl.drawing.costs import costs
from vbl.drawing.event import event_detail
from vbl.drawing.events import Reading, all_events
from vbl.drawing.graph import graph_svg
from vbl.drawing.head import head, values
from vbl.drawing.markup import Markup, join, tag
from vbl.drawing.sheet import RunSheet
from vbl.drawing.state_view import Point, changes_between, state_at, state_view
from vbl.history.causes import causes, effects
from vbl.history.graph import graph

MOST_EVENTS = 5_000
"""Events of one run that are put into a file."""
MOST_DETAIL = 3_000_000
"""Characters of what the events hold that are put into a file; the first events have theirs."""
MOST_CHECKPOINTS = 40
"""Checkpoints, the latest ones, whose changes are put into a file."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the file: where it can be led to, what it is called (nothing for the head), what it shows."""

    id: str
    title: str
    markup: Markup


def run_sections(sheet: RunSheet) -> list[Section]:
    """The sections of a run, in the order of the page; the timeline belongs behind the first one."""
    sections = [
        Section("head", "", head(sheet, links=False)),
        Section("values", "Input and output", values(sheet, links=False)),
        Section("events", "Events", events(sheet)),
        Section("state", "State", join([state_view(sheet, Point()), checkpoints(sheet)])),
        Section("graph", "Graph", tag("div", graph_svg(graph(sheet.facts), links=False), class_="graph-scroll")),
        Section("code", "Code", code(sheet)),
    ]
    if sheet.children:
        tree = [(1, child) for child in sheet.children]
        sections.append(Section("children", "Children", children(tree, sheet.now, links=False)))
    if sheet.state.usage:
        sections.append(Section("costs", "Costs", costs(sheet.state.usage)))
    return sections


def events(sheet: RunSheet) -> Markup:
    """The history, each row with what it holds."""
    links = causes(sheet.facts)
    back, reading = effects(links), Reading(sheet, links)
    details: dict[int, Markup] = {}
    left = MOST_DETAIL
    for fact in sheet.facts[:MOST_EVENTS]:
        if left <= 0:
            break
        details[fact.seq] = event_detail(reading, fact, back.get(fact.seq, ()))
        left -= len(details[fact.seq])
    return all_events(reading, details, MOST_EVENTS)


def checkpoints(sheet: RunSheet) -> Markup:
    """What each of the latest checkpoints changed, folded."""
    last = sheet.state.checkpoint
    first = max(last - MOST_CHECKPOINTS, 0)
    drawn: list[Markup] = []
    before = state_at(sheet, Point(checkpoint=first)) if last else sheet.state
    for number in range(first + 1, last + 1):
        after = state_at(sheet, Point(checkpoint=number))
        changes, count = changes_between(before, after)
        told = tag("span", f" {count} change{'s' * (count != 1)}", class_="dim")
        drawn.append(tag("details", tag("summary", f"checkpoint {number}", told), changes))
        before = after
    cut = tag("p", f"What the first {first} changed is not in this file.", class_="dim") if first else None
    return tag("div", tag("h3", "What each checkpoint changed"), cut, drawn) if drawn else Markup()
