"""Asking a person: `vbl.approve`, the bound call that a gate is about, and what was decided.

A gate is asked for as a command of the code and answered by an input, like a step. What was approved is what runs: the
digest of step, arguments and code version is compared again when it does.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from vbl.clock import microseconds
from vbl.engine.context import execution
from vbl.errors import ApprovalExpired, NotApproved, UsageError
from vbl.history.gates import call_digest
from vbl.store.codec import Codec
from vbl.store.payloads import Json, refuse

if TYPE_CHECKING:
    from vbl.engine.advance import Execution
    from vbl.engine.definitions import Step
    from vbl.history.facts import Fact

R = TypeVar("R")
Duration = float | datetime.timedelta
OnTimeout = Literal["deny", "approve", "escalate", "fail"]
_ON_TIMEOUT = ("deny", "approve", "escalate", "fail")


class BoundCall(Generic[R]):
    """A step with its arguments, taken as they were at `step.call(…)`; what a gate is about.

    `input` is their recorded form (plain JSON data by name), that of the signature's defaults among them, since they
    are what will run; `digest` that of step, input and code version.
    """

    def __init__(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.step = step
        given = {name: one.plain for name, one in step.signature.record(args, kwargs).items()}
        self._defaults = step.signature.defaults(given)
        self.input: dict[str, Json] = given
        self._fill(self._defaults)

    @property
    def digest(self) -> str:
        """What a grant covers: changes with the step, an argument, or the step's code."""
        return call_digest(self.step.name, self.input, self.step.version)

    def edited(self, changes: dict[str, Json]) -> BoundCall[R]:
        """The same call with other arguments. Raises pydantic's ValidationError for what does not fit their types."""
        codecs = self.step.signature.codecs
        values = {name: codecs[name].accept(plain) for name, plain in {**self.input, **changes}.items()}
        args, kwargs = self.step.signature.spread(values)
        made: BoundCall[R] = BoundCall(self.step, args, kwargs)
        return made.with_defaults({})

    def with_defaults(self, defaults: Mapping[str, Json] | None = None) -> BoundCall[R]:
        """The same call, which leaves these to the signature instead; without an argument what the signature says now.

        A history has the defaults of its day, one from before they were told none at all.
        """
        call = copy.copy(self)
        call.input = {name: value for name, value in self.input.items() if name not in self._defaults}
        call._fill(self._defaults if defaults is None else defaults)
        return call

    def _fill(self, defaults: Mapping[str, Json]) -> None:
        every = {name: value for name, value in defaults.items() if name in self._defaults} | self.input
        self.input = {name: every[name] for name in self.step.signature.names if name in every}

    def payload(self, edit: bool) -> dict[str, Any]:
        """What the request records of it; with the schema of each parameter where the approver may edit them."""
        told: dict[str, Any] = {
            "step": self.step.name,
            "input": self.input,
            "digest": self.digest,
            "version": self.step.version,
        }
        if edit:
            codecs = self.step.signature.codecs
            told["parameters"] = {name: codecs[name].json_schema() or {} for name in codecs}
        return told

    def __repr__(self) -> str:
        return f"<call of {self.step.name} {self.input}>"


class Decision(Generic[R]):
    """What was decided at a gate: `approved`, `by` (None where time decided), `reason`, `data`, `at` (microseconds
    since 1970 UTC), `gate` (its id). Of a gated call, `run()` runs exactly what was approved."""

    def __init__(self, asking: _Asking, fact: Fact, call: BoundCall[R] | None, data: Any) -> None:
        payload = fact.payload
        self._asking = asking
        self._ran = False
        self.gate = asking.id
        self.approved = fact.type == "APPROVAL_GRANTED" or payload.get("outcome") == "approve"
        self.by: str | None = payload.get("actor")
        self.reason: str | None = payload.get("reason")
        self.data = data
        self.at = fact.at
        self.call = call
        self.digest = "" if call is None else call_digest(call.step.name, call.input, asking.version)

    def run(self, call: BoundCall[R] | None = None) -> Any:
        """Run what was approved; `await` it in an async workflow.

        Another `call`, other code of the step, or a decision older than `valid_for` asks again first. Raises
        NotApproved where it was denied, UsageError where the gate was about no call, or the call has run.
        """
        if self.call is None:
            raise UsageError(
                f"gate {self.gate} is about no call: there is nothing to run", "Ask with vbl.approve(step.call(…))"
            )
        if self._ran:
            raise UsageError(f"what gate {self.gate} approved has run", "Ask again for another call")
        return self._asking.scope.waiting(self._run(call or self.call))

    async def _run(self, call: BoundCall[R]) -> Any:
        decision: Decision[R] = self
        approved = cast("BoundCall[R]", self.call).input
        call = call.with_defaults({name: value for name, value in call.input.items() if name in approved})
        while True:
            if not decision.approved:
                raise decision.refusal()
            problem = decision.lapsed(call)
            if problem is None:
                break
            decision = await self._asking.again(problem, call).decided()
            call = cast("BoundCall[R]", decision.call)
        if decision._ran:
            raise UsageError(f"what gate {decision.gate} approved has run", "Ask again for another call")
        decision._ran = self._ran = True
        return await self._asking.scope.gated(call, decision.gate)

    def refusal(self) -> NotApproved:
        """The error of a call that was to run although nobody approved it."""
        name, by = cast("BoundCall[R]", self.call).step.name, f", by {self.by}" if self.by else ""
        return NotApproved(
            f"{name} was not approved at gate {self.gate}{by}", "Look at .approved first", gate=self.gate
        )

    def lapsed(self, call: BoundCall[R]) -> str | None:
        """Why the decision does not cover the call now, or None. In a replay the history has the answer."""
        approved = cast("BoundCall[R]", self.call)
        scope, valid_us = self._asking.scope, self._asking.valid_us
        if call.step.name != approved.step.name or call.input != approved.input:
            return "the arguments are not those that were approved"
        if valid_us is not None and scope.loop.now > self.at + valid_us:
            return "the decision is older than it may be"
        if (upcoming := scope.upcoming()) is not None:
            asks = upcoming.type == "APPROVAL_REQUESTED" and upcoming.payload.get("reopens") == self.gate
            return str(upcoming.payload.get("problem")) if asks else None
        return None if call.digest == self.digest else "the code of the step has changed since"

    def __bool__(self) -> bool:
        return self.approved

    def __repr__(self) -> str:
        return f"<decision {self.gate} {'approved' if self.approved else 'not approved'} by {self.by}>"


