"""The briefing workflow on a real file: with a model on loopback, with a failing one, and with none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vbl
from tests.model_server import OVERLOADED, Answer, ModelServer, openai_error, rate_limited
from vbl.agents import extract
from vbl.agents.briefing import PATIENT, Briefing, Summary, Talk, ask, briefing, summarise
from vbl.agents.models import MODEL_VARIABLES, Message
from vbl.agents.prompts import MAX_CHARACTERS, QUESTIONS

KEY = "sk-planted-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*MODEL_VARIABLES, "VBL_MODEL", "VBL_MODEL_KEY", "VBL_DEMO_DIARY", "VBL_DEMO_PACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as running:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.md").write_text("# Pump\n\nThe pump failed on 3 May. It must be repaired by 9 May. Nobody was hurt.\n")
    (folder / "b.txt").write_text("Letter\n\nWe may deliver the pump late. The price is 900 euros.\n")
    (folder / "c.bin").write_bytes(b"\0\1\2")
    return folder


def write_one(tmp_path: Path, folder: Path) -> tuple[Briefing, str, vbl.Run]:
    with vbl.open(tmp_path / "runs.db") as runtime:
        run = runtime.start(briefing, str(folder), str(tmp_path / "briefing.md"))
        result = run.result(timeout=60)
        return result, (tmp_path / "briefing.md").read_text("utf-8"), run


def bytes_of(tmp_path: Path) -> bytes:
    """Every byte that the run left on the disk, write-ahead log and all."""
    return b"".join(path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file())


def test_without_a_model_the_briefing_quotes_and_says_so(tmp_path: Path) -> None:
    result, text, _ = write_one(tmp_path, extract.SHIPPED)
    assert result.by == ["extraction"]
    assert len(result.documents) == 8
    assert "No language model was used" in text
    everything = "".join(" ".join(extract.read(extract.SHIPPED / name).text.split()) for name in result.documents)
    plain = re.sub(r"[*`|]", "", everything)
    quotes = re.findall(r"^- (?:“(.*)” \(`.*`\)|(.*))$", text, re.MULTILINE)
    assert len(quotes) > 40
    for quoted, point in quotes:
        assert (quoted or point) in plain
    for question in QUESTIONS:
        assert f"## {question.heading}" in text


def test_what_could_not_be_read_stands_in_the_briefing(tmp_path: Path, folder: Path) -> None:
    result, text, _ = write_one(tmp_path, folder)
    assert result.documents == ["a.md", "b.txt"]
    assert "## Not read\n\n- c.bin: it is binary, not text" in text


def test_model_summarises_and_the_conversation_grows(tmp_path: Path, folder: Path, server: ModelServer) -> None:
    result, text, run = write_one(tmp_path, folder)
    assert result.by == ["gpt-5-mini"]
    assert "Written by a language model (gpt-5-mini)" in text
    talks = [len(seen.body["messages"]) for seen in server.seen[2:]]
    assert talks == [4, 6, 8], "each question comes with all that was said before"
    with vbl.connect(tmp_path / "runs.db") as client:
        state = client.run(run.id).state()
    assert [message["role"] for message in state.variables["messages"]] == ["user", "assistant"] * 3
    assert [summary["name"] for summary in state.variables["summaries"]] == ["a.md", "b.txt"]
    assert sorted(call["step"] for call in state.usage) == ["ask", "ask#2", "ask#3", "summarise[0]", "summarise[1]"]


@pytest.mark.slow
def test_rate_limit_and_overload_are_waited_out_in_the_history(
    tmp_path: Path, folder: Path, server: ModelServer
) -> None:
    (folder / "b.txt").unlink()
    server.script(rate_limited("1"), OVERLOADED)
    _, _, run = write_one(tmp_path, folder)
    with vbl.connect(tmp_path / "runs.db") as client:
        events = client.run(run.id).events()
    failures = [event.payload["error"].kind for event in events if event.type == "STEP_FAILED"]
    assert failures == ["rate_limited", "transient"]
    planned = next(event for event in events if event.type == "RETRY_SCHEDULED")
    assert planned.payload["at"] - planned.at >= 1_000_000, "no earlier than the server asked for"


def test_refused_key_fails_at_once_and_is_nowhere(tmp_path: Path, folder: Path, server: ModelServer) -> None:
    refused = Answer(401, openai_error(f"Incorrect API key provided: {KEY}", "invalid_api_key"))
    server.script(*[refused] * 4)
    with pytest.raises(vbl.RunFailed) as caught:
        write_one(tmp_path, folder)
    assert "401" in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(server.seen) <= 2, "a refused key is not tried again"
    left = bytes_of(tmp_path)
    assert b"invalid_api_key" in left
    assert KEY.encode() not in left
    assert KEY[3:].encode() not in left


def test_key_is_nowhere_after_a_good_run(tmp_path: Path, folder: Path, server: ModelServer) -> None:
    server.script(Answer(200, {"choices": [{"message": {"content": f"- I was sent {KEY}"}, "finish_reason": "stop"}]}))
    _, text, _ = write_one(tmp_path, folder)
    assert "I was sent [key]" in text
    assert all(seen.headers["authorization"] == f"Bearer {KEY}" for seen in server.seen)
    assert KEY.encode() not in bytes_of(tmp_path)


def test_steps_are_plain_functions_outside_a_run(server: ModelServer) -> None:
    document = extract.Document(name="a", title="A", words=2, text="Two words.")
    summary = asyncio.run(summarise(document))
    assert isinstance(summary, Summary)
    talk = Talk(
        summaries=[summary], messages=[Message(role="user", content="?"), Message(role="assistant", content="!")]
    )
    asyncio.run(ask(talk, QUESTIONS[1]))
    assert [message["role"] for message in server.seen[1].body["messages"]] == [
        "system",
        *["user", "assistant"] * 2,
        "user",
    ]
    assert server.seen[1].body["messages"][-1]["content"] == QUESTIONS[1].wording


def test_long_document_is_cut_for_a_model_and_that_is_said(server: ModelServer) -> None:
    document = extract.Document(name="a", title="A", words=2, text="word " * MAX_CHARACTERS)
    asyncio.run(summarise(document))
    asked = server.seen[0].body["messages"][-1]["content"]
    assert len(asked) < MAX_CHARACTERS + 500
    assert f"Only the first {MAX_CHARACTERS} characters" in asked


def test_policy_waits_for_what_passes_and_not_for_what_does_not() -> None:
    assert {str(kind) for kind in PATIENT.retry_on} == {"transient", "rate_limited", "timeout"}  # type: ignore[union-attr]
