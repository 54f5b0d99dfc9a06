"""A recorded value is drawn as what it is, whatever it holds, and nothing in it becomes an element."""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drawing.test_markup import Reader
from vbl.drawing.chat import is_chat
from vbl.drawing.images import image, size_of
from vbl.drawing.markup import clean
from vbl.drawing.payload import LARGE, LARGEST, payload
from vbl.drawing.prose import MOST, is_markdown, markdown, prose, reader
from vbl.drawing.tree import DEEPEST, MOST_NODES

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(60)).decode()
EVIL = "<img src=x onerror=alert(1)><script>alert(1)</script>"
DRAWN = {
    "div", "span", "button", "a", "details", "summary", "pre", "ul", "ol", "li", "p", "code", "figure", "figcaption",
    "img", "mark", "em", "strong", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "br", "hr", "s", "b",
}  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
chats = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", EVIL]), "content": json_values}), min_size=1
)


def elements(value: Any) -> list[tuple[str, dict[str, str | None]]]:
    return Reader(payload(value, whole="/x?y=1", command="vbl events")).elements


@given(json_values | chats)
def test_nothing_in_a_value_becomes_an_element_or_a_handler(value: Any) -> None:
    for name, attributes in elements(value):
        assert name in DRAWN
        assert not [one for one in attributes if one.startswith("on") or one == "style"]


@given(json_values)
def test_the_json_beside_the_drawing_is_what_was_recorded(value: Any) -> None:
    drawn = payload(value)
    if 'class="raw json"' not in drawn:
        return  # on one line, where the value itself stands
    raw = html.unescape(drawn.rpartition('<pre tabindex="0">')[2].partition("</pre>")[0])
    assert raw == clean(json.dumps(value, ensure_ascii=False, indent=2))


@pytest.mark.parametrize("text", [EVIL, f"# {EVIL}\n\n**bold** {EVIL}", f"[x](https://a.example) `{EVIL}`\n\n{EVIL}"])
def test_html_in_a_text_is_shown_and_not_obeyed(text: str) -> None:
    assert {name for name, _ in Reader(prose(text)).elements} <= {"pre", "div", "p", "strong", "a", "code"}
    assert "onerror=alert(1)" in Reader(prose(text)).text


@pytest.mark.parametrize("scheme", ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd"])
def test_a_link_in_markdown_keeps_a_harmless_scheme_only(scheme: str) -> None:
    drawn = Reader(prose(f"**see** [here]({scheme}) and ![p](https://a.example/p.png) and <https://a.example>"))
    links = [attributes["href"] for name, attributes in drawn.elements if name == "a"]
    assert "https://a.example" in links
    assert not [link for link in links if link is None or not link.startswith("https://a.example")]
    assert "img" not in {name for name, _ in drawn.elements}


def test_markdown_is_laid_out_and_its_headings_are_not_those_of_the_page() -> None:
    drawn = prose("# Title\n\nA **bold** word.\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert '<p class="heading">Title</p>' in drawn
    assert "<strong>bold</strong>" in drawn
    assert "<table>" in drawn
    assert "<h1" not in drawn


def test_markdown_is_laid_out_by_many_threads_from_the_first_on() -> None:
    text = "# a\n\n- b\n- c **d**\n\n> e `f`\n"
    expected = markdown(text)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            for _ in range(300):
                reader.cache_clear()
                reader()
                assert list(pool.map(markdown, [text] * 6)) == [expected] * 6
    finally:
        sys.setswitchinterval(before)


def test_a_text_that_is_laid_out_can_be_read_as_it_was_written() -> None:
    written = "# Title\n\n**bold** <i>"
    assert written in Reader(payload(written)).text


@pytest.mark.parametrize("text", ["plain words", "a\nb\nc", "5 * 3 * 2", "- one dash", "x[0](y)", "{'a': 1}"])
def test_plain_text_is_left_as_it_stands(text: str) -> None:
    assert not is_markdown(text)
    assert Reader(prose(text)).text == text


def test_a_conversation_says_who_said_what_and_which_tool_was_called() -> None:
    value = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "How warm is it?"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "21 °C"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "fan", "input": {"on": True}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": True,
                                      "content": "no fan"}]},
    ]  # fmt: skip
    drawn = payload(value)
    text = Reader(drawn).text
    assert drawn.count('class="message"') == 6
    assert "chat, 6 messages" in text
    for said in ("How warm is it?", "calls weather c1", "Bonn", "21 °C", "calls fan t1", "result failed t1", "no fan"):
        assert said in text


