"""What the widget asks from pages of other origins: ``/widget.js``, and under ``/widget`` sessions, answers, sources.

The page says what is asked, and nothing else: which articles may answer is a matter of its site. Tokens are read from
``Authorization``; cookies are not looked at, so that no page can use what a reader is signed in to.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain as chained
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from rag.config import Settings
from rag.errors import InputError, YoujuError
from rag.records import Discarded, Event, Question, Retrieved, Span
from rag.store import StoredArticle
from ui.errors import ApiError, described
from ui.inputs import AskIn, CitedIn, Text, TurnIn, document_named, question_of
from ui.limits import limited_route
from ui.markup import escape
from ui.rates import Rates, network
from ui.service import Service
from ui.sessions import SESSION_SECONDS, Session, Sessions
from ui.sites import Site, Sites
from ui.slots import Slots
from ui.streams import Streams, Told, named, told

FILES = Path(__file__).parent / "widget"
MAX_BODY = 300_000  # bytes
MAX_TURNS = 20  # earlier messages
CONTEXT = 1_200  # characters on each side of a source span
EXAMPLES = 4

_LOG = logging.getLogger(__name__)
_PRIVATE = ("retrieved", "timings_ms", "fallback")  # of an answer: what the operator's tools show
_REPLACED = "改用原文摘录作答 (answered with extracts instead)"


class SessionIn(BaseModel):
    """A site's id; a framed page adds the ticket it came with."""

    model_config = ConfigDict(extra="forbid")
    site: Text = Field(max_length=100)
    ticket: Text = Field(default="", max_length=1_000)


class WidgetAskIn(BaseModel):
    """A question, the earlier turns and citations."""

    model_config = ConfigDict(extra="forbid")
    question: Text
    history: list[TurnIn] = Field(default_factory=list, max_length=MAX_TURNS)
    cited: list[CitedIn] = Field(default_factory=list, max_length=500)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that came with a session: from which one, which address, and for which site as it now is."""

    session: Session
    address: str
    site: Site


def widget(service: Service, settings: Settings, sites: Sites, sessions: Sessions, rates: Rates) -> APIRouter:
    """``/widget.js`` and the routes under ``/widget``."""
    router = APIRouter(route_class=limited_route(MAX_BODY))
    slots, streams, script = Slots(settings.widget_answers), Streams(), (FILES / "widget.js").read_bytes()

    def hit(subject: str, limits: str) -> None:
        for limit in limits.split("; "):
            rates.hit(f"widget {subject}", limit)

    def visit(request: Request) -> Visit:
        """The session of a request. Raises ApiError 401 where there is none that holds."""
        session = sessions.read(_bearer(request))
        site = sites.get(session.site) if session else None
        if not session or not site or not _comes_from(request, session, site):
            raise _session_invalid()
        return Visit(session, network(request), site)

    visiting = Depends(visit)

    def answering(question: Question) -> Iterator[Event]:
        with slots.taken():
            yield from service.stream(question)

    @router.get("/widget.js")
    def javascript(request: Request) -> Response:
        """The widget, which any page may load; browsers ask each time whether it has changed."""
        return _revalidated(request, script, "text/javascript")

    @router.post("/widget/session")
    def session(body: SessionIn, request: Request) -> Response:
        """A token for the page's origin, and what the widget shows first."""
        hit(f"sessions {network(request)}", settings.widget_sessions)
        site, origin = sites.get(body.site), request.headers.get("origin", "null")
        own = origin != "null" and _same_origin(request)
        framed = own and sessions.is_ticket(body.ticket, body.site)
        if not site or not (framed or origin in site.origins):
            raise _origin_refused(origin)
        token = sessions.begin(site.id, origin, own)
        examples = service.examples(EXAMPLES, site.articles)
        begun = {"token": token, "expires_in": SESSION_SECONDS, "title": site.title, "examples": examples}
        return JSONResponse(begun, headers={"Cache-Control": "no-store"})

    @router.post("/widget/ask")
    def ask(
        body: WidgetAskIn,
        visit: Visit = visiting,
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    ) -> Response:
        """The events of an answer from the site's articles."""
        if last_event_id:
            return streams.resume(last_event_id, (visit.session.id, body))
        hit(f"session {visit.session.id}", settings.widget_per_session)
        hit(f"questions {visit.address}", settings.widget_per_address)
        events = answering(_question(body, visit.site, service, settings.max_question))
        first = next(events)  # what cannot be answered fails here, with a status of its own
        shown = told(chained([first], events), _named, widget_error)
        return streams.begin(shown, (visit.session.id, body))

    @router.get("/widget/source")
    def source(
        document: Text,
        start: Annotated[int, Query(ge=0, lt=2**63)],
        end: Annotated[int, Query(ge=0, lt=2**63)],
        visit: Visit = visiting,
    ) -> Response:
        """The exact characters ``[start, end)`` of a document, their place, and those around them."""
        hit(f"sources {visit.address}", settings.widget_per_address)
        with service.store.snapshot():
            stored = _article(visit.site, service, document, Span(start, end))
            text = document_named(service, document).text
        return JSONResponse(_place(stored, text, Span(start, end)))

    @router.get("/widget/frame")
    def frame(site: Text) -> Response:
        """The widget as a page, for the site's own pages to frame."""
        found = sites.get(site)
        if found is None:
            raise ApiError(404, "unknown_site", "没有这个网站 (no such site)")
        return HTMLResponse(_frame(found, sessions.ticket(found.id)), headers=_frame_headers(found))

    @router.get("/widget/frame.css")
    def frame_styles() -> Response:
        return FileResponse(FILES / "frame.css", headers={"Cache-Control": "no-cache"})

    return router


