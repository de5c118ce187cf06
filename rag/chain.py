"""The retrieval chain: a question and its history -> events -> an answer, as a LangChain Runnable."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor

from rag.condense import condense
from rag.confidence import signals
from rag.config import Settings
from rag.errors import QuestionError
from rag.extract import LOOK_AT, Evidence, Part, Source, compose
from rag.ingest import sentence_encoder
from rag.intent import understand
from rag.question import as_question
from rag.read import Reads, passage_reader, read
from rag.records import (
    Answer,
    AnswerSentence,
    Citation,
    Cited,
    Done,
    Event,
    Passage,
    Question,
    Retrieved,
    Said,
)
from rag.retrieve import HybridRetriever, Retrieval
from rag.store import Store
from rag.verify import support

RETRIEVED = 40  # passages an answer is made from and shows
DOUBT = "没有把握文档回答了这个问题，最接近的原文是："
NOTHING = "文档中没有找到能回答这个问题的内容。"


class Chain(Runnable[Question | Mapping[str, Any], Answer]):
    """Retrieves, answers with the sentences of the documents, and checks each against its source.

    ``invoke`` returns the :class:`Answer`; ``stream`` yields the events of ``rag.records``, the last of them
    ``Done`` with that answer.
    """

    def __init__(self, retriever: HybridRetriever, settings: Settings, reader: Reads | None = None) -> None:
        """``reader``: what reads the best passages beside the question; None: the rules alone."""
        self.retriever = retriever
        self.settings = settings
        self.reader = reader

    @property
    def store(self) -> Store:
        return self.retriever.store

    def invoke(
        self, input: Question | Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Answer:
        """The answer to a Question, or to a mapping with ``question`` and maybe ``history``, ``articles``.

        Raises QuestionError if the question is empty or too long, or names an unknown article.
        """
        answer: Answer | None = None
        for event in self.stream(input, config):
            if isinstance(event, Done):
                answer = event.answer
        assert answer is not None  # Done is always the last event
        return answer

    def stream(  # type: ignore[override]  # events rather than pieces of the answer
        self,
        input: Question | Mapping[str, Any],
        config: RunnableConfig | None = None,
        **kwargs: Any | None,
    ) -> Iterator[Event]:
        """The events of an answer as they come. Raises as ``invoke``, before the first event."""
        question = as_question(input)
        asked = self._checked(question)
        clock = _Clock()
        retrieval = self.retriever.retrieve(replace(question, text=asked), RETRIEVED)
        clock.lap("retrieve")
        if self.reader:
            retrieval = read(retrieval, self.reader)
            clock.lap("read")
        intent = understand(asked)
        confidence = signals(retrieval, intent).confidence
        source = self._source(retrieval)
        parts = compose(retrieval, intent, source)
        retrieval = self._reordered(retrieval, parts)
        if confidence < self.settings.refuse_below:
            parts = []
        elif parts and self.settings.refuse_below > 0 and confidence < self.settings.doubt_below:
            parts = [replace(parts[0], text=DOUBT + parts[0].text), *parts[1:]]
        clock.lap("answer")
        yield Retrieved(retrieval.passages)
        said: list[AnswerSentence] = []
        citations: dict[tuple[str, int, int], Citation] = {}
        for part in parts:
            known = len(citations)
            cited = tuple(_cite(evidence, source, citations) for evidence in part.evidence)
            sentence = AnswerSentence(
                part.text, tuple(c.n for c in cited), support(part.text, cited), part.kind
            )
            clock.lap("verify")
            yield from map(Cited, list(citations.values())[known:])
            yield Said(sentence)
            said.append(sentence)
        refused = not said
        if refused:
            said = [AnswerSentence(_refusal(retrieval), (), "supported")]
            yield Said(said[0])
        yield Done(
            Answer(
                sentences=tuple(said),
                citations=tuple(citations.values()),
                retrieved=retrieval.passages,
                refused=refused,
                engine="extractive",
                timings_ms=clock.laps,
                confidence=confidence,
                question=asked if asked != question.text.strip() else "",
            )
        )

    async def astream(  # type: ignore[override]
        self,
        input: Question | Mapping[str, Any],
        config: RunnableConfig | None = None,
        **kwargs: Any | None,
    ) -> AsyncIterator[Event]:
        """The events of ``stream``, computed in a thread of their own."""
        events = self.stream(input, config)
        while (event := await run_in_executor(config, next, events, None)) is not None:
            yield event

    def transform(  # what comes after the chain in a sequence is given the answer, also when streamed
        self,
        input: Iterator[Question | Mapping[str, Any]],
        config: RunnableConfig | None = None,
        **kwargs: Any | None,
    ) -> Iterator[Answer]:
        for asked in input:
            yield self.invoke(asked, config)

    async def atransform(
        self,
        input: AsyncIterator[Question | Mapping[str, Any]],
        config: RunnableConfig | None = None,
        **kwargs: Any | None,
    ) -> AsyncIterator[Answer]:
        async for asked in input:
            yield await self.ainvoke(asked, config)

    def search(
        self, question: str, limit: int = 10, articles: Sequence[int | tuple[str, int]] = ()
    ) -> list[Passage]:
        """Retrieval alone: the best passages, best first."""
        asked = as_question(Question(question, articles=tuple(articles)))
        return list(self.retriever.retrieve(replace(asked, text=self._checked(asked)), limit).passages)

    def examples(self, n: int = 4) -> list[str]:
        """Questions that the documents answer, from the headings of different articles."""
        from rag.examples import examples

        return examples([stored.article for stored in self.store.articles()], n)

    def _checked(self, question: Question) -> str:
        """The question as it is searched: complete in itself, neither empty nor too long."""
        text = question.text.strip()
        if not text:
            raise QuestionError("问题是空的 (the question is empty)", "写下要问的问题 (write a question)")
        if len(text) > self.settings.max_question:
            raise QuestionError(
                f"问题有 {len(text)} 字, 超过上限 {self.settings.max_question} (the question is too long)",
                "缩短问题, 或调高 max_question (shorten it)",
            )
        return condense(question, lambda term: self.store.document_frequency([term])[term] > 0)

    def _reordered(self, retrieval: Retrieval, parts: Sequence[Part]) -> Retrieval:
        """The retrieval with the passages that the answer quotes before the others, a passage's score being no less than
        those of the passages after it."""
        quoted = [key for part in parts for e in part.evidence for key in self._chunks_of(e)]
        known = {p.chunk: p for p in retrieval.passages}
        missing = {p.chunk: p for p in self.store.passages(k for k in quoted if k not in known)}
        first = [{**missing, **known}[key] for key in dict.fromkeys(quoted) if key in known or key in missing]
        rest = [p for p in retrieval.passages if p.chunk not in quoted]
        ordered = [*first, *rest][: max(RETRIEVED, len(first))]
        scores = list(accumulate((p.score for p in reversed(ordered)), max))[::-1]
        return replace(
            retrieval, passages=tuple(replace(p, score=s) for p, s in zip(ordered, scores, strict=True))
        )

    def _chunks_of(self, evidence: Evidence) -> list[int]:
        """The chunks that the evidence stands in: its passage's, but for the items of a long list."""
        if evidence.passage.contains(evidence.span):
            return [evidence.passage.chunk]
        return self.store.chunks_at(evidence.passage.document, evidence.span)

    def _source(self, retrieval: Retrieval) -> Source:
        """Texts and articles of the passages that an answer may be made from."""
        passages = retrieval.passages[:LOOK_AT]
        articles = {}
        for key in dict.fromkeys(p.article.id for p in passages):
            stored = self.store.article(key)
            if stored:
                articles[key] = stored.article
        texts = {}
        for name in dict.fromkeys(p.document for p in passages):
            document = self.store.document(name)
            if document:
                texts[name] = document.text
        return Source(texts, articles)


