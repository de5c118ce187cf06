"""The gate: who gets in where, with what; and the login page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes_ui import fake_chain
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Mount, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocketDisconnect

from rag.config import Settings
from ui.access import FILE, AccessStore
from ui.app import create_app
from ui.gate import OPEN, needed_scope
from ui.keys import Keys, Scope
from ui.login import own_address
from ui.logins import COOKIE, SECONDS, Logins

QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
BASE = "http://127.0.0.1"
OWN = {"Origin": BASE}
HTML = {"Accept": "text/html,application/xhtml+xml"}


class House:
    """A server with keys, and clients that show one or none."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.store = AccessStore(folder)
        self.keys = Keys(self.store)
        self.app = create_app(Settings(kb=folder, **settings), fake_chain(folder))
        self._logged_in: dict[str, TestClient] = {}
        self.secrets = {scope: self.keys.add(scope, scope)[1] for scope in ("read", "ask", "admin")}

    def client(self, key: str | None = None, **options: Any) -> TestClient:
        headers = {} if key is None else {"Authorization": f"Bearer {self.secrets.get(key, key)}"}
        options = {"base_url": BASE, "follow_redirects": False, "headers": headers, **options}
        return TestClient(self.app, **options)

    def logged_in(self, scope: str = "ask") -> TestClient:
        if scope in self._logged_in:
            return self._logged_in[scope]
        client = self.client()
        response = client.post("/login", data={"key": self.secrets[scope]}, headers=OWN)
        assert (response.status_code, response.headers["location"]) == (303, "/")
        self._logged_in[scope] = client
        return client


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    found = House(tmp_path_factory.mktemp("kb"), allow_upload=True)
    with TestClient(found.app, base_url=BASE):  # its lifespan
        yield found


@pytest.fixture
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three wrong keys, counted over a day: the machine may be slow."""
    monkeypatch.setattr("ui.gate._ATTEMPTS", "3/day")


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- Who gets in where -------------------------------------------------------------------------------

# method, address, body, and what a key needs
PLACES: list[tuple[str, str, Any, Scope]] = [
    ("GET", "/", None, "read"),
    ("GET", "/config", None, "read"),
    ("GET", "/theme.css", None, "read"),
    ("GET", "/gradio_api/info", None, "read"),
    ("GET", "/api/articles", None, "read"),
    ("GET", "/api/search?q=5G", None, "read"),
    ("GET", "/chat/tree", None, "read"),
    ("GET", "/chat/welcome", None, "read"),
    ("POST", "/api/ask", {"question": QUESTION}, "ask"),
    ("POST", "/chat/follow-ups", {"question": "问", "cited": []}, "ask"),
    ("GET", "/v1/models", None, "ask"),
    ("POST", "/gradio_api/queue/join", {}, "ask"),
    ("GET", "/nothing", None, "ask"),
    ("GET", "/metrics", None, "admin"),
    ("GET", "/chat/library", None, "admin"),
]
SCOPES: tuple[Scope, ...] = ("read", "ask", "admin")


@pytest.mark.parametrize(("method", "address", "body", "needed"), PLACES)
def test_a_place_lets_in_whose_key_may(
    house: House, method: str, address: str, body: Any, needed: Scope
) -> None:
    for scope in SCOPES:
        enough = SCOPES.index(scope) >= SCOPES.index(needed)
        for client in (house.client(scope), house.logged_in(scope)):
            response = client.request(method, address, json=body, headers={**OWN, "X-Youju-Page": "1"})
            if enough:
                assert response.status_code not in (401, 403), scope
            else:
                assert code(response) == (403, "forbidden"), scope


@pytest.mark.parametrize(("method", "address", "body", "needed"), PLACES)
def test_a_place_lets_in_nobody_else(
    house: House, method: str, address: str, body: Any, needed: Scope
) -> None:
    key, revoked = house.keys.add("gone", "admin")
    forged = Logins(AccessStore(house.store.path.parent / "another"))
    old = Logins(house.store, clock=lambda: 1_700_000_000)
    good = Logins(house.store)
    cookies = {
        "forged": written(forged, key),
        "expired": written(old, key),
        "of nobody": "nonsense",
        "of a revoked key": written(good, key),
    }
    house.keys.revoke(key.id)
    for shown in (None, "", "yj_wrong", revoked, house.secrets["admin"] + "x"):
        response = house.client(shown).request(method, address, json=body, headers=OWN)
        assert code(response)[0] in (401, 429), shown
        assert "www-authenticate" in response.headers or response.status_code == 429
    for kind, cookie in cookies.items():
        client = house.client(cookies={COOKIE: cookie})
        assert code(client.request(method, address, json=body, headers=OWN)) == (401, "unauthorized"), kind


def written(logins: Logins, key: Any) -> str:
    """The cookie that these logins would give for a key."""
    from starlette.requests import HTTPConnection
    from starlette.responses import Response

    response = Response()
    scope = {"type": "http", "scheme": "http", "path": "/", "headers": [], "server": ("127.0.0.1", 80)}
    logins.begin(key, response, HTTPConnection(scope))
    (value,) = re.findall(f"{COOKIE}=([^;]+)", response.headers["set-cookie"])
    return str(value)


def addresses(routes: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and address of every route, parameters filled in, those of mounted applications too."""
    for route in routes:
        path = prefix + re.sub(r"\{[^}]*\}", "x", getattr(route, "path", ""))
        if isinstance(route, Mount):
            yield "GET", path + "/x"
            yield from addresses(list(route.routes), path)
        elif isinstance(route, WebSocketRoute):
            yield "WEBSOCKET", path
        elif hasattr(route, "methods"):
            for method in sorted(route.methods or {"GET"}):
                yield method, path
        elif hasattr(route, "original_router"):  # FastAPI's own, around a router that is included
            yield from addresses(list(route.original_router.routes), prefix)


