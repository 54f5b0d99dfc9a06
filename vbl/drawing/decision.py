"""The form at a gate: the arguments of the call where they may be edited, the data that is asked for, who says so and
why; what approving and denying would do stands beside the buttons.

`Answer` is the form as it stands; `Answer.read` is what comes back from it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from vbl.drawing.entries import ABSENT, Form, form
from vbl.drawing.forms import Sending, fields_of, line
from vbl.drawing.markup import Markup, tag
from vbl.drawing.places import gate_at
from vbl.errors import VblError
from vbl.history.consequences import Consequence, of_denial, of_grant
from vbl.history.gates import canonical
from vbl.history.questions import Gate
from vbl.history.state import RunState

EDITABLE = 64 * 1024
"""Characters of JSON that a value may have to stand in a form."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person is about to say at a gate: a form for each parameter that may be edited, one for the data, the name
    and the reason as they were typed; `too_large` names what stands as it is, for no page takes so much text."""

    edits: tuple[tuple[str, Form], ...]
    data: Form | None
    actor: str
    reason: str = ""
    too_large: tuple[str, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether something in it does not fit."""
        return any(one.wrong for _, one in self.edits) or (self.data is not None and self.data.wrong)

    def read(self, given: Mapping[str, str]) -> tuple[dict[str, Any] | None, Any, Answer]:
        """The edit (None where nothing was changed), the data, and the answer with what was typed and what is wrong;
        the first two mean something only where nothing is."""
        edit: dict[str, Any] = {}
        edits: list[tuple[str, Form]] = []
        for name, before in self.edits:
            value, after = before.filled(given)
            edits.append((name, after))
            was, _ = before.value()
            if not after.wrong and value is not ABSENT and (was is ABSENT or canonical(was) != canonical(value)):
                edit[name] = value
        data, asked = self.data.filled(given) if self.data is not None else (None, None)
        said = replace(
            self, edits=tuple(edits), data=asked,
            actor=given.get("as", self.actor), reason=given.get("reason", self.reason),
        )  # fmt: skip
        return edit or None, None if data is ABSENT else data, said


def answer(gate: Gate, actor: str) -> Answer:
    """The empty form of a gate, as `actor`."""
    call: dict[str, Any] = gate.call or {}
    input: dict[str, Any] = call.get("input") or {}
    parameters: dict[str, Any] = call.get("parameters") or dict.fromkeys(input, True)
    large = [name for name in parameters if gate.edit and len(canonical(input.get(name))) > EDITABLE]
    edits = [
        (
            name,
            form(
                schema,
                f"edit{number}",
                input.get(name, ABSENT),
                label=name,
                what=f"parameter {name}",
                optional=name not in input,
            ),
        )
        for number, (name, schema) in enumerate(parameters.items())
        if gate.edit and name not in large
    ]
    given = gate.data if gate.votes else ABSENT
    if given is not ABSENT and len(canonical(given)) > EDITABLE:
        return Answer(tuple(edits), None, actor, too_large=(*large, "the answer so far"))
    data = form(gate.schema, "data", given) if gate.schema is not None else None
    return Answer(tuple(edits), data, actor, too_large=tuple(large))


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What approving and denying a gate would do; a text where it would be refused. `barred` is why the person who
    looks at it may not approve it."""

    grant: Consequence | str
    denial: Consequence | str
    barred: str | None = None


def foreseen(state: RunState, gate: str, now: int, barred: str | None = None) -> Foreseen:
    """What deciding the gate would do at the instant `now`."""
    return Foreseen(tried(lambda: of_grant(state, gate, now)), tried(lambda: of_denial(state, gate, now)), barred)


def tried(act: Callable[[], Consequence]) -> Consequence | str:
    """What an act would do, or why it would be refused."""
    try:
        return act()
    except VblError as error:
        return error.message


def decision_form(gate: Gate, said: Answer, sending: Sending, told: Foreseen | None = None) -> Markup:
    """The form at an open gate."""
    id = f"q-{gate.id}"
    edits = [fields_of(one, id, demand=False) for _, one in said.edits]
    unfolded = any(one.wrong or not one.untouched for _, one in said.edits)
    seen = (gate.call or {}).get("digest")
    return sending.form(
        gate_at("", gate.id) + "/approve",
        tag("input", type="hidden", name="seen", value=seen) if seen else None,
        tag("details", tag("summary", "Edit before approving"), edits, open=unfolded, class_="edits")
        if edits
        else None,
        _too_large(gate, said),
        tag("fieldset", tag("legend", "Asked for"), fields_of(said.data, id)) if said.data is not None else None,
        tag(
            "div",
            line(f"{id}-as", "as", "as", said.actor, told.barred if told and told.barred else "who decides"),
            line(f"{id}-reason", "reason", "reason", said.reason, "kept in the history"),
            class_="who",
        ),
        tag(
            "div",
            _verdict(gate, sending, "approve", "Approve", "a", told and told.grant),
            _verdict(gate, sending, "deny", "Deny", "d", told and told.denial),
            class_="verdicts",
        ),
        class_="decision",
    )


def _too_large(gate: Gate, said: Answer) -> Markup | None:
    if not said.too_large:
        return None
    how = tag("code", f"vbl approve {quote(gate.id)} --editor")
    return tag("p", f"{', '.join(said.too_large)}: too large to edit here. Elsewhere: ", how, class_="dim")


def _verdict(gate: Gate, sending: Sending, verdict: str, word: str, key: str, told: Consequence | str | None) -> Markup:
    """A button, and what it would do."""
    path = f"{gate_at(sending.root, gate.id)}/{verdict}"
    told_id = f"q-{gate.id}-{verdict}-then"
    button = tag(
        "button",
        word,
        " ",
        tag("kbd", key, aria_hidden="true"),
        type="submit",
        class_="primary" if verdict == "approve" else "danger",
        formaction=path,
        formnovalidate=verdict == "deny",
        hx_post=path,
        hx_target="closest .question",
        hx_swap="outerHTML",
        aria_describedby=told_id if told is not None else None,
        data_key=key,
    )
    return tag("div", button, None if told is None else consequences(told, told_id), class_="verdict")


def consequences(told: Consequence | str, id: str | None = None) -> Markup:
    """What an act would append, and what would run then; or why it is refused."""
    if isinstance(told, str):
        return tag("p", told, class_="then warn", id=id)
    appended = [tag("code", type) for type in told.events]
    listed = [part for one in appended for part in (one, ", ")] or ["nothing, "]
    return tag("p", "appends ", listed, tag("span", f"then {told.then}", class_="told"), class_="then", id=id)
