"""What a request asks, checked: text, earlier turns and citations, articles and places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool

from rag.records import Citation, Document, Question, Span, Turn
from rag.store import StoredArticle
from ui.errors import ApiError
from ui.service import Service

MAX_TURNS, MAX_TURN = 100, 20_000  # earlier messages, and characters of one


def _whole(text: str) -> str:
    """Refuses half a surrogate pair, which JSON can write and no text can hold."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("half a surrogate pair is no character")
    return text


Text = Annotated[str, AfterValidator(_whole)]
Number = Annotated[int, Field(ge=1, le=10**9)]


class TurnIn(BaseModel):
    """One earlier message of the conversation."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["user", "assistant"]
    content: Text = Field(max_length=MAX_TURN)


class PlaceIn(BaseModel):
    """A span of a document."""

    model_config = ConfigDict(extra="forbid")
    document: Text
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class CitedIn(PlaceIn):
    """An earlier citation of the conversation, by its number."""

    n: Number


_EXAMPLE = "护理员的入职奖励是多少？"


class AskIn(BaseModel):
    """A question, the earlier turns and citations, and the articles and places it is restricted to."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"question": _EXAMPLE}, {"question": _EXAMPLE, "stream": True}]},
    )
    question: Text
    history: list[TurnIn] = Field(default_factory=list, max_length=MAX_TURNS)
    articles: list[Number | tuple[Text, Number]] = Field(default_factory=list, max_length=1_000)
    within: list[PlaceIn] = Field(default_factory=list, max_length=1_000)
    cited: list[CitedIn] = Field(default_factory=list, max_length=500)
    stream: StrictBool = False


def document_named(service: Service, name: str) -> Document:
    """The document with its text. Raises ApiError 404 if there is none of that name."""
    document = service.store.document(name)
    if document is None:
        raise ApiError(404, "unknown_document", f"没有名为“{name}”的文件 (no such document)")
    return document


def checked_span(document: Document, start: int, end: int) -> Span:
    """A span that the document holds and that is not empty. Raises ApiError 422."""
    if not start < end <= len(document.text):
        raise ApiError(
            422,
            "bad_span",
            f"区间 [{start}, {end}) 不在文件内：应为 0 ≤ start < end ≤ {len(document.text)} (no such span)",
        )
    return Span(start, end)


def places(service: Service, wanted: Sequence[PlaceIn]) -> list[tuple[Document, Span]]:
    """Each place with its document. Raises ApiError 404 for an unknown document, 422 for a span it does not hold."""
    documents = {
        name: document_named(service, name) for name in dict.fromkeys(place.document for place in wanted)
    }
    return [
        (documents[place.document], checked_span(documents[place.document], place.start, place.end))
        for place in wanted
    ]


def question_of(body: AskIn, service: Service, max_question: int) -> Question:
    """The question that a request asks. Raises ApiError where it names what there is not."""
    check_length(body.question, max_question)
    _check_articles(body.articles, service)
    return Question(
        body.question,
        tuple(Turn(turn.role, turn.content) for turn in body.history),
        tuple(body.articles),
        _citations(body.cited, service),
        tuple((document.name, span) for document, span in places(service, body.within)),
    )


def _check_articles(wanted: Sequence[int | tuple[str, int]], service: Service) -> None:
    if not wanted:
        return
    known = {(document, number) for document, number, _ in service.store.article_places()}
    numbers = {number for _, number in known}
    for key in wanted:
        if key not in (numbers if isinstance(key, int) else known):
            raise ApiError(404, "unknown_article", f"没有这篇文章 (no such article): {key}")


def _citations(cited: Sequence[CitedIn], service: Service) -> tuple[Citation, ...]:
    """The conversation's earlier citations, made again from what the knowledge base holds."""
    numbers = [one.n for one in cited]
    if len(set(numbers)) < len(numbers):
        twice = next(n for n in numbers if numbers.count(n) > 1)
        raise ApiError(
            422, "bad_citations", f"引用编号 {twice} 出现了两次，请去掉一个 (a number given twice)"
        )
    spans = places(service, cited)
    articles = service.articles_at([(document.name, span.start) for document, span in spans])
    return tuple(
        _citation(n, document, span, stored)
        for n, (document, span), stored in zip(numbers, spans, articles, strict=True)
    )


def _citation(n: int, document: Document, span: Span, stored: StoredArticle | None) -> Citation:
    if stored is None or not stored.article.contains(span):
        raise ApiError(
            422,
            "bad_citations",
            f"引用 {n} 的区间 [{span.start}, {span.end}) 不在一篇文章内 (not inside an article)",
        )
    return Citation(
        span.start,
        span.end,
        n,
        document.name,
        document.sha256,
        stored.ref,
        tuple(section.label for section in stored.article.path_at(span.start)),
        document.text[span.start : span.end],
    )


def check_length(question: str, longest: int) -> None:
    """Raises ApiError for an empty question (422), or one of more than ``longest`` characters (413)."""
    if not question.strip():
        raise ApiError(422, "empty_question", "问题是空的，请写下要问的内容 (the question is empty)")
    if len(question) > longest:
        raise ApiError(
            413,
            "question_too_long",
            f"问题有 {len(question):,} 字，最多 {longest:,} 字，请缩短 (the question is too long)",
        )