def test_every_route_is_closed_but_those_that_are_named_open(house: House) -> None:
    found = set(addresses(list(house.app.routes)))
    assert len(found) > 60
    assert {("GET", "/gradio_api/info"), ("POST", "/api/ask"), ("GET", "/v1/models")} <= found
    client = house.client()
    for method, path in sorted(found):
        if path in OPEN or method == "WEBSOCKET":
            continue
        response = client.request(method, path)
        assert response.status_code == 401, (method, path)
        assert method == "HEAD" or code(response) == (401, "unauthorized"), (method, path)
        assert client.request(method, path, headers=HTML).status_code in (303, 401), (method, path)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/login", "/login/login.css"])
def test_what_is_open_needs_no_key(house: House, path: str) -> None:
    assert house.client().get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/healthz/",
        "/healthz/x",
        "/HEALTHZ",
        "//healthz",
        "/login/",
        "/login/login.html",
        "/widget/ask/x",
    ],
)
def test_what_only_looks_open_is_closed(house: House, path: str) -> None:
    assert code(house.client().get(BASE + path)) == (401, "unauthorized")


def test_a_websocket_is_closed_too(house: House) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, house.client().websocket_connect("/gradio_api/x"):
        pass
    assert refused.value.code == 1008


def test_a_preflight_passes_and_an_options_request_does_not(house: House) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert house.client().options("/api/ask", headers=asked).status_code == 400  # no origin is allowed
    assert house.client().options("/api/ask").status_code == 401


def test_a_refusal_under_v1_has_openais_shape(house: House) -> None:
    body = house.client("wrong").get("/v1/models").json()
    assert set(body["error"]) == {"code", "message", "type", "param"}
    assert body["error"]["type"] == "invalid_request_error"


def test_a_key_may_come_in_its_own_header(house: House) -> None:
    headers = {"X-API-Key": house.secrets["read"]}
    assert house.client().get("/api/articles", headers=headers).status_code == 200


def test_many_wrong_keys_from_one_address_are_slowed_down_and_a_right_one_is_not(
    tmp_path: Path, few_attempts: None
) -> None:
    house = House(tmp_path)
    codes = [house.client("yj_wrong").get("/api/articles").status_code for _ in range(5)]
    assert codes == [401] * 3 + [429] * 2
    refused = house.client("yj_wrong").get("/api/articles")
    assert 1 <= int(refused.headers["retry-after"]) <= 24 * 3600
    assert house.client("ask").get("/api/articles").status_code == 200


