"""A workflow started inside a workflow is a run of its own; parent and child know the same of each other, always."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import labour, slow, work
from tests.engine.outside import assert_kin_agree, below, open_gate
from tests.engine.world import WORLD
from vbl.handle import Run
from vbl.history.facts import Fact
from vbl.testing import DyingJournal, Trial, replay

SECOND = 1_000_000


def of(run: Run, type: str) -> list[Fact]:
    return [fact for fact in run.facts() if fact.type == type]


def workflow(code: Callable[..., Any]) -> Any:
    return vbl.workflow(name=code.__name__)(code)


def restarted(trial: Trial) -> None:
    trial.kill()
    trial.up()
    trial.settle()


def begun(trial: Trial, code: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Run:
    run = trial.start(workflow(code), *args, **options)
    trial.settle()
    return run


def only_child(trial: Trial, run: Run) -> Run:
    (known,) = run.state().children.values()
    return trial.run(known.id)


@vbl.workflow
async def twice(value: int) -> int:
    return 2 * await work(value)


@vbl.workflow
async def snaps(message: str) -> int:
    raise ValueError(message)


@vbl.workflow
async def lingers(value: int) -> int:
    try:
        return await slow(value, 300)
    finally:
        await work(value)


@vbl.workflow
async def asks() -> bool:
    return (await vbl.approve("may I")).approved


# Links ------------------------------------------------------------------------------------------------------------


def test_parent_and_child_are_linked_both_ways(trial: Trial) -> None:
    async def parent() -> int:
        return await twice(3)

    run = begun(trial, parent)
    assert run.result() == 6
    child = only_child(trial, run)
    assert (child.parent_id, child.workflow, child.result()) == (run.id, "twice", 6)
    (started,) = of(run, "CHILD_STARTED")
    assert started.payload["child"] == child.id
    assert started.payload["input"] == {"value": 3}
    (ended,) = of(run, "CHILD_FINISHED")
    assert (ended.payload["status"], ended.payload["output"]) == ("completed", 6)
    assert child.facts()[0].payload["call"] == started.payload["call"] == "twice"
    assert (replay(run), replay(child)) == (6, 6)
    assert_kin_agree(trial)
    assert_sound(trial)


def test_the_birth_of_a_child_is_the_event_of_its_parent(trial: Trial) -> None:
    """One transaction: whoever sees one of the two sees both, side by side."""

    async def parent() -> int:
        return await twice(3)

    run = begun(trial, parent)
    run.result()
    child = only_child(trial, run)
    events = [(event.run_id, event.type) for event in trial.events()]
    born, asked = events.index((child.id, "RUN_CREATED")), events.index((run.id, "CHILD_STARTED"))
    assert abs(born - asked) <= 2
    ended, told = events.index((child.id, "RUN_COMPLETED")), events.index((run.id, "CHILD_FINISHED"))
    assert abs(ended - told) <= 3


def test_calls_of_one_workflow_have_keys_in_their_order(trial: Trial) -> None:
    async def parent() -> list[int]:
        first, second = twice(1), twice(2)
        return [await second, await first]

    run = begun(trial, parent)
    assert run.result() == [4, 2]
    inputs = {child.call: child.input for child in run.state().children.values()}
    assert inputs == {"twice": {"value": 1}, "twice#2": {"value": 2}}
    assert replay(run) == [4, 2]


def test_a_child_inherits_deadline_priority_and_starter(trial: Trial) -> None:
    async def parent() -> int:
        return await lingers(1)

    run = begun(trial, parent, deadline=60, priority=7)
    state = only_child(trial, run).state()
    assert (state.priority, state.deadline, state.actor) == (7, run.created_at + 60 * SECOND, run.state().actor)
    assert run.wait() == "cancelled"
    trial.settle()
    assert only_child(trial, run).wait() == "cancelled"
    assert_kin_agree(trial)


@vbl.step(effect="write")
async def alone() -> None:
    await WORLD.clock.sleep(60)


@vbl.workflow
async def dawdles() -> None:
    await vbl.wait("never")


@vbl.workflow
async def passes_on() -> None:
    await dawdles()


def test_a_parent_whose_deadline_its_child_met_first_is_cancelled_and_does_not_fail(trial: Trial) -> None:
    async def parent() -> None:
        await passes_on()

    run = begun(trial, parent, deadline=60)
    assert run.wait() == "cancelled"
    trial.settle()
    assert {one.status for one in trial.runs()} == {"cancelled"}
    assert {fact.payload["actor"] for one in trial.runs() for fact in of(one, "CANCEL_REQUESTED")} == {"deadline"}
    assert_kin_agree(trial)
    replay(run)


def test_a_paused_parent_whose_deadline_its_child_met_cleans_up_when_it_goes_on(trial: Trial) -> None:
    async def parent() -> None:
        try:
            await passes_on()
        finally:
            if not vbl.parked():
                async with vbl.shield():
                    await twice(3)

    run = begun(trial, parent, deadline=60)
    run.pause()
    trial.advance(3_600)
    assert (run.status, len(of(run, "CANCEL_REQUESTED"))) == ("paused", 1)
    run.unpause()
    assert run.wait() == "cancelled"
    assert [child.result() for child in run.children() if child.workflow == "twice"] == [6]
    replay(run)


@pytest.mark.parametrize("restart", [False, True])
def test_a_clean_up_behind_the_deadline_may_start_children(trial: Trial, restart: bool) -> None:
    async def parent() -> None:
        try:
            await vbl.wait("never")
        finally:
            if not vbl.parked():
                async with vbl.shield():
                    await vbl.sleep(5)
                    await twice(3)

    run = begun(trial, parent, deadline=60)
    trial.advance(62)
    if restart:
        restarted(trial)
    assert run.wait() == "cancelled"
    assert only_child(trial, run).result() == 6
    assert_kin_agree(trial)


def test_a_child_may_have_a_deadline_of_its_own(trial: Trial) -> None:
    async def parent() -> str:
        child = vbl.start(lingers, 1, deadline=30)
        try:
            return str(await child)
        except vbl.RunCancelled:
            return "cancelled"

    run = begun(trial, parent)
    assert run.result() == "cancelled"
    child = only_child(trial, run)
    assert (child.finished_at or 0) - run.created_at == 30 * SECOND
    assert replay(run) == "cancelled"


# How it ends ------------------------------------------------------------------------------------------------------


def test_the_failure_of_a_child_fails_a_parent_that_does_not_catch_it(trial: Trial) -> None:
    async def parent() -> int:
        return await snaps("no") + await work(1)

    run = begun(trial, parent)
    with pytest.raises(vbl.RunFailed, match="no"):
        run.result()
    child = only_child(trial, run)
    assert child.status == "failed"
    assert not WORLD.runs_of(run.id)
    assert_kin_agree(trial)


def test_what_the_parent_sees_says_which_run_failed_and_how(trial: Trial) -> None:
    async def parent() -> list[Any]:
        try:
            return [await snaps("no")]
        except vbl.RunFailed as failure:
            return [failure.error["type"], failure.error["message"], "snaps" in str(failure)]

    run = begun(trial, parent)
    assert run.result() == ["ValueError", "no", True]
    assert replay(run) == ["ValueError", "no", True]


@pytest.mark.parametrize("restart", [False, True])
def test_a_child_that_a_client_cancels_is_told_to_its_parent(trial: Trial, restart: bool) -> None:
    """In the very transaction, where the child had not begun or was blocked; after its clean-up otherwise."""

    async def parent() -> str:
        try:
            return str(await lingers(1))
        except vbl.RunCancelled as gone:
            return f"gone: {'lingers' in str(gone)}"

    run = begun(trial, parent)
    if restart:
        trial.kill()
    only_child(trial, run).cancel(by="ada")
    if restart:
        trial.up()
    assert run.result() == "gone: True"
    assert replay(run) == "gone: True"
    assert_kin_agree(trial)


def test_a_blocked_child_that_is_cancelled_is_told_at_once(trial: Trial) -> None:
    @vbl.workflow
    async def stuck() -> None:
        await asyncio.Event().wait()

    async def parent() -> str:
        try:
            await stuck()
        except vbl.RunCancelled:
            return "gone"
        return "never"

    run = begun(trial, parent)
    child = only_child(trial, run)
    assert child.status == "blocked"
    assert run.status == "waiting"
    trial.kill()
    child.cancel()
    assert child.status == "cancelled"
    assert [fact.payload["status"] for fact in of(run, "CHILD_FINISHED")] == ["cancelled"]
    trial.up()
    assert run.result() == "gone"


def test_several_children_end_in_their_own_order(trial: Trial) -> None:
    @vbl.workflow
    async def naps(seconds: int) -> int:
        await vbl.sleep(seconds)
        return seconds

    async def parent() -> list[int]:
        return [await first for first in asyncio.as_completed([naps(30), naps(10), naps(20)])]

    run = begun(trial, parent)
    assert run.result() == [10, 20, 30]
    assert replay(run) == [10, 20, 30]
    assert_kin_agree(trial)


def test_a_tree_of_many(trial: Trial) -> None:
    @vbl.workflow
    async def node(depth: int) -> int:
        if depth == 0:
            return await work(1)
        return 1 + sum(await asyncio.gather(node(depth - 1), node(depth - 1), node(depth - 1)))

    run = trial.start(node, 3)
    assert run.result() == 13 + 27
    assert len(trial.runs(limit=None)) == 40
    assert_kin_agree(trial)
    assert_sound(trial)


# Handles ----------------------------------------------------------------------------------------------------------


def test_a_handle_may_be_awaited_again_and_by_several(trial: Trial) -> None:
    async def parent() -> list[int]:
        child = vbl.start(twice, 2)

        async def look() -> int:
            return await child

        return [*await asyncio.gather(look(), look()), await child]

    run = begun(trial, parent)
    assert run.result() == [4, 4, 4]
    assert len(run.state().children) == 1
    assert replay(run) == [4, 4, 4]


def test_who_gives_up_a_handle_that_he_waits_for_does_not_cancel_the_child(trial: Trial) -> None:
    async def parent() -> list[Any]:
        child = vbl.start(lingers, 5)
        try:
            async with asyncio.timeout(10):
                return [await child]
        except TimeoutError:
            return ["too long", await child]

    run = begun(trial, parent)
    assert run.result() == ["too long", 5]
    assert only_child(trial, run).status == "completed"
    assert replay(run) == ["too long", 5]


def test_a_handle_cancels_its_child(trial: Trial) -> None:
    async def parent() -> str:
        child = vbl.start(lingers, 5)
        await vbl.sleep(10)
        child.cancel()
        child.cancel()
        try:
            await child
        except vbl.RunCancelled:
            return child.id
        return "never"

    run = begun(trial, parent)
    assert run.result() == only_child(trial, run).id
    assert only_child(trial, run).wait() == "cancelled"
    assert len(of(run, "CHILD_CANCELLED")) == 1
    assert replay(run) == only_child(trial, run).id
    assert_kin_agree(trial)


def test_a_child_may_be_named_by_text(trial: Trial) -> None:
    async def parent() -> Any:
        return await vbl.start("twice", value=4)

    run = begun(trial, parent)
    assert run.result() == 8
    assert replay(run) == 8


def test_a_child_that_nobody_has_loaded_waits_for_who_has(trial: Trial) -> None:
    """What was asked for stays what was asked for, also where the workflow itself would fill in more."""

    async def parent() -> Any:
        return await vbl.start("later", value=4)

    run = begun(trial, parent)
    child = only_child(trial, run)
    assert (run.status, child.status, child.version) == ("waiting", "queued", "")
    trial.kill()

    async def later(value: int, factor: int = 3) -> int:
        return factor * await work(value)

    workflow(later)
    trial.up()
    assert run.result() == 12
    assert (replay(run), replay(child)) == (12, 12)
    assert_sound(trial)


# Cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
def test_a_cancel_reaches_the_grandchild_and_waits_for_nobody_but_oneself(trial: Trial, restart: bool) -> None:
    @vbl.workflow
    async def middle() -> int:
        return await lingers(1)

    async def parent() -> int:
        return await middle()

    run = begun(trial, parent)
    trial.advance(10)
    if restart:
        trial.kill()
    run.cancel(by="ada", reason="enough")
    if restart:
        trial.up()
    assert run.wait() == "cancelled"
    trial.settle()
    for name in ("middle", "lingers"):
        assert below(trial, run, name).wait() == "cancelled"
    ran = WORLD.runs_of(below(trial, run, "lingers").id)
    assert ran["work"] == 1, "it has cleaned up"
    assert ran["slow"] == 1 or restart, "and did not go on"
    assert_kin_agree(trial)
    assert_sound(trial)


def test_the_loser_of_a_race_is_cancelled(trial: Trial) -> None:
    async def parent() -> int:
        quick, late = asyncio.ensure_future(twice(1)), asyncio.ensure_future(lingers(2))
        done, left = await asyncio.wait({quick, late}, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        return done.pop().result()

    run = begun(trial, parent)
    assert run.result() == 2
    assert below(trial, run, "lingers").wait() == "cancelled"
    assert replay(run) == 2


@pytest.mark.parametrize("end", ["completes", "fails", "is cancelled"])
@pytest.mark.parametrize("policy", ["cancel", "leave"])
def test_what_becomes_of_a_child_when_its_parent_ends(trial: Trial, end: str, policy: Any) -> None:
    async def parent() -> str:
        vbl.start(lingers, 5, on_close=policy)
        await vbl.sleep(10 if end != "is cancelled" else 100)
        if end == "fails":
            raise ValueError("no")
        return "done"

    run = begun(trial, parent)
    trial.advance(10)
    if end == "is cancelled":
        run.cancel()
    assert run.wait() == {"completes": "completed", "fails": "failed", "is cancelled": "cancelled"}[end]
    child = only_child(trial, run)
    assert child.wait() == ("completed" if policy == "leave" else "cancelled")
    assert_kin_agree(trial)
    assert_sound(trial)


def test_a_client_that_ends_the_parent_ends_the_children_with_it(trial: Trial) -> None:
    """With nobody alive: a blocked parent is cancelled at once, and its children are told in the same transaction."""

    async def parent() -> None:
        vbl.start(asks)
        await vbl.sleep(10)
        await asyncio.Event().wait()

    @vbl.workflow
    async def held() -> None:
        vbl.start(lingers, 1)
        await asyncio.sleep(1)

    run = begun(trial, held)
    trial.settle()
    run.wait()
    child = only_child(trial, run)
    assert child.wait() == "cancelled"
    other = begun(trial, parent)
    trial.advance(20)
    kid = only_child(trial, other)
    assert (other.status, kid.status) == ("waiting", "waiting_for_approval")
    trial.kill()
    other.cancel(by="ada")
    trial.up()
    assert other.wait() == "cancelled"
    trial.settle()
    assert kid.wait() == "cancelled"
    assert_kin_agree(trial)


def test_a_client_that_ends_a_blocked_parent_ends_the_children_that_have_not_begun(trial: Trial) -> None:
    @vbl.workflow
    async def blocked() -> None:
        vbl.start("nobody_has_loaded_this")
        await alone()

    run = trial.start(blocked)
    trial.settle()
    trial.kill()
    trial.up()
    trial.settle()
    child = only_child(trial, run)
    assert (run.status, child.status) == ("blocked", "queued")
    run.cancel(by="ada")
    assert (run.status, child.status) == ("cancelled", "cancelled")
    assert of(run, "CHILD_FINISHED") == []
    assert_kin_agree(trial)


# A person below ---------------------------------------------------------------------------------------------------


def test_the_gate_of_a_child_is_decided_as_any_other(trial: Trial) -> None:
    async def parent() -> bool:
        return await asks()

    run = begun(trial, parent)
    child = only_child(trial, run)
    assert (run.status, child.status) == ("waiting", "waiting_for_approval")
    trial.kill()
    trial.approve(open_gate(child, "may I").id, by="ada")
    trial.up()
    assert run.result() is True


# Death ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_no_death_comes_between_the_end_of_a_child_and_the_news(trial: Trial, when: str, at: int) -> None:
    async def parent() -> int:
        return await twice(1) + await twice(2)

    trial.down()
    trial.up(die_before=at if when == "before" else None, die_after=at if when == "after" else None)
    run = trial.start(workflow(parent))
    while not trial.finish(run):
        assert_kin_agree(trial)
        trial.up()
    assert run.result() == 6
    assert_kin_agree(trial)


def test_the_end_of_a_child_never_rests_on_an_end_of_its_parent_that_was_not_stored(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were cancelled, so neither has anything to tell the other; then a signal makes the parent's end void."""

    async def nest(depth: int) -> bool:
        return await (again(depth - 1) if depth else asks())

    again = workflow(nest)
    run = trial.start(again, 1)
    trial.settle()
    child = only_child(trial, run)
    trial.kill()
    child.cancel()
    run.cancel()
    signals: list[str] = []
    commit_all = DyingJournal.commit_all

    def overtaken(self: DyingJournal, *args: Any) -> Any:
        if not signals:
            signals.append("news")
            with vbl.connect(trial.path) as client:
                client.signal(run.id, "news")
        return commit_all(self, *args)

    monkeypatch.setattr(DyingJournal, "commit_all", overtaken)
    trial.up(die_after=1)
    while not trial.finish(run):
        assert_kin_agree(trial)
        trial.up()
    assert signals
    assert (run.status, child.status) == ("cancelled", "cancelled")
    assert_kin_agree(trial)
    assert_sound(trial)


