"""The page's own files named in the HTML itself: Gradio adds its ``head`` only once its scripts have run."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.proxy import path_within

_LOGGED_IN = b'<meta name="youju-session" content="on">'


class EarlyLinks:
    """Middleware that adds preloading links to the HTML at ``/``, so that they load beside Gradio's scripts.

    Where the reader is logged in, the page is told so.
    """

    def __init__(self, app: ASGIApp, addresses: Iterable[str]) -> None:
        self._app = app
        self._links = "".join(map(_link, addresses)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or path_within(scope) != "/" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        uncompressed = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        links = self._links + (_LOGGED_IN if scope.get("state", {}).get("logged_in") else b"")
        begun: list[Message] = []
        body = bytearray()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                linked = bytes(body).replace(b"</head>", links + b"</head>", 1)
                MutableHeaders(scope=begun[0])["content-length"] = str(len(linked))
                await send(begun[0])
                await send({"type": "http.response.body", "body": linked})

        await self._app({**scope, "headers": uncompressed}, receive, collect)


def _link(address: str) -> str:
    if address.endswith(".css"):
        return f'<link rel="preload" as="style" href="{address}">'
    return f'<link rel="modulepreload" href="{address}">'
