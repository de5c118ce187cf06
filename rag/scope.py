"""The articles and sections that a question is restricted to -> the chunks that may answer it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.errors import QuestionError
from rag.records import Question, Span
from rag.store import Store

Place = tuple[str, Span]  # of a document, by its name


@dataclass(frozen=True, slots=True)
class Scope:
    """The union of some places, and the keys of the chunks inside it."""

    places: tuple[Place, ...]
    chunks: frozenset[int]

    def holds(self, document: str, span: Span) -> bool:
        """Whether one of the places contains the span."""
        return any(name == document and place.contains(span) for name, place in self.places)


def scope_of(question: Question, store: Store) -> Scope | None:
    """What ``question.articles`` and ``question.within`` name; None where they name nothing: everything.

    Raises QuestionError for an article or a document that is not there, and for a span that is empty, not in its
    document or without a chunk.
    """
    if not question.articles and not question.within:
        return None
    with store.snapshot():
        sections = tuple(_checked(question.within, store))
        places = (*sections, *_whole(question.articles, store))
        found = store.chunks_inside(places)
    for (document, span), chunks in zip(sections, found, strict=False):  # the sections come first
        if not chunks:
            raise QuestionError(
                f"“{document}”的 [{span.start}, {span.end}) 内没有完整的片段 (no passage inside this span)",
                "选整个章节, 起止见 youju articles --json (choose whole sections)",
            )
    return Scope(places, frozenset().union(*found))


def _whole(wanted: Sequence[int | tuple[str, int]], store: Store) -> Iterator[Place]:
    """The places of the articles wanted."""
    known: dict[int | tuple[str, int], list[Place]] = {}
    for document, number, span in store.article_places() if wanted else ():
        known.setdefault(number, []).append((document, span))
        known.setdefault((document, number), []).append((document, span))
    for key in wanted:
        if key not in known:
            raise QuestionError(
                f"没有这篇文章 (no such article): {key}", "用 youju articles 查看编号 (list the numbers)"
            )
        yield from known[key]


def _checked(wanted: Sequence[Place], store: Store) -> Iterator[Place]:
    """The places wanted, each inside its document."""
    lengths = {name: store.characters(name) for name in dict.fromkeys(name for name, _ in wanted)}
    for document, span in wanted:
        length = lengths[document]
        if length is None:
            raise QuestionError(
                f"没有名为“{document}”的文件 (no such document)",
                "用 youju documents 查看文件名 (list the names)",
            )
        if not 0 <= span.start < span.end <= length:
            raise QuestionError(
                f"区间 [{span.start}, {span.end}) 不在“{document}”内 (no such span)",
                f"应为 0 ≤ start < end ≤ {length} (choose another)",
            )
        yield document, span
