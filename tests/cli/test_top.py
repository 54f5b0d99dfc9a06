"""The screen of a file: what is on it, that it moves, and that the terminal is given back."""

from __future__ import annotations

import contextlib
import io
import os
import signal

import pytest

import vbl
from tests.cli.conftest import FLOWS, ROOT
from tests.cli.tty import Tty
from vbl.cli.screen import EACH_S, IDLE_SHARE, LEAST_S, REST_S, SHARE, Pace
from vbl.store.sqlite import Sqlite

QUEUED = """

@vbl.workflow(queue="mail", concurrency=1)
async def mail() -> None:
    await vbl.sleep(3600)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file with something in every part of the screen."""
    path = tmp_path_factory.mktemp("top") / "top.db"
    scope: dict = {"__name__": "top_flows"}
    exec(compile(FLOWS + QUEUED, "flows.py", "exec"), scope)
    with vbl.open(path) as runtime, contextlib.redirect_stdout(io.StringIO()):
        runtime.start(scope["hello"]).result()
        with pytest.raises(vbl.RunFailed):
            runtime.start(scope["bad"]).result()
        runtime.start(scope["patient"]).wait("retrying", timeout=20)
        runtime.start(scope["asks"]).wait("waiting_for_approval", timeout=20)
        runtime.start(scope["mail"]).wait("waiting", timeout=20)
        runtime.start(scope["mail"])
    return path


@pytest.mark.slow
def test_one_frame_has_every_part_and_fits_its_terminal(vbl_here, made, monkeypatch):
    vbl_here("top", "--once", db=made)
    monkeypatch.setenv("COLUMNS", "80")
    out = vbl_here("top", "--once", db=made).out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "no supervisor is alive, nothing moves: vbl up FILE.py" in out
    assert "1 needs you   0 running   3 held up   1 failed   1 completed   0 cancelled" in out
    parts = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line.strip()[-1].isdigit()]
    assert parts[-4:] == ["needs", "queues", "held", "failed"]
    assert "? greet  g_" in out
    assert "asks asks ada" in out
    assert "mail  1 running, 1 waiting  (1 at once)" in out
    assert "step boom failed after 1" in out


def test_where_there_is_little_room_only_the_last_minutes_are_bars(vbl_here, tmp_path, monkeypatch):
    path = tmp_path / "ended.db"
    with vbl.connect(path) as client:
        client.start("nothing").cancel()
    for width, bars in ((100, 20), (68, 6), (60, 0)):
        monkeypatch.setenv("COLUMNS", str(width))
        (line,) = (line for line in vbl_here("top", "--once", db=path).out.splitlines() if "steps/s" in line)
        assert len(line) <= width
        assert len(line.rpartition("cancelled")[2].partition("WAL")[0].strip()) == bars


def test_as_json_it_is_one_document(vbl_here, made):
    document = vbl_here("top", "--json", db=made).document
    assert document["counts"]["failed"] == {"number": 1, "more": False}
    assert [run["workflow"] for run in document["runs"]["failed"]] == ["bad"]
    assert "boom" in document["runs"]["failed"][0]["glance"]
    assert [question["kind"] for question in document["questions"]] == ["gate"]
    assert [(queue["name"], queue["waiting"]) for queue in document["queues"]] == [("mail", 1)]
    assert sum(minute["completed"] for minute in document["ended_per_minute"]) == 1
    assert (document["supervisor"], len(document["ended_per_minute"])) == (None, 20)


def test_an_empty_file_says_how_to_begin(vbl_here, tmp_path):
    vbl.connect(tmp_path / "empty.db").close()
    assert "no runs yet; start one" in vbl_here("top", db=tmp_path / "empty.db").out
    assert vbl_here("top", db=tmp_path / "nowhere.db", code=3).err.startswith("error: ")


@pytest.mark.slow
def test_what_happens_in_the_file_is_on_the_screen(shell):
    vbl.connect(shell.db).close()
    tty = Tty(shell, "top")
    tty.shows("no runs yet")
    run = shell.vbl("run", "flows.py:gated", "--input", '"door"', "--detach").out.strip()
    assert "no supervisor is alive" in tty.shows(f"○ queued  {run}")
    up = shell.start("up", "flows.py")
    tty.shows(lambda screen: f"● running  {run}" in screen and "supervised by process" in screen)
    up.kill()
    up.wait()
    tty.shows("no supervisor is alive")
    up = shell.start("up", "flows.py")
    shell.release("door")
    tty.shows("0 running   0 held up   0 failed   1 completed")
    tty.press("q")
    assert tty.end() == 0
    up.terminate()
    shell.end(up)


@pytest.mark.slow
def test_a_supervisor_that_hangs_is_told_from_one_that_works(shell):
    vbl.connect(shell.db).close()
    up = shell.start("up", "flows.py")
    tty = Tty(shell, "top", NO_COLOR="1")
    tty.shows("supervised by process")
    up.send_signal(signal.SIGSTOP)
    tty.shows(f"process {up.pid} (vbl) holds the file, no sign of life for")
    up.send_signal(signal.SIGCONT)
    tty.shows("supervised by process")
    assert tty.colors == {"default"}
    tty.press("q")
    assert tty.end() == 0
    up.terminate()
    shell.end(up)


