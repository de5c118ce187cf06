"""The page on which an operator puts a widget together, tries it, and takes the lines to embed it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

FILES = Path(__file__).parent / "widget"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def configurator() -> APIRouter:
    """``/widget/configure`` with its script and its styles."""
    router = APIRouter(prefix="/widget", include_in_schema=False)

    @router.get("/configure")
    def page() -> Response:
        return _file("configure.html", "text/html")

    @router.get("/configure.js")
    def script() -> Response:
        return _file("configure.js", "text/javascript")

    @router.get("/configure.css")
    def styles() -> Response:
        return _file("configure.css", "text/css")

    return router


def _file(name: str, media_type: str) -> Response:
    # Named, as Gradio's page changes what this process takes a script's type to be.
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return FileResponse(FILES / name, media_type=media_type, headers=headers)
