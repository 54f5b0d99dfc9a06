"""An agentic workflow, whole: read a folder of documents, summarise each, talk them over, write a briefing.

This is what `vbl demo` runs and kills, and the example to copy from. The workflow function decides and keeps the
conversation; the steps touch the world: files and models. With a model at hand (vbl.agents.models) the model
summarises and answers; without one, sentences of the documents are chosen by counting words (vbl.agents.summarise),
and the briefing says so. What a briefing looks like as text is in vbl.agents.pages.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

import vbl
from vbl.agents import diary, extract, models, pages, prompts
from vbl.agents import summarise as extraction
from vbl.agents.extract import Document, LeftOut, Survey
from vbl.agents.models import Message
from vbl.agents.prompts import QUESTIONS, Question

PATIENT = vbl.Retry(max_attempts=6, delay=1.0, max_delay=30.0)
"""Rate limits, overload and time-outs of a model pass; a refused key does not, and is not tried again."""


class Summary(BaseModel):
    """What one document says, and who says so: "extraction", or the name of a model."""

    name: str
    title: str
    points: list[str]
    by: str


class Talk(BaseModel):
    """The conversation so far; `vbl.state` keeps it through every restart."""

    summaries: list[Summary] = []
    messages: list[Message] = []


class Briefing(BaseModel):
    """Where the briefing is, and what went into it."""

    path: str
    words: int
    by: list[str]
    documents: list[str]
    left_out: list[LeftOut]


@vbl.step
def look_through(folder: str) -> Survey:
    """Find the documents of a folder."""
    with diary.noted(vbl.key):
        return extract.survey(folder)


@vbl.step
def read(path: str) -> Document:
    """Extract the text of one document."""
    with diary.noted(vbl.key):
        return extract.read(path)


@vbl.step(retry=PATIENT, timeout=120)
async def summarise(document: Document) -> Summary:
    """Say in a few sentences what one document says."""
    with diary.noted(vbl.key):
        model = models.from_environment()
        if model is None:
            await asyncio.sleep(diary.pace() * (0.7 + document.words % 10 / 15))
            points = await asyncio.to_thread(extraction.digest, document.text, [q.cues for q in QUESTIONS if q.cues])
            return Summary(name=document.name, title=document.title, points=points, by="extraction")
        reply = await model.reply([prompts.about(document)], system=prompts.SYSTEM)
        return Summary(name=document.name, title=document.title, points=prompts.points(reply.text), by=reply.model)


@vbl.step(retry=PATIENT, timeout=120)
async def ask(talk: Talk, question: Question) -> Message:
    """Ask a question about all that was read, with everything said so far."""
    with diary.noted(vbl.key):
        model = models.from_environment()
        if model is None:
            await asyncio.sleep(diary.pace())
            quotes = [(point, summary.name) for summary in talk.summaries for point in summary.points]
            return Message(role="assistant", content=pages.quoted(extraction.answer(quotes, question.cues)))
        opening = prompts.opening([pages.section(s.title, s.points, s.name) for s in talk.summaries])
        asked = Message(role="user", content=question.wording)
        reply = await model.reply([*opening, *talk.messages, asked], system=prompts.SYSTEM)
        return Message(role="assistant", content=reply.text)


@vbl.step(effect="write", idempotent=True)
def write(path: str, text: str) -> str:
    """Put the briefing where it belongs, whole or not at all; doing it again does no harm."""
    with diary.noted(vbl.key):
        part = Path(f"{path}.part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
        return path


@vbl.workflow
async def briefing(folder: str, output: str) -> Briefing:
    """Read the documents in `folder` and write a briefing on them to the file `output`."""
    talk = vbl.state(Talk)
    found = await look_through.aio(folder)
    documents = await vbl.map(read, [os.path.join(folder, name) for name in found.documents], limit=8)

    for summary in await vbl.map(summarise, documents, limit=3):
        talk.summaries.append(summary)

    for question in QUESTIONS:
        answer = await ask(talk, question)
        talk.messages += [Message(role="user", content=question.wording), answer]

    by = sorted({summary.by for summary in talk.summaries})
    text = pages.briefing(
        answers={
            question.heading: answer.content for question, answer in zip(QUESTIONS, talk.messages[1::2], strict=True)
        },
        summaries=[pages.section(s.title, s.points, s.name) for s in talk.summaries],
        left_out=[f"{file.name}: {file.reason}" for file in found.left_out],
        by=by,
    )
    path = await write.aio(output, text)
    return Briefing(path=path, words=len(text.split()), by=by, documents=found.documents, left_out=found.left_out)
