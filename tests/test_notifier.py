"""Questions are told: to a real webhook on loopback and by real commands, durably, and with no secret in the file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

import vbl
from vbl import notifier
from vbl.testing import Trial

ROOT = Path(__file__).parent.parent
SECRET = "w3bh00k-s3cr3t"
DEADLINE_S = 30.0


@dataclass(frozen=True)
class Seen:
    """One request: its headers, in lower case, and its body as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.body)


class Hook:
    """A webhook: answers with the statuses that it was given, then with 200; or holds its answers until released."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.statuses: deque[tuple[int, dict[str, str]]] = deque()
        self.open = threading.Event()
        self.open.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.seen.append(Seen(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                hook.open.wait(DEADLINE_S)
                status, headers = hook.statuses.popleft() if hook.statuses else (200, {})
                try:
                    self.send_response(status)
                    for name, value in {"content-length": "0", **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                except BrokenPipeError:
                    return

            def log_message(self, format: str, *args: Any) -> None:
                """The test says what went wrong."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._http = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._http.server_address[1]}"

    def fail(self, *statuses: int, **headers: str) -> None:
        self.statuses += [
            (status, {name.replace("_", "-"): value for name, value in headers.items()}) for status in statuses
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._http.shutdown()
        self._http.server_close()


@vbl.step(effect="write", idempotent=True)
def send_letter(to: str, text: str) -> str:
    return f"sent to {to}"


@vbl.workflow
async def asks_to_send(to: str) -> str:
    gate = await vbl.approve(send_letter.call(to, "Dear all"), show={"draft": "Dear all"}, edit=True)
    return await gate.run() if gate.approved else "not sent"


@vbl.workflow
async def sends_at_once(to: str) -> str:
    return await send_letter.aio(to, "Dear all")


@vbl.workflow
async def asks_for_long() -> bool:
    gate = await vbl.approve("long", to="ada", timeout=3_000, remind=[600, 1_200], escalate=[(1_800, "group:ops")])
    return gate.approved


@vbl.step(effect="write")
def pay() -> str:
    return "paid"


@vbl.workflow
async def pays_at_once() -> str:
    return await pay.aio()


TOLD: list[tuple[str | None, str, str]] = []


@vbl.step
def note_question(gate: str | None, run: str, event: str) -> str:
    message = notifier.message(gate, run, event)
    assert message is not None
    TOLD.append((gate, run, event))
    return message["text"]


@vbl.workflow
async def tells_and_asks(gate: str | None, run: str, event: str) -> bool:
    """A way of telling that itself asks."""
    text = await note_question.aio(gate, run, event)
    return (await vbl.approve("may I have told you", show=text)).approved


@vbl.workflow
async def tells_too_little(gate: str) -> None:
    return


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    for name in (notifier.URL, notifier.SECRET, notifier.COMMAND):
        monkeypatch.delenv(name, raising=False)
    with Hook() as made:
        monkeypatch.setenv(notifier.URL, f"http://{made.address}/hook")
        yield made


@pytest.fixture
def trial(tmp_path: Path, hook: Hook) -> Iterator[Trial]:
    trial = Trial(tmp_path / "told.db")
    trial.up(notify=notifier.notify)
    yield trial
    hook.open.set()
    trial.close()


def telling(trial: vbl.Client) -> list[vbl.Run]:
    """The runs of the notifier, oldest first."""
    return trial.runs(workflow="vbl.notify")[::-1]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.01)


# The webhook --------------------------------------------------------------------------------------------------------


