"""A step in a process of its own does not outlive its supervisor, nor its time."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.crash import isolated
from tests.crash.lives import check_deeds, check_file, connect, deeds, environment, finish, life, until

TARGET = Path(isolated.__file__)


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_isolated_body_ends_with_its_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    """However that ends; else it would run beside the next attempt."""
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client:
        run = client.start("isolated", name="a")
        with life(db, TARGET, "--grace", "0.2", env=environment(log)) as worker:
            (begun,) = until(lambda: deeds(log), "the body to begin")
            worker.process.send_signal(number)
            worker.ended()
        until(lambda: gone(int(begun.word)), "the body's process to end")
        assert [deed.what for deed in deeds(log)] == ["begin"]
        (tmp_path / "go-a").touch()
        with life(db, TARGET, env=environment(log)) as worker:
            finish(client, worker)
            assert worker.stop() == 0, worker.words
        assert run.result() == 7
        check_deeds(client, log)
        check_file(client)


@pytest.mark.slow
def test_a_deaf_body_is_killed_at_its_time_out(tmp_path: Path) -> None:
    db, log = tmp_path / "vbl.db", tmp_path / "deeds"
    with connect(db) as client, life(db, TARGET, env=environment(log)) as worker:
        run = client.start("deafened", name="a")
        assert run.result(timeout=30) == "timeout"
        (begun,) = deeds(log)
        until(lambda: gone(int(begun.word)), "the body's process to end")
        assert worker.stop() == 0, worker.words
