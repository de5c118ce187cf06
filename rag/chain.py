"""The retrieval chain: a question and its history -> events -> an answer, as a LangChain Runnable."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor

from embeddings.encoder import SentenceEncoder
from rag.check import support_checker
from rag.cite import Numbering
from rag.computing import Computing, here
from rag.condense import beside_earlier, may_go_on, refers
from rag.confidence import signals
from rag.config import Settings
from rag.errors import LanguageModelError, QuestionError
from rag.extract import LOOK_AT, Evidence, Part, Source, compose
from rag.fluent import ASKED, OVERRULED, Fluent, Outcome
from rag.generate import condensed, condensing, evidence_room, numbered
from rag.ingest import sentence_encoder
from rag.intent import Intent, understand
from rag.judge import shortcoming
from rag.lexicon import natural
from rag.llm import LanguageModel, open_model
from rag.question import as_question
from rag.read import Reads, passage_reader, read
from rag.records import (
    Answer,
    AnswerSentence,
    Cited,
    Discarded,
    Done,
    Event,
    Passage,
    Question,
    Retrieved,
    Said,
)
from rag.retrieve import HybridRetriever, Retrieval
from rag.scope import Scope
from rag.store import Store
from rag.verify import Checker, LexicalChecker, support

_LOG = logging.getLogger(__name__)
RETRIEVED = 40  # passages an answer is made from and shows
DOUBT = "没有把握文档回答了这个问题，最接近的内容是："
# The confidence from which on a question is not read beside earlier ones, and how much more that must give to be taken.
_SURE_ALONE, _SURER = 0.85, 0.1
NOTHING = "文档中没有找到能回答这个问题的内容。"


class Chain(Runnable[Question | Mapping[str, Any], Answer]):
    """Retrieves, answers with the sentences of the documents, and checks each against its source.

    ``invoke`` returns the :class:`Answer`; ``stream`` yields the events of ``rag.records``, the last of them
    ``Done`` with that answer.
    """

    def __init__(
        self,
        retriever: HybridRetriever,
        settings: Settings,
        reader: Reads | None = None,
        model: LanguageModel | None = None,
        checker: Checker | None = None,
    ) -> None:
        """``reader``: what reads the best passages beside the question; None: the rules alone. ``model`` writes the
        answers, each sentence of which ``checker`` checks; None: they are extracts."""
        self.retriever = retriever
        self.settings = settings
        self.reader = reader
        self.model = model
        self.checker = checker or LexicalChecker()
        self._computed = Computing()  # a language model is waited for outside of it

    @property
    def store(self) -> Store:
        return self.retriever.store

    @property
    def encoder(self) -> SentenceEncoder:
        return self.retriever.encoder

    def invoke(
        self, input: Question | Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Answer:
        """The answer to a Question, or to a mapping with ``question`` and maybe ``history``, ``articles``, ``within``.

        Raises QuestionError if the question is empty or too long, or names an article or a place that is not there.
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
        clock = _Clock()
        asked, found = self._understood(question, clock)
        yield Retrieved(found.retrieval.passages)
        numbering = Numbering(found.source, question.cited)
        outcome = Outcome()
        said: list[AnswerSentence] = []
        threshold = self.settings.refuse_below
        opening = DOUBT if threshold > 0 and found.confidence < self.settings.doubt_below else ""
        if self.model and found.confidence >= ASKED * threshold:
            yield from _told(self._fluent(asked, found, numbering, outcome, clock), opening, said)
        if outcome.refused and found.parts and found.confidence >= OVERRULED * threshold:
            outcome.given_up = "模型没有作答, 而文档有依据 (the model declined, the documents do not)"
        refused = not outcome.taken and (outcome.declined or not found.parts)
        if not outcome.taken:
            if said:
                yield Discarded(outcome.given_up)
            said.clear()
            numbering = numbering.again()
            parts = [] if refused else found.parts
            extract = self._extract(parts, numbering, found, clock)
            yield from _told(extract, opening if parts else "", said)
        by_model = self.model and (outcome.taken or outcome.declined)
        yield Done(
            Answer(
                sentences=tuple(said),
                citations=numbering.given,
                retrieved=found.retrieval.passages,
                refused=refused,
                engine=self.model.name if self.model and by_model else "extractive",
                timings_ms=clock.laps,
                confidence=found.confidence,
                question=asked if asked != question.text.strip() else "",
                fallback=outcome.given_up,
            )
        )

    def _found(self, question: Question, clock: _Clock) -> _Found:
        """The passages for a question, and the answer that they give without a language model."""
        clock.lap("condense")
        generation = self.store.generation
        retrieval = self.retriever.retrieve(question, RETRIEVED)
        clock.lap("retrieve")
        if self.reader:
            retrieval = read(retrieval, self.reader)
            clock.lap("read")
        intent = understand(question.text)
        confidence = signals(retrieval, intent).confidence
        source = self._source(retrieval)
        if self.store.generation != generation:  # spans of a former text must not be quoted from a new one
            return self._found(question, clock)
        parts = compose(retrieval, intent, source)
        retrieval = self._reordered(retrieval, parts)
        if confidence < self.settings.refuse_below:
            parts = []
        clock.lap("answer")
        return _Found(retrieval, intent, parts, source, confidence)

    def _extract(
        self, parts: Sequence[Part], numbering: Numbering, found: _Found, clock: _Clock
    ) -> Iterator[Cited | Said]:
        """The events of the answer without a language model."""
        clock.lap("generate")
        for part in parts:
            cited, fresh = numbering.cite_all(part.evidence)
            sentence = AnswerSentence(
                part.text, tuple(c.n for c in cited), support(part.text, cited), part.kind
            )
            clock.lap("verify")
            yield from map(Cited, fresh)
            yield Said(sentence)
        if not parts:
            yield Said(AnswerSentence(_refusal(found.retrieval), (), "supported"))

    def _fluent(
        self, asked: str, found: _Found, numbering: Numbering, outcome: Outcome, clock: _Clock
    ) -> Iterator[Event]:
        """The events of the language model's answer."""
        assert self.model
        room = evidence_room(self.settings.llm_context, self.settings.llm_max_tokens, asked)
        shown = numbered(found.retrieval.passages, room)
        verifying = here if self.checker.waits else self._computed
        dropping = self.settings.unsupported == "drop"

        def judged(said: Sequence[AnswerSentence], dropped: int) -> str:
            answers = partial(self._answers, asked) if self.reader else None
            return self._computed(
                partial(shortcoming, asked, found.intent, said, dropped, found.parts, answers)
            )

        fluent = Fluent(self.model, self.checker, numbering, verifying, judged, dropping)
        for event in fluent.answer(asked, shown, outcome):
            if event is not None:
                yield event
        clock.lap("generate")
        clock.move("generate", "verify", outcome.verifying)

    def _answers(self, question: str, text: str) -> float:
        """How well a text answers the question, as the reader sees it: a logit."""
        assert self.reader
        return self.reader.read(question, [("", natural(text), ((0, len(text)),))])[0].answers

    def _understood(self, question: Question, clock: _Clock) -> tuple[str, _Found]:
        """The question as it is answered, complete in itself, and what is found for it.

        One that refers back is read beside the turns before it. In a conversation a short one may go on from them, too:
        where it leaves doubt alone, it is read both ways, and the reading that is surer is taken.
        """
        text, earlier = self._checked(question), beside_earlier(question)
        if earlier and refers(text):
            text = self._condensed(question, earlier)
            return text, self._find(question, text, clock)
        found = self._find(question, text, clock)
        if earlier and may_go_on(text) and found.confidence < _SURE_ALONE:
            other = self._condensed(question, earlier)
            beside = self._find(question, other, clock)
            if beside.confidence >= found.confidence + _SURER:
                return other, beside
        return text, found

    def _find(self, question: Question, text: str, clock: _Clock) -> _Found:
        return self._computed(partial(self._found, replace(question, text=text), clock))

    def _condensed(self, question: Question, earlier: str) -> str:
        """A follow-up complete in itself: as the language model puts it, or as it reads beside the turns before it."""
        if not self.model:
            return earlier
        try:
            reply = self.model.complete(condensing(question.history, question.text.strip()))
        except LanguageModelError as error:
            _LOG.warning("%s", error)
            return earlier
        return condensed(reply, question.text, self.settings.max_question) or earlier

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
        asked = replace(asked, text=self._checked(asked))
        return list(self._computed(partial(self.retriever.retrieve, asked, limit)).passages)

    def examples(self, n: int = 4) -> list[str]:
        """Questions that the documents answer, from the headings of different articles."""
        from rag.examples import examples

        return examples([stored.article for stored in self.store.articles()], n)

    def _checked(self, question: Question) -> str:
        """The question's text, neither empty nor too long."""
        text = question.text.strip()
        if not text:
            raise QuestionError("问题是空的 (the question is empty)", "写下要问的问题 (write a question)")
        if len(text) > self.settings.max_question:
            raise QuestionError(
                f"问题有 {len(text)} 字, 超过上限 {self.settings.max_question} (the question is too long)",
                "缩短问题, 或调高 max_question (shorten it)",
            )
        return text

    def _reordered(self, retrieval: Retrieval, parts: Sequence[Part]) -> Retrieval:
        """The retrieval with the passages that the answer quotes before the others, a passage's score being no less than
        those of the passages after it."""
        quoted = [key for part in parts for e in part.evidence for key in self._chunks_of(e, retrieval.scope)]
        known = {p.chunk: p for p in retrieval.passages}
        missing = {p.chunk: p for p in self.store.passages(k for k in quoted if k not in known)}
        first = [{**missing, **known}[key] for key in dict.fromkeys(quoted) if key in known or key in missing]
        rest = [p for p in retrieval.passages if p.chunk not in quoted]
        ordered = [*first, *rest][: max(RETRIEVED, len(first))]
        scores = list(accumulate((p.score for p in reversed(ordered)), max))[::-1]
        return replace(
            retrieval, passages=tuple(replace(p, score=s) for p, s in zip(ordered, scores, strict=True))
        )

    def _chunks_of(self, evidence: Evidence, scope: Scope | None) -> list[int]:
        """The chunks that the evidence stands in: its passage's, but for the items of a long list."""
        if evidence.passage.contains(evidence.span):
            return [evidence.passage.chunk]
        found = self.store.chunks_at(evidence.passage.document, evidence.span)
        return [key for key in found if scope is None or key in scope.chunks]

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
        return Source(texts, articles, retrieval.scope)


