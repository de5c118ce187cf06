"""Questions to go on with: what they are about, in which order, and what is left out."""

from __future__ import annotations

import pytest

from rag.examples import examples, follow_ups
from rag.records import Article, Level, Section


def section(start: int, end: int, heading: str, *inner: Section, level: Level = 1) -> Section:
    return Section(start, end, level, "", heading, inner)


SUPPORT = section(
    100,
    200,
    "完善支持政策",
    section(110, 140, "落实税费减免政策", level=2),
    section(140, 170, "发放一次性补贴", level=2),
    section(170, 200, "拓宽融资的渠道", level=2),
)
CARE = section(200, 300, "重点任务", section(210, 300, "建设助餐服务网点", level=2))
ARTICLE = Article(0, 300, 1, "意见", None, (section(10, 100, "明确总体目标要求"), SUPPORT, CARE))
OTHER = Article(
    300, 400, 2, "报告", None, (section(310, 350, "服务需求持续增长"), section(350, 400, "对策与建议"))
)


def test_what_follows_comes_before_what_came_before_and_then_what_is_around() -> None:
    assert follow_ups("补贴多少？", [(ARTICLE, 145)], 9) == [
        "“拓宽融资的渠道”说的是什么？",
        "“落实税费减免政策”说的是什么？",
        "“建设助餐服务网点”说的是什么？",  # for the section around it, whose heading says nothing
        "“明确总体目标要求”说的是什么？",
    ]


def test_a_section_with_parts_is_asked_for_its_parts() -> None:
    assert follow_ups("目标？", [(ARTICLE, 20)], 1) == ["“完善支持政策”包括哪些方面？"]


def test_each_cited_article_has_its_turn() -> None:
    assert follow_ups("补贴？", [(ARTICLE, 145), (ARTICLE, 150), (OTHER, 360)], 3) == [
        "“拓宽融资的渠道”说的是什么？",
        "“服务需求持续增长”说的是什么？",
        "“落实税费减免政策”说的是什么？",
    ]


def test_articles_of_two_documents_may_begin_at_the_same_place() -> None:
    other = Article(0, 90, 1, "报告", None, (section(0, 50, "对策建议"), section(50, 90, "服务需求持续增长")))
    assert follow_ups("补贴？", [(ARTICLE, 145), (other, 5)], 2) == [
        "“拓宽融资的渠道”说的是什么？",
        "“服务需求持续增长”说的是什么？",
    ]


def test_what_was_cited_or_asked_is_not_asked_again() -> None:
    cited = [(ARTICLE, 105), (ARTICLE, 115), (ARTICLE, 145), (ARTICLE, 175)]
    found = follow_ups("明确 总体目标要求了吗？", cited, 9)
    assert found == ["“建设助餐服务网点”说的是什么？"]


@pytest.mark.parametrize(
    ("heading", "question"),
    [
        ("“候鸟老人”的基本画像", "“‘候鸟老人’的基本画像”说的是什么？"),
        ('推行"三步"工作法', "“推行‘三步’工作法”说的是什么？"),
        ("学习‘枫桥经验’的做法", "“学习“枫桥经验”的做法”说的是什么？"),
    ],
)
def test_quotation_marks_in_a_heading_become_inner_ones(heading: str, question: str) -> None:
    article = Article(0, 90, 1, "报告", None, (section(0, 50, "对策建议"), section(50, 90, heading)))
    assert follow_ups("补贴？", [(article, 5)]) == [question]
    assert follow_ups(question, [(article, 5)]) == []  # asked already


def test_quotation_marks_in_a_heading_asked_for_its_parts_become_inner_ones() -> None:
    parts = (section(10, 50, "一", level=2), section(50, 90, "二", level=2))
    article = Article(0, 90, 1, "报告", None, (section(0, 90, "打造“一老一小”服务", *parts),))
    assert examples([article], 1) == ["“打造‘一老一小’服务”包括哪些方面？"]


def test_a_refusal_offers_the_nearest_sections_themselves() -> None:
    assert follow_ups("火星移民？", [(ARTICLE, 145)], 2, refused=True) == [
        "“发放一次性补贴”说的是什么？",
        "“完善支持政策”包括哪些方面？",
    ]


@pytest.mark.parametrize(
    "heading",
    ["基本情况", "推进节水 增效行动", "落实其他支持政策", "一" * 25],
    ids=["too short", "with a gap", "refers to something", "too long"],
)
def test_a_heading_that_makes_no_question_is_left_out(heading: str) -> None:
    article = Article(0, 90, 1, "意见", None, (section(0, 50, "完善支持政策"), section(50, 90, heading)))
    assert follow_ups("政策？", [(article, 5)]) == []


def test_items_in_running_text_and_articles_without_sections_offer_nothing() -> None:
    items = section(0, 90, "抓好三件事", section(5, 40, "选好村级网格员", level="item"))
    assert follow_ups("问", [(Article(0, 90, 1, "意见", None, (items,)), 2)]) == []
    assert follow_ups("问", [(Article(0, 90, 1, "意见"), 2)]) == []
    assert follow_ups("问", []) == []
