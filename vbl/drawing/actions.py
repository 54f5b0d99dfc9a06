"""What a person may do to a run: a bar of buttons, each with a dialog that says what it will append and what runs then.

A button is enabled exactly where the transition would not refuse; where it would, its title says why. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from vbl.drawing.decision import consequences, tried
from vbl.drawing.entries import Form, form
from vbl.drawing.forms import Sending, fields_of, line
from vbl.drawing.frame import refusal
from vbl.drawing.markup import Child, Markup, join, tag
from vbl.drawing.places import run_at
from vbl.drawing.sheet import RunSheet
from vbl.errors import VblError
from vbl.history.consequences import Act, Consequence, consequence, of_signal
from vbl.history.state import RunState
from vbl.history.transitions import CLEAN_UP_US


@dataclass(frozen=True, slots=True)
class _Button:
    """An act, its word, what the dialog is called, and whether it can't be taken back."""

    act: Act
    word: str
    title: str
    final: bool = False


_BUTTONS = (
    _Button("retry", "Retry", "Retry the run"),
    _Button("pause", "Pause", "Pause the run"),
    _Button("unpause", "Unpause", "Let the run go on"),
    _Button("cancel", "Cancel", "Cancel the run: this can't be taken back", True),
)


def action_bar(
    sheet: RunSheet, csrf: str, read_only: bool, *, root: str = "", actor: str = "", problem: VblError | None = None
) -> Markup | None:
    """The bar of a run, as `actor`; None where nothing may be changed. `problem` is why the last act was refused."""
    if read_only:
        return None
    sending = Sending(csrf, actor, root)
    drawn = [_act(sheet.state, sheet.now, button, sending) for button in _shown(sheet.state)]
    held = None
    if not sheet.supervised and not sheet.state.finished:
        held = tag("span", "no supervisor is alive: what is said now is recorded, and acted on by the next one")
    return tag(
        "div",
        drawn,
        _signal(sheet.state, sheet.now, sending) if not sheet.state.finished else None,
        tag("span", held, class_="dim") if held is not None else None,
        refusal(problem) if problem is not None else None,
        class_="actions bar",
        role="group",
        aria_label="What you can do to this run",
    )


def _shown(state: RunState) -> list[_Button]:
    """One of pause and unpause; of a run that has ended, what can open it again."""
    hidden = {"pause" if state.paused else "unpause"}
    if state.finished:
        hidden |= {"pause", "unpause", "cancel"}
    return [button for button in _BUTTONS if button.act not in hidden]


def _act(state: RunState, now: int, button: _Button, sending: Sending) -> Markup:
    told = tried(lambda: consequence(state, button.act, now))
    id = f"do-{button.act}"
    opener = tag(
        "button",
        f"{button.word}…",
        type="button",
        class_="danger" if button.final else None,
        disabled=isinstance(told, str),
        title=told if isinstance(told, str) else None,
        data_dialog=id,
        aria_haspopup="dialog",
    )
    if isinstance(told, str):
        return opener
    within = None
    if button.act == "cancel" and "RUN_CANCELLED" not in told.events:
        seconds = f"{CLEAN_UP_US // 1_000_000}"
        within = line(f"{id}-within", "within", "clean up within", seconds, "seconds", inputmode="decimal")
    return tag("div", opener, _dialog(state, id, button, sending, [consequences(told), within]))


def _dialog(state: RunState, id: str, button: _Button, sending: Sending, fields: Child) -> Markup:
    """The act once more, with what it does, and the button that really does it."""
    return tag(
        "dialog",
        tag("h2", button.title, id=f"{id}-title"),
        sending.form(
            f"{run_at('', state.run_id)}/{button.act}",
            fields,
            _who(id, sending),
            _confirm(button.word if not button.final else "Cancel the run", final=button.final),
        ),
        id=id,
        class_="act",
        aria_labelledby=f"{id}-title",
    )


def _who(id: str, sending: Sending) -> list[Markup]:
    return [
        line(f"{id}-as", "as", "as", sending.actor, "who does it"),
        line(f"{id}-reason", "reason", "reason", "", "kept in the history"),
    ]


def _confirm(word: str, *, final: bool = False, back: str | None = None) -> Markup:
    """The button that does it, and the way out: of the dialog, or to the page `back`."""
    sure = tag("button", word, type="submit", class_="danger" if final else "primary")
    leave = tag("a", "Leave it", href=back, class_="button") if back is not None else None
    return tag("div", sure, leave or tag("button", "Leave it", type="button", data_close=True), class_="bar")


# Signals -------------------------------------------------------------------------------------------------------------


def waits(state: RunState) -> dict[str, Form]:
    """The form for each name that the code waits for now, the oldest wait first."""
    found: dict[str, Form] = {}
    for number in sorted(state.open_waits):
        wait = state.waits[number]
        schema = True if wait.json_schema is None else wait.json_schema
        found.setdefault(wait.name, form(schema, "data", what=f"signal {wait.name}"))
    return found


def _signal(state: RunState, now: int, sending: Sending) -> Markup:
    """A button for each message that the code waits for, and one for any other."""
    named = [
        _message(state, f"send-{number}", name, made, sending, of_signal(state, name, now))
        for number, (name, made) in enumerate(waits(state).items())
    ]
    return tag("div", named, _message(state, "send", None, free(), sending, None), class_="signals")


def free() -> Form:
    """The form for a message that nothing waits for: any data."""
    return form({"anyOf": [{}, {"type": "null"}]}, "data", what="the data")


def _message(
    state: RunState, id: str, name: str | None, made: Form, sending: Sending, told: Consequence | None
) -> Markup:
    """The button of one message, and its dialog."""
    title = f"Send {name}" if name is not None else "Send a signal"
    body = signal_form(state, name, made, sending, id=id, told=told)
    dialog = tag("dialog", tag("h2", title, id=f"{id}-title"), body, id=id, class_="act", aria_labelledby=f"{id}-title")
    style = None if name is not None else "quiet"
    button = tag("button", f"{title}…", type="button", data_dialog=id, aria_haspopup="dialog", class_=style)
    return tag("div", button, dialog)


def signal_form(
    state: RunState,
    name: str | None,
    made: Form,
    sending: Sending | None,
    *,
    id: str = "again",
    key: str = "",
    actor: str | None = None,
    told: Consequence | None = None,
    back: str | None = None,
) -> Markup:
    """The form of one message; without a `name` that is asked for too. Nothing where nothing may be sent. In a page of
    its own it leads `back`."""
    if sending is None:
        return join([])
    named = (
        tag("input", type="hidden", name="name", value=name)
        if name is not None
        else line(f"{id}-name", "name", "name", "", "what the code waits for", required=True)
    )
    return sending.form(
        run_at("", state.run_id) + "/signal",
        named,
        fields_of(made, id),
        line(f"{id}-key", "key", "key", key, "a repeated message with the same key changes nothing"),
        line(f"{id}-as", "as", "as", sending.actor if actor is None else actor, "who sends it"),
        consequences(told) if told is not None else None,
        _confirm("Send", back=back),
        class_="panel decision" if back is not None else None,
    )
