"""Summaries without a model: sentences of the document itself, chosen by counting words. Pure functions.

Each sentence is weighed by how much of the document it speaks for (the stationary weight of a walk over
sentences that share rare words, as in TextRank, Mihalcea and Tarau 2004), by its place and its form. Of the best,
those that repeat a chosen one are passed over. What comes out is quoted, never rephrased: a summary here contains
no sentence that the document does not.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WINDOW = 150
"""So many sentences are compared with each other; a longer document is weighed in windows of this size."""
DAMPING, ROUNDS = 0.85, 20
REPEATS = 0.45
"""Two sentences whose words agree by more than this (cosine) count as one."""
STEM = 6
"""Words are compared by their first letters, a stemmer that knows no language."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a document and the heading that it stands under."""

    text: str
    heading: str = ""


def summarise(text: str, count: int = 5) -> list[str]:
    """Choose at most `count` sentences that together say most of the document, in its order."""
    sentences = split(text)
    weights = _weights(sentences, text)
    chosen = choose([sentence.text for sentence in sentences], weights, count)
    return [sentences[index].text for index in sorted(chosen)]


def digest(text: str, cues: Sequence[Sequence[str]], count: int = 4, each: int = 2) -> list[str]:
    """Like `summarise`, and for each list of cues up to `each` sentences more that they point to."""
    sentences = split(text)
    texts = [sentence.text for sentence in sentences]
    weights = _weights(sentences, text)
    chosen = choose(texts, weights, count)
    for words in cues:
        told = [weight * hits for weight, hits in zip(weights, cued(texts, words), strict=True)]
        further = choose(texts, told, each + len(chosen))
        chosen += [index for index in further if index not in chosen][:each]
    return [texts[index] for index in sorted(chosen)]


def answer(quotes: Sequence[tuple[str, str]], cues: Sequence[str], count: int = 6) -> list[tuple[str, str]]:
    """Choose the (sentence, source) pairs that answer best, at most two of a source, the best first.

    With cues, those that contain most of them; without, those that speak for most of the others.
    """
    texts = [text for text, _ in quotes]
    weights = [weight * _form(Sentence(text)) for weight, text in zip(central(texts), texts, strict=True)]
    if cues:
        weights = [weight * hits for weight, hits in zip(weights, cued(texts, cues), strict=True)]
    chosen: list[tuple[str, str]] = []
    for index in choose(texts, weights, len(texts)):
        if sum(source == quotes[index][1] for _, source in chosen) < 2:
            chosen.append(quotes[index])
    return chosen[:count]


def choose(sentences: Sequence[str], weights: Sequence[float], count: int) -> list[int]:
    """Choose the heaviest sentences that don't repeat each other; their indexes, the heaviest first."""
    stems = [_stems(sentence) for sentence in sentences]
    rarity = _rarity(stems)
    vectors = [_vector(words, rarity) for words in stems]
    chosen: list[int] = []
    for index in sorted(range(len(sentences)), key=lambda i: (-weights[i], i)):
        if len(chosen) == count or weights[index] <= 0:
            break
        if all(_cosine(vectors[index], vectors[other]) <= REPEATS for other in chosen):
            chosen.append(index)
    return chosen


def central(sentences: Sequence[str]) -> list[float]:
    """How much each sentence speaks for the others; 1.0 is the average."""
    weights: list[float] = []
    for start in range(0, len(sentences), WINDOW):
        weights += _walk([_stems(sentence) for sentence in sentences[start : start + WINDOW]])
    return weights


def cued(sentences: Sequence[str], cues: Iterable[str]) -> list[float]:
    """How many of the cues (words, or beginnings of words that end in `*`) each sentence contains."""
    patterns = [re.escape(cue.removesuffix("*")) + (r"\w*" if cue.endswith("*") else "") for cue in cues]
    if not patterns:
        return [0.0] * len(sentences)
    pattern = re.compile(rf"\b(?:{'|'.join(patterns)})\b", re.IGNORECASE)
    return [float(len({match.casefold() for match in pattern.findall(sentence)})) for sentence in sentences]


# --- from text to sentences

_MARKS = re.compile(r"^\s*(?:[-*+•]\s+|\(?(?:\d{1,3}|[a-z])[.)]\s+|>\s?)")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*$")
_RULE = re.compile(r"^\s*(?:[-=*_~]\s*){3,}$")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_EMPHASIS = re.compile(r"(?<!\w)(\*\*|__|\*|_|`)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_CLOSING, _OPENING = "\"'”’»“‘)\\]", "\"'“‘„«(\\["
_END = re.compile(
    rf"(?:(?<=[.!?…])|(?<=[.!?…][{_CLOSING}]))\s+(?=[{_OPENING}]*[A-Z0-9À-ÖØ-ÞА-Я])|(?<=[。！？])(?=[^{_CLOSING}])"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|ca|approx|no|fig|mr|mrs|ms|dr|prof|st|nr|z\.b|bzw|d\.h)\.|(?:^|(?-i:[A-Z])\w*\.?\s)(?-i:[A-Z])\.)$",
    re.IGNORECASE,
)


def split(text: str) -> list[Sentence]:
    """Split a text (plain or Markdown) into its sentences; headings, tables, rules and code are no sentences."""
    sentences: list[Sentence] = []
    heading = ""
    for kind, block in _blocks(text):
        if kind == "heading":
            heading = block
        else:
            sentences += [Sentence(part, heading) for part in _sentences(block) if re.search(r"\w", part)]
    return sentences


