"""The article in the source panel: nothing of its text is lost, added or taken for markup."""

from __future__ import annotations

from itertools import pairwise

from fakes_ui import NAME, written
from hypothesis import given, settings
from hypothesis import strategies as st
from markup import HOSTILE, Page, assert_inert

from rag.chunk import sentences
from rag.records import Article, Document, Section, Span
from ui.article import article_html, blocks, marks_of

CHARACTERS = st.sampled_from("治理 体系。！”；，一二三(是、1.\n\r\t\u3000<>&\"'\u200b\U00020000 a")


@st.composite
def articles(draw: st.DrawFn) -> tuple[Document, Article, Span]:
    """A document, one of its articles with any tree of sections, and a span that begins in it."""
    text = draw(st.text(CHARACTERS, min_size=2, max_size=400))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2).filter(lambda p: p[0] != p[1])))
    body = draw(st.integers(start, end))
    article = Article(start, end, 1, "题", None, _sections(draw, text, body, end, 0), body)
    at = draw(st.integers(start, end - 1))
    return Document(NAME, "0", text, "utf-8"), article, Span(at, draw(st.integers(at + 1, end)))


def _sections(draw: st.DrawFn, text: str, start: int, end: int, depth: int) -> tuple[Section, ...]:
    if depth == 3 or start == end:
        return ()
    cuts = sorted(draw(st.sets(st.integers(start, end), max_size=4)))
    out = []
    for a, b in pairwise(cuts):
        body = draw(st.integers(a, b))
        level = draw(st.sampled_from([1, 2, 3, 4, "item"]))
        as_written = (text[a : a + 2], text[a + 2 : b][:9])
        label = draw(st.sampled_from([("一、", ""), ("(二)", "治理体系"), as_written]))
        out.append(Section(a, b, level, *label, _sections(draw, text, body, b, depth + 1), body))
    return tuple(out)


@settings(max_examples=300, deadline=None)
@given(articles(), st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), max_size=4))
def test_source_holds_the_article_exactly_and_the_marks_hold_their_spans_exactly(
    given_article: tuple[Document, Article, Span], others: list[tuple[int, int]]
) -> None:
    document, article, evidence = given_article
    also = [Span(at, at + length) for at, length in others]  # they may overlap each other and the evidence
    page = Page(article_html(document, article, marks_of(evidence, also)))
    text = document.text
    assert page.text("div.body") == text[article.start : article.end]
    assert page.text("mark.evidence") == text[evidence.start : evidence.end]
    for n, span in enumerate(also):
        held = text[max(span.start, article.start) : max(article.start, min(span.end, article.end))]
        assert page.text_where("data-also", str(n)) == held


@settings(max_examples=200, deadline=None)
@given(articles())
def test_every_sentence_is_an_element_named_by_its_place(
    given_article: tuple[Document, Article, Span],
) -> None:
    document, article, evidence = given_article
    page = Page(article_html(document, article, marks_of(evidence)))
    named = {int(a["id"].removeprefix("s-")): a["id"] for a in page.all("span", "s")}
    shown = [b for b in blocks(document.text, article) if b.kind != "title"]
    spans = [s for b in shown for s in sentences(document.text, b.start, b.end)]
    assert list(named) == [s.start for s in spans]
    for span in spans:
        assert page.text_where("id", named[span.start]) == document.text[span.start : span.end]


@settings(max_examples=200, deadline=None)
@given(articles())
def test_blocks_follow_one_another_without_gap_or_overlap(
    given_article: tuple[Document, Article, Span],
) -> None:
    document, article, _ = given_article
    places = [(b.start, b.end) for b in blocks(document.text, article)]
    assert [a for a, _ in places] == [article.start, *(b for _, b in places[:-1])]
    assert places[-1][1] == article.end
    assert all(a < b for a, b in places)


