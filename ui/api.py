"""The HTTP API under ``/api``: questions, articles, exact places in the sources, retrieval alone.

Every answer is JSON, or server-sent events where asked for; every error is
``{"error": {"code", "message"}}`` with a fitting 4xx.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain as chained
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.errors import FormatError, InputError, LockedError, PathError, YoujuError
from rag.records import (
    Citation,
    Cited,
    Discarded,
    Document,
    Done,
    Event,
    Question,
    Retrieved,
    Said,
    Span,
    Turn,
)
from rag.store import StoredArticle
from ui.service import Metrics, Service

MAX_BODY = 1_000_000  # bytes
MAX_CONTEXT = 5_000  # characters on each side of a source span
MAX_TURNS, MAX_TURN = 100, 20_000  # earlier messages, and characters of one
_LOG = logging.getLogger(__name__)


def _whole(text: str) -> str:
    """Refuses half a surrogate pair, which JSON can write and no text can hold."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("half a surrogate pair is no character")
    return text


Text = Annotated[str, AfterValidator(_whole)]
Number = Annotated[int, Field(ge=1, le=10**9)]


class ApiError(Exception):
    """An error with its HTTP status and a code that programs can tell apart."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


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


class AskIn(BaseModel):
    """A question, the earlier turns and citations, and the articles and places it is restricted to."""

    model_config = ConfigDict(extra="forbid")
    question: Text
    history: list[TurnIn] = Field(default_factory=list, max_length=MAX_TURNS)
    articles: list[Number | tuple[Text, Number]] = Field(default_factory=list, max_length=1_000)
    within: list[PlaceIn] = Field(default_factory=list, max_length=1_000)
    cited: list[CitedIn] = Field(default_factory=list, max_length=500)
    stream: bool = False


def api(service: Service, max_question: int) -> FastAPI:
    """The application that is mounted at ``/api``."""
    app = FastAPI(title="有据 Youju", docs_url=None, redoc_url=None)
    app.add_middleware(LimitedBody)
    app.add_middleware(Counted, metrics=service.metrics)
    answer_errors(app)

    @app.post("/ask")
    def ask(body: AskIn) -> Response:
        """An answer, or with ``stream`` the events of its making."""
        question = _question(body, service, max_question)
        if not body.stream:
            return JSONResponse(service.ask(question).as_json())
        events = service.stream(question)
        first = next(events)  # a question that cannot be used fails here, with a status of its own
        return event_stream(server_sent(chained([first], events)))

    @app.get("/articles")
    def articles() -> Response:
        """All articles with their trees of sections, in reading order."""
        return JSONResponse([{"id": a.id, **a.as_json()} for a in service.store.articles()])

    @app.get("/articles/{key}")
    def article(key: Annotated[int, Path(ge=0, lt=2**63)]) -> Response:
        """One article with its text."""
        found = service.store.article(key)
        if found is None:
            raise ApiError(404, "unknown_article", f"没有编号为 {key} 的文章 (no article with this id)")
        text = document_named(service, found.document).text[found.article.start : found.article.end]
        return JSONResponse({"id": found.id, **found.as_json(), "text": text})

    @app.get("/source/{document:path}")
    def source(
        document: str,
        start: Annotated[int, Query(ge=0)],
        end: Annotated[int, Query(ge=0)],
        context: Annotated[int, Query(ge=0, le=MAX_CONTEXT)] = 200,
    ) -> Response:
        """The exact characters ``[start, end)`` of a document, their place, and those around them."""
        found = document_named(service, document)
        return JSONResponse(_place(service, found, checked_span(found, start, end), context))

    @app.get("/search")
    def search(q: str, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> Response:
        """The passages nearest to a question."""
        check_length(q, max_question)
        return JSONResponse({"passages": [p.as_json() for p in service.search(q, limit)]})

    return app


def operation(service: Service) -> APIRouter:
    """What an operator's tools ask: ``/healthz``, ``/readyz``, ``/metrics``."""
    router = APIRouter()

    @router.get("/healthz")
    def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @router.get("/readyz")
    def readyz() -> Response:
        try:
            documents = service.store.documents()
        except YoujuError as error:
            return JSONResponse({"status": "unavailable", "reason": error.problem}, status_code=503)
        return JSONResponse(
            {
                "status": "ready",
                "documents": len(documents),
                "articles": sum(document.articles for document in documents),
            }
        )

    @router.get("/metrics")
    def metrics() -> Response:
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return router


# --- Checks and shapes -------------------------------------------------------------------------------


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


def _question(body: AskIn, service: Service, max_question: int) -> Question:
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


