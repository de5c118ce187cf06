"""The widget in Chromium: in a page of another origin, whose policy allows its script and its requests alone."""

from __future__ import annotations

import gzip
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from fakes_ui import BROKEN, DOUBTFUL, NAME, FakeChain, fake_chain
from playwright.sync_api import Browser, Locator, Page, Route, expect
from running import free_port, running
from widget_site import (
    OTHER_TITLE,
    SITE,
    TITLE,
    WIDGET,
    Embedded,
    Portal,
    embedded,
    widget_server,
)

from rag.records import AnswerSentence, Cited, Discarded, Done, Event, Question, Retrieved, Said

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds, where the machine is busy
QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
QUOTE = "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。"
ARTICLE = "关于加快青禾县数字乡村建设的实施意见"
LISTING = "村级网格员、田间课堂、返乡青年"  # answered by three items
NOWHERE = "火星移民"  # refused
SMALLEST = 24  # pixels of what can be pressed
MOVES = 20  # presses of Tab within which everything must be reached

HOSTILE_CSS = """
:root { font-size: 40px; --ink: red; --sheet: red; }
body * { display: none !important; position: static !important; opacity: 0 !important; color: red !important;
  font: 99px fantasy !important; transform: scale(3) !important; pointer-events: none !important; --ink: red !important; }
div, button, textarea, mark, p, span { background: red !important; width: 7px !important; }
youju-chat { display: none !important; visibility: hidden !important; filter: blur(9px) !important; }
.answer, .cite, .panel { display: none !important; }
"""

# Notes what the page's policy refuses, before any script of the page runs.
RECORD = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""

expect.set_options(timeout=PATIENCE)


@dataclass
class Pages:
    """Opens pages and notes what they ask for, what they complain of, and what their policy refused."""

    browser: Browser
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    opened: list[Page] = field(default_factory=list)

    def open(self, url: str, width: int = 1200, height: int = 800, **options: Any) -> Page:
        options = {"locale": "zh-CN", "reduced_motion": "reduce", **options}
        context = self.browser.new_context(viewport={"width": width, "height": height}, **options)
        context.add_init_script(RECORD)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)
        self.opened.append(page)
        return page

    def forgive(self, *words: str) -> None:
        """Forgets the browser's own notes of requests that a test meant to fail."""
        assert [c for c in self.complaints if not any(word in c for word in words)] == []
        self.complaints.clear()

    def check(self) -> None:
        """Asserts that only this machine was asked, nothing complained of, and no policy violated."""
        violations = [page.evaluate("window.violations") for page in self.opened]
        for page in self.opened:
            page.context.close()
        assert self.hosts - {""} <= {"127.0.0.1", "localhost"}
        assert self.complaints == []
        assert [each for each in violations if each] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with embedded(fake_chain(tmp_path_factory.mktemp("kb"))) as found:
        yield found


@pytest.fixture
def chain(site: Embedded) -> Iterator[FakeChain]:
    yield site.chain
    site.chain.pause = 0.0


@pytest.fixture
def portal(site: Embedded) -> Iterator[Portal]:
    yield site.portal
    site.portal.styles = ""


@pytest.fixture
def pages(browser: Browser) -> Iterator[Pages]:
    found = Pages(browser)
    yield found
    found.check()


@pytest.fixture
def page(portal: Portal, pages: Pages) -> Page:
    """A page with the widget's panel open."""
    found = pages.open(portal.page({"site": portal.site}))
    open_panel(found)
    return found


def open_panel(page: Page) -> None:
    page.locator(".launcher").click()
    expect(page.locator(".example").first).to_be_visible()


def ask(widget: Page | Locator, question: str, state: str = ".answer") -> Locator:
    """Asks by keyboard, and waits for what comes of it."""
    found = widget.locator(state)
    before = found.count()
    widget.locator("textarea").fill(question)
    widget.locator("textarea").press("Enter")
    expect(found).to_have_count(before + 1)
    return found.last


def said(answer: Locator) -> str:
    """An answer's sentences without their marks, once it is there."""
    expect(answer).to_be_visible()
    return "".join(answer.locator(".said").all_text_contents())


def focused(page: Page) -> str:
    """The class or the tag of what has the focus inside the widget, or outside of it."""
    return str(
        page.evaluate(
            "(document.activeElement.shadowRoot?.activeElement ?? document.activeElement)"
            ".matches('[class]') ? (document.activeElement.shadowRoot?.activeElement ?? document.activeElement)"
            ".className : (document.activeElement.shadowRoot?.activeElement ?? document.activeElement).localName"
        )
    )


def tab_to(page: Page, name: str, back: bool = False) -> None:
    """Presses Tab until what is named has the focus."""
    for _ in range(MOVES):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if focused(page) == name:
            return
    raise AssertionError(f"{name} is not reached in {MOVES} presses of Tab")