# Retries ----------------------------------------------------------------------------------------------------------


@vbl.step
async def once_broken(value: int) -> int:
    WORLD.did()
    if "mended" in WORLD.notes:
        return value
    raise ValueError("no")


@vbl.workflow
async def fragile(value: int) -> int:
    return await work(value) + await once_broken(value)


def test_a_retry_of_the_parent_retries_the_child_that_failed_it(trial: Trial) -> None:
    async def parent() -> int:
        return await work(1) + await fragile(2)

    run = begun(trial, parent)
    assert run.wait() == "failed"
    child = only_child(trial, run)
    assert child.status == "failed"
    WORLD.note("mended")
    run.retry()
    assert run.result() == 5
    assert only_child(trial, run).id == child.id
    assert child.result() == 4
    assert WORLD.runs_of(child.id) == {"work": 1, "once_broken": 2}
    assert WORLD.runs_of(run.id) == {"work": 1}
    assert (replay(run), replay(child)) == (5, 4)
    assert_kin_agree(trial)
    assert_sound(trial)


@vbl.workflow
async def lingers_then_breaks(value: int) -> int:
    done = await once_broken(value)
    await vbl.sleep(10)
    return done


@vbl.workflow
async def breaks_at_ten(value: int) -> int:
    await vbl.sleep(10)
    if "mended" not in WORLD.notes:
        raise ValueError("no")
    return value


