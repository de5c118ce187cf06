"""The API's description: whole, true of what is answered, shown without any other host, and fuzzed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import jsonschema_rs
import pytest
from chat_site import Site
from fakes_ui import BROKEN, DOUBTFUL, MAX_QUESTION, NAME
from playwright.sync_api import Browser

ROOT = Path(__file__).parent.parent
QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": QUESTION}
SOURCE = f"/api/source/{quote(NAME)}"


@pytest.fixture(scope="module")
def described(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{site.url}/openapi.json").raise_for_status().json()
    return found


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def check(described: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Raises ValidationError where the value is not of the schema."""
    jsonschema_rs.validate({**schema, "components": described["components"]}, value)


# --- The description ---------------------------------------------------------------------------------


def test_every_route_is_described_once_and_nothing_else(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1")
    assert sorted(name for name, _ in operations(described)) == [
        "DELETE /api/streams/{key}",
        "GET /api/articles",
        "GET /api/articles/{key}",
        "GET /api/search",
        "GET /api/source/{document}",
        "GET /healthz",
        "GET /metrics",
        "GET /readyz",
        "GET /v1/models",
        "GET /v1/models/{name}",
        "POST /api/ask",
        "POST /v1/chat/completions",
    ]


def test_it_is_the_same_under_the_api(site: Site, described: dict[str, Any]) -> None:
    assert httpx.get(f"{site.url}/api/openapi.json").json() == described


def test_errors_are_described_as_they_are_sent(described: dict[str, Any]) -> None:
    assert "ValidationError" not in json.dumps(described)
    for name, operation in operations(described):
        shape = "OpenAIError" if "/v1/" in name else "Error"
        for status, response in operation["responses"].items():
            if status.startswith("4"):
                content = response["content"]["application/json"]
                assert content["schema"] == {"$ref": f"#/components/schemas/{shape}"}, (name, status)
        assert not ("/v1/" in name and "422" in operation["responses"])


def test_every_example_is_of_its_schema(described: dict[str, Any]) -> None:
    seen = 0
    for schema in described["components"]["schemas"].values():
        for example in schema.get("examples", ()):
            check(described, schema, example)
            seen += 1
    for _, operation in operations(described):
        for response in operation["responses"].values():
            content = response.get("content", {}).get("application/json", {})
            if "example" in content:
                check(described, content["schema"], content["example"])
                seen += 1
    assert seen > 50


ANSWERED: list[tuple[str, str, Any, int]] = [
    ("POST", "/api/ask", {"question": QUESTION}, 200),
    ("POST", "/api/ask", {"question": "火星移民"}, 200),
    ("POST", "/api/ask", {"question": f"{DOUBTFUL}：{QUESTION}"}, 200),
    ("POST", "/api/ask", {"question": ""}, 422),
    ("POST", "/api/ask", {"question": "问" * (MAX_QUESTION + 1)}, 413),
    ("POST", "/api/ask", {"question": "问", "articles": [99]}, 404),
    ("GET", "/api/articles", None, 200),
    ("GET", "/api/articles/1", None, 200),
    ("GET", "/api/articles/99", None, 404),
    ("GET", f"{SOURCE}?start=0&end=3", None, 200),
    ("GET", f"{SOURCE}?start=60&end=90", None, 200),
    ("GET", f"{SOURCE}?start=9&end=3", None, 422),
    ("GET", f"/api/search?q={quote(QUESTION)}", None, 200),
    ("DELETE", "/api/streams/none", None, 410),
    ("GET", "/v1/models", None, 200),
    ("GET", "/v1/models/youju", None, 200),
    ("GET", "/v1/models/other", None, 404),
    ("POST", CHAT, {"model": "youju", "messages": [USER]}, 200),
    ("POST", CHAT, {"model": "youju", "messages": []}, 400),
    ("GET", "/healthz", None, 200),
    ("GET", "/readyz", None, 200),
]
PATTERNS = (
    (r"/api/articles/\w+", "/api/articles/{key}"),
    (r"/api/source/.+", "/api/source/{document}"),
    (r"/api/streams/\w+", "/api/streams/{key}"),
    (r"/v1/models/\w+", "/v1/models/{name}"),
)


@pytest.mark.parametrize(("method", "address", "body", "status"), ANSWERED)
def test_what_is_answered_is_as_described(
    site: Site, described: dict[str, Any], method: str, address: str, body: Any, status: int
) -> None:
    response = httpx.request(method, site.url + address, json=body)
    assert response.status_code == status
    path = address.partition("?")[0]
    path = next((name for pattern, name in PATTERNS if re.fullmatch(pattern, path)), path)
    found = described["paths"][path][method.lower()]["responses"][str(status)]
    check(described, found["content"]["application/json"]["schema"], response.json())


# --- Errors and ids ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api", (404, "not_found")),
        ("GET", "/api/none", (404, "not_found")),
        ("GET", "/v1", (404, "not_found")),
        ("GET", "/docs/none", (404, "not_found")),
        ("GET", "/chat/none", (404, "not_found")),
        ("PUT", "/api/ask", (405, "method_not_allowed")),
        ("DELETE", "/v1/models", (405, "method_not_allowed")),
        ("POST", "/healthz", (405, "method_not_allowed")),
        ("POST", "/openapi.json", (405, "method_not_allowed")),
    ],
)
def test_unknown_paths_and_methods_are_json(
    site: Site, method: str, path: str, expected: tuple[int, str]
) -> None:
    response = httpx.request(method, site.url + path)
    assert (response.status_code, response.json()["error"]["code"]) == expected
    assert ("type" in response.json()["error"]) == path.startswith("/v1")
    assert ("allow" in response.headers) == (expected[0] == 405)


