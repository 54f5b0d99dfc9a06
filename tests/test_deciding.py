"""Deciding from outside: a client decides gates, by itself and by links, with nobody alive and no code at hand."""

from __future__ import annotations

import base64
import json
import math
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import vbl
from vbl import config, ids, links
from vbl.client import Client
from vbl.errors import Conflict, InvalidInput, KeyTaken, NotEntitled, NotFound, StorageError, UsageError
from vbl.history.events import (
    ApprovalRequested,
    Payload,
    RunBlocked,
    RunCancelled,
    RunCreated,
    RunStarted,
    SignalAwaited,
    SignalReceived,
)
from vbl.history.gates import call_digest
from vbl.store.journal import Journal, draft
from vbl.store.sqlite import Sqlite
from vbl.testing import FakeClock

GROUPS = {"ops": ["ada", "bob"]}
INPUT = {"to": "eve", "amount": 5}
CALL = {
    "step": "send",
    "input": INPUT,
    "version": "v1",
    "digest": call_digest("send", INPUT, "v1"),
    "parameters": {"to": {"type": "string"}, "amount": {"type": "integer"}},
}


class Amount(BaseModel):
    amount: int
    note: str = ""


class File:
    """A file that a supervisor has left: runs that wait, and a client that never saw their code."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.path = path
        self.client = Client(path, clock=self.clock, groups=GROUPS)
        self.store = Sqlite(path)
        self.journal = Journal(self.store, self.clock)
        self.count = 0

    def run(self, *events: Payload) -> str:
        run_id = ids.run_id(self.clock)
        created = RunCreated(run_id=run_id, workflow="w", version="v", actor="starter")
        self.journal.create([draft(self.clock.now(), created)])
        self.append(run_id, RunStarted(epoch=0), *events)
        return run_id

    def append(self, run_id: str, *events: Payload) -> None:
        self.journal.commit(run_id, lambda _: [draft(self.clock.now(), event) for event in events])

    def asks(self, name: str = "send", **request: Any) -> vbl.Gate:
        """A run that waits at a gate."""
        self.count += 1
        gate = f"g_{self.count:012d}"
        self.run(ApprovalRequested(gate=gate, key=name, name=name, **request))
        return self.client.gate(gate)

    def types(self, run_id: str) -> list[str]:
        return [str(event.type) for event in self.client.run(run_id).events()]

    def close(self) -> None:
        self.client.close()
        self.store.close()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the person at this machine matters."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("VBL_ACTOR", "me")
    for name in ("VBL_GROUPS", "VBL_LINK_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    opened = File(tmp_path / "file.db")
    yield opened
    opened.close()


# Deciding -------------------------------------------------------------------------------------------------------------


def test_a_decision_is_in_the_file_when_it_returns(file: File) -> None:
    gate = file.asks(show={"text": "dear eve"})
    assert (gate.status, gate.show, gate.workflow) == ("open", {"text": "dear eve"}, "w")
    after = file.client.approve(gate, by="ada", reason="read it")
    assert (after.status, after.decided_by, after.reason) == ("granted", "ada", "read it")
    with vbl.connect(file.path) as other:
        assert other.gate(gate.id) == after
        assert other.gates() == []
        event = other.run(gate.run_id).events()[-1]
    assert (event.type, event.payload["actor"], event.payload["via"]) == ("APPROVAL_GRANTED", "ada", "python")


def test_who_decides_where_nobody_is_named_is_who_works_here(file: File) -> None:
    assert file.client.deny(file.asks()).decided_by == "me"


def test_every_loser_of_a_race_is_told_who_was_first(file: File) -> None:
    gate = file.asks()
    start = threading.Barrier(8)
    told: list[str] = []

    def decide(number: int) -> None:
        with vbl.connect(file.path) as client:
            start.wait()
            try:
                told.append(f"first {client.approve(gate.id, by=f'p{number}').decided_by}")
            except Conflict as error:
                told.append(error.message.partition(" by ")[2].partition(",")[0])

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    winner = file.client.gate(gate.id).decided_by
    assert sorted(told) == sorted([f"first {winner}", *[winner] * 7])
    assert file.types(gate.run_id).count("APPROVAL_GRANTED") == 1


def test_who_may_not_decide_is_refused_and_leaves_a_trace(file: File) -> None:
    gate = file.asks(to=["carl", "group:ops"])
    with pytest.raises(NotEntitled) as refused:
        file.client.approve(gate, by="eve", via="page")
    assert (refused.value.code, refused.value.exit_code) == ("not_entitled", 4)
    event = file.client.run(gate.run_id).events()[-1]
    assert event.type == "DECISION_REFUSED"
    assert (event.payload["actor"], event.payload["decision"], event.payload["via"]) == ("eve", "approve", "page")
    assert [one["actor"] for one in file.client.gate(gate.id).refused] == ["eve"]
    assert file.client.approve(gate, by="bob").votes[0]["member_of"] == "ops"


def test_any_other_refusal_leaves_the_file_as_it_was(file: File) -> None:
    gate = file.asks(edit=True, call=CALL, expires_at=file.clock.now() + 60_000_000)
    amount = file.asks("amount", json_schema=Amount.model_json_schema())
    before = file.client.cursor()
    wrong: list[tuple[type[Exception], dict[str, Any]]] = [
        (InvalidInput, {"gate": gate, "edit": {"amount": "much"}}),
        (InvalidInput, {"gate": gate, "edit": {"sum": 1}}),
        (InvalidInput, {"gate": gate, "data": 1}),
        (InvalidInput, {"gate": amount}),
        (InvalidInput, {"gate": amount, "data": {"amount": None}}),
        (NotFound, {"gate": "g_zzz"}),
        (NotFound, {"gate": ""}),
        (UsageError, {"gate": gate, "by": "group:ops"}),
        (UsageError, {"gate": gate, "by": ""}),
    ]
    for error, given in wrong:
        with pytest.raises(error) as refused:
            file.client.approve(**given)
        assert refused.value.hint  # type: ignore[attr-defined]
    file.clock.advance(61)
    with pytest.raises(Conflict) as late:
        file.client.approve(gate)
    assert late.value.code == "gate_expired"
    assert file.client.cursor() == before


def test_a_cancelled_run_takes_its_gates_with_it(file: File) -> None:
    run_id = file.run(ApprovalRequested(gate="g_1", key="a", name="a"))
    file.append(run_id, RunBlocked(reason="diverged", version="v", message="m", unblock="u"))
    file.client.run(run_id).cancel()
    with pytest.raises(Conflict) as refused:
        file.client.approve("g_1")
    assert refused.value.code == "gate_closed"
    assert file.client.gates() == []
    assert file.client.gate("g_1").status == "closed"


def test_an_edit_is_kept_beside_what_was_asked(file: File) -> None:
    gate = file.client.approve(file.asks(edit=True, call=CALL), edit={"amount": "7"})
    assert gate.asked is not None
    assert gate.call is not None
    assert gate.asked["input"] == INPUT
    assert gate.call["input"] == {"to": "eve", "amount": 7}
    assert gate.call["digest"] == call_digest("send", {"to": "eve", "amount": 7}, "v1")


@pytest.mark.parametrize("data", [Amount(amount=3), {"amount": "3"}], ids=["model", "plain"])
def test_data_may_be_a_model_or_plain(file: File, data: Any) -> None:
    gate = file.asks(json_schema=Amount.model_json_schema())
    assert file.client.approve(gate, data=data).data["amount"] == 3


@pytest.mark.parametrize("said", [{"data": math.nan}, {"data": "\ud800"}, {"reason": "\ud800"}], ids=ascii)
def test_what_json_cannot_hold_is_refused_in_words(file: File, said: dict[str, Any]) -> None:
    gate = file.asks(json_schema={})
    before = file.client.cursor()
    with pytest.raises(vbl.VblError):
        file.client.approve(gate, **({"data": 1} | said))
    assert file.client.cursor() == before


# Finding --------------------------------------------------------------------------------------------------------------


def test_gates_are_listed_the_oldest_first(file: File) -> None:
    made: list[str] = []
    for _ in range(5):
        made.append(file.asks().id)
        file.clock.advance(1)
    file.client.approve(made[1])
    file.client.deny(made[3])
    left = [made[n] for n in (0, 2, 4)]
    assert [gate.id for gate in file.client.gates()] == left
    assert [gate.id for gate in file.client.gates(limit=2)] == left[:2]
    assert [gate.id for gate in file.client.gates("granted")] == [made[1]]
    assert [gate.id for gate in file.client.gates(None)] == made
    run_id = file.client.gate(made[3]).run_id
    assert [gate.id for gate in file.client.gates(None, run=run_id)] == [made[3]]
    assert file.client.gates(run=run_id) == []
    with pytest.raises(UsageError, match="'opened'"):
        file.client.gates("opened")


def test_gates_are_listed_for_a_person(file: File) -> None:
    anybody, ops, carl = file.asks(), file.asks(to=["group:ops"]), file.asks(to=["carl"])
    assert [gate.id for gate in file.client.gates(to="ada")] == [anybody.id, ops.id]
    assert [gate.id for gate in file.client.gates(to="carl")] == [anybody.id, carl.id]
    assert [gate.id for gate in file.client.gates(to="carl", limit=1)] == [anybody.id]


def test_a_gate_answers_to_its_id_a_prefix_and_its_name_in_a_run(file: File) -> None:
    gate, _ = file.asks("first"), file.asks("second")
    assert file.client.gate(gate.id) == file.client.gate(f"{gate.run_id}:first") == gate
    with pytest.raises(UsageError) as several:
        file.client.gate("g_0000")
    assert several.value.code == "ambiguous_gate"
    for ref in ("g_x", f"{gate.run_id}:third", "r_nothing:first"):
        with pytest.raises(NotFound):
            file.client.gate(ref)


def test_a_name_that_several_open_gates_have_decides_none(file: File) -> None:
    first, second = (
        ApprovalRequested(gate=f"g_{n:012d}", key=key, name="send") for n, key in ((1, "send"), (2, "send#2"))
    )
    run = file.run(first, second)
    for decide in (file.client.approve, file.client.deny):
        with pytest.raises(UsageError) as several:
            decide(f"{run}:send")
        assert several.value.code == "ambiguous_gate"
    assert file.client.approve(f"{run}:send#2").id == "g_000000000002"
    assert file.client.deny(f"{run}:send").id == "g_000000000001", "the one that is left"


def test_what_only_a_person_can_settle_is_one_list(file: File) -> None:
    gate = file.asks(call=CALL)
    file.clock.advance(1)
    blocked = file.run(RunBlocked(reason="unknown_outcome", version="v", message="was it sent?", unblock="u", step="s"))
    file.run(RunBlocked(reason="diverged", version="v", message="other code", unblock="u"))
    first, second = file.client.questions()
    assert (first.kind, first.gate, first.detail) == ("gate", gate, 'send(to="eve", amount=5)')
    assert (second.kind, second.run_id, second.step, second.detail) == (
        "unknown_outcome",
        blocked,
        "s",
        "was it sent?",
    )


# Groups ---------------------------------------------------------------------------------------------------------------


def test_groups_come_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert config.groups() == {}
    folder = tmp_path / "config" / "vbl"
    folder.mkdir(parents=True)
    (folder / "groups.toml").write_text('ops = ["ada", "bob"]\n')
    assert config.groups() == {"ops": ["ada", "bob"]}
    monkeypatch.setenv("VBL_GROUPS", "ops=eve; fin = carl , zoe")
    assert config.groups() == {"ops": ["eve"], "fin": ["carl", "zoe"]}


@pytest.mark.parametrize("text", ["ops", "ops=", "=ada"])
def test_groups_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VBL_GROUPS", text)
    with pytest.raises(UsageError) as refused:
        config.groups()
    assert refused.value.code == "bad_groups"


@pytest.mark.parametrize("text", ['ops = "ada"', "ops = [1]", "ops ="])
def test_a_file_of_groups_that_is_none_is_refused_by_name(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "config" / "vbl"
    folder.mkdir(parents=True)
    (folder / "groups.toml").write_text(text)
    with pytest.raises(UsageError, match=r"groups\.toml"):
        config.groups()


# Links ----------------------------------------------------------------------------------------------------------------


def test_a_link_decides_once(file: File) -> None:
    gate = file.asks(to=["ada"])
    link = file.client.link(gate, "approve", by="ada")
    after = file.client.decide(link, reason="from my phone")
    assert (after.status, after.decided_by, after.votes[0]["via"]) == ("granted", "ada", "link")
    with pytest.raises(Conflict, match="was granted by ada"):
        file.client.decide(link)


def test_a_link_of_a_quorum_is_used_once(file: File) -> None:
    gate = file.asks(need=2)
    link = file.client.link(gate, "approve", by="ada")
    assert file.client.decide(link).status == "open"
    with pytest.raises(Conflict):
        file.client.decide(link)
    assert len(file.client.gate(gate.id).votes) == 1


def test_a_link_to_deny_denies_and_nothing_else(file: File) -> None:
    link = file.client.link(file.asks(), "deny", by="ada")
    with pytest.raises(UsageError, match="is to deny"):
        file.client.decide(link, decision="approve")
    assert file.client.decide(link).status == "denied"


def test_a_link_ends(file: File) -> None:
    link = file.client.link(file.asks(), "approve", by="ada", valid_for=60)
    file.clock.advance(60)
    with pytest.raises(Conflict) as refused:
        file.client.decide(link)
    assert refused.value.code == "link_expired"


def test_a_link_of_somebody_who_is_not_asked_is_refused(file: File) -> None:
    gate = file.asks(to=["carl"])
    link = file.client.link(gate, "approve", by="eve")
    with pytest.raises(NotEntitled):
        file.client.decide(link)
    assert file.types(gate.run_id)[-1] == "DECISION_REFUSED"


def test_a_link_covers_the_call_that_stood_when_it_was_made(file: File) -> None:
    gate = file.asks(need=2, edit=True, call=CALL)
    link = file.client.link(gate, "approve", by="ada")
    file.client.approve(gate, by="bob", edit={"amount": 1_000})
    with pytest.raises(Conflict) as refused:
        file.client.decide(link)
    assert refused.value.code == "link_outdated"
    assert file.client.gate(gate.id).status == "open"


def altered(link: str, place: int, value: Any) -> str:
    """A link whose payload says something else, with the signature that it had."""
    prefix, body, signature = link.split(".")
    fields = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    fields[place] = value
    text = base64.urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode().rstrip("=")
    return f"{prefix}.{text}.{signature}"


def test_a_link_that_was_altered_is_none(file: File) -> None:
    gate, other = file.asks(), file.asks("other")
    link = file.client.link(gate, "deny", by="ada", valid_for=60)
    before = file.client.cursor()
    wrong = [
        altered(link, 0, other.id),
        altered(link, 1, "approve"),
        altered(link, 2, "eve"),
        altered(link, 3, 2**60),
        altered(link, 6, "again"),
        link[:-1],
        link + "A",
        link.replace("vbl1", "vbl2"),
        "vbl1..",
        "vbl1.é.é",
        "",
    ]
    for text in wrong:
        with pytest.raises(InvalidInput) as refused:
            file.client.decide(text)
        assert refused.value.code == "bad_link", text
    assert file.client.cursor() == before


def test_a_link_holds_for_the_key_that_signed_it(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    link = file.client.link(file.asks(), "approve", by="ada")
    monkeypatch.setenv("VBL_LINK_KEY", "another key, long enough")
    with pytest.raises(InvalidInput):
        file.client.decide(link)
    monkeypatch.setenv("VBL_LINK_KEY", "short")
    with pytest.raises(UsageError) as refused:
        file.client.decide(link)
    assert refused.value.code == "weak_key"


def test_a_link_is_about_one_file(file: File, tmp_path: Path) -> None:
    link = file.client.link(file.asks(), "approve", by="ada")
    other = File(tmp_path / "other.db")
    try:
        with pytest.raises(NotFound):
            other.client.decide(link)
        same = other.asks()
        assert same.id == "g_000000000001"
        with pytest.raises(InvalidInput, match="another gate"):
            other.client.decide(link)
    finally:
        other.close()


def test_the_key_is_made_once_for_the_user_alone_and_is_not_in_the_file(file: File, tmp_path: Path) -> None:
    file.client.link(file.asks(), "approve", by="ada")
    place = tmp_path / "data" / "vbl" / "link.key"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [path.name for path in place.parent.iterdir()] == ["link.key"]
    made = place.read_bytes().strip()
    assert links.key() == made
    found = "any(sys.argv[2].encode() in path.read_bytes() for path in pathlib.Path(sys.argv[1]).glob('file.db*'))"
    look = f"import pathlib, sys; sys.exit({found})"
    assert (
        subprocess.run([sys.executable, "-c", look, str(tmp_path), made.decode()], timeout=60, check=False).returncode
        == 0
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", look, str(tmp_path), "APPROVAL_REQUESTED"], timeout=60, check=False
        ).returncode
        == 1
    )
    place.chmod(0o644)
    with pytest.raises(StorageError, match="can be read by others"):
        links.key()


def test_two_who_make_the_key_at_once_agree() -> None:
    start = threading.Barrier(8)
    found: list[bytes] = []

    def make() -> None:
        start.wait()
        found.append(links.key())

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"valid_for": 0}, {"valid_for": -1}, {"valid_for": math.nan}, {"valid_for": "a day"}, {"valid_for": True},
        {"decision": "maybe"},
    ],
)  # fmt: skip
def test_a_link_that_makes_no_sense_is_refused(file: File, given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        file.client.link(file.asks(), **({"decision": "approve", "by": "ada"} | given))


def test_a_gate_that_is_decided_gets_no_link(file: File) -> None:
    gate = file.client.approve(file.asks(), by="ada")
    with pytest.raises(Conflict, match="was granted by ada"):
        file.client.link(gate, "approve")


# Signals --------------------------------------------------------------------------------------------------------------


def test_a_signal_fits_what_the_run_waits_for(file: File) -> None:
    run_id = file.run(SignalAwaited(wait=1, name="pay", json_schema=Amount.model_json_schema()))
    before = file.client.cursor()
    with pytest.raises(InvalidInput, match="amount"):
        file.client.signal(run_id, "pay", {"amount": "much"})
    assert file.client.cursor() == before
    file.client.signal(run_id, "pay", Amount(amount=3), key="k", by="bank")
    event = file.client.run(run_id).events()[-1]
    assert (event.type, event.payload["data"]["amount"], event.payload["actor"]) == ("SIGNAL_RECEIVED", 3, "bank")


def test_a_repeated_signal_changes_nothing(file: File) -> None:
    run_id = file.run()
    file.client.signal(run_id, "pay", 1, key="k")
    before = file.client.cursor()
    file.client.signal(run_id, "pay", 1, key="k")
    with pytest.raises(KeyTaken):
        file.client.signal(run_id, "pay", 2, key="k")
    assert file.client.cursor() == before
    file.client.run(run_id).cancel()


def test_a_finished_run_takes_no_signal(file: File) -> None:
    run_id = file.run(RunBlocked(reason="diverged", version="v", message="m", unblock="u"))
    file.client.run(run_id).cancel()
    with pytest.raises(Conflict) as refused:
        file.client.signal(run_id, "pay")
    assert (refused.value.code, refused.value.exit_code) == ("run_finished", 4)
    with pytest.raises(NotFound):
        file.client.signal("r_nothing", "pay")


@pytest.mark.parametrize(
    "given", [{"name": ""}, {"name": "a", "data": math.nan}, {"name": "\ud800"}, {"name": "a", "data": "\ud800"}],
    ids=ascii,
)  # fmt: skip
def test_a_signal_that_cannot_be_recorded_is_refused(file: File, given: dict[str, Any]) -> None:
    run_id = file.run()
    before = file.client.cursor()
    with pytest.raises(vbl.VblError):
        file.client.signal(run_id, **given)
    assert file.client.cursor() == before


def test_only_the_block_that_stands_is_asked_about(file: File) -> None:
    """The history is looked at from its end: what blocked a run before, and others that are blocked, ask nobody."""
    unknown = RunBlocked(reason="unknown_outcome", version="v", message="did it?", unblock="say", step="pay")
    diverged = RunBlocked(reason="diverged", version="v", message="other code", unblock="bring it back")
    asked = [file.run(unknown), file.run(diverged, unknown)]
    file.append(asked[0], SignalReceived(name="x", data=None))
    for events in ([diverged], [unknown, diverged], [unknown, RunCancelled(forced=True)]):
        file.run(*events)
    assert [one.run_id for one in file.client.questions()] == asked
    assert [one.run_id for one in file.client.questions(limit=1)] == asked[:1]
    assert [file.client.waiting_for_people(limit) for limit in (1, 2, 100)] == [1, 2, 2]


def test_however_many_are_blocked_who_asks_is_counted(file: File) -> None:
    for _ in range(3):
        file.run(RunBlocked(reason="diverged", version="v", message="other code", unblock="bring it back"))
    file.run(RunBlocked(reason="unknown_outcome", version="v", message="did it?", unblock="say", step="pay"))
    assert len(file.client.questions(limit=2)) == file.client.waiting_for_people(2) == 1
