"""A question restricted to articles and sections: nothing from elsewhere is found or cited."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from builders import compilation, document, fill
from fakes import FakeEncoder

from rag.batch import read_row
from rag.chain import Chain
from rag.config import Settings
from rag.errors import QuestionError
from rag.load import read_document
from rag.records import Mode, Question, Section, Span, Turn
from rag.retrieve import HybridRetriever
from rag.scope import Place, scope_of
from rag.store import Store

NAME, SAMPLE = "汇编.txt", "compilation.messy.txt"


@pytest.fixture(scope="module")
def sample(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The sample, beside a second document, in a knowledge base of the fake encoder."""
    folder = tmp_path_factory.mktemp("kb")
    fill(folder, read_document(samples / "compilation.messy.txt"), document(compilation()))
    with Store.open(folder) as store:
        yield store


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Store]:
    fill(tmp_path, document(compilation()), document(compilation(2), "另编.txt"))
    with Store.open(tmp_path) as store:
        yield store


def chain_over(store: Store) -> Chain:
    """It never refuses."""
    return Chain(HybridRetriever(store=store, encoder=FakeEncoder()), Settings(refuse_below=0))


def sections(store: Store, article: int | None = None) -> list[Place]:
    """The sections of all articles, or of those with a number."""
    return [
        (stored.document, path[-1])
        for stored in store.articles()
        if article in (None, stored.article.number)
        for path in stored.article.walk()
    ]


def section(store: Store, heading: str) -> Section:
    """The first section of a heading in the small compilation."""
    found = (path[-1] for stored in store.articles(NAME) for path in stored.article.walk())
    return next(s for s in found if s.heading == heading)


# -- what holds for every question and every section ----------------------------------------------------------


def restricted(row: dict[str, Any], store: Store, draw: random.Random) -> Iterator[Question]:
    """A gold question in sections of the article that answers it, in such with parts, and in any; some with an article."""
    history = tuple(Turn(turn["role"], turn["content"]) for turn in row["history"])
    near = [place for number in row["articles"] for place in sections(store, number)]
    parted = [(name, span) for name, span in near if isinstance(span, Section) and span.sections]
    for pool in filter(None, (near, parted, sections(store))):
        within = tuple(draw.sample(pool, min(len(pool), draw.choice((1, 1, 2, 4)))))
        articles = ((NAME, draw.randint(1, 4)),) if draw.random() < 0.2 else ()
        yield Question(row["question"], history, articles, within=within)


