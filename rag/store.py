"""The knowledge base: one SQLite file, the only source of truth.

It holds the documents' texts, their articles, sections, chunks and sentences as spans, the vectors as
little-endian float32 blobs and the search tokens in a full-text table. One process writes at a time; any
number read meanwhile, each seeing the last committed state. Everything else, such as the FAISS file, is
derived from here.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from rag.errors import DamagedError, EmptyError, KnowledgeBaseError, LockedError, ModelMismatchError
from rag.records import Article, ArticleRef, Chunk, Document, Outline, Passage, Section, Span

DATABASE = "youju.sqlite"
LOCK = "youju.lock"
SCHEMA_VERSION = 1

Vector = NDArray[np.float32]
Ids = NDArray[np.int64]

_BUSY_SECONDS = 10.0
_UNWRITABLE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
)
_CACHED_TEXTS = 256
_INGEST_FIRST = "先运行 youju ingest 文件或文件夹 (run youju ingest first)"

# Keys of documents, articles and chunks are never used again (AUTOINCREMENT): a key held by a reader over a
# commit finds its row or none, never another's.
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    encoding TEXT NOT NULL,
    text TEXT NOT NULL,
    characters INTEGER NOT NULL,
    warnings TEXT NOT NULL,  -- JSON
    pages TEXT,              -- JSON; NULL: the format has no pages
    pipeline TEXT NOT NULL   -- version of the steps that made the rows below it
);
CREATE TABLE articles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    number INTEGER NOT NULL,
    title TEXT NOT NULL,
    category TEXT,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    body INTEGER NOT NULL,
    UNIQUE (document, number)
);
CREATE TABLE sections (
    id INTEGER PRIMARY KEY,
    article INTEGER NOT NULL REFERENCES articles ON DELETE CASCADE,
    parent INTEGER REFERENCES sections ON DELETE CASCADE,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    level NOT NULL,          -- 1, 2, … or 'item'
    marker TEXT NOT NULL,
    heading TEXT NOT NULL,
    body INTEGER NOT NULL
);
CREATE INDEX sections_article ON sections (article);
CREATE INDEX sections_parent ON sections (parent);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    article INTEGER NOT NULL REFERENCES articles ON DELETE CASCADE,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    section TEXT NOT NULL,   -- JSON: labels of its path of sections
    vector BLOB NOT NULL
);
CREATE INDEX chunks_article ON chunks (article);
CREATE TABLE sentences (
    id INTEGER PRIMARY KEY,
    chunk INTEGER NOT NULL REFERENCES chunks ON DELETE CASCADE,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    vector BLOB NOT NULL
);
CREATE INDEX sentences_chunk ON sentences (chunk);
CREATE VIRTUAL TABLE chunk_tokens USING fts5(
    body, path, tokenize = "unicode61 remove_diacritics 0 tokenchars '.'"
);
CREATE VIRTUAL TABLE chunk_terms USING fts5vocab(chunk_tokens, row);
CREATE TRIGGER chunk_deleted AFTER DELETE ON chunks BEGIN
    DELETE FROM chunk_tokens WHERE rowid = old.id;
END;
"""


