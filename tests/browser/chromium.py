"""Where the Chromium of these tests comes from, and how it is started; docs/pictures.py uses the same one.

Looked for in this order: what VBL_TEST_CHROMIUM names, the machine's own, the one that Playwright has installed. Where
there is none it is installed, by the machine's packages for root, else by Playwright. It is never done without: a page
that no browser has opened is not tested.

    python tests/browser/chromium.py     prints the path, installing it first where that must be
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
APT = "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium"


class NoBrowser(Exception):
    """There is no Chromium, and none could be installed."""


def on_the_machine() -> str | None:
    """The path that VBL_TEST_CHROMIUM names, or that of a browser on PATH. Raises NoBrowser where the name is wrong."""
    if named := os.environ.get("VBL_TEST_CHROMIUM"):
        if not (found := shutil.which(named)):
            raise NoBrowser(f"VBL_TEST_CHROMIUM is {named!r}, and no program is there")
        return found
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def of_playwright(playwright: Playwright) -> str | None:
    """The path of the browser that `playwright install chromium` has put there, if it has."""
    path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def chromium(playwright: Playwright) -> str:
    """The path of a Chromium. Raises NoBrowser, with what to type."""
    found = on_the_machine() or of_playwright(playwright)
    if found:
        return found
    with _alone():
        return on_the_machine() or of_playwright(playwright) or _installed(playwright)


def _installed(playwright: Playwright) -> str:
    tried: list[str] = []
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        tried.append(_said(["sh", "-c", APT]))
        if found := on_the_machine():
            return found
    tried.append(_said([sys.executable, "-m", "playwright", "install", "chromium"]))
    if found := of_playwright(playwright):
        return found
    raise NoBrowser(
        "There is no Chromium for the tests of the page, and none could be installed. Type one of\n"
        f"    apt-get install chromium\n    {sys.executable} -m playwright install chromium\n"
        "or let VBL_TEST_CHROMIUM name one.\n\n" + "\n".join(tried)
    )


def _said(command: list[str]) -> str:
    """What the command said at last; a failure shows in the browser's being absent."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return f"$ {' '.join(command)}\nexited with {done.returncode}\n{done.stdout[-1500:]}"


@contextmanager
def _alone() -> Iterator[None]:
    """One process installs, the others wait for it."""
    with open(Path(tempfile.gettempdir()) / f"vbl-chromium-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def launched() -> Iterator[Browser]:
    """A headless Chromium with nobody's profile. Raises NoBrowser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(playwright), args=ARGUMENTS)
        yield browser
        browser.close()


if __name__ == "__main__":
    with sync_playwright() as here:
        print(chromium(here))
