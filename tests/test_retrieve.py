"""Retrieval: LangChain's own tests, restriction to articles, the three modes, and what may be searched for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from builders import compilation, document, fill
from fakes import FakeEncoder
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from embeddings.encoder import SentenceEncoder
from rag.errors import QuestionError
from rag.records import Mode, Question
from rag.retrieve import HybridRetriever, _backing
from rag.store import Store

QUESTION = "护理员入职奖励多少钱？"


@pytest.fixture(scope="module")
def sample_store(sample_kb: Path) -> Iterator[Store]:
    with Store.open(sample_kb) as store:
        yield store


@pytest.fixture(scope="module")
def retriever(sample_store: Store, encoder: SentenceEncoder) -> HybridRetriever:
    return HybridRetriever(store=sample_store, encoder=encoder)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[HybridRetriever]:
    """Over four articles in a knowledge base of the fake encoder."""
    encoder = FakeEncoder()
    fill(tmp_path, document(compilation()), encoder=encoder)
    with Store.open(tmp_path) as store:
        yield HybridRetriever(store=store, encoder=encoder)


class TestLangChain(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _given(self, sample_store: Store, encoder: SentenceEncoder) -> None:
        self.given = {"store": sample_store, "encoder": encoder}

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return HybridRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self.given

    @property
    def retriever_query_example(self) -> str:
        return QUESTION


def test_documents_for_langchain_hold_their_place(retriever: HybridRetriever, sample_store: Store) -> None:
    found = retriever.invoke(QUESTION)
    assert len(found) == 10
    text = sample_store.documents()[0]
    stored = sample_store.document(text.name)
    assert stored
    for one in found:
        place = one.metadata
        assert stored.text[place["start"] : place["end"]] == one.page_content
        assert set(place) >= {"document", "sha256", "article", "section", "score"}
    assert "6000元入职奖励" in found[0].page_content


@pytest.mark.parametrize("mode", get_args(Mode))
def test_every_mode_finds_it(sample_store: Store, encoder: SentenceEncoder, mode: str) -> None:
    found = HybridRetriever(store=sample_store, encoder=encoder, mode=mode).retrieve(Question(QUESTION), 5)
    assert any("6000元入职奖励" in "".join(p.text.split()) for p in found.passages)
    scores = [p.score for p in found.passages]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    named = {name for p in found.passages for name in p.signals}
    assert named <= {"dense": {"dense", "sentence"}, "lexical": {"words", "path"}}.get(
        mode, {"dense", "sentence", "words", "path"}
    )


def test_passages_agree_with_the_store(retriever: HybridRetriever, sample_store: Store) -> None:
    for question in (QUESTION, "流动图书车走哪些线路？", "城乡供水一体化"):
        found = retriever.retrieve(Question(question), 40).passages
        assert len(found) == len({p.chunk for p in found}) == 40
        for passage in found:
            stored = sample_store.document(passage.document)
            assert stored
            assert stored.text[passage.start : passage.end] == passage.text
            assert len(passage.sentences) == len(passage.similarities) > 0
            assert all(passage.contains(sentence) for sentence in passage.sentences)
            article = sample_store.article(passage.article.id)
            assert article and article.article.contains(passage)
            path = article.article.path_at(passage.start)
            assert passage.section == tuple(section.label for section in path)


@pytest.mark.parametrize("limit", [1, 7, 40])
def test_as_many_as_asked_for(retriever: HybridRetriever, limit: int) -> None:
    assert len(retriever.retrieve(Question(QUESTION), limit).passages) == limit


def test_only_within_the_articles_asked_for(retriever: HybridRetriever) -> None:
    everywhere = {p.article.number for p in retriever.retrieve(Question("养老服务站怎么建？"), 40).passages}
    assert len(everywhere) > 3
    for wanted in ((4,), (4, 21), (11, 12, 13)):
        found = retriever.retrieve(Question("养老服务站怎么建？", articles=wanted), 40).passages
        assert {p.article.number for p in found} <= set(wanted)
        assert len(found) >= 5
    (stored,) = retriever.store.documents()
    named = retriever.retrieve(Question("养老服务站怎么建？", articles=((stored.name, 4),)), 40).passages
    assert named == retriever.retrieve(Question("养老服务站怎么建？", articles=(4,)), 40).passages


@pytest.mark.parametrize("article", [0, 28, -1, ("别的文件.txt", 1), ("compilation.messy.txt", 28)])
def test_an_unknown_article_is_named(retriever: HybridRetriever, article: int | tuple[str, int]) -> None:
    with pytest.raises(QuestionError, match="没有这篇文章") as error:
        retriever.retrieve(Question(QUESTION, articles=(1, article)))
    assert str(article if isinstance(article, int) else article[1]) in str(error.value)


@pytest.mark.parametrize(
    ("asked", "plain"),
    [
        ("護理員入職獎勵多少錢？", "护理员入职奖励多少钱？"),
        ("２０２５年每千名老年人有多少張床位", "2025年每千名老年人有多少张床位"),
        ("护理员 入职 奖励 多少钱？", "护理员入职奖励多少钱？"),
    ],
)
def test_ways_to_write_a_question_find_the_same(retriever: HybridRetriever, asked: str, plain: str) -> None:
    first, *_ = retriever.retrieve(Question(asked), 5).passages
    assert first.text == retriever.retrieve(Question(plain), 5).passages[0].text


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize(
    "question",
    ["的", "什么是什么？", "？！", "。。。", '" OR "', "*", "NEAR(a b)", "\u200b", "👍🏽", "a" * 2000],
)
def test_any_question_can_be_searched(small: HybridRetriever, mode: str, question: str) -> None:
    one = HybridRetriever(store=small.store, encoder=small.encoder, mode=mode)
    found = one.retrieve(Question(question), 5).passages
    assert len(found) == 5 or (mode == "lexical" and len(found) <= 5)


def test_only_stop_words_against_the_real_model(retriever: HybridRetriever) -> None:
    assert len(retriever.retrieve(Question("什么的？"), 10).passages) == 10


def test_the_query_tells_what_no_document_holds(retriever: HybridRetriever) -> None:
    query = retriever.retrieve(Question("护理员的量子纠缠奖励")).query
    assert "量子" in query.unknown
    assert "护理" not in query.unknown
    assert query.weights["量子"] > query.weights["护理"] > 0
    assert 0 < query.coverage(["护理", "护理员"]) < query.coverage(query.weights) == pytest.approx(1)


def test_an_open_retriever_sees_what_another_process_commits(small: HybridRetriever) -> None:
    assert not any("第7版" in p.text for p in small.retrieve(Question("网格管理第7版"), 40).passages)
    fill(small.store.folder, document(compilation(version=7)), encoder=FakeEncoder())
    found = small.retrieve(Question("网格管理第7版"), 40).passages
    assert "网格管理第7版" in found[0].text or "网格管理第7版" in found[1].text
    assert not any("第1版" in p.text for p in found)


def test_restriction_over_several_documents(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    fill(tmp_path, document(compilation(), "甲.txt"), document(compilation(2), "乙.txt"), encoder=encoder)
    with Store.open(tmp_path) as store:
        retriever = HybridRetriever(store=store, encoder=encoder)
        both = retriever.retrieve(Question("养老服务", articles=(2,)), 40).passages
        assert {(p.document, p.article.number) for p in both} == {("甲.txt", 2), ("乙.txt", 2)}
        one = retriever.retrieve(Question("养老服务", articles=(("乙.txt", 2),)), 40).passages
        assert {(p.document, p.article.number) for p in one} == {("乙.txt", 2)}
        assert {p.text for p in one} < {p.text for p in both}


def test_an_article_is_backed_by_its_three_best_chunks() -> None:
    fused = {1: 0.9, 2: 0.2, 3: 0.5, 4: 0.5, 5: 0.5, 6: 0.1}
    article_of = {1: 10, 2: 10, 3: 20, 4: 20, 5: 20, 6: 20}
    backing = _backing(fused, article_of)
    assert backing[3] == backing[6] == 1.0  # 1.5 of 1.5: the fourth chunk does not count
    assert backing[1] == backing[2] == pytest.approx(1.1 / 1.5)
    assert _backing({}, {}) == {}