def _place(service: Service, document: Document, span: Span, context: int) -> dict[str, Any]:
    stored = service.article_at(document.name, span.start)
    section = stored.article.path_at(span.start) if stored else ()
    return {
        "document": document.name,
        "sha256": document.sha256,
        "article": {"id": stored.id, **stored.ref.as_json()} if stored else None,
        "section": [part.label for part in section],
        "start": span.start,
        "end": span.end,
        "before": document.text[max(0, span.start - context) : span.start],
        "text": document.text[span.start : span.end],
        "after": document.text[span.end : span.end + context],
    }


# --- Server-sent events ------------------------------------------------------------------------------


def server_sent(events: Iterator[Event]) -> Iterator[str]:
    """The chain's events as server-sent events; what fails on the way is the last one, ``error``."""
    number = 0
    try:
        for number, event in enumerate(events, 1):
            yield sse(number, *_named(event))
    except Exception as error:  # the status is sent already: the stream itself says it
        _, content = described(error)
        yield sse(number + 1, "error", content)


def _named(event: Event) -> tuple[str, dict[str, Any]]:
    match event:
        case Retrieved(passages):
            return "retrieved", {"retrieved": [p.as_json() for p in passages]}
        case Cited(citation):
            return "citation", citation.as_json()
        case Said(sentence):
            return "sentence", sentence.as_json()
        case Discarded(reason):
            return "discarded", {"reason": reason}
        case Done(answer):
            return "done", answer.as_json()


def event_stream(messages: Iterator[str]) -> Response:
    """A response of server-sent events, which no one on the way may keep or hold back."""
    return StreamingResponse(
        messages,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def sse(number: int, name: str, data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


# --- Errors ------------------------------------------------------------------------------------------


def described(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body for an error; what nobody foresaw is logged and not shown."""
    match error:
        case ApiError():
            status, code, message = error.status, error.code, error.message
        case RequestValidationError():
            first = error.errors()[0]
            status, code = (400, "bad_json") if first["type"] == "json_invalid" else (422, "invalid_request")
            place = ".".join(str(part) for part in first["loc"])
            message = f"请求不合要求 (invalid request): {place}: {first['msg']}"
        case HTTPException():
            status, message = error.status_code, str(error.detail)
            code = _CODES.get(status, "http")
        case FormatError() | PathError():
            status, code, message = 422, "unusable_file", str(error)
        case LockedError():
            status, code, message = 409, "busy", str(error)
        case InputError():
            status, code, message = 422, "unusable_question", str(error)
        case YoujuError():
            status, code, message = 503, "unavailable", str(error)
        case _:
            _LOG.error("unforeseen", exc_info=error)
            status, code = 500, "internal"
            message = "服务内部出错，已记入日志，请再试一次 (internal error, see the log)"
    readable = message.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be sent
    return status, {"error": {"code": code, "message": readable}}


_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}

Told = Callable[[Exception], tuple[int, dict[str, Any]]]  # status and body for an error


def answer_errors(app: FastAPI, told: Told = described) -> None:
    """Let every error of ``app`` be answered as JSON, in the shape that ``told`` gives it."""

    def answer(request: Request, error: Exception) -> Response:
        status, content = told(error)
        headers = error.headers if isinstance(error, HTTPException) else None
        return JSONResponse(content, status_code=status, headers=headers)

    for kind in (ApiError, RequestValidationError, HTTPException, YoujuError, Exception):
        app.add_exception_handler(kind, answer)


# --- Middleware --------------------------------------------------------------------------------------


class LimitedBody:
    """Refuses a request body of more than ``limit`` bytes, announced or not; ``told`` shapes the error."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY, told: Told = described) -> None:
        self.app, self.limit, self.told = app, limit, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdigit() and int(announced) > self.limit:
            status, content = self.told(_too_large(self.limit))
            await JSONResponse(content, status_code=status)(scope, receive, send)
            return
        await self.app(scope, limited(receive, self.limit, _too_large(self.limit)), send)


def limited_route(limit: int) -> type[APIRoute]:
    """Routes that take a body of ``limit`` bytes at most, beside others of their application that have another limit."""

    class LimitedRoute(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            await LimitedBody(super().handle, limit)(scope, receive, send)

    return LimitedRoute


def limited(receive: Receive, most: int, error: Exception) -> Receive:
    """``receive``, which raises ``error`` once more than ``most`` bytes of body have come."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise error
        return message

    return counted


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"请求超过 {limit:,} 字节 (the body is too large)")


class Counted:
    """Counts requests by route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", None)
                labels = {
                    "route": scope.get("root_path", "") + path if path else "other",
                    "method": scope["method"],
                    "status": str(message["status"]),
                }
                self.metrics.add("youju_http_requests_total", **labels)
            await send(message)

        await self.app(scope, receive, counted)
