"""Text as people wrote it: `prose(text)` draws Markdown where it is Markdown, and plain text as it stands.

Nothing in a text becomes an element of its own: HTML in it is text, links keep harmless schemes only, pictures are not
fetched. Keys that were struck before they were recorded are shown as what they are, and so are the characters that turn
the direction of what follows, for a person decides by what he reads.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from vbl.drawing.markup import Markup, clean, join, tag, trusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

STRUCK = "[key]"
"""What stands where a key was taken out of a text before it was recorded."""
MOST = 200_000
"""Characters of Markdown that are laid out; a longer text is shown as it stands."""

_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_SIGNS_OF_MARKDOWN = re.compile(
    r"^#{1,6} \S|^```|^ {0,3}[-*+] \S.*\n+ {0,3}[-*+] \S|^ {0,3}1[.)] \S.*\n+ {0,3}2[.)] \S|^\|.*\|\s*\n\|[ :|-]+\||"
    r"\*\*\S[^*\n]*\*\*|\[[^\[\]\n]+\]\(https?://|^> \S",
    re.MULTILINE,
)


def prose(text: str) -> Markup:
    """The text, laid out if it looks like Markdown."""
    return markdown(text) if is_markdown(text) else plain(text)


def plain(text: str) -> Markup:
    """The text as it stands, line by line."""
    return tag("pre", struck(text), class_="text", tabindex=0)


def is_markdown(text: str) -> bool:
    """Whether the text shows signs of Markdown that plain text seldom has."""
    return len(text) <= MOST and _SIGNS_OF_MARKDOWN.search(text) is not None


def markdown(text: str) -> Markup:
    """The text laid out: HTML in it is shown, not obeyed; pictures become their words, headings no headings of ours."""
    laid_out = reader().render(clean(upright(text)))  # its html option is off: it escapes whatever it did not make
    return tag("div", trusted(laid_out), class_="prose")


def upright(text: str) -> str:
    """The text in the order in which it is recorded: what would turn it (https://trojansource.codes) is spelled out."""
    return _TURNS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def struck(text: str) -> Markup:
    """The text with each place marked where a key stood."""
    first, *rest = upright(text).split(STRUCK)
    return join([first, *((_mark(), piece) for piece in rest)])


def _mark() -> Markup:
    return tag("mark", STRUCK, class_="struck", title="a key stood here; it was not recorded")


@cache
def reader() -> MarkdownIt:
    """What lays out Markdown, one for all threads."""
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
    made.disable(["image", "html_block", "html_inline"])
    made.add_render_rule("heading_open", lambda *_: '<p class="heading">')
    made.add_render_rule("heading_close", lambda *_: "</p>\n")
    made.add_render_rule("link_open", _link_open)
    made.add_render_rule("text", _text)
    made.render("a")  # its rules are gathered at the first use, which must not be that of two threads at once
    return made


def _text(renderer: object, tokens: Sequence[Token], index: int, options: object, env: object) -> str:
    return struck(tokens[index].content)


def _link_open(renderer: object, tokens: Sequence[Token], index: int, options: object, env: object) -> str:
    href = tokens[index].attrs.get("href", "")
    return str(tag("a", href=str(href), rel="noreferrer noopener nofollow")).removesuffix("</a>")
