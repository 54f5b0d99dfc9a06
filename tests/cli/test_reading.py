"""The commands that read a file and steer its runs, over one file with a run in every state."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import apsw
import click
import pytest

import vbl
from tests.cli.conftest import FLOWS
from vbl import finding
from vbl.cli import ls
from vbl.cli.main import COMMANDS, cli
from vbl.history.facts import EventType
from vbl.store import holder

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A file with runs in most states, made once: completed, failed, cancelled, retrying, waiting, paused, queued."""
    folder = tmp_path_factory.mktemp("made")
    path = folder / "made.db"
    scope: dict = {"__name__": "made_flows"}
    exec(compile(FLOWS, "flows.py", "exec"), scope)
    with vbl.open(path) as runtime, contextlib.redirect_stdout(io.StringIO()):
        runtime.start(scope["hello"], "Ada", key="key of Ada", tags=["env=dev", "first"]).result()
        with pytest.raises(vbl.RunFailed):
            runtime.start(scope["bad"]).result()
        runtime.start(scope["patient"]).wait("retrying", timeout=20)
        cancelled = runtime.start(scope["nap"])
        cancelled.wait("waiting", timeout=20)
        cancelled.cancel(by="ada", reason="not needed")
        cancelled.wait(timeout=20)
        for _ in range(2):
            runtime.start(scope["nap"], tags=["env=dev"]).wait("waiting", timeout=20)
        runtime.runs(limit=1)[0].pause(by="ada")
    with vbl.connect(path) as client:
        client.start("elsewhere", name="\x1b[2Jevil", key="\x1b]0;title\x07")
    return path


@pytest.fixture
def file(made, tmp_path) -> Path:
    """A copy of it to change."""
    copy = tmp_path / "copy.db"
    source, target = apsw.Connection(str(made)), apsw.Connection(str(copy))
    with target.backup("main", source, "main") as backup:
        backup.step()
    target.close()
    source.close()
    return copy


def ids(path: Path, **filters) -> list[str]:
    with vbl.connect(path) as client:
        return [run.id for run in client.runs(**filters)]


# Every command --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_an_example(name):
    with click.Context(cli, info_name="vbl") as context:
        command = cli.get_command(context, name)
        assert command is not None
        assert command.short_help == COMMANDS[name].summary
        assert re.search(rf"Examples?:\n +vbl {name}\b", command.get_help(context)), "no example"
        options = {option for param in command.params for option in param.opts}
        assert {"--db", "--json", "--color", "--yes"} <= options


def test_the_help_lists_every_command_and_the_exit_codes(vbl_here):
    shown = vbl_here("--help").out
    assert all(
        re.search(rf"^ +{name} +{re.escape(entry.summary)}", shown, re.MULTILINE) for name, entry in COMMANDS.items()
    )
    assert "10 storage" in shown
    assert vbl_here().out == shown


def test_the_version_is_the_packages(vbl_here):
    assert vbl_here("--version").out == f"vbl {vbl.__version__}\n"


# ls -------------------------------------------------------------------------------------------------------------------


def test_ls_shows_every_run_the_newest_first(vbl_here, made):
    ended = vbl_here("ls", db=made)
    rows = ended.out.splitlines()
    assert rows[0].split() == ["run", "workflow", "status", "created", "took", "wakes", "key,", "#tags"]
    assert [row.split()[0] for row in rows[1:]] == ids(made)
    assert "✓ completed" in rows[-1]
    assert rows[-1].endswith("key of Ada  #env=dev  #first")
    assert "no supervisor is alive; 3 of these need one" in ended.err


def test_ls_as_json_is_one_object_a_line(vbl_here, made):
    documents = vbl_here("ls", "--json", db=made).objects
    assert [document["id"] for document in documents] == ids(made)
    assert all(RFC3339.fullmatch(document["created_at"]) for document in documents)
    first = documents[-1]
    assert list(first) == [
        "id", "workflow", "version", "status", "key", "parent_id", "tags", "created_at", "updated_at", "finished_at",
        "wake_at", "seq", "usd",
    ]  # fmt: skip
    assert (first["key"], first["tags"], first["wake_at"]) == ("key of Ada", ["env=dev", "first"], None)


