"""The chat in Chromium: a running server, pages that are watched for what they ask for, and a reader's first steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from fakes_ui import FakeChain
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from running import running

from rag.config import Settings
from ui.app import create_app

PATIENCE = 30_000  # milliseconds, where the machine is busy
QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
LISTING = "村级网格员、田间课堂、返乡青年"  # answered by three items

expect.set_options(timeout=PATIENCE)


@dataclass
class Site:
    """A running server, and the chain behind it where it is the fake one."""

    url: str
    chain: FakeChain

    def answer(self, question: str) -> dict[str, Any]:
        """The same question over the API."""
        response = httpx.post(f"{self.url}/api/ask", json={"question": question}, timeout=60)
        found: dict[str, Any] = response.raise_for_status().json()
        return found


@contextmanager
def serving(settings: Settings, chain: Any, port: int = 0) -> Iterator[Site]:
    """Serves a chain on a port, by default a free one; in the end connections are cut off."""
    with running(create_app(settings, chain), port) as url:
        yield Site(url, chain)


@dataclass
class Pages:
    """Opens pages of a site and notes what they ask for and complain of."""

    browser: Browser
    url: str
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    _contexts: dict[str, BrowserContext] = field(default_factory=dict)

    def open(
        self, path: str = "/", width: int = 1440, height: int = 900, url: str = "", **options: Any
    ) -> Page:
        """A page that is ready; those of the same options share the cache of Gradio's many scripts."""
        options["viewport"] = {"width": width, "height": height}
        if repr(options) not in self._contexts:
            made = self.browser.new_context(locale="zh-CN", reduced_motion="reduce", **options)
            self._contexts[repr(options)] = made
        page = self._contexts[repr(options)].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto((url or self.url) + path)
        ready(page)
        return page

    def forgive(self, *words: str) -> None:
        """Forgets the browser's own notes of requests that a test meant to fail."""
        strange = [c for c in self.complaints if not any(word in c for word in words)]
        assert strange == []
        self.complaints.clear()

    def check(self) -> None:
        """Asserts that only the local host was asked and nothing was complained of."""
        found = self.complaints.copy()
        self.complaints.clear()
        assert self.hosts - {""} <= {"127.0.0.1"}  # "": data: and blob:
        assert found == []

    def close(self) -> None:
        for context in self._contexts.values():
            context.close()


def ready(page: Page) -> None:
    page.wait_for_selector("#tree .tick", state="attached")
    page.wait_for_selector(".welcome", state="attached")


def begin_anew(page: Page) -> Page:
    """A page as if just opened: a new conversation, nothing ticked, no source."""
    if page.locator("#close-source").is_visible():
        page.locator("#close-source").click()
    page.locator("#find").fill("")
    if page.locator(".clear-scope").is_visible():
        page.locator(".clear-scope").click()
    page.locator("#again").click()
    page.locator("#question textarea").fill("")
    expect(page.locator(".welcome")).to_be_visible()
    return page


def ask(page: Page, question: str, state: str = ".answer") -> Locator:
    """Types the question, presses Enter, and waits for what comes of it."""
    found = page.locator(f"#conversation {state}")
    before = found.count()
    page.locator("#question textarea").fill(question)
    page.locator("#question textarea").press("Enter")
    expect(found).to_have_count(before + 1)
    return found.last


def evidence(page: Page) -> str:
    """The joined text of the highlighted elements."""
    page.wait_for_selector("#source mark.evidence")
    return "".join(page.locator("mark.evidence").evaluate_all("marks => marks.map(m => m.textContent)"))


def follow(page: Page, mark: Locator) -> str:
    """What is highlighted when a citation mark is followed."""
    mark.click()
    expect(mark).to_have_attribute("aria-current", "true")
    return evidence(page)
