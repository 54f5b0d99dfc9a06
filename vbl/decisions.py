"""Gates as people see them, and what they decide: the part of the client that is about questions to a person.

Everything that is written goes through the one door; who may decide and what fits is decided in `history.gates`. A
decision is durable when the call returns, whether a supervisor is alive or not.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import Any, Literal

from vbl import config, links
from vbl.access import Access
from vbl.clock import Clock, microseconds
from vbl.errors import Conflict, InvalidInput, NotEntitled, NotFound, UsageError
from vbl.handle import Run
from vbl.history import gates, questions
from vbl.history.events import Payload
from vbl.history.questions import Question, doubt, view
from vbl.history.state import RunState
from vbl.history.waits import GateState
from vbl.notebook import drawn
from vbl.store.payloads import received

Verdict = Literal["approve", "deny"]
STATUSES = ("open", "granted", "denied", "expired", "closed")
_MANY = 1_000


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Gate(questions.Gate):
    """A question to a person, as it stood when it was read. Instants are microseconds since 1970 UTC.

    `status` is open, granted, denied, expired or closed; `show` what the person is shown; `to` who may decide by now
    (empty: anybody), `need` how many of them; `votes` the decisions so far; `call` the step and arguments that it is
    about, as they stand, `asked` as they were asked; `edit` whether they may be changed; `schema` of the data that the
    answer needs; `problem` why it is asked again; `refused` the decisions that were refused.
    """

    _file: Decisions | None = dataclasses.field(default=None, compare=False, kw_only=True)

    def approve(
        self,
        *,
        by: str | None = None,
        reason: str | None = None,
        edit: Mapping[str, Any] | None = None,
        data: Any = None,
    ) -> Gate:
        """Approve what is asked, and return the gate as it stands then; as `client.approve`.

        It is the call that this object shows: Conflict where somebody has edited it since. Raises as `client.approve`.
        """
        seen = self.call["digest"] if self.call is not None else None
        return self._opened().approve(self, by, reason, edit=edit, data=data, via="python", seen=seen)

    def deny(self, *, by: str | None = None, reason: str | None = None) -> Gate:
        """Deny what is asked, and return the gate as it stands then. Raises as `client.deny`."""
        return self._opened().decide(self, "deny", by, reason, "python")

    def _opened(self) -> Decisions:
        if self._file is None:
            raise UsageError(f"gate {self.id} was not read from a file", "Read it: vbl.connect(…).gate(…)")
        return self._file

    def __repr__(self) -> str:
        return f"<gate {self.id} {self.name} {self.status}: {self.sentence}>"

    def _repr_html_(self) -> str:
        return drawn("gate", self, self._opened().now())


_FIELDS = tuple(field.name for field in dataclasses.fields(questions.Gate))


class Gates(list[Gate]):
    """Gates, as a list; a notebook shows it as a table."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def _repr_html_(self) -> str:
        return drawn("gates", self, self._clock.now())


