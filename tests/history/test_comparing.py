"""Two histories in pairs: what differs is told, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.history.legal import histories
from vbl.history.comparing import Comparison, compare
from vbl.history.facts import Fact

MADE = {"run_id": "r_1", "workflow": "w", "version": "1", "input": {}}


def ran(keys: list[str], apart: int = 10, run: str = "r_1", **outputs: object) -> list[Fact]:
    """A history in which steps of these keys were asked for and completed, one after the other."""
    facts = [Fact(1, "RUN_CREATED", 0, MADE | {"run_id": run}), Fact(2, "RUN_STARTED", apart, {"epoch": 1})]
    for key in keys:
        seq, at = len(facts) + 1, (len(facts) + 1) * apart
        facts.append(Fact(seq, "STEP_STARTED", at, {"step": key, "attempt": 1, "input": {}}))
        done = {"step": key, "attempt": 1, "output": outputs.get(key)}
        facts.append(Fact(seq + 1, "STEP_COMPLETED", at + apart, done))
    return facts


def verdicts(comparison: Comparison) -> list[tuple[str, str, bool]]:
    return [(pair.key, pair.verdict, pair.moved) for pair in comparison.pairs]


KEYS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@given(KEYS)
def test_a_run_is_the_same_as_itself_however_long_it_took(keys):
    comparison = compare(ran(keys), ran(keys, apart=1_000, run="r_2"))
    assert comparison.same
    assert verdicts(comparison) == [(key, "same", False) for key in keys]


@given(KEYS, KEYS)
def test_every_key_of_either_run_is_in_one_pair_and_each_order_is_kept(left, right):
    comparison = compare(ran(left), ran(right))
    assert sorted(pair.key for pair in comparison.pairs) == sorted({*left, *right})
    assert [pair.key for pair in comparison.pairs if pair.left] == left
    still = [pair.key for pair in comparison.pairs if pair.right and not pair.moved]
    assert still == [key for key in right if key in still]
    assert [pair.verdict for pair in comparison.pairs].count("right") == len({*right} - {*left})


@given(histories(), histories())
def test_whatever_happened_to_two_runs_they_can_be_compared(left, right):
    assert compare(left, left).same
    there, back = compare(left, right), compare(right, left)
    assert there.same == back.same
    assert {pair.key for pair in there.pairs} == {pair.key for pair in back.pairs}


def test_as_few_as_can_be_are_said_to_have_moved():
    comparison = compare(ran(["a", "b", "c", "d"]), ran(["b", "c", "d", "a"]))
    assert verdicts(comparison) == [
        ("a", "differs", True),
        ("b", "same", False),
        ("c", "same", False),
        ("d", "same", False),
    ]
    assert not comparison.same


def test_a_gate_that_a_retry_undid_stands_for_nothing():
    def asked(gate: str, *facts: Fact) -> Fact:
        return Fact(len(facts) + 1, "APPROVAL_REQUESTED", 100, {"gate": gate, "key": "send", "name": "send"})

    failure = {"kind": "bug", "type": "E", "message": "x"}
    facts = ran(["a"])
    failed_at = len(facts) + 2
    for type, payload in (
        ("STEP_STARTED", {"step": "b", "attempt": 1, "input": {}}),
        ("STEP_FAILED", {"step": "b", "attempt": 1, "error": failure}),
        ("APPROVAL_REQUESTED", {"gate": "g_1", "key": "send", "name": "send"}),
        ("APPROVAL_DENIED", {"gate": "g_1", "actor": "ada"}),
        ("RUN_FAILED", {"error": failure}),
        ("RUN_RETRIED", {"step": "b", "from_seq": failed_at}),
        ("STEP_STARTED", {"step": "b", "attempt": 2, "input": {}}),
        ("STEP_COMPLETED", {"step": "b", "attempt": 2, "output": None}),
        ("STEP_STARTED", {"step": "c", "attempt": 1, "input": {}}),
        ("STEP_COMPLETED", {"step": "c", "attempt": 1, "output": None}),
    ):
        facts.append(Fact(len(facts) + 1, type, 100, payload))
    straight = ran(["a", "b", "c"])
    comparison = compare([*facts, asked("g_2", *facts)], [*straight, asked("g_3", *straight)])
    assert [(pair.key, pair.moved) for pair in comparison.pairs] == [
        ("a", False),
        ("b", False),
        ("c", False),
        ("gate send", False),
    ]
    assert verdicts(comparison)[-1] == ("gate send", "same", False)


def test_another_output_is_a_difference_with_its_path():
    (pair,) = compare(ran(["a"], a={"n": 1}), ran(["a"], a={"n": 2})).pairs
    assert [(change.where, change.before, change.after) for change in pair.changes] == [("output.n", 1, 2)]


def test_errors_differ_by_what_they_say_and_not_by_their_tracebacks():
    def failed(message: str, traceback: str) -> list[Fact]:
        error = {"kind": "bug", "type": "ValueError", "message": message, "traceback": traceback}
        end = Fact(4, "STEP_FAILED", 4, {"step": "a", "attempt": 1, "error": error, "final": True})
        return [*ran(["a"])[:3], end, Fact(5, "RUN_FAILED", 5, {"error": error})]

    assert compare(failed("no", "line 1"), failed("no", "line 2")).same
    comparison = compare(failed("no", ""), failed("never", ""))
    assert [change.where for change in comparison.changes] == ["error.message"]
    assert [change.where for change in comparison.pairs[0].changes] == ["error.message"]


def test_what_a_run_waits_for_is_paired_like_its_steps():
    def waited(decision: str, fired: bool) -> list[Fact]:
        call = {"step": "send", "input": {"to": "ada"}}
        asked = {"gate": f"g_{decision}", "key": "send", "name": "send", "call": call}
        ended = Fact(8, f"APPROVAL_{decision}", 60, {"gate": f"g_{decision}", "actor": "ada", "final": True})
        return [
            *ran([]),
            Fact(3, "TIMER_SET", 10, {"timer": 1, "at": 20}),
            Fact(4, "SIGNAL_AWAITED", 10, {"wait": 1, "name": "paid"}),
            Fact(5, "CHILD_STARTED", 10, {"call": "c", "child": "r_9", "workflow": "sub", "input": {}}),
            Fact(6, "APPROVAL_REQUESTED", 20, asked),
            Fact(7, "TIMER_FIRED" if fired else "TIMER_CANCELLED", 50, {"timer": 1}),
            ended,
        ]

    one = waited("GRANTED", True)
    assert [pair.key for pair in compare(one, one).pairs] == ["timer 1", "signal paid", "child c", "gate send"]
    pairs = {pair.key: pair for pair in compare(one, waited("DENIED", False)).pairs}
    assert [change.where for change in pairs["gate send"].changes] == ["status"]
    assert [change.where for change in pairs["timer 1"].changes] == ["status"]
    assert (pairs["signal paid"].verdict, pairs["child c"].verdict) == ("same", "same")
    assert (pairs["timer 1"].left.took, pairs["gate send"].left.took, pairs["child c"].left.took) == (40, 40, None)
