"""The chain on the sample: events, exact citations, and how well it answers the sample's own questions."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from builders import compilation, document, fill
from fakes import FakeEncoder
from langchain_core.runnables import Runnable, RunnableLambda

from embeddings.encoder import SentenceEncoder
from rag.chain import DOUBT, Chain
from rag.config import Settings, read_settings
from rag.errors import EmptyError, QuestionError
from rag.fold import squeeze
from rag.records import Answer, Cited, Done, Event, Passage, Question, Retrieved, Said, Turn
from rag.retrieve import HybridRetriever
from rag.store import Store
from ui.service import Service

ANSWERABLE = ("fact", "list", "why", "locate", "compare", "followup")
QUESTION = "护理员入职奖励多少钱？"
ELSEWHERE = "量子计算机的退相干时间有多长？"


@dataclass(frozen=True)
class Asked:
    """A gold question of the sample and what the chain made of it."""

    gold: dict[str, Any]
    events: tuple[Event, ...]

    @property
    def answer(self) -> Answer:
        last = self.events[-1]
        assert isinstance(last, Done)
        return last.answer


@pytest.fixture(scope="module")
def store(sample_kb: Path) -> Iterator[Store]:
    with Store.open(sample_kb) as opened:
        yield opened


@pytest.fixture(scope="module")
def chain(store: Store, encoder: SentenceEncoder) -> Chain:
    return Chain(HybridRetriever(store=store, encoder=encoder), read_settings(kb=store.folder))


@pytest.fixture(scope="module")
def asked(chain: Chain, samples: Path) -> list[Asked]:
    """All questions of the sample, without telling the articles that hold the answers."""
    out = []
    for line in (samples / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        gold = json.loads(line)
        question = {"question": gold["question"], "history": gold["history"]}
        out.append(Asked(gold, tuple(chain.stream(question))))
    assert len(out) >= 60
    return out


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Chain]:
    """Over four articles in a knowledge base of the fake encoder; it never refuses."""
    encoder = FakeEncoder()
    fill(tmp_path, document(compilation()), encoder=encoder)
    with Store.open(tmp_path) as store:
        settings = Settings(kb=tmp_path, refuse_below=0)
        yield Chain(HybridRetriever(store=store, encoder=encoder), settings)


# -- what holds for every answer ----------------------------------------------------------------------------


def test_every_quote_is_its_slice_and_lies_in_its_section(asked: list[Asked], store: Store) -> None:
    count = 0
    for one in asked:
        for citation in one.answer.citations:
            count += 1
            source = store.document(citation.document)
            assert source and source.sha256 == citation.sha256
            assert source.text[citation.start : citation.end] == citation.quote != ""
            article = store.article(citation.article.id)
            assert article and article.article.contains(citation)
            assert (article.article.number, article.article.title, article.article.category) == (
                citation.article.number,
                citation.article.title,
                citation.article.category,
            )
            path = article.article.path_at(citation.start)
            assert citation.section == tuple(s.label for s in path)[: len(citation.section)]
            holding = path[: len(citation.section)]
            assert all(section.contains(citation) for section in holding)
    assert count > 77


def test_every_sentence_is_supported_by_its_citations(asked: list[Asked]) -> None:
    for one in asked:
        known = {c.n: c for c in one.answer.citations}
        assert list(known) == list(range(1, len(known) + 1))
        used = [n for s in one.answer.sentences for n in s.citations]
        assert set(used) == set(known)
        if one.answer.refused:
            continue
        for sentence in one.answer.sentences:
            assert sentence.text.strip() and sentence.citations
            assert sentence.support == "quoted", (one.gold["id"], sentence)


def test_events_come_in_order(asked: list[Asked]) -> None:
    for one in asked:
        first, *middle, last = one.events
        assert isinstance(first, Retrieved) and isinstance(last, Done)
        cited: list[int] = []
        for event in middle:
            if isinstance(event, Cited):
                cited.append(event.citation.n)
            else:
                assert isinstance(event, Said)
                assert set(event.sentence.citations) <= set(cited), "said before it was cited"
        assert not isinstance(middle[-1], Cited)
        assert last.answer.sentences == tuple(e.sentence for e in middle if isinstance(e, Said))
        assert last.answer.citations == tuple(e.citation for e in middle if isinstance(e, Cited))
        assert last.answer.retrieved == first.passages


def test_a_refusal_has_no_citations_and_says_so(asked: list[Asked], chain: Chain) -> None:
    refusal = chain.invoke(Question(ELSEWHERE))
    assert refusal.refused
    for answer in [refusal, *(one.answer for one in asked if one.answer.refused)]:
        assert answer.citations == ()
        assert len(answer.sentences) == 1
        assert answer.sentences[0].citations == ()
        assert "没有找到" in answer.text
        assert len(answer.retrieved) >= 10


def test_at_least_ten_passages_in_rank_order(asked: list[Asked]) -> None:
    for one in asked:
        scores = [p.score for p in one.answer.retrieved]
        assert len(scores) >= 10
        assert scores == sorted(scores, reverse=True)


def test_an_answer_that_is_no_list_stays_short(asked: list[Asked]) -> None:
    plain = [a for a in (one.answer for one in asked) if not any(s.kind == "item" for s in a.sentences)]
    assert len(plain) > 40
    assert max(len(a.text) for a in plain) <= 500


# -- kinds of answers ---------------------------------------------------------------------------------------


def parts(answer: Answer, kind: str) -> list[str]:
    return [s.text.rstrip("。：") for s in answer.sentences if s.kind == kind]


@pytest.mark.parametrize(
    ("question", "items"),
    [
        (
            "总分馆制面临的四个困境分别是什么？",
            ["分馆“分”而不“属”", "馆员“有”而不“专”", "图书“多”而不“新”", "活动“热”而不“恒”"],
        ),
        (
            "省里座谈会上说今年要集中办好四件急事，是哪四个行动？",
            ["抓好“百日通水”行动", "抓好“暖冬助浴”行动", "抓好“旧书焕新”行动", "抓好“窗口回归”行动"],
        ),
    ],
)
def test_a_question_for_items_gets_a_lead_and_the_items_in_order(
    chain: Chain, question: str, items: list[str]
) -> None:
    answer = chain.invoke(Question(question))
    assert parts(answer, "item") == items
    assert [s.kind for s in answer.sentences] == ["lead"] + ["item"] * len(items)
    places = [c.start for c in answer.citations]
    assert places == sorted(places)
    lines = answer.text.splitlines()
    assert len(lines) == 1 + len(items)
    assert all(line.startswith("- ") for line in lines[1:])


def test_a_question_for_the_article_names_title_category_and_section(chain: Chain) -> None:
    answer = chain.invoke(Question("哪一篇讲的是党员用背篓往山里背书的事？"))
    first, cited = answer.sentences[0].text, answer.citations[0]
    title = "车轮转起来 书香飘起来 孩子笑起来 栖山市流动图书车服务深山群众"
    assert cited.article.title == title
    assert f"《{title}》" in first
    assert "经验交流" in first
    section = "二、车往哪里走,用数据来排线"
    assert squeeze(cited.section[-1])[0] == section  # as it stands there, with a stray space
    assert section in first


def test_a_follow_up_is_understood_from_the_turn_before(chain: Chain) -> None:
    before = (
        Turn("user", "霁州现在养老机构的运营补贴怎么发？橙色老人是多少"),
        Turn("assistant", "改为按实际入住的失能等级补贴。"),
    )
    answer = chain.invoke(Question("那红色的呢，每月补多少？", before))
    assert "红色老人每人每月450元" in squeeze(answer.text)[0]
    assert answer.question == "霁州现在养老机构的运营补贴怎么发？橙色老人是多少 那红色的呢，每月补多少？"
    assert chain.invoke(Question(QUESTION)).question == ""


def test_a_short_question_is_read_beside_the_turn_before_only_where_that_is_surer(chain: Chain) -> None:
    shelves = (Turn("user", "竹溆县的老人不会用智能手机怎么办事？"), Turn("assistant", "有“跑腿小队”。"))
    on = chain.invoke(Question("队员一共有多少人？", shelves))
    assert on.question == "竹溆县的老人不会用智能手机怎么办事？ 队员一共有多少人？"
    assert "1026" in on.text
    for text, article in (("护理员入职奖励多少钱", 1), ("陪诊半天怎么收费？", 4)):
        anew = chain.invoke(Question(text, shelves))
        assert anew.question == ""
        assert {c.article.number for c in anew.citations} == {article}


def test_an_answer_from_within_one_article(chain: Chain) -> None:
    answer = chain.invoke(Question("养老服务站怎么建？", articles=(4,)))
    assert {p.article.number for p in answer.retrieved} == {4}
    assert {c.article.number for c in answer.citations} <= {4}


# -- what is asked ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\n\u3000\t", "问" * 2001, "奖励\ud800多少", "\udfff"])
def test_a_question_that_cannot_be_asked(small: Chain, text: str) -> None:
    with pytest.raises(QuestionError) as error:
        small.invoke(Question(text))
    assert "→" in str(error.value)
    with pytest.raises(QuestionError):
        next(small.stream({"question": text}))


def test_a_long_question_within_the_limit_is_answered(small: Chain) -> None:
    assert small.invoke(Question("网格管理" * 500)).retrieved


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"text": "问题"},
        {"question": QUESTION, "history": [{"role": "user"}]},
        {"question": QUESTION, "history": ["上一句"]},
        {"question": QUESTION, "articles": [1.5]},
        {"question": QUESTION, "articles": [["甲.txt"]]},
        {"question": QUESTION, "within": "甲.txt"},
        {"question": QUESTION, "within": [["甲.txt", 0, 9]]},
        {"question": QUESTION, "within": [{"document": "汇编.txt", "start": 0}]},
        {"question": QUESTION, "within": [{"document": "汇编.txt", "start": True, "end": 9}]},
        {"question": QUESTION, "within": [{"document": None, "start": 0, "end": 9}]},
    ],
)
def test_a_malformed_question_is_told(small: Chain, value: dict[str, Any]) -> None:
    with pytest.raises(QuestionError):
        small.invoke(value)


@pytest.mark.parametrize(
    "value",
    [
        QUESTION,
        {"question": None},
        {"question": 5},
        {"question": QUESTION, "articles": [["甲.txt", [1]]]},
        {"question": "它呢？", "history": [{"role": "user", "content": None}]},
        {"question": "它呢？", "history": [{"role": "user", "content": "奖励\ud800"}]},
    ],
)
def test_a_question_of_wrong_types_is_told(small: Chain, value: Any) -> None:
    with pytest.raises(QuestionError):
        small.invoke(value)


def test_a_mapping_is_the_same_question(chain: Chain) -> None:
    history = [{"role": "user", "content": "护理员"}, {"role": "assistant", "content": "好。"}]
    turns = (Turn("user", "护理员"), Turn("assistant", "好。"))
    given = chain.invoke({"question": "入职奖励多少？", "history": history, "articles": [1, 2]})
    same = chain.invoke(Question("入职奖励多少？", turns, (1, 2)))
    assert without_times(given) == without_times(same)


def without_times(answer: Answer) -> dict[str, Any]:
    return {k: v for k, v in answer.as_json().items() if k != "timings_ms"}


def test_an_empty_knowledge_base_is_told(tmp_path: Path) -> None:
    from rag.chain import open_chain

    with pytest.raises(EmptyError):
        open_chain(Settings(kb=tmp_path / "none"))


def test_an_answer_without_full_confidence_says_so_before_the_same_quotations(chain: Chain) -> None:
    def asked(**settings: float) -> Answer:
        return Chain(chain.retriever, chain.settings.model_copy(update=settings)).invoke(Question(QUESTION))

    sure, doubtful = asked(doubt_below=0.0), asked(doubt_below=1.0)
    assert doubtful.sentences[0].text == DOUBT + sure.sentences[0].text
    assert doubtful.sentences[0].support == "quoted"
    assert doubtful.citations == sure.citations and not doubtful.refused
    assert asked(refuse_below=0.0, doubt_below=1.0).text == sure.text  # where confidence means nothing


def test_the_threshold_of_refusal_is_a_setting(chain: Chain) -> None:
    strict = Chain(chain.retriever, chain.settings.model_copy(update={"refuse_below": 1.0}))
    lenient = Chain(chain.retriever, chain.settings.model_copy(update={"refuse_below": 0.0}))
    assert strict.invoke(Question(QUESTION)).refused
    assert not lenient.invoke(Question(ELSEWHERE)).refused


# -- as data and as a Runnable ------------------------------------------------------------------------------


def test_an_answer_as_json_has_exactly_the_keys_of_the_contract(asked: list[Asked]) -> None:
    for one in asked:
        row = json.loads(json.dumps(one.answer.as_json(), ensure_ascii=False))
        if one.answer.question:  # only where it was understood as another
            assert row.pop("asked") == one.answer.question
        assert list(row) == [
            "answer",
            "refused",
            "engine",
            "confidence",
            "sentences",
            "citations",
            "retrieved",
            "timings_ms",
        ]
        assert row["engine"] == "extractive"
        assert 0 <= row["confidence"] <= 1
        assert set(row["timings_ms"]) >= {"retrieve", "answer"}
        for sentence in row["sentences"]:
            assert set(sentence) == {"text", "citations", "support", "kind"}
            assert "".join(f"[{n}]" for n in sentence["citations"]) in row["answer"]
        for citation in row["citations"]:
            assert set(citation) == {
                *("n", "document", "sha256", "article", "section", "start", "end", "quote", "page")
            }
            assert set(citation["article"]) == {"number", "title", "category"}
        for passage in row["retrieved"]:
            assert set(passage) == {
                "document",
                "article",
                "title",
                "section",
                "start",
                "end",
                "score",
                "text",
            }


def test_the_same_question_has_the_same_answer(chain: Chain, asked: list[Asked]) -> None:
    first = asked[0]
    again = chain.invoke({"question": first.gold["question"], "history": first.gold["history"]})
    assert without_times(again) == without_times(first.answer)


def test_it_composes_with_other_runnables(small: Chain) -> None:
    assert isinstance(small, Runnable)
    length = small | RunnableLambda(lambda answer: len(answer.citations))
    assert length.invoke({"question": "网格管理的总体要求是什么？"}) >= 1
    ask = RunnableLambda(lambda text: Question(text)) | small
    assert ask.invoke("网格管理的总体要求是什么？").text


def test_a_batch_keeps_the_order(small: Chain) -> None:
    topics = ["网格管理", "养老服务", "垃圾分类", "社区矫正"] * 3
    answers = small.batch([Question(f"{topic}建成多少个示范点？") for topic in topics])
    assert [without_times(a) for a in answers] == [
        without_times(small.invoke(Question(f"{topic}建成多少个示范点？"))) for topic in topics
    ]


def test_a_batch_may_return_its_errors(small: Chain) -> None:
    good, bad = small.batch([Question("网格管理"), Question("")], return_exceptions=True)
    assert isinstance(good, Answer)
    assert isinstance(bad, QuestionError)


async def test_it_answers_asynchronously(small: Chain) -> None:
    question = Question("网格管理建成多少个示范点？")
    assert without_times(await small.ainvoke(question)) == without_times(small.invoke(question))


def test_search_gives_passages_alone(small: Chain) -> None:
    found = small.search("网格管理", limit=3)
    assert len(found) == 3
    assert all(isinstance(p, Passage) for p in found)
    assert {p.article.number for p in small.search("网格管理", articles=(2,))} == {2}
    with pytest.raises(QuestionError):
        small.search(" ")


def test_examples_are_questions_that_it_answers(chain: Chain) -> None:
    examples = chain.examples(4)
    assert len(examples) == len(set(examples)) == 4
    for question in examples:
        answer = chain.invoke(Question(question))
        assert not answer.refused, question
        assert answer.citations


def test_follow_ups_are_answered_from_the_same_articles(asked: list[Asked], chain: Chain) -> None:
    service = Service(chain)
    count = 0
    for one in asked[::8]:
        shown = one.answer.citations or one.answer.retrieved[:3]
        near = {(place.document, place.article.number) for place in shown}
        places = [(place.document, place.start) for place in shown]
        text = one.gold["question"]
        questions = service.follow_ups(places, text, 3, one.answer.refused)
        assert len(questions) == len(set(questions)) <= 3
        for question in questions:
            answer = chain.invoke(Question(question, (Turn("user", text),)))
            assert not answer.refused and not answer.question, question
            assert near & {(c.document, c.article.number) for c in answer.citations}, question
            count += 1
    assert count >= 10


# -- how well it answers ------------------------------------------------------------------------------------


def covered(evidence: set[int], passages: tuple[Passage, ...], budget: int) -> float:
    """The share of the evidence's characters within the first ``budget`` retrieved characters."""
    kept: set[int] = set()
    for passage in passages:
        if budget <= 0:
            break
        kept.update(range(passage.start, min(passage.end, passage.start + budget)))
        budget -= len(passage)
    return len(evidence & kept) / len(evidence)