def test_nothing_lies_outside_of_the_sections_asked_for(sample: Store, samples: Path) -> None:
    draw, chain = random.Random(7), chain_over(sample)
    wholes = {a.article.number: (NAME, a.article) for a in sample.articles(NAME)}
    asked = lists = cited = 0
    for line in (samples / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        for question in restricted(json.loads(line), sample, draw):
            allowed = [*question.within, *(wholes[number] for _, number in question.articles)]
            answer = chain.invoke(question)
            assert answer.retrieved
            for place in (*answer.retrieved, *answer.citations):
                assert any(name == place.document and span.contains(place) for name, span in allowed), (
                    question
                )
            asked += 1
            lists += any(sentence.kind == "item" for sentence in answer.sentences)
            cited += len(answer.citations)
    assert asked > 150 and cited > 300 and lists >= 5


@pytest.mark.parametrize("mode", get_args(Mode))
def test_every_way_of_retrieval_stays_inside(sample: Store, mode: Mode) -> None:
    retriever = HybridRetriever(store=sample, encoder=FakeEncoder(), mode=mode)
    for place in random.Random(3).sample(sections(sample), 25):
        found = retriever.retrieve(Question("养老服务站的补助标准是多少？", within=(place,)), 40).passages
        assert found or mode == "lexical"
        assert all(p.document == place[0] and place[1].contains(p) for p in found)


def test_every_section_can_be_asked_in(sample: Store) -> None:
    for place in sections(sample):
        scope = scope_of(Question("问", within=(place,)), sample)
        assert scope and scope.chunks


# -- what a scope is --------------------------------------------------------------------------------------------


def test_a_scope_is_the_union_of_articles_and_places(small: Store) -> None:
    place = section(small, "健全机制")
    scope = scope_of(Question("问", articles=(("另编.txt", 2),), within=((NAME, place),)), small)
    assert scope
    found = {(p.document, p.article.number, p.section[-1]) for p in small.passages(scope.chunks)}
    assert found == {
        (NAME, 1, "(一)健全机制"),
        ("另编.txt", 2, "一、总体要求"),
        ("另编.txt", 2, "二、重点任务"),
        ("另编.txt", 2, "(一)健全机制"),
        ("另编.txt", 2, "(二)压实责任"),
    }
    assert scope.holds(NAME, Span(place.start, place.end))
    assert not scope.holds(NAME, Span(place.start - 1, place.end))
    assert not scope.holds("另编.txt", Span(place.start, place.end))


def test_without_any_restriction_there_is_no_scope(small: Store) -> None:
    assert scope_of(Question("问"), small) is None


def test_an_enumeration_is_only_listed_where_all_of_it_may_be_quoted(sample: Store) -> None:
    task = sample.articles(SAMPLE)[0].article.sections[2].sections[0]
    assert task.label == "(一)健全就近可及的养老服务网络"

    def items(span: Span) -> list[str]:
        question = Question("健全就近可及的养老服务网络包括哪三个方面？", within=((SAMPLE, span),))
        return [s.text for s in chain_over(sample).invoke(question).sentences if s.kind == "item"]

    assert items(task) == ["织密三级站点。", "推广“一长三员”。", "提高护理能力。"]
    assert items(task.sections[0]) == []


def test_a_heading_outside_is_not_cited_for_the_place(sample: Store) -> None:
    """哪一项 is answered with the heading of one of five sections, where the question may look at it."""
    task = sample.articles(SAMPLE)[0].article.sections[2].sections[0]

    def quotes(span: Span) -> list[str]:
        question = Question("县级指导中心建设在五大任务的哪一项里提出？", within=((SAMPLE, span),))
        return [c.quote[:15] for c in chain_over(sample).invoke(question).citations]

    assert quotes(task) == ["(一)健全就近可及的养老服务网", "以县为单位建设养老服务指导中心"]
    assert quotes(task.sections[0]) == ["以县为单位建设养老服务指导中心"]


def test_a_passage_that_is_cut_is_not_retrieved_for_what_is_cited_of_it(sample: Store) -> None:
    """Two spans, the first ending behind a heading in the middle of a passage, the second later in that section."""
    tasks = sample.articles(SAMPLE)[0].article.sections[2]
    head, part = Span(tasks.start, tasks.sections[0].body), tasks.sections[0].sections[0]
    within = ((SAMPLE, head), (SAMPLE, part))
    answer = chain_over(sample).invoke(Question("县级指导中心建设在五大任务的哪一项里提出？", within=within))
    assert answer.citations[0].quote == "(一)健全就近可及的养老服务网络。"
    for place in (*answer.citations, *answer.retrieved):
        assert head.contains(place) or part.contains(place)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("没有.txt", Span(0, 9)), "没有名为“没有.txt”的文件"),
        ((NAME, Span(9, 9)), r"区间 \[9, 9\) 不在"),
        ((NAME, Span(-1, 9)), r"区间 \[-1, 9\) 不在"),
        ((NAME, Span(0, 10**9)), "应为 0 ≤ start < end ≤"),
        ((NAME, Span(0, 3)), "没有完整的片段.*选整个章节"),
    ],
)
def test_a_place_that_is_not_there_is_told(small: Store, place: Place, said: str) -> None:
    good = NAME, section(small, "重点任务")
    with pytest.raises(QuestionError, match=said):
        chain_over(small).invoke(Question("重点任务是什么？", within=(good, place)))


def test_a_mapping_is_the_same_question(small: Store) -> None:
    chain, place = chain_over(small), section(small, "压实责任")
    within = [{"document": NAME, "start": place.start, "end": place.end}]
    given = chain.invoke({"question": "责任落实到多少人？", "within": within})
    same = chain.invoke(Question("责任落实到多少人？", within=((NAME, Span(place.start, place.end)),)))
    assert (given.sentences, given.citations) == (same.sentences, same.citations)
    assert {p.section[-1] for p in given.retrieved} == {"(二)压实责任"}
    row = json.dumps({"id": 1, "question": "责任落实到多少人？", "within": within}).encode()
    assert read_row(row) == (
        1,
        Question("责任落实到多少人？", within=((NAME, Span(place.start, place.end)),)),
    )
