"""A question to the passages that may answer it: dense and lexical search, fused.

Four scores are added, each scaled to [0, 1] over its own best ``DEPTH`` chunks (relative score fusion): the
cosine of the question with the chunk, with the chunk's best sentence, BM25 over the chunk's words, and BM25
over its words together with its heading path. What a chunk's article scores as a whole is added: a question
often describes an article before it asks. docs/evaluation.md has what each contributes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import log
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, PrivateAttr

from embeddings.encoder import SentenceEncoder
from rag.intent import topic
from rag.lexicon import natural, terms, tokens
from rag.records import Mode, Passage, Question, Span
from rag.scope import Scope, scope_of
from rag.spelling import Homophones, corrections
from rag.store import Store, Vector
from rag.vectors import VectorIndex, load_or_build

if TYPE_CHECKING:
    from embeddings.reader import Reading

_MISTYPED = 0.5  # weight of a word that the question's may be a mistyped form of
DEPTH = 50  # how many chunks of each ranking take part in the fusion
BACKING = 0.8  # what a chunk's article adds to its score
BACKERS = 3  # chunks that speak for an article


RANKINGS: Mapping[Mode, tuple[str, ...]] = {
    "dense": ("dense", "sentence"),
    "lexical": ("words", "path"),
    "hybrid": ("dense", "sentence", "words", "path"),
}


@dataclass(frozen=True, eq=False)
class Query:
    """A question as it is searched: its search tokens with their weights, and its vector ``(d,)``."""

    text: str
    vector: Vector
    weights: Mapping[str, float]  # inverse document frequency of each search token
    terms: tuple[str, ...]  # the words that say what is asked about
    unknown: frozenset[str] = frozenset()  # tokens that no document holds

    @cached_property
    def total(self) -> float:
        """The sum of the weights."""
        return sum(self.weights.values())

    def coverage(self, found: Iterable[str]) -> float:
        """The share of the question's weight that the tokens ``found`` hold, in [0, 1]."""
        held = set(found)
        return (
            sum(w for token, w in self.weights.items() if token in held) / self.total if self.total else 0.0
        )


@dataclass(frozen=True, slots=True, eq=False)
class Retrieval:
    """The passages for a question, best first, the question as it was searched, and the scope that it was restricted
    to; ``reads`` by the key of the passage's chunk, where a reader has read them."""

    query: Query
    passages: tuple[Passage, ...]
    scope: Scope | None = None
    reads: Mapping[int, Read] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A passage's clauses, and what the reader makes of them."""

    clauses: tuple[Span, ...]
    reading: Reading


