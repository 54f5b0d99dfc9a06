"""One event, one human line: the words for what happened, the same in the log, the terminal and the page.

Here live the sentence for each type of event and the small words it is made of: spans of time, bounded previews of
values, text made safe to print. Pure; it knows no terminal, no colours and no clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from vbl.clock import SECOND

if TYPE_CHECKING:
    from vbl.history.facts import Event, Fact

PREVIEW = 72
"""Characters of a value that fit into a line."""

LATE = SECOND
"""A lateness of so many microseconds is worth a word."""
EXPIRY = {"deny": "denies it", "approve": "approves it", "fail": "fails it"}
"""What the end of a gate's time does to it."""

_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


class _Fields(Protocol):
    """A payload, plain or validated: fields are read as items."""

    def __getitem__(self, field: str, /) -> Any: ...


def narrate(event: Event | Fact) -> str:
    """Say in one line what the event reports. Control characters of the user's text come out escaped."""
    tell = _TELL.get(event.type)
    payload: _Fields = event.payload
    return printable(tell(payload, event.at) if tell else str(event.type).lower().replace("_", " "))


def duration(us: int) -> str:
    """A span of time in words of two units at most: `850 ms`, `1.2 s`, `2 min 5 s`, `4 h`, `3 d 4 h`."""
    us = max(us, 0)
    if us < 999_500:
        return f"{us / 1_000:.0f} ms" if us >= 1_000 or us == 0 else "1 ms"
    if us < 9_950_000:
        return f"{us / 1_000_000:.1f}".removesuffix(".0") + " s"
    seconds = round(us / 1_000_000)
    for size, unit, rest_size, rest_unit in _UNITS:
        if seconds >= size:
            rest = seconds % size // rest_size
            return f"{seconds // size} {unit} {rest} {rest_unit}" if rest else f"{seconds // size} {unit}"
    return f"{seconds} s"


def offset(us: int) -> str:
    """A time since a beginning, fine enough to order by: `+0.006 s`, `+12.340 s`; from a minute on in words."""
    us = max(us, 0)
    return f"+{us / 1_000_000:.3f} s" if us < 60_000_000 else f"+{duration(us)}"


def money(usd: float | None) -> str:
    """US dollars, fine enough to see small sums: `$0.0412`, `$12.40`; empty for None."""
    if usd is None:
        return ""
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def utc(at: int) -> str:
    """An instant as text, to the second, in UTC."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at} µs since 1970"


def printable(text: str) -> str:
    """The text on one line, with whatever could steer a terminal or break its encoding escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    short = {"\n": "⏎", "\t": " ", "\r": ""}.get(character)
    if short is not None:
        return short
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}"


def preview(value: Any, limit: int = PREVIEW) -> str:
    """The beginning of a value as JSON, at most `limit` characters; costs no more than what it shows."""
    text = "".join(_pieces(value, limit))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _pieces(value: Any, room: int) -> list[str]:
    """JSON of the value, broken off once it is longer than `room`."""
    if isinstance(value, str):
        return [json.dumps(value[: room + 1], ensure_ascii=False)]
    if isinstance(value, Mapping):
        entries = [
            (json.dumps(str(key)[: room + 1], ensure_ascii=False) + ": ", item)
            for key, item in _head(cast("Mapping[Any, Any]", value).items(), room)
        ]
        return _joined("{", entries, "}", room)
    if isinstance(value, (list, tuple)):
        return _joined("[", [("", item) for item in _head(cast("list[Any]", value), room)], "]", room)
    return [json.dumps(value, default=repr)]


