"""The routes that fill the page's panels: an article at a place, the tree of documents, errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes_ui import NAME, fake_chain, written
from fastapi import FastAPI
from fastapi.testclient import TestClient
from markup import Page

from rag.records import Document, Outline
from rag.store import Store
from ui.errors import answer_errors
from ui.panels import panels
from ui.service import Service

DOCUMENT, OUTLINE = written()
TEXT = DOCUMENT.text


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    return tmp_path / "kb"


@pytest.fixture
def client(kb: Path) -> Iterator[TestClient]:
    app = FastAPI()
    answer_errors(app)
    app.include_router(panels(Service(fake_chain(kb))))
    with TestClient(app, base_url="http://127.0.0.1") as found:
        yield found


def source(client: TestClient, **place: Any) -> Page:
    response = client.get("/chat/source", params={"document": NAME, **place})
    assert response.status_code == 200, response.text
    return Page(response.text)


def at(quote: str) -> dict[str, int]:
    start = TEXT.index(quote)
    return {"start": start, "end": start + len(quote)}


def test_a_cited_span_opens_its_article_with_the_other_citations_marked(client: TestClient) -> None:
    other, far = at("给予每人每月800元补贴"), at("满意率96.5%")
    page = source(client, **at("每村至少配备2名"), also=[f"{o['start']}-{o['end']}" for o in (other, far)])
    assert page.text("h2") == "关于加快青禾县数字乡村建设的实施意见"
    assert page.text("mark.evidence") == "每村至少配备2名"
    assert page.text_where("data-also", "0") == "给予每人每月800元补贴"
    assert page.text_where("data-also", "1") == ""  # in another article


def test_an_article_or_a_section_opens_without_evidence(client: TestClient) -> None:
    assert source(client, article=3).text("h2") == "关于社区养老服务的调研报告"
    section = OUTLINE.articles[2].sections[1]
    page = source(client, start=section.start, end=section.end, heading=1)
    assert not page.all("mark")
    assert page.text("ol.path") == "二、对策建议"


@pytest.mark.parametrize(
    ("place", "status", "said"),
    [
        ({"document": "无.txt", "article": 1}, 404, "没有名为“无.txt”的文件"),
        ({"article": 9}, 404, "没有第 9 篇"),
        ({"start": 5, "end": 5}, 422, "不在文件内"),
        ({"start": 0, "end": 3}, 404, "不在任何文章内"),
        ({"start": 100, "end": 103, "heading": 1}, 404, "这一节不在文章里了"),
        ({"article": 1, "also": "3"}, 422, "also"),
        ({"article": 1, "also": f"0-{len(TEXT) + 1}"}, 422, "不在文件内"),
    ],
)
def test_a_place_that_is_not_there_is_said(
    client: TestClient, place: dict[str, Any], status: int, said: str
) -> None:
    response = client.get("/chat/source", params={"document": NAME, **place})
    assert response.status_code == status
    assert said in response.json()["error"]["message"]


def test_the_tree_holds_every_level_and_is_sent_once(client: TestClient, kb: Path) -> None:
    response = client.get("/chat/tree")
    ((name, groups),) = response.json()
    assert name == NAME
    assert [(category, [a[:2] for a in articles]) for category, articles in groups] == [
        ("意见决定", [[1, "关于加快青禾县数字乡村建设的实施意见"]]),
        ("经验交流", [[2, '红石镇<基层>治理的"三步"探索']]),
        ("调研报告", [[3, "关于社区养老服务的调研报告"]]),
    ]
    label, start, end, inner = groups[0][1][0][4][1]
    assert label == "二、重点任务" and TEXT[start:end].startswith("二、重点任务。")
    assert [s[0] for s in inner] == ["(一)夯实网络底座", "(二)建强服务队伍"]

    known = {"If-None-Match": response.headers["etag"]}
    assert response.headers["cache-control"] == "no-cache"
    again = client.get("/chat/tree", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    with Store.open(kb, writable=True) as store, store.transaction():
        store.put(Document("新.txt", "1", TEXT, "utf-8"), Outline(OUTLINE.articles[:1]), ())
    changed = client.get("/chat/tree", headers=known)
    assert changed.status_code == 200
    assert [name for name, _ in changed.json()] == ["新.txt", NAME]
    assert Page(client.get("/chat/welcome").text).text("ul.counts").startswith("2 份文件")


def test_the_first_page_is_written_before_the_server_listens(kb: Path) -> None:
    chain = fake_chain(kb)
    app = FastAPI()
    app.include_router(panels(Service(chain)))
    with TestClient(app) as client:
        chain.store.articles = pytest.fail  # type: ignore[method-assign]
        assert "3</strong> 篇文章" in client.get("/chat/welcome").text
        assert client.get("/chat/tree").json()[0][0] == NAME
