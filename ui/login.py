"""The login page: whoever types a key gets a cookie. It works without JavaScript."""

from __future__ import annotations

import html
from string import Template
from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from ui.chat import STATIC
from ui.errors import ApiError
from ui.gate import Access, address_of, check_own_page
from ui.limits import limited_route

_FOLDER = STATIC / "login"
_POLICY = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_MAX_BODY = 10_000  # bytes

Text = Annotated[str, Form(max_length=2_000)]


def login(access: Access) -> APIRouter:
    """The routes ``/login`` and ``/logout``."""
    router = APIRouter(route_class=limited_route(_MAX_BODY))
    page = Template((_FOLDER / "login.html").read_text("utf-8"))

    def shown(request: Request, wanted: str, error: ApiError | None = None) -> Response:
        text = page.substitute(
            root=_root(request),
            next=html.escape(wanted),
            problem=f'<p id="problem" role="alert">{html.escape(error.message)}</p>' if error else "",
            described=" problem" if error else "",
            invalid=' aria-invalid="true"' if error else "",
        )
        headers = {
            "Content-Security-Policy": _POLICY,
            "Cache-Control": "no-store",
            **((error.headers or {}) if error else {}),
        }
        return HTMLResponse(text, error.status if error else 200, headers)

    @router.get("/login")
    def ask(request: Request, next: str = "") -> Response:
        wanted = own_address(next, _root(request))
        if not access.on or access.logins.key_of(request):
            return RedirectResponse(wanted, 303)
        return shown(request, wanted)

    @router.post("/login")
    def begin(request: Request, key: Text, next: Text = "") -> Response:
        check_own_page(request)
        wanted = own_address(next, _root(request))
        try:
            found = access.key_of(key.strip(), address_of(request))
        except ApiError as error:
            return shown(request, wanted, error)
        response = RedirectResponse(wanted, 303)
        access.logins.begin(found, response, request)
        return response

    @router.post("/logout")
    def end(request: Request) -> Response:
        check_own_page(request)
        response = RedirectResponse(f"{_root(request)}/login", 303)
        access.logins.end(response, request)
        return response

    @router.get("/login/login.css")
    def styles() -> Response:
        return FileResponse(_FOLDER / "login.css", headers={"Cache-Control": "no-cache"})

    return router


def own_address(wanted: str, root: str) -> str:
    """``wanted`` if it is a path of this application, else its first page."""
    inside = wanted.startswith(f"{root}/") and not wanted.startswith("//")
    plain = wanted.isascii() and wanted.isprintable() and not set("\\ ") & set(wanted)
    upwards = ".." in unquote(wanted.partition("?")[0]).split("/")
    return wanted if inside and plain and not upwards else f"{root}/"


def _root(request: Request) -> str:
    return str(request.scope.get("app_root_path", request.scope.get("root_path", "")))