def _head(items: Any, room: int) -> list[Any]:
    from itertools import islice

    return list(islice(items, max(room, 0) // 2 + 2))


def _joined(opening: str, entries: list[tuple[str, Any]], closing: str, room: int) -> list[str]:
    out = [opening]
    room -= 2
    for number, (label, item) in enumerate(entries):
        if room < 0:
            break
        piece = (", " if number else "") + label + "".join(_pieces(item, room))
        room -= len(piece)
        out.append(piece)
    return [*out, closing]


def cause(error: Mapping[str, Any] | _Fields) -> str:
    """A recorded error in words: `rate_limited: HTTPStatusError: 429 Too Many Requests`."""
    message = str(error["message"]).strip()
    first = message.splitlines()[0] if message else ""
    kind, name = error["kind"], error["type"]
    return f"{kind}: {name}: {first}" if first else f"{kind}: {name}"


def tries(attempt: int, max_attempts: int | None) -> str:
    """`attempt 2 of 5`; without the bound where interruptions have carried the number past it."""
    return f"attempt {attempt} of {max_attempts}" if max_attempts and attempt <= max_attempts else f"attempt {attempt}"


def _field(payload: _Fields, name: str, default: Any = None) -> Any:
    """A field of a payload; plain ones leave out what has its default."""
    try:
        value = payload[name]
    except KeyError:
        return default
    return default if value is None else value


def _by(p: _Fields) -> str:
    actor, reason = _field(p, "actor"), _field(p, "reason")
    return (f" by {actor}" if actor else "") + (f": {reason}" if reason else "")


def _error(p: _Fields) -> Mapping[str, Any]:
    error = p["error"]
    return cast("Mapping[str, Any]", error if isinstance(error, Mapping) else error.model_dump())


def _created(p: _Fields, at: int) -> str:
    key, actor = _field(p, "key"), _field(p, "actor")
    given = _field(p, "input")
    return (
        f"{p['workflow']} created"
        + (f" by {actor}" if actor else "")
        + (f" with key {preview(key, 40)}" if key else "")
        + (f": {preview(given)}" if given not in (None, {}) else "")
    )


def _failed(p: _Fields, at: int) -> str:
    error = _error(p)
    step = error.get("step")
    return "run failed" + (f" in step {step}" if step else "") + f" ({cause(error)})" + _undone(p)


def _step_started(p: _Fields, at: int) -> str:
    attempt = p["attempt"]
    again = f", attempt {attempt}" if attempt > 1 else ""
    alone = ", alone: it was interrupted before" if _field(p, "alone", False) else ""
    return f"{p['step']} started{again}{alone}"


def _step_completed(p: _Fields, at: int) -> str:
    output = _field(p, "output")
    return f"{p['step']} completed" + (f": {preview(output)}" if output is not None else "")


def _step_failed(p: _Fields, at: int) -> str:
    end = " for good" if _field(p, "final", True) else ""
    doubt = "; whether it happened is not known" if _field(p, "unknown", False) else ""
    return f"{p['step']} failed{end} on attempt {p['attempt']} ({cause(_error(p))}){doubt}"


def _interrupted(p: _Fields, at: int) -> str:
    why = "its process died" if _field(p, "counted", True) else "the supervisor was stopped"
    return f"{p['step']} interrupted on attempt {p['attempt']}: {why}"


def _retry(p: _Fields, at: int) -> str:
    which = tries(p["attempt"], _field(p, "max_attempts"))
    return f"{p['step']} failed, retrying in {duration(p['at'] - at)}, {which} ({p['reason']})"


def _checkpoint(p: _Fields, at: int) -> str:
    delta = _field(p, "delta", {})
    return f"checkpoint {p['checkpoint']}" + (f": {', '.join(delta)} changed" if delta else "")


def _retried(p: _Fields, at: int) -> str:
    step = _field(p, "step")
    return "run retried" + (f" from step {step}" if step else "") + _by(p)


def _blocked(p: _Fields, at: int) -> str:
    lines = str(p["message"]).strip().splitlines()
    return f"run blocked ({p['reason']}): {lines[0] if lines else p['unblock']}"


def _cancelled(p: _Fields, at: int) -> str:
    reason = _field(p, "reason")
    return "run cancelled" + (f": {reason}" if reason else "") + _undone(p)


def _undone(p: _Fields) -> str:
    told: list[Mapping[str, Any]] = list(_field(p, "undone", ()))
    done = [str(one["step"]) for one in told if one["ok"]]
    left = [str(one["step"]) for one in told if not one["ok"]]
    return (f"; undone: {', '.join(done)}" if done else "") + (f"; not undone: {', '.join(left)}" if left else "")


def people(to: Iterable[str]) -> str:
    """Who is asked, in words: `anybody`, `ada`, `ada, bob or group ops`."""
    names = [f"group {one.removeprefix('group:')}" if one.startswith("group:") else one for one in to]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "anybody"


def assignees(to: Iterable[str]) -> str:
    """The same as they are written in a workflow: `anybody`, `ada, group:ops`."""
    return ", ".join(to) or "anybody"


def _late(p: _Fields) -> str:
    late_us = _field(p, "late_us", 0)
    return f", {duration(late_us)} late" if late_us >= LATE else ""


def _resolved(p: _Fields, at: int) -> str:
    error = _field(p, "error")
    what = {"happened": "it happened", "did_not_happen": "it did not happen"}.get(p["outcome"], "it failed")
    told = f" ({cause(_error(p))})" if error is not None else ""
    output = _field(p, "output")
    result = f", with {preview(output, 40)}" if output is not None else ""
    return f"{p['step']} settled{_by(p)}; {what}{result}{told}"


def _requested(p: _Fields, at: int) -> str:
    need, expires_at = _field(p, "need", 1), _field(p, "expires_at")
    again = " again" if _field(p, "reopens") else ""
    return (
        f"{p['name']}: approval asked{again} of {people(_field(p, 'to', ()))}"
        + (f", {need} of them" if need > 1 else "")
        + f" ({p['gate']})"
        + (f", for {duration(expires_at - at)}, until {utc(expires_at)}" if expires_at is not None else "")
        + (f": {_field(p, 'problem')}" if _field(p, "problem") else "")
    )


def _granted(p: _Fields, at: int) -> str:
    edited = ", ".join(_field(p, "edit", {}))
    said = f"granted{_by(p)}" if _field(p, "final", True) else f"approved{_by(p)}; more are needed"
    return f"gate {p['gate']} {said}" + (f"; edited: {edited}" if edited else "")


def _escalated(p: _Fields, at: int) -> str:
    expires_at = _field(p, "expires_at")
    until = f", until {utc(expires_at)}" if expires_at is not None else ""
    return f"gate {p['gate']} escalated to {people(p['to'])}{until}{_late(p)}"


def _awaited(p: _Fields, at: int) -> str:
    expires_at = _field(p, "expires_at")
    until = f", for {duration(expires_at - at)}, until {utc(expires_at)}" if expires_at is not None else ""
    return f"waits for signal {p['name']}{until}"


def _signal(p: _Fields, at: int) -> str:
    data = _field(p, "data")
    return f"signal {p['name']} received{_by(p)}" + (f": {preview(data)}" if data is not None else "")


def _child_started(p: _Fields, at: int) -> str:
    given = _field(p, "input")
    return f"child {p['workflow']} started ({p['child']})" + (f": {preview(given)}" if given not in (None, {}) else "")


def _child_finished(p: _Fields, at: int) -> str:
    output, error = _field(p, "output"), _field(p, "error")
    told = f" ({cause(_error(p))})" if error is not None else f": {preview(output)}" if output is not None else ""
    return f"child {p['child']} {p['status']}{told}"


def _skipped(p: _Fields, at: int) -> str:
    count = _field(p, "count", 1)
    others = f" and {count - 1} more" if count > 1 else ""
    return f"due at {utc(p['due_at'])}{others}: skipped, {p['reason']}"


_TELL: dict[str, Callable[[_Fields, int], str]] = {
    "RUN_CREATED": _created,
    "RUN_STARTED": lambda p, at: f"run started by supervisor {p['epoch']}",
    "RUN_RESUMED": lambda p, at: f"run resumed by supervisor {p['epoch']}: {p['reason']}",
    "RUN_COMPLETED": lambda p, at: (
        "run completed" + (f": {preview(p['output'])}" if _field(p, "output") is not None else "") + _undone(p)
    ),
    "RUN_FAILED": _failed,
    "RUN_BLOCKED": _blocked,
    "RUN_PAUSED": lambda p, at: f"run paused{_by(p)}",
    "RUN_UNPAUSED": lambda p, at: f"run unpaused{_by(p)}",
    "RUN_RETRIED": _retried,
    "CANCEL_REQUESTED": lambda p, at: f"cancel requested{_by(p)}",
    "RUN_CANCELLED": _cancelled,
    "STEP_STARTED": _step_started,
    "STEP_COMPLETED": _step_completed,
    "STEP_FAILED": _step_failed,
    "STEP_CANCELLED": lambda p, at: f"{p['step']} given up by the workflow",
    "STEP_INTERRUPTED": _interrupted,
    "STEP_PROBED": lambda p, at: f"{p['step']} in doubt: its probe is asked whether it happened",
    "RETRY_SCHEDULED": _retry,
    "CHECKPOINT_WRITTEN": _checkpoint,
    "TIMER_SET": lambda p, at: f"timer {p['timer']} set for {duration(p['at'] - at)}, until {utc(p['at'])}",
    "TIMER_FIRED": lambda p, at: f"timer {p['timer']} fired{_late(p)}",
    "TIMER_CANCELLED": lambda p, at: f"timer {p['timer']} no longer needed",
    "VERSION_MARKED": lambda p, at: f"patch {preview(p['patch'], 40)} taken",
    "RUN_QUEUED": lambda p, at: (
        f"run waits in queue {p['queue']}" + (f", lane {_field(p, 'lane')}" if _field(p, "lane") is not None else "")
    ),
    "STEP_RESOLVED": _resolved,
    "SIGNAL_AWAITED": _awaited,
    "SIGNAL_RECEIVED": _signal,
    "WAIT_EXPIRED": lambda p, at: f"wait {p['wait']} for a signal ended: none came in time{_late(p)}",
    "WAIT_CANCELLED": lambda p, at: f"wait {p['wait']} for a signal no longer needed",
    "APPROVAL_REQUESTED": _requested,
    "APPROVAL_GRANTED": _granted,
    "APPROVAL_DENIED": lambda p, at: f"gate {p['gate']} denied{_by(p)}",
    "APPROVAL_ESCALATED": _escalated,
    "APPROVAL_REMINDED": lambda p, at: f"gate {p['gate']} is still open: a reminder{_late(p)}",
    "APPROVAL_EXPIRED": lambda p, at: (
        f"gate {p['gate']} expired, which {EXPIRY.get(p['outcome'], 'ends it')}{_late(p)}"
    ),
    "APPROVAL_CLOSED": lambda p, at: f"gate {p['gate']} no longer needed",
    "DECISION_REFUSED": lambda p, at: f"gate {p['gate']}: {p['decision']} by {p['actor']} was refused, {p['why']}",
    "CHILD_STARTED": _child_started,
    "CHILD_FINISHED": _child_finished,
    "CHILD_CANCELLED": lambda p, at: f"child {p['child']} given up by the workflow",
    "SCHEDULE_FIRED": lambda p, at: f"due at {utc(p['due_at'])}: started {p['run']}, {p['reason']}{_late(p)}",
    "SCHEDULE_SKIPPED": _skipped,
}