@dataclass(frozen=True, slots=True, eq=False)
class IndexedChunk:
    """A chunk with all that is searched: its vector ``(d,)``, its sentences' ``(k, d)``, and its tokens."""

    chunk: Chunk
    vector: Vector
    sentence_vectors: Vector
    body: str = ""  # tokens of the chunk's text, joined by spaces
    path: str = ""  # tokens of the article's title and the section path, joined by spaces


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as listed: all but its text."""

    name: str
    path: str
    sha256: str
    encoding: str
    characters: int
    warnings: tuple[str, ...]
    pipeline: str
    articles: int
    chunks: int

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": self.path,
            "sha256": self.sha256,
            "encoding": self.encoding,
            "characters": self.characters,
            "articles": self.articles,
            "chunks": self.chunks,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class StoredArticle:
    """An article with its key and its document."""

    id: int
    document: str
    sha256: str
    article: Article

    @property
    def ref(self) -> ArticleRef:
        return ArticleRef(self.article.number, self.article.title, self.article.category, self.id)

    def as_json(self) -> dict[str, Any]:
        """The shape that ``youju articles --json`` prints."""
        return {
            "document": self.document,
            "sha256": self.sha256,
            "number": self.article.number,
            "category": self.article.category,
            "title": self.article.title,
            "start": self.article.start,
            "end": self.article.end,
            "sections": [_section_json(section) for section in self.article.sections],
        }


def _section_json(section: Section) -> dict[str, Any]:
    return {
        "level": section.level,
        "marker": section.marker,
        "heading": section.heading,
        "start": section.start,
        "end": section.end,
        "sections": [_section_json(below) for below in section.sections],
    }


class Store:
    """A knowledge base, open for reading or for writing. Safe to share between threads."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: FileLock | None) -> None:
        self.folder = folder
        self._connection = connection
        self._file_lock = lock
        self._thread_lock = threading.RLock()
        self._texts: dict[int, str] = {}  # by document key, which always means the same text

    @classmethod
    def open(cls, folder: Path, writable: bool = False, create: bool = False) -> Store:
        """Open the knowledge base in ``folder``; ``create`` makes one where there is none.

        Raises EmptyError if there is none, LockedError if another process writes to it, DamagedError
        if its database cannot be read.
        """
        database = folder / DATABASE
        if not create and not database.is_file():
            raise EmptyError(f"知识库不存在 (no knowledge base): {folder}", _INGEST_FIRST)
        lock = _acquire(folder) if writable else None
        try:
            with _translated(folder):
                connection = _connect(database, writable)
            store = cls(folder, connection, lock)
            try:
                store._check_schema(create and writable)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            if lock:
                lock.release()
            raise
        return store

    def close(self) -> None:
        """Close the database and let the next writer in."""
        with self._thread_lock:
            self._connection.close()
            if self._file_lock:
                self._file_lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- consistency ---------------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads inside see one committed state."""
        with self._thread_lock:
            if self._connection.in_transaction:
                yield
                return
            self._run("BEGIN")
            try:
                yield
            finally:
                self._connection.rollback()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all inside as one new generation, or, on an error, nothing."""
        with self._thread_lock:
            self._run("BEGIN IMMEDIATE")
            try:
                yield
                self._set_meta("generation", str(self.generation + 1))
                with _translated(self.folder):
                    self._connection.commit()
            except BaseException:
                self._connection.rollback()
                raise

    @property
    def generation(self) -> int:
        """Counts the committed writes; whoever caches something compares it."""
        return int(self._meta("generation") or 0)

    @property
    def identity(self) -> str:
        """Random name given when the knowledge base was made; a new one in the same folder has another."""
        return self._meta("identity") or ""

    @property
    def model(self) -> tuple[str, int] | None:
        """Identity and dimension of the embedding model; ``None`` before the first document."""
        identity, dimension = self._meta("model"), self._meta("dimension")
        return (identity, int(dimension)) if identity and dimension else None

    def count(self, table: Literal["documents", "articles", "chunks", "sentences"]) -> int:
        """Number of rows."""
        return int(self._value(f"SELECT count(*) FROM {table}"))

    def require_model(self, identity: str, dimension: int) -> None:
        """Raise ModelMismatchError, naming both models, unless the vectors here are of this one."""
        stored = self.model
        if stored and stored != (identity, dimension) and self.count("documents"):
            raise ModelMismatchError(
                f"知识库 {self.folder} 的向量模型是 {stored[0]} ({stored[1]} 维), 当前设置是 {identity} "
                f"({dimension} 维) (made with another embedding model)",
                "改用原来的模型, 或用 --kb 指定新文件夹重新 ingest (set the former model, or use a new --kb)",
            )

    def require_documents(self) -> None:
        """Raise EmptyError if there is no document to ask about."""
        if not self.count("documents"):
            raise EmptyError(f"知识库是空的 (knowledge base is empty): {self.folder}", _INGEST_FIRST)

    # -- writing, inside a transaction ---------------------------------------------------------------------

    def set_model(self, identity: str, dimension: int) -> None:
        """Record the embedding model of the vectors to come; the same checks as ``require_model``."""
        self.require_model(identity, dimension)
        self._set_meta("model", identity)
        self._set_meta("dimension", str(dimension))

    def put(
        self, document: Document, outline: Outline, chunks: Sequence[IndexedChunk], pipeline: str = ""
    ) -> None:
        """Add a document with all that was made of it, in place of any of the same name."""
        self._require_shapes(chunks)
        self.delete(document.name)
        warnings = json.dumps([*document.warnings, *outline.warnings], ensure_ascii=False)
        key = self._insert(
            "INSERT INTO documents (name, path, sha256, encoding, text, characters, warnings, pipeline)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            document.name,
            document.path,
            document.sha256,
            document.encoding,
            document.text,
            len(document.text),
            warnings,
            pipeline,
        )
        articles = {article.number: self._put_article(key, article) for article in outline.articles}
        for indexed in chunks:
            self._put_chunk(articles[indexed.chunk.article], indexed)

    def delete(self, name: str) -> bool:
        """Remove a document with all that was made of it; whether there was one."""
        return self._run("DELETE FROM documents WHERE name = ?", name).rowcount > 0

    def _require_shapes(self, chunks: Sequence[IndexedChunk]) -> None:
        if self.model is None:
            raise ValueError("set_model comes before put")
        dimension = self.model[1]
        for indexed in chunks:
            shapes = indexed.vector.shape, indexed.sentence_vectors.shape
            if shapes != ((dimension,), (len(indexed.chunk.sentences), dimension)):
                raise ValueError(f"vectors of shapes {shapes} for {indexed.chunk}, {dimension} dimensions")

    def _put_article(self, document: int, article: Article) -> int:
        key = self._insert(
            'INSERT INTO articles (document, number, title, category, start, "end", body)'
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            document,
            article.number,
            article.title,
            article.category,
            article.start,
            article.end,
            article.body,
        )
        for section in article.sections:
            self._put_section(key, None, section)
        return key

    def _put_section(self, article: int, parent: int | None, section: Section) -> None:
        key = self._insert(
            'INSERT INTO sections (article, parent, start, "end", level, marker, heading, body)'
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            article,
            parent,
            section.start,
            section.end,
            section.level,
            section.marker,
            section.heading,
            section.body,
        )
        for below in section.sections:
            self._put_section(article, key, below)

    def _put_chunk(self, article: int, indexed: IndexedChunk) -> None:
        chunk = indexed.chunk
        key = self._insert(
            'INSERT INTO chunks (article, start, "end", section, vector) VALUES (?, ?, ?, ?, ?)',
            article,
            chunk.start,
            chunk.end,
            json.dumps(chunk.section, ensure_ascii=False),
            _blob(indexed.vector),
        )
        for span, vector in zip(chunk.sentences, indexed.sentence_vectors, strict=True):
            self._run(
                'INSERT INTO sentences (chunk, start, "end", vector) VALUES (?, ?, ?, ?)',
                key,
                span.start,
                span.end,
                _blob(vector),
            )
        self._run(
            "INSERT INTO chunk_tokens (rowid, body, path) VALUES (?, ?, ?)", key, indexed.body, indexed.path
        )

    # -- documents and articles ----------------------------------------------------------------------------

    def documents(self) -> list[StoredDocument]:
        """All documents, by name."""
        rows = self._rows(
            "SELECT d.name, d.path, d.sha256, d.encoding, d.characters, d.warnings, d.pipeline,"
            " count(DISTINCT a.id), count(c.id)"
            " FROM documents d LEFT JOIN articles a ON a.document = d.id"
            " LEFT JOIN chunks c ON c.article = a.id GROUP BY d.id ORDER BY d.name"
        )
        return [
            StoredDocument(name, path, sha256, encoding, characters, tuple(json.loads(warnings)), *counts)
            for name, path, sha256, encoding, characters, warnings, *counts in rows
        ]

    def document(self, name: str) -> Document | None:
        """The document of that name with its text."""
        rows = self._rows(
            "SELECT name, sha256, text, encoding, path, warnings FROM documents WHERE name = ?", name
        )
        if not rows:
            return None
        name, sha256, text, encoding, path, warnings = rows[0]
        return Document(name, sha256, text, encoding, path, tuple(json.loads(warnings)))

    def characters(self, document: str) -> int | None:
        """The length of a document's text; None if there is none of that name."""
        length: int | None = self._value("SELECT characters FROM documents WHERE name = ?", document)
        return length

    def articles(self, document: str | None = None) -> list[StoredArticle]:
        """All articles, or one document's, in reading order with their trees of sections."""
        return self._articles("? IS NULL OR d.name = ?", document, document)

    def article(self, key: int) -> StoredArticle | None:
        """The article with that key."""
        found = self._articles("a.id = ?", key)
        return found[0] if found else None

    def article_at(self, document: str, position: int) -> StoredArticle | None:
        """The article that holds a position of a document."""
        found = self._articles('d.name = ? AND a.start <= ? AND a."end" > ?', document, position, position)
        return found[0] if found else None

    def article_places(self) -> list[tuple[str, int, Span]]:
        """Document, number and span of all articles, in reading order."""
        rows = self._rows(
            'SELECT d.name, a.number, a.start, a."end" FROM articles a JOIN documents d ON d.id = a.document'
            " ORDER BY d.name, a.number"
        )
        return [(name, number, Span(start, end)) for name, number, start, end in rows]

    def _articles(self, where: str, *values: Any) -> list[StoredArticle]:
        source = f"FROM articles a JOIN documents d ON d.id = a.document WHERE {where}"
        with self.snapshot():
            articles = self._rows(
                'SELECT a.id, d.name, d.sha256, a.start, a."end", a.number, a.title, a.category, a.body'
                f" {source} ORDER BY d.name, a.number",
                *values,
            )
            sections = self._rows(
                'SELECT id, article, parent, start, "end", level, marker, heading, body FROM sections'
                f" WHERE article IN (SELECT a.id {source}) ORDER BY id",
                *values,
            )
        trees = _trees(sections)
        return [
            StoredArticle(
                id=key,
                document=name,
                sha256=sha256,
                article=Article(start, end, number, title, category, trees.get(key, ()), body),
            )
            for key, name, sha256, start, end, number, title, category, body in articles
        ]

    # -- chunks and sentences ------------------------------------------------------------------------------

    def chunks_inside(self, places: Sequence[tuple[str, Span]]) -> list[list[int]]:
        """For each place of a document, by its name, the keys of the chunks inside it, in reading order."""
        with self.snapshot():
            rows = self._rows(
                "SELECT p.value ->> 0, c.id FROM json_each(?) p"
                " CROSS JOIN chunks c ON c.article = p.value ->> 1"
                ' AND c.start >= p.value ->> 2 AND c."end" <= p.value ->> 3 ORDER BY 1, c.start',
                json.dumps(self._articles_touched(places)),
            )
        found: list[list[int]] = [[] for _ in places]
        for place, chunk in rows:
            found[place].append(chunk)
        return found

    def _articles_touched(self, places: Sequence[tuple[str, Span]]) -> list[tuple[int, int, int, int]]:
        """The articles that share characters with each place: its index, the article's key, its start and end."""
        rows = self._rows(
            'SELECT d.name, a.id, a.start, a."end" FROM articles a JOIN documents d ON d.id = a.document'
            " WHERE d.name IN (SELECT value FROM json_each(?)) ORDER BY a.start",
            json.dumps(sorted({name for name, _ in places}), ensure_ascii=False),
        )
        articles: dict[str, list[tuple[int, int, int]]] = {}
        for name, *article in rows:
            articles.setdefault(name, []).append(tuple(article))
        touched = []
        for index, (name, span) in enumerate(places):
            own = articles.get(name, [])
            first = bisect_right(own, span.start, key=itemgetter(2))
            last = bisect_left(own, span.end, key=itemgetter(1))
            touched += [(index, key, span.start, span.end) for key, _, _ in own[first:last]]
        return touched

    def article_of(self, chunks: Iterable[int]) -> dict[int, int]:
        """The key of each chunk's article."""
        return dict(
            self._rows(
                "SELECT id, article FROM chunks WHERE id IN (SELECT value FROM json_each(?))",
                _json_ids(chunks),
            )
        )

    def chunks(self, ids: Iterable[int]) -> dict[int, Chunk]:
        """The chunks with these keys; those deleted meanwhile are left out."""
        return {
            key: Chunk(p.start, p.end, p.article.number, p.section, p.sentences)
            for key, p in ((p.chunk, p) for p in self.passages(ids))
        }

    def passages(self, ids: Iterable[int]) -> list[Passage]:
        """The chunks with these keys as passages, in the order asked for, with a score of 0.

        Chunks deleted meanwhile are left out.
        """
        wanted = [int(key) for key in ids]
        with self.snapshot():
            rows = self._rows(
                'SELECT c.id, c.start, c."end", c.section, d.id, d.name, d.sha256, a.number, a.title,'
                " a.category, a.id FROM chunks c JOIN articles a ON a.id = c.article"
                " JOIN documents d ON d.id = a.document WHERE c.id IN (SELECT value FROM json_each(?))",
                _json_ids(wanted),
            )
            sentences = self._sentences(wanted)
            found = {
                key: Passage(
                    start=start,
                    end=end,
                    document=name,
                    sha256=sha256,
                    article=ArticleRef(*article),
                    section=tuple(json.loads(section)),
                    text=self._text(document)[start:end],
                    score=0.0,
                    sentences=sentences.get(key, ()),
                    chunk=key,
                )
                for key, start, end, section, document, name, sha256, *article in rows
            }
        return [found[key] for key in wanted if key in found]

    def chunks_at(self, document: str, span: Span) -> list[int]:
        """The keys of a document's chunks that share characters with ``span``, in reading order."""
        return [
            key
            for (key,) in self._rows(
                "SELECT c.id FROM chunks c JOIN articles a ON a.id = c.article"
                ' JOIN documents d ON d.id = a.document WHERE d.name = ? AND c.start < ? AND c."end" > ?'
                " ORDER BY c.start",
                document,
                span.end,
                span.start,
            )
        ]

    def indexed_chunks(self, name: str) -> list[IndexedChunk]:
        """A document's chunks with their vectors, in reading order, without their tokens."""
        with self.snapshot():
            rows = self._rows(
                "SELECT c.id, c.vector FROM chunks c JOIN articles a ON a.id = c.article"
                " JOIN documents d ON d.id = a.document WHERE d.name = ? ORDER BY c.id",
                name,
            )
            keys = [key for key, _ in rows]
            chunks = self.chunks(keys)
            _, owners, matrix = self.sentence_vectors(keys)
        bounds = np.searchsorted(owners, [*keys, keys[-1] + 1 if keys else 0])
        return [
            IndexedChunk(chunks[key], self._matrix([blob])[0], matrix[bounds[i] : bounds[i + 1]])
            for i, (key, blob) in enumerate(rows)
        ]

    def vectors(self) -> tuple[Ids, Vector]:
        """Keys ``(n,)`` of all chunks and their vectors ``(n, d)``, by key."""
        rows = self._rows("SELECT id, vector FROM chunks ORDER BY id")
        return _ids(row[0] for row in rows), self._matrix([row[1] for row in rows])

    def sentence_vectors(self, chunks: Iterable[int] | None = None) -> tuple[Ids, Ids, Vector]:
        """Keys ``(n,)`` of the sentences, keys of their chunks ``(n,)``, and vectors ``(n, d)``.

        Of all chunks, or of the given ones; by chunk, then in reading order.
        """
        rows = self._rows(
            "SELECT id, chunk, vector FROM sentences"
            " WHERE ?1 IS NULL OR chunk IN (SELECT value FROM json_each(?1)) ORDER BY chunk, id",
            None if chunks is None else _json_ids(chunks),
        )
        return _ids(r[0] for r in rows), _ids(r[1] for r in rows), self._matrix([r[2] for r in rows])

    # -- full text -----------------------------------------------------------------------------------------

    def search_text(
        self,
        match_query: str,
        weights: tuple[float, float] = (1.0, 1.0),
        limit: int = 100,
        chunks: Iterable[int] | None = None,
    ) -> list[tuple[int, float]]:
        """Chunks matching an FTS5 query as ``(key, BM25 score)``, best (highest) first.

        ``weights`` are those of the columns ``body`` and ``path``; ``chunks`` restricts the result, not
        the statistics behind the score.
        """
        rows = self._rows(
            "SELECT rowid, -bm25(chunk_tokens, ?2, ?3) AS score FROM chunk_tokens WHERE chunk_tokens MATCH ?1"
            " AND (?4 IS NULL OR rowid IN (SELECT value FROM json_each(?4)))"
            " ORDER BY score DESC, rowid LIMIT ?5",
            match_query,
            *weights,
            None if chunks is None else _json_ids(chunks),
            limit,
        )
        return [(int(key), float(score)) for key, score in rows]

    def document_frequency(self, tokens: Iterable[str]) -> dict[str, int]:
        """For each token, the number of chunks that hold it in text or path (0: none)."""
        wanted = {token: token.lower() for token in tokens}  # the full-text table folds case
        rows = self._rows(
            "SELECT term, doc FROM chunk_terms WHERE term IN (SELECT value FROM json_each(?))",
            json.dumps(sorted(set(wanted.values())), ensure_ascii=False),
        )
        counts = {term: int(count) for term, count in rows}
        return {token: counts.get(term, 0) for token, term in wanted.items()}

    def pair_frequency(self) -> dict[str, int]:
        """The number of chunks that hold each token of two characters."""
        rows = self._rows("SELECT term, doc FROM chunk_terms WHERE length(term) = 2")
        return {term: int(count) for term, count in rows}

    # -- inside --------------------------------------------------------------------------------------------

    def _check_schema(self, create: bool) -> None:
        """Make the tables of a new database, or refuse one that another version made."""
        tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master")}
        if not tables and not create:
            raise EmptyError(f"知识库是空的 (knowledge base is empty): {self.folder}", _INGEST_FIRST)
        if not tables:
            self._create_schema()
        found = self._meta("schema") if not tables or "meta" in tables else None
        if found != str(SCHEMA_VERSION):
            raise KnowledgeBaseError(
                f"知识库 {self.folder} 的格式版本是 {found}, 本程序是 {SCHEMA_VERSION} (another schema)",
                "用 --kb 指定新的文件夹重新 ingest (ingest again into a new --kb)",
            )

    def _create_schema(self) -> None:
        with self.transaction():
            for statement in _statements(_SCHEMA):
                self._run(statement)
            self._set_meta("schema", str(SCHEMA_VERSION))
            self._set_meta("identity", uuid.uuid4().hex)

    def _run(self, sql: str, *values: Any) -> sqlite3.Cursor:
        with self._thread_lock, _translated(self.folder):
            return self._connection.execute(sql, values)

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._thread_lock, _translated(self.folder):
            return self._connection.execute(sql, values).fetchall()

    def _value(self, sql: str, *values: Any) -> Any:
        rows = self._rows(sql, *values)
        return rows[0][0] if rows else None

    def _insert(self, sql: str, *values: Any) -> int:
        key = self._run(sql, *values).lastrowid
        assert key is not None
        return key

    def _meta(self, key: str) -> str | None:
        value: str | None = self._value("SELECT value FROM meta WHERE key = ?", key)
        return value

    def _set_meta(self, key: str, value: str) -> None:
        self._run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key, value)

    def _text(self, document: int) -> str:
        if document not in self._texts:
            if len(self._texts) >= _CACHED_TEXTS:
                self._texts.clear()
            self._texts[document] = self._value("SELECT text FROM documents WHERE id = ?", document)
        return self._texts[document]

    def _sentences(self, chunks: Iterable[int]) -> dict[int, tuple[Span, ...]]:
        rows = self._rows(
            'SELECT chunk, start, "end" FROM sentences'
            " WHERE chunk IN (SELECT value FROM json_each(?)) ORDER BY chunk, id",
            _json_ids(chunks),
        )
        spans: dict[int, list[Span]] = {}
        for chunk, start, end in rows:
            spans.setdefault(chunk, []).append(Span(start, end))
        return {chunk: tuple(found) for chunk, found in spans.items()}

    def _matrix(self, blobs: list[bytes]) -> Vector:
        dimension = self.model[1] if self.model else 0
        if any(len(blob) != 4 * dimension for blob in blobs):
            raise _damaged(self.folder, "向量长度不符")
        matrix: Vector = np.frombuffer(b"".join(blobs), dtype="<f4").astype(np.float32)
        return matrix.reshape(len(blobs), dimension)