@pytest.mark.parametrize("grouped", [False, True])
def test_a_retry_retries_every_child_that_failed_and_not_only_the_one_that_was_told_first(
    trial: Trial, grouped: bool
) -> None:
    async def parent() -> list[int]:
        calls = [twice(1), breaks_at_ten(2), breaks_at_ten(3), breaks_at_ten(4)]
        if not grouped:
            return await asyncio.gather(*calls)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
        return [task.result() for task in tasks]

    run = begun(trial, parent)
    assert run.wait() == "failed"
    trial.settle()
    children = {child.id: child.status for child in run.children()}
    assert list(children.values()) == ["completed", "failed", "failed", "failed"]
    WORLD.note("mended")
    run.retry()
    assert "failed" not in {trial.run(id).status for id in children}
    assert run.result() == [2, 2, 3, 4]
    assert {child.id: child.status for child in run.children()} == dict.fromkeys(children, "completed")
    assert_kin_agree(trial)
    assert_sound(trial)
    assert replay(run) == [2, 2, 3, 4]


@pytest.mark.parametrize("ended", [False, True])
def test_a_child_that_was_retried_by_itself_does_not_stand_in_the_way_of_its_parents_retry(
    trial: Trial, ended: bool
) -> None:
    async def parent() -> int:
        return await lingers_then_breaks(2)

    run = begun(trial, parent)
    assert run.wait() == "failed"
    child = only_child(trial, run)
    WORLD.note("mended")
    child.retry()
    trial.settle()
    if ended:
        assert child.result() == 2
    else:
        assert child.status == "waiting"
    run.retry()
    assert run.result() == 2
    assert only_child(trial, run).id == child.id
    assert_kin_agree(trial)
    assert replay(run) == 2