class HybridRetriever(BaseRetriever):
    """LangChain retriever over a knowledge base.

    ``mode`` is ``hybrid``, or ``dense`` or ``lexical`` for one half alone; ``rankings`` names the single ones instead,
    of which ``sentence`` only orders what others find. The metadata of the documents that it returns hold the place:
    document, article, section, start, end and score.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    store: Store
    encoder: SentenceEncoder
    k: int = 10
    mode: Mode = "hybrid"
    rankings: tuple[str, ...] = ()

    _index: VectorIndex | None = PrivateAttr(default=None)
    _homophones: tuple[int, Homophones] | None = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[LangChainDocument]:
        passages = self.retrieve(Question(query), limit=self.k if k is None else k).passages
        return [
            LangChainDocument(
                page_content=p.text,
                metadata={
                    "document": p.document,
                    "sha256": p.sha256,
                    "article": p.article.as_json(),
                    "section": list(p.section),
                    "start": p.start,
                    "end": p.end,
                    "score": p.score,
                },
            )
            for p in passages
        ]

    def retrieve(self, question: Question, limit: int = 10) -> Retrieval:
        """The best ``limit`` passages for ``question.text`` in its articles and places.

        Raises QuestionError for an article or a place that is not there.
        """
        folded = natural(question.text)
        vector = self.encoder.encode_query(topic(folded))  # takes long: not while others wait for the store
        with self.store.snapshot():
            scope = scope_of(question, self.store)
            query = self._query(folded, vector)
            scores = self._search(query, scope)
            kept = sorted(scores, key=lambda chunk: (-scores[chunk].total, chunk))[:limit]
            passages = self.store.passages(kept)
        return Retrieval(query, tuple(scores[p.chunk].applied(p) for p in passages), scope)

    def _query(self, folded: str, vector: Vector) -> Query:
        found = dict.fromkeys(tokens(folded))
        frequency = self.store.document_frequency(found)
        chunks = self.store.count("chunks")
        weights = {t: _rarity(n, chunks) for t, n in frequency.items()}
        unknown = frozenset(t for t, n in frequency.items() if n == 0)
        meant = [t for likely in self._spelled(unknown).values() for t in likely if t not in weights]
        for token, n in self.store.document_frequency(meant).items():
            weights[token] = _MISTYPED * _rarity(n, chunks)
        return Query(folded, vector, weights, tuple(terms(folded)), unknown)

    def _spelled(self, unknown: frozenset[str]) -> dict[str, Sequence[str]]:
        """What the tokens that no document holds may stand for, if they were mistyped."""
        if not any(len(token) == 2 for token in unknown):
            return {}
        with self._lock:
            if self._homophones is None or self._homophones[0] != self.store.generation:
                self._homophones = self.store.generation, Homophones(self.store.pair_frequency())
        return corrections(unknown, self._homophones[1])

    def _search(self, query: Query, scope: Scope | None) -> dict[int, _Scores]:
        inside = scope.chunks if scope else None
        rankings: dict[str, dict[int, float]] = {}
        wanted = self.rankings or RANKINGS[self.mode]
        if "dense" in wanted:
            rankings["dense"] = dict(self._vectors().search(query.vector, DEPTH, inside))
        match = " OR ".join(f'"{token}"' for token in query.weights)
        for name, weights in (("words", (1.0, 0.0)), ("path", (1.0, 1.0))):
            if name in wanted:
                found = self.store.search_text(match, weights, DEPTH, inside) if match else []
                rankings[name] = {chunk: score for chunk, score in found if score > 0}
        candidates = sorted(set().union(*rankings.values()))
        similarities = self._similarities(query, candidates)
        if "sentence" in wanted:
            rankings["sentence"] = {chunk: max(values) for chunk, values in similarities.items() if values}
        scaled = [_scaled(ranking) for ranking in rankings.values()]
        fused = {c: sum(ranking.get(c, 0.0) for ranking in scaled) / len(scaled) for c in candidates}
        backing = _backing(fused, self.store.article_of(candidates))
        return {
            chunk: _Scores(
                (fused[chunk] + BACKING * backing[chunk]) / (1 + BACKING),
                {name: ranking[chunk] for name, ranking in rankings.items() if chunk in ranking},
                similarities.get(chunk, ()),
            )
            for chunk in candidates
        }

    def _similarities(self, query: Query, chunks: Sequence[int]) -> dict[int, tuple[float, ...]]:
        """The cosine of the question with each sentence of these chunks."""
        if not chunks:  # of an empty knowledge base, whose vectors have no dimension
            return {}
        _, owners, vectors = self.store.sentence_vectors(chunks)
        found: dict[int, list[float]] = {}
        for owner, value in zip(owners.tolist(), (vectors @ query.vector).tolist(), strict=True):
            found.setdefault(owner, []).append(value)
        return {chunk: tuple(values) for chunk, values in found.items()}

    def _vectors(self) -> VectorIndex:
        """The index of the store's present state: a commit by another process is seen at the next question."""
        with self._lock:
            if self._index is None or self._index.generation != self.store.generation:
                self._index = load_or_build(self.store)
            return self._index


@dataclass(frozen=True, slots=True)
class _Scores:
    """What the retrievers say of a chunk."""

    total: float
    signals: dict[str, float]
    similarities: tuple[float, ...]

    def applied(self, passage: Passage) -> Passage:
        return replace(passage, score=self.total, signals=self.signals, similarities=self.similarities)


def _rarity(frequency: int, chunks: int) -> float:
    """The inverse document frequency of BM25 (Robertson and Zaragoza, 2009), never negative."""
    return log(1 + (chunks - frequency + 0.5) / (frequency + 0.5))


def _backing(fused: Mapping[int, float], article_of: Mapping[int, int]) -> dict[int, float]:
    """How well each chunk's article answers, in [0, 1]: the sum of its best ``BACKERS`` chunks' scores against that of
    the best article."""
    by_article: dict[int, list[float]] = {}
    for chunk, score in fused.items():
        by_article.setdefault(article_of[chunk], []).append(score)
    sums = {key: sum(sorted(scores)[-BACKERS:]) for key, scores in by_article.items()}
    best = max(sums.values(), default=0.0) or 1.0
    return {chunk: sums[article_of[chunk]] / best for chunk in fused}


def _scaled(ranking: Mapping[int, float]) -> dict[int, float]:
    """The best ``DEPTH`` scores scaled to [0, 1]: 1 for the best, 0 for the last."""
    best = sorted(ranking.items(), key=lambda item: -item[1])[:DEPTH]
    if not best:
        return {}
    top, last = best[0][1], best[-1][1]
    spread = np.float64(top - last)
    return {key: float((score - last) / spread) if spread > 0 else 1.0 for key, score in best}