def _acquire(folder: Path) -> FileLock:
    """The writer's lock; the operating system frees it when the process ends, however it ends."""
    lock = FileLock(folder / LOCK, timeout=0, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise LockedError(
            f"另一个进程正在写入知识库 (in use by another writer): {folder}",
            "等它结束后再试, 或用 --kb 指定别的文件夹 (wait for it, or use another --kb)",
        ) from None
    except (OSError, NotImplementedError) as error:
        raise _unwritable(folder, str(error)) from None
    return lock


def _connect(database: Path, writable: bool) -> sqlite3.Connection:
    address = f"file:{quote(str(database.absolute()))}?mode="
    if writable:
        connection = _connection(address + "rwc")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection
    try:
        connection = _connection(address + "ro")
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        # In a folder that cannot be written to, SQLite cannot set up its shared memory. Without a log beside
        # it the file is complete by itself.
        log = Path(f"{database}-wal")
        if log.exists() and log.stat().st_size:
            raise
        connection = _connection(address + "ro&immutable=1")
    return connection


def _connection(address: str) -> sqlite3.Connection:
    return sqlite3.connect(
        address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors about the file into ours; errors in a statement are left alone."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # without its extension
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _damaged(folder, str(error)) from None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LockedError(
                f"知识库 {folder} 正被占用 (busy: {error})", "稍后再试 (try again later)"
            ) from None
        if code in _UNWRITABLE:
            raise _unwritable(folder, str(error)) from None
        raise


def _damaged(folder: Path, why: str) -> DamagedError:
    return DamagedError(
        f"知识库已损坏 (damaged: {why}): {folder / DATABASE}",
        "删除这个文件夹后重新 ingest (delete the folder and ingest again)",
    )


def _unwritable(folder: Path, why: str) -> KnowledgeBaseError:
    return KnowledgeBaseError(
        f"知识库文件夹不可用 (cannot use the folder: {why}): {folder}",
        "检查权限和磁盘空间, 或用 --kb 指定别的文件夹 (check permissions and space, or use another --kb)",
    )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one; ``executescript`` would commit before it starts."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _blob(vector: Vector) -> bytes:
    return vector.astype("<f4").tobytes()


def _json_ids(ids: Iterable[int]) -> str:
    return json.dumps([int(key) for key in ids])


def _ids(keys: Iterable[int]) -> Ids:
    return np.fromiter(keys, dtype=np.int64)


def _trees(rows: list[tuple[Any, ...]]) -> dict[int, tuple[Section, ...]]:
    """Each article's tree of sections from rows in which a parent comes before its children."""
    children: dict[tuple[int, int | None], list[tuple[Any, ...]]] = {}
    for row in rows:
        children.setdefault((row[1], row[2]), []).append(row)

    def build(article: int, parent: int | None) -> tuple[Section, ...]:
        return tuple(
            Section(start, end, level, marker, heading, build(article, key), body)
            for key, _, _, start, end, level, marker, heading, body in children.get((article, parent), [])
        )

    return {article: build(article, None) for article in {row[1] for row in rows}}
