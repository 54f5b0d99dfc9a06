"""Many processes that do the same thing at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.crash import asking
from tests.crash.lives import environment


class Person:
    """One process of the crowd."""

    def __init__(self, *words: object) -> None:
        command = [sys.executable, asking.__file__, *map(str, words)]
        self.process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ready(self) -> None:
        """Wait until it has opened the file and waits for the others."""
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise AssertionError(self.process.communicate()[1])

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def told(self, timeout: float = 600.0) -> Any:
        """Wait for its end; what it says."""
        out, err = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, err
        return json.loads(out)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def crowd(people: Sequence[Sequence[object]]) -> Iterator[list[Person]]:
    """Start them all, and let them go when all are ready; nobody is left behind."""
    made: list[Person] = []
    try:
        made += [Person(*words) for words in people]
        for person in made:
            person.ready()
        for person in made:
            person.go()
        yield made
    finally:
        for person in made:
            if person.process.stdout is not None and not person.process.stdout.closed:
                person.kill()
