"""`vbl ui` and `vbl up --ui` as processes: what they print, what they refuse, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

import vbl
from tests.ports import lasting_port
from tests.web.conftest import entered
from vbl.errors import VblError
from vbl.web.serving import PORT, address_of, bind, serving

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 30.0
TOKEN = "a-lasting-token-of-32-characters"
FLOW = """
import vbl

@vbl.workflow
async def waits() -> None:
    await vbl.wait("word", timeout=3600)
"""


class Process:
    """A vbl command; its first line of stdout is read as JSON where it was asked for."""

    def __init__(self, path: Path, *args: str, **environment: str) -> None:
        self.path = path
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "vbl", *args, "--db", str(path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line of stdout."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            assert self.popen.stderr is not None
            raise AssertionError(self.popen.stderr.read())
        return line.strip()

    def document(self) -> dict[str, Any]:
        return json.loads(self.line())

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal and wait for the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(DEADLINE_S)


@contextlib.contextmanager
def vbl_process(path: Path, *args: str, **environment: str) -> Generator[Process, None, None]:
    process = Process(path, *args, **environment)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.communicate()


@pytest.fixture
def made(path: Path) -> Path:
    with vbl.connect(path):
        return path


@pytest.mark.slow
def test_a_file_is_shown_without_a_supervisor(made: Path) -> None:
    with vbl_process(made, "ui", "--port", "0", "--no-open") as ui:
        link = ui.line()
        assert link.startswith("http://127.0.0.1:")
        with httpx.Client(follow_redirects=True) as browser:
            page = browser.get(link)
            assert page.status_code == 200
            assert "no supervisor" in page.text
        assert ui.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_although_pages_are_open(made: Path, number: int) -> None:
    with vbl_process(made, "ui", "--port", "0", "--no-open", "--json") as ui:
        about = ui.document()
        assert set(about) == {"url", "address", "file"}
        with httpx.Client(follow_redirects=True, timeout=DEADLINE_S) as browser:
            browser.get(about["url"])
            with browser.stream("GET", f"{about['address']}/live") as stream:
                lines = stream.iter_lines()
                assert next(lines).startswith("retry")
                assert ui.end(number) == 0
                assert list(lines)[-1:] in ([], [""])


@pytest.mark.slow
def test_a_supervisor_serves_the_pages_and_takes_them_with_it(path: Path, tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    with vbl_process(path, "up", str(flow), "--ui", "--port", "0") as up:
        link = up.line()
        with httpx.Client(follow_redirects=True) as browser:
            page = browser.get(link)
            assert f"pid {up.popen.pid}" in page.text
            with vbl.connect(path) as client:
                run = client.start("waits")
                run.wait("waiting", timeout=DEADLINE_S)
            assert run.id in browser.get(link.split("/?")[0] + "/runs").text
        assert up.end(signal.SIGTERM) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(link)


@pytest.mark.slow
def test_a_session_goes_on_where_the_supervisor_was_killed_and_begun_again(path: Path, tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    port = str(lasting_port())
    with httpx.Client(follow_redirects=True) as browser:
        with vbl_process(path, "up", str(flow), "--ui", "--port", port) as up:
            browser.get(up.line())
            up.end(signal.SIGKILL)
        with vbl_process(path, "up", str(flow), "--ui", "--port", port) as up:
            up.line()
            page = browser.get(f"http://127.0.0.1:{port}/runs")
            assert page.status_code == 200
            assert f"pid {up.popen.pid}" in page.text


@pytest.mark.slow
def test_events_as_json_are_not_mixed_with_the_link(path: Path, tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    with vbl_process(path, "up", str(flow), "--ui", "--port", "0", "--json") as up:
        assert up.popen.stderr is not None
        link = up.popen.stderr.readline().strip()
        assert httpx.get(link).status_code == 303
        with vbl.connect(path) as client:
            client.start("waits")
        assert up.document()["type"] == "RUN_STARTED"
        assert up.end() == 0


@pytest.mark.slow
def test_a_new_link_is_printed_beside_the_server(made: Path) -> None:
    port = str(lasting_port())
    with vbl_process(made, "ui", "--port", port, "--no-open") as ui:
        httpx.get(ui.line())
        with vbl_process(made, "ui", "--port", port, "--link") as other:
            link = other.line()
        assert httpx.get(link).status_code == 303
        assert httpx.get(link).status_code == 403
        with vbl_process(made, "ui", "--port", port, "--link", "--json") as other:
            assert httpx.get(other.document()["url"]).status_code == 303


@pytest.mark.slow
def test_a_lasting_token_is_not_printed(made: Path) -> None:
    for args, environment in ((("--token", TOKEN), {}), ((), {"VBL_UI_TOKEN": TOKEN})):
        with vbl_process(made, "ui", "--port", "0", "--no-open", *args, **environment) as ui:
            address = ui.line()
            assert TOKEN not in address
            assert httpx.get(f"{address}api/v1/file", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
            ui.end()
            assert ui.popen.stderr is not None
            assert TOKEN not in ui.popen.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--host", "0.0.0.0"), 2, "--token"),
        (("--host", "192.0.2.1", "--token", TOKEN), 1, "192.0.2.1"),
        (("--token", "short"), 2, "can be guessed"),
        (("--port", "99999"), 2, "99999"),
    ],
)
def test_what_cannot_be_is_refused_in_words(made: Path, args: tuple[str, ...], code: int, words: str) -> None:
    with vbl_process(made, "ui", "--no-open", *args) as ui:
        assert ui.popen.wait(DEADLINE_S) == code
        assert ui.popen.stderr is not None
        said = ui.popen.stderr.read()
        assert words in said
        assert "Traceback" not in said


@pytest.mark.slow
def test_a_missing_file_is_not_made(path: Path) -> None:
    with vbl_process(path, "ui", "--no-open") as ui:
        assert ui.popen.wait(DEADLINE_S) == 3
    assert not path.exists()


@pytest.mark.slow
def test_without_the_extra_it_says_what_to_install(made: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    for name in ("starlette", "uvicorn"):
        (absent / name).mkdir(parents=True)
        module = f'raise ModuleNotFoundError("No module named {name!r}", name={name!r})\n'
        (absent / name / "__init__.py").write_text(module)
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    for args in (("ui", "--no-open"), ("ui", "--link"), ("up", str(flow), "--ui")):
        with vbl_process(made, *args, PYTHONPATH=str(absent)) as ui:
            assert ui.popen.wait(DEADLINE_S) == 1
            assert ui.popen.stderr is not None
            assert "pip install 'vbl[ui]'" in ui.popen.stderr.read()


def test_a_port_that_is_taken_is_named(made: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(VblError) as refused, serving(made, port=port):
            pass
        assert refused.value.code == "port_taken"
        assert str(port) in refused.value.message


def test_where_the_usual_port_is_taken_another_one_is_found() -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(VblError):  # something else on this machine may have it
            stack.enter_context(bind("127.0.0.1", PORT))
        other = stack.enter_context(bind("127.0.0.1", None))
        assert other.getsockname()[1] not in (0, PORT)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_the_address_is_one_that_a_browser_opens(host: str) -> None:
    try:
        bound = bind(host, 0)
    except VblError as error:
        if ":" not in host:
            raise
        pytest.skip(f"no IPv6 here: {error.message}")
    with bound:
        url = httpx.URL(address_of(bound))
        assert url.host in ("127.0.0.1", "::1")
        assert url.port == bound.getsockname()[1]


def test_an_answer_does_not_wait_for_an_acknowledgement(made: Path) -> None:
    """Small packets are not held back: 200 ms are all that a new event has until it is on the screen."""
    with bind("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP, "asyncio switches Nagle off for sockets that say so alone"


@pytest.mark.slow
def test_pages_beside_a_program_end_with_its_block(made: Path) -> None:
    with serving(made, port=0) as server, server.beside():
        site = entered(server)
        assert site.get("/queues").status_code == 200
    deadline = time.monotonic() + DEADLINE_S
    while any(thread.name == "vbl-pages" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(httpx.TransportError):
        site.get("/queues")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # that is what is tried here
def test_a_forked_child_does_not_keep_the_port(made: Path) -> None:
    ready, done, port = os.pipe(), os.pipe(), lasting_port()
    with serving(made, port=port):
        child = os.fork()
        if child == 0:
            os.write(ready[1], b"x")
            os.read(done[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
    try:
        bind("127.0.0.1", port).close()
    finally:
        os.write(done[1], b"x")
        os.waitpid(child, 0)
        for end in (*ready, *done):
            os.close(end)


def test_where_the_pages_would_be_is_asked_only_with_pages(path: Path, tmp_path: Path) -> None:
    with vbl_process(path, "up", str(tmp_path / "flow.py"), "--port", "0") as up:
        assert up.popen.wait(DEADLINE_S) == 2
        assert up.popen.stderr is not None
        assert "--ui" in up.popen.stderr.read()
