"""The bar for feedback in Chromium, on a page of its own: chosen, commented, failed, by the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chat_site import Site
from playwright.sync_api import Browser, Page, Route, expect
from watched import watching

from rag.feedback import Feedback, FeedbackLog
from ui.app import static_folder

pytestmark = pytest.mark.browser

QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
PAGE = """<!doctype html><html lang="zh-CN"><head><title>评价</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="base.css"><link rel="stylesheet" href="feedback.css">
<script type="module">
  import { feedbackBar } from "./feedback.js";
  const post = (path, body) => fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const question = "QUESTION";
  const answer = await (await post("/api/ask", { question })).json();
  const exchange = { question, answer };
  const send = async (feedback) => {
    let response;
    try { response = await post("/chat/feedback", { ...feedback, ...exchange }); }
    catch { throw new Error("连不上服务"); }
    if (!response.ok) throw new Error((await response.json()).error.message);
  };
  window.draw = () => document.body.replaceChildren(feedbackBar(exchange, { send }));
  window.draw();
</script></head><body></body></html>""".replace("QUESTION", QUESTION)


@pytest.fixture
def log(site: Site) -> Iterator[FeedbackLog]:
    found = FeedbackLog(site.chain.store.folder)
    yield found
    found.path.unlink(missing_ok=True)


@pytest.fixture
def page(site: Site, browser: Browser) -> Iterator[Page]:
    """The test's page between the application's static files; only the local host is ever asked."""
    address = f"{static_folder()}/feedback-test.html"

    def route(page: Page) -> None:
        page.route(
            f"{site.url}/{address}",
            lambda route: route.fulfill(content_type="text/html; charset=utf-8", body=PAGE),
        )

    with watching(browser, site.url, lambda page: page.wait_for_selector(".feedback"), route) as pages:
        yield pages.open(f"/{address}", width=390, height=700)
        pages.forgive("Failed to load resource")  # some tests break the server


def stored(log: FeedbackLog) -> list[tuple[str, str]]:
    def unexpected(problem: str) -> None:
        raise AssertionError(problem)

    found: list[Feedback] = log.read(unexpected)
    return [(one.verdict, one.comment) for one in found]


def pressed(page: Page) -> list[str]:
    found: list[Any] = page.locator("[aria-pressed=true]").evaluate_all(
        "all => all.map(b => b.dataset.verdict)"
    )
    return found


def test_a_verdict_is_stored_and_said(page: Page, log: FeedbackLog) -> None:
    bar = page.get_by_role("group", name="评价这个回答 Rate this answer")
    assert bar.get_by_role("button").all_inner_texts() == [
        "有用 Helpful",
        "有误 Wrong",
        "出处不对 Wrong source",
        "缺内容 Missing",
    ]
    expect(page.get_by_role("status")).to_have_text("")
    assert pressed(page) == []
    bar.get_by_role("button", name="有用").click()
    expect(page.get_by_role("status")).to_have_text("已记下 Noted")
    assert pressed(page) == ["helpful"]
    expect(page.get_by_role("textbox")).to_have_count(0)
    assert stored(log) == [("helpful", "")]


def test_a_verdict_is_changed_and_stored_once(page: Page, log: FeedbackLog) -> None:
    for name in ("有用", "缺内容", "缺内容"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("status")).to_have_text("已记下 Noted")
    assert pressed(page) == ["missing"]
    page.get_by_role("button", name="有用").click()
    expect(page.get_by_role("textbox")).to_have_count(0)
    assert stored(log) == [("helpful", ""), ("missing", ""), ("helpful", "")]


@pytest.mark.parametrize(
    ("name", "asks"),
    [("有误", "哪里有误"), ("出处不对", "出处应在哪里"), ("缺内容", "还缺什么")],
)
def test_a_fault_can_be_explained(page: Page, log: FeedbackLog, name: str, asks: str) -> None:
    page.get_by_role("button", name=name).click()
    box = page.get_by_role("textbox", name=asks)
    box.fill("应为<b>36</b>个")
    page.get_by_role("button", name="补充").click()
    expect(page.get_by_role("status")).to_have_text("已补充 Added")
    assert [comment for _, comment in stored(log)] == ["", "应为<b>36</b>个"]


def test_the_keyboard_suffices(page: Page, log: FeedbackLog) -> None:
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("textbox")).to_be_visible()
    expect(page.get_by_role("button", name="有误")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("textbox")).to_be_focused()
    page.keyboard.type("不对")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("已补充 Added")
    assert stored(log) == [("wrong", ""), ("wrong", "不对")]


def test_what_was_chosen_and_typed_outlasts_a_redrawing(page: Page, log: FeedbackLog) -> None:
    page.get_by_role("button", name="有误").click()
    page.get_by_role("textbox").fill("还没有发")
    page.evaluate("window.draw()")
    assert pressed(page) == ["wrong"]
    expect(page.get_by_role("textbox")).to_have_value("还没有发")
    page.get_by_role("button", name="补充").click()
    expect(page.get_by_role("status")).to_have_text("已补充 Added")
    page.evaluate("window.draw()")
    expect(page.get_by_role("textbox")).to_have_value("还没有发")
    assert stored(log) == [("wrong", ""), ("wrong", "还没有发")]


def refuse(route: Route) -> None:
    route.fulfill(
        status=503, json={"error": {"code": "unavailable", "message": "反馈文件已满 → <i>移走它</i>"}}
    )


@pytest.mark.parametrize(
    ("fails", "words"),
    [(refuse, "反馈文件已满 → <i>移走它</i>"), (lambda route: route.abort(), "连不上服务")],
)
def test_a_failure_is_said_and_what_held_before_still_holds(
    page: Page, log: FeedbackLog, fails: Callable[[Route], None], words: str
) -> None:
    page.get_by_role("button", name="有误").click()
    expect(page.get_by_role("status")).to_have_text("已记下 Noted")
    page.get_by_role("textbox").fill("打好的字")
    page.route("**/chat/feedback", fails)
    page.get_by_role("button", name="补充").click()
    expect(page.get_by_role("status")).to_have_text(words)
    page.get_by_role("button", name="有用").click()
    expect(page.get_by_role("status")).to_have_text(words)
    assert pressed(page) == ["wrong"]
    expect(page.get_by_role("textbox")).to_have_value("打好的字")
    page.unroute("**/chat/feedback")
    page.get_by_role("button", name="补充").click()
    expect(page.get_by_role("status")).to_have_text("已补充 Added")
    assert stored(log) == [("wrong", ""), ("wrong", "打好的字")]


def test_the_bar_fits_a_telephone(page: Page) -> None:
    page.get_by_role("button", name="出处不对").click()
    expect(page.get_by_role("textbox")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    heights = page.get_by_role("button").evaluate_all("all => all.map(b => b.getBoundingClientRect().height)")
    assert min(heights) >= 24  # as WCAG 2.2 asks of a target
