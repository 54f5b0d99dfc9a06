"""A model provider on loopback: a real HTTP server that answers as OpenAI and as Anthropic do, and fails on demand.

`script(...)` queues what the next requests get; without a script each request gets a short, true-to-form answer
that quotes the last message. `seen` holds every request: path, headers and JSON body. It knows nothing of vbl.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What one request gets. `body` is bytes to send as they are, or JSON data; None is an answer in true form.

    `cut` closes the connection after so many bytes of the body; `hold` waits for `ModelServer.release()` before
    a byte is sent, as a slow provider does.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    hold: bool = False


def openai_error(message: str, code: str | None = None, type: str = "invalid_request_error") -> dict[str, Any]:
    """An error body in OpenAI's form."""
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def anthropic_error(message: str, type: str) -> dict[str, Any]:
    """An error body in Anthropic's form."""
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_1"}


RATE_LIMITED = Answer(429, openai_error("Rate limit reached", "rate_limit_exceeded", "requests"))
OVERLOADED = Answer(529, anthropic_error("Overloaded", "overloaded_error"))
SPENT = Answer(429, openai_error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"))
BROKEN = Answer(500, b"<html>Internal Server Error</html>", {"content-type": "text/html"})


def rate_limited(retry_after: str) -> Answer:
    """A 429 that says when to come back."""
    return Answer(429, RATE_LIMITED.body, {"retry-after": retry_after})


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ModelServer:
    """Use as a context manager; `url` ends in /v1. `latency_s` is what every answer takes, as a model's does."""

    def __init__(self, latency_s: float = 0) -> None:
        self.latency_s = latency_s
        self.seen: list[Seen] = []
        self._script: deque[Answer] = deque()
        self._lock = threading.Lock()
        self._released = threading.Event()
        server = self
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": server}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def script(self, *answers: Answer) -> None:
        """Queue answers; the requests after the last one are answered in true form again."""
        with self._lock:
            self._script.extend(answers)

    def release(self) -> None:
        """Let held answers go."""
        self._released.set()

    def answer_to(self, request: Seen) -> Answer:
        with self._lock:
            self.seen.append(request)
            answer = self._script.popleft() if self._script else Answer()
        if answer.hold or self.latency_s:
            self._released.wait(30 if answer.hold else self.latency_s)
        return answer


class _Handler(BaseHTTPRequestHandler):
    provider: ModelServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self._answer(json.loads(self.rfile.read(length)))

    def _answer(self, body: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Seen(self.command, self.path, headers, body)
        answer = self.provider.answer_to(request)
        content = answer.body if answer.body is not None else _true_form(request)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            self._send(answer, raw)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, answer: Answer, raw: bytes) -> None:
        self.send_response(answer.status)
        for name, value in {"content-type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw if answer.cut is None else raw[: answer.cut])
        if answer.cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Requests are in `seen`; a test prints what it wants to."""


def _true_form(request: Seen) -> dict[str, Any]:
    """A well-formed answer whose text quotes the end of what was asked."""
    if request.path.endswith("/models"):
        return {"object": "list", "data": [{"id": "loopback-1", "object": "model"}]}
    asked = request.body["messages"][-1]["content"]
    text = f"- answered {len(request.body['messages'])} messages\n- the last one ends: {asked[-60:].strip()}"
    if request.path.endswith("/messages"):
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": request.body["model"],
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": len(asked) // 4, "output_tokens": len(text) // 4},
        }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": request.body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": len(asked) // 4, "completion_tokens": len(text) // 4},
    }
