"""`vbl run` and `vbl up` as a user has them: real processes, signals, pipes and a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys

import click
import pytest

import vbl
from tests.cli.tty import Tty


def test_a_run_prints_its_output_and_nothing_else_on_stdout(shell):
    ended = shell.vbl("run", "flows.py:hello", "--input", '{"name": "Ada"}')
    assert ended.out == "hello Ada\n"
    assert "printed by the workflow" in ended.err
    assert "✓ greet" in ended.err
    assert "completed after" in ended.err


@pytest.mark.slow
def test_what_processes_of_a_step_print_is_not_on_stdout_either(shell):
    (shell.folder / "apart.py").write_text(
        "import subprocess, vbl\n"
        "@vbl.step(isolation='process')\n"
        "def isolated() -> str:\n"
        "    print('by an isolated step')\n"
        "    return 'a'\n"
        "@vbl.step\n"
        "def called() -> str:\n"
        "    subprocess.run(['echo', 'by a program'], check=True)\n"
        "    return 'b'\n"
        "@vbl.workflow\n"
        "async def both() -> str:\n"
        "    return await isolated.aio() + await called.aio()\n"
    )
    ended = shell.vbl("run", "apart.py:both")
    assert ended.out == "ab\n"
    assert "by an isolated step\n" in ended.err
    assert "by a program\n" in ended.err


@pytest.mark.slow
def test_a_run_as_json_is_one_document_and_says_nothing_beside_it(shell):
    ended = shell.vbl("run", "flows.py:hello", "--json", "--tag", "a", "--tag", "b", "--key", "k")
    document = ended.document
    assert (document["status"], document["output"], document["key"], document["tags"]) == (
        "completed",
        "hello you",
        "k",
        ["a", "b"],
    )
    assert ended.err == "printed by the workflow\n"


def test_a_failed_run_exits_with_5_and_shows_the_users_traceback(shell):
    ended = shell.vbl("run", "flows.py:bad", code=5)
    assert ended.out == ""
    assert re.findall(r'flows.py", line \d+, in (\w+)', ended.err) == ["boom"], "the step's own, not the workflow's"
    assert "ValueError: this went wrong" in ended.err
    assert "vbl retry r_" in ended.err
    ended = shell.vbl("run", "flows.py:bad", "--json", code=5)
    assert ended.document["status"] == "failed"
    assert ended.error["code"] == "run_failed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["flows.py:hello", "--input", '{"nam": "x"}'], 2, "unexpected keyword argument 'nam'"),
        (["flows.py:nap", "--input", '"soon"'], 2, "Input should be a valid number"),
        (["flows.py:hello", "--input", "{bad"], 2, "is not JSON"),
        (["flows.py:nothing"], 3, "it has: hello, gated, bad, patient, nap"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_exists(shell, args, code, words):
    assert words in shell.vbl("run", *args, code=code).err
    assert not shell.db.exists()


@pytest.mark.slow
def test_a_killed_run_resumes_with_its_key_and_repeats_nothing(shell):
    args = ("run", "flows.py:gated", "--input", '"door"', "--key", "k")
    first = shell.start(*args)
    shell.begun("door")
    assert "step until in flight for" in shell.vbl("why", "@last").out
    first.kill()
    shell.end(first)
    assert "in flight when the supervisor went" in shell.vbl("why", "@last").out
    assert "↯" in (shown := shell.vbl("show", "@last").out)
    assert "no supervisor" in shown
    shell.release("door")
    ended = shell.vbl(*args)
    assert ended.out == "after\n"
    assert "until interrupted on attempt 1: its process died" in ended.err
    assert shell.notes == ["before", "after"]
    assert "supervisor died, back after" in shell.vbl("show", "@last").out


@pytest.mark.slow
def test_ctrl_c_stops_an_embedded_supervisor_and_says_how_to_resume(shell):
    process = shell.start("run", "flows.py:gated", "--input", '"door"')
    shell.begun("door")
    process.send_signal(signal.SIGINT)
    said = ""
    while "resume" not in said:
        said += (line := process.stderr.readline())
        assert line, said
    shell.release("door")
    ended = shell.end(process)
    assert ended.code == 130
    assert "vbl up flows.py" in said
    assert "Traceback" not in said + ended.err
    up = shell.start("up", "flows.py")
    shell.until(lambda: "completed" in shell.vbl("why", "@last").out, "the run to complete")
    up.send_signal(signal.SIGTERM)
    ended = shell.end(up)
    assert ended.code == 0
    assert "stopped" in ended.err
    assert shell.notes == ["before", "after"]


@pytest.mark.slow
def test_one_supervisor_moves_what_others_start(shell):
    """Detached, watched, left by Ctrl-C, refused: everything that happens beside a living `vbl up`."""
    queued = shell.vbl("run", "flows.py:hello", "--detach")
    assert "no supervisor is alive. To move it: vbl up flows.py" in queued.err
    first = queued.out.strip()
    assert "no supervisor is alive; 1 of these needs one" in shell.vbl("ls").err

    (shell.folder / "other.py").write_text("import vbl\n@vbl.workflow\nasync def other() -> int:\n    return 1\n")
    up = shell.start("up", "flows.py", "--verbose")
    with vbl.connect(shell.db) as client:
        shell.until(lambda: client.run(first).status == "completed", "the queued run")

    ended = shell.vbl("run", "flows.py:hello", "--input", '"Grace"')
    assert ended.out == "hello Grace\n"
    assert f"moved by process {up.pid}" in ended.err

    assert "takes it up" in shell.vbl("run", "flows.py:hello", "--detach").err
    assert "does not have workflow other" in shell.vbl("run", "other.py:other", code=9).err
    assert "has not loaded other" in shell.vbl("run", "other.py:other", "--detach").err
    assert "waits for  workflow" in shell.vbl("why", "@last").out

    held = shell.vbl("up", "flows.py", code=9)
    assert f"process {up.pid}" in held.err
    assert "--wait" in held.err

    watcher = shell.start("run", "flows.py:gated", "--input", '"door"')
    shell.begun("door")
    watcher.send_signal(signal.SIGINT)
    left = shell.end(watcher)
    assert left.code == 130
    assert f"process {up.pid} goes on with it" in left.err
    shell.release("door")
    with vbl.connect(shell.db) as client:
        (gated,) = client.runs(workflow="gated")
        assert gated.wait(timeout=20) == "completed"

    up.send_signal(signal.SIGTERM)
    log = shell.end(up)
    assert log.code == 0
    assert "supervising" in log.err
    assert f"{first}  greet completed" in log.err
    assert log.out == ""


@pytest.mark.slow
def test_a_cancelled_run_exits_with_8(shell):
    process = shell.start("run", "flows.py:nap")
    with vbl.connect(shell.db) as client:
        shell.until(lambda: [run for run in client.runs() if run.last_status == "waiting"], "the run to sleep")
        assert shell.vbl("cancel", "@last", "--reason", "enough").code == 0
    ended = shell.end(process)
    assert ended.code == 8
    assert "cancelled" in ended.err


@pytest.mark.slow
def test_without_a_terminal_a_run_that_waits_for_a_person_exits_with_6_and_goes_on_later(shell):
    args = ("run", "flows.py:asks", "--key", "k")
    ended = shell.vbl(*args, code=6)
    with vbl.connect(shell.db) as client:
        (gate,) = client.gates()
    assert ended.out == ""
    assert f"waits for a person: gate greet ({gate.id})" in ended.err
    assert f"vbl approve {gate.id}" in ended.err
    ended = shell.vbl(*args, "--json", code=6)
    assert (ended.document["status"], ended.error["code"]) == ("waiting_for_approval", "run_waiting")
    with vbl.connect(shell.db) as client:
        client.approve(gate.id, by="ada")
    assert shell.vbl(*args).out == "hello you\n"


@pytest.mark.slow
def test_a_run_whose_children_wait_for_people_waits_for_a_person(shell):
    ended = shell.vbl("run", "flows.py:family", code=6)
    with vbl.connect(shell.db) as client:
        assert {gate.id in ended.err for gate in client.gates()} == {True, False}, "one is named, the other counted"
    assert "and 1 more" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "output", "code"), [("a", "hello you", 0), ("d", "denied", 0), ("l", None, 6)])
def test_on_a_terminal_the_gate_is_asked_where_somebody_sits(shell, answer, output, code):
    keyboard, theirs = pty.openpty()
    process = shell.start("run", "flows.py:asks", stdin=theirs)
    os.close(theirs)
    with vbl.connect(shell.db) as client:
        shell.until(lambda: client.gates(), "the gate")
    os.write(keyboard, f"{answer}\n".encode())
    ended = shell.end(process)
    os.close(keyboard)
    assert ended.code == code, ended.err
    assert "[a]pprove, [d]eny or [l]eave?" in ended.err
    assert ended.out == (f"{output}\n" if output else "")


def test_a_gate_that_is_decided_elsewhere_ends_the_question(shell):
    keyboard, theirs = pty.openpty()
    process = shell.start("run", "flows.py:asks", stdin=theirs)
    os.close(theirs)
    with vbl.connect(shell.db) as client:
        (gate,) = shell.until(lambda: client.gates(), "the gate")
        client.approve(gate.id, by="ada")
    ended = shell.end(process)
    os.close(keyboard)
    assert (ended.code, ended.out) == (0, "hello you\n")


@pytest.mark.slow
def test_a_blocked_run_exits_with_4_and_goes_on_with_its_old_code(shell):
    flows = shell.folder / "flows.py"
    old = flows.read_text()
    args = ("run", "flows.py:gated", "--input", '"door"', "--key", "k")
    process = shell.start(*args)
    shell.begun("door")
    process.kill()
    shell.end(process)
    shell.release("door")
    flows.write_text(old.replace('await note.aio("before")', 'await note.aio("instead")'))
    ended = shell.vbl(*args, code=4)
    assert '-    await note.aio("before")' in ended.err
    assert '+    await note.aio("instead")' in ended.err
    assert "waits for  code" in shell.vbl("why", "@last").out
    flows.write_text(old)
    assert shell.vbl(*args).out == "after\n"


@pytest.mark.slow
def test_a_second_ctrl_c_ends_the_grace_time(shell):
    shell.vbl("run", "flows.py:gated", "--input", '"door"', "--detach")
    up = shell.start("up", "flows.py", "--grace", "600")
    shell.begun("door")
    up.send_signal(signal.SIGINT)
    while "stopping" not in (line := up.stderr.readline()):
        assert line, "it ended without a word"
    up.send_signal(signal.SIGINT)
    assert shell.end(up).code == 0
    (interrupted,) = shell.vbl("events", "@last", "--type", "STEP_INTERRUPTED", "--json").objects
    assert interrupted["payload"]["counted"] is False


def test_two_workflows_of_one_name_are_refused(shell):
    (shell.folder / "twin.py").write_text("import vbl\n@vbl.workflow\nasync def hello() -> int:\n    return 1\n")
    assert "flows.py and twin.py both have a workflow 'hello'" in shell.vbl("up", "flows.py", "twin.py", code=2).err
    assert not shell.db.exists()


def test_a_closed_pipe_is_no_error(shell):
    shell.vbl("run", "flows.py:hello", "--detach")
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n limit 50000) select i from n"
    process = shell.start("sql", endless, "--json")
    assert json.loads(process.stdout.readline()) == {"i": 1}
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == ""


@pytest.mark.parametrize(("closed", "out"), [(">&-", ""), ("2>&-", "hello Ada\n"), ("<&- >&- 2>&-", "")])
def test_a_closed_stream_takes_nothing_else_along(shell, closed, out):
    command = [sys.executable, "-m", "vbl", "run", "flows.py:hello", "--input", '"Ada"']
    line = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    ended = subprocess.run(line, cwd=shell.folder, env=shell.environment, capture_output=True, text=True, check=True)
    assert ended.stdout == out
    assert "Traceback" not in ended.stderr
    assert shell.vbl("ls", "--json").objects[0]["status"] == "completed"


@pytest.mark.slow
def test_following_a_run_ends_with_it(shell):
    (shell.folder / "other.py").write_text("import vbl\n@vbl.workflow\nasync def other() -> int:\n    return 1\n")
    shell.vbl("run", "other.py:other", "--detach")
    shell.vbl("run", "flows.py:hello", "--detach")
    tail = shell.start("tail", "@last", "-f", "--json")
    assert json.loads(tail.stdout.readline())["type"] == "RUN_CREATED"
    up = shell.start("up", "flows.py")
    ended = shell.end(tail)
    up.terminate()
    assert "1 open run of other cannot move" in shell.end(up).err
    assert ended.code == 0
    assert [event["type"] for event in ended.objects][-1] == "RUN_COMPLETED"


@pytest.mark.slow
def test_on_a_terminal_the_progress_moves_and_the_output_stays_clean(shell):
    """The progress has a terminal of its own, stdout is a pipe: as in `vbl run … > result`."""
    screen, theirs = pty.openpty()
    process = shell.start("run", "flows.py:gated", "--input", '"door"', stderr=theirs)
    os.close(theirs)
    seen = b""
    while b"until" not in seen:
        seen += os.read(screen, 65_536)
    shell.release("door")
    try:
        while chunk := os.read(screen, 65_536):
            seen += chunk
    except OSError:  # Linux ends a terminal that nobody holds with EIO
        pass
    os.close(screen)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == "after\n"
    assert b"\x1b[" in seen
    text = click.unstyle(seen.decode())
    assert "✓ note" in text
    assert "completed after" in text


@pytest.mark.slow
def test_it_is_a_module_and_needs_no_engine_to_read(shell):
    shell.vbl("run", "flows.py:hello", "--detach")
    code = (
        "import sys\nfrom vbl.cli.main import main\ntry:\n    main(['ls'])\nexcept SystemExit:\n    print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "vbl.client" in loaded
    assert not {name for name in loaded if name.startswith(("vbl.engine", "vbl.agents")) or name in {"httpx", "rich"}}


@pytest.mark.slow
def test_who_is_asked_at_the_terminal_sees_all_of_what_he_would_approve(shell):
    said = "Ada, " + "who is very well known, " * 20 + "and Bob"
    tty = Tty(shell, "run", "flows.py:asks", "--input", json.dumps({"name": said}), lines=40)
    screen = tty.shows("[a]pprove, [d]eny or [l]eave?")
    assert "and Bob" in screen
    tty.press("a\n")
    assert tty.end() == 0
