"""Each event leads back to what made it happen, as far as the history says it."""

from __future__ import annotations

from hypothesis import given

from tests.history.hand import SECOND, History
from tests.history.legal import histories
from vbl.history.causes import Links, causes, effects
from vbl.history.facts import Fact


def told(history: History) -> list[tuple[str, str]]:
    """Each event with the one that it goes back to, by their types and numbers."""
    facts = history.facts
    links = causes(facts)
    return [(f"{fact.type} {fact.seq}", f"{facts[links[fact.seq] - 1].type} {links[fact.seq]}") for fact in facts if
            fact.seq in links]  # fmt: skip


def test_an_end_goes_back_to_its_beginning_and_a_command_to_the_input_before_it() -> None:
    history = History().started().step("a").done("a", 1).step("b").done("b", 1)
    history.add("RUN_COMPLETED", output=1)
    assert told(history) == [
        ("RUN_STARTED 2", "RUN_CREATED 1"),
        ("STEP_STARTED 3", "RUN_STARTED 2"),
        ("STEP_COMPLETED 4", "STEP_STARTED 3"),
        ("CHECKPOINT_WRITTEN 5", "STEP_COMPLETED 4"),
        ("STEP_STARTED 6", "STEP_COMPLETED 4"),
        ("STEP_COMPLETED 7", "STEP_STARTED 6"),
        ("CHECKPOINT_WRITTEN 8", "STEP_COMPLETED 7"),
        ("RUN_COMPLETED 9", "STEP_COMPLETED 7"),
    ]


def test_a_further_attempt_goes_back_to_the_backoff_also_where_other_steps_ended_meanwhile() -> None:
    history = History().started().step("a").step("b").failed("a", 1, final=False).backoff("a", 4, 2).done("b", 1)
    history.step("a", 3, attempt=2)
    assert told(history)[-5:] == [
        ("STEP_FAILED 5", "STEP_STARTED 3"),
        ("RETRY_SCHEDULED 6", "STEP_FAILED 5"),
        ("STEP_COMPLETED 7", "STEP_STARTED 4"),
        ("CHECKPOINT_WRITTEN 8", "STEP_COMPLETED 7"),
        ("STEP_STARTED 9", "RETRY_SCHEDULED 6"),
    ]


def test_an_attempt_after_a_crash_goes_back_to_the_interruption() -> None:
    history = History().started().step("a").add("STEP_INTERRUPTED", 1, step="a", attempt=1, epoch=2)
    history.add("RUN_RESUMED", epoch=2, reason="its supervisor died").step("a", attempt=2)
    assert told(history)[-3:] == [
        ("STEP_INTERRUPTED 4", "STEP_STARTED 3"),
        ("RUN_RESUMED 5", "STEP_INTERRUPTED 4"),
        ("STEP_STARTED 6", "STEP_INTERRUPTED 4"),
    ]


def test_what_a_retry_undid_is_asked_for_by_the_retry() -> None:
    history = History().started().step("a").failed("a", 1).digested()
    history.step("tidy").done("tidy", 1).add("RUN_FAILED", error={"kind": "k", "type": "T", "message": "m"})
    history.add("RUN_RETRIED", step="a", from_seq=4).step("a", attempt=2).done("a", 1, attempt=2).step("tidy")
    assert told(history)[-6:] == [
        ("RUN_FAILED 9", "STEP_COMPLETED 7"),
        ("RUN_RETRIED 10", "RUN_FAILED 9"),
        ("STEP_STARTED 11", "RUN_RETRIED 10"),
        ("STEP_COMPLETED 12", "STEP_STARTED 11"),
        ("CHECKPOINT_WRITTEN 13", "STEP_COMPLETED 12"),
        ("STEP_STARTED 14", "STEP_COMPLETED 12"),
    ]


