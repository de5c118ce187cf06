"""Adding documents over HTTP: previewed, stored, answered from at once, re-read and removed."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from builders import compilation
from fakes import FakeEncoder
from fastapi.testclient import TestClient

from rag.chain import Chain, open_chain
from rag.config import Settings, read_settings
from rag.ingest import ingest
from rag.records import Passage, Question
from rag.retrieve import HybridRetriever
from rag.store import Store
from ui import waiting
from ui.app import create_app
from ui.errors import ApiError
from ui.library import PAGE_HEADER
from ui.originals import Originals
from ui.waiting import Waiting, checked_name
from ui.work import Work

NAME = "汇编 之一.txt"
PAGE = {PAGE_HEADER: "1"}
QUESTION = "垃圾分类第几版提出建成多少个示范点？"
MOST = 100_000  # bytes of a file, in these tests


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A knowledge base that holds one document, read from a folder of its own."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "旧文.txt").write_text("河道巡查每周两次，由河长负责。", encoding="utf-8")
    settings = Settings(kb=tmp_path / "kb", allow_upload=True, max_upload=MOST, refuse_below=0)
    ingest([docs / "旧文.txt"], settings, FakeEncoder())
    return settings


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def client(settings: Settings, encoder: FakeEncoder) -> Iterator[TestClient]:
    retriever = HybridRetriever(store=Store.open(settings.kb), encoder=encoder)
    with TestClient(
        create_app(settings, Chain(retriever, settings)),
        base_url="http://127.0.0.1",
        headers=PAGE,
        raise_server_exceptions=False,
    ) as found:
        yield found


def preview(client: TestClient, name: str = NAME, text: str | bytes | None = None) -> httpx.Response:
    data = compilation() if text is None else text
    content = data.encode() if isinstance(data, str) else data
    return client.post("/chat/library/preview", files={"file": (name, content)})


def store(client: TestClient, *tokens: str) -> httpx.Response:
    return client.post("/chat/library/store", json={"tokens": tokens})


def add(client: TestClient, name: str = NAME, text: str | None = None) -> dict[str, Any]:
    """Preview and store one file; its report."""
    (report,) = done(store(client, preview(client, name, text).json()["token"]))
    return report


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    fields = [
        dict(line.split(": ", 1) for line in block.split("\n"))
        for block in response.text.strip().split("\n\n")
    ]
    return [(f["event"], json.loads(f["data"])) for f in fields]


def done(response: httpx.Response) -> list[dict[str, Any]]:
    """The reports at the end of the events."""
    name, data = events(response)[-1]
    assert name == "done", data
    reports: list[dict[str, Any]] = data["documents"]
    return reports


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def names(client: TestClient) -> list[str]:
    return [row["name"] for row in client.get("/chat/library").json()["documents"]]


def answer(client: TestClient, question: str = QUESTION) -> dict[str, Any]:
    found: dict[str, Any] = client.post("/api/ask", json={"question": question}).raise_for_status().json()
    return found


# --- Preview -----------------------------------------------------------------------------------------


def test_a_preview_shows_the_split_and_stores_nothing(client: TestClient) -> None:
    shown = preview(client).json()
    assert (shown["name"], shown["encoding"], shown["characters"]) == (NAME, "utf-8", len(compilation()))
    assert [a["title"] for a in shown["articles"]][:2] == [
        "关于网格管理工作的实施意见之1",
        "关于养老服务工作的实施意见之2",
    ]
    assert shown["articles"][0]["number"] == 1
    assert shown["articles"][0]["sections"] == [
        {"label": "一、总体要求", "sections": []},
        {
            "label": "二、重点任务",
            "sections": [
                {"label": "(一)健全机制", "sections": []},
                {"label": "(二)压实责任", "sections": []},
            ],
        },
    ]
    assert (shown["warnings"], shown["replaces"], shown["unchanged"]) == ([], False, False)
    assert names(client) == ["旧文.txt"]


def test_a_preview_says_what_storing_would_replace(client: TestClient) -> None:
    add(client)
    assert preview(client).json()["unchanged"] is True
    changed = preview(client, text=compilation(version=2)).json()
    assert (changed["name"], changed["replaces"]) == (NAME, True)


def test_a_file_of_the_same_name_from_elsewhere_is_not_replaced(client: TestClient) -> None:
    shown = preview(client, "旧文.txt", "网格管理由网格长负责。").json()
    assert (shown["name"], shown["replaces"]) == ("files/旧文.txt", False)
    assert shown["warnings"] == ["已有同名的文件“旧文.txt”，它会保留 (another file of this name stays)"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"%PDF-1.7 \x00", "报告.x 是 PDF 文件, 不是文本"),
        (b"PK\x03\x04\x00", "报告.x 是 Word/Excel/zip 文件, 不是文本"),
        (b"\x7fELF\x00\x01", "报告.x 是 ELF 文件, 不是文本"),
        (bytes(range(256)) * 4, "报告.x 是二进制文件, 不是文本"),
        (b" \n", "报告.x 是空文件"),
    ],
)
def test_what_cannot_be_read_says_why(client: TestClient, content: bytes, says: str) -> None:
    response = preview(client, "报告.x", content)
    assert error(response) == (422, "unusable_file")
    assert response.json()["error"]["message"].startswith(says)


def test_a_file_that_is_too_large_is_refused(client: TestClient) -> None:
    assert preview(client, text="字" * (MOST // 3)).status_code == 200
    assert error(preview(client, text="字" * (MOST // 3 + 1))) == (413, "file_too_large")
    assert error(preview(client, text="字" * MOST)) == (
        413,
        "file_too_large",
    )  # cut off before it is read whole


@pytest.mark.parametrize("body", [{"data": {"file": "文字"}}, {"json": {}}, {"files": {"other": b"1"}}])
def test_a_request_without_a_file_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert error(client.post("/chat/library/preview", **body)) == (422, "no_file")


@pytest.mark.parametrize(
    "name",
    ["", " ", ".隐藏.txt", "../出去.txt", "a\\b.txt", "换\n行.txt", "倒\u202e序.txt", "长" * 67 + ".txt"],
)
def test_names_that_are_no_plain_file_name_are_refused(name: str) -> None:
    with pytest.raises(ApiError, match="文件名不可用") as raised:
        checked_name(name)
    assert (raised.value.status, raised.value.code) == (422, "bad_name")


def test_a_path_never_leaves_the_folder(client: TestClient, settings: Settings) -> None:
    assert error(preview(client, "..\\..\\etc")) == (422, "bad_name")
    assert not (settings.kb / "files").exists()


# --- Waiting -----------------------------------------------------------------------------------------


def test_waiting_files_are_private_and_end_with_the_server() -> None:
    files = Waiting()
    (file,) = files.get([files.add("甲.txt", "字".encode())])
    assert file.path.read_text() == "字"
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    files.close()
    assert not file.path.parent.exists()


def test_nothing_waits_when_the_server_has_stopped(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    retriever = HybridRetriever(store=Store.open(settings.kb), encoder=FakeEncoder())
    with TestClient(
        create_app(settings, Chain(retriever, settings)), base_url="http://127.0.0.1", headers=PAGE
    ) as client:
        preview(client).raise_for_status()
        assert len(list(tmp_path.glob("youju-*/*"))) == 1
    assert list(tmp_path.glob("youju-*")) == []


def test_waiting_files_are_forgotten_after_an_hour() -> None:
    now = [0.0]
    files = Waiting(lambda: now[0])
    token = files.add("甲.txt", b"1")
    (file,) = files.get([token])
    now[0] = 3599.0
    assert files.get([token]) == [file]
    now[0] = 3600.0
    with pytest.raises(ApiError, match="重新选择"):
        files.get([token])
    assert not file.path.exists()
    files.close()


def test_only_so_many_files_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_FILES", 2)
    files = Waiting()
    first = files.add("甲.txt", b"1")
    files.add("乙.txt", b"2")
    with pytest.raises(ApiError) as raised:
        files.add("丙.txt", b"3")
    assert (raised.value.status, raised.value.code) == (429, "too_many_waiting")
    files.discard([first, "gone"])
    files.add("丙.txt", b"3")
    files.close()


def test_a_cancelled_file_cannot_be_stored(client: TestClient) -> None:
    token = preview(client).json()["token"]
    assert client.post("/chat/library/cancel", json={"tokens": [token]}).status_code == 204
    assert error(store(client, token)) == (404, "unknown_file")


# --- Storing -----------------------------------------------------------------------------------------


def test_storing_tells_each_step_and_ends_with_a_report(client: TestClient, settings: Settings) -> None:
    told = events(store(client, preview(client).json()["token"]))
    steps = [data["step"] for name, data in told if name == "progress"]
    assert list(dict.fromkeys(steps)) == ["read", "split", "embed", "store"]
    (report,) = told[-1][1]["documents"]
    assert (report["name"], report["status"]) == (NAME, "added")
    assert (report["articles"], report["sections"]) == (4, 16)
    assert (settings.kb / "files" / NAME).read_text(encoding="utf-8") == compilation()


def test_the_running_chain_answers_from_what_was_stored(client: TestClient) -> None:
    assert {p["document"] for p in answer(client)["retrieved"]} == {"旧文.txt"}
    add(client)
    found = answer(client)
    assert found["citations"][0]["document"] == NAME
    assert "第1版" in found["answer"]
    add(client, text=compilation(version=2))
    found = answer(client)
    assert "第2版" in found["answer"]
    text = compilation(version=2)
    assert all(text[c["start"] : c["end"]] == c["quote"] for c in found["citations"])
    client.delete("/chat/library/" + quote(NAME)).raise_for_status()
    assert {p["document"] for p in answer(client)["retrieved"]} == {"旧文.txt"}


def test_the_chains_encoder_embeds_what_is_stored(client: TestClient, encoder: FakeEncoder) -> None:
    add(client)
    assert any("垃圾分类" in text for text in encoder.encoded)


def test_several_files_are_stored_at_once(client: TestClient) -> None:
    tokens = [preview(client, f"{n}.txt", compilation(version=n)).json()["token"] for n in (1, 2)]
    assert [report["name"] for report in done(store(client, *tokens))] == ["1.txt", "2.txt"]
    assert error(store(client, *tokens)) == (404, "unknown_file")


def test_two_files_of_one_name_are_not_stored_at_once(client: TestClient) -> None:
    tokens = [preview(client, text=compilation(version=n)).json()["token"] for n in (1, 2)]
    assert error(store(client, *tokens)) == (422, "same_name")


def test_a_copy_of_what_is_stored_leaves_no_file(client: TestClient, settings: Settings) -> None:
    report = add(client, "旧文.txt", "河道巡查每周两次，由河长负责。")
    assert (report["name"], report["status"]) == ("旧文.txt", "unchanged")
    assert list((settings.kb / "files").iterdir()) == []


def test_a_failure_leaves_all_as_it_was_and_the_file_waiting(client: TestClient, settings: Settings) -> None:
    add(client)
    token = preview(client, text=compilation(version=2)).json()["token"]
    with Store.open(settings.kb, writable=True):
        (*_, (name, data)) = events(store(client, token))
    assert (name, data["error"]["code"]) == ("error", "busy")
    assert "另一个进程正在写入" in data["error"]["message"]
    assert [path.name for path in (settings.kb / "files").iterdir()] == [NAME]
    assert (settings.kb / "files" / NAME).read_text(encoding="utf-8") == compilation()
    (report,) = done(store(client, token))
    assert report["status"] == "updated"


def test_a_new_file_goes_again_when_storing_fails(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("新")
    originals = Originals(tmp_path)
    with pytest.raises(RuntimeError), originals.placed({"甲.txt": source}) as (path,):
        assert path.read_text() == "新"
        raise RuntimeError
    assert list(originals.folder.iterdir()) == []


def test_one_ingest_at_a_time() -> None:
    work, may_end = Work(), threading.Event()
    told = work.start(lambda tell: {"ended": may_end.wait(10)})
    with pytest.raises(ApiError, match="等它结束后再试") as raised:
        work.start(lambda tell: {})
    assert (raised.value.status, raised.value.code) == (409, "busy")
    with pytest.raises(ApiError), work.alone():
        pass
    may_end.set()
    assert list(told) == [("done", {"ended": True})]
    with work.alone():
        pass


def test_work_is_done_although_nobody_listens() -> None:
    ended = threading.Event()

    def task(tell: Callable[[str, int, int], None]) -> dict[str, Any]:
        tell("read", 0, 1)
        ended.set()
        return {}

    next(Work().start(task))  # and the reader goes away
    assert ended.wait(10)


# --- Re-reading and removing -------------------------------------------------------------------------


def reread(client: TestClient, document: str) -> httpx.Response:
    return client.post("/chat/library/reread", json={"document": document})


def test_a_changed_file_is_read_again(client: TestClient, settings: Settings) -> None:
    (report,) = done(reread(client, "旧文.txt"))
    assert report["status"] == "unchanged"
    (settings.kb.parent / "docs" / "旧文.txt").write_text("河道巡查每周五次，由河长负责。", encoding="utf-8")
    (report,) = done(reread(client, "旧文.txt"))
    assert report["status"] == "updated"
    assert "每周五次" in answer(client, "河道巡查每周几次？")["answer"]


def test_a_file_that_is_gone_cannot_be_read_again(client: TestClient, settings: Settings) -> None:
    (settings.kb.parent / "docs" / "旧文.txt").unlink()
    assert error(reread(client, "旧文.txt")) == (409, "file_gone")
    assert error(reread(client, "没有.txt")) == (404, "unknown_document")
    assert client.get("/chat/library").json()["documents"][0]["present"] is False


def test_removing_takes_the_added_file_along_and_no_other(client: TestClient, settings: Settings) -> None:
    add(client)
    assert client.delete("/chat/library/" + quote(NAME)).status_code == 204
    assert names(client) == ["旧文.txt"]
    assert list((settings.kb / "files").iterdir()) == []
    assert client.delete("/chat/library/" + quote("旧文.txt")).status_code == 204
    assert (settings.kb.parent / "docs" / "旧文.txt").exists()
    assert error(client.delete("/chat/library/" + quote("旧文.txt"))) == (404, "unknown_document")


def test_a_name_with_a_slash_can_be_removed(client: TestClient) -> None:
    add(client, "旧文.txt", "网格管理由网格长负责。")
    assert client.delete("/chat/library/" + quote("files/旧文.txt", safe="")).status_code == 204
    assert names(client) == ["旧文.txt"]


def test_an_emptied_knowledge_base_refuses_and_takes_documents_again(client: TestClient) -> None:
    client.delete("/chat/library/" + quote("旧文.txt")).raise_for_status()
    assert answer(client)["refused"] is True
    add(client)
    assert "第1版" in answer(client)["answer"]


def test_a_service_may_begin_without_any_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.chain.sentence_encoder", lambda settings: FakeEncoder())
    settings = Settings(kb=tmp_path, allow_upload=True, refuse_below=0, reader="none")
    Store.open(tmp_path, writable=True, create=True).close()
    with TestClient(
        create_app(settings, open_chain(settings)), base_url="http://127.0.0.1", headers=PAGE
    ) as client:
        assert answer(client)["refused"] is True
        add(client)
        assert "第1版" in answer(client)["answer"]


# --- Who may -----------------------------------------------------------------------------------------


def test_the_routes_exist_only_where_they_are_allowed(settings: Settings, encoder: FakeEncoder) -> None:
    closed = settings.model_copy(update={"allow_upload": False})
    retriever = HybridRetriever(store=Store.open(settings.kb), encoder=encoder)
    client = TestClient(
        create_app(closed, Chain(retriever, closed)), base_url="http://127.0.0.1", headers=PAGE
    )
    assert client.get("/chat/library").status_code == 404
    assert preview(client).status_code in (404, 405)
    assert store(client, "token").status_code in (404, 405)
    assert client.delete("/chat/library/" + quote("旧文.txt")).status_code in (404, 405)
    assert "youju-library" not in client.get("/").text


def test_the_page_says_that_documents_may_be_added(client: TestClient) -> None:
    assert "youju-library" in client.get("/").text


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:81", "null"])
def test_another_sites_page_is_refused(client: TestClient, origin: str) -> None:
    client.headers["origin"] = origin
    assert error(preview(client)) == (403, "foreign_page")
    assert error(store(client, "token")) == (403, "foreign_page")
    assert error(reread(client, "旧文.txt")) == (403, "foreign_page")
    assert error(client.delete("/chat/library/" + quote("旧文.txt"))) == (403, "foreign_page")


def test_a_form_without_the_pages_header_is_refused(client: TestClient) -> None:
    client.headers["origin"] = "http://127.0.0.1"
    assert preview(client).status_code == 200
    del client.headers[PAGE_HEADER]
    assert error(preview(client)) == (403, "foreign_page")
    assert error(client.delete("/chat/library/" + quote("旧文.txt"))) == (403, "foreign_page")


def test_no_other_origin_is_allowed_to_send_the_header(client: TestClient) -> None:
    asked = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": PAGE_HEADER,
    }
    response = client.options("/chat/library/store", headers=asked)
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers


# --- Answers while the documents change --------------------------------------------------------------


def test_an_answer_under_way_quotes_one_state_of_a_document(settings: Settings) -> None:
    path = settings.kb.parent / "docs" / "旧文.txt"

    class Interrupted(Chain):
        """The document is replaced between the search and the reading of its text."""

        pending = True

        def _source(self, retrieval: Any) -> Any:
            if self.pending:
                self.pending = False
                path.write_text("新增的开头。河道巡查每周五次，由河长负责。", encoding="utf-8")
                ingest([path], settings, FakeEncoder())
            return super()._source(retrieval)

    chain = Interrupted(HybridRetriever(store=Store.open(settings.kb), encoder=FakeEncoder()), settings)
    found = chain.invoke(Question("河道巡查每周几次？"))
    text = path.read_text(encoding="utf-8")
    passages: tuple[Passage, ...] = found.retrieved
    assert "每周五次" in found.text
    assert all(text[c.start : c.end] == c.quote for c in found.citations)
    assert all(text[p.start : p.end] == p.text for p in passages)


def test_the_settings_have_safe_defaults() -> None:
    settings = read_settings()
    assert (settings.allow_upload, settings.max_upload) == (False, 50_000_000)
