"""Stopping without breaking off an answer: what runs is finished, what comes is turned away."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.proxy import path_within

STOPPING = "服务正在停止，请稍后再试 (the server is stopping, try again later)"
RETRY_AFTER = 10  # seconds until another server, or this one's successor, is likely to be there
_ALWAYS = ("/healthz", "/readyz", "/metrics")
_ENDLESS = "/gradio_api/heartbeat/"  # Gradio's streams, which end when the reader leaves the page


class Stopping:
    """Whether an application stops, and how many requests it still answers. Of one event loop."""

    def __init__(self) -> None:
        self.asked = False
        self.running = 0


class Finishing:
    """Counts the requests that are being answered; once the application stops, refuses new ones with 503."""

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self.app, self.stopping = app, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_within(scope)
        if scope["type"] != "http" or path in _ALWAYS or path.startswith(_ENDLESS):
            await self.app(scope, receive, send)
        elif self.stopping.asked:
            await _refusal()(scope, receive, send)
        else:
            self.stopping.running += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self.stopping.running -= 1


def _refusal() -> JSONResponse:
    error = {
        "code": "stopping",
        "message": "服务正在停止，请稍后再试 (the server is stopping, try again later)",
    }
    headers = {"Retry-After": str(RETRY_AFTER), "Connection": "close"}
    return JSONResponse({"error": error}, status_code=503, headers=headers)
