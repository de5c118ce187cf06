"""Middleware that bounds what a request may bring."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.errors import Told, described

MAX_BODY = 1_000_000  # bytes


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
