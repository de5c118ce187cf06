"""The frozen records that pass between the steps.

Every place in a text is a half-open span ``(start, end)`` counted in Unicode code points of the decoded
source document. The source text is never changed: whatever is shown or cited is ``text[start:end]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Level = int | Literal["item"]
Support = Literal["quoted", "supported", "unsupported"]
Role = Literal["user", "assistant"]
Mode = Literal["dense", "lexical", "hybrid"]  # of retrieval


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of code points in a document's text."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def contains(self, other: Span) -> bool:
        return self.start <= other.start and other.end <= self.end

    def overlap(self, other: Span) -> int:
        """Number of code points that both spans hold."""
        return max(0, min(self.end, other.end) - max(self.start, other.start))


@dataclass(frozen=True, slots=True)
class Document:
    """A source file, decoded once. ``name`` is unique in a knowledge base and is what citations show."""

    name: str
    sha256: str  # of the file's bytes
    text: str
    encoding: str
    path: str = ""  # absolute path it was read from
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section(Span):
    """A section of an article, from its marker to the start of what follows it.

    ``level`` is given by the marker's form (一、=1, (一)=2, 1.=3, (1)=4), ``"item"`` for enumerations in
    running text (一是, 第一, …). ``heading`` is the heading's text without marker; it may be empty.
    ``body`` is where the text after the heading begins; ``start`` where marker and heading are part of a
    running sentence.
    """

    level: Level
    marker: str
    heading: str
    sections: tuple[Section, ...] = ()
    body: int = 0

    @property
    def label(self) -> str:
        """Marker and heading as read, e.g. ``(二)健全机制``."""
        return self.marker + (" " if self.marker.startswith("#") else "") + self.heading

    def walk(self, above: tuple[Section, ...] = ()) -> Iterator[tuple[Section, ...]]:
        """This section and all below it in reading order, each as its path from the top section."""
        path = (*above, self)
        yield path
        for child in self.sections:
            yield from child.walk(path)


@dataclass(frozen=True, slots=True)
class Article(Span):
    """One article of a document; ``number`` counts from 1 within its document."""

    number: int
    title: str
    category: str | None = None
    sections: tuple[Section, ...] = ()
    body: int = 0  # where the text after the title begins

    def walk(self) -> Iterator[tuple[Section, ...]]:
        """Every section in reading order, as its path from the top."""
        for section in self.sections:
            yield from section.walk()

    def path_at(self, position: int) -> tuple[Section, ...]:
        """The innermost path of sections that holds ``position``."""
        path: list[Section] = []
        level = self.sections
        while True:
            inner = next((s for s in level if s.start <= position < s.end), None)
            if inner is None:
                return tuple(path)
            path.append(inner)
            level = inner.sections


@dataclass(frozen=True, slots=True)
class Outline:
    """A document's articles in reading order, and what the reader should know about the split."""

    articles: tuple[Article, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk(Span):
    """The unit of retrieval: whole sentences of one section."""

    article: int  # the article's number
    section: tuple[str, ...]  # labels of its path of sections
    sentences: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class ArticleRef:
    """What a citation shows of its article. ``id`` is the article's key in the knowledge base."""

    number: int
    title: str
    category: str | None
    id: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"number": self.number, "title": self.title, "category": self.category}


