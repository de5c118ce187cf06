"""What is shown of a quotation: section numbers are left out, figures never."""

from __future__ import annotations

import pytest

from rag.extract import Evidence, Source, readable, shown
from rag.outline import outline
from rag.records import ArticleRef, Citation, Document, Passage, Span
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