@pytest.mark.parametrize("path", ["/healthz", "/", "/api/none", "/v1/models", "/none", "/docs"])
def test_every_response_carries_an_id(site: Site, path: str) -> None:
    ids = [httpx.get(site.url + path).headers.get_list("x-request-id") for _ in range(2)]
    assert all(len(found) == 1 and re.fullmatch(r"[0-9a-f]{32}", found[0]) for found in ids)
    assert ids[0] != ids[1]
    given = httpx.get(site.url + path, headers={"X-Request-Id": "gate.7_a-B"})
    assert given.headers.get_list("x-request-id") == ["gate.7_a-B"]


@pytest.mark.parametrize("given", ["a" * 65, "a b", "é".encode().decode("latin-1"), "<script>", ""])
def test_an_id_that_is_not_safe_in_a_log_is_replaced(site: Site, given: str) -> None:
    response = httpx.get(f"{site.url}/healthz", headers={"X-Request-Id": given.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def test_a_failure_is_found_in_the_log_by_its_id(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    response = httpx.post(
        f"{site.url}/api/ask", json={"question": BROKEN}, headers={"X-Request-Id": "broken-1"}
    )
    assert response.status_code == 500
    assert response.headers.get_list("x-request-id") == ["broken-1"]
    assert "unforeseen, request broken-1" in caplog.text


# --- The page ----------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_shows_the_description_and_asks_no_other_host(site: Site, browser: Browser) -> None:
    page = browser.new_page()
    hosts, complaints = set(), []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(f"{site.url}/docs")
    page.locator("#description .opblock-summary-path").first.wait_for(timeout=30_000)
    paths = page.locator("#description .opblock-summary-path").all_inner_texts()
    page.close()
    assert len(paths) == 12
    assert any("ask" in path for path in paths)
    assert {host for host in hosts if host} == {urlsplit(site.url).netloc}  # data: has none
    assert complaints == []


# --- Fuzzing -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_generated_request_breaks_it(site: Site, tmp_path: Path) -> None:
    """A short run of benchmarks/fuzz.py, against a server that is there already."""
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), "--url", site.url, "--examples", "20"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = re.search(r"(\d[\d,]*) generated", done.stdout)
    assert cases and int(cases[1].replace(",", "")) > 200
