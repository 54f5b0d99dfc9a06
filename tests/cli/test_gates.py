"""Deciding at the terminal: what waits for whom, what decisions, messages and links do, what a history proves."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from pydantic import BaseModel, Field

import vbl
from vbl.engine.definitions import REGISTRY
from vbl.testing import Trial


class Refund(BaseModel):
    """What the gate asks to be given."""

    amount: int = Field(gt=0, description="in cents")
    why: str = ""


@vbl.step
async def refund(amount: int, to: str) -> str:
    return f"{amount} to {to}"


@vbl.step(effect="write")
async def transfer() -> None:
    """Never ends, as far as anybody knows."""
    await asyncio.Event().wait()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in which four runs wait: for a decision about a call, for data, for a person who is named, for a
    message."""
    before = dict(REGISTRY)

    @vbl.workflow(name="refunds")
    async def refunds() -> str:
        gate = await vbl.approve(refund.call(5, "eve"), edit=True, timeout=86_400, show="an invoice\nof two lines")
        return await gate.run() if gate.approved else "denied"

    @vbl.workflow(name="answers")
    async def answers() -> None:
        await vbl.approve("how_much", schema=Refund)

    @vbl.workflow(name="named")
    async def named() -> None:
        await vbl.approve("sign", to=["ada", "group:ops"], need=2, not_starter=True)

    @vbl.workflow(name="listens")
    async def listens() -> None:
        await vbl.wait("payment", type=Refund)

    path = tmp_path_factory.mktemp("made") / "made.db"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("VBL_ACTOR", "starter")
        with vbl.open(path) as runtime:
            for workflow in (refunds, answers, named):
                runtime.start(workflow).wait("waiting_for_approval", timeout=20)
            runtime.start(listens).wait("waiting", timeout=20)
    REGISTRY.clear()
    REGISTRY.update(before)
    return path