def test_a_question_is_told_to_the_webhook(trial: Trial, hook: Hook) -> None:
    run = trial.start(asks_to_send, "ada")
    trial.settle()
    [seen] = hook.seen
    [gate] = run.state().gates
    message = seen.message
    assert message["event"] == "APPROVAL_REQUESTED"
    assert (message["gate"], message["run"], message["workflow"]) == (gate, run.id, "asks_to_send")
    assert (message["name"], message["show"]) == ("send_letter", {"draft": "Dear all"})
    assert message["call"]["step"] == "send_letter"
    assert message["call"]["input"] == {"to": "ada", "text": "Dear all"}
    assert (message["to"], message["need"], message["expires_at"]) == ([], 1, None)
    assert message["asked_at"].startswith("2026-01-01T00:00:0")
    assert message["commands"][0].startswith(f"vbl approve {gate} --db ")
    assert message["commands"][1].startswith(f"vbl deny {gate} --db ")
    [told] = telling(trial)
    assert told.result() == {"webhook": "told 127.0.0.1"}
    assert seen.headers["idempotency-key"] == f"{told.id}:post"
    assert "vbl-signature" not in seen.headers


def test_the_body_is_signed_where_there_is_a_secret(trial: Trial, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notifier.SECRET, SECRET)
    trial.start(asks_to_send, "ada")
    trial.settle()
    [seen] = hook.seen
    header = seen.headers["vbl-signature"]
    at = int(header.partition(",")[0].removeprefix("t="))
    assert notifier.verified(seen.body, header, SECRET)
    assert not notifier.verified(seen.body + b" ", header, SECRET)
    assert not notifier.verified(seen.body, header, SECRET + "x")
    assert not notifier.verified(seen.body, header.replace(f"t={at}", f"t={at + 1}"), SECRET)
    assert not notifier.verified(seen.body, header, SECRET, now=at + 301)
    assert notifier.verified(seen.body, header, SECRET, now=at + 299)
    for broken in ("", "t=,v1=", "v1=00", "t=x,v1=00", header.partition(",")[0], header + "é"):
        assert not notifier.verified(seen.body, broken, SECRET)


def test_reminders_and_escalations_are_told_too(trial: Trial, hook: Hook) -> None:
    run = trial.start(asks_for_long)
    trial.advance(2_000)
    assert [seen.message["event"] for seen in hook.seen] == [
        "APPROVAL_REQUESTED",
        "APPROVAL_REMINDED",
        "APPROVAL_REMINDED",
        "APPROVAL_ESCALATED",
    ]
    assert [seen.message["to"] for seen in hook.seen] == [["ada"]] * 3 + [["ada", "group:ops"]]
    assert {seen.message["expires_at"] for seen in hook.seen} == {"2026-01-01T00:50:00.000000Z"}
    assert len({seen.headers["idempotency-key"] for seen in hook.seen}) == 4
    assert run.result() is False
    assert len(hook.seen) == 4


def test_a_webhook_that_fails_is_tried_again_across_restarts(trial: Trial, hook: Hook) -> None:
    hook.fail(500, 503, 429)
    trial.start(asks_to_send, "ada")
    for number in (1, 2, 3):
        trial.settle()
        assert len(hook.seen) == number
        [told] = telling(trial)
        assert told.status == "retrying"
        trial.kill()
        trial.up(notify=notifier.notify)
        trial.settle()
        assert len(hook.seen) == number  # the backoff goes on where it was
        assert trial.skip()
    trial.settle()
    [told] = telling(trial)
    assert told.status == "completed"
    assert len(hook.seen) == 4
    assert {seen.headers["idempotency-key"] for seen in hook.seen} == {f"{told.id}:post"}


def test_a_webhook_says_when_to_come_again(trial: Trial, hook: Hook) -> None:
    hook.fail(429, retry_after="900")
    trial.start(asks_to_send, "ada")
    trial.advance(899)
    assert len(hook.seen) == 1
    trial.advance(2)
    assert len(hook.seen) == 2


def test_it_is_tried_for_hours_and_then_fails_to_be_retried(trial: Trial, hook: Hook) -> None:
    hook.fail(*[500] * 12)
    trial.start(asks_to_send, "ada")
    trial.advance(4 * 3600 / 2)
    assert telling(trial)[0].status == "retrying"
    trial.advance(24 * 3600)
    [told] = telling(trial)
    assert told.status == "failed"
    assert len(hook.seen) == 12
    told.retry()
    trial.settle()
    assert told.status == "completed"
    assert len(hook.seen) == 13


