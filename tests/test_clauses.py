"""Clauses of a sentence, the enumerations in them, and the run of them that is worth most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.clauses import best_run, clauses, enumerated, parallel
from rag.records import Span


def cut(text: str) -> list[str]:
    return [text[s.start : s.end] for s in clauses(text, Span(0, len(text)))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("细化网格,配备人员;织密防控网。", ["细化网格,", "配备人员;", "织密防控网。"]),
        ("投入1,200万元，新建3处。", ["投入1,200万元，", "新建3处。"]),
        ("落实“一格一员，一员多能”要求，补齐人手。", ["落实“一格一员，一员多能”要求，", "补齐人手。"]),
        ("分三级(县、镇，村)管理,层层负责", ["分三级(县、镇，村)管理,", "层层负责"]),
        ("无标点", ["无标点"]),
        ("引号“没有闭合，也不丢字。", ["引号“没有闭合，也不丢字。"]),
    ],
)
def test_clauses_end_at_their_punctuation_but_not_inside_a_quotation_or_number(
    text: str, expected: list[str]
) -> None:
    assert cut(text) == expected


@given(st.text(alphabet="甲乙1，,；。“”（）：、\n ", max_size=60), st.integers(0, 20), st.integers(0, 20))
def test_clauses_cover_their_span_without_gap_or_overlap(text: str, before: int, after: int) -> None:
    start = min(before, len(text))
    span = Span(start, max(start, len(text) - after))
    found = clauses(text, span)
    assert "".join(text[c.start : c.end] for c in found) == text[span.start : span.end]
    assert all(c.start < c.end for c in found)
    assert [c.start for c in found[1:]] == [c.end for c in found[:-1]]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("实行问题清单、责任清单、销号清单管理", 3),
        ("涉及党建、民政和环保", 3),
        ("坚持预防为主", 1),
        ("一、总则", 1 + 1),
        ("无黑恶、无毒害，另有水、电、气、路四项", 4),
    ],
)
def test_enumerations_within_a_clause_are_counted(text: str, count: int) -> None:
    assert enumerated(text) == count


def test_parallel_clauses_are_counted() -> None:
    text = "提出如何让办事更方便,如何让渠道更畅通,如何让群众更平安的命题"
    assert parallel(text, clauses(text, Span(0, len(text)))) == 2  # the first begins with 提出
    text = text.removeprefix("提出")
    assert parallel(text, clauses(text, Span(0, len(text)))) == 3


def test_the_run_worth_most_lies_around_the_best_clause() -> None:
    lengths = [10, 10, 10, 10]
    assert best_run([0.0, 0.9, 0.2, 0.0], lengths, 0.01) == (1, 3)
    assert best_run([0.3, 0.9, 0.0, 0.5], lengths, 0.01) == (0, 4)  # a poor clause between good ones stays
    assert best_run([0.0, 0.9, 0.0, 0.15], lengths, 0.01) == (1, 2)