def test_a_conversation_within_an_object_is_drawn_as_one_too() -> None:
    assert 'class="chat"' in payload({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    assert 'class="chat"' in payload({"role": "user", "content": "hello"})


@pytest.mark.parametrize("value", [[], [{"role": "user"}], [{"role": 1, "content": "x"}], {"role": "user"}, ["x"], [1]])
def test_other_lists_are_no_conversation(value: Any) -> None:
    assert not is_chat(value)


@pytest.mark.parametrize(
    "value",
    [
        f"data:image/png;base64,{PNG}",
        PNG,
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"mime_type": "image/png", "data": PNG},
    ],
)
def test_a_picture_that_says_so_is_shown_from_its_own_bytes(value: Any) -> None:
    drawn = image(value)
    assert drawn is not None
    assert f'src="data:image/png;base64,{PNG}"' in drawn


@pytest.mark.parametrize(
    "value",
    [
        "data:image/svg+xml;base64," + base64.b64encode(b"<svg onload=alert(1)>" + bytes(60)).decode(),
        "data:image/png;base64," + base64.b64encode(b"<svg onload=alert(1)>" + bytes(60)).decode(),
        f"data:text/html;base64,{PNG}",
        {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
        {"mime_type": "image/svg+xml", "data": base64.b64encode(b"<svg>" + bytes(60)).decode()},
        "iVBORw0KGgo is how a PNG begins, in base64; and here are more words than sixty-four characters.",
        f"data:image/png;base64,{PNG}\" onload=\"x",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_picture_stays_text(value: Any) -> None:
    assert image(value) is None
    assert "<img" not in payload(value)


def test_a_large_value_is_named_and_drawn_on_demand() -> None:
    value = ["word" * 10] * (LARGE // 40)
    drawn = payload(value, whole="/p?field=output", command="vbl events r_1")
    assert 'hx-get="/p?field=output"' in drawn
    assert 'href="/p?field=output&amp;raw=1"' in drawn
    assert len(drawn) < 3_000
    assert "hx-get" not in payload(value, whole="/p?field=output", full=True)


def test_a_tree_has_a_bound_and_says_what_is_missing() -> None:
    drawn = payload([[number, number] for number in range(MOST_NODES)], full=True)
    assert drawn.count("<li") < MOST_NODES + 100
    assert "more; the JSON has them" in drawn


def test_however_deep_and_long_a_value_is_what_is_drawn_has_a_bound() -> None:
    deep: Any = "bottom"
    for _ in range(150):
        deep = {"down": [deep]}
    assert payload(deep, full=True).count("<details") <= DEEPEST + 1
    long = payload("word " * LARGEST, full=True)
    assert len(long) < 3 * LARGEST
    assert f"of {5 * LARGEST} characters; the JSON has them" in long
    talk = [{"role": "user", "content": "word " * 50_000}] * 50
    assert len(payload(talk, full=True)) < 2 * LARGEST


@pytest.mark.parametrize("wrap", [
    lambda inner: {"role": "user", "content": [inner]},
    lambda inner: {"role": "tool", "content": {"type": "tool_result", "content": [inner]}},
    lambda inner: {"role": "user", "content": [{"type": "tool_result", "content": [inner]}]},
])  # fmt: skip
def test_conversations_within_conversations_have_a_bound(wrap: Callable[[Any], Any]) -> None:
    deep: Any = {"role": "user", "content": "bottom"}
    for _ in range(190):
        deep = wrap(deep)
    assert payload(deep, full=True).count('class="chat"') <= DEEPEST


def test_arguments_that_are_nested_too_deeply_stand_as_they_are() -> None:
    call = {"function": {"name": "look_up", "arguments": "[" * 5_000}}
    assert "[" * 5_000 in payload([{"role": "assistant", "tool_calls": [call]}])
    deep = {"function": {"name": "look_up", "arguments": "[" * 5_000 + "]" * 5_000}}
    assert "calls <b>look_up</b>" in payload([{"role": "assistant", "tool_calls": [deep]}])


def test_brackets_without_end_are_no_markdown() -> None:
    assert not is_markdown("[" * MOST)  # looking at each for its end would take minutes


def test_a_struck_key_is_marked_as_one() -> None:
    assert payload("sent with [key] as key").count('<mark class="struck"') == 1
    assert prose("**sent** with [key] as key").count('<mark class="struck"') == 1
    assert payload({"header": "Bearer [key]"}).count('<mark class="struck"') >= 1


@pytest.mark.parametrize(
    "value",
    [
        "pay \u202eRUE 01\u202c now",
        "**pay** \u2066`\u2067x`\n\n```\n\u202dcode\n```\n",
        {"a \u202ename": "\u2068 a text", "more": ["line\nline \u2069"]},
        [{"role": "user", "content": "\u202bsaid"}],
        [{"role": "\u202euser", "content": "said"}],
        [{"role": "tool", "name": "\u202ename", "content": "said"}],
        [{"role": "assistant", "content": [{"type": "tool_use", "id": "\u202eid", "name": "\u202ecall", "input": {}}]}],
    ],
)
def test_nothing_in_a_value_turns_the_direction_of_what_is_read(value: Any) -> None:
    drawn = payload(value)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", drawn)
    assert re.search(r"\\u20(2[a-e]|6[6-9])", drawn)


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1_000, "1 KB"), (1_240, "1.2 KB"), (3_400_000, "3.4 MB")]
)
def test_sizes_are_said_in_words(size: int, words: str) -> None:
    assert size_of(size) == words


@pytest.mark.parametrize("value", [None, True, 0, "", {}, [], "a word"])
def test_a_short_value_needs_no_box(value: Any) -> None:
    assert payload(value).startswith('<div class="payload short">')