def test_what_was_heard_between_a_failure_and_the_end_stays_in_a_retry(trial: Trial) -> None:
    """The child has failed long before the code awaits it: a wait has expired meanwhile, and another child was gone."""

    async def parent() -> list[Any]:
        child, other = vbl.start(lingers_then_breaks, 2), vbl.start(dawdles)
        with pytest.raises(TimeoutError):
            await vbl.wait("never", timeout=20)
        try:
            await other
        except vbl.RunCancelled:
            return ["gone", await child]
        return []

    run = begun(trial, parent)
    trial.advance(30)
    known = {child.workflow: child for child in run.children()}
    known["dawdles"].cancel()
    assert run.wait() == "failed"
    WORLD.note("mended")
    run.retry()
    assert run.result() == ["gone", 2]
    assert len(of(run, "WAIT_EXPIRED")) == 1
    assert len(run.children()) == 2
    assert_kin_agree(trial)
    assert_sound(trial)
    assert replay(run) == ["gone", 2]


@vbl.workflow
async def naps(seconds: int) -> int:
    await vbl.sleep(seconds)
    return seconds


@vbl.workflow
async def breaks_after(seconds: int) -> int:
    await vbl.sleep(seconds)
    return await once_broken(seconds)


def test_a_child_that_a_retry_started_anew_is_started_anew_by_one_from_an_earlier_failure(trial: Trial) -> None:
    async def parent() -> list[int]:
        early = vbl.start(breaks_after, 10)

        async def later() -> int:
            await vbl.sleep(30)
            return await early

        return await asyncio.gather(later(), naps(100), breaks_after(11))

    run = begun(trial, parent)
    assert run.wait() == "failed"
    WORLD.note("mended")
    run.retry()
    assert run.wait() == "failed"
    assert (run.state().error or {})["step"] == "breaks_after"
    run.retry()
    assert run.result() == [10, 100, 11]
    assert_kin_agree(trial)
    assert_sound(trial)
    assert replay(run) == [10, 100, 11]