@pytest.mark.slow
def test_a_run_is_chosen_and_looked_at(shell):
    for _ in range(3):
        shell.vbl("run", "flows.py:nap", "--detach")
    tty = Tty(shell, "top")
    tty.shows("held up 3")
    tty.press("\x1b[B")
    tty.shows(lambda screen: "▸ ○ queued" in screen)
    tty.press("j")
    screen = tty.shows(lambda screen: "▸" in screen and "▸" not in screen.split("held up 3\n")[1].splitlines()[0])
    chosen = next(line for line in screen.splitlines() if line.startswith("▸")).split()[3]
    tty.press("\r")
    assert f"nap  {chosen}  ○ queued" in tty.shows("waits for  supervisor")
    shell.vbl("pause", chosen)
    tty.shows(f"nap  {chosen}  ‖ paused")
    tty.press("q")
    tty.shows("held up 3")
    tty.press("k")
    tty.press("\x1b")
    assert tty.end() == 0


@pytest.mark.slow
def test_a_run_that_is_struck_while_it_is_looked_at_leads_back_to_the_list(shell):
    shell.vbl("run", "flows.py:bad", code=5)
    tty = Tty(shell, "top")
    tty.shows("failed 1")
    tty.press("j\r")
    tty.shows("vbl retry r_")
    store = Sqlite(shell.db)
    with store.write():
        store.execute("delete from runs where status = 'failed'")
    store.close()
    tty.shows("no runs yet")
    tty.press("q")
    assert tty.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_gives_the_terminal_back(shell, how):
    vbl.connect(shell.db).close()
    tty = Tty(shell, "top")
    tty.shows("no runs yet")
    assert tty.settings != tty.before
    tty.process.send_signal(how)
    shell.until(lambda: tty.process.poll() is not None, "its end")
    assert tty.settings == tty.before
    assert tty.end() == 130
    assert not tty.elsewhere


@pytest.mark.slow
def test_a_small_window_keeps_a_line_of_each_part_and_says_how_many_there_are(shell):
    with vbl.connect(shell.db) as client:
        client.start_many("elsewhere", [{}] * 30)
        client.start("other").pause()
    tty = Tty(shell, "top", columns=100, lines=50)
    tty.shows(lambda screen: screen.count("elsewhere") == 30)
    tty.resize(80, 24)
    tty.shows(lambda screen: screen.count("elsewhere") == 16 and "held up 31" in screen and "q leave" in screen)
    tty.resize(40, 8)
    screen = tty.shows(lambda screen: len(screen.splitlines()) == 8 and "held up 31" in screen)
    assert max(len(line) for line in screen.splitlines()) <= 40
    tty.press("q")
    assert tty.end() == 0


def test_without_colours_the_screen_has_none(vbl_here, made):
    plain = vbl_here("top", "--once", "--color", "never", db=made).out
    assert "\x1b" not in plain
    assert "\x1b[33m" in vbl_here("top", "--once", "--color", "always", db=made).out


# When it is drawn -----------------------------------------------------------------------------------------------------


def test_nothing_is_drawn_anew_within_a_second_in_which_nothing_changed():
    pace = Pace(lambda: "the same")
    assert pace.due(0.0)
    pace.begin(0.0)
    pace.end(0.01, 0.01)
    assert not pace.due(EACH_S - 0.1)
    assert pace.due(EACH_S)


def test_what_takes_long_to_draw_is_seldom_drawn_for_the_clock_alone():
    version = 1
    pace = Pace(lambda: version)
    pace.begin(0.0)
    pace.end(0.2, 0.2)
    assert not pace.due(0.2 + 0.2 * IDLE_SHARE - 0.1)
    assert pace.due(0.2 + 0.2 * IDLE_SHARE)
    version = 2
    assert pace.due(0.2 + 0.2 * SHARE)


def test_a_change_is_drawn_soon_and_a_slow_picture_less_often():
    version = 1
    pace = Pace(lambda: version)
    pace.begin(0.0)
    version = 2  # while it is being drawn
    pace.end(0.01, 0.01)
    assert not pace.due(0.01 + LEAST_S / 2)
    assert pace.due(0.01 + LEAST_S)
    pace.begin(1.0)
    version = 3
    pace.end(3.0, 0.5)
    assert not pace.due(3.0 + 0.5 * SHARE - 0.1)
    assert pace.due(3.0 + 0.5 * SHARE)
    pace.end(3.0, 1_000.0)
    assert pace.due(3.0 + REST_S)
    pace.hurry()
    assert pace.due(3.0)


@pytest.mark.slow
def test_without_termios_it_is_redrawn_all_the_same_and_ends_with_ctrl_c(shell):
    """As on Windows: no Ctrl-Z, no single keys."""
    (shell.folder / "sitecustomize.py").write_text(
        "import signal, sys\ndel signal.SIGTSTP\nsys.modules['termios'] = sys.modules['tty'] = None\n"
    )
    shell.vbl("run", "flows.py:nap", "--detach")
    tty = Tty(shell, "top", PYTHONPATH=f"{shell.folder}{os.pathsep}{ROOT}")
    tty.shows("1 held up")
    tty.shows("Ctrl-C leaves")
    with vbl.connect(shell.db) as client:
        client.runs()[0].pause(by="ada")
    tty.shows("‖ paused")
    tty.process.send_signal(signal.SIGINT)
    assert tty.end() == 130
    assert not tty.elsewhere