def late(stream: Callable[[Question], Iterator[Event]]) -> Callable[[Question], Iterator[Event]]:
    """A chain's stream whose failures come when the answer has begun."""

    def begun(question: Question) -> Iterator[Event]:
        yield Retrieved(())
        yield from stream(question)

    return begun


def small_targets(page: Page) -> list[str]:
    """What can be pressed and is smaller than it should be."""
    sizes = page.locator("youju-chat button:visible").evaluate_all(
        "all => all.map((b) => [b.className, b.getBoundingClientRect()]).map(([c, r]) => [c, r.width, r.height])"
    )
    assert sizes
    return [f"{name} {wide} × {high}" for name, wide, high in sizes if min(wide, high) < SMALLEST]


def answered_with(status: int, body: dict[str, Any], origin: str, **headers: str) -> Callable[[Route], None]:
    """Answers a request in the server's place."""
    cors = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"}
    return lambda route: route.fulfill(status=status, json=body, headers={**cors, **headers})


# --- Asking ------------------------------------------------------------------------------------------


def test_an_answer_and_its_source(page: Page) -> None:
    expect(page.get_by_role("dialog", name=TITLE)).to_be_visible()
    assert focused(page) == "textarea"
    answer = ask(page, QUESTION)
    expect(answer).to_have_attribute("data-state", "answered")
    assert said(answer) == QUOTE
    cite = answer.locator(".cite")
    expect(cite).to_have_text("1")
    expect(cite).to_have_accessible_name(f"1，出处：《{ARTICLE}》 › 一、总体目标")
    cite.click()
    evidence = page.locator("mark.evidence")
    expect(evidence).to_have_text(QUOTE)
    expect(evidence).to_be_in_viewport()
    expect(page.locator(".source .title")).to_have_text(ARTICLE)
    expect(page.locator(".source .path li")).to_have_text(["一、总体目标"])
    expect(page.locator(".source .category")).to_have_text(f"{NAME} · 意见决定")
    around = page.locator(".source .text").text_content() or ""
    assert around.index(QUOTE) > 0
    assert "(二)建强服务队伍" in around
    page.locator(".back").click()
    expect(evidence).to_be_hidden()
    assert focused(page) == "cite"


def test_every_citation_opens_its_own_sentence(page: Page) -> None:
    answer = ask(page, LISTING)
    quotes = [item.locator(".said").all_text_contents() for item in answer.locator("li").all()]
    assert ["".join(quote) for quote in quotes] == [
        "一是选好村级网格员，每村至少配备2名；",
        "二是办好田间课堂，全年培训不少于6000人次；",
        "三是用好返乡青年，给予每人每月800元补贴。",
    ]
    for quote, cite in zip(quotes, answer.locator(".cite").all(), strict=True):
        cite.click()
        expect(page.locator("mark.evidence")).to_have_text("".join(quote))
        page.keyboard.press("Escape")


def test_examples_are_asked(page: Page) -> None:
    page.locator(".example").first.click()
    assert said(page.locator(".answer")) == QUOTE
    expect(page.locator(".question")).to_have_text(QUESTION)
    expect(page.locator(".example")).to_have_count(0)


def test_a_follow_up_takes_the_conversation_along(page: Page, chain: FakeChain) -> None:
    ask(page, QUESTION)
    answer = ask(page, LISTING)
    expect(answer.locator(".cite")).to_have_text(["2", "3", "4"])
    asked = chain.asked[-1]
    assert [(turn.role, turn.content) for turn in asked.history] == [("user", QUESTION), ("assistant", QUOTE)]
    assert [(citation.n, citation.quote) for citation in asked.cited] == [(1, QUOTE)]
    for _ in range(5):
        ask(page, QUESTION)
    assert len(chain.asked[-1].history) == 10


def test_unsupported_sentences_are_marked_with_words(page: Page) -> None:
    answer = ask(page, LISTING + DOUBTFUL)
    expect(answer.locator(".unsupported")).to_have_text("这句话没有出处。未找到依据")
    expect(answer.locator(".footing")).to_have_text("原文摘录，逐句有出处 · 1 句未找到依据")


def test_a_refusal_says_so(page: Page) -> None:
    answer = ask(page, NOWHERE)
    expect(answer).to_have_attribute("data-state", "refused")
    expect(answer.locator(".verdict")).to_have_text("不作回答")
    assert said(answer) == "这些文件没有提到这个问题。"


def test_what_is_discarded_disappears(page: Page, chain: FakeChain, monkeypatch: pytest.MonkeyPatch) -> None:
    go, whole = threading.Event(), chain.stream

    def stream(question: Question) -> Iterator[Event]:
        events = whole(question)
        yield next(events)
        yield Said(AnswerSentence("这句话会被收回。", (), "supported"))
        assert go.wait(60)
        go.clear()
        yield Discarded("改用原文")
        assert go.wait(60)
        yield from events

    monkeypatch.setattr(chain, "stream", stream)
    page.locator("textarea").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".answering")).to_contain_text("这句话会被收回。")
    go.set()
    expect(page.locator(".answering")).to_have_text("正在查找原文…")
    go.set()
    assert said(page.locator(".answer")) == QUOTE