@pytest.mark.parametrize("restart", [False, True])
def test_a_handle_whose_child_the_failure_took_with_it_gets_another_one_by_a_retry(trial: Trial, restart: bool) -> None:
    async def parent() -> int:
        child = vbl.start(naps, 50)
        await once_broken(1)
        return await child

    run = trial.start(workflow(parent))
    assert run.wait() == "failed"
    trial.settle()
    first = only_child(trial, run)
    WORLD.note("mended")
    if restart:
        restarted(trial)
    run.retry()
    assert run.result() == 50
    assert only_child(trial, run).id != first.id
    assert_kin_agree(trial)
    assert replay(run) == 50


def test_a_retry_runs_the_step_again_whose_failure_the_code_has_put_in_other_words(trial: Trial) -> None:
    async def parent() -> int:
        try:
            return await once_broken(1)
        except vbl.StepFailed as error:
            raise RuntimeError("in other words") from error

    run = trial.start(workflow(parent))
    assert run.wait() == "failed"
    error = run.state().error
    assert error is not None
    assert (error["type"], error["message"], error["step"]) == ("RuntimeError", "in other words", "once_broken")
    WORLD.note("mended")
    run.retry()
    assert run.result() == 1
    assert replay(run) == 1


def test_a_retry_of_a_run_that_a_task_group_failed_runs_its_failed_steps_again(trial: Trial) -> None:
    async def parent() -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(once_broken(n)) for n in (1, 2)]
        return [task.result() for task in tasks]

    run = trial.start(workflow(parent))
    assert run.wait() == "failed"
    assert run.state().error is not None
    assert "unhandled errors in a TaskGroup" in run.state().error["message"]
    WORLD.note("mended")
    run.retry()
    assert run.result() == [1, 2]
    assert replay(run) == [1, 2]


