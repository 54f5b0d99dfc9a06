"""Calls of language models over httpx: OpenAI, Anthropic, and any server that answers as OpenAI does.

The model is chosen by the environment: `VBL_MODEL_URL` (an OpenAI-compatible server, its key in
`VBL_MODEL_KEY`), `OPENAI_API_KEY` or `ANTHROPIC_API_KEY`; `VBL_MODEL` names the model. A failed call raises
ModelError, which says its `kind` and `retry_after` as a retry policy wants to know them. A `Model` holds the
name of the variable that its key is in, never the key, and no message, reply or traceback made here contains
one. What an answer says that it used is noted for the step that asked (vbl.agents.usage), also where the answer is of
no use. httpx is imported at the first call. Retrying, recording and paying do not belong here.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict

from vbl.agents.redaction import redact, strike
from vbl.agents.usage import MOST_TOKENS, MOST_USD, Usage, note
from vbl.errors import UsageError, VblError
from vbl.history.retry import Kind, kind_of_status, retry_after_of

if TYPE_CHECKING:
    import ssl

    import httpx

Provider = Literal["openai", "anthropic", "compatible"]

MAX_REPLY_BYTES = 8 * 1024 * 1024
CONNECT_S, TOTAL_S = 10.0, 90.0
ANTHROPIC_VERSION = "2023-06-01"
DEFAULT_MODEL: Mapping[Provider, str] = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5", "compatible": ""}
MODEL_VARIABLES = ("VBL_MODEL_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True)

    role: Literal["user", "assistant"]
    content: str


class Reply(BaseModel):
    """What a model answered, which model it was, and the tokens that it counted (None where it did not say)."""

    text: str
    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None


class ModelError(VblError):
    """A model call that brought no usable answer.

    `kind` is a history.retry.Kind; `retry_after` the seconds that the other side asked to wait, or None;
    `status` the HTTP status, or None if there was no answer.
    """

    code = "model"

    def __init__(
        self, message: str, hint: str = "", *, kind: Kind, retry_after: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.retry_after = retry_after
        self.status = status


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be asked. `key_in` names the environment variable of its key; "" means that it needs none."""

    provider: Provider
    name: str
    url: str
    key_in: str = ""

    def __str__(self) -> str:
        return f"{self.name or 'the default model'} at {urlsplit(self.url).hostname}"

    async def reply(self, messages: Sequence[Message], *, system: str = "", max_tokens: int = 2000) -> Reply:
        """Ask once and return the answer. Raises ModelError for every way in which there is none."""
        key = self._key()
        name = self.name or await self._first_model(key)
        body = _request_body(self.provider, name, messages, system, max_tokens)
        path = "/messages" if self.provider == "anthropic" else "/chat/completions"
        answer = await _call(self, "POST", path, key, body)
        used = _used(self, answer, name, key)
        if answer.get("usage") or not answer.get("error"):
            note(used)
        return Reply(
            text=_read_text(self, answer, key),
            model=used.model,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
        )

    async def _first_model(self, key: str) -> str:
        """Ask a compatible server which model it serves, where `VBL_MODEL` names none."""
        listed: Any = (await _call(self, "GET", "/models", key)).get("data")
        name = _mapping(listed[0]).get("id") if isinstance(listed, list) and listed else None
        if not isinstance(name, str) or not name:
            raise ModelError(f"{self} lists no model", "Name the one to use: VBL_MODEL=name", kind=Kind.PERMANENT)
        return name

    def _key(self) -> str:
        key = os.environ.get(self.key_in, "").strip() if self.key_in else ""
        if self.key_in and not key:
            raise ModelError(f"{self.key_in} is not set", f"export {self.key_in}=…", kind=Kind.PERMANENT)
        if not (key.isascii() and (key.isprintable() or not key)) or " " in key:
            raise ModelError(
                f"{self.key_in} holds characters that no key has",
                f"Copy the key again: export {self.key_in}=…",
                kind=Kind.PERMANENT,
            )
        return key


_KEYS: dict[Provider, str] = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_BASES: dict[Provider, tuple[str, str]] = {
    "openai": ("OPENAI_BASE_URL", "https://api.openai.com/v1"),
    "anthropic": ("ANTHROPIC_BASE_URL", "https://api.anthropic.com/v1"),
}


def from_environment(environ: Mapping[str, str] = os.environ) -> Model | None:
    """Choose the model that the environment names; None where it names none.

    Raises UsageError for a `VBL_MODEL_URL` that is not an address.
    """
    name = environ.get("VBL_MODEL", "").strip()
    if url := environ.get("VBL_MODEL_URL", "").strip():
        key_in = "VBL_MODEL_KEY" if environ.get("VBL_MODEL_KEY", "").strip() else ""
        return Model("compatible", name, _base_url(url, "VBL_MODEL_URL"), key_in)
    present: list[Provider] = [p for p in _KEYS if environ.get(_KEYS[p], "").strip()]
    if not present:
        return None
    provider = "anthropic" if "anthropic" in present and name.startswith("claude") else present[0]
    variable, standard = _BASES[provider]
    url = _base_url(environ.get(variable, "").strip() or standard, variable)
    return Model(provider, name or DEFAULT_MODEL[provider], url, _KEYS[provider])