def _revalidated(request: Request, content: bytes, media_type: str) -> Response:
    headers = {
        "Cache-Control": "no-cache",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


# --- Who asks ----------------------------------------------------------------------------------------


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _comes_from(request: Request, session: Session, site: Site) -> bool:
    """Whether a request comes from the origin of its session, which the site still lists or is this server's own.

    To their own origin browsers send none with GET.
    """
    if not session.own and session.origin not in site.origins:
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return session.own and request.method == "GET" and _same_origin(request)
    return origin == session.origin


def _same_origin(request: Request) -> bool:
    """Whether a browser's page of this server asks.

    ``Sec-Fetch-Site`` says it, which no page can set; over plain http browsers leave it out.
    """
    told = request.headers.get("sec-fetch-site")
    if told is not None:
        return told == "same-origin"
    own = f"{request.url.scheme}://{request.headers.get('host')}"
    return request.headers.get("origin", own) == own


def _origin_refused(origin: str) -> ApiError:
    return ApiError(
        403,
        "origin_refused",
        f"来源 {origin} 的页面不能使用这个网站编号，请管理员用 youju sites add 登记 (this origin may not use this site)",
    )


def _session_invalid() -> ApiError:
    return ApiError(
        401,
        "session_invalid",
        "会话无效或已过期，请重新建立 (the session is not valid or has expired: begin a new one)",
        {"WWW-Authenticate": "Bearer"},
    )


# --- What may be read --------------------------------------------------------------------------------


def _question(body: WidgetAskIn, site: Site, service: Service, max_question: int) -> Question:
    """The question, to be answered from the site's articles. Raises ApiError where it names what there is not."""
    articles = _answering(site, service)
    for place in body.cited:
        _article(site, service, place.document, Span(place.start, place.end))
    asked = AskIn(question=body.question, history=body.history, articles=articles, cited=body.cited)
    return question_of(asked, service, max_question)


def _answering(site: Site, service: Service) -> list[int | tuple[str, int]]:
    """The articles that a site is restricted to and that are there; none: all. Raises ApiError if none is left."""
    if site.articles is None:
        return []
    known = {(document, number) for document, number, _ in service.store.article_places()}
    found: list[int | tuple[str, int]] = [name for name in site.articles if name in known]
    if not found:
        raise ApiError(404, "unknown_article", "这个网站的文章已不在知识库里 (the site's articles are gone)")
    return found


def _article(site: Site, service: Service, document: str, span: Span) -> StoredArticle:
    """The article around a span. What the site does not hold is told as what is not there.

    Raises ApiError 404, or 422 where the span is empty or leaves the article.
    """
    stored = service.article_at(document, span.start)
    if stored is None or (
        site.articles is not None and (document, stored.article.number) not in site.articles
    ):
        raise ApiError(404, "unknown_place", "没有这个出处 (no such place)")
    if not span.start < span.end <= stored.article.end:
        raise ApiError(
            422, "bad_span", f"区间 [{span.start}, {span.end}) 不在一篇文章内 (not inside an article)"
        )
    return stored


def _place(stored: StoredArticle, text: str, span: Span) -> dict[str, Any]:
    article = stored.article
    return {
        "document": stored.document,
        "title": article.title,
        "category": article.category,
        "section": [part.label for part in article.path_at(span.start)],
        "start": span.start,
        "end": span.end,
        "before": text[max(article.start, span.start - CONTEXT) : span.start],
        "text": text[span.start : span.end],
        "after": text[span.end : min(article.end, span.end + CONTEXT)],
    }


def _named(event: Event) -> Told | None:
    """An event as a page of another origin may see it."""
    match event:
        case Retrieved():
            return None
        case Discarded():
            return named(Discarded(_REPLACED))
    name, data = named(event)
    return name, {key: value for key, value in data.items() if key not in _PRIVATE}


def widget_error(error: Exception) -> tuple[int, dict[str, Any]]:
    """As ``described``, without the folders and hosts that the operator is told of."""
    if isinstance(error, YoujuError) and not isinstance(error, InputError):
        _LOG.error("%s", error)
        error = ApiError(503, "unavailable", "服务暂时不可用，请稍后再试 (unavailable: try again later)")
    return described(error)


# --- The framed page ---------------------------------------------------------------------------------


def _frame(site: Site, ticket: str) -> str:
    return (
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(site.title) or '有据 Youju'}</title>"
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="frame.css"></head><body>'
        f'<script src="../widget.js" data-site="{site.id}" data-ticket="{ticket}" data-mode="inline"></script>'
        "</body></html>"
    )


def _frame_headers(site: Site) -> dict[str, str]:
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
        f" base-uri 'none'; form-action 'none'; frame-ancestors {' '.join(site.origins)}"
    )
    return {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
