"""Who only looks waits for nobody: each request reads on a connection of its own, and none of them is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.web.conftest import Site, entered
from vbl.client import Client
from vbl.errors import UsageError
from vbl.finding import Finder
from vbl.web.readers import KEPT, Readers
from vbl.web.serving import Server

DEADLINE_S = 60.0


def connections(path: Path) -> int:
    """How many are open to the file in this process."""
    return sum(one.filename == str(path) for one in apsw.connections())


@pytest.mark.slow  # a real server on a real socket
def test_a_long_search_holds_up_nobody_else(site: Site, file: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    searching, enough = threading.Event(), threading.Event()
    find = Finder.find

    def long(self: Finder, *args: Any, **options: Any) -> Any:
        with self._store.read():  # it has the connection to itself for as long as it takes
            searching.set()
            assert enough.wait(DEADLINE_S)
        return find(self, *args, **options)

    run = file.start("triage", ticket="T-1")
    monkeypatch.setattr(Finder, "find", long)
    with ThreadPoolExecutor(1) as pool:
        search = pool.submit(entered(site.server).get, "/runs?q=word")
        try:
            assert searching.wait(DEADLINE_S)
            for path in ("/queues", f"/runs/{run.id}", f"/api/v1/runs/{run.id}", "/inbox", "/healthz", "/no/page"):
                assert site.get(path, timeout=DEADLINE_S / 2).status_code in (200, 404), path
            assert site.post_form(f"/runs/{run.id}/pause").status_code == 303
            assert not search.done()
        finally:
            enough.set()
        assert search.result(DEADLINE_S).status_code == 200


def test_as_many_read_at_once_as_ask_and_a_few_stay_open(file: Client) -> None:
    readers = Readers(file)
    before, number = connections(file.path), KEPT + 3
    together = threading.Barrier(number)

    def look(_: int) -> int:
        with readers.one() as client:
            together.wait(DEADLINE_S)
            assert client is not file
            return client.cursor()

    with ThreadPoolExecutor(number) as pool:
        assert list(pool.map(look, range(number))) == [file.cursor()] * number
    assert connections(file.path) == before + KEPT
    with readers.one() as late:
        readers.close()
        assert late.cursor() == file.cursor()
    assert connections(file.path) == before


def test_what_a_change_wrote_is_read_at_once(file: Client) -> None:
    readers = Readers(file)
    with readers.one():
        pass
    run = file.start("triage")
    with readers.one() as client:
        assert client.run(run.id).seq == 1
    readers.close()


def test_beside_a_closed_client_nothing_is_read(file: Client) -> None:
    readers = Readers(file)
    with readers.one():
        pass
    file.close()
    with pytest.raises(UsageError) as refused, readers.one():
        pass
    assert refused.value.code == "closed"
    readers.close()


@pytest.mark.slow
def test_a_server_leaves_no_connection_behind(serve: Callable[..., Server], file: Client) -> None:
    before = connections(file.path)
    server = serve()
    run = file.start("triage")
    with ThreadPoolExecutor(8) as pool:
        sites = [entered(server) for _ in range(8)]
        answers = pool.map(lambda site: site.get(f"/runs/{run.id}").status_code, sites)
        assert set(answers) == {200}
    server.app.close()
    assert connections(file.path) == before + 1, "the server's own client, which it closes itself"
