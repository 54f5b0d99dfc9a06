"""Tells people that they are asked: the built-in workflow `vbl.notify`, to a webhook and to the desktop's own command.

Delivery is a durable step of an ordinary run, tried again for hours; a message is told at least once, and carries the
same `idempotency-key` each time. A gate that somebody has decided meanwhile is not told any more. Where to tell, and
the secrets of it, are read from the environment by the body that tells, and stand in no event:

    VBL_NOTIFY_URL       the webhook that gets the message by POST, as JSON
    VBL_NOTIFY_SECRET    signs it: header `vbl-signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`
    VBL_NOTIFY_COMMAND   a command that gets title and text as two further arguments, or in place of {title} and {text}

The engine knows this workflow by name alone. What a message is for, and who may decide, does not belong here.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import vbl
from vbl import config
from vbl.clock import instant
from vbl.engine.ambient import file
from vbl.errors import UsageError, VblError
from vbl.history.gates import sentence, standing
from vbl.history.narration import assignees
from vbl.history.retry import Kind, kind_of_status, retry_after_of
from vbl.history.state import RunState
from vbl.history.waits import GateState
from vbl.store.payloads import dumps

if TYPE_CHECKING:
    import ssl

URL = "VBL_NOTIFY_URL"
SECRET = "VBL_NOTIFY_SECRET"
COMMAND = "VBL_NOTIFY_COMMAND"
PATIENT = vbl.Retry(max_attempts=12, delay=5, factor=3, max_delay=3600)
"""About six hours."""
_ANSWER_S = 15.0


class NotDelivered(VblError):
    """A message that did not arrive. `kind` is a history.retry.Kind; `retry_after` the seconds that the other side
    asked to wait, or None. Names no more of an address than its host."""

    code = "not_delivered"

    def __init__(self, message: str, hint: str = "", *, kind: Kind, retry_after: float | None = None) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.retry_after = retry_after


# What is told -------------------------------------------------------------------------------------------------------


def message(gate: str | None, run: str, event: str) -> dict[str, Any] | None:
    """In the body of a step: what is asked, as the webhook gets it; None where nobody has to answer any more.

    Instants are RFC 3339 in UTC. `text` says it in a sentence, `commands` are what to type.
    """
    path = file()
    with vbl.connect(path, create=False) as client:
        state = client.run(run).state()
    about = {"v": 1, "event": event, "run": run, "workflow": state.workflow}
    if gate is None:
        return {**about, **_of_blocked(state, path)} if state.blocked is not None else None
    asked = state.gates.get(gate)
    return {**about, **_of_gate(asked, path)} if asked is not None and asked.status == "open" else None


def _of_gate(gate: GateState, path: Path) -> dict[str, Any]:
    request, at = gate.request, standing(gate)
    call: dict[str, Any] | None = request.get("call")
    if call is not None:
        call = {"step": call["step"], "input": at.input, "digest": at.digest}
    data = " --data JSON" if request.get("json_schema") is not None else ""
    return {
        "gate": gate.id,
        "name": gate.name,
        "text": sentence(gate),
        "show": request.get("show"),
        "call": call,
        "json_schema": request.get("json_schema"),
        "to": gate.to,
        "need": request.get("need", 1),
        "asked_at": instant(gate.requested_at),
        "expires_at": instant(gate.expires_at),
        "commands": _commands(path, f"approve {gate.id}{data}", f"deny {gate.id}", f"gate {gate.id}"),
    }


def _of_blocked(state: RunState, path: Path) -> dict[str, Any]:
    blocked, run = state.blocked or {}, state.run_id
    return {
        "gate": None,
        "name": blocked.get("reason"),
        "text": blocked.get("message"),
        "step": blocked.get("step"),
        "commands": _commands(
            path, f"resolve {run} --happened JSON", f"resolve {run} --did-not", f"resolve {run} --fail"
        ),
    }


def _commands(path: Path, *commands: str) -> list[str]:
    """As they are typed on this machine; the file is named where it is not the default one."""
    where = "" if path == config.database_path(None) else f" --db {shlex.quote(str(path))}"
    return [f"vbl {command}{where}" for command in commands]


# The webhook --------------------------------------------------------------------------------------------------------


def signature(body: bytes, secret: str, at: int) -> str:
    """The header `vbl-signature` of a body sent at `at`, in seconds since 1970."""
    digest = hmac.new(secret.encode(), b"%d.%b" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def verified(body: bytes, header: str, secret: str, *, tolerance_s: float = 300, now: float | None = None) -> bool:
    """Whether a webhook's body is ours: `header` is its `vbl-signature`, not older than `tolerance_s` seconds."""
    parts: dict[str, str] = {name: value for name, _, value in (part.partition("=") for part in header.split(","))}
    if not parts.get("t", "").isdecimal():
        return False
    at = int(parts["t"])
    fresh = abs((time.time() if now is None else now) - at) <= tolerance_s
    return fresh and hmac.compare_digest(signature(body, secret, at).encode(), f"t={at},v1={parts.get('v1')}".encode())


def webhook(environ: Mapping[str, str] = os.environ) -> str | None:
    """The address that the environment names. Raises UsageError for what is none; the error does not repeat it."""
    url = environ.get(URL, "").strip()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(f"{URL} is no address of a webhook", f"For example {URL}=https://hooks.example.org/vbl")
    return url