def test_a_retry_of_a_parent_that_failed_by_itself_uses_its_children_again(trial: Trial) -> None:
    async def parent() -> int:
        found = await twice(2)
        return found + await once_broken(1)

    run = begun(trial, parent)
    assert run.wait() == "failed"
    WORLD.note("mended")
    run.retry()
    assert run.result() == 5
    assert WORLD.runs_of(only_child(trial, run).id) == {"work": 1}
    assert len(of(run, "CHILD_STARTED")) == 1


def test_a_child_that_its_failed_parent_took_with_it_is_started_again_by_a_retry(trial: Trial) -> None:
    async def parent() -> list[int]:
        late = asyncio.ensure_future(lingers(7))
        await vbl.sleep(5)
        return [await once_broken(1), await late]

    run = begun(trial, parent)
    assert run.wait() == "failed"
    first = below(trial, run, "lingers")
    trial.settle()
    assert first.wait() == "cancelled"
    WORLD.note("mended")
    run.retry()
    assert run.result() == [1, 7]
    assert replay(run) == [1, 7]
    assert_kin_agree(trial)
    assert_sound(trial)


def test_the_child_that_a_retry_started_in_place_of_another_is_given_up_in_its_turn(trial: Trial) -> None:
    async def parent() -> list[int]:
        return list(await asyncio.gather(once_broken(1), lingers(7)))

    run = begun(trial, parent)
    children: list[Run] = []
    for _ in range(3):
        assert run.wait() == "failed"
        children.append(only_child(trial, run))
        trial.settle()
        assert children[-1].wait() == "cancelled"
        assert_kin_agree(trial)
        run.retry()
        trial.settle()
    WORLD.note("mended")
    run.retry()
    assert run.result() == [1, 7]
    assert len({child.id for child in children}) == 3
    assert replay(run) == [1, 7]
    assert_sound(trial)


