"""What calls of models used: tokens, and money where somebody says how much. Steps record it in their history.

An attempt collects what its body uses, and its end carries it, however the attempt ends. Calls by `vbl.agents.models`
are noted by themselves; `record_usage` is for a body that asks a provider by other means. No price is known here: `usd`
is what the provider says, or the caller. Nothing of what was asked or answered is kept.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vbl.engine.context import CURRENT, Attempt
from vbl.errors import NotInWorkflow, UsageError

MOST_TOKENS = 2**53
"""More than any call has; a larger number is no count."""
MOST_USD = 1e9
"""More than any call costs; sums of larger numbers would be no numbers in the end."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
Dollars = Annotated[float, Field(ge=0, le=MOST_USD, allow_inf_nan=False)]


class Usage(BaseModel):
    """What one call of a model used; None where nobody said.

    `input_tokens` are all that went in, `cached_tokens` those of them that were read from a cache; `usd` is US dollars.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    provider: Name
    model: Name
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cached_tokens: Count | None = None
    usd: Dollars | None = None


def record_usage(
    *,
    provider: str,
    model: str,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    cached_tokens: int | None = None,
    usd: float | None = None,
) -> None:
    """Record what a call of a model used, in the body of the step that made it; once for each call.

    `input_tokens` are all that went in, `cached_tokens` those of them that were read from a cache; `usd` is US dollars.
    It works in the tasks and threads that the body starts in its context, as long as the body runs. Raises
    NotInWorkflow outside the body of a step, UsageError for what cannot be a count or a price.
    """
    attempt = CURRENT.get()
    if not isinstance(attempt, Attempt):
        raise NotInWorkflow(
            "record_usage() was called outside the body of a step",
            "Call it in a function marked @vbl.step, in its own thread and context, behind the call of the model",
        )
    try:
        used = Usage(
            provider=provider,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_tokens=cached_tokens,
            usd=usd,
        )
    except ValidationError as error:
        wrong = error.errors()[0]
        raise UsageError(
            f"record_usage({wrong['loc'][0]}=…): {wrong['msg']}",
            'For example: record_usage(provider="openai", model="gpt-5-mini", input_tokens=812, usd=0.0004)',
        ) from None
    attempt.used(used.model_dump(exclude_none=True))


def note(used: Usage) -> None:
    """Record what a call used where a step makes it; outside of one there is no history to keep it in."""
    attempt = CURRENT.get()
    if isinstance(attempt, Attempt):
        attempt.used(used.model_dump(exclude_none=True))