@vbl.step(effect="write", idempotent=True, retry=PATIENT, timeout=60)
async def post(gate: str | None, run: str, event: str) -> str | None:
    """Tell the webhook; what came of it, in words. None where there is no webhook."""
    url = webhook()
    if url is None:
        return None
    told = await asyncio.to_thread(message, gate, run, event)
    if told is None:
        return "nobody has to answer any more"
    headers = {"content-type": "application/json", "idempotency-key": vbl.key(), "user-agent": f"vbl/{vbl.__version__}"}
    body = dumps(told).encode()
    if secret := os.environ.get(SECRET, ""):
        headers["vbl-signature"] = signature(body, secret, int(time.time()))
    return await _posted(url, headers, body)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Load the certificates once a process; httpx would do so for every client."""
    import httpx

    return httpx.create_ssl_context()


async def _posted(url: str, headers: dict[str, str], body: bytes) -> str:
    import httpx

    host = str(urlsplit(url).hostname)
    try:
        async with (
            asyncio.timeout(_ANSWER_S),
            httpx.AsyncClient(timeout=_ANSWER_S, verify=_tls()) as client,
            client.stream("POST", url, headers=headers, content=body) as answer,
        ):
            pass  # what it says is not ours to keep
    except (httpx.TimeoutException, TimeoutError):
        raise NotDelivered(f"{host} did not answer in {_ANSWER_S:g} s", kind=Kind.TIMEOUT) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # its text may hold the address, and that a secret
        raise NotDelivered(f"{host} cannot be reached: {type(error).__name__}", kind=Kind.TRANSIENT) from None
    if answer.is_success:
        return f"told {host}"
    kind = kind_of_status(answer.status_code)
    after = retry_after_of(httpx.HTTPStatusError("", request=answer.request, response=answer))
    hint = "" if kind is not Kind.PERMANENT else f"Correct {URL}; then: vbl retry"
    raise NotDelivered(f"{host} answered {answer.status_code}", hint, kind=kind, retry_after=after) from None


# The desktop --------------------------------------------------------------------------------------------------------


def command(title: str, text: str, environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """The words of the command that the environment names, title and text among them; None where it names none.

    Raises UsageError for one that cannot be read, or that would take what a workflow shows for code.
    """
    template = environ.get(COMMAND, "").strip()
    if not template:
        return None
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise UsageError(f"{COMMAND} cannot be read: {error}", _FOR_EXAMPLE) from None
    given = {"{title}": title, "{text}": text}
    if not any(place in word for word in words for place in given):
        return [*words, title, text]
    filled: list[str] = []
    for word in words:
        place = next((place for place in given if word.endswith(place)), None)
        before = word.removesuffix(place) if place is not None else word
        if any(other in before for other in given) or (place is not None and before and not before.endswith("=")):
            raise UsageError(f"{COMMAND}: {{title}} and {{text}} are words of their own, or follow an =", _FOR_EXAMPLE)
        filled.append(before + given[place] if place is not None else word)
    return filled


_FOR_EXAMPLE = f"For example {COMMAND}='notify-send --app-name vbl'"


@vbl.step(effect="write", idempotent=True, retry=vbl.Retry(max_attempts=3, delay=5), timeout=60)
async def show(gate: str | None, run: str, event: str) -> str | None:
    """Tell the desktop; what came of it, in words. None where there is no command."""
    if command("", "") is None:
        return None
    told = await asyncio.to_thread(message, gate, run, event)
    if told is None:
        return "nobody has to answer any more"
    title = _plain(f"{told['workflow']} asks" if event != "APPROVAL_REMINDED" else f"{told['workflow']} still asks")
    asked = assignees(told.get("to") or ())
    words = command(title, _plain("\n".join([f"Asked of {asked}: {told['text']}", *told["commands"]])))
    assert words is not None
    code = await _called(words)
    if code:
        raise NotDelivered(f"{words[0]} exited with {code}", kind=Kind.TRANSIENT)
    return f"told by {words[0]}"


async def _called(words: list[str]) -> int:
    """Run a command without a terminal, and without our secrets; its exit code."""
    environment = {name: value for name, value in os.environ.items() if name not in (URL, SECRET)}
    null = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=null, stdout=null, stderr=null, env=environment)
    except OSError as error:
        said = f"{words[0]} cannot be run: {error.strerror}"
        raise NotDelivered(said, _FOR_EXAMPLE, kind=Kind.PERMANENT) from None
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await process.wait()
    except TimeoutError:
        raise NotDelivered(f"{words[0]} did not end in {_ANSWER_S:g} s", kind=Kind.TIMEOUT) from None
    finally:
        if process.returncode is None:
            process.kill()


def _plain(text: str) -> str:
    """Without what a terminal or a desktop would act on."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


# The workflow -------------------------------------------------------------------------------------------------------


@vbl.workflow(name="vbl.notify")
async def notify(gate: str | None, run: str, event: str) -> dict[str, str]:
    """Tell of one event that asks a person. One way that fails does not hide the other; the run fails with it, and
    `vbl retry` tries that one again. Returns what came of each way."""
    told, shown = await asyncio.gather(post(gate, run, event), show(gate, run, event), return_exceptions=True)
    outcomes: dict[str, str] = {}
    for name, outcome in (("webhook", told), ("command", shown)):
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome is not None:
            outcomes[name] = outcome
    if not outcomes:
        raise UsageError(f"there is nobody to tell: neither {URL} nor {COMMAND} is set", f"Set {URL}; then: vbl retry")
    return outcomes


__all__ = ["NotDelivered", "command", "message", "notify", "post", "show", "signature", "verified", "webhook"]
