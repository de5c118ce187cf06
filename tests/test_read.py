"""Passages as the reader is shown them, its word in the order of the passages, and in the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import compilation, document, fill
from fakes import FakeEncoder
from hypothesis import given
from hypothesis import strategies as st

from embeddings.crossencoder import CrossEncoderReader
from embeddings.reader import Reader, Reading, Shown
from rag.chain import Chain
from rag.chunk import sentences
from rag.config import Settings
from rag.lexicon import natural
from rag.read import READ, passage_reader, read, readable_passage
from rag.records import ArticleRef, Passage, Question
from rag.retrieve import HybridRetriever, Query, Retrieval
from rag.store import Store


def passage(text: str, start: int = 0, chunk: int = 1, title: str = "关于网格的意见") -> Passage:
    spans = tuple(replace(s, start=s.start + start, end=s.end + start) for s in sentences(text, 0, len(text)))
    article = ArticleRef(1, title, None, 1)
    return Passage(
        start,
        start + len(text),
        "意见.txt",
        "",
        article,
        ("一、總 则",),
        text,
        1.0,
        spans,
        (0.9,) * len(spans),
        chunk,
    )


class Scripted:
    """Prefers passages that hold ``wanted``, and takes the clause with it for the answer."""

    def __init__(self, wanted: str, answers: float = 2.0) -> None:
        self.wanted, self.answers = wanted, answers
        self.shown: list[Shown] = []

    def read(self, question: str, passages: Sequence[Shown]) -> list[Reading]:
        self.shown = list(passages)
        return [self._reading(text, units) for _, text, units in passages]

    def _reading(self, text: str, units: Sequence[tuple[int, int]]) -> Reading:
        held = np.array([9.0 if self.wanted in text[a:b] else 0.0 for a, b in units], np.float32)
        found = self.wanted in text
        return Reading(5.0 if found else 0.0, self.answers if found else -abs(self.answers), held, held)


# -- what is shown ------------------------------------------------------------------------------------------


def test_a_passage_is_shown_folded_with_the_place_of_each_clause() -> None:
    one = passage("細化 网格,配備 11044 名網格員。织密防控网。", start=100)
    shown = readable_passage(one)
    assert shown.heading == "关于网格的意见 一、总则"
    assert shown.text == "细化网格,配备 11044 名网格员。织密防控网。"
    assert [shown.text[a:b] for a, b in shown.places] == [
        "细化网格,",
        "配备 11044 名网格员。",
        "织密防控网。",
    ]
    assert [one.text[c.start - 100 : c.end - 100] for c in shown.clauses] == [
        "細化 网格,",
        "配備 11044 名網格員。",
        "织密防控网。",
    ]


@given(st.text(alphabet="甲網格1，,；。“”（） \n", min_size=1, max_size=60).filter(str.strip))
def test_clauses_of_a_passage_are_in_order_and_read_as_they_stand(text: str) -> None:
    one = passage(text, start=7)
    shown = readable_passage(one)
    ends = [0, *(b for _, b in shown.places)]
    assert [a for a, _ in shown.places] == ends[:-1] and ends[-1] == len(shown.text)
    for clause, (a, b) in zip(shown.clauses, shown.places, strict=True):
        assert one.start <= clause.start < clause.end <= one.end
        assert shown.text[a:b] == natural(one.text[clause.start - 7 : clause.end - 7])


# -- its word in the order ----------------------------------------------------------------------------------


def retrieval(*passages: Passage) -> Retrieval:
    return Retrieval(Query("多少名？", np.zeros(3, np.float32), {}, ()), passages)


def test_the_reader_moves_what_it_prefers_up_but_does_not_overrule_the_retrieval_alone() -> None:
    found = retrieval(
        *(passage(f"第{i}条。" + ("配备八名。" if i == 3 else ""), chunk=i) for i in range(1, 6))
    )
    ordered = read(found, Scripted("八名"))
    assert [p.chunk for p in ordered.passages] == [1, 3, 2, 4, 5]
    assert ordered.reads[3].reading.answers == 2.0 and ordered.reads[1].reading.answers == -2.0


def test_only_the_best_passages_are_read() -> None:
    found = retrieval(*(passage(f"第{i}条。", chunk=i) for i in range(READ + 5)))
    reader = Scripted("无")
    ordered = read(found, reader)
    assert len(reader.shown) == len(ordered.reads) == READ
    assert [p.chunk for p in ordered.passages[READ:]] == list(range(READ, READ + 5))


# -- its word in the answer ---------------------------------------------------------------------------------


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    fill(tmp_path / "kb", document(compilation()))
    retriever = HybridRetriever(store=Store.open(tmp_path / "kb"), encoder=FakeEncoder())
    return Chain(retriever, Settings(kb=tmp_path / "kb"))


def test_the_sentence_that_the_reader_prefers_is_the_answer(chain: Chain) -> None:
    chain.reader = Scripted("每季度开一次")
    chain.settings = chain.settings.model_copy(update={"refuse_below": 0.0})
    answer = chain.invoke({"question": "网格管理的联席会议什么时候开？"})
    assert "每季度开一次" in answer.citations[0].quote
    assert answer.sentences[0].support == "quoted" and "read" in answer.timings_ms
    first = answer.retrieved[0]
    assert first.start <= answer.citations[0].start < first.end  # what the answer quotes is retrieved first


def test_what_the_reader_does_not_find_answered_is_refused(chain: Chain) -> None:
    chain.reader = Scripted("网格管理联席会议", answers=-6.0)
    refused = chain.invoke({"question": "网格管理联席会议的经费是多少？"})
    assert refused.refused and refused.confidence is not None and refused.confidence < 0.5
    chain.reader = Scripted("网格管理联席会议", answers=6.0)
    answered = chain.invoke({"question": "网格管理联席会议由几个部门组成？"})
    assert not answered.refused and answered.confidence is not None and answered.confidence > 0.5


def test_the_setting_names_the_reader(tmp_path: Path) -> None:
    def named(name: str) -> object:
        return passage_reader(Settings(kb=tmp_path, model_home=tmp_path, reader=name))

    assert named("none") is None
    assert isinstance(named("bundled"), Reader)
    assert isinstance(named("BAAI/bge-reranker-base"), CrossEncoderReader)


def test_a_question_is_understood_the_same_with_and_without_a_reader(chain: Chain) -> None:
    chain.settings = chain.settings.model_copy(update={"refuse_below": 0.0})
    plain = chain.invoke(Question("网格管理联席会议由几个部门组成？"))
    assert not plain.refused and "read" not in plain.timings_ms
    assert "3个部门" in plain.text
