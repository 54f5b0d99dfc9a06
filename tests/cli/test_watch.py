"""A run watched in place, on a real terminal, and where there is none."""

from __future__ import annotations

import os
import signal

import pytest

import vbl
from tests.cli.tty import Tty

pytestmark = pytest.mark.slow


def test_a_run_is_watched_or_shown_at_a_point_but_not_both(shell):
    for more in (["--at", "1"], ["--html", "run.html"]):
        assert "give one" in shell.vbl("show", "@last", "--watch", *more, code=2).err
    assert not (shell.folder / "run.html").exists()


def test_a_watched_run_is_redrawn_until_it_ends_and_its_last_picture_stays(shell):
    run = shell.vbl("run", "flows.py:gated", "--input", '"door"', "--detach").out.strip()
    tty = Tty(shell, "show", run, "--watch")
    assert "queued" in tty.shows("waits for  supervisor")
    assert tty.elsewhere
    up = shell.start("up", "flows.py")
    tty.shows(lambda screen: "● running" in screen and "until" in screen)
    shell.release("door")
    assert tty.end() == 0
    assert not tty.elsewhere
    assert "✓ completed" in tty.screen
    assert 'output     "after"' in tty.screen
    assert tty.wrote.rfind(b"\x1b[?25h") > tty.wrote.rfind(b"\x1b[?25l"), "the cursor is gone"
    up.terminate()
    shell.end(up)


def test_the_exit_code_says_how_the_watched_run_ended(shell):
    shell.vbl("run", "flows.py:bad", code=5)
    tty = Tty(shell, "show", "@last", "--watch")
    assert tty.end() == 5
    assert "✗ failed" in tty.screen
    assert "error: run r_" in tty.screen


@pytest.mark.parametrize(("how", "code"), [("q", 0), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_who_leaves_gets_the_terminal_back_as_it_was(shell, how, code):
    shell.vbl("run", "flows.py:nap", "--detach")
    tty = Tty(shell, "show", "@last", "--watch")
    tty.shows("waits for  supervisor")
    assert tty.settings != tty.before
    tty.press(how) if isinstance(how, str) else tty.process.send_signal(how)
    shell.until(lambda: tty.process.poll() is not None, "its end")
    assert tty.settings == tty.before
    assert tty.end() == code
    assert not tty.elsewhere
    assert "waits for  supervisor" in tty.screen


def test_a_smaller_window_is_filled_anew(shell):
    shell.vbl("run", "flows.py:nap", "--detach")
    tty = Tty(shell, "show", "@last", "--watch", columns=120, lines=40)
    tty.shows("vbl up")
    tty.resize(60, 6)
    screen = tty.shows("more lines; they are printed at the end")
    assert len(screen.splitlines()) == 6
    assert max(len(line) for line in screen.splitlines()) <= 60
    tty.resize(40, 30)
    screen = tty.shows(lambda screen: "supervisor" in screen and "queued" in screen.splitlines()[-1])
    detail = screen.split("waits for  supervisor\n")[1].split("  next")[0]
    assert len(detail.splitlines()) > 1, "a sentence that does not fit is wrapped, not cut"
    assert max(len(line) for line in screen.splitlines()) <= 40
    tty.press("q")
    assert tty.end() == 0


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(shell):
    shell.vbl("run", "flows.py:nap", "--detach")
    tty = Tty(shell, "show", "@last", "--watch")
    tty.shows("waits for  supervisor")
    tty.process.send_signal(signal.SIGTSTP)
    shell.until(lambda: tty.settings == tty.before and not tty.elsewhere, "the terminal")
    shell.until(lambda: os.waitid(os.P_PID, tty.process.pid, os.WSTOPPED | os.WNOHANG), "it to stand still")
    tty.process.send_signal(signal.SIGCONT)
    shell.until(lambda: tty.elsewhere, "the screen")
    with vbl.connect(shell.db) as client:
        client.runs()[0].pause(by="ada")
    tty.shows("‖ paused")
    tty.press("q")
    assert tty.end() == 0


def test_without_a_terminal_it_is_printed_once_at_the_end(shell):
    shell.vbl("run", "flows.py:gated", "--input", '"door"', "--detach")
    watch = shell.start("show", "@last", "--watch", "--json")
    up = shell.start("up", "flows.py")
    shell.begun("door")
    shell.release("door")
    ended = shell.end(watch)
    assert (ended.code, ended.document["status"], ended.err) == (0, "completed", "")
    up.terminate()
    shell.end(up)


def test_without_a_terminal_a_run_that_waits_for_a_person_ends_the_watch(shell):
    shell.vbl("run", "flows.py:asks", code=6)
    ended = shell.vbl("show", "@last", "--watch", code=6)
    assert "? waiting for approval" in ended.out
    assert "vbl approve g_" in ended.err
    assert "then go on: vbl up" in ended.err, "nobody is there to move it"


def test_a_cancel_elsewhere_ends_the_watch(shell):
    shell.vbl("run", "flows.py:nap", "--detach")
    tty = Tty(shell, "show", "@last", "--watch")
    tty.shows("waits for  supervisor")
    up = shell.start("up", "flows.py")
    tty.shows("asleep")
    shell.vbl("cancel", "@last")
    assert tty.end() == 8
    up.terminate()
    shell.end(up)
