"""Every request counted and logged, without anything that a reader has written."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.logs import write
from ui.metrics import Metrics

_PROBES = ("/healthz", "/readyz", "/metrics")
_GONE = 499  # what nginx logs for a client that left before the response began


class Observed:
    """Counts each request, and writes its line once it has been answered."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = _GONE

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            route = _route(scope)
            self.metrics.request(route, scope["method"], status)
            fields = {
                "key": scope.get("state", {}).get("key"),
                "route": route,
                "method": scope["method"],
                "status": status,
                "duration_ms": round((time.perf_counter() - begun) * 1000, 1),
            }
            write(logging.DEBUG if route in _PROBES and status < 400 else logging.INFO, "request", fields)


def _route(scope: Scope) -> str:
    """The pattern of the route that answered, without the path of a proxy; ``other`` where it has none."""
    pattern = getattr(scope.get("route"), "path", None)
    if pattern is None:
        return "other"
    path: str = scope.get("root_path", "")
    return path.removeprefix(scope.get("app_root_path", path)) + pattern  # of a mounted application too
