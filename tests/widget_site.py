"""The widget's server and pages that embed it, each page with an address of another origin than the server's."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes_ui import FakeChain
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse
from running import free_port, running

import ui
from rag.config import Settings
from ui.access import AccessStore
from ui.app import create_app
from ui.sites import Sites

WIDGET = Path(ui.__file__).parent / "widget" / "widget.js"
AROUND = 1_200  # characters on each side of a source's span
MAX_QUESTION = 200
SITE, OTHER_SITE = "site_abcdefgh12345678", "site_ABCDEFGH87654321"
TITLE, OTHER_TITLE = "青禾县文件问答", "另一个站点"


def widget_server(chain: FakeChain, allowed: list[str]) -> FastAPI:
    """The application with two sites of the same origins, their ids known beforehand."""
    access = AccessStore(chain.store.folder)
    for name, key, title in (("one", SITE, TITLE), ("two", OTHER_SITE, OTHER_TITLE)):
        Sites(access).put(name, allowed, title=title)
        with access.writing() as connection:
            connection.execute("UPDATE sites SET id = ? WHERE name = ?", (key, name))
    often = {name: "1000/minute" for name in ("widget_per_session", "widget_per_address", "widget_sessions")}
    return create_app(Settings(kb=chain.store.folder, max_question=MAX_QUESTION, **often), chain)


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
        own = "/".join(self.youju.split("/", 3)[:3])
        return (
            f"default-src 'none'; script-src {own}; connect-src {own}; style-src 'self'; "
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
