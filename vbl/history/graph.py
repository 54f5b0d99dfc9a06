"""The graph of a run as it ran: what it did and waited for, and what followed from what.

`graph(facts)` derives it from the history alone. Code is handed one input at a time, and what it asks for next follows
from the one that had just ended. Where nothing else was under way by then, it follows as well from all that had ended
and that nothing had followed: that is where branches meet. So an arrow says what had happened when something was asked
for; what the code would have needed, a history can't tell. The items of a map are one node, and so are, in
`by_name(graph)`, all calls of one name; `merged(graphs)` lays the graphs of several runs over each other.

Pure. Instants are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter

from vbl.history.facts import Fact
from vbl.history.narration import duration
from vbl.history.state import RunState, fold

GRAVEST = (
    "failed",
    "blocked",
    "waiting_for_approval",
    "retrying",
    "running",
    "due",
    "waiting",
    "cancelled",
    "completed",
)
"""Of several nodes in one, the first of these statuses is shown."""
_ITEM = "["
"""What the key of a map's item has behind the key of the map."""


@dataclass(frozen=True, slots=True)
class Node:
    """Something that a run did or waited for. `kind` is step, gate, signal, timer or child; `status` that of a step or
    a run; `count` says how many are in it, of which `tally` tells the statuses, and `spans` how long each took; `seq`
    is that of the event by which it was asked for; `call` is what it is called among others of that name; `subject`
    the id of the child or the gate; `runs` in how many runs it is. `end_at` is None while it goes on."""

    key: str
    kind: str
    name: str
    status: str
    seq: int
    start_at: int
    end_at: int | None
    note: str = ""
    attempts: int = 1
    count: int = 1
    tally: tuple[tuple[str, int], ...] = ()
    call: str = ""
    subject: str = ""
    spans: tuple[int, ...] = ()
    runs: int = 1

    @property
    def took(self) -> str:
        """How long it was, in words, or how long each of them was in the middle; empty while it goes on."""
        if self.spans:
            return f"{duration(sorted(self.spans)[len(self.spans) // 2])} each"
        return duration(self.end_at - self.start_at) if self.end_at is not None and self.count == 1 else ""

    @property
    def told(self) -> str:
        """What is said of it beside its name: how long it was, and what is worth a word."""
        return ", ".join(part for part in (self.took if self.kind != "timer" else "", self.note) if part)


@dataclass(slots=True)
class Graph:
    """Nodes by key in the order in which they were asked for, and edges from one key to another with how often each was
    gone. `runs` says of how many runs it is made."""

    workflow: str
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    edges: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    runs: int = 1

    def before(self, key: str) -> list[str]:
        """The keys of what the node follows from."""
        return [source for source, target in self.edges if target == key]


@dataclass(frozen=True, slots=True)
class _Thing:
    """A node with what is needed to place it: after which input it was asked for, and the seq at which it ended."""

    node: Node
    ended_seq: int | None
    at_once: bool = False


def graph(facts: Iterable[Fact]) -> Graph:
    """The graph of one run, in which the items of each map are one node."""
    facts = list(facts)
    state = fold(facts)
    drawn = Graph(state.workflow)
    things = sorted(_things(state, {fact.seq: fact.at for fact in facts}), key=lambda thing: thing.node.seq)
    for thing in things:
        drawn.nodes[thing.node.key] = thing.node
    _connect(drawn, things, _digested_at(facts), {fact.seq for fact in facts if fact.type == "CANCEL_REQUESTED"})
    joined = _joined(drawn, lambda node: node.key.partition(_ITEM)[0] if node.kind in ("step", "child") else node.key)
    for key, node in joined.nodes.items():
        joined.nodes[key] = replace(node, call=key if node.kind == "step" else node.name)
    return joined


def by_name(drawn: Graph) -> Graph:
    """The same with one node for all of one kind and name; what is called in a loop follows from itself."""
    joined = _joined(drawn, lambda node: f"{node.kind} {node.name}")
    for key, node in joined.nodes.items():
        joined.nodes[key] = replace(node, call=node.name)
    return joined


def merged(graphs: Iterable[Graph]) -> Graph:
    """Several runs of one workflow over each other, by name."""
    runs = [by_name(drawn) for drawn in graphs]
    together = Graph(runs[0].workflow if runs else "", runs=len(runs))
    for number, run in enumerate(runs):
        for key, node in run.nodes.items():
            together.nodes[f"{number} {key}"] = replace(node, key=f"{number} {key}", seq=0)
        for (source, target), times in run.edges.items():
            together.edges[f"{number} {source}", f"{number} {target}"] = times
    joined = _joined(together, lambda node: node.key.partition(" ")[2])
    found = Counter(key.partition(" ")[2] for key in together.nodes)
    for key, node in joined.nodes.items():
        joined.nodes[key] = replace(node, runs=found[key])
    return joined


def _digested_at(facts: list[Fact]) -> dict[int, int]:
    """For each event, the seq of the input that the code had digested by then."""
    applied, found = 0, dict[int, int]()
    for fact in facts:
        found[fact.seq] = applied
        if fact.type == "RUN_STARTED":
            applied = fact.seq
        elif fact.type == "CHECKPOINT_WRITTEN":
            applied = fact.payload["applied"]
    return found


