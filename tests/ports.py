"""Ports for tests that need one of their own choice."""

from __future__ import annotations

import contextlib
import random
import socket


def lasting_port() -> int:
    """A free port that no system gives to whoever asks for any: it is still free for a server's next life."""
    for port in random.SystemRandom().sample(range(15_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("a hundred ports are taken")
