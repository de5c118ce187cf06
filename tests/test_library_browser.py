"""The library panel in Chromium, on a page of its own: choosing, previewing, storing, re-reading, removing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from builders import compilation
from fakes import FakeEncoder
from playwright.sync_api import Browser, Locator, Page, expect
from running import running
from watched import watching

from rag.chain import Chain
from rag.config import Settings
from rag.ingest import ingest
from rag.retrieve import HybridRetriever
from rag.store import Store
from ui.app import create_app, static_folder

pytestmark = pytest.mark.browser

PANEL = """<!doctype html><html lang="zh-CN"><title>文件</title><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><link rel="stylesheet" href="FOLDER/base.css">
<link rel="stylesheet" href="FOLDER/library.css">
<body><main style="height: 100vh; overflow-y: auto; padding: 1rem; box-sizing: border-box; background: var(--paper)">
</main><script type="module">
import { libraryPanel } from "./FOLDER/library.js";
window.changes = 0;
document.querySelector("main").append(libraryPanel({ onChange: () => (window.changes += 1) }));
</script></body></html>""".replace("FOLDER", static_folder())


class PausingEncoder(FakeEncoder):
    """Waits in the middle of its work while ``go`` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()

    def encode_with_spans(self, texts: Any, spans: Any, progress: Any = None) -> Any:
        if progress:
            progress(len(texts) // 2, len(texts))
        assert self.go.wait(20)
        return super().encode_with_spans(texts, spans, progress)


@pytest.fixture
def encoder() -> PausingEncoder:
    return PausingEncoder()


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """The folder of the document that is held, which is also where files are chosen from."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "旧文.txt").write_text("河道巡查每周两次，由河长负责。", encoding="utf-8")
    (folder / "汇编.txt").write_text(compilation(), encoding="utf-8")
    (folder / "报告.pdf").write_bytes(b"%PDF-1.7")
    return folder


@pytest.fixture
def settings(tmp_path: Path, docs: Path) -> Settings:
    settings = Settings(kb=tmp_path / "kb", allow_upload=True, max_upload=100_000, refuse_below=0)
    ingest([docs / "旧文.txt"], settings, FakeEncoder())
    return settings


@pytest.fixture
def url(settings: Settings, encoder: PausingEncoder) -> Iterator[str]:
    """A running server."""
    retriever = HybridRetriever(store=Store.open(settings.kb), encoder=encoder)
    with running(create_app(settings, Chain(retriever, settings))) as address:
        yield address
        encoder.go.set()


@pytest.fixture
def open_panel(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Opens the panel's page, and afterwards asserts that it spoke to its own host only."""

    def route(page: Page) -> None:
        page.route(f"{url}/panel", lambda route: route.fulfill(body=PANEL, content_type="text/html"))

    def ready(page: Page) -> None:
        expect(page.locator(".held li")).to_have_count(1)

    with watching(browser, url, ready, route) as pages:
        yield partial(pages.open, "/panel", width=900)
        pages.forgive("Failed to load resource")  # some tests break the server


def choose(page: Page, *files: Path | dict[str, Any]) -> None:
    page.locator("input[type=file]").set_input_files(list(files))  # type: ignore[arg-type]


def file(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "mimeType": "text/plain", "buffer": text.encode()}


def chosen(page: Page, name: str) -> Locator:
    return page.locator(".files > li").filter(has_text=name)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def changes(page: Page) -> int:
    count: int = page.evaluate("window.changes")
    return count


def test_a_file_is_previewed_then_stored_with_its_progress(
    open_panel: Callable[..., Page], docs: Path, encoder: PausingEncoder
) -> None:
    page = open_panel()
    choose(page, docs / "汇编.txt")
    row = chosen(page, "汇编.txt")
    expect(row.locator(".state")).to_have_text("可以存入 Ready")
    row.get_by_text("切分预览").click()
    expect(row.locator("summary").first).to_contain_text("4 篇文章，16 节 4 articles, 16 sections")
    expect(row.locator(".articles > li")).to_have_count(4)
    first = row.locator(".articles > li").first
    first.locator("summary").click()
    assert first.locator("li").all_inner_texts()[0] == "一、总体要求"
    assert first.locator("li li").all_inner_texts() == ["(一)健全机制", "(二)压实责任"]

    encoder.go.clear()
    press(page, "存入 Store：汇编.txt")
    bar = page.get_by_role("progressbar", name="向量化 Embed")
    expect(bar).to_be_visible()
    assert 0 < bar.evaluate("(bar) => bar.value / bar.max") < 1
    assert page.locator(".steps .past").all_inner_texts() == ["读取 Read", "切分 Split"]
    expect(page.locator(".steps [aria-current=step]")).to_have_text("向量化 Embed")
    expect(page.get_by_role("button", name="移除 Remove：旧文.txt")).to_be_disabled()
    assert changes(page) == 0
    encoder.go.set()
    result = page.locator(".results > li")
    expect(result).to_contain_text("汇编.txt 新增 added")
    expect(result).to_contain_text("4 篇文章，16 节")
    expect(chosen(page, "汇编.txt")).to_have_count(0)
    assert page.locator(".held strong").all_inner_texts() == ["旧文.txt", "汇编.txt"]
    page.wait_for_function("window.changes === 1")


def test_several_files_are_stored_at_once_and_what_cannot_be_is_told(
    open_panel: Callable[..., Page], docs: Path
) -> None:
    page = open_panel()
    for n in (1, 2):
        (docs / f"{n}.txt").write_text(compilation(version=n), encoding="utf-8")
    choose(page, docs / "报告.pdf", docs / "1.txt", docs / "2.txt")
    expect(chosen(page, "报告.pdf").get_by_role("alert")).to_contain_text("是 PDF 文件, 不是文本")
    expect(chosen(page, "2.txt").locator(".state")).to_have_text("可以存入 Ready")
    press(page, "全部存入 Store all")
    expect(page.locator(".results strong")).to_have_text(["1.txt", "2.txt"])
    press(page, "知道了 Dismiss：报告.pdf")
    expect(page.locator(".files > li")).to_have_count(0)
    expect(page.get_by_role("button", name="全部存入")).to_have_count(0)


def test_a_file_that_is_too_large_is_not_sent(open_panel: Callable[..., Page]) -> None:
    page = open_panel()
    expect(page.locator(".kinds")).to_contain_text("每个不超过 100 KB")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    choose(page, file("大.txt", "字" * 40_000))
    expect(chosen(page, "大.txt").get_by_role("alert")).to_contain_text("文件超过 100 KB")
    assert sent == []


def test_a_preview_says_what_would_be_replaced(open_panel: Callable[..., Page], docs: Path) -> None:
    page = open_panel()
    choose(page, file("汇编.txt", compilation()))
    press(page, "存入 Store：汇编.txt")
    expect(page.locator(".results")).to_contain_text("新增")
    expect(chosen(page, "汇编.txt")).to_have_count(0)
    choose(page, file("汇编.txt", compilation(version=2)))
    expect(chosen(page, "汇编.txt").locator(".state")).to_have_text(
        "会替换已存的旧版 Replaces the stored one"
    )
    press(page, "取消 Cancel：汇编.txt")
    choose(page, file("汇编.txt", compilation()))
    expect(chosen(page, "汇编.txt").locator(".state")).to_have_text("与已存的相同，不必存入 Stored already")
    choose(page, file("旧文.txt", "另一份。"))
    expect(chosen(page, "旧文.txt")).to_contain_text("存为“files/旧文.txt”")
    expect(chosen(page, "旧文.txt").locator(".warnings")).to_contain_text("已有同名的文件“旧文.txt”")


def test_files_can_be_dropped(open_panel: Callable[..., Page]) -> None:
    page = open_panel()
    carried = page.evaluate_handle(
        "(text) => { const held = new DataTransfer(); held.items.add(new File([text], '拖来.txt')); return held; }",
        compilation(),
    )
    zone = page.locator(".drop")
    zone.dispatch_event("dragenter", {"dataTransfer": carried})
    expect(page.locator(".library")).to_have_class("library over")
    zone.dispatch_event("drop", {"dataTransfer": carried})
    expect(page.locator(".library")).to_have_class("library")
    expect(chosen(page, "拖来.txt").locator(".state")).to_have_text("可以存入 Ready")


def test_a_changed_file_is_read_again(open_panel: Callable[..., Page], docs: Path) -> None:
    page = open_panel()
    (docs / "旧文.txt").write_text("河道巡查每周五次，由河长负责。", encoding="utf-8")
    press(page, "重读 Re-read：旧文.txt")
    expect(page.locator(".results > li")).to_contain_text("旧文.txt 更新 updated")
    page.wait_for_function("window.changes === 1")


def test_a_document_whose_file_is_gone_offers_no_rereading(
    open_panel: Callable[..., Page], docs: Path
) -> None:
    (docs / "旧文.txt").unlink()
    page = open_panel()
    expect(page.locator(".gone")).to_contain_text("原文件已不在原处")
    expect(page.get_by_role("button", name="重读")).to_have_count(0)


def test_removing_asks_first_and_escape_keeps(open_panel: Callable[..., Page]) -> None:
    page = open_panel()
    remove = page.get_by_role("button", name="移除 Remove：旧文.txt")
    remove.press("Enter")
    expect(page.get_by_role("button", name="保留 Keep")).to_be_focused()
    page.keyboard.press("Escape")
    expect(remove).to_be_focused()
    assert changes(page) == 0
    remove.press("Enter")
    page.get_by_role("button", name="移除 Remove", exact=True).click()
    expect(page.locator(".held")).to_contain_text("还没有文件")
    expect(page.get_by_role("status")).to_have_text("已移除“旧文.txt”。 Removed.")
    page.wait_for_function("window.changes === 1")


def test_a_busy_knowledge_base_is_told_and_the_file_goes_on_waiting(
    open_panel: Callable[..., Page], settings: Settings
) -> None:
    page = open_panel()
    choose(page, file("新.txt", compilation()))
    with Store.open(settings.kb, writable=True):
        press(page, "存入 Store：新.txt")
        expect(page.locator(".job").get_by_role("alert")).to_contain_text("另一个进程正在写入知识库")
    press(page, "存入 Store：新.txt")
    expect(page.locator(".results")).to_contain_text("新.txt")


def test_a_lost_connection_is_told_and_the_work_is_done(
    open_panel: Callable[..., Page], encoder: PausingEncoder, settings: Settings
) -> None:
    page = open_panel()
    choose(page, file("新.txt", compilation()))
    encoder.go.clear()
    press(page, "存入 Store：新.txt")
    expect(page.get_by_role("progressbar", name="向量化 Embed")).to_be_visible()
    page.reload()  # the reader goes away
    expect(page.locator(".held li")).to_have_count(1)
    press(page, "重读 Re-read：旧文.txt")
    expect(page.locator(".job").get_by_role("alert")).to_contain_text("正在写入另一些文件")
    encoder.go.set()
    with Store.open(settings.kb) as store:
        end = time.monotonic() + 10
        while store.count("documents") < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert [d.name for d in store.documents()] == ["新.txt", "旧文.txt"]


def test_an_unreachable_server_is_told(open_panel: Callable[..., Page], url: str) -> None:
    page = open_panel()
    page.route(f"{url}/chat/library/**", lambda route: route.abort())
    choose(page, file("新.txt", compilation()))
    expect(chosen(page, "新.txt").get_by_role("alert")).to_contain_text("连不上服务")
    press(page, "重读 Re-read：旧文.txt")
    expect(page.locator(".job").get_by_role("alert")).to_contain_text("连接断了")


def test_the_keyboard_suffices(open_panel: Callable[..., Page]) -> None:
    page = open_panel()
    page.on("filechooser", lambda chooser: None)  # choosers are intercepted from the first listener on
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="选择文件 Choose files")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([file("新.txt", compilation())])  # type: ignore[list-item]
    expect(chosen(page, "新.txt").locator(".state")).to_have_text("可以存入 Ready")
    for _ in range(2):  # past the preview's summary
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="存入 Store：新.txt")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".results")).to_contain_text("新.txt")
    expect(page.get_by_role("group", name="进展 Progress")).to_be_focused()


def test_nothing_is_wider_than_a_narrow_page(open_panel: Callable[..., Page]) -> None:
    page = open_panel(width=360)
    choose(page, file(f"{'很长的名字' * 10}.txt", compilation()))
    expect(page.locator(".files .state")).to_have_text("可以存入 Ready")
    page.get_by_text("切分预览").click()
    assert page.evaluate("document.querySelector('main').scrollWidth") <= 360


def test_a_name_is_never_markup(open_panel: Callable[..., Page]) -> None:
    page = open_panel()
    name = "<img src=x onerror=alert(1)>.txt"
    choose(page, file(name, "<b>一、总体要求</b>\n网格管理由网格长负责。"))
    expect(page.locator(".files strong")).to_have_text(name)
    press(page, f"存入 Store：{name}")
    expect(page.locator(".results strong")).to_have_text(name)
    expect(page.locator("img, .library b")).to_have_count(0)
    press(page, f"移除 Remove：{name}")
    page.get_by_role("button", name="移除 Remove", exact=True).click()
    expect(page.locator(".held li")).to_have_count(1)