def test_a_retry_that_crosses_with_the_end_of_a_child_starts_another_in_its_place(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent had failed, so there was nobody to tell; then, before that is stored, a client opens it again."""

    async def parent() -> list[Any]:
        child = vbl.start(lingers, 7)
        found = await once_broken(1)
        try:
            return [found, await child]
        except vbl.RunCancelled:
            return [found, "gone"]

    retried: list[str] = []
    commit_all = DyingJournal.commit_all

    def overtaken(self: DyingJournal, histories: Any, *args: Any) -> Any:
        if not retried and any(row[1] == "RUN_CANCELLED" for history in histories for row in history.rows):
            WORLD.note("mended")
            with vbl.connect(trial.path) as client:
                retried.append(client.start(definition, key="crossed").id)
                client.run(retried[0]).retry()
        return commit_all(self, histories, *args)

    monkeypatch.setattr(DyingJournal, "commit_all", overtaken)
    definition = workflow(parent)
    run = trial.start(definition, key="crossed")
    trial.settle()
    assert retried == [run.id]
    assert run.result() == [1, 7]
    assert replay(run) == [1, 7]
    assert_kin_agree(trial)
    assert_sound(trial)


# Sync workflows ---------------------------------------------------------------------------------------------------


@vbl.workflow
def plainly_twice(value: int) -> int:
    return 2 * labour(value)


def test_sync_and_async_ones_start_each_other(trial: Trial) -> None:
    def parent() -> list[Any]:
        first = plainly_twice(1)
        child = vbl.start(twice, 2)
        found = [first, child.result(), vbl.start(twice, 3).result()]
        try:
            vbl.start(snaps, "no").result()
        except vbl.RunFailed as failure:
            found.append(failure.error["message"])
        return found

    async def grandparent() -> Any:
        return [await vbl.start(workflow_parent), await plainly_twice.aio(5)]

    workflow_parent = workflow(parent)
    run = begun(trial, grandparent)
    assert run.result() == [[2, 4, 6, "no"], 10]
    assert replay(run) == run.result()
    assert_kin_agree(trial)


def test_the_wrong_form_of_a_call_says_which_is_right(trial: Trial) -> None:
    def plain() -> Any:
        return twice(1)

    async def other() -> Any:
        return await plainly_twice(1)  # type: ignore[misc]

    for code, right in ((plain, "vbl.start(twice, …).result()"), (other, "await plainly_twice.aio(…)")):
        run = trial.start(workflow(code))
        assert run.wait() == "failed"
        error = run.state().error or {}
        assert (error["type"], right in str(error)) == ("UsageError", True)
    assert len(trial.runs(limit=None)) == 2


# Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        ((work, 1), {}, "UsageError"),
        ((twice, "many"), {}, "InvalidInput"),
        ((twice,), {}, ""),
        (("twice", 1), {}, "UsageError"),
        (("twice",), {"value": "many"}, "InvalidInput"),
        ((twice, 1), {"on_close": "forget"}, "UsageError"),
        ((twice, 1), {"deadline": -1}, "UsageError"),
    ],
    ids=str,
)
def test_a_start_that_makes_no_sense_starts_nothing(trial: Trial, args: Any, options: Any, error: str) -> None:
    async def parent() -> None:
        await vbl.start(*args, **options)

    run = begun(trial, parent)
    assert run.wait() == "failed"
    assert error in (run.state().error or {})["type"]
    assert len(trial.runs(limit=None)) == 1


def test_nobody_starts_children_outside_of_a_workflow() -> None:
    with pytest.raises(vbl.NotInWorkflow):
        vbl.start(twice, 1)
