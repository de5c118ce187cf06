"""A reverse proxy before the server: the sub-path it stands under."""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class UnderPath:
    """Lets the application stand under ``root_path``, whether the proxy strips it from the address or not."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app, self.root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not self.root_path:
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == self.root_path:
            # The page's own addresses are relative to its folder.
            await RedirectResponse(self.root_path + "/")(scope, receive, send)
        else:
            await self.app(self._placed(scope), receive, send)

    def _placed(self, scope: Scope) -> Scope:
        placed = {**scope, "root_path": self.root_path}
        if not scope["path"].startswith(self.root_path + "/"):
            placed["path"] = self.root_path + scope["path"]
            placed["raw_path"] = self.root_path.encode() + scope.get("raw_path", b"")
        return placed


def path_within(scope: Scope) -> str:
    """The address within the application, as its routes name it; empty where a scope has none."""
    return str(scope.get("path", "")).removeprefix(scope.get("root_path", ""))
