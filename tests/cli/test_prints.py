"""What a user's code prints while a command runs."""

from __future__ import annotations

import contextlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor

from vbl.cli.prints import Lines, prints_beside
from vbl.cli.terminal import Terminal


def test_two_that_print_at_once_never_share_a_line():
    stream = io.StringIO()
    lines = Lines(stream)
    begun, spoken = threading.Event(), threading.Event()

    def body() -> None:
        lines.write("from a body")
        begun.set()
        spoken.wait(60)
        lines.write("\n")

    with ThreadPoolExecutor() as pool:
        pool.submit(body)
        assert begun.wait(60)
        stream.write("from vbl\n")
        print("from another", file=lines)
        spoken.set()
    assert stream.getvalue() == "from vbl\nfrom another\nfrom a body\n"


def test_a_line_without_an_end_is_shown_when_it_is_flushed_and_at_the_end_of_the_command():
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), prints_beside(Terminal()):
        print("50 %", end="", flush=True)
        assert stream.getvalue() == "50 %"
        print("one\ntwo", end="")
        assert stream.getvalue() == "50 %one\n"
    assert stream.getvalue() == "50 %one\ntwo"