class _Asking:
    """One request: what is asked of whom, for how long; asked anew where the answer does not do."""

    def __init__(
        self, scope: Execution, name: str, call: BoundCall[Any] | None, options: dict[str, Any], codec: Codec | None
    ) -> None:
        self.scope = scope
        self.name = name
        self.call = call
        self.options = options
        self.codec = codec
        self.key, self.id = scope.gate_key(name)
        self.valid_us: int | None = options.get("valid_us")
        self.version: str = call.step.version if call is not None else ""
        self.reopens: str | None = None
        self.problem: str | None = None

    def again(self, problem: str, call: BoundCall[Any] | None) -> _Asking:
        """The same question, asked once more, and why."""
        now = call.with_defaults() if call is not None else None
        other = _Asking(self.scope, self.name, now, self.options, self.codec)
        other.reopens, other.problem = self.id, problem
        return other

    async def decided(self) -> Decision[Any]:
        """Ask, and wait for the decision. Raises ApprovalExpired."""
        scope = self.scope
        if self.call is not None and (upcoming := scope.upcoming()) is not None and upcoming.subject == self.id:
            recorded: dict[str, Any] = upcoming.payload.get("call") or {}
            self.version = recorded.get("version", self.version)
            self.call = self.call.with_defaults(recorded.get("input") or {})
        scope.ask("APPROVAL_REQUESTED", self.id, self._payload())
        fact: Fact = await scope.awaits("gate", self.id, self.name)
        answer = fact.payload
        if answer.get("outcome") == "fail":
            raise ApprovalExpired(f"nobody decided gate {self.id} ({self.name}) in time", gate=self.id)
        if (digest := answer.get("digest")) is not None and self.call is not None:
            covered = call_digest(self.call.step.name, answer.get("input") or self.call.input, self.version)
            if digest != covered:
                return await self.again("the digest of the decision is not that of its call", self.call).decided()
        try:
            call = self.call.edited(answer["edit"]) if self.call is not None and answer.get("edit") else self.call
            data = answer.get("data")
            if self.codec is not None and fact.type == "APPROVAL_GRANTED":
                data = self.codec.accept(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            return await self.again(f"{place + ': ' if place else ''}{first['msg']}", self.call).decided()
        return Decision(self, fact, call, data)

    def _payload(self) -> dict[str, Any]:
        now, options = self.scope.loop.now, self.options
        payload: dict[str, Any] = {"v": 1, "gate": self.id, "key": self.key, "name": self.name}
        if self.call is not None:
            payload["call"] = self.call.payload(options.get("edit", False))
        for field in (
            "show",
            "edit",
            "json_schema",
            "to",
            "need",
            "not_starter",
            "on_timeout",
            "timeout_us",
            "valid_us",
        ):
            if field in options:
                payload[field] = options[field]
        if "timeout_us" in options:
            payload["expires_at"] = now + options["timeout_us"]
        if options.get("escalate"):
            payload["escalate"] = [{"at": now + after, "to": to} for after, to in options["escalate"]]
        if options.get("remind"):
            payload["remind"] = [now + after for after in options["remind"]]
        if self.reopens is not None:
            payload["reopens"], payload["problem"] = self.reopens, self.problem
        return payload


def approve(
    what: str | BoundCall[R],
    *,
    show: Any = None,
    to: str | Sequence[str] | None = None,
    timeout: Duration | None = None,
    on_timeout: OnTimeout = "deny",
    escalate: Iterable[tuple[Duration, str | Sequence[str]]] = (),
    remind: Duration | Iterable[Duration] = (),
    need: int = 1,
    not_starter: bool = False,
    schema: Any = None,
    edit: bool = False,
    valid_for: Duration | None = None,
) -> Coroutine[Any, Any, Decision[R]]:
    """Ask a person, and wait for the decision: for days, at no cost. `await` it in an async workflow; it blocks in a
    sync one.

    `what` names the question, or is a bound call, `step.call(…)`, that the decision's `run()` runs as approved. `show`
    is what the person sees (any JSON-like value or model). `to` names who may decide: persons, or "group:NAME";
    nobody or "me" is whoever works with the file. `need` of them must approve; one denial denies. `not_starter` bars
    whoever started the run. `schema` is a type whose data the approver gives; with `edit` the approver may change the
    arguments of the call. Times are seconds or timedeltas from now: at `timeout` the gate is denied, approved,
    escalated (the rest of `escalate` is asked at once, with one more time-out, then it is denied) or fails with
    ApprovalExpired; `escalate` is a list of (after, whom else); `remind` tells those who were asked again.
    A decision older than `valid_for` is asked for again before the call runs.
    Raises UsageError for options that make no sense.
    """
    scope = execution("vbl.approve")
    call = what if isinstance(what, BoundCall) else None
    name = call.step.name if call is not None else cast("str", what)
    if not isinstance(cast("object", name), str) or not name.strip() or "\n" in name:
        raise UsageError(
            f"vbl.approve({what!r}): a gate has a name, or is about a bound call",
            'For example vbl.approve("send_reply", show=…) or vbl.approve(send_reply.call(reply))',
        )
    options = _options(name, call, show, to, on_timeout, need, not_starter, edit)
    if timeout is not None:
        options["timeout_us"] = microseconds(timeout, "vbl.approve, timeout")
    if valid_for is not None:
        options["valid_us"] = microseconds(valid_for, "vbl.approve, valid_for")
    steps = [(microseconds(after, "vbl.approve, escalate"), _people(whom)) for after, whom in escalate]
    options["escalate"] = sorted(steps)
    _demand_enough(need, [options.get("to", []), *(whom for _, whom in steps)])
    several = [cast("Duration", remind)] if isinstance(remind, (int, float, datetime.timedelta)) else list(remind)
    options["remind"] = sorted(microseconds(one, "vbl.approve, remind") for one in several)
    if on_timeout == "escalate" and not (options["escalate"] and timeout is not None):
        raise UsageError(
            'vbl.approve(on_timeout="escalate") needs a timeout and whom to escalate to',
            'For example timeout=3600, escalate=[(1800, "group:ops")]',
        )
    codec = None
    if schema is not None:
        codec = Codec(schema, f"gate {name}, its data")
        options["json_schema"] = codec.json_schema() or {}
    asking = _Asking(scope, name, call, options, codec)
    return scope.waiting(asking.decided())


def _options(
    name: str,
    call: BoundCall[Any] | None,
    show: Any,
    to: str | Sequence[str] | None,
    on_timeout: str,
    need: int,
    not_starter: bool,
    edit: bool,
) -> dict[str, Any]:
    if on_timeout not in _ON_TIMEOUT:
        raise UsageError(f"vbl.approve(on_timeout={on_timeout!r})", f"It is one of {', '.join(_ON_TIMEOUT)}")
    if type(need) is not int or need < 1:
        raise UsageError(f"vbl.approve(need={need!r}): at least one person decides", "For example need=2")
    if edit and call is None:
        raise UsageError(
            "vbl.approve(edit=True) is about the arguments of a call", "Ask with vbl.approve(step.call(…))"
        )
    people = _people(to)
    options: dict[str, Any] = {}
    if show is not None:
        options["show"] = _shown(name, show)
    said = {"to": people, "not_starter": not_starter, "edit": edit}
    options |= {field: value for field, value in said.items() if value}
    if on_timeout != "deny":
        options["on_timeout"] = on_timeout
    if need != 1:
        options["need"] = need
    return options


def _demand_enough(need: int, asked: list[list[str]]) -> None:
    """Raises UsageError where those who are asked sooner or later are too few."""
    persons = {one for people in asked for one in people}
    if all(asked) and need > len(persons) and not any(one.startswith("group:") for one in persons):
        raise UsageError(
            f"vbl.approve(need={need}) asks only {', '.join(sorted(persons))}",
            "Ask as many persons as are needed, or a group",
        )


def _shown(name: str, show: Any) -> Json:
    """What the person sees, as plain data: models are written as pydantic writes them, wherever they are in it."""
    try:
        return to_jsonable_python(show)
    except PydanticSerializationError as error:
        raise refuse(f"gate {name}, what it shows", show, str(error)) from error


def _people(to: str | Sequence[str] | None) -> list[str]:
    """Those who may decide; nobody in particular where "me" is among them."""
    people = [to] if isinstance(to, str) else list(to or ())
    for one in people:
        if not isinstance(cast("object", one), str) or not one.strip() or "\n" in one or one == "group:":
            raise UsageError(f"vbl.approve(to={to!r}): {one!r} is nobody", 'For example to=["ada", "group:ops"]')
    return [] if "me" in people else list(dict.fromkeys(people))
