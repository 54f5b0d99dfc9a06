"""The guard before every page: which names it answers to, whom it lets in, and what may change anything. Pure ASGI.

- Host: only names of this machine and those that were named, so that no foreign name can be bound to it.
- Sites: what another site asks for is refused, but for opening a page by a link.
- Sessions: a one-time link becomes a strict cookie, until who came by it signs out; programs show the lasting token.
- Changes: POST alone, from our own pages, with the session's token, not larger than `MOST_BYTES`; none when read-only.
- Answers: a policy that runs no foreign script, shown in no frame, kept in no cache.

It reads the body of a change, checks it and hands it on: `scope["vbl.form"]`, `scope["vbl.body"]`, `scope["vbl.csrf"]`;
in `scope["vbl.session"]` whether there is a session that can be ended, and in `scope["vbl.admitted"]` what says whether
who asked may look still.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, ImmutableMultiDict, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vbl.drawing import frame
from vbl.drawing.markup import tag
from vbl.errors import StorageError
from vbl.web.formats import for_programs, path_of
from vbl.web.sessions import SESSION_S, Session, Sessions

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 4 << 20
MOST_FIELDS = 5_000
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_READS = frozenset(("GET", "HEAD"))
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"


class Refused(Exception):
    """A request that goes no further: the status, what is, and what to do."""

    def __init__(self, status: int, message: str, hint: str = "", code: str = "refused") -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.code = status, message, hint, code


@dataclass(frozen=True, slots=True)
class Guard:
    """Stands before `app`. `hosts` are names besides this machine's loopback ones; `any_address` also lets every bare
    IP address pass as a name (a foreign name cannot be one). `trusted`: somebody in front has asked who it is."""

    app: Asgi
    sessions: Sessions
    hosts: frozenset[str] = frozenset()
    any_address: bool = False
    trusted: bool = False
    read_only: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it here."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        visit = Visit(scope)
        send = _hardened(send)
        try:
            answer = await self._checked(visit, receive)
        except Refused as refused:
            answer = _refusal(visit, refused)
        if isinstance(answer, Response):
            await answer(scope, receive, send)
            return
        if answer.opened is not None:
            send = self._with_cookie(send, visit, answer.opened)
        await self.app(scope, answer.receive, send)

    async def _checked(self, visit: Visit, receive: Receive) -> Response | Admitted:
        """The checks in their order. Raises Refused."""
        self._check_host(visit)
        if visit.method not in _READS and visit.method != "POST":
            raise Refused(405, f"{visit.method} is not done here", code="method")
        _check_site(visit)
        if visit.path == "/healthz" or visit.path.startswith("/assets/"):
            return Admitted(receive)
        token = visit.query.get("token")
        session, opened = self._session(visit), None
        if token is not None and visit.method == "GET" and not visit.bearer:
            return self._entered(visit, token, session)
        by_program = self.sessions.is_lasting(visit.bearer)
        if by_program:
            session = Session("bearer", "")
        elif visit.bearer and not self.trusted:  # else it is for who stands in front
            raise Refused(401, "that token is not the one of this server", code="wrong_token")
        elif session is None and self.trusted:
            opened = self.sessions.open()
            session = self.sessions.read(opened)
        if session is None:
            raise self._stranger(visit)
        own = not by_program and not self.trusted
        visit.scope["vbl.csrf"], visit.scope["vbl.session"] = session.csrf, own
        visit.scope["vbl.admitted"] = lambda: not own or self._session(visit) is not None
        if visit.method != "POST":
            return Admitted(receive, opened)
        admitted = await self._change(visit, receive, session, by_program)
        return self._left(visit, session) if own and visit.path == frame.SIGN_OUT else admitted

    def _check_host(self, visit: Visit) -> None:
        name = visit.host_name
        if name is None:
            raise Refused(400, "the request names no host, or several", code="host")
        if name in LOOPBACK or name in self.hosts or (self.any_address and _is_address(name)):
            return
        raise Refused(
            403, f"this server does not answer to the name {name!r}",
            "Open it under the address that it printed, or name the host when it is started", "host",
        )  # fmt: skip

    def _session(self, visit: Visit) -> Session | None:
        value = visit.cookies.get(self.sessions.cookie)
        return None if value is None else self.sessions.read(value)

    def _entered(self, visit: Visit, token: str, session: Session | None) -> Response:
        """The answer to a link with a token: a session, and the page without the token."""
        answer = RedirectResponse(visit.again, 303)
        if session is not None and not self.sessions.is_lasting(token):
            return answer  # opened again from the history of the browser; the link may well be used
        if not self.sessions.admits(token):
            raise Refused(
                403, "this link was used, is too old, or was not made by this server",
                "Print a new one: vbl ui --link", "used_link",
            )  # fmt: skip
        answer.headers["set-cookie"] = self._cookie(visit, self.sessions.open())
        return answer

    def _cookie(self, visit: Visit, value: str) -> str:
        secure = "; Secure" if visit.scope.get("scheme") == "https" else ""
        place = f"Path={visit.root or '/'}; Max-Age={SESSION_S}"
        return f"{self.sessions.cookie}={value}; {place}; HttpOnly; SameSite=Strict{secure}"

    def _left(self, visit: Visit, session: Session) -> Response:
        """The answer to who signs out: the session is over, here and wherever its cookie was copied to."""
        try:
            self.sessions.end(session)
        except StorageError as error:
            raise Refused(503, error.message, error.hint, error.code) from error
        page = frame.alone("You have signed out", "To come back, print a new link: vbl ui --link", visit.root)
        gone = f"{self.sessions.cookie}=; Path={visit.root or '/'}; Max-Age=0; HttpOnly; SameSite=Strict"
        return HTMLResponse(page, headers={"set-cookie": gone})

    def _with_cookie(self, send: Send, visit: Visit, value: str) -> Send:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", self._cookie(visit, value))
            await send(message)

        return wrapped

    def _stranger(self, visit: Visit) -> Refused:
        if visit.path.startswith("/api/") or visit.path == "/metrics":
            hint = "Start the server with --token TOKEN, and send it: Authorization: Bearer TOKEN"
            return Refused(401, "who asks is not known here", hint, "unauthorized")
        return Refused(
            403, "this browser has no session here",
            "Open the link that the server printed, or print a new one: vbl ui --link", "no_session",
        )  # fmt: skip

    async def _change(self, visit: Visit, receive: Receive, session: Session, by_program: bool) -> Admitted:
        """A change: small enough, and, but for a program that has shown the lasting token, from our own page and with
        the session's token. Raises Refused."""
        if self.read_only and visit.path != frame.SIGN_OUT:
            raise Refused(
                403, "this server only shows; it changes nothing", "Start it without --read-only", "read_only"
            )
        if not by_program:
            _check_origin(visit)
        kind = visit.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (_FORM, _JSON, ""):
            raise Refused(415, f"a change is sent as {_FORM} or {_JSON}", code="content_type")
        body = await _body(visit, receive)
        form = _fields(body) if kind == _FORM else ImmutableMultiDict[str, str]()
        given = visit.headers.get("x-csrf-token") or form.get("csrf") or ""
        if not by_program and not hmac.compare_digest(given.encode(), session.csrf.encode()):
            raise Refused(403, "the form does not belong to this session", "Load the page again, and repeat it", "csrf")
        visit.scope["vbl.form"], visit.scope["vbl.body"] = form, body
        return Admitted(_replayed(body))


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may go on: its body is read from `receive`; `opened` is the cookie of a new session."""

    receive: Receive
    opened: str | None = None


class Visit:
    """A request, as far as the guard looks at it."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.headers = Headers(scope=scope)
        self.method: str = scope["method"]
        self.root: str = scope.get("root_path", "").rstrip("/")
        self.path = path_of(scope)
        self.pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        self.query = dict(self.pairs)
        scheme, _, credential = self.headers.get("authorization", "").partition(" ")
        self.bearer = credential.strip() if scheme.lower() == "bearer" else ""

    @property
    def again(self) -> str:
        """Where the same is asked for without a token; never the address of another host."""
        place = quote(f"{self.root}{self.path}")
        rest = urlencode([(key, value) for key, value in self.pairs if key != "token"])
        return (self.root or "/") if place.startswith("//") else f"{place}?{rest}" if rest else place

    @property
    def host_name(self) -> str | None:
        """The one host that the request names, in lower case, without its port."""
        named = self.headers.getlist("host")
        if len(named) != 1:
            return None
        return host_of(named[0]) or None

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that came with it; none where they cannot be read."""
        found: dict[str, str] = {}
        for part in "; ".join(self.headers.getlist("cookie")).split(";"):
            try:
                found |= {name: morsel.value for name, morsel in SimpleCookie(part.strip()).items()}
            except CookieError:
                continue  # another server's, on this host
        return found


def host_of(authority: str) -> str:
    """The host of `host:port`, in lower case; an IPv6 address with a port stands in brackets."""
    text = authority.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return (text if _is_address(text) else text.partition(":")[0]).rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check_site(visit: Visit) -> None:
    """Refuse what another site asks for, except to open a page (https://web.dev/articles/fetch-metadata)."""
    site = visit.headers.get("sec-fetch-site")
    if site in (None, "same-origin", "none"):
        return
    opens = visit.headers.get("sec-fetch-mode") == "navigate" and visit.headers.get("sec-fetch-dest") == "document"
    if visit.method != "GET" or not opens:
        raise Refused(403, "another site asked for this", "Open the page itself", "cross_site")


def _check_origin(visit: Visit) -> None:
    """Refuse a change that did not come from one of our pages; ports of one host are different origins."""
    if visit.headers.get("sec-fetch-site") == "same-origin":
        return
    origin = visit.headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != visit.headers.get("host", "").lower():
        raise Refused(403, f"a change from {origin} is not taken", "Repeat it on the page itself", "cross_site")


async def _body(visit: Visit, receive: Receive) -> bytes:
    said = visit.headers.get("content-length", "0")
    if said.isascii() and said.isdigit() and int(said) > MOST_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request ended before its body did", code="incomplete")
        parts.append(cast("bytes", message.get("body", b"")))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large() -> Refused:
    return Refused(413, f"a change may have {MOST_BYTES >> 20} MiB", "Send less, or use the Python client", "too_large")


def _fields(body: bytes) -> ImmutableMultiDict[str, str]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Refused(400, "the form is not UTF-8, or has too many fields", code="form") from None
    return ImmutableMultiDict(pairs)


def _replayed(body: bytes) -> Receive:
    """The body once more, for whoever reads it behind the guard."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return left.pop() if left else {"type": "http.disconnect"}

    return receive


def _hardened(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _ALWAYS.items():
                headers.setdefault(name, value)
        await send(message)

    return wrapped


def _refusal(visit: Visit, refused: Refused) -> Response:
    """The answer to what is refused: as programs read it where they ask, else a page that stands alone. A part of a
    page that lost its session has the browser load the whole one."""
    headers = {"www-authenticate": "Bearer"} if refused.status == 401 else {}
    error = {"code": refused.code, "message": refused.message, "hint": refused.hint}
    if (plain := for_programs(visit.path, error, refused.status, headers)) is not None:
        return plain
    if "hx-request" in visit.headers and refused.code == "no_session":
        headers["hx-refresh"] = "true"
    again = None
    if refused.code == "no_session" and visit.headers.get("sec-fetch-site") == "cross-site":
        # a strict cookie does not come along from another site's link; it does from ours
        again = tag("p", tag("a", "If you have been here before, go on", href=visit.again))
    page = frame.alone(refused.message, refused.hint, visit.root, again)
    return HTMLResponse(page, refused.status, headers)
