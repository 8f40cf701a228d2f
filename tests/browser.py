"""A headless browser for the tests of the console: any error in a page fails the test, and no other host is reached."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Route, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SWITCHES = ("--disable-background-networking", "--disable-gpu", "--no-sandbox", "--disable-dev-shm-usage")
_TIMEOUT_MS = 60_000  # The machine may be busy.
expect.set_options(timeout=_TIMEOUT_MS)


def find_browser() -> str:
    """Return the path of a browser, ``CHROMIUM`` or one that is installed; empty without one."""
    return os.environ.get("CHROMIUM", "") or next(filter(None, map(shutil.which, _NAMES)), "")


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a browser; no ``asyncio.run`` works in this thread meanwhile."""
    with tempfile.TemporaryDirectory(prefix="springtide-browser-") as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=_SWITCHES, env={**os.environ, "HOME": folder, "TMPDIR": folder}
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A tab with a store of its own, and what went wrong in it.

    Attributes:
        context: Its cookies and its storage.
        page: The tab.
        url: Where the console is.
        problems: Errors in the browser's console (a breach of the Content-Security-Policy is one), exceptions that no
            script has caught, and requests for other hosts.
        expected: Patterns of problems that the test brings about.
    """

    context: BrowserContext
    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def open(self, address: str = "") -> Page:
        """Open a page of the console, such as ``#/season/milk``, and return the tab."""
        self.page.goto(f"{self.url}/{address}")
        return self.page

    def expect(self, pattern: str) -> None:
        """Take problems that match the pattern for what the test brings about."""
        self.expected.append(pattern)

    def until_wrong(self, num_problems: int) -> None:
        """Wait until so many problems are there."""
        give_up_s = time.monotonic() + _TIMEOUT_MS / 1_000
        while len(self.problems) < num_problems:
            assert time.monotonic() < give_up_s, self.problems
            self.page.wait_for_timeout(20)  # The browser's events come in while this waits.

    def unexpected(self) -> list[str]:
        """Return the problems that the test does not bring about."""
        return [each for each in self.problems if not any(re.search(pattern, each) for pattern in self.expected)]


@contextlib.contextmanager
def visit(browser: Browser, url: str, **options: object) -> Iterator[Visit]:
    """Open a tab for the console at a URL, and fail at the end if anything unexpected went wrong in it.

    Args:
        browser: The browser.
        url: Where the console is, such as ``http://127.0.0.1:8088``.
        **options: Of Playwright's ``new_context``: ``color_scheme``, ``viewport``.
    """
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(_TIMEOUT_MS)
    page = context.new_page()
    here = Visit(context, page, url.rstrip("/"))
    host = urlsplit(url).netloc

    def look_at(route: Route) -> None:
        if urlsplit(route.request.url).netloc == host:
            route.continue_()
        else:
            here.problems.append(f"request to another host: {route.request.url}")
            route.abort()

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            here.problems.append(f"console: {message.text} ({message.location.get('url', '')})")

    context.route(re.compile(r"^(?!data:|blob:)"), look_at)
    page.on("console", note)
    page.on("pageerror", lambda error: here.problems.append(f"exception: {error}"))
    try:
        yield here
        with contextlib.suppress(Error):
            page.evaluate("0")  # What has been said until now has come.
    finally:
        context.close()
    assert not here.unexpected(), "\n".join(here.unexpected())