@pytest.mark.parametrize(
    ("args", "statuses"),
    [
        (["--status", "failed"], ["failed"]),
        (["--status", "failed", "--status", "cancelled"], ["cancelled", "failed"]),
        (["--workflow", "nap"], ["paused", "waiting", "cancelled"]),
        (["--tag", "env=dev"], ["paused", "waiting", "completed"]),
        (["--tag", "env=dev", "--status", "completed"], ["completed"]),
        (["--since", "1h", "--limit", "2"], ["queued", "paused"]),
        (["--since", "0s"], []),
        (["--workflow", "none of that name"], []),
    ],
)
def test_ls_filters(vbl_here, made, args, statuses):
    ended = vbl_here("ls", *args, "--json", db=made)
    assert [document["status"] for document in ended.objects] == statuses


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (["status:paused"], ["--status", "paused"]),
        (["is:held-up"], ["--status", "queued", "--status", "retrying", "--status", "waiting", "--status", "paused"]),
        (["since:1h"], ["--since", "1h"]),
        (["workflow:none"], ["--workflow", "none"]),
        (["cost:>0.1"], ["--cost", ">0.1"]),
        (["no such words"], ["--text", "no such words"]),
        (["status:paused status:queued"], ["status:paused,queued"]),
    ],
)
def test_ls_takes_terms_as_it_takes_options(vbl_here, made, args, options):
    assert vbl_here("ls", *args, "--json", db=made).objects == vbl_here("ls", *options, "--json", db=made).objects


def test_ls_finds_words_in_what_a_run_was_given(vbl_here, file):
    with vbl.connect(file) as client:
        said = client.start("story", text="529 is overloaded", key="T-7").id
        client.start("story", text="overloaded: not 529")
    assert [found["id"] for found in vbl_here("ls", "529 is overloaded", "--json", db=file).objects] == [said]
    assert [found["id"] for found in vbl_here("ls", '"is overloaded"', "T-7", "--json", db=file).objects] == [said]
    assert len(vbl_here("ls", "--text", "overloaded", "--json", db=file).objects) == 2
    assert vbl_here("ls", "nowhere", db=file).err.splitlines() == ["no run fits"]


def test_ls_names_a_term_that_is_none(vbl_here, made):
    ended = vbl_here("ls", "--json", "colour:red", db=made, code=2)
    assert ended.error["code"] == "filter"
    assert "colour:red" in ended.error["message"]


def test_ls_says_where_a_long_look_ended_and_goes_on_there(vbl_here, made, monkeypatch):
    monkeypatch.setattr(finding, "MOST", 2)
    ended = vbl_here("ls", "took:>1w", db=made)
    assert ended.out == ""
    assert re.search(r"nothing fits among the runs since .*; go on: --before (r_\w+)", ended.err)
    older = ids(made)[1]
    assert older in ended.err
    rest = vbl_here("ls", "--before", older, "--limit", "0", "--json", db=made).objects
    assert [found["id"] for found in rest] == ids(made)[2:]
    # a program gets all of them
    assert len(vbl_here("ls", "took:<1w", "--json", db=made).objects) == len(ids(made))


def test_ls_pages_through_all_runs(vbl_here, made, monkeypatch):
    monkeypatch.setattr(ls, "PAGE", 2)
    assert [document["id"] for document in vbl_here("ls", "--limit", "0", "--json", db=made).objects] == ids(made)
    assert len(vbl_here("ls", "--limit", "3", "--json", db=made).objects) == 3


def test_ls_leaves_out_our_own_workflows_unless_they_are_asked_for(vbl_here, file):
    with vbl.connect(file) as client:
        own = client.start("vbl.schedule").id
    listed = [document["id"] for document in vbl_here("ls", "--json", db=file).objects]
    assert listed == [run for run in ids(file) if run != own]
    assert vbl_here("ls", "--limit", "1", "--json", db=file).objects[0]["id"] == listed[0]
    for asked in (["--all"], ["--workflow", "vbl.schedule"]):
        assert vbl_here("ls", *asked, "--json", db=file).objects[0]["id"] == own


