"""What a briefing looks like as Markdown. Pure functions from what was found to text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BY_EXTRACTION = (
    "No language model was used. Every sentence below is quoted from the documents; which ones are shown was decided "
    "by counting words."
)
BY_MODEL = "Written by a language model ({names}) from the documents; check what matters against them."


def briefing(answers: Mapping[str, str], summaries: Sequence[str], left_out: Sequence[str], by: Sequence[str]) -> str:
    """The whole page: how it was made, the answer to each question, each document, and what was not read."""
    method = BY_EXTRACTION if list(by) == ["extraction"] else BY_MODEL.format(names=", ".join(by))
    parts = ["# Briefing", f"*{method}*"]
    parts += [f"## {heading}\n\n{answer}" for heading, answer in answers.items()]
    parts += ["## The documents", *summaries]
    if left_out:
        parts.append("## Not read\n\n" + "\n".join(f"- {line}" for line in left_out))
    return "\n\n".join(parts) + "\n"


def section(title: str, points: Sequence[str], source: str) -> str:
    """One document: its title, where it is, and what it says."""
    return f"### {title}\n\n`{source}`\n\n" + "\n".join(f"- {point}" for point in points)


def quoted(quotes: Sequence[tuple[str, str]]) -> str:
    """Sentences with the document that each comes from."""
    if not quotes:
        return "No sentence in the documents speaks of it."
    return "\n".join(f"- “{text}” (`{source}`)" for text, source in quotes)
