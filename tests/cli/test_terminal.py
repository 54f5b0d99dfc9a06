"""The streams: what may reach a terminal, how wide it is, when it is coloured, what JSON looks like."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vbl
from vbl.cli.events import print_event
from vbl.cli.ls import NAMED, SPARED
from vbl.cli.terminal import Terminal, columns, dumps, fit, say_error
from vbl.history.events import RunPaused
from vbl.history.facts import Event, EventType
from vbl.history.signs import SIGNS
from vbl.history.state import Status


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("option", "environment", "on_terminal", "colored"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"TERM": "dumb"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {}, True, False),
    ],
)
def test_when_to_colour(monkeypatch, option, environment, on_terminal, colored):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Terminal(color=option).colored(Screen() if on_terminal else io.StringIO()) is colored


def test_every_status_has_a_sign_and_a_word_of_its_own():
    assert set(SIGNS) == set(Status)
    for place in (0, 1):
        signs = [sign[place] for sign in SIGNS.values()]
        assert len(set(signs)) == len(signs)
    assert all(ascii_sign.isascii() for _, ascii_sign, _ in SIGNS.values())
    assert all(columns(sign) == 1 for sign, _, _ in SIGNS.values())


@given(st.text(), st.integers(1, 40))
def test_a_fitted_text_fits_and_is_printable(text, width):
    shown = fit(text, width)
    assert columns(shown) <= width
    assert shown.isprintable()


def test_wide_and_combining_characters_are_counted_as_they_are_shown():
    assert columns("日本") == 4
    assert columns("e\u0301") == 1
    assert columns("\x1b[31mred\x1b[0m") == 3
    assert fit("日本語", 5) == "日本…"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@given(json_values)
def test_json_keeps_its_value_and_carries_no_control_character(value):
    text = dumps(value)
    assert json.loads(text) == value
    assert not any(0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066" or "\ud800" <= c <= "\udfff" for c in text)


def test_an_error_keeps_its_lines_and_loses_its_escapes(capsys):
    say_error({"code": "x", "message": "one\n\ttwo \x1b[2J", "hint": "three\nfour"}, as_json=False, args=[])
    assert capsys.readouterr().err == "error: one\n\ttwo \\x1b[2J\n  three\n  four\n"


@pytest.mark.parametrize("args", [["--json", "why", "r_nothing"], ["why", "r_nothing", "--json"], ["--json", "lss"]])
def test_an_error_is_json_wherever_the_option_stands(vbl_here, tmp_path, args):
    with vbl.connect(tmp_path / "empty.db", create=True):
        pass
    ended = vbl_here(*args, db=tmp_path / "empty.db", code=2 if "lss" in args else 3)
    assert ended.error["hint"]


def printed(columns: int, draw: Callable[[Terminal], None]) -> list[str]:
    """The lines that something prints on a terminal of so many columns."""
    terminal = Terminal(color="never")
    terminal.stdout = Screen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        draw(terminal)
    return terminal.stdout.getvalue().splitlines()


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("since", [None, 0])
def test_an_event_keeps_to_its_line_and_to_its_sentence(columns, since):
    event = Event(1, "r_0123456789abcdef", 7, EventType.RUN_PAUSED, 0, RunPaused(actor="ada", reason="so long " * 30))
    [line] = printed(columns, lambda terminal: print_event(terminal, event, since))
    assert len(line) <= columns
    assert "paused by ada" in line
    assert ("RUN_PAUSED" in line) is (columns == 120 or (columns == 80 and since == 0))


@pytest.mark.parametrize(
    ("columns", "heads"),
    [
        (120, ["run", "workflow", "status", "created", "took", "wakes", "cost", "key, #tags"]),
        (90, ["run", "workflow", "status", "created", "wakes", "cost", "key, #tags"]),
        (70, ["run", "workflow", "status", "wakes", "cost"]),
        (44, ["run", "workflow", "status"]),
    ],
)
def test_a_list_of_runs_keeps_to_its_lines_and_leaves_out_what_matters_least(columns, heads):
    all_heads = ["run", "workflow", "status", "created", "took", "wakes", "cost", "key, #tags"]
    row = ["r_0123456789abcdef", "letter", "✓ completed", "2.2 s ago", "84 ms", "in 2 h", "$0.1234", "a long key " * 5]
    above, line = printed(columns, lambda terminal: terminal.table(all_heads, [row], (3, 4, 5, 6), SPARED, NAMED))
    assert re.split("  +", above) == heads
    assert len(line) <= columns