def test_decisions_signals_timers_and_children_go_back_to_what_asked_for_them() -> None:
    history = History().started()
    history.add("APPROVAL_REQUESTED", gate="g_1", key="send", name="send", call={"step": "send"})
    history.add("APPROVAL_ESCALATED", 1, gate="g_1", to=["bob"]).add("APPROVAL_GRANTED", 1, gate="g_1", actor="bob")
    history.digested().step("send", gate="g_1")
    history.add("SIGNAL_AWAITED", wait=1, name="go").add("SIGNAL_AWAITED", wait=2, name="go")
    history.add("SIGNAL_RECEIVED", 1, name="go").add("SIGNAL_RECEIVED", name="go").add("SIGNAL_RECEIVED", name="go")
    history.add("TIMER_SET", timer=1, at=history.now + SECOND).add("TIMER_FIRED", 1, timer=1)
    history.add("CHILD_STARTED", call="c", child="r_1", workflow="w")
    history.add("CHILD_FINISHED", 1, call="c", child="r_1", status="completed")
    assert told(history)[1:] == [
        ("APPROVAL_REQUESTED 3", "RUN_STARTED 2"),
        ("APPROVAL_ESCALATED 4", "APPROVAL_REQUESTED 3"),
        ("APPROVAL_GRANTED 5", "APPROVAL_ESCALATED 4"),
        ("CHECKPOINT_WRITTEN 6", "APPROVAL_GRANTED 5"),
        ("STEP_STARTED 7", "APPROVAL_GRANTED 5"),
        ("SIGNAL_AWAITED 8", "APPROVAL_GRANTED 5"),
        ("SIGNAL_AWAITED 9", "APPROVAL_GRANTED 5"),
        ("SIGNAL_RECEIVED 10", "SIGNAL_AWAITED 8"),
        ("SIGNAL_RECEIVED 11", "SIGNAL_AWAITED 9"),
        ("TIMER_SET 13", "APPROVAL_GRANTED 5"),
        ("TIMER_FIRED 14", "TIMER_SET 13"),
        ("CHILD_STARTED 15", "APPROVAL_GRANTED 5"),
        ("CHILD_FINISHED 16", "CHILD_STARTED 15"),
    ]


def test_a_doubt_that_blocks_goes_back_to_the_probe_and_its_answer_to_the_doubt() -> None:
    history = History().started().step("pay", effect="write")
    history.add("STEP_INTERRUPTED", 1, step="pay", attempt=1, epoch=2).add("STEP_PROBED", step="pay", attempt=1)
    history.add("RUN_BLOCKED", reason="unknown_outcome", version="v1", message="m", unblock="u", step="pay")
    history.add("STEP_RESOLVED", 1, step="pay", outcome="did_not_happen", actor="ada").step("pay", attempt=2)
    assert told(history)[2:] == [
        ("STEP_INTERRUPTED 4", "STEP_STARTED 3"),
        ("STEP_PROBED 5", "STEP_INTERRUPTED 4"),
        ("RUN_BLOCKED 6", "STEP_PROBED 5"),
        ("STEP_RESOLVED 7", "STEP_PROBED 5"),
        ("STEP_STARTED 8", "STEP_RESOLVED 7"),
    ]


@given(histories())
def test_every_cause_lies_before_its_effect_and_only_strangers_have_none(facts: list[Fact]) -> None:
    links = causes(facts)
    assert all(0 < cause < effect for effect, cause in links.items())
    assert {fact.type for fact in facts if fact.seq not in links} <= {
        "RUN_CREATED", "CANCEL_REQUESTED", "RUN_PAUSED", "SIGNAL_RECEIVED", "RUN_RESUMED", "SCHEDULE_FIRED",
        "SCHEDULE_SKIPPED",
    }  # fmt: skip
    growing = Links()
    assert [dict(growing.read(facts[:n])) for n in (len(facts) // 2, len(facts))][-1] == links
    back = effects(links)
    assert sorted((cause, effect) for cause, many in back.items() for effect in many) == sorted(
        (cause, effect) for effect, cause in links.items()
    )
