"""The chat in Chromium: what a reader sees and does, with no request to any host but the local one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from chat_site import LISTING, QUESTION, Site, ask, begin_anew, evidence, follow, serving
from fakes import FakeEncoder
from fakes_ui import BROKEN, DOUBTFUL, MAX_QUESTION, NAME, written
from panels_site import CONTRAST
from playwright.sync_api import Page, expect
from watched import Pages

from eval.scripted import Reply, ScriptedServer, evidence_in
from rag.chain import Chain
from rag.check import support_checker
from rag.config import Settings
from rag.ingest import ingest
from rag.llm import open_model
from rag.retrieve import HybridRetriever
from rag.store import Store

pytestmark = pytest.mark.browser

SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.fixture(scope="module")
def sample_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The real chain over the sample, with vectors that need no model and nothing refused for doubt."""
    settings = Settings(kb=tmp_path_factory.mktemp("sample"), refuse_below=0)
    ingest([SAMPLES / "compilation.messy.txt"], settings, FakeEncoder())
    retriever = HybridRetriever(store=Store.open(settings.kb), encoder=FakeEncoder())
    with serving(settings, Chain(retriever, settings)) as found:
        yield found


@pytest.fixture(scope="module")
def fluent_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The real chain over the sample, whose answers a scripted language model writes."""

    def script(request: Any) -> Reply:
        told = str(request["messages"][0]["content"])
        if "改写" in told:
            return Reply("护理员入职奖励之外还有哪些补助？")
        found = evidence_in(request)
        cited = [i for i, text in enumerate(found) if text.endswith("。")][:2]
        return Reply(
            "".join(f"{found[i]}[{len(found) - i}]" for i in cited), size=12
        )  # rightly said, wrongly cited

    settings = Settings(kb=tmp_path_factory.mktemp("fluent"), refuse_below=0, checker="lexical")
    ingest([SAMPLES / "compilation.messy.txt"], settings, FakeEncoder())
    retriever = HybridRetriever(store=Store.open(settings.kb), encoder=FakeEncoder())
    with ScriptedServer(script) as model:
        settings = settings.model_copy(update={"llm": "openai:scripted", "llm_base_url": model.address})
        chain = Chain(retriever, settings, None, open_model(settings), support_checker(settings))
        with serving(settings, chain) as found:
            yield found


# --- Asking and checking ---------------------------------------------------------------------------


def test_the_first_page_says_what_the_documents_are_and_what_can_be_asked(page: Page) -> None:
    welcome = page.locator("#welcome")
    expect(welcome).to_contain_text("3 篇文章")
    expect(welcome).to_contain_text(f"{len(written()[0].text)} 字")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    assert page.title() == "有据 Youju"
    assert page.locator("footer").count() == 0
    welcome.get_by_role("button", name=QUESTION).click()
    expect(page.locator(".answer.answered")).to_contain_text("示范村36个")
    expect(page.locator(".welcome")).to_be_hidden()


def test_a_citation_opens_the_exact_characters_under_title_category_and_path(page: Page, site: Site) -> None:
    answer = ask(page, QUESTION)
    expect(answer).to_have_class(re.compile(r"\banswered\b"))
    (citation,) = site.answer(QUESTION)["citations"]
    mark = answer.locator(".cite")
    assert mark.text_content() == "1"
    assert follow(page, mark) == citation["quote"]
    source = page.locator("#source")
    expect(source.locator("h2", has_text="关于加快青禾县数字乡村建设的实施意见")).to_be_visible()
    expect(source.locator(".category")).to_have_text("意见决定")
    assert source.locator(".path li").all_text_contents() == ["一、总体目标"]
    assert page.locator("mark.evidence").first.evaluate("e => document.activeElement === e")
    expect(page.locator("mark.evidence").first).to_be_in_viewport()
    # what stands around it is laid out from the tree of sections
    assert source.locator(".body h3").all_text_contents()[0].strip() == "一、总体目标。"
    page.keyboard.press("Escape")
    expect(source).to_be_hidden()
    assert mark.evaluate("e => document.activeElement === e")


def test_every_citation_can_be_followed_by_keyboard_alone(page: Page, site: Site) -> None:
    answer = ask(page, LISTING)
    citations = site.answer(LISTING)["citations"]
    assert len(citations) == 3
    assert answer.locator("li .cite").count() == 3  # items are a list
    page.locator("#question textarea").focus()
    for n in (3, 2, 1):
        for _ in range(20):
            page.keyboard.press("Shift+Tab")
            if page.evaluate("document.activeElement.matches('.cite')"):
                break
        assert page.evaluate("document.activeElement.textContent") == str(n)
        page.keyboard.press("Enter")
        assert evidence(page) == citations[n - 1]["quote"]
        page.keyboard.press("Escape")


def test_an_answer_comes_sentence_by_sentence(page: Page, site: Site) -> None:
    site.chain.pause = 0.5
    try:
        page.locator("#question textarea").fill(LISTING)
        page.keyboard.press("Enter")
        expect(page.locator(".answering.waiting")).to_be_visible()
        expect(page.locator(".answering .sentence")).to_have_count(1)
        assert page.locator(".answer").count() == 0
        expect(page.locator("#question textarea")).to_have_value("")
        expect(page.locator(".answer.answered .sentence")).to_have_count(3)
    finally:
        site.chain.pause = 0.0
    assert page.locator(".answering").count() == 0


def test_what_the_documents_do_not_hold_is_refused_and_nearby_places_open(page: Page) -> None:
    answer = ask(page, "火星移民")
    expect(answer).to_have_class(re.compile(r"\brefused\b"))
    expect(answer).to_contain_text("不作回答")
    assert answer.locator(".cite").count() == 0
    answer.locator(".nearby a").first.click()
    span = parse_qs(urlsplit(page.url).fragment)
    start, end = int(span["start"][0]), int(span["end"][0])
    assert evidence(page) == written()[0].text[start:end]


def test_a_sentence_without_support_is_marked(page: Page) -> None:
    answer = ask(page, f"{DOUBTFUL}：社区食堂")
    expect(answer.locator(".unsupported")).to_have_text("这句话没有出处。未找到依据 no support found")
    expect(answer).to_contain_text("1 句未找到依据")


# --- Documents -------------------------------------------------------------------------------------


def test_ticked_articles_restrict_the_question_visibly(page: Page, site: Site) -> None:
    page.get_by_label("只在此篇中提问：关于社区养老服务的调研报告").check()
    expect(page.locator("#scope")).to_contain_text("只在这 1 处中查找")
    ask(page, "青禾县全县行政村和社区食堂")
    assert site.chain.asked[-1].articles == ((NAME, 3),)
    expect(page.locator(".question .within li")).to_have_text("《关于社区养老服务的调研报告》")
    page.locator("#scope .chip").click()
    expect(page.locator("#scope")).to_be_empty()
    ask(page, QUESTION)
    assert site.chain.asked[-1].articles == ()
    page.get_by_label("只在这一类中提问：经验交流").check()  # its articles
    ask(page, "镇里有多少套系统？")
    assert site.chain.asked[-1].articles == ((NAME, 2),)


def test_a_ticked_section_restricts_the_question_visibly(page: Page, site: Site) -> None:
    row = page.locator("#tree li.article", has_text="关于社区养老服务的调研报告")
    row.locator("button.twist").first.click()
    page.get_by_label("只在这一节中提问：一、基本情况").check()
    expect(page.locator("#scope .chip")).to_have_text("《关于社区养老服务的调研报告》› 一、基本情况")
    answer = ask(page, "社区食堂新建40家、只有19家")
    assert site.chain.asked[-1].articles == ()
    ((name, span),) = site.chain.asked[-1].within
    assert name == NAME
    assert written()[0].text[span.start : span.end].rstrip() == (
        "一、基本情况。 全县60岁以上老人8.7万人，占总人口的21.4%。社区食堂只有19家。"
    )
    expect(answer.locator(".sentence")).to_have_text(["社区食堂只有19家。1"])
    expect(page.locator(".question .within li")).to_have_text("《关于社区养老服务的调研报告》› 一、基本情况")


def test_an_article_can_be_found_and_read(page: Page) -> None:
    page.locator("#find").fill("社区养老")
    expect(page.locator("#tree a.open")).to_have_count(1)
    page.locator("#tree a.open").click()
    expect(page.locator("#source .body")).to_contain_text("调研组走访了28个社区")
    assert page.locator("mark.evidence").count() == 0
    page.locator("#find").fill("")
    page.locator("#tree a", has_text="<基层>").click()  # what looks like markup is text
    expect(page.locator("#source header h2")).to_have_text('红石镇<基层>治理的"三步"探索')


def test_an_address_reopens_its_source_and_back_leaves_it(pages: Pages) -> None:
    text = written()[0].text
    start = text.index("满意率")
    page = pages.open(f"/#document={quote(NAME)}&start={start}&end={start + 8}")
    assert evidence(page) == "满意率96.5%"
    page.locator("#tree a", has_text="养老").click()
    expect(page.locator("#source .body")).to_contain_text("调研组")
    page.go_back()
    assert evidence(page) == "满意率96.5%"


# --- The question box ------------------------------------------------------------------------------


def test_enter_sends_and_only_enter(page: Page, site: Site) -> None:
    asked = len(site.chain.asked)
    box = page.locator("#question textarea")
    expect(box).to_be_focused()
    page.keyboard.press("Enter")  # nothing typed
    page.locator("#question .submit-button").click()
    page.keyboard.type("第一行")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("第二行")
    expect(box).to_have_value("第一行\n第二行")
    keys = page.context.new_cdp_session(page)
    keys.send("Input.imeSetComposition", {"text": "shifan", "selectionStart": 6, "selectionEnd": 6})
    page.keyboard.press("Enter")  # confirms the input method's candidate
    page.wait_for_timeout(300)
    assert len(site.chain.asked) == asked
    keys.send("Input.imeSetComposition", {"text": "", "selectionStart": 0, "selectionEnd": 0})
    box.fill("第一行\n示范村36个")
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_be_visible()
    assert [q.text for q in site.chain.asked[asked:]] == ["第一行\n示范村36个"]


def test_errors_are_said_in_the_page_and_the_conversation_goes_on(page: Page, pages: Pages) -> None:
    failed = ask(page, BROKEN, ".failure")
    expect(failed).to_contain_text("请再试一次")
    expect(failed).not_to_contain_text("fake breaks")
    expect(failed.get_by_role("button", name="再问一次")).to_be_visible()
    expect(ask(page, "问" * (MAX_QUESTION + 1), ".failure")).to_contain_text("最多 200 字")
    ask(page, QUESTION)
    page.locator("#again").click()
    expect(page.locator(".welcome")).to_be_visible()
    assert page.locator(".answer").count() == 0
    pages.forgive("413", "500")


def test_earlier_turns_go_with_the_question(page: Page, site: Site) -> None:
    ask(page, QUESTION)
    ask(page, "社区食堂有几家？")
    history = site.chain.asked[-1].history
    assert [turn.role for turn in history] == ["user", "assistant"]
    assert history[0].content == QUESTION
    assert history[1].content == "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。"


def test_a_source_that_cannot_be_fetched_is_said(page: Page, pages: Pages) -> None:
    page.route("**/chat/source**", lambda route: route.abort())
    page.locator("#tree a.open").first.click()
    expect(page.locator("#source .failure")).to_contain_text("连不上服务")
    page.unroute_all()
    pages.forgive("ERR_FAILED")


# --- The real chain ---------------------------------------------------------------------------------


def test_every_citation_of_the_real_chain_opens_its_quote(pages: Pages, sample_site: Site) -> None:
    rows = [json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text("utf-8").splitlines()]
    questions = [row["question"] for row in rows if not row["history"]][:: len(rows) // 6]
    page = pages.open(url=sample_site.url)
    followed = 0
    for question in questions:
        if page.locator(".answer").count():
            begin_anew(page)  # each question stands alone, as it does over the API
        marks = ask(page, question).locator(".cite")
        citations = {str(c["n"]): c for c in sample_site.answer(question)["citations"]}
        for mark in marks.all():
            citation = citations[mark.text_content() or ""]
            assert follow(page, mark) == citation["quote"]
            assert page.locator("#source header h2").text_content() == citation["article"]["title"]
            assert page.locator("#source .path li").all_text_contents() == citation["section"]
            followed += 1
    assert followed >= len(questions)


def test_a_conversation_with_a_language_model_keeps_its_citations(pages: Pages, fluent_site: Site) -> None:
    page = pages.open(url=fluent_site.url)
    store = fluent_site.chain.store
    first = ask(page, "护理员入职奖励多少钱？")
    ask(page, "它之外还有哪些补助？")
    last = ask(page, "养老服务站设几名站长？")
    expect(first.locator(".footing")).to_contain_text("由 openai:scripted 撰写，逐句核对")
    expect(page.locator(".understood")).to_have_count(1)  # of the only question that was condensed
    expect(page.locator(".understood")).to_contain_text("护理员入职奖励之外还有哪些补助？")
    places: dict[str, str] = {}
    marks = page.locator(".answer .cite")
    assert marks.count() >= 4 and last.locator(".cite").count() >= 1
    for mark in marks.all():
        number, href = mark.text_content() or "", mark.get_attribute("href") or ""
        assert places.setdefault(number, href) == href  # one number, one place, in the whole conversation
        place = parse_qs(href.removeprefix("#"))
        document = store.document(place["document"][0])
        assert document
        assert follow(page, mark) == document.text[int(place["start"][0]) : int(place["end"][0])]
    assert len(set(places.values())) == len(places)


# --- Narrow and dark -------------------------------------------------------------------------------


def test_on_a_phone_the_panels_are_drawers(pages: Pages) -> None:
    page = pages.open(width=390, height=844)
    expect(page.locator("#documents")).to_be_hidden()
    page.locator("#show-documents").click()
    page.get_by_label("只在此篇中提问：关于加快青禾县数字乡村建设的实施意见").check()
    page.locator("#close-documents").click()
    expect(page.locator("#documents")).to_be_hidden()
    ask(page, QUESTION).locator(".cite").click()
    assert evidence(page).startswith("到2027年")
    expect(page.locator("mark.evidence").first).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#close-source").click()
    expect(page.locator("#source")).to_be_hidden()
    expect(page.locator("#question textarea")).to_be_visible()


def test_the_source_leaves_the_talk_its_room_in_every_form(pages: Pages) -> None:
    page = pages.open()
    ask(page, QUESTION).locator(".cite").click()
    evidence(page)
    sizes = [
        (2560, 16),
        (1280, 16),
        (1101, 16),
        (390, 16),
        (360, 16),
        (2560, 32),
        (1440, 32),
        (1280, 32),
        (640, 32),
    ]
    for width, letter in sizes:  # in pixels
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("size => (document.documentElement.style.fontSize = `${size}px`)", letter)
        assert page.locator("#talk").evaluate("e => e.clientWidth") >= 20 * letter, (width, letter)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (width, letter)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_evidence_can_be_read_in_light_and_dark(pages: Pages, scheme: str) -> None:
    page = pages.open(f"/?__theme={scheme}", color_scheme=scheme)
    ask(page, QUESTION).locator(".cite").click()
    evidence(page)
    for selector in ("mark.evidence", ".answer .sentence", "#tree .open", ".footing small", ".cite"):
        assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, selector
