"""A conversation in Chromium: stopped, edited, kept, taken away, resumed after the server was gone."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import compilation
from chat_site import (
    LISTING,
    QUESTION,
    Site,
    ask,
    follow,
    ready,
    serving,
)
from fakes import FakeEncoder
from fakes_ui import MAX_QUESTION, NAME, fake_chain
from playwright.sync_api import Download, Page, expect
from running import free_port
from watched import Pages

from rag.chain import Chain
from rag.config import Settings
from rag.feedback import FeedbackLog
from rag.ingest import ingest
from rag.retrieve import HybridRetriever
from rag.store import Store

pytestmark = pytest.mark.browser

QUOTE = "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。"


# --- Asking -----------------------------------------------------------------------------------------


def test_stop_keeps_what_came_and_says_so(page: Page, site: Site) -> None:
    site.chain.pause = 2.0
    try:
        page.locator("#question textarea").fill(LISTING)
        page.keyboard.press("Enter")
        expect(page.locator(".answering .sentence")).to_have_count(1)
        page.locator("#question .stop").click()
        expect(page.locator(".answer.stopped .sentence")).to_have_count(1)
    finally:
        site.chain.pause = 0.0
    expect(page.locator(".answer.stopped .footing")).to_contain_text("已停止，只收到这些")
    expect(page.locator("#question .submit-button")).to_be_visible()
    ask(page, QUESTION)


def test_an_edited_question_replaces_its_exchange_and_those_after_it(page: Page, site: Site) -> None:
    ask(page, QUESTION)
    ask(page, "社区食堂有几家？")
    page.locator(".edit").first.click()
    expect(page.locator(".editing")).to_contain_text("其后的 1 组问答会去掉")
    page.locator(".editing textarea").fill("群众办事满意率")
    page.keyboard.press("Enter")
    expect(page.locator(".question h2")).to_have_text(["群众办事满意率"])
    expect(page.locator(".answer.answered")).to_contain_text("满意率96.5%")
    assert site.chain.asked[-1].history == ()


def test_a_question_is_repeated_in_its_place(page: Page, site: Site) -> None:
    ask(page, QUESTION)
    asked = len(site.chain.asked)
    page.locator(".repeat").click()
    expect(page.locator(".repeat")).to_be_visible()
    expect(page.locator(".answer")).to_contain_text("示范村36个")
    assert [q.text for q in site.chain.asked[asked:]] == [QUESTION]
    assert site.chain.asked[-1].history == ()
    expect(page.locator(".exchange")).to_have_count(1)


def test_numbers_go_on_through_a_conversation(page: Page) -> None:
    assert ask(page, QUESTION).locator(".cite").all_text_contents() == ["1"]
    assert ask(page, LISTING).locator(".cite").all_text_contents() == ["2", "3", "4"]


def test_an_answer_is_announced_once_and_finished(page: Page, site: Site) -> None:
    page.evaluate(
        """() => {
          window.said = [];
          const place = document.querySelector("#announce");
          new MutationObserver(() => window.said.push(place.textContent)).observe(place, { childList: true });
        }"""
    )
    expect(page.locator("#announce")).to_have_attribute("role", "status")
    site.chain.pause = 0.1
    ask(page, LISTING)
    site.chain.pause = 0.0
    assert page.evaluate("window.said") == [
        "回答：一是选好村级网格员，每村至少配备2名；二是办好田间课堂，全年培训不少于6000人次；"
        "三是用好返乡青年，给予每人每月800元补贴。"
    ]


def test_questions_that_go_on_are_offered_and_asked(page: Page) -> None:
    ask(page, QUESTION)
    offered = page.locator(".next .example").first
    text = offered.text_content()
    offered.click()
    expect(page.locator(".question h2")).to_have_text([QUESTION, text or ""])


def test_a_sentence_of_the_source_is_asked_about(page: Page) -> None:
    follow(page, ask(page, QUESTION).locator(".cite"))
    page.locator("#source .s", has_text="2027年").click()
    page.get_by_role("button", name="就此提问").click()
    expect(page.locator("#question textarea")).to_have_value(f"“{QUOTE}”")
    expect(page.locator("#question textarea")).to_be_focused()


def test_quotation_marks_in_what_is_asked_about_become_inner_ones(page: Page) -> None:
    page.evaluate(
        "text => document.dispatchEvent(new CustomEvent('youju:ask-about', { detail: { text } }))",
        "推行“三步”法，学习‘枫桥经验’。",
    )
    expect(page.locator("#question textarea")).to_have_value("“推行‘三步’法，学习“枫桥经验”。”")


# --- Taking it away ---------------------------------------------------------------------------------


def test_an_answer_is_copied_with_its_citations(page: Page) -> None:
    ask(page, QUESTION)
    page.locator(".copy").click()
    expect(page.locator(".copy")).to_contain_text("已复制")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"问：{QUESTION}\n\n{QUOTE}[1]\n\n[1] 《关于加快青禾县数字乡村建设的实施意见》")
    assert f"“{QUOTE}”（{NAME}，" in copied


def test_on_paper_what_an_answer_cites_stands_below_it(page: Page, site: Site) -> None:
    citations = site.answer(LISTING)["citations"]
    ask(page, LISTING)
    listed = page.locator(".exchange .sources li")
    expect(listed).to_have_count(3)
    expect(listed.first).to_be_hidden()
    page.emulate_media(media="print")
    try:
        assert page.locator(".exchange .sources").inner_text().splitlines()[0] == "出处 Sources"
        for shown, cited in zip(listed.all(), citations, strict=True):
            path = " › ".join((f"《{cited['article']['title']}》", *cited["section"]))
            place = f"{NAME}，{cited['start']}–{cited['end']}"
            assert shown.inner_text().splitlines() == [f"[{cited['n']}] {path} {place}", cited["quote"]]
        for hidden in ("#documents", "#question", ".actions"):
            expect(page.locator(hidden).first).to_be_hidden()
    finally:
        page.emulate_media(media="screen")


def test_a_download_says_what_the_question_was_restricted_to(page: Page) -> None:
    page.get_by_label("只在此篇中提问：关于社区养老服务的调研报告").check()
    ask(page, "社区食堂只有多少家？")
    markdown = downloaded(page, ".share", "md")
    text = Path(markdown.path()).read_text("utf-8")
    assert "\n\n仅查 (within)：《关于社区养老服务的调研报告》\n\n" in text.replace("\\", "")


def test_an_answer_and_a_whole_conversation_are_downloaded(page: Page) -> None:
    ask(page, QUESTION)
    ask(page, LISTING)
    markdown = downloaded(page, "#export", "md")
    assert markdown.suggested_filename.endswith(".md")
    text = Path(markdown.path()).read_text("utf-8")
    assert QUESTION in text and LISTING in text and QUOTE in text
    word = downloaded(page, ".share >> nth=0", "docx")
    assert word.suggested_filename.startswith("青禾县到2027年建成多少个数字乡村示范村")
    assert word.suggested_filename.endswith(".docx")
    with zipfile.ZipFile(io.BytesIO(Path(word.path()).read_bytes())) as parts:
        notes = parts.read("word/footnotes.xml").decode()
    assert QUOTE in notes
    assert "返乡青年" not in notes  # of the other answer


def downloaded(page: Page, opener: str, form: str) -> Download:
    page.locator(opener).click()
    with page.expect_download() as download:
        page.locator(f".menu [data-format={form}]").click()
    return download.value


def test_feedback_is_stored(page: Page, site: Site) -> None:
    ask(page, QUESTION)
    page.locator(".choice[data-verdict=wrong_source]").click()
    expect(page.locator(".feedback .state")).to_contain_text("已记下")
    text = FeedbackLog(site.chain.store.folder).path.read_text("utf-8")
    assert '"wrong_source"' in text and QUESTION in text


# --- Kept -------------------------------------------------------------------------------------------


def test_conversations_are_kept_reopened_and_deleted(pages: Pages) -> None:
    page = pages.open(width=1400)
    titles = page.locator("#conversations .open")
    ask(page, QUESTION)
    ask(page, LISTING)
    page.locator("#again").click()
    ask(page, "社区食堂只有几家？")
    expect(titles).to_have_text(["社区食堂只有几家？", QUESTION])
    page.locator("#question textarea").fill("还没写完的问题")
    page.reload()
    ready(page)
    expect(page.locator("#question textarea")).to_have_value("还没写完的问题")
    expect(page.locator(".question h2")).to_have_text("社区食堂只有几家？")
    titles.nth(1).click()
    expect(page.locator(".question h2")).to_have_text([QUESTION, LISTING])
    marks = page.locator(".answer .cite")
    assert marks.all_text_contents() == ["1", "2", "3", "4"]
    assert [follow(page, mark) for mark in marks.all()] == [
        QUOTE,
        "一是选好村级网格员，每村至少配备2名；",
        "二是办好田间课堂，全年培训不少于6000人次；",
        "三是用好返乡青年，给予每人每月800元补贴。",
    ]
    page.get_by_role("button", name=f"删除对话：{QUESTION}").click()
    expect(titles).to_have_text(["社区食堂只有几家？"])
    expect(page.locator(".welcome")).to_be_visible()
    page.close()


def test_a_conversation_deleted_in_mid_answer_stays_deleted(page: Page, site: Site) -> None:
    site.chain.pause = 1.0
    question = "返乡青年补贴多少"
    page.locator("#question textarea").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".answering")).to_be_visible()
    page.get_by_role("button", name=f"删除对话：{question}").click()
    site.chain.pause = 0.0
    expect(page.locator(".welcome")).to_be_visible()
    ask(page, QUESTION)
    expect(page.locator("#conversations .open", has_text=question)).to_have_count(0)


def test_a_full_storage_is_said(page: Page) -> None:
    page.evaluate(
        "() => { Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError') } }"
    )
    ask(page, QUESTION)
    expect(page.locator("#notice")).to_contain_text("存储满了或不可用")
    page.reload()
    ready(page)


# --- Servers that go, documents that go ----------------------------------------------------------------


def test_a_server_that_goes_away_is_said_and_the_answer_comes_when_it_is_back(
    pages: Pages, tmp_path: Path
) -> None:
    settings, port = Settings(kb=tmp_path, max_question=MAX_QUESTION), free_port()
    chain = fake_chain(tmp_path)
    chain.pause = 3.0
    with serving(settings, chain, port) as first:
        page = pages.open(url=first.url, width=1300)
        page.locator("#question textarea").fill(LISTING)
        page.keyboard.press("Enter")
        expect(page.locator(".answering .sentence")).to_have_count(1)
        page.locator("#question textarea").fill("下一个问题")
    expect(page.locator("#notice")).to_contain_text("正在重新连接")
    chain.pause = 0.0
    with serving(settings, chain, port):
        expect(page.locator(".answer.answered .sentence")).to_have_count(3)
        expect(page.locator("#notice")).to_be_empty()
        expect(page.locator("#question textarea")).to_have_value("下一个问题")
        page.close()
    pages.forgive("ERR_")


def test_a_conversation_goes_on_where_a_cited_document_was_removed(
    pages: Pages, tmp_path: Path, real: Site
) -> None:
    page = pages.open(url=real.url, width=1200)
    ask(page, "河道巡查每周几次？")
    with Store.open(real.chain.store.folder, writable=True) as store, store.transaction():
        store.delete("旧文.txt")
    answer = ask(page, "网格管理由谁负责？")
    expect(answer).to_have_attribute("data-state", "answered")
    page.close()
    pages.forgive("404")


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Site]:
    """The real chain over two documents, to which documents can be added in the page."""
    (tmp_path / "旧文.txt").write_text("河道巡查每周两次，由河长负责。", encoding="utf-8")
    (tmp_path / "汇编.txt").write_text(compilation(), encoding="utf-8")
    settings = Settings(kb=tmp_path / "kb", allow_upload=True, refuse_below=0)
    ingest([tmp_path / "旧文.txt", tmp_path / "汇编.txt"], settings, FakeEncoder())
    retriever = HybridRetriever(store=Store.open(settings.kb), encoder=FakeEncoder())
    with serving(settings, Chain(retriever, settings)) as found:
        yield found


def test_documents_are_added_where_it_is_allowed(pages: Pages, real: Site) -> None:
    page = pages.open(url=real.url, width=1250)
    page.locator("#library summary").click()
    file = {"name": "新.txt", "mimeType": "text/plain", "buffer": "公园每天六点开门，由管理处负责。".encode()}
    page.locator("#library input[type=file]").set_input_files([file])  # type: ignore[list-item]
    page.get_by_role("button", name="存入 Store：新.txt").click()
    expect(page.locator("#library .results")).to_contain_text("新.txt")
    expect(page.locator("#tree .document", has_text="新.txt")).to_have_count(1)
    expect(page.locator("#welcome .counts")).to_contain_text("3")
    page.close()


def test_nothing_of_adding_is_shown_where_it_is_not_allowed(page: Page) -> None:
    expect(page.locator("#library")).to_be_empty()
    expect(page.get_by_text("添加文件")).to_have_count(0)
