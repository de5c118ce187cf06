"""A small invented knowledge base and a chain over it that needs no model: for tests of the views."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from fakes import FakeEncoder

from rag.chunk import sentences
from rag.errors import QuestionError
from rag.records import (
    Answer,
    AnswerSentence,
    Article,
    Citation,
    Cited,
    Document,
    Done,
    Event,
    Level,
    Outline,
    Passage,
    Question,
    Retrieved,
    Said,
    Section,
    Span,
)
from rag.store import Store, StoredArticle

MAX_QUESTION = 200
NAME = "青禾县 材料.txt"  # with a space: names go into addresses
BROKEN, DOUBTFUL = "请故障", "请存疑"  # questions that fail, and that get a sentence without support


@dataclass(frozen=True)
class S:
    """A section to be written: marker, heading, text, and the sections in it."""

    level: Level
    marker: str
    heading: str
    text: str = ""
    inner: tuple[S, ...] = ()


ARTICLES: tuple[tuple[str, str, str, tuple[S, ...]], ...] = (
    (
        "关于加快青禾县数字乡村建设的实施意见",
        "意见决定",
        "为加快补齐农村信息基础设施短板，结合全县实际，提出以下意见。",
        (
            S(1, "一、", "总体目标", "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。"),
            S(
                1,
                "二、",
                "重点任务",
                "",
                (
                    S(
                        2,
                        "(一)",
                        "夯实网络底座",
                        "实施光纤到户改造，三年内完成12个乡镇的线路更新。对偏远山村采用卫星补盲。"
                        "县财政每年安排专项资金2400万元，用于老旧机房改造、基站用电补贴和线路维护，"
                        "资金使用情况每半年向社会公开一次，接受群众监督。建立网络运行月报制度，"
                        "乡镇每月五日前报送故障情况，县大数据中心汇总后向各运营企业通报。"
                        "对连续两个月故障率高于百分之三的线路，由运营企业限期整改。",
                    ),
                    S(
                        2,
                        "(二)",
                        "建强服务队伍",
                        "主要抓好三件事：",
                        (
                            S("item", "一是", "选好村级网格员", "，每村至少配备2名；"),
                            S("item", "二是", "办好田间课堂", "，全年培训不少于6000人次；"),
                            S("item", "三是", "用好返乡青年", "，给予每人每月800元补贴。"),
                        ),
                    ),
                ),
            ),
        ),
    ),
    (
        '红石镇<基层>治理的"三步"探索',
        "经验交流",
        "红石镇下辖9个村，人口2.3万。",
        (
            S(1, "一、", "一网统管", "镇里把17套系统并成一个平台，群众办事平均用时由3天缩短到4小时。"),
            S(1, "二、", "一线办理", "干部每周三到村坐班，去年现场办结事项1126件，满意率96.5%。"),
        ),
    ),
    (
        "关于社区养老服务的调研报告",
        "调研报告",
        "调研组走访了28个社区，发放问卷1500份。",
        (
            S(1, "一、", "基本情况", "全县60岁以上老人8.7万人，占总人口的21.4%。社区食堂只有19家。"),
            S(1, "二、", "对策建议", "建议三年内新建社区食堂40家，并按就餐人次给予每餐3元补助。"),
        ),
    ),
)


def written() -> tuple[Document, Outline]:
    """The articles written out in one line, and their spans in it."""
    text = "青禾县材料汇编 目 录 "
    articles = []
    for number, (title, category, opening, parts) in enumerate(ARTICLES, 1):
        start = len(text)
        text += title
        body = len(text)
        text += " " + opening
        sections = []
        for part in parts:
            text, section = _write(text + " ", part)
            sections.append(section)
        articles.append(Article(start, len(text), number, title, category, tuple(sections), body))
        text += " "
    document = Document(NAME, hashlib.sha256(text.encode()).hexdigest(), text, "utf-8")
    return document, Outline(tuple(articles))


def _write(text: str, part: S) -> tuple[str, Section]:
    start = len(text)
    text += part.marker + part.heading
    body = start
    if part.level != "item":
        text += "。 "
        body = len(text)
    text += part.text
    inner = []
    for below in part.inner:
        text, section = _write(text, below)
        inner.append(section)
    return text, Section(start, len(text), part.level, part.marker, part.heading, tuple(inner), body)


@dataclass
class FakeChain:
    """Answers with the sentences that share the most pairs of characters with the question."""

    store: Store
    refuse_below: int = 2
    pause: float = 0.0  # seconds before each sentence
    asked: list[Question] = field(default_factory=list)
    encoder: FakeEncoder = field(default_factory=FakeEncoder)

    def examples(self, n: int) -> list[str]:
        return ["青禾县到2027年建成多少个数字乡村示范村？", "建强服务队伍要抓好哪三件事？"][:n]

    def search(
        self,
        question: str,
        limit: int = 10,
        articles: Sequence[int | tuple[str, int]] = (),
        within: Sequence[tuple[str, Span]] = (),
    ) -> list[Passage]:
        pairs = {question[i : i + 2] for i in range(len(question) - 1)}
        found = []
        for stored in self.store.articles():
            number = stored.article.number
            whole = number in articles or (stored.document, number) in articles or not (articles or within)
            document = self.store.document(stored.document)
            assert document
            for span in _spans(document.text, stored.article):
                if not whole and not any(name == document.name and p.contains(span) for name, p in within):
                    continue
                score = sum(pair in document.text[span.start : span.end] for pair in pairs)
                found.append(_passage(document, stored, span, score))
        return sorted(found, key=lambda p: -p.score)[:limit]

    def stream(self, question: Question) -> Iterator[Event]:
        self.asked.append(question)
        if len(question.text) > MAX_QUESTION:
            raise QuestionError("问题太长 (the question is too long)", f"请缩短到 {MAX_QUESTION} 字以内")
        if question.text == BROKEN:
            raise RuntimeError("the fake breaks on demand")
        passages = self.search(question.text, 10, question.articles, question.within)
        yield Retrieved(tuple(passages))
        best = max((p.score for p in passages), default=0.0)
        if best < self.refuse_below:
            sorry = AnswerSentence("这些文件没有提到这个问题。", (), "supported")
            yield Said(sorry)
            yield Done(Answer((sorry,), (), tuple(passages), True, "extractive", {"retrieve": 1.0}))
            return
        said, cited = [], []
        first = max((c.n for c in question.cited), default=0) + 1
        for n, passage in enumerate((p for p in passages if p.score >= max(2, best - 1)), first):
            for citation, sentence in _quotes(passage, n):
                time.sleep(self.pause)
                cited.append(citation)
                said.append(sentence)
                yield Cited(citation)
                yield Said(sentence)
        if DOUBTFUL in question.text:
            said.append(AnswerSentence("这句话没有出处。", (), "unsupported"))
            yield Said(said[-1])
        yield Done(Answer(tuple(said), tuple(cited), tuple(passages), False, "extractive", {"retrieve": 1.0}))


def _quotes(passage: Passage, n: int) -> Iterator[tuple[Citation, AnswerSentence]]:
    """The passage as a quoted sentence; an enumeration's items are list items."""
    kind = "item" if passage.text[:2] in ("一是", "二是", "三是") else "text"
    where = (passage.document, passage.sha256, passage.article, passage.section)
    citation = Citation(passage.start, passage.end, n, *where, passage.text)
    yield citation, AnswerSentence(passage.text, (n,), "quoted", kind)  # type: ignore[arg-type]


def _spans(text: str, article: Article) -> list[Span]:
    """Sentences and items of an article."""
    cuts = {article.body, article.end}
    for path in article.walk():
        cuts |= {path[-1].start, max(path[-1].start, path[-1].body)}
    places = sorted(cuts)
    return [s for a, b in pairwise(places) for s in sentences(text, a, b)]


def _passage(document: Document, stored: StoredArticle, span: Span, score: float) -> Passage:
    path = stored.article.path_at(span.start)
    text = document.text[span.start : span.end]
    labels = tuple(section.label for section in path)
    return Passage(span.start, span.end, document.name, document.sha256, stored.ref, labels, text, score)


def fake_chain(folder: Path) -> FakeChain:
    """The chain over a knowledge base made anew in ``folder``."""
    document, outline = written()
    with Store.open(folder, writable=True, create=True) as store, store.transaction():
        store.set_model("none", 1)
        store.put(document, outline, ())
    return FakeChain(Store.open(folder))