def test_the_keys_id_reaches_the_application(house: House) -> None:
    seen: list[dict[str, Any]] = []

    def noting(app: ASGIApp) -> ASGIApp:
        async def noted(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)
            if scope["type"] == "http":
                seen.append(scope["state"])

        return noted

    with TestClient(noting(house.app), base_url=BASE) as client:
        client.get("/api/articles", headers={"X-API-Key": house.secrets["read"]})
    assert seen[0]["key"] == next(key.id for key in house.keys.all() if key.name == "read")


# --- Logging in --------------------------------------------------------------------------------------


def test_a_browser_is_led_to_the_login_page_and_back(house: House) -> None:
    client = house.client(headers=HTML)
    led = client.get("/chat/source?document=a%20b&start=1")
    assert led.status_code == 303
    assert led.headers["location"] == "/login?next=/chat/source%3Fdocument%3Da%2520b%26start%3D1"
    page = client.get(led.headers["location"])
    wanted = "/chat/source?document=a%20b&amp;start=1"
    assert f'<input type="hidden" name="next" value="{wanted}">' in page.text
    data = {"key": f" {house.secrets['ask']}\n", "next": wanted.replace("&amp;", "&")}
    back = client.post("/login", data=data, headers=OWN)
    assert (back.status_code, back.headers["location"]) == (303, "/chat/source?document=a%20b&start=1")
    flags = set(back.headers["set-cookie"].partition("; ")[2].split("; "))
    assert flags == {"HttpOnly", f"Max-Age={SECONDS}", "Path=/", "SameSite=lax"}
    assert client.get("/api/articles").status_code == 200
    assert client.get("/login").headers["location"] == "/"


def test_over_https_the_cookie_stays_there(house: House) -> None:
    client = house.client(base_url="https://youju.example")
    data = {"key": house.secrets["read"]}
    response = client.post("/login", data=data, headers={"Origin": "https://youju.example"})
    assert "Secure" in response.headers["set-cookie"].split("; ")


def test_logging_out_ends_it(house: House) -> None:
    client = house.client()
    client.post("/login", data={"key": house.secrets["ask"]}, headers=OWN)
    assert client.get("/api/articles").status_code == 200
    response = client.post("/logout", headers=OWN)
    assert (response.status_code, response.headers["location"]) == (303, "/login")
    assert code(client.get("/api/articles")) == (401, "unauthorized")


def test_revoking_a_key_ends_its_logins(house: House) -> None:
    _, secret = house.keys.add("guest", "read")
    client = house.client()
    client.post("/login", data={"key": secret}, headers=OWN)
    assert client.get("/api/articles").status_code == 200
    house.keys.revoke("guest")
    house.keys.add("guest", "read")  # the same name is another key
    assert code(client.get("/api/articles")) == (401, "unauthorized")


def test_a_wrong_key_is_told_on_the_page(tmp_path: Path, few_attempts: None) -> None:
    house = House(tmp_path)
    client = house.client(headers=OWN)
    pages = [client.post("/login", data={"key": "<b>", "next": '/"><b>'}) for _ in range(4)]
    assert [page.status_code for page in pages] == [401] * 3 + [429]
    assert 'role="alert">密钥不对或已撤销' in pages[0].text
    assert 'aria-describedby="hint problem" aria-invalid="true"' in pages[0].text
    assert "<b>" not in pages[0].text
    assert "set-cookie" not in pages[0].headers
    assert int(pages[-1].headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("data", "expected"), [({}, (422, "invalid_request")), ({"key": "x" * 20_000}, (413, "body_too_large"))]
)
def test_a_form_that_cannot_be_used_is_a_4xx(
    house: House, data: dict[str, str], expected: tuple[int, str]
) -> None:
    assert code(house.client().post("/login", data=data, headers=OWN)) == expected