@pytest.fixture
def spoilt(file) -> Path:
    """A file of which no payload can be decoded."""
    connection = apsw.Connection(str(file))
    connection.execute("drop trigger events_no_update")
    connection.execute("update events set payload = '{not json'")
    connection.close()
    return file


def test_ls_lists_runs_whose_payloads_cannot_be_decoded(vbl_here, spoilt):
    assert len(vbl_here("ls", db=spoilt).out.splitlines()) == 8
    assert len(vbl_here("ls", "--tag", "env=dev", "--json", db=spoilt).objects) == 3


@pytest.mark.parametrize("command", [["show", "@last"], ["why", "@last"], ["events", "@last"], ["tail"], ["doctor"]])
def test_a_payload_that_cannot_be_decoded_is_a_storage_error(vbl_here, spoilt, command):
    assert "Traceback" not in vbl_here(*command, db=spoilt, code=10).err


# One run --------------------------------------------------------------------------------------------------------------


def test_show_says_how_it_stands_and_draws_every_attempt(vbl_here, made):
    shown = vbl_here("show", ids(made, workflow="hello")[0], db=made).out
    assert "✓ completed" in shown
    assert '"hello Ada"' in shown
    assert re.search(r"greet +█+", shown)
    failed = vbl_here("show", "@failed", db=made).out
    assert "✗ failed" in failed
    assert "boom failed for good on attempt 1 (bug: ValueError: this went wrong)" in failed
    assert "vbl retry r_" in failed


def test_show_tells_a_backoff(vbl_here, made):
    shown = vbl_here("show", ids(made, workflow="patient")[0], db=made).out
    assert re.search(r"retries in (1 h|5\d min)", shown)
    assert "flaky failed, retrying in 1 h, attempt 2 of 5 (bug: ValueError: try later)" in shown
    assert "waits for  backoff" in shown


def test_show_as_json_has_the_timeline(vbl_here, made):
    document = vbl_here("show", "@failed", "--json", db=made).document
    (lane,) = document["timeline"]["lanes"]
    assert (lane["step"], lane["status"], lane["bars"][0]["outcome"]) == ("boom", "failed", "failed")
    assert isinstance(lane["bars"][0]["duration_ms"], int)
    assert document["why"]["waits_for"] == "retry"
    assert document["error"]["message"]


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> Path:
    """A file with a parent whose two children wait for a person, and a run that waits for a signal."""
    path = tmp_path_factory.mktemp("asked") / "asked.db"
    scope: dict = {"__name__": "asked_flows"}
    exec(compile(FLOWS, "flows.py", "exec"), scope)
    with vbl.open(path) as runtime:
        parent = runtime.start(scope["family"])
        parent.wait("waiting", timeout=20)
        for child in parent.children():
            child.wait("waiting_for_approval", timeout=20)
        runtime.start(scope["hears"]).wait("waiting", timeout=20)
    return path


def test_show_has_the_tree_of_the_children_and_the_way_back(vbl_here, asked):
    (parent,) = ids(asked, workflow="family")
    children = ids(asked, workflow="asks")
    shown = vbl_here("show", parent, db=asked).out
    assert re.search(r"child asks +▓+ +2 of 2 open", shown)
    assert all(re.search(rf"    asks  {child}  \? waiting for approval", shown) for child in children)
    assert "children" not in vbl_here("show", parent, "--depth", "0", db=asked).out
    document = vbl_here("show", parent, "--json", db=asked).document
    assert sorted((child["id"], child["depth"]) for child in document["children"]) == sorted((c, 1) for c in children)
    below = vbl_here("show", children[0], db=asked).out
    assert re.search(rf"child of +family {parent}, waiting", below)
    assert re.search(r"ask greet +╲+ +ends in", below)
    (gate,) = vbl_here("show", children[0], "--json", db=asked).document["gates"]
    assert (gate["name"], gate["status"], gate["to"]) == ("greet", "open", ["ada"])


