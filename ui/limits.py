"""Bounds on what a request may bring."""

from __future__ import annotations

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

MAX_BODY = 1_000_000  # bytes


def limited_route(limit: int) -> type[APIRoute]:
    """Routes that take a body of ``limit`` bytes at most, announced or not, beside others that have another limit."""

    class LimitedRoute(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            error = HTTPException(413, f"请求超过 {limit:,} 字节 (the body is too large)")
            announced = Headers(scope=scope).get("content-length", "0")
            if announced.isdigit() and int(announced) > limit:
                raise error
            await super().handle(scope, limited(receive, limit, error), send)

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