def test_stop_keeps_what_came(page: Page, chain: FakeChain, monkeypatch: pytest.MonkeyPatch) -> None:
    go, whole = threading.Event(), chain.stream

    def stream(question: Question) -> Iterator[Event]:
        for event in whole(question):
            yield event
            assert not isinstance(event, Said) or go.wait(120)

    monkeypatch.setattr(chain, "stream", stream)
    page.locator("textarea").fill(LISTING)
    page.keyboard.press("Enter")
    expect(page.locator(".answering .sentence")).to_have_count(1)
    expect(page.locator(".send")).to_be_hidden()
    page.locator(".halt").click()
    stopped = page.locator(".answer")
    expect(stopped).to_have_attribute("data-state", "stopped")
    expect(stopped.locator(".footing")).to_have_text("已停止，只收到这些")
    assert said(stopped) == "一是选好村级网格员，每村至少配备2名；"
    assert focused(page) == "textarea"
    go.set()
    assert said(ask(page, QUESTION)) == QUOTE


def test_the_enter_of_an_input_method_sends_nothing(page: Page) -> None:
    question = page.locator("textarea")
    question.fill("青禾县")
    for told in ({"isComposing": True}, {"keyCode": 229}):
        question.dispatch_event("keydown", {"key": "Enter", "bubbles": True, "cancelable": True, **told})
    question.press("Shift+Enter")
    expect(question).to_have_value("青禾县\n")
    expect(page.locator(".exchange")).to_have_count(0)
    question.fill(QUESTION)
    question.press("Enter")
    expect(page.locator(".answer")).to_have_count(1)


# --- What goes wrong ---------------------------------------------------------------------------------


def test_offline_keeps_the_question(page: Page, pages: Pages) -> None:
    page.context.set_offline(True)
    failure = ask(page, QUESTION, ".failure")
    expect(failure).to_have_attribute("data-state", "offline")
    expect(failure).to_contain_text("连不上服务")
    expect(page.locator(".question")).to_have_text(QUESTION)
    page.context.set_offline(False)
    failure.locator(".retry").click()
    assert said(page.locator(".answer")) == QUOTE
    expect(page.locator(".exchange")).to_have_count(1)
    pages.forgive("ERR_INTERNET_DISCONNECTED")


def test_a_stream_that_is_cut_is_gone_on_with(page: Page, chain: FakeChain) -> None:
    asked: list[str | None] = []

    def cut(route: Route) -> None:
        asked.append(route.request.headers.get("last-event-id"))
        if len(asked) > 1:
            route.continue_()
            return
        response = route.fetch()
        events = response.text().split("\n\n")
        route.fulfill(response=response, body="\n\n".join((*events[:2], events[2][:20])))

    page.route("**/widget/ask", cut)
    questions = len(chain.asked)
    assert said(ask(page, QUESTION)) == QUOTE
    assert asked[0] is None and str(asked[1]).endswith(".2")
    assert (len(asked), len(chain.asked)) == (2, questions + 1)
    expect(page.locator(".answer .cite")).to_have_count(1)


def test_a_stream_that_stays_cut_is_no_answer(page: Page, portal: Portal) -> None:
    cut = 'event: sentence\r\ndata: {"text": "半句。", "citations": [], "support": "supported", "kind": "text"}\r\n\r\n'
    headers = {"Access-Control-Allow-Origin": portal.url, "Content-Type": "text/event-stream"}
    page.route("**/widget/ask", lambda route: route.fulfill(body=cut, headers=headers))
    failure = ask(page, QUESTION, ".failure")
    expect(failure).to_have_attribute("data-state", "offline")
    expect(failure).to_contain_text("连接中断了")


@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "in its midst"])
def test_a_failure_of_the_server_is_shown(
    page: Page, pages: Pages, chain: FakeChain, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    if begun:
        monkeypatch.setattr(chain, "stream", late(chain.stream))
    failure = ask(page, BROKEN, ".failure")
    expect(failure).to_contain_text("服务内部出错")
    failure.locator(".retry").click()
    expect(page.locator(".failure")).to_contain_text("服务内部出错")
    pages.forgive("status of 500")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(429, "too_many_requests", "问得太密了"), (503, "busy", "正在回答的问题太多")],
)
def test_a_limit_says_how_long_it_lasts(
    page: Page, pages: Pages, portal: Portal, status: int, code: str, words: str
) -> None:
    error = {"error": {"code": code, "message": "too many"}}
    page.clock.install()
    page.route("**/widget/ask", answered_with(status, error, portal.url, **{"Retry-After": "600"}))
    failure = ask(page, QUESTION, ".failure")
    expect(failure).to_have_attribute("data-state", "limited")
    expect(failure).to_contain_text(words)
    retry = failure.locator(".retry")
    expect(retry).to_be_disabled()
    expect(retry).to_have_text(re.compile("5\\d\\d 秒后可以再试|600 秒后可以再试"))
    page.unroute("**/widget/ask")
    page.clock.fast_forward(601_000)
    expect(retry).to_be_enabled()
    expect(retry).to_have_text("再问一次")
    retry.click()
    assert said(page.locator(".answer")) == QUOTE
    pages.forgive(f"status of {status}")


