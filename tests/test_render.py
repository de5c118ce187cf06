"""Rendering: nothing of a text is lost, added or taken for markup; lists are lists."""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import parse_qs

import pytest
from fakes_ui import NAME, written
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.records import (
    Answer,
    AnswerSentence,
    Article,
    ArticleRef,
    Citation,
    Document,
    Passage,
    Section,
    Span,
)
from rag.store import StoredArticle
from ui import render

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """The elements of some HTML as (path of ``tag.class``, text) and as (tag, attributes)."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag not in ("input", "img", "br"):
            self.open.append(".".join([tag, *found.get("class", "").split()]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().split(".")[0] == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self.open), data))

    def text(self, name: str) -> str:
        """The joined text inside every element called ``name`` (``tag`` and its first class)."""
        return "".join(data for path, data in self.texts if any(_is(part, name) for part in path))

    def all(self, tag: str, cls: str = "") -> list[dict[str, str]]:
        return [a for t, a in self.tags if t == tag and (not cls or cls in a.get("class", "").split())]


def _is(part: str, name: str) -> bool:
    return part == name or part.startswith(name + ".")


# --- The source panel ------------------------------------------------------------------------------

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
@given(articles())
def test_source_holds_the_article_exactly_and_the_marks_hold_the_quote_exactly(
    given_article: tuple[Document, Article, Span],
) -> None:
    document, article, evidence = given_article
    page = Page(render.article_html(document, article, evidence))
    assert page.text("div.body") == document.text[article.start : article.end]
    assert page.text("mark.evidence") == document.text[evidence.start : evidence.end]


@settings(max_examples=200, deadline=None)
@given(articles())
def test_blocks_follow_one_another_without_gap_or_overlap(
    given_article: tuple[Document, Article, Span],
) -> None:
    document, article, _ = given_article
    places = [(b.start, b.end) for b in render.blocks(document.text, article)]
    assert [a for a, _ in places] == [article.start, *(b for _, b in places[:-1])]
    assert places[-1][1] == article.end
    assert all(a < b for a, b in places)


def test_an_article_of_one_line_is_laid_out_from_its_sections() -> None:
    document, outline = written()
    article = outline.articles[0]
    text = document.text
    assert [(b.kind, b.level, text[b.start : b.end].strip()[:12]) for b in render.blocks(text, article)] == [
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
    page = Page(render.article_html(document, article, Span(start, end)))
    assert len(page.all("mark", "evidence")) > 3
    assert page.text("mark.evidence") == document.text[start:end]
    assert page.text("h2") == article.title
    assert page.text("span.category") == "意见决定"
    assert [d for p, d in page.texts if "ol.path" in p] == ["二、重点任务", "(二)建强服务队伍"]


def test_carriage_returns_and_leading_spaces_survive() -> None:
    text = "\u3000\u3000第一段。\r\n第二段。\r\n"
    document = Document(NAME, "0", text, "utf-8")
    html = render.article_html(document, Article(0, len(text), 1, "题", None, (), 0), Span(0, len(text)))
    assert "\r" not in html  # a parser would read a bare one as a line feed
    assert Page(html).text("mark.evidence") == text


def test_a_long_text_breaks_between_sentences() -> None:
    sentence = "这一句有二十个字，用来量出一段应当有多长。"
    text = "题" + sentence * 20
    article = Article(0, len(text), 1, "题", None, (), 1)
    paragraphs = [text[b.start : b.end] for b in render.blocks(text, article) if b.kind == "text"]
    assert [len(p) // len(sentence) for p in paragraphs] == [8, 8, 4]
    assert all(p.endswith("。") for p in paragraphs)


def test_paragraphs_break_at_line_ends() -> None:
    text = "题目\n第一段。仍是第一段。\n\n第二段。"
    article = Article(0, len(text), 1, "题目", None, (), 2)
    assert [text[b.start : b.end].strip() for b in render.blocks(text, article)] == [
        "题目",
        "第一段。仍是第一段。",
        "第二段。",
    ]


# --- Answers ---------------------------------------------------------------------------------------

REF = ArticleRef(3, "红石镇的探索", "经验交流", 7)


def _citation(n: int, start: int, quote: str, section: tuple[str, ...] = ("一、一网统管",)) -> Citation:
    return Citation(start, start + len(quote), n, NAME, "0", REF, section, quote)


def _answer(*said: AnswerSentence, citations: tuple[Citation, ...] = (), refused: bool = False) -> Answer:
    passage = Passage(5, 9, NAME, "0", REF, ("二、一线办理",), "干部坐班", 0.5)
    return Answer(said, citations, (passage, passage), refused, "extractive", {"retrieve": 12.0})


def test_a_citation_mark_is_a_link_whose_text_is_the_number_and_whose_address_is_the_span() -> None:
    said = AnswerSentence("办事更快。", (1,), "quoted")
    page = Page(render.answer_html(_answer(said, citations=(_citation(1, 40, "办事更快。"),))))
    (mark,) = page.all("a", "cite")
    assert page.text("a.cite") == "1"
    assert parse_qs(mark["href"].removeprefix("#")) == {"document": [NAME], "start": ["40"], "end": ["45"]}
    assert mark["title"] == "《红石镇的探索》 › 一、一网统管\n“办事更快。”"
    assert page.all("div", "answer")[0]["class"] == "answer answered"


def test_items_are_a_list_after_their_lead() -> None:
    page = Page(
        render.answer_html(
            _answer(
                AnswerSentence("要抓三件事：", (), "quoted", "lead"),
                AnswerSentence("一是选好人；", (), "quoted", "item"),
                AnswerSentence("二是办好课。", (), "quoted", "item"),
                AnswerSentence("此外没有。", (), "quoted"),
            )
        )
    )
    assert [tag for tag, _ in page.tags if tag in ("p", "ul", "li")] == ["p", "ul", "li", "li", "p", "p"]
    assert page.all("ul")[0]["class"] == "items marked"  # they carry their own numbers: no bullets


@pytest.mark.parametrize("text", ["选好人；", "三年内建成"])
def test_items_without_numbers_get_bullets(text: str) -> None:
    page = Page(render.answer_html(_answer(AnswerSentence(text, (), "quoted", "item"))))
    assert page.all("ul")[0]["class"] == "items"


def test_sentences_from_two_sections_make_two_paragraphs() -> None:
    said = (AnswerSentence("甲。", (1,), "quoted"), AnswerSentence("乙。", (2,), "quoted"))
    same = (_citation(1, 0, "甲。"), _citation(2, 2, "乙。"))
    other = (same[0], _citation(2, 2, "乙。", ("二、一线办理",)))
    assert len(Page(render.draft_html(said, same)).all("p")) == 1
    assert len(Page(render.draft_html(said, other)).all("p")) == 2


def test_a_sentence_without_support_says_so() -> None:
    page = Page(render.answer_html(_answer(AnswerSentence("编的。", (), "unsupported"))))
    assert page.all("span", "unsupported")
    assert "1 句未找到依据" in page.text("strong")


def test_a_refusal_has_no_citation_and_names_nearby_places_once() -> None:
    page = Page(render.answer_html(_answer(AnswerSentence("没有提到。", (), "supported"), refused=True)))
    assert page.all("div", "answer")[0]["class"] == "answer refused"
    assert not page.all("a", "cite")
    assert page.text("a.place") == "《红石镇的探索》 › 二、一线办理"


# --- Escaping --------------------------------------------------------------------------------------


def test_text_from_anywhere_stays_text() -> None:
    ref = ArticleRef(1, HOSTILE, HOSTILE)
    citation = Citation(0, 2, 1, HOSTILE, "0", ref, (HOSTILE,), HOSTILE)
    passage = Passage(0, 2, HOSTILE, "0", ref, (HOSTILE,), HOSTILE, 0.1)
    sentence = AnswerSentence(HOSTILE, (1,), "quoted")
    section = Section(0, 9, 1, HOSTILE[:3], HOSTILE, (), 3)
    article = Article(0, len(HOSTILE), 1, HOSTILE, HOSTILE, (section,), 0)
    document = Document(HOSTILE, "0", HOSTILE, "utf-8")
    stored = StoredArticle(1, HOSTILE, "0", article)
    for refused in (False, True):
        answer = Answer((sentence,), (citation,), (passage,), refused, HOSTILE, {}, question=HOSTILE)
        _assert_inert(render.answer_html(answer))
    _assert_inert(render.draft_html([sentence], [citation]))
    _assert_inert(render.question_html(HOSTILE, [HOSTILE]))
    _assert_inert(render.failure_html(HOSTILE, HOSTILE))
    _assert_inert(render.article_html(document, article, Span(0, 5)))
    _assert_inert(render.documents_html([stored]))
    _assert_inert(render.welcome_html([], [], [HOSTILE]))


def _assert_inert(html: str) -> None:
    page = Page(html)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    hrefs = [a["href"] for a in page.all("a")]
    assert all(href.startswith("#document=") for href in hrefs)
