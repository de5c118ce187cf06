"""The source panel and the preview of citation marks in Chromium, on a page of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from fakes_ui import NAME, fake_chain, written
from panels_site import CONTRAST, answer, cite, serving, tree_ready, unnamed
from playwright.sync_api import Browser, Page, expect
from watched import Pages, watching

from rag.records import Article, Document, Outline, Section
from rag.store import Store

pytestmark = pytest.mark.browser

TEXT = written()[0].text
LONG = "长文.txt"
SENTENCE = "这一句有二十个字，用来量出一段应当有多长。"
QUOTES = (
    "建成数字乡村示范村36个。",  # article 1
    "，每村至少配备2名；",  # article 1
    "全年培训不少于6000人次；",  # article 1
    "满意率96.5%",  # article 2
    "6000人次；三是用好返乡青年",  # article 1, overlaps the third
)


def mark(n: int, quote: str) -> str:
    start = TEXT.index(quote)
    return cite(NAME, start, start + len(quote), n, "关于加快青禾县数字乡村建设的实施意见", quote)


def long_document() -> tuple[Document, Outline]:
    """One article of 700,000 characters, two megabytes."""
    text = "长文" + SENTENCE * (700_000 // len(SENTENCE))
    step = len(SENTENCE) * 50
    cuts = range(2, len(text) - step + 1, step)
    sections = tuple(Section(at, at + step, 1, SENTENCE[:2], "", (), at + len(SENTENCE)) for at in cuts)
    article = Article(0, len(text), 1, "长文", None, sections, 2)
    return Document(LONG, "0", text, "utf-8"), Outline((article,))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    kb = tmp_path_factory.mktemp("kb")
    store = fake_chain(kb).store
    with Store.open(kb, writable=True) as writing, writing.transaction():
        writing.put(*long_document(), ())
    marks = [mark(n, quote) for n, quote in enumerate(QUOTES, 1)]
    far = cite(LONG, 420_002, 420_002 + len(SENTENCE), 7)
    answers = [
        answer(*marks, marks[0]),
        answer(mark(6, QUOTES[3])),
        answer(far),
        '<div style="height: 60rem"></div>',
        answer(mark(8, QUOTES[0])),
    ]
    with serving(store, answers) as found:
        yield found


@pytest.fixture
def pages(browser: Browser, address: str) -> Iterator[Pages]:
    """Pages that speak to the local host only and never complain."""
    with watching(browser, address, tree_ready) as found:
        yield found


@pytest.fixture
def open_page(pages: Pages) -> Callable[..., Page]:
    return pages.open


def text_of(page: Page, selector: str) -> str:
    page.wait_for_selector(selector)
    return "".join(page.locator(selector).all_text_contents())


def focused(page: Page) -> str:
    text: str = page.evaluate("document.activeElement.textContent")
    return text


# --- Citations -------------------------------------------------------------------------------------


def test_a_followed_mark_opens_its_characters_and_marks_the_answers_others_softly(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    page.locator(".answer .cite").nth(2).click()
    assert text_of(page, "mark.evidence") == QUOTES[2]
    assert page.evaluate("document.activeElement.className").startswith("evidence")
    expect(page.locator("mark.evidence").first).to_be_in_viewport()
    numbered = page.locator("mark.also").evaluate_all("marks => marks.map((m) => [m.title, m.textContent])")
    for n, quote in ((1, QUOTES[0]), (2, QUOTES[1]), (4, ""), (5, QUOTES[4])):
        assert "".join(text for title, text in numbered if f"[{n}]" in title) == quote
    assert numbered[0][0] == "同一回答的引文 Citation [1]"
    # the marks of this place are shown as the ones that are open
    assert page.locator(".cite[aria-current]").all_text_contents() == ["3"]


def test_steps_go_through_the_answers_citations_across_articles_and_keep_the_focus(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    page.locator(".answer .cite").nth(1).click()
    count = page.locator("#source .count")
    expect(count).to_have_text("2 / 5")  # the first is cited twice and counts once
    following = page.locator("#source .next")
    following.focus()
    for n, quote in ((3, QUOTES[2]), (4, QUOTES[3]), (5, QUOTES[4]), (1, QUOTES[0])):
        page.keyboard.press("Enter")
        expect(count).to_have_text(f"{n} / 5")
        assert text_of(page, "mark.evidence") == quote
        expect(page.locator("mark.evidence").first).to_be_in_viewport()
        expect(following).to_be_focused()
    page.locator("#source .previous").click()
    expect(count).to_have_text("5 / 5")
    page.go_back()
    expect(count).to_have_text("1 / 5")


def test_back_returns_to_the_mark_and_escape_closes(open_page: Callable[..., Page]) -> None:
    page = open_page()
    last = page.locator(".answer .cite").last
    last.scroll_into_view_if_needed()
    last.click()
    text_of(page, "mark.evidence")
    expect(page.locator("#source .next")).to_be_hidden()  # it is the answer's only citation
    page.locator("#talk").evaluate("e => e.scrollIntoView()")
    page.locator("#source .back").click()
    expect(last).to_be_focused()
    expect(last).to_be_in_viewport()
    expect(page.locator("#source")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#source")).to_be_hidden()
    expect(last).to_be_focused()
    assert urlsplit(page.url).fragment == ""


def test_a_drawn_anew_answer_is_still_returned_to(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator(".answer .cite").nth(1).click()
    text_of(page, "mark.evidence")
    page.evaluate("document.querySelector('.answer').outerHTML += ''")
    page.keyboard.press("Escape")
    assert focused(page) == "2"


def test_an_address_opens_its_place_with_the_answer_it_is_cited_in(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator(".answer .cite").nth(3).click()
    assert text_of(page, "mark.evidence") == QUOTES[3]
    page.reload()
    assert text_of(page, "mark.evidence") == QUOTES[3]
    expect(page.locator("#source .back")).to_be_visible()
    page.keyboard.press("Escape")
    assert focused(page) == "6"  # the later answer of the two that cite it


def test_the_link_to_a_place_can_be_copied(open_page: Callable[..., Page]) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.locator(".answer .cite").first.click()
    page.locator("#source .copy-link").click()
    expect(page.locator("#source .copied")).to_contain_text("链接已复制")
    copied = page.evaluate("navigator.clipboard.readText()")
    start = TEXT.index(QUOTES[0])
    assert parse_qs(urlsplit(copied).fragment) == {
        "document": [NAME],
        "start": [str(start)],
        "end": [str(start + len(QUOTES[0]))],
    }
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    page.locator("#source .copy-link").click()
    expect(page.locator("#source .copied input")).to_have_value(copied)


def test_a_place_that_cannot_be_opened_is_said(open_page: Callable[..., Page], pages: Pages) -> None:
    page = open_page(f"/#{urlencode({'document': '无.txt', 'article': 1})}")
    expect(page.locator("#source .failure")).to_contain_text("没有名为“无.txt”的文件")
    expect(page.locator("#source .failure")).to_be_focused()
    page.route("**/chat/source**", lambda route: route.abort())
    page.locator(".answer .cite").first.click()
    expect(page.locator("#source .failure")).to_contain_text("连不上服务")
    pages.forgive("Failed to load resource")


# --- Path and outline ------------------------------------------------------------------------------


def test_path_and_outline_lead_to_headings(open_page: Callable[..., Page]) -> None:
    page = open_page(height=500)
    page.locator(".answer .cite").nth(1).click()
    text_of(page, "mark.evidence")
    steps = page.locator("#source .path button")
    assert steps.all_text_contents() == ["二、重点任务", "(二)建强服务队伍", "一是选好村级网格员"]
    steps.nth(1).click()
    heading = page.locator("#source .body h4", has_text="(二)建强服务队伍")
    expect(heading).to_be_focused()
    expect(heading).to_be_in_viewport()
    page.locator("#source .outline summary").click()
    page.locator("#source .outline button", has_text="一、总体目标").click()
    expect(page.locator("#source .body h3", has_text="一、总体目标")).to_be_focused()


def test_a_section_opens_at_its_heading_without_evidence(open_page: Callable[..., Page]) -> None:
    section = written()[1].articles[0].sections[1].sections[1]
    place = {"document": NAME, "start": section.start, "end": section.end, "heading": 1}
    page = open_page(f"/#{urlencode(place)}", height=500)
    heading = page.locator("#source .body h4", has_text="(二)建强服务队伍")
    expect(heading).to_be_focused()
    expect(heading).to_be_in_viewport()
    assert page.locator("mark").count() == 0


# --- Asking about a sentence -----------------------------------------------------------------------


def test_a_sentence_is_asked_about_by_keyboard_alone(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator(".answer .cite").first.click()
    text_of(page, "mark.evidence")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "(一)夯实网络底座。"
    page.keyboard.press("ArrowDown")
    assert focused(page) == "实施光纤到户改造，三年内完成12个乡镇的线路更新。"
    assert page.locator("#source .s[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="就此提问")).to_be_focused()
    page.keyboard.press("Escape")
    assert focused(page) == "实施光纤到户改造，三年内完成12个乡镇的线路更新。"
    expect(page.locator("#source")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    (told,) = page.evaluate("window.told")
    assert told["text"] == "实施光纤到户改造，三年内完成12个乡镇的线路更新。"
    assert (told["document"], told["article"]) == (NAME, 1)
    assert TEXT[told["start"] : told["end"]] == told["text"]
    page.locator("#source .content").press("Tab")
    expect(page.locator(".ask-about")).to_have_count(0)


def test_a_clicked_sentence_and_a_selection_are_asked_about(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator(".answer .cite").nth(3).click()
    page.locator("#source .s", has_text="一网统管").click()
    page.get_by_role("button", name="就此提问").click()
    page.evaluate(
        """() => {
          const [from, to] = ["镇里把17套", "一、一网统管"].map((words) =>
            [...document.querySelectorAll("#source .s")].find((s) => s.textContent.includes(words)));
          getSelection().setBaseAndExtent(to.firstChild, 2, from.firstChild, 5);
        }"""
    )
    page.get_by_role("button", name="就此提问").click()
    told = page.evaluate("window.told")
    assert [TEXT[t["start"] : t["end"]] for t in told] == [t["text"] for t in told]
    assert [t["text"] for t in told] == ["一、一网统管。", "一网统管。 镇里把17"]
    assert [t["article"] for t in told] == [2, 2]


# --- Form ------------------------------------------------------------------------------------------


def test_printing_the_source_prints_the_article_only(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator(".answer .cite").first.click()
    text_of(page, "mark.evidence")
    page.evaluate("() => { window.print = () => dispatchEvent(new Event('beforeprint')); }")
    page.locator("#source .print").click()
    page.emulate_media(media="print")
    expect(page.locator("#print-sheet h2")).to_be_visible()
    expect(page.locator("#print-sheet .body")).to_contain_text("三是用好返乡青年")
    for hidden in ("#talk", "#tree", "#source-panel", "#print-sheet .outline"):
        expect(page.locator(hidden)).to_be_hidden()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    expect(page.locator("#talk")).to_be_visible()
    assert page.locator("#print-sheet").count() == 0


def test_two_megabytes_open_and_step_without_freezing(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.evaluate("fetch('chat/source?document=%E9%95%BF%E6%96%87.txt&start=2&end=9').then((r) => r.text())")
    waited = page.evaluate(
        """async () => {
          const text = await (await fetch("chat/source?document=%E9%95%BF%E6%96%87.txt&start=420002&end=420022")).text();
          window.fetch = async () => new Response(text);
          const begun = performance.now();
          document.querySelector('.cite[href*="420002"]').click();
          while (!document.querySelector("#source mark.evidence")) await new Promise((r) => setTimeout(r));
          await new Promise((r) => requestAnimationFrame(() => setTimeout(r)));
          return performance.now() - begun;
        }"""
    )
    expect(page.locator("mark.evidence").first).to_be_in_viewport()
    assert waited < 3_000, f"{waited:.0f} ms until it is laid out"
    moved = page.evaluate(
        """async () => {
          const begun = performance.now();
          document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
          await new Promise((r) => requestAnimationFrame(() => setTimeout(r)));
          return performance.now() - begun;
        }"""
    )
    assert moved < 1_000, f"{moved:.0f} ms to the next sentence"


@pytest.mark.parametrize("theme", ["", "dark"])
def test_panel_and_preview_can_be_read_and_are_named(open_page: Callable[..., Page], theme: str) -> None:
    page = open_page(f"/?{theme}")
    page.locator(".answer .cite").nth(2).click()
    text_of(page, "mark.evidence")
    for selector in (
        "mark.evidence",
        "mark.also",
        ".path button",
        ".place .document",
        ".steps button",
        ".count",
    ):
        assert page.locator(f"#source {selector}").first.evaluate(CONTRAST) >= 4.5, selector
    assert unnamed(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    for selector in (".title", ".path", ".quote"):
        assert page.locator(f".cite-preview {selector}").evaluate(CONTRAST) >= 4.5, selector


@pytest.mark.parametrize("size", [(360, 640), (720, 800)])
def test_narrow_and_large_text_need_no_scrolling_sideways(
    open_page: Callable[..., Page], size: tuple[int, int]
) -> None:
    page = open_page(width=size[0], height=size[1])
    if size[0] == 720:
        page.add_style_tag(content="html { font-size: 200% }")
    page.locator(".answer .cite").nth(1).evaluate("e => e.click()")
    text_of(page, "mark.evidence")
    expect(page.locator("mark.evidence").first).to_be_in_viewport()
    for selector in ("html", "#source-panel", "#source .content"):
        assert page.locator(selector).evaluate("e => e.scrollWidth - e.clientWidth") <= 0, selector
    page.locator("#source .s", has_text="每村至少配备2名").click()
    page.get_by_role("button", name="就此提问").click()
    expect(page.locator("#source")).to_be_hidden()  # the question box lies behind the drawer
    assert len(page.evaluate("window.told")) == 1


# --- Preview ---------------------------------------------------------------------------------------


def test_a_hovered_mark_shows_its_preview_which_can_be_hovered_and_dismissed(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    card = page.get_by_role("tooltip")
    page.locator(".answer .cite").nth(1).hover()
    expect(card).to_be_visible()
    assert card.locator("p").all_text_contents() == [
        "关于加快青禾县数字乡村建设的实施意见",
        "二、重点任务 › (一)夯实网络底座",
        QUOTES[1],
    ]
    card.hover()
    page.wait_for_timeout(400)
    expect(card).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_have_count(0)
    page.locator(".answer .cite").nth(1).hover()
    page.locator("h1").hover()
    expect(card).to_have_count(0)


def test_a_focused_mark_is_described_by_its_preview(open_page: Callable[..., Page]) -> None:
    page = open_page()
    first = page.locator(".answer .cite").first
    page.locator("#talk").evaluate("e => { e.tabIndex = -1; e.focus(); }")
    page.keyboard.press("Tab")
    expect(first).to_be_focused()
    card = page.get_by_role("tooltip")
    expect(card).to_be_visible()
    described = first.get_attribute("aria-describedby")
    assert described == card.get_attribute("id")
    page.keyboard.press("Escape")
    expect(card).to_have_count(0)
    assert first.get_attribute("aria-describedby") is None
    expect(first).to_be_focused()
    page.keyboard.press("Tab")
    expect(card).to_be_visible()
    page.keyboard.press("Enter")
    assert text_of(page, "mark.evidence") == QUOTES[1]
    expect(card).to_have_count(0)


def test_a_preview_stays_on_a_small_screen_and_unknown_marks_have_none(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(width=360, height=500)
    marks = page.locator(".answer .cite")
    for mark in (marks.first, marks.last):
        mark.hover()
        box = page.get_by_role("tooltip").bounding_box()
        assert box and box["x"] >= 0 and box["y"] >= 0
        assert box["x"] + box["width"] <= 360 and box["y"] + box["height"] <= 500
        page.keyboard.press("Escape")
    page.locator(".cite[href*='420002']").hover()
    page.wait_for_timeout(400)
    expect(page.get_by_role("tooltip")).to_have_count(0)
