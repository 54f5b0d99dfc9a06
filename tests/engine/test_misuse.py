"""What workflow code may not do is refused where it is done, in words that say what to do instead."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

import vbl
from tests.engine.checks import assert_sound
from tests.engine.corpus import Talk, echo, labour, sequence, work
from tests.engine.world import WORLD
from vbl.engine import ambient, loop
from vbl.engine.definitions import REGISTRY
from vbl.handle import Run
from vbl.testing import Trial


def ended(trial: Trial, function: Callable[..., Any], *args: Any) -> Run:
    """Run a function as a workflow, to wherever it gets."""
    run = trial.start(vbl.workflow(name="misuse")(function), *args)
    assert trial.finish(run)
    assert_sound(trial)
    return run


def failure(trial: Trial, function: Callable[..., Any]) -> tuple[str, str]:
    """The type and the message of the error that the run failed with."""
    run = ended(trial, function)
    assert run.status == "failed", run.state().blocked
    error = run.state().error or {}
    return error["type"], error["message"]


# The outer world --------------------------------------------------------------------------------------------------


async def opens_a_connection() -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def starts_a_process() -> None:
    await asyncio.create_subprocess_exec("true")


async def goes_to_a_thread() -> None:
    await asyncio.to_thread(print)


async def uses_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, print)


async def watches_a_file() -> None:
    asyncio.get_running_loop().add_reader(0, print)


async def listens() -> None:
    await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)


async def looks_up_a_name() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)


async def handles_signals() -> None:
    asyncio.get_running_loop().add_signal_handler(2, print)


@pytest.mark.parametrize(
    "function",
    [
        opens_a_connection,
        starts_a_process,
        goes_to_a_thread,
        uses_an_executor,
        watches_a_file,
        listens,
        looks_up_a_name,
        handles_signals,
    ],
)
def test_input_and_output_on_the_workflows_loop_are_refused(trial: Trial, function: Callable[..., Any]) -> None:
    kind, message = failure(trial, function)
    assert kind == "WorkflowError"
    assert "workflow code called loop." in message
    run = trial.run("@last")
    assert "in " + function.__name__ in run.state().error["traceback"], "the traceback names the line"  # pyright: ignore[reportOptionalSubscript]


def test_every_method_of_a_loop_is_there_or_refused() -> None:
    """A new Python may bring more of them; each must be decided."""
    mine = loop.WorkflowLoop(lambda timer: None, lambda timer: None, contextvars.copy_context())
    allowed = {
        "call_soon", "call_later", "call_at", "time", "create_future", "create_task", "get_debug", "is_running",
        "is_closed", "close", "call_exception_handler", "default_exception_handler",
    }  # fmt: skip
    for name in dir(asyncio.AbstractEventLoop):
        if name.startswith("_") or name in allowed or not callable(getattr(mine, name)):
            continue
        with pytest.raises(vbl.WorkflowError, match=name):
            getattr(mine, name)(None, None)


def starts_a_thread() -> None:
    threading.Thread(target=print).start()


async def starts_a_thread_too() -> None:
    starts_a_thread()


async def uses_a_pool() -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(print)


@pytest.mark.parametrize("function", [starts_a_thread, starts_a_thread_too, uses_a_pool])
def test_a_workflow_may_not_start_threads(trial: Trial, function: Callable[..., Any]) -> None:
    kind, message = failure(trial, function)
    assert kind == "WorkflowError"
    assert "started a thread" in message


@vbl.step
def starts_a_thread_in_a_step() -> list[str]:
    """A step may, and its threads have no context, unless it is given to them."""
    found: list[str] = []

    def lost() -> None:
        try:
            found.append(vbl.key())
        except vbl.NotInWorkflow as error:
            found.append(error.code)

    here = contextvars.copy_context()
    for target in (lost, lambda: here.run(lost)):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    return found


def test_a_raw_thread_in_a_step_has_lost_its_context_and_is_told(trial: Trial) -> None:
    async def threads() -> list[str]:
        return await starts_a_thread_in_a_step.aio()

    run = ended(trial, threads)
    assert run.result() == ["not_in_workflow", f"{run.id}:starts_a_thread_in_a_step"]


def test_a_durable_call_from_another_thread_of_a_sync_workflow_is_refused(trial: Trial) -> None:
    def leaks() -> list[str]:
        here = contextvars.copy_context()
        WORLD.notes.append("handed")
        SHARED.append(here)
        return [str(labour(1))]

    SHARED.clear()
    run = ended(trial, leaks)
    assert run.status == "completed"
    with pytest.raises((vbl.NotInWorkflow, vbl.Parked)):
        SHARED[0].run(labour, 2)
    assert WORLD.runs_of(run.id) == {"labour": 1}


SHARED: list[contextvars.Context] = []


# Code that never gets anywhere ------------------------------------------------------------------------------------


def blocked(trial: Trial, function: Callable[..., Any]) -> dict[str, Any]:
    run = ended(trial, function)
    assert run.status == "blocked", run.state().error
    return run.state().blocked or {}


def test_a_spin_is_stopped_and_its_neighbours_go_on(trial: Trial) -> None:
    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    neighbour = trial.start(sequence)
    block = blocked(trial, spins)
    assert block["reason"] == "spin"
    assert "100,000 callbacks" in block["message"]
    assert "asyncio.sleep(0)" in block["unblock"]
    assert neighbour.result() == 6


@pytest.mark.parametrize("what", ["future", "event", "queue", "lock", "task"])
def test_a_deadlock_is_named(trial: Trial, what: str) -> None:
    async def waits() -> None:
        await work(1)
        lock = asyncio.Lock()
        await lock.acquire()
        await {
            "future": asyncio.get_running_loop().create_future,
            "event": asyncio.Event().wait,
            "queue": asyncio.Queue().get,
            "lock": lock.acquire,
            "task": lambda: asyncio.gather(asyncio.Event().wait(), asyncio.Queue().get()),
        }[what]()

    block = blocked(trial, waits)
    assert block["reason"] == "deadlock"
    assert "no step, timer or input" in block["message"]


def test_a_run_in_a_deadlock_can_be_cancelled(trial: Trial) -> None:
    async def waits() -> None:
        await asyncio.Event().wait()

    run = ended(trial, waits)
    run.cancel()
    trial.settle()
    assert run.status == "cancelled"


@pytest.mark.parametrize("exception", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("base")])
def test_nothing_that_workflow_code_raises_ends_the_supervisor(trial: Trial, exception: BaseException) -> None:
    async def raises() -> None:
        raise exception

    def raises_in_its_thread() -> None:
        raise exception

    for function in (raises, raises_in_its_thread):
        run = ended(trial, function)
        assert run.status in ("failed", "blocked")
    assert trial.start(sequence).result() == 6


@pytest.mark.parametrize(
    "exception", [SystemExit(3), KeyboardInterrupt(), BaseException("base"), asyncio.CancelledError()]
)
def test_nothing_that_a_body_raises_ends_the_supervisor(trial: Trial, exception: BaseException) -> None:
    @vbl.step
    async def raises() -> None:
        raise exception

    @vbl.step
    def raises_in_a_thread() -> None:
        raise exception

    async def both() -> list[str]:
        found = await asyncio.gather(raises(), raises_in_a_thread.aio(), return_exceptions=True)
        return [error.type for error in found]  # pyright: ignore[reportAttributeAccessIssue]

    assert ended(trial, both).result() == [type(exception).__name__] * 2


# Steps in the wrong form ------------------------------------------------------------------------------------------


async def awaits_twice() -> None:
    call = work(1)
    await call
    await call


async def awaits_twice_at_once() -> None:
    call = work(1)
    await asyncio.gather(asyncio.ensure_future(call), asyncio.create_task(_wait(call)))


async def _wait(call: Any) -> Any:
    return await call


@pytest.mark.parametrize("function", [awaits_twice, awaits_twice_at_once])
def test_a_call_awaited_twice_is_refused(trial: Trial, function: Callable[..., Any]) -> None:
    assert failure(trial, function) == ("WorkflowError", "step work was awaited twice")
    assert sum(WORLD.runs_of(trial.run("@last").id).values()) <= 1


async def sync_step_in_async() -> None:
    labour(1)


def async_step_in_sync() -> None:
    work(1)  # pyright: ignore[reportUnusedCoroutine]


def aio_in_sync() -> None:
    labour.aio(1)


async def aio_of_an_async_step() -> None:
    await work.aio(1)


@pytest.mark.parametrize("function", [sync_step_in_async, async_step_in_sync, aio_in_sync, aio_of_an_async_step])
def test_a_step_called_in_the_wrong_form_says_which_to_use(trial: Trial, function: Callable[..., Any]) -> None:
    kind, message = failure(trial, function)
    assert kind == "UsageError"
    assert "sync" in message
    assert "STEP_STARTED" not in [fact.type for fact in trial.run("@last").facts()]


def test_a_generator_is_no_step_and_no_workflow() -> None:
    def numbers():
        yield 1

    async def more():
        yield 1

    for generator in (numbers, more):
        with pytest.raises(vbl.UsageError, match="generator") as refused:
            vbl.step(generator)
        assert "list" in refused.value.hint
        with pytest.raises(vbl.UsageError, match="generator"):
            vbl.workflow(generator)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": math.nan},
        {"timeout": math.inf},
        {"timeout": "30"},
        {"timeout": True},
        {"retry": 5},
        {"retry": "always"},
        {"effect": "destroy"},
        {"isolation": "thread"},
        {"name": ""},
        {"name": "a#2"},
        {"name": "a[0]"},
        {"name": "a\nb"},
        {"name": "x" * 201},
    ],
    ids=str,
)
def test_nonsense_in_a_declaration_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(vbl.UsageError) as refused:
        vbl.step(**options)(lambda: None)
    assert next(iter(options)) in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("options", [{"key": ""}, {"key": "a#1"}, {"timeout": -1}, {"retry": 3}], ids=str)
def test_nonsense_in_the_options_of_a_call_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(vbl.UsageError):
        work.options(**options)


def test_what_is_no_function_is_no_step() -> None:
    for decorator in (vbl.step, vbl.workflow):
        with pytest.raises(vbl.UsageError):
            decorator(7)  # pyright: ignore[reportCallIssue,reportArgumentType]


@pytest.mark.filterwarnings("ignore:step k was called and never awaited")
def test_a_key_is_given_once(trial: Trial) -> None:
    async def at_once() -> None:
        keyed = work.options(key="k")
        await asyncio.gather(keyed(1), keyed(2))

    async def in_a_row() -> None:
        await work.options(key="k")(1)
        await labour.options(key="k").aio(2)

    async def a_name_that_is_in_use() -> None:
        await work(1)
        await labour.options(key="work").aio(2)

    for function in (at_once, in_a_row, a_name_that_is_in_use):
        kind, message = failure(trial, function)
        assert kind == "UsageError"
        assert "two calls have the key" in message

    async def the_other_way_round() -> list[int]:
        return [await labour.options(key="work").aio(1), await work(2)]

    run = ended(trial, the_other_way_round)
    assert run.result() == [1, 2]
    assert WORLD.runs_of(run.id) == {"work": 1, "work#2": 1}


def test_a_workflow_within_a_workflow_is_a_child_and_its_function_a_part(trial: Trial) -> None:
    async def nested() -> int:
        return await sequence()

    async def as_a_part() -> int:
        return await sequence.function()

    for function, children in ((nested, 1), (as_a_part, 0)):
        run = ended(trial, function)
        assert run.result() == 6
        assert len(run.state().children) == children


# vbl.* where it does not belong -----------------------------------------------------------------------------------

DURABLE: dict[str, Callable[[], Any]] = {
    "state": lambda: vbl.state(Talk),
    "sleep": lambda: vbl.sleep(1),
    "map": lambda: vbl.map(work, [1]),
    "patched": lambda: vbl.patched("p"),
}


@pytest.mark.parametrize("name", DURABLE)
def test_a_durable_call_outside_a_workflow_is_refused(name: str) -> None:
    with pytest.raises(vbl.NotInWorkflow, match=f"vbl.{name}") as refused:
        DURABLE[name]()
    assert "@vbl.workflow" in refused.value.hint


@pytest.mark.parametrize("name", DURABLE)
def test_a_durable_call_in_a_body_is_refused(trial: Trial, name: str) -> None:
    @vbl.step
    async def body() -> None:
        DURABLE[name]()

    async def calls() -> None:
        await body()

    run = ended(trial, calls)
    assert run.status == "failed"
    assert f"vbl.{name}" in run.state().error["message"]  # pyright: ignore[reportOptionalSubscript]
    assert "in the body of step body" in run.state().error["message"]  # pyright: ignore[reportOptionalSubscript]


def test_a_key_is_known_in_a_body_alone(trial: Trial) -> None:
    with pytest.raises(vbl.NotInWorkflow):
        vbl.key()

    async def asks() -> str:
        return vbl.key()

    assert failure(trial, asks)[0] == "NotInWorkflow"


def test_outside_a_run_steps_and_workflows_are_plain_functions() -> None:
    @vbl.step(retry=True, timeout=1)
    def double(n: int) -> int:
        """Twice as much."""
        return 2 * n

    @vbl.step
    async def half(n: int) -> float:
        return n / 2

    @vbl.workflow
    async def plain(n: int) -> float:
        return double(int(await half(n)))

    assert double(4) == 8
    assert double.__doc__ == "Twice as much."
    assert double.__name__ == "double"
    assert asyncio.run(half(4)) == 2
    assert asyncio.run(plain(4)) == 4
    assert asyncio.run(double.aio(4)) == 8  # pyright: ignore[reportArgumentType]
    assert vbl.now().tzinfo is not None
    assert 0 <= vbl.random() < 1
    assert vbl.uuid4() != vbl.uuid4()
    assert vbl.parked() is False


# Limits that make no sense ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, "60", None, 1e13])
def test_a_nonsense_sleep_is_refused(trial: Trial, seconds: Any) -> None:
    async def sleeps() -> None:
        await vbl.sleep(seconds)

    kind, message = failure(trial, sleeps)
    assert kind == "UsageError"
    assert f"vbl.sleep({seconds!r})" in message


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 1e13])
def test_a_nonsense_wait_of_asyncio_is_refused(trial: Trial, seconds: float) -> None:
    async def sleeps() -> None:
        await asyncio.sleep(seconds)

    async def times_out() -> None:
        async with asyncio.timeout(seconds):
            await work(1)

    for function in (sleeps, times_out):
        kind, message = failure(trial, function)
        assert kind in ("WorkflowError", "ValueError")
        assert "a sleep or time-out of" in message or "NaN" in message


def test_asyncio_sleeps_of_no_time_are_no_events(trial: Trial) -> None:
    async def sleeps() -> None:
        for seconds in (0, -5, 0.0):
            await asyncio.sleep(seconds)

    assert "TIMER_SET" not in [fact.type for fact in ended(trial, sleeps).facts()]


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"limit": -1}, {"limit": 2.5}, {"tolerate": -1}, {"tolerate": 0.5}], ids=str
)
def test_a_nonsense_map_is_refused(trial: Trial, options: dict[str, Any]) -> None:
    async def maps() -> None:
        await vbl.map(work, [1, 2], **options)

    kind, message = failure(trial, maps)
    assert kind == "UsageError"
    assert next(iter(options)) in message


@pytest.mark.parametrize("deadline", [0, -1, math.nan, math.inf, 1e12])
def test_a_nonsense_deadline_is_refused_before_a_run_is_made(trial: Trial, deadline: float) -> None:
    with pytest.raises(vbl.UsageError, match="deadline"):
        trial.start(sequence, deadline=deadline)
    assert trial.runs() == []


# Values that do not survive ---------------------------------------------------------------------------------------


class Anything(BaseModel):
    thing: Any = None


async def gives_what_cannot_be_recorded() -> None:
    await echo(object())


@vbl.step
async def makes_what_cannot_be_recorded() -> Any:
    WORLD.did()
    return {1, 2, 3}


async def gets_what_cannot_be_recorded() -> None:
    await makes_what_cannot_be_recorded()


async def returns_what_cannot_be_recorded() -> Any:
    return {1, 2, 3}


async def passes_text_for_a_number() -> None:
    await work("seven")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("function", "place", "kind"),
    [
        (gives_what_cannot_be_recorded, "step echo, parameter value", "object"),
        (gets_what_cannot_be_recorded, "step makes_what_cannot_be_recorded, its result", "set"),
        (returns_what_cannot_be_recorded, "workflow misuse, its result", "set"),
        (passes_text_for_a_number, "step work, parameter value", "str"),
    ],
)
def test_a_value_that_does_not_survive_is_refused_by_place_and_type(
    trial: Trial, function: Callable[..., Any], place: str, kind: str
) -> None:
    _, message = failure(trial, function)
    assert place in message
    assert f"of type {kind} cannot be recorded: " in message
    assert not message.endswith(":"), "the reason is given"


def test_a_result_that_does_not_survive_fails_the_step_and_not_the_run(trial: Trial) -> None:
    async def catches() -> str:
        try:
            return await makes_what_cannot_be_recorded()
        except vbl.StepFailed as error:
            return error.type

    assert ended(trial, catches).result() == "ValueNotStorable"


def test_a_state_that_does_not_survive_blocks_the_run_by_its_field(trial: Trial) -> None:
    async def keeps(fine: bool = False) -> str:
        vbl.state(Anything).thing = {1, 2}
        await work(1)
        return "done"

    block = blocked(trial, keeps)
    assert block["reason"] == "value_not_storable"
    assert "vbl.state(Anything), field thing" in block["message"]
    assert "set" in block["message"]


def test_a_state_needs_defaults_and_is_one_model(trial: Trial) -> None:
    class Needs(BaseModel):
        name: str

    async def lacks() -> None:
        vbl.state(Needs)

    async def two() -> None:
        vbl.state(Talk)
        vbl.state(Anything)

    kind, message = failure(trial, lacks)
    assert kind == "UsageError"
    assert "Needs" in message
    kind, message = failure(trial, two)
    assert kind == "UsageError"
    assert "Talk" in message


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1, 2), {}),
        (("x",), {}),
        ((object(),), {}),
        ((), {"other": 1}),
        ((1,), {"n": 1}),
        ((None,), {}),
        ((1.5,), {}),
    ],
)
def test_input_that_does_not_fit_is_refused_before_a_run_is_made(trial: Trial, args: Any, kwargs: Any) -> None:
    @vbl.workflow
    async def takes(n: int) -> int:
        return n

    with pytest.raises(vbl.InvalidInput) as refused:
        trial.start(takes, *args, **kwargs)
    assert "takes" in refused.value.message
    assert "(n: int)" in refused.value.hint.replace("'", "")
    assert trial.runs() == []


def test_input_given_by_name_that_does_not_fit_blocks_the_run_and_not_the_supervisor(trial: Trial) -> None:
    """A client that does not have the workflow cannot know better."""

    @vbl.workflow
    async def takes(n: int) -> int:
        return n

    fine = trial.start("takes", n=7)
    runs = [trial.start("takes", n="x"), trial.start("takes"), trial.start("takes", n=1, more=2)]
    trial.settle()
    assert fine.result() == 7
    for run, word in zip(runs, ("input n", "n", "more"), strict=True):
        assert run.status == "blocked"
        assert word in (run.state().blocked or {})["message"]
    assert_sound(trial)


def test_input_given_by_name_keeps_what_looks_like_a_reference(trial: Trial) -> None:
    @vbl.workflow
    async def takes(n: Any = None, **more: Any) -> Any:
        return [n, more]

    odd = {"$ref": {"blob": "00", "bytes": 1}}
    assert trial.start("takes", n=odd).result() == [odd, {}]
    assert trial.start("takes", n={"a": odd}).result() == [{"a": odd}, {}]
    long = {"text": "x" * 100_000, "odd": odd}
    assert trial.start("takes", n=long).result() == [long, {}]
    assert trial.start(takes, n=odd).result() == [odd, {}]


def test_a_workflow_that_nobody_knows_waits_for_one_who_does(trial: Trial) -> None:
    run = trial.start("nobody", n=1)
    trial.settle()
    assert run.status == "queued"
    assert run.why().waits_for in ("workflow", "supervisor")

    @vbl.workflow
    async def nobody(n: int) -> int:
        return n

    assert "nobody" in REGISTRY
    assert run.result() == 1


def test_ambient_is_where_the_public_functions_live() -> None:
    for name in DURABLE:
        assert getattr(vbl, name) is getattr(ambient, name)


@pytest.mark.parametrize("kind", ["async", "sync", "async step", "sync step"])
def test_a_traceback_begins_in_the_code_that_failed_and_holds_none_of_ours(trial: Trial, kind: str) -> None:
    def breaks() -> None:
        raise ValueError("here")

    async def breaks_too() -> None:
        breaks()

    async def calls() -> None:
        await (vbl.step(breaks).aio() if kind == "sync step" else vbl.step(breaks_too)())

    function = {"async": breaks_too, "sync": breaks}.get(kind, calls)
    run = ended(trial, function)
    failed = next(fact.payload["error"] for fact in run.facts() if fact.type in ("STEP_FAILED", "RUN_FAILED"))
    lines = failed["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "test_misuse.py" in lines[1]
    assert lines[-1] == "ValueError: here"
    assert not [line for line in lines if "/vbl/engine/" in line]


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_the_traceback_of_a_call_of_ours_ends_in_the_line_that_made_it(trial: Trial, kind: str) -> None:
    @vbl.step(name="breaks")
    def breaks() -> None:
        raise ValueError("here")

    async def calls() -> None:
        await breaks.aio()

    def calls_too() -> None:
        breaks()

    run = ended(trial, calls if kind == "async" else calls_too)
    lines = run.state().error["traceback"].splitlines()  # pyright: ignore[reportOptionalSubscript]
    assert "test_misuse.py" in lines[1]
    assert "breaks" in lines[2]
    assert lines[-1] == "vbl.errors.StepFailed: step breaks failed after 1 attempt (bug): ValueError: here"
    assert not [line for line in lines if "/vbl/engine/" in line]


def test_a_forgotten_await_is_said(trial: Trial) -> None:
    @vbl.workflow(name="forgetful")
    async def forgetful() -> int:
        work(1)  # type: ignore[unused-coroutine]
        return await work(2)

    with pytest.warns(RuntimeWarning, match="step work was called and never awaited"):
        trial.start(forgetful).result()