def test_the_state_has_what_a_run_waits_for_from_outside(vbl_here, asked):
    child, (parent,), (hears,) = (
        ids(asked, workflow="asks")[0], ids(asked, workflow="family"), ids(asked, workflow="hears")
    )  # fmt: skip
    document = vbl_here("state", child, "--json", db=asked).document
    assert [gate["status"] for gate in document["gates"]] == ["open"]
    assert RFC3339.fullmatch(document["gates"][0]["expires_at"])
    assert f"gate greet  {document['gates'][0]['id']}  asks ada  until" in vbl_here("state", child, db=asked).out
    document = vbl_here("state", parent, "--json", db=asked).document
    assert sorted(c["id"] for c in document["children"]) == sorted(ids(asked, workflow="asks"))
    assert vbl_here("state", hears, "--json", db=asked).document["waits"] == [
        {"wait": 1, "signal": "payment", "until": None}
    ]
    assert "signal payment" in vbl_here("state", hears, db=asked).out


def test_why_and_ls_name_what_others_have_to_do(vbl_here, asked):
    child, (parent,), (hears,) = (
        ids(asked, workflow="asks")[0], ids(asked, workflow="family"), ids(asked, workflow="hears")
    )  # fmt: skip
    document = vbl_here("why", parent, "--json", db=asked).document
    assert document["waits_for"] == "child"
    assert [one["waits_for"] for one in document["also"]] == ["child", "supervisor"]
    assert "waiting for approval" in document["detail"]
    assert "vbl approve g_" in vbl_here("why", child, db=asked).out
    assert f"vbl signal {hears} payment" in vbl_here("why", hears, db=asked).out
    waiting = vbl_here("ls", "--waiting", "--json", db=asked).objects
    assert {(run["workflow"], run["parent_id"]) for run in waiting} == {("asks", parent)}


def test_why_names_a_holder_of_the_file_that_does_not_answer(vbl_here, file):
    vbl_here("retry", "@failed", db=file)
    lock = holder.try_lock(file)
    try:
        holder.write(file, {"pid": 7, "program": "vbl", "host": "here", "since": 0, "epoch": 1})
        os.utime(holder.lock_path(file), (0, time.time() - 60))
        document = vbl_here("why", ids(file, workflow="bad")[0], "--json", db=file).document
        assert document["waits_for"] == "lock"
        assert "process 7 (vbl) on here" in document["detail"]
        holder.write(file, {"pid": 7, "program": "vbl", "host": "here", "since": 0, "epoch": 1})
        assert vbl_here("why", ids(file, workflow="bad")[0], "--json", db=file).document["waits_for"] == "supervisor"
    finally:
        os.close(lock)


def test_the_state_at_any_event_and_checkpoint_can_be_printed(vbl_here, made):
    run = ids(made, workflow="hello")[0]
    now = vbl_here("state", run, "--json", db=made).document
    assert (now["status"], now["outputs"], now["pending"]) == ("completed", {"greet": "hello Ada"}, [])
    early = vbl_here("show", run, "--at", "3", "--json", db=made).document
    assert (early["seq"], early["outputs"], early["pending"][0]["step"]) == (3, {}, "greet")
    checkpoint = vbl_here("state", run, "--checkpoint", "1", "--json", db=made).document
    assert checkpoint["outputs"] == {"greet": "hello Ada"}
    assert "after event 3" in vbl_here("show", run, "--at", "3", db=made).out
    assert vbl_here("state", run, "--at", "99", db=made, code=3).err.startswith("error: run r_")
    vbl_here("state", run, "--checkpoint", "99", db=made, code=3)
    vbl_here("state", run, "--at", "1", "--checkpoint", "1", db=made, code=2)


def test_events_are_the_history(vbl_here, made):
    run = ids(made, workflow="hello")[0]
    documents = vbl_here("events", run, "--json", db=made).objects
    with vbl.connect(made) as client:
        events = client.run(run).events()
    assert [(d["seq"], d["type"]) for d in documents] == [(e.seq, e.type) for e in events]
    assert all(RFC3339.fullmatch(document["at"]) for document in documents)
    assert documents[0]["payload"]["input"] == {"name": "Ada"}
    lines = vbl_here("events", run, "--type", "step_completed", db=made).out.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith('STEP_COMPLETED      greet completed: "hello Ada"')
    assert "they are RUN_CREATED" in vbl_here("events", run, "--type", "NONSENSE", db=made, code=2).err
    timers = vbl_here("events", ids(made, workflow="nap")[0], "--type", "TIMER_SET", "--json", db=made).objects
    assert RFC3339.fullmatch(timers[0]["payload"]["at"])


