"""The HTTP API under ``/api``: questions, articles, exact places in the sources, retrieval alone.

Every answer is JSON, or server-sent events where asked for; every error is
``{"error": {"code", "message"}}`` with a fitting 4xx.
"""

from __future__ import annotations

from itertools import chain as chained
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query
from fastapi.responses import JSONResponse, Response

from rag.records import Document, Span
from ui.errors import ApiError, answer_errors
from ui.inputs import AskIn, check_length, checked_span, document_named, question_of
from ui.limits import LimitedBody
from ui.service import Service
from ui.streams import event_stream, server_sent

MAX_CONTEXT = 5_000  # characters on each side of a source span


def api(service: Service, max_question: int) -> FastAPI:
    """The application that is mounted at ``/api``."""
    app = FastAPI(title="有据 Youju", docs_url=None, redoc_url=None)
    app.add_middleware(LimitedBody)
    answer_errors(app)

    @app.post("/ask")
    def ask(body: AskIn) -> Response:
        """An answer, or with ``stream`` the events of its making."""
        question = question_of(body, service, max_question)
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
