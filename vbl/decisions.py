"""Gates as people see them, and what they decide: the part of the client that is about questions to a person.

Everything that is written goes through the one door; who may decide and what fits is decided in `history.gates`. A
decision is durable when the call returns, whether a supervisor is alive or not.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, Literal

from vbl import config, links
from vbl.errors import Conflict, InvalidInput, NotEntitled, NotFound, UsageError
from vbl.handle import Access, Run
from vbl.history import gates
from vbl.history.events import Payload
from vbl.history.questions import Gate, Question, doubt, view
from vbl.history.state import RunState
from vbl.history.waits import GateState
from vbl.store.journal import Draft, draft

Verdict = Literal["approve", "deny"]
STATUSES = ("open", "granted", "denied", "expired", "closed")
_MANY = 1_000


class Decisions:
    """The questions of one file, for its client."""

    def __init__(self, access: Access, find: Callable[[str], Run], groups: Mapping[str, Any] | None = None) -> None:
        self._access = access
        self._find = find
        self._groups = None if groups is None else config.checked_groups(groups, "groups")
        self._doubts: dict[tuple[int, int], bool] = {}

    # Reading -------------------------------------------------------------------------------------------------------

    def gates(self, status: str | None, run: Run | None, to: str | None, limit: int | None) -> list[Gate]:
        """Gates, the oldest first; of a status, of a run, that a person may decide."""
        if status is not None and status not in STATUSES:
            raise UsageError(f"status {status!r} is none that a gate has", f"It is one of {', '.join(STATUSES)}")
        store = self._access.store
        if run is not None:
            rows = store.all("gates_of", (self._access.journal.key_of(run.id),))
        elif status == "open":
            rows = store.all("open_gates", (-1 if to is not None or limit is None else limit,))
        else:
            chosen = status is not None or to is not None
            rows = store.all("all_gates", (-1 if chosen or limit is None else limit,))
        found: list[Gate] = []
        states: dict[int, RunState] = {}
        for row in rows:
            if (status is not None and row[4] != status) or not self._asks(row[5], to):
                continue
            if len(found) == limit:
                break
            found.append(self._gate(row, states))
        return found

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
        return view(state, state.gates[row[0]])

    def gate(self, ref: str | Gate) -> Gate:
        """The gate with that id or unique prefix, or RUN:NAME. Raises NotFound, UsageError where several fit."""
        if isinstance(ref, Gate):
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
        return view(state, state.gates[found[0][0]])

    def _named(self, run: str, name: str) -> Gate:
        state = self._find(run).state()
        named = [gate for gate in state.gates.values() if name in (gate.name, gate.key)]
        if not named:
            raise NotFound(
                f"run {state.run_id} has no gate {name!r}",
                f"It has: {', '.join(gate.key for gate in state.gates.values()) or 'none'}",
                code="gate_not_found",
            )
        return view(state, next((gate for gate in reversed(named) if gate.status == "open"), named[-1]))

    def questions(self, to: str | None, limit: int) -> list[Question]:
        """All that waits for a person: open gates, and steps whose outcome nobody knows; the oldest first."""
        found = [
            Question("gate", gate.run_id, gate.workflow, gate.requested_at, gate.sentence, gate)
            for gate in self.gates("open", None, to, limit)
        ]
        for key, _ in self._access.store.all("blocked"):
            state = self._access.journal.load(key)[0].state
            asked = doubt(state)
            if asked is not None:
                found.append(asked)
        return sorted(found, key=lambda question: question.since)[:limit]

    def waiting(self, limit: int) -> int:
        """How many questions there are, `limit` at most; asked often, so a history is read once for each event."""
        row = self._access.store.one("open_gates_counted", (limit,))
        found: int = row[0] if row is not None else 0
        doubts: dict[tuple[int, int], bool] = {}
        for key, seq in self._access.store.all("blocked_at", (limit,)):
            known = self._doubts.get((key, seq))
            asked = doubt(self._access.journal.load(key)[0].state) is not None if known is None else known
            doubts[key, seq] = asked
            found += asked
        self._doubts = doubts
        return min(found, limit)

    @property
    def groups(self) -> Mapping[str, Any]:
        """Who is in which group."""
        return config.groups() if self._groups is None else self._groups

    # Deciding ------------------------------------------------------------------------------------------------------

    def decide(
        self,
        gate: str | Gate,
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
        now = self._access.clock.now

        def decided(state: RunState) -> list[Payload]:
            if link is not None:
                _demand_same(state.gates[known.id], asked, link)
            nonce = link.nonce if link is not None else None
            said: dict[str, Any] = {
                "now": max(now(), state.at),
                "reason": reason,
                "via": via,
                "link": nonce,
                "groups": self.groups,
            }
            if verdict == "deny":
                return gates.deny(state, known.id, actor, **said)
            return gates.grant(state, known.id, actor, edit=edit, data=data, seen=seen, **said)

        try:
            state = self._commit(known.run_id, decided)
        except NotEntitled as error:
            refused = gates.refusal(known.id, actor, verdict, error, via)
            self._commit(known.run_id, lambda state: [] if state.finished else [refused])
            raise
        return view(state, state.gates[known.id])

    def _commit(self, run_id: str, what: Callable[[RunState], list[Payload]]) -> RunState:
        clock = self._access.clock

        def decide(state: RunState) -> list[Draft]:
            at = max(clock.now(), state.at)
            return [draft(at, payload) for payload in what(state)]

        state = self._access.journal.commit(run_id, decide)
        self._access.nudge()
        return state

    # Links ---------------------------------------------------------------------------------------------------------

    def link(self, gate: str | Gate, verdict: Verdict, by: str | None, valid_for: float | datetime.timedelta) -> str:
        """A signed text that carries one decision about one gate."""
        if verdict not in ("approve", "deny"):
            raise UsageError(f"a link to {verdict!r}", 'It is to "approve" or to "deny"')
        seconds = valid_for.total_seconds() if isinstance(valid_for, datetime.timedelta) else float(valid_for)
        if not 0 < seconds < 1e10:
            raise UsageError(f"valid_for={valid_for!r} is no number of seconds above zero", "For example 86400")
        known = self.gate(gate)
        now = self._access.clock.now()
        state = self._access.journal.load(self._access.journal.key_of(known.run_id))[0].state
        gates.open_gate(state, known.id, now)
        return links.signed(
            links.Link(
                known.id, verdict, gates.person(by or config.actor()), now + round(seconds * 1e6), self._asked(known),
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