def test_what_is_nearly_a_type_is_told_from_which_it_may_be(vbl_here, made):
    err = vbl_here("events", "@last", "--type", "step_c", db=made, code=2).err
    assert "there are STEP_COMPLETED, STEP_CANCELLED with that in it" in err


def test_an_option_without_its_value_leads_to_the_help_of_its_command(vbl_here, made):
    assert "vbl events --help" in vbl_here("events", "@last", "--type", db=made, code=2).err


def test_tail_ends_with_the_latest_events(vbl_here, made):
    lines = vbl_here("tail", "-n", "2", "--json", db=made).objects
    assert lines[-1]["type"] == "RUN_CREATED"
    assert len(lines) == 2
    run = ids(made, workflow="hello")[0]
    (last,) = vbl_here("tail", run, "-n", "1", "--json", db=made).objects
    assert (last["run_id"], last["type"]) == (run, "RUN_COMPLETED")
    assert vbl_here("tail", "-n", "0", db=made).out == ""


@pytest.mark.parametrize(
    ("workflow", "status", "waits_for"),
    [
        ("hello", "completed", "nothing"),
        ("bad", "failed", "retry"),
        ("patient", "retrying", "backoff"),
        ("nap", "paused", "unpause"),
        ("nap", "waiting", "timer"),
        ("nap", "cancelled", "nothing"),
        ("elsewhere", "queued", "supervisor"),
    ],
)
def test_why_names_what_a_run_waits_for(vbl_here, made, workflow, status, waits_for):
    (run,) = ids(made, workflow=workflow, status=status)
    document = vbl_here("why", run, "--json", db=made).document
    assert (document["id"], document["status"], document["waits_for"]) == (run, status, waits_for)
    assert (RFC3339.fullmatch(document["until"] or "") is not None) == (waits_for in ("timer", "backoff"))
    assert document["detail"] in vbl_here("why", run, db=made).out or waits_for in ("timer", "backoff")


def test_what_a_stranger_put_into_a_file_cannot_steer_the_terminal(vbl_here, made):
    run = ids(made, workflow="elsewhere")[0]
    for command in (
        ["ls"],
        ["show", run],
        ["events", run],
        ["state", run],
        ["why", run],
        ["tail"],
        ["sql", "select * from vbl_runs"],
    ):
        shown = vbl_here(*command, db=made)
        assert "\x1b" not in shown.out + shown.err, command
        assert "\x07" not in shown.out + shown.err, command


# Steering -------------------------------------------------------------------------------------------------------------


def test_steering_is_recorded_with_its_actor_and_reason(vbl_here, file, monkeypatch):
    monkeypatch.setenv("VBL_ACTOR", "grace")
    (run,) = ids(file, workflow="nap", status="waiting")
    assert vbl_here("pause", run, "--reason", "lunch", "--json", db=file).document["status"] == "paused"
    assert "‖ paused" in vbl_here("why", run, db=file).out
    vbl_here("pause", run, db=file, code=4)
    assert vbl_here("unpause", run, "--json", db=file).document["why"]["waits_for"] == "timer"
    assert vbl_here("cancel", run, "--reason", "enough", "--json", db=file).document["status"] == "running"
    document = vbl_here("retry", "@failed", "--json", db=file).document
    assert document["status"] == "running"
    with vbl.connect(file) as client:
        steered = [
            (event.type, event.payload["actor"], event.payload["reason"]) for event in client.run(run).events()[-3:]
        ]
        retried = client.run(document["id"]).events()[-1]
    assert steered == [
        (EventType.RUN_PAUSED, "grace", "lunch"),
        (EventType.RUN_UNPAUSED, "grace", None),
        (EventType.CANCEL_REQUESTED, "grace", "enough"),
    ]
    assert (retried.type, retried.payload["step"]) == (EventType.RUN_RETRIED, "boom")


