"""Signed links: a text that carries one decision of one person about one gate, until an instant.

A link is `vbl1.PAYLOAD.SIGNATURE` in the alphabet of URLs. It is bound to the gate as it was asked, and to the call as
it stands: the payload holds the digest of the history up to the request, and that of the call. The key is VBL_LINK_KEY,
else a file in the user's data folder that only the user can read; it is never in the database, so who has a copy of the
file can make no links.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from vbl.errors import Conflict, InvalidInput, StorageError, UsageError

PREFIX = "vbl1"
_SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says: `decision` is approve or deny; `by` the person it was made for; `expires_at` an instant in
    microseconds since 1970 UTC; `asked` the digest of the history up to the request; `call` that of the call, if any;
    `nonce` what makes it good for one use."""

    gate: str
    decision: str
    by: str
    expires_at: int
    asked: str
    call: str | None
    nonce: str


def nonce() -> str:
    """What makes a link unlike any other."""
    return secrets.token_urlsafe(12)


def signed(link: Link, key: bytes) -> str:
    """The text of a link."""
    fields = [link.gate, link.decision, link.by, link.expires_at, link.asked, link.call, link.nonce]
    body = _encoded(json.dumps(fields, separators=(",", ":")).encode())
    return f"{PREFIX}.{body}.{_encoded(_signature(body, key))}"


def read(text: str, key: bytes, now: int) -> Link:
    """What a link says, once its signature is seen to be right. Raises InvalidInput (bad_link), Conflict
    (link_expired)."""
    prefix, _, rest = text.strip().partition(".")
    body, _, signature = rest.partition(".")
    try:
        given = _decoded(signature)
        right = prefix == PREFIX and hmac.compare_digest(given, _signature(body, key))
    except (binascii.Error, UnicodeEncodeError):
        right = False
    if not right:
        raise InvalidInput(
            "this is no link that was made here, or not the whole of it",
            "Copy all of it; links hold where the key is that signed them: VBL_LINK_KEY, or link.key of the same user",
            code="bad_link",
        )
    gate, decision, by, expires_at, asked, call, nonce = cast("list[Any]", json.loads(_decoded(body)))
    if now >= expires_at:
        raise Conflict(
            f"this link to gate {gate} is no longer good",
            f"Ask for another: vbl gate {gate} --link {decision}",
            code="link_expired",
        )
    return Link(gate, decision, by, expires_at, asked, call, nonce)


def is_link(text: str) -> bool:
    """Whether a text is meant as a link, right or wrong."""
    return text.strip().startswith(f"{PREFIX}.")


def _signature(body: str, key: bytes) -> bytes:
    return hmac.digest(key, f"{PREFIX}.{body}".encode(), hashlib.sha256)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


def key() -> bytes:
    """The key that links are signed with; one is made where there is none yet. Raises UsageError, StorageError."""
    named = os.environ.get("VBL_LINK_KEY")
    if named is not None:
        if len(named) < _SHORTEST_KEY:
            raise UsageError(
                f"VBL_LINK_KEY has {len(named)} characters, too few for a key",
                'Take a long random one: export VBL_LINK_KEY="$(openssl rand -hex 32)"',
                code="weak_key",
            )
        return named.encode("utf-8", "surrogateescape")
    import platformdirs

    return _kept(Path(platformdirs.user_data_path("vbl")) / "link.key")


def _kept(path: Path) -> bytes:
    """The key in the file; made whole before it has its name, so that two who make one agree."""
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.{nonce()}")
            handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                with os.fdopen(handle, "w", encoding="ascii") as file:
                    file.write(secrets.token_hex(32) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                _given_name(draft, path)
            finally:
                draft.unlink()
        found = path.read_text("ascii").strip()
        shared = os.name == "posix" and path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"the key for links cannot be kept in {path}: {error}", "Or give one: VBL_LINK_KEY", code="link_key"
        ) from error
    if shared or len(found) < _SHORTEST_KEY:
        what = "can be read by others" if shared else "holds no key"
        hint = f"chmod 600 {path}; if others may have read it, delete it first" if shared else f"Delete it: rm {path}"
        raise StorageError(f"{path} {what}", hint, code="link_key")
    return found.encode()


def _given_name(draft: Path, path: Path) -> None:
    """Give the file its name, unless another process was first."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return


__all__ = ["Link", "is_link", "key", "nonce", "read", "signed"]