def _base_url(url: str, variable: str) -> str:
    """Bring an address to the form that ends in /v1, as servers of both kinds have it."""
    example = f"For example {variable}=http://localhost:8080/v1"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise UsageError(f"{variable} is not an address", example) from None
    if not usable:
        raise UsageError(f"{variable} must begin with http:// or https:// and name a host", example)
    if parts.username or parts.password:
        raise UsageError(f"{variable} contains a password", "Put the key into VBL_MODEL_KEY instead")
    path = parts.path.rstrip("/")
    for ending in ("/chat/completions", "/messages"):
        path = path.removesuffix(ending)
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", ""))


def _request_body(
    provider: Provider, name: str, messages: Sequence[Message], system: str, max_tokens: int
) -> dict[str, Any]:
    """Build the JSON of a request, in the provider's own words."""
    turns = [message.model_dump() for message in messages]
    if provider == "anthropic":
        return {"model": name, "max_tokens": max_tokens, "messages": turns} | ({"system": system} if system else {})
    limit = "max_completion_tokens" if provider == "openai" else "max_tokens"
    opening = [{"role": "system", "content": system}] if system else []
    return {"model": name, limit: max_tokens, "messages": opening + turns}


def _headers(model: Model, key: str) -> dict[str, str]:
    if model.provider == "anthropic":
        return {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION}
    return {"authorization": f"Bearer {key}"} if key else {}


