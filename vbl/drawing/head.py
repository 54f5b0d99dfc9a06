"""The head of a run's page: how it stands and why, what would move it, and what is known of it at a glance.

All of it is read from the sheet; the sentence of the reason is that of `vbl why`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

from vbl.clock import instant
from vbl.drawing.code import diff_lines
from vbl.drawing.costs import spent
from vbl.drawing.failure import failure
from vbl.drawing.markup import Child, Markup, tag
from vbl.drawing.payload import payload
from vbl.drawing.places import run_at
from vbl.drawing.runs import address
from vbl.drawing.sheet import RunSheet
from vbl.drawing.status import badge, style_of
from vbl.drawing.times import clock, countdown
from vbl.history.axis import merged
from vbl.history.filters import Filter
from vbl.history.narration import duration, tries
from vbl.history.questions import questions
from vbl.history.state import RunState


def head(sheet: RunSheet, *, root: str = "", links: bool = True, actions: Markup | None = None) -> Markup:
    """The head. `root` is the prefix of every address; `links` is False where there are no other pages to lead to;
    `actions` is the bar of what can be done."""
    state = sheet.state
    return tag(
        "header",
        tag(
            "div",
            tag("h1", state.workflow),
            tag("code", sheet.id, class_="run-id", data_copy=sheet.id, title="The id of the run"),
            class_="title",
        ),
        _reason(sheet, links),
        actions,
        facts(sheet, root=root, links=links),
        _errors(sheet.state),
        class_="run-head",
    )


def _errors(state: RunState) -> Child:
    """Why the run failed: the error of the step that made it fail, where there is one, and behind it the run's own."""
    if state.error is None:
        return None
    step = state.steps.get(state.error.get("step") or "")
    if step is None or not step.error:
        return failure(state.error)
    own = {**step.error, "step": step.key}
    summary = tag("summary", f"what the workflow saw: {state.error.get('type')}")
    return [
        failure(own, attempt=step.attempt, max_attempts=step.max_attempts),
        tag("details", summary, failure(state.error), class_="raw"),
    ]


def _reason(sheet: RunSheet, links: bool) -> Markup:
    """The status, why, what else can move it, and what to type."""
    answer = sheet.answer
    said = answer.detail.strip()
    if "\n--- " in said:  # the code has changed: the difference is part of the reason
        first, _, rest = said.partition("\n")
        lines: Child = [
            tag("p", first, class_="why-first"),
            tag("pre", diff_lines(rest.splitlines()), class_="diff", tabindex=0),
        ]
    else:
        first, *others = said.splitlines() or [""]
        more = tag("ul", [tag("li", line) for line in others], class_="why-also") if others else None
        lines = [tag("p", first, class_="why-first"), more]
    return tag(
        "div",
        tag("div", badge(sheet.state.status), _until(sheet), class_="now"),
        tag("div", lines, _answer(sheet) if links else None, _commands(sheet), class_="because"),
        class_=f"reason is-{style_of(sheet.state.status)}",
    )


def _answer(sheet: RunSheet) -> Markup | None:
    """The way to what a person is asked, on this very page."""
    return tag("p", tag("a", "answer it ↓", href="#asks")) if questions(sheet.state) else None


_AT_LAST = {
    "gate": "expires",
    "signal": "gives up",
    "backoff": "tries again",
    "timer": "goes on",
    "clean-up": "is ended",
    "queue": "is cancelled",
}
"""What time alone does to a run that waits for this."""


def _until(sheet: RunSheet) -> Markup | None:
    """What time alone will do, and when."""
    answer = sheet.answer
    if answer.until is None or sheet.state.finished:
        return None
    cause = next((one.waits_for for one in answer.also if one.until == answer.until), answer.waits_for)
    return tag("span", f"{_AT_LAST.get(cause, 'moves')} ", countdown(answer.until, sheet.now), class_="dim")


def _commands(sheet: RunSheet) -> Markup:
    """What to type: what the reason asks for, and the command that gives the reason."""
    asked = [line for line in sheet.answer.hint.splitlines() if line.strip()]
    return tag("ul", [_command(line) for line in (*asked, f"vbl why {quote(sheet.id)}")], class_="commands")


def _command(line: str) -> Markup:
    """`vbl retry r_1   (to try now)` as a command that can be copied, and its remark."""
    typed, _, remark = line.partition("   ")
    if not typed.startswith("vbl "):
        return tag("li", line)
    return tag(
        "li",
        tag("code", typed, data_copy=typed),
        tag("span", f" {remark.strip()}", class_="dim") if remark else None,
    )


def facts(sheet: RunSheet, *, root: str = "", links: bool = True) -> Markup:
    """What is known of the run, each thing under its name."""
    rows = [*_times(sheet), *_work(sheet), *_origin(sheet, root, links), *_code(sheet)]
    return tag(
        "dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows if value is not None],
        class_="facts",
    )  # fmt: skip


