"""Behind a reverse proxy, under a sub-path: a small one that strips it, one that does not, nginx and Caddy as documented."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from chat_site import QUESTION, ask, follow
from fakes_ui import FakeChain, fake_chain
from playwright.sync_api import Browser, expect
from running import free_port, running
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from widget_site import portal

from rag.config import Settings, read_settings
from rag.errors import ConfigError
from ui.access import AccessStore
from ui.app import create_app
from ui.keys import Keys
from ui.sites import Sites

ROOT = "/youju"
DOCS = Path(__file__).parent.parent / "docs" / "operations.md"
QUOTE = "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。"
LISTING = "村级网格员、田间课堂、返乡青年"  # answered by three items
HTML = {"Accept": "text/html"}


@dataclass
class Proxied:
    """A server with a key, as it is reached through a proxy."""

    url: str  # with the sub-path
    origin: str
    direct: str
    key: str
    chain: FakeChain

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def forwarding(target: str, strips: bool) -> Starlette:
    """A proxy that passes everything under ``ROOT`` on."""
    client = httpx.AsyncClient(base_url=target, timeout=60)

    async def forward(request: Request) -> StreamingResponse:
        path = request.scope["raw_path"].decode()
        address = httpx.URL(path.removeprefix(ROOT) if strips else path, query=request.scope["query_string"])
        headers = [(k, v) for k, v in request.headers.raw if k != b"connection"]
        assert request.client
        headers += [(b"x-forwarded-for", request.client.host.encode()), (b"x-forwarded-proto", b"http")]
        body = await request.body()
        sent = client.build_request(request.method, address, headers=headers, content=body)
        answer = await client.send(sent, stream=True)
        response = StreamingResponse(
            answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose)
        )
        response.raw_headers = answer.headers.raw
        return response

    everything = ["GET", "HEAD", "POST", "DELETE", "OPTIONS"]
    return Starlette(routes=[Route(ROOT + "/{path:path}", forward, methods=everything)])


def stripping(target: str, folder: Path) -> AbstractContextManager[str]:
    return running(forwarding(target, strips=True))  # type: ignore[arg-type]


def keeping(target: str, folder: Path) -> AbstractContextManager[str]:
    return running(forwarding(target, strips=False))  # type: ignore[arg-type]


def documented(language: str) -> str:
    """The configuration that the documentation shows."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    return str(block)


@contextmanager
def nginx(target: str, folder: Path) -> Iterator[str]:
    port = free_port()
    shown = documented("nginx").replace("http://127.0.0.1:7860", target)
    places = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}"
        f" http {{ access_log off; {places} server {{ listen 127.0.0.1:{port};\n{shown} }} }}"
    )
    folder.chmod(0o755)
    with program("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), port=port) as url:
        yield url


@contextmanager
def caddy(target: str, folder: Path) -> Iterator[str]:
    port = free_port()
    shown = documented("caddy").replace("127.0.0.1:7860", target.removeprefix("http://"))
    site = shown.replace("youju.example", f"http://127.0.0.1:{port}")
    (folder / "Caddyfile").write_text("{\n admin off\n}\n" + site)
    arguments = ("run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile"))
    with program("caddy", *arguments, port=port) as url:
        yield url


