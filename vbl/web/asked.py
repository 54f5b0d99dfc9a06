"""What the API takes, as models: queries and bodies are read by them, and the OpenAPI document tells of them.

A key that there is not is an error, not silence.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Limit = Annotated[int, Field(ge=1, le=1_000)]
Number = Annotated[int, Field(ge=0, lt=1 << 63)]
"""Of an event or a checkpoint; SQLite knows no larger one."""


class Asked(BaseModel):
    """What is taken; a key that there is not is an error, not silence."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


# Queries -----------------------------------------------------------------------------------------------------------


class Nothing(Asked):
    """No parameters."""


class RunsQuery(Asked):
    """Which runs: `q` as on the page and in `vbl ls`, for example `status:failed tag:env=dev since:1d`."""

    q: str = ""
    before: str | None = None
    limit: Limit = 50


class PageQuery(Asked):
    """So many of a list, behind those of the page before."""

    before: str | None = None
    limit: Limit = 50


class CountsQuery(Asked):
    """Which runs."""

    q: str = ""


class EventsQuery(Asked):
    """Events behind a cursor."""

    after: Number = 0
    limit: Limit = 200


class PointQuery(Asked):
    """A point of a history: after an event, or at a checkpoint."""

    at: Number | None = None
    checkpoint: Number | None = None


class GatesQuery(Asked):
    """Which gates: those of a status, of a run, that a person may decide, behind one of them."""

    status: Literal["open", "granted", "denied", "expired", "closed", "all"] = "open"
    run: str | None = None
    to: str | None = None
    after: str | None = None
    limit: Limit = 100


class QuestionsQuery(Asked):
    """Which questions; the next ones come up as these are settled."""

    to: str | None = None
    limit: Limit = 100


class LanesQuery(Asked):
    """How many lanes."""

    limit: Limit = 100


# Changes -----------------------------------------------------------------------------------------------------------


class Deed(Asked):
    """Who does it (by default the user whose server it is), and why."""

    by: str | None = None
    reason: str | None = None


class Start(Asked):
    """A new run of a workflow, by its name. With a `key` that is in use the run that has it is given back."""

    workflow: str
    input: dict[str, Any] = {}
    key: str | None = None
    tags: list[str] = []
    priority: int = 0
    deadline_s: float | None = None


class Cancel(Deed):
    """A cancel; the run may clean up for so many seconds."""

    within_s: float | None = None


class Signal(Asked):
    """A message to a run. With a `key` a repeated one changes nothing."""

    name: str
    data: Any = None
    key: str | None = None
    by: str | None = None


class Resolve(Deed):
    """How the write ended whose outcome nobody knows; with `happened`, `result` is what it returned."""

    outcome: Literal["happened", "did_not_happen", "failed"]
    result: Any = None


class Approve(Deed):
    """An approval: `edit` maps parameters of the call to new values, `data` is what the gate asks to be given."""

    edit: dict[str, Any] | None = None
    data: Any = None


class ScheduleDeed(Asked):
    """Who does it."""

    by: str | None = None
