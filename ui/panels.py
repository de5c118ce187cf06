"""What the page's parts are filled with: the first screen and an article as HTML, and the tree of all documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import StringConstraints

from rag.records import Article, Document, Section, Span
from ui.article import article_html, marks_of
from ui.errors import ApiError
from ui.inputs import checked_span, document_named
from ui.service import Service
from ui.tree import tree_json
from ui.welcome import welcome_html

EXAMPLES = 6  # example questions on the first screen

Place = Annotated[int, Query(ge=0)]
Range = Annotated[str, StringConstraints(pattern=r"^\d{1,10}-\d{1,10}$")]


def panels(service: Service, uploads: bool = False) -> APIRouter:
    """The routes that ``chat.js``, ``source.js`` and ``tree.js`` ask. ``uploads``: documents can be added in the page."""
    store = service.store

    def version() -> str:
        return f"{store.identity}-{store.generation}"

    @lru_cache(maxsize=1)
    def first_screen(version: str) -> str:
        return welcome_html(store.documents(), store.articles(), service.examples(EXAMPLES), uploads)

    @lru_cache(maxsize=1)
    def written(version: str) -> str:
        return tree_json(store.articles())

    @asynccontextmanager
    async def ready(app: object) -> AsyncIterator[None]:
        """What every page asks for first is written before the server listens."""
        current = await asyncio.to_thread(version)
        await asyncio.to_thread(first_screen, current)
        await asyncio.to_thread(written, current)
        yield

    router = APIRouter(prefix="/chat", lifespan=ready)

    @router.get("/welcome", response_class=HTMLResponse)
    def welcome() -> str:
        return first_screen(version())

    @router.get("/source", response_class=HTMLResponse)
    def source(
        document: str,
        start: Place = 0,
        end: Place = 0,
        article: Place = 0,
        heading: bool = False,
        also: Annotated[Sequence[Range], Query(max_length=500)] = (),
    ) -> str:
        """An article by its number, or by a span in it: evidence, or with ``heading`` a section's own span.

        ``also`` are the spans, each ``start-end``, of other citations.
        """
        text = document_named(service, document)
        others = tuple(_range(text, given) for given in also)
        if article:
            return article_html(text, _numbered(service, document, article), marks_of(None, others))
        span = checked_span(text, start, end)
        found = _holding(service, document, span)
        if heading:
            return article_html(text, found, marks_of(None, others), _path(found, span))
        return article_html(text, found, marks_of(span, others), found.path_at(span.start))

    @router.get("/tree")
    def tree(request: Request) -> Response:
        """All documents as ``ui.tree`` writes them; not sent again while nothing has changed."""
        current = version()
        headers = {"ETag": f'"{current}"', "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(written(current), media_type="application/json", headers=headers)

    return router


def _range(document: Document, given: str) -> Span:
    start, end = given.split("-")
    return checked_span(document, int(start), int(end))


def _numbered(service: Service, document: str, number: int) -> Article:
    stored = service.article_numbered(document, number)
    if stored is None:
        raise ApiError(404, "unknown_article", f"“{document}”里没有第 {number} 篇 (no such article)")
    return stored.article


def _holding(service: Service, document: str, span: Span) -> Article:
    stored = service.article_at(document, span.start)
    if stored is None:
        raise ApiError(404, "unknown_article", "这个位置不在任何文章内 (no article there)")
    return stored.article


def _path(article: Article, span: Span) -> tuple[Section, ...]:
    """The path of the section that has this span."""
    for path in article.walk():
        if (path[-1].start, path[-1].end) == (span.start, span.end):
            return path
    raise ApiError(
        404,
        "unknown_section",
        "这一节不在文章里了，文件可能已更新，请从目录重新打开 (no such section: open it from the tree)",
    )
