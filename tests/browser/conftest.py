"""The page as a person has it: a real browser, a real `vbl ui`, a real supervisor, and a real file.

A test that uses `tab` fails at the first message of the console that is an error, at an exception in a script and at
anything that the content security policy refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.chromium import NoBrowser, launched
from tests.browser.site import DEADLINE_S, Site

expect.set_options(timeout=DEADLINE_S * 1000)  # the machine may be busy with the other tests


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, tmp_path / "work.db")
    yield site
    site.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For a module and not for the session: while it is there, its event loop counts as running in this thread."""
    try:
        with launched() as browser:
            yield browser
    except NoBrowser as missing:
        pytest.fail(str(missing), pytrace=False)


class Complaints(list[str]):
    """What the browser has complained about. `expected` says which complaints a test brings about itself."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.append(f"{page.url}: {error.message}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.append(f"{message.location.get('url')}: {message.text}")

    @property
    def unexpected(self) -> list[str]:
        return [one for one in self if not any(re.search(pattern, one) for pattern in self.expected)]


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def context(browser: Browser, complaints: Complaints) -> Iterator[BrowserContext]:
    """A browser window of its own: no cookie, no storage."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(DEADLINE_S * 1000)
    context.on("page", complaints.watch)
    yield context
    context.close()
    assert not complaints.unexpected


@pytest.fixture
def tab(context: BrowserContext) -> Page:
    return context.new_page()
