"""What a run is given when it is started, checked and as it is recorded: workflow, arguments, tags, priority, deadline.

The same for everyone who starts one: a client, a schedule, a workflow that starts another. Nothing is written here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, cast

from vbl.errors import InvalidInput, UsageError
from vbl.store.payloads import Blob, Json, Recorder, dumps, has_surrogate

if TYPE_CHECKING:
    from vbl.store.codec import Recorded
    from vbl.store.signature import Signature


class Startable(Protocol):
    """What is asked of a workflow by those who start it; what makes it run is the engine's."""

    name: str

    @property
    def version(self) -> str:
        """The digest of its code."""
        ...

    @functools.cached_property
    def signature(self) -> Signature:
        """Its parameters and its result."""
        ...

    def place(self, given: Any) -> tuple[str | None, str | None]:
        """The queue of a run with this recorded input, and its lane."""
        ...


def workflow_name(workflow: object) -> str:
    """The name of what is to be started. Raises UsageError for what is no workflow, nor the name of one."""
    if isinstance(workflow, str):
        checked_text("workflow", workflow)
        return workflow
    if not all(hasattr(type(workflow), part) for part in ("signature", "version", "source")):
        shown = getattr(workflow, "__name__", None) or repr(workflow)
        raise UsageError(f"{shown} is no workflow", "Put @vbl.workflow above its definition, or give a workflow's name")
    return cast("Startable", workflow).name


def input_of(
    workflow: Startable | str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, dict[str, Json], list[Blob]]:
    """The recorded form of arguments: the stored text, the plain data by parameter, and the long texts. Raises
    InvalidInput where they do not fit the workflow, UsageError for positional ones where only its name is known."""
    if isinstance(workflow, str):
        if args:
            raise UsageError(
                f"workflow {workflow!r} is named by text, so its parameters are not known here",
                "Give the arguments by name: start('name', ticket_id='T-1')",
            )
        for name in cast("dict[Any, Any]", kwargs):
            if not (isinstance(name, str) and name.isidentifier()):
                raise InvalidInput(f"workflow {workflow}: no parameter is called {name!r}", "Use the names it has")
        from vbl.store.codec import Codec

        codecs = {name: Codec(Any, f"workflow {workflow}, parameter {name}") for name in kwargs}
        return _recorded({name: codecs[name].record(value, Recorder()) for name, value in kwargs.items()})
    try:
        return _recorded(workflow.signature.record(args, kwargs))
    except TypeError as error:
        raise InvalidInput(f"workflow {workflow.name}: {error}", f"It takes {workflow.signature}") from None


def _recorded(values: dict[str, Recorded]) -> tuple[str, dict[str, Json], list[Blob]]:
    """Values by name as one: the stored text, the plain data, and the long texts."""
    text = "{" + ",".join(f"{dumps(name)}:{value.text}" for name, value in values.items()) + "}"
    plain = {name: value.plain for name, value in values.items()}
    return text, plain, [value.blob for value in values.values() if value.blob is not None]


def checked_priority(priority: object) -> int:
    """A priority. Raises UsageError for what is no whole number."""
    if type(priority) is not int or not -(2**31) <= priority < 2**31:
        raise UsageError(f"priority={priority!r} must be a whole number", "For example priority=10")
    return priority


def checked_text(what: str, value: object) -> None:
    """Raises UsageError for what no file can hold as a name: not text, empty, or no UTF-8."""
    if not isinstance(value, str) or not value or "\0" in value or has_surrogate(value):
        raise UsageError(f"{what} {value!r} cannot be used", "Give text that UTF-8 can hold, and that is not empty")


def tag_list(tags: Iterable[str] | dict[str, str] | None) -> list[str]:
    """Tags as texts, `name=value` for those of a dict. Raises UsageError for what is none."""
    if tags is None:
        return []
    if isinstance(tags, str):
        tags = [tags]
    listed = (
        [f"{name}={value}" for name, value in cast("dict[str, str]", tags).items()]
        if isinstance(tags, dict)
        else list(tags)
    )
    for tag in listed:
        checked_text("tag", tag)
        if "\n" in tag:
            raise UsageError(f"tag {tag!r} cannot be used", "A tag is text on one line, for example env=dev")
    return listed
