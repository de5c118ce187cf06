"""The HTTP API over a small knowledge base and a chain without a model."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fakes_ui import BROKEN, MAX_QUESTION, NAME, FakeChain, fake_chain, written
from fastapi.testclient import TestClient

from rag.config import Settings
from rag.records import Done, Event, Question
from ui.app import create_app
from ui.chat import STATIC
from ui.limits import MAX_BODY
from ui.service import Service

QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> FakeChain:
    return fake_chain(tmp_path_factory.mktemp("kb"))


@pytest.fixture(scope="module")
def client(chain: FakeChain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(kb=tmp_path_factory.mktemp("unused"), max_question=MAX_QUESTION)
    app = create_app(settings, chain)
    with TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 1)) as found:
        yield found


def error(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, which has the one shape that errors have."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["message"]
    return response.status_code, body["error"]["code"]


def events(response: httpx.Response) -> list[tuple[int, str, Any]]:
    """The server-sent events of a response."""
    out = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        out.append((int(fields["id"].rpartition(".")[2]), fields["event"], json.loads(fields["data"])))
    return out


def place(start: int, end: int, document: str = NAME, **more: int) -> dict[str, Any]:
    """A span as requests name it."""
    return {"document": document, "start": start, "end": end, **more}


# --- Asking ----------------------------------------------------------------------------------------


def test_an_answer_cites_the_exact_characters(client: TestClient) -> None:
    answer = client.post("/api/ask", json={"question": QUESTION}).json()
    assert answer["refused"] is False
    assert answer["answer"] == "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。[1]"
    (citation,) = answer["citations"]
    assert citation["article"]["number"] == 1
    assert citation["section"] == ["一、总体目标"]
    text = written()[0].text
    assert text[citation["start"] : citation["end"]] == citation["quote"]


def test_what_the_documents_do_not_hold_is_refused(client: TestClient) -> None:
    answer = client.post("/api/ask", json={"question": "火星移民"}).json()
    assert answer["refused"] is True
    assert answer["citations"] == []


def test_a_stream_tells_the_answer_step_by_step(client: TestClient) -> None:
    response = client.post("/api/ask", json={"question": QUESTION, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    told = events(response)
    assert [name for _, name, _ in told] == ["retrieved", "citation", "sentence", "done"]
    assert [number for number, _, _ in told] == [1, 2, 3, 4]
    assert told[-1][2] == client.post("/api/ask", json={"question": QUESTION}).json()


def test_a_failure_in_mid_stream_is_its_last_event(client: TestClient, chain: FakeChain) -> None:
    real = chain.stream

    def breaking(question: Question) -> Iterator[Event]:
        yield next(real(question))
        raise RuntimeError("the fake breaks in the middle")

    chain.stream = breaking  # type: ignore[method-assign]
    try:
        told = events(client.post("/api/ask", json={"question": QUESTION, "stream": True}))
    finally:
        del chain.stream  # type: ignore[method-assign]
    assert [name for _, name, _ in told] == ["retrieved", "error"]
    assert told[-1][2]["error"]["code"] == "internal"


@pytest.mark.parametrize("articles", [[3], [[NAME, 3]]])
def test_a_question_can_be_restricted_to_articles(client: TestClient, articles: list[Any]) -> None:
    answer = client.post("/api/ask", json={"question": QUESTION, "articles": articles}).json()
    assert {row["article"] for row in answer["retrieved"]} == {3}


def test_a_question_can_be_restricted_to_sections(client: TestClient) -> None:
    text = written()[0].text
    start, end = text.index("(一)夯实网络底座"), text.index("(二)建强服务队伍")
    within = [{"document": NAME, "start": start, "end": end}]
    answer = client.post("/api/ask", json={"question": "县财政安排多少专项资金？", "within": within}).json()
    assert answer["retrieved"] and answer["citations"]
    for place in (*answer["retrieved"], *answer["citations"]):
        assert start <= place["start"] < place["end"] <= end


def test_articles_and_sections_are_a_union(client: TestClient) -> None:
    start = written()[0].text.index("一、总体目标")
    within = [{"document": NAME, "start": start, "end": start + 60}]
    body = {"question": QUESTION, "articles": [[NAME, 3]], "within": within}
    assert {row["article"] for row in client.post("/api/ask", json=body).json()["retrieved"]} == {1, 3}


def test_earlier_citations_are_made_again_from_the_documents(client: TestClient, chain: FakeChain) -> None:
    first = client.post("/api/ask", json={"question": QUESTION}).json()["citations"][0]
    cited = [{"n": 7, **{key: first[key] for key in ("document", "start", "end")}}]
    assert client.post("/api/ask", json={"question": QUESTION, "cited": cited}).status_code == 200
    (known,) = chain.asked[-1].cited
    assert known.as_json() == {**first, "n": 7}
    assert known.article.id == chain.store.articles()[0].id


def test_every_sentence_says_its_kind(client: TestClient) -> None:
    answer = client.post("/api/ask", json={"question": "建强服务队伍，选好村级网格员，每村配备几名？"}).json()
    assert [s["kind"] for s in answer["sentences"]] == ["item"]


def test_earlier_turns_reach_the_chain(client: TestClient, chain: FakeChain) -> None:
    history = [{"role": "user", "content": "示范村？"}, {"role": "assistant", "content": "36个。"}]
    client.post("/api/ask", json={"question": QUESTION, "history": history})
    assert [(turn.role, turn.content) for turn in chain.asked[-1].history] == [
        ("user", "示范村？"),
        ("assistant", "36个。"),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"question": ""}, (422, "empty_question")),
        ({"question": " \n\u3000"}, (422, "empty_question")),
        ({"question": "问" * (MAX_QUESTION + 1)}, (413, "question_too_long")),
        ({"question": "问" * 100_000}, (413, "question_too_long")),
        ({"question": "问", "articles": [99]}, (404, "unknown_article")),
        ({"question": "问", "articles": [["别的.txt", 1]]}, (404, "unknown_article")),
        ({"question": "问", "articles": [0]}, (422, "invalid_request")),
        ({"question": "问", "articles": [10**30]}, (422, "invalid_request")),
        ({"question": "问", "articles": "1"}, (422, "invalid_request")),
        ({"question": "问", "history": [{"role": "system", "content": ""}]}, (422, "invalid_request")),
        ({"question": "问", "article": [1]}, (422, "invalid_request")),  # a slip is told, not ignored
        ({"question": "问", "within": [place(0, 9, "别的.txt")]}, (404, "unknown_document")),
        ({"question": "问", "within": [place(9, 9)]}, (422, "bad_span")),
        ({"question": "问", "within": [place(0, 10**30)]}, (422, "bad_span")),
        ({"question": "问", "within": [place(-1, 9)]}, (422, "invalid_request")),
        ({"question": "问", "within": [{"document": NAME}]}, (422, "invalid_request")),
        ({"question": "问", "within": [place(0, 9)] * 1001}, (422, "invalid_request")),
        ({"question": "问", "cited": [place(99, 105, n=0)]}, (422, "invalid_request")),
        ({"question": "问", "cited": [place(99, 105)]}, (422, "invalid_request")),
        ({"question": "问", "cited": [place(99, 105, n=2), place(99, 104, n=2)]}, (422, "bad_citations")),
        ({"question": "问", "cited": [place(0, 9, n=1)]}, (422, "bad_citations")),  # before all articles
        ({"question": "问", "cited": [place(60, 600, n=1)]}, (422, "bad_citations")),  # in two of them
        ({"question": "问", "cited": [place(0, 9, "别的.txt", n=1)]}, (404, "unknown_document")),
        ({"question": "问", "cited": [place(9, 10**6, n=1)]}, (422, "bad_span")),
        (
            {"question": "问", "cited": [place(99, 105, n=n + 1) for n in range(501)]},
            (422, "invalid_request"),
        ),
        ({"question": ["问"]}, (422, "invalid_request")),
        ({}, (422, "invalid_request")),
        ([], (422, "invalid_request")),
    ],
)
def test_a_question_that_cannot_be_used_is_a_4xx(
    client: TestClient, body: Any, expected: tuple[int, str]
) -> None:
    assert error(client.post("/api/ask", json=body)) == expected
    if isinstance(body, dict):
        assert error(client.post("/api/ask", json={**body, "stream": True})) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", (400, "bad_json")),
        (b"\xff\xfe", (400, "bad_json")),
        (b'{"question": "\\ud800"}', (422, "invalid_request")),  # half a character
        (b'{"\\ud800": 1}', (422, "invalid_request")),
        (b'{"question": "' + b"a" * MAX_BODY + b'"}', (413, "body_too_large")),
    ],
)
def test_a_body_that_cannot_be_read_is_a_4xx(
    client: TestClient, content: bytes, expected: tuple[int, str]
) -> None:
    headers = {"content-type": "application/json"}
    assert error(client.post("/api/ask", content=content, headers=headers)) == expected


def test_a_body_whose_length_is_not_announced_is_limited_too(client: TestClient) -> None:
    parts = iter([b'{"question": "', *[b"a" * 100_000] * 11])
    response = client.post("/api/ask", content=parts, headers={"content-type": "application/json"})
    assert error(response) == (413, "body_too_large")


def test_an_unforeseen_failure_is_logged_and_not_shown(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = client.post("/api/ask", json={"question": BROKEN})
    assert error(response) == (500, "internal")
    assert "fake breaks" not in response.text
    assert "fake breaks" in caplog.text


# --- Reading ---------------------------------------------------------------------------------------


def test_articles_are_listed_as_the_command_line_lists_them(client: TestClient, chain: FakeChain) -> None:
    listed = client.get("/api/articles").json()
    assert [(row["number"], row["category"], row["title"]) for row in listed] == [
        (1, "意见决定", "关于加快青禾县数字乡村建设的实施意见"),
        (2, "经验交流", '红石镇<基层>治理的"三步"探索'),
        (3, "调研报告", "关于社区养老服务的调研报告"),
    ]
    assert [{k: v for k, v in row.items() if k != "id"} for row in listed] == [
        stored.as_json() for stored in chain.store.articles()
    ]


def test_an_article_comes_with_its_text_and_its_sections(client: TestClient) -> None:
    key = client.get("/api/articles").json()[0]["id"]
    article = client.get(f"/api/articles/{key}").json()
    text = written()[0].text
    assert article["text"] == text[article["start"] : article["end"]]
    assert [s["heading"] for s in article["sections"]] == ["总体目标", "重点任务"]
    items = article["sections"][1]["sections"][1]["sections"]
    assert [item["marker"] for item in items] == ["一是", "二是", "三是"]


def test_a_source_span_is_given_exactly_with_its_place(client: TestClient) -> None:
    text = written()[0].text
    start = text.index("满意率")
    address = f"/api/source/{quote(NAME)}?start={start}&end={start + 8}&context=6"
    place = client.get(address).json()
    assert place["before"] + place["text"] + place["after"] == text[start - 6 : start + 14]
    assert place["text"] == "满意率96.5%"
    assert place["article"]["number"] == 2
    assert place["section"] == ["二、一线办理"]
    assert place["sha256"] == written()[0].sha256


def test_a_span_outside_every_article_has_none(client: TestClient) -> None:
    place = client.get(f"/api/source/{quote(NAME)}?start=0&end=3").json()
    assert (place["text"], place["article"], place["section"], place["before"]) == ("青禾县", None, [], "")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/api/articles/999", (404, "unknown_article")),
        ("/api/articles/x", (422, "invalid_request")),
        (f"/api/articles/{10**30}", (422, "invalid_request")),
        ("/api/source/none.txt?start=0&end=1", (404, "unknown_document")),
        ("/api/source/a/b%00%2e%2e/c?start=0&end=1", (404, "unknown_document")),
        (f"/api/source/{quote(NAME)}?start=5&end=5", (422, "bad_span")),
        (f"/api/source/{quote(NAME)}?start=5&end=99999", (422, "bad_span")),
        (f"/api/source/{quote(NAME)}?start=-1&end=5", (422, "invalid_request")),
        (f"/api/source/{quote(NAME)}?start=1", (422, "invalid_request")),
        (f"/api/source/{quote(NAME)}?start=1&end=2&context=999999", (422, "invalid_request")),
        ("/api/search?q=%20", (422, "empty_question")),
        ("/api/search", (422, "invalid_request")),
        ("/api/search?q=a&limit=0", (422, "invalid_request")),
        (f"/api/search?q={'a' * 300}", (413, "question_too_long")),
        ("/api/nothing", (404, "not_found")),
        ("/api/ask", (405, "method_not_allowed")),
        ("/chat/source?document=none.txt&article=1", (404, "unknown_document")),
        (f"/chat/source?document={quote(NAME)}&article=77", (404, "unknown_article")),
        (f"/chat/source?document={quote(NAME)}&start=0&end=2", (404, "unknown_article")),
        (f"/chat/source?document={quote(NAME)}&start=9&end=3", (422, "bad_span")),
    ],
)
def test_what_there_is_not_is_a_4xx(client: TestClient, address: str, expected: tuple[int, str]) -> None:
    assert error(client.get(address)) == expected


def test_search_gives_passages_best_first(client: TestClient) -> None:
    passages = client.get("/api/search", params={"q": QUESTION, "limit": 3}).json()["passages"]
    assert len(passages) == 3
    assert passages[0]["text"].startswith("到2027年")
    assert [p["score"] for p in passages] == sorted((p["score"] for p in passages), reverse=True)


# --- Going on --------------------------------------------------------------------------------------


def follow_ups(client: TestClient, *needles: str, **more: Any) -> list[str]:
    """The questions that go on from an answer that cites these words."""
    text = written()[0].text
    cited = [place(text.index(words), text.index(words) + len(words)) for words in needles]
    body = {"question": "多少？", "cited": cited, **more}
    response = client.post("/chat/follow-ups", json=body)
    assert response.status_code == 200
    assert set(response.json()) == {"questions"}
    return list(response.json()["questions"])


def test_an_answer_is_gone_on_from_with_what_stands_beside_it(client: TestClient) -> None:
    assert follow_ups(client, "对偏远山村采用卫星补盲。") == ["“建强服务队伍”包括哪些方面？"]
    assert follow_ups(client, "办好田间课堂") == ["“夯实网络底座”说的是什么？"]
    assert follow_ups(client, "到2027年") == ["“夯实网络底座”说的是什么？", "“建强服务队伍”包括哪些方面？"]
    assert follow_ups(client, "青禾县材料汇编") == follow_ups(client) == []


def test_a_refusal_is_gone_on_from_with_the_nearest_sections(client: TestClient) -> None:
    assert follow_ups(client, "办好田间课堂", refused=True)[0] == "“建强服务队伍”包括哪些方面？"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"question": "问", "cited": [place(0, 9, "别的.txt")]}, (404, "unknown_document")),
        ({"question": "问", "cited": [place(9, 9)]}, (422, "bad_span")),
        ({"question": "问", "cited": [place(0, 9)] * 501}, (422, "invalid_request")),
        ({"cited": []}, (422, "invalid_request")),
        ({"question": "问", "n": 3}, (422, "invalid_request")),
    ],
)
def test_follow_ups_to_what_there_is_not_are_a_4xx(
    client: TestClient, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert error(client.post("/chat/follow-ups", json=body)) == expected


# --- Operation -------------------------------------------------------------------------------------


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "documents": 1, "articles": 3}


def test_metrics_count_answers_and_requests(client: TestClient) -> None:
    client.post("/api/ask", json={"question": QUESTION})
    text = client.get("/metrics").text
    assert "# TYPE youju_answers_total counter" in text
    assert 'youju_answers_total{state="answered"} ' in text
    assert 'youju_step_seconds_sum{step="retrieve"} ' in text
    assert 'youju_http_requests_total{method="POST",route="/api/ask",status="200"} ' in text


@pytest.mark.parametrize("address", ["/", "/api/articles", "/config", "/healthz"])
def test_no_other_origin_may_read(client: TestClient, address: str) -> None:
    headers = {"Origin": "http://elsewhere.example"}
    assert "access-control-allow-origin" not in client.get(address, headers=headers).headers
    preflight = client.options(address, headers={**headers, "Access-Control-Request-Method": "GET"})
    assert "access-control-allow-origin" not in preflight.headers


def test_the_page_records_and_offers_nothing_of_gradios(client: TestClient) -> None:
    config = client.get("/config").json()
    assert config["analytics_enabled"] is False
    assert config["footer_links"] == []
    assert not config.get("run_history")


def test_the_page_names_its_own_files_in_the_html(client: TestClient) -> None:
    page = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert int(page.headers["content-length"]) == len(page.content)
    head = page.text.split("</head>")[0]
    for name, link in (("talk.js", 'rel="modulepreload"'), ("base.css", 'rel="preload" as="style"')):
        (address,) = re.findall(f'<link {link} href="(static/youju-[0-9a-f]{{12}}/{name})">', head)
        assert client.get(address).text == (STATIC / name).read_text("utf-8")


# --- Many at once ----------------------------------------------------------------------------------


def test_a_reader_who_stops_midway_holds_up_nobody(tmp_path: Path) -> None:
    service = Service(fake_chain(tmp_path))
    slow = service.stream(Question(QUESTION))
    next(slow)
    assert service.ask(Question(QUESTION)).citations
    assert isinstance(list(slow)[-1], Done)