@pytest.mark.parametrize(("times", "requests", "state"), [(1, 2, ".answer"), (9, 2, ".failure")])
def test_a_session_is_renewed_once(
    page: Page, pages: Pages, portal: Portal, times: int, requests: int, state: str
) -> None:
    asked: list[str] = []
    begun: list[str] = []
    invalid = {"error": {"code": "session_invalid", "message": "会话已结束"}}
    refuse = answered_with(401, invalid, portal.url)

    def answer(route: Route) -> None:
        asked.append(route.request.headers["authorization"])
        if len(asked) <= times:
            refuse(route)
        else:
            route.continue_()

    page.on("request", lambda request: begun.append(request.url) if "/session" in request.url else None)
    page.route("**/widget/ask", answer)
    ask(page, QUESTION, state)
    assert len(asked) == len(set(asked)) == requests
    assert len(begun) == 1
    pages.forgive("status of 401")


@pytest.mark.parametrize("known", [True, False], ids=["strange origin", "strange site"])
def test_where_it_is_not_allowed_it_tells_the_sites_owner(portal: Portal, pages: Pages, known: bool) -> None:
    url = portal.page({"site": portal.site if known else "site_0000000000000000"})
    page = pages.open(url.replace("localhost", "127.0.0.1") if known else url)
    page.locator(".launcher").click()
    failure = page.locator(".failure")
    expect(failure).to_have_attribute("data-state", "origin")
    expect(failure).to_contain_text(page.evaluate("window.origin"))
    expect(failure).to_contain_text("youju sites")
    expect(ask(page, QUESTION, ".exchange .failure")).to_have_attribute("data-state", "origin")
    pages.forgive("CORS", "Failed to load resource", "status of 403")


# --- The page around it ------------------------------------------------------------------------------


def test_the_policy_of_these_pages_refuses_what_is_inline(portal: Portal, pages: Pages) -> None:
    page = pages.open(
        portal.page(
            {"site": portal.site}, body="<p style='color: red'>x</p><script>window.inline = 1</script>"
        )
    )
    expect(page.locator(".launcher")).to_be_visible()
    assert page.evaluate("window.violations") == ["style-src-attr inline", "script-src-elem inline"]
    assert page.evaluate("window.inline") is None
    page.evaluate("window.violations = []")
    pages.forgive("Content Security Policy")


def test_hostile_styles_of_the_page_do_not_reach_it(portal: Portal, pages: Pages) -> None:
    plain = pages.open(portal.page({"site": portal.site}))
    expect(plain.locator(".launcher")).to_be_visible()
    portal.styles = HOSTILE_CSS
    page = pages.open(portal.page({"site": portal.site}))
    expect(page.get_by_role("heading", name="门户")).to_be_hidden()
    looks = [look(each.locator(".launcher")) for each in (plain, page)]
    for each in (plain, page):
        open_panel(each)
        ask(each, LISTING + DOUBTFUL).locator(".cite").first.click()
        expect(each.locator("mark.evidence")).to_be_in_viewport()
    for selector in (".panel", "h2", ".cite >> nth=0", ".unsupported", "textarea", "mark.evidence"):
        looks += [look(each.locator(selector)) for each in (plain, page)]
    assert looks[::2] == looks[1::2]


def look(part: Locator) -> dict[str, Any]:
    """Where an element stands and all its computed styles but the variables."""
    found: dict[str, Any] = part.evaluate(
        "part => ({...Object.fromEntries([...getComputedStyle(part)].filter((name) => !name.startsWith('--'))"
        ".map((name) => [name, getComputedStyle(part)[name]])), box: JSON.stringify(part.getBoundingClientRect())})"
    )
    return found


def test_two_widgets_do_not_mix(portal: Portal, pages: Pages) -> None:
    page = pages.open(
        portal.page(
            {"site": portal.site},
            {"site": portal.other, "position": "bottom-left", "theme": "dark", "lang": "en"},
        )
    )
    first, second = page.locator("youju-chat").all()
    for widget, title in ((first, TITLE), (second, OTHER_TITLE)):
        widget.locator(".launcher").click()
        expect(widget.locator("h2")).to_have_text(title)
    assert (box := first.locator(".panel").bounding_box()) and box["x"] > 600
    assert (box := second.locator(".panel").bounding_box()) and box["x"] == 20
    assert said(ask(first, QUESTION)) == QUOTE
    expect(second.locator(".exchange")).to_have_count(0)
    expect(ask(second, NOWHERE).locator(".verdict")).to_have_text("Not in the documents")
    expect(first.locator(".exchange")).to_have_count(1)
    assert page.evaluate("Object.keys(sessionStorage).length") == 2
    page.reload()
    expect(page.locator("youju-chat >> nth=0 >> .question")).to_have_text(QUESTION)
    expect(page.locator("youju-chat >> nth=1 >> .question")).to_have_text(NOWHERE)


