"""`vbl schedules`, over a file that no supervisor holds, and over one that has one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vbl
from tests.cli.conftest import Ended, Shell

Here = Callable[..., Ended]


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sched_flows.py").write_text(
        "import vbl\n\n\n@vbl.workflow\nasync def digest(n: int = 1) -> int:\n    return n\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path / "work.db"


def add(vbl_here: Here, db: Path, *more: str, code: int = 0) -> Ended:
    return vbl_here("schedules", "add", "sched_flows.py:digest", *more, db=db, code=code)


def test_a_schedule_is_added_listed_steered_and_removed(vbl_here: Here, flows: Path) -> None:
    assert "no schedules yet" not in add(vbl_here, flows, "0 9 * * 1-5", "--tz", "Europe/Berlin").out
    shown = vbl_here("schedules", db=flows)
    assert "digest" in shown.out
    assert "0 9 * * 1-5" in shown.out
    assert "09:00" in shown.out
    assert "no supervisor is alive" in shown.err
    assert "paused" in vbl_here("schedules", "pause", "digest", db=flows).out
    assert vbl_here("schedules", "pause", "digest", "--json", db=flows, code=4).error["code"] == "conflict"
    assert vbl_here("schedules", "run", "digest", db=flows, code=4)
    assert "paused" not in vbl_here("schedules", "unpause", "digest", db=flows).out
    vbl_here("schedules", "run", "digest", db=flows)
    vbl_here("schedules", "remove", "digest", "--yes", db=flows)
    assert "no schedules yet" in vbl_here("schedules", db=flows).err
    gone = vbl_here("schedules", "pause", "digest", "--json", db=flows, code=3)
    assert gone.error["code"] == "schedule_not_found"


def test_json_is_an_object_a_line_and_tells_all(vbl_here: Here, flows: Path) -> None:
    add(vbl_here, flows, "@daily", "--input", '{"n": 4}', "--overlap", "queue", "--missed", "once", "--grace", "5",
        "--tag", "a=b", "--priority", "2")  # fmt: skip
    add(vbl_here, flows, "*/5 * * * *", "--name", "often")
    daily, often = vbl_here("schedules", "--json", db=flows).objects
    known: dict[str, Any] = {
        "name": "digest", "workflow": "digest", "cron": "@daily", "tz": "UTC", "overlap": "queue", "missed": "once",
        "grace_ms": 5_000, "input": {"n": 4}, "priority": 2, "tags": ["a=b"], "status": "queued", "paused": False,
        "waiting": [], "going": [], "last_fire": None, "last_skip": None,
    }  # fmt: skip
    assert {key: daily[key] for key in known} == known
    assert daily["next_at"].endswith("T00:00:00.000000Z")
    assert often["name"] == "often"
    assert vbl_here("schedules", "--json", "pause", "often", db=flows).document["paused"] is True


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (("61 * * * *",), 2, "bad_cron"),
        (("0 9 * * *", "--tz", "Mars/Olympus"), 2, "bad_zone"),
        (("0 9 * * *", "--overlap", "both"), 2, "usage"),
        (("0 9 * * *", "--grace=-1"), 2, "usage"),
        (("0 9 * * *", "--input", '{"m": 1}'), 2, "invalid_input"),
        (("0 9 * * *", "--name", "="), 2, "usage"),
    ],
)
def test_what_is_no_schedule_is_refused_and_nothing_is_written(
    vbl_here: Here, flows: Path, args: tuple[str, ...], code: int, error: str
) -> None:
    assert add(vbl_here, flows, *args, "--json", code=code).error["code"] == error
    assert not flows.exists()


@pytest.mark.slow
def test_up_keeps_what_its_file_declares(shell: Shell) -> None:
    (shell.folder / "often.py").write_text(
        "import vbl\n\n\n@vbl.workflow\nasync def tick() -> str:\n    return 'tock'\n\n\n"
        "vbl.schedule(tick, '* * * * * *')\n"
    )
    up = shell.start("up", "often.py")

    def fired() -> Any:
        if not shell.db.exists():
            return None
        with vbl.connect(shell.db) as client:
            return next((one.last_fire for one in client.schedules()), None)

    entry = shell.until(fired, "the first fire")
    assert entry.run is not None
    shown = shell.vbl("schedules")
    assert "tick" in shown.out
    assert "started r_" in shown.out
    up.terminate()
    assert shell.end(up).code == 0