FOREIGN = [
    {},
    {"Origin": "null"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "http://127.0.0.1:8000"},
    {"Origin": "http://["},
    {"Origin": BASE, "Sec-Fetch-Site": "cross-site"},
    {"Origin": BASE, "Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_sites_page_cannot_use_the_cookie(house: House, headers: dict[str, str]) -> None:
    client = house.logged_in()
    refused = client.post("/api/ask", json={"question": QUESTION}, headers=headers)
    assert code(refused) == (403, "foreign_page")
    assert code(client.post("/logout", headers=headers)) == (403, "foreign_page")
    data = {"key": house.secrets["ask"]}
    assert code(house.client().post("/login", data=data, headers=headers)) == (403, "foreign_page")


def test_its_own_page_can(house: House) -> None:
    for headers in (OWN, {**OWN, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "same-origin"}):
        asked = house.logged_in().post("/api/ask", json={"question": QUESTION}, headers=headers)
        assert asked.json()["citations"]


@pytest.mark.parametrize(
    ("wanted", "root", "expected"),
    [
        ("/", "", "/"),
        ("/chat/source?a=b%20c", "", "/chat/source?a=b%20c"),
        ("", "", "/"),
        ("//evil.example", "", "/"),
        ("/\\evil.example", "", "/"),
        ("\\\\evil.example", "", "/"),
        ("https://evil.example/", "", "/"),
        ("javascript:alert(1)", "", "/"),
        ("/\t/evil.example", "", "/"),
        ("/a\r\nSet-Cookie: x", "", "/"),
        ("/youju/?a=b", "/youju", "/youju/?a=b"),
        ("/other/", "/youju", "/youju/"),
        ("/youju/../other", "/youju", "/youju/"),
        ("/youju/%2e%2e/other", "/youju", "/youju/"),
        ("/youjux", "/youju", "/youju/"),
    ],
)
def test_the_way_back_stays_within_the_application(wanted: str, root: str, expected: str) -> None:
    assert own_address(wanted, root) == expected


# --- Without keys ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("local")
    return create_app(Settings(kb=folder), fake_chain(folder))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860"])
def test_this_machine_needs_no_key(local: Any, host: str) -> None:
    client = TestClient(local, base_url=BASE, headers={"Host": host})
    assert client.get("/api/articles").status_code == 200
    assert client.get("/login", follow_redirects=False).headers["location"] == "/"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "[", "localhost.", "0.0.0.0", ""]
)
def test_a_name_that_was_made_to_point_here_is_refused(local: Any, host: str) -> None:
    client = TestClient(local, base_url=BASE, headers={"Host": host})
    assert code(client.get("/api/articles")) == (421, "unknown_host")
    assert code(client.get("/", headers=HTML)) == (421, "unknown_host")


def test_no_keys_means_any_name_and_any_address(tmp_path: Path) -> None:
    app = create_app(Settings(kb=tmp_path, host="0.0.0.0", no_keys=True), fake_chain(tmp_path))
    assert TestClient(app, base_url="http://youju.example").get("/api/articles").status_code == 200


def test_another_address_asks_for_keys_even_when_the_last_is_revoked(tmp_path: Path) -> None:
    app = create_app(Settings(kb=tmp_path, host="0.0.0.0"), fake_chain(tmp_path))
    assert code(TestClient(app).get("/api/articles")) == (401, "unauthorized")


def test_the_first_key_closes_a_running_server(tmp_path: Path) -> None:
    client = TestClient(create_app(Settings(kb=tmp_path), fake_chain(tmp_path)), base_url=BASE)
    assert client.get("/api/articles").status_code == 200
    Keys(AccessStore(tmp_path)).add("a", "ask")
    assert code(client.get("/api/articles")) == (401, "unauthorized")


def test_where_the_keys_cannot_be_read_nobody_gets_in(tmp_path: Path) -> None:
    client = TestClient(create_app(Settings(kb=tmp_path), fake_chain(tmp_path)), base_url=BASE)
    (tmp_path / FILE).write_bytes(b"damaged" * 200)
    assert code(client.get("/api/articles")) == (503, "unavailable")


# --- Headers -----------------------------------------------------------------------------------------


def test_every_response_is_guarded(house: House) -> None:
    for response in (house.client("read").get("/"), house.client().get("/api/articles")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "same-origin"
        assert response.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert "default-src 'none'" in house.client().get("/login").headers["content-security-policy"]


def test_scopes_by_path() -> None:
    assert needed_scope("GET", "/docs/x") == "admin"
    assert needed_scope("GET", "/docsx") == "ask"
    assert needed_scope("HEAD", "/api/source/a") == "read"
    assert needed_scope("POST", "/api/articles") == "ask"