def places(evidence: str, numbers: list[int], store: Store) -> set[int]:
    """Where the characters of the evidence stand in the document, white space aside."""
    wanted = squeeze(evidence)[0]
    for stored in store.articles():
        if stored.article.number in numbers:
            source = store.document(stored.document)
            assert source
            flat, at = squeeze(source.text, stored.article.start, stored.article.end)
            if wanted in flat:
                begin = flat.index(wanted)
                return set(at[begin : begin + len(wanted)])
    raise AssertionError(evidence)


def test_evidence_is_retrieved_early(asked: list[Asked], store: Store) -> None:
    """Recall at 1,000 characters: the mean over the questions of the mean over their evidence."""
    recalls = []
    for one in asked:
        if one.gold["type"] in ANSWERABLE:
            spans = [places(e, one.gold["articles"], store) for e in one.gold["evidence"]]
            found = [covered(span, one.answer.retrieved, 1000) for span in spans]
            recalls.append(sum(found) / len(found))
    recall = sum(recalls) / len(recalls)
    print(f"recall@1000 {recall:.3f} over {len(recalls)} questions")
    assert recall >= 0.9


def test_answers_hold_the_key_points(asked: list[Asked]) -> None:
    """Key points: the share of a question's that stand in the answer, in one of their wordings."""
    shares = []
    for one in asked:
        if one.gold["type"] in ANSWERABLE:
            text = squeeze(one.answer.text)[0]
            points = [[squeeze(p)[0] for p in alternatives] for alternatives in one.gold["key_points"]]
            shares.append(sum(any(p in text for p in point) for point in points) / len(points))
    share = sum(shares) / len(shares)
    print(f"key points {share:.3f} over {len(shares)} questions")
    assert share >= 0.7


def test_answerable_questions_are_seldom_refused(asked: list[Asked]) -> None:
    refused = [one.gold["id"] for one in asked if one.gold["type"] in ANSWERABLE and one.answer.refused]
    print("refused:", refused)
    assert len(refused) <= 0.1 * len(asked)


# -- many at once -------------------------------------------------------------------------------------------


def test_the_chain_computes_for_one_thread_at_a_time(small: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = small.retriever.encoder
    real, inside, alone = encoder.encode_query, threading.Semaphore(1), []

    def watched(text: str) -> Any:
        alone.append(inside.acquire(blocking=False))
        time.sleep(0.002)
        try:
            return real(text)
        finally:
            if alone[-1]:
                inside.release()

    monkeypatch.setattr(encoder, "encode_query", watched)
    question = Question("养老服务工作建立由几个部门组成的联席会议？")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: small.invoke(question), range(40)))
    assert len(alone) == 40 and all(alone)
    assert len({a.text for a in answers}) == 1
