"""The first screen."""

from __future__ import annotations

from fakes_ui import NAME, written
from markup import HOSTILE, Page, assert_inert

from rag.store import StoredArticle, StoredDocument
from ui.welcome import welcome_html

DOCUMENT, OUTLINE = written()
STORED = StoredDocument(NAME, "", DOCUMENT.sha256, "utf-8", len(DOCUMENT.text), (), "2", 3, 9)
ARTICLES = [StoredArticle(i, NAME, DOCUMENT.sha256, a) for i, a in enumerate(OUTLINE.articles, 1)]


def test_it_counts_what_there_is_and_names_the_categories() -> None:
    page = Page(welcome_html([STORED], ARTICLES, ["问什么？"]))
    assert page.text("ul.counts") == f"1 份文件 document3 篇文章 articles{len(DOCUMENT.text)} 字 characters"
    assert page.text("p.topics") == "其中有：意见决定（1）、经验交流（1）、调研报告（1）。"
    assert page.text("button.example") == "问什么？"


def test_without_documents_it_says_how_to_add_some() -> None:
    assert "youju ingest" in Page(welcome_html([], [], [])).text("code")
    allowed = welcome_html([], [], [], uploads=True)
    assert "添加文件" in allowed and "youju ingest" not in allowed


def test_hostile_text_is_inert() -> None:
    assert_inert(welcome_html([STORED], ARTICLES, [HOSTILE]))
