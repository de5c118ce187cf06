"""Rendering of answers: nothing of a text is taken for markup; lists are lists."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from fakes_ui import NAME
from markup import HOSTILE, Page, assert_inert

from rag.records import Answer, AnswerSentence, ArticleRef, Citation, Passage
from ui import render

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
    for refused in (False, True):
        answer = Answer((sentence,), (citation,), (passage,), refused, HOSTILE, {}, question=HOSTILE)
        assert_inert(render.answer_html(answer))
    assert_inert(render.draft_html([sentence], [citation]))
    assert_inert(render.question_html(HOSTILE, [HOSTILE]))
    assert_inert(render.failure_html(HOSTILE, HOSTILE))
    assert_inert(render.welcome_html([], [], [HOSTILE]))