def _connect(drawn: Graph, things: list[_Thing], digested: dict[int, int], cancels: set[int]) -> None:
    """Draw the edges: each thing from what had just ended, or from all that meets in it. What is asked for because of
    a cancel follows from all that it cut short too."""
    ended_by = {thing.ended_seq: thing.node.key for thing in things if thing.ended_seq is not None}
    later = [thing for thing in things if thing.ended_seq is not None and not thing.at_once]
    ends = sorted(later, key=lambda thing: thing.ended_seq or 0)
    last = {thing.node.key: thing.ended_seq for thing in things}
    under_way: dict[str, None] = {}
    loose: dict[str, None] = {}
    after, before, done = -1, list[str](), 0
    for thing in things:
        if digested[thing.node.seq] != after:
            after = digested[thing.node.seq]
            while done < len(ends) and (ends[done].ended_seq or 0) <= after:
                under_way.pop(ends[done].node.key, None)
                loose[ends[done].node.key] = None
                done += 1
            just = [ended_by[after]] if after in ended_by else []
            before = just if under_way else [*dict.fromkeys([*loose, *just])]
            if after in cancels:
                before = [*loose, *under_way]
        for key in before:
            drawn.edges[key, thing.node.key] = 1
            loose.pop(key, None)
        if thing.at_once:
            loose[thing.node.key] = None
            before = [thing.node.key]
        elif last[thing.node.key] is not None or thing.node.kind != "timer":
            under_way[thing.node.key] = None


def _things(state: RunState, at: dict[int, int]) -> Iterator[_Thing]:
    """Whatever the code asked for that no retry undid and that did not prove needless."""
    for step in state.steps.values():
        if not step.void:
            again = f"attempt {step.attempt}" if step.attempt > 1 else ""
            node = Node(
                step.key, "step", step.name, step.status, step.asked_seq, step.asked_at, step.finished_at, again
            )
            yield _Thing(replace(node, attempts=step.attempt), step.ended_seq)
    for timer in state.timers.values():
        if timer.cancelled is None:
            start_at, status = at[timer.set_seq], "waiting" if timer.fired is None else "completed"
            end_at = at[timer.fired] if timer.fired is not None else None
            note = duration(timer.at - start_at)
            yield _Thing(
                Node(f"timer {timer.number}", "timer", "sleep", status, timer.set_seq, start_at, end_at, note),
                timer.fired,
            )
    yield from _outside(state, at)


def _outside(state: RunState, at: dict[int, int]) -> Iterator[_Thing]:
    """Gates, signals and children."""
    for gate in state.gates.values():
        if gate.void:
            continue
        status = {"open": "waiting_for_approval", "granted": "completed", "closed": "cancelled"}.get(
            gate.status, "failed"
        )
        ended = gate.status if gate.status != "open" else ""
        by = f"{ended} by {gate.decided_by}" if gate.decided_by else ended
        node = Node(
            f"gate {gate.id}", "gate", gate.name, status, gate.asked_seq, gate.requested_at, gate.decided_at, by
        )
        yield _Thing(replace(node, subject=gate.id), gate.ended_seq)
    for wait in state.waits.values():
        ended = wait.taken if wait.taken is not None else wait.ended
        status = "completed" if wait.taken is not None else "waiting" if ended is None else "cancelled"
        end_at = max(at[ended], wait.asked_at) if ended is not None else None
        note = "had come before" if wait.taken is not None and wait.taken < wait.asked_seq else ""
        node = Node(f"signal {wait.number}", "signal", wait.name, status, wait.asked_seq, wait.asked_at, end_at, note)
        at_once = ended is not None and ended < wait.asked_seq
        yield _Thing(node, wait.asked_seq if at_once else ended, at_once)
    for child in state.children.values():
        if not child.void:
            status = "waiting" if child.status == "open" else child.status
            end_at = at[child.ended_seq] if child.ended_seq is not None else None
            node = Node(
                f"child {child.call}", "child", child.workflow, status, child.asked_seq, at[child.asked_seq], end_at
            )
            yield _Thing(replace(node, subject=child.id), child.ended_seq)


def _joined(drawn: Graph, key_of: Callable[[Node], str]) -> Graph:
    """The graph with one node for all of one key. What leads from a part to a part stays only where the parts are not
    items of one map: those run side by side, and a free place is no reason."""
    key = {node.key: key_of(node) for node in drawn.nodes.values()}
    parts: dict[str, list[Node]] = {}
    for node in drawn.nodes.values():
        parts.setdefault(key[node.key], []).append(node)
    joined = Graph(drawn.workflow, runs=drawn.runs)
    for name, nodes in parts.items():
        joined.nodes[name] = replace(nodes[0], key=name) if len(nodes) == 1 else _one(name, nodes)
    for (source, target), times in drawn.edges.items():
        edge = key[source], key[target]
        if edge[0] != edge[1] or _ITEM not in source:
            joined.edges[edge] = joined.edges.get(edge, 0) + times
    return joined


def _one(key: str, nodes: list[Node]) -> Node:
    """Several nodes as one."""
    tally: Counter[str] = Counter()
    spans: list[int] = []
    for node in nodes:
        tally.update(dict(node.tally) or {node.status: 1})
        alone = [node.end_at - node.start_at] if node.end_at is not None and node.count == 1 else []
        spans += node.spans or alone
    first = min(nodes, key=attrgetter("seq"))
    status = next((status for status in GRAVEST if tally[status]), first.status)
    ends = [node.end_at for node in nodes]
    end_at = None if None in ends else max(end for end in ends if end is not None)
    rest = [f"{number} {status.replace('_', ' ')}" for status, number in tally.most_common() if status != "completed"]
    again = sum(node.attempts - node.count for node in nodes)
    note = ", ".join([*rest, *([f"{again} more attempt{'s' if again > 1 else ''}"] if again else [])])
    return Node(
        key, first.kind, first.name, status, first.seq, min(node.start_at for node in nodes), end_at, note,
        sum(node.attempts for node in nodes), sum(node.count for node in nodes), tuple(tally.most_common()),
        call=first.call, spans=tuple(spans),
    )  # fmt: skip