def test_a_cancel_says_how_long_the_run_may_clean_up(vbl_here, file):
    (run,) = ids(file, workflow="nap", status="waiting")
    vbl_here("cancel", run, "--within", "-1", db=file, code=2)
    vbl_here("cancel", run, "--within", "soon", db=file, code=2)
    vbl_here("cancel", run, "--within", "60", db=file)
    with vbl.connect(file) as client:
        asked = client.run(run).events()[-1]
    assert asked.type is EventType.CANCEL_REQUESTED
    assert asked.payload["until"] - asked.at == 60_000_000


@pytest.mark.parametrize("command", ["cancel", "pause", "retry"])
def test_steering_a_finished_run_is_a_conflict(vbl_here, made, command):
    (run,) = ids(made, workflow="hello")
    ended = vbl_here(command, run, "--json", db=made, code=4)
    assert ended.out == ""
    assert run in ended.error["message"]
    assert ended.error["hint"]


# Wrong input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (["show", "r_zzzz"], 3, "run_not_found"),
        (["show", "nonsense"], 3, "run_not_found"),
        (["show", "r_"], 2, "ambiguous_run"),
        (["show"], 2, "usage"),
        (["shwo", "@last"], 2, "usage"),
        (["ls", "--status", "nonsense"], 2, "usage"),
        (["ls", "--since", "yesterday"], 2, "usage"),
        (["ls", "--limit", "-1"], 2, "usage"),
        (["ls", "--color", "blue"], 2, "usage"),
        (["up", "flows.py", "--grace", "nan"], 2, "usage"),
        (["up", "flows.py", "--grace", "-1"], 2, "usage"),
        (["up", "flows.py", "--wait", "--force"], 2, "usage"),
        (["state", "@last", "--checkpoint", "0"], 2, "usage"),
        (["sql", "select nothing"], 2, None),
        (["sql", "delete from events"], 2, None),
        (["run", "nowhere.py:flow"], 3, "not_found"),
    ],
)
def test_wrong_input_is_told_in_words_and_changes_nothing(vbl_here, made, args, code, error):
    before = made.read_bytes()
    ended = vbl_here(*args, "--json", db=made, code=code)
    assert ended.out == ""
    assert set(ended.error) == {"code", "message", "hint"}
    assert error in (None, ended.error["code"])
    assert ended.error["hint"]
    words = vbl_here(*args, db=made, code=code)
    assert words.err.startswith(f"error: {ended.error['message'].splitlines()[0]}")
    assert made.read_bytes() == before


@pytest.mark.parametrize("command", [["ls"], ["show", "@last"], ["doctor"], ["cancel", "@last"], ["sql", "select 1"]])
def test_reading_makes_no_file(vbl_here, tmp_path, command):
    ended = vbl_here(*command, db=tmp_path / "none.db", code=3)
    assert "there is no file" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_ours_is_a_storage_error(vbl_here, tmp_path):
    foreign = tmp_path / "foreign.db"
    foreign.write_text("just some text, and long enough to look at twice\n" * 40)
    assert vbl_here("ls", "--json", db=foreign, code=10).error["code"] == "not_vbl"
    assert foreign.read_text().startswith("just some text")
    assert vbl_here("ls", "--json", db=tmp_path, code=10).error["code"] == "not_vbl"


def test_a_file_of_a_newer_version_is_named_and_left_alone(vbl_here, file):
    connection = apsw.Connection(str(file))
    connection.execute("pragma user_version = 99")
    connection.close()
    for command in (["ls"], ["show", "@last"], ["cancel", "@last"]):
        assert vbl_here(*command, "--json", db=file, code=10).error["code"] == "newer"


# The rest -------------------------------------------------------------------------------------------------------------


def test_common_options_stand_before_or_behind_the_command(vbl_here, made, tmp_path):
    behind = vbl_here("ls", "--db", str(made), "--json", db=tmp_path / "none.db")
    before = vbl_here("--db", str(made), "--json", "ls", db=tmp_path / "none.db")
    assert before.out == behind.out != ""


def test_sql_gives_a_table_or_json(vbl_here, made, monkeypatch):
    query = "select status, count(*) as runs, null as none from vbl_runs group by status order by status limit 2"
    ended = vbl_here("sql", query, db=made)
    assert ended.out.splitlines() == ["status     runs  none", "cancelled     1  null", "completed     1  null"]
    assert ended.err == "2 rows\n"
    assert vbl_here("sql", query, "--json", db=made).objects[0] == {"status": "cancelled", "runs": 1, "none": None}
    monkeypatch.setattr(sys, "stdin", io.StringIO("select x'00ff' as bytes"))
    assert vbl_here("sql", "-", "--json", db=made).objects == [{"bytes": "00ff"}]