async def _call(model: Model, method: str, path: str, key: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send one request and return the JSON object of a 200. Raises ModelError."""
    import httpx

    limits = httpx.Timeout(TOTAL_S, connect=CONNECT_S)
    try:
        async with (
            asyncio.timeout(TOTAL_S),
            httpx.AsyncClient(timeout=limits, headers=_headers(model, key), verify=_tls()) as client,
            client.stream(method, model.url + path, json=body) as response,
        ):
            content = await _read_bounded(model, response)
    except (httpx.TimeoutException, TimeoutError) as error:
        raise ModelError(f"{model} did not answer in time", kind=Kind.TIMEOUT) from _harmless(error, key)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise _unreachable(model, error, key) from _harmless(error, key)
    if response.status_code != 200:
        raise _refused(model, response, content, key)
    return _json_object(model, content)


@cache
def _tls() -> ssl.SSLContext:
    """Load the certificates once a process; httpx would do so for every client."""
    import httpx

    return httpx.create_ssl_context()


async def _read_bounded(model: Model, response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_REPLY_BYTES:
            raise ModelError(f"{model} sent more than {MAX_REPLY_BYTES} bytes", kind=Kind.PERMANENT)
    return bytes(content)


def _harmless(error: Exception, key: str) -> Exception | None:
    """The error as a cause to keep, or None if its words would carry the key into a traceback."""
    words = f"{error!r} {error.__cause__!r} {error.__context__!r}"
    return error if redact(words, key) == words else None


def _unreachable(model: Model, error: Exception, key: str) -> ModelError:
    import httpx

    message = f"{model} could not be asked: {type(error).__name__}: {redact(str(error), key)}"
    if isinstance(error, httpx.ConnectError):
        return ModelError(message, f"Is a server running at {urlsplit(model.url).netloc}?", kind=Kind.TRANSIENT)
    permanent = isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError))
    return ModelError(message, kind=Kind.PERMANENT if permanent else Kind.TRANSIENT)


_HINTS = {
    401: "Is the key in {key_in} right, and meant for {host}?",
    403: "Is the key in {key_in} allowed to use this model?",
    404: "Is there a model of that name, and is the address right? VBL_MODEL=name, VBL_MODEL_URL=http://host/v1",
    402: "The account behind {key_in} has no credit.",
}


def _refused(model: Model, response: httpx.Response, content: bytes, key: str) -> ModelError:
    """Make the error of an answer that is not a 200, with the provider's own words where it has any."""
    words = content.decode("utf-8", "replace")
    status, kind = response.status_code, kind_of_status(response.status_code, words)
    if kind is not Kind.PERMANENT and response.headers.get("x-should-retry", "").lower() == "false":
        kind = Kind.PERMANENT
    wait = None
    if kind is not Kind.PERMANENT:
        import httpx

        wait = retry_after_of(httpx.HTTPStatusError("", request=response.request, response=response))
    hint = _HINTS.get(402 if status == 429 and kind is Kind.PERMANENT else status, "")
    hint = hint.format(key_in=model.key_in or "VBL_MODEL_KEY", host=urlsplit(model.url).hostname)
    message = f"{model} answered {status}: {_excerpt(redact(_error_words(words), key))}"
    return ModelError(message, hint, kind=kind, retry_after=wait, status=status)


def _error_words(body: str) -> str:
    """The message inside an error body, as both providers word it; else the body itself."""
    try:
        error: Any = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body
    fields = _mapping(error)
    code = fields.get("code") or fields.get("type")
    message = str(fields.get("message", error))
    return f"{message} ({code})" if code else message


def _excerpt(text: str, limit: int = 300) -> str:
    flat = " ".join(text.split())
    return flat[:limit] + "…" if len(flat) > limit else flat or "(an empty body)"


def _json_object(model: Model, content: bytes) -> dict[str, Any]:
    try:
        answer: Any = json.loads(content)
    except ValueError as error:
        raise ModelError(f"{model} sent a body that is not JSON ({len(content)} bytes)", kind=Kind.TRANSIENT) from error
    if not isinstance(answer, dict):
        what: str = type(answer).__name__
        raise ModelError(f"{model} sent a JSON {what} where an object belongs", kind=Kind.PERMANENT)
    return _mapping(answer)


def _mapping(value: Any) -> dict[str, Any]:
    """The JSON object, or an empty one in the place of anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _read_text(model: Model, answer: dict[str, Any], key: str) -> str:
    """Take the text out of a provider's answer. Raises ModelError where there is none."""
    if answer.get("error"):
        raise _error_in_answer(model, answer, key)
    try:
        text, stop = _text_of(model.provider, answer)
    except (KeyError, IndexError, TypeError) as error:
        raise ModelError(
            f"{model} sent an answer of an unknown form: {_excerpt(redact(json.dumps(answer), key), 120)}",
            "Does the address lead to a chat model?",
            kind=Kind.PERMANENT,
        ) from error
    if stop in ("content_filter", "refusal"):
        raise ModelError(f"{model} declined to answer ({stop})", kind=Kind.PERMANENT)
    if not text.strip():
        raise ModelError(f"{model} sent an empty text (stopped: {stop})", kind=Kind.TRANSIENT)
    return strike(text, key)


def _text_of(provider: Provider, answer: dict[str, Any]) -> tuple[str, str]:
    """The answer's text and why it stopped. Raises KeyError, IndexError or TypeError for any other form."""
    if provider == "anthropic":
        parts = [block["text"] for block in answer["content"] if block["type"] == "text"]
        return "".join(parts), str(answer.get("stop_reason"))
    choice = answer["choices"][0]
    content = choice["message"].get("content") or ""
    if not isinstance(content, str):
        raise TypeError("content is not a text")
    return content, str(choice.get("finish_reason"))


def _error_in_answer(model: Model, answer: dict[str, Any], key: str) -> ModelError:
    """Some gateways put an error into a 200; its code, if it is a status, tells what it is."""
    code = _mapping(answer["error"]).get("code")
    words = json.dumps(answer)
    kind = kind_of_status(code, words) if isinstance(code, int) else Kind.TRANSIENT
    return ModelError(f"{model} answered an error: {_excerpt(redact(_error_words(words), key))}", kind=kind)


def _used(model: Model, answer: dict[str, Any], asked: str, key: str) -> Usage:
    """Take what the call used out of a provider's answer.

    `prompt_tokens` include those from a cache (https://platform.openai.com/docs/guides/prompt-caching); Anthropic's
    `input_tokens` are what is neither read from its cache nor written to it
    (https://docs.claude.com/en/docs/build-with-claude/prompt-caching). `cost` is in US dollars where a provider says it
    (https://openrouter.ai/docs/use-cases/usage-accounting).
    """
    counts = _mapping(answer.get("usage"))
    read = _count(counts, "prompt_tokens", "input_tokens")
    cached = _count(_mapping(counts.get("prompt_tokens_details")), "cached_tokens")
    if model.provider == "anthropic":
        cached = _count(counts, "cache_read_input_tokens")
        parts = (read, cached, _count(counts, "cache_creation_input_tokens"))
        read = sum(part or 0 for part in parts) if read is not None else None
    cost = counts.get("cost")
    return Usage(
        provider=model.provider,
        model=_answering(answer, asked, key),
        input_tokens=read,
        output_tokens=_count(counts, "completion_tokens", "output_tokens"),
        cached_tokens=cached,
        usd=cost if isinstance(cost, (int, float)) and type(cost) is not bool and 0 <= cost <= MOST_USD else None,
    )


def _answering(answer: dict[str, Any], asked: str, key: str) -> str:
    """The name of the model that has answered, as the provider says; the one that was asked where it does not."""
    named = answer.get("model")
    name = strike(named, key) if isinstance(named, str) and named else asked
    return name.encode("utf-8", "replace").decode()[:200]


_MOST_TOKENS = MOST_TOKENS // 4


def _count(usage: dict[str, Any], *names: str) -> int | None:
    found = (usage.get(name) for name in names)
    return next((one for one in found if type(one) is int and 0 <= one <= _MOST_TOKENS), None)
