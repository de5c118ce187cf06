"""The configurator's files in the application."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes_ui import fake_chain
from fastapi.testclient import TestClient

from rag.config import Settings
from ui.app import create_app


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(kb=tmp_path), fake_chain(tmp_path)), "http://127.0.0.1") as found:
        found.get("/")  # after which Gradio takes scripts for another type
        yield found


@pytest.mark.parametrize(
    ("name", "kind"),
    [("configure", "text/html"), ("configure.js", "text/javascript"), ("configure.css", "text/css")],
)
def test_its_files_are_served_under_a_strict_policy(client: TestClient, name: str, kind: str) -> None:
    response = client.get(f"/widget/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_its_addresses_are_relative_so_that_a_proxy_may_serve_it_anywhere(client: TestClient) -> None:
    addresses = re.findall(r'(?:src|href)="([^"]*)"', client.get("/widget/configure").text)
    assert addresses == ["data:,", "configure.css", "../widget.js", "configure.js"]