def test_doctor_says_that_all_is_well_or_what_to_do(vbl_here, file):
    findings = vbl_here("doctor", "--json", db=file).objects
    assert {"code", "severity", "message", "hint"} <= set(findings[0])
    assert not [finding for finding in findings if finding["severity"] == "error"]
    connection = apsw.Connection(str(file))
    connection.execute("update runs set status = 'completed', due_at = null, wake_at = null where status = 'waiting'")
    connection.close()
    broken = vbl_here("doctor", db=file, code=10)
    assert "vbl doctor --rebuild" in broken.out
    vbl_here("doctor", "--rebuild", db=file)
    assert len(ids(file, status="waiting")) == 1


def test_init_writes_a_workflow_once(vbl_here, tmp_path):
    target = tmp_path / "flows"
    ended = vbl_here("init", str(target))
    file = target / "hello.py"
    assert ended.out == f"{file}\n"
    assert f"vbl run {file}:hello" in ended.err
    compile(file.read_text(), str(file), "exec")
    file.write_text("mine")
    assert "nothing was written" in vbl_here("init", str(target), code=4).err
    assert file.read_text() == "mine"
    assert vbl_here("init", str(file), code=2)


def test_colour_is_asked_for_and_never_alone(vbl_here, made):
    plain, colored, later = (vbl_here("ls", "--color", how, db=made).out for how in ("never", "always", "never"))
    assert "\x1b[" not in plain
    assert "\x1b[32m✓ completed" in colored
    without_times = [re.sub(r"[\d. ]+m?s", "", out) for out in (click.unstyle(colored), plain, later)]
    assert without_times[0] in without_times[1:], "a minute may have become full meanwhile"


@pytest.mark.parametrize(
    ("words", "word", "offered"),
    [
        ("vbl sh", 1, "plain,show"),
        ("vbl show @", 2, "plain,@failed"),
        ("vbl ls --sta", 2, "plain,--status"),
        ("vbl diff @last @", 3, "plain,@failed"),
        ("vbl tail --type step_f", 3, "plain,STEP_FAILED"),
    ],
)
def test_the_shell_completes(vbl_here, made, monkeypatch, words, word, offered):
    for name, value in {"_VBL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(word)}.items():
        monkeypatch.setenv(name, value)
    assert offered in vbl_here(db=made).out.splitlines()


def test_the_shell_completes_ids_and_stays_silent_without_a_file(vbl_here, made, tmp_path, monkeypatch):
    for name, value in {"_VBL_COMPLETE": "bash_complete", "COMP_WORDS": "vbl why r_", "COMP_CWORD": "2"}.items():
        monkeypatch.setenv(name, value)
    offered = vbl_here(db=made).out.splitlines()
    assert set(offered) == {f"plain,{run}" for run in ids(made)}
    assert vbl_here(db=tmp_path / "none.db").out.strip() == ""


@pytest.mark.parametrize(
    "command",
    [("ls", "--tag"), ("ls", "--workflow"), ("show",), ("why",), ("events",), ("cancel",), ("sql",)],
    ids=" ".join,
)
def test_an_argument_that_is_no_text_is_refused_in_words(vbl_here, made, command):
    ended = vbl_here(*command, "r\udcff", db=made, code=2)
    assert "UTF-8" in ended.err
    assert "Traceback" not in ended.err


def test_an_error_of_ours_is_json_too_when_json_was_asked_for(vbl_here, made, monkeypatch):
    monkeypatch.setattr(ls, "Found", lambda *_, **__: 1 / 0)
    ended = vbl_here("ls", "--json", db=made, code=1)
    assert ended.error["code"] == "internal"
    assert json.loads(ended.err)


def test_the_made_file_is_left_as_it_was(made, tmp_path):
    shutil.copy(made, tmp_path / "copy.db")
    assert len(ids(tmp_path / "copy.db")) == 7
