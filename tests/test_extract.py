"""What is shown of a quotation: section numbers are left out, figures never."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from builders import document, fill
from fakes import FakeEncoder

from rag.chain import Chain
from rag.config import Settings
from rag.extract import Evidence, Source, readable, shown
from rag.outline import outline
from rag.records import Answer, ArticleRef, Citation, Document, Passage, Span
from rag.retrieve import HybridRetriever
from rag.store import Store
from rag.verify import support

TEXT = (
    "关于养老服务的意见\n一、站点建设\n74名站长全部到岗。7月底以前完成检查。\n"
    "(一)建设站点。一、二级重度残疾人优先。26间书屋开放。\n1. 配备人员。每站3人。\n二、保障措施\n3个县先行。"
)
ARTICLE = outline(Document("意见.txt", "", TEXT, "utf-8")).articles[0]


def evidence(quote: str) -> Evidence:
    start = TEXT.index(quote)
    span = Span(start, start + len(quote))
    section = tuple(s.label for s in ARTICLE.path_at(start))
    place = Passage(*(span.start, span.end), "意见.txt", "", ArticleRef(1, "", None, 1), section, quote, 1.0)
    return Evidence(span, place, section)


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ("74名站长全部到岗。", "74名站长全部到岗。"),
        ("7月底以前完成检查。", "7月底以前完成检查。"),
        ("一、二级重度残疾人优先。", "一、二级重度残疾人优先。"),
        ("26间书屋开放。", "26间书屋开放。"),
        ("3个县先行。", "3个县先行。"),
        ("一、站点建设", "站点建设"),
        ("(一)建设站点。", "建设站点。"),
        ("1. 配备人员。", "配备人员。"),
    ],
)
def test_only_section_numbers_are_left_out(quote: str, expected: str) -> None:
    found = evidence(quote)
    text = shown(found, Source({"意见.txt": TEXT}, {1: ARTICLE}))
    assert text == expected
    assert support(text, (_citation(quote, found.section),)) == "quoted"


@pytest.mark.parametrize("dropped", ["名站长全部到岗。", "4名站长全部到岗。", "47名站长全部到岗。", ""])
def test_a_dropped_or_changed_figure_is_not_supported(dropped: str) -> None:
    section = ("一、站点建设",)
    assert support(dropped, (_citation("74名站长全部到岗。", section),)) == "unsupported"


def test_stray_spaces() -> None:
    assert readable("线路, 另编;拨打“ 96580 ”,旧书 ,车 队 3.5 元") == "线路,另编;拨打“96580”,旧书,车队 3.5 元"


def _citation(quote: str, section: tuple[str, ...]) -> Citation:
    return Citation(0, len(quote), 1, "意见.txt", "", ArticleRef(1, "", None), section, quote)


# -- whole answers, by the rules alone ----------------------------------------------------------------------

COMPILED = """青禾市经验汇编
目录
关于推进网格管理的实施意见
河东镇推行村规民约的做法
河西镇推行村规民约的做法
关于推进网格管理的实施意见
一、基本原则
一要坚持党建引领。把支部建在网格上。二要坚持便民优先。三要坚持数据共享。
二、重点任务
(一)划细网格
全市共划分网格1280个，配备专职网格员1560名，每名网格员每月补贴300元，由县财政承担。
实行问题清单、责任清单、销号清单管理，逐项落实到人。
(二)压实责任
各镇每季度向市里报告一次。
河东镇推行村规民约的做法
一、主要做法
河东镇靠近盐湖，村落分散。全镇15个村请律师审查村规民约，删去条款46条。
河西镇推行村规民约的做法
一、主要做法
河西镇是有名的茶乡，外出务工的人多。全镇22个村由村民代表修订村规民约，新增条款31条。
"""


@pytest.fixture
def ask(tmp_path: Path) -> Callable[[str], Answer]:
    fill(tmp_path / "kb", document(COMPILED))
    retriever = HybridRetriever(store=Store.open(tmp_path / "kb"), encoder=FakeEncoder())
    chain = Chain(retriever, Settings(kb=tmp_path / "kb", refuse_below=0))
    return lambda question: chain.invoke({"question": question})


def quotes(answer: Answer) -> list[str]:
    return [citation.quote for citation in answer.citations]


def test_a_figure_is_given_with_the_clauses_that_say_what_of(ask: Callable[[str], Answer]) -> None:
    answer = ask("网格员每月补贴多少元？")
    assert quotes(answer)[0] == "配备专职网格员1560名，每名网格员每月补贴300元"
    assert answer.sentences[0].text == quotes(answer)[0] + "。"
    assert answer.sentences[0].support == "quoted"


def test_a_question_for_two_things_keeps_the_whole_sentence(ask: Callable[[str], Answer]) -> None:
    (first, *_) = quotes(ask("网格员每月补贴多少元，钱由谁出？"))
    assert "补贴300元" in first and "县财政承担" in first


def test_an_enumeration_is_found_by_its_number_and_the_word_that_all_its_items_share(
    ask: Callable[[str], Answer],
) -> None:
    answer = ask("网格管理的三个“坚持”是什么？")
    assert [q.rstrip("。") for q in quotes(answer)[-3:]] == [
        "一要坚持党建引领",
        "二要坚持便民优先",
        "三要坚持数据共享",
    ]


def test_an_enumeration_within_a_sentence_is_found_by_its_number(ask: Callable[[str], Answer]) -> None:
    assert any("问题清单、责任清单、销号清单" in quote for quote in quotes(ask("网格管理用的是哪三张清单？")))


def test_a_comparison_tells_both_sides_though_described_elsewhere(ask: Callable[[str], Answer]) -> None:
    answer = ask("靠近盐湖的镇和茶乡那个镇，修订村规民约的条款各自是多少条？")
    assert {c.article.number for c in answer.citations} == {2, 3}
    told = "".join(quotes(answer))
    assert "46条" in told and "31条" in told
    assert all(sentence.text.startswith("《河") for sentence in answer.sentences)


def test_where_a_part_is_asked_for_its_heading_is_cited(ask: Callable[[str], Answer]) -> None:
    answer = ask("网格员补贴由县财政承担，写在重点任务的哪一项里？")
    assert "(一)划细网格" in quotes(answer)
    assert "《关于推进网格管理的实施意见》" in answer.text


def test_every_quotation_is_its_slice(ask: Callable[[str], Answer]) -> None:
    for question in ("补贴多少元？", "三个“坚持”", "哪三张清单？", "两个镇村规民约的区别", "哪一篇讲茶乡？"):
        answer = ask(question)
        assert all(COMPILED[c.start : c.end] == c.quote for c in answer.citations)
        assert all(s.support == "quoted" for s in answer.sentences)
