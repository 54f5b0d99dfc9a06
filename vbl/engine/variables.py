"""The variables of a run: the pydantic model that workflow code got from `vbl.state`, and how it has changed."""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from vbl.errors import UsageError
from vbl.store.codec import Codec, Recorded
from vbl.store.payloads import Blob, Json, Recorder, dumps, equal_lists, same

M = TypeVar("M", bound=BaseModel)


class Delta:
    """What changed since the last checkpoint: the stored text, the plain values, the long texts, the chained digest."""

    __slots__ = ("blobs", "digest", "plain", "recorded", "text")

    def __init__(self, recorded: dict[str, Recorded], before: str | None) -> None:
        self.recorded = recorded
        self.plain: dict[str, Json] = {name: r.plain for name, r in recorded.items()}
        self.blobs: list[Blob] = [r.blob for r in recorded.values() if r.blob is not None]
        self.text = "{" + ",".join(f"{dumps(name)}:{r.text}" for name, r in recorded.items()) + "}"
        self.digest = hashlib.sha256(f"{before or ''}{self.text}".encode()).hexdigest()[:32]


class Variables:
    """The run's instance of its state model."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._instance: BaseModel | None = None
        self._codecs: dict[str, Codec] = {}

    def __call__(self, model: type[M]) -> M:
        """The instance, made at the first call. Raises UsageError for a second model, for one without defaults, and
        for what is none."""
        given = cast("object", model)
        if not (isinstance(given, type) and issubclass(given, BaseModel)):
            raise UsageError(
                f"vbl.state({given!r}): it takes a pydantic model", "For example class Notes(BaseModel): …"
            )
        if self._instance is None:
            try:
                self._instance = model()
            except ValidationError as error:
                raise UsageError(f"vbl.state({model.__name__}): {error}", "Give every field a default") from None
            self._codecs = {
                name: Codec(field.rebuild_annotation(), f"vbl.state({model.__name__}), field {name}")
                for name, field in model.model_fields.items()
            }
        if type(self._instance) is not model:
            raise UsageError(
                f"vbl.state({model.__name__}): this run's state is a {type(self._instance).__name__}",
                "A run has one state model; put both into one",
            )
        return cast("M", self._instance)

    def delta(self, known: dict[str, Json], before: str | None) -> Delta | None:
        """The fields that differ from `known`, the variables of the last checkpoint; None if none does.

        Raises ValueNotStorable, naming the field.
        """
        instance = self._instance
        if instance is None:
            return None
        changed: dict[str, Recorded] = {}
        for name, codec in self._codecs.items():
            recorded = codec.record(getattr(instance, name), self._recorder, decode=False)
            if name not in known or not _unchanged(recorded, known[name]):
                changed[name] = recorded
        return Delta(changed, before) if changed else None


def _unchanged(recorded: Recorded, known: Any) -> bool:
    plain = recorded.plain
    if plain is known:
        return True
    if recorded.shape is not None and type(plain) is list and type(known) is list:
        return equal_lists(cast("list[Json]", known), cast("list[Json]", plain), recorded.shape)
    return same(plain, known)
