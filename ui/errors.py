"""Every error as JSON: ``{"error": {"code", "message"}}`` with a fitting status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.errors import FormatError, InputError, LockedError, PathError, YoujuError

_LOG = logging.getLogger(__name__)


class ApiError(Exception):
    """An error with its HTTP status, a code that programs can tell apart, and headers of the response."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.code, self.message, self.headers = status, code, message, headers
        super().__init__(message)


def described(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body for an error; what nobody foresaw is logged and not shown."""
    match error:
        case ApiError():
            status, code, message = error.status, error.code, error.message
        case RequestValidationError():
            first = error.errors()[0]
            status, code = (400, "bad_json") if first["type"] == "json_invalid" else (422, "invalid_request")
            place = ".".join(str(part) for part in first["loc"])
            message = f"请求不合要求 (invalid request): {place}: {first['msg']}"
        case HTTPException():
            status, message = error.status_code, str(error.detail)
            code = _CODES.get(status, "http")
        case FormatError() | PathError():
            status, code, message = 422, "unusable_file", str(error)
        case LockedError():
            status, code, message = 409, "busy", str(error)
        case InputError():
            status, code, message = 422, "unusable_question", str(error)
        case YoujuError():
            status, code, message = 503, "unavailable", str(error)
        case _:
            _LOG.error("unforeseen, request %s", correlation_id.get(), exc_info=error)
            status, code = 500, "internal"
            message = "服务内部出错，已记入日志，请再试一次 (internal error, see the log)"
    readable = message.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be sent
    return status, {"error": {"code": code, "message": readable}}


_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}

Told = Callable[[Exception], tuple[int, dict[str, Any]]]  # status and body for an error


def answer_errors(app: FastAPI, shapes: Mapping[str, Told] = MappingProxyType({})) -> None:
    """Let every error of ``app`` be answered as JSON: under a path of ``shapes`` as told there, else as ``described``.

    To be called before ``app`` is given other middleware: what nobody foresaw is then answered inside of it.
    """

    def answer(request: Request, error: Exception) -> Response:
        path = get_route_path(request.scope)
        told = next((shape for folder, shape in shapes.items() if is_under(path, folder)), described)
        status, content = told(error)
        return JSONResponse(content, status_code=status, headers=getattr(error, "headers", None))

    for kind in (ApiError, RequestValidationError, HTTPException, YoujuError, Exception):
        app.add_exception_handler(kind, answer)
    app.add_middleware(_Unforeseen, answer=answer)


class _Unforeseen:
    """Middleware that answers any error; the handler of ``Exception`` itself stands outside of all middleware."""

    def __init__(self, app: ASGIApp, answer: Callable[[Request, Exception], Response]) -> None:
        self.app, self.answer = app, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def seen(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, seen)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await self.answer(Request(scope), error)(scope, receive, send)


class UnknownPath(BaseRoute):
    """Takes what the routes before it do not: other methods (405), and what else is under the given paths (404)."""

    def __init__(self, routes: Sequence[BaseRoute], folders: tuple[str, ...]) -> None:
        self._routes, self._folders = tuple(routes), folders

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = get_route_path(scope)
        taken = any(is_under(path, folder) for folder in self._folders) or self._known(scope)
        return (Match.FULL if scope["type"] == "http" and taken else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if route := self._known(scope):
            await route.handle(scope, receive, send)  # answers 405 and names the methods
            return
        raise ApiError(404, "not_found", "没有这个地址，接口见 /docs (no such path: see /docs)")

    def _known(self, scope: Scope) -> BaseRoute | None:
        """The route of this path, for other methods."""
        return next((route for route in self._routes if route.matches(scope)[0] is Match.PARTIAL), None)


def is_under(path: str, folder: str) -> bool:
    """Whether a path is ``folder`` or in it."""
    return path == folder or path.startswith(f"{folder}/")