def test_inline_it_fills_its_place(portal: Portal, pages: Pages) -> None:
    page = pages.open(
        portal.page({"site": portal.site, "mode": "inline", "target": "#here"}, body='<div id="here"></div>')
    )
    region = page.locator("#here").get_by_role("region", name=TITLE)
    expect(region).to_be_visible()
    expect(page.locator(".launcher")).to_be_hidden()
    assert said(ask(page, QUESTION)) == QUOTE
    box, place = region.bounding_box(), page.locator("#here").bounding_box()
    assert box and place and (box["width"], box["height"]) == (place["width"], 560)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "a"  # no trap: the page's own link comes before it


def test_inline_without_a_target_it_stands_where_the_script_does(portal: Portal, pages: Pages) -> None:
    page = pages.open(portal.page({"site": portal.site, "mode": "inline", "title": "问一问", "lang": "en"}))
    expect(page.get_by_role("region", name="问一问")).to_be_visible()
    assert page.evaluate("document.querySelector('youju-chat').previousElementSibling.localName") == "script"
    expect(page.locator(".send")).to_have_text("Send")


def test_a_target_that_is_missing_is_an_error(portal: Portal, pages: Pages) -> None:
    page = pages.open(portal.page({"site": portal.site, "mode": "inline", "target": "#gone"}))
    expect(page.locator("youju-chat")).to_have_count(0)
    pages.forgive('data-target="#gone" matches no element of the page')


def test_an_element_written_by_hand(portal: Portal, pages: Pages) -> None:
    body = f'<youju-chat site="{portal.site}" mode="inline"></youju-chat>'
    page = pages.open(portal.page({}, body=body, lang="en"))
    expect(page.locator("h2")).to_have_text(TITLE)
    expect(page.locator("textarea")).to_have_attribute("placeholder", "What would you like to know?")
    expect(page.locator("youju-chat")).to_have_count(1)


def test_a_page_opens_and_closes_it(portal: Portal, pages: Pages) -> None:
    page = pages.open(portal.page({"site": portal.site, "open": ""}))
    expect(page.locator(".panel")).to_be_visible()
    assert focused(page) == "body"  # opened by nobody: it takes no focus
    page.evaluate("document.querySelector('youju-chat').hide()")
    expect(page.locator(".panel")).to_be_hidden()
    page.evaluate("document.querySelector('youju-chat').show()")
    assert focused(page) == "textarea"


def test_variables_and_parts_are_the_pages(portal: Portal, pages: Pages) -> None:
    portal.styles = """
      youju-chat { --youju-accent: rgb(120, 0, 60); --youju-font-size: 18px; }
      youju-chat::part(launcher) { border-radius: 3px; }
      youju-chat::part(title) { color: rgb(1, 2, 3); }
    """
    page = pages.open(portal.page({"site": portal.site}))
    expect(page.locator(".launcher")).to_have_css("background-color", "rgb(120, 0, 60)")
    expect(page.locator(".launcher")).to_have_css("border-radius", "3px")
    expect(page.locator(".launcher")).to_have_css("font-size", "18px")
    open_panel(page)
    expect(page.locator("h2")).to_have_css("color", "rgb(1, 2, 3)")


def test_attributes_choose_accent_and_theme(portal: Portal, pages: Pages) -> None:
    url = portal.page({"site": portal.site, "accent": "rgb(0, 80, 40)"})
    for preferred, paper in (("light", "rgb(247, 246, 242)"), ("dark", "rgb(22, 24, 27)")):
        page = pages.open(url, color_scheme=preferred)
        expect(page.locator(".launcher")).to_have_css("background-color", "rgb(0, 80, 40)")
        expect(page.locator(".panel")).to_have_css("background-color", paper)
    light = pages.open(portal.page({"site": portal.site, "theme": "light"}), color_scheme="dark")
    expect(light.locator(".panel")).to_have_css("background-color", "rgb(247, 246, 242)")
    dark = pages.open(portal.page({"site": portal.site, "theme": "dark"}), color_scheme="light")
    expect(dark.locator(".panel")).to_have_css("background-color", "rgb(22, 24, 27)")


def test_the_pages_shortcuts_are_not_meant(page: Page) -> None:
    page.evaluate("window.keys = 0; document.addEventListener('keydown', () => (window.keys += 1))")
    page.locator("textarea").press_sequentially("问s/")
    assert page.evaluate("window.keys") == 0


