"""Pages in Chromium that are watched for the hosts they ask and for what they complain of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page

PATIENCE = 30_000  # milliseconds, where the machine is busy


@dataclass
class Pages:
    """Opens pages of a site: ``prepare`` comes before a page is loaded, ``ready`` waits until it can be used."""

    browser: Browser
    url: str
    ready: Callable[[Page], Any]
    prepare: Callable[[Page], Any] = lambda page: None
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
        self.prepare(page)
        page.goto((url or self.url) + path)
        self.ready(page)
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


@contextmanager
def watching(
    browser: Browser,
    url: str,
    ready: Callable[[Page], Any],
    prepare: Callable[[Page], Any] = lambda page: None,
) -> Iterator[Pages]:
    """Pages of a site, checked and closed in the end."""
    pages = Pages(browser, url, ready, prepare)
    yield pages
    pages.close()
    pages.check()
