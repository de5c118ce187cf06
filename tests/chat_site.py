"""The chat in Chromium: a running server, and a reader's first steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fakes_ui import FakeChain
from playwright.sync_api import Locator, Page, expect
from running import running
from watched import PATIENCE

from rag.config import Settings
from ui.app import create_app

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


def ready(page: Page) -> None:
    """Waits until the first screen and the tree are there."""
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
