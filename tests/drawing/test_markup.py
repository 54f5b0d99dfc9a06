"""Whatever is put into markup comes out as text: nothing in a payload can become an element."""

from __future__ import annotations

import html
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from vbl.drawing.markup import Markup, clean, join, tag, trusted


class Reader(HTMLParser):
    """What a parser makes of it: the elements with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.text())
def test_text_and_attributes_come_back_as_they_were(text: str, title: str) -> None:
    read = Reader(tag("p", text, title=title))
    assert read.elements == [("p", {"title": clean(title)})]
    assert read.text == clean(text)


@given(st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=6))
def test_children_of_any_shape_add_no_element(children: object) -> None:
    assert [name for name, _ in Reader(tag("div", children)).elements] == ["div"]  # type: ignore[arg-type]


def test_markup_is_escaped_once() -> None:
    inner = tag("b", "<&>")
    assert tag("p", inner, "<") == "<p><b>&lt;&amp;&gt;</b>&lt;</p>"
    assert isinstance(join([inner, None, 7, 0.5]), Markup)
    assert join([inner, None, 7, 0.5]) == "<b>&lt;&amp;&gt;</b>70.5"


def test_markup_that_was_pieced_together_as_text_is_text_again() -> None:
    assert tag("p", tag("b", "x") + "<i>") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"


def test_attributes_are_left_out_named_alone_or_quoted() -> None:
    assert tag("input", disabled=True, value=None, hidden=False, name="\"'&", class_="a b", aria_label="x") == (
        '<input disabled name="&quot;&#x27;&amp;" class="a b" aria-label="x">'
    )
    assert tag("svg", viewBox="0 0 1 1", data_seq=0) == '<svg viewBox="0 0 1 1" data-seq="0"></svg>'


def test_characters_that_no_document_may_hold_are_shown() -> None:
    assert clean("a\0\x1b[2J\n\ud800\x7f") == "a␀␛[2J\n\ufffd␡"
    assert html.unescape(tag("p", "\x00")) == "<p>␀</p>"


def test_only_what_is_trusted_stays_as_it_is() -> None:
    assert tag("p", trusted("<b>x</b>")) == "<p><b>x</b></p>"
