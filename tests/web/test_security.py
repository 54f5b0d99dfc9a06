"""Who is let in, from where, and what may change anything: a real server, and requests as browsers and others make."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import vbl
from tests.web.conftest import Site, entered
from vbl.client import Client
from vbl.errors import UsageError
from vbl.web.app import application
from vbl.web.assets import VENDORED
from vbl.web.security import MOST_BYTES, POLICY
from vbl.web.serving import Server, new_link, serving
from vbl.web.sessions import LINK_S, SESSION_S, Sessions

pytestmark = pytest.mark.slow  # real servers on real sockets

TOKEN = "a-lasting-token-of-32-characters"
Serve = Callable[..., Server]


def csrf(browser: httpx.Client) -> str:
    found = re.search(r'<meta name="csrf" content="(\w+)">', browser.get("/queues").text)
    assert found is not None
    return found[1]


# Sessions ----------------------------------------------------------------------------------------------------------


def test_without_a_session_nothing_is_shown(serve: Serve) -> None:
    server = serve()
    for path in ("/", "/runs", "/queues", "/standing", "/live", "/inbox", "/no/such/page"):
        answer = httpx.get(server.address + path)
        assert answer.status_code == 403, path
        assert "vbl ui --link" in answer.text
        assert "support.db" not in answer.text
    answer = httpx.get(f"{server.address}/api/v1/runs")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    answer = httpx.get(f"{server.address}/metrics")
    assert answer.status_code == 401
    assert answer.text.startswith("unauthorized: ")
    for path in ("/assets/now/none.css", "/assets/none"):  # what is open to anybody does not tell of the file either
        answer = httpx.get(server.address + path)
        assert answer.status_code == 404
        assert "support.db" not in answer.text


def test_the_link_opens_one_session(serve: Serve) -> None:
    server = serve()
    link = server.app.link(server.address)
    first = httpx.get(link)
    assert first.status_code == 303
    assert first.headers["location"] == "/"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/;" in cookie
    assert "token" not in first.headers["location"]
    again = httpx.get(link)
    assert again.status_code == 403
    assert "was used" in again.text
    assert "set-cookie" not in again.headers


def test_who_is_in_already_may_open_the_used_link_again(serve: Serve) -> None:
    server = serve()
    link = server.app.link(server.address)
    with httpx.Client() as browser:
        assert browser.get(link).status_code == 303
        assert browser.get(link.replace("/?", "/queues?after=3&")).headers["location"] == "/queues?after=3"


def test_asking_for_the_head_of_a_link_does_not_use_it(serve: Serve) -> None:
    server = serve()
    link = server.app.link(server.address)
    assert httpx.head(link).status_code == 403
    assert httpx.get(link).status_code == 303


@pytest.mark.parametrize("change", ["", "x", "a.b.c", "nonce.1e3.00", "é.1.2", "..", "nan", "x.nan.y"])
def test_a_made_up_token_lets_nobody_in(serve: Serve, change: str) -> None:
    server = serve()
    answer = httpx.get(f"{server.address}/", params={"token": change})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_changed_link_or_cookie_is_none(file: Client) -> None:
    sessions = Sessions(b"k" * 32, str(file.path))
    link, cookie = sessions.link(), sessions.open()
    assert sessions.read(cookie) is not None
    for text in (link, cookie):
        for place in range(len(text)):
            changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
            assert not sessions.admits(changed)
            assert sessions.read(changed) is None
    assert sessions.read(link) is None, "a link is no cookie"
    assert not sessions.admits(cookie), "a cookie is no link"
    assert sessions.admits(link)


def test_a_session_opens_no_other_file_and_no_other_users(file: Client, tmp_path: Path) -> None:
    here = Sessions(b"k" * 32, str(file.path))
    for other in (Sessions(b"k" * 32, str(tmp_path / "other.db")), Sessions(b"K" * 32, str(file.path))):
        assert other.read(here.open()) is None
        assert not other.admits(here.link())
    assert Sessions(b"k" * 32, str(tmp_path / "other.db")).cookie != here.cookie


def test_links_and_sessions_end(file: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(b"k" * 32, str(file.path))
    link, cookie = sessions.link(), sessions.open()
    now = sessions.opened_at
    monkeypatch.setattr("vbl.web.sessions.time.time", lambda: now + LINK_S + 60)
    assert not sessions.admits(link)
    assert sessions.read(cookie) is not None
    monkeypatch.setattr("vbl.web.sessions.time.time", lambda: now + SESSION_S + 60)
    assert sessions.read(cookie) is None


def test_a_link_from_before_the_server_began_is_none(file: Client) -> None:
    link = Sessions(b"k" * 32, str(file.path)).link()
    later = Sessions(b"k" * 32, str(file.path))
    later.opened_at += 60
    assert not later.admits(link), "a link that was used with the server before must not be good again"


def test_a_session_outlives_its_server(serve: Serve) -> None:
    browser = entered(serve())
    again = serve()
    cookies = dict(browser.cookies.items())
    assert httpx.get(f"{again.address}/queues", cookies=cookies).status_code == 200


def test_a_new_link_is_printed_without_stopping_the_server(serve: Serve, file: Client) -> None:
    server = serve()
    assert httpx.get(new_link(file.path, server.bound.getsockname()[1])).status_code == 303


def test_a_part_of_a_page_that_lost_its_session_has_the_page_loaded_again(serve: Serve) -> None:
    answer = httpx.get(f"{serve().address}/standing", headers={"hx-request": "true"})
    assert answer.status_code == 403
    assert answer.headers["hx-refresh"] == "true"


# Lasting tokens ----------------------------------------------------------------------------------------------------


def test_a_lasting_token_is_good_again_and_again(serve: Serve) -> None:
    server = serve(token=TOKEN)
    for _ in range(2):
        assert httpx.get(f"{server.address}/", params={"token": TOKEN}).status_code == 303
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{server.address}/queues", headers=bearer).status_code == 200
    assert httpx.get(f"{server.address}/queues", headers={"authorization": "Bearer nonsense"}).status_code == 401
    assert httpx.get(f"{server.address}/queues", headers={"authorization": f"Basic {TOKEN}"}).status_code == 403


def test_another_token_ends_the_sessions_of_the_old_one(serve: Serve) -> None:
    cookies = dict(httpx.get(f"{serve(token=TOKEN).address}/", params={"token": TOKEN}).cookies)
    for token, status in ((TOKEN, 200), (TOKEN[::-1], 403), (None, 403)):
        assert httpx.get(f"{serve(token=token).address}/queues", cookies=cookies).status_code == status


def test_who_signs_out_is_out_at_every_server(serve: Serve) -> None:
    server, beside = serve(), serve(read_only=True)
    browser = entered(server)
    stolen = dict(browser.cookies)
    assert browser.post_form("/sign-out", csrf="0" * 40).status_code == 403
    assert browser.get("/queues").status_code == 200, "a foreign form signs nobody out"
    answer = browser.post_form("/sign-out")
    assert answer.status_code == 200
    assert "You have signed out" in answer.text
    assert not browser.cookies
    for one in (server, beside, serve()):
        assert httpx.get(f"{one.address}/queues", cookies=stolen).status_code == 403


def test_signing_out_ends_one_session_and_is_done_read_only_too(serve: Serve) -> None:
    server = serve(read_only=True)
    one, other = entered(server), entered(server)
    assert one.post_form("/sign-out").status_code == 200
    assert [browser.get("/queues").status_code for browser in (one, other)] == [403, 200]


def test_a_sign_out_that_cannot_be_kept_is_said(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    browser = entered(server)
    server.app.guard.sessions.ended = tmp_path / "file" / "folder"
    (tmp_path / "file").write_text("")
    answer = browser.post_form("/sign-out")
    assert answer.status_code == 503
    assert "cannot be kept" in answer.text


def test_the_ends_of_sessions_that_are_over_anyway_are_forgotten(file: Client, tmp_path: Path) -> None:
    sessions = Sessions(b"k" * 32, str(file.path), ended=tmp_path / "ended")
    for _ in range(2):
        session = sessions.read(sessions.open())
        assert session is not None
        sessions.end(session)
    (first, _) = sessions.ended.iterdir()
    os.utime(first, (0, 0))
    session = sessions.read(sessions.open())
    assert session is not None
    sessions.end(session)
    assert len(list(sessions.ended.iterdir())) == 2
    assert first not in set(sessions.ended.iterdir())


def test_what_cannot_be_forgotten_keeps_nobody_signed_in(file: Client, tmp_path: Path) -> None:
    sessions = Sessions(b"k" * 32, str(file.path), ended=tmp_path / "ended")
    over = sessions.ended / "over"
    (over / "in the way").mkdir(parents=True)
    os.utime(over, (0, 0))
    cookie = sessions.open()
    session = sessions.read(cookie)
    assert session is not None
    sessions.end(session)
    assert sessions.read(cookie) is None


def test_there_is_no_way_out_where_there_is_no_session(file: Client, serve: Serve) -> None:
    assert 'aria-label="Sign out"' in entered(serve()).get("/queues").text
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert "Sign out" not in httpx.get(f"{serve(token=TOKEN).address}/queues", headers=bearer).text
    app = application(file, trusted=True)
    (page,) = ask(app, "http://localhost/queues")
    assert "Sign out" not in page.text
    app.close()


def test_a_bearer_does_not_open_a_server_without_one(serve: Serve) -> None:
    server = serve()
    for token in ("None", server.app.guard.sessions.link()):
        answer = httpx.get(f"{server.address}/queues", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code in (401, 403)


def test_a_token_that_can_be_guessed_is_refused(file: Client) -> None:
    with pytest.raises(UsageError, match="can be guessed"):
        application(file, token="short")


def test_mounting_needs_a_word_on_who_may_look(file: Client) -> None:
    with pytest.raises(UsageError, match="who may look"):
        application(file)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "127.example.org"])
def test_no_other_address_without_a_token(file: Client, host: str) -> None:
    with pytest.raises(UsageError) as refused, serving(file.path, host=host, port=0):
        pass
    assert refused.value.code == "open_to_others"
    assert "--token" in refused.value.hint


# Names and sites ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1", "[::2]", "", "evil:80:80"],
)
def test_a_foreign_name_is_refused(serve: Serve, host: str) -> None:
    server = serve()
    browser = entered(server)
    answer = browser.get("/queues", headers={"host": host})
    assert answer.status_code in (400, 403)
    assert "support.db" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:99", "[::1]:80", "localhost."])
def test_a_name_of_this_machine_is_answered(serve: Serve, host: str) -> None:
    assert entered(serve()).get("/queues", headers={"host": host}).status_code == 200


def test_two_names_at_once_are_refused(serve: Serve) -> None:
    server = serve()
    with socket.create_connection(server.bound.getsockname()) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        answer = line.recv(65_536)
    assert b" 400 " in answer.split(b"\r\n")[0]


def test_a_bare_address_is_a_name_only_where_the_server_is_open_to_others(serve: Serve) -> None:
    server = serve(host="0.0.0.0", token=TOKEN)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{server.address}/queues", headers={**bearer, "host": "192.0.2.7:80"})
    assert answer.status_code == 200
    assert httpx.get(f"{server.address}/queues", headers={**bearer, "host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_asks_for_is_refused(serve: Serve, site: str) -> None:
    browser = entered(serve())
    fetched = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}
    assert browser.get("/queues", headers=fetched).status_code == 403
    framed = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert browser.get("/queues", headers=framed).status_code == 403
    opened = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert browser.get("/queues", headers=opened).status_code == 200


def test_a_link_from_another_site_says_how_to_go_on(serve: Serve) -> None:
    opened = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    server = serve()
    answer = httpx.get(f"{server.address}/runs/r_1%3Fx?tab=state", headers=opened)
    assert answer.status_code == 403
    assert 'href="/runs/r_1%3Fx?tab=state"' in answer.text
    assert 'href="/"' in httpx.get(f"{server.address}//evil.example", headers=opened).text


# Changes -----------------------------------------------------------------------------------------------------------

CHANGE = "/api/v1/runs"
"""Where a POST is a change; without one of its own it is not found, but only behind the guard."""


def test_a_change_needs_the_token_of_the_session(serve: Serve) -> None:
    server = serve()
    browser, other = entered(server), entered(server)
    for given in ({}, {"csrf": ""}, {"csrf": "0" * 40}, {"csrf": csrf(other)}, {"csrf": "é"}):
        answer = browser.post("/nothing", data=given)
        assert answer.status_code == 403, given
        assert "session" in answer.text
    assert browser.post("/nothing", data={"csrf": csrf(browser)}).status_code in (404, 405)
    assert browser.post("/nothing", headers={"x-csrf-token": csrf(browser)}).status_code in (404, 405)


def test_a_change_from_another_site_is_refused_even_with_its_token(serve: Serve) -> None:
    server = serve()
    browser = entered(server)
    form = {"csrf": csrf(browser)}
    port = server.bound.getsockname()[1]
    for origin in (
        "https://evil.example",
        "null",
        "http://127.0.0.1:1",
        f"http://localhost:{port}",
        "http://127.0.0.1",
    ):
        answer = browser.post("/nothing", data=form, headers={"origin": origin})
        assert answer.status_code == 403, origin
    for site in ("cross-site", "same-site"):
        assert browser.post("/nothing", data=form, headers={"sec-fetch-site": site}).status_code == 403
    assert browser.post("/nothing", data=form, headers={"origin": server.address}).status_code in (404, 405)
    fetched = {"sec-fetch-site": "same-origin", "origin": "null"}
    assert browser.post("/nothing", data=form, headers=fetched).status_code in (404, 405)


def test_other_methods_are_not_done(serve: Serve) -> None:
    browser = entered(serve())
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = browser.request(method, "/queues", headers={"x-csrf-token": csrf(browser)})
        assert answer.status_code == 405, method
        assert "access-control-allow-origin" not in answer.headers


def test_read_only_refuses_every_change(serve: Serve) -> None:
    browser = entered(serve(read_only=True))
    answer = browser.post("/nothing", data={"csrf": csrf(browser)})
    assert answer.status_code == 403
    assert "changes nothing" in answer.text
    assert "data-read-only" in browser.get("/queues").text
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.post(f"{serve(read_only=True, token=TOKEN).address}{CHANGE}", headers=bearer).status_code == 403


def test_a_huge_body_is_refused(serve: Serve) -> None:
    browser = entered(serve())
    token = csrf(browser)
    large = b"csrf=" + token.encode() + b"&x=" + b"a" * MOST_BYTES
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert browser.post("/nothing", content=large, headers=kind).status_code == 413
    in_parts = (large[n : n + 65_536] for n in range(0, len(large), 65_536))
    assert browser.post("/nothing", content=in_parts, headers=kind).status_code == 413
    assert browser.get("/queues").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"csrf=%ff%fe", 400), (b"&".join(b"a=1" for _ in range(6_000)), 400), (b"csrf", 403), (b"=&=&", 403)],
)
def test_a_broken_form_is_refused(serve: Serve, body: bytes, status: int) -> None:
    browser = entered(serve())
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert browser.post("/nothing", content=body, headers=kind).status_code == status


def test_what_is_neither_form_nor_json_is_refused(serve: Serve) -> None:
    browser = entered(serve())
    token = {"x-csrf-token": csrf(browser)}
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml"):
        assert browser.post("/nothing", content=b"x", headers={**token, "content-type": kind}).status_code == 415


# Answers -----------------------------------------------------------------------------------------------------------


def test_every_answer_is_hardened(serve: Serve) -> None:
    server = serve()
    browser = entered(server)
    asset = re.search(r'href="(/assets/\w+/base\.css)"', browser.get("/queues").text)
    assert asset is not None
    for path in ("/queues", "/no/such/page", "/standing", asset[1], "/healthz"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"] == POLICY, path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
    assert browser.get("/queues").headers["cache-control"] == "no-store"
    assert httpx.get(server.address).headers["content-security-policy"] == POLICY


def test_the_policy_lets_nothing_foreign_in() -> None:
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    assert "*" not in POLICY


def test_pages_hold_nothing_that_the_policy_forbids(site: Site) -> None:
    for path in ("/queues", "/schedules", "/no/such/page"):
        text = site.get(path).text
        assert not re.search(r"<[^>]+\sstyle=", text), path
        assert not re.search(r"<[^>]+\son\w+=", text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path
        assert "<style" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


PATHS = [
    "/assets/x/../../app.py",
    "/assets/x/..%2f..%2fapp.py",
    "/assets/x/%2e%2e/%2e%2e/%2e%2e/pyproject.toml",
    "/assets/x/..%5c..%5capp.py",
    "/assets/x//etc/passwd",
    "/assets/x/base.css%00.py",
    "/assets/x/%2fetc%2fpasswd",
    "/assets/x/",
    "/assets/x",
    "/../../../etc/passwd",
    "//etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
]


@pytest.mark.parametrize("game", PATHS)
def test_path_games_find_nothing(serve: Serve, game: str) -> None:
    server = serve()
    browser = entered(server)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with socket.create_connection(server.bound.getsockname()) as line:  # as it is: no client may tidy it up
        head = f"GET {game} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        line.sendall(head.encode())
        answer = b""
        while part := line.recv(65_536):
            answer += part
    status = int(answer.split(b" ", 2)[1])
    assert status == 404
    for secret in (b"root:", b"Starlette", b"[project]"):
        assert secret not in answer


def test_a_token_sends_nobody_to_another_site(serve: Serve) -> None:
    server = serve(token=TOKEN)
    with socket.create_connection(server.bound.getsockname()) as line:
        line.sendall(
            f"GET //evil.example/?token={TOKEN} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        )
        answer = line.recv(65_536).decode()
    places = re.findall(r"(?mi)^location: (.*)\r$", answer)
    assert places == ["/"]


def test_vendored_files_are_what_is_listed() -> None:
    listed = dict(
        re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (VENDORED / "VENDORED.md").read_text(), re.MULTILINE)
    )
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDORED.glob("*.js")}
    assert found
    assert listed == found


# Mounted -----------------------------------------------------------------------------------------------------------


def ask(app: Any, *urls: str, headers: dict[str, str] | None = None) -> list[httpx.Response]:
    """The answers of an ASGI application, without a server."""

    async def asking() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as browser:
            return [await browser.get(url, headers=headers) for url in urls]

    return asyncio.run(asking())


def test_mounted_pages_stay_below_their_prefix(file: Client) -> None:
    app = application(file, trusted=True)
    outer = Starlette(routes=[Mount("/vbl", app=app)])
    here = "http://localhost"
    (page,) = ask(outer, f"{here}/vbl/queues")
    assert page.status_code == 200
    assert "Path=/vbl;" in page.headers["set-cookie"]
    paths = re.findall(r'(?:href|src|hx-get|action)="(/[^"]*)"', page.text)
    assert paths
    assert all(path.startswith("/vbl/") for path in paths), paths
    assets = [f"{here}{path}" for path in paths if path.startswith("/vbl/assets/")]
    assert assets
    assert {answer.status_code for answer in ask(outer, *assets)} == {200}
    assert [a.status_code for a in ask(outer, f"{here}/vbl/nothing", f"{here}/queues")] == [404, 404]
    (answer,) = ask(outer, f"{here}/vbl/api/v1/nothing")
    assert answer.json()["error"]["code"] == "not_found"
    app.close()


def test_a_mounted_application_answers_to_its_hosts_alone(file: Client) -> None:
    app = application(file, trusted=True, hosts=["inside.example"])
    answers = ask(app, "http://inside.example/queues", "http://outside.example/queues")
    assert [answer.status_code for answer in answers] == [200, 403]
    app.close()


@pytest.mark.parametrize("named", ["Inside.example:8642", "inside.example.", "inside.example"])
def test_a_name_is_answered_with_and_without_a_port(file: Client, named: str) -> None:
    app = application(file, trusted=True, hosts=[named])
    answers = ask(app, "http://inside.example/queues", "http://inside.example:99/queues", "http://outside.example/")
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    app.close()


@pytest.mark.parametrize(("named", "url"), [("[fe80::1]:80", "http://[fe80::1]:9/"), ("fe80::1", "http://[fe80::1]/")])
def test_an_address_is_a_name_too(file: Client, named: str, url: str) -> None:
    app = application(file, trusted=True, hosts=[named])
    assert [answer.status_code for answer in ask(app, url, "http://[fe80::2]/")] == [200, 403]
    app.close()


@pytest.mark.parametrize("named", ["https://inside.example", "inside.example/vbl", "", ":80"])
def test_what_no_request_can_name_is_refused(file: Client, named: str) -> None:
    with pytest.raises(UsageError, match="no name of a host"):
        application(file, trusted=True, hosts=[named])


@pytest.mark.parametrize(("trusted", "token", "status"), [(True, None, 200), (True, TOKEN, 200), (False, TOKEN, 401)])
def test_the_bearer_of_who_stands_in_front_is_none_of_ours(
    file: Client, trusted: bool, token: str | None, status: int
) -> None:
    app = application(file, trusted=trusted, token=token)

    async def asked() -> tuple[int, int]:
        transport, headers = httpx.ASGITransport(app=app), {"authorization": "Bearer of-another-application"}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as browser:
            read, changed = await browser.get("/api/v1/runs"), await browser.post("/api/v1/runs", json={})
            return read.status_code, changed.status_code

    read, changed = asyncio.run(asked())
    assert read == status
    assert changed in (401, 403), "it is no leave to change anything without the token of the session"
    app.close()


def test_a_mounted_application_opens_its_own_file(path: Path) -> None:
    with vbl.connect(path):
        pass
    app = application(path, token=TOKEN)
    assert ask(app, "http://localhost/queues")[0].status_code == 403
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert ask(app, "http://localhost/queues", headers=bearer)[0].status_code == 200
    app.close()
    assert app.house.client.closed


def test_what_is_recorded_is_never_markup(site: Site, file: Client) -> None:
    bad = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    file.start(bad, key=bad, tags=[bad], x=bad)
    for path in ("/queues", "/schedules", f"/nothing/{bad}"):
        text = site.get(path).text
        assert "<script>alert" not in text
        assert "<img" not in text


def test_a_file_that_cannot_be_read_is_told_in_the_form_that_was_asked_for(serve: Serve) -> None:
    server = serve()
    browser = entered(server)
    client = server.app.house.client
    client.close()
    kinds = {"/queues": "text/html", "/metrics": "text/plain", "/api/v1/file": "application/json"}
    for path, kind in kinds.items():
        answer = browser.get(path)
        assert answer.status_code == 503, path
        assert answer.headers["content-type"].startswith(kind), path
        assert str(client.path) in answer.text
        assert "Traceback" not in answer.text
    health = httpx.get(f"{server.address}/healthz")
    assert (health.status_code, health.json()) == (503, {"error": {"code": "closed"}})


def test_an_asset_is_kept_for_good_only_under_the_name_of_its_content(serve: Serve) -> None:
    server = serve()
    name = server.app.house.assets.shelf().url("", "base.css")
    assert "immutable" in httpx.get(server.address + name).headers["cache-control"]
    assert httpx.get(f"{server.address}/assets/now/base.css").headers["cache-control"] == "no-cache"