@pytest.fixture
def file(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to change, by ada."""
    for name in ("VBL_GROUPS", "VBL_LINK_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VBL_ACTOR", "ada")
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    copy = tmp_path / "work.db"
    source, target = apsw.Connection(str(made)), apsw.Connection(str(copy))
    with target.backup("main", source, "main") as backup:
        backup.step()
    target.close()
    source.close()
    return copy


def gate_of(path: Path, workflow: str) -> str:
    with vbl.connect(path) as client:
        return next(gate.id for gate in client.gates(None) if gate.workflow == workflow)


def run_of(path: Path, workflow: str) -> str:
    with vbl.connect(path) as client:
        return client.runs(workflow=workflow)[0].id


def history(path: Path) -> list[Any]:
    with vbl.connect(path) as client:
        return client.events()


Here = Callable[..., Any]


# Looking ----------------------------------------------------------------------------------------------------------


def test_the_inbox_tells_what_to_type(vbl_here: Here, file: Path) -> None:
    out = vbl_here("inbox", db=file).out
    first, second, third = (gate_of(file, name) for name in ("refunds", "answers", "named"))
    assert out.index(first) < out.index(second) < out.index(third)
    assert 'refund(amount=5, to="eve")' in out
    assert f"vbl approve {first}   or   vbl deny {first}" in out
    assert "ada, group:ops, 2 of them, not who started the run" in out
    assert re.search(r"expires +in (23 h|24 h|1 d)\b.* then: deny", out)
    assert "ago by answers " in out


def test_the_inbox_as_json_is_an_object_a_line(vbl_here: Here, file: Path) -> None:
    found = vbl_here("inbox", "--json", db=file).objects
    assert [(one["kind"], one["workflow"], one["gate"]["id"]) for one in found] == [
        ("gate", name, gate_of(file, name)) for name in ("refunds", "answers", "named")
    ]
    assert found[0]["gate"]["call"]["input"] == {"amount": 5, "to": "eve"}
    assert found[0]["gate"]["expires_at"].endswith("Z")
    assert found[2]["gate"]["to"] == ["ada", "group:ops"]
    assert len(vbl_here("inbox", "--json", "-n", "1", db=file).objects) == 1


def test_the_inbox_of_a_person(vbl_here: Here, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def workflows(person: str) -> list[str]:
        return [one["workflow"] for one in vbl_here("inbox", "--to", person, "--json", db=file).objects]

    assert workflows("ada") == ["refunds", "answers", "named"]
    assert workflows("bob") == ["refunds", "answers"]
    monkeypatch.setenv("VBL_GROUPS", "ops=bob")
    assert workflows("bob") == ["refunds", "answers", "named"]


def test_a_step_whose_outcome_nobody_knows_is_in_the_inbox(vbl_here: Here, file: Path, tmp_path: Path) -> None:
    before = dict(REGISTRY)

    @vbl.workflow(name="transfers")
    async def transfers() -> None:
        await transfer()

    with Trial(tmp_path / "doubt.db") as trial:
        run = trial.start(transfers)
        trial.until(lambda: any(fact.type == "STEP_STARTED" for fact in run.facts()))
        trial.kill()
        trial.up()
        trial.settle()
        assert run.status == "blocked"
    REGISTRY.clear()
    REGISTRY.update(before)
    (question,) = vbl_here("inbox", "--json", db=tmp_path / "doubt.db").objects
    assert (question["kind"], question["run_id"], question["gate"]) == ("unknown_outcome", run.id, None)
    assert "transfer" in question["step"]
    assert f"vbl resolve {run.id} --happened JSON | --did-not | --fail" in vbl_here("inbox").out
    vbl_here("resolve", run.id, "--happened", "null", "--reason", "the bank says so")
    assert vbl_here("inbox", "--json").objects == []
    assert "STEP_RESOLVED by ada, because: the bank says so" in vbl_here("audit", run.id).out


def test_an_inbox_with_nothing_in_it_says_so(vbl_here: Here, tmp_path: Path) -> None:
    vbl.connect(tmp_path / "empty.db").close()
    ended = vbl_here("inbox", db=tmp_path / "empty.db")
    assert (ended.out, "nothing waits" in ended.err) == ("", True)
    ended = vbl_here("inbox", "--json", db=tmp_path / "empty.db")
    assert (ended.out, ended.err) == ("", "")


def test_a_gate_in_full(vbl_here: Here, file: Path) -> None:
    gate = gate_of(file, "refunds")
    out = vbl_here("gate", gate, db=file).out
    for part in (
        "refund  open",
        "an invoice",
        "of two lines",
        "call       refund; the arguments may be edited\n             amount: 5\n             to: eve\n",
    ):
        assert part in out
    assert "amount: a whole number, why: text (may be left out)" in vbl_here("gate", gate_of(file, "answers")).out
    document = vbl_here("gate", f"{run_of(file, 'refunds')}:refund", "--json").document
    assert (document["id"], document["status"], document["votes"]) == (gate, "open", [])


def test_a_gate_shows_each_argument_to_its_end_and_what_it_was_before_an_edit(vbl_here: Here, tmp_path: Path) -> None:
    before, after = "Dear Ada,\n" + "all is well. " * 40 + "Bob", "Dear Ada,\nno. Bob"
    path = tmp_path / "long.db"

    @vbl.workflow(name="long")
    async def long() -> None:
        await vbl.approve(refund.call(5, before), edit=True, need=2)

    with Trial(path) as trial:
        trial.start(long).wait("waiting_for_approval", timeout=20)
    out = vbl_here("gate", "@last:refund", db=path).out
    assert "             to: Dear Ada,\n                 all is well. " in out
    assert out.count("all is well.") == 40
    vbl_here("approve", "@last:refund", "--as", "ada", "--edit", f'{{"to": "{after!r}"}}'.replace("'", ""))
    out = vbl_here("gate", "@last:refund").out
    assert "             to: Dear Ada,\n                 no. Bob\n               was: Dear Ada,\n" in out


@pytest.mark.parametrize("command", ["gate", "approve", "deny"])
@pytest.mark.parametrize(("ref", "code", "error"), [("g_none", 3, "gate_not_found"), ("g_", 2, "ambiguous_gate")])
def test_a_gate_that_is_not_found(vbl_here: Here, file: Path, command: str, ref: str, code: int, error: str) -> None:
    before = history(file)
    assert vbl_here(command, ref, "--json", db=file, code=code).error["code"] == error
    assert vbl_here(command, ref, code=code).err.startswith("error: ")
    assert history(file) == before


# Deciding ---------------------------------------------------------------------------------------------------------


def test_approve_says_what_was_decided(vbl_here: Here, file: Path) -> None:
    gate = gate_of(file, "refunds")
    out = vbl_here("approve", gate, "--reason", "read it twice", db=file).out
    assert "granted" in out
    assert "ada, from terminal, because: read it twice" in out
    ended = vbl_here("approve", gate, "--as", "bob", "--json", code=4)
    assert ended.error["code"] == "already_decided"
    assert "granted by ada" in ended.error["message"]
    assert ended.error["hint"]
    assert vbl_here("deny", gate, code=4).err.startswith("error: ")


def test_deny_as_json_is_the_gate(vbl_here: Here, file: Path) -> None:
    document = vbl_here("deny", gate_of(file, "answers"), "--as", "bob", "--reason", "no", "--json", db=file).document
    assert (document["status"], document["decided_by"], document["reason"]) == ("denied", "bob", "no")
    assert "how_much" not in vbl_here("inbox").out


def test_who_may_not_decide_exits_with_4_and_is_remembered(vbl_here: Here, file: Path) -> None:
    gate = gate_of(file, "named")
    assert vbl_here("approve", gate, "--as", "eve", "--json", db=file, code=4).error["code"] == "not_entitled"
    assert vbl_here("deny", gate, "--as", "starter", "--json", code=4).error["code"] == "not_entitled"
    refused = vbl_here("gate", gate, "--json").document["refused"]
    assert [(one["actor"], one["decision"], one["via"]) for one in refused] == [
        ("eve", "approve", "terminal"),
        ("starter", "deny", "terminal"),
    ]


def test_an_edit_from_the_command_line(vbl_here: Here, file: Path) -> None:
    gate, before = gate_of(file, "refunds"), history(file)
    for edit in ('{"amount": "much"}', '{"sum": 1}', "[]", "7", "{", '{"amount": NaN}'):
        assert vbl_here("approve", gate, "--edit", edit, "--json", db=file, code=2).error["hint"]
    assert history(file) == before
    document = vbl_here("approve", gate, "--edit", '{"amount": 7}', "--json").document
    assert document["call"]["input"] == {"amount": 7, "to": "eve"}
    assert document["votes"][0]["edit"] == {"amount": 7}


def test_an_edit_in_the_editor(vbl_here: Here, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nsed -i s/5/8/ "$1"\ntouch -d "+1 hour" "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    document = vbl_here("approve", gate_of(file, "refunds"), "--editor", "--json", db=file).document
    assert document["votes"][0]["edit"] == {"amount": 8}
    assert vbl_here("approve", gate_of(file, "answers"), "--editor", "--json", code=2).error["code"] == "usage"


def test_an_editor_that_saves_nothing_approves_nothing(
    vbl_here: Here, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, before = gate_of(file, "refunds"), history(file)
    editor = tmp_path / "editor.sh"
    editor.write_text("#!/bin/sh\n")
    editor.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    assert "nothing was saved" in vbl_here("approve", gate, "--editor", db=file, code=2).err
    vbl_here("approve", gate, "--editor", "--edit", '{"amount": 7}', code=2)
    monkeypatch.delenv("EDITOR")
    assert "no terminal" in vbl_here("approve", gate, "--editor", code=2).err
    assert history(file) == before


@pytest.mark.slow
def test_who_edits_in_an_editor_approves_the_call_that_it_showed(
    vbl_here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @vbl.workflow(name="two of them")
    async def workflow() -> None:
        await vbl.approve(refund.call(5, "eve"), edit=True, need=2)

    file = tmp_path / "two.db"
    with vbl.open(file) as runtime:
        runtime.start(workflow).wait("waiting_for_approval", timeout=20)
    gate = gate_of(file, "two of them")
    editor = tmp_path / "editor.py"
    editor.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, sys, vbl\n"
        f"with vbl.connect({str(file)!r}) as client:\n"
        f"    client.approve({gate!r}, by='bob', edit={{'to': 'mallory'}})\n"
        "shown = pathlib.Path(sys.argv[1])\n"
        "shown.write_text(shown.read_text().replace('5', '8'))\n"
        "os.utime(shown, (2e9, 2e9))\n"
    )
    editor.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    refused = vbl_here("approve", gate, "--as", "ada", "--editor", "--json", db=file, code=4)
    assert refused.error["code"] == "call_changed"


def test_data_from_the_command_line(vbl_here: Here, file: Path, tmp_path: Path) -> None:
    gate, before = gate_of(file, "answers"), history(file)
    ended = vbl_here("approve", gate, "--json", db=file, code=2)
    assert ended.error["code"] == "data_missing"
    assert "--data JSON" in ended.error["hint"]
    assert "amount: a whole number" in ended.error["hint"]
    assert vbl_here("approve", gate, "--data", '{"amount": 0}', "--json", code=2).error["code"] == "invalid_input"
    assert vbl_here("approve", gate, "--data", "{", "--json", code=2).error["code"] == "invalid_json"
    assert history(file) == before
    (tmp_path / "answer.json").write_text('{"amount": 3}')
    document = vbl_here("approve", gate, "--data", f"@{tmp_path}/answer.json", "--json").document
    assert document["data"] == {"amount": 3}


def test_on_a_terminal_the_data_is_asked_for_field_by_field_until_it_fits(shell: Any, made: Path, file: Path) -> None:
    keyboard, theirs = pty.openpty()
    process = shell.start("approve", gate_of(file, "answers"), stdin=theirs)
    os.close(theirs)
    os.write(keyboard, b"much\n-1\n3\nfor the rent\n")
    ended = shell.end(process)
    os.close(keyboard)
    assert ended.code == 0, ended.err
    assert ended.err.count("amount: a whole number (in cents)") == 3
    assert "valid integer" in ended.err
    assert "greater than 0" in ended.err
    assert 'gave {"amount": 3, "why": "for the rent"}' in ended.out


# Links ------------------------------------------------------------------------------------------------------------


def test_a_link_is_printed_and_used_once(vbl_here: Here, file: Path) -> None:
    gate = gate_of(file, "refunds")
    link = vbl_here("gate", gate, "--link", "approve", "--for", "bob", db=file).out.strip()
    assert link.startswith("vbl1.")
    assert vbl_here("deny", link, "--json", code=2).error["message"] == "this link is to approve, not to deny"
    assert vbl_here("approve", link, "--as", "eve", "--json", code=2).error["code"] == "usage"
    assert vbl_here("approve", link[:-3], "--json", code=2).error["code"] == "bad_link"
    document = vbl_here("approve", link, "--reason", "from afar", "--json").document
    assert (document["status"], document["decided_by"], document["reason"]) == ("granted", "bob", "from afar")
    assert document["votes"][0]["via"] == "link"
    assert vbl_here("approve", link, "--json", code=4).error["code"] == "already_decided"


def test_a_link_as_json_and_one_that_denies(vbl_here: Here, file: Path) -> None:
    gate = gate_of(file, "answers")
    made = vbl_here("gate", gate, "--link", "deny", "--json", db=file).document
    assert (made["gate"], made["decision"]) == (gate, "deny")
    assert vbl_here("deny", made["link"], "--json").document["decided_by"] == "ada"
    vbl_here("gate", gate, "--link", "grant", code=2)
    vbl_here("gate", gate, "--link", "approve", "--valid-for", "0", code=2)


# Signals ----------------------------------------------------------------------------------------------------------


def test_a_signal_is_sent_and_what_does_not_fit_is_refused(vbl_here: Here, file: Path) -> None:
    run, before = run_of(file, "listens"), history(file)
    for data in ('{"amount": 0}', '"text"'):
        assert vbl_here("signal", run, "payment", data, "--json", db=file, code=2).error["code"] == "invalid_input"
    assert vbl_here("signal", run, "payment", "{", "--json", code=2).error["code"] == "invalid_json"
    assert history(file) == before
    document = vbl_here("signal", run, "payment", '{"amount": 2}', "--key", "k", "--json").document
    assert (document["id"], document["signal"], document["data"]) == (run, "payment", {"amount": 2})
    assert "sent payment" in vbl_here("signal", run, "payment", '{"amount": 2}', "--key", "k").err
    assert vbl_here("signal", run, "payment", '{"amount": 3}', "--key", "k", "--json", code=4).error["code"] == (
        "key_taken"
    )
    received = [event for event in history(file) if event.type == "SIGNAL_RECEIVED"]
    assert [event.payload["actor"] for event in received] == ["ada"]
    vbl_here("signal", "r_none", "payment", code=3)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_what_comes_by_stdin_is_read_once(
    vbl_here: Here, file: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"amount": 7}'))
    ended = vbl_here("signal", run_of(file, "listens"), "payment", "-", *more, db=file)
    assert ended.document["data"] == {"amount": 7} if more else 'sent payment {"amount": 7}' in ended.err


def test_the_hint_names_the_option_that_was_no_json(vbl_here: Here, file: Path) -> None:
    gate = gate_of(file, "answers")
    for option in ("--data", "--edit"):
        error = vbl_here("approve", gate, option, "amount=3", "--json", db=file, code=2).error
        assert error["message"].startswith(f"{option} is not JSON")
        assert error["hint"].startswith(f"{option} '")
    error = vbl_here("signal", run_of(file, "listens"), "payment", "{", "--json", code=2).error
    assert error["message"].startswith("DATA is not JSON")


# Auditing ---------------------------------------------------------------------------------------------------------


def decided(vbl_here: Here, file: Path) -> str:
    gate = gate_of(file, "refunds")
    vbl_here("approve", gate, "--as", "bob", "--edit", '{"amount": 7}', "--reason", "too much", db=file)
    run = run_of(file, "refunds")
    with vbl.connect(file) as client:
        client.run(run).cancel(by="zoe", reason="enough")
    return run


def test_the_audit_tells_who_decided_what_and_proves_it(vbl_here: Here, file: Path) -> None:
    run = decided(vbl_here, file)
    out = vbl_here("audit", run, db=file).out
    for part in (
        "by starter",
        "asked of anybody by refunds",
        'about: refund with {"amount": 5, "to": "eve"}',
        "approved by bob, from terminal, because: too much",
        "edited amount: 5 -> 7",
        "CANCEL_REQUESTED by zoe, because: enough",
    ):
        assert part in out
    with vbl.connect(file) as client:
        head, events = client.run(run).proof()
    assert f"chain of {events} events is whole, head {head}" in out
    document = vbl_here("audit", run, "--json").document
    assert (document["id"], document["workflow"], document["started_by"]) == (run, "refunds", "starter")
    assert document["chain"] == {"whole": True, "events": events, "head": head}
    assert [gate["status"] for gate in document["gates"]] == ["granted"]
    assert {"APPROVAL_REQUESTED", "APPROVAL_GRANTED", "CANCEL_REQUESTED"} <= {one["type"] for one in document["events"]}


def test_the_audit_tells_of_refusals(vbl_here: Here, file: Path) -> None:
    vbl_here("approve", gate_of(file, "named"), "--as", "eve", db=file, code=4)
    out = vbl_here("audit", run_of(file, "named")).out
    assert "asked of ada, group:ops by named, 2 needed" in out
    assert "refused: approve by eve, from terminal: " in out
    vbl_here("audit", "r_none", code=3)


DAMAGES = {
    "who decided": "update events set payload = replace(payload, '\"bob\"', '\"eve\"') where type = 'APPROVAL_GRANTED'",
    "when": "update events set at = at + 1 where type = 'APPROVAL_GRANTED'",
    "that somebody decided": "delete from events where type = 'APPROVAL_GRANTED'",
    "what came last": "delete from events where type = 'CANCEL_REQUESTED'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_audit_of_a_history_that_was_changed_exits_with_10(vbl_here: Here, file: Path, damage: str) -> None:
    run = decided(vbl_here, file)
    connection = apsw.Connection(str(file))
    for (name,) in list(connection.execute("select name from sqlite_master where type = 'trigger'")):
        connection.execute(f"drop trigger {name}")
    connection.execute(DAMAGES[damage])
    assert connection.changes() == 1
    connection.close()
    ended = vbl_here("audit", run, db=file, code=10)
    assert "is whole" not in ended.out
    assert "vbl doctor" in ended.err
    ended = vbl_here("audit", run, "--json", code=10)
    assert ended.error["code"] == "corrupt"
