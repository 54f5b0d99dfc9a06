"""What a demonstration needs before it begins: documents, a model or none, and places for its files."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from vbl.agents import extract, models
from vbl.agents.extract import Survey


@dataclass(frozen=True, slots=True)
class Scene:
    """The folder that is read, who summarises, and where everything is kept.

    `model` is None where sentences are chosen by counting words, which takes `pace_s` a summary so that it can be
    watched; `shipped` says that the documents are vbl's own.
    """

    survey: Survey
    shipped: bool
    model: str | None
    pace_s: float
    place: Path
    db: Path
    briefing: Path
    diary: Path
    log: Path


def set_scene(folder: Path | None, db: Path | None, use_model: bool, pace_s: float | None = None) -> Scene:
    """Look through the folder (the shipped texts if None) and make a place for the files.

    Without `pace_s`, a summary takes about a second, and less where there are many.

    Raises UsageError, before anything is written, for a folder without documents or a model address that is none.
    """
    survey = extract.survey((folder or extract.SHIPPED).expanduser().absolute())
    model = models.from_environment() if use_model else None
    place = Path(tempfile.mkdtemp(prefix="vbl-demo-"))
    return Scene(
        survey=survey,
        shipped=folder is None,
        model=str(model) if model else None,
        pace_s=pace_s or min(1.0, 10 / len(survey.documents)),
        place=place,
        db=db or place / "demo.db",
        briefing=place / "briefing.md",
        diary=place / "side-effects.jsonl",
        log=place / "worker.log",
    )
