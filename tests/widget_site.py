"""The widget's server and pages that embed it, each page with an address of another origin than the server's."""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fakes_ui import FakeChain
from fastapi import FastAPI, Header
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict
from running import free_port, running
from starlette.middleware.cors import CORSMiddleware

import ui
from rag.records import Retrieved
from ui.configurator import configurator
from ui.errors import ApiError, answer_errors
from ui.inputs import AskIn, CitedIn, TurnIn, checked_span, document_named, question_of
from ui.service import Service
from ui.streams import event_stream, server_sent

WIDGET = Path(ui.__file__).parent / "widget" / "widget.js"
AROUND = 1_200  # characters on each side of a source's span
MAX_QUESTION = 200
SITE, OTHER_SITE = "site_abcdefgh12345678", "site_ABCDEFGH87654321"
TITLE, OTHER_TITLE = "青禾县文件问答", "另一个站点"


class SessionIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    site: str


class WidgetAskIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    question: str
    history: list[TurnIn] = []
    cited: list[CitedIn] = []


def widget_server(chain: FakeChain, allowed: list[str]) -> FastAPI:
    """The endpoints that the widget speaks to, for two sites of the same origins."""
    service = Service(chain)
    tokens: dict[str, str] = {}
    app = FastAPI()
    app.add_middleware(
        CORSMiddleware,
        allow_origins=allowed,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "last-event-id"],
        expose_headers=["retry-after"],
    )
    answer_errors(app)

    def check(origin: str, authorization: str) -> None:
        made_for = tokens.get(authorization.removeprefix("Bearer "))
        if made_for is None or origin not in ("", made_for):  # none with GET to a page's own origin
            raise ApiError(401, "session_invalid", "会话已结束 (the session has ended)")

    app.include_router(configurator())

    @app.get("/widget.js")
    def script() -> Response:
        return FileResponse(WIDGET, headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"})

    @app.post("/widget/session")
    def session(body: SessionIn, origin: Annotated[str, Header()] = "") -> Response:
        titles = {SITE: TITLE, OTHER_SITE: OTHER_TITLE}
        if body.site not in titles or origin not in allowed:
            raise ApiError(403, "origin_refused", "这个来源没有获准 (this origin is not allowed)")
        token = secrets.token_urlsafe(16)
        tokens[token] = origin
        told = {"title": titles[body.site], "examples": service.examples(2)}
        return JSONResponse({"token": token, "expires_in": 600, **told})

    @app.post("/widget/ask")
    def ask(
        body: WidgetAskIn, origin: Annotated[str, Header()] = "", authorization: Annotated[str, Header()] = ""
    ) -> Response:
        check(origin, authorization)
        events = service.stream(question_of(AskIn(**body.model_dump()), service, MAX_QUESTION))
        told = (event for event in events if not isinstance(event, Retrieved))
        return event_stream(server_sent(told))

    @app.get("/widget/source")
    def source(
        document: str,
        start: int,
        end: int,
        origin: Annotated[str, Header()] = "",
        authorization: Annotated[str, Header()] = "",
    ) -> Response:
        check(origin, authorization)
        found = document_named(service, document)
        span = checked_span(found, start, end)
        stored = service.article_at(document, start)
        assert stored
        article = stored.article
        place = {
            "document": document,
            "title": article.title,
            "category": article.category,
            "section": [part.label for part in article.path_at(start)],
            "start": start,
            "end": end,
            "before": found.text[max(article.start, span.start - AROUND) : span.start],
            "text": found.text[span.start : span.end],
            "after": found.text[span.end : min(article.end, span.end + AROUND)],
        }
        return JSONResponse(place)

    return app


@dataclass
class Portal:
    """A server of pages that embed the widget of the server at ``youju``, which knows two sites."""

    url: str
    youju: str
    site: str = SITE
    other: str = OTHER_SITE
    bodies: dict[str, str] = field(default_factory=dict)
    styles: str = ""

    def page(self, *scripts: dict[str, str], body: str = "", lang: str = "zh-CN") -> str:
        """The address of a new page with a script for each of the given attributes."""
        tags = "".join(_script(self.youju, attributes) for attributes in scripts)
        path = f"/page/{len(self.bodies)}"
        self.bodies[path] = (
            f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>门户 Portal</title>'
            '<meta name="viewport" content="width=device-width">'
            '<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head>'
            f'<body><main><h1>门户</h1><p>正文 <a href="#more">更多</a></p>{body}</main>{tags}</body></html>'
        )
        return self.url + path

    @property
    def policy(self) -> str:
        """What the page allows: the widget's script, its requests, nothing inline, no text made markup."""
        return (
            f"default-src 'none'; script-src {self.youju}; connect-src {self.youju}; style-src 'self'; "
            "img-src data:; require-trusted-types-for 'script'; trusted-types 'none'"
        )


def _script(youju: str, attributes: dict[str, str]) -> str:
    given = "".join(f' data-{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f'<script src="{youju}/widget.js"{given}></script>'


@contextmanager
def portal(youju: str, port: int) -> Iterator[Portal]:
    """A running server of pages; by ``localhost`` its origin is one, by ``127.0.0.1`` another."""
    found = Portal(f"http://localhost:{port}", youju)
    app = FastAPI()

    @app.get("/page/{number}")
    def page(number: int) -> Any:
        return HTMLResponse(
            found.bodies[f"/page/{number}"], headers={"Content-Security-Policy": found.policy}
        )

    @app.get("/page.css")
    def styles() -> Any:
        return PlainTextResponse(found.styles, media_type="text/css")

    with running(app, port):
        yield found


@dataclass
class Embedded:
    """A running server of the widget, and a portal with an origin that it allows."""

    chain: FakeChain
    portal: Portal


@contextmanager
def embedded(chain: FakeChain) -> Iterator[Embedded]:
    """The widget's server beside a portal; both on this machine, each with a port of its own."""
    port = free_port()
    with (
        running(widget_server(chain, [f"http://localhost:{port}"])) as youju,
        portal(youju, port) as pages,
    ):
        yield Embedded(chain, pages)