def test_a_death_between_the_request_and_its_answer_tells_again_with_the_same_key(trial: Trial, hook: Hook) -> None:
    hook.open.clear()
    trial.start(asks_to_send, "ada")
    trial.until(lambda: hook.seen)
    trial.kill()
    hook.open.set()
    trial.up(notify=notifier.notify)
    trial.settle()
    [told] = telling(trial)
    assert told.result() == {"webhook": "told 127.0.0.1"}
    first, second = hook.seen
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.message == second.message
    assert [event.type for event in told.events()].count("STEP_INTERRUPTED") == 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_run_that_tells_is_born_with_the_question(tmp_path: Path, hook: Hook, moment: str) -> None:
    """Whichever commit the supervisor dies at, there are as many tellings as questions."""
    commit = 0
    while True:
        commit += 1
        trial = Trial(tmp_path / f"{moment}{commit}.db")
        trial.up(notify=notifier.notify, **{f"die_{moment}": commit})
        run = trial.start(asks_for_long)
        trial.advance(2_000)
        died = trial.died
        asked = [event for event in run.events() if event.type.startswith("APPROVAL_")]
        inputs = [told.facts(1)[0].payload["input"] for told in telling(trial)]
        assert inputs == [{"gate": e.payload["gate"], "run": run.id, "event": e.type} for e in asked]
        trial.kill()
        trial.up(notify=notifier.notify)
        assert run.result() is False
        assert len(telling(trial)) == 4
        trial.close()
        if not died:
            break
    assert commit > 8


def test_what_somebody_has_decided_is_not_told_any_more(trial: Trial, hook: Hook) -> None:
    hook.fail(500)
    run = trial.start(asks_to_send, "ada")
    trial.settle()
    [gate] = run.state().gates
    trial.approve(gate, by="ada")
    trial.settle()
    assert run.result() == "sent to ada"
    [told] = telling(trial)
    assert told.result() == {"webhook": "nobody has to answer any more"}
    assert len(hook.seen) == 1


def test_a_webhook_that_hangs_holds_up_nobody_else(trial: Trial, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "_ANSWER_S", 60.0)
    hook.open.clear()
    trial.start_many(asks_to_send, [{"to": f"person {n}"} for n in range(80)])  # more than there are threads for steps
    trial.until(lambda: len(hook.seen) == 80)
    other = trial.start(sends_at_once, "ada")
    trial.until(lambda: other.refresh().status.finished)
    assert other.last_status == "completed"
    hook.open.set()
    trial.settle()
    assert {told.status.value for told in telling(trial)} == {"completed"}