def _blocks(text: str) -> Iterable[tuple[str, str]]:
    """The headings and paragraphs of a text. A line much shorter than its neighbours ends its paragraph."""
    fenced = False
    for chunk in re.split(r"\n\s*\n", text):
        lines = chunk.splitlines()
        width = max((len(line) for line in lines), default=0)
        paragraph: list[str] = []
        for number, line in enumerate(lines):
            if line.lstrip().startswith(("```", "~~~")):
                fenced = not fenced
                continue
            title = _heading_of(line, lines[number + 1 :])
            starts = bool(_MARKS.match(line))
            if paragraph and (title or starts):
                yield "paragraph", " ".join(paragraph)
                paragraph = []
            if title:
                yield "heading", _plain(title)
            elif not fenced and not line.lstrip().startswith("|") and not _RULE.match(line):
                paragraph.append(_plain(_MARKS.sub("", line, count=1).strip()))
                if len(line) < 0.6 * width:
                    yield "paragraph", " ".join(paragraph)
                    paragraph = []
        if paragraph:
            yield "paragraph", " ".join(paragraph)


def _heading_of(line: str, following: Sequence[str]) -> str:
    """The words of a heading, marked by # or standing short and unpunctuated over a paragraph; else nothing."""
    if marked := _HEADING.match(line):
        return marked[1]
    bare = line.strip()
    if not following or len(bare) > 60 or not bare[:1].isupper() or re.search(r"[.!?:;,|]$", bare):
        return ""
    return bare if following[0].strip()[:1].isupper() and len(following[0]) > 1.5 * len(bare) else ""


def _plain(line: str) -> str:
    return _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", line))


def _sentences(paragraph: str) -> list[str]:
    parts: list[str] = []
    for part in _END.split(" ".join(paragraph.split())):
        if parts and _ABBREVIATION.search(parts[-1]):
            parts[-1] += " " + part
        elif part.strip():
            parts.append(part.strip())
    return parts


# --- from sentences to weights

_TELLING = re.compile(r"summar|recommend|conclu|decid|decision|result|finding|proposal|abstract|outcome", re.IGNORECASE)
_STOPS = (".", "!", "…", "。", "！", '"', "”", ")")
_ABOUT_ITSELF = re.compile(
    r"(?:present|from|to|dear|written|prepared|with kind|q|held|notes)\b[^.]*?[:.,]", re.IGNORECASE
)
_LEANING = re.compile(r"(?:this|that|these|those|it|he|she|they|but|and|so|then|there|here|also)\b", re.IGNORECASE)


def _weights(sentences: Sequence[Sentence], text: str) -> list[float]:
    title = set(_stems(text.lstrip().split("\n", 1)[0]))
    plain = central([sentence.text for sentence in sentences])
    return [
        weight * _form(sentence) * (1 + 0.1 * min(3, len(title.intersection(_stems(sentence.text)))))
        for weight, sentence in zip(plain, sentences, strict=True)
    ]


def _form(sentence: Sentence) -> float:
    """What a sentence's place and form are worth: whole and telling ones more, fragments and leaning ones less."""
    words = len(re.findall(r"\w+", sentence.text))
    worth = 0.3 if words < 6 else 0.7 if words > 45 else 1.0
    worth *= 1.5 if _TELLING.search(sentence.heading) else 1.0
    worth *= 1.15 if re.search(r"\d", sentence.text) else 1.0
    worth *= 0.4 if sentence.text.endswith(("?", ":")) else 1.0 if sentence.text.endswith(_STOPS) else 0.5
    worth *= 0.3 if _ABOUT_ITSELF.match(sentence.text) else 1.0
    return worth * (0.6 if _LEANING.match(sentence.text) or sentence.text[:1].islower() else 1.0)


def _stems(sentence: str) -> list[str]:
    words = re.findall(r"[^\W_]+", sentence.casefold())
    return [word[:STEM] for word in words if len(word) > 2 or not word.isascii()]


def _rarity(stems: Sequence[Sequence[str]]) -> dict[str, float]:
    """The weight of each stem: 0 for one that stands in every sentence, more the fewer it stands in."""
    spread = Counter(stem for words in stems for stem in set(words))
    return {stem: math.log(len(stems) / times) if len(stems) > 3 else 1.0 for stem, times in spread.items()}


def _vector(words: Sequence[str], rarity: dict[str, float]) -> dict[str, float]:
    weights = {stem: times * rarity[stem] for stem, times in Counter(words).items()}
    length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
    return {stem: weight / length for stem, weight in weights.items()}


def _cosine(left: dict[str, float], right: dict[str, float]) -> float:
    if len(left) > len(right):
        left, right = right, left
    return sum((weight * right[stem] for stem, weight in left.items() if stem in right), 0.0)


def _walk(stems: Sequence[Sequence[str]]) -> list[float]:
    """The stationary weights of a walk from sentence to sentence, along what they share."""
    size = len(stems)
    rarity = _rarity(stems)
    kinds = [frozenset(words) for words in stems]
    lengths = [math.log(2 + len(words)) for words in stems]
    ties = [
        [
            sum((rarity[stem] for stem in kinds[i] & kinds[j]), 0.0) / (lengths[i] + lengths[j]) if i != j else 0.0
            for j in range(size)
        ]
        for i in range(size)
    ]
    sums = [sum(row) or 1.0 for row in ties]
    weights = [1.0] * size
    for _ in range(ROUNDS):
        shares = [weight / total for weight, total in zip(weights, sums, strict=True)]
        weights = [1 - DAMPING + DAMPING * sum(map(operator.mul, ties[i], shares)) for i in range(size)]
    return weights
