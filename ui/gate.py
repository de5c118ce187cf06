"""The gate before every path: a key, or the cookie of a browser that logged in with one.

Keys are asked for as soon as the knowledge base has one, and where the server listens to other machines even before. A
path that is not named here needs a key that may ask: a new route is closed until it is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.errors import YoujuError
from ui.errors import ApiError, described, is_under
from ui.keys import Key, Keys
from ui.keys import Scope as KeyScope
from ui.logins import Logins
from ui.openai import openai_error
from ui.origins import PUBLIC
from ui.proxy import path_within
from ui.rates import Rates

# The login page, what monitors ask, and the widget, whose sessions have tokens of their own.
OPEN = frozenset(
    {
        "/healthz",
        "/readyz",
        "/login",
        "/login/login.css",
        "/logout",
        *PUBLIC,
    }
)
# What lies at or under these needs a key for administration, and for reading; anything else one for asking.
_ADMIN = ("/metrics", "/docs", "/openapi.json", "/api/openapi.json", "/chat/library", "/widget/configure")
_READ = (
    "/api/articles",
    "/api/source",
    "/api/search",
    "/chat/source",
    "/chat/tree",
    "/chat/welcome",
    "/static",
    "/assets",  # Gradio's
    "/svelte",
    "/theme.css",
    "/config",
    "/manifest.json",
    "/favicon.ico",
    "/gradio_api",
)
_SAFE = ("GET", "HEAD")
_ATTEMPTS = "10/minute"  # with a wrong key, from one address


@dataclass(frozen=True, slots=True)
class Access:
    """Who is let in. ``always``: keys are asked for even while there are none."""

    keys: Keys
    logins: Logins
    rates: Rates
    always: bool
    hosts: frozenset[str] | None  # names under which a server without keys is asked; None: any

    @property
    def on(self) -> bool:
        return self.always or self.keys.exist()

    def key_of(self, secret: str, address: str) -> Key:
        """The key that somebody showed. Raises ApiError 401, or 429 after many wrong ones from one address.

        A right key always gets in: those who try do not shut out others behind the same address.
        """
        key = self.keys.of_secret(secret)
        if key is None:
            self.rates.hit(f"wrong key {address}", _ATTEMPTS)
            raise ApiError(
                401,
                "unauthorized",
                "密钥不对或已撤销，请向管理员要一个 (wrong or revoked key: ask the administrator)",
            )
        return key


def address_of(connection: HTTPConnection) -> str:
    """The client's address, behind a trusted proxy the one that it names."""
    return connection.client.host if connection.client else ""


def check_own_page(connection: HTTPConnection) -> None:
    """Refuse what another site's page made a browser send along with its cookie. Raises ApiError 403."""
    site = connection.headers.get("sec-fetch-site")  # sent over https and to this machine only
    host = connection.headers.get("origin", "").partition("://")[2]
    own = site == "same-origin" if site else bool(host) and host == connection.headers.get("host")
    if not own:
        raise foreign_page()


def foreign_page() -> ApiError:
    """What another site's page is answered."""
    return ApiError(
        403,
        "foreign_page",
        "只接受本服务自己的页面发来的请求；若经反向代理访问，请让代理保留 Host (only from its own page)",
    )


class Gate:
    """Middleware that lets nobody in whom ``access`` does not know; the key's id is then in ``state["key"]``."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            refused = self._refusal(HTTPConnection(scope))
        except (ApiError, YoujuError) as error:
            refused = _answer(error, path_within(scope))
        if refused is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "unauthorized"})
        else:
            await refused(scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        """The way to the login page for browsers, None for who is let in. Raises ApiError for others."""
        if not self.access.on:
            self._check_host(connection)
            return None
        if path_within(connection.scope) in OPEN or _is_preflight(connection):
            return None
        key = self._key(connection)
        if key is None:
            if _shows_pages(connection):
                return _to_login(connection.scope)
            raise ApiError(
                401,
                "unauthorized",
                "需要密钥，或重新登录：请刷新页面 (a key is needed, or a new login: reload the page)",
            )
        _check_scope(connection.scope, key)
        connection.scope.setdefault("state", {})["key"] = key.id
        return None

    def _key(self, connection: HTTPConnection) -> Key | None:
        shown = _shown_key(connection)
        if shown is not None:
            return self.access.key_of(shown, address_of(connection))
        key = self.access.logins.key_of(connection)
        if key is not None:
            if connection.scope.get("method") not in _SAFE:  # a WebSocket has none: it may ask for anything
                check_own_page(connection)
            connection.scope.setdefault("state", {})["logged_in"] = True
        return key

    def _check_host(self, connection: HTTPConnection) -> None:
        """Refuse the page of a name that was made to point here (DNS rebinding): it would be read as our own."""
        hosts = self.access.hosts
        if hosts is not None and _host(connection) not in hosts:
            raise ApiError(
                421,
                "unknown_host",
                "没有密钥时只接受本机的访问 (localhost)：请用 youju keys add 建立密钥，或以 --no-keys 启动"
                " (without keys only localhost is served: add a key, or start with --no-keys)",
            )


def _host(connection: HTTPConnection) -> str | None:
    try:
        return urlsplit("//" + connection.headers.get("host", "")).hostname
    except ValueError:
        return None


def _is_preflight(connection: HTTPConnection) -> bool:
    return (
        connection.scope.get("method") == "OPTIONS" and "access-control-request-method" in connection.headers
    )


def _shown_key(connection: HTTPConnection) -> str | None:
    """The key in a header, if there is one."""
    scheme, _, shown = connection.headers.get("authorization", "").partition(" ")
    return shown.strip() if scheme.lower() == "bearer" else connection.headers.get("x-api-key")


def _check_scope(scope: Scope, key: Key) -> None:
    needed = needed_scope(scope.get("method", ""), path_within(scope))
    if not key.allows(needed):
        raise ApiError(
            403,
            "forbidden",
            f"密钥“{key.name}”的权限是 {key.scope}，这里要 {needed}，请换一个密钥 (this key may not do that)",
        )


def needed_scope(method: str, path: str) -> KeyScope:
    """What a key must be allowed for a path that is not open."""
    if _under(path, _ADMIN):
        return "admin"
    return "read" if method in _SAFE and (path == "/" or _under(path, _READ)) else "ask"


def _under(path: str, places: tuple[str, ...]) -> bool:
    return any(is_under(path, place) for place in places)


def _shows_pages(connection: HTTPConnection) -> bool:
    """Whether a browser asks for a page that it will show."""
    return (
        connection.scope["type"] == "http"
        and connection.scope["method"] in _SAFE
        and "text/html" in connection.headers.get("accept", "")
    )


def _to_login(scope: Scope) -> Response:
    query = scope["query_string"].decode("latin-1")
    wanted = quote(scope["path"]) + (f"?{query}" if query else "")
    return RedirectResponse(f"{scope.get('root_path', '')}/login?next={quote(wanted, safe='/')}", 303)


def _answer(error: Exception, path: str) -> Response:
    told = openai_error if is_under(path, "/v1") else described
    status, content = told(error)
    headers: dict[str, Any] = dict((error.headers or {}) if isinstance(error, ApiError) else {})
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(content, status_code=status, headers=headers)