def test_a_refusal_for_good_is_not_repeated(trial: Trial, hook: Hook) -> None:
    hook.fail(301, location="http://127.0.0.1:9/elsewhere")
    trial.start(asks_to_send, "ada")
    trial.settle()
    [told] = telling(trial)
    assert told.status == "failed"
    assert len(hook.seen) == 1
    error = told.state().error
    assert error is not None
    assert "127.0.0.1 answered 301" in error["message"]


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens, and nobody can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def test_no_secret_reaches_the_file(tmp_path: Path, hook: Hook, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user, password, token, query = "us3r-n4me", "p4ssw0rd-x", "t0k3n-in-the-path", "qu3ry-t0k3n"
    where = f"{user}:{password}@{{}}/hook/{token}?key={query}"
    monkeypatch.setenv(notifier.SECRET, SECRET)
    path = tmp_path / "secret.db"
    with Trial(path) as trial:
        trial.down()
        for address, statuses in ((hook.address, [404]), (hook.address, []), (nobody, [])):
            monkeypatch.setenv(notifier.URL, "http://" + where.format(address))
            hook.fail(*statuses)
            trial.up(notify=notifier.notify)
            trial.start(asks_to_send, "ada")
            trial.settle()
            trial.down()
        assert [run.status.value for run in telling(trial)] == ["failed", "completed", "retrying"]
        # by another process, while the WAL is there
        stored = subprocess.run(["cat", *tmp_path.iterdir()], capture_output=True, check=True).stdout
        assert (tmp_path / "secret.db-wal").exists()
        events = json.dumps([event.payload.model_dump(mode="json") for event in trial.events()])
    assert hook.seen[-1].path == f"/hook/{token}?key={query}"
    assert hook.seen[-1].headers["authorization"].startswith("Basic ")
    assert b"STEP_FAILED" in stored
    for secret in (user, password, token, query, SECRET):
        assert secret.encode() not in stored
        assert secret not in events


@pytest.mark.parametrize(
    "url", ["hooks.example.org", "ftp://example.org", "http://", "http://exa mple.org", "http://["]
)
def test_what_is_no_address_is_refused_without_repeating_it(
    trial: Trial, hook: Hook, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(notifier.URL, url)
    with pytest.raises(vbl.UsageError, match="no address") as refused:
        notifier.webhook()
    assert url not in refused.value.message
    trial.start(asks_to_send, "ada")
    trial.settle()
    assert telling(trial)[0].status == "failed"


def test_a_run_that_nobody_knows_the_outcome_of_is_told(tmp_path: Path, hook: Hook) -> None:
    commit = 0
    while not hook.seen:
        commit += 1
        assert commit < 10, "no death left an unknown outcome"
        with Trial(tmp_path / f"{commit}.db") as trial:
            trial.down()
            trial.up(die_before=commit, notify=notifier.notify)
            run = trial.start(pays_at_once)
            trial.settle()
            if trial.died:
                trial.up(notify=notifier.notify)
                trial.settle()
            blocked = run.status == "blocked"
    assert blocked
    [seen] = hook.seen
    assert (seen.message["event"], seen.message["gate"], seen.message["run"]) == ("RUN_BLOCKED", None, run.id)
    assert seen.message["step"] == "pay"
    assert [command.split(" --db ")[0] for command in seen.message["commands"]] == [
        f"vbl resolve {run.id} --happened JSON",
        f"vbl resolve {run.id} --did-not",
        f"vbl resolve {run.id} --fail",
    ]


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def said(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command writes the arguments that it gets; there is no webhook."""
    monkeypatch.delenv(notifier.URL)
    monkeypatch.setenv(notifier.SECRET, SECRET)
    script, said = tmp_path / "tell it.py", tmp_path / "said.json"
    script.write_text(
        f"import json, os, sys\njson.dump([sys.argv[1:], sorted(os.environ)], open({str(said)!r}, 'w'))\n", "utf-8"
    )
    monkeypatch.setenv(notifier.COMMAND, f"'{sys.executable}' '{script}'")
    return said


def test_a_question_is_told_by_the_command(trial: Trial, said: Path) -> None:
    run = trial.start(asks_to_send, "ada; rm -rf $HOME `true` \x1b[31m")
    trial.settle()
    [gate] = run.state().gates
    (title, text), environment = json.loads(said.read_text("utf-8"))
    assert title == "asks_to_send asks"
    lines = text.splitlines()
    assert lines[0].startswith("Asked of anybody: send_letter(to=")
    assert "ada; rm -rf $HOME `true`" in lines[0]
    assert "\x1b" not in text
    assert lines[1].startswith(f"vbl approve {gate}")
    assert notifier.SECRET not in environment
    [told] = telling(trial)
    assert told.result() == {"command": f"told by {sys.executable}"}


def test_placeholders_are_filled_where_they_stand() -> None:
    tell = {notifier.COMMAND: "tell --title={title} -- {text}"}
    assert notifier.command("A {text}", "it's $HOME", tell) == ["tell", "--title=A {text}", "--", "it's $HOME"]
    assert notifier.command("A", "b", {notifier.COMMAND: "tell 'with a space'"}) == ["tell", "with a space", "A", "b"]
    assert notifier.command("A", "b", {notifier.COMMAND: " "}) is None


@pytest.mark.parametrize(
    "template",
    ["osascript -e 'display notification \"{text}\"'", "sh -c 'echo {text}'", "tell 'x", "tell {title}{text}"],
)
def test_a_command_that_would_take_words_for_code_is_refused(template: str) -> None:
    with pytest.raises(vbl.UsageError):
        notifier.command("A", "b", {notifier.COMMAND: template})


def test_one_way_that_fails_does_not_hide_the_other(
    trial: Trial, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(notifier.COMMAND, str(tmp_path / "no-such-command"))
    trial.start(asks_to_send, "ada")
    trial.settle()
    assert len(hook.seen) == 1
    [told] = telling(trial)
    assert told.status == "failed"
    error = told.state().error
    assert error is not None
    assert "no-such-command cannot be run: No such file" in error["message"]
    monkeypatch.setenv(notifier.COMMAND, "true")
    told.retry()
    trial.settle()
    assert told.result() == {"webhook": "told 127.0.0.1", "command": "told by true"}
    assert len(hook.seen) == 1


def test_with_nobody_to_tell_the_telling_fails_and_the_question_stands(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(notifier.URL)
    run = trial.start(asks_to_send, "ada")
    trial.settle()
    [told] = telling(trial)
    assert told.status == "failed"
    assert run.status == "waiting_for_approval"


# A way of one's own -------------------------------------------------------------------------------------------------


def test_a_workflow_of_ones_own_tells_and_its_own_gates_are_not_told(tmp_path: Path) -> None:
    TOLD.clear()
    with Trial(tmp_path / "own.db") as trial:
        trial.down()
        trial.up(notify=tells_and_asks)
        run = trial.start(asks_to_send, "ada")
        trial.settle()
        [gate] = run.state().gates
        assert [(gate, run.id, "APPROVAL_REQUESTED")] == TOLD
        [told] = trial.runs(workflow="tells_and_asks")
        assert told.status == "waiting_for_approval"
        assert told.state().tags == [f"about={gate}"]


def test_what_cannot_tell_is_refused_at_the_door(tmp_path: Path) -> None:
    path = tmp_path / "refused.db"
    with pytest.raises(vbl.UsageError, match="no workflow of that name"):
        vbl.open(path, notify="never_heard_of")
    with pytest.raises(vbl.InvalidInput, match="tells_too_little"):
        vbl.open(path, notify=tells_too_little)
    assert not path.exists()
    with vbl.open(path, notify="vbl.notify") as runtime:
        assert runtime.supervising is not None
        assert runtime.supervising.notify == "vbl.notify"


# The terminal -------------------------------------------------------------------------------------------------------

FLOW = """
import vbl

@vbl.workflow
async def asks_once() -> bool:
    return (await vbl.approve("once")).approved
"""


def vbl_up(folder: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    (folder / "flow.py").write_text(FLOW, "utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VBL_")}
    return subprocess.Popen(
        [sys.executable, "-m", "vbl", "up", "flow.py", *options],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), "VBL_DB": str(folder / "up.db"), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_vbl_up_tells_and_a_killed_one_has_told_at_least_once(tmp_path: Path, hook: Hook) -> None:
    hook.open.clear()
    url = f"http://{hook.address}/hook"
    with vbl_up(tmp_path, "--notify", url) as first, vbl.connect(tmp_path / "up.db") as client:
        run = client.start("asks_once")
        wait_for(lambda: hook.seen)
        first.send_signal(signal.SIGKILL)
        first.wait(DEADLINE_S)
        hook.open.set()
        with vbl_up(tmp_path, "--notify", VBL_NOTIFY_URL=url) as second:
            wait_for(lambda: [told for told in telling(client) if told.status == "completed"])
            second.terminate()
            assert second.wait(DEADLINE_S) == 0
        [gate] = run.state().gates
    assert len(hook.seen) == 2
    assert len({seen.headers["idempotency-key"] for seen in hook.seen}) == 1
    assert hook.seen[1].message["commands"][0] == f"vbl approve {gate}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "because"),
    [((), "no URL is given"), (("nowhere",), "is no address"), (("ftp://nowhere",), "is no address of a webhook")],
)
def test_vbl_up_refuses_to_tell_nobody(tmp_path: Path, url: tuple[str, ...], because: str) -> None:
    with vbl_up(tmp_path, "--notify", *url) as up:
        said, _ = up.communicate(timeout=DEADLINE_S)
        assert up.returncode == 2, said
    assert because in said
