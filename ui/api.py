"""The HTTP API under ``/api``: questions, articles, exact places in the sources, retrieval alone.

Every answer is JSON, or server-sent events where asked for; every error is
``{"error": {"code", "message"}}`` with a fitting 4xx.
"""

from __future__ import annotations

from itertools import chain as chained
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from rag.config import Settings
from rag.records import Document, Question, Span
from ui import schemas
from ui.errors import ApiError
from ui.inputs import AskIn, check_length, checked_span, document_named, question_of
from ui.limits import MAX_BODY, limited_route
from ui.openapi import STREAM, failures
from ui.rates import Rates, limited_rate
from ui.service import Service
from ui.streams import Streams, told, whole

MAX_CONTEXT = 5_000  # characters on each side of a source span


def api(service: Service, settings: Settings, rates: Rates) -> APIRouter:
    """The routes under ``/api``."""
    router = APIRouter(
        prefix="/api", tags=["api"], route_class=limited_route(MAX_BODY), responses=failures(401, 403)
    )
    streams = Streams()
    asking = Depends(limited_rate(rates, settings.rate))

    def asked(body: AskIn) -> Question:
        return question_of(body, service, settings.max_question)

    question_asked = Depends(asked)  # in a thread, as it reads the knowledge base

    @router.post(
        "/ask",
        summary="提问 Ask",
        dependencies=[asking],
        responses={
            200: {"model": schemas.Answer, "content": STREAM},
            204: {"description": "流已说完，没有下文了 The stream is over: there is nothing more"},
            **failures(400, 404, 409, 410, 413, 422, 429, 503),
        },
    )
    async def ask(
        body: AskIn,
        request: Request,
        question: Question = question_asked,
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    ) -> Response:
        """An answer, or with `stream` the events of its making.

        A stream that was cut is gone on with by the same request with the last event's id in `Last-Event-ID`.
        """
        if body.stream and last_event_id:
            return streams.resume(last_event_id, body)
        events = service.stream(question)
        if not body.stream:
            return JSONResponse((await whole(events, request)).as_json())
        # A question that cannot be used fails at the first event, with a status of its own.
        first = await run_in_threadpool(next, events)
        return streams.begin(told(chained([first], events)), body)

    @router.delete(
        "/streams/{key}",
        summary="取消一个流 Cancel a stream",
        status_code=204,
        response_class=Response,
        responses=failures(410, 422),
    )
    def cancel(key: Annotated[str, Path(max_length=100)]) -> None:
        """Stop the work on an answer. `key` is what stands before the dot in the ids of its events."""
        streams.stop(key)

    @router.get(
        "/articles", summary="全部文章 All articles", responses={200: {"model": list[schemas.Article]}}
    )
    def articles() -> Response:
        """All articles with their trees of sections, in reading order."""
        return JSONResponse([{"id": a.id, **a.as_json()} for a in service.store.articles()])

    @router.get(
        "/articles/{key}",
        summary="一篇文章 An article",
        responses={200: {"model": schemas.ArticleText}, **failures(404, 422)},
    )
    def article(key: Annotated[int, Path(ge=0, lt=2**63)]) -> Response:
        """One article with its text."""
        found = service.store.article(key)
        if found is None:
            raise ApiError(404, "unknown_article", f"没有编号为 {key} 的文章 (no article with this id)")
        text = document_named(service, found.document).text[found.article.start : found.article.end]
        return JSONResponse({"id": found.id, **found.as_json(), "text": text})

    @router.get(
        "/source/{document:path}",
        summary="原文的一处 A place in a source",
        responses={200: {"model": schemas.Place}, **failures(404, 422)},
    )
    def source(
        document: str,
        start: Annotated[int, Query(ge=0)],
        end: Annotated[int, Query(ge=0)],
        context: Annotated[int, Query(ge=0, le=MAX_CONTEXT)] = 200,
    ) -> Response:
        """The exact characters `[start, end)` of a document, their place, and those around them."""
        found = document_named(service, document)
        return JSONResponse(place(service, found, checked_span(found, start, end), context))

    @router.get(
        "/search",
        summary="只检索 Search",
        dependencies=[asking],
        responses={200: {"model": schemas.Found}, **failures(413, 422, 429, 503)},
    )
    def search(
        q: Annotated[str, Query(openapi_examples={"示例": {"value": "护理员的入职奖励是多少？"}})],
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> Response:
        """The passages nearest to a question."""
        check_length(q, settings.max_question)
        return JSONResponse({"passages": [p.as_json() for p in service.search(q, limit)]})

    return router


def place(service: Service, document: Document, span: Span, context: int) -> dict[str, Any]:
    """The characters of a span, where they stand, and up to ``context`` characters on each side."""
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