def test_messages_do_nothing(page: Page, pages: Pages) -> None:
    before = page.locator(".root").evaluate("root => root.outerHTML")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate(
        """async (question) => {
          const site = document.querySelector("youju-chat").getAttribute("site");
          for (const message of [question, { question }, { type: "ask", question, site }, { type: "close" }, { token: "x" }])
            window.postMessage(message, "*");
          const frame = document.createElement("iframe");
          document.body.append(frame);
          frame.contentWindow.parent.postMessage({ type: "youju", open: true, question }, "*");
          await new Promise((resolve) => setTimeout(resolve, 300));
          frame.remove();
        }""",
        QUESTION,
    )
    assert page.locator(".root").evaluate("root => root.outerHTML") == before
    assert requests == []
    assert "message" not in re.findall(r'addEventListener\(\s*"(\w+)"', WIDGET.read_text(encoding="utf-8"))


# --- The conversation --------------------------------------------------------------------------------


def test_a_conversation_is_kept_for_the_tab_until_it_is_cleared(page: Page, chain: FakeChain) -> None:
    ask(page, QUESTION)
    page.reload()
    page.locator(".launcher").click()
    assert said(page.locator(".answer")) == QUOTE
    page.locator(".cite").click()
    expect(page.locator("mark.evidence")).to_have_text(QUOTE)
    page.keyboard.press("Escape")
    expect(ask(page, LISTING).locator(".cite").first).to_have_text("2")
    stored = page.evaluate("Object.values(sessionStorage).join()")
    assert QUESTION in stored
    assert "token" not in stored
    page.locator(".clear").click()
    expect(page.locator(".example").first).to_be_visible()
    expect(page.locator(".clear")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0
    ask(page, QUESTION)
    assert chain.asked[-1].history == ()


def test_a_question_that_was_left_unanswered_can_be_asked_again(
    page: Page, portal: Portal, pages: Pages
) -> None:
    page.context.set_offline(True)
    ask(page, QUESTION, ".failure")
    page.context.set_offline(False)
    page.reload()
    page.locator(".launcher").click()
    expect(page.locator(".failure")).to_contain_text("离开页面时还没有答完")
    page.locator(".retry").click()
    assert said(page.locator(".answer")) == QUOTE
    pages.forgive("ERR_INTERNET_DISCONNECTED")


def test_what_someone_else_stored_is_no_conversation(portal: Portal, pages: Pages) -> None:
    page = pages.open(portal.page({"site": portal.site}))
    key = f"youju-chat {portal.youju}/ {portal.site}"
    for stored in ("nonsense", "null", "[]", '{"form": 0, "exchanges": [{}]}'):
        page.evaluate("([key, stored]) => sessionStorage.setItem(key, stored)", [key, stored])
        page.reload()
        open_panel(page)


# --- Everyone ----------------------------------------------------------------------------------------


def test_by_keyboard_alone(portal: Portal, pages: Pages) -> None:
    page = pages.open(portal.page({"site": portal.site}))
    tab_to(page, "launcher")
    page.keyboard.press("Enter")
    expect(page.locator(".example").first).to_be_visible()
    page.keyboard.type(LISTING)
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_be_visible()
    tab_to(page, "cite", back=True)
    page.keyboard.press("Enter")
    expect(page.locator("mark.evidence")).to_have_text("三是用好返乡青年，给予每人每月800元补贴。")
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(focused(page))
    assert seen == ["clear", "close", "back", "scroll"] * 2  # kept inside, and off what the source covers
    page.keyboard.press("Escape")
    expect(page.locator(".source")).to_be_hidden()
    assert focused(page) == "cite"
    backwards = []
    for _ in range(9):
        page.keyboard.press("Shift+Tab")
        backwards.append(focused(page))
    assert backwards == ["cite", "cite", "scroll", "close", "clear", "send", "textarea", "cite", "cite"]
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_be_hidden()
    assert focused(page) == "launcher"


def test_an_answer_is_announced_once(page: Page, chain: FakeChain) -> None:
    page.locator("[role=status]").evaluate(
        "status => { window.told = []; new MutationObserver(() => window.told.push(status.textContent))"
        ".observe(status, { childList: true, characterData: true, subtree: true }); }"
    )
    chain.pause = 0.2
    answer = said(ask(page, LISTING))
    ask(page, NOWHERE)
    assert [text.strip() for text in page.evaluate("window.told")] == [
        answer,
        "不作回答 这些文件没有提到这个问题。",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_targets_are_large_enough(
    portal: Portal, pages: Pages, chain: FakeChain, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr(chain, "stream", late(chain.stream))
    page = pages.open(portal.page({"site": portal.site}), color_scheme=scheme)
    found: dict[str, Any] = {}

    def examine(state: str) -> None:
        broken = Axe().run(page).response["violations"]
        found[state] = [
            f"{each['id']}: {[n['target'] for n in each['nodes']]}" for each in broken
        ] + small_targets(page)

    expect(page.locator(".launcher")).to_be_visible()
    examine("button")
    open_panel(page)
    examine("opened")
    chain.pause = 1.0
    page.locator("textarea").fill(LISTING + DOUBTFUL)
    page.keyboard.press("Enter")
    expect(page.locator(".answering .sentence").first).to_be_visible()
    examine("answering")
    expect(page.locator(".answer .unsupported")).to_be_visible()
    examine("answered, unsupported")
    page.locator(".cite").first.click()
    expect(page.locator("mark.evidence")).to_be_visible()
    examine("source")
    page.keyboard.press("Escape")
    ask(page, NOWHERE)
    examine("refused")
    ask(page, BROKEN, ".failure")
    examine("failure")
    error = {"error": {"code": "too_many_requests", "message": "too many"}}
    page.route("**/widget/ask", answered_with(429, error, portal.url, **{"Retry-After": "60"}))
    ask(page, QUESTION, ".failure")
    examine("limited")
    pages.forgive("status of 429")
    assert {state: problems for state, problems in found.items() if problems} == {}


def test_axe_finds_nothing_where_it_is_inline_or_not_allowed(portal: Portal, pages: Pages) -> None:
    for site in (portal.site, "site_0000000000000000"):
        page = pages.open(portal.page({"site": site, "mode": "inline", "target": "main"}))
        expect(page.locator(".example, .failure").first).to_be_visible()
        assert [each["id"] for each in Axe().run(page).response["violations"]] == []
    pages.forgive("CORS", "Failed to load resource")


@pytest.mark.parametrize("size", ["15px", "30px"])
def test_on_a_phone_it_fills_the_screen_whatever_the_size_of_text(
    portal: Portal, pages: Pages, size: str
) -> None:
    portal.styles = f"youju-chat {{ --youju-font-size: {size}; }}"
    page = pages.open(portal.page({"site": portal.site}), width=390, height=844)
    open_panel(page)
    assert page.locator(".panel").bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 844}
    ask(page, LISTING + DOUBTFUL).locator(".cite").first.click()
    expect(page.locator("mark.evidence")).to_be_in_viewport()
    for part in ("header", ".talk > .scroll", "form", ".source .steps", ".source .scroll"):
        assert page.locator(part).evaluate("part => part.scrollWidth - part.clientWidth") == 0, part
    page.locator(".back").click()
    expect(page.locator(".send")).to_be_in_viewport(ratio=1)


def test_motion_is_left_out_where_readers_want_none(portal: Portal, pages: Pages, chain: FakeChain) -> None:
    chain.pause = 3.0
    for wanted, animation in (("reduce", "none"), ("no-preference", "blink")):
        page = pages.open(portal.page({"site": portal.site}), reduced_motion=wanted)
        open_panel(page)
        page.locator("textarea").fill(LISTING)
        page.keyboard.press("Enter")
        drafted = page.locator(".answering:not(.waiting)")
        expect(drafted).to_be_visible()
        assert drafted.evaluate("box => getComputedStyle(box, '::after').animationName") == animation


def test_both_languages_have_the_same_words() -> None:
    tables = re.findall(r"^    (?:zh|en): \{\n(.*?)^    \}", WIDGET.read_text(encoding="utf-8"), re.M | re.S)
    chinese, english = (re.findall(r"^      (\w+):", table, re.M) for table in tables)
    assert chinese == english
    assert len(chinese) > 30


# --- What it is made of ------------------------------------------------------------------------------


def test_it_is_small_and_asks_nobody_else() -> None:
    script = WIDGET.read_bytes()
    assert len(gzip.compress(script, 9)) <= 14_000
    assert not re.findall(
        rb"https?://|import\s*\(|innerHTML|eval\(|Function\(|localStorage|document\.cookie", script
    )


WAYS_IN = (
    "<script>{}</script>",
    "<img src=x onerror={}>",
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<iframe srcdoc='<script>{}</script>'></iframe>",
    "<a href='javascript:{}'>x</a>",
    "[x](javascript:{})",
    "![x](/image?{})",
    "<details open ontoggle={}>",
    "<input autofocus onfocus={}>",
    "<style>@import '/style?{}'</style>",
    "<video src=x onerror={}></video>",
    "<math><mtext><img src=x onerror={}></mtext></math>",
    "<template><img src=x onerror={}></template>",
    "<body onpageshow={}>",
)
WRAPPINGS = (
    "{}",
    '"{}',
    "'>{}",
    "</textarea>{}",
    "</style>{}",
    "]]>{}",
    "&lt;{}",
    "`{}",
    "<!--{}-->",
    "%3C{}",
    "\u202e{}",
    "{{{{{}}}}}",
    "</span>{}",
    "\n{}",
)
PAYLOADS = [
    wrapping.format(way.format("window.hit=1")) for way, wrapping in itertools.product(WAYS_IN, WRAPPINGS)
]


def test_payloads_are_only_text(
    page: Page, portal: Portal, chain: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(PAYLOADS) >= 200
    whole = chain.stream

    def stream(question: Question) -> Iterator[Event]:
        answer = next(event for event in whole(question) if isinstance(event, Done)).answer
        citations = [
            replace(
                answer.citations[0],
                n=n,
                document=payload,
                section=(payload, payload),
                article=replace(answer.citations[0].article, title=payload),
                quote=payload,
            )
            for n, payload in enumerate(PAYLOADS, 1)
        ]
        sentences = [AnswerSentence(citation.quote, (citation.n,), "supported") for citation in citations]
        for citation, sentence in zip(citations, sentences, strict=True):
            yield Cited(citation)
            yield Said(sentence)
        yield Done(replace(answer, sentences=tuple(sentences), citations=tuple(citations)))

    def source(route: Route) -> None:
        hostile = PAYLOADS[0]
        told = {key: hostile for key in ("document", "title", "category", "before", "text", "after")}
        route.fulfill(json={**told, "section": PAYLOADS}, headers={"Access-Control-Allow-Origin": portal.url})

    requests: list[str] = []
    page.on("request", lambda request: requests.append(urlsplit(request.url).path))
    page.route("**/widget/source?*", source)
    ask(page, QUESTION)
    allowed = page.evaluate(TAGS)
    page.locator(".clear").click()
    asked = "".join(PAYLOADS[:3])
    expect(ask(page, asked, ".exchange").locator(".question")).to_have_text(asked)
    expect(page.locator(".answer")).to_be_visible()
    monkeypatch.setattr(chain, "stream", stream)
    answer = ask(page, QUESTION)
    assert (
        answer.locator(".sentence").evaluate_all(
            "all => all.map((s) => [...s.querySelectorAll('.said')].map((part) => part.textContent).join(''))"
        )
        == PAYLOADS
    )
    answer.locator(".cite").last.click()
    expect(page.locator(".path li")).to_have_count(len(PAYLOADS))
    assert set(page.evaluate(TAGS)) - set(allowed) <= {"h3", "mark", "ol", "li", "ul"}
    assert page.evaluate("window.hit") is None
    assert set(requests) == {"/widget/ask", "/widget/source"}


# Every element of the widget by its tag, with the names of the attributes that could run or load something.
TAGS = """[...document.querySelector("youju-chat").shadowRoot.querySelectorAll("*")].flatMap((element) =>
  [element.localName, ...element.getAttributeNames().filter((name) => /^on|^(src|href|style|srcdoc)$/.test(name))])"""


# --- The configurator --------------------------------------------------------------------------------


@pytest.fixture
def configurator(tmp_path: Path, pages: Pages) -> Iterator[Page]:
    """The configurator of a server that allows its own origin."""
    port = free_port()
    with running(widget_server(fake_chain(tmp_path), [f"http://127.0.0.1:{port}"]), port) as url:
        yield pages.open(f"{url}/widget/configure")


def test_the_configurator_shows_widget_and_snippet(configurator: Page) -> None:
    page = configurator
    expect(page.locator("#without")).to_be_visible()
    page.locator("[name=site]").fill(SITE)
    page.locator("[name=mode]").select_option("inline")
    page.locator("[name=title]").fill('问"政"<')
    page.locator("[name=accent]").fill("#005028")
    page.locator("[name=lang]").select_option("en")
    server = page.url.removesuffix("widget/configure")
    expect(page.locator("#snippet")).to_have_text(
        f'<script defer src="{server}widget.js"\n'
        f'        data-site="{SITE}"\n'
        '        data-mode="inline"\n'
        '        data-lang="en"\n'
        '        data-accent="#005028"\n'
        '        data-title="问&quot;政&quot;&lt;"></script>'
    )
    expect(page.locator("#preview h2")).to_have_text('问"政"<')
    expect(page.locator("#preview .send")).to_have_css("background-color", "rgb(0, 80, 40)")
    preview = page.locator("#preview")
    assert said(ask(preview, QUESTION)) == QUOTE
    preview.locator(".cite").click()
    expect(preview.locator("mark.evidence")).to_have_text(QUOTE)
    assert [each["id"] for each in Axe().run(page).response["violations"]] == []


def test_the_configurator_says_where_the_site_does_not_allow_it(configurator: Page, pages: Pages) -> None:
    page = configurator
    page.locator("[name=site]").fill("site_0000000000000000")
    page.locator("[name=mode]").select_option("inline")
    expect(page.locator("#refused")).to_contain_text(page.evaluate("window.origin"))
    expect(page.locator("#preview .failure")).to_have_attribute("data-state", "origin")
    pages.forgive("status of 403")
    page.locator("[name=site]").fill(SITE)
    page.locator("[name=mode]").select_option("")
    expect(page.locator("#refused")).to_be_hidden()
    open_panel(page)


def test_the_snippet_embeds_that_widget(configurator: Page, portal: Portal, pages: Pages) -> None:
    configurator.locator("[name=site]").fill(SITE)
    configurator.locator("[name=position]").select_option("top-left")
    expect(configurator.locator("#snippet")).to_contain_text('data-position="top-left"')
    snippet = (configurator.locator("#snippet").text_content() or "").replace(
        configurator.url.removesuffix("/widget/configure"), portal.youju
    )
    page = pages.open(portal.page(body=snippet))
    open_panel(page)
    assert (box := page.locator(".panel").bounding_box()) and (box["x"], box["y"]) == (20, 20)
