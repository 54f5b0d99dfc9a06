"""Supervisor processes for tests: start one, watch it, kill it; and the file in which steps write down what they did.

Processes are real (`vbl up`), kills are real (SIGKILL). Nothing here sleeps for a fixed time: `until` waits for a
condition, with a deadline, and says what it waited for.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import vbl
from vbl.client import Client
from vbl.handle import Run
from vbl.store import holder

T = TypeVar("T")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DEEDS = "VBL_TEST_DEEDS"
"""The variable that tells a worker where its steps write down what they do."""
PATIENCE_S = 60.0
OVER = ("completed", "failed", "cancelled", "blocked")


def new_random() -> random.Random:
    """A generator whose seed is printed, so that pytest shows it where the test fails; VBL_TEST_SEED sets it."""
    seed = int(os.environ.get("VBL_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: to use it again, VBL_TEST_SEED={seed} pytest …")
    return random.Random(seed)


def until(condition: Callable[[], T], what: str, timeout: float = PATIENCE_S) -> T:
    """Wait for a condition and return its (true) value. Raises AssertionError, naming `what`, at the deadline."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}")
        time.sleep(0.002)
    return value


def environment(deeds: Path | None = None, **more: str) -> dict[str, str]:
    """The environment of a worker: this very vbl, whatever is installed."""
    inner = {name: value for name, value in os.environ.items() if not name.startswith("VBL_")}
    inner["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), inner.get("PYTHONPATH", "")]))
    if deeds is not None:
        inner[DEEDS] = str(deeds)
    return inner | more


class Life:
    """One life of a supervisor: a `vbl up` process. Its words are kept for the message of a failed test."""

    def __init__(self, db: Path, target: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.db = db
        self.log = db.with_name(f"{db.name}.{time.monotonic_ns()}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vbl", "up", str(target), "--db", str(db), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=db.parent,
                env=dict(env if env is not None else environment()),
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def words(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def holds(self) -> bool:
        """Whether it has taken the file. Raises AssertionError where it has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"the supervisor ended by itself with {self.process.returncode}:\n{self.words}")
        return self.named

    @property
    def named(self) -> bool:
        """Whether it says in the lock file, which it holds, that it has taken the file."""
        return holder.alive(self.db) and holder.read(self.db).get("pid") == self.pid

    def holding(self) -> Life:
        """Wait until it supervises the file."""
        until(lambda: self.holds, f"process {self.pid} to take {self.db}")
        return self

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL, self.words

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE_S) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        return self.ended(timeout)

    def ended(self, timeout: float = PATIENCE_S) -> int:
        """Wait for its end; its exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the supervisor did not end within {timeout:g} s:\n{self.words}") from None


@contextmanager
def life(db: Path, target: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Life]:
    """A supervisor for the length of the block; killed at its end if it is still there."""
    alive = Life(db, target, *options, env=env)
    try:
        yield alive
    finally:
        if alive.process.poll() is None:
            alive.process.send_signal(signal.SIGCONT)
            alive.process.kill()
            alive.process.wait()


class Deed(NamedTuple):
    """One line of the file of side effects: what, in which attempt of which step, and what was seen there."""

    what: str
    run: str
    step: str
    attempt: int
    word: str


def write_deed(what: str, word: object = "") -> None:
    """In a step's body: write down that this was done. One O_APPEND write, so that lines never mix, and a killed
    process leaves a whole line or none."""
    from vbl.engine.context import CURRENT

    scope = CURRENT.get()
    line = f"{what}\t{scope.run_id}\t{scope.key}\t{scope.number}\t{word}\n".encode()
    fd = os.open(os.environ[DEEDS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        assert os.write(fd, line) == len(line)
    finally:
        os.close(fd)


def deeds(path: Path) -> list[Deed]:
    """What was done so far, in order."""
    if not path.exists():
        return []
    fields = (line.split("\t") for line in path.read_text().splitlines())
    return [Deed(what, run, step, int(attempt), word) for what, run, step, attempt, word in fields]


def check_deeds(client: Client, log: Path) -> int:
    """Hold what was really done against every history; the number of attempts beyond the first.

    Every body that ran has a STEP_STARTED of its own, no attempt ran twice, and nothing ran again once the history
    had the completion.
    """
    done = deeds(log)
    begun = Counter((d.run, d.step, d.attempt) for d in done if d.what == "begin")
    runs = client.runs(limit=None)
    twice = {attempt: n for attempt, n in begun.items() if n > 1}
    assert not twice, f"attempts that ran more than once: {twice}"
    started: set[tuple[str, str, int]] = set()
    completed: dict[tuple[str, str], int] = {}
    for run in runs:
        for fact in run.facts():
            if fact.type == "STEP_STARTED":
                step, attempt = fact.payload["step"], fact.payload["attempt"]
                assert (run.id, step) not in completed, f"{run.id} {step} was started again after its completion"
                started.add((run.id, step, attempt))
            elif fact.type == "STEP_COMPLETED":
                step = fact.payload["step"]
                assert (run.id, step) not in completed, f"{run.id} {step} was completed twice"
                completed[run.id, step] = fact.payload["attempt"]
    check_seen(runs, done)
    unrecorded = begun.keys() - started
    assert not unrecorded, f"bodies that ran without a durable STEP_STARTED: {unrecorded}"
    for run_id, step, attempt in begun:
        last = completed.get((run_id, step))
        assert last is None or attempt <= last, f"{run_id} {step}: attempt {attempt} ran, {last} had completed"
    return len(begun) - len({(run_id, step) for run_id, step, _ in begun})


def check_seen(runs: Iterable[Run], done: list[Deed]) -> None:
    """Whatever a body saw of an earlier step (a word that can't be guessed) is what the history still says of it."""
    words: set[tuple[str, str]] = set()
    for run in runs:
        words |= {(run.id, str(fact.payload.get("output"))) for fact in run.facts() if fact.type == "STEP_COMPLETED"}
    for deed in done:
        if deed.what == "saw":
            assert (deed.run, deed.word) in words, f"{deed.step} of {deed.run} saw {deed.word}, which the history lost"


def check_file(client: Client) -> None:
    """The doctor finds nothing wrong."""
    bad = [finding for finding in client.doctor() if finding.severity in ("warning", "error")]
    assert not bad, bad


def size_of(path: Path) -> int:
    """The size of a file in bytes; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def over(client: Client) -> bool:
    """Whether every run has ended or is blocked."""
    marks = ", ".join("?" * len(OVER))
    return client.sql(f"select count(*) from vbl_runs where status not in ({marks})", OVER)[1] == [(0,)]


def finish(client: Client, worker: Life, timeout: float = 60.0) -> None:
    """Wait until every run has ended or is blocked, under a supervisor that can be asked to stop then."""
    worker.holding()
    try:
        until(lambda: over(client), "every run to end", timeout)
    except AssertionError as error:
        left = client.runs(status=["queued", "running", "retrying", "waiting", "paused"], limit=5)
        words = "\n".join(f"{run!r}: {run.why().waits_for}; last {[f.type for f in run.facts()][-6:]}" for run in left)
        raise AssertionError(f"{error}\n{words}") from None


def connect(db: Path) -> Client:
    """A client of the file."""
    return vbl.connect(db)
