"""Which other origins' pages may read what: those of the sites the widget's answers, all of them ``widget.js``."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.proxy import path_within
from ui.sites import Sites

SCRIPT = "/widget.js"
FRAMED = ("/widget/frame", "/widget/frame.css")  # pages of this server's own origin
ASKED = ("/widget/session", "/widget/ask", "/widget/source")
PUBLIC = (SCRIPT, *FRAMED, *ASKED)  # needs no key: what is asked shows a session, and the rest is no secret


class SitesAsk(CORSMiddleware):
    """Lets the pages of all sites read; to which site a request belongs is told by its body or its token.

    A refusal (403) is not to be read by the page that it refuses.
    """

    def __init__(self, app: ASGIApp, sites: Sites) -> None:
        super().__init__(
            app,
            allow_methods=("GET", "POST"),
            allow_headers=("authorization", "content-type", "last-event-id"),
            expose_headers=("Retry-After",),
            allow_private_network=True,
        )
        self._sites = sites

    def is_allowed_origin(self, origin: str) -> bool:
        return self._sites.allow(origin)

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        if message.get("status") == 403:
            MutableHeaders(scope=message).add_vary_header("Origin")
            await send(message)
        else:
            await super().send(message, send, request_headers)


class WidgetOrigins:
    """Middleware around the application's own policy, which lets no other origin read."""

    def __init__(self, app: ASGIApp, sites: Sites) -> None:
        self._app = app
        anyone, asking = CORSMiddleware(app, allow_origins=("*",)), SitesAsk(app, sites)
        self._by_path = {SCRIPT: anyone, **dict.fromkeys(ASKED, asking)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_within(scope)
        await self._by_path.get(path, self._app)(scope, receive, send)