def _times(sheet: RunSheet) -> list[tuple[str, Child]]:
    state, picture = sheet.state, sheet.picture
    ended = state.finished_at
    wall = (sheet.now if ended is None else ended) - state.created_at
    end = picture.end_at
    spans = [
        (bar.start_at, end if bar.end_at is None else bar.end_at) for lane in picture.lanes for bar in lane.bars
    ]  # fmt: skip
    busy = sum(b - a for a, b in merged(spans))
    since = state.created_at if ended is None else None
    return [
        ("elapsed", tag("span", duration(wall), data_since=since, title=f"since {instant(state.created_at)}")),
        ("busy", duration(busy) if spans else None),
        ("created", [clock(state.created_at, sheet.now), f" by {state.actor}" if state.actor else None]),
        ("ended", clock(ended, sheet.now) if ended is not None else None),
        ("deadline", [clock(state.deadline, sheet.now), " ", countdown(state.deadline, sheet.now, past="over")]
         if state.deadline is not None and ended is None else None),
    ]  # fmt: skip


def _work(sheet: RunSheet) -> list[tuple[str, Child]]:
    state = sheet.state
    steps = [step for step in state.steps.values() if not step.void]
    done = sum(step.status == "completed" for step in steps)
    attempts = sum(step.attempt for step in steps)
    again = attempts - len(steps)
    retrying = [step for step in steps if step.status == "retrying"]
    told = ", ".join(
        f"{step.key}: {tries(step.failures + 1 if step.max_attempts else step.attempt + 1, step.max_attempts)}"
        for step in retrying[:3]
    )
    used = spent(state.usage).told
    return [
        ("steps", f"{done} of {len(steps)} completed" if steps else "none yet"),
        ("attempts", f"{attempts}, {again} more than steps" if again > 0 else str(attempts) if steps else None),
        ("backs off", told or None),
        ("history", f"{state.seq} events, checkpoint {state.checkpoint}"),
        ("used", used or None),
    ]


def _origin(sheet: RunSheet, root: str, links: bool) -> list[tuple[str, Child]]:
    state = sheet.state
    parent = sheet.parent
    came: Child = None
    if parent is not None:
        named = f"{parent.workflow} {parent.id}"
        came = [tag("a", named, href=run_at(root, parent.id)) if links else named, " ", badge(parent.status)]
    elif state.parent is not None:
        came = [tag("code", state.parent), tag("span", " (no longer in the file)", class_="dim")]
    tags = [_tag(one, root, links) for one in state.tags]
    lane = f", lane {state.lane}" if state.lane is not None else ""
    return [
        ("child of", came),
        ("key", tag("code", state.key) if state.key else None),
        ("tags", tag("span", tags, class_="chips") if tags else None),
        ("queue", f"{state.queue}{lane}" if state.queue is not None else None),
        ("priority", str(state.priority) if state.priority else None),
        ("children", sheet.number_of_children if sheet.children else None),
    ]


def _tag(name: str, root: str, links: bool) -> Markup:
    if not links:
        return tag("span", name, class_="chip", title=name)
    return tag("a", name, class_="chip", title=name, href=address(root, Filter(tags=(name,))))


def _code(sheet: RunSheet) -> list[tuple[str, Child]]:
    newest = (sheet.newest or {}).get("version")
    if newest is None or not sheet.version:  # a run that was created by name does not know what it began with
        since = None
    elif newest == sheet.version:
        since = tag("span", " ✓ unchanged since", class_="good")
    else:
        since = tag("span", " ≠ changed since", class_="warn")
    return [
        ("code", [tag("code", sheet.version[:12], title=sheet.version), since] if sheet.version else None),
        ("defined in", _place(sheet.source or {})),
    ]


def _place(source: Mapping[str, Any]) -> Markup | None:
    """The file and the line of the definition: the last two parts of the path, all of it to be seen on asking."""
    file, line = source.get("file"), source.get("line")
    if not file:
        return None
    near = "/".join(str(file).replace("\\", "/").split("/")[-2:])
    return tag("span", f"{near}:{line}" if line else near, class_="mono", title=file)


def values(sheet: RunSheet, *, root: str = "", links: bool = True) -> Markup:
    """What went in and what came out."""
    state = sheet.state
    whole = f"{run_at(root, sheet.id)}/value?of=" if links else None

    def drawn(name: str, value: object) -> Markup:
        command = value_command(sheet.id, name) if links else None
        body = payload(value, whole=whole and f"{whole}{name}", command=command)
        return tag("section", tag("h2", name), body, class_="value")

    came_out = drawn("output", state.output) if state.status == "completed" else None
    variables = drawn("variables", state.variables) if state.variables else None
    return tag("div", drawn("input", state.input), came_out, variables, class_="values")


def value_command(run: str, name: str, point: str = "") -> str:
    """What prints a part of a run's state; `point` is the option that says as of when."""
    return f"vbl state {quote(run)}{point} --json | jq .{name}"