@contextmanager
def program(name: str, *arguments: str, port: int) -> Iterator[str]:
    """A proxy's address while it runs; skips where it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    with subprocess.Popen([path, *arguments], stderr=subprocess.PIPE, text=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(300):
                assert process.poll() is None, process.stderr and process.stderr.read()
                try:
                    httpx.get(url)
                    break
                except httpx.ConnectError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.fixture(scope="module", params=[stripping, keeping, nginx, caddy], ids=lambda p: p.__name__)
def proxied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    proxy: Callable[[str, Path], AbstractContextManager[str]] = request.param
    kb = tmp_path_factory.mktemp("kb")
    chain = fake_chain(kb)
    _, key = Keys(AccessStore(kb)).add("reader", "admin")
    with (
        running(create_app(Settings(kb=kb, root_path=ROOT), chain)) as direct,
        proxy(direct, tmp_path_factory.mktemp("proxy")) as origin,
    ):
        yield Proxied(origin + ROOT, origin, direct, key, chain)


def test_the_login_and_its_cookie_stay_under_the_path(proxied: Proxied) -> None:
    with httpx.Client(timeout=60) as client:
        led = client.get(f"{proxied.url}/?a=b", headers=HTML)
        assert (led.status_code, led.headers["location"]) == (303, f"{ROOT}/login?next={ROOT}/%3Fa%3Db")
        page = client.get(proxied.origin + led.headers["location"])
        assert f'href="{ROOT}/login/login.css"' in page.text
        assert client.get(f"{proxied.url}/login/login.css").headers["content-type"].startswith("text/css")
        data = {"key": proxied.key, "next": f"{ROOT}/?a=b"}
        back = client.post(f"{proxied.url}/login", data=data, headers={"Origin": proxied.origin})
        assert (back.status_code, back.headers["location"]) == (303, f"{ROOT}/?a=b")
        assert f"Path={ROOT};" in back.headers["set-cookie"]
        assert client.get(f"{proxied.url}/").status_code == 200
        out = client.post(f"{proxied.url}/logout", headers={"Origin": proxied.origin})
        assert out.headers["location"] == f"{ROOT}/login"
        assert client.get(f"{proxied.url}/api/articles").status_code == 401


@pytest.mark.parametrize("path", ["/api/articles", "/v1/models", "/chat/tree", "/healthz", "/config"])
def test_what_is_asked_is_answered(proxied: Proxied, path: str) -> None:
    response = httpx.get(proxied.url + path, headers=proxied.headers, timeout=60)
    assert response.status_code == 200
    assert response.json()
    if path == "/config":
        assert response.json()["root"] == proxied.url


def test_the_path_without_its_slash_leads_to_the_page(proxied: Proxied) -> None:
    for address in (proxied.url, proxied.direct + ROOT):
        response = httpx.get(address)
        assert response.status_code in (301, 302, 307, 308)
        assert httpx.URL(response.headers["location"]).path == f"{ROOT}/"


def test_a_stream_is_passed_on_as_it_comes(proxied: Proxied) -> None:
    proxied.chain.pause = 0.7
    body = {"question": LISTING, "stream": True}
    came: list[tuple[str, float]] = []
    try:
        address = f"{proxied.url}/api/ask"
        with httpx.stream("POST", address, json=body, headers=proxied.headers, timeout=60) as response:
            for line in response.iter_lines():
                if line.startswith("event: "):
                    came.append((line.removeprefix("event: "), time.monotonic()))
    finally:
        proxied.chain.pause = 0
    assert [name for name, _ in came].count("sentence") == 3
    assert came[-1][0] == "done"
    assert came[-1][1] - came[0][1] > 1.5


def test_what_a_trusted_proxy_says_is_believed(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.gate._ATTEMPTS", "3/day")
    headers = {"Origin": proxied.origin, "Host": httpx.URL(proxied.origin).netloc.decode()}
    told = {**headers, "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    for sent, secure in ((headers, False), (told, True)):
        response = httpx.post(f"{proxied.direct}/login", data={"key": proxied.key}, headers=sent, timeout=60)
        assert ("Secure" in response.headers["set-cookie"]) is secure
    tries = [httpx.post(f"{proxied.direct}/login", data={"key": "x"}, headers=told) for _ in range(4)]
    assert [one.status_code for one in tries] == [401] * 3 + [429]
    other = {**told, "X-Forwarded-For": "192.0.2.8"}
    assert httpx.post(f"{proxied.direct}/login", data={"key": "x"}, headers=other).status_code == 401


@pytest.mark.parametrize("given", ["youju", "/youju/", "/", "//evil.example", "/a b", "/a?b", "/../a\n"])
def test_a_root_path_that_cannot_be_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="root_path"):
        read_settings(root_path=given)


@pytest.mark.browser
def test_a_reader_logs_in_asks_follows_a_citation_and_logs_out(proxied: Proxied, browser: Browser) -> None:
    context = browser.new_context(locale="zh-CN", reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{proxied.url}/")
    expect(page).to_have_url(re.compile(f"{ROOT}/login\\?next="))
    page.get_by_label("密钥").fill("yj_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("密钥不对")
    page.get_by_label("密钥").fill(proxied.key)
    page.get_by_role("button", name="登录").click()
    expect(page).to_have_url(f"{proxied.url}/")
    found = ask(page, QUESTION, ".answer.answered")
    assert follow(page, found.locator("a.cite").first) == QUOTE
    page.get_by_role("button", name="退出").click()
    expect(page).to_have_url(f"{proxied.url}/login")
    assert context.cookies() == []
    page.goto(f"{proxied.url}/")
    expect(page.get_by_label("密钥")).to_be_focused()
    context.close()


@pytest.mark.browser
def test_the_widget_answers_and_shows_its_source(proxied: Proxied, browser: Browser) -> None:
    port = free_port()
    site = Sites(AccessStore(proxied.chain.store.folder)).put(f"portal {port}", [f"http://localhost:{port}"])
    page = browser.new_page(locale="zh-CN", reduced_motion="reduce")
    with portal(proxied.url, port) as pages:
        page.goto(pages.page({"site": site.id, "mode": "inline", "target": "main"}))
        page.locator("textarea").fill(QUESTION)
        page.locator("textarea").press("Enter")
        page.locator(".answer .cite").first.click(timeout=60_000)
        expect(page.locator("mark.evidence")).to_have_text(QUOTE)
        page.close()


@pytest.mark.browser
def test_the_description_of_the_interface_opens(proxied: Proxied, browser: Browser) -> None:
    page = browser.new_context(extra_http_headers=proxied.headers).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{proxied.url}/docs")
    page.locator("#description .opblock-summary-path").first.wait_for(timeout=60_000)
    page.context.close()
    assert [url for url in asked if not url.startswith((f"{proxied.url}/", "data:"))] == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_login_page_is_accessible_and_needs_no_script(
    tmp_path: Path, browser: Browser, scheme: Any
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    Keys(AccessStore(tmp_path)).add("reader", "read")
    with running(create_app(Settings(kb=tmp_path), fake_chain(tmp_path))) as url:
        context = browser.new_context(color_scheme=scheme, bypass_csp=True)
        page = context.new_page()
        page.goto(f"{url}/login")
        page.get_by_label("密钥").fill("x")
        page.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_be_visible()
        violations = Axe().run(page).response["violations"]
        assert violations == [], json.dumps(violations, ensure_ascii=False)[:2000]
        context.close()
        plain = browser.new_context(java_script_enabled=False).new_page()
        plain.goto(f"{url}/login")
        plain.locator("#key").fill("x")
        plain.locator("#key").press("Enter")
        expect(plain.locator("#problem")).to_contain_text("密钥不对")
        plain.context.close()