def open_chain(settings: Settings) -> Chain:
    """The chain over the knowledge base that the settings name.

    Raises KnowledgeBaseError if there is none, ModelMismatchError if it was made with another model.
    """
    store = Store.open(settings.kb)
    store.require_documents()
    encoder = sentence_encoder(settings)
    store.require_model(encoder.identity, encoder.dimension)
    return Chain(HybridRetriever(store=store, encoder=encoder), settings, passage_reader(settings))


def _refusal(retrieval: Retrieval) -> str:
    """Says that the documents do not hold it, and where they speak of something near."""
    near = list(dict.fromkeys(p.article.title for p in retrieval.passages[:5]))[:2]
    if not near:
        return NOTHING
    return NOTHING + "内容相近的是" + "、".join(f"《{title}》" for title in near) + "。"


def _cite(evidence: Evidence, source: Source, known: dict[tuple[str, int, int], Citation]) -> Citation:
    """The citation for a span: one number for one place."""
    passage, span = evidence.passage, evidence.span
    key = passage.document, span.start, span.end
    if key not in known:
        known[key] = Citation(
            start=span.start,
            end=span.end,
            n=len(known) + 1,
            document=passage.document,
            sha256=passage.sha256,
            article=passage.article,
            section=evidence.section,
            quote=source.quote(evidence),
            page=passage.page,
        )
    return known[key]


class _Clock:
    """Adds up the milliseconds spent in each step."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + (now - self._last) * 1000
        self._last = now
