"""What Chromium lets pages of other origins do: one that a site lists, and one that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from chat_site import PATIENCE
from fakes_ui import MAX_QUESTION, NAME, fake_chain, written
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.sync_api import Browser, Error, Frame, Page
from running import free_port, running

from rag.config import Settings
from ui.access import AccessStore
from ui.app import create_app
from ui.sites import Sites

pytestmark = pytest.mark.browser

TEXT = written()[0].text
QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"

# In a page: a session, an answer, and the source of its first citation.
ASK = """async ([base, site, ticket, question]) => {
  const post = (path, body, token) => fetch(base + path, {
    method: "POST",
    headers: {"Content-Type": "application/json", ...(token ? {Authorization: `Bearer ${token}`} : {})},
    body: JSON.stringify(body),
  });
  const session = await (await post("session", ticket ? {site, ticket} : {site})).json();
  if (!session.token) return {session};
  const told = await (await post("ask", {question}, session.token)).text();
  const citation = JSON.parse(told.match(/event: citation\\ndata: (.*)/)[1]);
  const place = new URLSearchParams({document: citation.document, start: citation.start, end: citation.end});
  const source = await fetch(`${base}source?${place}`, {headers: {Authorization: `Bearer ${session.token}`}});
  return {session, citation, source: await source.json()};
}"""
REPLAY = """async ([base, token, question]) => (await fetch(base + "ask", {
  method: "POST",
  headers: {"Content-Type": "application/json", Authorization: `Bearer ${token}`},
  body: JSON.stringify({question}),
})).status"""


@dataclass
class Hosts:
    """The server, the site that lists one of two pages, and those pages."""

    url: str
    site: str
    listed: str
    strange: str


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    kb = tmp_path_factory.mktemp("kb")
    port = free_port()
    pages = FastAPI()

    @pages.get("/")
    def page(framed: str = "") -> HTMLResponse:
        inner = f'<iframe src="{framed}"></iframe>' if framed else ""
        return HTMLResponse(f'<!doctype html><title>Page</title><link rel="icon" href="data:,">{inner}')

    listed, strange = f"http://localhost:{port}", f"http://127.0.0.1:{port}"
    site = Sites(AccessStore(kb)).put("门户", [listed])
    app = create_app(Settings(kb=kb, max_question=MAX_QUESTION), fake_chain(kb))
    with running(pages, port), running(app) as url:
        yield Hosts(url, site.id, listed, strange)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_page() as found:
        found.set_default_timeout(PATIENCE)
        yield found


def ask(where: Page | Frame, hosts: Hosts, ticket: str = "") -> dict[str, Any]:
    found: dict[str, Any] = where.evaluate(ASK, [f"{hosts.url}/widget/", hosts.site, ticket, QUESTION])
    return found


def check_answer(found: dict[str, Any]) -> None:
    citation, source = found["citation"], found["source"]
    assert citation["quote"] == source["text"] == TEXT[citation["start"] : citation["end"]]
    assert source["document"] == NAME


def framed(page: Page, hosts: Hosts, host: str) -> Frame:
    """The page of a host with the widget's page in a frame."""
    page.goto(f"{host}/?framed={hosts.url}/widget/frame?site={hosts.site}", wait_until="load")
    (frame,) = page.main_frame.child_frames
    return frame


def test_a_page_of_a_listed_origin_asks_and_reads(page: Page, hosts: Hosts) -> None:
    page.goto(hosts.listed)
    check_answer(ask(page, hosts))


def test_a_page_of_another_origin_reads_nothing(page: Page, hosts: Hosts) -> None:
    page.goto(hosts.listed)
    token = ask(page, hosts)["session"]["token"]
    page.goto(hosts.strange)
    with pytest.raises(Error, match="Failed to fetch"):
        ask(page, hosts)
    with pytest.raises(Error, match="Failed to fetch"):
        page.evaluate(REPLAY, [f"{hosts.url}/widget/", token, QUESTION])
    page.goto(hosts.listed)
    assert page.evaluate(REPLAY, [f"{hosts.url}/widget/", token, QUESTION]) == 200


def test_a_page_of_a_listed_origin_may_frame_the_widget(page: Page, hosts: Hosts) -> None:
    frame = framed(page, hosts, hosts.listed)
    assert frame.url.startswith(f"{hosts.url}/widget/frame")
    ticket = frame.locator("script").get_attribute("data-ticket")
    assert ticket
    check_answer(ask(frame, hosts, ticket))
    assert ask(frame, hosts)["session"]["error"]["code"] == "origin_refused"  # without the ticket


def test_a_page_of_another_origin_may_not(page: Page, hosts: Hosts) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    frame = framed(page, hosts, hosts.strange)
    assert frame.url == "chrome-error://chromewebdata/"
    assert any("frame-ancestors" in text for text in complaints)