class Decisions:
    """The questions of one file, for its client."""

    def __init__(self, access: Access, find: Callable[[str], Run], groups: Mapping[str, Any] | None = None) -> None:
        self._access = access
        self._find = find
        self._groups = None if groups is None else config.checked_groups(groups, "groups")

    # Reading -------------------------------------------------------------------------------------------------------

    def gates(
        self, status: str | None, run: Run | None, to: str | None, limit: int | None, after: str | None = None
    ) -> list[Gate]:
        """Gates, the oldest first; of a status, of a run, that a person may decide, behind one of them."""
        if status is not None and status not in STATUSES:
            raise UsageError(f"status {status!r} is none that a gate has", f"It is one of {', '.join(STATUSES)}")
        store = self._access.store
        id, place = self._place(after)
        if run is not None:
            rows = store.all("gates_of", (self._access.journal.key_of(run.id),))
            rows = [row for row in rows if row[2] > place[2]]
        elif status == "open":
            rows = store.all("open_gates", (place[0], id, -1 if to is not None or limit is None else limit))
        else:
            chosen = status is not None or to is not None
            rows = store.all("all_gates", (*place, -1 if chosen or limit is None else limit))
        found = Gates(self._access.clock)
        states: dict[int, RunState] = {}
        for row in rows:
            if (status is not None and row[4] != status) or not self._asks(row[5], to):
                continue
            if len(found) == limit:
                break
            found.append(self._gate(row, states))
        return found

    def _place(self, after: str | None) -> tuple[str, tuple[int, int, int]]:
        """The id and the place of a gate among all (when it was requested, run, seq); in front of all without one."""
        if after is None:
            return "", (-1, -1, -1)
        id = self.gate(after).id
        row = self._access.store.one("place_of_gate", (id,))
        if row is None:  # retention has struck its run meanwhile
            raise NotFound(f"gate {id} is gone from {self._access.path}", "List them: vbl inbox", code="gate_not_found")
        return id, (row[0], row[1], row[2])

    def _asks(self, assignees: str, person: str | None) -> bool:
        if person is None or not assignees:
            return True
        named = assignees.split("\n")
        return person in named or any(
            person in self.groups.get(one.removeprefix(gates.GROUP), ()) for one in named if one.startswith(gates.GROUP)
        )

    def _gate(self, row: tuple[Any, ...], states: dict[int, RunState]) -> Gate:
        key = row[1]
        state = states.get(key)
        if state is None:
            if len(states) >= _MANY:
                states.clear()
            state = states[key] = self._access.journal.load(key)[0].state
        return self._seen(state, state.gates[row[0]])

    def _seen(self, state: RunState, gate: GateState) -> Gate:
        """A gate as people see it, and can decide it."""
        found = view(state, gate)
        return Gate(*(getattr(found, name) for name in _FIELDS), _file=self)

    def now(self) -> int:
        """The present instant of this file's clock."""
        return self._access.clock.now()

    def gate(self, ref: str | questions.Gate) -> Gate:
        """The gate with that id or unique prefix, or RUN:NAME. Raises NotFound, UsageError where several fit."""
        if isinstance(ref, questions.Gate):
            ref = ref.id
        run, _, name = ref.partition(":")
        if name:
            return self._named(run, name)
        rows = self._access.store.all("gates_from", (ref,)) if ref else []
        found = [row for row in rows if row[0].startswith(ref)]
        if not found:
            raise NotFound(
                f"there is no gate {ref!r} in {self._access.path}", "List those that are open: vbl inbox",
                code="gate_not_found",
            )  # fmt: skip
        if len(found) > 1 and found[0][0] != ref:
            raise UsageError(
                f"{ref!r} fits several gates: {found[0][0]}, {found[1][0]}, …", "Give more characters of the id",
                code="ambiguous_gate",
            )  # fmt: skip
        state = self._access.journal.load(found[0][1])[0].state
        return self._seen(state, state.gates[found[0][0]])

    def _named(self, run: str, name: str) -> Gate:
        state = self._find(run).state()
        named = [gate for gate in state.gates.values() if name in (gate.name, gate.key)]
        if not named:
            raise NotFound(
                f"run {state.run_id} has no gate {name!r}",
                f"It has: {', '.join(gate.key for gate in state.gates.values()) or 'none'}",
                code="gate_not_found",
            )
        asking = [gate for gate in named if gate.status == "open"]
        if len(asking) > 1:
            raise UsageError(
                f"run {state.run_id} asks {len(asking)} times about {name!r}: {asking[0].id}, {asking[1].id}, …",
                "Name the one that is meant by its id: vbl inbox",
                code="ambiguous_gate",
            )
        return self._seen(state, (asking or named)[-1])

    def questions(self, to: str | None, limit: int) -> list[Question]:
        """All that waits for a person: open gates, and steps whose outcome nobody knows; the oldest first."""
        found = [
            Question("gate", gate.run_id, gate.workflow, gate.requested_at, gate.sentence, gate)
            for gate in self.gates("open", None, to, limit)
        ]
        for (key,) in self._access.store.all("doubts", (limit,)):
            unknown = doubt(self._access.journal.load(key)[0].state)
            if unknown is not None:
                found.append(unknown)
        return sorted(found, key=lambda question: question.since)[:limit]

    def waiting(self, limit: int) -> int:
        """How many questions there are, `limit` at most; asked often, so no history is read."""
        ((gates,),) = self._access.store.all("open_gates_counted", (limit,))
        return min(gates + len(self._access.store.all("doubts", (limit,))), limit)

    @property
    def groups(self) -> Mapping[str, Any]:
        """Who is in which group."""
        return config.groups() if self._groups is None else self._groups

    # Deciding ------------------------------------------------------------------------------------------------------

    def approve(
        self,
        gate: str | questions.Gate,
        by: str | None,
        reason: str | None,
        *,
        edit: Mapping[str, Any] | None,
        data: Any,
        via: str,
        seen: str | None,
    ) -> Gate:
        """Record an approval, with edited arguments and data as Python has them. Raises as `decide`."""
        plain = received("the data", data)
        edited = None if edit is None else received("the edit", dict(edit))
        return self.decide(gate, "approve", by, reason, via, edit=edited, data=plain, seen=seen)

    def decide(
        self,
        gate: str | questions.Gate,
        verdict: Verdict,
        by: str | None,
        reason: str | None,
        via: str,
        *,
        edit: Mapping[str, Any] | None = None,
        data: Any = None,
        seen: str | None = None,
        link: links.Link | None = None,
    ) -> Gate:
        """Record a decision. Raises what `history.gates` raises; one that is refused because of who it is by leaves a
        trace in the history."""
        known = self.gate(gate)
        asked = self._asked(known) if link is not None else ""
        actor = gates.person(config.actor() if by is None else by)

        def decided(state: RunState, at: int) -> list[Payload]:
            if link is not None:
                _demand_same(state.gates[known.id], asked, link)
            nonce = link.nonce if link is not None else None
            said: dict[str, Any] = {"now": at, "reason": reason, "via": via, "link": nonce, "groups": self.groups}
            if verdict == "deny":
                return gates.deny(state, known.id, actor, **said)
            return gates.grant(state, known.id, actor, edit=edit, data=data, seen=seen, **said)

        try:
            state = self._access.commit(known.run_id, decided)
        except NotEntitled as error:
            refused = gates.refusal(known.id, actor, verdict, error, via)
            self._access.commit(known.run_id, lambda state, _: [] if state.finished else [refused])
            raise
        return self._seen(state, state.gates[known.id])

    # Links ---------------------------------------------------------------------------------------------------------

    def link(
        self, gate: str | questions.Gate, verdict: Verdict, by: str | None, valid_for: float | datetime.timedelta
    ) -> str:
        """A signed text that carries one decision about one gate."""
        if verdict not in ("approve", "deny"):
            raise UsageError(f"a link to {verdict!r}", 'It is to "approve" or to "deny"')
        valid_us = microseconds(valid_for, "valid_for", above_zero=True)
        known = self.gate(gate)
        now = self._access.clock.now()
        state = self._access.journal.load(self._access.journal.key_of(known.run_id))[0].state
        gates.open_gate(state, known.id, now)
        return links.signed(
            links.Link(
                known.id, verdict, gates.person(by or config.actor()), now + valid_us, self._asked(known),
                _stands(state.gates[known.id]), links.nonce(),
            ),
            links.key(),
        )  # fmt: skip

    def _asked(self, gate: Gate) -> str:
        """The digest of the history up to the request: no other file has it."""
        journal = self._access.journal
        key = journal.key_of(gate.run_id)
        seq = journal.load(key)[0].state.gates[gate.id].asked_seq
        return journal.rows(key, seq - 1)[0].chain.hex()

    def follow(self, text: str, reason: str | None, verdict: Verdict | None, via: str) -> Gate:
        """Do what a link says, once. Raises InvalidInput for one that was not made here, Conflict for one that is used,
        is no longer good, or is about another call than the one that stands now."""
        link = links.read(text, links.key(), self._access.clock.now())
        if verdict is not None and link.decision != verdict:
            raise UsageError(
                f"this link is to {link.decision}, not to {verdict}", f"Use it so: vbl {link.decision} LINK"
            )
        decision: Verdict = "deny" if link.decision == "deny" else "approve"
        return self.decide(link.gate, decision, link.by, reason, via, link=link)


def _stands(gate: GateState) -> str | None:
    return gates.standing(gate).digest


def _demand_same(gate: GateState, asked: str, link: links.Link) -> None:
    """A link covers the gate and the call that its reader saw."""
    if link.asked != asked:
        raise InvalidInput(f"this link is about another gate than {gate.id} of this file", "Ask for another")
    if link.decision == "approve" and link.call != _stands(gate):
        raise Conflict(
            f"the call that gate {gate.id} asks about was changed since this link was made",
            f"Look at it, and ask for another: vbl gate {gate.id} --link approve",
            code="link_outdated",
        )