def open_chain(settings: Settings) -> Chain:
    """The chain over the knowledge base that the settings name.

    Raises KnowledgeBaseError if there is none, ModelMismatchError if it was made with another model.
    """
    store = Store.open(settings.kb)
    if not settings.allow_upload:  # the first document may come through the page
        store.require_documents()
    encoder = sentence_encoder(settings)
    store.require_model(encoder.identity, encoder.dimension)
    retriever = HybridRetriever(store=store, encoder=encoder)
    model = open_model(settings)
    checker = support_checker(settings, model) if model else None
    return Chain(retriever, settings, passage_reader(settings), model, checker)


def _refusal(retrieval: Retrieval) -> str:
    """Says that the documents do not hold it, and where they speak of something near."""
    near = list(dict.fromkeys(p.article.title for p in retrieval.passages[:5]))[:2]
    if not near:
        return NOTHING
    return NOTHING + "内容相近的是" + "、".join(f"《{title}》" for title in near) + "。"


@dataclass(frozen=True, slots=True)
class _Found:
    """What the documents hold for a question: the passages, and the parts of an answer, none where it is refused."""

    retrieval: Retrieval
    intent: Intent
    parts: list[Part]
    source: Source
    confidence: float


class _Clock:
    """Adds up the milliseconds spent in each step."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + (now - self._last) * 1000
        self._last = now

    def move(self, one: str, other: str, milliseconds: float) -> None:
        """Count a part of one step's time for another."""
        self.laps[one] -= milliseconds
        self.laps[other] = self.laps.get(other, 0.0) + milliseconds


def _told(events: Iterator[Event], opening: str, said: list[AnswerSentence]) -> Iterator[Event]:
    """The events with ``opening`` before the first sentence; their sentences are added to ``said``."""
    for event in events:
        if isinstance(event, Said):
            event = Said(replace(event.sentence, text=("" if said else opening) + event.sentence.text))
            said.append(event.sentence)
        yield event