@dataclass(frozen=True, slots=True)
class Passage(Span):
    """A retrieved chunk with its place and score; ``sentences`` are its spans in the document."""

    document: str
    sha256: str
    article: ArticleRef
    section: tuple[str, ...]
    text: str
    score: float
    sentences: tuple[Span, ...] = ()
    similarities: tuple[float, ...] = ()  # cosine of each sentence with the question
    chunk: int = 0  # key in the knowledge base
    page: int | None = None
    signals: dict[str, float] = field(default_factory=dict)  # what each retriever said of it, unscaled

    def as_json(self) -> dict[str, Any]:
        return {
            "document": self.document,
            "article": self.article.number,
            "title": self.article.title,
            "section": list(self.section),
            "start": self.start,
            "end": self.end,
            "score": round(self.score, 4),
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Citation(Span):
    """Evidence for a sentence: the exact characters ``quote == document.text[start:end]``."""

    n: int
    document: str
    sha256: str
    article: ArticleRef
    section: tuple[str, ...]
    quote: str
    page: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "document": self.document,
            "sha256": self.sha256,
            "article": self.article.as_json(),
            "section": list(self.section),
            "start": self.start,
            "end": self.end,
            "quote": self.quote,
            "page": self.page,
        }


@dataclass(frozen=True, slots=True)
class AnswerSentence:
    """One sentence of an answer and the numbers of the citations that support it."""

    text: str
    citations: tuple[int, ...]
    support: Support
    kind: Literal["text", "lead", "item"] = "text"  # how a view lays it out

    def as_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "citations": list(self.citations),
            "support": self.support,
            "kind": self.kind,
        }

    def rendered(self) -> str:
        """The sentence with its citation marks, as plain text."""
        return self.text + "".join(f"[{n}]" for n in self.citations)

    def gap(self, before: AnswerSentence | None) -> str:
        """What plain text puts between ``before`` and this sentence: list items stand each on a line of their own."""
        if self.kind == "item":
            return "\n- " if before else "- "
        return "\n" if before and before.kind == "item" else ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a user asks: the text, the earlier turns, and the articles and places it is restricted to (none: all).

    ``articles`` holds numbers as ``youju articles`` shows them, or pairs ``(document, number)`` where
    several documents are in the knowledge base; ``within`` holds sections or other spans, each with its document. The
    question is searched in the union of both. ``cited`` are the conversation's citations so far: their numbers stay
    theirs, and new ones go on from them.
    """

    text: str
    history: tuple[Turn, ...] = ()
    articles: tuple[int | tuple[str, int], ...] = ()
    cited: tuple[Citation, ...] = ()
    within: tuple[tuple[str, Span], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer is data; rendering is the view's affair."""

    sentences: tuple[AnswerSentence, ...]
    citations: tuple[Citation, ...]
    retrieved: tuple[Passage, ...]
    refused: bool
    engine: str
    timings_ms: dict[str, float]
    confidence: float | None = None  # in [0, 1]; refused below the threshold
    question: str = ""  # as understood, when it differs from what was asked
    fallback: str = ""  # why a language model's answer was not taken, where one was asked

    @property
    def text(self) -> str:
        """Sentences with their citation marks; list items each on a line of their own."""
        pairs = zip((None, *self.sentences), self.sentences, strict=False)
        return "".join(sentence.gap(before) + sentence.rendered() for before, sentence in pairs).strip()

    def as_json(self) -> dict[str, Any]:
        return {
            "answer": self.text,
            "refused": self.refused,
            "engine": self.engine,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "sentences": [s.as_json() for s in self.sentences],
            "citations": [c.as_json() for c in self.citations],
            "retrieved": [p.as_json() for p in self.retrieved],
            "timings_ms": {k: round(v, 2) for k, v in self.timings_ms.items()},
            **({"asked": self.question} if self.question else {}),
            **({"fallback": self.fallback} if self.fallback else {}),
        }


# The chain's events, in the order they come: Retrieved, then for each sentence its new citations and the
# sentence itself, then Done with the whole answer. Discarded may come once, where a language model's answer
# is given up for the extract.


@dataclass(frozen=True, slots=True)
class Retrieved:
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Cited:
    citation: Citation


@dataclass(frozen=True, slots=True)
class Said:
    sentence: AnswerSentence


@dataclass(frozen=True, slots=True)
class Discarded:
    """What was said so far does not stand; what follows takes its place."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    answer: Answer


Event = Retrieved | Cited | Said | Discarded | Done
