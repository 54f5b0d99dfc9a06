"""Who may look: the one-time link that opens a session, the cookie that carries it, and the token that a change needs.

All are signed with a key that is derived from the user's own (`vbl.links`), for this file alone: a session outlives
the server that opened it, and opens no other file; it ends where another lasting token is set, or somebody signs out.
Nothing is stored but which links were used and, on the disk, for every server of this user, which sessions were ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from vbl import config
from vbl.errors import StorageError

DAY_S = 86_400
SESSION_S = 30 * DAY_S
LINK_S = DAY_S
SHORTEST_TOKEN = 16
"""Characters of a token that a person chose."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who has been let in. `csrf` is what every change of this session has to carry."""

    id: str
    csrf: str


@dataclass(slots=True)
class Sessions:
    """Makes and reads what is signed. `token` is a lasting one, where there is one; `path` names the file; in the
    folder `ended` there is an empty file for each session that was ended before its time."""

    key: bytes
    path: str
    token: str | None = None
    ended: Path = field(default_factory=config.ended_sessions)
    opened_at: float = field(default_factory=time.time)
    _used: set[str] = field(default_factory=set[str])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.key = hmac.digest(self.key, f"pages of {self.path}".encode("utf-8", "surrogateescape"), hashlib.sha256)

    @property
    def cookie(self) -> str:
        """The name of the cookie: another one for each file, since cookies are shared by the ports of a host."""
        return f"vbl-{hashlib.sha256(self.path.encode('utf-8', 'surrogateescape')).hexdigest()[:10]}"

    # Links ---------------------------------------------------------------------------------------------------------

    def link(self) -> str:
        """A token that opens one session, within a day, at a server that was started before it was made."""
        return self._signed("link", secrets.token_urlsafe(12), time.time())

    def admits(self, token: str) -> bool:
        """Whether a token lets in; a one-time one does so once."""
        if self.is_lasting(token):
            return True
        body = self._opened("link", token, LINK_S)
        if body is None or body[1] < self.opened_at - 1:
            return False
        with self._lock:
            fresh = body[0] not in self._used
            self._used.add(body[0])
        return fresh

    def is_lasting(self, token: str) -> bool:
        """Whether it is the lasting token; compared in constant time."""
        if self.token is None:
            return False
        return hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self.token.encode("utf-8"))

    # Sessions ------------------------------------------------------------------------------------------------------

    def open(self) -> str:
        """The value of the cookie of a new session."""
        return self._signed(self._session, secrets.token_urlsafe(18), time.time())

    def read(self, value: str) -> Session | None:
        """The session that a cookie carries; None where it was not made here, is too old, or was ended."""
        body = self._opened(self._session, value, SESSION_S)
        if body is None or self._end_of(body[0]).exists():
            return None
        return Session(body[0], self._mac("csrf", body[0]))

    def end(self, session: Session) -> None:
        """End a session, at every server of this user. Raises StorageError where that cannot be kept."""
        try:
            self.ended.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._end_of(session.id).touch()
        except OSError as error:
            raise StorageError(
                f"that the session has ended cannot be kept in {self.ended}: {error}",
                "It ends by itself; to end all at once, start the server with another --token",
                code="session_kept",
            ) from error
        for one in self.ended.iterdir():
            with contextlib.suppress(OSError):  # another server has forgotten it, or it stays: an empty file
                if time.time() - one.stat().st_mtime > SESSION_S:
                    one.unlink()

    def _end_of(self, id: str) -> Path:
        return self.ended / self._mac("end", id)

    @property
    def _session(self) -> str:
        return f"session {self.token}"  # who changes the token shuts out those who came by the old one

    def _signed(self, kind: str, nonce: str, at: float) -> str:
        body = f"{nonce}.{at:.3f}"
        return f"{body}.{self._mac(kind, body)}"

    def _opened(self, kind: str, text: str, longest_s: float) -> tuple[str, float] | None:
        """Nonce and instant of what was signed here, not longer ago than that."""
        body, _, mac = text.rpartition(".")
        if not text.isascii() or not hmac.compare_digest(mac, self._mac(kind, body)):
            return None
        nonce, _, at = body.partition(".")
        made_at = float(at)
        return (nonce, made_at) if time.time() - made_at < longest_s else None

    def _mac(self, kind: str, body: str) -> str:
        return hmac.new(self.key, f"{kind}:{body}".encode(), hashlib.sha256).hexdigest()[:40]
