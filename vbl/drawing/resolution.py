"""The form that settles a step whose outcome nobody knows: it happened, with this result; it did not; it is to fail.

The result has fields by the return type of the step, where that was recorded; else it is written as JSON. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vbl.drawing.decision import consequences, tried
from vbl.drawing.entries import ABSENT, Form, form
from vbl.drawing.forms import Sending, fields_of, line
from vbl.drawing.markup import Markup, tag
from vbl.drawing.places import run_at
from vbl.history.consequences import Act, consequence
from vbl.history.state import RunState

_WORDS: tuple[tuple[Act, str, str], ...] = (
    ("happened", "It happened, with this result", "primary"),
    ("did_not", "It did not: run it again", ""),
    ("fail", "Let it count as failed", "danger"),
)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a person is about to say of the step: its result, and who says so and why, as they were typed."""

    result: Form
    actor: str
    reason: str = ""

    def read(self, given: Mapping[str, str]) -> tuple[Any, Resolution]:
        """The result, None where none was given, and what was typed with what is wrong in it."""
        value, after = self.result.filled(given)
        actor, reason = given.get("as", self.actor), given.get("reason", self.reason)
        return None if value is ABSENT else value, replace(self, result=after, actor=actor, reason=reason)


def resolution(state: RunState, actor: str) -> Resolution:
    """The empty form for the step that blocks the run."""
    block = state.blocked or {}
    schema = block.get("json_schema")
    made = form(True if schema is None else schema, "result", label="result", what=f"the result of {block.get('step')}")
    return Resolution(made, actor)


def resolution_form(state: RunState, said: Resolution, sending: Sending, now: int) -> Markup:
    """The form, with what each answer would do beside its button."""
    id = f"q-{state.run_id}"
    path = run_at("", state.run_id) + "/resolve"
    return sending.form(
        f"{path}?outcome=happened",
        tag("fieldset", tag("legend", "Its result, if it happened"), fields_of(said.result, id)),
        tag(
            "div",
            line(f"{id}-as", "as", "as", said.actor, "who says so"),
            line(f"{id}-reason", "reason", "reason", said.reason, "kept in the history"),
            class_="who",
        ),
        tag("div", [_choice(state, sending, now, *words) for words in _WORDS], class_="verdicts"),
        class_="decision",
    )


def _choice(state: RunState, sending: Sending, now: int, act: Act, word: str, class_: str) -> Markup:
    path = f"{run_at(sending.root, state.run_id)}/resolve?outcome={act}"
    told_id = f"q-{state.run_id}-{act}-then"
    key = {"happened": "a", "fail": "d"}.get(act)
    button = tag(
        "button",
        word,
        [" ", tag("kbd", key, aria_hidden="true")] if key else None,
        type="submit",
        class_=class_ or None,
        formaction=path,
        formnovalidate=act != "happened",
        hx_post=path,
        hx_target="closest .question",
        hx_swap="outerHTML",
        aria_describedby=told_id,
        data_key=key,
    )
    told = tried(lambda: consequence(state, act, now))
    return tag("div", button, consequences(told, told_id), class_="verdict")
