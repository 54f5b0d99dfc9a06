"""The live feed: what a page hears, from where it goes on, and what many pages at once cost. Over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import vbl
from tests.web.conftest import Site, entered
from vbl.client import Client
from vbl.web import live
from vbl.web.live import MOST_RUNS, Feed
from vbl.web.serving import Server

pytestmark = pytest.mark.slow  # real servers on real sockets

ROOT = Path(__file__).parent.parent.parent
Serve = Callable[..., Server]
DEADLINE_S = 60.0


class Stream:
    """An open stream, read message by message."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()

    def next(self) -> tuple[str, dict[str, Any]]:
        """The id and the data of the next message; beats are passed over."""
        found: dict[str, str] = {}
        for line in self._lines:
            if line:
                name, _, value = line.partition(": ")
                found[name] = value
            elif "data" in found and "event" not in found:
                return found.get("id", ""), json.loads(found["data"])
            else:
                found = {}
        raise EOFError("the stream has ended")

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message for which it holds."""
        while True:
            _, data = self.next()
            if holds(data):
                return data


@contextlib.contextmanager
def opened(browser: httpx.Client, after: int, run: str | None = None, **headers: str) -> Generator[Stream, None, None]:
    params = {"after": str(after)} | ({"run": run} if run else {})
    with browser.stream("GET", "/live", params=params, headers=headers, timeout=DEADLINE_S) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Stream(answer)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_who_has_signed_out_hears_no_more(site: Site, file: Client) -> None:
    before = file.cursor()
    with opened(site, before) as stream:
        assert stream.next()[1]["cursor"] == before
        assert site.post_form("/sign-out").status_code == 200
        file.start("triage", ticket="secret")
        _, told = stream.next()
        assert (told["cursor"], told["runs"], told["all"]) == (before, [], True), "only that he has to ask"
        with pytest.raises(EOFError):
            stream.next()
    eventually(lambda: site.server.app.house.feed.open == 0)


def test_a_head_of_the_feed_opens_no_stream(site: Site) -> None:
    answer = site.head("/live")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert site.server.app.house.feed.open == 0
    assert site.get("/queues", timeout=DEADLINE_S).status_code == 200, "the same connection, which is free"


def test_a_new_event_is_told_with_its_run(site: Site, file: Client) -> None:
    with opened(site, file.cursor()) as stream:
        first = stream.next()[1]
        assert (first["runs"], first["all"]) == ([], False), "nothing has come since the page was made"
        run = file.start("triage", ticket="T-1")
        id, data = stream.next()
        assert data["runs"] == [run.id]
        assert not data["all"]
        assert data["cursor"] == file.cursor() == int(id)


def test_who_comes_back_hears_what_was_missed(site: Site, file: Client) -> None:
    with opened(site, file.cursor()) as stream:
        stream.next()
        run = file.start("triage")
        seen = stream.next()[1]["cursor"]
        others = [file.start("triage").id for _ in range(3)]
        stream.until(lambda data: data["cursor"] == file.cursor())
        with opened(site, seen) as again:
            data = again.next()[1]
            assert set(data["runs"]) == set(others)
            assert run.id not in data["runs"]
            assert not data["all"]
        with opened(site, 0, **{"last-event-id": str(seen)}) as again:
            assert set(again.next()[1]["runs"]) == set(others), "what the browser says goes before the address"


def test_after_a_pause_in_which_nobody_listened_anything_may_have_changed(site: Site, file: Client) -> None:
    with opened(site, file.cursor()) as stream:
        stream.next()
    feed = site.server.app.house.feed
    eventually(lambda: feed.open == 0)
    before = file.cursor()
    file.start("triage")
    with opened(site, before) as stream:
        data = stream.next()[1]
        assert data["all"]
        assert data["cursor"] == file.cursor()


def test_a_page_that_knows_of_a_commit_before_the_feed_is_not_drawn_again(
    site: Site, file: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_S", 1.0)
    with opened(site, file.cursor()) as stream:
        stream.next()
        run = file.start("triage")
        with opened(site, file.cursor()) as later:  # its page was made after the commit, and before the next look
            first = later.next()[1]
            assert (first["runs"], first["all"], first["cursor"]) == ([], False, file.cursor())
            assert stream.next()[1]["runs"] == [run.id]


def test_a_cursor_of_another_file_has_all_drawn_again(site: Site, file: Client) -> None:
    file.start("triage")
    for after in (10**6, 10**18):
        with opened(site, after) as stream:
            data = stream.next()[1]
            assert data["all"]
            assert data["cursor"] == file.cursor()


@pytest.mark.parametrize("after", ["x", "-1", "1e3", "²", "9" * 40])
def test_a_cursor_that_is_none_is_the_beginning(site: Site, file: Client, after: str) -> None:
    file.start("triage")
    with site.stream("GET", "/live", params={"after": after}, timeout=DEADLINE_S) as answer:
        assert Stream(answer).next()[1]["all"]


def test_a_page_about_one_run_hears_of_that_run(site: Site, file: Client) -> None:
    mine, other = file.start("triage"), file.start("triage")
    with opened(site, file.cursor(), mine.id) as stream:
        stream.next()
        mine.pause()
        assert mine.id in stream.until(lambda data: bool(data["runs"]))["runs"]
        other.pause()
        assert mine.id not in stream.next()[1]["runs"], "it is told that something has moved, later, and no more"


def test_many_runs_at_once_are_not_listed(site: Site, file: Client) -> None:
    with opened(site, file.cursor()) as stream:
        stream.next()
        file.start_many("triage", [{"n": n} for n in range(MOST_RUNS + 10)])
        data = stream.next()[1]
        assert data["all"]
        assert len(data["runs"]) == MOST_RUNS


def test_a_supervisor_that_comes_and_is_killed_is_told(serve: Serve, file: Client, tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text("import vbl\n\n@vbl.workflow\ndef nothing() -> None: ...\n")
    browser = entered(serve())
    with opened(browser, file.cursor()) as stream:
        assert stream.next()[1]["supervisor"] is None
        up = subprocess.Popen(
            [sys.executable, "-m", "vbl", "up", str(flow), "--db", str(file.path)],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            about = stream.until(lambda data: data["supervisor"] is not None)["supervisor"]
            assert about["pid"] == up.pid
            assert about["epoch"] >= 1
            assert about["silent"] is False
            assert "no supervisor" not in browser.get("/standing").text
            up.kill()
            up.wait()
            assert stream.until(lambda data: data["supervisor"] is None)
            assert "no supervisor" in browser.get("/standing").text
        finally:
            up.kill()
            up.wait()


def test_it_beats_where_nothing_happens(site: Site, file: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.05)
    with opened(site, file.cursor()) as stream:
        beats = iter(stream.answer.iter_lines())
        assert next(line for line in beats if line.startswith("event"))
        assert next(beats) == f"data: {file.cursor()}"


def test_who_leaves_is_forgotten_and_with_the_last_one_the_watching_ends(site: Site, file: Client) -> None:
    feed = site.server.app.house.feed

    def watching() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "vbl-live"]

    eventually(lambda: not watching())
    with opened(site, file.cursor()) as one, opened(site, file.cursor()) as two:
        one.next()
        two.next()
        assert feed.open == 2
        assert len(watching()) == 1
    eventually(lambda: feed.open == 0 and not watching())


def test_a_server_that_stops_ends_its_streams(file: Client, serve: Serve) -> None:
    server = serve()
    browser = entered(server)
    with opened(browser, file.cursor()) as stream:
        stream.next()
        server.should_exit = True
        with pytest.raises(EOFError):
            stream.next()
    eventually(lambda: server.app.house.feed.open == 0)


@contextlib.contextmanager
def crowd(server: Server, browser: Site, number: int) -> Iterator[list[socket.socket]]:
    """So many open streams, as raw connections."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    head = f"GET /live?after=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        lines: list[socket.socket] = []
        for _ in range(number):
            line = stack.enter_context(socket.create_connection(server.bound.getsockname(), timeout=DEADLINE_S))
            line.sendall(head)
            lines.append(line)
        yield lines


