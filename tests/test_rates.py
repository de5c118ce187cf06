"""Limits on how often somebody may ask."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import limits.storage.memory
import limits.strategies
import pytest
from fakes_ui import NAME, fake_chain
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

import ui.rates
from rag.config import Settings, read_settings
from rag.errors import ConfigError
from ui.app import create_app
from ui.errors import ApiError
from ui.rates import Rates, subject


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still, at the start of an hour."""
    found = SimpleNamespace(now=3_600_000.0)
    stopped = SimpleNamespace(time=lambda: found.now)
    for module in (limits.storage.memory, limits.strategies, ui.rates):
        monkeypatch.setattr(module, "time", stopped)
    return found


def refusal(rates: Rates, subject: str, limit: str) -> ApiError | None:
    try:
        rates.hit(subject, limit)
    except ApiError as error:
        return error
    return None


def test_one_too_many_is_told_when_to_come_back(clock: SimpleNamespace) -> None:
    rates = Rates()
    assert [refusal(rates, "a", "3/minute") for _ in range(3)] == [None] * 3
    clock.now += 15.5
    error = refusal(rates, "a", "3/minute")
    assert error is not None
    assert (error.status, error.code, error.headers) == (429, "too_many_requests", {"Retry-After": "45"})
    clock.now += 44
    assert refusal(rates, "a", "3/minute")
    clock.now += 1  # the window has slid on: a little of the first minute is forgotten
    assert refusal(rates, "a", "3/minute") is None
    assert refusal(rates, "a", "3/minute")


def test_subjects_and_limits_are_counted_apart(clock: SimpleNamespace) -> None:
    rates = Rates()
    rates.hit("a", "1/minute")
    rates.hit("b", "1/minute")
    rates.hit("a", "2/hour")
    assert refusal(rates, "a", "1/minute") and refusal(rates, "b", "1/minute")
    assert refusal(rates, "a", "2/hour") is None


def test_many_at_once_are_counted_exactly(clock: SimpleNamespace) -> None:
    rates = Rates()
    with ThreadPoolExecutor(16) as pool:
        refused = list(pool.map(lambda _: refusal(rates, "a", "100/minute"), range(400)))
    assert sum(error is None for error in refused) == 100


def request(host: str | None, key: str | None = None) -> Request:
    scope: dict[str, Any] = {
        "type": "http",
        "client": host and (host, 1),
        "state": {"key": key} if key else {},
    }
    return Request(scope)


@pytest.mark.parametrize(
    ("host", "key", "expected"),
    [
        ("203.0.113.9", None, "address 203.0.113.9"),
        ("203.0.113.9", "portal", "key portal"),
        ("127.0.0.1", "portal", "key portal"),
        ("127.0.0.1", None, None),
        ("127.8.8.8", None, None),
        ("::1", None, None),
        ("::ffff:127.0.0.1", None, None),
        ("::ffff:203.0.113.9", None, "address 203.0.113.9"),
        ("2001:db8:1:2:aaaa::1", None, "address 2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", None, "address 2001:db8:1:2::/64"),
        ("fe80::1%eth0", None, "address fe80::/64"),
        ("unknown", None, "address unknown"),
        (None, None, None),  # over a socket of this machine
    ],
)
def test_who_asks_is_a_key_or_an_address(host: str | None, key: str | None, expected: str | None) -> None:
    assert subject(request(host, key)) == expected


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    kb = tmp_path_factory.mktemp("kb")
    return create_app(Settings(kb=kb, rate="3/hour"), fake_chain(kb))


def test_an_address_that_asks_too_often_is_told_and_others_are_not(app: FastAPI) -> None:
    chat = {"model": "youju", "messages": [{"role": "user", "content": "示范村？"}]}
    with TestClient(app, base_url="http://127.0.0.1", client=("203.0.113.9", 1)) as often:
        assert often.post("/api/ask", json={"question": "示范村？"}).status_code == 200
        assert often.post("/v1/chat/completions", json=chat).status_code == 200
        assert often.get("/api/search", params={"q": "示范村？"}).status_code == 200
        for response in (
            often.post("/api/ask", json={"question": "示范村？", "stream": True}),
            often.post("/v1/chat/completions", json=chat),
            often.get("/api/search", params={"q": "示范村？"}),
        ):
            assert (response.status_code, response.json()["error"]["code"]) == (429, "too_many_requests")
            assert 0 < int(response.headers["Retry-After"]) <= 3600
        assert often.get("/api/articles").status_code == 200  # reading is not asking
    with TestClient(app, base_url="http://127.0.0.1", client=("203.0.113.10", 1)) as other:
        assert other.post("/api/ask", json={"question": "示范村？"}).status_code == 200


def test_tools_that_ask_count_too(tmp_path: Path) -> None:
    settings = Settings(kb=tmp_path, rate="2/hour", mcp=True)
    headers = {"Accept": "application/json", "MCP-Protocol-Version": "2025-06-18"}

    def said(client: TestClient, tool: str, **arguments: Any) -> str:
        call = {"name": tool, "arguments": arguments}
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        return str(client.post("/mcp", json=request, headers=headers).json()["result"]["content"][0]["text"])

    app = create_app(settings, fake_chain(tmp_path))
    with TestClient(app, base_url="http://127.0.0.1:7860", client=("203.0.113.9", 1)) as often:
        assert "示范村" in said(often, "ask", question="示范村？")
        assert "示范村" in said(often, "search", question="示范村？")
        for tool in ("ask", "search"):
            assert "提问太频繁" in said(often, tool, question="示范村？")
        assert "before" in said(often, "read_source", document=NAME, start=0, end=3)  # reading is not asking


def test_this_machine_is_not_limited(app: FastAPI) -> None:
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as own:
        assert {own.get("/api/search", params={"q": "示范村？"}).status_code for _ in range(20)} == {200}


@pytest.mark.parametrize("rate", ["", "many", "0/minute", "60", "60/fortnight", "-1/minute"])
def test_a_rate_that_cannot_be_read_is_an_error_of_the_settings(rate: str) -> None:
    with pytest.raises(ConfigError, match="YOUJU_RATE"):
        read_settings(rate=rate)
