"""A run over public benchmark rows: a temporary knowledge base of their texts, a chain over it, and a journal."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embeddings.encoder import Array, SentenceEncoder, Spans
from embeddings.encoder import Progress as Counted
from eval import journal
from eval.cases import Library
from eval.chains import OWN, Answers, Make, as_chain
from eval.datasets import Paragraph
from eval.journal import Journal
from eval.provenance import provenance
from rag import vectors
from rag.chain import Chain
from rag.chunk import chunks
from rag.config import Settings
from rag.errors import KnowledgeBaseError
from rag.ingest import PassageEncoder, embedded_text, sentence_encoder
from rag.lexicon import tokens
from rag.read import passage_reader
from rag.records import Article, Chunk, Document, Outline
from rag.retrieve import HybridRetriever
from rag.store import IndexedChunk, Store

Progress = Callable[[str, int, int], None]  # step, done, total


def youju(store: Store, encoder: SentenceEncoder, settings: Settings) -> Chain:
    """The project's own chain."""
    return Chain(HybridRetriever(store=store, encoder=encoder), settings, passage_reader(settings))


def _quiet(step: str, done: int, total: int) -> None:
    """Reports no progress."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every run over public rows is given. ``name`` is what the result calls the chain that ``make`` makes;
    a run that is interrupted leaves a journal beside ``out`` and goes on from it."""

    settings: Settings
    make: Make = youju
    name: str = OWN
    out: Path | None = None
    progress: Progress = field(default=_quiet)
    encoder: SentenceEncoder | None = None  # None: the one that the settings name

    @contextmanager
    def opened(
        self, texts: Sequence[Paragraph], files: Sequence[Path], options: Mapping[str, Any]
    ) -> Iterator[Run]:
        """A run over these texts. ``files`` and ``options`` are what the figures come from."""
        encoder = QueryMemory(self.encoder or sentence_encoder(self.settings))
        about = {
            **provenance(self.settings, files),
            **options,
            "chain": self.name,
            "model": {"identity": encoder.identity, "dimension": encoder.dimension},
        }
        with (
            journal.opened(self.out, about) as known,
            knowledge_base(texts, encoder, self.progress, known.folder) as store,
        ):
            chain = as_chain(self.make(store, encoder, self.settings), Library.of(store))
            yield Run(store, encoder, chain, known, about)


@dataclass(frozen=True, slots=True)
class Run:
    """An open run; ``about`` says what produced its figures."""

    store: Store
    encoder: SentenceEncoder
    chain: Answers
    journal: Journal
    about: Mapping[str, Any]


# -- knowledge bases ------------------------------------------------------------------------------------------


@contextmanager
def knowledge_base(
    paragraphs: Sequence[Paragraph],
    encoder: PassageEncoder,
    progress: Progress = _quiet,
    folder: Path | None = None,
) -> Iterator[Store]:
    """A knowledge base, each paragraph a document of one article; open for reading.

    Without a ``folder`` it is temporary; one that is in the folder already is taken over.
    """
    with tempfile.TemporaryDirectory(prefix="youju-eval-") as temporary:
        place = folder or Path(temporary)
        if not _holds(place, paragraphs):
            shutil.rmtree(place, ignore_errors=True)
            fill(place, paragraphs, encoder, progress)
        with Store.open(place) as store:
            yield store


def _holds(folder: Path, paragraphs: Sequence[Paragraph]) -> bool:
    """Whether a knowledge base there has just these texts."""
    try:
        store = Store.open(folder)
    except KnowledgeBaseError:
        return False
    with store:
        return {(d.name, d.sha256) for d in store.documents()} == {(p.id, _digest(p)) for p in paragraphs}


def _digest(paragraph: Paragraph) -> str:
    return hashlib.sha256(paragraph.text.encode()).hexdigest()


def fill(
    folder: Path,
    paragraphs: Sequence[Paragraph],
    encoder: PassageEncoder,
    progress: Progress = _quiet,
) -> None:
    """Put the paragraphs into the knowledge base in ``folder``, in one transaction."""
    prepared = [_prepared(paragraph) for paragraph in paragraphs]
    inputs = [embedded_text(p.document, chunk) for p in prepared for chunk in p.chunks]
    passages, sentences = encoder.encode_with_spans(
        [text for text, _ in inputs],
        [spans for _, spans in inputs],
        progress=lambda done, total: progress("embed", done, total),
    )
    embedded = zip(passages, sentences, strict=True)
    with Store.open(folder, writable=True, create=True) as store:
        with store.transaction():
            store.set_model(encoder.identity, encoder.dimension)
            for p in prepared:
                indexed = [_indexed(p, chunk, *next(embedded)) for chunk in p.chunks]
                store.put(p.document, Outline((p.article,)), indexed)
        vectors.build(store)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A paragraph as a document."""

    document: Document
    article: Article
    chunks: list[Chunk]


def _prepared(paragraph: Paragraph) -> _Prepared:
    """The paragraph as a whole: the numbers in an encyclopedia's text mark no sections."""
    document = Document(paragraph.id, _digest(paragraph), paragraph.text, "utf-8")
    article = Article(0, len(paragraph.text), 1, paragraph.title)
    return _Prepared(document, article, chunks(document, article))


def _indexed(prepared: _Prepared, chunk: Chunk, vector: Array, sentence_vectors: Array) -> IndexedChunk:
    body = " ".join(tokens(prepared.document.text[chunk.start : chunk.end]))
    return IndexedChunk(chunk, vector, sentence_vectors, body, " ".join(tokens(prepared.article.title)))


def _silent(done: int, total: int) -> None:
    """Reports no progress."""


class QueryMemory(SentenceEncoder):
    """An encoder that computes the vector of each question once."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, Array] = {}

    @property
    def identity(self) -> str:
        return self._encoder.identity

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    def encode_query(self, text: str) -> Array:
        if text not in self._known:
            self._known[text] = self._encoder.encode_query(text)
        return self._known[text]

    def encode_passages(self, texts: Sequence[str], progress: Counted = _silent) -> Array:
        return self._encoder.encode_passages(texts, progress)

    def encode_with_spans(
        self, texts: Sequence[str], spans: Sequence[Spans], progress: Counted = _silent
    ) -> tuple[Array, list[Array]]:
        return self._encoder.encode_with_spans(texts, spans, progress)