def test_hundreds_of_streams_leave_the_pages_alone(serve: Serve, file: Client) -> None:
    server = serve()
    browser = entered(server)
    feed = server.app.house.feed
    with crowd(server, browser, feed.most + 60) as lines:
        answers = [line.recv(4_096).split(b"\r\n")[0] for line in lines]
        assert answers.count(b"HTTP/1.1 200 OK") == feed.most
        assert answers.count(b"HTTP/1.1 503 Service Unavailable") == 60
        refused = browser.get("/live")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert browser.get("/queues").status_code == 200
        run = file.start("triage")
        for line in (line for line, answer in zip(lines, answers, strict=True) if b"200" in answer):
            heard = b""
            while run.id.encode() not in heard:
                part = line.recv(65_536)
                assert part, "a stream ended"
                heard += part
    eventually(lambda: feed.open == 0)
    with opened(browser, file.cursor()) as stream:
        stream.next()


def test_a_file_that_is_gone_ends_the_streams_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "gone.db"
    with vbl.connect(path):
        pass
    feed = Feed(path)
    path.write_bytes(b"this is no database any more" * 100)
    path.with_name(path.name + "-wal").unlink(missing_ok=True)

    async def listen() -> list[str]:
        with feed.listening() as listener:
            return [text async for text in feed.stream(listener, 0, None, lambda: True)]

    heard = asyncio.run(asyncio.wait_for(listen(), DEADLINE_S))
    assert heard[-1].startswith("event: problem\n")
    assert str(path) in heard[-1]
    feed.close()
