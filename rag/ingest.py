"""Files -> knowledge base: read, split, embed what is new, and store it all in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rag import vectors
from rag.chunk import chunks
from rag.config import Settings
from rag.errors import EmptyError, FormatError, PathError
from rag.lexicon import natural, tokens
from rag.load import as_document, find_files, name_of, read_document
from rag.outline import outline
from rag.records import Chunk, Document, Outline
from rag.store import IndexedChunk, Store, StoredDocument, Vector

if TYPE_CHECKING:
    from embeddings.encoder import SentenceEncoder

PIPELINE = "2"  # raise it with every change to outline, chunk, lexicon or to the text that is embedded

Step = Literal["read", "split", "embed", "store"]
Progress = Callable[[Step, int, int], None]  # step, done, total
Status = Literal["added", "updated", "unchanged", "skipped"]

# What is embedded: the text, and in it the span of each sentence. Equal inputs have equal vectors.
Input = tuple[str, tuple[tuple[int, int], ...]]
Embedding = tuple[Vector, Vector]


class PassageEncoder(Protocol):
    """What ingest needs of ``embeddings.encoder.SentenceEncoder``."""

    @property
    def identity(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def encode_with_spans(
        self,
        texts: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
        progress: Callable[[int, int], None] = ...,
    ) -> tuple[Vector, list[Vector]]: ...


@dataclass(frozen=True, slots=True)
class DocumentReport:
    """What became of one file. A file that could not be read is ``skipped``, with the reason as a warning."""

    name: str
    status: Status
    encoding: str = ""
    articles: int = 0
    sections: int = 0
    chunks: int = 0
    embedded: int = 0  # chunks whose vectors were computed, not taken over
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0  # its own reading and splitting, and its share of the embedding

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "status": self.status,
            "encoding": self.encoding,
            "articles": self.articles,
            "sections": self.sections,
            "chunks": self.chunks,
            "embedded": self.embedded,
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of all files, in the order they were read."""

    kb: Path
    documents: tuple[DocumentReport, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return {
            "kb": str(self.kb),
            "documents": [document.as_json() for document in self.documents],
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Preview:
    """What an ingest would make of a file."""

    document: Document
    outline: Outline
    status: Status


@dataclass(slots=True)
class _Job:
    """One document on its way into the knowledge base."""

    document: Document
    status: Status
    seconds: float
    outline: Outline = field(default_factory=lambda: Outline(()))
    chunks: list[Chunk] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    indexed: list[IndexedChunk] = field(default_factory=list)
    embedded: int = 0


def ingest(
    paths: Sequence[Path],
    settings: Settings,
    encoder: PassageEncoder | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Add or update files and folders; unchanged files are left alone.

    All is committed at once: whatever interrupts it leaves the former state. A given file that cannot be read
    is an error; one found in a folder is reported and passed over. Files gone from a folder stay in the
    knowledge base until :func:`remove`.

    Raises PathError, FormatError, LockedError, ModelMismatchError, DamagedError or ModelError, before
    anything is written.
    """
    began = time.perf_counter()
    tell: Progress = progress or (lambda step, done, total: None)
    jobs, skipped = _read(paths, settings.kb, tell)
    encoder = encoder or sentence_encoder(settings)
    with Store.open(settings.kb, writable=True, create=True) as store:
        store.require_model(encoder.identity, encoder.dimension)
        _compare(jobs, store)
        changed = [job for job in jobs if job.status != "unchanged"]
        _split(changed, tell)
        _embed(changed, encoder, _known(changed, store), tell)
        if changed:
            _store(changed, store, encoder, tell)
            vectors.build(store)
        else:
            vectors.load_or_build(store)
        stored = {document.name: document for document in store.documents()}
        reports = [_report(job, stored[job.document.name], store) for job in jobs]
    return IngestReport(settings.kb, (*reports, *skipped), time.perf_counter() - began)


def preview(data: bytes, path: Path, store: Store) -> Preview:
    """What :func:`ingest` would make of the file at ``path``, held it ``data``; nothing is embedded or written.

    Raises FormatError.
    """
    name = name_of(path, _names_in(store))
    job = _Job(as_document(data, path, name, path.name), "added", 0.0)
    _compare([job], store)
    return Preview(job.document, outline(job.document), job.status)


def remove(names: Sequence[str], settings: Settings) -> list[str]:
    """Remove documents by name, all or none; the names removed. Raises PathError for an unknown name."""
    with Store.open(settings.kb, writable=True) as store:
        known = {document.name for document in store.documents()}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise PathError(
                f"知识库里没有文档 (no such document): {'、'.join(unknown)}",
                "用 youju documents 查看文档名 (list the names)",
            )
        wanted = list(dict.fromkeys(names))
        with store.transaction():
            for name in wanted:
                store.delete(name)
        vectors.build(store)
    return wanted


def sentence_encoder(settings: Settings) -> SentenceEncoder:
    """The encoder that the settings name."""
    from embeddings.encoder import SentenceEncoder  # not needed where an encoder is given

    return SentenceEncoder(
        settings.model,
        home=settings.model_home,
        query_prompt=settings.query_prompt,
        passage_prompt=settings.passage_prompt,
        threads=settings.threads,
        batch_size=settings.batch_size,
    )


def _read(paths: Sequence[Path], kb: Path, tell: Progress) -> tuple[list[_Job], list[DocumentReport]]:
    """The files' documents, and a report for each file that was passed over."""
    given = {path.absolute() for path in paths if path.is_file()}
    files = find_files(paths, _names(kb))
    jobs: list[_Job] = []
    skipped: list[DocumentReport] = []
    failure: FormatError | PathError | None = None
    for done, (path, name) in enumerate(files):
        tell("read", done, len(files))
        began = time.perf_counter()
        try:
            document = read_document(path, name)
        except (FormatError, PathError) as error:
            if path.absolute() in given:
                raise
            failure = error
            skipped.append(DocumentReport(name, "skipped", warnings=(str(error),)))
            continue
        jobs.append(_Job(document, "added", time.perf_counter() - began))
    tell("read", len(files), len(files))
    if failure and not jobs:
        raise PathError(f"没有可读的文件 (nothing to read), 例如 {failure.problem}", failure.remedy)
    return jobs, skipped


def _names(kb: Path) -> dict[str, str]:
    """Names in use in the knowledge base in ``kb``, if there is one."""
    try:
        with Store.open(kb) as store:
            return _names_in(store)
    except EmptyError:
        return {}


def _names_in(store: Store) -> dict[str, str]:
    """Names in use, each with its file's path.

    A name whose file is gone is free for the file that took its place.
    """
    return {d.name: d.path for d in store.documents() if Path(d.path).exists()}


def _compare(jobs: list[_Job], store: Store) -> None:
    """Find which documents the knowledge base holds already, in this or another version.

    A copy, with the same file name and content, is the same document.
    """
    stored = {document.name: document for document in store.documents()}
    originals = {(Path(old.name).name, old.sha256): old.name for old in stored.values()}
    taken = {job.document.name for job in jobs}
    for job in jobs:
        document = job.document
        original = originals.get((Path(document.name).name, document.sha256))
        if document.name not in stored and original and original not in taken:
            taken.add(original)
            job.document = replace(document, name=original)
        old = stored.get(job.document.name)
        if old:
            same = (old.sha256, old.pipeline) == (document.sha256, PIPELINE)
            job.status = "unchanged" if same else "updated"


def _split(jobs: list[_Job], tell: Progress) -> None:
    for done, job in enumerate(jobs):
        tell("split", done, len(jobs))
        began = time.perf_counter()
        job.outline = outline(job.document)
        job.chunks = [chunk for article in job.outline.articles for chunk in chunks(job.document, article)]
        job.inputs = [embedded_text(job.document, chunk) for chunk in job.chunks]
        job.seconds += time.perf_counter() - began
    tell("split", len(jobs), len(jobs))


def embedded_text(document: Document, chunk: Chunk) -> Input:
    """A chunk as the encoder sees it, without stray spaces, and the spans of its sentences in that."""
    text = ""
    spans: list[tuple[int, int]] = []
    for sentence in chunk.sentences:
        if text and text[-1].isascii():
            text += " "
        start = len(text)
        text += natural(document.text[sentence.start : sentence.end])
        spans.append((start, len(text)))
    return text, tuple(spans)


def _known(jobs: Iterable[_Job], store: Store) -> dict[Input, Embedding]:
    """Embeddings that need not be computed again: those of the documents' former versions."""
    current = {document.name for document in store.documents() if document.pipeline == PIPELINE}
    known: dict[Input, Embedding] = {}
    for job in jobs:
        old = store.document(job.document.name) if job.document.name in current else None
        if old:
            for indexed in store.indexed_chunks(old.name):
                known[embedded_text(old, indexed.chunk)] = indexed.vector, indexed.sentence_vectors
    return known


def _embed(
    jobs: list[_Job], encoder: PassageEncoder, known: Mapping[Input, Embedding], tell: Progress
) -> None:
    """Give every chunk its vectors and tokens, computing only the vectors not ``known``."""
    began = time.perf_counter()
    new = list(dict.fromkeys(text for job in jobs for text in job.inputs if text not in known))
    computed: dict[Input, Embedding] = {}
    if new:
        tell("embed", 0, len(new))
        passages, sentences = encoder.encode_with_spans(
            [text for text, _ in new],
            [spans for _, spans in new],
            progress=lambda done, total: tell("embed", done, total),
        )
        computed = dict(zip(new, zip(passages, sentences, strict=True), strict=True))
    each = (time.perf_counter() - began) / max(1, len(new))
    for job in jobs:
        job.embedded = len({text for text in job.inputs if text in computed})
        job.seconds += each * job.embedded
        job.indexed = _indexed(job, {**known, **computed})


def _indexed(job: _Job, embeddings: Mapping[Input, Embedding]) -> list[IndexedChunk]:
    titles = {article.number: article.title for article in job.outline.articles}
    searchable = cache(lambda text: " ".join(tokens(text)))  # a section's chunks share their path
    indexed: list[IndexedChunk] = []
    for chunk, text in zip(job.chunks, job.inputs, strict=True):
        vector, sentence_vectors = embeddings[text]
        body = searchable(job.document.text[chunk.start : chunk.end])
        path = searchable(" ".join((titles[chunk.article], *chunk.section)))
        indexed.append(IndexedChunk(chunk, vector, sentence_vectors, body, path))
    return indexed


def _store(jobs: list[_Job], store: Store, encoder: PassageEncoder, tell: Progress) -> None:
    with store.transaction():
        store.set_model(encoder.identity, encoder.dimension)
        for done, job in enumerate(jobs):
            tell("store", done, len(jobs))
            store.put(job.document, job.outline, job.indexed, PIPELINE)
    tell("store", len(jobs), len(jobs))


def _report(job: _Job, stored: StoredDocument, store: Store) -> DocumentReport:
    """The document as it now stands in the knowledge base."""
    articles = store.articles(stored.name)
    return DocumentReport(
        name=stored.name,
        status=job.status,
        encoding=stored.encoding,
        articles=stored.articles,
        sections=sum(1 for article in articles for _ in article.article.walk()),
        chunks=stored.chunks,
        embedded=job.embedded,
        warnings=stored.warnings,
        seconds=job.seconds,
    )
