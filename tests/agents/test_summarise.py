"""Summaries without a model: they quote, they repeat nothing, and they find what a reader would."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbl.agents import extract
from vbl.agents.prompts import QUESTIONS
from vbl.agents.summarise import answer, digest, split, summarise

CUES = [question.cues for question in QUESTIONS if question.cues]
SHIPPED = [extract.read(extract.SHIPPED / name) for name in extract.survey(extract.SHIPPED).documents]


def plain(text: str) -> str:
    return " ".join(re.sub(r"[*_`>#-]", " ", text).split())


@pytest.mark.parametrize("document", SHIPPED, ids=lambda d: d.name)
def test_every_sentence_is_quoted_from_the_document(document: extract.Document) -> None:
    points = digest(document.text, CUES)
    assert 4 <= len(points) <= 8
    assert len(set(points)) == len(points)
    for point in points:
        assert plain(point) in plain(document.text)


@given(st.text(max_size=2000))
def test_any_text_is_summarised_by_its_own_words(text: str) -> None:
    letters = "".join(re.findall(r"[^\W_]+", text))  # marks of emphasis may stand within a word, and are left out
    for sentence in summarise(text):
        assert all(word in letters for word in re.findall(r"[^\W_]+", sentence))


@settings(max_examples=50)
@given(st.sampled_from([document.text for document in SHIPPED]), st.integers(1, 9))
def test_no_more_sentences_than_asked_for_and_in_order(text: str, count: int) -> None:
    chosen = summarise(text, count)
    assert len(chosen) <= count
    sentences = [sentence.text for sentence in split(text)]
    places = [sentences.index(sentence) for sentence in chosen]
    assert places == sorted(places)


def test_the_same_text_gives_the_same_summary() -> None:
    assert len({tuple(digest(SHIPPED[0].text, CUES)) for _ in range(5)}) == 1


def test_summary_finds_the_subject_not_the_small_talk() -> None:
    text = (
        "The weather was fine and the coffee good. The reactor valve failed at noon because the reactor seal was worn. "
        "Somebody had brought a cake. After the valve failed, the reactor was shut down and the seal replaced. "
        "We all like cake. A second valve with the same seal will be checked on Friday. My bicycle has a flat tyre."
    )
    assert set(summarise(text, 2)) <= {
        "The reactor valve failed at noon because the reactor seal was worn.",
        "After the valve failed, the reactor was shut down and the seal replaced.",
        "A second valve with the same seal will be checked on Friday.",
    }


def test_repetition_is_passed_over() -> None:
    text = (
        "The pump in hall two is broken again. " * 5 + "A new pump costs nine hundred euros. Hall three is fine today."
    )
    assert len(summarise(text, 3)) == len(set(summarise(text, 3))) == 3


def test_markup_tables_and_code_are_no_sentences() -> None:
    text = (
        "# Title\n\nSee **the plan** in [the file](http://x.example/a_b). It\nis wrapped.\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nx = 1.  Not prose.\n```\n\n- first point\n- second point\n\n"
        "A heading\nThis paragraph stands under a plain heading."
    )
    found = split(text)
    assert [sentence.text for sentence in found] == [
        "See the plan in the file.",
        "It is wrapped.",
        "first point",
        "second point",
        "This paragraph stands under a plain heading.",
    ]
    assert [sentence.heading for sentence in found] == ["Title"] * 4 + ["A heading"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Dr. Marr came at 3.5 m. He left.", 2),
        ("It was approx. 40 bins, e.g. Nine of ours. Fine!", 2),
        ("A. B. Carr signed. Nobody else did.", 2),
        ("It reads about 4 N. So it is soft.", 2),
        ("„Gut.“ Er ging. Sie blieb?", 3),
        ('He said "No." Then he left.', 2),
        ("温度が上がった。警報は届かなかった。", 2),
        ("", 0),
        ("... !!! ???", 0),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, count: int) -> None:
    assert len(split(text)) == count


def test_no_character_is_lost_between_sentences() -> None:
    text = 'He said "No." (It was late!) Then: „Gut.“ Nothing more.'
    assert " ".join(sentence.text for sentence in split(text)) == text


def test_answers_follow_the_cues_and_spread_over_sources() -> None:
    quotes = [
        ("The board must decide on the offer before 31 March.", "a"),
        ("The fruit was red and firm.", "a"),
        ("Maintenance has to order parts until 10 April.", "a"),
        ("The pump must be repaired before May by maintenance.", "a"),
        ("Sales should answer the customer before Easter.", "b"),
    ]
    chosen = answer(quotes, ["must", "has to", "should", "before", "until", "order*"])
    assert ("The fruit was red and firm.", "a") not in chosen
    assert ("Sales should answer the customer before Easter.", "b") in chosen
    assert [source for _, source in chosen].count("a") == 2
    assert answer(quotes, ["nonsense"]) == []
    assert answer([], []) == []


@pytest.mark.slow
def test_a_long_document_takes_time_in_proportion() -> None:
    """Two megabytes, the most that is read: the walk goes over windows, not over all pairs."""
    text = "\n\n".join(document.text for document in SHIPPED)
    began = time.process_time()
    summarise(text * 4)
    once = time.process_time() - began
    began = time.process_time()
    summarise(text * 16)
    assert time.process_time() - began < 12 * once