def test_an_article_of_one_line_is_laid_out_from_its_sections() -> None:
    document, outline = written()
    article = outline.articles[0]
    text = document.text
    assert [(b.kind, b.level, text[b.start : b.end].strip()[:12]) for b in blocks(text, article)] == [
        ("title", 0, "关于加快青禾县数字乡村建"),
        ("text", 0, "为加快补齐农村信息基础设"),
        ("heading", 1, "一、总体目标。"),
        ("text", 1, "到2027年，全县行政村"),
        ("heading", 1, "二、重点任务。"),
        ("heading", 2, "(一)夯实网络底座。"),
        ("text", 2, "实施光纤到户改造，三年内"),
        ("heading", 2, "(二)建强服务队伍。"),
        ("text", 2, "主要抓好三件事："),
        ("item", 3, "一是选好村级网格员，每村"),
        ("item", 3, "二是办好田间课堂，全年培"),
        ("item", 3, "三是用好返乡青年，给予每"),
    ]


def test_evidence_over_several_blocks_is_several_marks_under_title_category_and_path() -> None:
    document, outline = written()
    article = outline.articles[0]
    start = document.text.index("主要抓好三件事")
    end = document.text.index("，给予每人每月")
    page = Page(article_html(document, article, marks_of(Span(start, end)), article.path_at(start)))
    assert len(page.all("mark", "evidence")) > 3
    assert page.text("mark.evidence") == document.text[start:end]
    assert page.text("h2") == article.title
    assert page.text("span.category") == "意见决定"
    assert [d for p, d in page.texts if "ol.path" in p] == ["二、重点任务", "(二)建强服务队伍"]


def test_carriage_returns_and_leading_spaces_survive() -> None:
    text = "\u3000\u3000第一段。\r\n第二段。\r\n"
    document = Document(NAME, "0", text, "utf-8")
    html = article_html(document, Article(0, len(text), 1, "题", None, (), 0), marks_of(Span(0, len(text))))
    assert "\r" not in html  # a parser would read a bare one as a line feed
    assert Page(html).text("mark.evidence") == text


def test_a_long_text_breaks_between_sentences() -> None:
    sentence = "这一句有二十个字，用来量出一段应当有多长。"
    text = "题" + sentence * 20
    article = Article(0, len(text), 1, "题", None, (), 1)
    paragraphs = [text[b.start : b.end] for b in blocks(text, article) if b.kind == "text"]
    assert [len(p) // len(sentence) for p in paragraphs] == [8, 8, 4]
    assert all(p.endswith("。") for p in paragraphs)


def test_paragraphs_break_at_line_ends() -> None:
    text = "题目\n第一段。仍是第一段。\n\n第二段。"
    article = Article(0, len(text), 1, "题目", None, (), 2)
    assert [text[b.start : b.end].strip() for b in blocks(text, article)] == [
        "题目",
        "第一段。仍是第一段。",
        "第二段。",
    ]


def test_path_and_outline_lead_to_the_blocks_that_their_sections_begin_in() -> None:
    document, outline = written()
    article = outline.articles[0]
    inner = article.sections[1].sections[1]
    page = Page(article_html(document, article, path=article.path_at(inner.start)))
    labels = [
        "一、总体目标",
        "二、重点任务",
        "(一)夯实网络底座",
        "(二)建强服务队伍",
        "一是选好村级网格员",
        "二是办好田间课堂",
        "三是用好返乡青年",
    ]
    assert [d for p, d in page.texts if "ol.path" in p] == ["二、重点任务", "(二)建强服务队伍"]
    assert [d for p, d in page.texts if "details.outline" in p and "button.jump" in p] == labels
    assert page.text("summary") == "本篇 7 节 Outline"
    sections = [path[-1].start for path in article.walk()]
    targets = [int(a["data-to"]) for a in page.all("button", "jump")]
    assert targets == [article.sections[1].start, inner.start, *sections]
    assert set(targets) <= {int(a["data-start"]) for _, a in page.tags if "data-start" in a}


def test_few_sections_need_no_outline() -> None:
    document, outline = written()
    assert not Page(article_html(document, outline.articles[2])).all("details")


def test_text_from_anywhere_stays_text() -> None:
    section = Section(0, 9, 1, HOSTILE[:3], HOSTILE, (), 3)
    article = Article(0, len(HOSTILE), 1, HOSTILE, HOSTILE, (section,) * 7, 0)
    document = Document(HOSTILE, "0", HOSTILE, "utf-8")
    assert_inert(article_html(document, article, marks_of(Span(0, 5), [Span(2, 9)]), (section,)))
