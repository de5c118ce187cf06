"""The one door through which the views reach the chain, each answer counted."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Protocol

from rag.examples import examples, follow_ups
from rag.ingest import PassageEncoder
from rag.records import Answer, Done, Event, Passage, Question
from rag.store import Store, StoredArticle
from ui.logs import log_answer
from ui.metrics import Metrics
from ui.slots import Slots


class Answering(Protocol):
    """What the views ask of the chain."""

    @property
    def store(self) -> Store: ...

    @property
    def encoder(self) -> PassageEncoder: ...

    def stream(self, question: Question, /) -> Iterator[Event]: ...

    def search(self, question: str, /, limit: int = 10) -> list[Passage]: ...

    def examples(self, n: int, /) -> list[str]: ...


class Service:
    """Answers questions for all views, from any number of threads: the chain itself computes for one at a time."""

    def __init__(
        self,
        chain: Answering,
        max_answers: int = 64,
        metrics: Metrics | None = None,
        log_questions: bool = False,
    ) -> None:
        """``max_answers``: how many are made or waited for at once; ``log_questions``: the log holds their text."""
        self._chain = chain
        self._slots = Slots(max_answers)
        self.metrics = metrics or Metrics()
        self._log_questions = log_questions

    @property
    def store(self) -> Store:
        """The knowledge base, which any thread may read at any time."""
        return self._chain.store

    @property
    def encoder(self) -> PassageEncoder:
        """What embeds the chain's passages: loaded once for questions and new documents."""
        return self._chain.encoder

    def stream(self, question: Question) -> Generator[Event, None, None]:
        """The chain's events. Closing it stops the work.

        Raises before the first one: InputError where the question cannot be used, ApiError 503 where too many answers
        are being made.
        """
        counting = self.metrics.counting()
        try:
            with counting, self._slots.taken():
                for event in self._chain.stream(question):
                    counting.see(event)
                    yield event
        finally:
            log_answer(counting, question.text if self._log_questions else None)

    def ask(self, question: Question) -> Answer:
        """The whole answer."""
        for event in self.stream(question):
            if isinstance(event, Done):
                return event.answer
        raise RuntimeError("the chain ended without an answer")

    def search(self, text: str, limit: int) -> list[Passage]:
        """Retrieval alone, best first. Raises ApiError 503 where too many answers are being made."""
        with self._slots.taken():
            return list(self._chain.search(text, limit=limit))

    def warm(self) -> None:
        """Let the chain load what it loads on first use, so that no reader waits for it."""
        self._chain.search("预热", limit=1)

    def examples(self, n: int, articles: Collection[tuple[str, int]] | None = None) -> list[str]:
        """Questions that the documents answer; from some ``articles`` alone, each a document and a number."""
        if articles is None:
            return list(self._chain.examples(n))
        listed = (s for s in self.store.articles() if (s.document, s.article.number) in articles)
        return examples([stored.article for stored in listed], n)

    def follow_ups(
        self, citations: Sequence[tuple[str, int]], asked: str, n: int, refused: bool = False
    ) -> list[str]:
        """Questions that go on from an answer, on what stands near its citations, each a document and a position.

        Positions outside every article are left out.
        """
        articles = self.articles_at(citations)
        places = [
            (stored.article, position)
            for stored, (_, position) in zip(articles, citations, strict=True)
            if stored
        ]
        return follow_ups(asked, places, n, refused)

    def article_at(self, document: str, position: int) -> StoredArticle | None:
        """The article that holds a position of a document."""
        return self.store.article_at(document, position)

    def articles_at(self, places: Sequence[tuple[str, int]]) -> list[StoredArticle | None]:
        """The article that holds each position of a document, each article read once."""
        found: list[StoredArticle | None] = []
        for document, position in places:
            known = (
                a
                for a in found
                if a and a.document == document and a.article.start <= position < a.article.end
            )
            found.append(next(known, None) or self.article_at(document, position))
        return found

    def article_numbered(self, document: str, number: int) -> StoredArticle | None:
        """A document's article by its number."""
        return next((a for a in self.store.articles(document) if a.article.number == number), None)
