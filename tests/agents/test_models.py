"""Model calls against a real server on loopback: what is sent, what is read, and what each failure becomes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import Iterator

import httpx
import pytest

from tests.model_server import (
    BROKEN,
    OVERLOADED,
    RATE_LIMITED,
    SPENT,
    Answer,
    ModelServer,
    anthropic_error,
    openai_error,
    rate_limited,
)
from vbl.agents import models
from vbl.agents.models import Message, Model, ModelError, from_environment
from vbl.errors import UsageError
from vbl.history.retry import Kind, kind_of, retry_after_of

KEY = "sk-planted-0123456789abcdef"
HELLO = [Message(role="user", content="Say hello.")]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def openai(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return Model("openai", "gpt-test", server.url, "OPENAI_API_KEY")


@pytest.fixture
def anthropic(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    return Model("anthropic", "claude-test", server.url, "ANTHROPIC_API_KEY")


def ask(model: Model, messages: list[Message] = HELLO, system: str = "") -> models.Reply:
    return asyncio.run(model.reply(messages, system=system))


def failure(model: Model) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(model)
    return caught.value


def test_openai_is_asked_in_its_own_words(server: ModelServer, openai: Model) -> None:
    reply = ask(openai, system="Be brief.")
    (seen,) = server.seen
    assert (seen.path, seen.headers["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert seen.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say hello."},
    ]
    assert seen.body["model"] == "gpt-test"
    assert "max_completion_tokens" in seen.body
    assert "Say hello." in reply.text
    assert reply.input_tokens is not None
    assert reply.output_tokens is not None


def test_anthropic_is_asked_in_its_own_words(server: ModelServer, anthropic: Model) -> None:
    reply = ask(anthropic, system="Be brief.")
    (seen,) = server.seen
    assert (seen.path, seen.headers["x-api-key"]) == ("/v1/messages", KEY)
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in seen.headers
    assert (seen.body["system"], seen.body["messages"]) == ("Be brief.", [{"role": "user", "content": "Say hello."}])
    assert "Say hello." in reply.text
    assert reply.model == "claude-test"


def test_compatible_server_needs_neither_key_nor_name(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = from_environment({"VBL_MODEL_URL": server.url, "OPENAI_API_KEY": KEY})
    assert model is not None
    assert ask(model).model == "loopback-1"
    assert [seen.path for seen in server.seen] == ["/v1/models", "/v1/chat/completions"]
    assert not any("authorization" in seen.headers for seen in server.seen), "a key of OpenAI's went elsewhere"


def test_compatible_server_gets_its_own_key(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VBL_MODEL_KEY", KEY)
    model = from_environment({"VBL_MODEL_URL": server.url, "VBL_MODEL": "small", "VBL_MODEL_KEY": KEY})
    assert model is not None
    ask(model)
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.seen[0].body["model"] == "small"
    assert "max_tokens" in server.seen[0].body


@pytest.mark.parametrize(
    ("environ", "provider", "name", "url"),
    [
        ({"OPENAI_API_KEY": "k"}, "openai", "gpt-5-mini", "https://api.openai.com/v1"),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic", "claude-haiku-4-5", "https://api.anthropic.com/v1"),
        ({"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}, "openai", "gpt-5-mini", "https://api.openai.com/v1"),
        (
            {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k", "VBL_MODEL": "claude-x"},
            "anthropic",
            "claude-x",
            "https://api.anthropic.com/v1",
        ),
        ({"OPENAI_API_KEY": "k", "VBL_MODEL_URL": "http://h:1"}, "compatible", "", "http://h:1/v1"),
        ({"VBL_MODEL_URL": "http://h/v1/chat/completions"}, "compatible", "", "http://h/v1"),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://h"}, "anthropic", "claude-haiku-4-5", "http://h/v1"),
    ],
)
def test_environment_chooses_the_model(environ: dict[str, str], provider: str, name: str, url: str) -> None:
    model = from_environment(environ)
    assert model is not None
    assert (model.provider, model.name, model.url) == (provider, name, url)


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": "  "}, {"VBL_MODEL": "gpt"}, {"VBL_MODEL_URL": ""}])
def test_without_key_or_address_there_is_no_model(environ: dict[str, str]) -> None:
    assert from_environment(environ) is None


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://h/v1", "http://", "http://h:port/v1", "http://me:pw@h/v1"])
def test_senseless_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_environment({"VBL_MODEL_URL": url})
    assert caught.value.hint
    assert "pw" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    ("answer", "kind", "retry_after"),
    [
        (RATE_LIMITED, Kind.RATE_LIMITED, None),
        (rate_limited("7"), Kind.RATE_LIMITED, 7.0),
        (Answer(429, RATE_LIMITED.body, {"retry-after-ms": "250"}), Kind.RATE_LIMITED, 0.25),
        (OVERLOADED, Kind.TRANSIENT, None),
        (BROKEN, Kind.TRANSIENT, None),
        (Answer(503, openai_error("Loading model"), {"retry-after": "2"}), Kind.TRANSIENT, 2.0),
        (Answer(500, openai_error("no"), {"x-should-retry": "false"}), Kind.PERMANENT, None),
        (SPENT, Kind.PERMANENT, None),
        (Answer(429, anthropic_error("x", "enforced_spend_limit_reached")), Kind.PERMANENT, None),
        (Answer(401, openai_error("Incorrect API key provided")), Kind.PERMANENT, None),
        (Answer(400, openai_error("too long", "context_length_exceeded")), Kind.PERMANENT, None),
        (Answer(404, openai_error("no such model", "model_not_found")), Kind.PERMANENT, None),
        (Answer(301, b"", {"location": "https://elsewhere"}), Kind.PERMANENT, None),
        (Answer(200, b'{"choices": [{"mess'), Kind.TRANSIENT, None),
        (Answer(200, b"<html>Welcome</html>"), Kind.TRANSIENT, None),
        (Answer(200, None, cut=20), Kind.TRANSIENT, None),
        (Answer(200, [1, 2]), Kind.PERMANENT, None),
        (Answer(200, {"hello": "world"}), Kind.PERMANENT, None),
        (Answer(200, {"choices": []}), Kind.PERMANENT, None),
        (Answer(200, {"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}), Kind.TRANSIENT, None),
        (
            Answer(200, {"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}]}),
            Kind.PERMANENT,
            None,
        ),
        (Answer(200, {"error": {"code": 502, "message": "upstream"}}), Kind.TRANSIENT, None),
        (Answer(200, {"error": {"code": 402, "message": "no credit"}}), Kind.PERMANENT, None),
    ],
)
def test_failure_has_the_kind_that_a_retry_policy_knows(
    server: ModelServer, openai: Model, answer: Answer, kind: Kind, retry_after: float | None
) -> None:
    server.script(answer)
    error = failure(openai)
    assert (kind_of(error), retry_after_of(error)) == (kind, retry_after)
    assert ask(openai).text, "the next call is none the worse for it"


def test_slow_answer_is_a_timeout(server: ModelServer, openai: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "TOTAL_S", 0.2)
    server.script(Answer(hold=True))
    assert kind_of(failure(openai)) is Kind.TIMEOUT


def test_server_that_is_not_there_is_transient_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer() as gone:
        url = gone.url
    error = failure(Model("compatible", "m", url))
    assert kind_of(error) is Kind.TRANSIENT
    assert url.split("/")[2] in error.hint


def test_endless_answer_is_cut_off(server: ModelServer, openai: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_REPLY_BYTES", 1000)
    server.script(Answer(200, b"x" * 5000))
    assert kind_of(failure(openai)) is Kind.PERMANENT


@pytest.mark.parametrize("answer", [rate_limited("3"), OVERLOADED, BROKEN, Answer(401, openai_error("bad key"))])
def test_bare_httpx_error_is_classified_alike(server: ModelServer, openai: Model, answer: Answer) -> None:
    server.script(answer, answer)
    ours = failure(openai)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        httpx.post(f"{server.url}/chat/completions", json={"messages": []}).raise_for_status()
    assert kind_of(caught.value) is kind_of(ours)
    assert retry_after_of(caught.value) == retry_after_of(ours)


def words_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, openai_error(f"Incorrect API key provided: {KEY}. You can find it …", "invalid_api_key")),
        Answer(401, f"who is Bearer {KEY}?".encode()),
        Answer(500, {"request": {"headers": {"authorization": f"Bearer {KEY}"}}}),
        Answer(200, {"echo": KEY}),
        Answer(200, {"error": {"message": f"key {KEY}", "code": 500}}),
        Answer(200, b"not json " + KEY.encode()),
        Answer(401, openai_error("x" * 290 + " " + KEY)),
    ],
)
def test_key_is_in_no_error_even_if_the_server_repeats_it(server: ModelServer, openai: Model, answer: Answer) -> None:
    server.script(answer)
    words = words_of(failure(openai))
    assert KEY not in words
    assert KEY[:14] not in words


def test_key_is_struck_from_a_reply(server: ModelServer, openai: Model) -> None:
    server.script(Answer(200, {"choices": [{"message": {"content": f"Your key is {KEY}."}, "finish_reason": "stop"}]}))
    assert ask(openai).text == "Your key is [key]."


@pytest.mark.parametrize("key", ["sk-with-newline-123\nx", "sk-with space-456", "sk-with-euro-789€"])
def test_key_that_no_header_can_carry_is_refused_unspoken(
    server: ModelServer, openai: Model, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    error = failure(openai)
    assert kind_of(error) is Kind.PERMANENT
    assert "OPENAI_API_KEY" in error.message
    assert key[:12] not in words_of(error)
    assert not server.seen


def test_key_that_went_missing_is_named(openai: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    error = failure(openai)
    assert "OPENAI_API_KEY is not set" in error.message
    assert kind_of(error) is Kind.PERMANENT


def test_model_never_shows_its_key(openai: Model) -> None:
    assert KEY not in f"{openai} {openai!r}"


def test_httpx_is_not_imported_before_the_first_call() -> None:
    code = "import sys, vbl.agents.models; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
